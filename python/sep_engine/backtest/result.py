"""What came of a backtest: figures, and the curves that they are taken from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest.market import Costs, Market, PriceSide
from sep_engine.backtest.trades import Entry, ExitReason, Trade
from sep_engine.model.calendar import trading_days
from sep_engine.signals import Rule
from sep_engine.signals.strategy import StrategyRule


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over all trades, in ticks of the bars' grid and per unit traded.

    Attributes:
        bars, signals: bars seen; decisions to buy or sell, those ignored in a position included.
        trades, wins: positions closed; those with a net profit above 0.
        gross_ticks, net_ticks: before and after costs.
        max_drawdown_ticks: largest fall of the equity from an earlier peak (0 at the start).
        longest_losing_run: most trades in a row with a net profit of 0 or less.
        exposure: share of bars at whose end a position was open, 0..1.
        sides: fills, two a trade: the turnover in units of the position's size.
        exits: number of trades by reason.
    """

    bars: int
    signals: int
    trades: int
    wins: int
    gross_ticks: int
    net_ticks: int
    max_drawdown_ticks: int
    longest_losing_run: int
    exposure: float
    sides: int
    exits: Mapping[ExitReason, int]

    @property
    def win_rate(self) -> float | None:
        """Share of trades that won, None without trades."""
        return self.wins / self.trades if self.trades else None

    @property
    def net_ticks_per_trade(self) -> float | None:
        """Mean net profit of a trade, None without trades."""
        return self.net_ticks / self.trades if self.trades else None

    @property
    def gross_ticks_per_trade(self) -> float | None:
        """Mean gross profit of a trade, None without trades."""
        return self.gross_ticks / self.trades if self.trades else None


@dataclass(frozen=True, slots=True, eq=False)
class BacktestResult:
    """One rule on one series of bars.

    Attributes:
        name, content_sha256: of the bars (`Bars`).
        rule: what was traded by; costs: what that cost.
        tick: value of a tick in price.
        side: which side the bars are of.
        entry: at which price of the bar after its decision a position is entered.
        directions: (n,) int8, the decision at the end of each bar.
        trades: in order of entry; no two overlap.
        equity_ticks: (n,) int64, realised net profit plus that of the open position if closed at
            the bar's close, at the end of each bar.
        days: (d,) int64, trading days (since 1970-01-01) on which trades were closed, increasing.
        day_net_ticks, day_net_ticks_squared, day_trades: (d,) int64, the sum of the net profits of
            the trades closed on each, of their squares, and their number.
        figures: what it comes to.
    """

    name: str
    content_sha256: str
    rule: Rule | StrategyRule
    costs: Costs
    tick: Decimal
    side: PriceSide
    entry: Entry
    directions: NDArray[np.int8]
    trades: tuple[Trade, ...]
    equity_ticks: NDArray[np.int64]
    days: NDArray[np.int64]
    day_net_ticks: NDArray[np.int64]
    day_net_ticks_squared: NDArray[np.int64]
    day_trades: NDArray[np.int64]
    figures: Figures

    def sharpe(self, days: int) -> float | None:
        """Return the Sharpe ratio a day over so many trading days, idle ones included, as a sweep
        does; None where the result does not vary."""
        if days < 2:
            return None
        net = int(self.day_net_ticks.sum())
        squares = self.day_net_ticks.astype(np.float64) ** 2
        variance = (float(squares.sum()) - net**2 / days) / (days - 1)
        return net / days / math.sqrt(variance) if variance > 0 else None

    def to_json(self) -> dict[str, Any]:
        """Return everything but the curves, for `json.dumps`."""
        spread = np.asarray(self.costs.spread_ticks)
        return {
            "name": self.name,
            "content_sha256": self.content_sha256,
            "rule": self.rule.to_json(),
            "costs": {
                "spread_ticks": float(spread.mean()),
                "spread_is_series": spread.ndim > 0,
                "per_side_ticks": self.costs.per_side_ticks,
                "assumed_spread": self.costs.assumed,
            },
            "tick": str(self.tick),
            "price_side": self.side,
            "entry": self.entry,
            "figures": {
                "bars": self.figures.bars,
                "signals": self.figures.signals,
                "trades": self.figures.trades,
                "wins": self.figures.wins,
                "win_rate": self.figures.win_rate,
                "gross_ticks": self.figures.gross_ticks,
                "net_ticks": self.figures.net_ticks,
                "gross_ticks_per_trade": self.figures.gross_ticks_per_trade,
                "net_ticks_per_trade": self.figures.net_ticks_per_trade,
                "max_drawdown_ticks": self.figures.max_drawdown_ticks,
                "longest_losing_run": self.figures.longest_losing_run,
                "exposure": self.figures.exposure,
                "sides": self.figures.sides,
                "exits": {str(reason): count for reason, count in self.figures.exits.items()},
            },
        }


def equity_ticks(
    market: Market, trades: Sequence[Trade], *, per_side_ticks: int
) -> NDArray[np.int64]:
    """Return (n,) int64: net profit at each bar's end, the open position marked at the close."""
    realised = np.zeros(len(market), dtype=np.int64)
    open_profit = np.zeros(len(market), dtype=np.int64)
    for trade in trades:
        realised[trade.exit_bar] += trade.net_ticks
        held = slice(trade.entry_bar, trade.exit_bar)
        closes = (market.bid if trade.direction > 0 else market.ask).close[held]
        open_profit[held] = (closes - trade.entry_ticks) * trade.direction - 2 * per_side_ticks
    return np.cumsum(realised) + open_profit


def day_sums(
    times: NDArray[np.int64], trades: Sequence[Trade]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return days, and per day the sum of net ticks, of their squares, and the trades closed.

    times: (n,) int64 nanoseconds at which the bars start. A trade belongs to the trading day in
    which the bar of its exit starts.
    """
    exits = np.array([trade.exit_bar for trade in trades], dtype=np.int64)
    net = np.array([trade.net_ticks for trade in trades], dtype=np.int64)
    days, place = np.unique(trading_days(times[exits]), return_inverse=True)
    sums = np.zeros((3, days.size), dtype=np.int64)
    for row, values in enumerate((net, net * net, np.ones_like(net))):
        np.add.at(sums[row], place, values)
    return days, sums[0], sums[1], sums[2]


def figures(
    directions: NDArray[np.int8], trades: Sequence[Trade], equity: NDArray[np.int64]
) -> Figures:
    """Return the sums over `trades` and `equity`."""
    losing_run = longest = 0
    for trade in trades:
        losing_run = 0 if trade.net_ticks > 0 else losing_run + 1
        longest = max(longest, losing_run)
    peaks = np.maximum.accumulate(np.concatenate([[0], equity]))[1:]
    held_bars = sum(trade.exit_bar - trade.entry_bar for trade in trades)
    return Figures(
        bars=directions.size,
        signals=int(np.count_nonzero(directions)),
        trades=len(trades),
        wins=sum(trade.net_ticks > 0 for trade in trades),
        gross_ticks=sum(trade.gross_ticks for trade in trades),
        net_ticks=sum(trade.net_ticks for trade in trades),
        max_drawdown_ticks=int((peaks - equity).max(initial=0)),
        longest_losing_run=longest,
        exposure=held_bars / directions.size if directions.size else 0.0,
        sides=2 * len(trades),
        exits={reason: sum(trade.reason == reason for trade in trades) for reason in ExitReason},
    )
