"""Calibrate the evidence lab on generated worlds, and print the tables as Markdown.

    python python/benchmarks/calibrate.py [--scale 1.0] [--workers 2] [--write FILE]

`--scale` multiplies the number of worlds of every part: 1 is 1,000 null markets.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from sep_engine.evidence.family import rule_family
from sep_engine.evidence.lab import Costs, evaluate
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
FREE = Costs(spread=0, pip=10.0, assumed=False, source="generated: no cost")
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


def null_verdict(seed: int) -> tuple[float, float, float, bool]:
    """The p-values of best rule and walk-forward, that of SPA, and the verdict, on one null."""
    document = evaluate(
        null_market(1300, seed=seed),
        rule_family(RULES),
        costs=FREE,
        provenance={"synthetic": True},
        settings=QUICK,
    ).document
    sign = document["controls"]["sign"]
    spa = document["selection"]["spa"]["consistent"]
    return sign["best_p"], sign["walk_forward_p"], spa, document["verdict"]["edge"]


def null_superior_ability(seed: int) -> float:
    """The consistent p-value of a family of 40 rules without an edge, half of them losing."""
    daily = planted_days(rules=40, days=250, annual_sharpe=0.0, seed=seed)
    daily[:, :20] -= 0.2
    rows = bootstrap_rows(250, draws=199, block=1.0, seed=seed)
    return superior_ability(daily, rows=rows, block=1.0).consistent


def peeking_user(seed: int) -> bool:
    return user_who_peeks_passes(retries=100, rules=20, days=250, seed=seed, settings=DAYS)


def planted(case: tuple[float, int, int]) -> bool:
    """Whether a rule with a net annual Sharpe ratio is found among others over three years."""
    sharpe, rules, seed = case
    daily = planted_days(rules=rules, days=756, annual_sharpe=sharpe, seed=seed)
    return passes(daily, counted=Count(rules, 1), settings=DAYS)


def share(found: Iterable[bool]) -> str:
    outcomes = list(found)
    interval = wilson(sum(outcomes), calls=len(outcomes))
    return f"{100 * interval.estimate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def table(head: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def calibrate(scale: float, run: Callable[..., Iterable[Any]]) -> str:
    """Return all tables; `run` maps a function over cases."""

    def many(count: float) -> range:
        return range(max(4, round(count * scale)))

    markets = list(run(null_verdict, many(1000)))
    best, forward, spa_bars, edges = (list(column) for column in zip(*markets, strict=True))
    spa = list(run(null_superior_ability, many(1000)))
    users = list(run(peeking_user, many(1000)))
    names = ("p-value", "nulls", "uniform, p", "≤ 1 %", "≤ 5 %", "≤ 10 %", "≤ 25 %", "≤ 50 %")
    rows = []
    for name, p, worlds in (
        ("sign-flip, best rule", best, WORLDS),
        ("sign-flip, walk-forward", forward, WORLDS),
        ("SPA on 54 days of bars, all rules fair", spa_bars, 199),
        ("SPA on 250 days, half of the rules losing", spa, 199),
    ):
        found = uniformity(p, worlds=worlds)
        uniform = "–" if "SPA" in name else f"{found.p_value:.2f}"
        rows.append([name, len(p), uniform, *(f"{100 * s:.1f} %" for _, s in found.shares)])
    parts = ["## Nulls", table(names, rows)]
    parts.append(
        table(
            ("who", "how many", "verdicts that pass"),
            [
                ("a null market, looked at once, at no cost", len(edges), share(edges)),
                ("a user who peeks and retries 100 times", len(users), share(users)),
            ],
        )
    )
    sharpes = (0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0)
    families = (10, 1000)
    seeds = many(200)
    cases = list(itertools.product(sharpes, families, seeds))
    is_found = dict(zip(cases, run(planted, cases), strict=True))
    parts.append("## Power: one rule with an edge over three years")
    parts.append("Daily P&L with independent noise; the verdict's lines on selection decide.")
    parts.append(
        table(
            ("net Sharpe ratio a year", "among 10 rules", "among 1,000 rules"),
            [
                (f"{s:g}", *(share(is_found[s, r, seed] for seed in seeds) for r in families))
                for s in sharpes
            ],
        )
    )
    parts.append("## Power by hit rate, cost and signals: moves of 8 pips, among 100 rules")
    grid = itertools.product((0.52, 0.55, 0.60), (0.0, 0.5, 1.3), (0.5, 2, 8))
    by_case = {
        (hit_rate, cost, signals): annual_sharpe_of_calls(
            hit_rate=hit_rate, move=8.0, cost=cost, signals_a_day=signals
        )
        for hit_rate, cost, signals in grid
    }
    seeds = many(50)
    cases = [(sharpe, 100, seed) for sharpe in by_case.values() for seed in seeds]
    is_found = dict(zip(cases, run(planted, cases), strict=True))
    head = ("hit rate", "cost, pips", "signals a day", "net Sharpe ratio a year", "found")
    parts.append(
        table(
            head,
            [
                (
                    f"{100 * hit_rate:.0f} %",
                    cost,
                    signals,
                    f"{sharpe:.1f}",
                    f"{100 * np.mean([is_found[sharpe, 100, seed] for seed in seeds]):.0f} %",
                )
                for (hit_rate, cost, signals), sharpe in by_case.items()
            ],
        )
    )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, default=None)
    options = parser.parse_args()
    if not (math.isfinite(options.scale) and options.scale > 0):
        parser.error("--scale must be > 0")
    begun = time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        tables = calibrate(options.scale, lambda f, cases: pool.map(f, cases, chunksize=4))
    took = time.monotonic() - begun
    text = (
        "# Calibration of the evidence lab\n\n"
        "Generated worlds in which the truth is known; none of this says anything about a market.\n"
        "Intervals are Wilson's at 95 %.\n\n"
        f"{tables}\n\n"
        f"Made by `python python/benchmarks/calibrate.py --scale {options.scale:g} "
        f"--workers {options.workers}` in {took:.0f} s.\n"
    )
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
