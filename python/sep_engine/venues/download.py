"""Downloads of bars that can be cut off anywhere and go on later.

Pages are kept as files beside the store's data sets until the range is whole; then they become one
data set. A second run of the same download starts where the pages, or the data set, end. It asks
for the last bar again and compares: a venue that changed its past is an error, not a mixture.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from sep_engine.data.store import (
    BARS,
    BarColumns,
    Origin,
    data_set,
    is_data_set,
    joined,
    read_columns,
    read_metadata,
    save,
    write_bars,
)
from sep_engine.errors import ArgumentError, DataError
from sep_engine.model.times import from_ns, to_ns

Page = Callable[[datetime], Awaitable[BarColumns | None]]
ATTEMPTS_MAX = 6


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is downloaded: the same values go on with what is there, others refuse to.

    since: the first bar starts at or after it; aware.
    granularity: in the venue's own words.
    """

    venue: str
    instrument: str
    granularity: str
    since: datetime
    price: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a data set needs beside its bars; see `sep_engine.data.store.save`."""

    origin: Origin
    tick: Decimal | None
    pip: Decimal
    calendar: str


class Again(Exception):
    """The venue could not answer now; `after_s` is how long it asks to be left alone, if it did."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


async def paced(
    page: Page,
    *,
    since: datetime,
    until: datetime,
    length: timedelta,
    pause_s: float,
    bars_a_page: int = 1,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[BarColumns]:
    """Yield the bars that start in [since, until), page by page and not too fast.

    Args:
        page: returns complete bars from a time on, oldest first, and None after the last one.
        length: of a bar.
        bars_a_page: how many bars' time an empty page speaks for.
        pause_s: between two requests. After a failure it doubles, up to a minute.

    Raises:
        DataError: pages are out of order, or the venue failed ATTEMPTS_MAX times in a row.
    """
    failures, start = 0, since
    while start < until:
        try:
            found = await page(start)
        except Again as error:
            failures += 1
            if failures == ATTEMPTS_MAX:
                raise DataError(f"gave up after {failures} attempts: {error}") from error
            await sleep(error.after_s or min(60.0, max(pause_s, 0.5) * 2**failures))
            continue
        failures = 0
        if found is None:
            return
        if len(found.times):
            steps = np.diff(found.times, prepend=to_ns(start) - 1)
            if (steps <= 0).any():
                raise DataError(f"bars from {start.isoformat()} on came out of order")
            yield _before(found, until)
            start = from_ns(int(found.times[-1])) + length
        else:
            # A page may cover a holiday: nothing there, and more behind it.
            start = start + bars_a_page * length
        await sleep(pause_s)


async def download(
    wanted: Wanted,
    terms: Terms,
    page: Page,
    *,
    until: datetime,
    length: timedelta,
    store: Path,
    name: str,
    pause_s: float,
    bars_a_page: int = 1,
    now: datetime,
    on_page: Callable[[datetime], None] = lambda reached: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Mapping[str, Any]:
    """Make or continue a data set and return its metadata.

    Args:
        until: bars that start before it are wanted; bars that are not complete are left out.
        now: UTC, aware.
        on_page: called with the time that has been reached.

    Raises:
        ArgumentError: a data set or pages of that name are of another download.
        DataError: the venue failed, changed its past, or sent bars with errors.
    """
    folder, pages = data_set(store, name), store / f".{name}.pages"
    parts: list[BarColumns] = []
    described = {**asdict(wanted), "since": wanted.since.isoformat()}
    if is_data_set(folder):
        kept = read_metadata(folder).get("download")
        if kept != described:
            raise ArgumentError(f"{folder} is not of this download; choose another --name")
        parts.append(read_columns(folder / BARS))
    state = pages / "download.json"
    if state.exists():
        if json.loads(state.read_text(encoding="utf-8")) != described:
            raise ArgumentError(f"{pages} holds another download; delete it or choose --name")
        for path in sorted(pages.glob("*.parquet")):
            part = read_columns(path)
            # A run that ended between the data set and its pages left what is in both.
            if not parts or part.times[0] > parts[-1].times[-1]:
                parts.append(part)
    else:
        pages.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps(described), encoding="utf-8")
    number = 1 + max((int(path.stem) for path in pages.glob("*.parquet")), default=-1)
    start = wanted.since
    if parts:
        last = parts[-1]
        start = from_ns(int(last.times[-1]))
    asked_again = bool(parts)
    async for found in paced(
        page,
        since=start,
        until=until,
        length=length,
        pause_s=pause_s,
        bars_a_page=bars_a_page,
        sleep=sleep,
    ):
        fresh = found
        if asked_again:
            fresh = _after(parts[-1], found)
            asked_again = False
        if len(fresh.times):
            unfinished = pages / "unfinished"
            write_bars(unfinished, fresh)
            unfinished.rename(pages / f"{number:06d}.parquet")
            number += 1
            parts.append(fresh)
            on_page(from_ns(int(fresh.times[-1])))
    if not parts:
        shutil.rmtree(pages)
        raise DataError(f"{wanted.venue} has no complete bar of {wanted.instrument} in that range")
    metadata = save(
        joined(parts),
        store=store,
        name=name,
        instrument=wanted.instrument,
        origin=terms.origin,
        tick=terms.tick,
        pip=terms.pip,
        calendar=terms.calendar,
        now=now,
        replaces=True,
        details={"download": described},
    )
    shutil.rmtree(pages)
    return metadata


def _after(kept: BarColumns, found: BarColumns) -> BarColumns:
    """Return what comes after the last kept bar, which must be the first found one."""
    if not len(found.times) or found.times[0] != kept.times[-1]:
        raise DataError("the venue no longer has the last bar that was downloaded; delete and redo")
    for ours, theirs in ((kept.own, found.own), (kept.ask, found.ask)):
        if ours is not None and theirs is not None:
            for name in ours:
                if ours[name][-1] != theirs[name][0]:
                    raise DataError(
                        f"the venue changed its past: {name} of the last bar downloaded was "
                        f"{ours[name][-1]}, is {theirs[name][0]}; delete and redo"
                    )
    return _rows(found, slice(1, None))


def _before(found: BarColumns, until: datetime) -> BarColumns:
    return _rows(found, slice(0, int(np.searchsorted(found.times, to_ns(until)))))


def _rows(columns: BarColumns, rows: slice) -> BarColumns:
    def cut(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return {name: one[rows] for name, one in value.items()}
        return value[rows]

    return BarColumns(**{name: cut(getattr(columns, name)) for name in BarColumns.__slots__})
