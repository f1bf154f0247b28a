"""Measure the memory of rolling calls: python -m python.benchmarks.memory [CALLS]

Prints two figures in bytes: what the largest call needs beside its inputs and outputs, and what the
process has grown by after CALLS (a million unless told otherwise, two to three minutes) of small
rolling calls of four shapes in turn, and as many of Stream and StreamBank. Linux only: it reads
/proc/self.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sep_engine import qfh

WINDOWS = 2_000_000
WARM_UP = 2_000


def status_bytes(name: str) -> int:
    """A line of /proc/self/status, e.g. VmHWM, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def beside_outputs() -> int:
    """Most bytes that one call of all metrics over 2,000,000 bits held beside its outputs."""
    bits = np.random.default_rng(1).integers(0, 2, WINDOWS, dtype=np.uint8)
    qfh.rolling_bits(bits[:WARM_UP], metrics="all")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status_bytes("VmRSS")
    result = qfh.rolling_bits(bits, metrics="all", dtype=np.float32)
    outputs = sum(column.nbytes for column in result.columns.values()) + result.complete.nbytes
    return status_bytes("VmHWM") - before - outputs


def growth(calls: int) -> int:
    """Bytes that so many calls of each kind left behind."""
    rng = np.random.default_rng(2)
    prices = (110_000 + np.cumsum(rng.integers(-2, 3, 200))) * 1e-5
    bits = rng.integers(0, 2, 100, dtype=np.uint8)
    gap = np.arange(len(prices)) % 50 == 0
    few = ["entropy", "damped"]
    given = {name: np.empty(len(bits), dtype=np.float32) for name in few}
    shapes: tuple[Callable[[], object], ...] = (
        lambda: qfh.rolling_bits(bits, metrics=few, threads=1),
        lambda: qfh.rolling_bits(bits, window=16, metrics=few, out=given, dtype=np.float32),
        lambda: qfh.rolling(prices, tick=1e-5, window=32, gap=gap, metrics=few, threads=1),
        lambda: qfh.rolling(prices, tick=1e-5, window=8, encoding="tick_carry", stride=3),
    )
    stream, bank = qfh.Stream(tick=1e-5), qfh.StreamBank(np.full(4, 1e-5))

    def call(number: int) -> None:
        price = float(prices[number % len(prices)])
        shapes[number % len(shapes)]()
        stream.update(price)
        bank.update(np.full(4, price))

    for number in range(WARM_UP):
        call(number)
    before = status_bytes("VmRSS")
    for number in range(calls):
        call(number)
    return status_bytes("VmRSS") - before


if __name__ == "__main__":
    print(beside_outputs(), growth(*map(int, sys.argv[1:] or ("1000000",))))
