from __future__ import annotations

import math

import pytest

from sep_engine.errors import ArgumentError
from sep_engine.evidence import verdict as ve

GOOD = {
    "leaks": 0.0,
    "sign_flip_p": 0.05,
    "trades": 30.0,
    "days": 40.0,
    "gross_low": 0.1,
    "net": 0.1,
    "walk_forward_net": 0.1,
    "path_median": 0.1,
    "spa_p": 0.05,
    "survives": 1.0,
    "deflated_sharpe": 0.8,
    "deflated_sharpe_needed": 0.8,
    "pbo": 0.4,
    "years": 2.0,
    "years_needed": 2.0,
    "beyond_low": 0.001,
}
# The least change that breaks each line.
WORSE = {
    "leaks": 1.0,
    "sign_flip_p": 0.0501,
    "trades": 29.0,
    "days": 39.0,
    "gross_low": 0.0,
    "net": 0.0,
    "walk_forward_net": 0.0,
    "path_median": 0.0,
    "spa_p": 0.0501,
    "survives": 0.0,
    "deflated_sharpe": 0.79,
    "pbo": 0.41,
    "years": 1.99,
}


def test_figures_on_every_threshold_pass() -> None:
    verdict = ve.judge(GOOD, synthetic=False)
    assert (verdict.edge, verdict.beyond, verdict.version) == (True, True, "1")
    assert verdict.text == (
        "Evidence of an edge after measured costs that goes beyond last-bit reversal."
    )


@pytest.mark.parametrize("figure", WORSE)
def test_one_failed_line_is_no_evidence_and_says_why(figure: str) -> None:
    verdict = ve.judge({**GOOD, figure: WORSE[figure]}, synthetic=False)
    assert (verdict.edge, verdict.beyond) == (False, False)
    assert verdict.text == "No evidence of edge after costs."
    failed = [j for j in verdict.lines if not j.passed]
    assert [j.line.figure for j in failed] == [figure]
    assert f"{figure} {WORSE[figure]:.4g} is not" in failed[0].reason


@pytest.mark.parametrize("missing", [None, math.nan])
@pytest.mark.parametrize("figure", [*WORSE, "deflated_sharpe_needed", "years_needed"])
def test_a_missing_figure_fails_its_line(figure: str, missing: float | None) -> None:
    verdict = ve.judge({**GOOD, figure: missing}, synthetic=False)
    assert not verdict.edge
    reasons = [j.reason for j in verdict.lines if not j.passed]
    assert reasons == [f"{figure} could not be computed"]


def test_a_figure_that_nobody_can_know_fails_its_line_with_the_reason() -> None:
    verdict = ve.judge({**GOOD, "net": None}, synthetic=False, missing={"net": "nobody said it"})
    assert not verdict.edge
    assert [j.reason for j in verdict.lines if not j.passed] == ["nobody said it"]


def test_an_edge_that_is_last_bit_reversal_is_said_to_be() -> None:
    verdict = ve.judge({**GOOD, "beyond_low": 0.0}, synthetic=False)
    assert (verdict.edge, verdict.beyond) == (True, False)
    assert verdict.text.endswith("none that it goes beyond last-bit reversal.")


def test_synthetic_prices_are_named_first() -> None:
    assert ve.judge({}, synthetic=True).text == "SYNTHETIC: No evidence of edge after costs."


def test_every_line_has_a_figure_in_the_test() -> None:
    assert {line.figure for line in ve.TABLE} == {*WORSE, "beyond_low"}


def test_the_power_of_the_search_is_that_of_the_lines_about_selection() -> None:
    assert [line.name for line in ve.TABLE if line.section == "selection"] == [
        "walk_forward",
        "paths",
        "spa",
        "stepm",
        "deflated_sharpe",
        "overfitting",
        "length",
    ]


def test_a_thousand_looks_spend_no_more_than_five_percent() -> None:
    # 0.04 + 0.01 (1 - 1/1000).
    assert sum(ve.level_of_look(j) for j in range(1, 1001)) == pytest.approx(0.04999)
    assert ve.level_of_look(2) == 0.005
    with pytest.raises(ArgumentError, match="look must be >= 1"):
        ve.level_of_look(0)


def test_trying_again_raises_the_threshold_for_the_sharpe_ratio() -> None:
    # With more trials the expected best rises too; what must be reached is the sum of both.
    def needed_deviations(trials: int, look: int) -> float:
        from statistics import NormalDist

        from sep_engine.evidence.statistics import expected_max

        needed = ve.deflated_sharpe_needed(trials=trials, look=look)
        return NormalDist().inv_cdf(needed) + expected_max(trials)

    # One trial at 4 %: 1.7507. A hundred at 4 %: the 0.96^(1/100) quantile, 3.3472.
    assert needed_deviations(1, 1) == pytest.approx(1.7507, abs=1e-4)
    assert needed_deviations(100, 1) == pytest.approx(3.3472, abs=1e-4)
    assert needed_deviations(200, 2) > needed_deviations(100, 2) > needed_deviations(100, 1)
