"""Columns of pandas, Polars and PyArrow go in with their times, and tables come out."""

import builtins
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sep_engine import qfh
from sep_engine.errors import ArgumentError

N = 200
PRICES = 1.1 + np.arange(N) % 7 * 1e-5
UTC = np.datetime64("2024-01-01T00:00", "ns") + np.arange(N) * np.timedelta64(1, "m")
BERLIN = pd.DatetimeIndex(UTC, tz="UTC").tz_convert("Europe/Berlin")
EXPECTED = qfh.rolling(PRICES, tick=1e-5)


@pytest.mark.parametrize(
    "prices",
    [
        pd.Series(PRICES),
        pd.Series(PRICES, dtype="float64[pyarrow]"),
        pl.Series(PRICES),
        pl.DataFrame({"close": PRICES})["close"],
        pa.array(PRICES),
        pa.chunked_array([PRICES[:70], PRICES[70:]]),
        pa.table({"close": PRICES})["close"],
    ],
)
def test_a_column_gives_what_its_array_gives(prices: Any) -> None:
    found = qfh.rolling(prices, tick=1e-5)
    assert found.damped.tobytes() == EXPECTED.damped.tobytes()
    assert found.times is None


def test_a_frame_has_the_index_of_the_series() -> None:
    frame = qfh.rolling(pd.Series(PRICES, index=BERLIN), tick=1e-5, stride=3).to_pandas()
    pd.testing.assert_index_equal(frame.index, BERLIN[::3], exact="equiv")
    np.testing.assert_array_equal(frame["entropy"], EXPECTED.entropy[::3])
    assert list(frame.columns) == [*qfh.CHEAP_METRICS, "complete"]


@pytest.mark.parametrize(
    "times",
    [
        UTC,
        UTC.view(np.int64),
        UTC.astype("datetime64[s]"),
        BERLIN,
        pa.array(BERLIN),
        pl.Series(UTC),
        pl.Series(UTC).dt.replace_time_zone("UTC"),
        pd.Series(BERLIN),
    ],
)
def test_given_times_label_every_value_in_utc(times: Any) -> None:
    found = qfh.rolling(PRICES, tick=1e-5, times=times)
    np.testing.assert_array_equal(found.times, UTC)
    assert found.to_pandas().index[-1] == pd.Timestamp("2024-01-01T03:19", tz="UTC")
    table = found.to_arrow()
    assert table.schema.field("time").type == pa.timestamp("ns", tz="UTC")
    assert pl.from_arrow(table).shape == (N, 14)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("labelled", "index"),
    [
        (pd.Series(PRICES)[100:], [100, 101]),
        (pd.Series(np.repeat(PRICES, 2))[::2], [0, 2]),
        (pd.Series(np.insert(PRICES, 1, np.nan)).dropna(), [0, 2]),
    ],
)
def test_a_part_of_a_series_keeps_its_labels(labelled: Any, index: list[int]) -> None:
    found = qfh.rolling(labelled, tick=1e-5)
    assert found.to_pandas().index[:2].tolist() == index
    assert found.to_arrow()["index"][:2].to_pylist() == index


def test_labels_of_several_levels_are_a_column_each() -> None:
    pairs = pd.MultiIndex.from_product([["a", "b"], range(N // 2)], names=["pair", None])
    table = qfh.rolling(pd.Series(PRICES, pairs), tick=1e-5).to_arrow()
    assert table.column_names[:3] == ["pair", "level_1", "null_ratio"]
    assert table["pair"][-1].as_py() == "b"
    assert table["level_1"][-1].as_py() == 99


def test_a_mask_with_other_labels_is_refused() -> None:
    prices, gap = pd.Series(PRICES, BERLIN), pd.Series(np.arange(N) == 9, BERLIN)
    expected = qfh.rolling(PRICES, tick=1e-5, gap=np.arange(N) == 9)
    assert qfh.rolling(prices, tick=1e-5, gap=gap).damped.tobytes() == expected.damped.tobytes()
    with pytest.raises(ArgumentError, match="gap must have the index of prices: reindex it first"):
        qfh.rolling(prices, tick=1e-5, gap=gap.tz_convert("UTC").shift(freq="1min"))


def test_without_times_rows_are_numbered() -> None:
    found = qfh.rolling(PRICES, tick=1e-5, stride=4)
    assert found.to_pandas().index.tolist() == list(range(0, N, 4))
    table = found.to_arrow()
    assert table["row"].to_pylist() == list(range(0, N, 4))
    # NaN is a value and not a null: the first windows are not full.
    assert table["entropy"].null_count == 0
    assert np.isnan(table["entropy"][0].as_py())


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (UTC[:5], ArgumentError, r"times must have one value per price, 200, had \(5,\)"),
        (UTC[::-1], ArgumentError, "times must increase, but 2024-01-01T03:18.* at row 1"),
        (np.repeat(UTC[::2], 2), ArgumentError, "times must increase, .* at row 1"),
        (np.where(np.arange(N) == 7, np.datetime64("NaT"), UTC), ArgumentError, "missing.* row 7"),
        (np.arange(float(N)), TypeError, "times must be datetime64 or int64 .* were float64"),
        (["now"] * N, TypeError, "times must be datetime64 or int64"),
        ([object()] * N, TypeError, "times must be datetime64 or int64"),
        (np.arange(N).astype("M8[Y]") + 2000, ArgumentError, "times must lie in 1677.*3970"),
    ],
)
def test_bad_times_are_refused(times: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        qfh.rolling(PRICES, tick=1e-5, times=times)


def test_an_index_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ArgumentError, match="times must increase"):
        qfh.rolling(pd.Series(PRICES, index=BERLIN[::-1]), tick=1e-5)


@pytest.mark.parametrize(
    ("prices", "error", "message"),
    [
        (pa.array([None, *PRICES]), ArgumentError, "prices must be finite, was nan at row 0"),
        (pl.Series([*PRICES[:9], None, *PRICES]), ArgumentError, "was nan at row 9"),
        (pd.DataFrame({"close": PRICES}), ArgumentError, "prices must have one dimension"),
        (pa.array(PRICES.astype(np.float32)), TypeError, "must have dtype float64, was <f4"),
        (np.ma.array(PRICES, mask=PRICES > 1.10003), TypeError, "must not be a masked array"),
    ],
)
def test_a_column_with_holes_is_refused(prices: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        qfh.rolling(prices, tick=1e-5)


def test_a_notebook_shows_a_line_for_each_metric() -> None:
    shown = qfh.rolling(PRICES, tick=1e-5, metrics=["entropy", "damped"])._repr_html_()
    assert "RollingMetrics of moves: window 64, 200 values, 136 complete" in shown
    newest = format(EXPECTED.entropy[-1], ".4g")
    assert f"<tr><td>entropy</td><td>{newest}</td>" in shown
    assert shown.count("<polyline") == 2


def test_a_notebook_shows_that_nothing_is_known_yet() -> None:
    # 64 bits fill a window once; entropy of the one value cannot be drawn as a line.
    shown = qfh.rolling_bits(np.zeros(64, dtype=np.uint8), metrics=["qbsa_error"])._repr_html_()
    assert "<td>qbsa_error</td><td>–</td><td>–</td><td>–</td><td>–</td><td></td>" in shown


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without_pandas(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(ImportError, match="to_pandas needs pandas: pip install pandas"):
        EXPECTED.to_pandas()
