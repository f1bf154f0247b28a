"""Hours of the week in a time zone, outside which nothing new is entered.

    mon-fri 08:00-17:00 Europe/London
    sun-thu 22:00-06:00 UTC
    mon,wed 09:30-12:00,13:00-16:00 America/New_York

A span that ends before it starts goes on after midnight; its day is the one on which it starts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from sep_engine.errors import ArgumentError
from sep_engine.model.times import EPOCH, to_ns

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday
_DAY_MINUTES: Final = 24 * 60
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES
_MINUTE_NS: Final = 60_000_000_000
_QUARTER_NS: Final = 15 * _MINUTE_NS  # no zone has changed its clock within one since 1972
_TIME: Final = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Spans of a week.

    Attributes:
        text: as it was given.
        days: numbers of the days on which spans start, Monday is 0.
        spans: first minute of the day, and how many minutes.
        zone: name of the time zone.
    """

    text: str
    days: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    zone: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the hours that a text says.

        Raises:
            ArgumentError: it says none.
        """
        parts = text.split()
        if len(parts) != 3:
            raise ArgumentError(
                f"hours are days, spans and a zone: mon-fri 08:00-17:00 Europe/London; was {text!r}"
            )
        days, spans, zone = parts
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ArgumentError(f"{zone!r} is no time zone such as Europe/London") from None
        found: set[int] = set()
        for part in days.lower().split(","):
            first, _, last = part.partition("-")
            if first not in _DAYS or (last or first) not in _DAYS:
                raise ArgumentError(f"days are such as mon-fri or mon,wed; was {days!r}")
            begin, end = _DAYS.index(first), _DAYS.index(last or first)
            found.update((begin + k) % 7 for k in range((end - begin) % 7 + 1))
        return cls(text, tuple(sorted(found)), tuple(map(_span, spans.split(","))), zone)

    def contains(self, at: datetime) -> bool:
        """Return whether the aware time `at` lies within.

        Raises:
            ArgumentError: the time carries no zone.
        """
        return bool(self.contain(np.array([to_ns(at)]))[0])

    def contain(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each time whether it lies within; the end of a span does not.

        times: (n,) int64 nanoseconds since 1970 UTC, any order.
        """
        minute = self._local_minutes(times)
        week = (minute + _EPOCH_WEEKDAY * _DAY_MINUTES) % _WEEK_MINUTES
        inside = np.zeros(times.shape, dtype=np.bool_)
        for day in self.days:
            for begin, length in self.spans:
                inside |= (week - day * _DAY_MINUTES - begin) % _WEEK_MINUTES < length
        return inside

    def _local_minutes(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        quarters, place = np.unique(times // _QUARTER_NS, return_inverse=True)
        zone = ZoneInfo(self.zone)
        offsets = []
        for quarter in quarters.tolist():
            offset = (EPOCH + timedelta(minutes=15 * quarter)).astimezone(zone).utcoffset()
            assert offset is not None
            offsets.append(offset // timedelta(minutes=1))
        return times // _MINUTE_NS + np.array(offsets, dtype=np.int64)[place]


def _span(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    minutes = []
    for one in (first, last):
        found = _TIME.fullmatch(one)
        if found is None or (found[1] == "24" and found[2] != "00"):
            raise ArgumentError(f"spans are such as 08:00-17:00; was {text!r}")
        minutes.append(60 * int(found[1]) + int(found[2]))
    begin, end = minutes
    if begin in (end, _DAY_MINUTES):
        raise ArgumentError(f"a span starts before 24:00 and does not end there; was {text!r}")
    return begin, (end - begin) % _DAY_MINUTES or _DAY_MINUTES
