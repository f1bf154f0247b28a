"""Intents: what anybody but the trader may do about orders. Nothing here reaches a broker."""

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from sep_engine.execution.states import (
    PROTECTIVE,
    TERMINAL,
    OrderState,
    OrderType,
    Origin,
    PositionFill,
    TimeInForce,
)
from webapp.trading.brokers.registry import VENUES, terms_of
from webapp.trading.models import (
    BrokerAccount,
    Fill,
    Instrument,
    Order,
    Position,
    Signal,
    Strategy,
    Trade,
)
from webapp.trading.retried import retried
from webapp.trading.selectors.resources import order_resource
from webapp.trading.services import events, hints
from webapp.trading.services.order_terms import Wanted, first_time_in_force, order_faults
from webapp.trading.services.refusals import KeyReused, NotNow
from webapp.trading.statements import row_insert
from webapp.trading.wire import decimal_text, time_text

# An intent that was not sent by then is never sent: the prices that it was made for are gone.
INTENT_TTL = timedelta(seconds=30)
# Rows that an order points to were read by whoever wants it, and the table holds it to them.
_RELATED = {field.name for field in Order._meta.fields if field.is_relation}


def order_submit(
    *,
    account: BrokerAccount,
    instrument: Instrument,
    units: Decimal,
    origin: Origin,
    now: datetime,
    type: OrderType = OrderType.MARKET,
    price: Decimal | None = None,
    stop_loss: Decimal | None = None,
    take_profit: Decimal | None = None,
    stop_distance: Decimal | None = None,
    target_distance: Decimal | None = None,
    trailing_distance: Decimal | None = None,
    time_in_force: TimeInForce | None = None,
    good_until: datetime | None = None,
    position_fill: PositionFill = PositionFill.DEFAULT,
    trade: Trade | None = None,
    reduce_only: bool = False,
    replaces: Order | None = None,
    parent: Order | None = None,
    strategy: Strategy | None = None,
    signal: Signal | None = None,
    client_id: str | None = None,
    idempotency_key: str | None = None,
    created_by: Any = None,
    market_time: datetime | None = None,
    asked: dict[str, Any] | None = None,
) -> Order:
    """Record an intent; the trader judges and sends it.

    Args:
        units: signed, a multiple of the instrument's step.
        stop_distance, target_distance: in price from the fill, in place of stop_loss, take_profit.
        trailing_distance: of the order if it is a trailing stop, else of the one it opens.
        time_in_force: None for FOK of a market order and GTC of every other.
        good_until: of a GTD order, market time.
        trade: the venue's trade that a market or protective order closes.
        replaces: the order whose place the venue is to give this one, in one step.
        client_id: given by those whose intents must be the same after a crash; else made here.
        idempotency_key: a second call with it returns the order that the first call made.
        asked: what the key stands for, where that is not all of the order's terms.

    Raises:
        ValidationError: by field, what is wrong with the request.
        KeyReused: the key stands for another request.
    """
    if type in PROTECTIVE or trade is not None or position_fill == PositionFill.REDUCE_ONLY:
        reduce_only = True
    wanted = Wanted(
        instrument,
        units,
        type,
        time_in_force or first_time_in_force(type),
        price,
        stop_loss,
        take_profit,
        stop_distance,
        target_distance,
        trailing_distance,
        good_until,
        position_fill,
        reduce_only,
        trade,
    )
    wrong = order_faults(wanted, terms_of(account), VENUES.get(account.kind, account.kind))
    if wrong:
        raise ValidationError(wrong)
    request = {
        "account": account.pk,
        "instrument": instrument.name,
        "units": units,
        "type": type,
        "price": price,
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "reduce_only": reduce_only,
    }
    request |= {
        name: value
        for name, value in (
            ("trailing_distance", trailing_distance),
            ("stop_distance", stop_distance),
            ("target_distance", target_distance),
            ("time_in_force", time_in_force),
            ("good_until", good_until and time_text(good_until)),
            ("position_fill", position_fill if position_fill != PositionFill.DEFAULT else None),
            ("trade", trade and trade.venue_trade_id),
            ("replaces", replaces and replaces.pk),
        )
        if value is not None
    }
    request_hash = _hash(request if asked is None else asked)
    if idempotency_key is not None and created_by is None:
        # Nobody's keys are not held apart by the table; everybody else's second try meets the first
        # when it is written.
        stored = _stored(created_by, idempotency_key, request_hash)
        if stored is not None:
            return stored
    order = Order(
        client_id=client_id or f"sep-{uuid.uuid4().hex}",
        account=account,
        instrument=instrument,
        strategy=strategy,
        signal=signal,
        origin=origin.value,
        type=type.value,
        units=units,
        price=price,
        stop_loss=stop_loss,
        take_profit=take_profit,
        stop_distance=stop_distance,
        target_distance=target_distance,
        trailing_distance=trailing_distance,
        trade_id=trade.venue_trade_id if trade is not None else "",
        reduce_only=reduce_only,
        position_fill=position_fill.value,
        time_in_force=wanted.time_in_force.value,
        good_until=good_until,
        replaces=replaces,
        parent=parent,
        cause="placed",
        expires_at=now + INTENT_TTL,
        market_time=market_time,
        idempotency_key=idempotency_key,
        request_hash=request_hash if idempotency_key else "",
        created_by=created_by,
    )
    order.clean_fields(exclude=_RELATED)
    try:
        _record(order, now)
    except IntegrityError:
        # Somebody with the same key was faster; anything else is not ours to hide.
        stored = _stored(created_by, idempotency_key, request_hash) if idempotency_key else None
        if stored is None:
            raise
        return stored
    return order


@retried
def _record(order: Order, now: datetime) -> None:
    row_insert(order)
    order_event(order, now=now)


@retried
def order_cancel(*, order_id: int, now: datetime) -> Order:
    """Ask the trader to withdraw or cancel an order; an order that has ended stays as it is."""
    order = (
        Order.objects.select_for_update(of=("self",), no_key=True)
        .select_related("instrument")
        .get(pk=order_id)
    )
    if order.state not in TERMINAL and order.cancel_requested_at is None:
        order.cancel_requested_at = now
        order.save(update_fields=["cancel_requested_at", "updated_at"])
        order_event(order, now=now)
    return order


CHANGES = (
    "units",
    "price",
    "stop_loss",
    "take_profit",
    "trailing_distance",
    "time_in_force",
    "good_until",
)
"""What may be changed of a working order."""


@retried
def order_change(
    *,
    order_id: int,
    changes: dict[str, Any],
    now: datetime,
    idempotency_key: str | None = None,
    created_by: Any = None,
) -> Order:
    """Ask for another order in the place of one that works; return that other order.

    The trader judges it as any order and asks the venue for both in one step. Until the venue has
    answered the old one counts as working.

    changes: new values by the names of CHANGES; what is not named stays. None takes a stop, target
        or trailing stop away.

    Raises:
        ValidationError: by field, what is wrong with the changes.
        NotNow: the order does not work, or is being changed already.
        KeyReused: the key stands for another request.
    """
    order = (
        Order.objects.select_for_update(of=("self",), no_key=True)
        .select_related("instrument", "account")
        .get(pk=order_id)
    )
    unknown = set(changes) - set(CHANGES)
    if unknown or not changes:
        raise ValidationError(dict.fromkeys(unknown or {"changes"}, "cannot be changed"))
    # What the first call asked for, not what came of it: the order may have filled in part since.
    asked = {"order": order_id, "changes": changes}
    if idempotency_key is not None and (
        stored := _stored(created_by, idempotency_key, _hash(asked))
    ):
        return stored
    if order.state not in (OrderState.ACCEPTED, OrderState.PARTIAL):
        raise NotNow(f"the order is {order.state}; only one that works can be changed")
    if order.cancel_requested_at is not None:
        raise NotNow("the order is to be cancelled")
    if order.successors.exclude(state__in=TERMINAL).exists():
        raise NotNow("the order is being changed already")
    if not terms_of(order.account).replaces:
        raise NotNow("the venue changes no orders: cancel it and place another")
    trade, left = _trade_of(order), order.units - order.filled_units
    if trade is not None and trade.units:
        left = -trade.units  # it closes what the trade holds, however much that was once
    terms: dict[str, Any] = {
        "units": left,
        "price": order.price,
        "stop_loss": None if order.stop_distance is not None else order.stop_loss,
        "take_profit": None if order.target_distance is not None else order.take_profit,
        "trailing_distance": order.trailing_distance,
        "time_in_force": order.time_in_force,
        "good_until": order.good_until,
    } | changes
    if terms["units"] * order.units <= 0:
        wanted = "buys: units must be > 0" if order.units > 0 else "sells: units must be < 0"
        raise ValidationError({"units": f"the order {wanted}, was {terms['units']}"})
    force = TimeInForce(terms.pop("time_in_force"))
    if force != TimeInForce.GTD and "good_until" not in changes:
        terms["good_until"] = None
    return order_submit(
        account=order.account,
        instrument=order.instrument,
        type=OrderType(order.type),
        origin=Origin.PERSON if order.origin == Origin.EXTERNAL else Origin(order.origin),
        time_in_force=force,
        stop_distance=None if "stop_loss" in changes else order.stop_distance,
        target_distance=None if "take_profit" in changes else order.target_distance,
        position_fill=PositionFill(order.position_fill),
        reduce_only=order.reduce_only,
        trade=trade,
        replaces=order,
        parent=order.parent,
        strategy=order.strategy,
        signal=order.signal,
        market_time=order.market_time,
        idempotency_key=idempotency_key,
        asked=asked,
        created_by=created_by,
        now=now,
        **terms,
    )


def _trade_of(order: Order) -> Trade | None:
    if not order.trade_id:
        return None
    return Trade.objects.filter(account_id=order.account_id, venue_trade_id=order.trade_id).first()


@retried
def position_close(
    *,
    account: BrokerAccount,
    instrument: Instrument,
    now: datetime,
    units: Decimal | None = None,
    side: str | None = None,
    idempotency_key: str | None = None,
    created_by: Any = None,
) -> Order | None:
    """Ask for a position to be closed at the market; None if there is none.

    Args:
        units: how many (> 0) to close, None for all.
        side: LONG or SHORT; of a hedging account it may be left out while only one is held.
        idempotency_key: a second call with it returns the order that the first call made.

    Raises:
        ValidationError: more than is held, off the instrument's step, or no side named of two.
        KeyReused: the key stands for another request.
    """
    # What was asked for, not what is held: the first close may have been filled since.
    asked = {"position": [account.pk, instrument.name, side], "units": units}
    if idempotency_key is not None and (
        stored := _stored(created_by, idempotency_key, _hash(asked))
    ):
        return stored
    held = Position.objects.select_for_update(no_key=True).filter(
        account=account, instrument=instrument
    )
    held = held.exclude(units=0).order_by("pk")
    if side is not None:
        held = held.filter(units__gt=0) if side == "LONG" else held.filter(units__lt=0)
    positions = list(held)
    if len(positions) > 1:
        raise ValidationError({"side": "both sides are held: say LONG or SHORT"})
    if not positions:
        return None
    (position,) = positions
    if units is not None and not 0 < units <= abs(position.units):
        most = decimal_text(abs(position.units))
        raise ValidationError({"units": f"must be above 0 and at most {most}, was {units}"})
    signed = None if units is None else units.copy_sign(position.units)
    return position_flatten(
        position,
        Origin.PERSON,
        now,
        created_by,
        units=signed,
        idempotency_key=idempotency_key,
        asked=asked,
    )


@retried
def trade_close(
    *,
    trade: Trade,
    now: datetime,
    units: Decimal | None = None,
    idempotency_key: str | None = None,
    created_by: Any = None,
) -> Order:
    """Ask for one of the venue's trades to be closed at the market.

    Args:
        units: how many (> 0) to close, None for all.
        idempotency_key: a second call with it returns the order that the first call made.

    Raises:
        NotNow: the trade is closed.
        ValidationError: it holds less.
        KeyReused: the key stands for another request.
    """
    # What was asked for, not what is held: the first close may have been filled since.
    asked = {"trade": trade.pk, "units": units}
    if idempotency_key is not None and (
        stored := _stored(created_by, idempotency_key, _hash(asked))
    ):
        return stored
    if trade.units == 0:
        raise NotNow("the trade is closed")
    size = abs(trade.units) if units is None else units
    if size <= 0:
        raise ValidationError({"units": "must be above 0"})
    return order_submit(
        account=trade.account,
        instrument=trade.instrument,
        units=-size.copy_sign(trade.units),
        origin=Origin.PERSON,
        trade=trade,
        idempotency_key=idempotency_key,
        asked=asked,
        created_by=created_by,
        now=now,
    )


def order_event(order: Order, *, now: datetime, fills: Iterable[Fill] | None = None) -> None:
    """Record the order as it is; the caller's transaction holds the change.

    fills: all of the order, None if they are to be read.
    """
    data = order_resource(order, fills=fills)
    events.record(stream="orders", type="order_update", data=data, now=now, subject=order.pk)
    hints.wake()


def position_flatten(
    position: Position,
    origin: Origin,
    now: datetime,
    created_by: Any,
    *,
    units: Decimal | None = None,
    idempotency_key: str | None = None,
    asked: dict[str, Any] | None = None,
) -> Order | None:
    """Ask for `units` of a position to be closed, by default all; None if that is nothing."""
    held = position.units if units is None else units
    if held == 0:
        return None
    return order_submit(
        account=position.account,
        instrument=position.instrument,
        units=-held,
        origin=origin,
        reduce_only=True,
        idempotency_key=idempotency_key,
        asked=asked,
        created_by=created_by,
        now=now,
    )


def _hash(request: dict[str, Any]) -> str:
    text = json.dumps(request, sort_keys=True, default=_text)
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: Decimal | datetime) -> str:
    return time_text(value) if isinstance(value, datetime) else decimal_text(value)


def _stored(created_by: Any, key: str, request_hash: str) -> Order | None:
    order = (
        Order.objects.filter(created_by=created_by, idempotency_key=key)
        .select_related("instrument")
        .first()
    )
    if order is not None and order.request_hash != request_hash:
        raise KeyReused(key)
    return order
