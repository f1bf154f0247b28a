"""Both sides of the market in whole ticks, from bars of one side and a spread."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sep_engine.errors import ArgumentError

PriceSide = Literal["bid", "ask", "mid"]


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
        if np.any(np.asarray(self.spread_ticks) < 0):
            raise ArgumentError("spread_ticks must be >= 0 at every bar")
        if self.per_side_ticks < 0:
            raise ArgumentError(f"per_side_ticks must be >= 0, was {self.per_side_ticks}")


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

    Raises:
        ArgumentError: the spread series has another length than the bars; or the bars are mid
            prices and a spread is odd, so that its half is no whole tick.
    """
    bars = own.open.size
    spread = np.asarray(costs.spread_ticks, dtype=np.int64)
    if spread.ndim > 0 and spread.shape != (bars,):
        raise ArgumentError(f"spread_ticks must have one value a bar ({bars}), has {spread.size}")
    spread = np.broadcast_to(spread, (bars,))
    if side not in get_args(PriceSide):
        raise ArgumentError(f"side must be bid, ask or mid, was {side!r}")
    if side == "mid" and np.any(spread % 2):
        raise ArgumentError(
            "spread_ticks must be even for mid prices, so that half of it is whole ticks; "
            "give the bars half of their tick"
        )
    zero = np.zeros(bars, dtype=np.int64)
    down, up = {"bid": (zero, spread), "ask": (spread, zero), "mid": (spread // 2, spread // 2)}[
        side
    ]
    return Market(bid=own.shifted(-down), ask=own.shifted(up), bid_to_own=down, ask_to_own=-up)
