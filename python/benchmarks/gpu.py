"""Measure the rolling metrics on one GPU, results staying there: python -m python.benchmarks.gpu

Prints the rate at which the device fills memory, then windows a second and the bytes that they
write as a share of that rate, all of this one run: of the kernels, for a series that was taken in,
and of a whole call, which also checks and packs the bits and makes the tables of the window.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import sep_engine
from sep_engine import qfh

TEN = (*qfh.COUNT_METRICS, "lambda_", "damped")  # ten float32 outputs, 40 bytes a window
WINDOWS = 1 << 28


def best_s(call: Callable[[], object], *, repeats: int = 5) -> float:
    """Return the shortest of several calls, each of which returns when the device has done."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def memset_bytes_per_s(size_bytes: int) -> float:
    import cupy

    array = cupy.empty(size_bytes, dtype=np.uint8)

    def fill() -> None:
        array.data.memset_async(7, size_bytes, cupy.cuda.Stream.null)
        cupy.cuda.Stream.null.synchronize()

    fill()
    return size_bytes / best_s(fill)


def main(windows: int = WINDOWS) -> None:
    gpu = next(backend for backend in sep_engine.backends() if backend.name == "cuda")
    if not gpu.available:
        raise SystemExit(f"backend cuda cannot run here: {gpu.detail}")
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True
    ).stdout.strip()
    memset = memset_bytes_per_s(4 * len(TEN) * windows)
    print(f"{gpu.detail}, driver {driver or 'unknown'}, commit {commit or 'unknown'}")
    print(f"memset {memset / 1e9:,.0f} GB/s; {windows:,} windows, outputs staying on the device")

    bits = np.random.default_rng(1).integers(0, 2, windows, dtype=np.uint8)
    on_device = sep_engine._core.to_device(bits, 0)
    trending = (np.cumsum(bits & np.roll(bits, 1)) % 2).astype(np.uint8)  # a quarter flips
    on_device_trending = sep_engine._core.to_device(trending, 0)
    for label, dtype, series in (
        ("ten float32, coin tosses", np.float32, on_device),
        ("ten float32, one flip in four bits", np.float32, on_device_trending),
        ("ten float64, coin tosses", np.float64, on_device),
    ):
        for window in (64, 256, 1024):
            out = qfh.rolling_bits_device(series, window=window, metrics=TEN, dtype=dtype)
            call_s = best_s(
                partial(
                    qfh.rolling_bits_device,
                    series,
                    window=window,
                    metrics=TEN,
                    dtype=dtype,
                    out=dict(out),
                )
            )
            roller = sep_engine._core.DeviceRoller(
                tick=1.0,
                window=window,
                stride=1,
                encoding="moves",
                metrics=TEN,
                predictor="markov",
                collapse_share=0.6,
                device=0,
            )
            roller.take_bits(series, None)
            kernels_s = best_s(partial(roller.run, dict(out), None))
            for what, seconds in (("kernels", kernels_s), ("whole call", call_s)):
                written = windows * len(TEN) * np.dtype(dtype).itemsize / seconds
                print(
                    f"{label}, W = {window}, {what}: {windows / seconds / 1e9:.1f} G windows/s, "
                    f"{written / 1e9:,.0f} GB/s written, {100 * written / memset:.0f} % of memset"
                )
            del out, roller


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
