"""Measure the engine on this machine: python -m python.benchmarks [--short] [--bars BARS.csv]

Builds and runs the C++ benchmarks (Google Benchmark), the Python ones (pytest-benchmark) and those
of sweeps, and prints one table: every figure beside its floor, and its ratio to what its line
names, all of this one run. Writes the table with machine, compiler and commit to build/bench/.

Each peer's results are compared with the engine's before it is timed; where they differ the exit
status is 1. A line whose peer is missing says so. Each figure is the best of several runs, which
the C++ program takes in random order. They depend on what else the machine does; the load average
stands with them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import sep_engine
from python.benchmarks import cpu_sweep
from sep_engine.data import Bars, load_bars, load_sample

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
PROGRAM = BUILD / "cpp" / "bench" / "sep_bench"
CORES = os.cpu_count() or 1
KERNELS = ("portable", "AVX2", "AVX-512")
BYTES = "40 bytes a window at the rate of the store-only loop"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, by the names of its figures.

    Attributes:
        what: said in words.
        figure: name of a rate; `cpp/...` is of the C++ program, `py/...` of bench_python.py,
            `sweep/...` of cpu_sweep.py.
        unit: of the items that the rate counts.
        of: name of the rate that this one is divided by; empty: the figure stands alone.
        goal: of the ratio, or in seconds an item where it stands alone; None: there is none.
        floor: name of a rate that cannot be passed; empty: not a matter of bytes.
        needs: the module without which there is no such figure; empty: none.
    """

    what: str
    figure: str
    unit: str = "windows"
    of: str = ""
    goal: float | None = None
    floor: str = ""
    needs: str = ""


def rolling_lines() -> list[Line]:
    warm, fresh = "cpp/store_only/warm", "cpp/store_only/fresh"
    small = "cpp/store_only/small"
    lines = [
        Line("store-only loop, ten float32 arrays, warm", warm),
        Line("store-only loop, fresh, pages of 2 MB", fresh),
        Line("store-only loop, fresh, pages of 4 KB", small),
    ]
    goals = {64: 300.0, 256: None, 1024: 750.0}
    for window, goal in goals.items():
        published, ours = f"cpp/published/{window}", f"cpp/rolling/warm/{window}"
        lines += [
            Line(f"W={window} published analysis", published),
            Line(f"W={window} scalar", f"cpp/rolling/scalar/{window}", of=published, floor=warm),
            Line(f"W={window} simd, warm arrays", ours, of=published, goal=goal, floor=warm),
        ]
        lines += [
            Line(f"W={window} simd, {name}", f"cpp/{name}/rolling/warm/{window}", of=published)
            for name in KERNELS
        ]
        lines += [
            Line(
                f"W={window} simd, fresh, pages of {size}",
                f"cpp/rolling/{loop.split('/')[-1]}/{window}",
                of=loop,
                goal=0.7 if window == 64 else None,
                floor=loop,
            )
            for size, loop in (("2 MB", fresh), ("4 KB", small))
        ]
        lines += [
            Line(
                f"W={window} simd, {threads} threads",
                f"cpp/threads{threads}/{window}",
                of=f"cpp/threads1/{window}",
                goal=1.8 if threads == 2 else None,
            )
            for threads in (2, 4)
            if threads <= CORES
        ]
    return lines


LINES = (
    *rolling_lines(),
    Line(
        "W=64 simd, fresh 2 MB, over the 4 KB loop",
        "cpp/rolling/fresh/64",
        of="cpp/store_only/small",
        goal=0.7,
    ),
    Line("W=64 simd, float64 outputs", "cpp/rolling/double/64", of="cpp/published/64"),
    Line("W=64 simd, from prices", "cpp/rolling/prices/64", "prices", of="cpp/published/64"),
    Line("Stream.update W=64, C++", "cpp/stream/update/64", "updates", goal=150e-9),
    Line("Stream.update W=1024, C++", "cpp/stream/update/1024", "updates"),
    Line("StreamBank of 1,000, C++", "cpp/stream/bank1000/64", "calls", goal=150e-6),
    Line("Python: W=64, given arrays", "py/test_rolling", of="py/test_stores[given]"),
    Line("Python: the same over NumPy", "py/test_rolling", of="py/test_rolling_peer[numpy]"),
    Line(
        "Python: the same over Numba",
        "py/test_rolling",
        of="py/test_rolling_peer[numba]",
        needs="numba",
    ),
    Line("Python: W=64, fresh arrays", "py/test_rolling_fresh", of="py/test_stores[fresh]"),
    Line("Python: Stream.update W=64", "py/test_stream_update", "updates", goal=2e-6),
    Line("Python: StreamBank of 1,000", "py/test_bank_update", "calls", goal=150e-6),
    Line("import sep_engine after NumPy", "py/test_import", "imports", goal=60e-3),
    Line("sweep, one thread, 1 ns a bar-rule", "sweep/all", "bar-rules", goal=1e-9),
    Line(
        "the same over vectorbt (profits only)",
        "sweep/all",
        "bar-rules",
        of="sweep/vectorbt",
        goal=300.0,
        needs="vectorbt",
    ),
    Line(
        "the same over backtesting.py",
        "sweep/all",
        "bar-rules",
        of="sweep/backtesting",
        needs="backtesting",
    ),
    Line("sweep with stops and targets", "sweep/brackets", "bar-rules", goal=1e-9),
    Line("sweep, decisions there already", "sweep/decided", "bar-rules", goal=1e-9),
)


def build_program() -> Path | None:
    """Build the C++ benchmarks; None, after saying why, where that cannot be done."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ("cmake", "--workflow", "--preset", "bench"),
        cwd=ROOT,
        env={**os.environ, "PATH": tools},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return PROGRAM
    if "benchmark" in done.stdout and "find_package" in done.stdout:
        print("C++ figures are left out: Google Benchmark is missing: apt install libbenchmark-dev")
    else:
        print(f"C++ figures are left out: they do not build\n{done.stdout[-2000:]}")
    return None


def cpp_rates(program: Path, short: bool) -> dict[str, float]:
    """Rates by name; those of named kernels have the kernels' name before theirs."""
    rates: dict[str, float] = {}
    for kernels in (None, *KERNELS):
        report = BUILD / "cpp.json"
        arguments = [
            f"--benchmark_out={report}",
            "--benchmark_out_format=json",
            f"--benchmark_min_time={0.02 if short else 0.1}",
            f"--benchmark_repetitions={2 if short else 5}",
            "--benchmark_enable_random_interleaving=true",
        ]
        if kernels is not None:
            arguments.append("--benchmark_filter=^rolling/warm")
        done = subprocess.run(
            (program, *arguments),
            env={**os.environ, **({"SEP_SIMD": kernels} if kernels else {})},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            if kernels is None:
                raise SystemExit(f"{program.name} failed: {done.stderr[-500:]}")
            continue  # this machine does not have them
        for case in json.loads(report.read_text())["benchmarks"]:
            if case.get("error_occurred"):
                raise SystemExit(f"{case['name']}: {case['error_message']}")
            if case["run_type"] != "iteration":
                continue
            name = case["run_name"].removesuffix("/real_time")
            name = f"cpp/{kernels}/{name}" if kernels else f"cpp/{name}"
            rates[name] = max(rates.get(name, 0.0), float(case["items_per_second"]))
    return rates


def python_rates() -> dict[str, float]:
    """Rates by name of case.

    Raises:
        SystemExit: a case failed, which it does when results differ from a peer's.
    """
    if find_spec("pytest_benchmark") is None:
        print("Python figures are left out: pytest-benchmark is missing; make bench installs it")
        return {}
    report = BUILD / "python.json"
    cases = Path(__file__).with_name("bench_python.py")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-W", "ignore", cases)
    done = subprocess.run(
        (
            *command,
            f"--benchmark-json={report}",
            "--benchmark-quiet",
            "--benchmark-timer=time.process_time",  # what other programs take does not count
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"a Python case failed:\n{done.stdout[-2000:]}")
    rates = {}
    for case in json.loads(report.read_text())["benchmarks"]:
        extra = case["extra_info"]
        rate = 1 / extra["seconds"] if "seconds" in extra else extra["items"] / case["stats"]["min"]
        rates[f"py/{case['name']}"] = rate
    return rates


def sweep_rates(bars: Bars) -> dict[str, float]:
    """Bar-rules a second of sweeps and of the peers that are installed.

    Raises:
        AssertionError: a peer's profit of a rule is not its net result.
    """
    grid = cpu_sweep.GRID
    rates = {
        "sweep/all": cpu_sweep.sweep_rate(bars, grid, "sweep").per_s,
        "sweep/brackets": cpu_sweep.sweep_rate(bars, cpu_sweep.BRACKETS, "brackets").per_s,
        "sweep/decided": cpu_sweep.engine_rate(bars, grid, "decided").per_s,
    }
    if find_spec("vectorbt") is not None:
        chosen = list(range(0, len(grid), len(grid) // 8))
        rates["sweep/vectorbt"] = cpu_sweep.vectorbt_rate(bars, grid, chosen).per_s
    if find_spec("backtesting") is not None:
        count = min(20_000, bars.times.size - 1)
        rates["sweep/backtesting"] = cpu_sweep.backtesting_rate(bars, grid, 0, count).per_s
    return rates


def machine() -> dict[str, str]:
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [ln for ln in cpuinfo.read_text().splitlines() if ln.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model

    def said(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        except FileNotFoundError:
            return "unknown"
        return done.stdout.splitlines()[0].strip() if done.stdout else "unknown"

    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": f"{model}, {CORES} logical cores",
        "load_average": f"{os.getloadavg()[0]:.1f}",
        "compiler": said("c++", "--version"),
        "python": f"{platform.python_version()}, NumPy {np.__version__}",
        "engine": sep_engine.__version__,
        "commit": said("git", "describe", "--always", "--dirty"),
        "backends": "; ".join(
            f"{b.name}: {b.detail}" for b in sep_engine.backends() if b.available
        ),
    }


def row(line: Line, rates: dict[str, float]) -> dict[str, Any] | None:
    """A line with its numbers; None when its figure was not measured."""
    rate = rates.get(line.figure)
    if rate is None or (line.of and line.of not in rates):
        return None
    made: dict[str, Any] = {**asdict(line), "rate_per_s": rate, "seconds": 1 / rate}
    if line.of:
        made["ratio"] = rate / rates[line.of]
    if line.floor in rates:
        made["floor_s"] = 1 / rates[line.floor]
    if line.goal is not None:
        reached = made["ratio"] >= line.goal if line.of else made["seconds"] <= line.goal
        made["reached"] = bool(reached)
    return made


def reason_of(line: Line, rates: dict[str, float]) -> str:
    """Why a line has no numbers."""
    group = line.figure.split("/")[0]
    if not any(name.startswith(group) for name in rates):
        return "left out above"
    if line.needs and find_spec(line.needs) is None:
        return f"{line.needs} is not installed; make bench installs it"
    return "this machine cannot run it"


def text_of(made: dict[str, Any]) -> str:
    text = f"{made['what']:44} {made['rate_per_s']:16,.0f} {made['unit']}/s"
    text = f"{text:72} {1e9 * made['seconds']:13,.1f} ns"
    text += f"  floor {1e9 * made['floor_s']:6.1f} ns" if "floor_s" in made else " " * 17
    if "ratio" in made:
        text += f" {made['ratio']:9.2f} x {made['of'].split('/', 1)[1]}"
    if made["goal"] is not None:
        goal = f"{made['goal']:g}" if made["of"] else f"{made['goal'] * 1e9:,g} ns"
        text += f"  (goal {goal}: {'reached' if made['reached'] else 'missed'})"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the engine.")
    parser.add_argument("--short", action="store_true", help="fewer runs of each figure")
    parser.add_argument("--bars", type=Path, help="for sweeps; the sample unless given")
    parser.add_argument("--cpp", type=Path, help="C++ benchmarks that are built already")
    parser.add_argument("--json", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")  # a peer would draw its progress into the table
    bars = load_bars(arguments.bars) if arguments.bars else load_sample().bars
    BUILD.mkdir(parents=True, exist_ok=True)
    program = arguments.cpp or build_program()
    about = machine() | {"bars": f"{bars.times.size:,}"}
    rates = cpp_rates(program, arguments.short) if program else {}
    rates |= python_rates()
    rates |= sweep_rates(bars)
    table = [f"{name:14} {value}" for name, value in about.items()]
    table.append(f"{'floor':14} {BYTES}")
    rows = []
    for line in LINES:
        made = row(line, rates)
        if made is not None:
            rows.append(made)
        table.append(
            text_of(made) if made else f"{line.what:44} not measured: {reason_of(line, rates)}"
        )
    print("\n".join(table))
    path = arguments.json or BUILD / f"{about['commit']}-{about['when'].replace(':', '')}.json"
    path.write_text(json.dumps({"machine": about, "rows": rows}, indent=2) + "\n")
    path.with_suffix(".txt").write_text("\n".join(table) + "\n")
    print(f"written to {path} and {path.with_suffix('.txt').name}")


if __name__ == "__main__":
    main()
