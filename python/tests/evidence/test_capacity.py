"""What volumes say of capacity; every figure is worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from sep_engine.errors import ArgumentError
from sep_engine.evidence.capacity import Volume, capacity
from sep_engine.model.volume import Counted

ENTERED, EXITED = np.array([1, 4, 6]), np.array([3, 6, 9])
COUNTS = np.array([5, 100, 5, 300, 200, 5, 400, 5, 5, 50], dtype=np.float64)


def note(volume: Volume | None = None, units: Decimal | None = Decimal(1000)) -> dict[str, Any]:
    return capacity(ENTERED, EXITED, bars=10, days=2, units=units, volume=volume)


def test_units_traded_give_a_size() -> None:
    # Six fills on two days, 1,000 units each, in the bars 1, 3, 4, 6, 6 and 9: five of ten bars.
    # Their volumes are 100, 300, 200, 400, 400 and 50: the median is 250, a hundredth of it 2.5.
    # Of six values 95 % reach the smallest, 50, of which a hundredth is 0.5.
    found = note(Volume(COUNTS, "units"))
    assert (found["fills_a_day"], found["units_a_day"], found["share_of_bars"]) == (3, 3000, 0.5)
    assert found["fill_units"] == {"median": 2.5, "low": 0.5}
    assert found["text"] == (
        "turns over 3,000 units a day, fills in 50.0% of the bars; a fill of 2.5 units is 1% of "
        "the volume of the median bar that it fills in, and one of 0.5 is no more than that in "
        "95 % of them"
    )


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ("updates", "their volumes count updates of the price, not units."),
        (
            "unknown",
            "nobody says what their volumes count (units or updates: sep verdict --volume).",
        ),
    ],
)
def test_what_is_not_units_gives_no_size(of: Counted, words: str) -> None:
    # All bars: 5 five times, then 50, 100, 200, 300, 400: the median is (5 + 50) / 2 = 27.5.
    found = note(Volume(COUNTS, of))
    assert found["fill_units"] is None
    assert (found["volume_there"], found["volume_of_all"]) == (250, 27.5)
    assert words in found["text"]
    assert "have 250 (median), all bars 27.5." in found["text"]


@pytest.mark.parametrize("volume", [None, Volume(np.zeros(10), "units")])
def test_bars_without_volumes_say_nothing(volume: Volume | None) -> None:
    found = note(volume, units=None)
    assert (found["volume"], found["fill_units"], found["units_a_day"]) == ("none", None, None)
    assert found["text"] == (
        "cannot be estimated from these bars: they have no volumes. Turns over 3 fills a day in "
        "50.0% of the bars"
    )


def test_nothing_traded_has_no_capacity() -> None:
    none = np.zeros(0, dtype=np.int64)
    found = capacity(none, none, bars=10, days=2, volume=Volume(COUNTS, "units"))
    assert found["text"] == "cannot be estimated: nothing was traded"


def test_a_volume_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"volume must be \(10,\), finite and >= 0"):
        note(Volume(COUNTS[1:], "units"))
    with pytest.raises(ArgumentError, match="units, updates, unknown; was 'lots'"):
        Volume(COUNTS, "lots")  # type: ignore[arg-type]
