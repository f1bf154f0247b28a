"""Null worlds made by the compiled engine, against those of the evidence lab."""

import signal
import time
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pytest

from python.tests.evidence import worlds
from sep_engine.backtest import Costs, Grid, RealityCheck, reality_check, sweep
from sep_engine.backtest.sweep_plan import SweepBars
from sep_engine.errors import ArgumentError
from sep_engine.evidence.market import BarTicks, TimedBars
from sep_engine.evidence.surrogates import surrogate_bars

Kind = Literal["sign", "block", "circular"]
KINDS: tuple[Kind, ...] = ("sign", "block", "circular")
GRID = Grid(
    direction=("last_bit_reversal", "run_persistence", "damped"),
    invert=(False, True),
    window=(8, 16),
    horizon_bars=(1, 5),
    stop_ticks=(None, 60),
)


class MarketBars:
    """A market of the evidence lab as bars for a backtest."""

    def __init__(self, market: TimedBars) -> None:
        ticks = market.bars
        self.times = market.times
        self.close = market.closes
        self.open_ticks, self.high_ticks = ticks.open, ticks.high
        self.low_ticks, self.close_ticks = ticks.low, ticks.close
        self.tick = Decimal("0.00001")
        self.name = "made"
        self.content_sha256 = ""
        self._gap = market.gap

    def gaps(self) -> Any:
        return self._gap


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 63, 64, 65, 500])
def test_a_surrogate_is_that_of_the_evidence_lab(kind: Kind, count: int) -> None:
    market = worlds.market(count, seed=8)
    engine = SweepBars.of(MarketBars(market), Costs(3), "bid").compiled("auto", 1)
    for seed, index, block in ((0, 0, 1.0), (9, 2, 7.3), (2**64 - 1, 2**40, 2.5)):
        made = engine.surrogate(kind, seed, block, index)
        expected = surrogate_bars(market.bars, kind=kind, seed=seed, index=index, block=block)
        for mine, theirs in zip(
            made, (expected.open, expected.high, expected.low, expected.close), strict=True
        ):
            assert np.array_equal(mine, theirs)


def searched_one_by_one(
    market: TimedBars, costs: Costs, kind: Kind, statistic: Any, count: int
) -> tuple[list[float], list[int]]:
    """Make every world in Python and sweep it as if it were the bars."""
    values, numbers = [], []
    for index in range(count):
        made = surrogate_bars(market.bars, kind=kind, seed=5, index=index, block=6.0)
        found = sweep(MarketBars(market.with_bars(made)), GRID, costs, top=1, by=statistic)
        numbers.append(int(found.numbers[0]))
        if statistic == "net_ticks":
            values.append(float(found.columns["net_ticks"][0]))
        else:
            values.append(float(found.sharpe[0]) * float(np.sqrt(found.days)))
    return values, numbers


@pytest.mark.parametrize("statistic", ["sharpe", "net_ticks"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_of_a_null_world_is_the_best_of_its_sweep(kind: Kind, statistic: Any) -> None:
    market = worlds.market(600, seed=2)
    spreads = np.random.default_rng(1).integers(0, 20, 600)
    costs = Costs(spreads, 1)
    values, numbers = searched_one_by_one(market, costs, kind, statistic, 6)

    def check(**how: Any) -> RealityCheck:
        return reality_check(
            *(MarketBars(market), GRID, costs),
            kind=kind,
            count=6,
            seed=5,
            block=6.0,
            statistic=statistic,
            **how,
        )

    found = check(threads=1)
    assert found.null_best.tolist() == numbers
    assert found.null == pytest.approx(values, rel=1e-12)
    for how in ({"threads": 2}, {"threads": 7}, {"backend": "scalar"}):
        again = check(**how)
        assert again.null.tobytes() == found.null.tobytes()
        assert again.null_best.tobytes() == found.null_best.tobytes()


def test_the_p_value_counts_worlds_that_do_as_well() -> None:
    market = worlds.market(600, seed=2)
    found = reality_check(MarketBars(market), GRID, Costs(0), count=19)
    # (1 + worlds at least as good) / 20.
    assert found.p_value == (1 + sum(value >= found.observed for value in found.null)) / 20


def test_an_edge_is_found_and_a_walk_is_not() -> None:
    turning = worlds.market(3_000, seed=4, reversal=0.1)
    found = reality_check(MarketBars(turning), GRID, Costs(0), count=39)
    assert found.p_value == 1 / 40
    assert GRID.rule(found.best).direction == "last_bit_reversal"
    fair = reality_check(MarketBars(worlds.market(3_000, seed=4)), GRID, Costs(0), count=39)
    assert fair.p_value > 0.05


def test_it_refuses_what_makes_no_sense() -> None:
    bars = MarketBars(worlds.market(100))
    with pytest.raises(ArgumentError, match="count must be >= 1, was 0"):
        reality_check(bars, GRID, Costs(0), count=0)
    # Cut to a whole number it would be the worlds of another seed.
    with pytest.raises(TypeError, match="seed must be an int, was float"):
        reality_check(bars, GRID, Costs(0), count=1, seed=2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="block must be a number, was str"):
        reality_check(bars, GRID, Costs(0), count=1, block="5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="kind must be a str, was NoneType"):
        reality_check(bars, GRID, Costs(0), count=1, kind=None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"block must be >= 1, was 0\.5"):
        reality_check(bars, GRID, Costs(0), kind="block", block=0.5, count=1)
    with pytest.raises(ArgumentError, match="kind must be one of sign, block, circular, was walk"):
        reality_check(bars, GRID, Costs(0), kind="walk", count=1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="there must be at least one rule"):
        reality_check(bars, [], Costs(0))


def test_a_world_that_leaves_the_range_is_refused() -> None:
    # One step of 2^27 ticks; blocks of one bar repeat it until the path is too long.
    count = 40
    close = np.full(count, 1_000, dtype=np.int64)
    close[20:] += 2**27
    opens = np.concatenate([[1_000], close[:-1]])
    ticks = BarTicks(opens, np.maximum(opens, close), np.minimum(opens, close), close)
    times = 1_483_311_600_000_000_000 + worlds.HOUR_NS * np.arange(count)
    market = TimedBars(times, ticks, np.zeros(count, dtype=bool), 1e-5)
    with pytest.raises(ArgumentError, match="leaves the range of prices below 536870912 ticks"):
        reality_check(MarketBars(market), GRID, Costs(0), kind="block", count=500)


def test_a_signal_ends_it_soon() -> None:
    bars = MarketBars(worlds.market(20_000, seed=1))
    rung_at = 0.0

    def ring(number: int, frame: object) -> None:
        nonlocal rung_at
        rung_at = time.monotonic()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            reality_check(bars, GRID, Costs(0), count=100_000, threads=2)
        ended_at = time.monotonic()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    # 50 ms until signals are looked at and a block of work; all of it would take minutes.
    assert ended_at - rung_at < 30
