"""Waits between two attempts at a stream."""

import pytest

from sep_engine.errors import ArgumentError
from sep_engine.venues.oanda.backoff import Backoff


def test_the_wait_doubles_up_to_the_longest_and_spreads_by_a_quarter() -> None:
    middle = Backoff(first_s=1, longest_s=5)
    assert [middle.next_s(lived_s=0, chance=0.5) for _ in range(5)] == [1, 2, 4, 5, 5]
    # 4 s less a quarter; 5 s and nearly a quarter more.
    low, high = Backoff(first_s=4), Backoff(first_s=5)
    assert low.next_s(lived_s=0, chance=0) == 3
    assert high.next_s(lived_s=0, chance=0.999) == pytest.approx(6.2475)


def test_only_a_stream_that_lived_long_begins_again_at_the_first_wait() -> None:
    waits = Backoff(first_s=1, longest_s=100, healthy_s=60)
    lives = [0, 59, 59, 60, 0]
    assert [waits.next_s(lived_s=life, chance=0.5) for life in lives] == [1, 2, 4, 1, 2]


@pytest.mark.parametrize(("lived_s", "chance"), [(-1, 0.5), (0, 1.0), (0, -0.1)])
def test_what_cannot_be_is_refused(lived_s: float, chance: float) -> None:
    with pytest.raises(ArgumentError):
        Backoff().next_s(lived_s=lived_s, chance=chance)
