"""Fills beside backtesting.py's, and figures beside empyrical's, on real bars."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sep_engine.backtest import Costs, ExitReason, Trade, run, trade
from sep_engine.backtest.market import Side, market
from sep_engine.data import Bars, load_sample
from sep_engine.evidence import statistics as st
from sep_engine.signals import DEFAULT_RULE, Gate, Rule, directions

with warnings.catch_warnings():
    # What both import warns of itself.
    warnings.simplefilter("ignore")
    backtesting = pytest.importorskip("backtesting", reason="backtesting.py is not installed")
    empyrical = pytest.importorskip("empyrical", reason="empyrical is not installed")
    import pandas as pd

BARS = 3000


@pytest.fixture(scope="module")
def bars() -> Bars:
    whole = load_sample().bars
    columns = ("times", "open", "high", "low", "close")
    cut = {name: getattr(whole, name)[:BARS] for name in columns}
    cut |= {f"{name}_ticks": getattr(whole, f"{name}_ticks")[:BARS] for name in columns[1:]}
    return replace(whole, volume=None, **cut)


def decisions(bars: Bars, rule: Rule) -> Any:
    """Return the rule's decisions, less those before an open that jumps beyond stop or target.

    An order whose stop or target lies beyond the last close is refused by backtesting.py.
    """
    decided = directions(rule, bars.close, tick=float(bars.tick), gaps=bars.gaps())
    jump = np.abs(np.append(bars.open_ticks[1:], bars.close_ticks[-1]) - bars.close_ticks)
    near = min(rule.stop_ticks or 10**9, rule.target_ticks or 10**9)
    return np.where(jump < near, decided, 0).astype(np.int8)


def theirs(bars: Bars, rule: Rule) -> list[tuple[int, int, int, float, float]]:
    """Return the trades that backtesting.py makes of the same decisions, one unit each."""
    decided = decisions(bars, rule)
    tick = float(bars.tick)

    def at(price: float) -> float:
        # A stop that is off the grid by the dust of a float is not touched by a price on it.
        return round(price, 5)

    class Follow(backtesting.Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            row = len(self.data) - 1
            if self.position:
                (trade,) = self.trades
                if row - trade.entry_bar == rule.horizon_bars - 1:
                    trade.close()
                return
            side = int(decided[row])
            if side == 0 or row + 1 == len(bars):
                return
            # Stop and target are distances from the entry, which is the next open.
            entry = float(bars.open[row + 1])
            stop = None if rule.stop_ticks is None else at(entry - side * rule.stop_ticks * tick)
            target = (
                None if rule.target_ticks is None else at(entry + side * rule.target_ticks * tick)
            )
            (self.buy if side > 0 else self.sell)(size=1, sl=stop, tp=target)

    frame = pd.DataFrame(
        {name.title(): getattr(bars, name) for name in ("open", "high", "low", "close")},
        index=pd.DatetimeIndex(bars.times.astype("datetime64[ns]")),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = backtesting.Backtest(frame, Follow, cash=1e6, finalize_trades=True).run()
    made = stats["_trades"].sort_values("EntryBar")
    return [
        (int(row.EntryBar), int(row.ExitBar), int(row.Size), row.EntryPrice, row.ExitPrice)
        for row in made.itertuples()
    ]


def ours(bars: Bars, rule: Rule) -> tuple[Trade, ...]:
    own = Side(bars.open_ticks, bars.high_ticks, bars.low_ticks, bars.close_ticks)
    return trade(
        market(own, side="mid", costs=Costs(0)),
        decisions(bars, rule),
        horizon_bars=rule.horizon_bars,
        stop_ticks=rule.stop_ticks,
        target_ticks=rule.target_ticks,
    )


@pytest.mark.parametrize(
    "rule",
    [
        replace(DEFAULT_RULE, stop_ticks=None),
        replace(DEFAULT_RULE, gates=(), stop_ticks=None, horizon_bars=1),
        replace(DEFAULT_RULE, gates=(), stop_ticks=150, horizon_bars=12),
        replace(DEFAULT_RULE, direction="damped", gates=(), stop_ticks=90, horizon_bars=24),
        replace(
            DEFAULT_RULE,
            direction="run_persistence",
            gates=(Gate("entropy", "percentile", 0.0, 50.0),),
            stop_ticks=200,
            horizon_bars=30,
        ),
    ],
    ids=["horizon", "every bar", "stop", "near stop", "gated"],
)
def test_every_fill_is_that_of_backtesting_py(bars: Bars, rule: Rule) -> None:
    expected = theirs(bars, rule)
    found = ours(bars, rule)
    # The last position may still be open: their finish closes it a bar before the last close.
    assert len(expected) == len(found) > 100
    tick = float(bars.tick)
    for other, made in zip(expected[:-1], found[:-1], strict=True):
        assert other[:3] == (made.entry_bar, made.exit_bar, made.direction)
        assert other[3] == pytest.approx(made.entry_ticks * tick, abs=tick / 1e3)
        assert other[4] == pytest.approx(made.exit_ticks * tick, abs=tick / 1e3)


def test_targets_differ_only_where_a_bar_opens_beyond_them(bars: Bars) -> None:
    """Here a target fills at its price, never better; there at an open that is better."""
    rule = replace(DEFAULT_RULE, gates=(), stop_ticks=300, target_ticks=60, horizon_bars=12)
    expected = {other[0]: other for other in theirs(bars, rule)[:-1]}
    tick = float(bars.tick)
    equal, better = 0, 0
    for made in ours(bars, rule)[:-1]:
        other = expected[made.entry_bar]
        assert other[1:3] == (made.exit_bar, made.direction)
        if other[4] == pytest.approx(made.exit_ticks * tick, abs=tick / 1e3):
            equal += 1
        else:
            better += 1
            assert made.reason == ExitReason.TARGET
            assert other[4] == pytest.approx(bars.open[made.exit_bar], abs=tick / 1e3)
            assert (other[4] / tick - made.exit_ticks) * made.direction > 0
    assert equal > 100
    assert better < 20


def test_figures_are_those_of_empyrical(bars: Bars) -> None:
    result = run(bars, replace(DEFAULT_RULE, gates=()), Costs(13), side="ask")
    pnl = result.day_net_ticks.astype(np.float64)
    # Returns on a capital so large that compounding is below the comparison's precision.
    capital = 1e12
    returns = pd.Series(pnl / capital)
    moments = st.moments(pnl)
    assert empyrical.sharpe_ratio(returns, annualization=252) == pytest.approx(
        moments.sharpe * 252**0.5, rel=1e-9
    )
    assert -empyrical.max_drawdown(returns) * capital == pytest.approx(
        st.max_drawdown(pnl), rel=1e-6
    )
    assert empyrical.cum_returns_final(returns) * capital == pytest.approx(
        result.figures.net_ticks, rel=1e-6
    )


def test_an_account_compounds_as_empyrical_does(bars: Bars) -> None:
    from decimal import Decimal

    from sep_engine.backtest.account import Leg, Size, keep_account

    result = run(bars, DEFAULT_RULE, Costs(13), side="ask")
    leg: Any = Leg(load_sample().instrument, bars, result, Size(risk_fraction=Decimal("0.01")))
    account = keep_account([leg], currency="USD", opening=Decimal(100_000))
    before = [float(one.balance - one.net) for one in account.booked]
    returns = pd.Series([float(one.net) for one in account.booked]) / before
    assert empyrical.cum_returns_final(returns) == pytest.approx(
        float(account.balance) / 100_000 - 1, rel=1e-9
    )
