import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sep_engine.data import load_bars, load_quotes, read_table, write_columns
from sep_engine.data.table import BAR_COLUMNS
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


BY_DAY = "2017.01.02\t07:00:00\t1.05155\t1.05197\t1.05155\t1.0519\t17\t0\t3\n"


def test_a_day_and_a_time_in_two_columns_are_one_moment(write) -> None:
    # As MetaTrader 5 exports bars: of its two volumes the updates, currencies have no other.
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    text = header + BY_DAY + BY_DAY.replace("07:", "08:") + BY_DAY.replace("07:", "09:")
    bars = load_bars(write(text), time_zone="UTC")
    assert bars.times.tolist() == [SEVEN_NS, SEVEN_NS + HOUR_NS, SEVEN_NS + 2 * HOUR_NS]
    assert bars.volume is not None
    assert bars.volume.tolist() == [17, 17, 17]
    names = ["date", "time", "open", "high", "low", "close", "tickvol", "vol", "spread"]
    again = load_bars(write(text.removeprefix(header)), time_zone="UTC", columns=names)
    assert again.content_sha256 == bars.content_sha256


@pytest.mark.parametrize(
    ("header", "times"),
    [
        (",open,high,low,close", ["2017-01-02 07:00:00+00:00", "2017-01-02 08:00:00+00:00"]),
        ("Unnamed: 0,open,high,low,close", ["2017-01-02 07:00:00 UTC", "2017-01-02 08:00:00 UTC"]),
        ("time,open,high,low,close", ["1483340400.0", "1483344000.000000"]),
        ("time|open|high|low|close", ["1483340400.000", "1483344000.5"]),
    ],
)
def test_what_other_programs_write_is_read(write, header: str, times: list[str]) -> None:
    # The first is an index of pandas that has no name.
    delimiter = "|" if "|" in header else ","
    lines = [delimiter.join([time, "1.1", "1.2", "1.0", "1.1"]) for time in times]
    table = read_table(write("\n".join([header, *lines])))
    half = 5 * 10**8 if times[1].endswith(".5") else 0
    assert table.times.tolist() == [SEVEN_NS, SEVEN_NS + HOUR_NS + half]


def test_a_file_may_be_compressed_whatever_its_name_is(write, tmp_path: Path) -> None:
    text = HEADER + "".join(ROWS)
    (tmp_path / "packed.csv").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "plain.csv.gz").write_text(text)
    wanted = load_bars(write(text)).content_sha256
    assert load_bars(tmp_path / "packed.csv").content_sha256 == wanted
    assert load_bars(tmp_path / "plain.csv.gz").content_sha256 == wanted
    (tmp_path / "book.csv").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(DataError, match="an archive or a workbook; unpack it, or save it as CSV"):
        load_bars(tmp_path / "book.csv")


def test_empty_lines_at_the_end_are_no_rows(write) -> None:
    text = HEADER + "".join(ROWS)
    bars = load_bars(write(text + "\n,,,,,\n\n"))
    assert bars.content_sha256 == load_bars(write(text)).content_sha256


def test_a_decimal_comma_is_told(write) -> None:
    text = (HEADER + "".join(ROWS)).replace(",", ";").replace(".", ",")
    with pytest.raises(DataError, match="open '1,05155' is not a number: write decimals with a po"):
        load_bars(write(text))


MOMENTS = [datetime(2017, 1, 2, hour, tzinfo=UTC) for hour in (7, 8, 9)]
CLOSES = [1.05155, 1.05197, 1.05179]


@pytest.mark.parametrize(
    ("time", "prices"),
    [
        (pa.array(MOMENTS, pa.timestamp("ms", "America/New_York")), pa.array(CLOSES)),
        (pa.array([1483340400 + 3600 * k for k in range(3)], pa.uint32()), pa.array(CLOSES)),
        (pa.array([str(at) for at in MOMENTS], pa.large_string()), pa.array(CLOSES)),
        (pa.array([str(at) for at in MOMENTS], pa.string_view()), pa.array(CLOSES)),
        (pa.array([str(at) for at in MOMENTS]).dictionary_encode(), pa.array(CLOSES)),
        (pa.array(MOMENTS), pa.array(CLOSES).dictionary_encode()),
        (pa.array(MOMENTS), pa.array([f"{price}" for price in CLOSES], pa.large_string())),
        (pa.array(MOMENTS), pa.array([Decimal(str(price)) for price in CLOSES])),
        # None of the three is a float32: what is meant is the decimal that it is written as.
        (pa.array(MOMENTS), pa.array(CLOSES, pa.float32())),
    ],
)
def test_columns_of_every_kind_hold_the_same_bars(tmp_path: Path, time: Any, prices: Any) -> None:
    path = tmp_path / "bars.parquet"
    pq.write_table(pa.table({"time": time, **dict.fromkeys(BAR_COLUMNS, prices)}), path)
    bars = load_bars(path)
    assert bars.times.tolist() == [SEVEN_NS + k * HOUR_NS for k in range(3)]
    assert bars.tick == Decimal("0.00001")
    assert bars.close_ticks.tolist() == [105155, 105197, 105179]


def test_days_of_a_parquet_file_need_a_zone_as_those_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    days = pa.array([date(2017, 1, day) for day in (2, 3, 4)])
    pq.write_table(pa.table({"date": days, **dict.fromkeys(BAR_COLUMNS, CLOSES)}), path)
    with pytest.raises(DataError, match="carries no time zone"):
        load_bars(path)
    assert load_bars(path, time_zone="UTC").times[0] == SEVEN_NS - 7 * HOUR_NS


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"time": pa.array([0.5, 1.5, 2.5])}, "the column 'time' holds double, no times"),
        ({"time": pa.array([1, 2, 3], pa.duration("s"))}, r"the column 'time' holds duration\[s\]"),
        ({"time": pa.array(MOMENTS), "close": pa.array([True] * 3)}, "'close' holds bool"),
        ({"time": pa.array(MOMENTS), "Date": pa.array(MOMENTS)}, "both 'date' and 'time'"),
        ({"time": pa.array(MOMENTS), "c": pa.array(CLOSES)}, "more than one column is 'close': "),
        ({"time": pa.array([None, "2017-01-02", "2017-01-03"])}, "line 1: bad_row: time ''"),
        ({"time": pa.array([10**12] * 3, pa.timestamp("s", "UTC"))}, "out of bounds timestamp"),
    ],
)
def test_a_column_that_cannot_be_meant_is_named(tmp_path: Path, columns: Any, reason: str) -> None:
    path = tmp_path / "bars.parquet"
    pq.write_table(pa.table({**dict.fromkeys(BAR_COLUMNS, pa.array(CLOSES)), **columns}), path)
    with pytest.raises(DataError, match=reason):
        load_bars(path, time_zone="UTC")


def test_prices_far_below_a_usual_tick_are_no_multiples_of_it(write) -> None:
    # 0.00000041 is near 0, and 0 is a multiple of every tick.
    prices = [41, 43, 42]
    text = HEADER + "".join(
        f"{row[:20]}{f',0.000000{price}' * 4},1\n" for row, price in zip(ROWS, prices, strict=True)
    )
    bars = load_bars(write(text))
    assert bars.tick == Decimal("0.00000001")
    assert bars.close_ticks.tolist() == prices


def test_prices_beyond_what_a_double_counts_are_refused(write) -> None:
    text = HEADER + "".join(f"{row[:20]},1e300,1e300,1e300,1e300,1\n" for row in ROWS)
    with pytest.raises(DataError, match=r"prices must be below 2\^53 ticks of 1, row 0 is 1e\+300"):
        load_bars(write(text))
