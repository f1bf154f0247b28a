from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sep_engine.errors import ArgumentError
from sep_engine.model import Ohlc, Quote, QuoteBar
from sep_engine.venues.replay import FeedEvent, Pace, ReplayVenue, paced_events

HOUR = timedelta(hours=1)
START = datetime(2017, 1, 4, tzinfo=UTC)


def bar(number: int) -> QuoteBar:
    price = Decimal(100 + number)
    sides = Ohlc(price, price + 3, price - 3, price + 1), Ohlc(price, price + 3, price, price + 1)
    start = START + number * HOUR
    return QuoteBar("X_Y", start, start + HOUR, *sides, volume=None, assumed_spread=False)


BARS = [bar(number) for number in range(5)]


class SteppedClock:
    """A clock that moves only when somebody sleeps, and may do something at a given second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        for due, action in list(self.at):
            if self.now >= due:
                self.at.remove((due, action))
                action()


async def timed(venue: ReplayVenue, pace: Pace, clock: SteppedClock) -> list[tuple[float, str]]:
    kinds = {Quote: "open", QuoteBar: "bar"}
    return [
        (round(clock.now, 6), kinds[type(event)])
        async for event in paced_events(venue, pace, clock)
    ]


def test_each_bar_gives_its_open_and_then_itself() -> None:
    venue = ReplayVenue(BARS[:2])
    assert list(venue) == [BARS[0].open_quote, BARS[0], BARS[1].open_quote, BARS[1]]
    assert venue.at_end


def test_the_cursor_counts_complete_bars() -> None:
    venue = ReplayVenue(BARS)
    counts = [(next(venue), venue.cursor)[1] for _ in range(4)]
    assert counts == [0, 1, 1, 2]


@pytest.mark.parametrize("stop", range(6))
def test_a_replay_that_was_cut_goes_on_where_it_stood(stop: int) -> None:
    whole = [event for event in ReplayVenue(BARS) if isinstance(event, QuoteBar)]
    first = ReplayVenue(BARS)
    seen: list[FeedEvent] = []
    while first.cursor < stop:
        seen.append(next(first))
    seen += list(ReplayVenue(BARS, cursor=first.cursor))
    assert [event for event in seen if isinstance(event, QuoteBar)] == whole
    assert len(seen) == 10


@pytest.mark.parametrize("cursor", [-1, 6])
def test_a_cursor_outside_the_bars_is_refused(cursor: int) -> None:
    with pytest.raises(ArgumentError, match=r"cursor must be in 0\.\.5"):
        ReplayVenue(BARS, cursor=cursor)


async def test_an_open_comes_with_its_bar_and_the_bar_at_four_fifths() -> None:
    events = await timed(ReplayVenue(BARS[:2]), Pace(bars_per_second=0.5), SteppedClock())
    # A bar takes 2 s: opens at 0 and 2, complete bars 1.6 s later.
    assert events == [(0, "open"), (1.6, "bar"), (2, "open"), (3.6, "bar")]


async def test_a_change_of_speed_takes_effect_within_a_bar() -> None:
    clock, pace = SteppedClock(), Pace(bars_per_second=0.1)
    clock.at.append((2.0, lambda: setattr(pace, "bars_per_second", 1.0)))
    events = await timed(ReplayVenue(BARS[:1]), pace, clock)
    # 0.2 bars are done after 2 s; the other 0.6 take 0.6 s. The change is seen within 0.1 s.
    assert events[1][0] == pytest.approx(2.6, abs=0.1)


async def test_nothing_comes_while_paused() -> None:
    clock, pace = SteppedClock(), Pace(bars_per_second=1.0)
    clock.at.append((0.3, lambda: setattr(pace, "paused", True)))
    clock.at.append((10.3, lambda: setattr(pace, "paused", False)))
    events = await timed(ReplayVenue(BARS[:1]), pace, clock)
    # 0.3 s of the bar went by before the pause; 0.5 s are left to the complete bar.
    assert events[1][0] == pytest.approx(10.8, abs=0.1)


async def test_a_slow_consumer_catches_up_one_bar_and_no_more() -> None:
    clock = SteppedClock()
    times = []
    async for event in paced_events(ReplayVenue(BARS), Pace(bars_per_second=1.0), clock):
        times.append(round(clock.now, 6))
        if event == BARS[0]:
            clock.now += 100.0
    # Bar 0 is complete at 0.8. At 100.8 opens of bars 1 and 2 and bar 1 are overdue; from there
    # on time runs on: bar 2's open was one bar late, so its complete bar comes at once or later.
    assert times[:4] == [0, 0.8, 100.8, 100.8]
    assert times[-1] > 101.5


async def test_the_events_do_not_depend_on_the_pace() -> None:
    slow = [event async for event in paced_events(ReplayVenue(BARS), Pace(0.5), SteppedClock())]
    fast = [event async for event in paced_events(ReplayVenue(BARS), Pace(1000), SteppedClock())]
    assert slow == fast == list(ReplayVenue(BARS))
