"""What a quote or a complete bar sets going: fills, decisions, the equity line, orders."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from sep_engine.execution.states import OrderState, OrderType
from sep_engine.model import Quote, QuoteBar
from webapp.trading.brokers.base import Broker, FedBroker
from webapp.trading.killpoint import killpoint
from webapp.trading.models import BrokerAccount, Order
from webapp.trading.trader import clock, feeds
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.equity import Equity
from webapp.trading.trader.exposure import BEFORE_FIRST_QUOTE, Received
from webapp.trading.trader.facts import Facts
from webapp.trading.trader.live import Forming
from webapp.trading.trader.market_updates import MarketUpdates
from webapp.trading.trader.open_feed import OpenFeed
from webapp.trading.trader.order_turns import OrderTurns
from webapp.trading.trader.strategy_set import StrategySet


class MarketEvents:
    """Takes the feed's events one after the other.

    Attributes:
        behind_s: how long the last one took.
    """

    behind_s = 0.0

    def __init__(
        self,
        *,
        account: BrokerAccount,
        broker: Broker,
        db: DatabaseThread,
        writing: asyncio.Lock,
        tell: asyncio.Event,
        feed: OpenFeed,
        quotes: dict[str, Received],
        facts: Facts,
        strategies: StrategySet,
        equity: Equity,
        updates: MarketUpdates,
        orders: OrderTurns,
    ) -> None:
        """
        Args:
            tell: set when there are events to publish.
            quotes: the newest of each instrument; an event brings one.
        """
        self._account, self._broker, self._db = account, broker, db
        self._writing, self._tell = writing, tell
        self._feed, self._quotes, self._facts = feed, quotes, facts
        self._strategies, self._equity, self._updates = strategies, equity, updates
        self._orders = orders

    async def take(self, event: Quote | QuoteBar) -> None:
        """Let the classes say what they make of a bar, and then do all that an event asks for.

        The lock is taken afterwards: orders go on while a class thinks.
        """
        if isinstance(event, QuoteBar):
            await self._strategies.ask(event)
        async with self._writing:
            await self.on_event(event)

    async def on_event(self, event: Quote | QuoteBar) -> None:
        """Do all that an event asks for, but for the classes."""
        started = time.monotonic()
        if isinstance(event, Quote):
            await self._on_quote(event)
        else:
            await self._on_bar(event)
        await self._orders.work()
        self.behind_s = time.monotonic() - started

    def receive(self, quote: Quote) -> None:
        """Trade at this quote from now on."""
        self._quotes[quote.instrument] = Received(quote, clock.utc_now(), "")

    def begin_at_last_close(self) -> None:
        """Begin with the last stored close: if the feed stands, it is the price there is."""
        self._quotes.clear()
        row = self._feed.row
        if row.cursor and row.is_replay:
            quote = self._feed.bars[row.cursor - 1].close_quote
            self._quotes[quote.instrument] = Received(quote, clock.utc_now(), BEFORE_FIRST_QUOTE)

    async def stand_still(self, why: str) -> None:
        """Fill waiting exits at the price at which the replay stands: no other will come."""
        for name, received in self._quotes.items():
            self._quotes[name] = replace(received, stands=why)
            if isinstance(self._broker, FedBroker) and await self._db(self._exits_wait):
                await self._facts.apply(
                    await self._broker.on_standing_quote(received.quote, assumed_spread=True)
                )

    def _exits_wait(self) -> bool:
        return Order.objects.filter(
            account=self._account,
            type=OrderType.MARKET,
            reduce_only=True,
            state__in=(OrderState.ACCEPTED, OrderState.PARTIAL),
        ).exists()

    def _event_number(self, bar_number: int, *, complete: bool) -> int:
        """Number the feed's events for ever: two a bar, going on through every restart."""
        row = self._feed.row
        return row.run * 2 * row.total_bars + 2 * bar_number + (2 if complete else 1)

    async def _on_quote(self, quote: Quote) -> None:
        cursor = self._feed.row.cursor
        bar = self._feed.bars[cursor]
        self.receive(quote)
        if isinstance(self._broker, FedBroker):
            number = self._event_number(cursor, complete=False)
            await self._facts.apply(
                await self._broker.on_quote(quote, event=number, assumed_spread=bar.assumed_spread)
            )
        first = self._feed.side_of(bar).open
        forming = Forming(bar.start, first, first, first, first)
        self._updates.publish(quote, forming, complete=False, assumed_spread=bar.assumed_spread)
        await self._equity.watch(quote.time)

    async def _on_bar(self, bar: QuoteBar) -> None:
        number = self._feed.row.cursor
        if self._feed.row.is_replay:
            self.receive(bar.close_quote)
        if isinstance(self._broker, FedBroker):
            event = self._event_number(number, complete=True)
            await self._facts.apply(await self._broker.on_bar(bar, event=event))
        await self._db(self._bar_done, bar, number, clock.utc_now())
        killpoint("intent_committed")
        side = self._feed.side_of(bar)
        done = Forming(bar.start, side.open, side.high, side.low, side.close)
        self._updates.publish(
            bar.close_quote, done, complete=True, assumed_spread=bar.assumed_spread
        )
        self._tell.set()
        await self._equity.watch(bar.end)

    def _bar_done(self, bar: QuoteBar, number: int, now: datetime) -> None:
        """Store a bar with the signals and intents that follow from it, and what all is worth."""
        feed, close = self._feed, self._feed.side_of(bar).close
        decisions = self._strategies.decide(bar)
        with transaction.atomic():
            feeds.store_bar(feed.row, bar, number=number, price_side=feed.price_side, now=now)
            sides = self._facts.book.sides.get(bar.instrument, [])
            for running, decision in decisions:
                running.record(decision=decision, close=close, sides=sides, feed=feed.row, now=now)
            self._equity.store(bar.end, now)
            killpoint("intent_before_commit")
