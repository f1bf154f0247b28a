from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sep_engine.errors import ArgumentError
from sep_engine.model.calendar import (
    gap_mask,
    is_open,
    missing_bars,
    trading_day,
    trading_days,
)

HOUR = timedelta(hours=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def nanoseconds(*times: datetime) -> np.ndarray:
    return np.array([int(time.timestamp()) * 10**9 for time in times], dtype=np.int64)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        # Winter: 17:00 New York is 22:00 UTC.
        (utc(2017, 1, 6, 21, 59), True),  # Friday, a minute before the close
        (utc(2017, 1, 6, 22, 0), False),
        (utc(2017, 1, 7, 12, 0), False),  # Saturday
        (utc(2017, 1, 8, 21, 59), False),  # Sunday
        (utc(2017, 1, 8, 22, 0), True),
        # Summer: 17:00 New York is 21:00 UTC. Clocks changed on Sunday 12 March 2017 at 07:00 UTC.
        (utc(2017, 3, 10, 21, 30), True),
        (utc(2017, 3, 12, 20, 59), False),
        (utc(2017, 3, 12, 21, 0), True),
        # The trading day of 25 December 2018 runs from Monday 22:00 UTC to Tuesday 22:00 UTC.
        (utc(2018, 12, 24, 21, 59), True),
        (utc(2018, 12, 24, 22, 0), False),
        (utc(2018, 12, 25, 22, 0), True),
        # So does that of 1 January; 2020 and 2021 straddle a leap year's end.
        (utc(2020, 12, 31, 23, 0), False),
        (utc(2020, 12, 25, 12, 0), False),
        (utc(2020, 12, 31, 12, 0), True),
    ],
)
def test_d12_the_fx_market_is_open_from_sunday_to_friday_17_new_york(
    at: datetime, expected: bool
) -> None:
    assert is_open("fx", at) is expected


def test_a_market_that_never_closes_is_open_on_a_saturday() -> None:
    assert is_open("always", utc(2017, 1, 7, 12, 0))


def test_an_unknown_calendar_is_refused() -> None:
    with pytest.raises(ArgumentError, match="calendar must be one of"):
        is_open("moon", utc(2017, 1, 3))


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ArgumentError, match="time zone"):
        trading_day(datetime(2017, 1, 3))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (utc(2017, 1, 3, 21, 59), date(2017, 1, 3)),  # 16:59 New York, winter
        (utc(2017, 1, 3, 22, 0), date(2017, 1, 4)),
        (utc(2017, 7, 3, 20, 59), date(2017, 7, 3)),  # 16:59 New York, summer
        (utc(2017, 7, 3, 21, 0), date(2017, 7, 4)),
        (utc(2017, 11, 5, 6, 30), date(2017, 11, 5)),  # 01:30, the second time, on the change day
        (utc(2017, 11, 5, 22, 0), date(2017, 11, 6)),
    ],
)
def test_d13_a_trading_day_begins_at_17_new_york(at: datetime, expected: date) -> None:
    assert trading_day(at) == expected


# 2024 has a 29 February; 2006 changed its clocks in April and October, as was the law then.
@pytest.mark.parametrize("year", [2006, 2017, 2024])
def test_d13_every_hour_of_a_year_belongs_to_the_day_that_new_york_says(year: int) -> None:
    hours = [utc(year, 1, 1) + number * HOUR for number in range(24 * 366)]
    new_york = ZoneInfo("America/New_York")
    # 17:00 there is the midnight after which a day is named.
    expected = [(one.astimezone(new_york).replace(tzinfo=None) + 7 * HOUR).date() for one in hours]
    found = trading_days(nanoseconds(*hours)).astype("datetime64[D]").tolist()
    assert found == expected


def test_a_weekend_is_no_gap() -> None:
    times = nanoseconds(utc(2017, 1, 6, 21), utc(2017, 1, 8, 22))
    assert missing_bars(times, HOUR, "fx").tolist() == [0, 0]
    # The same two bars of a market that never closes: 48 hours lie between them.
    assert missing_bars(times, HOUR, "always").tolist() == [0, 48]


def test_missing_bars_of_open_hours_are_counted_across_a_weekend() -> None:
    # Friday 20:00 to Sunday 23:00: the bars of Friday 21:00 and Sunday 22:00 are missing.
    times = nanoseconds(utc(2017, 1, 6, 20), utc(2017, 1, 8, 23))
    assert missing_bars(times, HOUR, "fx").tolist() == [0, 2]


def test_a_gap_starts_at_the_configured_length() -> None:
    at = utc(2017, 1, 4, 12)
    # Missing before each: 0, 0, 1, 2.
    times = nanoseconds(at, at + HOUR, at + 3 * HOUR, at + 6 * HOUR)
    assert gap_mask(times, HOUR, "fx").tolist() == [False, False, True, True]
    assert gap_mask(times, HOUR, "fx", min_missing_bars=2).tolist() == [False, False, False, True]


def test_no_bars_have_no_gaps() -> None:
    assert gap_mask(nanoseconds(), HOUR, "fx").shape == (0,)


@pytest.mark.parametrize(
    ("duration", "count", "rule"),
    [(timedelta(0), 1, "duration must be > 0"), (HOUR, 0, "min_missing_bars must be >= 1")],
)
def test_a_gap_needs_a_length(duration: timedelta, count: int, rule: str) -> None:
    with pytest.raises(ArgumentError, match=rule):
        gap_mask(nanoseconds(utc(2017, 1, 4)), duration, "fx", count)
