"""Orders of which the venue gave no clear answer: they are looked up until evidence ends it."""

import asyncio
import logging
import time

from sep_engine.execution.core import Absent, Doubted, Found, Lapsed, Restarted, Withdrawn
from sep_engine.execution.states import OrderState
from webapp.trading.brokers.base import Broker, BrokerError
from webapp.trading.killpoint import killpoint
from webapp.trading.models import BrokerAccount, Order
from webapp.trading.services import order_path
from webapp.trading.statements import Asked
from webapp.trading.trader import clock
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.facts import ANSWER_S_MAX, Facts

logger = logging.getLogger(__name__)

_S = OrderState
_DOUBT = (_S.UNKNOWN, _S.CHANGE_UNKNOWN)
_orders_in = Asked(
    lambda account, *states: (
        Order.objects.filter(account=account, state__in=states)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
)


class Doubts:
    """Takes up doubts about orders of the account and settles them."""

    def __init__(
        self, *, account: BrokerAccount, broker: Broker, db: DatabaseThread, facts: Facts
    ) -> None:
        self._account, self._broker, self._db, self._facts = account, broker, db, facts
        # When each order in doubt was doubted, by the steady clock.
        self._since: dict[int, float] = {}

    async def take_up(self) -> int:
        """Doubt every order that another process left between two states.

        Returns:
            How many are not finished, those that were in doubt before among them.
        """
        unfinished = await self._db(
            _orders_in, self._account.pk, _S.SENDING, _S.CANCEL_PENDING, _S.REPLACE_PENDING, *_DOUBT
        )
        for order_id in unfinished:
            await self.happened(order_id, Restarted())
            killpoint("recovering")
        return len(unfinished)

    async def doubt(self, order_id: int, old_id: int | None, reason: str) -> None:
        """Doubt the order, and the one whose place it was to take, where no answer was given."""
        if await self._db(self.state_of, order_id) == _S.SENDING:
            await self.happened(order_id, Doubted(reason))
        if old_id is not None and await self._db(self.state_of, old_id) == _S.REPLACE_PENDING:
            await self.happened(old_id, Doubted(reason))

    async def happened(
        self, order_id: int, event: Doubted | Restarted | Absent | Found | Withdrawn | Lapsed
    ) -> None:
        """Apply to an order what is no fact of the ledger."""
        if isinstance(event, Doubted | Restarted):
            self._since[order_id] = time.monotonic()
        await self._db(
            order_path.order_happened,
            order_id=order_id,
            event=event,
            now=clock.utc_now(),
            timing=self._broker.timing,
        )

    def state_of(self, order_id: int) -> OrderState:
        """Return the order's state as it is stored."""
        return OrderState(Order.objects.values_list("state", flat=True).get(pk=order_id))

    async def look_up(self) -> None:
        """Ask the venue for every order in doubt: by its id, then by all that happened since."""
        doubtful = await self._db(_orders_in, self._account.pk, *_DOUBT)
        self._since = {key: at for key, at in self._since.items() if key in doubtful}
        for order_id in doubtful:
            asked = Order.objects.values_list("client_id", "doubt_since")
            client_id, doubt_since = await self._db(asked.get, pk=order_id)
            if doubt_since is None:
                continue  # what was read for another order has settled it
            if doubt_since > clock.utc_now():
                await self.happened(order_id, Doubted("the clock was set back"))
            try:
                found = await asyncio.wait_for(
                    self._broker.order_by_client_id(client_id), ANSWER_S_MAX
                )
                await self._facts.read()
            except (BrokerError, TimeoutError) as error:
                logger.warning("order %s cannot be looked up: %s", client_id, error or "timeout")
                return
            if await self._db(self.state_of, order_id) not in _DOUBT:
                continue
            if await self._db(_successor_in_doubt, order_id):
                continue  # the change may still arrive; it is settled by the order that it makes
            if found is None:
                await self.happened(order_id, Absent(send_closed=self._is_late(order_id)))
            elif found.working:
                await self.happened(order_id, Found(found.venue_order_id))

    def _is_late(self, order_id: int) -> bool:
        """Return whether a send can arrive no more: what was written before is late by now.

        This process has none open, it holds the lock under which it sends. The steady clock counts:
        the other may be set forward by more than an order takes.
        """
        since = self._since.setdefault(order_id, time.monotonic())
        return time.monotonic() - since >= self._broker.timing.late.total_seconds()


def _successor_in_doubt(order_id: int) -> bool:
    return Order.objects.filter(replaces_id=order_id, state__in=(_S.SENDING, _S.UNKNOWN)).exists()
