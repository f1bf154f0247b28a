"""What the account's orders wait for: their end, the risk gate, their turn to be sent."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from django.db.models import Q

from sep_engine.execution.states import OrderState, TradingMode
from webapp.trading import halt_flag
from webapp.trading.brokers.base import Broker
from webapp.trading.killpoint import killpoint
from webapp.trading.models import BrokerAccount, Order, TradingState
from webapp.trading.services import order_path
from webapp.trading.statements import Asked
from webapp.trading.trader import clock
from webapp.trading.trader.cancels import Cancels
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.exposure import BEFORE_FIRST_QUOTE, Judging, Received
from webapp.trading.trader.protection import Protection
from webapp.trading.trader.sending import Sending
from webapp.trading.trader.turns import Waiting, turns

FIRST_QUOTES_S = 5.0

_NEW = (OrderState.CREATED, OrderState.QUEUED)
_WORKING = (OrderState.ACCEPTED, OrderState.PARTIAL)
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
_states_not = Asked(lambda mode: TradingState.objects.exclude(state=mode).values_list("pk"))


class OrderTurns:
    """Takes the orders of the account turn by turn through the gate and out; see `turns`.

    Attributes:
        armed_at: since when orders are sent, by the steady clock; None while the books were not
            compared.
    """

    armed_at: float | None = None

    def __init__(
        self,
        *,
        account: BrokerAccount,
        epoch: int,
        broker: Broker,
        db: DatabaseThread,
        quotes: Mapping[str, Received],
        judging: Callable[[datetime], Judging],
        feed_stands: Callable[[], str],
        cancels: Cancels,
        sending: Sending,
        protection: Protection,
    ) -> None:
        """
        Args:
            judging: returns what the gate sees as of a time.
            feed_stands: returns why no newer quote will come, "" if one may.
        """
        self._account, self._epoch, self._broker, self._db = account, epoch, broker, db
        self._quotes, self._judging, self._feed_stands = quotes, judging, feed_stands
        self._cancels, self._sending, self._protection = cancels, sending, protection

    def arm(self) -> None:
        """Send orders from now on: the books were compared."""
        self.armed_at = time.monotonic()

    async def work(self) -> None:
        """Do everything that any order of the account waits for."""
        if self.armed_at is None:
            return
        waiting = await self._db(self.waiting)
        await self._cancels.withdraw([one.pk for one in waiting if one.withdrawn])
        for turn in turns(one for one in waiting if not one.withdrawn):
            await self._judge_and_send(turn)
        if self._protection.is_due:
            await self._db(self._protection.check)

    def waiting(self) -> list[Waiting]:
        """Return the orders that wait for us, oldest first."""
        if halt_flag.is_set() or _states_not(TradingMode.ACTIVE):
            order_path.orders_end_stopped(account_id=self._account.pk, now=clock.utc_now())
        return [
            Waiting(key, OrderState(state), name, at is not None, reduces or replaces is not None)
            for key, state, name, at, reduces, replaces in _waiting(self._account.pk)
        ]

    async def _judge_and_send(self, turn: list[Waiting]) -> None:
        created = [one for one in turn if one.state == OrderState.CREATED]
        queued = {one.pk for one in turn if one.state == OrderState.QUEUED}
        if created:
            queued |= await self._db(self.judge, created, clock.utc_now())
            killpoint("judged")
        if queued:
            await self._sending.send([one.pk for one in turn if one.pk in queued])

    def judge(self, created: list[Waiting], now: datetime) -> set[int]:
        """Return the keys of the orders that are QUEUED now."""
        ready = [one.pk for one in created if not self._must_wait(one, now)]
        if not ready:
            return set()
        queued = order_path.orders_judge(
            account_id=self._account.pk,
            order_ids=ready,
            epoch=self._epoch,
            judging=lambda: self._judging(now),
            now=now,
            timing=self._broker.timing,
        )
        return {order.pk for order in queued}

    def _must_wait(self, one: Waiting, now: datetime) -> bool:
        """Return whether the first quotes are on their way: we have just started."""
        received = self._quotes.get(one.instrument)
        coming = received is None or received.stands == BEFORE_FIRST_QUOTE
        assert self.armed_at is not None
        if not one.alone and time.monotonic() - self.armed_at < FIRST_QUOTES_S:
            # The quotes of a start come one after another, and the gate values all that is held.
            coming = coming or not self._judging(now).all_priced()
        if not coming or self._feed_stands():
            return False
        return not Order.objects.filter(pk=one.pk, expires_at__lt=now).exists()
