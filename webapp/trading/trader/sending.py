"""Queued orders go out: each is claimed, looked at once more, and written to the venue once."""

import asyncio
import logging
from collections.abc import Mapping
from decimal import Decimal

from django.db.models import Q

from sep_engine.execution.states import OrderState, OrderType, PositionFill, TimeInForce
from webapp.trading.brokers.base import (
    Broker,
    BrokerError,
    BrokerUnsent,
    OrderRequest,
    Terms,
    Transaction,
)
from webapp.trading.killpoint import killpoint
from webapp.trading.models import BrokerAccount, Order
from webapp.trading.selectors.limits import limits_of
from webapp.trading.services import order_path
from webapp.trading.services.live_arming import live_refusal
from webapp.trading.services.modes import allowed_by, modes_for
from webapp.trading.statements import Asked
from webapp.trading.trader import clock
from webapp.trading.trader.database import DatabaseThread, durable
from webapp.trading.trader.doubts import Doubts
from webapp.trading.trader.exposure import Received, instrument_value
from webapp.trading.trader.facts import ANSWER_S_MAX, Facts
from webapp.trading.trader.lease import Tenure
from webapp.trading.trader.recent import SentCount

logger = logging.getLogger(__name__)

_unanswered = Asked(
    lambda *keys: (
        Order.objects.filter(
            Q(state=OrderState.SENDING) | Q(replaces__state=OrderState.REPLACE_PENDING),
            pk__in=keys,
        )
        .order_by("pk")
        .values_list("pk", "replaces_id")
    )
)


class Sending:
    """Sends queued orders of the account; whatever is not a clear answer becomes a doubt.

    Attributes:
        count: how many orders were sent.
    """

    def __init__(
        self,
        *,
        account: BrokerAccount,
        terms: Terms,
        tenure: Tenure,
        broker: Broker,
        db: DatabaseThread,
        facts: Facts,
        doubts: Doubts,
        quotes: Mapping[str, Received],
    ) -> None:
        self._account, self._terms, self._tenure = account, terms, tenure
        self._broker, self._db, self._facts, self._doubts = broker, db, facts, doubts
        self._quotes = quotes
        self.count = SentCount(account)

    async def send(self, order_ids: list[int]) -> None:
        """Claim orders and send each once, without waiting between."""
        orders, age_max = await self._db(self._claim, order_ids)
        if not orders:
            return
        killpoint("claimed")
        await self._facts.answers([self._submit(order, age_max) for order in orders])
        killpoint("recorded")
        for order_id, old_id in await self._db(_unanswered, *(order.pk for order in orders)):
            await self._doubts.doubt(order_id, old_id, "the answer said nothing of the order")

    def _claim(self, order_ids: list[int]) -> tuple[list[Order], Decimal]:
        """Claim orders; the claims are on the disk when this returns, should the power fail.

        Returns:
            What is ours to send, and the greatest age of a quote that may be traded on, s.
        """
        now = clock.utc_now()
        with durable():
            orders = order_path.orders_claim(
                account_id=self._account.pk,
                order_ids=order_ids,
                epoch=self._tenure.lease.epoch,
                now=now,
                timing=self._broker.timing,
            )
        for _ in orders:
            self.count.sent(now)
        limits = limits_of(self._account)
        return orders, limits.get("quote_age_s_max", Decimal(0))

    async def _submit(self, order: Order, age_max: Decimal) -> list[Transaction]:
        refusal = await self._db(self.last_look, order, age_max)
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
            facts = await asyncio.wait_for(sending, ANSWER_S_MAX)
        except BrokerUnsent as error:
            logger.warning("order %s was not written: %s", request.client_id, error)
            await self._unsent(order, str(error))
            return []
        except (BrokerError, TimeoutError) as error:
            logger.warning("order %s is in doubt: %s", request.client_id, error or "timeout")
            await self._doubts.doubt(order.pk, order.replaces_id, str(error))
            return []
        killpoint("sent")
        return facts

    def last_look(self, order: Order, age_max: Decimal) -> str:
        """Return why the order must not be sent after all ("" if it may); nothing waits after it.

        Whoever halts in the database or with the flag before this reads it stops this send.
        """
        if self._tenure.lost():
            return "the account was lost before the send"
        if not allowed_by(modes_for(order), order):
            return "the kill switch was pulled before the send"
        now = clock.utc_now()
        if not order.reduce_only and (
            unarmed := live_refusal(account=order.account, strategy=order.strategy, now=now)
        ):
            return unarmed
        received = self._quotes.get(order.instrument.name)
        age = None if received is None else (clock.utc_now() - received.at).total_seconds()
        # An age below 0 says that the clock was set back: how old the quote is is not known.
        if not order.reduce_only and (age is None or not 0 <= age <= age_max):
            return "the quote grew too old before the send"
        return ""

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
                now=clock.utc_now(),
                timing=self._broker.timing,
            )
        await self._doubts.doubt(order.pk, order.replaces_id, reason)

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
