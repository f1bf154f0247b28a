"""What the venue did: its transactions, read in order, and the books that follow from them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any

from webapp.trading.brokers.base import Broker, BrokerError, Transaction
from webapp.trading.cancelling import cancelled
from webapp.trading.killpoint import killpoint
from webapp.trading.models import BrokerAccount
from webapp.trading.retried import retried
from webapp.trading.services.order_facts import FactGap, facts_apply
from webapp.trading.trader import clock
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.exposure import Book

logger = logging.getLogger(__name__)

# The longest that any one answer of the venue is waited for.
ANSWER_S_MAX = 5.0


class Facts:
    """Applies the venue's transactions to the books, each once.

    Attributes:
        book: positions and profit, as of the last applied transaction.
        changes: how often the books changed; whoever looked at them keeps the number.
        catching_up: whether nothing was sent yet, so that the books may be a restored backup.
    """

    def __init__(
        self,
        *,
        account: BrokerAccount,
        broker: Broker,
        db: DatabaseThread,
        tell: asyncio.Event,
        market_now: Callable[[], datetime],
    ) -> None:
        """Read the books.

        Args:
            tell: set when there are events to publish.
            market_now: returns the market time at which the trading day is looked up.
        """
        self._account, self._broker, self._db, self._tell = account, broker, db, tell
        self._market_now = market_now
        # The last transaction that our books are known to hold.
        self._applied = 0
        self.changes = 0
        self.catching_up = True
        self.read_book()

    def read_book(self) -> None:
        """Read the books as of now: a trading day or a pass of the replay has begun."""
        self.book = Book.read(self._account, market_time=self._market_now())

    def knows(self, transaction_id: int) -> bool:
        """Return whether the books are known to hold the transaction."""
        return transaction_id <= self._applied

    async def apply(self, facts: list[Transaction]) -> None:
        """Apply transactions that the venue told; what is missing before them is read."""
        if not facts or self.knows(max(fact.id for fact in facts)):
            return
        try:
            await self._db(self._apply_now, facts)
        except FactGap:
            await self.read_now()
        killpoint("facts_committed")
        self._tell.set()

    async def answers(self, calls: Iterable[Coroutine[Any, Any, list[Transaction]]]) -> None:
        """Make calls to the venue at once, and apply what each brings as soon as it is there."""
        waiting = {asyncio.create_task(call) for call in calls}
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await self.apply([fact for one in done for fact in one.result()])
        finally:
            await cancelled(waiting)

    async def read(self) -> int:
        """Read every transaction since the last applied one; what was missed is caught up here.

        Returns:
            How many there were.

        Raises:
            BrokerError: the venue does not tell them.
        """
        facts = await self._broker.transactions_since(await self._db(self.last_transaction))
        if facts:
            await self._db(self._apply_now, facts)
            self._tell.set()
        return len(facts)

    async def read_now(self) -> None:
        """Read the facts that there are; what cannot be read now is read after the next news."""
        try:
            await asyncio.wait_for(self.read(), ANSWER_S_MAX)
        except (BrokerError, TimeoutError) as error:
            logger.warning("the venue's transactions cannot be read: %s", error or "timeout")

    def last_transaction(self) -> int:
        """Return the last transaction that the database holds."""
        return BrokerAccount.objects.values_list("last_transaction_id", flat=True).get(
            pk=self._account.pk
        )

    def _apply_now(self, facts: list[Transaction]) -> None:
        self._store(facts)
        self._applied = max(self._applied, *(fact.id for fact in facts))
        self.book.catch_up()
        self.changes += 1

    @retried
    def _store(self, facts: list[Transaction]) -> None:
        facts_apply(
            account_id=self._account.pk,
            facts=facts,
            now=clock.utc_now(),
            timing=self._broker.timing,
            catching_up=self.catching_up,
        )
        killpoint("facts_before_commit")
