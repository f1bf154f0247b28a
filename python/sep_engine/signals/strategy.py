"""A strategy in code, for what a `Rule` cannot say.

A strategy is a class with a horizon and one method. With `on_bar` data reaches it one bar at a
time, so that it cannot look ahead:

    class Breakout:
        horizon_bars = 4
        window = 20  # bars that a decision looks back on, at the most

        def __init__(self) -> None:
            self.highs: list[float] = []

        def on_bar(self, bar: StrategyBar) -> int:
            above = len(self.highs) == 20 and bar.close > max(self.highs)
            self.highs = [*self.highs, bar.high][-20:]
            return 1 if above else 0

Or it has `prepare`, which sees all bars at once as columns and returns columns, `direction` among
them: quick, and held to the causality gate, which names a column that looks ahead. A class with
both is also checked for saying the same in both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sep_engine.errors import ArgumentError, RuleError
from sep_engine.signals.rule import check_exit, check_units, units_of


@dataclass(frozen=True, slots=True)
class StrategyBar:
    """One complete bar: its start in ns since 1970 UTC, its prices, and whether a gap precedes."""

    time_ns: int
    open: float
    high: float
    low: float
    close: float
    gap: bool

    @classmethod
    def of(
        cls, time_ns: int, prices: tuple[Decimal, Decimal, Decimal, Decimal],
        *, tick: Decimal, gap: bool,
    ) -> Self:  # fmt: skip
        """Return a bar with the very floats that a backtest gives for the same prices.

        prices: open, high, low and close, on the grid of `tick`.
        """
        width = float(tick)
        opened, high, low, close = (round(price / tick) * width for price in prices)
        return cls(time_ns, opened, high, low, close, gap)


@dataclass(frozen=True, slots=True, eq=False)
class StrategyBars:
    """All bars in columns, (n,) each, oldest first; prices are float64, `gap` is bool."""

    time_ns: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    gap: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StrategyRule:
    """What a backtest keeps of a strategy class; exits and size mean what they do in a `Rule`.

    Attributes:
        name: of the class.
        source_sha256: of its source.
    """

    name: str
    source_sha256: str
    horizon_bars: int
    stop_ticks: int | None
    target_ticks: int | None
    units: Decimal

    def __post_init__(self) -> None:
        check_exit(self.horizon_bars, self.stop_ticks, self.target_ticks)
        check_units(self.units)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; the class itself is not in it."""
        return {
            "strategy": self.name,
            "source_sha256": self.source_sha256,
            "horizon_bars": self.horizon_bars,
            "stop_ticks": self.stop_ticks,
            "target_ticks": self.target_ticks,
            "units": format(self.units, "f"),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote.

        Raises:
            RuleError: it is nothing that `to_json` writes.
        """
        try:
            return cls(
                name=str(document["strategy"]),
                source_sha256=str(document["source_sha256"]),
                horizon_bars=document["horizon_bars"],
                stop_ticks=document["stop_ticks"],
                target_ticks=document["target_ticks"],
                units=units_of(document["units"]),
            )
        except KeyError as error:
            raise RuleError(f"a strategy class's rule lacks {error}") from error


class BarStrategy(Protocol):
    """Decides bar by bar; a new object is made for every series."""

    horizon_bars: int
    window: int

    def on_bar(self, bar: StrategyBar) -> int:
        """Return 1 to buy, -1 to sell at the next open, 0 to hold."""


class ColumnStrategy(Protocol):
    """Decides for all bars at once."""

    horizon_bars: int
    window: int

    def prepare(self, bars: StrategyBars) -> Mapping[str, NDArray[np.generic]]:
        """Return (n,) columns; row t uses bars up to t. `direction` holds -1, 0 and 1."""


def decide(strategy: BarStrategy, bars: StrategyBars) -> NDArray[np.int8]:
    """Return (n,) directions of a strategy that is given one bar after another.

    Raises:
        ArgumentError: it returned something else than -1, 0 or 1.
    """
    found = np.zeros(bars.close.size, dtype=np.int8)
    for place, bar in enumerate(bars_of(bars)):
        found[place] = decision_of(strategy, bar, place)
    return found


def bars_of(bars: StrategyBars) -> list[StrategyBar]:
    """Return the rows of columns, as they reach a strategy one after another."""
    columns = (bars.time_ns, bars.open, bars.high, bars.low, bars.close, bars.gap)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [StrategyBar(*row) for row in rows]


def decision_of(strategy: BarStrategy, bar: StrategyBar, place: int) -> int:
    """Return what a strategy says at the end of one bar: -1, 0 or 1.

    place: number of the bar, for the message.

    Raises:
        ArgumentError: it returned something else.
    """
    direction = strategy.on_bar(bar)
    if direction not in (-1, 0, 1):
        raise ArgumentError(f"on_bar must return -1, 0 or 1, returned {direction!r} at bar {place}")
    return int(direction)
