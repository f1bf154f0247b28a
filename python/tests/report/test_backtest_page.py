import re
from dataclasses import replace
from decimal import Decimal

import pytest

from sep_engine.backtest import Costs, run
from sep_engine.data import Sample, load_sample
from sep_engine.report import Provenance, backtest_page
from sep_engine.signals import DEFAULT_RULE


@pytest.fixture(scope="module")
def sample() -> Sample:
    return load_sample()


def page_of(sample: Sample, provenance: Provenance, *, assumed: bool = True) -> str:
    bars = sample.bars
    return backtest_page(
        run(bars, DEFAULT_RULE, Costs(13, assumed=assumed), side="ask"),
        times=bars.times,
        closes=bars.close,
        pip=Decimal("0.0001"),
        provenance=provenance,
        engine_version="9.9",
    )


def test_the_page_says_first_what_it_is_worth(sample: Sample) -> None:
    page = page_of(sample, Provenance([("origin", "a package")], ["outlier: 1 row"]))
    assert "Unproven: no evidence of edge after costs." in page
    assert "Assumed spread 1.30 pips" in page
    # -6,077 ticks of a tenth of a pip.
    assert "-607.70 pips" in page
    assert sample.bars.content_sha256 in page
    assert "sep_engine 9.9" in page
    assert "outlier: 1 row" in page


def test_the_page_needs_nothing_else(sample: Sample) -> None:
    page = page_of(sample, Provenance([]))
    for url in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert url.startswith(("#", "data:"))
    # XML names of namespaces are no addresses that anything fetches.
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "http://creativecommons.org/ns#",
        "http://purl.org/dc/elements/1.1/",
        "http://purl.org/dc/dcmitype/StillImage",
    }
    assert page.count("<svg") == 2


def test_text_from_outside_is_escaped(sample: Sample) -> None:
    hostile = '<script>alert("x")</script>'
    named = replace(sample, bars=replace(sample.bars, name=hostile))
    page = page_of(named, Provenance([(hostile, hostile)], [hostile]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_measured_spread_is_called_measured(sample: Sample) -> None:
    assert "Measured spread 1.30 pips" in page_of(sample, Provenance([]), assumed=False)


def test_synthetic_data_is_stamped_on_the_page_and_its_plots(sample: Sample) -> None:
    honest = page_of(sample, Provenance([]))
    stamped = page_of(sample, Provenance([], synthetic=True))
    assert "SYNTHETIC" not in honest
    assert "<h1>SYNTHETIC: Backtest of" in stamped
    # The stamp inside a plot is drawn as shapes with a comment that holds its text.
    assert stamped.count("<!-- SYNTHETIC -->") == 2
