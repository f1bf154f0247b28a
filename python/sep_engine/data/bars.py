"""Bars and quotes in columns, ready for the engine."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sep_engine.data.quality import (
    ACCEPTABLE,
    QualityReport,
    inspect,
    usual_duration,
)
from sep_engine.data.table import BAR_COLUMNS, Table, read_table
from sep_engine.errors import ArgumentError, DataError
from sep_engine.model.calendar import gap_mask
from sep_engine.model.ticks import infer_tick, to_ticks
from sep_engine.model.times import length_ns

# A minute without a quote is quiet, not missing: below this length bars of M1 are no gap.
SHORTEST_GAP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one side (or of mid prices) of one instrument, oldest first.

    Attributes:
        times: (n,) int64 nanoseconds since 1970 UTC at which the bars start, increasing.
        open, high, low, close: (n,) float64, finite, > 0, multiples of `tick`.
        open_ticks, high_ticks, low_ticks, close_ticks: (n,) int64, the same prices in ticks.
        volume: (n,) float64 as the source counts it, or None.
        tick: the grid of these prices; of mid prices half of that of the quotes.
        duration: length of a bar.
        calendar: when the market is open.
        name: what to call the series, e.g. the file's name.
        sha256: of the bytes that were read.
        quality: what was found wrong with the file.
    """

    times: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    open_ticks: NDArray[np.int64]
    high_ticks: NDArray[np.int64]
    low_ticks: NDArray[np.int64]
    close_ticks: NDArray[np.int64]
    volume: NDArray[np.float64] | None
    tick: Decimal
    duration: timedelta
    calendar: str
    name: str
    sha256: str
    quality: QualityReport

    def __len__(self) -> int:
        return self.times.size

    @property
    def duration_ns(self) -> int:
        """Length of a bar in nanoseconds."""
        return length_ns(self.duration)

    @property
    def ends(self) -> NDArray[np.int64]:
        """(n,) nanoseconds since 1970 UTC at which each bar is complete, and may be decided on."""
        return self.times + self.duration_ns

    @property
    def content_sha256(self) -> str:
        """sha256 of times and prices as parsed: the same for the same bars in any file format."""
        digest = hashlib.sha256()
        for column in (self.times, self.open_ticks, self.high_ticks, self.low_ticks):
            digest.update(np.ascontiguousarray(column).astype("<i8").tobytes())
        digest.update(self.close_ticks.astype("<i8").tobytes())
        digest.update(str(self.tick).encode())
        return digest.hexdigest()

    def gaps(self, *, min_missing_bars: int | None = None) -> NDArray[np.bool_]:
        """Return (n,) bool: bars are missing just before this one while the market was open.

        min_missing_bars: from how many on; the default is 15 minutes, at least one bar.
        """
        if min_missing_bars is None:
            min_missing_bars = max(1, -(-SHORTEST_GAP // self.duration))
        return gap_mask(self.times, self.duration, self.calendar, min_missing_bars)


@dataclass(frozen=True, slots=True, eq=False)
class Quotes:
    """Quotes of one instrument, oldest first.

    Attributes:
        times: (n,) int64 nanoseconds since 1970 UTC, not decreasing.
        bid, ask: (n,) float64, finite, > 0.
        name, sha256, quality: as in `Bars`.
    """

    times: NDArray[np.int64]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    name: str
    sha256: str
    quality: QualityReport

    def __len__(self) -> int:
        return self.times.size

    @property
    def mid(self) -> NDArray[np.float64]:
        """(n,) float64, half way between bid and ask."""
        return (self.bid + self.ask) / 2


def load_bars(
    path: Path | str,
    *,
    tick: Decimal | None = None,
    calendar: str = "fx",
    columns: Sequence[str] | None = None,
    time_zone: str | None = None,
    accept: Collection[str] = (),
    synthetic: bool = False,
) -> Bars:
    """Return the bars of a CSV or Parquet file, or refuse the file with line and reason.

    Args:
        path, columns, time_zone: see `read_table`.
        tick: the price grid; None infers it from the prices.
        calendar: "fx" or "always"; decides which missing bars are gaps.
        accept: kinds of errors of `sep_engine.data.quality` to live with. Accepted bad rows are
            left out; everything else accepted stays as it is.
        synthetic: the prices are said to be generated, so looking so is no error.

    Raises:
        DataError: the file cannot be read, has an error that was not accepted, holds quotes,
            or its prices lie on no grid or not on that of `tick`.
    """
    table = read_table(path, columns=columns, time_zone=time_zone)
    if not table.has_bars:
        raise DataError(f"{path}: holds quotes (bid, ask); bars were asked for")
    quality = _accepted(table, calendar, accept, synthetic)
    duration = usual_duration(table.times)
    if duration is None:
        why = "there is one row" if table.times.size == 1 else "no step between rows is usual"
        raise DataError(f"{path}: {why}, so the length of a bar is unknown")
    return bars_of_table(table, tick=tick, duration=duration, calendar=calendar, quality=quality)


def bars_of_table(
    table: Table,
    *,
    tick: Decimal | None,
    duration: timedelta,
    calendar: str,
    quality: QualityReport,
) -> Bars:
    """Return the rows of a table that was inspected as bars, named after its path.

    Args:
        tick: the price grid; None infers it from the prices.
        quality: what `sep_engine.data.quality.inspect` found.

    Raises:
        DataError: the prices lie on no grid, or not on that of `tick`.
    """
    prices = np.stack([table.columns[name] for name in BAR_COLUMNS])
    try:
        if tick is None:
            tick = infer_tick(prices)
        ticks = [to_ticks(row, tick) for row in prices]
    except ArgumentError as error:
        raise DataError(f"{table.path}: {error}") from error
    return Bars(
        times=table.times,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        open_ticks=ticks[0],
        high_ticks=ticks[1],
        low_ticks=ticks[2],
        close_ticks=ticks[3],
        volume=table.columns.get("volume"),
        tick=tick,
        duration=duration,
        calendar=calendar,
        name=table.path.name,
        sha256=table.sha256,
        quality=quality,
    )


def load_quotes(
    path: Path | str,
    *,
    calendar: str = "fx",
    columns: Sequence[str] | None = None,
    time_zone: str | None = None,
    accept: Collection[str] = (),
) -> Quotes:
    """Return the quotes of a CSV or Parquet file; arguments and errors are those of `load_bars`."""
    table = read_table(path, columns=columns, time_zone=time_zone)
    if table.has_bars:
        raise DataError(f"{path}: holds bars; quotes (bid, ask) were asked for")
    quality = _accepted(table, calendar, accept)
    return Quotes(
        times=table.times,
        bid=table.columns["bid"],
        ask=table.columns["ask"],
        name=table.path.name,
        sha256=table.sha256,
        quality=quality,
    )


def _accepted(
    table: Table, calendar: str, accept: Collection[str], synthetic: bool = False
) -> QualityReport:
    unknown = sorted(set(accept) - set(ACCEPTABLE))
    if unknown:
        raise ArgumentError(f"accept must name {', '.join(ACCEPTABLE)}; was {', '.join(unknown)}")
    report = inspect(table, calendar=calendar)
    if report.rows == 0 and not report.errors:
        raise DataError(f"{table.path}: no rows below the header")
    for error in report.errors:
        if error.kind not in accept and not (synthetic and error.kind == "looks_generated"):
            more = f" ({error.count} such rows)" if error.count > 1 else ""
            if error.kind == "looks_generated":
                more = "; say --synthetic if they were"
            hint = f"; accept it with --accept {error.kind}" if error.kind in ACCEPTABLE else ""
            raise DataError(
                f"{table.path}, line {error.first_line}: {error.kind}: {error.text}{more}{hint}"
            )
    if report.rows == 0:
        raise DataError(f"{table.path}: no readable rows")
    return report
