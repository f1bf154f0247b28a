"""Both sides of the market in whole ticks, from bars of one side and a spread."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sep_engine.errors import ArgumentError

PriceSide = Literal["bid", "ask", "mid"]
SIDES: Final[tuple[PriceSide, ...]] = ("bid", "ask", "mid")


def _check_ticks(name: str, ticks: int) -> None:
    if isinstance(ticks, bool) or not isinstance(ticks, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number of ticks, was {type(ticks).__name__}")
    if ticks < 0:
        raise ArgumentError(f"{name} must be >= 0, was {ticks}")


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """What trading costs, in ticks of the bars' grid.

    Attributes:
        spread_ticks: ask less bid, >= 0; one number, or (n,) int64 with one for each bar.
        per_side_ticks: commission and slippage of one fill, >= 0.
        assumed: True when the spread was not measured on these bars.
    """

    spread_ticks: int | NDArray[np.int64]
    per_side_ticks: int = 0
    assumed: bool = True

    def __post_init__(self) -> None:
        spread = self.spread_ticks
        if isinstance(spread, np.ndarray):
            if spread.dtype.kind not in "iu":
                raise TypeError(f"spread_ticks must be whole ticks, had dtype {spread.dtype}")
            if np.any(spread < 0):
                raise ArgumentError("spread_ticks must be >= 0 at every bar")
        else:
            _check_ticks("spread_ticks", spread)
        _check_ticks("per_side_ticks", self.per_side_ticks)


@dataclass(frozen=True, slots=True)
class CostsChange:
    """Other costs made of given ones.

    Attributes:
        spread_multiple: of the spread at every bar, 0..1000 with at most 6 decimals; the result
            is rounded to whole ticks, halves up.
        spread_ticks: one spread for all bars instead, >= 0; None keeps the given one.
        per_side_ticks: instead of the given, >= 0; None keeps it.
    """

    spread_multiple: Decimal = Decimal(1)
    spread_ticks: int | None = None
    per_side_ticks: int | None = None

    def __post_init__(self) -> None:
        multiple = self.spread_multiple
        if not isinstance(multiple, Decimal):
            raise TypeError(f"spread_multiple must be a Decimal, was {type(multiple).__name__}")
        if not multiple.is_finite() or not 0 <= multiple <= 1000 or multiple != round(multiple, 6):
            raise ArgumentError(
                f"spread_multiple must be in 0..1000 with at most 6 decimals, was {multiple}"
            )
        if self.spread_ticks is not None and self.spread_multiple != 1:
            raise ArgumentError("spread_ticks and spread_multiple exclude each other")
        for name in ("spread_ticks", "per_side_ticks"):
            if getattr(self, name) is not None:
                _check_ticks(name, getattr(self, name))

    def of(self, costs: Costs) -> Costs:
        """Return the given costs with this change."""
        spread = costs.spread_ticks if self.spread_ticks is None else self.spread_ticks
        if self.spread_multiple != 1:
            if np.any(np.asarray(spread) >= 2**31):
                raise ArgumentError("spread_ticks must be below 2^31 to take a multiple of them")
            # At most 2 * 10^9 times 2^31: it fits 63 bits.
            numerator, denominator = self.spread_multiple.as_integer_ratio()
            doubled = 2 * numerator * np.asarray(spread, dtype=np.int64) + denominator
            rounded = doubled // (2 * denominator)
            spread = int(rounded) if rounded.ndim == 0 else rounded
        per_side = costs.per_side_ticks if self.per_side_ticks is None else self.per_side_ticks
        return Costs(spread, per_side, assumed=costs.assumed or self != CostsChange())


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of every bar: (n,) int64 ticks each."""

    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]

    def shifted(self, ticks: NDArray[np.int64]) -> "Side":
        """Return the side with every bar's prices moved by its `ticks`."""
        return Side(self.open + ticks, self.high + ticks, self.low + ticks, self.close + ticks)


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """What could be traded at, bar by bar.

    Attributes:
        bid, ask: the two sides.
        bid_to_own, ask_to_own: (n,) int64 ticks from the bid, and from the ask, to the side that
            the bars are of: what the spread added to a sell, and to a buy.
    """

    bid: Side
    ask: Side
    bid_to_own: NDArray[np.int64]
    ask_to_own: NDArray[np.int64]

    def __len__(self) -> int:
        return self.bid.open.size


def market(own: Side, *, side: PriceSide, costs: Costs) -> Market:
    """Return both sides from the one that the bars are of.

    Mid prices lie half way; the odd tick of an odd spread lies between them and the ask, so that
    in and out together pay the whole spread.

    Raises:
        ArgumentError: the spread series has another length than the bars.
    """
    down, up = spread_parts(own.open.size, side=side, costs=costs)
    return Market(bid=own.shifted(-down), ask=own.shifted(up), bid_to_own=down, ask_to_own=-up)


def spread_parts(
    bars: int, *, side: PriceSide, costs: Costs
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (bars,) int64 ticks each: from the bid up to the side that the bars are of, and from
    there up to the ask.

    Raises:
        ArgumentError: as `market`.
    """
    spread = np.asarray(costs.spread_ticks, dtype=np.int64)
    if spread.ndim > 0 and spread.shape != (bars,):
        raise ArgumentError(f"spread_ticks must have one value a bar ({bars}), has {spread.size}")
    spread = np.broadcast_to(spread, (bars,))
    if side not in SIDES:
        raise ArgumentError(f"side must be one of {', '.join(SIDES)}; was {side!r}")
    zero = np.zeros(bars, dtype=np.int64)
    half = spread // 2
    return {"bid": (zero, spread), "ask": (spread, zero), "mid": (half, spread - half)}[side]
