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

WINDOW = 64
TICK = 1e-5
TEN = (*qfh.COUNT_METRICS, "lambda_", "damped")
BITS = np.random.default_rng(1).integers(0, 2, 1 << 22, dtype=np.uint8)
# Columns of more than 32 MiB: the C library takes smaller ones from memory that was freed before.
MANY_BITS = np.random.default_rng(1).integers(0, 2, 9 << 20, dtype=np.uint8)


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
    pytest.importorskip(peer)
    call = {"numpy": peers.rolling_numpy, "numba": peers.rolling_numba}[peer]
    ours = qfh.rolling_bits(BITS[:5000], window=WINDOW, metrics=TEN, dtype=np.float32)
    for name, theirs in zip(TEN, call(BITS[:5000], WINDOW), strict=True):
        found = getattr(ours, name)[WINDOW - 1 :]
        np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-5, err_msg=name)
    bits = BITS[: 1 << 20]
    measure(benchmark, lambda: call(bits, WINDOW), items=len(bits))


@pytest.mark.parametrize("arrays", ["given", "fresh"])
def test_stores(benchmark: Any, arrays: str) -> None:
    size = len(BITS if arrays == "given" else MANY_BITS)
    given = [np.zeros(size, dtype=np.float32) for _ in TEN]

    def stores() -> None:
        columns = given if arrays == "given" else [np.empty_like(column) for column in given]
        for column in columns:
            column.fill(1.0)

    measure(benchmark, stores, items=size, rounds=9)


def test_rolling_fresh(benchmark: Any) -> None:
    measure(
        benchmark,
        lambda: (
            qfh.rolling_bits(
                MANY_BITS, window=WINDOW, metrics=TEN, dtype=np.float32, threads=1
            ).columns
        ),
        items=len(MANY_BITS),
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
        "import numpy, time; t = time.process_time(); import sep_engine;"
        "print(time.process_time() - t)"
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
