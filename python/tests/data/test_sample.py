import json
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sep_engine.data import Sample, load_sample, quote_bars
from sep_engine.data.sample import sample_path
from sep_engine.errors import DataError
from sep_engine.model.prices import Ohlc


@pytest.fixture(scope="module")
def sample() -> Sample:
    return load_sample()


def test_the_sample_is_what_its_metadata_says(sample: Sample) -> None:
    assert len(sample.bars) == sample.metadata["rows"] == 6_225
    assert sample.bars.duration == timedelta(hours=1)
    assert sample.bars.quality.errors == ()
    assert sample.history_bars == 2_000
    assert sample.assumed_spread == Decimal("0.00013")


def test_no_bar_of_the_sample_is_missing(sample: Sample) -> None:
    assert sample.bars.quality.missing_bars == 0


def test_a_bar_of_asks_gets_bids_one_assumed_spread_below(sample: Sample) -> None:
    first = sample.quote_bars()[0]
    assert first.start == datetime(2017, 1, 1, 22, tzinfo=UTC)
    assert first.end == datetime(2017, 1, 1, 23, tzinfo=UTC)
    # The file's first row: 1.05236,1.05253,1.05221,1.05227. The bid lies 0.00013 below.
    prices = ("1.05236", "1.05253", "1.05221", "1.05227")
    assert first.ask == Ohlc(*map(Decimal, prices))
    assert first.bid == Ohlc(*map(Decimal, ("1.05223", "1.05240", "1.05208", "1.05214")))
    assert first.assumed_spread
    assert first.volume == Decimal("143539993.3")


def test_a_spread_off_the_grid_is_refused(sample: Sample) -> None:
    with pytest.raises(DataError, match="whole number of ticks"):
        quote_bars(
            sample.bars,
            instrument=sample.instrument,
            price_side="ask",
            assumed_spread=Decimal("0.000125"),
        )


def test_changed_bytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Sample
) -> None:
    shutil.copytree(sample_path("eur_usd_h1"), tmp_path / "eur_usd_h1")
    bars = tmp_path / "eur_usd_h1" / "bars.csv"
    bars.write_text(bars.read_text().replace("1.05236", "1.05235", 1))
    monkeypatch.setenv("SEP_SAMPLES_PATH", str(tmp_path))
    with pytest.raises(DataError, match="sha256"):
        load_sample()


def test_an_unknown_sample_says_where_it_was_looked_for() -> None:
    with pytest.raises(DataError, match="SEP_SAMPLES_PATH"):
        load_sample("atlantis")


def test_the_metadata_names_origin_and_terms(sample: Sample) -> None:
    metadata = json.loads((sample_path("eur_usd_h1") / "metadata.json").read_text())
    assert metadata["origin"]["package"] == "gym-anytrading"
    assert metadata["licence"].startswith("MIT")
    assert metadata["vendor_terms"].startswith("not stated")
