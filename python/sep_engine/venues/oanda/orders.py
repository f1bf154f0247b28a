"""Requests that change an account, and what their answers prove. Pure.

An answer is one of three things. RECORDED: the venue wrote transactions, and they say what
happened; a 201 with a cancel in it is a cancel. REFUSED: the venue read the request and wrote
nothing. AMBIGUOUS: anything else, too many requests, a broken body or a gateway's page included.
Only what the venue says later ends an ambiguity; nothing here guesses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from sep_engine.errors import ArgumentError, DataError
from sep_engine.model import Instrument
from sep_engine.model.order_terms import IMMEDIATE, PositionFill, TimeInForce
from sep_engine.venues.oanda.parse import (
    Transaction,
    child,
    identifier,
    load_json,
    read_transaction,
    text,
    time_text,
)

CLIENT_TEXT_MAX = 128


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request under `/v3/accounts/{account}`; `body` is sent as JSON, None for no body."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: tuple[tuple[str, str], ...] = ()


class EntryType(StrEnum):
    """Orders that may open a position."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    MARKET_IF_TOUCHED = "MARKET_IF_TOUCHED"


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop-loss: at a price, or at a distance > 0 from the fill. Exactly one is given."""

    price: Decimal | None = None
    distance: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.price is None) == (self.distance is None):
            raise ArgumentError("a stop needs a price or a distance, and not both")


@dataclass(frozen=True, slots=True)
class Entry:
    """An order as it is to be sent.

    Attributes:
        client_id: our name for it, unique for ever; it is what finds the order again. The orders
            that it brings with it have none: each part that fills brings its own, and the venue
            cancels what is left of an order whose next part would bring a name again.
        units: signed, not zero.
        price: of every type but MARKET.
        price_bound: the worst price to fill at; of every type but LIMIT.
        expires: with GTD only; aware.
        stop_loss, take_profit, trailing_distance: placed by the venue when the order fills.
        tag: kept by the venue beside the client id.
    """

    client_id: str
    instrument: Instrument
    type: EntryType
    units: Decimal
    price: Decimal | None = None
    price_bound: Decimal | None = None
    time_in_force: TimeInForce | None = None
    expires: datetime | None = None
    position_fill: PositionFill = PositionFill.DEFAULT
    stop_loss: Stop | None = None
    take_profit: Decimal | None = None
    trailing_distance: Decimal | None = None
    tag: str = ""


class DependentType(StrEnum):
    """Orders that close one trade."""

    TAKE_PROFIT = "TAKE_PROFIT"
    STOP_LOSS = "STOP_LOSS"
    TRAILING_STOP_LOSS = "TRAILING_STOP_LOSS"


@dataclass(frozen=True, slots=True)
class Dependent:
    """A protective order for one trade; its size is always what the trade holds.

    Attributes:
        trade_id: the venue's id of the trade.
        price: of a target or stop; distance: of a trailing stop. Exactly one is given.
    """

    client_id: str
    instrument: Instrument
    type: DependentType
    trade_id: str
    price: Decimal | None = None
    distance: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires: datetime | None = None


def place(order: Entry | Dependent) -> HttpRequest:
    """The request that places an order.

    Raises:
        ArgumentError: the order contradicts itself, or a number is off the instrument's grid.
    """
    return HttpRequest("POST", "/orders", {"order": _body(order)})


def replace(specifier: str, order: Entry | Dependent) -> HttpRequest:
    """The request that cancels an order and places another in one go. The new one has a new id.

    Raises:
        ArgumentError: as `place`; also for a MARKET order, which replaces nothing.
    """
    if order.type == EntryType.MARKET:
        raise ArgumentError("a MARKET order cannot replace a pending one")
    return HttpRequest("PUT", f"/orders/{_specifier(specifier)}", {"order": _body(order)})


def cancel(specifier: str) -> HttpRequest:
    """The request that cancels the order of an id, or of `@` and our name."""
    return HttpRequest("PUT", f"/orders/{_specifier(specifier)}/cancel")


def close_trade(
    specifier: str, instrument: Instrument, units: Decimal | None = None
) -> HttpRequest:
    """The request that closes `units` (> 0) of a trade, or all of it."""
    return HttpRequest(
        "PUT", f"/trades/{_specifier(specifier)}/close", {"units": _closing(instrument, units)}
    )


def close_position(
    instrument: Instrument, *, long: bool, units: Decimal | None = None, client_id: str = ""
) -> HttpRequest:
    """The request that closes `units` (> 0) of one side of a position, or all of it."""
    side = "long" if long else "short"
    body: dict[str, Any] = {
        f"{side}Units": _closing(instrument, units),
        f"{'short' if long else 'long'}Units": "NONE",
    }
    if client_id:
        body[f"{side}ClientExtensions"] = _extensions(client_id)
    return HttpRequest("PUT", f"/positions/{instrument.name}/close", body)


def look_up(client_id: str) -> HttpRequest:
    """The request that finds an order by our name."""
    return HttpRequest("GET", f"/orders/{_specifier('@' + client_id)}")


def transactions_since(transaction_id: int) -> HttpRequest:
    """The request for every transaction with a higher id."""
    return HttpRequest("GET", "/transactions/sinceid", None, (("id", str(transaction_id)),))


# -- bodies ------------------------------------------------------------------------------------


def _body(order: Entry | Dependent) -> dict[str, Any]:
    return _entry_body(order) if isinstance(order, Entry) else _dependent_body(order)


def _dependent_body(order: Dependent) -> dict[str, Any]:
    trailing = order.type == DependentType.TRAILING_STOP_LOSS
    if (order.price is None) != trailing or (order.distance is None) == trailing:
        raise ArgumentError("a trailing stop has a distance, every other protective order a price")
    if order.time_in_force in IMMEDIATE:
        raise ArgumentError(f"a protective order is GTC, GTD or GFD, was {order.time_in_force}")
    _check_expiry(order.time_in_force, order.expires)
    body: dict[str, Any] = {
        "type": order.type.value,
        "tradeID": order.trade_id,
        "timeInForce": order.time_in_force.value,
        "triggerCondition": "DEFAULT",
        "clientExtensions": _extensions(order.client_id),
    }
    if order.price is not None:
        body["price"] = _price(order.price, order.instrument, "price")
    if order.distance is not None:
        body["distance"] = _price(order.distance, order.instrument, "trailing distance")
    if order.expires is not None:
        body["gtdTime"] = time_text(order.expires)
    return body


def _check_expiry(force: TimeInForce, expires: datetime | None) -> None:
    if (force == TimeInForce.GTD) != (expires is not None):
        raise ArgumentError("GTD, and only GTD, goes with a time at which the order expires")


def _entry_body(entry: Entry) -> dict[str, Any]:
    market = entry.type == EntryType.MARKET
    if market == (entry.price is not None):
        raise ArgumentError("every order but MARKET has a price, and MARKET has none")
    if entry.type == EntryType.LIMIT and entry.price_bound is not None:
        raise ArgumentError("a LIMIT order's price is its bound")
    force = entry.time_in_force or (TimeInForce.FOK if market else TimeInForce.GTC)
    if market and force not in IMMEDIATE:
        raise ArgumentError(f"a MARKET order is FOK or IOC, was {force}")
    if entry.type == EntryType.MARKET_IF_TOUCHED and force in IMMEDIATE:
        raise ArgumentError(f"a MARKET_IF_TOUCHED order is GTC, GTD or GFD, was {force}")
    _check_expiry(force, entry.expires)
    instrument = entry.instrument
    body: dict[str, Any] = {
        "type": entry.type.value,
        "instrument": instrument.name,
        "units": _units(entry.units, instrument),
        "timeInForce": force.value,
        "positionFill": entry.position_fill.value,
        "clientExtensions": _extensions(entry.client_id, entry.tag),
    }
    if entry.price is not None:
        body["price"] = _price(entry.price, instrument, "price")
        body["triggerCondition"] = "DEFAULT"
    if entry.price_bound is not None:
        body["priceBound"] = _price(entry.price_bound, instrument, "price_bound")
    if entry.expires is not None:
        body["gtdTime"] = time_text(entry.expires)
    if entry.stop_loss is not None:
        body["stopLossOnFill"] = _stop_body(entry.stop_loss, instrument)
    if entry.take_profit is not None:
        target = _price(entry.take_profit, instrument, "take_profit")
        body["takeProfitOnFill"] = {"price": target, "timeInForce": "GTC"}
    if entry.trailing_distance is not None:
        body["trailingStopLossOnFill"] = _trailing_body(entry.trailing_distance, instrument)
    return body


def _stop_body(stop: Stop, instrument: Instrument) -> dict[str, str]:
    if stop.price is not None:
        return {"price": _price(stop.price, instrument, "stop"), "timeInForce": "GTC"}
    assert stop.distance is not None
    return {"distance": _price(stop.distance, instrument, "stop distance"), "timeInForce": "GTC"}


def _trailing_body(distance: Decimal, instrument: Instrument) -> dict[str, str]:
    return {"distance": _price(distance, instrument, "trailing distance"), "timeInForce": "GTC"}


def _extensions(client_id: str, tag: str = "") -> dict[str, str]:
    if not client_id or len(client_id) > CLIENT_TEXT_MAX or len(tag) > CLIENT_TEXT_MAX:
        raise ArgumentError(f"client_id must have 1 to {CLIENT_TEXT_MAX} characters, tag at most")
    return {"id": client_id, "tag": tag} if tag else {"id": client_id}


def _price(value: Decimal, instrument: Instrument, name: str) -> str:
    if not value.is_finite() or value <= 0 or value % instrument.tick != 0:
        raise ArgumentError(f"{name} must be a multiple > 0 of {instrument.tick}, was {value}")
    return f"{value:.{instrument.price_decimals}f}"


def _units(value: Decimal, instrument: Instrument) -> str:
    if not value.is_finite() or value == 0 or value % instrument.units_step != 0:
        raise ArgumentError(f"units must be a multiple of {instrument.units_step}, was {value}")
    decimals = max(0, -int(instrument.units_step.normalize().as_tuple().exponent))
    return f"{value:.{decimals}f}"


def _closing(instrument: Instrument, units: Decimal | None) -> str:
    if units is None:
        return "ALL"
    if units <= 0:
        raise ArgumentError(f"units to close must be > 0 for either side, were {units}")
    return _units(units, instrument)


def _specifier(specifier: str) -> str:
    if not specifier.strip("@"):
        raise ArgumentError("an order or trade is named by its id, or by @ and its client id")
    return quote(specifier, safe="@")


# -- answers -----------------------------------------------------------------------------------


class Outcome(StrEnum):
    """What an answer proves; see the module."""

    RECORDED = "RECORDED"
    REFUSED = "REFUSED"
    AMBIGUOUS = "AMBIGUOUS"


class Refusal(StrEnum):
    """What kind of thing a reject or cancel reason names."""

    ACCOUNT = "ACCOUNT"
    CONFIGURATION = "CONFIGURATION"
    DEPENDENT = "DEPENDENT"
    DUPLICATE = "DUPLICATE"
    FUNDS = "FUNDS"
    GONE = "GONE"
    INSTRUMENT = "INSTRUMENT"
    MARKET = "MARKET"
    OTHER = "OTHER"
    POSITION = "POSITION"
    PRICE = "PRICE"
    REQUEST = "REQUEST"
    SIZE = "SIZE"
    TIME_IN_FORCE = "TIME_IN_FORCE"
    VENUE = "VENUE"


# The first part that a reason contains decides.
_REFUSALS: Sequence[tuple[str, Refusal]] = (
    ("CLIENT_ORDER_ID_ALREADY_EXISTS", Refusal.DUPLICATE),
    ("CLIENT_TRADE_ID_ALREADY_EXISTS", Refusal.DUPLICATE),
    ("INTERNAL_SERVER_ERROR", Refusal.VENUE),
    ("ORDER_ALREADY_EXISTS", Refusal.DEPENDENT),
    ("_DOESNT_EXIST", Refusal.GONE),
    ("LINKED_TRADE_CLOSED", Refusal.GONE),
    ("INSUFFICIENT_MARGIN", Refusal.FUNDS),
    ("INSUFFICIENT_FUNDS", Refusal.FUNDS),
    ("MARGIN_RATE", Refusal.CONFIGURATION),
    ("ALIAS_", Refusal.CONFIGURATION),
    ("CONFIGURE_DATA", Refusal.CONFIGURATION),
    ("MARKUP_GROUP", Refusal.CONFIGURATION),
    ("AGGREGATION_MODE", Refusal.CONFIGURATION),
    ("AMOUNT_", Refusal.CONFIGURATION),
    ("FUNDING_REASON", Refusal.CONFIGURATION),
    ("MIGRATION", Refusal.VENUE),
    ("ACCOUNT_POSITION_VALUE", Refusal.POSITION),
    ("ACCOUNT_", Refusal.ACCOUNT),
    ("ALLOWED_EXCEEDED", Refusal.ACCOUNT),
    ("_ON_FILL", Refusal.DEPENDENT),
    ("STOP_LOSS_ORDER", Refusal.DEPENDENT),
    ("LOSING_TAKE_PROFIT", Refusal.DEPENDENT),
    ("HEDGING_GSLO", Refusal.DEPENDENT),
    ("MARKET_HALTED", Refusal.MARKET),
    ("INSUFFICIENT_LIQUIDITY", Refusal.MARKET),
    ("BOUNDS_VIOLATION", Refusal.PRICE),
    ("_HALTED", Refusal.MARKET),
    ("REDUCE_ONLY", Refusal.MARKET),
    ("FIFO_VIOLATION", Refusal.POSITION),
    ("CLOSEOUT", Refusal.POSITION),
    ("CLOSE_TRADE", Refusal.POSITION),
    ("POSITION_SIZE", Refusal.POSITION),
    ("PRICE_UNKNOWN", Refusal.INSTRUMENT),
    ("INSTRUMENT_", Refusal.INSTRUMENT),
    ("UNITS_", Refusal.SIZE),
    ("PRICE_", Refusal.PRICE),
    ("TIME_IN_FORCE", Refusal.TIME_IN_FORCE),
    ("CLIENT_", Refusal.REQUEST),
    ("_UNSPECIFIED", Refusal.REQUEST),
    ("_INCONSISTENCY", Refusal.REQUEST),
    ("ORDER_FILL_POSITION_ACTION", Refusal.REQUEST),
    ("TRIGGER_CONDITION", Refusal.REQUEST),
    ("PARTIAL_FILL", Refusal.REQUEST),
    ("REPLACING_", Refusal.REQUEST),
)


def refusal_of(reason: str) -> Refusal:
    """The kind of a reject or cancel reason; a reason that we do not know is OTHER."""
    return next((kind for part, kind in _REFUSALS if part in reason), Refusal.OTHER)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one answer to a changing request proves.

    Attributes:
        transactions: those that the answer carries, by id. Dependent orders and the rest of the
            batch are in `related_ids` only and have to be read.
        reason: of a reject or an immediate cancel, or why the answer proves nothing.
        unauthorised: the token or the account was not accepted; stop asking.
    """

    outcome: Outcome
    reason: str = ""
    transactions: tuple[Transaction, ...] = ()
    related_ids: tuple[int, ...] = ()
    last_transaction_id: int | None = None
    unauthorised: bool = False

    def first(self, *types: str) -> Transaction | None:
        """The first transaction of one of the types."""
        return next((one for one in self.transactions if one.type in types), None)

    @property
    def rejected(self) -> Transaction | None:
        """The reject, if that is all that the venue recorded: the request did nothing.

        A fill whose remainder could not be reissued carries a reject and is none.
        """
        if all(one.is_reject for one in self.transactions):
            return next(iter(self.transactions), None)
        return None

    @property
    def missing_ids(self) -> tuple[int, ...]:
        """Ids of the batch whose transactions the answer does not carry."""
        carried = {one.id for one in self.transactions}
        return tuple(one for one in self.related_ids if one not in carried)


def classify(status: int, content: bytes) -> Answer:
    """What an answer to a changing request proves: its HTTP status, and its body as far as it came.

    That a 429 took no effect is nowhere promised.
    """
    if status not in (200, 201, 400, 401, 403, 404, 405):
        return Answer(Outcome.AMBIGUOUS, f"HTTP {status}")
    try:
        body = load_json(content)
        transactions = _transactions(body)
        related = tuple(sorted(identifier({"id": one}, "id") for one in _list(body)))
        last = identifier(body, "lastTransactionID") if "lastTransactionID" in body else None
    except DataError as error:
        return Answer(Outcome.AMBIGUOUS, f"HTTP {status}: {error}")
    rejects = [one for one in transactions if one.is_reject]
    if status in (200, 201):
        if len(rejects) == len(transactions):
            return Answer(Outcome.AMBIGUOUS, f"HTTP {status} without the transactions it promises")
        cancels = [one for one in transactions if one.type == "ORDER_CANCEL"]
        fills = [one for one in transactions if one.type == "ORDER_FILL"]
        reason = cancels[-1].reason if cancels and not fills else ""
        return Answer(Outcome.RECORDED, reason, transactions, related, last)
    if rejects:
        return Answer(Outcome.RECORDED, rejects[0].reason, transactions, related, last)
    # Without a transaction only the venue's own error object shows that it was the venue who spoke.
    message = text(body, "errorMessage")
    if transactions or not message:
        return Answer(Outcome.AMBIGUOUS, f"HTTP {status} that is not the venue's error object")
    return Answer(
        Outcome.REFUSED,
        text(body, "errorCode") or message,
        last_transaction_id=last,
        unauthorised=status in (401, 403),
    )


def _transactions(body: Mapping[str, Any]) -> tuple[Transaction, ...]:
    found = {}
    for key in body:
        if key.endswith("Transaction") and (source := child(body, key)) is not None:
            transaction = read_transaction(source)
            found[transaction.id] = transaction
    return tuple(found[own] for own in sorted(found))


def _list(body: Mapping[str, Any]) -> list[Any]:
    related = body.get("relatedTransactionIDs", [])
    return related if isinstance(related, list) else []


# -- the budget of requests --------------------------------------------------------------------


class RequestBudget:
    """A token bucket that keeps a part of itself for protective orders.

    Args:
        per_s: requests a second, and the largest burst.
        reserve: of these, how many only protective requests may use.
    """

    def __init__(self, per_s: int = 100, reserve: int = 20) -> None:
        if not 0 <= reserve < per_s:
            raise ArgumentError(f"reserve must be in 0..{per_s - 1}, was {reserve}")
        self._per_s, self._reserve = per_s, reserve
        self._left, self._at = float(per_s), 0.0

    def wait_s(self, now_s: float, *, protective: bool) -> float:
        """Seconds until a request may go; 0 takes it from the budget.

        Args:
            now_s: a steady clock.
            protective: the request reduces risk: a stop, a cancel, a close.
        """
        self._left = min(float(self._per_s), self._left + (now_s - self._at) * self._per_s)
        self._at = now_s
        needed = 1.0 if protective else 1.0 + self._reserve
        if self._left >= needed:
            self._left -= 1
            return 0.0
        return (needed - self._left) / self._per_s
