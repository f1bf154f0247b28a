"""Orders that are to end: what was not sent is withdrawn, what works is cancelled at the venue."""

import asyncio
from collections.abc import Sequence

from sep_engine.execution.core import Doubted
from webapp.trading.brokers.base import Broker, BrokerError, Transaction
from webapp.trading.killpoint import killpoint
from webapp.trading.models import Order
from webapp.trading.services import order_path
from webapp.trading.trader import clock
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.doubts import Doubts
from webapp.trading.trader.facts import ANSWER_S_MAX, Facts
from webapp.trading.trader.turns import TOGETHER_MAX

CANCEL_PAUSE_S = 0.5
CANCEL_PAUSE_S_MAX = 10.0


class Cancels:
    """Ends orders, and asks again for the cancels that ended none, less and less often."""

    def __init__(self, *, broker: Broker, db: DatabaseThread, facts: Facts, doubts: Doubts) -> None:
        self._broker, self._db, self._facts, self._doubts = broker, db, facts, doubts
        # Of orders that a cancel did not end: how often it was asked for, and when it may be again.
        self._asked: dict[int, tuple[int, float]] = {}

    async def withdraw(self, order_ids: Sequence[int]) -> None:
        """End or cancel orders; the venue is asked for all of them without waiting between."""
        due = [order_id for order_id in order_ids if self._is_due(order_id)]
        for start in range(0, len(due), TOGETHER_MAX):
            orders = await self._db(
                order_path.orders_withdraw,
                order_ids=due[start : start + TOGETHER_MAX],
                now=clock.utc_now(),
                timing=self._broker.timing,
            )
            if orders:
                killpoint("cancel_claimed")
                await self._facts.answers([self._cancel(order) for order in orders])

    def _is_due(self, order_id: int) -> bool:
        """Return whether a cancel may be asked for: it did not fail just now."""
        return clock.steady() >= self._asked.get(order_id, (0, 0.0))[1]

    async def _cancel(self, order: Order) -> list[Transaction]:
        now = clock.steady()
        tries, _ = self._asked.get(order.pk, (0, 0.0))
        pause_s = min(CANCEL_PAUSE_S * 2.0 ** min(tries, 30), CANCEL_PAUSE_S_MAX)
        # One that nobody wanted for a minute after its pause begins anew.
        recent = {pk: one for pk, one in self._asked.items() if now - one[1] < 60}
        self._asked = recent | {order.pk: (tries + 1, now + pause_s)}
        try:
            facts = await asyncio.wait_for(self._broker.cancel(order.client_id), ANSWER_S_MAX)
        except (BrokerError, TimeoutError) as error:
            await self._doubts.happened(order.pk, Doubted(str(error)))
            return []
        killpoint("cancel_sent")
        return facts
