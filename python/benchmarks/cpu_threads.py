"""Measure rolling calls on two threads beside what the machine can give: two processes.

Usage: python -m python.benchmarks.cpu_threads [ROUNDS]

For each window length one line: how many times as fast as one thread two threads are, from Python
into warm arrays, and how many times as much two processes of one thread do at the same moment. The
processes share nothing but the machine, so their factor is the most that threads can reach. The
best of ROUNDS (9 unless told otherwise) counts for each; the cases take turns. Linux only: the
processes are forked.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier

import numpy as np

from sep_engine import qfh

WINDOWS = 1 << 22
METRICS = (*qfh.COUNT_METRICS, "lambda_", "damped")


class Series:
    """Random bits, and arrays that their metrics have been written to before."""

    def __init__(self, window: int) -> None:
        self.bits = np.random.default_rng(1).integers(0, 2, WINDOWS, dtype=np.uint8)
        self.out = {name: np.ones(WINDOWS, dtype=np.float32) for name in METRICS}
        self.window = window

    def seconds(self, threads: int) -> float:
        """Elapsed seconds of one call."""
        began = time.perf_counter()
        qfh.rolling_bits(
            self.bits,
            window=self.window,
            metrics=METRICS,
            dtype=np.float32,
            out=self.out,
            threads=threads,
        )
        return time.perf_counter() - began


def roll_beside(window: int, rounds: int, barrier: Barrier) -> None:
    """What the other process does: a call of one thread whenever both are ready."""
    series = Series(window)
    for _ in range(rounds):
        barrier.wait()
        series.seconds(1)
        barrier.wait()


def factors(window: int, rounds: int) -> tuple[float, float]:
    """Return (two threads over one, two processes over one)."""
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(2)
    other = fork.Process(target=roll_beside, args=(window, rounds, barrier))
    other.start()
    series = Series(window)
    one, two, beside = [], [], []
    for _ in range(rounds):
        one.append(series.seconds(1))
        two.append(series.seconds(2))
        barrier.wait()
        began = time.perf_counter()
        series.seconds(1)
        barrier.wait()  # both have ended
        beside.append(time.perf_counter() - began)
    other.join()
    return min(one) / min(two), 2 * min(one) / min(beside)


if __name__ == "__main__":
    for window in (64, 256, 1024):
        threads, processes = factors(window, *map(int, sys.argv[1:] or ("9",)))
        print(
            f"W={window}: two threads {threads:.2f} times one; two processes {processes:.2f}; "
            f"threads reach {threads / processes:.0%} of it",
            flush=True,
        )
