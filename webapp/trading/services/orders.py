"""Intents: what anybody but the trader may do about orders. Nothing here reaches a broker."""

import hashlib
import json
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from sep_engine.execution.states import (
    PROTECTIVE,
    TERMINAL,
    OrderType,
    Origin,
    TradingMode,
)
from webapp.trading.fields import AmountSum
from webapp.trading.models import (
    BrokerAccount,
    Fill,
    Instrument,
    Order,
    Position,
    Signal,
    Strategy,
)
from webapp.trading.selectors.resources import order_resource
from webapp.trading.services import events, hints, system
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.wire import decimal_text

# An intent that was not sent by then is never sent: the prices that it was made for are gone.
INTENT_TTL = timedelta(seconds=30)


class IdempotencyConflict(Exception):
    """The key was used before for another request."""


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
    reduce_only: bool = False,
    strategy: Strategy | None = None,
    signal: Signal | None = None,
    client_id: str | None = None,
    idempotency_key: str | None = None,
    created_by: Any = None,
    market_time: datetime | None = None,
) -> Order:
    """Record an intent; the trader judges and sends it.

    Args:
        units: signed, a multiple of the instrument's step.
        stop_distance, target_distance: in price from the fill, in place of stop_loss, take_profit.
        client_id: given by those whose intents must be the same after a crash; else made here.
        idempotency_key: a second call with it returns the order that the first call made.

    Raises:
        ValidationError: by field, what is wrong with the request.
        IdempotencyConflict: the key stands for another request.
    """
    _check(instrument, units, type, price, stop_loss, take_profit)
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
    text = json.dumps({name: _plain(value) for name, value in request.items()}, sort_keys=True)
    request_hash = hashlib.sha256(text.encode()).hexdigest()
    if idempotency_key is not None:
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
        reduce_only=reduce_only,
        time_in_force="FOK" if type == OrderType.MARKET else "GTC",
        expires_at=now + INTENT_TTL,
        market_time=market_time,
        idempotency_key=idempotency_key,
        request_hash=request_hash if idempotency_key else "",
        created_by=created_by,
    )
    order.clean_fields()
    try:
        with transaction.atomic():
            order.save(force_insert=True)
            order_event(order, now=now)
    except IntegrityError:
        # Somebody with the same key was faster; anything else is not ours to hide.
        stored = _stored(created_by, idempotency_key, request_hash) if idempotency_key else None
        if stored is None:
            raise
        return stored
    return order


@transaction.atomic
def order_cancel(*, order_id: int, now: datetime) -> Order:
    """Ask the trader to withdraw or cancel an order; an order that has ended stays as it is."""
    order = Order.objects.select_for_update().select_related("instrument").get(pk=order_id)
    if order.state not in TERMINAL and order.cancel_requested_at is None:
        order.cancel_requested_at = now
        order.save(update_fields=["cancel_requested_at", "updated_at"])
        order_event(order, now=now)
    return order


@transaction.atomic
def position_close(
    *, account: BrokerAccount, instrument: Instrument, now: datetime, created_by: Any = None
) -> Order | None:
    """Ask for the whole position to be closed at the market; None if there is none."""
    return _flatten(account, instrument, Origin.PERSON, now, created_by)


@transaction.atomic
def close_everything(
    *,
    account: BrokerAccount,
    reason: str,
    now: datetime,
    created_by: Any = None,
    strategy: Strategy | None = None,
) -> list[Order]:
    """Cancel every order and close every position, at any state of the kill switch.

    What was ACTIVE becomes REDUCING, so that no rule opens again what a person has closed. Stops
    stay until their position is closed; the venue drops them with it.

    strategy: close what this one alone ordered and holds; the account stays as it is.
    """
    trading_state_worsen(
        account=account,
        strategy=strategy,
        state=TradingMode.REDUCING,
        reason=f"close everything: {reason}",
        now=now,
    )
    working = Order.objects.select_for_update().filter(
        account=account, cancel_requested_at__isnull=True
    )
    if strategy is not None:
        working = working.filter(strategy=strategy)
    for order in working.exclude(state__in=TERMINAL).exclude(type__in=PROTECTIVE):
        order_cancel(order_id=order.pk, now=now)
    flatten = []
    for position in Position.objects.filter(account=account).select_related("instrument"):
        closing = _flatten(
            account,
            position.instrument,
            Origin.CLOSE_EVERYTHING,
            now,
            created_by,
            units=None if strategy is None else _units_of(strategy, position),
        )
        if closing is not None:
            flatten.append(closing)
    whose = "" if strategy is None else f" of {strategy.name}"
    system.alert(level="warning", text=f"Close everything{whose}: {reason}", now=now)
    return flatten


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


def order_event(order: Order, *, now: datetime) -> None:
    """Record the order as it is; the caller's transaction holds the change."""
    events.record(stream="orders", type="order_update", data=order_resource(order), now=now)
    hints.wake()


def _flatten(
    account: BrokerAccount,
    instrument: Instrument,
    origin: Origin,
    now: datetime,
    created_by: Any,
    *,
    units: Decimal | None = None,
) -> Order | None:
    """Close `units` of what is held, by default all of it; None if that is nothing."""
    position = (
        Position.objects.select_for_update().filter(account=account, instrument=instrument).first()
    )
    held = position.units if position is not None and units is None else units or Decimal(0)
    if position is None or held == 0:
        return None
    return order_submit(
        account=account,
        instrument=instrument,
        units=-held,
        origin=origin,
        reduce_only=True,
        created_by=created_by,
        now=now,
    )


def _stored(created_by: Any, key: str, request_hash: str) -> Order | None:
    order = (
        Order.objects.filter(created_by=created_by, idempotency_key=key)
        .select_related("instrument")
        .first()
    )
    if order is not None and order.request_hash != request_hash:
        raise IdempotencyConflict(f"Idempotency-Key {key} was used for another request")
    return order


def _plain(value: Any) -> Any:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else value


def _check(
    instrument: Instrument,
    units: Decimal,
    type: OrderType,
    price: Decimal | None,
    stop_loss: Decimal | None,
    take_profit: Decimal | None,
) -> None:
    wrong: dict[str, str] = {}
    if not instrument.enabled:
        wrong["instrument"] = f"{instrument.name} is not enabled"
    if not units.is_finite() or units == 0 or units % instrument.units_step:
        step = decimal_text(instrument.units_step)
        wrong["units"] = f"must be a multiple of {step} and not 0, was {units}"
    if (type == OrderType.MARKET) != (price is None):
        wrong["price"] = "a market order has none and every other order has one"
    for name, value in (("price", price), ("stop_loss", stop_loss), ("take_profit", take_profit)):
        if value is None or name in wrong:
            continue
        if not value.is_finite() or value <= 0 or value % instrument.tick:
            tick = decimal_text(instrument.tick)
            wrong[name] = f"must be a multiple of {tick} and > 0, was {value}"
    if wrong:
        raise ValidationError(wrong)
