"""Aware times, and the int64 nanoseconds since 1970 UTC that arrays hold."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sep_engine.errors import ArgumentError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ns(at: datetime) -> int:
    """Return an aware time as nanoseconds since 1970.

    Raises:
        ArgumentError: the time carries no zone.
    """
    if at.utcoffset() is None:
        raise ArgumentError(f"at must carry its time zone, was {at.isoformat()}")
    return length_ns(at - EPOCH)


def length_ns(length: timedelta) -> int:
    """Return a length of time as nanoseconds."""
    return length // timedelta(microseconds=1) * 1000


def from_ns(time_ns: int) -> datetime:
    """Return the UTC time, cut to microseconds."""
    return EPOCH + timedelta(microseconds=time_ns // 1000)


def second_text(time_ns: int) -> str:
    """Return ISO-8601 UTC, cut to the second."""
    return f"{from_ns(time_ns):%Y-%m-%dT%H:%M:%SZ}"
