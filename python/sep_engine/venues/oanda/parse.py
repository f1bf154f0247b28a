"""OANDA v20 payloads as values. Pure; nothing here knows where the bytes came from.

The venue adds fields and enum values when it likes. Text that names a kind or a state is kept as
text, and every value keeps the object that it was read from in `raw`, so that nothing new is lost
and nothing new is fatal. A number or a time that is needed and unusable raises `DataError`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sep_engine.errors import ArgumentError, DataError
from sep_engine.model import Instrument, Ohlc, Quote, QuoteBar
from sep_engine.model.times import from_ns, to_ns

Json = Mapping[str, Any]

LINE_BYTES_MAX = 1 << 20
NS_PER_S = 1_000_000_000

# Lengths of the granularities whose bars all last the same; from H2 up a change of the clocks in
# New York makes bars of other lengths.
GRANULARITY_S: Mapping[str, int] = {
    "S5": 5,
    "S10": 10,
    "S15": 15,
    "S30": 30,
    "M1": 60,
    "M2": 120,
    "M4": 240,
    "M5": 300,
    "M10": 600,
    "M15": 900,
    "M30": 1800,
    "H1": 3600,
}

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_UNIX = re.compile(r"(\d{1,11})\.(\d{9})", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?", re.ASCII)


# -- scalars -----------------------------------------------------------------------------------


def load_json(text: bytes) -> dict[str, Any]:
    """The JSON object in `text`; fractions come as Decimal, never as float.

    Raises:
        DataError: not JSON, not an object, or NaN or Infinity in it.
    """

    def constant(name: str) -> None:
        raise ValueError(f"{name} is not a number")

    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=constant)
    except (ValueError, InvalidOperation, RecursionError) as error:
        raise DataError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError("not a JSON object")
    return found


def decimal(source: Json, key: str) -> Decimal:
    """The finite decimal under `key`, sent as text or as a number.

    Raises:
        DataError: missing, or not a plain decimal number.
    """
    value = source.get(key)
    if isinstance(value, Decimal):
        value = str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise DataError(f"{key} must be a decimal number, was {_shown(value)}")
    return Decimal(value)


def optional_decimal(source: Json, key: str) -> Decimal | None:
    """As `decimal`, or None where the key is missing or empty."""
    return None if source.get(key) in (None, "") else decimal(source, key)


def price(source: Json, key: str) -> Decimal:
    """A decimal above zero.

    Raises:
        DataError: as `decimal`, or not above zero.
    """
    value = decimal(source, key)
    if value <= 0:
        raise DataError(f"{key} must be > 0, was {value}")
    return value


def time_ns(source: Json, key: str) -> int:
    """Nanoseconds since 1970 UTC of the time under `key`, in the RFC 3339 or the UNIX form.

    Raises:
        DataError: missing, without Z, or of neither form.
    """
    text = source.get(key)
    if isinstance(text, str):
        if found := _TIME.fullmatch(text):
            try:
                at = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
            except ValueError:
                raise DataError(f"{key} must be a time, was {_shown(text)}") from None
            return to_ns(at) + int((found[2] or "").ljust(9, "0"))
        if found := _UNIX.fullmatch(text):
            return int(found[1]) * NS_PER_S + int(found[2])
    raise DataError(f"{key} must be a time in UTC, was {_shown(text)}")


def time_text(at: datetime) -> str:
    """The form that every request sends: RFC 3339, nine digits, Z.

    The Z matters: a time without zone was read as New York time by the venue.

    Raises:
        ArgumentError: the time carries no zone.
    """
    if at.utcoffset() is None:
        raise ArgumentError(f"a time must carry its zone, was {at.isoformat()}")
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}000Z"


def identifier(source: Json, key: str) -> int:
    """A transaction, order or trade id: a whole number >= 0, sent as text.

    Raises:
        DataError: missing or something else.
    """
    value = source.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    raise DataError(f"{key} must be an id, was {_shown(value)}")


def text(source: Json, key: str, default: str = "") -> str:
    """The text under `key`; anything that is no text counts as missing."""
    value = source.get(key)
    return value if isinstance(value, str) else default


def objects(source: Json, key: str) -> list[dict[str, Any]]:
    """The list of objects under `key`; missing is empty.

    Raises:
        DataError: there is something else.
    """
    value = source.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise DataError(f"{key} must be a list of objects, was {_shown(value)}")
    return value


def child(source: Json, key: str) -> dict[str, Any] | None:
    """The object under `key`, or None."""
    value = source.get(key)
    return value if isinstance(value, dict) else None


def _required(source: Json, key: str) -> dict[str, Any]:
    found = child(source, key)
    if found is None:
        raise DataError(f"{key} must be an object, was {_shown(source.get(key))}")
    return found


def _shown(value: object) -> str:
    return repr(value)[:60]


# -- prices ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """One price of one instrument; bid and ask are the best of their depth.

    A side without depth is None: the venue sends empty books.
    """

    instrument: str
    time_ns: int
    bid: Decimal | None
    ask: Decimal | None
    tradeable: bool
    status: str
    raw: Json = field(repr=False, compare=False, default_factory=dict)

    def quote(self) -> Quote | None:
        """The quote, or None where one cannot trade at it: a side missing, or not tradeable.

        Raises:
            DataError: the bid is above the ask.
        """
        if self.bid is None or self.ask is None or not self.tradeable:
            return None
        if self.bid > self.ask:
            raise DataError(f"{self.instrument}: bid {self.bid} is above ask {self.ask}")
        return Quote(self.instrument, from_ns(self.time_ns), self.bid, self.ask)


def read_price(source: Json) -> Price:
    """A ClientPrice, of the stream or the snapshot.

    Raises:
        DataError: instrument, time or a price in it is unusable.
    """
    bids = [price(level, "price") for level in objects(source, "bids")]
    asks = [price(level, "price") for level in objects(source, "asks")]
    name = text(source, "instrument")
    if not name:
        raise DataError("a price must name its instrument")
    status = text(source, "status")
    return Price(
        name,
        time_ns(source, "time"),
        max(bids, default=None),
        min(asks, default=None),
        source.get("tradeable", status == "tradeable") is True,
        status,
        source,
    )


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle. The sides that were not asked for are None."""

    start_ns: int
    complete: bool
    volume: int
    bid: Ohlc | None
    ask: Ohlc | None
    mid: Ohlc | None


def read_candles(source: Json) -> list[Candle]:
    """The candles of a candles response, as they came.

    Raises:
        DataError: a time or a price in it is unusable.
    """
    return [
        Candle(
            time_ns(one, "time"),
            one.get("complete") is True,
            identifier(one, "volume"),
            _ohlc(one, "bid"),
            _ohlc(one, "ask"),
            _ohlc(one, "mid"),
        )
        for one in objects(source, "candles")
    ]


def _ohlc(source: Json, key: str) -> Ohlc | None:
    side = child(source, key)
    if side is None:
        return None
    try:
        return Ohlc(price(side, "o"), price(side, "h"), price(side, "l"), price(side, "c"))
    except ArgumentError as error:
        raise DataError(f"{key}: {error}") from None


def quote_bars(candles: Iterable[Candle], instrument: str, granularity: str) -> list[QuoteBar]:
    """The complete candles as bars of both sides.

    Raises:
        ArgumentError: the granularity's bars do not all last the same.
        DataError: a candle lacks a side, or its bid is above its ask.
    """
    if granularity not in GRANULARITY_S:
        known = ", ".join(GRANULARITY_S)
        raise ArgumentError(f"granularity must be one of {known}, was {granularity!r}")
    length = timedelta(seconds=GRANULARITY_S[granularity])
    bars = []
    for one in candles:
        if not one.complete:
            continue
        if one.bid is None or one.ask is None:
            raise DataError("candles need both sides: ask for price BA")
        start = from_ns(one.start_ns)
        try:
            bars.append(
                QuoteBar(
                    instrument,
                    start,
                    start + length,
                    one.bid,
                    one.ask,
                    Decimal(one.volume),
                    assumed_spread=False,
                )
            )
        except ArgumentError as error:
            raise DataError(f"{instrument} {start.isoformat()}: {error}") from None
    return bars


# -- instruments -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstrumentTerms:
    """What the venue says of an instrument. Sizes are in units of the base currency."""

    name: str
    type: str
    pip_location: int
    price_decimals: int
    units_decimals: int
    minimum_trade_size: Decimal
    maximum_order_units: Decimal | None
    minimum_trailing_distance: Decimal | None
    margin_rate: Decimal | None
    raw: Json = field(repr=False, compare=False, default_factory=dict)

    def instrument(self, calendar: str = "fx") -> Instrument:
        """The instrument of the model.

        Raises:
            ArgumentError: the terms contradict each other.
        """
        base, _, quote = self.name.partition("_")
        return Instrument(
            self.name,
            base,
            quote,
            tick=Decimal(1).scaleb(-self.price_decimals),
            pip=Decimal(1).scaleb(self.pip_location),
            units_step=Decimal(1).scaleb(-self.units_decimals),
            price_decimals=self.price_decimals,
            calendar=calendar,
        )


def read_instruments(source: Json) -> list[InstrumentTerms]:
    """The instruments of an account.

    Raises:
        DataError: a precision or size in it is unusable.
    """
    return [
        InstrumentTerms(
            text(one, "name"),
            text(one, "type"),
            _small(one, "pipLocation"),
            _small(one, "displayPrecision"),
            _small(one, "tradeUnitsPrecision"),
            decimal(one, "minimumTradeSize"),
            optional_decimal(one, "maximumOrderUnits"),
            optional_decimal(one, "minimumTrailingStopDistance"),
            optional_decimal(one, "marginRate"),
            one,
        )
        for one in objects(source, "instruments")
    ]


def _small(source: Json, key: str) -> int:
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not -12 <= value <= 12:
        raise DataError(f"{key} must be a whole number in -12..12, was {_shown(value)}")
    return value


# -- transactions ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transaction:
    """One line of the account's ledger.

    `order_id` is the order that the line is about: its own id where it creates one. `client_id` is
    the client's name for that order, "" where it has none. `units` are signed.
    """

    id: int
    type: str
    time_ns: int
    order_id: int | None
    client_id: str
    instrument: str
    reason: str
    units: Decimal | None
    price: Decimal | None
    raw: Json = field(repr=False, compare=False, default_factory=dict)

    @property
    def creates_order(self) -> bool:
        return self.type.endswith("_ORDER")

    @property
    def is_reject(self) -> bool:
        return self.type.endswith("_REJECT")


def read_transaction(source: Json) -> Transaction:
    """A transaction of any type, known or not.

    Raises:
        DataError: id, type or time, or a number in it, is unusable.
    """
    own, kind = identifier(source, "id"), text(source, "type")
    if not kind:
        raise DataError(f"transaction {own} has no type")
    order_id = identifier(source, "orderID") if "orderID" in source else None
    if order_id is None and kind.endswith("_ORDER"):
        order_id = own
    extensions = child(source, "clientExtensions") or {}
    return Transaction(
        own,
        kind,
        time_ns(source, "time"),
        order_id,
        text(source, "clientOrderID") or text(extensions, "id"),
        text(source, "instrument"),
        text(source, "rejectReason") or text(source, "reason"),
        optional_decimal(source, "units"),
        optional_decimal(source, "price"),
        source,
    )


@dataclass(frozen=True, slots=True)
class TradeChange:
    """A trade that a fill opened (units of the fill's sign) or reduced."""

    trade_id: int
    units: Decimal
    price: Decimal | None
    realized_pl: Decimal
    financing: Decimal


@dataclass(frozen=True, slots=True)
class Fill:
    """The money side of an ORDER_FILL, in account currency but for `price`.

    `price` is the volume-weighted price of the whole fill.
    """

    transaction_id: int
    order_id: int
    client_id: str
    instrument: str
    time_ns: int
    units: Decimal
    price: Decimal
    pl: Decimal
    financing: Decimal
    commission: Decimal
    guaranteed_fee: Decimal
    half_spread_cost: Decimal
    reason: str
    opened: TradeChange | None
    reduced: tuple[TradeChange, ...]


def read_fill(source: Json) -> Fill:
    """An ORDER_FILL transaction.

    Raises:
        DataError: it is another transaction, or a number in it is unusable.
    """
    line = read_transaction(source)
    if line.type != "ORDER_FILL" or line.order_id is None:
        raise DataError(f"transaction {line.id} is {line.type}, not ORDER_FILL")
    closed = [*objects(source, "tradesClosed")]
    if reduced := child(source, "tradeReduced"):
        closed.append(reduced)
    opened = child(source, "tradeOpened")
    return Fill(
        line.id,
        line.order_id,
        line.client_id,
        line.instrument,
        line.time_ns,
        decimal(source, "units"),
        price(source, "fullVWAP" if source.get("fullVWAP") else "price"),
        optional_decimal(source, "pl") or Decimal(0),
        optional_decimal(source, "financing") or Decimal(0),
        optional_decimal(source, "commission") or Decimal(0),
        optional_decimal(source, "guaranteedExecutionFee") or Decimal(0),
        optional_decimal(source, "halfSpreadCost") or Decimal(0),
        line.reason,
        _trade_change(opened) if opened else None,
        tuple(_trade_change(one) for one in closed),
    )


def _trade_change(source: Json) -> TradeChange:
    return TradeChange(
        identifier(source, "tradeID"),
        decimal(source, "units"),
        optional_decimal(source, "price"),
        optional_decimal(source, "realizedPL") or Decimal(0),
        optional_decimal(source, "financing") or Decimal(0),
    )


# -- the account -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue shows it. Dependents have a trade and no units of their own."""

    id: int
    type: str
    state: str
    client_id: str
    instrument: str
    units: Decimal | None
    price: Decimal | None
    trade_id: int | None
    raw: Json = field(repr=False, compare=False, default_factory=dict)


def read_order(source: Json) -> VenueOrder:
    """An order of any type, known or not.

    Raises:
        DataError: its id or a number in it is unusable.
    """
    return VenueOrder(
        identifier(source, "id"),
        text(source, "type"),
        text(source, "state"),
        text(child(source, "clientExtensions") or {}, "id"),
        text(source, "instrument"),
        optional_decimal(source, "units"),
        optional_decimal(source, "price"),
        identifier(source, "tradeID") if "tradeID" in source else None,
        source,
    )


@dataclass(frozen=True, slots=True)
class VenueTrade:
    """An open or closed trade; units are signed."""

    id: int
    instrument: str
    state: str
    price: Decimal
    units: Decimal
    raw: Json = field(repr=False, compare=False, default_factory=dict)


def read_trade(source: Json) -> VenueTrade:
    """A Trade or a TradeSummary.

    Raises:
        DataError: its id or a number in it is unusable.
    """
    return VenueTrade(
        identifier(source, "id"),
        text(source, "instrument"),
        text(source, "state"),
        price(source, "price"),
        decimal(source, "currentUnits"),
        source,
    )


@dataclass(frozen=True, slots=True)
class VenueAccount:
    """The account as of one transaction. Amounts are in its currency.

    `positions` are net signed units by instrument, without the flat ones; `sides` are (instrument,
    signed units) of each side that is held, both sides of an instrument at a hedging account.
    """

    id: str
    currency: str
    balance: Decimal
    nav: Decimal
    hedging: bool
    last_transaction_id: int
    orders: tuple[VenueOrder, ...]
    trades: tuple[VenueTrade, ...]
    positions: Mapping[str, Decimal]
    sides: tuple[tuple[str, Decimal], ...]
    raw: Json = field(repr=False, compare=False, default_factory=dict)


def read_account(source: Json) -> VenueAccount:
    """The body of GET accounts/{id}.

    Raises:
        DataError: a number in it is unusable.
    """
    account = _required(source, "account")
    net: dict[str, Decimal] = {}
    sides: list[tuple[str, Decimal]] = []
    for one in objects(account, "positions"):
        name = text(one, "instrument")
        both = [
            optional_decimal(child(one, side) or {}, "units") or Decimal(0)
            for side in ("long", "short")
        ]
        sides += [(name, units) for units in both if units]
        if sum(both):
            net[name] = sum(both, Decimal(0))
    return VenueAccount(
        text(account, "id"),
        text(account, "currency"),
        decimal(account, "balance"),
        decimal(account, "NAV"),
        account.get("hedgingEnabled") is True,
        identifier(source if "lastTransactionID" in source else account, "lastTransactionID"),
        tuple(read_order(one) for one in objects(account, "orders")),
        tuple(read_trade(one) for one in objects(account, "trades")),
        net,
        tuple(sides),
        account,
    )


# -- streams -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life; on the transaction stream with the last id, which shows a gap."""

    time_ns: int
    last_transaction_id: int | None


def read_stream_line(line: bytes) -> Price | Heartbeat | Transaction | None:
    """One line of either stream; None for an empty line or a type that we do not know.

    Raises:
        DataError: the line is not JSON, or of a known type and unusable.
    """
    if not line.strip():
        return None
    source = load_json(line)
    kind = text(source, "type")
    if kind == "HEARTBEAT":
        last = source.get("lastTransactionID")
        return Heartbeat(
            time_ns(source, "time"),
            None if last is None else identifier(source, "lastTransactionID"),
        )
    if kind == "PRICE":
        return read_price(source)
    # Transactions carry an id; what has none is a message of a kind that came later.
    return read_transaction(source) if "id" in source else None


class LineSplitter:
    """Lines out of chunks of bytes, however the network cut them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their ends.

        Raises:
            DataError: a line grows beyond LINE_BYTES_MAX.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX or any(len(one) > LINE_BYTES_MAX for one in lines):
            raise DataError(f"a stream line is longer than {LINE_BYTES_MAX} bytes")
        return [line.rstrip(b"\r") for line in lines]
