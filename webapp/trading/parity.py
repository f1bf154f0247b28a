"""The same rule on the same bars in the backtester and at the paper broker, trade by trade.

Both know the same rules of filling, but not the same code: the backtester looks at whole columns in
ticks, the broker is told of one quote and one bar at a time and keeps a ledger in Decimal. A pair
of trades that differs comes with the cause that its own figures show; "unexplained" is a fault of
one of the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from sep_engine.backtest import BacktestResult, ExitReason, Trade
from sep_engine.data import Bars
from sep_engine.execution.states import OrderType
from sep_engine.model import QuoteBar
from sep_engine.signals import Rule, RuleEvaluator
from sep_engine.signals.strategy import StrategyBars, StrategyRule
from webapp.trading.brokers.base import Kind, OrderRequest, Transaction
from webapp.trading.brokers.paper import PaperBroker

_REASONS = {
    OrderType.STOP_LOSS.value: ExitReason.STOP,
    OrderType.TAKE_PROFIT.value: ExitReason.TARGET,
    OrderType.MARKET.value: ExitReason.HORIZON,
}


@dataclass(frozen=True, slots=True)
class PaperTrade:
    """A position that the paper broker opened and closed; bars are rows of the replay.

    `exit_bar`, `exit` and `reason` are None while it is open.
    """

    entry_bar: int
    direction: int
    entry: Decimal
    exit_bar: int | None = None
    exit: Decimal | None = None
    reason: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A trade of the backtest beside that of the broker; `cause` is empty where they are equal."""

    backtest: Trade | None
    paper: PaperTrade | None
    cause: str


def first_bars(bars: Bars, count: int) -> Bars:
    """Return the first `count` bars, all of them if there are fewer."""
    prices = ("open", "high", "low", "close")
    names = ("times", *prices, *(f"{name}_ticks" for name in prices))
    volume = None if bars.volume is None else bars.volume[:count]
    return replace(bars, volume=volume, **{name: getattr(bars, name)[:count] for name in names})


def decider(
    rule: Rule, closes: Sequence[float], gaps: Sequence[bool], *, tick: Decimal
) -> Callable[[int], int]:
    """Return what a rule decides at the end of each bar; it is asked for one after another.

    closes, gaps: what the rule sees at the end of each bar.
    """
    evaluator = RuleEvaluator(rule, float(tick))
    return lambda row: evaluator.on_bar(closes[row], gaps[row]).direction


def columns_of(bars: Bars) -> StrategyBars:
    """Return bars as a backtest gives them to a class."""
    tick = np.float64(bars.tick)
    return StrategyBars(
        time_ns=bars.times,
        open=bars.open_ticks * tick,
        high=bars.high_ticks * tick,
        low=bars.low_ticks * tick,
        close=bars.close_ticks * tick,
        gap=bars.gaps(),
    )


async def paper_trades(
    rule: Rule | StrategyRule, bars: Sequence[QuoteBar], decide: Callable[[int], int],
    *, tick: Decimal, ledger: Path,
) -> list[PaperTrade]:  # fmt: skip
    """Return what a trader of the rule does at a fresh paper broker, in order of entry.

    Args:
        rule: how positions end, and their size.
        bars: both sides; quotes and bars reach the broker as a feed sends them.
        decide: what is decided at the end of the bar of a number, asked for one after another.
        ledger: file for the broker's ledger; it must not be there.
    """
    broker = PaperBroker(path=ledger, currency=bars[0].instrument.split("_")[1],
                         opening_balance=Decimal(0))  # fmt: skip
    trades: list[PaperTrade] = []
    held = sent = False

    def hear(done: Sequence[Transaction], bar: int) -> None:
        nonlocal held, sent
        for one in done:
            if one.kind != Kind.FILLED:
                continue
            assert one.price is not None
            if held:
                last = trades[-1]
                trades[-1] = PaperTrade(
                    last.entry_bar, last.direction, last.entry, bar, one.price,
                    _REASONS[one.order_type],
                )  # fmt: skip
            else:
                trades.append(PaperTrade(bar, 1 if one.units > 0 else -1, one.price))
            held, sent = not held, False

    try:
        for row, bar in enumerate(bars):
            quote = bar.open_quote
            hear(
                await broker.on_quote(quote, event=2 * row + 1, assumed_spread=bar.assumed_spread),
                row,
            )
            hear(await broker.on_bar(bar, event=2 * row + 2), row)
            direction = decide(row)
            if held and row == trades[-1].entry_bar + rule.horizon_bars - 1:
                units = -trades[-1].direction * rule.units
                await broker.submit(_order(f"out-{row}", bar, units))
            elif not held and not sent and direction and row + 1 < len(bars):
                sent = True
                stop, target = (
                    None if ticks is None else ticks * tick
                    for ticks in (rule.stop_ticks, rule.target_ticks)
                )
                order = _order(f"in-{row}", bar, direction * rule.units, stop, target)
                await broker.submit(order)
    finally:
        await broker.close()
    return trades


def pairs(result: BacktestResult, paper: Sequence[PaperTrade]) -> list[Pair]:
    """Return the trades of both sides, paired by the bar of their entry."""
    theirs = {trade.entry_bar: trade for trade in paper}
    ours = {trade.entry_bar: trade for trade in result.trades}
    return [
        Pair(ours.get(bar), theirs.get(bar), _cause(ours.get(bar), theirs.get(bar), result.tick))
        for bar in sorted({*ours, *theirs})
    ]


def _cause(backtest: Trade | None, paper: PaperTrade | None, tick: Decimal) -> str:
    if backtest is None:
        return "unexplained: only the broker traded"
    if paper is None:
        return "unexplained: only the backtest traded"
    if backtest.reason == ExitReason.END_OF_DATA and paper.exit is None:
        return "end of data: the backtest closes at the last close, the broker still holds"
    if paper.direction != backtest.direction:
        return "unexplained: opposite directions"
    if paper.entry != backtest.entry_ticks * tick:
        return "unexplained: entered at another price"
    if (paper.exit_bar, paper.reason) != (backtest.exit_bar, backtest.reason):
        return f"unexplained: left by {paper.reason} in bar {paper.exit_bar}"
    if paper.exit != backtest.exit_ticks * tick:
        return "unexplained: left at another price"
    return ""


def _order(
    client_id: str,
    bar: QuoteBar,
    units: Decimal,
    stop_distance: Decimal | None = None,
    target_distance: Decimal | None = None,
) -> OrderRequest:
    return OrderRequest(
        client_id=client_id,
        instrument=bar.instrument,
        type=OrderType.MARKET,
        units=units,
        stop_distance=stop_distance,
        target_distance=target_distance,
        reduce_only=client_id.startswith("out"),
    )
