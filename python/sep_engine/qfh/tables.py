"""Time labels of columns in, tables and pictures of results out.

pandas and PyArrow are imported where they are used: `import sep_engine` stays quick.
"""

from __future__ import annotations

import sys
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from sep_engine.qfh.rolling import RollingMetrics

_WIDTH, _HEIGHT = 240, 28  # of a metric's line in a notebook, pixels
_POINTS_MAX = 240


def labels(prices: ArrayLike, times: ArrayLike | None, size: int) -> Any:
    """Return what labels the prices: the index of a pandas series, datetime64[ns], or None.

    Raises:
        ArgumentError: times of another length, missing, or not strictly increasing.
        TypeError: `times` holds no times.
    """
    if times is None:
        # Asked of the modules, so that pandas is not imported for those who do not use it.
        pandas = sys.modules.get("pandas")
        if pandas is None or not isinstance(prices, pandas.Series):
            return None
        index = prices.index
        if isinstance(index, pandas.RangeIndex) and (index.start, index.step) == (0, 1):
            return None
        if isinstance(prices.index, pandas.DatetimeIndex):
            _check_increasing(prices.index.to_numpy(dtype="datetime64[ns]"))
        return prices.index
    array = np.asarray(times)
    if array.dtype == np.int64:
        array = array.view("datetime64[ns]")
    if array.dtype == object:
        array = _without_zone(times, array)
    if array.dtype.kind != "M":
        raise TypeError(f"times must be datetime64 or int64 nanoseconds, were {array.dtype}")
    if array.shape != (size,):
        raise ArgumentError(f"times must have one value per price, {size}, had {array.shape}")
    exact = array.astype("datetime64[ns]")
    lost = np.flatnonzero((exact.astype(array.dtype) != array) & ~np.isnat(array))
    if lost.size:
        row = int(lost[0])
        raise ArgumentError(f"times must lie in 1677..2262, was {array[row]} at row {row}")
    _check_increasing(exact)
    return exact


def check_index(prices: ArrayLike, gap: ArrayLike | None) -> None:
    """Raise ArgumentError if prices and gap are pandas series of different indexes.

    They are taken row by row, which is not what their owner means by them.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or not all(isinstance(one, pandas.Series) for one in (prices, gap)):
        return
    if not prices.index.equals(gap.index):  # type: ignore[union-attr]
        raise ArgumentError("gap must have the index of prices: reindex it first")


def _without_zone(times: Any, array: NDArray[Any]) -> NDArray[Any]:
    """Return times that have a zone, which NumPy does not know, in UTC; anything else as it is."""
    import pyarrow as pa

    try:
        column = (
            pa.chunked_array(times) if hasattr(times, "__arrow_c_stream__") else pa.array(times)
        )
    except (pa.ArrowInvalid, TypeError):  # PyArrow's own is one of the latter
        return array
    if not pa.types.is_timestamp(column.type):
        return array
    return np.asarray(column.cast(pa.timestamp("ns")))


def _check_increasing(times: NDArray[Any]) -> None:
    missing = np.flatnonzero(np.isnat(times))
    if missing.size:
        raise ArgumentError(f"times must not be missing, was at row {missing[0]}")
    bad = np.flatnonzero(np.diff(times) <= np.timedelta64(0))
    if bad.size:
        row = int(bad[0]) + 1
        raise ArgumentError(
            f"times must increase, but {times[row]} follows {times[row - 1]} at row {row}"
        )


def to_pandas(metrics: RollingMetrics) -> pd.DataFrame:
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ImportError("to_pandas needs pandas: pip install pandas") from error
    index = metrics.times
    if index is None:
        index = pandas.Index(metrics.index, name="row")
    elif isinstance(index, np.ndarray):
        index = pandas.DatetimeIndex(index, tz="UTC", name="time")
    return pandas.DataFrame({**metrics.columns, "complete": metrics.complete}, index=index)


def to_arrow(metrics: RollingMetrics) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {"row": metrics.index}
    if isinstance(metrics.times, np.ndarray):
        columns = {"time": pa.array(metrics.times, type=pa.timestamp("ns", tz="UTC"))}
    elif metrics.times is not None and metrics.times.dtype.kind == "M":
        columns = {"time": pa.array(metrics.times)}
    elif metrics.times is not None:
        index = metrics.times
        unnamed = ["index"] if index.nlevels == 1 else map("level_{}".format, range(index.nlevels))
        columns = {
            str(name if name is not None else other): pa.array(index.get_level_values(level))
            for level, (name, other) in enumerate(zip(index.names, unnamed, strict=True))
        }
    return pa.table({**columns, **metrics.columns, "complete": metrics.complete})


def html(metrics: RollingMetrics) -> str:
    """Return a table for a notebook: newest value, mean, range and a line for each metric."""
    bits = "bits" if metrics.encoding is None else metrics.encoding
    head = "".join(f"<th>{name}</th>" for name in ("metric", "newest", "mean", "least", "most", ""))
    rows = "".join(_row(name, values) for name, values in metrics.columns.items())
    return (
        f"<p>RollingMetrics of {escape(bits)}: window {metrics.window}, {len(metrics):,} values, "
        f"{int(np.count_nonzero(metrics.complete)):,} complete</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(name: str, values: NDArray[Any]) -> str:
    known = values[~np.isnan(values)]
    figures = (
        (values[-1], known.mean(dtype=np.float64), known.min(), known.max())
        if known.size
        else (np.nan,) * 4
    )
    cells = "".join(f"<td>{'–' if np.isnan(x) else format(x, '.4g')}</td>" for x in figures)
    return f"<tr><td>{name}</td>{cells}<td>{_line(values)}</td></tr>"


def _line(values: NDArray[Any]) -> str:
    """The course of the values as SVG; each point is the mean of a stretch that has values."""
    edges = np.linspace(0, values.size, min(_POINTS_MAX, values.size) + 1).astype(np.int64)
    known = ~np.isnan(values)
    counts = np.add.reduceat(known.astype(np.int64), edges[:-1])
    sums = np.add.reduceat(np.where(known, values, 0.0).astype(np.float64), edges[:-1])
    at = np.flatnonzero(counts)
    if at.size < 2:
        return ""
    means = sums[at] / counts[at]
    across = at * (_WIDTH / (counts.size - 1))
    low, spread = means.min(), np.ptp(means) or 1.0
    down = _HEIGHT - 2 - (means - low) / spread * (_HEIGHT - 4)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="course over time">'
        f'<polyline points="{points}" fill="none" stroke="currentColor"/></svg>'
    )
