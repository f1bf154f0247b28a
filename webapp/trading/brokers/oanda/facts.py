"""OANDA's transactions as those of the port. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from sep_engine.venues.oanda import parse
from webapp.trading.brokers.base import Kind, Transaction

ENTRY_TYPES = frozenset({"MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "FIXED_PRICE"})
DUPLICATE = "CLIENT_ORDER_ID_ALREADY_EXISTS"
EXPIRED = "TIME_IN_FORCE_EXPIRED"
GONE = "ORDER_DOESNT_EXIST"


def fills_wanted(lines: Iterable[Mapping[str, Any]]) -> set[int]:
    """Ids of fills that dependents among the lines belong to and that are not among the lines."""
    lines = list(lines)
    here = {parse.identifier(line, "id") for line in lines}
    named = {
        parse.identifier(line, "orderFillTransactionID")
        for line in lines
        if "orderFillTransactionID" in line
    }
    return named - here


def transactions_of(
    lines: Iterable[Mapping[str, Any]], fills: Iterable[Mapping[str, Any]] = ()
) -> list[Transaction]:
    """The transactions of the port, oldest first.

    Args:
        lines: as the venue wrote them.
        fills: earlier fills that `fills_wanted` asked for.

    Raises:
        DataError: a line that cannot be read.
    """
    ordered = sorted(lines, key=lambda line: parse.identifier(line, "id"))
    by_id = {parse.identifier(line, "id"): line for line in (*fills, *ordered)}
    reissued = {
        parse.identifier(line, "replacesOrderID")
        for line in ordered
        if "replacesOrderID" in line and "cancellingTransactionID" not in line
    }
    return [_transaction(line, by_id, reissued) for line in ordered]


def _transaction(
    raw: Mapping[str, Any], by_id: Mapping[int, Mapping[str, Any]], reissued: set[int]
) -> Transaction:
    line = parse.read_transaction(raw)
    fields: dict[str, Any] = {
        "id": line.id,
        "kind": Kind.OTHER,
        "time": parse.to_datetime(line.time_ns),
        "venue_order_id": "" if line.order_id is None else str(line.order_id),
        "client_id": line.client_id,
        "instrument": line.instrument,
        "reason": line.reason,
        "raw": dict(raw),
    }
    order_type = line.type.removesuffix("_REJECT").removesuffix("_ORDER")
    if line.creates_order and order_type in ENTRY_TYPES:
        # What replaces a part-filled order goes on under the same name: one order to us.
        goes_on = "replacesOrderID" in raw and "cancellingTransactionID" not in raw
        fields |= {
            "kind": Kind.OTHER if goes_on else Kind.ACCEPTED,
            "order_type": order_type,
            "units": line.units or Decimal(0),
            "price": line.price,
        }
    elif line.creates_order:
        fields |= _dependent(raw, order_type, by_id)
    elif line.type == "ORDER_FILL":
        fill = parse.read_fill(raw)
        fields |= {
            "kind": Kind.FILLED,
            "units": fill.units,
            "price": fill.price,
            "realised_pl": fill.pl,
            "half_spread_cost": fill.half_spread_cost,
            "final": fill.order_id not in reissued,
        }
    elif line.type == "ORDER_CANCEL":
        fields["kind"] = Kind.EXPIRED if line.reason == EXPIRED else Kind.CANCELLED
    elif line.type == "ORDER_CANCEL_REJECT":
        # An order that is gone was ended by an earlier transaction; this one says nothing of it.
        fields["kind"] = Kind.OTHER if line.reason == GONE else Kind.CANCEL_REFUSED
    elif line.is_reject and order_type in ENTRY_TYPES:
        # A duplicate says nothing of the order that has the name, so it does not carry it.
        if line.reason == DUPLICATE:
            fields["client_id"] = ""
        else:
            fields["kind"] = Kind.REJECTED
    return Transaction(**fields)


def _dependent(
    raw: Mapping[str, Any], order_type: str, by_id: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """A stop or target of a trade: it wants the opposite of what the fill opened."""
    fill_id = raw.get("orderFillTransactionID")
    fill = None if fill_id is None else by_id.get(int(fill_id))
    if fill is None:
        return {"order_type": order_type}  # hung on a trade by somebody else; see the account
    opened = parse.child(fill, "tradeOpened") or {}
    return {
        "kind": Kind.DEPENDENT,
        "order_type": order_type,
        "instrument": parse.text(fill, "instrument"),
        "units": -parse.decimal(opened, "units"),
        "price": parse.optional_decimal(raw, "price"),
        "parent_id": str(parse.identifier(fill, "orderID")),
    }
