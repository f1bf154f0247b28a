"""What the page shows of the feed: prices, the bar, the metrics."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from sep_engine.model import Quote
from webapp.trading.streams import MarketStream
from webapp.trading.trader import clock
from webapp.trading.trader.exposure import Received
from webapp.trading.trader.live import Forming
from webapp.trading.trader.open_feed import OpenFeed
from webapp.trading.wire import decimal_text, time_text


class MarketUpdates:
    """Publishes the feed; nothing here waits for Valkey.

    Attributes:
        stream: what is on its way.
    """

    def __init__(
        self,
        *,
        feed: OpenFeed,
        quotes: Mapping[str, Received],
        metrics: Callable[[], dict[str, Any] | None],
    ) -> None:
        """metrics: returns those of the last complete bar."""
        self._feed, self._quotes, self._metrics = feed, quotes, metrics
        self.stream = MarketStream(feed.instrument.name)

    def publish(self, quote: Quote, bar: Forming, *, complete: bool, assumed_spread: bool) -> None:
        """Publish a quote of the feed's instrument with the bar that it goes into."""
        row, pace = self._feed.row, self._feed.pace
        data = {
            "instrument": quote.instrument,
            "granularity": row.granularity,
            "quote": {
                "time": time_text(quote.time),
                "bid": self._price(quote.bid),
                "ask": self._price(quote.ask),
                "mid": self._price(quote.mid),
                "assumed_spread": assumed_spread,
            },
            "other_quotes": {
                name: {
                    "time": time_text(received.quote.time),
                    "bid": str(received.quote.bid),
                    "ask": str(received.quote.ask),
                }
                for name, received in self._quotes.items()
                if name != quote.instrument
            },
            "bar": {
                "start": time_text(bar.start),
                "open": self._price(bar.open),
                "high": self._price(bar.high),
                "low": self._price(bar.low),
                "close": self._price(bar.close),
                "complete": complete,
            },
            "qfh": self._metrics(),
            "feed": {
                "cursor": row.cursor,
                "total": row.total_bars,
                "bars_per_second": pace.bars_per_second,
                "paused": pace.paused,
                "at_end": row.at_end,
            },
        }
        self.stream.put(data, complete=complete, now=clock.utc_now())

    def _price(self, value: Decimal) -> str:
        return decimal_text(value, decimals_min=self._feed.instrument.price_decimals)
