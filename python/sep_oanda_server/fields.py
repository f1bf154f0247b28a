"""Order requests: what is malformed, what is rejected and why, what an accepted one says.

Malformed text (a word where a number belongs) answers 400 with a message and leaves no trace.
A well-formed request that breaks a rule becomes a reject transaction with one of the 143 reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from sep_oanda_server.market import Instrument
from sep_oanda_server.wire import (
    NEW_YORK,
    Json,
    decimals_of,
    instant,
    nanoseconds,
    plain,
    read_decimal,
    read_time,
    time_text,
)

ENTRY_TYPES = frozenset({"MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED"})
DEPENDENT_TYPES = frozenset({"TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS"})
PRICED_TYPES = frozenset({"LIMIT", "STOP", "MARKET_IF_TOUCHED", "TAKE_PROFIT"})
BOUNDED_TYPES = frozenset({"MARKET", "STOP", "MARKET_IF_TOUCHED"})
TIMES_IN_FORCE: Mapping[str, frozenset[str]] = {
    "MARKET": frozenset({"FOK", "IOC"}),
    "LIMIT": frozenset({"GTC", "GTD", "GFD", "FOK", "IOC"}),
    "STOP": frozenset({"GTC", "GTD", "GFD", "FOK", "IOC"}),
    "MARKET_IF_TOUCHED": frozenset({"GTC", "GTD", "GFD"}),
    "TAKE_PROFIT": frozenset({"GTC", "GTD", "GFD"}),
    "STOP_LOSS": frozenset({"GTC", "GTD", "GFD"}),
    "TRAILING_STOP_LOSS": frozenset({"GTC", "GTD", "GFD"}),
}
ALL_TIMES_IN_FORCE = frozenset({"GTC", "GTD", "GFD", "FOK", "IOC"})
POSITION_FILLS = frozenset({"DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY"})
TRIGGER_CONDITIONS = frozenset({"DEFAULT", "INVERSE", "BID", "ASK", "MID"})
ON_FILL = {
    "takeProfitOnFill": "TAKE_PROFIT",
    "stopLossOnFill": "STOP_LOSS",
    "trailingStopLossOnFill": "TRAILING_STOP_LOSS",
}
_NAME = re.compile(r"[A-Z0-9]{2,12}_[A-Z0-9]{2,12}", re.ASCII)
_TEXT_LIMIT = 128


class Malformed(Exception):
    """The request is not of the interface's form: 400, a message, no transaction."""


class Rejected(Exception):
    """The request breaks a rule: a reject transaction with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def instrument_named(name: object, offered: Mapping[str, Instrument], where: str) -> Instrument:
    """The offered instrument of that name."""
    if name is None:
        raise Rejected("INSTRUMENT_MISSING")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Malformed(f"Invalid value specified for '{where}'")
    if name not in offered:
        raise Rejected("INSTRUMENT_UNKNOWN")
    return offered[name]


def next_day_end(at_ns: int) -> int:
    """The first 17:00 America/New_York strictly after `at_ns`: where a GFD order ends."""
    # Wall-clock arithmetic in New York, so that a day with a clock change is 23 or 25 hours.
    local = instant(at_ns).astimezone(NEW_YORK)
    end = local.replace(hour=17, minute=0, second=0, microsecond=0)
    if nanoseconds(end) <= at_ns:
        end += timedelta(days=1)
    return nanoseconds(end)


def client_extensions(value: object, where: str, reasons: str) -> Json | None:
    """Normalised `id`, `tag`, `comment`, or None when there is nothing in it."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Malformed(f"Invalid value specified for '{where}'")
    for key in ("id", "tag", "comment"):
        text = value.get(key)
        if text is None:
            continue
        if not isinstance(text, str):
            raise Malformed(f"Invalid value specified for '{where}.{key}'")
        if len(text) > _TEXT_LIMIT or (key == "id" and not text):
            raise Rejected(f"{reasons}_{key.upper()}_INVALID")
    return {key: value[key] for key in ("id", "tag", "comment") if value.get(key)} or None


class _Fields:
    """Reads one request object and collects the normalised fields in `out`."""

    def __init__(self, source: Json, where: str, instrument: Instrument, now_ns: int) -> None:
        self.source, self.where, self.instrument, self.now_ns = source, where, instrument, now_ns
        self.out: Json = {}

    def decimal(self, key: str) -> Decimal | None:
        value = self.source.get(key)
        if value is None:
            return None
        try:
            return read_decimal(value)
        except ValueError:
            raise Malformed(f"Invalid value specified for '{self.where}.{key}'") from None

    def choice(self, key: str, allowed: frozenset[str], default: str) -> str:
        value = self.source.get(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise Malformed(f"Invalid value specified for '{self.where}.{key}'")
        return value

    def price(self, key: str, reasons: str, *, required: bool) -> None:
        value = self.decimal(key)
        if value is None:
            if required:
                raise Rejected(f"{reasons}_MISSING")
            return
        if value <= 0:
            raise Rejected(f"{reasons}_INVALID")
        if decimals_of(value) > self.instrument.display_precision:
            raise Rejected(f"{reasons}_PRECISION_EXCEEDED")
        self.out[key] = self.instrument.price_text(value)

    def trailing_distance(self, reasons: str) -> None:
        self.price("distance", reasons, required=True)
        distance = Decimal(self.out["distance"])
        if distance < self.instrument.minimum_trailing_distance:
            raise Rejected(f"{reasons}_MINIMUM_NOT_MET")
        if distance > self.instrument.maximum_trailing_distance:
            raise Rejected(f"{reasons}_MAXIMUM_EXCEEDED")

    def units(self) -> None:
        value = self.decimal("units")
        if value is None:
            raise Rejected("UNITS_MISSING")
        if value == 0:
            raise Rejected("UNITS_INVALID")
        if decimals_of(value) > self.instrument.units_precision:
            raise Rejected("UNITS_PRECISION_EXCEEDED")
        if abs(value) < self.instrument.minimum_trade_size:
            raise Rejected("UNITS_MIMIMUM_NOT_MET")  # the interface spells it so
        if abs(value) > self.instrument.maximum_order_units:
            raise Rejected("UNITS_LIMIT_EXCEEDED")
        self.out["units"] = plain(value)

    def time_in_force(self, order_type: str, invalid: str, timestamp: str) -> None:
        default = "FOK" if order_type == "MARKET" else "GTC"
        chosen = self.choice("timeInForce", ALL_TIMES_IN_FORCE, default)
        if chosen not in TIMES_IN_FORCE[order_type]:
            raise Rejected(invalid)
        self.out["timeInForce"] = chosen
        if chosen != "GTD":
            return
        if self.source.get("gtdTime") is None:
            raise Rejected(f"{timestamp}_MISSING")
        try:
            until = read_time(str(self.source["gtdTime"]))
        except ValueError:
            raise Malformed(f"Invalid value specified for '{self.where}.gtdTime'") from None
        if until <= self.now_ns:
            raise Rejected(f"{timestamp}_IN_PAST")
        self.out["gtdTime"] = time_text(until)

    def stop_loss_level(self, *, both: str, neither: str, price: str, distance: str) -> None:
        has_price = self.source.get("price") is not None
        has_distance = self.source.get("distance") is not None
        if has_price and has_distance:
            raise Rejected(both)
        if not (has_price or has_distance):
            raise Rejected(neither)
        self.price("price", price, required=False)
        self.price("distance", distance, required=False)

    def extensions(self, key: str, reasons: str) -> None:
        found = client_extensions(self.source.get(key), f"{self.where}.{key}", reasons)
        if found:
            self.out[key] = found


def details_fields(
    order_type: str,
    source: object,
    instrument: Instrument,
    now_ns: int,
    *,
    where: str,
    on_fill: bool,
) -> Json:
    """The normalised details of a dependent order.

    Args:
        order_type: one of DEPENDENT_TYPES.
        source: the request object.
        where: its place in the request, for messages.
        on_fill: the details wait inside an entry order; its reasons then carry ON_FILL.

    Raises:
        Malformed, Rejected: as the module says.
    """
    if not isinstance(source, dict):
        raise Malformed(f"Invalid value specified for '{where}'")
    fields = _Fields(source, where, instrument, now_ns)
    prefix = f"{order_type}_ON_FILL_" if on_fill else ""
    if order_type == "TAKE_PROFIT":
        fields.price("price", f"{prefix}PRICE", required=True)
    elif order_type == "STOP_LOSS":
        if source.get("guaranteed") is True:
            owner = "STOP_LOSS_ON_FILL" if on_fill else "STOP_LOSS_ORDER"
            raise Rejected(f"{owner}_GUARANTEED_NOT_ALLOWED")
        owner = "STOP_LOSS_ON_FILL" if on_fill else "STOP_LOSS_ORDER"
        fields.stop_loss_level(
            both=f"{owner}_PRICE_AND_DISTANCE_BOTH_SPECIFIED",
            neither=f"{owner}_PRICE_AND_DISTANCE_BOTH_MISSING",
            price=f"{prefix}PRICE",
            distance=f"{prefix}DISTANCE" if on_fill else "PRICE_DISTANCE",
        )
    else:
        fields.trailing_distance(f"{prefix}PRICE_DISTANCE")
    fields.time_in_force(
        order_type,
        f"{prefix}TIME_IN_FORCE_INVALID",
        f"{prefix}GTD_TIMESTAMP" if on_fill else "TIME_IN_FORCE_GTD_TIMESTAMP",
    )
    fields.out["triggerCondition"] = fields.choice(
        "triggerCondition", TRIGGER_CONDITIONS, "DEFAULT"
    )
    fields.extensions("clientExtensions", f"{prefix}CLIENT_ORDER")
    return fields.out


def entry_fields(source: Json, instrument: Instrument, now_ns: int) -> Json:
    """The normalised fields of a MARKET, LIMIT, STOP or MARKET_IF_TOUCHED order.

    Raises:
        Malformed, Rejected: as the module says.
    """
    order_type = source["type"]
    fields = _Fields(source, "order", instrument, now_ns)
    fields.out["instrument"] = instrument.name
    fields.units()
    if order_type in PRICED_TYPES:
        fields.price("price", "PRICE", required=True)
    if order_type in BOUNDED_TYPES:
        fields.price("priceBound", "PRICE_BOUND", required=False)
    fields.time_in_force(order_type, "TIME_IN_FORCE_INVALID", "TIME_IN_FORCE_GTD_TIMESTAMP")
    fields.out["positionFill"] = fields.choice("positionFill", POSITION_FILLS, "DEFAULT")
    if order_type != "MARKET":
        fields.out["triggerCondition"] = fields.choice(
            "triggerCondition", TRIGGER_CONDITIONS, "DEFAULT"
        )
    for key, dependent in ON_FILL.items():
        if source.get(key) is not None:
            fields.out[key] = details_fields(
                dependent, source[key], instrument, now_ns, where=f"order.{key}", on_fill=True
            )
    ids = [identity(fields.out[key]) for key in ON_FILL if key in fields.out]
    named = [name for name in ids if name]
    if len(named) != len(set(named)):
        raise Rejected("ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS")
    fields.extensions("clientExtensions", "CLIENT_ORDER")
    fields.extensions("tradeClientExtensions", "CLIENT_TRADE")
    return fields.out


def identity(order: Json) -> str | None:
    """The client id inside an order, a details object or a transaction."""
    found: str | None = (order.get("clientExtensions") or {}).get("id")
    return found


def echo(source: Json) -> Json:
    """What a reject transaction repeats of a request: the fields of the interface, as sent."""
    kept = (
        "instrument",
        "units",
        "price",
        "priceBound",
        "distance",
        "timeInForce",
        "gtdTime",
        "positionFill",
        "triggerCondition",
        "tradeID",
        "clientTradeID",
        "clientExtensions",
        "tradeClientExtensions",
        "takeProfitOnFill",
        "stopLossOnFill",
        "trailingStopLossOnFill",
    )
    return {key: source[key] for key in kept if source.get(key) is not None}
