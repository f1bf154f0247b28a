from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sep_engine.errors import ArgumentError
from sep_engine.model.hours import TradingHours


def inside(hours: str, *times: str) -> list[bool]:
    at = [int(datetime.fromisoformat(time).timestamp()) * 1_000_000_000 for time in times]
    return TradingHours.of(hours).contain(np.array(at)).tolist()


def test_hours_follow_the_clocks_of_their_zone() -> None:
    # Thursday. London is at UTC in January and an hour ahead in July: 08:00 is 07:00Z there.
    hours = "mon-fri 08:00-17:00 Europe/London"
    january = ("2017-01-05T07:59Z", "2017-01-05T08:00Z", "2017-01-05T16:59Z", "2017-01-05T17:00Z")
    assert inside(hours, *january) == [False, True, True, False]
    july = ("2017-07-06T06:59Z", "2017-07-06T07:00Z", "2017-07-06T15:59Z", "2017-07-06T16:00Z")
    assert inside(hours, *july) == [False, True, True, False]
    assert inside(hours, "2017-01-07T12:00Z") == [False]  # Saturday


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    hours = "fri 22:00-02:00 UTC"
    # 2017-01-06 is a Friday.
    times = ("2017-01-06T21:59Z", "2017-01-06T22:00Z", "2017-01-07T01:59Z", "2017-01-07T02:00Z")
    assert inside(hours, *times, "2017-01-06T01:00Z") == [False, True, True, False, False]


def test_days_may_be_a_list_or_go_round_the_week() -> None:
    assert TradingHours.of("sun-tue 00:00-24:00 UTC").days == (0, 1, 6)
    assert TradingHours.of("MON,wed 09:30-12:00,13:00-16:00 UTC").spans == ((570, 150), (780, 180))
    # 2017-01-08 is a Sunday.
    days = ("2017-01-07T23:59Z", "2017-01-08T00:00Z", "2017-01-10T23:59Z", "2017-01-11T00:00Z")
    assert inside("sun-tue 00:00-24:00 UTC", *days) == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mon-fri 08:00-17:00", "hours are days, spans and a zone"),
        ("mon-fry 08:00-17:00 UTC", "days are such as"),
        ("mon 8-17 UTC", "spans are such as"),
        ("mon 08:00-08:00 UTC", "does not end there"),
        ("mon 24:30-08:00 UTC", "spans are such as"),
        ("mon 08:00-17:00 Mars/Olympus", "no time zone"),
    ],
)
def test_what_is_no_hours_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        TradingHours.of(text)


def test_one_time_is_asked_of_in_its_own_zone() -> None:
    hours = TradingHours.of("mon-fri 08:00-17:00 Europe/London")
    # In June London is an hour ahead of UTC: 07:00 UTC is its eight o'clock, 16:00 UTC its five.
    asked = [(6, 59), (7, 0), (15, 59), (16, 0)]
    found = [hours.contains(datetime(2026, 6, 1, *at, tzinfo=UTC)) for at in asked]
    assert found == [False, True, True, False]
    assert hours.contains(datetime(2026, 6, 1, 8, tzinfo=ZoneInfo("Europe/London")))
    with pytest.raises(ArgumentError, match="must carry its time zone"):
        hours.contains(datetime(2026, 6, 1, 8))  # noqa: DTZ001
