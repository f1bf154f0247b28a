"""When a market is open, and which bars are missing from a series.

Calendars:
    "fx": from Sunday 17:00 to Friday 17:00 New York time, less the trading days of 25 December
        and 1 January. Other holidays differ by venue and are not modelled: a venue that is shut
        on one shows as a gap.
    "always": never closed.

A trading day runs from 17:00 New York time to 17:00 of the next day and is named after the day
on which it ends.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from sep_engine.errors import ArgumentError
from sep_engine.model.times import EPOCH, length_ns, to_ns

CALENDARS = ("fx", "always")

_NEW_YORK = ZoneInfo("America/New_York")
_ROLLOVER_HOUR = 17
_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
_SATURDAY = 5
_SLOTS_AT_A_TIME = 2**20  # of missing bars: some 10 MiB


def is_open(calendar: str, at: datetime) -> bool:
    """Return whether the market of `calendar` trades at the aware time `at`."""
    at_ns = to_ns(at)
    return bool(open_mask(np.array([at_ns], dtype=np.int64), calendar)[0])


def trading_day(at: datetime) -> date:
    """Return the trading day that the aware time `at` belongs to: at 17:00 a new one begins."""
    at_ns = to_ns(at)
    return date(1970, 1, 1) + timedelta(days=int(trading_days(np.array([at_ns]))[0]))


def day_start(at: datetime) -> datetime:
    """Return when the trading day of the aware time `at` began, in UTC: the last 17:00 New York."""
    eve = trading_day(at) - timedelta(days=1)
    return datetime.combine(eve, time(_ROLLOVER_HOUR), _NEW_YORK).astimezone(UTC)


def day_end(at: datetime) -> datetime:
    """Return when the trading day of the aware time `at` ends, in UTC: the next 17:00 New York."""
    end = datetime.combine(trading_day(at), time(_ROLLOVER_HOUR), _NEW_YORK)
    return end.astimezone(UTC)


def trading_days(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the trading day of each time, in days since 1970-01-01.

    times: (n,) int64 nanoseconds since 1970 UTC. The result has the same shape.
    """
    return (_new_york(times) + (24 - _ROLLOVER_HOUR) * _HOUR_NS) // _DAY_NS


def open_mask(times: NDArray[np.int64], calendar: str) -> NDArray[np.bool_]:
    """Return for each time whether the market of `calendar` is open.

    times: (n,) int64 nanoseconds since 1970 UTC, any order.
    """
    if calendar == "always":
        return np.ones(times.shape, dtype=np.bool_)
    if calendar != "fx":
        raise ArgumentError(f"calendar must be one of {', '.join(CALENDARS)}; was {calendar!r}")
    # The trading days of Monday to Friday cover exactly Sunday 17:00 to Friday 17:00.
    day, place = np.unique(trading_days(times), return_inverse=True)
    weekday = (day + _EPOCH_WEEKDAY) % 7
    dates = day.astype("datetime64[D]")
    christmas = _is_new_year((day + 7).astype("datetime64[D]"))
    opened = (weekday < _SATURDAY) & ~_is_new_year(dates) & ~christmas
    return np.asarray(opened[place.reshape(times.shape)], dtype=np.bool_)


def missing_bars(times: NDArray[np.int64], duration: timedelta, calendar: str) -> NDArray[np.int64]:
    """Return how many bars are missing just before each bar while the market was open.

    times: (n,) int64 nanoseconds of bar starts, strictly increasing.
    duration: length of a bar, > 0.

    A bar is missing when its slot (previous start + a whole number of durations) starts in open
    hours. The first element is 0.
    """
    step = _duration_ns(duration)
    missing = np.zeros(times.shape, dtype=np.int64)
    passed = np.diff(times)
    rows = np.flatnonzero(passed > step) + 1
    slots = (passed[rows - 1] - 1) // step  # with a start between the two bars, at least one
    ends = np.cumsum(slots)
    for some in np.split(rows, np.flatnonzero(np.diff(ends // _SLOTS_AT_A_TIME)) + 1):
        if some.size:
            missing[some] = _open_slots(times, some, step, calendar)
    return missing


def _open_slots(
    times: NDArray[np.int64], rows: NDArray[np.int64], step: int, calendar: str
) -> NDArray[np.int64]:
    """For each of these bars, the slots in open hours between it and the bar before."""
    before = times[rows - 1]
    slots = (times[rows] - before - 1) // step
    firsts = np.cumsum(slots) - slots
    number = np.arange(int(slots.sum()), dtype=np.int64) - np.repeat(firsts, slots)
    starts = np.repeat(before, slots) + (number + 1) * step
    return np.add.reduceat(open_mask(starts, calendar).astype(np.int64), firsts)


def gap_mask(
    times: NDArray[np.int64], duration: timedelta, calendar: str, min_missing_bars: int = 1
) -> NDArray[np.bool_]:
    """Return where at least `min_missing_bars` open-hours bars are missing before a bar.

    Takes what `missing_bars` takes; `min_missing_bars` >= 1. A closure of the market is no gap.
    The mask fits the `gap` argument of `sep_engine.qfh.rolling`.
    """
    if min_missing_bars < 1:
        raise ArgumentError(f"min_missing_bars must be >= 1, was {min_missing_bars}")
    return missing_bars(times, duration, calendar) >= min_missing_bars


def _is_new_year(dates: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    return np.asarray(dates == dates.astype("datetime64[Y]"), dtype=np.bool_)


def _duration_ns(duration: timedelta) -> int:
    nanoseconds = length_ns(duration)
    if nanoseconds <= 0:
        raise ArgumentError(f"duration must be > 0, was {duration}")
    return nanoseconds


def _new_york(times: NDArray[np.int64]) -> NDArray[np.int64]:
    hours, inverse = np.unique(times // _HOUR_NS, return_inverse=True)
    # Clocks in New York change on the hour, so one offset holds for each UTC hour. Asking once
    # per UTC day is enough except on the two days a year when the offset changes.
    offsets = np.empty(hours.shape, dtype=np.int64)
    days = hours // 24
    for day in np.unique(days):
        here = days == day
        start, end = _offset_ns(int(day) * 24), _offset_ns(int(day) * 24 + 24)
        if start == end:
            offsets[here] = start
        else:
            offsets[here] = [_offset_ns(int(hour)) for hour in hours[here]]
    return times + offsets[inverse]


@cache
def _offset_ns(hour: int) -> int:
    offset = (EPOCH + timedelta(hours=hour)).astimezone(_NEW_YORK).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1_000_000_000
