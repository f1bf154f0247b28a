"""The bars that evidence is taken from, in integer ticks, with what cuts and spoils them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sep_engine.backtest.market import SIDES, PriceSide
from sep_engine.errors import ArgumentError
from sep_engine.model.calendar import trading_days

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Bars(Protocol):
    """What `TimedBars.of` reads from loaded bars, e.g. `sep_engine.data.Bars`."""

    @property
    def times(self) -> Ints: ...
    @property
    def open_ticks(self) -> Ints: ...
    @property
    def high_ticks(self) -> Ints: ...
    @property
    def low_ticks(self) -> Ints: ...
    @property
    def close_ticks(self) -> Ints: ...
    @property
    def tick(self) -> Decimal: ...
    def gaps(self) -> Bools: ...


@dataclass(frozen=True, slots=True, eq=False)
class BarTicks:
    """Bars of one price side in integer ticks: four (n,) int64 arrays, oldest first."""

    open: Ints
    high: Ints
    low: Ints
    close: Ints

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.open, self.high, self.low, self.close)}
        if len(shapes) != 1 or len(self.open.shape) != 1 or self.open.size < 1:
            raise ArgumentError(f"bars must be four (n,) arrays with n >= 1, were {shapes}")

    def __len__(self) -> int:
        return int(self.open.size)

    def each(self, change: Callable[[Ints], Ints]) -> BarTicks:
        """Return the bars with `change` applied to each of the four arrays."""
        return BarTicks(*map(change, (self.open, self.high, self.low, self.close)))


@dataclass(frozen=True, slots=True, eq=False)
class TimedBars:
    """Bars with their times.

    times: (n,) int64, ns since 1970 UTC, when each bar starts.
    gap: (n,) bool, bars are missing before this one while the market was open.
    tick: price of one tick, > 0.
    side: which side the bars are of: where a spread lies from them.
    """

    times: Ints
    bars: BarTicks
    gap: Bools
    tick: float
    side: PriceSide = "mid"

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ArgumentError(f"side must be one of {', '.join(SIDES)}; was {self.side!r}")
        n = len(self.bars)
        if self.times.shape != (n,) or self.gap.shape != (n,) or not self.tick > 0:
            raise ArgumentError(
                f"times and gap must be ({n},) and tick > 0, were {self.times.shape}, "
                f"{self.gap.shape}, {self.tick}"
            )

    @classmethod
    def of(cls, bars: Bars, *, side: PriceSide = "mid") -> TimedBars:
        """Return loaded bars of a side as a market."""
        ticks = BarTicks(bars.open_ticks, bars.high_ticks, bars.low_ticks, bars.close_ticks)
        return cls(bars.times, ticks, bars.gaps(), float(bars.tick), side)

    def __len__(self) -> int:
        return len(self.bars)

    @property
    def closes(self) -> Floats:
        """(n,) closing prices."""
        return self.bars.close.astype(np.float64) * self.tick

    @property
    def days(self) -> Ints:
        """(n,) trading day of each bar, in days since 1970: days begin at 17:00 New York."""
        return trading_days(self.times)

    def head(self, count: int) -> TimedBars:
        """Return the first `count` bars, 1..n."""
        if not 1 <= count <= len(self):
            raise ArgumentError(f"count must be in 1..{len(self)}, was {count}")
        bars = self.bars.each(lambda a: a[:count])
        return replace(self, times=self.times[:count], bars=bars, gap=self.gap[:count])

    def with_bars(self, bars: BarTicks) -> TimedBars:
        """Return other bars at the same times."""
        return replace(self, bars=bars)

    def poisoned(self, after: int) -> TimedBars:
        """Return the market with every bar after number `after` replaced by a wild one.

        The path there is mirrored, stretched sevenfold and lifted to three times the price, so
        that level, direction, size and order of everything to come are wrong.
        """
        pivot = int(self.bars.close[after])

        def spoil(a: Ints) -> Ints:
            wild = np.maximum(1, 3 * pivot - 7 * (a - pivot))
            return np.where(np.arange(a.size) > after, wild, a)

        spoilt = self.bars.each(spoil)
        # A mirrored high is a low.
        return self.with_bars(
            BarTicks(
                spoilt.open,
                np.maximum(spoilt.high, spoilt.low),
                np.minimum(spoilt.high, spoilt.low),
                spoilt.close,
            )
        )
