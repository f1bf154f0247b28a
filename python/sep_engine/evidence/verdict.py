"""The published table of rules that turns figures into one line. No opinion enters after it.

Two questions are answered apart. "edge": is there an edge after measured costs? "beyond": does it
go beyond last-bit reversal? A line whose figure is missing fails: nothing is assumed in favour.

The first look at a data set may be wrong with probability ALPHA_FIRST, and all later looks with
ALPHA_LATER together, however many: look j gets ALPHA_LATER / (j (j - 1)). The line
"deflated_sharpe" spends them and also counts every configuration that was ever tried on the data,
so trying again makes it harder, never easier. The other lines can only take passes away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sep_engine.errors import ArgumentError
from sep_engine.evidence.statistics import familywise_deflated_sharpe

VERSION = "1"
ALPHA_FIRST = 0.04
ALPHA_LATER = 0.01

Question = Literal["edge", "beyond"]
Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One rule: `figure` must be on the right side of `threshold`.

    sense: ">=", ">" or "<=". A threshold that is a string names another figure.
    section: the part of the report that the figure is from.
    text: what is asked, for people.
    """

    name: str
    question: Question
    section: str
    figure: str
    sense: Literal[">=", ">", "<="]
    threshold: float | str
    text: str


TABLE: tuple[Line, ...] = (
    Line("causality", "edge", "causality", "leaks", "<=", 0, "nothing looks ahead"),
    Line(
        "surrogates", "edge", "controls", "sign_flip_p", "<=", 0.05,
        "the best rule beats the best of worlds whose directions are coin flips",
    ),
    Line("trades", "edge", "direction", "trades", ">=", 30, "there are enough trades to judge"),
    Line("days", "edge", "direction", "days", ">=", 40, "they lie on enough trading days"),
    Line(
        "direction", "edge", "direction", "gross_low", ">", 0,
        "before costs a trade gains, by its day-clustered 95 % interval",
    ),
    Line(
        "money", "edge", "money", "net", ">", 0,
        "at measured costs a trade of the best rule gains",
    ),
    Line(
        "walk_forward", "edge", "selection", "walk_forward_net", ">", 0,
        "rules chosen on the past gain at measured costs on what came next",
    ),
    Line(
        "paths", "edge", "selection", "path_median", ">", 0,
        "so they do on the median path of combinatorial cross-validation",
    ),
    Line(
        "spa", "edge", "selection", "spa_p", "<=", 0.05,
        "the best of the family gains more than luck among as many explains",
    ),
    Line(
        "stepm", "edge", "selection", "survives", ">=", 1,
        "the best rule itself survives the stepwise test at 5 %",
    ),
    Line(
        "deflated_sharpe", "edge", "selection", "deflated_sharpe", ">=", "deflated_sharpe_needed",
        "its Sharpe ratio stands up to everything that was ever tried on these data",
    ),
    Line(
        "overfitting", "edge", "selection", "pbo", "<=", 0.4,
        "the rule that is best in one half stays in the upper half in the other",
    ),
    Line(
        "length", "edge", "selection", "years", ">=", "years_needed",
        "the data are long enough for its Sharpe ratio to mean anything",
    ),
    Line(
        "beyond_reversal", "beyond", "direction", "beyond_low", ">", 0,
        "out of sample it hits more often than last-bit reversal, by the 95 % interval",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """A line with the figure that it met; `reason` is empty when it passed."""

    line: Line
    value: float | None
    threshold: float | None
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to both questions.

    `beyond` is true only with `edge`. `text` is the verdict line.
    """

    version: str
    edge: bool
    beyond: bool
    text: str
    lines: tuple[Judged, ...]


def level_of_look(look: int) -> float:
    """Return the error probability that look number `look`, from 1, may spend."""
    if look < 1:
        raise ArgumentError(f"look must be >= 1, was {look}")
    return ALPHA_FIRST if look == 1 else ALPHA_LATER / (look * (look - 1))


def deflated_sharpe_needed(*, trials: int, look: int) -> float:
    """Return the threshold of the line "deflated_sharpe"."""
    return familywise_deflated_sharpe(trials, level=level_of_look(look))


def judge(
    figures: Figures, *, synthetic: bool, missing: Mapping[str, str] | None = None
) -> Verdict:
    """Return the verdict on figures, which are named as in TABLE.

    Args:
        synthetic: the prices were generated; the verdict line says so first.
        missing: why figures are None, where there is more to say than that they could not be
            computed.
    """
    lines = judge_lines(TABLE, figures, missing)
    edge = all(j.passed for j in lines if j.line.question == "edge")
    beyond = edge and all(j.passed for j in lines if j.line.question == "beyond")
    if not edge:
        text = "No evidence of edge after costs."
    elif not beyond:
        text = (
            "Evidence of an edge after measured costs, none that it goes beyond last-bit reversal."
        )
    else:
        text = "Evidence of an edge after measured costs that goes beyond last-bit reversal."
    return Verdict(VERSION, edge, beyond, f"SYNTHETIC: {text}" if synthetic else text, lines)


def judge_lines(
    table: tuple[Line, ...], figures: Figures, missing: Mapping[str, str] | None = None
) -> tuple[Judged, ...]:
    """Return each line of a table with the figure that it met; `missing` as for `judge`."""
    return tuple(_judge(line, figures, missing or {}) for line in table)


def _judge(line: Line, figures: Figures, known: Mapping[str, str]) -> Judged:
    value = figures.get(line.figure)
    threshold = figures.get(line.threshold) if isinstance(line.threshold, str) else line.threshold
    if value is None or threshold is None or math.isnan(value) or math.isnan(threshold):
        missing = line.figure if value is None or math.isnan(value) else str(line.threshold)
        why = known.get(missing, f"{missing} could not be computed")
        return Judged(line, None, threshold, False, why)
    passed = {">=": value >= threshold, ">": value > threshold, "<=": value <= threshold}[
        line.sense
    ]
    reason = "" if passed else f"{line.figure} {value:.4g} is not {line.sense} {threshold:.4g}"
    return Judged(line, value, threshold, passed, reason)
