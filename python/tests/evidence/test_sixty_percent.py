from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sep_engine.evidence import sixty_percent as sp


@pytest.fixture(scope="module")
def small() -> sp.Study:
    settings = replace(sp.SETTINGS, surrogates={"sign": 19}, truncations=50, draws=99)
    return sp.study(bars=1500, seed=7, settings=settings)


def test_bodies_follow_the_last_one_by_a_tenth() -> None:
    bars = sp.generated_market(20_000, seed=1).bars
    body = (bars.close - bars.open).astype(float)
    # The standard error of a lag correlation over 20,000 bars is 0.007.
    assert np.corrcoef(body[1:], body[:-1])[0, 1] == pytest.approx(0.1, abs=0.03)


def test_the_grid_has_980_settings() -> None:
    assert len(sp.GRID) == len(sp.majority_family(bars_late=0)) == 980


def test_a_majority_that_holds_its_own_bar_hits_sixty_percent() -> None:
    # A majority of 15 fair bits agrees with one of them in 1/2 + C(14,7)/2^15 = 60.5 % of cases.
    market = sp.generated_market(20_000, seed=3)
    plain = sp.GRID.index((15, 1, sp.FLIPS_MAX[-1]))
    coming = np.sign(market.bars.close - market.bars.open)[1:]
    for bars_late, expected in ((1, 0.605), (0, 0.51)):
        called = sp.majority_family(bars_late=bars_late).directions(market)[:-1, plain]
        asked = (called != 0) & (coming != 0)
        assert (called[asked] == coming[asked]).mean() == pytest.approx(expected, abs=0.025)


def test_the_leak_is_named_and_the_mended_evaluator_is_clean(small: sp.Study) -> None:
    leaky, mended = small.leaky.document, small.mended.document
    assert {f["check"] for f in leaky["causality"]["findings"]} >= {"truncation", "poison"}
    assert "direction" in {f["column"] for f in leaky["causality"]["findings"]}
    assert mended["causality"]["passed"]
    # It earns as much on coin flips: the null sees it too.
    assert leaky["controls"]["sign"]["best_p"] > 0.05


def test_neither_evaluator_passes(small: sp.Study) -> None:
    for report in (small.leaky, small.mended):
        assert report.verdict.text == "SYNTHETIC: No evidence of edge after costs."


def test_the_page_says_first_that_it_is_a_demonstration(small: sp.Study) -> None:
    page = sp.page(small)
    assert "**SYNTHETIC. A demonstration on generated prices" in page.splitlines()[2]
    assert "| the leaky evaluator, plain majority of 15 | 6" in page
