"""What is left of what somebody asked to be closed, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sep_engine.execution.states import LIVE, PROTECTIVE, TERMINAL, OrderState, Origin
from webapp.trading.fields import AmountSum
from webapp.trading.models import Closing, Fill, Order, Position, Strategy
from webapp.trading.wire import decimal_text, time_text

# From the end of an order that closed nothing to the next, by how many there were.
PAUSES_S = (1, 2, 4, 8, 15, 30)
_S = OrderState
_WAITS = {
    _S.CREATED: "an order waits for the trader",
    _S.QUEUED: "an order waits for the trader",
    _S.SENDING: "an order is being sent",
    _S.UNKNOWN: "an order is in doubt, and nothing else is sent until the venue has told of it",
    _S.ACCEPTED: "an order works at the venue",
    _S.PARTIAL: "an order is filled in part",
}


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is not closed yet.

    Attributes:
        what: "position" or "order".
        name: the instrument of a position, the number of an order.
        units: signed; of an order those that are not filled.
        why: what stands in the way, as far as it is known.
    """

    what: str
    name: str
    units: Decimal
    why: str

    def __str__(self) -> str:
        return f"{self.what} {self.name}, {decimal_text(self.units)} units: {self.why}"


def closing_left(closing: Closing, *, now: datetime) -> list[Left]:
    """Return what is not closed yet; nothing once the closing has ended."""
    if closing.ended_at is not None:
        return []
    live = live_orders(closing)
    found = [
        Left("position", position.key, units, _why(closing, live, position, now))
        for position, units in held_of(closing)
    ]
    for order in live:
        if order.type not in PROTECTIVE and order.origin != Origin.CLOSE_EVERYTHING:
            told = f"{order.state}, {order.cause}" if order.cause else order.state
            found.append(Left("order", str(order.pk), order.units - order.filled_units, told))
    return found


def closing_resource(closing: Closing, *, now: datetime) -> dict[str, Any]:
    """Return a closing as the API tells it."""
    ended = closing.ended_at
    return {
        "id": closing.pk,
        "account": closing.account.name,
        "strategy": closing.strategy.name if closing.strategy else None,
        "reason": closing.reason,
        "asked_by": closing.asked_by,
        "asked_at": time_text(closing.asked_at),
        "ended_at": None if ended is None else time_text(ended),
        "ended_because": closing.ended_because,
        "left": [
            {
                "what": left.what,
                "name": left.name,
                "units": decimal_text(left.units),
                "why": left.why,
            }
            for left in closing_left(closing, now=now)
        ],
    }


def live_orders(closing: Closing) -> list[Order]:
    """Return the orders of the scope that have not ended, and those that close it."""
    orders = Order.objects.filter(account_id=closing.account_id, state__in=sorted(LIVE))
    return [
        order
        for order in orders.select_related("instrument").order_by("pk")
        if closing.strategy_id in (None, order.strategy_id)
        or order.origin == Origin.CLOSE_EVERYTHING
    ]


def held_of(closing: Closing) -> list[tuple[Position, Decimal]]:
    """Return the positions of the scope with the signed units that are to be closed."""
    rows = Position.objects.filter(account_id=closing.account_id).exclude(units=0)
    held = [
        (position, _units_of(closing.strategy, position) if closing.strategy else position.units)
        for position in rows.select_related("instrument", "account").order_by("pk")
    ]
    return [(position, units) for position, units in held if units]


def on_its_way(live: Sequence[Order], position: Position) -> Order | None:
    """Return the order that closes a position now, None if there is none."""
    return next((order for order in live if _closes(order, position)), None)


def next_at(closing: Closing, position: Position, *, now: datetime) -> datetime:
    """Return when a position may be asked to be closed again; the pauses grow."""
    tried = _in_vain(closing, position)
    if not tried:
        return now
    pause_s = PAUSES_S[min(len(tried), len(PAUSES_S)) - 1]
    return tried[-1].updated_at + timedelta(seconds=pause_s)


def _units_of(strategy: Strategy, position: Position) -> Decimal:
    """Return what the strategy holds of a position: the sum of its fills, within the position."""
    fills = Fill.objects.filter(
        account_id=position.account_id,
        order__instrument_id=position.instrument_id,
        order__strategy=strategy,
    )
    own: Decimal = fills.aggregate(total=AmountSum("units"))["total"] or Decimal(0)
    if own * position.units <= 0:
        return Decimal(0)
    return min(own, position.units, key=abs)


def _closes(order: Order, position: Position) -> bool:
    same = order.instrument_id == position.instrument_id
    return same and order.origin == Origin.CLOSE_EVERYTHING and order.units * position.units < 0


def _in_vain(closing: Closing, position: Position) -> list[Order]:
    """Return the orders of this closing that ended and closed nothing, oldest first."""
    orders = Order.objects.filter(
        account_id=closing.account_id,
        instrument_id=position.instrument_id,
        origin=Origin.CLOSE_EVERYTHING.value,
        pk__gt=closing.after_order,
        filled_units=0,
        state__in=sorted(TERMINAL),
    )
    return [order for order in orders.order_by("pk") if _closes(order, position)]


def _why(closing: Closing, live: Sequence[Order], position: Position, now: datetime) -> str:
    waiting, tried = on_its_way(live, position), _in_vain(closing, position)
    said = _WAITS.get(OrderState(waiting.state), str(waiting.state)) if waiting else ""
    if not tried:
        return said or "an order is asked for when the trader looks"
    last = tried[-1]
    times = "once" if len(tried) == 1 else f"{len(tried)} times"
    if not said:
        left_s = (next_at(closing, position, now=now) - now).total_seconds()
        said = f"the next order follows in {max(0, round(left_s))} s"
    told = last.denied_reason or last.cause
    return f"{said}; tried {times}, order {last.pk} ended {last.state}: {told}"
