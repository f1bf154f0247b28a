"""A replay of stored bars: it plays, stands still, and begins again."""

import asyncio
import time
from datetime import datetime

from django.db import transaction

from sep_engine.execution.states import LIVE, PROTECTIVE, Origin
from sep_engine.venues.replay import ReplayVenue, paced_events
from webapp.trading.models import BrokerAccount, Feed, Order, Position
from webapp.trading.services import system
from webapp.trading.services.orders import order_submit
from webapp.trading.trader import clock, feeds
from webapp.trading.trader.clock import Stop, Stopping
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.facts import Facts
from webapp.trading.trader.market_events import MarketEvents
from webapp.trading.trader.open_feed import OpenFeed
from webapp.trading.trader.order_turns import OrderTurns
from webapp.trading.trader.strategy_set import StrategySet

STAND_LOOK_S = 0.2


class RestartFeed(Exception):
    """The replay was asked to begin again."""


class ReplayClock:
    """It ends a wait when the trader stops or the replay begins again."""

    def __init__(self, stopping: asyncio.Event, restart: asyncio.Event) -> None:
        self._stopping, self._restart = stopping, restart

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._stopping.is_set():
            raise Stop
        if self._restart.is_set():
            raise RestartFeed


class Replay:
    """Plays the bars of the feed."""

    def __init__(
        self,
        *,
        account: BrokerAccount,
        db: DatabaseThread,
        writing: asyncio.Lock,
        stopping: Stopping,
        feed: OpenFeed,
        facts: Facts,
        strategies: StrategySet,
        events: MarketEvents,
        orders: OrderTurns,
    ) -> None:
        self._account, self._db, self._writing = account, db, writing
        self._stopping, self._feed, self._facts = stopping, feed, facts
        self._strategies, self._events, self._orders = strategies, events, orders

    async def run(self) -> None:
        """Play on from the feed's cursor.

        Raises:
            Stop: the trader was stopped.
        """
        replay_clock = ReplayClock(self._stopping, self._feed.restart)
        while True:
            await self._strategies.ready(self._stopping)
            venue = ReplayVenue(self._feed.bars, cursor=self._feed.row.cursor)
            try:
                async for event in paced_events(venue, self._feed.pace, replay_clock):
                    await self._events.take(event)
                async with self._writing:
                    await self._db(_announce, "The replay is at its end; restart it from the page.")
                while True:
                    await replay_clock.sleep(STAND_LOOK_S)
            except RestartFeed:
                async with self._writing:
                    await self.begin_again()

    async def begin_again(self) -> None:
        """Close all positions through the order path, then rewind the replay."""
        await self._db(self._ask_to_flatten, clock.utc_now())
        await self._orders.work()
        await self._events.stand_still("restarting")
        await self._orders.work()
        flat = await self._db(self.is_flat)
        self._feed.restart.clear()
        if not flat:
            await self._db(
                self._give_up,
                "The replay was not restarted: positions or orders are still open. "
                "See the orders for the reason.",
            )
            return
        await self._db(self._rewind, clock.utc_now())
        self._events.begin_at_last_close()

    def _ask_to_flatten(self, now: datetime) -> None:
        with transaction.atomic():
            live = Order.objects.filter(account=self._account, state__in=sorted(LIVE))
            live.exclude(type__in=PROTECTIVE).filter(cancel_requested_at__isnull=True).update(
                cancel_requested_at=now
            )
            for position in Position.objects.filter(account=self._account).exclude(units=0):
                order_submit(
                    account=self._account,
                    instrument=position.instrument,
                    units=-position.units,
                    origin=Origin.EXIT,
                    reduce_only=True,
                    now=now,
                )

    def is_flat(self) -> bool:
        """Return whether nothing is held and no order can still become something."""
        held = Position.objects.filter(account=self._account).exclude(units=0)
        live = Order.objects.filter(account=self._account, state__in=sorted(LIVE))
        return not held.exists() and not live.exists()

    def _give_up(self, text: str) -> None:
        with transaction.atomic():
            Feed.objects.filter(pk=self._feed.row.pk).update(restart_requested=False)
            _announce(text)

    def _rewind(self, now: datetime) -> None:
        with transaction.atomic():
            self._feed.row.refresh_from_db()
            feeds.rewind(self._feed.row, self._feed.bars, now=now)
            _announce("The replay begins again.")
        self._strategies.warm_up()
        self._facts.read_book()


def _announce(text: str) -> None:
    system.announce(level="info", text=text, now=clock.utc_now())
