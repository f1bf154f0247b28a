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
from sep_engine.evidence.simulation import Spread
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
@pytest.mark.parametrize("spread", [0, 13, 5 + np.arange(700) % 17])
def test_swept_worlds_are_the_worlds_in_python(kind: Kind, spread: Spread) -> None:
    market = with_gaps(worlds.market(700, seed=3, reversal=0.1))
    _, day = np.unique(market.days, return_inverse=True)
    given = {"day": day, "spread": spread, "kind": kind, "seed": 4, "block": 7.3}
    swept = list(world_days(market, FAMILY, first=5, count=3, **given))
    slow = replace(FAMILY, rules=None)
    simulated = list(world_days(market, slow, first=5, count=3, **given))
    assert len(swept) == len(simulated) == 3
    for net, net_slow in zip(swept, simulated, strict=True):
        assert np.count_nonzero(net) > 500
        assert np.array_equal(net, net_slow)


def test_a_low_price_is_lifted_in_both() -> None:
    # Steps of 60 ticks around a price of 90: paths that walk below 1 are lifted as a whole.
    market = worlds.market(700, seed=3)
    low = market.with_bars(market.bars.each(lambda a: a - int(market.bars.low.min()) + 1))
    _, day = np.unique(low.days, return_inverse=True)
    given = {"day": day, "spread": 2, "kind": "sign", "seed": 1, "first": 0, "count": 2}
    swept = list(world_days(low, FAMILY, **given))
    simulated = list(world_days(low, replace(FAMILY, rules=None), **given))
    assert all(np.array_equal(one, other) for one, other in zip(swept, simulated, strict=True))


def test_prices_beyond_the_sweep_are_simulated_in_python() -> None:
    market = worlds.market(300, seed=3)
    high = market.with_bars(market.bars.each(lambda a: a + 2**29))
    _, day = np.unique(high.days, return_inverse=True)
    given = {"day": day, "spread": 2, "kind": "sign", "seed": 1, "first": 0, "count": 1}
    assert len(list(world_days(high, FAMILY, **given))) == 1
    with pytest.raises(ArgumentError, match="kind must be one of"):
        list(world_days(market, FAMILY, **{**given, "kind": "other"}))


@pytest.mark.parametrize("lift", [0, 2**29])
@pytest.mark.parametrize("hours", [False, True])
def test_the_bars_themselves_give_the_same_days(lift: int, hours: bool) -> None:
    market = worlds.market(700, seed=3)
    market = market.with_bars(market.bars.each(lambda a: a + lift))
    _, day = np.unique(market.days, return_inverse=True)
    family = FAMILY
    if hours:
        # Bars 0 to 9 of every 24 decide.
        family = family.within(
            lambda m: (m.times - market.times[0]) // 3_600_000_000_000 % 24 < 10, {"hours": "ten"}
        )
    slow = replace(family, rules=None)
    for spread in (0, 5, np.arange(700) % 30):
        swept = family_days(market, family, day=day, spread=spread)
        simulated = family_days(market, slow, day=day, spread=spread)
        for name in ("gross", "net", "trades", "won", "lost"):
            assert np.array_equal(getattr(swept, name), getattr(simulated, name)), name
        assert swept.trades.sum() > 2_000


def test_a_family_within_hours_decides_there_only() -> None:
    market = worlds.market(700, seed=3)
    early = np.arange(700) < 350
    within = FAMILY.within(lambda m: early[: len(m)], {"hours": "early"})
    assert within.configurations[0]["hours"] == "early"
    decided = within.decided(0, market)
    assert not decided[350:].any()
    assert np.array_equal(decided[:350], FAMILY.decided(0, market)[:350])
    assert np.array_equal(within.columns(0, market)["direction"], decided)
    assert within.stream is not None
    assert np.array_equal(within.stream(0, market), decided)
