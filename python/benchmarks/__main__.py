"""Measure the engine on this machine: python -m python.benchmarks [--cpp PROGRAM] [--json FILE]

Builds and runs the C++ benchmarks (Google Benchmark) and the Python ones (pytest-benchmark), and
prints one table: every figure beside its floor, and its ratio to what its line names, all of this
one run. Writes the table with machine, compiler and commit to build/bench/.

What cannot be built or imported here is left out, and said. The figures depend on what else the
machine does; the load average stands with them.
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

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
PROGRAM = BUILD / "cpp" / "bench" / "sep_bench"
KERNELS = ("portable", "AVX2", "AVX-512")
BYTES = "40 bytes a window at the rate of the store-only loop"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, by the names of its figures.

    Attributes:
        what: said in words.
        figure: name of a rate; `cpp/...` is of the C++ program, `py/...` of bench_python.py.
        unit: of the items that the rate counts.
        of: name of the rate that this one is divided by; empty: the figure stands alone.
        goal: of the ratio, or in seconds an item where it stands alone; None: there is none.
        floor: name of a rate that cannot be passed; empty: not a matter of bytes.
    """

    what: str
    figure: str
    unit: str = "windows"
    of: str = ""
    goal: float | None = None
    floor: str = ""


def rolling_lines() -> list[Line]:
    warm, fresh = "cpp/store_only/warm", "cpp/store_only/fresh"
    lines = [
        Line("store-only loop, ten float32 arrays, warm", warm),
        Line("store-only loop, ten float32 arrays, fresh", fresh),
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
        lines.append(
            Line(
                f"W={window} simd, fresh arrays",
                f"cpp/rolling/fresh/{window}",
                of=fresh,
                goal=0.7 if window == 64 else None,
                floor=fresh,
            )
        )
        lines += [
            Line(
                f"W={window} simd, {threads} threads",
                f"cpp/threads{threads}/{window}",
                of=f"cpp/threads1/{window}",
                goal=1.8 if threads == 2 else None,
            )
            for threads in (2, 4)
        ]
    return lines


LINES = (
    *rolling_lines(),
    Line("W=64 simd, float64 outputs", "cpp/rolling/double/64", of="cpp/published/64"),
    Line("W=64 simd, from prices", "cpp/rolling/prices/64", "prices", of="cpp/published/64"),
    Line("Stream.update W=64, C++", "cpp/stream/update/64", "updates", goal=150e-9),
    Line("Stream.update W=1024, C++", "cpp/stream/update/1024", "updates"),
    Line("StreamBank of 1,000, C++", "cpp/stream/bank1000/64", "calls", goal=150e-6),
    Line("Python: W=64, given arrays", "py/test_rolling", of="py/test_store_only"),
    Line("Python: the same over NumPy", "py/test_rolling", of="py/test_rolling_peer[numpy]"),
    Line("Python: the same over Numba", "py/test_rolling", of="py/test_rolling_peer[numba]"),
    Line("Python: W=64, fresh arrays", "py/test_rolling_fresh", of="py/test_store_only"),
    Line("Python: Stream.update W=64", "py/test_stream_update", "updates", goal=2e-6),
    Line("Python: StreamBank of 1,000", "py/test_bank_update", "calls", goal=150e-6),
    Line("import sep_engine after NumPy", "py/test_import", "imports", goal=60e-3),
    Line(
        "sweep, one thread, over vectorbt",
        "py/test_sweep",
        "bar-rules",
        of="py/test_sweep_vectorbt",
        goal=300.0,
    ),
    Line("vectorbt, returns only", "py/test_sweep_vectorbt", "bar-rules"),
)


def build_program() -> Path | None:
    """Build the C++ benchmarks; None, after saying why, where that cannot be done."""
    done = subprocess.run(
        ("cmake", "--workflow", "--preset", "bench"),
        cwd=ROOT,
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


def cpp_rates(program: Path) -> dict[str, float]:
    """Rates by name; those of named kernels have the kernels' name before theirs."""
    rates = {}
    for kernels in (None, *KERNELS):
        report = BUILD / "cpp.json"
        arguments = [f"--benchmark_out={report}", "--benchmark_out_format=json"]
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
            name = case["name"].split("/min_time")[0]
            prefix = f"cpp/{kernels}" if kernels else "cpp"
            rates[f"{prefix}/{name}"] = float(case["items_per_second"])
    return rates


def python_rates() -> dict[str, float]:
    missing = [name for name in ("pytest_benchmark", "numba", "vectorbt") if not find_spec(name)]
    if missing:
        print(
            f"Python figures are left out: {', '.join(missing)} missing; make bench installs them"
        )
        return {}
    report = BUILD / "python.json"
    cases = Path(__file__).with_name("bench_python.py")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-W", "ignore", cases)
    done = subprocess.run(
        (*command, f"--benchmark-json={report}", "--benchmark-quiet"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(f"some Python figures are left out:\n{done.stdout[-2000:]}")
    rates = {}
    for case in json.loads(report.read_text())["benchmarks"] if report.exists() else []:
        extra = case["extra_info"]
        rate = 1 / extra["seconds"] if "seconds" in extra else extra["items"] / case["stats"]["min"]
        rates[f"py/{case['name']}"] = rate
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
        "processor": f"{model}, {os.cpu_count()} logical cores",
        "load_average": f"{os.getloadavg()[0]:.1f}",
        "compiler": said("c++", "--version"),
        "python": f"{platform.python_version()}, NumPy {np.__version__}",
        "engine": sep_engine.__version__,
        "commit": said("git", "rev-parse", "--short", "HEAD"),
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


def text_of(made: dict[str, Any]) -> str:
    text = f"{made['what']:44} {made['rate_per_s']:16,.0f} {made['unit']}/s"
    text = f"{text:72} {1e9 * made['seconds']:13,.1f} ns"
    text += f"  floor {1e9 * made['floor_s']:6.1f} ns" if "floor_s" in made else " " * 17
    if "ratio" in made:
        text += f" {made['ratio']:9.2f} x {made['of'].split('/', 1)[1]}"
    if made["goal"] is not None:
        goal = f"{made['goal']:g}" if made["of"] else f"{made['goal'] * 1e6:g} us"
        text += f"  (goal {goal}: {'reached' if made['reached'] else 'missed'})"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the engine.")
    parser.add_argument("--cpp", type=Path, help="C++ benchmarks that are built already")
    parser.add_argument("--json", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    program = arguments.cpp or build_program()
    about = machine()
    for name, value in about.items():
        print(f"{name:14} {value}")
    print(f"{'floor':14} {BYTES}", flush=True)
    rates = (cpp_rates(program) if program else {}) | python_rates()
    rows = [made for line in LINES if (made := row(line, rates)) is not None]
    for made in rows:
        print(text_of(made))
    if not rows:
        raise SystemExit("nothing could be measured here")
    path = arguments.json or BUILD / f"{about['commit']}-{about['when'].replace(':', '')}.json"
    path.write_text(json.dumps({"machine": about, "rows": rows}, indent=2) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
