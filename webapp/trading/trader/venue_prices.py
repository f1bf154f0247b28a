"""A venue's own prices as they are made: its quotes, and its bars when they are complete."""

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import replace
from datetime import datetime

from django.db.models import Max

from sep_engine.errors import DataError
from sep_engine.model import Quote, QuoteBar
from sep_engine.risk import conversion_pairs
from sep_engine.venues.oanda.backoff import Backoff
from sep_engine.venues.oanda.client import MarketDataClient, VenueError
from sep_engine.venues.oanda.parse import Price
from webapp.trading.granularity import duration
from webapp.trading.models import BrokerAccount, Instrument
from webapp.trading.services import system
from webapp.trading.trader import clock, feeds
from webapp.trading.trader.clock import Stopping
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.equity import Equity
from webapp.trading.trader.exposure import Received
from webapp.trading.trader.live import (
    CANDLE_DELAY,
    CANDLE_RETRY,
    Forming,
    bar_start,
    complete_bars,
)
from webapp.trading.trader.market_events import MarketEvents
from webapp.trading.trader.market_updates import MarketUpdates
from webapp.trading.trader.open_feed import OpenFeed
from webapp.trading.trader.order_turns import OrderTurns
from webapp.trading.trader.spikes import Spikes
from webapp.trading.trader.strategy_set import StrategySet

logger = logging.getLogger(__name__)


class VenuePrices:
    """Follows the prices of the venue; a replay has `Replay` in its place.

    Attributes:
        newest: by instrument, what the price stream brought and nobody has looked at yet.
        forming: the bar that is not complete.
    """

    def __init__(
        self,
        *,
        account: BrokerAccount,
        client: MarketDataClient,
        db: DatabaseThread,
        writing: asyncio.Lock,
        stopping: Stopping,
        feed: OpenFeed,
        quotes: dict[str, Received],
        strategies: StrategySet,
        equity: Equity,
        updates: MarketUpdates,
        events: MarketEvents,
        orders: OrderTurns,
    ) -> None:
        self._account, self._client, self._db = account, client, db
        self._writing, self._stopping = writing, stopping
        self._feed, self._quotes, self._strategies = feed, quotes, strategies
        self._equity, self._updates, self._events = equity, updates, events
        self._orders = orders
        self.newest: dict[str, Price] = {}
        self.forming: Forming | None = None
        self._came = asyncio.Event()
        self._loss = ""
        self._spikes = Spikes()

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()

    async def read_history(self) -> None:
        """Store the venue's bars up to now; those that we were not there for are history."""
        bars = await self.new_bars()
        await self._db(feeds.store_live_history, self._feed.row, bars, now=clock.utc_now())
        await self._db(self._strategies.warm_up)

    async def new_bars(self) -> list[QuoteBar]:
        """Return the venue's complete bars after the last stored one."""
        granularity = self._feed.row.granularity
        last = await self._db(self._last_candle)
        return await complete_bars(
            self._client,
            instrument=self._feed.instrument.name,
            granularity=granularity,
            since=None if last is None else last + duration(granularity),
        )

    def _last_candle(self) -> datetime | None:
        candles = feeds.candles_of(self._feed.row)
        newest: datetime | None = candles.aggregate(last=Max("start"))["last"]
        return newest

    async def follow(self) -> None:
        """Take the venue's quotes as they come, and ask for them again whenever they stop."""
        names: list[str] = []
        backoff, opened_at = Backoff(), time.monotonic()
        while True:
            try:
                names = names or await self._priced()
                async with contextlib.aclosing(self._client.price_stream(names)) as stream:
                    async for item in stream:
                        if isinstance(item, Price):
                            waiting = self.newest.get(item.instrument, item)
                            if item.time_ns >= waiting.time_ns:
                                self.newest[item.instrument] = item
                            self._came.set()
            except (VenueError, DataError) as error:
                if not self._loss:
                    self._loss = str(error)
                    async with self._writing:
                        await self._announce(
                            f"The venue's price stream is lost: {error}.", "warning"
                        )
                lived_s = time.monotonic() - opened_at
                await asyncio.sleep(backoff.next_s(lived_s=lived_s, chance=random.random()))
                opened_at = time.monotonic()

    async def take(self) -> None:
        """Trade at the newest quote of each instrument: whoever is slow skips some, and never takes
        one for fresh that has waited to be read.
        """
        while True:
            await self._came.wait()
            self._came.clear()
            while self.newest:
                async with self._writing:
                    await self.on_price(self.newest.pop(next(iter(self.newest))))

    async def on_price(self, price: Price) -> None:
        """Trade at a price, or say why not."""
        if self._loss:
            self._loss = ""
            await self._announce("The venue's price stream is heard again.", "info")
        last = self._quotes.get(price.instrument)
        try:
            quote, wrong = price.quote(), ""
        except DataError as error:
            quote, wrong = None, str(error)
        if not price.tradeable:
            wrong = "not tradeable at the venue"
        if wrong and last is not None:
            self._quotes[price.instrument] = replace(last, stands=wrong)
        if quote is None or (last is not None and quote.time < last.quote.time):
            return  # nothing to trade at, or a price that a later one has overtaken
        if (doubt := self._spikes.doubt(quote.instrument, quote.mid)) and last is not None:
            # The last good price is kept and ages; nothing is opened, and no loss is seen in it.
            self._quotes[quote.instrument] = replace(last, stands=doubt)
            return
        self._events.receive(quote)
        if quote.instrument == self._feed.instrument.name:
            self._show(quote)
        await self._equity.watch(quote.time)
        await self._orders.work()

    async def _priced(self) -> list[str]:
        """Return every instrument that the books know: any of them may be held or ordered.

        With them come the pairs that turn their profit into account currency.
        """
        names = await self._db(lambda: set(Instrument.objects.values_list("name", flat=True)))
        currency = self._account.currency
        foreign = {name.partition("_")[2] for name in names} - {currency}
        if any(not {f"{one}_{currency}", f"{currency}_{one}"} & names for one in foreign):
            offered = [one.name for one in await self._client.instruments()]
            for one in foreign:
                names |= set(conversion_pairs(currency, one, offered))
        return sorted(names)

    def _show(self, quote: Quote) -> None:
        """Publish a quote of the feed's instrument with the bar that it goes into."""
        start = bar_start(quote.time, self._feed.row.granularity)
        if self.forming is None or self.forming.start != start:
            self.forming = Forming.of(quote, start)
        self.forming.add(quote)
        self._updates.publish(quote, self.forming, complete=False, assumed_spread=False)

    async def run(self) -> None:
        """Read each bar when it is complete, and decide on it.

        Raises:
            Stop: the trader was stopped.
        """
        length = duration(self._feed.row.granularity)
        await self._strategies.ready(self._stopping)
        while True:
            last, now = await self._db(self._last_candle), clock.utc_now()
            due = now if last is None else last + 2 * length + CANDLE_DELAY
            wait = max(due - now, CANDLE_RETRY if due <= now else CANDLE_DELAY)
            await self._stopping.pause(wait.total_seconds())
            try:
                bars = await self.new_bars()
            except (VenueError, DataError) as error:
                logger.warning("the venue's candles cannot be read: %s", error)
                continue
            for bar in bars:
                await self._events.take(bar)

    async def _announce(self, text: str, level: str) -> None:
        await self._db(system.announce, level=level, text=text, now=clock.utc_now())
