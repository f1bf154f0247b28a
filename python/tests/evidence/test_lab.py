from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from python.tests.evidence import worlds
from sep_engine.backtest.market import Costs, PriceSide, Side
from sep_engine.backtest.market import market as both_sides
from sep_engine.backtest.trades import Entry, trade
from sep_engine.data import load_sample
from sep_engine.errors import ArgumentError
from sep_engine.evidence.capacity import Volume
from sep_engine.evidence.causality import Columns
from sep_engine.evidence.family import Family, default_rules, rule_family
from sep_engine.evidence.lab import (
    SECTIONS,
    Report,
    RoundTripCosts,
    World,
    evaluate,
    gate_report,
    null_worlds,
)
from sep_engine.evidence.market import TimedBars
from sep_engine.evidence.settings import Count, Settings
from sep_engine.evidence.simulation import Directions, Exit
from sep_engine.evidence.surrogates import Kind
from sep_engine.signals import Gate, Rule, directions

QUICK = Settings(
    surrogates={"sign": 39},
    truncations=50,
    gate_bars=1000,
    gate_trades=10,
    draws=199,
    pbo_blocks=8,
)
FREE = RoundTripCosts(spread=0, pip=10.0, assumed=False, source="test")
# Two years of hours in which a step turns back with probability 0.58.
TURNING = worlds.market(12_000, seed=5, reversal=0.08)
RULES = tuple(
    Rule(
        direction=way,
        gates=gates,
        horizon_bars=horizon,
        stop_ticks=None,
        units=Decimal(1),
        window=16,
    )
    for way in ("last_bit_reversal", "balance", "damped")
    for gates in ((), (Gate("coherence", "percentile", 50.0, 100.0),))
    for horizon in (1, 3)
)


def report(
    market: TimedBars,
    costs: RoundTripCosts = FREE,
    settings: Settings = QUICK,
    *,
    synthetic: bool = False,
) -> Report:
    return evaluate(
        market,
        rule_family(RULES),
        costs=costs,
        provenance={"synthetic": synthetic, "name": "test"},
        settings=settings,
    )


@pytest.fixture(scope="module")
def found() -> Report:
    return report(TURNING)


def test_a_planted_reversal_is_found_and_called_what_it_is(found: Report) -> None:
    assert found.verdict.edge, [j.reason for j in found.verdict.lines if not j.passed]
    assert not found.verdict.beyond
    assert found.document["best"]["name"] == "last_bit_reversal, 1 bars, moves 16"
    # A step turns back with probability 0.58.
    hit_rate = found.document["direction"]["hit_rate"]
    assert hit_rate["low"] < 0.58 < hit_rate["high"]
    shifts = {s["shift"]: s["hit_rate"] for s in found.document["direction"]["label_shift"]}
    assert shifts[0] == pytest.approx(0.58, abs=0.02)
    # One bar later it is the second step after: 0.58^2 + 0.42^2 go the same way twice or never.
    assert shifts[1] == pytest.approx(1 - (0.58**2 + 0.42**2), abs=0.03)


def test_the_same_edge_below_its_cost_is_refused() -> None:
    # A step is about 46 ticks and 58 % of them are won: 7 ticks a trade, less 10.
    refused = report(TURNING, replace(FREE, spread=10))
    assert refused.verdict.text == "No evidence of edge after costs."
    levels = refused.document["money"]["levels"]
    assert levels["measured"]["walk_forward_a_day"] <= 0
    failed = {j.line.name for j in refused.verdict.lines if not j.passed}
    assert "walk_forward" in failed


def test_a_leak_on_a_few_bars_beyond_those_that_are_cut_is_found() -> None:
    def directions(market: TimedBars) -> Directions:
        closes = market.bars.close
        after = np.append(closes[1:], closes[-1]) - closes
        decided = np.where(np.arange(closes.size) % 7 == 0, 1, 0)
        # Only after the first 1,000 bars, which are cut, and only before the widest steps.
        knows = (np.abs(after) > 150) & (np.arange(closes.size) > QUICK.gate_bars)
        return np.where(knows, np.sign(after), decided).astype(np.int8)[:, None]

    peeking = Family(
        names=("peeks",),
        configurations=({"strategy": "peeks"},),
        exits=(Exit(1),),
        directions=directions,
        columns=lambda number, market: {"direction": directions(market)[:, 0]},
        stream=None,
        window=1,
    )
    gate = gate_report(worlds.market(4000, seed=9), peeking, costs=FREE, settings=QUICK)
    assert [(finding.check, finding.column) for finding in gate.findings] == [
        ("largest", "direction")
    ]
    assert gate.largest_again == 20
    assert gate.findings[0].row > QUICK.gate_bars


def test_coin_flips_are_no_evidence() -> None:
    assert not report(worlds.market(2000, seed=9)).verdict.edge


def test_the_document_has_its_sections_and_is_json(found: Report) -> None:
    assert set(SECTIONS) <= set(found.document)
    again = json.loads(json.dumps(found.document, allow_nan=False))
    assert again == found.document
    assert [c["passed"] for c in again["verdict"]["lines"]].count(False) == 1
    assert len(again["rules"]) == len(RULES)


def test_every_rule_has_the_trades_of_the_backtester(found: Report) -> None:
    own = Side(TURNING.bars.open, TURNING.bars.high, TURNING.bars.low, TURNING.bars.close)
    both = both_sides(own, side="bid", costs=Costs(spread_ticks=0))
    for row, rule in zip(found.document["rules"], RULES, strict=True):
        decided = directions(rule, TURNING.closes, tick=TURNING.tick)
        trades = trade(
            both, decided, horizon_bars=rule.horizon_bars, stop_ticks=None, target_ticks=None
        )
        assert row["trades"] == len(trades)
        assert row["gross"] == pytest.approx(np.mean([t.gross_ticks for t in trades]))


def test_a_report_is_a_function_of_its_seed() -> None:
    market = worlds.market(600, seed=3)
    one = report(market).document
    assert report(market).document == one
    assert report(market, settings=replace(QUICK, seed=1)).document["controls"] != one["controls"]


def test_worlds_in_pieces_from_the_last_to_the_first_give_the_same_report(found: Report) -> None:
    def piece(kind: Kind, first: int, count: int) -> list[World]:
        return list(
            null_worlds(
                TURNING,
                rule_family(RULES),
                costs=FREE,
                settings=QUICK,
                kind=kind,
                first=first,
                count=count,
            )
        )

    last = piece("sign", 20, 19)
    pieces = [*piece("sign", 0, 20), *last]
    made = evaluate(
        TURNING,
        rule_family(RULES),
        costs=FREE,
        provenance={"synthetic": False, "name": "test"},
        settings=QUICK,
        worlds=lambda kind, count: pieces,
    )
    made.document["computed_on"]["worlds"] = found.document["computed_on"]["worlds"]
    assert made.document == found.document
    with pytest.raises(ArgumentError, match="39 worlds of kind sign were wanted, 19 given"):
        evaluate(
            TURNING,
            rule_family(RULES),
            costs=FREE,
            provenance={"synthetic": False, "name": "test"},
            settings=QUICK,
            worlds=lambda kind, count: last,
        )


def test_what_was_tried_before_counts() -> None:
    seen: list[Sequence[float | None]] = []

    def count(sharpes: Sequence[float | None]) -> Count:
        seen.append(sharpes)
        return Count(trials=980, look=3)

    market = worlds.market(600, seed=3)
    family = rule_family(RULES)
    tried = evaluate(
        market, family, costs=FREE, provenance={}, settings=QUICK, count=count
    ).document["selection"]
    alone = report(market).document["selection"]
    assert len(seen[0]) == len(RULES)
    assert (tried["trials"], tried["look"]) == (980, 3)
    assert tried["deflated_sharpe"]["value"] < alone["deflated_sharpe"]["value"]
    assert tried["deflated_sharpe"]["needed"] > alone["deflated_sharpe"]["needed"]


def looking_ahead(market: TimedBars) -> Directions:
    """Directions that know the next bar in one case of four."""
    coming = np.sign(np.diff(market.bars.close, append=market.bars.close[-1:]))
    known = np.arange(len(market)) % 4 == 0
    past = np.sign(np.diff(market.bars.close, prepend=market.bars.close[:1]))
    return np.where(known, coming, past).astype(np.int8)


def test_a_family_that_looks_ahead_gets_no_verdict_whatever_it_earns() -> None:
    def columns(number: int, market: TimedBars) -> Columns:
        return {"direction": looking_ahead(market)}

    leaky = Family(
        names=("leaky",),
        configurations=({"name": "leaky"},),
        exits=(Exit(1),),
        directions=lambda market: looking_ahead(market)[:, None],
        columns=columns,
        stream=None,
        window=1,
    )
    result = evaluate(worlds.market(3000, seed=2), leaky, costs=FREE, provenance={}, settings=QUICK)
    assert result.document["direction"]["hit_rate"]["estimate"] > 0.6
    assert not result.document["causality"]["passed"]
    assert next(j.line.name for j in result.verdict.lines if not j.passed) == "causality"
    assert result.verdict.text == "No evidence of edge after costs."


def test_a_family_that_never_trades_is_judged_and_not_a_crash() -> None:
    never = replace(RULES[0], gates=(Gate("entropy", "value", 2.0, 3.0),))
    family = rule_family((never, replace(never, horizon_bars=5)))
    result = evaluate(worlds.market(600, seed=3), family, costs=FREE, provenance={}, settings=QUICK)
    assert result.verdict.text == "No evidence of edge after costs."
    reasons = {j.line.name: j.reason for j in result.verdict.lines}
    assert reasons["trades"] == "trades 0 is not >= 30"
    assert reasons["money"] == "net could not be computed"
    json.dumps(result.document, allow_nan=False)


def test_one_rule_alone_is_judged_without_a_choice() -> None:
    family = rule_family(RULES[:1])
    result = evaluate(worlds.market(600, seed=3), family, costs=FREE, provenance={}, settings=QUICK)
    chosen = result.document["selection"]
    assert chosen["overfitting"]["note"] == "one rule: nothing was selected"
    assert chosen["deflated_sharpe"]["value"] == chosen["probabilistic_sharpe"]


def test_generated_prices_are_stamped() -> None:
    stamped = report(worlds.market(600, seed=3), synthetic=True)
    assert stamped.document["synthetic"] is True
    assert stamped.verdict.text.startswith("SYNTHETIC: ")


def test_a_cut_below_the_horizon_needs_a_reason() -> None:
    market = worlds.market(600, seed=3)
    with pytest.raises(ArgumentError, match="less needs a reason"):
        report(market, settings=replace(QUICK, purge_bars=0))
    kept = report(market, settings=replace(QUICK, purge_bars=0, reason="a demonstration"))
    assert kept.document["selection"]["guard_days"]["reason"] == "a demonstration"


def test_too_little_data_is_refused_in_words() -> None:
    with pytest.raises(ArgumentError, match="at least 200 bars on 10 trading days"):
        report(worlds.market(150))


def test_the_sample_shows_no_edge_after_costs() -> None:
    sample = load_sample()
    family = rule_family(default_rules()[:9])
    result = evaluate(
        TimedBars.of(sample.bars),
        family,
        costs=RoundTripCosts(spread=13, pip=10.0, assumed=True, source="metadata.json"),
        provenance={"sha256": sample.bars.sha256, "synthetic": False},
        settings=QUICK,
    )
    assert result.verdict.text == "No evidence of edge after costs."
    assert result.document["causality"]["passed"]
    assert result.document["costs"]["assumed"] is True


@pytest.mark.parametrize(("side", "entry"), [("bid", "open"), ("ask", "close")])
def test_every_rule_pays_by_the_side_of_its_bars_and_enters_when_asked(
    side: PriceSide, entry: Entry
) -> None:
    market = replace(worlds.market(1200, seed=9), side=side)
    spreads = 3 + np.arange(1200) * 5 % 19
    document = evaluate(
        market,
        rule_family(RULES, [entry] * len(RULES)),
        costs=replace(FREE, spread=12),
        provenance={},
        settings=QUICK,
        spreads=spreads,
        volume=Volume(np.full(1200, 50.0), "units"),
    ).document
    own = Side(market.bars.open, market.bars.high, market.bars.low, market.bars.close)
    both = both_sides(own, side=side, costs=Costs(spreads))
    for row, rule in zip(document["rules"], RULES, strict=True):
        trades = trade(
            both,
            directions(rule, market.closes, tick=market.tick),
            horizon_bars=rule.horizon_bars,
            stop_ticks=None,
            target_ticks=None,
            entry_at=entry,
        )
        assert row["trades"] == len(trades)
        assert row["net"] == pytest.approx(np.mean([t.net_ticks for t in trades]))
    assert (document["costs"]["side"], document["best"]["entry"]) == (side, entry)
    assert document["causality"]["passed"], document["causality"]["findings"]
    assert document["causality"]["trades_again"] == QUICK.gate_trades
    # A hundredth of 50 units in every bar.
    assert document["money"]["capacity"]["fill_units"] == {"median": 0.5, "low": 0.5}


def test_every_rule_pays_the_spread_of_its_own_bars() -> None:
    market = worlds.market(2000, seed=9)

    def judged(spreads: np.ndarray | None) -> Report:
        return evaluate(
            market,
            rule_family(RULES),
            costs=replace(FREE, spread=12),
            provenance={},
            settings=QUICK,
            spreads=spreads,
        )

    # One spread at every bar is the one spread.
    constant, series = (judged(s).document for s in (None, np.full(2000, 12, dtype=np.int64)))
    assert series["costs"].pop("of_each_bar")
    assert not constant["costs"].pop("of_each_bar")
    assert series == constant
    # Where the spread rises from 4 to 20 half way, a rule pays what the backtester says it pays.
    rising = np.where(np.arange(2000) < 1000, 4, 21)
    own = Side(market.bars.open, market.bars.high, market.bars.low, market.bars.close)
    both = both_sides(own, side="mid", costs=Costs(rising))
    document = judged(rising).document
    for row, rule in zip(document["rules"], RULES, strict=True):
        decided = directions(rule, market.closes, tick=market.tick)
        trades = trade(
            both, decided, horizon_bars=rule.horizon_bars, stop_ticks=None, target_ticks=None
        )
        gross = np.mean([t.gross_ticks for t in trades])
        net = np.mean([t.net_ticks for t in trades])
        assert row["net"] == pytest.approx(net)
        assert row["net_one_pip"] == pytest.approx(gross - 10)
        assert row["net_twice"] == pytest.approx(gross - 2 * (gross - net))
    levels = document["money"]["levels"]
    assert levels["measured"]["net"] == document["rules"][document["best"]["number"]]["net"]
    assert levels["twice measured"]["cost"] == pytest.approx(2 * levels["measured"]["cost"])
    with pytest.raises(ArgumentError, match="spreads must be"):
        judged(np.zeros(3, dtype=np.int64))
