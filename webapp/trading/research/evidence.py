"""Is there an edge? The causality gate, ranges of null worlds, and the report."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import sep_engine
from sep_engine import ledger
from sep_engine.backtest import Grid
from sep_engine.signals import Rule
from webapp.trading.research.question import (
    Answer,
    Json,
    Progress,
    Record,
    entry_of,
    figure,
    hours_of,
    session_counts,
    spreads_of,
)
from webapp.trading.selectors.run_data import Material
from webapp.trading.selectors.standing import OUT_OF_SAMPLE

if TYPE_CHECKING:
    from sep_engine.evidence import lab
    from sep_engine.evidence.family import Family
    from sep_engine.evidence.settings import Count, Settings
    from sep_engine.evidence.surrogates import Kind

_NULLS: dict["Kind", int] = {"walk": 50, "iaaft": 50}
# The causality gate runs its fewest cuts always and more while there is time.
_GATE_S = 30.0


def family_of(configuration: Mapping[str, Any]) -> "Family":
    from sep_engine.evidence.family import default_rules, rule_family

    if configuration["grid"] is not None:
        grid = Grid.from_json(configuration["grid"])
        return rule_family(list(grid.rules()), [grid.entry_of(k) for k in range(len(grid))])
    rules = configuration["rules"]
    made = default_rules() if rules is None else [Rule.from_json(rule) for rule in rules]
    return rule_family(made, [entry_of(configuration)] * len(made))


def judged(configuration: Mapping[str, Any], given: Material) -> "Family":
    """Return the rules that are asked about, within their hours."""
    family, counts = family_of(configuration), session_counts(configuration, given)
    if counts is not None:
        family = family.within(lambda market: counts[: len(market)], hours_of(configuration))
    return family.folded(configuration["folds"])


def settings_of(configuration: Mapping[str, Any], *, seed: int) -> "Settings":
    from sep_engine.evidence.settings import Settings

    return Settings(
        seed=seed,
        folds=configuration["folds"],
        surrogates={"sign": configuration["surrogates"], **_NULLS},
    )


def costs_of(configuration: Mapping[str, Any], given: Material) -> "lab.RoundTripCosts":
    from sep_engine.evidence import lab

    spread, assumed = given.spread_ticks(configuration["spread_pips"])
    if configuration["spread_pips"] is not None:
        source = "given with the request"
    else:
        source = "assumed for these bars" if assumed else "median of these bars' closes"
    return lab.RoundTripCosts(spread, given.pip_ticks(), assumed, source)


def gate(configuration: Mapping[str, Any], seed: int, given: Material, progress: Progress) -> Json:
    from sep_engine.evidence import lab
    from sep_engine.evidence.market import TimedBars

    started = time.monotonic()
    report = lab.gate_report(
        TimedBars.of(given.bars, side=given.side),
        judged(configuration, given),
        costs=costs_of(configuration, given),
        settings=settings_of(configuration, seed=seed),
        spreads=spreads_of(configuration, given),
        enough=lambda: time.monotonic() - started > _GATE_S,
        progress=lambda part, done, total: progress(done / total),
    )
    return {"gate": asdict(report)}


def null_worlds(
    work: Mapping[str, Any],
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    progress: Progress,
) -> Json:
    from sep_engine.evidence import lab
    from sep_engine.evidence.market import TimedBars

    found = []
    for world in lab.null_worlds(
        TimedBars.of(given.bars, side=given.side),
        judged(configuration, given),
        costs=costs_of(configuration, given),
        settings=settings_of(configuration, seed=seed),
        kind=work["null"],
        first=work["first"],
        count=work["count"],
        spreads=spreads_of(configuration, given),
    ):
        # Spreads are whole ticks, so the running P&L is whole too.
        equity = [int(value) for value in world.equity]
        best = world.best_t if math.isfinite(world.best_t) else None
        found.append({"best_t": best, "walk_forward_t": world.walk_forward_t, "equity": equity})
        progress(len(found) / work["count"])
    return {"null": work["null"], "first": work["first"], "worlds": found}


def answer(
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    found: Sequence[Mapping[str, Any]],
    record: Record,
    progress: Progress,
) -> Answer:
    from sep_engine.evidence import lab
    from sep_engine.evidence.capacity import Volume
    from sep_engine.evidence.causality import GateReport
    from sep_engine.evidence.market import TimedBars
    from sep_engine.evidence.settings import Count
    from sep_engine.report import verdict_page
    from sep_engine.report.verdict import section_lines

    family, bars = judged(configuration, given), given.bars
    settings = settings_of(configuration, seed=seed)

    def count(sharpes: Sequence[float | None]) -> "Count":
        tried = record(
            [
                ledger.Trial(dict(one), sharpe)
                for one, sharpe in zip(family.configurations, sharpes, strict=True)
            ],
            settings.unusual,
        )
        return Count(tried.trials, tried.look)

    report = lab.evaluate(
        TimedBars.of(bars, side=given.side),
        family,
        costs=costs_of(configuration, given),
        provenance={
            "name": bars.name,
            "sha256": bars.sha256,
            "content_sha256": bars.content_sha256,
            "bars_of": given.granularity,
            "tick": str(bars.tick),
            "calendar": bars.calendar,
            **given.origin,
            "findings": [f"{one.kind}: {one.count}" for one in bars.quality.findings],
            "synthetic": given.synthetic or configuration["synthetic"],
        },
        settings=settings,
        count=count,
        worlds=lambda kind, count: _worlds_of(found, kind),
        spreads=spreads_of(configuration, given),
        volume=None if bars.volume is None else Volume(bars.volume, given.volume_of),
        gate=next(GateReport.from_json(piece["gate"]) for piece in found if "gate" in piece),
    )
    progress(0.9)
    document = {**report.document, "engine": sep_engine.__version__}
    names = family.names
    what = names[0] if len(names) == 1 else f"{len(names)} rules"
    page = verdict_page(document, title=f"Verdict on {what} on {bars.name}")
    sections = [{"name": name, "text": text} for name, text in section_lines(document)]
    sections.append({"name": "verdict", "text": _lines_text(report.verdict.lines)})
    return Answer(
        document=json.dumps(document),
        page=page,
        # Generated prices are evidence of nothing.
        edge=report.verdict.edge and not document["synthetic"],
        text=report.verdict.text,
        summary={"sections": sections, "figures": _figures(document)},
    )


def _worlds_of(found: Sequence[Mapping[str, Any]], kind: "Kind") -> "list[lab.World]":
    """Return the null worlds of a kind that the pieces found, in their order."""
    from sep_engine.evidence import lab

    pieces = sorted(
        (piece for piece in found if piece.get("null") == kind), key=lambda piece: piece["first"]
    )
    return [
        lab.World(
            -math.inf if world["best_t"] is None else world["best_t"],
            world["walk_forward_t"],
            np.array(world["equity"], dtype=np.float64),
        )
        for piece in pieces
        for world in piece["worlds"]
    ]


def _lines_text(lines: Sequence[Any]) -> str:
    failed = [line for line in lines if not line.passed]
    text = f"{len(lines) - len(failed)} of {len(lines)} lines passed"
    return text if not failed else f"{text}; not: {'; '.join(line.line.text for line in failed)}"


def _figures(document: Mapping[str, Any]) -> list[Json]:
    money, direction, chosen = document["money"], document["direction"], document["selection"]
    measured, pip = money["levels"]["measured"], document["costs"]["pip"]
    rate, outside = direction["hit_rate"], direction["out_of_sample"]["hit_rate"]
    return [
        figure("rules", chosen["rules"]),
        figure("configurations tried", chosen["trials"]),
        figure("trades of the best", direction["trades"]),
        figure("hit rate", None if rate is None else rate["estimate"], "share"),
        *(
            figure(name, None if outside is None else outside[end], "share")
            for name, end in OUT_OF_SAMPLE.items()
        ),
        figure("net a trade", measured["net_pips"], "pips"),
        figure("walk-forward a day", measured["walk_forward_a_day"] / pip, "pips"),
        figure("break-even cost", money["break_even_cost_pips"], "pips"),
        figure("p against coin worlds", document["controls"]["sign"]["best_p"], "share"),
        figure("SPA p", chosen["spa"]["consistent"], "share"),
        figure("deflated Sharpe", chosen["deflated_sharpe"]["value"], "share"),
        figure("deflated Sharpe needed", chosen["deflated_sharpe"]["needed"], "share"),
        figure("probability of overfitting", chosen["overfitting"]["probability"], "share"),
        figure("Sharpe a year", chosen["sharpe_a_year"]),
        figure("years of data", chosen["length"]["years"]),
    ]
