"""Null worlds that a GPU searches, and the causality gate's second look there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import sep_engine
from python.tests.backtest.test_sweep_gpu import memory_left, python
from python.tests.evidence import worlds
from python.tests.evidence.test_worlds import FAMILY, RULES, assert_same, found, with_gaps
from sep_engine import _core
from sep_engine.backtest.market import Costs, PriceSide, Side
from sep_engine.backtest.sweep_plan import SweepBars
from sep_engine.backtest.trades import Entry
from sep_engine.errors import BackendError
from sep_engine.evidence.family import rule_family
from sep_engine.evidence.lab import RoundTripCosts, evaluate
from sep_engine.evidence.settings import Settings
from sep_engine.evidence.simulation import Spread
from sep_engine.evidence.surrogates import Iaaft, Kind
from sep_engine.evidence.worlds import world_backend
from sep_engine.qfh import BackendName

CUDA = next(backend for backend in sep_engine.backends() if backend.name == "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not CUDA.available, reason=f"backend cuda cannot run here: {CUDA.detail}"),
]


@pytest.mark.parametrize("kind", ["sign", "block", "circular", "walk", "iaaft"])
@pytest.mark.parametrize("spread", [0, 5 + np.arange(1_500) % 17])
def test_worlds_have_the_bytes_of_the_processor(kind: Kind, spread: Spread) -> None:
    market = with_gaps(worlds.market(1_500, seed=3, reversal=0.1))
    given: dict[str, Any] = {"spread": spread, "kind": kind, "seed": 4, "block": 7.3}
    given |= {"cuts": range(1, np.unique(market.days).size + 1), "first": 5, "count": 37}
    hours = FAMILY.within(
        lambda m: (m.times - market.times[0]) // 3_600_000_000_000 % 24 < 10, {"hours": "ten"}
    )
    for family in (FAMILY, hours):
        expected = found(market, family, backend="simd", **given)
        assert_same(found(market, family, backend="cuda", **given), expected)
        assert np.unique([world.rules for world in expected]).size > 10


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_worlds_know_the_side_and_the_entry(side: PriceSide) -> None:
    market = replace(with_gaps(worlds.market(1_500, seed=3, reversal=0.1)), side=side)
    entries: list[Entry] = ["close" if number % 2 else "open" for number in range(len(RULES))]
    given: dict[str, Any] = {"spread": 5 + np.arange(1_500) % 17, "kind": "sign", "seed": 4}
    given |= {"cuts": (8, 20, np.unique(market.days).size), "first": 0, "count": 37}
    family = rule_family(RULES, entries)
    expected = found(market, family, backend="simd", **given)
    assert_same(found(market, family, backend="cuda", **given), expected)


# Odd and even lengths, transforms of one and of several rows a block, ties, and 70 worlds, some of
# which settle long before others.
@pytest.mark.parametrize("count", [1, 2, 3, 100, 1_023, 5_000, 20_001, 131_074])
def test_iaaft_has_the_order_of_the_processor(count: int) -> None:
    steps = np.random.default_rng(count).integers(-30, 31, count).astype(np.float64)
    iaaft, worlds_made = Iaaft(steps), 3 if count > 5_000 else 70
    orders, rounds = iaaft.orders_on_gpu(seed=6, first=2**40, count=worlds_made)
    for world in range(worlds_made):
        order, taken = iaaft.order(seed=6, index=2**40 + world)
        assert np.array_equal(orders[world], order)
        assert rounds[world] == taken


def test_iaaft_that_is_cut_short_has_the_order_of_the_processor() -> None:
    iaaft = Iaaft(np.random.default_rng(1).standard_normal(4_000))
    for rounds_max in (0, 1, 5):
        orders, rounds = iaaft.orders_on_gpu(seed=6, first=0, count=2, rounds_max=rounds_max)
        expected = [iaaft.order(seed=6, index=k, rounds_max=rounds_max)[0] for k in range(2)]
        assert np.array_equal(orders, expected)
        assert rounds == [rounds_max, rounds_max]


def test_worlds_in_little_memory_have_the_same_bytes() -> None:
    market = worlds.market(20_000, seed=3)
    given: dict[str, Any] = {"spread": 3, "kind": "sign", "seed": 4, "first": 0, "count": 20}
    given["cuts"] = (100, 400, np.unique(market.days).size)
    expected = found(market, FAMILY, backend="simd", **given)
    with memory_left(64):
        assert_same(found(market, FAMILY, backend="cuda", **given), expected)


def test_too_little_memory_is_a_named_error_and_the_next_call_works() -> None:
    market = worlds.market(400_000, seed=3)
    given: dict[str, Any] = {"spread": 3, "kind": "sign", "seed": 4, "first": 0, "count": 1}
    with memory_left(8), pytest.raises(BackendError, match="memory"):
        found(market, FAMILY, (5,), backend="cuda", **given)
    assert len(found(worlds.market(500, seed=3), FAMILY, (5,), backend="cuda", **given)) == 1


def test_gates_on_every_metric_have_the_bytes_of_the_processor() -> None:
    market = with_gaps(worlds.market(3_000, seed=7, reversal=0.05))
    _, day = np.unique(market.days, return_inverse=True)
    own = Side(market.bars.open, market.bars.high, market.bars.low, market.bars.close)
    made = SweepBars.made(
        own, day, market.closes, market.gap, tick=market.tick, costs=Costs(3), side="mid"
    )
    # For every metric and window a rule whose gate passes some windows, as percentiles would cut.
    metrics = range(len(sep_engine.qfh.METRICS))
    gates, ranges, decisions = [], [], []
    for window in (16, 40, 64):
        for metric in metrics:
            for low, high in ((-1.0, 0.4), (0.4, 0.55), (0.5, 4.0)):
                decisions.append((metric % 4, metric % 5, 0, window, len(gates), 1))
                gates.append((metric, int(low > 0)))
                ranges.append((low, high))
    decided = _core.SweepDecisions(
        gate_metrics=np.array(gates, dtype=np.int32),
        gate_ranges=np.array(ranges),
        decisions=np.array(decisions, dtype=np.int32),
    )
    rules = _core.SweepRules(
        decisions=decided,
        exits=np.array([(3, 0, 0, 0)], dtype=np.int32),
        rules=np.array([(k, 0) for k in range(len(decisions))], dtype=np.int32),
    )
    results = []
    for backend in ("simd", "cuda"):
        days = int(day[-1]) + 1
        cuts = np.arange(1, days + 1, dtype=np.int32)
        t, best = np.empty((9, days)), np.empty((9, days), dtype=np.int64)
        ticks = np.empty((9, days, days), dtype=np.int64)
        engine = made.compiled(backend, 0)  # type: ignore[arg-type]
        engine.best_by_days(rules, "sign", 2, 1.0, 0, cuts, t, best, ticks)
        results.append((t, best, ticks))
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()
    assert np.unique(results[0][1]).size > 20


def test_a_verdict_is_the_same_on_both_and_says_which_was_used() -> None:
    market = worlds.market(2_000, seed=3, reversal=0.1)
    settings = Settings(surrogates={"sign": 30, "walk": 20, "iaaft": 19}, truncations=60, draws=99)

    def document(backend: BackendName) -> dict[str, Any]:
        return evaluate(
            market,
            FAMILY,
            costs=RoundTripCosts(2, 10.0, True, "test"),
            provenance={},
            settings=settings,
            backend=backend,
        ).document

    on_processor, on_gpu = document("simd"), document("cuda")
    assert on_processor.pop("computed_on") == {
        "worlds": "simd",
        "gpu": "not compared: backend simd was asked for",
    }
    assert on_gpu.pop("computed_on") == {
        "worlds": "cuda",
        "gpu": f"the same columns on {CUDA.detail}",
    }
    assert on_gpu == on_processor
    assert world_backend(FAMILY, "auto") == "cuda"


def test_the_gate_fails_when_a_gpu_gives_other_columns() -> None:
    market = worlds.market(2_000, seed=3, reversal=0.1)

    def other(number: int, of: Any) -> dict[str, Any]:
        columns = dict(FAMILY.columns(number, of))
        name = next(name for name in columns if name.startswith("entropy "))
        columns[name] = np.nextafter(columns[name], 2.0)
        return columns

    settings = Settings(surrogates={"sign": 19}, truncations=60, draws=99)
    document = evaluate(
        market,
        replace(FAMILY, on_gpu=other),
        costs=RoundTripCosts(2, 10.0, True, "test"),
        provenance={},
        settings=settings,
    ).document
    assert [f["check"] for f in document["causality"]["findings"]] == ["twin cuda"]
    assert document["computed_on"]["gpu"] == f"other columns on {CUDA.detail}"
    assert not document["causality"]["passed"]


WITHOUT = """
from python.tests.evidence import worlds
from python.tests.evidence.test_worlds import FAMILY, found
from sep_engine.errors import BackendError
from sep_engine.evidence.worlds import world_backend
given = {"spread": 3, "kind": "sign", "seed": 4, "first": 0, "count": 2}
market = worlds.market(500, seed=3)
print(world_backend(FAMILY, "auto"), len(found(market, FAMILY, (5,), **given)))
try:
    found(market, FAMILY, (5,), backend="cuda", **given)
except BackendError as error:
    print(error)
"""


def test_without_a_visible_gpu_auto_is_the_processor_and_cuda_is_refused() -> None:
    assert python(WITHOUT, CUDA_VISIBLE_DEVICES="").splitlines() == [
        "simd 2",
        "backend cuda cannot run here: no usable GPU: no CUDA-capable device is detected",
    ]


AFTER_A_FORK = """
import os
from python.tests.evidence import worlds
from python.tests.evidence.test_worlds import FAMILY, assert_same, found
from sep_engine.errors import BackendError
given = {"spread": 3, "kind": "sign", "seed": 4, "first": 0, "count": 2}
market = worlds.market(500, seed=3)
before = found(market, FAMILY, (5,), backend="cuda", **given)
child = os.fork()
if child == 0:
    refused = 1
    try:
        found(market, FAMILY, (5,), backend="cuda", **given)
    except BackendError:
        refused = 7
    assert_same(found(market, FAMILY, (5,), **given), before)
    os._exit(refused)
status = os.waitpid(child, 0)[1]
assert_same(found(market, FAMILY, (5,), backend="cuda", **given), before)
print(os.waitstatus_to_exitcode(status))
"""


def test_after_a_fork_auto_is_the_processor_and_cuda_is_refused() -> None:
    assert python(AFTER_A_FORK, PYTHONWARNINGS="ignore") == "7"
