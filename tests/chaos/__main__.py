"""Run many fault schedules: `python -m tests.chaos --schedules 10000 [--first SEED] [--venue V]`.

V is `simple`, a venue of a few lines, or `oanda`, the local OANDA server's logic (slower).
The trace that is printed last is the same for any number of --jobs.
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
import time

from tests.chaos.oanda import run_oanda_schedule
from tests.chaos.schedules import run_schedule

SHOWN_MAX = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--venue", choices=("simple", "oanda"), default="simple")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    run = run_schedule if options.venue == "simple" else run_oanda_schedule
    started = time.monotonic()
    failed: list[int] = []
    everything = hashlib.sha256()
    seeds = range(options.first, options.first + options.schedules)
    with multiprocessing.Pool(options.jobs) as pool:
        for seed, (faults, trace) in zip(seeds, pool.imap(run, seeds, chunksize=20), strict=True):
            everything.update(trace.encode())
            if faults:
                failed.append(seed)
                if len(failed) <= SHOWN_MAX:
                    sys.stdout.write(f"seed {seed}: {'; '.join(faults)}\n")
    took = time.monotonic() - started
    sys.stdout.write(
        f"{options.schedules} schedules from seed {options.first}: {len(failed)} failed, "
        f"{took:.1f} s, {1000 * took / options.schedules:.2f} ms each, "
        f"trace {everything.hexdigest()[:16]}\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
