"""Recorded bars, replayed as a read-only market-data venue.

A bar gives two events: the quote of its open when it starts, and the complete bar, with the quote
of its close, when it ends. Nothing is made up in between. The events depend on the bars alone;
how fast they come is a matter of `paced_events`. The consumer is done with one event before it
pulls the next, so a replay is the same at any speed.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sep_engine.errors import ArgumentError
from sep_engine.model import Quote, QuoteBar

FeedEvent = Quote | QuoteBar

# Where in a bar's share of the time its complete bar comes. The rest lies between it and the next
# bar's open, so that a person can see a closed bar before the next one opens.
COMPLETE_PHASE = 0.8

# How late a change of speed or a pause may take effect.
_REACTION_S = 0.1

# Shorter waits are none: a clock that rounds must not keep the loop waiting for nothing.
_RESOLUTION_S = 0.001


class ReplayVenue(Iterator[FeedEvent]):
    """The events of `bars` in order: each bar's open quote, then the complete bar.

    Attributes:
        cursor: bars completed, i.e. handed out as complete bars. A venue that is made with a
            stored cursor goes on with the open quote of the bar after them.
    """

    def __init__(self, bars: Sequence[QuoteBar], *, cursor: int = 0) -> None:
        if not 0 <= cursor <= len(bars):
            raise ArgumentError(f"cursor must be in 0..{len(bars)}, was {cursor}")
        self._bars = bars
        self._opened = False
        self.cursor = cursor

    @property
    def total_bars(self) -> int:
        """How many bars there are in all."""
        return len(self._bars)

    @property
    def at_end(self) -> bool:
        """True when every bar is completed."""
        return self.cursor == len(self._bars)

    def __next__(self) -> FeedEvent:
        if self.at_end:
            raise StopIteration
        bar = self._bars[self.cursor]
        if not self._opened:
            self._opened = True
            return bar.open_quote
        self._opened = False
        self.cursor += 1
        return bar


@dataclass(slots=True)
class Pace:
    """How fast a replay goes; whoever holds it may change it at any time.

    Attributes:
        bars_per_second: >= 0; at 0 the replay stands still.
        paused: stands still while True.
    """

    bars_per_second: float = 1.0
    paused: bool = False


class Clock(Protocol):
    """Time as `paced_events` sees it."""

    def monotonic(self) -> float:
        """Return seconds since any fixed moment."""

    async def sleep(self, seconds: float) -> None:
        """Come back after `seconds`, >= 0, letting others run."""


async def paced_events(venue: ReplayVenue, pace: Pace, clock: Clock) -> AsyncIterator[FeedEvent]:
    """Yield the venue's events at the pace that holds at each moment; ends with the venue.

    A consumer that is too slow gets the next event at once; at most one bar is caught up.
    """
    elapsed_bars = 0.0  # since the open of the bar that is due
    last = clock.monotonic()
    for event in venue:
        due_bars = COMPLETE_PHASE if isinstance(event, QuoteBar) else 0.0
        await clock.sleep(0)
        while True:
            now = clock.monotonic()
            rate = 0.0 if pace.paused else pace.bars_per_second
            elapsed_bars = min(elapsed_bars + (now - last) * rate, due_bars + 1)
            last = now
            wait_s = (due_bars - elapsed_bars) / rate if rate > 0 else _REACTION_S
            if wait_s < _RESOLUTION_S:
                break
            await clock.sleep(min(wait_s, _REACTION_S))
        yield event
        if isinstance(event, QuoteBar):
            elapsed_bars -= 1
