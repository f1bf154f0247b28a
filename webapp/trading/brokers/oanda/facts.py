"""OANDA's transactions as those of the port. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from sep_engine.errors import DataError
from sep_engine.model.times import from_ns
from sep_engine.venues.oanda import parse
from webapp.trading.brokers.base import Kind, TradeChange, Transaction

REPLACED = "CLIENT_REQUEST_REPLACED"
# Where each says how much.
CHARGES = {
    "DAILY_FINANCING": "financing",
    "TRANSFER_FUNDS": "amount",
    "DIVIDEND_ADJUSTMENT": "dividendAdjustment",
}
PROTECTIVE_TYPES = frozenset(
    {"TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS", "GUARANTEED_STOP_LOSS"}
)
ENTRY_TYPES = frozenset({"MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "FIXED_PRICE"})
DUPLICATE = "CLIENT_ORDER_ID_ALREADY_EXISTS"
EXPIRED = "TIME_IN_FORCE_EXPIRED"
GONE = "ORDER_DOESNT_EXIST"
# The venue closes these by itself, though it writes them as the close of a trade.
CLOSED_BY_VENUE = frozenset({"MARGIN_CLOSEOUT", "DELAYED_TRADE_CLOSE"})
SAID = frozenset(
    {
        "MARGIN_CALL_ENTER",
        "MARGIN_CALL_EXTEND",
        "MARGIN_CALL_EXIT",
        "DELAYED_TRADE_CLOSURE",
        "CLOSE",
        "REOPEN",
    }
)
# They change nothing that our books hold.
SILENT = frozenset(
    {
        "CREATE",
        "CLIENT_CONFIGURE",
        "ORDER_CLIENT_EXTENSIONS_MODIFY",
        "TRADE_CLIENT_EXTENSIONS_MODIFY",
        "RESET_RESETTABLE_PL",
    }
)


def fills_wanted(lines: Iterable[Mapping[str, Any]]) -> set[int]:
    """Ids of fills that dependents among the lines belong to and that are not among the lines.

    A trade has the id of the fill that opened it.
    """
    lines = list(lines)
    here = {parse.identifier(line, "id") for line in lines}
    wanted = (_opening_fill(line) for line in lines if _protects(line))
    return {fill_id for fill_id in wanted if fill_id is not None and fill_id not in here}


def _protects(line: Mapping[str, Any]) -> bool:
    kind = parse.text(line, "type")
    return kind.endswith("_ORDER") and kind.removesuffix("_ORDER") in PROTECTIVE_TYPES


def _opening_fill(line: Mapping[str, Any]) -> int | None:
    return parse.identifier(line, "tradeID") if "tradeID" in line else None


def transactions_of(
    lines: Iterable[Mapping[str, Any]],
    fills: Iterable[Mapping[str, Any]] = (),
    *,
    account: str = "",
) -> list[Transaction]:
    """The transactions of the port, oldest first.

    Args:
        lines: as the venue wrote them.
        fills: earlier fills that `fills_wanted` asked for.
        account: the venue's id of ours; "" believes every line.

    Raises:
        DataError: a line that cannot be read, or is of another account.
    """
    ordered = sorted(lines, key=lambda line: parse.identifier(line, "id"))
    for line in ordered:
        whose = parse.text(line, "accountID", account)
        if account and whose != account:
            raise DataError(f"transaction {parse.text(line, 'id')} is of account {whose}")
    by_id = {parse.identifier(line, "id"): line for line in (*fills, *ordered)}
    reissued = {parse.identifier(line, "replacesOrderID") for line in ordered if _goes_on(line)}
    return [_transaction(line, by_id, reissued) for line in ordered]


def _goes_on(line: Mapping[str, Any]) -> bool:
    """Whether this is what is left of an order that filled in part: under its name, one order to
    us. Without a name the venue's id is all there is, and then it is another order.
    """
    named = parse.text(parse.child(line, "clientExtensions") or {}, "id")
    return bool(named) and "replacesOrderID" in line and "cancellingTransactionID" not in line


def _transaction(
    raw: Mapping[str, Any], by_id: Mapping[int, Mapping[str, Any]], reissued: set[int]
) -> Transaction:
    line = parse.read_transaction(raw)
    fields: dict[str, Any] = {
        "id": line.id,
        "kind": Kind.OTHER,
        "time": from_ns(line.time_ns),
        "venue_order_id": "" if line.order_id is None else str(line.order_id),
        "client_id": line.client_id,
        "instrument": line.instrument,
        "reason": line.reason,
        "raw": dict(raw),
    }
    order_type = line.type.removesuffix("_REJECT").removesuffix("_ORDER")
    if line.creates_order and order_type in ENTRY_TYPES:
        fields |= _accepted(raw, line, order_type)
        if _goes_on(raw):
            fields["kind"] = Kind.OTHER
    elif line.creates_order and order_type in PROTECTIVE_TYPES:
        fields |= _protective(raw, line, order_type, by_id)
    elif line.type == "ORDER_FILL":
        fields |= _filled(raw, reissued)
    elif line.type == "ORDER_CANCEL":
        ends = {EXPIRED: Kind.EXPIRED, REPLACED: Kind.REPLACED}
        fields["kind"] = ends.get(line.reason, Kind.CANCELLED)
    elif line.type == "ORDER_CANCEL_REJECT":
        # An order that is gone was ended by an earlier transaction; this one says nothing of it.
        fields["kind"] = Kind.OTHER if line.reason == GONE else Kind.CANCEL_REFUSED
    elif line.is_reject and order_type in ENTRY_TYPES | PROTECTIVE_TYPES:
        # A duplicate says nothing of the order that has the name, so it does not carry it.
        if line.reason == DUPLICATE:
            fields["client_id"] = ""
        else:
            fields |= {
                "kind": Kind.REJECTED,
                "trade_id": _closed_trade(raw),
                "units": _closed_units(raw),
            }
    elif line.type in CHARGES:
        fields |= _charged(raw, line.type)
    elif line.type in SAID:
        fields["notice"] = f"The venue says {line.type} (transaction {line.id})."
    elif not line.is_reject and line.type not in SILENT:
        fields["notice"] = f"Transaction {line.id} is of a kind that we do not know, {line.type}."
    return Transaction(**fields)


def _accepted(raw: Mapping[str, Any], line: parse.Transaction, order_type: str) -> dict[str, Any]:
    ends = parse.time_ns(raw, "gtdTime") if "gtdTime" in raw else None
    return {
        "kind": Kind.ACCEPTED,
        "order_type": order_type,
        "units": line.units or Decimal(0),
        "price": line.price,
        "distance": parse.optional_decimal(raw, "distance"),
        "time_in_force": parse.text(raw, "timeInForce"),
        "good_until": None if ends is None else from_ns(ends),
        "replaces_id": str(raw.get("replacesOrderID", "")),
        "trade_id": _closed_trade(raw),
    }


def _filled(raw: Mapping[str, Any], reissued: set[int]) -> dict[str, Any]:
    fill = parse.read_fill(raw)
    changes = [*fill.reduced] if fill.opened is None else [*fill.reduced, fill.opened]
    return {
        "kind": Kind.FILLED,
        "units": fill.units,
        "price": fill.price,
        "realised_pl": fill.pl,
        "half_spread_cost": fill.half_spread_cost,
        "financing": fill.financing,
        # The premium of a guaranteed stop is charged when it fills.
        "commission": fill.commission + fill.guaranteed_fee,
        "final": fill.order_id not in reissued,
        "trades": tuple(
            TradeChange(
                str(one.trade_id),
                one.units,
                fill.price if one.price is None else one.price,
                one.realized_pl,
                one is fill.opened,
            )
            for one in changes
        ),
    }


def _charged(raw: Mapping[str, Any], kind: str) -> dict[str, Any]:
    amount = parse.optional_decimal(raw, CHARGES[kind])
    after = parse.optional_decimal(raw, "accountBalance")
    return {
        "kind": Kind.CHARGE,
        "amount": amount or Decimal(0),
        "reason": kind,
        "to_empty": kind == "TRANSFER_FUNDS" and amount == after,
    }


def _closed_trade(raw: Mapping[str, Any]) -> str:
    """The trade that somebody asked a market order to close, "" for none."""
    if parse.text(raw, "reason") in CLOSED_BY_VENUE:
        return ""
    return parse.text(parse.child(raw, "tradeClose") or {}, "tradeID")


def _closed_units(raw: Mapping[str, Any]) -> Decimal:
    """How much of a trade a refused market order was to close (> 0); 0 if it does not say."""
    close = parse.child(raw, "tradeClose") or {}
    if parse.text(close, "units") in ("", "ALL"):
        return Decimal(0)
    return parse.optional_decimal(close, "units") or Decimal(0)


def _protective(
    raw: Mapping[str, Any],
    line: parse.Transaction,
    order_type: str,
    by_id: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """A stop or target of a trade: it wants the opposite of what the trade's fill opened.

    The books know what the trade still holds; the fill is all that the ledger says of it.
    """
    trade_id = _opening_fill(raw)
    fill = None if trade_id is None else by_id.get(trade_id)
    found = _accepted(raw, line, order_type) | {
        "trade_id": "" if trade_id is None else str(trade_id)
    }
    if fill is not None:
        opened = parse.child(fill, "tradeOpened") or {}
        found["instrument"] = parse.text(fill, "instrument")
        found["units"] = -parse.decimal(opened, "units")
    if line.reason == "ON_FILL" and fill is not None:
        found["kind"] = Kind.DEPENDENT
        found["parent_id"] = str(parse.identifier(fill, "orderID"))
    return found
