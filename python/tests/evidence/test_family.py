from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from python.tests.evidence import worlds
from sep_engine.errors import ArgumentError
from sep_engine.evidence.causality import Subject, inspect
from sep_engine.evidence.family import (
    Family,
    default_rules,
    last_bit_reversal,
    rule_family,
    rule_name,
)
from sep_engine.signals import DEFAULT_RULE, Gate, Rule, directions

MARKET = worlds.market(900)
WITH_GAPS = replace(MARKET, gap=np.random.default_rng(3).random(900) < 0.01)
MORE = (
    Rule(
        direction="damped",
        encoding="strict_up",
        window=32,
        gates=(Gate("lambda", "value", 0.0, 0.35), Gate("balance", "value", -0.2, 1.0)),
        horizon_bars=2,
        stop_ticks=80,
        target_ticks=90,
        units=Decimal(1),
    ),
    Rule(direction="balance", window=16, horizon_bars=5, stop_ticks=None, units=Decimal(1)),
    Rule(
        direction="last_bit_momentum",
        window=40,
        gates=(
            Gate("path_similarity", "percentile", 20.0, 100.0),
            Gate("confidence", "value", 0.4, 1.0),
            Gate("collapse", "percentile", 0.0, 99.0),
        ),
        horizon_bars=5,
        stop_ticks=None,
        units=Decimal(1),
    ),
)


@pytest.mark.parametrize("market", [MARKET, WITH_GAPS, MARKET.head(64), MARKET.head(65)])
def test_a_family_decides_as_its_rules_do(market: worlds.TimedBars) -> None:
    rules = (*default_rules(), *MORE)
    together = rule_family(rules).directions(market)
    for number, rule in enumerate(rules):
        alone = directions(rule, market.closes, tick=market.tick, gaps=market.gap)
        assert np.array_equal(together[:, number], alone), rule_name(rule)
    direction = rule_family(rules).columns(7, market)["direction"]
    assert np.array_equal(direction, together[:, 7])


def test_the_stream_of_a_rule_is_its_batch() -> None:
    family = rule_family((DEFAULT_RULE, *MORE))
    assert family.stream is not None
    batch = family.directions(WITH_GAPS)
    assert np.abs(batch).sum(axis=0).min() > 10
    for number in range(4):
        assert np.array_equal(family.stream(number, WITH_GAPS), batch[:, number])


def test_a_family_shows_the_gate_every_metric_that_it_decides_by() -> None:
    family = rule_family((DEFAULT_RULE, *MORE))
    # Predictions over 40 moves look back on 80.
    assert family.window == 80
    columns = family.columns(0, MARKET)
    for name in ("path_similarity moves 40", "confidence moves 40", "collapse moves 40"):
        assert name in columns
    subject = Subject("more", lambda m: family.columns(3, m), bars_min=family.window + 1)
    assert inspect(subject, WITH_GAPS, truncations=60).findings == ()


def test_the_default_family_has_145_rules_with_the_traded_one_first() -> None:
    # 8 ways by 6 gates by 3 horizons, and the rule that paper trading starts with.
    rules = default_rules()
    assert len(rules) == 1 + 8 * 6 * 3
    assert rules[0] == DEFAULT_RULE
    decided = rule_family(rules).directions(worlds.market(5000))[:, 1:49]
    assert len({column.tobytes() for column in decided.T}) == 48


def test_the_default_family_passes_the_causality_gate_to_the_last_bit() -> None:
    family = rule_family(default_rules())
    report = inspect(
        Subject(
            "default",
            lambda m: family.columns(7, m),
            bars_min=family.window + 1,
        ),
        WITH_GAPS,
        truncations=100,
    )
    assert report.findings == ()


def test_the_baseline_is_the_rule_of_its_name_from_the_first_move_on() -> None:
    rule = Rule(direction="last_bit_reversal", horizon_bars=1, stop_ticks=None, units=Decimal(1))
    alone = directions(rule, MARKET.closes, tick=MARKET.tick)
    assert np.array_equal(last_bit_reversal(MARKET)[100:], alone[100:])


def test_rules_of_a_family_have_names_of_their_own() -> None:
    with pytest.raises(ArgumentError, match="unique name"):
        rule_family((DEFAULT_RULE, DEFAULT_RULE))


def test_the_size_of_a_position_is_not_a_trial() -> None:
    larger = replace(DEFAULT_RULE, units=Decimal(5))
    assert rule_family((larger,)).configurations == rule_family((DEFAULT_RULE,)).configurations


def test_a_family_is_a_value_of_functions() -> None:
    family: Family = rule_family((DEFAULT_RULE,))
    assert (len(family), family.horizon, family.window) == (1, 4, 64)
