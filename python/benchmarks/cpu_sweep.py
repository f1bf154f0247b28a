"""Measure sweeps against vectorbt and backtesting.py, on the same bars and rules.

Usage: python -m python.benchmarks.cpu_sweep BARS.csv

Rates are bar-evaluations (bars times rules) a second of processor time, one thread. A peer that is
not installed is left out. The peers are given the entries and exits that the sweep found, which
spares them the decisions and the metrics; what they make of each rule is compared with its net
result. Spread and costs are 0 here, because their cost models differ.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sep_engine.backtest import Costs, Grid, run, sweep
from sep_engine.backtest.sweep_plan import Block, SweepBars
from sep_engine.data import Bars, load_bars
from sep_engine.signals import Gate


def percentile(metric: str, low: float, high: float) -> Gate:
    return Gate(metric, "percentile", low, high)


GRID = Grid(
    direction=("last_bit_reversal", "run_persistence", "balance", "damped"),
    invert=(False, True),
    window=(32, 64),
    gates=(
        (),
        (percentile("coherence", 80.0, 100.0),),
        (percentile("coherence", 95.0, 100.0),),
        (percentile("entropy", 0.0, 20.0),),
        (percentile("stability", 0.0, 20.0),),
        (percentile("stability", 80.0, 100.0),),
    ),
    horizon_bars=(2, 4, 8, 16, 30, 60, 120, 240),
    stop_ticks=(None,),
)
BRACKETS = Grid(
    direction=GRID.direction,
    invert=GRID.invert,
    window=GRID.window,
    gates=GRID.gates,
    horizon_bars=(16, 60, 240),
    stop_ticks=(50, 100, 200, 300),
    target_ticks=(None, 200),
)
# 7,680 rules: reading bars and making decisions take the less of it the more there are.
MANY = replace(GRID, horizon_bars=tuple(range(2, 242, 3)))
FREE = Costs(0)


@dataclass(frozen=True, slots=True)
class Rate:
    """Bar-evaluations a second of one program on some rules."""

    name: str
    rules: int
    per_s: float


def best_of(times: int, work: Callable[[], object]) -> float:
    """Return the least processor time in seconds that `work` took."""
    took = []
    for _ in range(times):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def sweep_rate(bars: Bars, grid: Grid, name: str) -> Rate:
    """All figures of a grid from Python, bars and decisions included, one thread."""
    took = best_of(3, lambda: sweep(bars, grid, FREE, threads=1))
    return Rate(name, len(grid), len(grid) * bars.times.size / took)


def two_threads(bars: Bars, grid: Grid) -> float:
    """How many times as fast two threads sweep as one, by the clock; best of three of each."""
    took = dict.fromkeys((1, 2), math.inf)
    for _ in range(3):
        for threads, best in took.items():
            begun = time.perf_counter()
            sweep(bars, grid, FREE, threads=threads)
            took[threads] = min(best, time.perf_counter() - begun)
    return took[1] / took[2]


def engine_rate(bars: Bars, grid: Grid, name: str) -> Rate:
    """The same when the decisions are there already: what one more exit costs."""
    engine = SweepBars.of(bars, FREE, "mid").compiled("auto", 1)
    block = Block(range(grid.decisions), range(grid.exits))
    rules, out = (
        block.compiled(grid, block.decided(grid)),
        np.empty((13, len(grid)), dtype=np.int64),
    )
    whole = [(out, 0, len(grid), len(grid))]

    def figures() -> None:
        engine.begin(rules, whole, 0, True, 1)
        engine.finish()

    figures()
    took = best_of(3, figures)
    return Rate(name, len(grid), len(grid) * bars.times.size / took)


def fills(bars: Bars, grid: Grid, number: int) -> tuple[np.ndarray, int]:
    """Return (4, n) bool of one rule: bought, sold again, sold short, bought back; and its net."""
    result = run(bars, grid.rule(number), FREE)
    found = np.zeros((4, bars.times.size), dtype=bool)
    for trade in result.trades[:-1]:  # the last may end within the last bar, which has no open
        first = 0 if trade.direction > 0 else 2
        found[first, trade.entry_bar] = True
        found[first + 1, trade.exit_bar] = True
    return found, sum(trade.net_ticks for trade in result.trades[:-1])


def vectorbt_rate(bars: Bars, grid: Grid, numbers: list[int]) -> Rate:
    """vectorbt's simulation and total profit of some rules.

    Raises:
        AssertionError: a rule's profit is not its net result.
    """
    import pandas as pd
    import vectorbt as vbt

    made = [fills(bars, grid, number) for number in numbers]
    sides = [pd.DataFrame(np.stack([one[0][k] for one in made], axis=1)) for k in range(4)]
    opens = pd.Series(bars.open_ticks.astype(np.float64))

    def profits() -> Any:
        portfolio = vbt.Portfolio.from_signals(
            opens,
            entries=sides[0],
            exits=sides[1],
            short_entries=sides[2],
            short_exits=sides[3],
            size=1.0,
            init_cash=1e12,
        )
        return portfolio.total_profit().to_numpy()

    found = profits()  # compiles
    assert np.array_equal(np.rint(found), [one[1] for one in made]), (found, made)
    took = best_of(3, profits)
    return Rate("vectorbt", len(numbers), len(numbers) * bars.times.size / took)


def backtesting_rate(bars: Bars, grid: Grid, number: int, count: int) -> Rate:
    """backtesting.py on the first `count` bars and one rule."""
    import pandas as pd
    from backtesting import Backtest, Strategy

    found, _ = fills(bars, grid, number)
    signals = found[:, 1 : count + 1]  # an order of one bar is filled at the open of the next
    columns = {
        "Open": bars.open_ticks,
        "High": bars.high_ticks,
        "Low": bars.low_ticks,
        "Close": bars.close_ticks,
    }
    table = pd.DataFrame({name: ticks[:count].astype(float) for name, ticks in columns.items()})
    table.index = pd.to_datetime(bars.times[:count])

    class Replayed(Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            buy, leave, sell, cover = signals[:, len(self.data) - 1]
            if leave or cover:
                self.position.close()
            elif buy:
                self.buy(size=1)
            elif sell:
                self.sell(size=1)

    trial = Backtest(table, Replayed, cash=1e9, finalize_trades=True)
    took = best_of(1, trial.run)
    return Rate("backtesting.py", 1, count / took)


def measure(bars: Bars) -> Iterator[Rate]:
    """Yield the rates of the sweep and of the peers that are installed."""
    yield sweep_rate(bars, GRID, "sweep")
    yield sweep_rate(bars, MANY, "sweep, many exits")
    yield sweep_rate(bars, BRACKETS, "sweep, stops and targets")
    yield engine_rate(bars, GRID, "sweep, decisions made")
    for peer in (
        lambda: vectorbt_rate(bars, GRID, list(range(0, len(GRID), len(GRID) // 8))),
        lambda: backtesting_rate(bars, GRID, 0, min(20_000, bars.times.size - 1)),
    ):
        try:
            yield peer()
        except ModuleNotFoundError as missing:
            print(f"{missing.name} is not installed")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sweeps against their peers.")
    parser.add_argument("file")
    bars = load_bars(parser.parse_args().file)
    rates = []
    for rate in measure(bars):
        rates.append(rate)
        line = f"{rate.name:30} {rate.rules:5} rules {rate.per_s / 1e6:12,.2f} M bar-evaluations/s"
        print(line, f"{rates[0].per_s / rate.per_s:10,.1f} x slower than the sweep", flush=True)
    print(f"two threads over one, {len(MANY)} rules: {two_threads(bars, MANY):.2f} times")


if __name__ == "__main__":
    main()
