"""The pieces of a run, what each finds, and what comes of them all."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sep_engine.backtest import Grid
from sep_engine.signals import Rule
from webapp.trading.research import backtest, evidence, sweep
from webapp.trading.research.question import Answer, Json, Progress, Record
from webapp.trading.selectors.run_data import Material

# A piece is some seconds of work, so that a process of its own costs little beside it.
_CELLS_A_PIECE = 3_000_000_000  # bars times rules times worlds
_BARS_A_PIECE = 2_000_000_000  # bars times rules of a sweep
_PIECES_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Work:
    """A piece. `stage` n begins when every piece of the stages before is done."""

    stage: int
    content: Json


def plan(kind: str, configuration: Mapping[str, Any], *, bars: int) -> list[Work]:
    """Return the pieces of a run, in their order."""
    pieces: list[Json] = []
    if kind == "evidence":
        rules = len(evidence.family_of(configuration))
        a_piece = max(1, _CELLS_A_PIECE // (bars * rules))
        pieces.append({"gate": True})
        for null, count in evidence.settings_of(configuration, seed=0).surrogates.items():
            pieces += [{"null": null, **part} for part in _parts(count, a_piece)]
    elif kind == "sweep":
        grid = Grid.from_json(configuration["grid"])
        pieces += _parts(len(grid), max(1, _BARS_A_PIECE // bars))
    return [*(Work(0, piece) for piece in pieces), Work(1, {"report": kind})]


def name_of(kind: str, configuration: Mapping[str, Any], title: str) -> str:
    """Return what a run is about, for people."""
    if kind == "evidence":
        names = evidence.family_of(configuration).names
        what = names[0] if len(names) == 1 else f"{len(names):,} rules"
    elif kind == "sweep":
        what = f"{len(Grid.from_json(configuration['grid'])):,} rules"
    else:
        from sep_engine.evidence.family import rule_name

        what = rule_name(Rule.from_json(configuration["rule"]))
    more = ""
    if configuration["spread_pips"] is not None:
        more += f", spread {configuration['spread_pips']}"
    if configuration.get("cost_pips") is not None:
        more += f", {configuration['cost_pips']} a side"
    if kind == "backtest" and configuration.get("entry") == "close":
        more += ", entered at the close"
    if "session" in configuration:
        more += f", {configuration['session']}"
    return f"{what} on {title}{more}"[:200]


def piece_result(
    work: Mapping[str, Any],
    *,
    kind: str,
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    progress: Progress,
) -> Json:
    """Return what a piece of stage 0 finds.

    Raises:
        SepError: the bars are too few, or a setting does not fit them.
    """
    if kind == "evidence" and "gate" in work:
        return evidence.gate(configuration, seed, given, progress)
    if kind == "evidence":
        return evidence.null_worlds(work, configuration, seed, given, progress)
    return sweep.tried(work, configuration, given, progress)


def answer(
    *,
    kind: str,
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    found: Sequence[Mapping[str, Any]],
    record: Record,
    progress: Progress,
) -> Answer:
    """Return what the run found, from what its pieces found.

    record: the ledger; takes every configuration tried, and what else makes this another look, and
        says how many there were by now.
    """
    if kind == "evidence":
        return evidence.answer(configuration, seed, given, found, record, progress)
    if kind == "sweep":
        return sweep.answer(configuration, given, found, record)
    return backtest.answer(configuration, given, record)


def _parts(count: int, a_piece: int) -> list[Json]:
    """Cut 0..count into ranges as equal as can be, of at most `a_piece`, at most _PIECES_MAX."""
    pieces = min(_PIECES_MAX, -(-count // a_piece))
    edges = [count * k // pieces for k in range(pieces + 1)]
    return [{"first": first, "count": end - first} for first, end in itertools.pairwise(edges)]
