"""What is wrong with an order before it becomes an intent, by field. Reads nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sep_engine.execution.states import (
    PROTECTIVE,
    TIMES_IN_FORCE,
    OrderType,
    PositionFill,
    TimeInForce,
)
from webapp.trading.brokers.base import Terms
from webapp.trading.models import Instrument, Trade
from webapp.trading.wire import decimal_text


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order as somebody asks for it; see `services.orders.order_submit`."""

    instrument: Instrument
    units: Decimal
    type: OrderType
    time_in_force: TimeInForce
    price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stop_distance: Decimal | None = None
    target_distance: Decimal | None = None
    trailing_distance: Decimal | None = None
    good_until: datetime | None = None
    position_fill: PositionFill = PositionFill.DEFAULT
    reduce_only: bool = False
    trade: Trade | None = None


def first_time_in_force(type: OrderType) -> TimeInForce:
    """Return what an order has that names no time in force."""
    return TimeInForce.FOK if type == OrderType.MARKET else TimeInForce.GTC


def order_faults(wanted: Wanted, terms: Terms, venue: str) -> dict[str, str]:
    """Return what is wrong, by field; empty if the venue takes such orders.

    venue: what the account's venue is called in the messages.
    """
    wrong: dict[str, str] = {}
    for check in (_size, _kind, _time, _protection, _trade):
        for field, message in check(wanted, terms, venue):
            wrong.setdefault(field, message)
    for field in _PRICES:
        value: Decimal | None = getattr(wanted, field)
        if value is not None and field not in wrong and not _on_grid(value, wanted.instrument.tick):
            tick = decimal_text(wanted.instrument.tick)
            wrong[field] = f"must be a multiple of {tick} and > 0, was {value}"
    return wrong


_PRICES = (
    "price",
    "stop_loss",
    "take_profit",
    "stop_distance",
    "target_distance",
    "trailing_distance",
)
Faults = Iterable[tuple[str, str]]


def _on_grid(value: Decimal, step: Decimal) -> bool:
    return value.is_finite() and value > 0 and value % step == 0


def _size(wanted: Wanted, terms: Terms, venue: str) -> Faults:
    instrument, units = wanted.instrument, wanted.units
    if not instrument.enabled and not wanted.reduce_only:
        yield "instrument", f"{instrument.name} is not enabled"
    if not units.is_finite() or units == 0 or units % instrument.units_step:
        step = decimal_text(instrument.units_step)
        yield "units", f"must be a multiple of {step} and not 0, was {units}"


def _kind(wanted: Wanted, terms: Terms, venue: str) -> Faults:
    type_ = wanted.type
    if type_ not in terms.types:
        yield "type", f"{venue} does not take {type_} orders"
    if type_ in (OrderType.MARKET, OrderType.TRAILING_STOP_LOSS):
        if wanted.price is not None:
            yield "price", f"a {type_} order has none"
    elif wanted.price is None:
        yield "price", f"a {type_} order needs one"
    if wanted.position_fill not in terms.fills:
        yield "position_fill", f"{venue} does not take {wanted.position_fill}"
    if wanted.reduce_only and wanted.position_fill in (
        PositionFill.OPEN_ONLY,
        PositionFill.REDUCE_FIRST,
    ):
        yield "position_fill", f"an order that only reduces cannot be {wanted.position_fill}"


def _time(wanted: Wanted, terms: Terms, venue: str) -> Faults:
    force = wanted.time_in_force
    allowed = TIMES_IN_FORCE[wanted.type]
    if force not in allowed:
        names = ", ".join(one for one in TimeInForce if one in allowed)
        yield "time_in_force", f"a {wanted.type} order is one of {names}, was {force}"
    elif force not in terms.times:
        yield "time_in_force", f"{venue} does not take {force}"
    if (force == TimeInForce.GTD) != (wanted.good_until is not None):
        yield "good_until", "a GTD order, and only such a one, says until when it is good"


def _protection(wanted: Wanted, terms: Terms, venue: str) -> Faults:
    protective = wanted.type in PROTECTIVE
    if wanted.type == OrderType.TRAILING_STOP_LOSS and wanted.trailing_distance is None:
        yield "trailing_distance", "a TRAILING_STOP_LOSS order needs one"
    if protective and wanted.type != OrderType.TRAILING_STOP_LOSS and wanted.trailing_distance:
        yield "trailing_distance", f"a {wanted.type} order has none"
    if wanted.stop_loss is not None and wanted.stop_distance is not None:
        yield "stop_loss", "give a price or a distance, not both"
    if wanted.take_profit is not None and wanted.target_distance is not None:
        yield "take_profit", "give a price or a distance, not both"
    for field in ("stop_loss", "take_profit", "stop_distance", "target_distance"):
        if protective and getattr(wanted, field) is not None:
            yield field, f"a {wanted.type} order brings no other with it"
    for field, kind in (
        ("stop_loss", OrderType.STOP_LOSS),
        ("take_profit", OrderType.TAKE_PROFIT),
        ("trailing_distance", OrderType.TRAILING_STOP_LOSS),
    ):
        if not protective and getattr(wanted, field) is not None and kind not in terms.on_fill:
            yield field, f"{venue} opens no {kind} with a fill"
    if terms.types and not wanted.reduce_only and OrderType.STOP_LOSS not in terms.on_fill:
        yield "stop_loss", f"{venue} holds no stops, and nothing is opened without one"


def _trade(wanted: Wanted, terms: Terms, venue: str) -> Faults:
    trade = wanted.trade
    if trade is None:
        if wanted.type == OrderType.TRAILING_STOP_LOSS and terms.trades:
            yield "trade_id", f"{venue} hangs a trailing stop on a trade: name the trade"
        return
    if not terms.trades:
        yield "trade_id", f"{venue} keeps no separate trades: close or protect the position"
    elif trade.units == 0:
        yield "trade_id", f"trade {trade.venue_trade_id} is closed"
    elif trade.instrument_id != wanted.instrument.pk:
        yield "trade_id", f"trade {trade.venue_trade_id} is in another instrument"
    elif wanted.units * trade.units > 0 or abs(wanted.units) > abs(trade.units):
        yield "units", f"trade {trade.venue_trade_id} holds {decimal_text(trade.units)}"
    elif wanted.type in PROTECTIVE and wanted.units != -trade.units:
        # The venue closes the trade with it, whatever part somebody had in mind.
        whole = decimal_text(-trade.units)
        yield "units", f"a {wanted.type} closes all of trade {trade.venue_trade_id}: {whole}"
    if wanted.type != OrderType.MARKET and wanted.type not in PROTECTIVE:
        yield "trade_id", f"a {wanted.type} order closes no single trade"
