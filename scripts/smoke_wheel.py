"""Try an installed sep_engine, and nothing of the checkout: its bytes, its sample, its command.

Usage: smoke_wheel.py [BACKEND...]: these must be there. Needs what the wheel requires, no more.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

import sep_engine
from sep_engine import qfh


def main(needed: list[str]) -> None:
    installed = Path(sep_engine.__file__).resolve()
    if "site-packages" not in installed.parts:
        sys.exit(f"this is the engine of a checkout, not an installed one: {installed}")
    found = {backend.name: backend for backend in sep_engine.backends()}
    for backend in found.values():
        print(f"{backend.name}: {'yes' if backend.available else 'no'}, {backend.detail}")
    missing = [name for name in needed if name not in found or not found[name].available]
    if missing:
        sys.exit(f"not available: {', '.join(missing)}")

    steps = np.random.default_rng(1).integers(-3, 4, 100_000)
    prices = (100_000 + np.cumsum(steps)) * 1e-5
    results = {
        name: qfh.rolling(prices, tick=1e-5, metrics="all", backend=name)  # type: ignore[arg-type]
        for name, backend in found.items()
        if backend.available
    }
    wanted = results.pop("scalar").columns
    for name, result in results.items():
        unequal = [
            metric
            for metric, values in result.columns.items()
            if values.tobytes() != wanted[metric].tobytes()
        ]
        if unequal:
            sys.exit(f"{name} gives other bytes than scalar: {', '.join(unequal)}")
    command = [sys.executable, "-m", "sep_engine.cli", "analyze", "--sample"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "coherence" not in said:
        sys.exit(f"sep analyze --sample said:\n{said}")
    print(f"sep_engine {sep_engine.__version__} works: {len(prices):,} prices, equal bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
