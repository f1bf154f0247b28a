"""Prices as a venue makes them: the forming bar out of quotes, complete bars out of its candles.

Quotes may be missed while the stream is lost; a bar that was made of them would be wrong for ever.
So the bars that are stored and decided on are the venue's own, read when they are complete, and the
one that is forming is only shown.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sep_engine.model import Quote, QuoteBar
from sep_engine.model.times import EPOCH
from sep_engine.venues.oanda.client import CANDLES_PER_REQUEST, MarketDataClient
from sep_engine.venues.oanda.parse import quote_bars
from webapp.trading.granularity import duration

# How many candles are read for a feed that has none.
HISTORY_BARS = 2000
# A candle is asked for this long after its end, and again after this long if it was not there.
CANDLE_DELAY = timedelta(seconds=2)
CANDLE_RETRY = timedelta(seconds=15)


@dataclass(slots=True)
class Forming:
    """The bar that is not complete, as far as the quotes that came tell it."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    @classmethod
    def of(cls, quote: Quote, start: datetime) -> "Forming":
        return cls(start, quote.bid, quote.bid, quote.bid, quote.bid)

    def add(self, quote: Quote) -> None:
        """Count a quote in."""
        self.high, self.low = max(self.high, quote.bid), min(self.low, quote.bid)
        self.close = quote.bid


def bar_start(at: datetime, granularity: str) -> datetime:
    """Return when the bar began that the aware time `at` lies in; bars are aligned to UTC."""
    length = duration(granularity)
    return EPOCH + (at - EPOCH) // length * length


async def complete_bars(
    client: MarketDataClient, *, instrument: str, granularity: str, since: datetime | None
) -> list[QuoteBar]:
    """Return the venue's complete bars that start at `since` or later, oldest first.

    since: None for the last HISTORY_BARS.

    Raises:
        VenueError, DataError: as `MarketDataClient.candles`.
    """
    if since is None:
        found = await client.candles(instrument, granularity, count=HISTORY_BARS + 1)
    else:
        found = await client.candles(
            instrument, granularity, since=since, count=CANDLES_PER_REQUEST
        )
    bars = quote_bars(found, instrument, granularity)
    return [bar for bar in bars if since is None or bar.start >= since]
