"""Kill the trader everywhere on the order path, with real processes: `python -m tests.kills`.

Each of the named places `--kills` times, and `--sweeps` times every write to a socket between the
wish for a market order and its fill: the first write, the second, and so on until the order is
filled before the write comes. PostgreSQL, Valkey, the local OANDA server and the trader are real;
a death is SIGKILL. Each kill is a line of `--results` as soon as it is done: a run that was broken
off goes on where it was, another begins when the file is removed.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.postgres_for_tests import running, server_binaries
from tests.kills.places import PLACES
from tests.kills.stack import Kill, KillStack, can_trace, environment_of, kill_stack
from tests.world import ROOT
from webapp import embedded_valkey

SERIES = ("venue and Valkey", "database")
WRITES_MAX = 500
TRIES = 3
GOAL_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    option = parser.add_argument
    option("--kills", type=int, default=20, help="at each place (default: %(default)s)")
    option("--sweeps", type=int, default=1, help="over all writes (default: %(default)s)")
    option("--stacks", type=int, default=2, help="side by side (default: %(default)s)")
    option("--results", type=Path, default=ROOT / "build" / "kills.jsonl")
    option("--stack", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if server_binaries() is None:
        parser.error("PostgreSQL is missing: apt install postgresql")
    if options.sweeps and not can_trace():
        parser.error(
            "strace is missing, or may not follow processes: apt install strace, run this as root, "
            "or leave the writes out: --sweeps 0"
        )
    options.results.parent.mkdir(parents=True, exist_ok=True)
    if options.stack is not None:
        run_stack(options)
        return 0
    stacks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.kills", *sys.argv[1:], "--stack", str(number)],
            cwd=ROOT,
            # Ctrl-C reaches this command alone, which then ends each of them once.
            start_new_session=True,
            preexec_fn=embedded_valkey.die_with_parent,
        )
        for number in range(options.stacks)
    ]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        codes, ended = [stack.wait() for stack in stacks], ""
    except KeyboardInterrupt:
        for stack in stacks:
            stack.send_signal(signal.SIGINT)
        codes = [stack.wait(60) for stack in stacks]
        ended = "Broken off: the same command goes on where it was.\n"
    lines = read(options.results)
    sys.stdout.write(table(lines) + ended)
    broken = any(line["faults"] for line in lines)
    return 1 if broken or any(codes) else 0


def run_stack(options: argparse.Namespace) -> None:
    """Do this stack's share of what is not done yet, and settle everything in the end."""
    # Started in the background of a shell it is ignored, and the servers would be left behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    binaries = server_binaries()
    assert binaries is not None
    done = {(line["place"], line["number"]) for line in read(options.results)}
    with (
        tempfile.TemporaryDirectory(prefix="sep-kills-") as folder,
        running(binaries) as cluster,
    ):
        var_path = Path(folder)
        kept = environment_of(var_path)
        os.environ.clear()
        os.environ.update(kept)
        with kill_stack(var_path, database=cluster.url) as stack:
            started = time.monotonic()
            for kill in kills(stack, options, done):
                keep(options.results, kill.as_json())
                said = (
                    f"{kill.place} {kill.number}: armed after {kill.armed_s} s by start "
                    f"{kill.starts}, traded after {kill.seconds} s, {list(kill.faults)}"
                )
                print(f"{time.monotonic() - started:.0f} {said}", file=sys.stderr, flush=True)
            number = len([line for line in read(options.results) if line["place"] == "end"])
            end = Kill("end", number, True, 0.0, tuple(stack.settle()))
            keep(options.results, end.as_json())


def kills(
    stack: KillStack, options: argparse.Namespace, done: set[tuple[str, int]]
) -> Iterator[Kill]:
    """Kill one trader after another, as many as are this stack's."""
    turns = itertools.cycle(range(options.stacks))
    for number, place in itertools.product(range(options.kills), PLACES):
        if next(turns) != options.stack or (str(place), number) in done:
            continue
        for _ in range(TRIES):
            kill = stack.kill(place, number)
            if kill.reached or kill.faults:
                break
        yield kill
    # A sweep over the database has some seven times as many writes: each stack sweeps over both.
    for sweep, series in itertools.product(range(options.sweeps), SERIES):
        if sweep % options.stacks != options.stack:
            continue
        for write in range(1, WRITES_MAX):
            number = sweep * WRITES_MAX + write
            if (f"write to a socket, {series}", number) in done:
                continue
            for _ in range(TRIES):
                kill_at = stack.kill_at_write(series, write, number=number)
                if kill_at is None or kill_at.reached or kill_at.faults:
                    break
            if kill_at is None:
                break
            yield kill_at


def keep(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Return the kills as Markdown, and what was broken."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        rows[line["place"]].append(line)
    ends = rows.pop("end", [])
    head = (
        "| place | kills | died there | invariants broken | median s | most s |\n"
        "|---|---|---|---|---|---|\n"
    )
    body = "".join(_row(place, kills) for place, kills in rows.items())
    total = [line for kills in rows.values() for line in kills]
    late = sum(line["seconds"] > GOAL_S for line in total)
    said = (
        f"\n{len(total)} kills; another pair was traded again after more than {GOAL_S:g} s in "
        f"{late}. {len(ends)} stacks were settled and compared with the venue at the end: "
        f"{sum(bool(end['faults']) for end in ends)} with faults.\n"
    )
    faults = [fault for line in (*total, *ends) for fault in line["faults"]]
    return head + body + said + "".join(f"- {fault}\n" for fault in faults[:20])


def _row(place: str, kills: Sequence[dict[str, Any]]) -> str:
    seconds = sorted(line["seconds"] for line in kills)
    reached = sum(line["reached"] for line in kills)
    broken = sum(bool(line["faults"]) for line in kills)
    return (
        f"| {place} | {len(kills)} | {reached} | {broken} | "
        f"{seconds[len(seconds) // 2]:.1f} | {seconds[-1]:.1f} |\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
