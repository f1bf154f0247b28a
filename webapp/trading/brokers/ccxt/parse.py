"""What ccxt's structures say, and ours as an exchange takes them. Pure; needs no ccxt."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sep_engine.errors import DataError
from sep_engine.execution.states import OrderType, PositionFill, TimeInForce
from webapp.trading.brokers.base import Kind, OrderRequest, Terms, Transaction

TERMS = Terms(
    types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times=frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}),
    fills=frozenset({PositionFill.DEFAULT, PositionFill.REDUCE_ONLY}),
    on_fill=frozenset(),
    trades=False,
    replaces=False,
    target_distance=False,
)

_ENDS = {"canceled": Kind.CANCELLED, "closed": Kind.CANCELLED, "expired": Kind.EXPIRED}
_PLAIN = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)


def symbol_of(instrument: str) -> str:
    """BTC_USDT as ccxt writes the spot market: BTC/USDT."""
    return instrument.replace("_", "/")


def wire_id(client_id: str) -> str:
    """The client id as it is sent: 32 letters and digits at most, which every exchange takes."""
    if _PLAIN.fullmatch(client_id):
        return client_id
    return hashlib.sha256(client_id.encode()).hexdigest()[:32]


def refusal(request: OrderRequest) -> str:
    """Return what a spot exchange cannot be asked for, "" if nothing."""
    if request.type not in TERMS.types:
        return f"a spot exchange takes MARKET and LIMIT orders here, not {request.type}"
    if request.position_fill not in TERMS.fills:
        return f"a spot exchange takes no {request.position_fill}"
    force = request.time_in_force
    if force is not None and force not in TERMS.times:
        return f"a spot exchange takes GTC, IOC and FOK here, not {force}"
    if (request.type == OrderType.LIMIT) != (request.price is not None):
        return f"a {request.type} order has {'no' if request.price is None else 'a'} price"
    for name in (
        "stop_loss",
        "take_profit",
        "stop_distance",
        "target_distance",
        "trailing_distance",
        "trade_id",
    ):
        if getattr(request, name):
            return f"a spot exchange takes no {name}"
    return ""


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as the exchange shows it. `filled` is without sign."""

    id: str
    wire_id: str
    filled: Decimal
    status: str
    time: datetime | None
    raw: Mapping[str, Any]

    @property
    def ends(self) -> Kind | None:
        """How the order ended if it did not fill as a whole, None while it may fill."""
        return _ENDS.get(self.status)


@dataclass(frozen=True, slots=True)
class Deal:
    """One trade of an order. Units are without sign; the fee may be in any currency."""

    id: str
    units: Decimal
    price: Decimal
    time: datetime
    fee: Decimal
    fee_currency: str
    raw: Mapping[str, Any]


def read_order(order: Mapping[str, Any]) -> Seen:
    """Read ccxt's order structure.

    Raises:
        DataError: it has no id, or no readable filled amount.
    """
    status = str(order.get("status") or "")
    ended = status == "rejected"
    return Seen(
        id=_text(order, "id"),
        wire_id=str(order.get("clientOrderId") or ""),
        filled=Decimal(0) if ended else _decimal(order.get("filled"), "filled"),
        status=status,
        time=_time(order.get("timestamp")),
        raw=order.get("info") or {},
    )


def read_deals(trades: Iterable[Mapping[str, Any]], order_id: str) -> list[Deal]:
    """Read those of ccxt's trade structures that belong to the order, oldest first.

    Raises:
        DataError: one of them lacks id, time, amount or price.
    """
    deals = []
    for trade in trades:
        if str(trade.get("order")) != order_id:
            continue
        time = _time(trade.get("timestamp"))
        if time is None:
            raise DataError("a trade has no time")
        fee = trade.get("fee") or {}
        cost = fee.get("cost")
        deals.append(
            Deal(
                id=_text(trade, "id"),
                units=_decimal(trade.get("amount"), "amount"),
                price=_decimal(trade.get("price"), "price"),
                time=time,
                fee=Decimal(0) if cost is None else _decimal(cost, "fee"),
                fee_currency=str(fee.get("currency") or ""),
                raw=trade.get("info") or {},
            )
        )
    return sorted(deals, key=lambda deal: deal.time)


def read_totals(balance: Mapping[str, Any]) -> dict[str, Decimal]:
    """Currency to what the account holds of it, working orders included.

    Raises:
        DataError: an amount cannot be read.
    """
    totals = balance.get("total") or {}
    return {
        name: _decimal(value, name)
        for name, value in totals.items()
        if value is not None and _decimal(value, name)
    }


_DECIMALS = frozenset({"units", "price", "realised_pl", "commission"})
_KEPT = (
    "venue_order_id",
    "client_id",
    "instrument",
    "order_type",
    "time_in_force",
    "reason",
    "final",
    "raw",
)


def to_plain(fact: Transaction) -> dict[str, Any]:
    """A transaction as JSON keeps it; `from_plain` is its inverse."""
    plain = {name: getattr(fact, name) for name in _KEPT}
    plain |= {
        name: None if getattr(fact, name) is None else str(getattr(fact, name))
        for name in _DECIMALS
    }
    return plain | {"id": fact.id, "kind": fact.kind.value, "time": fact.time.isoformat()}


def from_plain(plain: Mapping[str, Any]) -> Transaction:
    fields = dict(plain)
    for name in _DECIMALS:
        fields[name] = None if fields[name] is None else Decimal(fields[name])
    fields["kind"] = Kind(fields["kind"])
    fields["time"] = datetime.fromisoformat(fields["time"])
    return Transaction(**fields)


def _text(source: Mapping[str, Any], name: str) -> str:
    value = source.get(name)
    if value is None or str(value) == "":
        raise DataError(f"the exchange says no {name}")
    return str(value)


def _decimal(value: Any, name: str) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise DataError(f"{name} is not a number: {value!r}") from error
    if not number.is_finite():
        raise DataError(f"{name} is not a number: {value!r}")
    return number


def _time(ms: Any) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(int(ms) / 1000, UTC)
