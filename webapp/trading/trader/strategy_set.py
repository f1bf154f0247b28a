"""The strategies that one trader runs, all at the same bar."""

import asyncio
from typing import Any

from sep_engine.model import QuoteBar
from sep_engine.signals import Decision
from webapp.trading.models import BrokerAccount, Strategy
from webapp.trading.services import system
from webapp.trading.trader import clock, feeds
from webapp.trading.trader.clock import Stop, Stopping
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.open_feed import OpenFeed
from webapp.trading.trader.strategies import RunningClass, RunningStrategy, running_strategy


class StrategySet:
    """The account's strategies in the feed's instrument.

    Those that are classes run in processes of their own, which are asked before anybody waits for
    the lock.
    """

    def __init__(
        self,
        *,
        account: BrokerAccount,
        feed: OpenFeed,
        db: DatabaseThread,
        writing: asyncio.Lock,
    ) -> None:
        self._account, self._feed, self._db, self._writing = account, feed, db, writing
        self._running: list[RunningStrategy] = []

    def warm_up(self) -> None:
        """Begin anew with the stored candles up to the feed's cursor.

        Raises:
            ValueError: candles are missing.
        """
        row = self._feed.row
        closes = feeds.stored_closes(row)
        if len(closes) < row.cursor:
            raise ValueError(
                f"{len(closes)} candles are stored, the feed is at {row.cursor}; "
                "run manage.py load_sample"
            )
        self.close()
        self._running = []
        rows = Strategy.objects.filter(account=self._account, instrument=row.instrument)
        for strategy in rows.select_related("instrument", "account"):
            running = running_strategy(strategy)
            running.warm_up(closes[: row.cursor])
            if isinstance(running, RunningClass):
                for stored in feeds.stored_prices(row)[: row.cursor]:
                    running.remember(*stored)
            self._running.append(running)

    def classes(self) -> list[RunningClass]:
        """Return those that decide in a process of their own."""
        return [one for one in self._running if isinstance(one, RunningClass)]

    def close(self) -> None:
        """End the processes."""
        for one in self.classes():
            one.close()

    async def ready(self, stopping: Stopping) -> None:
        """Let every class see the past before the next bar is decided on; or stand, in its time.

        Raises:
            Stop: the trader was stopped meanwhile.
        """
        for one in self.classes():
            while not await one.attend():
                if stopping.is_set():
                    raise Stop
        await self._tell()

    async def attend(self) -> None:
        """Start again what ended when its pause is over, and tell when one stands or goes on."""
        for one in self.classes():
            await one.attend()
        await self._tell()

    async def ask(self, bar: QuoteBar) -> None:
        """Let the classes say what they make of a complete bar."""
        classes = self.classes()
        if not classes:
            return
        side = self._feed.side_of(bar)
        prices = (side.open, side.high, side.low, side.close)
        await asyncio.gather(*(one.ask(bar.start, *prices) for one in classes))
        await self._tell()

    async def _tell(self) -> None:
        for one in self.classes():
            if (news := one.news()) is not None:
                level, text = news
                async with self._writing:
                    await self._db(system.announce, level=level, text=text, now=clock.utc_now())

    def decide(self, bar: QuoteBar) -> list[tuple[RunningStrategy, Decision]]:
        """Return what each decides after a complete bar."""
        close = self._feed.side_of(bar).close
        return [(one, one.decide(bar.start, close)) for one in self._running]

    def metrics(self) -> dict[str, Any] | None:
        """Return the newest metrics: those of the last complete bar."""
        rules_first = sorted(self._running, key=lambda one: isinstance(one, RunningClass))
        shown = (one.metrics_resource() for one in rules_first)
        return next((found for found in shown if found is not None), None)
