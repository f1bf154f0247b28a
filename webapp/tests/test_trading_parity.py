"""The backtester and the paper broker make the same trades of the same rule and bars."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from sep_engine.backtest import BacktestResult, Costs, ExitReason, run
from sep_engine.data import load_sample
from sep_engine.signals import DEFAULT_RULE, Rule
from webapp.trading.parity import PaperTrade, decider, first_bars, pairs, paper_trades

BARS = 900


def both(rule: Rule, folder: Path) -> tuple[BacktestResult, list[PaperTrade]]:
    sample = load_sample()
    bars = first_bars(sample.bars, BARS)
    result = run(bars, rule, Costs(13), side="ask")
    closes, gaps = bars.close.tolist(), bars.gaps().tolist()
    paper = asyncio.run(
        paper_trades(
            rule, sample.quote_bars()[:BARS], decider(rule, closes, gaps, tick=bars.tick),
            tick=bars.tick, ledger=folder / "paper.sqlite3",
        )
    )  # fmt: skip
    return result, paper


@pytest.mark.parametrize(
    "rule",
    [
        DEFAULT_RULE,
        replace(DEFAULT_RULE, stop_ticks=120, target_ticks=150, horizon_bars=30),
    ],
    ids=["default", "stop and target"],
)
def test_every_trade_on_the_sample_is_the_same(rule: Rule, tmp_path: Path) -> None:
    result, paper = both(rule, tmp_path)
    compared = pairs(result, paper)
    assert len(compared) == len(result.trades) > 30
    differing = [pair for pair in compared if pair.cause]
    # At most the last one, which the end of the data cut short.
    assert [pair.cause[:11] for pair in differing] in ([], ["end of data"])
    reasons = {pair.paper.reason for pair in compared if pair.paper}
    other = ExitReason.HORIZON if rule.target_ticks is None else ExitReason.TARGET
    assert reasons >= {ExitReason.STOP, other}


def test_a_difference_is_named(tmp_path: Path) -> None:
    result, paper = both(DEFAULT_RULE, tmp_path)
    first, second, third, *rest = paper
    assert first.exit is not None
    wrong = [
        replace(first, exit=first.exit + Decimal("0.00001")),
        replace(second, reason=ExitReason.TARGET),
        replace(third, entry=third.entry - Decimal("0.00001")),
        *rest[1:],
    ]
    causes = [pair.cause for pair in pairs(result, wanted_order(wrong)) if pair.cause]
    assert causes[0] == "unexplained: left at another price"
    assert causes[1].startswith("unexplained: left by target in bar")
    assert causes[2] == "unexplained: entered at another price"
    assert causes[3] == "unexplained: only the backtest traded"


def wanted_order(trades: list[PaperTrade]) -> list[PaperTrade]:
    return sorted(trades, key=lambda trade: trade.entry_bar)


def test_the_command_counts_what_is_the_same() -> None:
    out = StringIO()
    call_command("parity", bars=400, stdout=out)
    lines = out.getvalue().splitlines()
    # The last of 34 entries is cut short by the end of the 400 bars.
    assert lines[0] == "    33  the same in every figure"
    assert lines[1].startswith("     1  end of data: ")
    assert "entry_bar=398" in lines[3]
