"""Measure the engine: python -m python.benchmarks [--windows N] [--json FILE]

Prints one table: rate, time per item, and the ratio to what its line names, all of this one run.
The figures depend on what else the machine does; the load average is printed with them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import sep_engine
from sep_engine import qfh

TEN = (*qfh.COUNT_METRICS, "lambda_", "damped")  # ten float32 outputs, 40 bytes a window
TICK = 1e-5


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    items: str
    rate_per_s: float
    ratio: float | None = None
    of: str = ""

    def line(self) -> str:
        time_ns = 1e9 / self.rate_per_s
        ratio = "" if self.ratio is None else f"{self.ratio:9.2f} x {self.of}"
        return f"{self.what:58} {self.rate_per_s:14,.0f} {self.items}/s {time_ns:12,.1f} ns {ratio}"


def best_s(call: Callable[[], object], *, repeats: int = 5) -> float:
    """Return the shortest of several runs: the one that the rest of the machine disturbed least."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@contextmanager
def kernels(name: str | None) -> Iterator[None]:
    """Choose the vector kernels for a while; None leaves the choice to the engine."""
    if name is None:
        yield
        return
    os.environ["SEP_SIMD"] = name
    try:
        yield
    finally:
        del os.environ["SEP_SIMD"]


def kernel_names() -> list[str]:
    names = []
    for name in ("portable", "AVX2", "AVX-512"):
        with kernels(name):
            try:
                sep_engine.backends()
            except sep_engine.errors.BackendError:
                continue
        names.append(name)
    return names


def published_rate(bits: NDArray[np.uint8], window: int) -> float:
    """Windows a second of the published analysis, as this package repeats it (`qfh.legacy`)."""
    count = 2000
    return count / best_s(
        lambda: [qfh.legacy.analyze(bits[i : i + window]) for i in range(count)], repeats=3
    )


def rolling_rows(windows: int) -> list[Row]:
    bits = np.random.default_rng(1).integers(0, 2, windows, dtype=np.uint8)
    rows = []
    for window in (64, 256, 1024):
        published = published_rate(bits, window)
        rows.append(Row(f"published analysis, W = {window}", "windows", published))
        out = {name: np.zeros(windows, dtype=np.float32) for name in TEN}
        cases: list[tuple[str, qfh.BackendName, str | None, int]] = [("scalar", "scalar", None, 1)]
        cases += [(name, "simd", name, 1) for name in kernel_names()]
        cases += [("simd, 2 threads", "simd", None, 2)]
        if any(b.name == "cuda" and b.available for b in sep_engine.backends()):
            cases += [("cuda, results copied to the host", "cuda", None, 1)]
        one_thread = 0.0
        for label, backend, kernel, threads in cases:
            with kernels(kernel):
                seconds = best_s(
                    partial(
                        qfh.rolling_bits,
                        bits,
                        window=window,
                        metrics=TEN,
                        out=out,
                        backend=backend,
                        threads=threads,
                    )
                )
            rate = windows / seconds
            ratio, of = rate / published, f"published, W = {window}"
            if threads == 2:
                ratio, of = rate / one_thread, "one thread"
            elif kernel is not None:
                one_thread = rate
            rows.append(
                Row(f"rolling into warm arrays, W = {window}, {label}", "windows", rate, ratio, of)
            )

    def store_only() -> None:
        for _ in TEN:
            np.empty(windows, dtype=np.float32).fill(1.0)

    stores = windows / best_s(store_only)
    rows.append(Row("store-only loop into ten fresh float32 arrays", "windows", stores))
    fresh = windows / best_s(
        lambda: qfh.rolling_bits(bits, metrics=TEN, dtype=np.float32, threads=1)
    )
    rows.append(
        Row("rolling into fresh arrays, W = 64", "windows", fresh, fresh / stores, "store-only")
    )
    return rows


def stream_rows() -> list[Row]:
    rng = np.random.default_rng(2)
    prices = np.rint(110_000 + np.cumsum(rng.integers(-2, 3, 100_000))) * TICK
    values = prices.tolist()

    def run_stream() -> None:
        update = qfh.Stream(tick=TICK).update
        for price in values:
            update(price)

    rows = [Row("Stream.update from Python, W = 64", "updates", len(values) / best_s(run_stream))]
    bank = qfh.StreamBank(np.full(1000, TICK))
    steps = prices[:1000, None] + np.zeros((1, 1000))

    def run_bank() -> None:
        for row in steps:
            bank.update(row)

    rate = len(steps) / best_s(run_bank, repeats=3)
    rows.append(Row("StreamBank.update of 1,000 instruments, W = 64", "calls", rate))
    return rows


def import_row() -> Row:
    code = (
        "import numpy, time; t = time.perf_counter(); import sep_engine;"
        "print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", code]
    seconds = min(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(5)
    )
    return Row("import sep_engine after NumPy", "imports", 1 / seconds)


def machine() -> dict[str, str]:
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [ln for ln in cpuinfo.read_text().splitlines() if ln.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "processor": f"{model}, {os.cpu_count()} logical cores",
        "load_average": f"{os.getloadavg()[0]:.1f}",
        "python": f"{platform.python_version()}, NumPy {np.__version__}",
        "engine": sep_engine.__version__,
        "commit": commit.stdout.strip() or "unknown",
        "backends": "; ".join(
            f"{b.name}: {b.detail}" for b in sep_engine.backends() if b.available
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the engine.")
    parser.add_argument("--windows", type=int, default=4_000_000, help="windows of a rolling call")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    about = machine()
    for name, value in about.items():
        print(f"{name:14} {value}")
    rows = []
    for measured in (rolling_rows(arguments.windows), stream_rows(), [import_row()]):
        rows += measured
        for row in measured:
            print(row.line(), flush=True)
    if arguments.json:
        record = {"machine": about, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
