"""The way of an order to the venue: judge (T1), claim (T2), and what ends or doubts it.

Only the account's one trader calls these. Each is one transaction; no broker is asked inside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from sep_engine.execution.core import (
    Absent,
    Claimed,
    Doubted,
    Found,
    Judged,
    Lapsed,
    Replacing,
    Restarted,
    Timing,
    Unsent,
    Withdrawn,
)
from sep_engine.execution.states import (
    PROTECTIVE,
    OrderState,
    OrderType,
    Origin,
)
from sep_engine.risk import Approved, Exposure, Intent, check_order
from webapp.trading.models import (
    BrokerAccount,
    Order,
)
from webapp.trading.retried import retried
from webapp.trading.selectors.limits import limits_of
from webapp.trading.services import events
from webapp.trading.services.modes import Modes, allowed_by, may_rest
from webapp.trading.services.order_steps import (
    advance,
    happen,
    locked_account,
    locked_in_turn,
    locked_order,
)
from webapp.trading.services.orders import order_cancel

_S = OrderState


class StaleEpoch(Exception):
    """Another trader has taken the account."""


@retried
def orders_end_stopped(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every waiting order that the kill switch stops; return how many."""
    waiting = Order.objects.filter(
        account_id=account_id,
        state__in=(_S.QUEUED, _S.ACCEPTED, _S.PARTIAL),
        cancel_requested_at__isnull=True,
    )
    modes = Modes.read(account_id=account_id, lock=False)
    stopped = [
        order.pk
        for order in waiting.exclude(type__in=PROTECTIVE)
        if not may_rest(modes.of(order), order)
    ]
    for order_id in stopped:
        order_cancel(order_id=order_id, now=now)
    return len(stopped)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the trader's quotes give an order that names no bound and no stop itself.

    Attributes:
        price_bound: the worst price for a market order, kept with it.
        stop_distance: of the stop of an opening order, in price.
    """

    price_bound: Decimal | None
    stop_distance: Decimal | None


class Judge(Protocol):
    """What the trader sees; it is asked once for each order, one after the other."""

    def terms(self, order: Order, limits: Mapping[str, Decimal]) -> Terms: ...

    def exposure(self, order: Order, limits: Mapping[str, Decimal]) -> Exposure:
        """Return it without the states, which are read here under lock."""
        ...

    def approved(self, order: Order) -> None:
        """Count the order with what waits when the next one is judged."""
        ...


@retried
def orders_judge(
    *,
    account_id: int,
    order_ids: Sequence[int],
    epoch: int,
    judging: Callable[[], Judge],
    now: datetime,
    timing: Timing,
) -> list[Order]:
    """T1: run the risk gate on CREATED orders and queue or deny each, in the order given.

    judging: begins to look; it is called within the transaction, once each time that it is tried.

    Returns:
        Those that are QUEUED now.

    Raises:
        StaleEpoch: the account has a newer trader, and this one's books are old.
    """
    account = _own_account(account_id, epoch)
    modes = Modes.read(account_id=account_id, lock=True)
    limits, judge = limits_of(account), judging()
    queued = []
    with events.together():
        for order in locked_in_turn(order_ids):
            if order.state == _S.CREATED:
                _judge(order, limits, modes, judge, now, timing)
            if order.state == _S.QUEUED:
                queued.append(order)
    return queued


def _judge(
    order: Order,
    limits: Mapping[str, Decimal],
    modes: Modes,
    judge: Judge,
    now: datetime,
    timing: Timing,
) -> None:
    if order.cancel_requested_at is not None:
        advance(order, Withdrawn(), now, timing)
        return
    if order.expires_at is not None and now > order.expires_at:
        advance(order, Lapsed(), now, timing)
        return
    terms = judge.terms(order, limits)
    if order.stop_loss is None and order.stop_distance is None and not order.reduce_only:
        order.stop_distance = terms.stop_distance
    if order.type == OrderType.MARKET:
        order.price_bound = terms.price_bound
    intent = Intent(
        instrument=order.instrument.name,
        units=order.units,
        price=order.price,
        stop_loss=order.stop_loss,
        stop_distance=order.stop_distance,
        reduce_only=order.reduce_only,
        origin=Origin(order.origin),
    )
    exposure = replace(judge.exposure(order, limits), modes=modes.of(order))
    verdict = check_order(intent, exposure, limits, now)
    order.checks = [
        {
            "rule": check.rule,
            "limit": check.limit,
            "value": check.value,
            "passed": check.passed,
        }
        for check in verdict.checks
    ]
    own = ("stop_distance", "price_bound", "checks")
    if isinstance(verdict, Approved):
        advance(order, Judged(), now, timing, fields=own)
        judge.approved(order)
    else:
        advance(order, Judged(verdict.rule, verdict.reason), now, timing, fields=own)


@retried
def orders_claim(
    *, account_id: int, order_ids: Sequence[int], epoch: int, now: datetime, timing: Timing
) -> list[Order]:
    """T2: make QUEUED orders SENDING.

    Returns:
        Those that the caller, and nobody else, sends now, in the order given.

    Raises:
        StaleEpoch: the account has a newer trader.
    """
    account = _own_account(account_id, epoch)
    modes = Modes.read(account_id=account_id, lock=True)
    with events.together():
        return [
            order
            for order in locked_in_turn(order_ids)
            if _claim(order, account, modes, now, timing)
        ]


def _own_account(account_id: int, epoch: int) -> BrokerAccount:
    """Return the account, locked, while its trader is of this epoch.

    Its key is not locked, nor that of any row here: whoever writes a row that points to it would
    wait for this transaction, which may wait for theirs at the head of the event log.
    """
    account = locked_account(account_id)
    if account.epoch != epoch:
        raise StaleEpoch(f"account {account.name} is at epoch {account.epoch}, we are {epoch}")
    return account


def _claim(
    order: Order, account: BrokerAccount, modes: Modes, now: datetime, timing: Timing
) -> bool:
    if order.state != _S.QUEUED:
        return False
    if order.cancel_requested_at is not None:
        advance(order, Withdrawn(), now, timing)
        return False
    if order.expires_at is not None and now > order.expires_at:
        advance(order, Lapsed(), now, timing)
        return False
    if not allowed_by(modes.of(order), order):
        return False
    if order.replaces_id is not None:
        old = locked_order(order.replaces_id)
        if old.state not in (_S.ACCEPTED, _S.PARTIAL) or old.cancel_requested_at is not None:
            advance(order, Lapsed(), now, timing, f"order {old.pk} cannot be changed any more")
            return False
        advance(old, Replacing(), now, timing, f"order {order.pk} is to take its place")
    order.epoch = account.epoch
    order.sent_at = now
    own = ("epoch", "sent_at")
    cause = f"claimed by the trader of epoch {account.epoch}"
    advance(order, Claimed(), now, timing, cause, fields=own)
    return True


@retried
def orders_withdraw(*, order_ids: Sequence[int], now: datetime, timing: Timing) -> list[Order]:
    """End what was not sent, and begin to cancel what works.

    Returns:
        Those whose cancel is to be sent now.
    """
    with events.together():
        return [
            order for order in locked_in_turn(order_ids) if happen(order, Withdrawn(), now, timing)
        ]


@retried
def order_happened(
    *,
    order_id: int,
    event: Doubted | Restarted | Absent | Found | Withdrawn | Lapsed,
    now: datetime,
    timing: Timing,
) -> tuple[Order, bool]:
    """Apply something that is not a fact of the ledger; True: a cancel is to be sent now."""
    with events.together():
        order = locked_order(order_id)
        return order, happen(order, event, now, timing)


@retried
def order_unsent(*, order_id: int, reason: str, now: datetime, timing: Timing) -> None:
    """End an order that is SENDING of which its sender wrote nothing: there is no doubt to settle.

    It goes by UNKNOWN, the only way out of a send without an answer.
    """
    with events.together():
        order = locked_order(order_id)
        if order.state == _S.SENDING:
            happen(order, Doubted(reason), now, timing)
            happen(order, Unsent(reason), now, timing)
