"""The trader: the one process that judges, sends and records for one account.

Prices come in, complete bars are stored with the signals and intents that follow from them in one
transaction, and every intent, whoever made it, takes the same way: gate, claim, send, record.
Starting is recovery: there is no other way to start, so a crash needs nothing special.

Everything that writes runs under one lock, one step after another; only within the step that sends
several orders are on their way at once (see `turns`). All database work is done in one thread of
its own, so that the loop always answers; no broker is asked within a transaction.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Max, Q

from sep_engine.errors import DataError
from sep_engine.execution.core import Absent, Doubted, Found, Lapsed, Restarted, Withdrawn
from sep_engine.execution.reconcile import Difference
from sep_engine.execution.states import (
    LIVE,
    PROTECTIVE,
    OrderState,
    OrderType,
    Origin,
    PositionFill,
    TimeInForce,
    TradingMode,
)
from sep_engine.model import Quote, QuoteBar
from sep_engine.model.calendar import day_start
from sep_engine.risk import conversion_pairs
from sep_engine.venues.oanda.backoff import Backoff
from sep_engine.venues.oanda.client import MarketDataClient, VenueError
from sep_engine.venues.oanda.parse import Price
from sep_engine.venues.replay import Pace, ReplayVenue, paced_events
from webapp.trading import halt_flag
from webapp.trading.brokers.base import (
    Broker,
    BrokerError,
    BrokerUnsent,
    Deaf,
    FedBroker,
    Listening,
    News,
    OrderRequest,
    StreamingBroker,
    Transaction,
)
from webapp.trading.brokers.registry import broker_for, market_client, terms_of
from webapp.trading.cancelling import cancelled
from webapp.trading.granularity import duration
from webapp.trading.killpoint import killpoint
from webapp.trading.models import (
    BrokerAccount,
    Feed,
    Instrument,
    Order,
    PerformanceSnapshot,
    Position,
    Strategy,
    Trade,
    TradingState,
)
from webapp.trading.retried import retried
from webapp.trading.selectors.balance import most_made
from webapp.trading.selectors.market import Market
from webapp.trading.selectors.performance import performance_current
from webapp.trading.services import events, hints, order_path, system
from webapp.trading.services.closing import closings_go_on
from webapp.trading.services.heartbeat import beat
from webapp.trading.services.live_arming import live_refusal
from webapp.trading.services.order_path import FactGap
from webapp.trading.services.orders import order_submit
from webapp.trading.services.performance import snapshots_drop_old
from webapp.trading.services.reconciliation import (
    Comparison,
    books_compare,
    reconciliation_record,
)
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.statements import Asked
from webapp.trading.streams import MarketStream, Relay, connect, listen_for_hints
from webapp.trading.trader import feeds, lease
from webapp.trading.trader.exposure import (
    DEFAULT_STOP_PIPS,
    Book,
    Judging,
    Live,
    Received,
    instrument_value,
)
from webapp.trading.trader.live import (
    CANDLE_DELAY,
    CANDLE_RETRY,
    Forming,
    bar_start,
    complete_bars,
)
from webapp.trading.trader.recent import SentCount
from webapp.trading.trader.spikes import Spikes
from webapp.trading.trader.strategies import RunningClass, RunningStrategy, running_strategy
from webapp.trading.trader.turns import TOGETHER_MAX, Waiting, turns
from webapp.trading.wire import decimal_text, money_text, time_text

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOK_S = 0.2
HEARTBEAT_S = 2.0
ATTEND_S = 1.0
RECONCILE_S = 60.0
RECOVER_PAUSE_S = 1.0
FIRST_QUOTES_S = 5.0
SEND_TIMEOUT_S = 5.0
DOUBT_LOOK_S = 0.25
COVER_PAUSE_S_MAX = 60.0
CANCEL_PAUSE_S = 0.5
CANCEL_PAUSE_S_MAX = 10.0
BEFORE_FIRST_QUOTE = "waiting for its first quote"

_S = OrderState
_DOUBT = (_S.UNKNOWN, _S.CHANGE_UNKNOWN)


_NEW, _WORKING = (_S.CREATED, _S.QUEUED), (_S.ACCEPTED, _S.PARTIAL)
_waiting = Asked(
    lambda account: (
        Order.objects.filter(account=account, state__in=(*_NEW, *_WORKING))
        .filter(Q(state__in=_NEW) | Q(state__in=_WORKING, cancel_requested_at__isnull=False))
        .order_by("pk")
        .values_list(
            "pk", "state", "instrument__name", "cancel_requested_at", "reduce_only", "replaces_id"
        )
    )
)
_orders_in = Asked(
    lambda account, *states: (
        Order.objects.filter(account=account, state__in=states)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
)
_unanswered = Asked(
    lambda *keys: (
        Order.objects.filter(
            Q(state=_S.SENDING) | Q(replaces__state=_S.REPLACE_PENDING), pk__in=keys
        )
        .order_by("pk")
        .values_list("pk", "replaces_id")
    )
)
_states_not = Asked(lambda mode: TradingState.objects.exclude(state=mode).values_list("pk"))
_positions = Asked(
    lambda account: (
        Position.objects.filter(account=account).exclude(units=0).select_related("instrument")
    )
)
_controls = Asked(
    lambda feed: Feed.objects.filter(pk=feed).values_list(
        "bars_per_second", "paused", "restart_requested"
    )
)


class Stop(Exception):
    """The process was asked to end."""


class RestartFeed(Exception):
    """The replay was asked to begin again."""


class DatabaseThread:
    """Runs database work one after another in a thread that keeps its connection."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def __call__(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    async def close(self) -> None:
        await self(lambda: connection.close())
        self._pool.shutdown()


@contextmanager
def _durable() -> Iterator[None]:
    """Make the commits within reach the disk, and with them all before; PostgreSQL always does."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            cursor.execute("PRAGMA synchronous=NORMAL")


def end_together(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Let all end when one of them fails: a group cancels each once, which may not be enough."""
    ending: list[asyncio.Task[None]] = []

    def ended(task: asyncio.Task[Any]) -> None:
        if not ending and not task.cancelled() and task.exception() is not None:
            ending.append(asyncio.get_running_loop().create_task(cancelled(tasks)))

    for task in tasks:
        task.add_done_callback(ended)


def steady() -> float:
    """Return the clock that nobody sets, in seconds."""
    return time.monotonic()


def utc_now() -> datetime:
    """Return the wall clock; the trader's only reading of it."""
    return datetime.now(UTC)


class FeedClock:
    """The replay's clock. It ends a wait when the trader stops or the replay begins again."""

    def __init__(self, stopping: asyncio.Event, restart: asyncio.Event) -> None:
        self._stopping = stopping
        self._restart = restart

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._stopping.is_set():
            raise Stop
        if self._restart.is_set():
            raise RestartFeed


class Trader:
    """One account's trader. `run` returns after `stop` was called, or raises."""

    def __init__(self, *, account_id: int, with_relay: bool) -> None:
        self._account_id = account_id
        self._with_relay = with_relay
        self._db = DatabaseThread("trader-database")
        self._relay_db = DatabaseThread("relay-database")
        self._writing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._restart = asyncio.Event()
        self._work = asyncio.Event()
        self._tell = asyncio.Event()
        self._pace = Pace()
        self._quotes: dict[str, Received] = {}
        self._spikes = Spikes()
        self._strategies: list[RunningStrategy] = []
        self._armed = False
        self._armed_at = 0.0
        self._started_at = utc_now()
        self._lease_until = 0.0
        self._last_performance = 0.0
        self._protected = False
        # The most that the account had made, realised and open; what was paid in is not of it.
        self._most_made = Decimal(0)
        # Whether the losses were looked at since the books last changed.
        self._watched = False
        # The last transaction that our books are known to hold.
        self._applied = 0
        self._behind_s = 0.0
        # Of positions without a stop: how often one was asked for, and when it may be again.
        self._covering: dict[int, tuple[int, float]] = {}
        # Of orders that a cancel did not end: how often it was asked for, and when it may be again.
        self._cancelling: dict[int, tuple[int, float]] = {}
        # When each order in doubt was doubted, by the steady clock.
        self._doubted: dict[int, float] = {}
        # Since when the venue's stream is lost, and why; None while it is heard.
        self._deaf: tuple[float, str] | None = None
        self._prices: MarketDataClient | None = None
        self._forming: Forming | None = None
        self._price_loss = ""
        # By instrument, what the price stream brought and nobody has looked at yet.
        self._newest: dict[str, Price] = {}
        self._came = asyncio.Event()

    def stop(self) -> None:
        """Ask the trader to finish its step and end."""
        self._stopping.set()
        self._work.set()

    async def run(self) -> None:
        """Recover, arm and trade until stopped.

        Raises:
            LeaseHeld: another trader has the account.
            LeaseLost: another trader took the account.
        """
        await self._db(self._open)
        # Both read the account's token.
        self._broker: Broker = await self._db(broker_for, self._account)
        self._timing = self._broker.timing
        client = connect()
        try:
            if not self._feed.is_replay:
                self._prices = await self._db(market_client, self._account)
                await self._read_history()
            await self._recover()
            async with asyncio.TaskGroup() as group:
                endless = [
                    group.create_task(self._market.run(client)),
                    group.create_task(listen_for_hints(client, self._work, self._tell)),
                ]
                if isinstance(self._broker, StreamingBroker):
                    endless.append(group.create_task(self._listen(self._broker)))
                if self._with_relay:
                    hints.tell_here(
                        partial(asyncio.get_running_loop().call_soon_threadsafe, self._tell.set)
                    )
                    relay = Relay(self._relay_db, now=utc_now)
                    endless.append(group.create_task(relay.run(client, self._tell, look_s=LOOK_S)))
                if not self._feed.is_replay:
                    endless.append(group.create_task(self._follow_prices()))
                    endless.append(group.create_task(self._take_prices()))
                loops = [
                    group.create_task(self._until_stopped(loop))
                    for loop in (
                        self._feed_loop if self._feed.is_replay else self._follow_candles,
                        self._order_loop,
                        self._reconcile_loop,
                        self._heartbeat_loop,
                        self._classes_loop,
                    )
                ]
                end_together([*endless, *loops])
                await self._stopping.wait()
                async with self._writing:
                    await cancelled(endless)
        except Stop:
            logger.info("ended before it was armed")
        finally:
            hints.tell_here(None)
            await asyncio.to_thread(self._end_classes)
            await self._broker.close()
            if self._prices is not None:
                await self._prices.close()
            await client.aclose()
            if self._lease is not None:
                await self._db(lease.give_back, self._lease, now=utc_now())
            await self._db.close()
            await self._relay_db.close()

    async def _until_stopped(self, loop: Callable[[], Any]) -> None:
        with contextlib.suppress(Stop):
            await loop()

    async def _pause(self, seconds: float) -> None:
        """Wait, or end when the trader is stopped."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise Stop

    # Starting.

    def _open(self) -> None:
        self._lease: lease.Lease | None = None
        self._lease = lease.take(
            account_id=self._account_id, holder=lease.own_name(), now=utc_now()
        )
        self._lease_until = time.monotonic() + lease.LEASE.total_seconds()
        self._account = BrokerAccount.objects.get(pk=self._account_id)
        self._terms = terms_of(self._account)
        self._sent = SentCount(self._account)
        feed = Feed.objects.select_related("instrument").order_by("pk").first()
        if feed is None:
            raise ValueError("there is no feed; run manage.py load_sample")
        self._feed = feed
        if self._feed.run_started_at is None:
            self._feed.run_started_at = utc_now()
            self._feed.save(update_fields=["run_started_at"])
        self._instrument = instrument_value(self._feed.instrument)
        self._most_made = most_made(self._account)
        self._market = MarketStream(self._instrument.name)
        self._bars, self._price_side = feeds.load_feed(self._feed)
        self._warm_up()
        self._read_book()
        self._take_last_close()
        self._beat()

    def _warm_up(self) -> None:
        closes = feeds.stored_closes(self._feed)
        if len(closes) < self._feed.cursor:
            raise ValueError(
                f"{len(closes)} candles are stored, the feed is at {self._feed.cursor}; "
                "run manage.py load_sample"
            )
        self._end_classes()
        self._strategies = []
        rows = Strategy.objects.filter(
            account=self._account, instrument=self._feed.instrument
        ).select_related("instrument", "account")
        for row in rows:
            running = running_strategy(row)
            running.warm_up(closes[: self._feed.cursor])
            if isinstance(running, RunningClass):
                for stored in feeds.stored_prices(self._feed)[: self._feed.cursor]:
                    running.remember(*stored)
            self._strategies.append(running)

    # Strategies that are classes: their processes are asked before anybody waits for the lock.

    def _classes(self) -> list[RunningClass]:
        return [one for one in self._strategies if isinstance(one, RunningClass)]

    def _end_classes(self) -> None:
        for one in self._classes():
            one.close()

    async def _classes_ready(self) -> None:
        """Let every class see the past before the next bar is decided on; or stand, in its time.

        Raises:
            Stop: the trader was stopped meanwhile.
        """
        for one in self._classes():
            while not await one.attend():
                if self._stopping.is_set():
                    raise Stop
        await self._tell_of_classes()

    async def _classes_loop(self) -> None:
        """Start again what ended when its pause is over, and tell when one stands or goes on."""
        while True:
            await self._pause(ATTEND_S)
            for one in self._classes():
                await one.attend()
            await self._tell_of_classes()

    async def _tell_of_classes(self) -> None:
        for one in self._classes():
            if (news := one.news()) is not None:
                level, text = news
                async with self._writing:
                    await self._db(self._announce, text, level)

    async def _take(self, event: Quote | QuoteBar) -> None:
        """Let the classes say what they make of a bar, and then do all that an event asks for.

        The lock is taken afterwards: orders go on while a class thinks.
        """
        if isinstance(event, QuoteBar) and (classes := self._classes()):
            side = event.ask if self._price_side == "ask" else event.bid
            prices = (side.open, side.high, side.low, side.close)
            await asyncio.gather(*(one.ask(event.start, *prices) for one in classes))
            await self._tell_of_classes()
        async with self._writing:
            await self._on_event(event)

    def _take_last_close(self) -> None:
        """Begin with the last stored close: if the feed stands, it is the price there is."""
        self._quotes.clear()
        if self._feed.cursor and self._feed.is_replay:
            quote = self._bars[self._feed.cursor - 1].close_quote
            self._quotes[quote.instrument] = Received(quote, utc_now(), BEFORE_FIRST_QUOTE)

    def _read_book(self) -> None:
        now = utc_now()
        if self._feed.is_replay:
            now = self._bars[min(self._feed.cursor, len(self._bars) - 1)].start
        self._book = Book.read(self._account, market_time=now)

    async def _recover(self) -> None:
        """Take up every order that the last process left half done; arm when books were compared.

        A venue that does not answer is asked again until it does; until then nothing is sent.

        Raises:
            Stop: the trader was stopped meanwhile.
        """
        unfinished = await self._db(
            self._order_ids, _S.SENDING, _S.CANCEL_PENDING, _S.REPLACE_PENDING, *_DOUBT
        )
        for order_id in unfinished:
            await self._happened(order_id, Restarted())
            killpoint("recovering")
        while not await self._caught_up():
            await self._db(self._beat)
            await self._pause(RECOVER_PAUSE_S)
        self._armed, self._armed_at = True, time.monotonic()
        logger.info(
            "armed: account %s, epoch %d, bar %d of %d, %d orders were unfinished",
            self._account.name,
            self._account.epoch,
            self._feed.cursor,
            self._feed.total_bars,
            len(unfinished),
        )

    async def _caught_up(self) -> bool:
        """Read what was missed, settle doubts, compare the books; False if the venue is away."""
        try:
            await self._read_facts()
        except BrokerError as error:
            logger.warning("not armed: the venue's transactions cannot be read: %s", error)
            return False
        await self._look_up_doubtful()
        return await self._reconcile()

    # The feed.

    async def _feed_loop(self) -> None:
        clock = FeedClock(self._stopping, self._restart)
        while True:
            await self._classes_ready()
            venue = ReplayVenue(self._bars, cursor=self._feed.cursor)
            try:
                async for event in paced_events(venue, self._pace, clock):
                    await self._take(event)
                await self._at_end(clock)
            except RestartFeed:
                async with self._writing:
                    await self._begin_again()

    async def _at_end(self, clock: FeedClock) -> None:
        async with self._writing:
            await self._db(self._announce, "The replay is at its end; restart it from the page.")
        while True:
            await clock.sleep(LOOK_S)

    async def _on_event(self, event: Quote | QuoteBar) -> None:
        started = time.monotonic()
        if isinstance(event, Quote):
            await self._on_quote(event)
        else:
            await self._on_bar(event)
        await self._work_orders()
        self._behind_s = time.monotonic() - started

    def _event_number(self, bar_number: int, *, complete: bool) -> int:
        """Number the feed's events for ever: two a bar, going on through every restart."""
        return self._feed.run * 2 * self._feed.total_bars + 2 * bar_number + (2 if complete else 1)

    async def _on_quote(self, quote: Quote) -> None:
        bar = self._bars[self._feed.cursor]
        self._receive(quote)
        if isinstance(self._broker, FedBroker):
            number = self._event_number(self._feed.cursor, complete=False)
            await self._apply(
                await self._broker.on_quote(quote, event=number, assumed_spread=bar.assumed_spread)
            )
        side = bar.ask if self._price_side == "ask" else bar.bid
        forming = self._bar_data(bar.start, side.open, side.open, side.open, side.open)
        self._publish(quote, bar=forming | {"complete": False}, assumed=bar.assumed_spread)
        await self._watch_losses(quote.time)

    async def _on_bar(self, bar: QuoteBar) -> None:
        number = self._feed.cursor
        if self._feed.is_replay:
            self._receive(bar.close_quote)
        if isinstance(self._broker, FedBroker):
            event = self._event_number(number, complete=True)
            await self._apply(await self._broker.on_bar(bar, event=event))
        await self._db(self._bar_done, bar, number, utc_now())
        killpoint("intent_committed")
        side = bar.ask if self._price_side == "ask" else bar.bid
        done = self._bar_data(bar.start, side.open, side.high, side.low, side.close)
        self._publish(bar.close_quote, bar=done | {"complete": True}, assumed=bar.assumed_spread)
        self._tell.set()
        await self._watch_losses(bar.end)

    def _receive(self, quote: Quote) -> None:
        self._quotes[quote.instrument] = Received(quote, utc_now(), "")

    def _bar_done(self, bar: QuoteBar, number: int, now: datetime) -> None:
        close = feeds.close_of(bar, self._price_side)
        decisions = [(running, running.decide(bar.start, close)) for running in self._strategies]
        with transaction.atomic():
            feeds.store_bar(self._feed, bar, number=number, price_side=self._price_side, now=now)
            sides = self._book.sides.get(bar.instrument, [])
            for running, decision in decisions:
                running.record(
                    decision=decision, close=close, sides=sides, feed=self._feed, now=now
                )
            self._snapshot(bar.end, now)
            killpoint("intent_before_commit")

    def _snapshot(self, market_time: datetime, now: datetime) -> None:
        """Store one point of the equity line and tell the figures at most once a second."""
        book = self._book
        open_pl = book.open_pl(self._quotes)
        if open_pl is None:
            return
        balance = book.balance
        equity = balance + open_pl
        self._most_made = max(self._most_made, book.realised + open_pl)
        point = PerformanceSnapshot.objects.create(
            account=self._account,
            time=market_time,
            equity=equity,
            balance=balance,
            realised_pl=book.realised,
            open_pl=open_pl,
            drawdown=book.peak(self._most_made) - equity,
            trades=book.trades,
            wins=book.wins,
        )
        snapshots_drop_old(newest=point)
        if time.monotonic() - self._last_performance >= 1.0:
            self._last_performance = time.monotonic()
            events.record(
                stream="performance",
                type="performance_update",
                data=performance_current(self._account, markets=self._markets(now), now=now),
                now=now,
            )

    def _markets(self, now: datetime) -> dict[str, Market | None]:
        return {
            name: Market(
                data={
                    "quote": {
                        "time": time_text(received.quote.time),
                        "bid": str(received.quote.bid),
                        "ask": str(received.quote.ask),
                    }
                },
                published_at=now,
            )
            for name, received in self._quotes.items()
        }

    async def _begin_again(self) -> None:
        """Close all positions through the order path, then rewind the replay."""
        await self._db(self._ask_to_flatten, utc_now())
        await self._work_orders()
        await self._stand_still("restarting")
        await self._work_orders()
        flat = await self._db(self._is_flat)
        self._restart.clear()
        if not flat:
            await self._db(
                self._give_up_restart,
                "The replay was not restarted: positions or orders are still open. "
                "See the orders for the reason.",
            )
            return
        await self._db(self._rewind, utc_now())
        self._take_last_close()

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

    def _is_flat(self) -> bool:
        held = Position.objects.filter(account=self._account).exclude(units=0)
        live = Order.objects.filter(account=self._account, state__in=sorted(LIVE))
        return not held.exists() and not live.exists()

    def _give_up_restart(self, text: str) -> None:
        with transaction.atomic():
            Feed.objects.filter(pk=self._feed.pk).update(restart_requested=False)
            self._announce(text)

    def _rewind(self, now: datetime) -> None:
        with transaction.atomic():
            self._feed.refresh_from_db()
            feeds.rewind(self._feed, self._bars, now=now)
            self._announce("The replay begins again.")
        self._warm_up()
        self._read_book()

    def _announce(self, text: str, level: str = "info") -> None:
        with transaction.atomic():
            system.alert(level=level, text=text, now=utc_now())
            system.status_changed(now=utc_now())

    # A venue's own prices.

    async def _read_history(self) -> None:
        """Store the venue's bars up to now; those that we were not there for are history."""
        bars = await self._new_bars()
        await self._db(feeds.store_live_history, self._feed, bars, now=utc_now())
        await self._db(self._warm_up)

    async def _new_bars(self) -> list[QuoteBar]:
        """Return the venue's complete bars after the last stored one."""
        assert self._prices is not None
        last = await self._db(self._last_candle)
        return await complete_bars(
            self._prices,
            instrument=self._instrument.name,
            granularity=self._feed.granularity,
            since=None if last is None else last + duration(self._feed.granularity),
        )

    def _last_candle(self) -> datetime | None:
        newest: datetime | None = feeds.candles_of(self._feed).aggregate(last=Max("start"))["last"]
        return newest

    async def _follow_prices(self) -> None:
        """Take the venue's quotes as they come, and ask for them again whenever they stop."""
        assert self._prices is not None
        names: list[str] = []
        backoff, opened_at = Backoff(), time.monotonic()
        while True:
            try:
                names = names or await self._priced()
                async with contextlib.aclosing(self._prices.price_stream(names)) as stream:
                    async for item in stream:
                        if isinstance(item, Price):
                            waiting = self._newest.get(item.instrument, item)
                            if item.time_ns >= waiting.time_ns:
                                self._newest[item.instrument] = item
                            self._came.set()
            except (VenueError, DataError) as error:
                if not self._price_loss:
                    self._price_loss = str(error)
                    text = f"The venue's price stream is lost: {error}."
                    async with self._writing:
                        await self._db(self._announce, text, "warning")
                lived_s = time.monotonic() - opened_at
                await asyncio.sleep(backoff.next_s(lived_s=lived_s, chance=random.random()))
                opened_at = time.monotonic()

    async def _take_prices(self) -> None:
        """Trade at the newest quote of each instrument: whoever is slow skips some, and never takes
        one for fresh that has waited to be read.
        """
        while True:
            await self._came.wait()
            self._came.clear()
            while self._newest:
                async with self._writing:
                    await self._on_price(self._newest.pop(next(iter(self._newest))))

    async def _on_price(self, price: Price) -> None:
        if self._price_loss:
            self._price_loss = ""
            await self._db(self._announce, "The venue's price stream is heard again.")
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
        self._receive(quote)
        if quote.instrument == self._instrument.name:
            self._show(quote)
        await self._watch_losses(quote.time)
        await self._work_orders()

    async def _priced(self) -> list[str]:
        """Return every instrument that the books know: any of them may be held or ordered.

        With them come the pairs that turn their profit into account currency.
        """
        assert self._prices is not None
        names = await self._db(lambda: set(Instrument.objects.values_list("name", flat=True)))
        currency = self._account.currency
        foreign = {name.partition("_")[2] for name in names} - {currency}
        if any(not {f"{one}_{currency}", f"{currency}_{one}"} & names for one in foreign):
            offered = [one.name for one in await self._prices.instruments()]
            for one in foreign:
                names |= set(conversion_pairs(currency, one, offered))
        return sorted(names)

    def _show(self, quote: Quote) -> None:
        """Publish a quote of the feed's instrument with the bar that it goes into."""
        start = bar_start(quote.time, self._feed.granularity)
        if self._forming is None or self._forming.start != start:
            self._forming = Forming.of(quote, start)
        self._forming.add(quote)
        bar = self._forming
        data = self._bar_data(bar.start, bar.open, bar.high, bar.low, bar.close)
        self._publish(quote, bar=data | {"complete": False}, assumed=False)

    async def _follow_candles(self) -> None:
        """Read each bar when it is complete, and decide on it."""
        length = duration(self._feed.granularity)
        await self._classes_ready()
        while True:
            last = await self._db(self._last_candle)
            due = utc_now() if last is None else last + 2 * length + CANDLE_DELAY
            wait = max(due - utc_now(), CANDLE_RETRY if due <= utc_now() else CANDLE_DELAY)
            await self._pause(wait.total_seconds())
            try:
                bars = await self._new_bars()
            except (VenueError, DataError) as error:
                logger.warning("the venue's candles cannot be read: %s", error)
                continue
            for bar in bars:
                await self._take(bar)

    # Orders.

    async def _order_loop(self) -> None:
        looked_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), LOOK_S)
            self._work.clear()
            if self._stopping.is_set():
                raise Stop
            async with self._writing:
                await self._db(self._read_feed_controls)
                await self._work_orders()
                if time.monotonic() - looked_at >= DOUBT_LOOK_S:
                    await self._db(closings_go_on, account_id=self._account.pk, now=utc_now())
                    await self._look_up_doubtful()
                    looked_at = time.monotonic()
                    if self._deaf is not None:
                        await self._read_facts_now()  # what the stream would have told
                if self._feed_stands():
                    await self._stand_still(self._feed_stands())

    def _read_feed_controls(self) -> None:
        ((bars_per_second, paused, restart),) = _controls(self._feed.pk)
        self._pace.bars_per_second = bars_per_second
        self._pace.paused = paused
        if restart:
            self._restart.set()

    def _feed_stands(self) -> str:
        if self._feed.at_end:
            return "at its end"
        return "paused" if self._pace.paused else ""

    async def _stand_still(self, why: str) -> None:
        """Fill waiting exits at the price at which the replay stands: no other will come."""
        for name, received in self._quotes.items():
            self._quotes[name] = replace(received, stands=why)
            if isinstance(self._broker, FedBroker) and await self._db(self._exits_wait):
                await self._apply(
                    await self._broker.on_standing_quote(received.quote, assumed_spread=True)
                )

    def _exits_wait(self) -> bool:
        return Order.objects.filter(
            account=self._account,
            type=OrderType.MARKET,
            reduce_only=True,
            state__in=(_S.ACCEPTED, _S.PARTIAL),
        ).exists()

    def _order_ids(self, *states: OrderState) -> list[int]:
        return _orders_in(self._account.pk, *states)

    async def _work_orders(self) -> None:
        """Do everything that any order of the account waits for."""
        if not self._armed:
            return
        live = await self._db(self._live_orders)
        await self._withdraw([one.pk for one in live if one.withdrawn and self._may_cancel(one.pk)])
        for turn in turns(one for one in live if not one.withdrawn):
            await self._judge_and_send(turn)
        if self._book.positions and not self._protected:
            self._protected = await self._db(self._protect)

    def _live_orders(self) -> list[Waiting]:
        """Return the orders that wait for us, oldest first."""
        if self._stopped():
            order_path.orders_end_stopped(account_id=self._account.pk, now=utc_now())
        return [
            Waiting(key, OrderState(state), name, at is not None, reduces or replaces is not None)
            for key, state, name, at, reduces, replaces in _waiting(self._account.pk)
        ]

    def _stopped(self) -> bool:
        """Return whether any scope of the kill switch is not ACTIVE."""
        return halt_flag.is_set() or bool(_states_not(TradingMode.ACTIVE))

    async def _withdraw(self, order_ids: list[int]) -> None:
        """End or cancel orders; the venue is asked for all of them without waiting between."""
        for start in range(0, len(order_ids), TOGETHER_MAX):
            orders = await self._db(
                order_path.orders_withdraw,
                order_ids=order_ids[start : start + TOGETHER_MAX],
                now=utc_now(),
                timing=self._timing,
            )
            if orders:
                killpoint("cancel_claimed")
                await self._answers([self._cancel(order) for order in orders])

    def _may_cancel(self, order_id: int) -> bool:
        """Return whether a cancel may be asked for: it did not fail just now."""
        return steady() >= self._cancelling.get(order_id, (0, 0.0))[1]

    async def _cancel(self, order: Order) -> list[Transaction]:
        now = steady()
        tries, _ = self._cancelling.get(order.pk, (0, 0.0))
        pause_s = min(CANCEL_PAUSE_S * 2.0 ** min(tries, 30), CANCEL_PAUSE_S_MAX)
        # One that nobody wanted for a minute after its pause begins anew.
        recent = {pk: one for pk, one in self._cancelling.items() if now - one[1] < 60}
        self._cancelling = recent | {order.pk: (tries + 1, now + pause_s)}
        try:
            facts = await asyncio.wait_for(self._broker.cancel(order.client_id), SEND_TIMEOUT_S)
        except (BrokerError, TimeoutError) as error:
            await self._happened(order.pk, Doubted(str(error)))
            return []
        killpoint("cancel_sent")
        return facts

    async def _answers(self, calls: Iterable[Coroutine[Any, Any, list[Transaction]]]) -> None:
        """Make calls to the venue at once, and apply what each brings as soon as it is there."""
        waiting = {asyncio.create_task(call) for call in calls}
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await self._apply([fact for one in done for fact in one.result()])
        finally:
            await cancelled(waiting)

    async def _judge_and_send(self, turn: list[Waiting]) -> None:
        created = [one for one in turn if one.state == _S.CREATED]
        queued = {one.pk for one in turn if one.state == _S.QUEUED}
        if created:
            queued |= await self._db(self._judge, created, utc_now())
            killpoint("judged")
        if queued:
            await self._send([one.pk for one in turn if one.pk in queued])

    def _judge(self, created: list[Waiting], now: datetime) -> set[int]:
        """Return the keys of the orders that are QUEUED now."""
        assert self._lease is not None
        ready = [one.pk for one in created if not self._must_wait(one, now)]
        if not ready:
            return set()
        queued = order_path.orders_judge(
            account_id=self._account.pk,
            order_ids=ready,
            epoch=self._lease.epoch,
            judging=lambda: self._judging(now),
            now=now,
            timing=self._timing,
        )
        return {order.pk for order in queued}

    def _judging(self, now: datetime) -> Judging:
        return Judging(
            live=Live(self._account),
            sent=self._sent,
            book=self._book,
            quotes=self._quotes,
            peak_equity=self._book.peak(self._most_made),
            unheard="" if self._deaf is None else "without the venue's transaction stream",
            now=now,
        )

    def _must_wait(self, one: Waiting, now: datetime) -> bool:
        """Return whether the first quotes are on their way: we have just started."""
        received = self._quotes.get(one.instrument)
        coming = received is None or received.stands == BEFORE_FIRST_QUOTE
        if not one.alone and time.monotonic() - self._armed_at < FIRST_QUOTES_S:
            # The quotes of a start come one after another, and the gate values all that is held.
            coming = coming or not self._judging(now).all_priced()
        if not coming or self._feed_stands():
            return False
        return not Order.objects.filter(pk=one.pk, expires_at__lt=now).exists()

    async def _send(self, order_ids: list[int]) -> None:
        """Claim orders and send each once; whatever is not a clear answer is a doubt."""
        assert self._lease is not None
        orders, age_max = await self._db(self._claim, order_ids, self._lease.epoch)
        if not orders:
            return
        killpoint("claimed")
        await self._answers([self._submit(order, age_max) for order in orders])
        killpoint("recorded")
        for order_id, old_id in await self._db(self._unanswered, orders):
            await self._doubt(order_id, old_id, "the answer said nothing of the order")

    async def _submit(self, order: Order, age_max: Decimal) -> list[Transaction]:
        refusal = await self._db(self._last_look, order, age_max)
        if refusal:
            await self._unsent(order, refusal)
            return []
        request = self._request(order)
        try:
            if order.replaces_id is None:
                sending = self._broker.submit(request)
            else:
                old = await self._db(Order.objects.get, pk=order.replaces_id)
                sending = self._broker.replace(old.client_id, request)
            facts = await asyncio.wait_for(sending, SEND_TIMEOUT_S)
        except BrokerUnsent as error:
            logger.warning("order %s was not written: %s", request.client_id, error)
            await self._unsent(order, str(error))
            return []
        except (BrokerError, TimeoutError) as error:
            logger.warning("order %s is in doubt: %s", request.client_id, error or "timeout")
            await self._doubt(order.pk, order.replaces_id, str(error))
            return []
        killpoint("sent")
        return facts

    def _unanswered(self, orders: list[Order]) -> list[tuple[int, int | None]]:
        """Return those that are SENDING still, each with the order whose place it was to take."""
        return [(key, old) for key, old in _unanswered(*(order.pk for order in orders))]

    async def _unsent(self, order: Order, reason: str) -> None:
        """End an entry of which nothing was written, at once: a rule may decide again now.

        What reduces is asked for again when it has ended. It stays in doubt for a while instead, so
        that a venue which is away is not asked without a pause.
        """
        if not order.reduce_only:
            await self._db(
                order_path.order_unsent,
                order_id=order.pk,
                reason=reason,
                now=utc_now(),
                timing=self._timing,
            )
        await self._doubt(order.pk, order.replaces_id, reason)

    async def _doubt(self, order_id: int, old_id: int | None, reason: str) -> None:
        """Doubt the order, and the one whose place it was to take, where no answer was given."""
        if await self._db(self._state_of, order_id) == _S.SENDING:
            await self._happened(order_id, Doubted(reason))
        if old_id is not None and await self._db(self._state_of, old_id) == _S.REPLACE_PENDING:
            await self._happened(old_id, Doubted(reason))

    def _claim(self, order_ids: list[int], epoch: int) -> tuple[list[Order], Decimal]:
        """Claim orders; the claims are on the disk when this returns, should the power fail.

        Returns:
            What is ours to send, and the greatest age of a quote that may be traded on, s.
        """
        now = utc_now()
        with _durable():
            orders = order_path.orders_claim(
                account_id=self._account.pk,
                order_ids=order_ids,
                epoch=epoch,
                now=now,
                timing=self._timing,
            )
        for _ in orders:
            self._sent.sent(now)
        limits = order_path.limits_of(self._account)
        return orders, limits.get("quote_age_s_max", Decimal(0))

    def _last_look(self, order: Order, age_max: Decimal) -> str:
        """Return why the order must not be sent after all ("" if it may); nothing waits after it.

        Whoever halts in the database or with the flag before this reads it stops this send.
        """
        assert self._lease is not None
        if time.monotonic() >= self._lease_until or self._lease.lost():
            return "the account was lost before the send"
        if not order_path.allowed_by(order_path.modes_for(order), order):
            return "the kill switch was pulled before the send"
        if not order.reduce_only and (
            unarmed := live_refusal(account=order.account, strategy=order.strategy, now=utc_now())
        ):
            return unarmed
        received = self._quotes.get(order.instrument.name)
        age = None if received is None else (utc_now() - received.at).total_seconds()
        # An age below 0 says that the clock was set back: how old the quote is is not known.
        if not order.reduce_only and (age is None or not 0 <= age <= age_max):
            return "the quote grew too old before the send"
        return ""

    def _request(self, order: Order) -> OrderRequest:
        return OrderRequest(
            client_id=order.client_id,
            instrument=order.instrument.name,
            type=OrderType(order.type),
            units=order.units,
            price=order.price,
            price_bound=order.price_bound,
            stop_loss=order.stop_loss,
            take_profit=self._target(order),
            stop_distance=order.stop_distance,
            target_distance=order.target_distance if self._terms.target_distance else None,
            reduce_only=order.reduce_only,
            trailing_distance=order.trailing_distance,
            time_in_force=TimeInForce(order.time_in_force),
            good_until=order.good_until,
            position_fill=PositionFill(order.position_fill),
            trade_id=order.trade_id,
        )

    def _target(self, order: Order) -> Decimal | None:
        """Return the target's price. Where the venue takes no distance, the last quote gives it."""
        received = self._quotes.get(order.instrument.name)
        if order.target_distance is None or self._terms.target_distance or received is None:
            return order.take_profit
        buys = order.units > 0
        entry = order.price or (received.quote.ask if buys else received.quote.bid)
        away = order.target_distance if buys else -order.target_distance
        return instrument_value(order.instrument).round_price(entry + away)

    def _state_of(self, order_id: int) -> OrderState:
        return OrderState(Order.objects.values_list("state", flat=True).get(pk=order_id))

    async def _happened(
        self, order_id: int, event: Doubted | Restarted | Absent | Found | Withdrawn | Lapsed
    ) -> tuple[Order, bool]:
        if isinstance(event, Doubted | Restarted):
            self._doubted[order_id] = time.monotonic()
        return await self._db(
            order_path.order_happened,
            order_id=order_id,
            event=event,
            now=utc_now(),
            timing=self._timing,
        )

    async def _look_up_doubtful(self) -> None:
        """Ask the venue for every order in doubt: by its id, then by all that happened since."""
        doubtful = await self._db(self._order_ids, *_DOUBT)
        self._doubted = {key: at for key, at in self._doubted.items() if key in doubtful}
        for order_id in doubtful:
            asked = Order.objects.values_list("client_id", "doubt_since")
            client_id, doubt_since = await self._db(asked.get, pk=order_id)
            if doubt_since is None:
                continue  # what was read for another order has settled it
            if doubt_since > utc_now():
                await self._happened(order_id, Doubted("the clock was set back"))
            try:
                found = await asyncio.wait_for(
                    self._broker.order_by_client_id(client_id), SEND_TIMEOUT_S
                )
                await self._read_facts()
            except (BrokerError, TimeoutError) as error:
                logger.warning("order %s cannot be looked up: %s", client_id, error or "timeout")
                return
            if await self._db(self._state_of, order_id) not in _DOUBT:
                continue
            if await self._db(self._successor_in_doubt, order_id):
                continue  # the change may still arrive; it is settled by the order that it makes
            if found is None:
                await self._happened(order_id, Absent(send_closed=self._is_late(order_id)))
            elif found.working:
                await self._happened(order_id, Found(found.venue_order_id))

    def _is_late(self, order_id: int) -> bool:
        """Return whether a send can arrive no more: what was written before is late by now.

        This process has none open, it holds the lock under which it sends. The steady clock counts:
        the other may be set forward by more than an order takes.
        """
        since = self._doubted.setdefault(order_id, time.monotonic())
        return time.monotonic() - since >= self._timing.late.total_seconds()

    def _successor_in_doubt(self, order_id: int) -> bool:
        return Order.objects.filter(
            replaces_id=order_id, state__in=(_S.SENDING, _S.UNKNOWN)
        ).exists()

    def _protect(self) -> bool:
        """See that a stop works for every position; ask for one, or for the way out, if not.

        True: all have one, and only a fact can change that.
        """
        now = utc_now()
        protected = True
        for position in _positions(self._account.pk):
            stops = order_path.stops_of(position)
            missing = abs(position.units) - order_path.covered_units(position, stops)
            if missing <= 0:
                continue
            protected = False
            # What closes it now is waited for. A target that waits for its price protects nothing.
            leaving = Order.objects.filter(
                account=self._account,
                instrument=position.instrument,
                type=OrderType.MARKET,
                reduce_only=True,
                state__in=sorted(LIVE),
            )
            received = self._quotes.get(position.instrument.name)
            if received is None or any(one.units * position.units < 0 for one in leaving):
                continue
            tries, next_at = self._covering.get(position.pk, (0, 0.0))
            if steady() < next_at:
                continue
            # What was refused a moment ago will be again: the venue is not asked without a pause.
            self._covering[position.pk] = tries + 1, steady() + min(2.0**tries, COVER_PAUSE_S_MAX)
            modes = order_path.modes_for(Order(account=self._account, reduce_only=True))
            if TradingMode.HALTED in modes:
                if not tries:
                    units = decimal_text(missing)
                    text = f"{position.instrument.name} has {units} units without a stop, and "
                    self._announce(text + "nothing is sent while HALTED", "error")
                continue
            trades = order_path.uncovered_trades(position, stops) if self._terms.trades else []
            for trade in trades:
                self._cover(position, trade.units, trade.price, received.quote, now, trade)
            if not trades:
                assert position.average_price is not None
                units = missing.copy_sign(position.units)
                self._cover(position, units, position.average_price, received.quote, now)
        if protected:
            self._covering.clear()
        return protected

    def _cover(
        self,
        position: Position,
        held: Decimal,
        opened_at: Decimal,
        quote: Quote,
        now: datetime,
        trade: Trade | None = None,
    ) -> None:
        """Ask for a stop for `held` units (signed) that were opened at a price, or for their close.

        trade: the one that they belong to, where the venue keeps trades.
        """
        instrument = instrument_value(position.instrument)
        limits = order_path.limits_of(self._account)
        away = limits.get("default_stop_pips", DEFAULT_STOP_PIPS) * instrument.pip
        long = held > 0
        price = instrument.round_price(opened_at + (-away if long else away))
        passed = price >= quote.bid if long else price <= quote.ask
        whose = "" if trade is None else f" (trade {trade.venue_trade_id})"
        text = f"{instrument.name} has {decimal_text(abs(held))} units without a stop{whose}"
        stop: dict[str, Any] = {} if passed else {"type": OrderType.STOP_LOSS, "price": price}
        with transaction.atomic():
            system.alert(
                level="error", text=f"{text}: {'closing' if passed else 'adding one'}", now=now
            )
            order_submit(
                account=self._account,
                instrument=position.instrument,
                units=-held,
                origin=Origin.PROTECTIVE,
                reduce_only=True,
                trade=trade,
                now=now,
                **stop,
            )
        self._work.set()

    # What the venue tells by itself.

    async def _listen(self, broker: StreamingBroker) -> None:
        async with contextlib.aclosing(broker.news()) as news:
            async for one in news:
                async with self._writing:
                    await self._on_news(one)

    async def _on_news(self, news: News) -> None:
        """Read what the stream says there is; opening it, compare the books as at a start."""
        if isinstance(news, Deaf):
            await self._hears_no_more(news.reason)
            return
        if isinstance(news, Listening) or self._deaf is not None:
            if not await self._reconcile("stream"):
                # Who hears and cannot read knows no more than before; the next line asks again.
                await self._hears_no_more("it is open, but the venue's books cannot be read")
                return
            if self._deaf is not None:
                deaf_s = time.monotonic() - self._deaf[0]
                self._deaf = None
                await self._db(
                    self._announce,
                    f"The venue's transaction stream is heard again after {deaf_s:.0f} s.",
                )
            return
        if news.transaction_id > self._applied:
            await self._read_facts_now()

    async def _hears_no_more(self, reason: str) -> None:
        if self._deaf is not None:
            return
        self._deaf = (time.monotonic(), reason)
        await self._db(
            self._announce,
            f"The venue's transaction stream is lost: {reason}. Nothing is opened until it is "
            "heard again.",
            "warning",
        )

    async def _read_facts_now(self) -> None:
        """Read the facts that there are; what cannot be read now is read after the next news."""
        try:
            await asyncio.wait_for(self._read_facts(), SEND_TIMEOUT_S)
        except (BrokerError, TimeoutError) as error:
            logger.warning("the venue's transactions cannot be read: %s", error or "timeout")

    # Facts.

    async def _apply(self, facts: list[Transaction]) -> None:
        if not facts or max(fact.id for fact in facts) <= self._applied:
            return
        try:
            await self._db(self._apply_now, facts)
        except FactGap:
            await self._read_facts_now()
        killpoint("facts_committed")
        self._tell.set()

    async def _read_facts(self) -> int:
        """Read every transaction since the last applied one; what was missed is caught up here.

        Returns:
            How many there were.
        """
        last = await self._db(self._last_transaction)
        facts = await self._broker.transactions_since(last)
        if facts:
            await self._db(self._apply_now, facts)
            self._tell.set()
        return len(facts)

    def _last_transaction(self) -> int:
        return BrokerAccount.objects.values_list("last_transaction_id", flat=True).get(
            pk=self._account.pk
        )

    def _apply_now(self, facts: list[Transaction]) -> None:
        self._book_facts(facts)
        self._applied = max(self._applied, *(fact.id for fact in facts))
        self._book.catch_up()
        self._protected = self._watched = False

    @retried
    def _book_facts(self, facts: list[Transaction]) -> None:
        order_path.facts_apply(
            account_id=self._account.pk, facts=facts, now=utc_now(), timing=self._timing
        )
        killpoint("facts_before_commit")

    async def _watch_losses(self, market_time: datetime) -> None:
        if self._book.day_start != day_start(market_time):
            await self._db(self._read_book)
        # A flat account loses nothing more, but what its last fill lost has to be seen once.
        if self._book.positions or not self._watched:
            await self._db(self._watch_losses_now)
            self._watched = True

    def _watch_losses_now(self) -> None:
        """Let an account that lost its limit only reduce. Only a person makes it ACTIVE again."""
        limits = order_path.limits_of(self._account)
        currency = self._account.currency
        limit, result = limits.get("daily_loss_max"), self._book.day_pl(self._quotes)
        if limit is not None and result is not None and -result >= limit:
            self._only_reduce(
                f"the day's loss {money_text(-result)} {currency} reached {money_text(limit)}"
            )
        percent, equity = limits.get("drawdown_percent_max"), self._book.equity(self._quotes)
        if percent is None or equity is None:
            return
        peak = self._book.peak(self._most_made)
        lost = peak - equity
        if lost > 0 and 100 * lost >= percent * peak:
            self._only_reduce(
                f"{money_text(lost)} {currency} below the highest equity reached "
                f"{money_text(percent)} %"
            )

    def _only_reduce(self, reason: str) -> None:
        trading_state_worsen(
            account=self._account, state=TradingMode.REDUCING, reason=reason, now=utc_now()
        )

    # Reconciliation, heartbeat, publishing.

    async def _reconcile_loop(self) -> None:
        while True:
            await self._pause(RECONCILE_S)
            async with self._writing:
                await self._reconcile("minute")

    async def _reconcile(self, cause: str = "start") -> bool:
        """Compare our books with the venue's; halt the account if they differ.

        Returns:
            Whether they were compared: the venue answered.
        """
        started_at, facts_read = utc_now(), 0
        comparison: Comparison | None = None
        for _ in range(3):
            try:
                report = await asyncio.wait_for(self._broker.account(), SEND_TIMEOUT_S)
                # A ledger that is shorter than ours is a difference, with nothing in it to read.
                if report.last_transaction_id >= await self._db(self._last_transaction):
                    facts_read += await self._read_facts()
            except (BrokerError, TimeoutError) as error:
                logger.warning("the venue cannot be compared with: %s", error or "timeout")
                await self._db(
                    self._compared, cause, started_at, None, facts_read, str(error) or "timeout"
                )
                return False
            comparison = await self._db(books_compare, self._account, report)
            killpoint("reconciling")
            if not comparison.differences:
                break
        assert comparison is not None
        done = "the account was halted" if comparison.differences else ""
        if comparison.differences:
            await self._db(self._halt_for, comparison.differences)
        await self._db(self._compared, cause, started_at, comparison, facts_read, done)
        return True

    def _compared(
        self,
        cause: str,
        started_at: datetime,
        comparison: Comparison | None,
        facts_read: int,
        done: str,
    ) -> None:
        reconciliation_record(
            account=self._account,
            cause=cause,
            started_at=started_at,
            now=utc_now(),
            comparison=comparison,
            facts_read=facts_read,
            done=done,
        )

    def _halt_for(self, differences: tuple[Difference, ...]) -> None:
        text = "; ".join(str(difference) for difference in differences)
        logger.error("halted: our books and the venue's differ: %s", text)
        trading_state_worsen(
            account=self._account,
            state=TradingMode.HALTED,
            reason=f"books differ: {text}",
            now=utc_now(),
        )

    async def _heartbeat_loop(self) -> None:
        while True:
            await self._db(self._beat)
            await self._pause(HEARTBEAT_S)

    def _beat(self) -> None:
        assert self._lease is not None
        now = utc_now()
        lease.renew(self._lease, now=now)
        self._lease_until = time.monotonic() + lease.LEASE.total_seconds()
        detail = {
            "armed": self._armed,
            "epoch": self._lease.epoch,
            "bar": self._feed.cursor,
            "last_event_ms": round(self._behind_s * 1000, 2),
            "market_updates_dropped": self._market.dropped,
            "venue_stream": "" if self._deaf is None else self._deaf[1],
        }
        refused: str = getattr(self._broker, "unauthorised", "") if self._armed else ""
        if refused:
            trading_state_worsen(
                account=self._account, state=TradingMode.HALTED, reason=refused, now=now
            )
        names = ["trader", "relay"] if self._with_relay else ["trader"]
        for name in names:
            beat(name, started_at=self._started_at, now=now, detail=detail)

    def _bar_data(
        self, start: datetime, open_: Decimal, high: Decimal, low: Decimal, close: Decimal
    ) -> dict[str, Any]:
        return {
            "start": time_text(start),
            "open": self._price(open_),
            "high": self._price(high),
            "low": self._price(low),
            "close": self._price(close),
        }

    def _price(self, value: Decimal) -> str:
        return decimal_text(value, decimals_min=self._instrument.price_decimals)

    def _publish(self, quote: Quote, *, bar: dict[str, Any], assumed: bool) -> None:
        now = utc_now()
        feed = self._feed
        data = {
            "instrument": quote.instrument,
            "granularity": feed.granularity,
            "quote": {
                "time": time_text(quote.time),
                "bid": self._price(quote.bid),
                "ask": self._price(quote.ask),
                "mid": self._price(quote.mid),
                "assumed_spread": assumed,
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
            "bar": bar,
            "qfh": self._metrics(),
            "feed": {
                "cursor": feed.cursor,
                "total": feed.total_bars,
                "bars_per_second": self._pace.bars_per_second,
                "paused": self._pace.paused,
                "at_end": feed.at_end,
            },
        }
        self._market.put(data, complete=bar["complete"], now=now)

    def _metrics(self) -> dict[str, Any] | None:
        """Return the newest metrics: those of the last complete bar."""
        rules_first = sorted(self._strategies, key=lambda one: isinstance(one, RunningClass))
        shown = (one.metrics_resource() for one in rules_first)
        return next((found for found in shown if found is not None), None)
