"""Aware times and nanoseconds since 1970."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sep_engine.errors import ArgumentError
from sep_engine.model.times import from_ns, second_text, to_ns

# 2017-01-02T12:00:00 is 17,168 days and 12 hours after 1970: 17,168 * 86,400 + 43,200 s.
NOON_NS = 1_483_358_400_000_000_000


def test_a_time_is_told_in_nanoseconds_whatever_its_zone() -> None:
    assert to_ns(datetime(2017, 1, 2, 12, tzinfo=UTC)) == NOON_NS
    assert to_ns(datetime(2017, 1, 2, 14, tzinfo=timezone(timedelta(hours=2)))) == NOON_NS
    assert to_ns(datetime(2017, 1, 2, 12, 0, 0, 7, tzinfo=UTC)) == NOON_NS + 7_000


def test_a_time_before_1970_is_negative() -> None:
    assert to_ns(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1_000_000_000


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ArgumentError, match="at must carry its time zone, was 2017-01-02T00:00:00"):
        to_ns(datetime(2017, 1, 2))  # noqa: DTZ001 - the case at hand


def test_nanoseconds_are_cut_to_microseconds_or_seconds() -> None:
    assert from_ns(NOON_NS + 7_999) == datetime(2017, 1, 2, 12, 0, 0, 7, tzinfo=UTC)
    assert second_text(NOON_NS + 999_999_999) == "2017-01-02T12:00:00Z"
