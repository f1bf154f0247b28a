"""Measure the search of null worlds: python -m python.benchmarks.gpu_lab [BACKEND] [WORLDS]

The 5,000 rules of `verdict_scale` on as many generated minute bars as EUR/USD has in the first half
of 2017, in worlds of coin flips: best of two calls from Python. `verdict_scale --option=--backend
--option=cuda` measures the whole verdict.
"""

import sys
import time
from typing import Final, cast

import numpy as np

import sep_engine
from python.benchmarks.verdict_scale import BARS, GRID
from sep_engine.backtest import Grid
from sep_engine.evidence.family import rule_family
from sep_engine.evidence.market import TimedBars
from sep_engine.evidence.power import null_market
from sep_engine.evidence.worlds import best_of_worlds
from sep_engine.qfh import BackendName

MINUTES_A_DAY: Final = 1440
CUTS: Final = tuple(range(60, 130, 10))  # days that a walk-forward chooses on


def searched_s(market: TimedBars, worlds: int, backend: BackendName) -> tuple[float, float]:
    """Return the seconds that it takes, and of the processor."""
    grid = Grid.from_toml(GRID)
    family = rule_family([grid.rule(number) for number in range(len(grid))])
    day = np.arange(len(market)) // MINUTES_A_DAY
    start, cpu = time.perf_counter(), time.process_time()
    found = best_of_worlds(
        market,
        family,
        day=day,
        spread=10,
        kind="sign",
        seed=1,
        first=0,
        count=worlds,
        cuts=(*CUTS, int(day[-1]) + 1),
        backend=backend,
    )
    count = sum(1 for _ in found)
    assert count == worlds
    return time.perf_counter() - start, time.process_time() - cpu


def main(backend: str = "auto", worlds: int = 500) -> None:
    gpu = next(one for one in sep_engine.backends() if one.name == "cuda")
    rules = len(Grid.from_toml(GRID))
    chosen = cast(BackendName, backend)
    market = null_market(BARS, seed=1)
    took, cpu = min(searched_s(market, worlds, chosen) for _ in range(2))
    used = gpu.detail if backend in ("auto", "cuda") and gpu.available else "processor"
    print(
        f"{rules:,} rules, {BARS:,} bars, {worlds} worlds of coin flips, backend {backend} "
        f"({used}): {took:.2f} s, {cpu:.2f} s of the processor"
    )


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
