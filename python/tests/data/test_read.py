import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from sep_engine.data import load_bars, load_quotes, read_table, write_columns
from sep_engine.errors import ArgumentError, DataError

HEADER = "time,open,high,low,close,volume\n"
ROWS = [
    "2017-01-02T07:00:00Z,1.05155,1.05197,1.05155,1.0519,10\n",
    "2017-01-02T08:00:00Z,1.05209,1.05209,1.05177,1.05179,0\n",
    "2017-01-02T09:00:00Z,1.05179,1.05181,1.0517,1.05179,5\n",
]
# 2017-01-02 07:00 UTC is 17,168 days and 7 hours after 1970 began.
SEVEN_NS = (17_168 * 24 + 7) * 3600 * 10**9
HOUR_NS = 3600 * 10**9


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str, name: str = "bars.csv") -> Path:
        path = tmp_path / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_file


def test_a_file_in_utf_16_is_the_same_bars(tmp_path: Path, write) -> None:
    # As MetaTrader writes it: two bytes a character, the byte order first.
    path = tmp_path / "exported.csv"
    path.write_bytes((HEADER + "".join(ROWS)).encode("utf-16"))
    same = load_bars(write(HEADER + "".join(ROWS)))
    assert load_bars(path).content_sha256 == same.content_sha256


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz"])
def test_a_byte_that_is_no_text_is_told_with_its_line(tmp_path: Path, name: str) -> None:
    content = (HEADER + "".join(ROWS)).encode() + b"\xff\xfa,1,2,3,4\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match=r"line 5: byte 0xff is no text in utf-8; save the file"):
        load_bars(path)


def test_a_file_of_one_row_says_so(write) -> None:
    with pytest.raises(DataError, match="there is one row, so the length of a bar is unknown"):
        load_bars(write(HEADER + ROWS[0]))


def test_bars_are_read_with_their_ticks(write) -> None:
    bars = load_bars(write(HEADER + "".join(ROWS)))
    assert bars.times.tolist() == [SEVEN_NS, SEVEN_NS + HOUR_NS, SEVEN_NS + 2 * HOUR_NS]
    assert bars.tick == Decimal("0.00001")
    assert bars.close_ticks.tolist() == [105190, 105179, 105179]
    assert bars.volume is not None
    assert bars.volume.tolist() == [10, 0, 5]
    assert bars.duration.total_seconds() == 3600


def test_compressed_bars_are_the_same_bars_in_another_file(write) -> None:
    text = HEADER + "".join(ROWS)
    plain, packed = load_bars(write(text)), load_bars(write(text, "bars.csv.gz"))
    assert plain.content_sha256 == packed.content_sha256
    assert plain.sha256 != packed.sha256


def test_the_header_decides_the_order_of_the_columns(write) -> None:
    text = "Close;Low;spread;High;Open;Date\r\n" + "".join(
        f"1.2;1.0;7;1.3;1.1;2017-01-02 0{hour}:00:00+00:00\r\n" for hour in range(7, 10)
    )
    bars = load_bars(write(text))
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (1.1, 1.3, 1.0, 1.2)
    assert bars.times[0] == SEVEN_NS
    assert bars.volume is None


@pytest.mark.parametrize(
    ("text", "time_zone"),
    [
        ("1483340400", None),
        ("1483340400000", None),
        ("1483340400000000", None),
        ("1483340400000000000", None),
        ("2017-01-02T07:00Z", None),
        ("2017-01-02 07:00:00.000", "UTC"),
        ("2017-01-02T02:00:00-05:00", None),
        ("20170102 020000", "America/New_York"),
        ("2017.01.02 09:00", "Europe/Helsinki"),
        ("02.01.2017 07:00:00.000", "UTC"),
    ],
)
def test_many_forms_of_time_mean_the_same_instant(write, text: str, time_zone: str | None) -> None:
    table = read_table(write(f"time,bid,ask\n{text},1.1,1.2\n"), time_zone=time_zone)
    assert table.times.tolist() == [SEVEN_NS]


def test_a_time_without_zone_is_refused_until_the_zone_is_named(write) -> None:
    with pytest.raises(DataError, match="carries no time zone; name it"):
        read_table(write("time,bid,ask\n2017-01-02 07:00:00,1.1,1.2\n"))


def test_a_local_time_that_the_clock_skipped_is_a_bad_row(write) -> None:
    # New York went from 01:59:59 to 03:00:00 on 12 March 2017.
    text = "time,bid,ask\n20170312 013000,1.1,1.2\n20170312 023000,1.1,1.2\n"
    table = read_table(write(text), time_zone="America/New_York")
    assert [bad.line for bad in table.bad_rows] == [3]
    assert "does not exist once in America/New_York" in table.bad_rows[0].reason
    assert table.times.size == 1


def test_a_file_without_header_asks_for_the_names(write) -> None:
    path = write("20170301 000000;1.05522;1.05529;1.05521;1.05529;0\n")
    with pytest.raises(DataError, match=r"line 1: no header; name the columns"):
        read_table(path, time_zone="UTC")
    names = ["time", "open", "high", "low", "close", "volume"]
    assert read_table(path, columns=names, time_zone="UTC").columns["close"].tolist() == [1.05529]
    with pytest.raises(DataError, match="6 columns, but 2 names given"):
        read_table(path, columns=["time", "close"], time_zone="UTC")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2017-01-02T09:00:00Z,1.05179,1.05181,x,1.05179,5\n", "low 'x' is not a number"),
        ("2017-01-02T09:00:00Z,1.05179,1.05181,nan,1.05179,5\n", "low 'nan' is not a number"),
        ("2017-01-02T09:00:00Z,1.05179,1.05181,,1.05179,5\n", "low '' is not a number"),
        ("2017-02-30T09:00:00Z,1.05179,1.05181,1.0517,1.05179,5\n", "time '2017-02-30T09:00:00Z'"),
        ("2017-01-02T09:00:00,1.05179,1.05181,1.0517,1.05179,5\n", "time '2017-01-02T09:00:00'"),
        ("2017-01-02T09:00:00Z,1.05179,1.05181,1.0517,1.05179\n", "5 columns, expected 6"),
        ("\n", "time '' is not a time"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_line_and_reason(
    write, row: str, reason: str
) -> None:
    path = write(HEADER + ROWS[0] + row + ROWS[2].replace("09:", "10:"))
    with pytest.raises(DataError, match="line 3: bad_row: ") as caught:
        load_bars(path)
    assert reason in str(caught.value)
    assert "--accept bad_row" in str(caught.value)
    assert read_table(path).lines.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("rows", "line", "kind"),
    [
        ([0, 1, 1], 4, "duplicate_time"),
        ([1, 2, 0], 4, "backward_step"),
    ],
)
def test_times_must_increase(write, rows: list[int], line: int, kind: str) -> None:
    with pytest.raises(DataError, match=f"line {line}: {kind}"):
        load_bars(write(HEADER + "".join(ROWS[row] for row in rows)))


@pytest.mark.parametrize(
    ("prices", "kind"),
    [
        ("1.1,1.2,1.0,-1.1", "price_not_positive"),
        ("1.1,1.2,0,1.1", "price_not_positive"),
        ("1.1,1.05,1.0,1.1", "bar_inconsistent"),
        ("1.1,1.2,1.15,1.18", "bar_inconsistent"),
    ],
)
def test_prices_that_cannot_be_are_refused(write, prices: str, kind: str) -> None:
    with pytest.raises(DataError, match=f"line 3: {kind}"):
        load_bars(write(HEADER + ROWS[0] + f"2017-01-02T08:00:00Z,{prices},0\n" + ROWS[2]))


def test_an_error_can_be_accepted_by_name(write) -> None:
    path = write("time,bid,ask\n2017-01-02T07:00:00Z,1.2,1.1\n2017-01-02T07:00:00Z,1.1,1.1\n")
    with pytest.raises(DataError, match="line 3: duplicate_time"):
        load_quotes(path)
    with pytest.raises(DataError, match="line 2: crossed_quote"):
        load_quotes(path, accept=["duplicate_time"])
    quotes = load_quotes(path, accept=["duplicate_time", "crossed_quote"])
    assert quotes.bid.tolist() == [1.2, 1.1]
    assert [error.kind for error in quotes.quality.errors] == ["duplicate_time", "crossed_quote"]


def test_an_error_that_leaves_nothing_to_compute_with_cannot_be_accepted(write) -> None:
    with pytest.raises(ArgumentError, match="accept must name"):
        load_bars(write(HEADER + "".join(ROWS)), accept=["price_not_positive"])


def test_a_price_off_the_given_tick_is_refused(write) -> None:
    with pytest.raises(DataError, match=r"multiples of tick 0\.0001, row 0 is 1\.05155"):
        load_bars(write(HEADER + "".join(ROWS)), tick=Decimal("0.0001"))


def test_bars_and_quotes_are_not_taken_for_each_other(write) -> None:
    quotes = write("time,bid,ask\n2017-01-02T07:00:00Z,1.1,1.2\n", "quotes.csv")
    with pytest.raises(DataError, match="holds quotes"):
        load_bars(quotes)
    with pytest.raises(DataError, match="holds bars"):
        load_quotes(write(HEADER + "".join(ROWS)))
    assert load_quotes(quotes).mid.tolist() == [pytest.approx(1.15)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: empty"),
        (HEADER, "no rows below the header"),
        ("time,open,high,low\n", "needs the columns"),
        ("open,high,low,close\n", "no column 'time'"),
        ("time,Time,open,high,low,close\n", "more than one column is 'time'"),
        (HEADER + "x,1,1,1,1,1\n", "cannot read the time 'x'"),
    ],
)
def test_a_file_that_is_no_table_of_prices_is_refused(write, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        load_bars(write(text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv: No such file"):
        load_bars(tmp_path / "nothing.csv")


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "".join(ROWS)).encode())[:-20])
    with pytest.raises(DataError, match=r"bars\.csv\.gz"):
        load_bars(path)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_what_is_written_can_be_read_again(write, tmp_path: Path, suffix: str) -> None:
    bars = load_bars(write(HEADER + "".join(ROWS)))
    path = tmp_path / f"out.{suffix}"
    columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close")}
    write_columns(path, bars.times, {**columns, "entropy": np.array([np.nan, 0.5, 1.0])})
    assert load_bars(path).content_sha256 == bars.content_sha256
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bars.csv", path.name]


def test_an_output_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must end in"):
        write_columns(tmp_path / "out.xlsx", np.zeros(0, dtype=np.int64), {})


def test_an_output_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be written: .*No such file"):
        write_columns(tmp_path / "no" / "out.csv", np.zeros(0, dtype=np.int64), {})
