"""Compare every backend that runs here with the reference, byte for byte, over many windows.

Usage: python -m python.benchmarks.same_bytes [BITS]

Prints how many windows were compared, or fails at the first metric that differs.
"""

import sys

import numpy as np

import sep_engine
from sep_engine import qfh

WINDOWS = (8, 31, 32, 33, 63, 64, 65, 127, 128, 256, 1023, 1024)
GAP_SHARES = (0.0, 0.0005)


def main(bits: int = 1_000_000) -> None:
    names = [backend.name for backend in sep_engine.backends() if backend.available]
    rng = np.random.default_rng(5)
    compared = 0
    for window in WINDOWS:
        for share in GAP_SHARES:
            series = rng.integers(0, 2, bits, dtype=np.uint8)
            gap = rng.random(bits) < share
            results = [
                qfh.rolling_bits(series, window=window, gap=gap, backend=name) for name in names
            ]
            for metric in results[0].columns:
                first, *others = (getattr(result, metric).tobytes() for result in results)
                if any(other != first for other in others):
                    raise SystemExit(f"{metric} differs at window {window}, gap share {share}")
            compared += bits - window + 1
    print(f"{compared:,} windows: {', '.join(names)} give the same bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
