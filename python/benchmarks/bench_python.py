"""What a call from Python costs, beside its peers. `python -m python.benchmarks` runs this.

The rate of a case is `items` a call over the time of a call; the table is made of the names.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from python.benchmarks import peers
from sep_engine import qfh
from sep_engine.backtest import Costs, Grid, sweep
from sep_engine.data import load_sample

WINDOW = 64
TICK = 1e-5
TEN = (*qfh.COUNT_METRICS, "lambda_", "damped")
BITS = np.random.default_rng(1).integers(0, 2, 1 << 20, dtype=np.uint8)
GRID = Grid(
    direction=("last_bit_reversal", "last_bit_momentum"),
    invert=(False, True),
    window=tuple(range(16, 66, 2)),
    horizon_bars=(1, 2, 3, 5, 8, 13, 21, 34),
    stop_ticks=(None,),
)

Bench = Callable[..., Any]


def measure(benchmark: Any, call: Callable[[], object], *, items: int, rounds: int = 3) -> None:
    benchmark.extra_info["items"] = items
    benchmark.pedantic(call, rounds=rounds, iterations=1, warmup_rounds=1)


def test_rolling(benchmark: Any) -> None:
    out = {name: np.zeros(len(BITS), dtype=np.float32) for name in TEN}
    measure(
        benchmark,
        lambda: qfh.rolling_bits(BITS, window=WINDOW, metrics=TEN, out=out, threads=1),
        items=len(BITS),
        rounds=9,
    )


@pytest.mark.parametrize("peer", ["numpy", "numba"])
def test_rolling_peer(benchmark: Any, peer: str) -> None:
    call = {"numpy": peers.rolling_numpy, "numba": peers.rolling_numba}[peer]
    ours = qfh.rolling_bits(BITS[:5000], window=WINDOW, metrics=TEN, dtype=np.float32)
    for name, theirs in zip(TEN, call(BITS[:5000], WINDOW), strict=True):
        found = getattr(ours, name)[WINDOW - 1 :]
        np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-5, err_msg=name)
    measure(benchmark, lambda: call(BITS, WINDOW), items=len(BITS))


def test_store_only(benchmark: Any) -> None:
    def stores() -> None:
        for _ in TEN:
            np.empty(len(BITS), dtype=np.float32).fill(1.0)

    measure(benchmark, stores, items=len(BITS), rounds=9)


def test_rolling_fresh(benchmark: Any) -> None:
    measure(
        benchmark,
        lambda: (
            qfh.rolling_bits(BITS, window=WINDOW, metrics=TEN, dtype=np.float32, threads=1).columns
        ),
        items=len(BITS),
        rounds=9,
    )


def test_stream_update(benchmark: Any) -> None:
    rng = np.random.default_rng(2)
    prices = (np.rint(110_000 + np.cumsum(rng.integers(-2, 3, 50_000))) * TICK).tolist()

    def run() -> None:
        update = qfh.Stream(tick=TICK).update
        for price in prices:
            update(price)

    measure(benchmark, run, items=len(prices), rounds=5)


def test_bank_update(benchmark: Any) -> None:
    rng = np.random.default_rng(3)
    walks = np.rint(110_000 + np.cumsum(rng.integers(-2, 3, (500, 1000)), axis=0)) * TICK
    bank = qfh.StreamBank(np.full(1000, TICK))

    def run() -> None:
        for prices in walks:
            bank.update(prices)

    measure(benchmark, run, items=len(walks), rounds=5)


def test_import(benchmark: Any) -> None:
    code = (
        "import numpy, time; t = time.perf_counter(); import sep_engine;"
        "print(time.perf_counter() - t)"
    )
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True
            ).stdout
        )
        for _ in range(5)
    ]
    benchmark.extra_info["seconds"] = min(times)
    benchmark.pedantic(lambda: None, rounds=1)


def test_sweep(benchmark: Any) -> None:
    bars = load_sample().bars
    measure(
        benchmark,
        lambda: sweep(bars, GRID, Costs(spread_ticks=2), threads=1),
        items=len(GRID) * len(bars.times),
        rounds=5,
    )


def test_sweep_vectorbt(benchmark: Any) -> None:
    """Returns alone, of decisions that are there already: what the peer is asked for is less."""
    bars = load_sample().bars
    prices = np.asarray(bars.close_ticks, dtype=np.float64) * float(bars.tick)
    up = np.diff(prices, prepend=prices[0]) > 0
    down = np.diff(prices, prepend=prices[0]) < 0
    rules = 50
    buy = np.repeat(down[:, None], rules, axis=1)
    sell = np.repeat(up[:, None], rules, axis=1)
    measure(
        benchmark,
        lambda: peers.returns_vectorbt(prices, buy, sell, horizon=5),
        items=rules * len(prices),
    )
