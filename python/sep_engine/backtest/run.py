"""One rule over bars."""

from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest.market import Costs, PriceSide, Side, market
from sep_engine.backtest.result import BacktestResult, day_sums, equity_ticks, figures
from sep_engine.backtest.trades import Entry, trade
from sep_engine.errors import ArgumentError
from sep_engine.signals import Rule, directions
from sep_engine.signals.strategy import StrategyRule


class TradedBars(Protocol):
    """What a backtest needs of bars; `sep_engine.data.Bars` has it."""

    @property
    def times(self) -> NDArray[np.int64]: ...
    @property
    def close(self) -> NDArray[np.float64]: ...
    @property
    def open_ticks(self) -> NDArray[np.int64]: ...
    @property
    def high_ticks(self) -> NDArray[np.int64]: ...
    @property
    def low_ticks(self) -> NDArray[np.int64]: ...
    @property
    def close_ticks(self) -> NDArray[np.int64]: ...
    @property
    def tick(self) -> Decimal: ...
    @property
    def name(self) -> str: ...
    @property
    def content_sha256(self) -> str: ...
    def gaps(self) -> NDArray[np.bool_]: ...


def run(
    bars: TradedBars,
    rule: Rule,
    costs: Costs,
    *,
    side: PriceSide = "mid",
    entry: Entry = "open",
    counts: NDArray[np.bool_] | None = None,
) -> BacktestResult:
    """Return what `rule` would have earned on `bars`, by the rules of the package's docstring.

    Args:
        bars: oldest first; the rule decides on their closes.
        rule: its stop and target are in ticks of these bars.
        costs: spread and costs in ticks of these bars.
        side: which side the bars are of.
        entry: at which price of the bar after its decision a position is entered.
        counts: (n,) bool, the bars whose decisions count, None for all.

    Raises:
        ArgumentError: a spread series that does not fit the bars, or see `market`.
    """
    decided = directions(rule, bars.close, tick=float(bars.tick), gaps=bars.gaps())
    return run_decided(bars, rule, decided, costs, side=side, entry=entry, counts=counts)


def run_decided(
    bars: TradedBars,
    rule: Rule | StrategyRule,
    decided: NDArray[np.int8],
    costs: Costs,
    *,
    side: PriceSide = "mid",
    entry: Entry = "open",
    counts: NDArray[np.bool_] | None = None,
) -> BacktestResult:
    """Return what decisions would have earned that leave as `rule` says.

    Args:
        decided: (n,) of -1, 0 and 1, decided at the close of each bar.

    The other arguments are those of `run`.

    Raises:
        ArgumentError: decisions of another length than the bars, or as `run`.
    """
    if decided.shape != bars.times.shape:
        raise ArgumentError(f"decided must be {bars.times.shape}, was {decided.shape}")
    if counts is not None:
        decided = decided * counts
    own = Side(bars.open_ticks, bars.high_ticks, bars.low_ticks, bars.close_ticks)
    both = market(own, side=side, costs=costs)
    trades = trade(
        both,
        decided,
        horizon_bars=rule.horizon_bars,
        stop_ticks=rule.stop_ticks,
        target_ticks=rule.target_ticks,
        per_side_ticks=costs.per_side_ticks,
        entry_at=entry,
    )
    equity = equity_ticks(both, trades, per_side_ticks=costs.per_side_ticks)
    days, sums, squares, closed = day_sums(bars.times, trades)
    return BacktestResult(
        name=bars.name,
        content_sha256=bars.content_sha256,
        rule=rule,
        costs=costs,
        tick=bars.tick,
        side=side,
        entry=entry,
        directions=decided,
        trades=trades,
        equity_ticks=equity,
        days=days,
        day_net_ticks=sums,
        day_net_ticks_squared=squares,
        day_trades=closed,
        figures=figures(decided, trades, equity),
    )
