from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sep_engine.data import QualityReport, inspect, load_bars, load_quotes, read_table
from sep_engine.errors import DataError

HOUR = timedelta(hours=1)
SHARED = Path(__file__).parents[4] / "shared" / "data"


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here: its vendor did not grant redistribution")
    return path


def report(tmp_path: Path, closes: list[float], hours: list[int] | None = None) -> QualityReport:
    start = datetime(2017, 1, 4, tzinfo=UTC)
    lines = ["time,open,high,low,close,volume"]
    for hour, close in zip(hours or range(len(closes)), closes, strict=True):
        lines.append(f"{start + hour * HOUR:%Y-%m-%dT%H:%M:%SZ},{close},{close},{close},{close},1")
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    return inspect(read_table(path))


def found(result: QualityReport) -> dict[str, tuple[int, int]]:
    return {finding.kind: (finding.count, finding.first_line) for finding in result.findings}


def test_clean_bars_have_no_findings(tmp_path: Path) -> None:
    result = report(tmp_path, [1.1, 1.2, 1.1, 1.3])
    assert result.findings == ()
    assert result.duration == HOUR
    assert result.rows == 4


def test_gaps_are_counted_in_bars_of_open_hours(tmp_path: Path) -> None:
    # Missing: hour 3; hours 6 to 9.
    result = report(tmp_path, [1.1, 1.2, 1.1, 1.3, 1.2, 1.1, 1.3], [0, 1, 2, 4, 5, 10, 11])
    assert (result.missing_bars, result.longest_gap_bars) == (5, 4)
    assert found(result) == {"gap": (2, 5)}


def test_closes_that_do_not_move_are_counted(tmp_path: Path) -> None:
    # Rows 3 and 4 repeat row 2: two of five rows.
    result = report(tmp_path, [1.1, 1.2, 1.2, 1.2, 1.1])
    assert found(result) == {"unchanged_close": (2, 4)}
    assert result.unchanged_fraction == 0.4


def test_ten_equal_closes_are_a_stale_run(tmp_path: Path) -> None:
    assert "stale_run" not in found(report(tmp_path, [1.1] * 9 + [1.2]))
    # The run starts with the second of the equal closes, line 3.
    assert found(report(tmp_path, [1.1] * 10 + [1.2]))["stale_run"] == (1, 3)


def test_a_step_far_out_of_scale_is_an_outlier(tmp_path: Path) -> None:
    closes = [1.1, 1.101, 1.1, 1.102, 1.1, 1.101, 1.5, 1.499, 1.5, 1.501]
    assert found(report(tmp_path, closes))["outlier"] == (1, 8)


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        # Counted independently when the files were collected.
        ("eurusd_m1_histdata_2017H1.csv.gz", "outlier", 36),
        ("eurusd_m1_histdata_2017H1.csv.gz", "unchanged_close", 12_998),
        ("gbpusd_m1_fxcm_2012-02_quotes.csv.gz", "crossed_quote", 347),
        ("gbpusd_m1_fxcm_2012-02_quotes.csv.gz", "zero_spread", 306),
        ("eurusd_ticks_oanda_2014-05-02.csv.gz", "duplicate_time", 277),
        ("usdjpy_h1_mt_2012-2022.csv.gz", "outlier", 10),
    ],
)
def test_the_known_defects_of_real_files_are_found(name: str, kind: str, count: int) -> None:
    assert found(inspect(read_table(shared(name))))[kind][0] == count


def test_quotes_that_cross_are_refused_until_accepted() -> None:
    path = shared("gbpusd_m1_fxcm_2012-02_quotes.csv.gz")
    with pytest.raises(DataError, match=r"line 526: crossed_quote.*347 such rows"):
        load_quotes(path)
    assert len(load_quotes(path, accept=["crossed_quote"])) == 30_117


def test_vendor_files_without_header_or_zone_say_what_they_lack() -> None:
    path = shared("DIRTY_eurusd_m1_histdata_2017-03_raw.csv.gz")
    columns = ["time", "open", "high", "low", "close", "volume"]
    with pytest.raises(DataError, match="line 1: no header"):
        load_bars(path)
    with pytest.raises(DataError, match="carries no time zone"):
        load_bars(path, columns=columns)
    # The vendor's clock is New York's, with summer time (measured): no local time is skipped.
    assert len(load_bars(path, columns=columns, time_zone="America/New_York")) == 32_660


def test_points_with_binary_noise_are_read_on_their_grid() -> None:
    path = shared("DIRTY_audusd_h1_mt_2014-09_2015_raw.csv.gz")
    bars = load_bars(path, time_zone="UTC")
    assert str(bars.tick) == "1"
    # The file says 88,841.0 points on its first row.
    assert bars.close_ticks[0] == 88_841
    assert np.abs(bars.close - bars.close_ticks).max() < 1e-9


# Rows as counted when the files were collected, and what must be told or accepted to read them.
RAW = {
    "columns": ["time", "open", "high", "low", "close", "volume"],
    "time_zone": "America/New_York",
}
EVERY_FILE: dict[str, tuple[int, dict[str, Any], str]] = {
    "DIRTY_audusd_h1_mt_2014-09_2015_raw.csv.gz": (4_000, {"time_zone": "UTC"}, "no time zone"),
    "DIRTY_eurusd_m1_histdata_2017-03_raw.csv.gz": (32_660, RAW, "line 1: no header"),
    "btcperp_m1_2022-01.csv.gz": (45_031, {}, ""),
    "eurgbp_h1_mt_2012-2022.csv.gz": (57_600, {}, ""),
    "eurusd_h1_oanda_mid.csv.gz": (74_439, {}, ""),
    "eurusd_h1_oanda_quotes.csv.gz": (74_439, {}, ""),
    "eurusd_m1_histdata_2017H1.csv.gz": (186_348, {}, ""),
    "eurusd_m1_oanda_2014-05_mid.csv.gz": (15_366, {}, ""),
    "eurusd_m1_oanda_2014-05_quotes.csv.gz": (15_366, {}, ""),
    "eurusd_ticks_oanda_2014-05-02.csv.gz": (
        49_341,
        {"accept": ["duplicate_time"]},
        r"line 146: duplicate_time.*277 such rows",
    ),
    "gbpusd_h1_mt_2012-2022.csv.gz": (57_600, {}, ""),
    "gbpusd_m1_fxcm_2012-02_bid.csv.gz": (30_117, {}, ""),
    "gbpusd_m1_fxcm_2012-02_quotes.csv.gz": (
        30_117,
        {"accept": ["crossed_quote"]},
        r"line 526: crossed_quote.*347 such rows",
    ),
    "nzdusd_h1_oanda_mid.csv.gz": (74_451, {}, ""),
    "spy_d1_lean.csv.gz": (5_849, {}, ""),
    "usdjpy_h1_mt_2012-2022.csv.gz": (57_600, {}, ""),
}


def test_every_file_of_the_folder_is_among_those_that_are_tried() -> None:
    if not SHARED.is_dir():
        pytest.skip("the folder of real files is not here: their vendors grant no redistribution")
    assert {path.name for path in SHARED.glob("*.gz")} == set(EVERY_FILE)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_real_file_is_read_whole_or_refused_with_its_reason(name: str) -> None:
    rows, told, refusal = EVERY_FILE[name]
    load = load_quotes if "quotes" in name or "ticks" in name else load_bars
    if refusal:
        with pytest.raises(DataError, match=refusal):
            load(shared(name))
    # Nothing is dropped: every row that was counted is there.
    assert len(load(shared(name), **told)) == rows
