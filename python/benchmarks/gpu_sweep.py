"""Measure sweeps and reality checks on the GPUs of this machine.

Usage: python -m python.benchmarks.gpu_sweep [BARS.csv.gz] [--spread] [--json FILE] [--repeats N]

Without a file the shipped sample is taken. Times are from the call in Python to its result, the
best of N; a bar-evaluation is a bar times a rule. CUDA_VISIBLE_DEVICES says which GPUs work;
--spread measures only the three sweeps that are long enough to compare one, two and four of them,
--interrupt only how soon Ctrl-C ends a sweep of exits of up to 10,000 bars; the goal is 200 ms.
"""

import argparse
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

import sep_engine
from python.benchmarks.interrupt import wait_ms
from sep_engine.backtest import Costs, Grid, reality_check, sweep
from sep_engine.data import Bars, load_bars, load_sample
from sep_engine.signals import Gate

# 4,000 decisions: two directions with and without turn, eight windows, 125 gates.
_GATES: Final = tuple(
    (Gate(metric, "percentile", low, low + width),)
    for metric in ("coherence", "entropy", "stability", "balance", "rupture_ratio")
    for low in (0.0, 20.0, 40.0, 60.0, 75.0)
    for width in (5.0, 10.0, 15.0, 20.0, 25.0)
)
DECISIONS: Final = {
    "direction": ("run_persistence", "damped"),
    "invert": (False, True),
    "window": (16, 24, 32, 48, 64, 96, 128, 256),
    "gates": _GATES,
}
# 960 and 1,000 exits, 1 to 480 bars long.
_HORIZONS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 60, 90, 120, 160, 200, 240, 320, 400, 480)
PLAIN: Final = Grid(
    **DECISIONS,  # type: ignore[arg-type]
    horizon_bars=tuple(range(1, 481)),
    entry=("open", "close"),
    stop_ticks=(None,),
    units=Decimal(1),
)
GUARDED: Final = Grid(
    **DECISIONS,  # type: ignore[arg-type]
    horizon_bars=_HORIZONS,
    stop_ticks=(20, 30, 40, 50, 60, 80, 100, 150, 200, 300),
    target_ticks=(None, 20, 50, 100, 200),
    units=Decimal(1),
)
# Enough for several GPUs: four times the windows, and 62,000 decisions, whose gates are ranges of
# values, since coins of 124 windows take half a minute to toss.
_WINDOWS: Final = tuple(range(16, 1_008, 8))
MANY_PLAIN: Final = replace(PLAIN, window=_WINDOWS[:32])
MANY_GUARDED: Final = replace(GUARDED, window=_WINDOWS[:32])
MOST: Final = replace(
    GUARDED,
    window=_WINDOWS,
    gates=tuple(
        (Gate(gate.metric, "value", gate.low / 100, gate.high / 100),) for (gate,) in _GATES
    ),
)
# 64,000, 256,000 and 1,024,000 decisions with 1,000 exits each.
SPREAD: Final = tuple(
    replace(
        MANY_GUARDED,
        gates=tuple(
            (Gate(metric, "percentile", 80.0 * low / lows, 80.0 * low / lows + width),)
            for metric in ("coherence", "entropy", "stability", "balance", "rupture_ratio")
            for low in range(lows)
            for width in range(20 // widths, 21, 20 // widths)
        ),
    )
    for lows, widths in ((10, 10), (20, 20), (80, 20))
)
# 10,000 rules: 500 decisions, 20 exits.
CHECKED: Final = Grid(
    direction=("run_persistence", "damped"),
    invert=(False, True),
    window=(64,),
    gates=_GATES,
    horizon_bars=(1, 4, 16, 60, 240),
    stop_ticks=(None, 100),
    target_ticks=(None, 100),
    units=Decimal(1),
)

# Outcomes of thousands of bars, which take longest to make.
INTERRUPTED: Final = Grid(
    direction=("last_bit_momentum", "last_bit_reversal"),
    window=tuple(range(8, 1_008)),
    horizon_bars=tuple(range(1, 10_001)),
    stop_ticks=(None,),
    units=Decimal(1),
)
INTERRUPTED_AFTER_S: Final = (0.2, 0.5, 0.8, 1.1, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    rules: int
    bars: int
    worlds: int
    time_s: float

    @property
    def rate(self) -> float:
        return self.rules * self.bars * self.worlds / self.time_s

    def line(self) -> str:
        return (
            f"{self.what:34} {self.rules:10,} rules x {self.bars:9,} bars x {self.worlds:5,} worlds"
            f" {self.time_s:8.3f} s {self.rate / 1e12:7.3f} T bar-evaluations/s"
        )


def best_s(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)


def rows(bars: Bars, *, repeats: int = 3, spread: bool = False) -> list[Row]:
    """Return what was measured on these bars; with `spread` the three longest sweeps only."""
    costs = Costs(10, 1)
    size = int(bars.times.size)
    small = replace(PLAIN, horizon_bars=(4,), entry=("open",))
    sweep(bars, small, costs, backend="cuda", top=1)  # the device wakes up
    grids: tuple[tuple[str, Grid], ...] = (
        ("sweep without stops", PLAIN),
        ("sweep without stops", MANY_PLAIN),
        ("sweep with stops", GUARDED),
        ("sweep with stops", MANY_GUARDED),
        ("sweep with stops", MOST),
    )
    if spread:
        grids = tuple(("sweep with stops", grid) for grid in SPREAD)
    found = [
        Row(
            what,
            len(grid),
            size,
            1,
            best_s(partial(sweep, bars, grid, costs, side="bid", backend="cuda", top=10), repeats),
        )
        for what, grid in grids
    ]
    for worlds in () if spread else (1_000, 8_000):
        check = partial(reality_check, bars, CHECKED, costs, side="bid", backend="cuda")
        time_s = best_s(partial(check, count=worlds), repeats)
        found.append(Row("reality check, sign flips", len(CHECKED), size, worlds, time_s))
    return found


def interrupt(bars: Bars) -> None:
    """Print how long a sweep goes on after Ctrl-C, at several moments of it."""
    # A shell starts a background job with SIGINT ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    call = partial(sweep, bars, INTERRUPTED, Costs(10, 1), backend="cuda", top=1)
    # CUDA itself hears no signal while it starts, for half a second, once in a process.
    sweep(bars, replace(INTERRUPTED, horizon_bars=(1,)), Costs(10, 1), backend="cuda", top=1)
    for after_s in INTERRUPTED_AFTER_S:
        print(f"Ctrl-C after {after_s:.1f} s: {wait_ms(call, after_s):4.0f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bars", type=Path, nargs="?")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--spread", action="store_true", help="three long sweeps only")
    parser.add_argument("--interrupt", action="store_true", help="how soon Ctrl-C ends a sweep")
    asked = parser.parse_args()
    bars = load_sample().bars if asked.bars is None else load_bars(asked.bars)
    gpu = next(backend for backend in sep_engine.backends() if backend.name == "cuda")
    print(f"cuda: {gpu.detail}; bars: {bars.name}")
    if asked.interrupt:
        interrupt(bars)
        return
    measured = rows(bars, repeats=asked.repeats, spread=asked.spread)
    for row in measured:
        print(row.line())
    if asked.json is not None:
        asked.json.write_text(
            json.dumps(
                {
                    "gpu": gpu.detail,
                    "rows": [
                        {
                            "what": row.what,
                            "rules": row.rules,
                            "bars": row.bars,
                            "worlds": row.worlds,
                            "time_s": row.time_s,
                            "bar_evaluations_per_s": row.rate,
                        }
                        for row in measured
                    ],
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
