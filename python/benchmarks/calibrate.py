"""Calibrate the evidence lab on generated worlds, and print the tables as Markdown.

    python python/benchmarks/calibrate.py [--scale 1.0] [--jobs N] [--write FILE] [--docs]

`--scale` multiplies the number of worlds of every part: 1 is 1,000 null markets. Every world is a
piece of work of its own, seeded by its number, so that the tables are the same for any number of
jobs. With `--write` finished worlds are kept in FILE.(code).worlds.jsonl, and a run that was cut
off goes on from there; a larger scale starts from the worlds of a smaller one. The curves of power
are drawn beside FILE. `--docs` puts page and curves into docs/studies, and the figures into the
README's row.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import itertools
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Final, TextIO, cast

import numpy as np

import sep_engine
from sep_engine import _core
from sep_engine.evidence.family import rule_family
from sep_engine.evidence.lab import RoundTripCosts, evaluate
from sep_engine.evidence.power import (
    annual_sharpe_of_calls,
    null_market,
    passes,
    planted_days,
    uniformity,
    user_who_peeks_passes,
)
from sep_engine.evidence.selection import bootstrap_rows, superior_ability
from sep_engine.evidence.settings import Count, Settings
from sep_engine.evidence.statistics import wilson
from sep_engine.signals import Gate, Rule

WORLDS = 39
QUICK = Settings(
    surrogates={"sign": WORLDS},
    truncations=50,
    gate_bars=300,
    gate_trades=3,
    draws=199,
    pbo_blocks=8,
)
DAYS = Settings(draws=499, pbo_blocks=10)
FREE = RoundTripCosts(spread=0, pip=10.0, assumed=False, source="generated: no cost")
ROOT: Final = Path(__file__).resolve().parents[2]
POWER: Final = "calibration-power.svg"
RULES = tuple(
    Rule(
        direction=way,
        gates=gates,
        horizon_bars=horizon,
        stop_ticks=None,
        units=Decimal(1),
        window=16,
    )
    for way in ("last_bit_reversal", "last_bit_momentum", "balance")
    for gates in ((), (Gate("coherence", "percentile", 80.0, 100.0),))
    for horizon in (1, 4)
)
SHARPES = (0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0)
FAMILIES = (10, 1000)
# What the results depend on, beside the functions and settings here.
SOURCES = ("backtest", "evidence", "qfh", "signals")
REPORT_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One world of one part: a piece of work that gives the same result wherever it is done.

    sharpe, rules: of a planted edge, 0 elsewhere.
    """

    part: str
    seed: int
    sharpe: float = 0.0
    rules: int = 0

    @property
    def key(self) -> str:
        return f"{self.part}/{self.sharpe!r}/{self.rules}/{self.seed}"


@dataclass(frozen=True, slots=True)
class Done:
    """What a unit came to, JSON, and the processor's time that it took in seconds."""

    result: Any
    cpu_s: float


def null_verdict(unit: Unit) -> tuple[float, float, float, bool]:
    """The p-values of best rule and walk-forward, that of SPA, and the verdict, on one null."""
    document = evaluate(
        null_market(1300, seed=unit.seed),
        rule_family(RULES),
        costs=FREE,
        provenance={"synthetic": True},
        settings=QUICK,
    ).document
    sign = document["controls"]["sign"]
    spa = document["selection"]["spa"]["consistent"]
    return sign["best_p"], sign["walk_forward_p"], spa, document["verdict"]["edge"]


def null_superior_ability(unit: Unit) -> float:
    """The consistent p-value of a family of 40 rules without an edge, half of them losing."""
    daily = planted_days(rules=40, days=250, annual_sharpe=0.0, seed=unit.seed)
    daily[:, :20] -= 0.2
    rows = bootstrap_rows(250, draws=199, block=1.0, seed=unit.seed)
    return superior_ability(daily, rows=rows, block=1.0).consistent


def peeking_user(unit: Unit) -> bool:
    return user_who_peeks_passes(retries=100, rules=20, days=250, seed=unit.seed, settings=DAYS)


def planted(unit: Unit) -> bool:
    """Whether a rule with a net annual Sharpe ratio is found among others over three years."""
    daily = planted_days(rules=unit.rules, days=756, annual_sharpe=unit.sharpe, seed=unit.seed)
    return passes(daily, counted=Count(unit.rules, 1), settings=DAYS)


PARTS: Final[Mapping[str, Callable[[Unit], Any]]] = {
    "null market": null_verdict,
    "null family": null_superior_ability,
    "peeking user": peeking_user,
    "planted": planted,
}
# Seconds of one processor of a cloud machine (EPYC, 2.6 GHz), to say beforehand what a run takes.
CPU_S: Final[Mapping[tuple[str, int], float]] = {
    ("null market", 0): 0.3,
    ("null family", 0): 0.015,
    ("peeking user", 0): 0.045,
    ("planted", 10): 0.05,
    ("planted", 100): 0.04,
    ("planted", 1000): 0.35,
}


def compute(unit: Unit) -> Done:
    begun = time.process_time()
    result = PARTS[unit.part](unit)
    return Done(result, time.process_time() - begun)


def _many(count: int, scale: float) -> range:
    return range(max(4, round(count * scale)))


def _called() -> dict[tuple[float, float, float], float]:
    """Net Sharpe ratios a year by hit rate, cost in pips and signals a day; moves of 8 pips."""
    return {
        (hit_rate, cost, signals): annual_sharpe_of_calls(
            hit_rate=hit_rate, move=8.0, cost=cost, signals_a_day=signals
        )
        for hit_rate, cost, signals in itertools.product(
            (0.52, 0.55, 0.60), (0.0, 0.5, 1.3), (0.5, 2, 8)
        )
    }


def units(scale: float) -> list[Unit]:
    """Return all worlds of a scale, those that take longest first."""
    seeds = _many(1000, scale)
    made = [Unit("null market", seed) for seed in seeds]
    made += [Unit(part, seed) for part in ("null family", "peeking user") for seed in seeds]
    made += [
        Unit("planted", seed, sharpe, rules)
        for sharpe, rules, seed in itertools.product(SHARPES, FAMILIES, _many(200, scale))
    ]
    made += [
        Unit("planted", seed, sharpe, 100)
        for sharpe, seed in itertools.product(_called().values(), _many(50, scale))
    ]
    # By seed within a part, so that what is done is like what is left.
    return sorted(made, key=lambda unit: (-CPU_S[unit.part, unit.rules], unit.seed))


def fingerprint() -> str:
    """Return the sha256 of the code that the results come from."""
    package = Path(sep_engine.__file__).parent
    files = [Path(_core.__file__)]
    files += [file for name in SOURCES for file in sorted((package / name).rglob("*.py"))]
    texts = [file.read_bytes() for file in files]
    texts += [inspect.getsource(function).encode() for function in PARTS.values()]
    texts.append(repr((QUICK, DAYS, FREE, RULES)).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in texts)).hexdigest()


@contextmanager
def kept_in(path: Path | None, code: str) -> Iterator[tuple[dict[str, Done], TextIO | None]]:
    """Give the worlds that are in a file, and the file to add others to; nothing for no path."""
    if path is None:
        yield {}, None
        return
    done: dict[str, Done] = {}
    if path.exists() and path.stat().st_size:
        # A process that is killed may leave a half line at the end.
        whole = path.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        head, *lines = [json.loads(line) for line in whole.splitlines()] or [{"code": ""}]
        if head["code"] != code:
            raise SystemExit(
                f"{path} holds worlds of other code; delete it, or go back to the code that made it"
            )
        done = {kept["unit"]: Done(kept["result"], kept["cpu_s"]) for kept in lines}
        with path.open("r+b") as file:
            file.truncate(len(whole))
    with path.open("a", encoding="utf-8") as file_end:
        if not file_end.tell():
            print(json.dumps({"code": code}), file=file_end, flush=True)
        yield done, file_end


def one_thread(processors: SimpleQueue[int]) -> None:
    """Leave this process one processor, so that what it starts has one thread."""
    os.sched_setaffinity(0, {processors.get()})


def outcomes(
    wanted: Sequence[Unit], *, jobs: int, keep: Path | None = None, code: str = ""
) -> dict[Unit, Done]:
    """Return what all units come to, in `jobs` processes; those kept in `keep` are not done again.

    Says on stderr how far it is.
    """
    with kept_in(keep, code) as (kept, lines):
        found = {unit: kept[unit.key] for unit in wanted if unit.key in kept}
        left = [unit for unit in wanted if unit not in found]
        expected_s = sum(CPU_S[unit.part, unit.rules] for unit in left)
        _say(
            f"{len(found):,} of {len(wanted):,} worlds are kept; {len(left):,} take some "
            f"{expected_s / 60:.1f} min of processor time, {expected_s / jobs / 60:.1f} min in "
            f"{jobs} jobs"
        )
        planned_s = 0.0
        begun = said = time.monotonic()
        # Each worker is one thread: there are more worlds than processors.
        os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        context = get_context("spawn")
        processors: SimpleQueue[int] = context.SimpleQueue()
        allowed = sorted(os.sched_getaffinity(0))
        for job in range(jobs):
            processors.put(allowed[job % len(allowed)])
        pool = ProcessPoolExecutor(
            jobs, mp_context=context, initializer=one_thread, initargs=(processors,)
        )
        try:
            waiting = {pool.submit(compute, unit): unit for unit in left}
            for future in as_completed(waiting):
                unit, done = waiting[future], future.result()
                found[unit] = done
                if lines is not None:
                    line = {"unit": unit.key, "result": done.result, "cpu_s": done.cpu_s}
                    print(json.dumps(line), file=lines, flush=True)
                planned_s += CPU_S[unit.part, unit.rules]
                if time.monotonic() - said >= REPORT_EVERY_S:
                    said = time.monotonic()
                    left_s = (expected_s - planned_s) * (said - begun) / planned_s
                    _say(f"{len(found):,} of {len(wanted):,} worlds, {left_s / 60:.1f} min left")
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def share(found: Iterable[bool]) -> str:
    outcomes = list(found)
    interval = wilson(sum(outcomes), calls=len(outcomes))
    return f"{100 * interval.estimate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def table(head: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def kept_word(kept: bool) -> str:
    return "yes" if kept else "**no**"


def tables(scale: float, found: Mapping[Unit, Done]) -> str:
    """Return all tables of a scale, from what its units came to."""

    def of(part: str) -> list[Any]:
        return [found[Unit(part, seed)].result for seed in _many(1000, scale)]

    def is_found(sharpe: float, rules: int, count: int) -> list[bool]:
        return [found[Unit("planted", seed, sharpe, rules)].result for seed in _many(count, scale)]

    best, forward, spa_bars, edges = (list(c) for c in zip(*of("null market"), strict=True))
    spa, users = cast("list[float]", of("null family")), cast("list[bool]", of("peeking user"))
    nulls = (
        ("sign-flip, best rule", best, WORLDS, True),
        ("sign-flip, walk-forward", forward, WORLDS, True),
        ("SPA on 54 days of bars, all rules fair", spa_bars, 199, False),
        ("SPA on 250 days, half of the rules losing", spa, 199, False),
    )
    promises: list[tuple[object, ...]] = []
    rows = []
    for name, p, worlds, uniform in nulls:
        spread = uniformity(p, worlds=worlds)
        rows.append(
            [
                name,
                len(p),
                f"{spread.p_value:.2f}" if uniform else "–",
                *(f"{100 * s:.1f} %" for _, s in spread.shares),
            ]
        )
        if uniform:
            promises.append(
                (
                    f"{name}: p-values are uniform",
                    "p ≥ 0.01",
                    f"p = {spread.p_value:.2f}",
                    kept_word(spread.p_value >= 0.01),
                )
            )
        else:
            for level in (0.05, 0.1, 0.25, 0.5):
                below = [value <= level + 1e-12 for value in p]
                promises.append(
                    (
                        f"{name}: p ≤ {100 * level:g} % not too often",
                        f"≤ {100 * level:g} %",
                        share(below),
                        kept_word(_at_most(below, level)),
                    )
                )
    names = ("p-value", "nulls", "uniform, p", "≤ 1 %", "≤ 5 %", "≤ 10 %", "≤ 25 %", "≤ 50 %")
    for who, passed in (
        ("a null market, looked at once, at no cost", edges),
        ("a user who peeks and retries 100 times", users),
    ):
        promises.append(
            (f"{who}: verdict passes", "≤ 5 %", share(passed), kept_word(_at_most(passed, 0.05)))
        )
    strong = is_found(3.0, 1000, 200)
    promises.append(
        (
            "net Sharpe ratio of 3 a year among 1,000 rules is found",
            "≥ 80 %",
            share(strong),
            kept_word(float(np.mean(strong)) >= 0.8),
        )
    )
    called = _called()
    below_cost = [x for s in called.values() if s <= 0 for x in is_found(s, 100, 50)]
    promises.append(
        (
            "an edge below its cost is refused",
            "found in ≤ 5 %",
            share(below_cost),
            kept_word(_at_most(below_cost, 0.05)),
        )
    )
    parts = [
        "## Promises",
        "A share that must not be above a level keeps its promise as long as the level is inside "
        "or\nabove its interval.",
        table(("promise", "limit", "measured", "kept"), promises),
        "## Nulls",
        table(names, rows),
        "## Power: one rule with an edge over three years",
        f"![How often an edge is found]({POWER})",
        "Daily P&L with independent noise; the verdict's lines on selection decide.",
        table(
            ("net Sharpe ratio a year", "among 10 rules", "among 1,000 rules"),
            [(f"{s:g}", *(share(is_found(s, r, 200)) for r in FAMILIES)) for s in SHARPES],
        ),
        "## Power by hit rate, cost and signals: moves of 8 pips, among 100 rules",
        table(
            ("hit rate", "cost, pips", "signals a day", "net Sharpe ratio a year", "found"),
            [
                (
                    f"{100 * hit_rate:.0f} %",
                    cost,
                    signals,
                    f"{sharpe:.1f}",
                    f"{100 * np.mean(is_found(sharpe, 100, 50)):.0f} %",
                )
                for (hit_rate, cost, signals), sharpe in called.items()
            ],
        ),
    ]
    return "\n\n".join(parts)


def _at_most(found: Sequence[bool], level: float) -> bool:
    return wilson(sum(found), calls=len(found)).low <= level


def power_svg(scale: float, found: Mapping[Unit, Done]) -> str:
    """Return the curves of power as SVG, the same bytes for the same worlds."""
    import matplotlib as mpl

    from sep_engine.report.plots import DIM, INK, LOSS, axes_of, finish, legend

    figure, (left, right) = axes_of(rows=1, columns=2)
    figure.set_figheight(4.2)
    for rules, color in zip(FAMILIES, (INK, LOSS), strict=True):
        intervals = []
        for sharpe in SHARPES:
            done = [found[Unit("planted", s, sharpe, rules)].result for s in _many(200, scale)]
            intervals.append(wilson(sum(done), calls=len(done)))
        shares = np.array([(one.estimate, one.low, one.high) for one in intervals])
        left.plot(SHARPES, shares[:, 0], "o-", color=color, markersize=3, label=f"{rules:,} rules")
        left.fill_between(SHARPES, shares[:, 1], shares[:, 2], color=color, alpha=0.15, linewidth=0)
    left.set_xlabel("net Sharpe ratio a year, over three years; bands are 95 % intervals")
    left.set_ylabel("found")
    for (hit_rate, cost), color in zip(
        itertools.product((0.55, 0.60), (0.0, 0.5, 1.3)),
        ("#9ec5e8", "#5b93c7", INK, "#f0a79e", "#d9685a", LOSS),
        strict=True,
    ):
        points = [
            (signals, np.mean([found[Unit("planted", s, sharpe, 100)].result
                               for s in _many(50, scale)]))
            for (hit, paid, signals), sharpe in _called().items()
            if (hit, paid) == (hit_rate, cost)
        ]  # fmt: skip
        right.plot(*zip(*points, strict=True), "o-", color=color, markersize=3,
                   label=f"{100 * hit_rate:.0f} %, {cost:g} pips")  # fmt: skip
    right.set_xscale("log", base=2)
    right.set_xticks((0.5, 2, 8), ("0.5", "2", "8"))
    right.set_xlabel("signals a day, moves of 8 pips, 100 rules; hit rate and cost above")
    for axes in (left, right):
        axes.axhline(0.8, color=DIM, linewidth=0.8)
        axes.set_ylim(-0.02, 1.02)
        legend(axes)
    figure.subplots_adjust(top=0.86, bottom=0.13)
    finish(figure, [left, right], synthetic=False)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "power", "svg.fonttype": "path"}):
        figure.savefig(
            out, format="svg", facecolor="white", metadata={"Date": None, "Creator": None}
        )
    # Editors and hooks take blanks off the ends of lines.
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def in_readme(readme: str, scale: float, found: Mapping[Unit, Done]) -> str:
    """Return README with the shares of this run in the row that names `make calibrate`."""
    seeds = _many(1000, scale)
    edges = [found[Unit("null market", seed)].result[3] for seed in seeds]
    users = [found[Unit("peeking user", seed)].result for seed in seeds]
    figures = (
        f"{share(edges)} of {len(seeds):,} null markets pass, {share(users)} of {len(seeds):,} "
        "users who retry 100 times"
    )
    row = re.compile(r"[\d.]+ % \[[^]]*\] of [\d,]+ null markets pass, [^|]* 100 times")
    filled, count = row.subn(figures, readme)
    if count != 1:
        raise SystemExit(f"README.md has {count} rows with what a calibration found, not one")
    return filled


def costs(found: Mapping[Unit, Done]) -> str:
    """Return what a world of each kind took of a processor's time."""
    spent: dict[tuple[str, int], list[float]] = {}
    for unit, done in sorted(found.items()):
        spent.setdefault((unit.part, unit.rules), []).append(done.cpu_s)
    return table(
        ("part", "rules planted among", "worlds", "s a world", "s in all"),
        [
            (part, rules or "–", len(s), f"{sum(s) / len(s):.3f}", f"{sum(s):.0f}")
            for (part, rules), s in spent.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", type=Path, default=None, metavar="FILE")
    parser.add_argument("--docs", action="store_true", help="fill the documents from this run")
    options = parser.parse_args()
    if not (math.isfinite(options.scale) and options.scale > 0):
        parser.error(f"--scale must be > 0, was {options.scale}")
    if options.jobs < 1:
        parser.error(f"--jobs must be >= 1, was {options.jobs}")
    if options.docs and options.scale < 1:
        parser.error("--docs takes a run of --scale 1 or more: the documents state its figures")
    # Being stopped ends the workers too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out: Path | None = options.write
    code = fingerprint()
    # Worlds of other code lie in a file of another name.
    keep = None if out is None else out.with_name(f"{out.name}.{code[:12]}.worlds.jsonl")
    found = outcomes(units(options.scale), jobs=options.jobs, keep=keep, code=code)
    cpu_s = sum(done.cpu_s for done in found.values())
    _say(costs(found))
    text = (
        "# Calibration of the evidence lab\n\n"
        "Generated worlds in which the truth is known; none of this says anything about a market.\n"
        "Intervals are Wilson's at 95 %.\n\n"
        f"{tables(options.scale, found)}\n\n"
        f"Made by `make calibrate SCALE={options.scale:g}`: {len(found):,} worlds, "
        f"{cpu_s / 60:.1f} min of processor time.\n"
    )
    print(text)
    pages = [] if out is None else [out]
    if options.docs:
        pages.append(ROOT / "docs" / "studies" / "calibration.md")
        readme = ROOT / "README.md"
        filled = in_readme(readme.read_text(encoding="utf-8"), options.scale, found)
        readme.write_text(filled, encoding="utf-8")
    for page in pages:
        page.write_text(text, encoding="utf-8")
        page.with_name(POWER).write_text(power_svg(options.scale, found), encoding="utf-8")


if __name__ == "__main__":
    main()
