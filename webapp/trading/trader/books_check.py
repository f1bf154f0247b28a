"""Our books held against the venue's; an account whose books differ is halted."""

import asyncio
import logging
from datetime import datetime

from sep_engine.execution.states import TradingMode
from webapp.trading.brokers.base import Broker, BrokerError
from webapp.trading.killpoint import killpoint
from webapp.trading.models import BrokerAccount
from webapp.trading.services.reconciliation import (
    Comparison,
    books_compare,
    reconciliation_record,
)
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.trader import clock
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.facts import ANSWER_S_MAX, Facts

logger = logging.getLogger(__name__)


class BooksCheck:
    """Compares the books of the account with the venue's and records what came of it."""

    def __init__(
        self, *, account: BrokerAccount, broker: Broker, db: DatabaseThread, facts: Facts
    ) -> None:
        self._account, self._broker, self._db, self._facts = account, broker, db, facts

    async def compare(self, cause: str) -> bool:
        """Compare our books with the venue's; halt the account if they differ.

        Returns:
            Whether they were compared: the venue answered.
        """
        started_at, facts_read = clock.utc_now(), 0
        comparison: Comparison | None = None
        for _ in range(3):
            try:
                report = await asyncio.wait_for(self._broker.account(), ANSWER_S_MAX)
                # A ledger that is shorter than ours is a difference, with nothing in it to read.
                if report.last_transaction_id >= await self._db(self._facts.last_transaction):
                    facts_read += await self._facts.read()
            except (BrokerError, TimeoutError) as error:
                logger.warning("the venue cannot be compared with: %s", error or "timeout")
                await self._db(
                    self._record, cause, started_at, None, facts_read, str(error) or "timeout"
                )
                return False
            comparison = await self._db(books_compare, self._account, report)
            killpoint("reconciling")
            if not comparison.differences:
                break
        assert comparison is not None
        done = "the account was halted" if comparison.differences else ""
        if comparison.differences:
            await self._db(self._halt, comparison)
        await self._db(self._record, cause, started_at, comparison, facts_read, done)
        return True

    def _record(
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
            now=clock.utc_now(),
            comparison=comparison,
            facts_read=facts_read,
            done=done,
        )

    def _halt(self, comparison: Comparison) -> None:
        text = "; ".join(str(difference) for difference in comparison.differences)
        trading_state_worsen(
            account=self._account,
            state=TradingMode.HALTED,
            reason=f"books differ: {text}",
            now=clock.utc_now(),
        )
