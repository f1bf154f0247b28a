"""Null worlds of rules, swept by the compiled engine, against the same worlds in Python."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from python.tests.evidence import worlds
from sep_engine.errors import ArgumentError
from sep_engine.evidence.family import default_rules, rule_family
from sep_engine.evidence.market import Market
from sep_engine.evidence.surrogates import Kind
from sep_engine.evidence.worlds import family_days, world_days
from sep_engine.signals import Rule

GUARDED = tuple(
    Rule(way, horizon, stop, Decimal(1), encoding=encoding, window=16, target_ticks=target)
    for way in ("last_bit_reversal", "run_persistence", "damped")
    for encoding in ("moves", "strict_up")
    for horizon, stop, target in ((3, 40, None), (20, None, 60), (20, 25, 25))
)
FAMILY = rule_family((*default_rules()[:40], *GUARDED))


def with_gaps(market: Market) -> Market:
    gap = np.zeros(len(market), dtype=bool)
    gap[[100, 101, 350]] = True
    return replace(market, gap=gap)


@pytest.mark.parametrize("kind", ["sign", "block", "circular", "walk"])
@pytest.mark.parametrize("spread", [0, 13])
def test_swept_worlds_are_the_worlds_in_python(kind: Kind, spread: int) -> None:
    market = with_gaps(worlds.market(700, seed=3, reversal=0.1))
    _, day = np.unique(market.days, return_inverse=True)
    given = {"day": day, "spread": spread, "kind": kind, "seed": 4, "block": 7.3}
    swept = list(world_days(market, FAMILY, first=5, count=3, **given))
    slow = replace(FAMILY, rules=None)
    simulated = list(world_days(market, slow, first=5, count=3, **given))
    assert len(swept) == len(simulated) == 3
    for (gross, trades), (gross_slow, trades_slow) in zip(swept, simulated, strict=True):
        assert trades.sum() > 1_000
        assert np.array_equal(gross, gross_slow)
        assert np.array_equal(trades, trades_slow)


def test_a_low_price_is_lifted_in_both() -> None:
    # Steps of 60 ticks around a price of 90: paths that walk below 1 are lifted as a whole.
    market = worlds.market(700, seed=3)
    low = market.with_bars(market.bars.each(lambda a: a - int(market.bars.low.min()) + 1))
    _, day = np.unique(low.days, return_inverse=True)
    given = {"day": day, "spread": 2, "kind": "sign", "seed": 1, "first": 0, "count": 2}
    swept = list(world_days(low, FAMILY, **given))
    simulated = list(world_days(low, replace(FAMILY, rules=None), **given))
    assert all(
        np.array_equal(one[0], other[0]) for one, other in zip(swept, simulated, strict=True)
    )


def test_prices_beyond_the_sweep_are_simulated_in_python() -> None:
    market = worlds.market(300, seed=3)
    high = market.with_bars(market.bars.each(lambda a: a + 2**29))
    _, day = np.unique(high.days, return_inverse=True)
    given = {"day": day, "spread": 2, "kind": "sign", "seed": 1, "first": 0, "count": 1}
    assert len(list(world_days(high, FAMILY, **given))) == 1
    with pytest.raises(ArgumentError, match="kind must be one of"):
        list(world_days(market, FAMILY, **{**given, "kind": "other"}))


@pytest.mark.parametrize("lift", [0, 2**29])
def test_the_bars_themselves_give_the_same_days(lift: int) -> None:
    market = worlds.market(700, seed=3)
    market = market.with_bars(market.bars.each(lambda a: a + lift))
    _, day = np.unique(market.days, return_inverse=True)
    decided = FAMILY.directions(market)
    slow = replace(FAMILY, rules=None)
    for spread in (0, 5):
        swept = family_days(market, FAMILY, decided, day=day, spread=spread)
        simulated = family_days(market, slow, decided, day=day, spread=spread)
        assert np.array_equal(swept[0], simulated[0])
        assert np.array_equal(swept[1], simulated[1])
