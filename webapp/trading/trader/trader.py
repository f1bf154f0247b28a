"""The trader: the one process that judges, sends and records for one account.

Prices come in, complete bars are stored with the signals and intents that follow from them in one
transaction, and every intent, whoever made it, takes the same way: gate, claim, send, record.
Starting is recovery: there is no other way to start, so a crash needs nothing special.

Everything that writes runs under one lock, one step after another; only within the step that sends
several orders are on their way at once (see `turns`). All database work is done in one thread of
its own, so that the loop always answers; no broker is asked within a transaction.

Each part has a module of its own, and keeps what only it changes:

- `Replay` or `VenuePrices`: where prices come from; `MarketEvents`: what they set going;
- `StrategySet`: who decides; `Equity`: what the account is worth, and its limits of loss;
- `OrderTurns`: the way of the orders, by `Cancels`, `Sending` and `Protection`;
- `Facts`: what the venue did, and the books; `Doubts`: what it did not answer; `Hearing`: what it
  tells by itself; `BooksCheck`: whether its books are ours.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from sep_engine.execution.states import TradingMode
from webapp.trading.brokers.base import Broker, BrokerError, StreamingBroker
from webapp.trading.brokers.registry import broker_for, market_client, terms_of
from webapp.trading.cancelling import cancelled, end_together
from webapp.trading.models import BrokerAccount
from webapp.trading.services import hints
from webapp.trading.services.closing import closings_go_on
from webapp.trading.services.heartbeat import beat
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.streams import Relay, connect, listen_for_hints
from webapp.trading.trader import clock, lease
from webapp.trading.trader.books_check import BooksCheck
from webapp.trading.trader.cancels import Cancels
from webapp.trading.trader.clock import Stop, Stopping
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.doubts import Doubts
from webapp.trading.trader.equity import Equity
from webapp.trading.trader.exposure import Judging, Live, Received
from webapp.trading.trader.facts import Facts
from webapp.trading.trader.hearing import Hearing
from webapp.trading.trader.market_events import MarketEvents
from webapp.trading.trader.market_updates import MarketUpdates
from webapp.trading.trader.open_feed import OpenFeed
from webapp.trading.trader.order_turns import OrderTurns
from webapp.trading.trader.protection import Protection
from webapp.trading.trader.replay import Replay
from webapp.trading.trader.sending import Sending
from webapp.trading.trader.strategy_set import StrategySet
from webapp.trading.trader.venue_prices import VenuePrices

logger = logging.getLogger(__name__)

LOOK_S = 0.2
HEARTBEAT_S = 2.0
ATTEND_S = 1.0
RECONCILE_S = 60.0
RECOVER_PAUSE_S = 1.0
DOUBT_LOOK_S = 0.25


class Trader:
    """One account's trader. `run` returns after `stop` was called, or raises."""

    def __init__(self, *, account_id: int, with_relay: bool) -> None:
        self._account_id = account_id
        self._with_relay = with_relay
        self.db = DatabaseThread("trader-database")
        self._relay_db = DatabaseThread("relay-database")
        self.writing = asyncio.Lock()
        self.stopping = Stopping()
        self._work = asyncio.Event()
        self._tell = asyncio.Event()
        self._started_at = clock.utc_now()
        # The newest of each instrument. The feed writes them, everybody reads them.
        self.quotes: dict[str, Received] = {}

    def stop(self) -> None:
        """Ask the trader to finish its step and end."""
        self.stopping.set()
        self._work.set()

    async def run(self) -> None:
        """Recover, arm and trade until stopped.

        Raises:
            LeaseHeld: another trader has the account.
            LeaseLost: another trader took the account.
        """
        await self.open()
        client = connect()
        try:
            if isinstance(self.prices, VenuePrices):
                await self.prices.read_history()
            await self.recover()
            async with asyncio.TaskGroup() as group:
                endless = [
                    group.create_task(self.updates.stream.run(client)),
                    group.create_task(listen_for_hints(client, self._work, self._tell)),
                ]
                if isinstance(self.broker, StreamingBroker):
                    endless.append(group.create_task(self.hearing.listen(self.broker)))
                if self._with_relay:
                    hints.tell_here(
                        partial(asyncio.get_running_loop().call_soon_threadsafe, self._tell.set)
                    )
                    relay = Relay(self._relay_db, now=clock.utc_now)
                    endless.append(group.create_task(relay.run(client, self._tell, look_s=LOOK_S)))
                if isinstance(self.prices, VenuePrices):
                    endless.append(group.create_task(self.prices.follow()))
                    endless.append(group.create_task(self.prices.take()))
                loops = [
                    group.create_task(self._until_stopped(loop))
                    for loop in (
                        self.prices.run,
                        self.order_loop,
                        self._reconcile_loop,
                        self._heartbeat_loop,
                        self._classes_loop,
                    )
                ]
                end_together([*endless, *loops])
                await self.stopping.wait()
                async with self.writing:
                    await cancelled(endless)
        except Stop:
            logger.info("ended before it was armed")
        finally:
            hints.tell_here(None)
            await client.aclose()
            await self.close()

    async def open(self, broker_of: Callable[[BrokerAccount], Broker] = broker_for) -> None:
        """Take the account and read everything that is needed to trade for it.

        Raises:
            LeaseHeld: another trader has the account.
            ValueError: there is no feed, or not the one that was stored.
        """
        await self.db(self._take_account)
        self.broker = await self.db(broker_of, self.account)
        await self.db(self._assemble)

    async def close(self) -> None:
        """Give back the account, and all that `open` took."""
        await asyncio.to_thread(self.strategies.close)
        await self.broker.close()
        if isinstance(self.prices, VenuePrices):
            await self.prices.close()
        await self.db(lease.give_back, self.tenure.lease, now=clock.utc_now())
        await self.db.close()
        await self._relay_db.close()

    def _take_account(self) -> None:
        taken = lease.take(
            account_id=self._account_id, holder=lease.own_name(), now=clock.utc_now()
        )
        self.tenure = lease.Tenure(taken)
        self.account = BrokerAccount.objects.get(pk=self._account_id)

    def _assemble(self) -> None:
        account, broker, db, writing = self.account, self.broker, self.db, self.writing
        quotes, terms, self.feed = self.quotes, terms_of(account), OpenFeed()
        self.strategies = StrategySet(account=account, feed=self.feed, db=db, writing=writing)
        self.strategies.warm_up()
        self.facts = facts = Facts(
            account=account,
            broker=broker,
            db=db,
            tell=self._tell,
            market_now=self.feed.market_now,
        )
        self.doubts = Doubts(account=account, broker=broker, db=db, facts=facts)
        self.check = BooksCheck(account=account, broker=broker, db=db, facts=facts)
        self.hearing = Hearing(db=db, facts=facts, check=self.check, writing=writing)
        self.equity = Equity(account=account, db=db, facts=facts, quotes=quotes)
        self.sending = Sending(
            account=account,
            terms=terms,
            tenure=self.tenure,
            broker=broker,
            db=db,
            facts=facts,
            doubts=self.doubts,
            quotes=quotes,
        )
        self.orders = OrderTurns(
            account=account,
            epoch=self.tenure.lease.epoch,
            broker=broker,
            db=db,
            quotes=quotes,
            judging=self._judging,
            feed_stands=self.feed.stands,
            cancels=Cancels(broker=broker, db=db, facts=facts, doubts=self.doubts),
            sending=self.sending,
            protection=Protection(
                account=account, terms=terms, facts=facts, quotes=quotes, work=self._work
            ),
        )
        self.updates = MarketUpdates(feed=self.feed, quotes=quotes, metrics=self.strategies.metrics)
        self.events = MarketEvents(
            account=account,
            broker=broker,
            db=db,
            writing=writing,
            tell=self._tell,
            feed=self.feed,
            quotes=quotes,
            facts=facts,
            strategies=self.strategies,
            equity=self.equity,
            updates=self.updates,
            orders=self.orders,
        )
        self.prices = self._price_source()
        self.events.begin_at_last_close()
        self.beat()

    def _price_source(self) -> Replay | VenuePrices:
        if self.feed.row.is_replay:
            return Replay(
                account=self.account,
                db=self.db,
                writing=self.writing,
                stopping=self.stopping,
                feed=self.feed,
                facts=self.facts,
                strategies=self.strategies,
                events=self.events,
                orders=self.orders,
            )
        return VenuePrices(
            account=self.account,
            client=market_client(self.account),
            db=self.db,
            writing=self.writing,
            stopping=self.stopping,
            feed=self.feed,
            quotes=self.quotes,
            strategies=self.strategies,
            equity=self.equity,
            updates=self.updates,
            events=self.events,
            orders=self.orders,
        )

    def _judging(self, now: datetime) -> Judging:
        return Judging(
            live=Live(self.account),
            sent=self.sending.count,
            book=self.facts.book,
            quotes=self.quotes,
            peak_equity=self.equity.peak(),
            unheard="without the venue's transaction stream" if self.hearing.lost else "",
            now=now,
        )

    async def recover(self) -> None:
        """Take up every order that the last process left half done; arm when books were compared.

        A venue that does not answer is asked again until it does; until then nothing is sent.

        Raises:
            Stop: the trader was stopped meanwhile.
        """
        unfinished = await self.doubts.take_up()
        while not await self._caught_up():
            await self.db(self.beat)
            await self.stopping.pause(RECOVER_PAUSE_S)
        self.facts.catching_up = False
        self.orders.arm()
        logger.info(
            "armed: account %s, epoch %d, bar %d of %d, %d orders were unfinished",
            self.account.name,
            self.account.epoch,
            self.feed.row.cursor,
            self.feed.row.total_bars,
            unfinished,
        )

    async def _caught_up(self) -> bool:
        """Read what was missed, settle doubts, compare the books; False if the venue is away."""
        try:
            await self.facts.read()
        except BrokerError as error:
            logger.warning("not armed: the venue's transactions cannot be read: %s", error)
            return False
        await self.doubts.look_up()
        return await self.check.compare("start")

    async def _until_stopped(self, loop: Callable[[], Any]) -> None:
        with contextlib.suppress(Stop):
            await loop()

    async def order_loop(self) -> None:
        """Work on orders whenever there is a hint of work, and at least every LOOK_S."""
        looked_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), LOOK_S)
            self._work.clear()
            if self.stopping.is_set():
                raise Stop
            async with self.writing:
                await self.db(self.feed.read_controls)
                await self.orders.work()
                if time.monotonic() - looked_at >= DOUBT_LOOK_S:
                    await self.db(closings_go_on, account_id=self.account.pk, now=clock.utc_now())
                    await self.doubts.look_up()
                    looked_at = time.monotonic()
                    if self.hearing.lost:
                        await self.facts.read_now()  # what the stream would have told
                if self.feed.stands():
                    await self.events.stand_still(self.feed.stands())

    async def _reconcile_loop(self) -> None:
        while True:
            await self.stopping.pause(RECONCILE_S)
            async with self.writing:
                await self.check.compare("minute")

    async def _classes_loop(self) -> None:
        while True:
            await self.stopping.pause(ATTEND_S)
            await self.strategies.attend()

    async def _heartbeat_loop(self) -> None:
        while True:
            await self.db(self.beat)
            await self.stopping.pause(HEARTBEAT_S)

    def beat(self) -> None:
        """Keep the account, and say that this process lives and how it does.

        Raises:
            LeaseLost: another trader took the account.
        """
        now = clock.utc_now()
        self.tenure.renew(now=now)
        armed = self.orders.armed_at is not None
        detail = {
            "armed": armed,
            "epoch": self.tenure.lease.epoch,
            "bar": self.feed.row.cursor,
            "last_event_ms": round(self.events.behind_s * 1000, 2),
            "market_updates_dropped": self.updates.stream.dropped,
            "venue_stream": self.hearing.lost,
        }
        refused: str = getattr(self.broker, "unauthorised", "") if armed else ""
        if refused:
            trading_state_worsen(
                account=self.account, state=TradingMode.HALTED, reason=refused, now=now
            )
        names = ["trader", "relay"] if self._with_relay else ["trader"]
        for name in names:
            beat(name, started_at=self._started_at, now=now, detail=detail)
