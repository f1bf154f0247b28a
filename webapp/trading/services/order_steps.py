"""One step of an order: its row is locked, the core decides, what changed is written and told.

Every change of state is made by `sep_engine.execution.core.step`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from sep_engine.execution.core import (
    Absent,
    Cancel,
    Doubted,
    Found,
    Judged,
    Lapsed,
    OrderEvent,
    OrderRecord,
    Restarted,
    Timing,
    Unsent,
    Withdrawn,
    step,
)
from sep_engine.execution.states import (
    OrderState,
)
from webapp.trading.models import (
    BrokerAccount,
    Order,
)
from webapp.trading.services.orders import order_event
from webapp.trading.statements import Asked, rows_update


def locked_orders() -> QuerySet[Order]:
    rows = Order.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("instrument").order_by("pk")


def locked_order(order_id: int) -> Order:
    return locked_orders().select_related("account").get(pk=order_id)


def locked_in_turn(order_ids: Sequence[int]) -> list[Order]:
    """Return the orders as they stand, locked, in the order of the ids."""
    rows = {order.pk: order for order in _by_keys(*order_ids)}
    return [rows[key] for key in order_ids]


_by_keys = Asked(lambda *keys: locked_orders().select_related("account").filter(pk__in=keys))


def locked_account(account_id: int) -> BrokerAccount:
    (account,) = _accounts(account_id)
    return account


_accounts = Asked(lambda key: BrokerAccount.objects.select_for_update(no_key=True).filter(pk=key))


def record_of(order: Order) -> OrderRecord:
    return OrderRecord(
        client_id=order.client_id,
        units=order.units,
        state=OrderState(order.state),
        filled_units=order.filled_units,
        average_price=order.average_price,
        venue_order_id=order.venue_order_id,
        closed_by=order.closed_by,
        doubt_since=order.doubt_since,
        absent_since=order.absent_since,
        cancel_wanted=order.cancel_requested_at is not None,
        denied_rule=order.denied_rule,
        denied_reason=order.denied_reason,
    )


def advance(
    order: Order,
    event: OrderEvent,
    now: datetime,
    timing: Timing,
    cause: str = "",
    *,
    fields: Sequence[str] = (),
) -> None:
    record = record_of(order)
    result = step(record, event, now, timing).order
    step_save(order, record, result, now, cause=cause or _cause(event), fields=fields)


def happen(order: Order, event: OrderEvent, now: datetime, timing: Timing) -> bool:
    """Apply the event; True: a cancel is to be sent now."""
    record = record_of(order)
    result = step(record, event, now, timing)
    step_save(order, record, result.order, now, cause=_cause(event))
    return any(isinstance(effect, Cancel) for effect in result.effects)


def _cause(event: OrderEvent) -> str:
    """Return in words why an order changed, for events that are no facts."""
    match event:
        case Judged(rule=""):
            return "passed every check of the risk gate"
        case Judged(rule=_, reason=reason):
            return f"refused by the risk gate: {reason}"
        case Withdrawn():
            return "withdrawn"
        case Lapsed():
            return "too old to be sent"
        case Doubted(reason=reason):
            return f"no clear answer: {reason or 'timeout'}"
        case Restarted():
            return "the trader that sent it is gone"
        case Unsent(reason=reason):
            return f"nothing was written to the venue: {reason}"
        case Absent():
            return "two reads of the venue did not find it"
        case Found(venue_order_id=venue_order_id):
            return f"found working at the venue as {venue_order_id}"
    return ""


def step_save(
    order: Order,
    before: OrderRecord,
    after: OrderRecord,
    now: datetime,
    *,
    cause: str = "",
    market_time: datetime | None = None,
    silent: bool = False,
    fields: Sequence[str] = (),
) -> None:
    """Write what changed, with the `fields` that the caller set on the order, and its event."""
    stepped: dict[str, Any] = {
        "state": after.state.value,
        "filled_units": after.filled_units,
        "average_price": after.average_price,
        "venue_order_id": after.venue_order_id,
        "closed_by": after.closed_by,
        "doubt_since": after.doubt_since,
        "absent_since": after.absent_since,
        "denied_rule": after.denied_rule,
        "denied_reason": after.denied_reason[:300],
    }
    if cause and (before.state != after.state or before.filled_units != after.filled_units):
        stepped["cause"] = cause[:300]
    if before.cancel_wanted and not after.cancel_wanted:
        stepped["cancel_requested_at"] = None
    if market_time is not None:
        stepped["market_time"] = market_time
    changed = [name for name, value in stepped.items() if getattr(order, name) != value]
    for name in changed:
        setattr(order, name, stepped[name])
    rows_update([order], (*changed, *fields, "updated_at"))
    if not silent and replace(before, applied=frozenset(), absent_since=None) != replace(
        after, applied=frozenset(), absent_since=None
    ):
        order_event(order, now=now)
