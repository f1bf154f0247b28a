"""Null worlds of rules, swept by the compiled engine, against the same worlds in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import sep_engine
from python.tests.evidence import worlds
from sep_engine.backtest.market import SIDES, PriceSide
from sep_engine.backtest.trades import Entry
from sep_engine.errors import ArgumentError, BackendError
from sep_engine.evidence.family import Family, default_rules, rule_family
from sep_engine.evidence.market import TimedBars
from sep_engine.evidence.pipeline import BestByDays
from sep_engine.evidence.simulation import Spread
from sep_engine.evidence.surrogates import Kind
from sep_engine.evidence.worlds import best_of_worlds, family_days, world_backend
from sep_engine.qfh import BackendName
from sep_engine.signals import Rule

GUARDED = tuple(
    Rule(way, horizon, stop, Decimal(1), encoding=encoding, window=16, target_ticks=target)
    for way in ("last_bit_reversal", "run_persistence", "damped")
    for encoding in ("moves", "strict_up")
    for horizon, stop, target in ((3, 40, None), (20, None, 60), (20, 25, 25))
)
RULES = (*default_rules()[:40], *GUARDED)
FAMILY = rule_family(RULES)


def with_gaps(market: TimedBars) -> TimedBars:
    gap = np.zeros(len(market), dtype=bool)
    gap[[100, 101, 350]] = True
    return replace(market, gap=gap)


def found(market: TimedBars, family: Family, cuts: Sequence[int], **given: Any) -> list[BestByDays]:
    _, day = np.unique(market.days, return_inverse=True)
    return list(best_of_worlds(market, family, day=day, cuts=cuts, **given))


def assert_same(some: list[BestByDays], others: list[BestByDays]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.t_values.tobytes() == other.t_values.tobytes()
        assert np.array_equal(one.rules, other.rules)
        assert np.array_equal(one.days, other.days)


@pytest.mark.parametrize("kind", ["sign", "block", "circular", "walk"])
@pytest.mark.parametrize("spread", [0, 13, 5 + np.arange(700) % 17])
def test_swept_worlds_are_the_worlds_in_python(kind: Kind, spread: Spread) -> None:
    market = with_gaps(worlds.market(700, seed=3, reversal=0.1))
    days = np.unique(market.days).size
    # A cut after every day: one rule after another is the best for a while.
    given: dict[str, Any] = {"spread": spread, "kind": kind, "seed": 4, "block": 7.3}
    given |= {"cuts": range(1, days + 1), "first": 5, "count": 3}
    swept = found(market, FAMILY, **given)
    assert_same(swept, found(market, replace(FAMILY, rules=None), **given))
    assert np.unique([world.rules for world in swept]).size > 4
    for number in range(40, len(FAMILY), 4):
        rules = FAMILY.rules
        assert rules is not None
        alone = rule_family(rules[number : number + 1])
        assert_same(
            found(market, alone, **given), found(market, replace(alone, rules=None), **given)
        )


@pytest.mark.parametrize("kind", ["sign", "walk"])
@pytest.mark.parametrize("side", SIDES)
def test_swept_worlds_know_the_side_and_the_entry(kind: Kind, side: PriceSide) -> None:
    market = replace(with_gaps(worlds.market(700, seed=3, reversal=0.1)), side=side)
    entries: list[Entry] = ["close" if number % 2 else "open" for number in range(len(RULES))]
    family = rule_family(RULES, entries)
    given: dict[str, Any] = {"kind": kind, "seed": 4, "cuts": (8, 20), "first": 0, "count": 2}
    given["spread"] = 5 + np.arange(700) % 17
    assert_same(found(market, family, **given), found(market, replace(family, rules=None), **given))
    _, day = np.unique(market.days, return_inverse=True)
    swept, simulated = (
        family_days(market, one, day=day, spread=given["spread"])
        for one in (family, replace(family, rules=None))
    )
    for name in ("gross", "net", "trades", "won", "lost"):
        assert np.array_equal(getattr(swept, name), getattr(simulated, name))


@pytest.mark.parametrize("backend", ["scalar", "simd"])
def test_worlds_that_are_asked_for_by_backend_are_the_same(backend: BackendName) -> None:
    market = worlds.market(700, seed=3)
    given: dict[str, Any] = {"spread": 5, "kind": "sign", "seed": 4, "first": 0, "count": 3}
    given["cuts"] = (8, 20)
    assert_same(found(market, FAMILY, backend=backend, **given), found(market, FAMILY, **given))


def test_a_backend_that_was_named_is_used_or_refused() -> None:
    market = worlds.market(300, seed=3)
    given: dict[str, Any] = {"spread": 5, "kind": "sign", "seed": 4, "first": 0, "count": 1}
    with pytest.raises(BackendError, match="searches worlds of rules"):
        found(market, replace(FAMILY, rules=None), (5,), backend="simd", **given)
    cuda = next(one for one in sep_engine.backends() if one.name == "cuda")
    assert world_backend(FAMILY, "auto") == ("cuda" if cuda.available else "simd")
    assert world_backend(replace(FAMILY, rules=None), "auto") == "simd"
    if not cuda.available:
        with pytest.raises(BackendError, match="backend cuda cannot run here"):
            found(market, FAMILY, (5,), backend="cuda", **given)


def test_a_low_price_is_lifted_in_both() -> None:
    # Steps of 60 ticks around a price of 90: paths that walk below 1 are lifted as a whole.
    market = worlds.market(700, seed=3)
    low = market.with_bars(market.bars.each(lambda a: a - int(market.bars.low.min()) + 1))
    given: dict[str, Any] = {"spread": 2, "kind": "sign", "seed": 1, "first": 0, "count": 2}
    given["cuts"] = (10, 20)
    assert_same(found(low, FAMILY, **given), found(low, replace(FAMILY, rules=None), **given))


def test_prices_beyond_the_sweep_are_simulated_in_python() -> None:
    market = worlds.market(300, seed=3)
    high = market.with_bars(market.bars.each(lambda a: a + 2**29))
    given: dict[str, Any] = {"spread": 2, "kind": "sign", "seed": 1, "first": 0, "count": 1}
    assert len(found(high, FAMILY, (5,), **given)) == 1
    with pytest.raises(ArgumentError, match="kind must be one of"):
        found(market, FAMILY, (5,), **{**given, "kind": "other"})
    for cut in (0, 1000):
        with pytest.raises(ArgumentError, match="cuts must be in 1"):
            found(market, FAMILY, (cut,), **given)


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
