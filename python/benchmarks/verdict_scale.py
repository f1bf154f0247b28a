"""What a verdict on 5,000 rules takes: `python -m python.benchmarks.verdict_scale [FILE]`.

Runs `sep verdict` as a person would and prints elapsed time, processor time and the most memory.
Without a FILE the bars are generated: as many as EUR/USD has minutes in the first half of 2017.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sep_engine.backtest import Grid
from sep_engine.evidence.power import null_market

GRID = Path(__file__).with_suffix(".toml")
BARS = 186_348
_MINUTE_NS = 60_000_000_000
_WEEK = 5 * 24 * 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", nargs="?", type=Path, help="bars of one minute")
    parser.add_argument("--surrogates", type=int, default=500)
    parser.add_argument("--bars", type=int, default=BARS, help="to generate, without a file")
    parser.add_argument("--option", action="append", default=[], help="passed on to sep verdict")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, flags = given.file, list(given.option)
        if file is None:
            file = Path(folder) / "generated.csv"
            write_minutes(file, given.bars)
            flags.append("--synthetic")
        command = [sys.executable, "-m", "sep_engine.cli", "verdict", str(file)]
        command += ["--grid", str(GRID), "--costs", "1", "--json", "--out", folder, *flags]
        command += ["--surrogates", str(given.surrogates)]
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        elapsed_s = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    document = json.loads(done.stdout)
    print(
        f"{len(Grid.from_toml(GRID)):,} rules, {document['provenance']['bars']:,} bars, "
        f"{given.surrogates} sign worlds and 50 of each other kind, {os.cpu_count()} cores: "
        f"{elapsed_s:.1f} s elapsed, {used.ru_utime + used.ru_stime:.1f} s of processor, "
        f"at most {used.ru_maxrss / 1024:,.0f} MB in one process"
    )
    cuts = document["causality"]["truncations"]
    print(f"{cuts:,} cuts of the causality gate. {document['verdict']['text']}")


def write_minutes(path: Path, bars: int) -> None:
    """Write generated bars of one minute, Monday to Friday in UTC."""
    market = null_market(bars, seed=1)
    first = int(np.datetime64("2017-01-02T00:00", "ns").astype(np.int64))
    place = np.arange(bars)
    minutes = place // _WEEK * (7 * 24 * 60) + place % _WEEK
    times = (first + minutes * _MINUTE_NS).astype("datetime64[ns]").astype("datetime64[s]")
    columns = (market.bars.open, market.bars.high, market.bars.low, market.bars.close)
    with path.open("w", encoding="utf-8") as file:
        file.write("time,open,high,low,close\n")
        for at, *ticks in zip(times, *columns, strict=True):
            file.write(f"{at}Z," + ",".join(f"{tick / 1e5:.5f}" for tick in ticks) + "\n")


if __name__ == "__main__":
    main()
