"""Sweeps and reality checks on a GPU: the bytes of the processor, whatever the memory holds."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sep_engine
from python.tests.backtest.test_sweep import (
    GRID,
    MODULE,
    SHARED,
    MadeBars,
    assert_same_table,
    first_bars,
    interrupted_after,
    plain_figures,
    random_rule,
)
from sep_engine.backtest import (
    ENTRIES,
    FIGURES,
    SIDES,
    Costs,
    Entry,
    PriceSide,
    reality_check,
    sweep,
)
from sep_engine.data import Bars, load_bars, load_sample
from sep_engine.errors import BackendError

CUDA = next(backend for backend in sep_engine.backends() if backend.name == "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not CUDA.available, reason=f"backend cuda cannot run here: {CUDA.detail}"),
]
ROOT = Path(__file__).parents[3]
M1 = SHARED / "eurusd_m1_histdata_2017H1.csv.gz"


@pytest.fixture(scope="module")
def sample() -> Bars:
    return load_sample().bars


def made_bars(count: int, *, step: int, seed: int) -> MadeBars:
    """Bars of a walk with ties and gaps, a trading day every 30 bars or so."""
    numbers = np.random.default_rng(seed)
    close = 100_000 + np.cumsum(numbers.integers(-step, step + 1, size=count))
    opens = np.concatenate([[100_000], close[:-1]]) + numbers.integers(-1, 2, size=count)
    wick = numbers.integers(0, 2 * step + 1, size=(2, count))
    high, low = np.maximum(opens, close) + wick[0], np.minimum(opens, close) - wick[1]
    hours = np.cumsum(numbers.choice((1, 1, 1, 9), size=count))
    rows = np.stack([opens, high, low, close], axis=1).astype(np.int64)
    return MadeBars(rows, hours * 3600 * 10**9, numbers.random(count) < 0.01)


def minute_bars(count: int) -> MadeBars:
    """Bars of a walk, one a minute."""
    close = 100_000 + np.random.default_rng(1).integers(-9, 10, count).cumsum()
    rows = np.stack([close, close + 2, close - 2, close], axis=1)
    minutes = np.arange(count, dtype=np.int64) * 60 * 10**9
    return MadeBars(rows, minutes, np.zeros(count, dtype=np.bool_))


def assert_same_bytes(bars: Any, rules: Any, costs: Costs, **given: Any) -> int:
    expected = sweep(bars, rules, costs, **given)
    assert_same_table(sweep(bars, rules, costs, backend="cuda", **given), expected)
    return int(expected.columns["trades"].sum())


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("side", SIDES)
def test_random_rules_have_the_bytes_of_the_processor(
    sample: Bars, side: PriceSide, entry: Entry
) -> None:
    seed = random.Random(f"gpu {side} {entry}")
    spreads = np.random.default_rng(4).integers(0, 30, size=sample.times.size)
    trades = 0
    for costs in (Costs(13, 2), Costs(spreads, 1)):
        rules = [random_rule(seed) for _ in range(1_000)]
        trades += assert_same_bytes(sample, rules, costs, side=side, entry=entry)
    assert trades > 100_000  # the rules are not all idle


# Sizes straddle a word (32 bars), a tile of the walk (256) and a step of the scans (1,024).
@pytest.mark.parametrize("count", [1, 2, 9, 31, 32, 33, 255, 256, 257, 511, 513, 1023, 1025, 2050])
def test_every_number_of_bars_has_the_bytes_of_the_processor(count: int) -> None:
    seed = random.Random(count)
    for step in (1, 20):
        bars = made_bars(count, step=step, seed=count)
        rules = [random_rule(seed) for _ in range(150)]
        for entry in ENTRIES:
            assert_same_bytes(bars, rules, Costs(3, 1), entry=entry)


def test_sums_that_do_not_fit_32_bits_have_the_bytes_of_the_processor() -> None:
    # Two spreads of 2^25 ticks: in a few trades across them the sums leave 32 bits.
    bars = made_bars(3_000, step=5, seed=6)
    spreads = np.full(3_000, 4)
    spreads[[100, 2_000]] = 2**25
    seed = random.Random(6)
    assert assert_same_bytes(bars, [random_rule(seed) for _ in range(200)], Costs(spreads)) > 1_000


def test_real_minutes_have_the_bytes_of_the_processor_and_of_the_plain_backtester() -> None:
    if not M1.exists():
        pytest.skip(f"{M1.name} is not here: its vendor did not grant redistribution")
    bars = load_bars(M1)
    seed = random.Random("minutes")
    rules = [random_rule(seed) for _ in range(3_000)]
    assert assert_same_bytes(bars, rules, Costs(10, 1), side="bid") > 1_000_000
    few = first_bars(bars, 20_000)
    found = sweep(few, rules, Costs(10, 1), side="bid", backend="cuda")
    for number in range(0, 3_000, 150):
        got = {name: int(found.columns[name][number]) for name in FIGURES}
        assert got == plain_figures(few, rules[number], Costs(10, 1), "bid", "open")


def test_blocks_of_any_size_give_the_same_bytes(
    sample: Bars, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bars = first_bars(sample, 700)
    expected = sweep(bars, GRID, Costs(13), side="ask")
    for rules_max, decisions_max in ((1, 1), (100, 5), (100, 24), (10_000, 512)):
        monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK_OF_GPU", rules_max)
        monkeypatch.setattr(MODULE, "_DECISIONS_IN_BLOCK_OF_GPU", decisions_max)
        found = sweep(bars, GRID, Costs(13), side="ask", backend="cuda")
        assert_same_table(found, expected)
    table = tmp_path / "table.npy"
    sweep(bars, GRID, Costs(13), side="ask", backend="cuda", table=table, top=3)
    net = np.load(table)[:, FIGURES.index("net_ticks")]
    assert net.tolist() == expected.columns["net_ticks"].tolist()


@pytest.mark.parametrize("top", [None, 7])
def test_lanes_that_go_on_to_other_decisions_early_give_the_same_bytes(
    sample: Bars, monkeypatch: pytest.MonkeyPatch, top: int | None
) -> None:
    # Four ranges of six decisions, 39 blocks each of five exits, which are not in the order of
    # their lengths.
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK_OF_GPU", 30)
    monkeypatch.setattr(MODULE, "_DECISIONS_IN_BLOCK_OF_GPU", 6)
    lengths = random.Random(3).sample(range(1, 90), 24)
    grid = replace(GRID, horizon_bars=tuple(lengths))
    assert_same_bytes(first_bars(sample, 900), grid, Costs(13), side="ask", top=top)


@pytest.mark.parametrize("by", ["sharpe", "net_ticks"])
@pytest.mark.parametrize("top", [1, 7, 300, 10_000])
def test_the_best_that_the_device_chooses_are_those_of_the_processor(
    sample: Bars, monkeypatch: pytest.MonkeyPatch, by: Any, top: int
) -> None:
    seed = random.Random(f"{by} {top}")
    rules = [random_rule(seed) for _ in range(400)]
    rules += rules[:50]  # of equals the first
    for rules_max in (100, 262_144):
        monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK_OF_GPU", rules_max)
        assert_same_bytes(first_bars(sample, 900), GRID, Costs(13), side="ask", top=top, by=by)
        assert_same_bytes(made_bars(1_500, step=9, seed=5), rules, Costs(3, 1), top=top, by=by)


@pytest.mark.parametrize("top", [None, 7])
def test_an_interrupted_sweep_goes_on_to_the_same_bytes(
    sample: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: int | None
) -> None:
    # 12 blocks of 48 rules: more than are in flight at a time.
    monkeypatch.setattr(MODULE, "_RULES_IN_BLOCK_OF_GPU", 50)
    bars = first_bars(sample, 500)
    saved, table = tmp_path / "saved", tmp_path / "table.npy"
    given: dict[str, Any] = {"top": top, "backend": "cuda", "table": table, "checkpoint": saved}
    for stops in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            sweep(bars, GRID, Costs(13), progress=interrupted_after(stops), **given)
    reported: list[int] = []
    found = sweep(
        bars, GRID, Costs(13), progress=lambda done, total: reported.append(done), **given
    )
    # One block and then four were done; none of them is done again.
    assert reported == [48 * k for k in range(6, 13)]
    whole = tmp_path / "whole.npy"
    assert_same_table(found, sweep(bars, GRID, Costs(13), top=top, table=whole))
    assert table.read_bytes() == whole.read_bytes()


def test_small_case_of_a_sweep() -> None:
    # compute-sanitizer runs the cases of this name: all kernels, in a minute with every tool.
    bars = made_bars(2_000, step=9, seed=3)
    seed = random.Random("small")
    spreads = np.full(2_000, 4)
    spreads[[100, 1_500]] = 2**25  # sums that do not fit 32 bits
    for costs in (Costs(3, 1), Costs(spreads)):
        for entry in ENTRIES:
            rules = [random_rule(seed) for _ in range(40)]
            assert assert_same_bytes(bars, rules, costs, entry=entry) > 1_000
            assert_same_bytes(bars, rules, costs, entry=entry, top=5)


@pytest.mark.parametrize(("kind", "block"), [("sign", 1.0), ("block", 7.5), ("circular", 30.0)])
def test_small_case_of_a_reality_check(kind: Any, block: float) -> None:
    bars = made_bars(2_000, step=9, seed=4)
    seed = random.Random(kind)
    rules = [random_rule(seed) for _ in range(20)]
    given: dict[str, Any] = {"kind": kind, "block": block, "count": 3}
    expected = reality_check(bars, rules, Costs(3, 1), **given)
    found = reality_check(bars, rules, Costs(3, 1), backend="cuda", **given)
    assert found.null.tobytes() == expected.null.tobytes()


@pytest.mark.parametrize("statistic", ["sharpe", "net_ticks"])
@pytest.mark.parametrize(("kind", "block"), [("sign", 1.0), ("block", 7.5), ("circular", 30.0)])
def test_null_worlds_have_the_bytes_of_the_processor(
    sample: Bars, kind: Any, block: float, statistic: Any
) -> None:
    seed = random.Random(kind)
    rules = [random_rule(seed) for _ in range(100)]
    for bars in (first_bars(sample, 2_500), made_bars(1_300, step=9, seed=2)):
        given: dict[str, Any] = {"kind": kind, "block": block, "statistic": statistic}
        given |= {"count": 40, "seed": 2**63 + 11}
        expected = reality_check(bars, rules, Costs(6, 1), **given)
        found = reality_check(bars, rules, Costs(6, 1), backend="cuda", **given)
        assert found.null.tobytes() == expected.null.tobytes()
        assert found.null_best.tobytes() == expected.null_best.tobytes()
        assert (found.best, found.observed) == (expected.best, expected.observed)
        assert found.p_value == expected.p_value


RUN = """
import hashlib, random, sys
from python.tests.backtest.test_sweep import random_rule
from sep_engine.backtest import Costs, reality_check, sweep
from sep_engine.data import load_sample
bars = load_sample().bars
seed = random.Random(5)
rules = [random_rule(seed) for _ in range(1_500)]
found = sweep(bars, rules, Costs(6, 1), backend="cuda")
null = reality_check(bars, rules[:200], Costs(6, 1), count=37, backend="cuda").null
digest = hashlib.sha256(null.tobytes())
for column in found.columns.values():
    digest.update(column.tobytes())
print(digest.hexdigest())
"""


def python(code: str, **environment: str) -> str:
    made = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_one_gpu_gives_the_bytes_of_all() -> None:
    assert python(RUN, CUDA_VISIBLE_DEVICES="0") == python(RUN)


@contextmanager
def memory_left(mebibytes: int) -> Iterator[None]:
    """Take the memory of the first GPU but for a rest."""
    torch = pytest.importorskip("torch", reason="takes the memory of the GPU in this test")
    free, _ = torch.cuda.mem_get_info(0)
    held = torch.empty(max(0, free - mebibytes * 2**20), dtype=torch.uint8, device="cuda:0")
    try:
        yield
    finally:
        del held
        torch.cuda.empty_cache()


def test_little_memory_gives_the_same_bytes(sample: Bars) -> None:
    seed = random.Random("little")
    rules = [random_rule(seed) for _ in range(2_000)]
    given: dict[str, Any] = {"kind": "block", "block": 20.0, "count": 12}
    expected = sweep(sample, rules, Costs(6, 1))
    null = reality_check(sample, rules, Costs(6, 1), **given).null
    with memory_left(64):
        found = sweep(sample, rules, Costs(6, 1), backend="cuda")
        in_parts = reality_check(sample, rules, Costs(6, 1), backend="cuda", **given).null
    assert_same_table(found, expected)
    assert in_parts.tobytes() == null.tobytes()


def test_too_little_memory_is_a_named_error_and_the_next_call_works(sample: Bars) -> None:
    rules = [random_rule(random.Random(1))]
    bars = minute_bars(1_000_000)
    with memory_left(24), pytest.raises(BackendError, match="memory"):
        sweep(bars, rules, Costs(1), backend="cuda")
    assert_same_bytes(sample, rules, Costs(1))


INTERRUPTED = """
from python.tests.backtest.test_sweep_gpu import minute_bars
from sep_engine.backtest import Costs, Grid, sweep
bars = minute_bars(400_000)
grid = Grid(direction=("last_bit_momentum", "last_bit_reversal"), window=tuple(range(8, 1_008)),
            horizon_bars=tuple(range(1, 10_001)), stop_ticks=(None,))
def report(done, total):
    if done == 262_000:
        print("begins", flush=True)
try:
    sweep(bars, grid, Costs(1), backend="cuda", top=5, progress=report)
except KeyboardInterrupt:
    print("ended", flush=True)
"""


@pytest.mark.parametrize("after_s", [0.3, 3.0])
def test_control_c_ends_it_within_200_ms(after_s: float) -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    # One block of 20 million rules is done, 2,000 decisions with 131 exits; others are in flight.
    assert started.stdout.readline() == "begins\n"
    time.sleep(after_s)
    asked = time.monotonic()
    started.send_signal(signal.SIGINT)
    assert started.stdout.readline() == "ended\n"
    took_s = time.monotonic() - asked
    started.wait(timeout=30)
    assert took_s < 0.2
