"""The store of market data: what is kept with every data set, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sep_engine.data import load_bars, load_quotes, load_sample, read_table
from sep_engine.data.store import (
    BarColumns,
    Origin,
    bars_of_quotes,
    catalogue,
    columns_of,
    delete,
    load_stored,
    save,
)
from sep_engine.errors import ArgumentError, DataError

NOW = datetime(2026, 6, 2, tzinfo=UTC)
ORIGIN = Origin("a vendor", "a licence", "ask", "UTC, stated", False, "bars.csv")


def keep(store: Path, columns: BarColumns, name: str = "mine", **other: Any) -> Any:
    values: dict[str, Any] = {
        "instrument": "EUR_USD",
        "origin": ORIGIN,
        "tick": None,
        "pip": Decimal("0.0001"),
        "calendar": "fx",
        "now": NOW,
        **other,
    }
    return save(columns, store=store, name=name, **values)


@pytest.fixture(scope="module")
def sample_columns() -> BarColumns:
    bars = load_sample().bars
    return columns_of(bars, spread=np.full(len(bars), 0.00013))


def test_what_is_stored_comes_back_with_its_origin(
    tmp_path: Path, sample_columns: BarColumns
) -> None:
    keep(tmp_path, sample_columns)
    stored = load_stored(tmp_path / "mine")
    sample = load_sample().bars
    assert stored.bars.content_sha256 == sample.content_sha256
    assert stored.bars.name == "mine"
    assert stored.spread is not None
    assert (stored.spread == 0.00013).all()
    assert stored.metadata["origin"]["vendor"] == "a vendor"
    assert stored.metadata["first"] == "2017-01-01T22:00:00Z"
    assert [one["name"] for one in catalogue(tmp_path)] == ["mine"]


def test_a_changed_byte_is_refused(tmp_path: Path, sample_columns: BarColumns) -> None:
    keep(tmp_path, sample_columns)
    path = tmp_path / "mine" / "bars.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError):
        load_stored(tmp_path / "mine")


def test_a_name_is_taken_once(tmp_path: Path, sample_columns: BarColumns) -> None:
    keep(tmp_path, sample_columns)
    with pytest.raises(ArgumentError, match="is there already"):
        keep(tmp_path, sample_columns)
    delete(tmp_path, "mine")
    keep(tmp_path, sample_columns)
    with pytest.raises(ArgumentError, match="no data set other"):
        delete(tmp_path, "other")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "x" * 65, "é"])
def test_an_impossible_name_is_refused(
    tmp_path: Path, sample_columns: BarColumns, name: str
) -> None:
    with pytest.raises(ArgumentError, match="named by up to 64"):
        keep(tmp_path, sample_columns, name)


def test_bars_with_an_error_are_not_stored(tmp_path: Path, sample_columns: BarColumns) -> None:
    times = sample_columns.times.copy()
    times[7] = times[6]
    with pytest.raises(DataError, match="line 8: duplicate_time"):
        keep(tmp_path, replace(sample_columns, times=times))
    assert list(tmp_path.iterdir()) == []


def generated() -> BarColumns:
    # Steps of 20 normal ticks: neither fat tails nor memory.
    steps = np.rint(np.random.default_rng(1).normal(0, 20, 3000))
    closes = 1.1 + np.cumsum(steps) * 1e-5
    opens = np.append(1.1, closes[:-1])
    own = {
        "open": opens,
        "high": np.maximum(opens, closes),
        "low": np.minimum(opens, closes),
        "close": closes,
    }
    own = {name: np.round(column, 5) for name, column in own.items()}
    hours = np.arange(3000) * 3_600_000_000_000
    return BarColumns(times=1_483_311_600_000_000_000 + hours, own=own)


def test_prices_that_look_generated_must_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looks_generated: .*say --synthetic if they were"):
        keep(tmp_path, generated(), calendar="always")
    made = keep(tmp_path, generated(), calendar="always", origin=replace(ORIGIN, synthetic=True))
    assert made["origin"]["synthetic"] is True
    assert len(load_stored(tmp_path / "mine").bars) == 3000


def test_ticks_become_bars_of_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(
        "time,bid,ask\n"
        "2017-03-01T00:00:05Z,1.1,1.2\n"
        "2017-03-01T00:00:40Z,1.4,1.5\n"
        "2017-03-01T00:00:59Z,1.3,1.6\n"
        "2017-03-01T00:02:00Z,1.3,1.4\n"
    )
    bars = bars_of_quotes(load_quotes(path), timedelta(minutes=1))
    # The minute 00:01 had no quote and has no bar.
    minute = 60_000_000_000
    assert (np.diff(bars.times) == 2 * minute).all()
    assert bars.times[0] % minute == 0
    assert bars.ask is not None
    assert {name: column.tolist() for name, column in bars.own.items()} == {
        "open": [1.1, 1.3],
        "high": [1.4, 1.3],
        "low": [1.1, 1.3],
        "close": [1.3, 1.3],
    }
    assert bars.ask["high"].tolist() == [1.6, 1.4]
    assert bars.volume is not None
    assert bars.volume.tolist() == [3.0, 1.0]


CANDLES = (
    '{"instrument": "EUR_USD", "granularity": "H1", "candles": ['
    '{"time": "2017-03-01T00:00:00.000000000Z", "complete": true, "volume": 3,'
    ' "bid": {"o": "1.1", "h": "1.3", "l": "1.0", "c": "1.2"}, "ask": {"o": "1.2"}},'
    '{"time": "2017-03-01T01:00:00.000000000Z", "complete": true, "volume": 3,'
    ' "bid": {"o": "1.1", "h": "1.3", "l": "1.0", "c": "1.2"}},'
    '{"time": "2017-03-01T02:00:00.000000000Z", "complete": false, "volume": 1,'
    ' "bid": {"o": "1.2", "h": "1.2", "l": "1.2", "c": "1.2"}}]}'
)


def test_candles_of_oanda_are_read_and_an_unfinished_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "candles.json"
    path.write_text(CANDLES)
    table = read_table(path)
    assert table.columns["close"].tolist() == [1.2, 1.2]
    assert np.diff(table.times).tolist() == [3_600_000_000_000]
    assert [(bad.line, bad.reason) for bad in table.bad_rows] == [(3, "the candle is not complete")]
    with pytest.raises(DataError, match="line 3: bad_row"):
        load_bars(path)
    unix = tmp_path / "unix.json"
    unix.write_text(CANDLES.replace("2017-03-01T00:00:00.000000000Z", "1488326400.000000000"))
    unix.write_text(
        unix.read_text().replace("2017-03-01T01:00:00.000000000Z", "1488330000.000000000")
    )
    assert read_table(unix).times.tolist() == table.times.tolist()


@pytest.mark.parametrize("text", ["{", '{"candles": []}', "[]", '{"candles": [{"time": 1}]}'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"JSON|candles of OANDA"):
        read_table(path)
