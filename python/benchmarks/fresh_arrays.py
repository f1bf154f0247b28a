"""What rolling into fresh arrays waits for: `python -m python.benchmarks.fresh_arrays`.

Ten float32 results of 9,437,184 windows of 64 random bits, one thread, beside NumPy's stores into
ten arrays of the same size: first with the pages of 2 MB that NumPy asks for, then with those of
4 KB that malloc and std::vector give (NUMPY_MADVISE_HUGEPAGE=0). Prints nanoseconds a window of
processor time, of the program and of the kernel (which clears pages), and page faults; the least of
seven rounds that take turns. Then which share of the store-only loop that is, and what 70 % of the
loop leave for everything but the kernel, beside what rolling into warm arrays takes.

Linux only: it asks for the times of its own thread.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from sep_engine import qfh

WINDOWS = 9 * 2**20  # columns of 36 MB: below 32 MB the C library gives used ones again
ROUNDS = 7
METRICS = (*qfh.COUNT_METRICS, "lambda_", "damped")

Cost = tuple[float, float, int]  # ns a window of the program and of the kernel, page faults


def cost(work: Callable[[], object]) -> Cost:
    before = resource.getrusage(resource.RUSAGE_THREAD)
    kept = work()
    after = resource.getrusage(resource.RUSAGE_THREAD)
    del kept  # giving memory back is not part of it
    return (
        (after.ru_utime - before.ru_utime) * 1e9 / WINDOWS,
        (after.ru_stime - before.ru_stime) * 1e9 / WINDOWS,
        after.ru_minflt - before.ru_minflt,
    )


def main() -> None:
    bits = np.random.default_rng(1).integers(0, 2, WINDOWS, dtype=np.uint8)
    options = {"window": 64, "metrics": METRICS, "dtype": np.float32, "threads": 1}
    warm = {name: np.zeros(WINDOWS, dtype=np.float32) for name in METRICS}
    warm["complete"] = np.zeros(WINDOWS, dtype=np.bool_)

    def stores(arrays: list[np.ndarray]) -> list[np.ndarray]:
        for array in arrays:
            array.fill(1.0)
        return arrays

    cases: dict[str, Callable[[], object]] = {
        "stores into fresh arrays": lambda: stores(
            [np.empty(WINDOWS, dtype=np.float32) for _ in METRICS]
        ),
        "stores into warm arrays": lambda: stores([warm[name] for name in METRICS]),
        "rolling into fresh arrays": lambda: qfh.rolling_bits(bits, **options),
        "rolling into warm arrays": lambda: qfh.rolling_bits(bits, **options, out=warm),
    }
    least: dict[str, Cost] = {}
    for _ in range(ROUNDS):
        for name, work in cases.items():
            least[name] = min(least.get(name, (np.inf, np.inf, 0)), cost(work), key=sum_of)
    print(f"{'ns a window':28} program  kernel     all  page faults")
    for name, (program, kernel, faults) in least.items():
        print(f"{name:28} {program:7.2f} {kernel:7.2f} {program + kernel:7.2f} {faults:12,}")
    floor = sum_of(least["stores into fresh arrays"])
    found = sum_of(least["rolling into fresh arrays"])
    work = sum_of(least["rolling into warm arrays"])
    cleared = least["rolling into fresh arrays"][1]
    print(f"rolling into fresh arrays is {floor / found:.0%} of the store-only loop")
    print(
        f"70 % of it leave {floor / 0.7 - cleared:.1f} ns beside the kernel; warm takes {work:.1f}"
    )


def sum_of(measured: Cost) -> float:
    return measured[0] + measured[1]


PAGES = "NUMPY_MADVISE_HUGEPAGE"

if __name__ == "__main__":
    if PAGES in os.environ:
        main()
    else:
        for size, asks in (("2 MB", "1"), ("4 KB", "0")):
            print(f"pages of {size}", flush=True)
            subprocess.run(
                (sys.executable, "-m", "python.benchmarks.fresh_arrays"),
                env={**os.environ, PAGES: asks},
                check=True,
            )
