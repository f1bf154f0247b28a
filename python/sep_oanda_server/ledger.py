"""One account: an append-only list of transactions, and the state that follows from it.

Deciding and applying are apart. The order desk and the matching engine turn requests and quotes
into transactions, in the wire's own shape; `apply` folds each into orders, trades and money, and
nothing else changes them.
So `Ledger.replayed(transactions)` gives the same account again: after a restart, or as it was
some transactions ago.

Ids are gapless from 1. An order's id is that of the transaction that made it, a trade's that of
its fill; all transactions of one cause share a time and the batch id, the first id among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sep_oanda_server.fields import DEPENDENT_TYPES, identity
from sep_oanda_server.wire import Json, money_text, time_text

ZERO = Decimal(0)
DEPENDENT_SLOTS = {  # order type -> (field of a trade, name in the body of PUT trade/orders)
    "TAKE_PROFIT": ("take_profit", "takeProfit"),
    "STOP_LOSS": ("stop_loss", "stopLoss"),
    "TRAILING_STOP_LOSS": ("trailing", "trailingStopLoss"),
}
_NOT_ORDER_FIELDS = frozenset(
    {
        "id",
        "time",
        "userID",
        "accountID",
        "batchID",
        "requestID",
        "reason",
        "replacesOrderID",
        "cancellingTransactionID",
        "orderFillTransactionID",
        "rejectReason",
    }
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is fixed about an account.

    `client_ids`: "forever" refuses a client id that any earlier order had; "open" only one that a
    pending order has. The venue's documents do not say which holds there.
    `lookup`: whether `@id` finds orders of any state ("all") or only pending ones ("pending").
    `fifo`: a trade may not be closed while an older one of the same size is open (United States).
    """

    account_id: str = "101-004-1435156-001"
    currency: str = "USD"
    opening_balance: Decimal = Decimal(100_000)
    margin_rate: Decimal = Decimal("0.02")
    hedging: bool = False
    fifo: bool = False
    client_ids: str = "forever"
    lookup: str = "all"
    pending_orders_max: int = 1000
    open_trades_max: int = 1000


@dataclass(slots=True)
class Order:
    """An order; `fields` are its wire fields, `extra` what later transactions added."""

    id: int
    type: str
    instrument: str
    fields: Json
    time: str
    state: str = "PENDING"
    extra: Json = field(default_factory=dict)

    @property
    def units(self) -> Decimal:
        return Decimal(self.fields["units"])

    @property
    def trade_id(self) -> int:
        return int(self.fields["tradeID"])

    @property
    def client_id(self) -> str | None:
        return identity(self.fields)


@dataclass(slots=True)
class Trade:
    """A trade. Units are signed: above zero is long."""

    id: int
    instrument: str
    price: Decimal
    time: str
    initial_units: Decimal
    units: Decimal
    initial_margin: str
    extensions: Json | None
    realized: Decimal = ZERO
    financing: Decimal = ZERO
    closed_value: Decimal = ZERO
    closing_ids: list[int] = field(default_factory=list)
    close_time: str | None = None
    take_profit: int | None = None
    stop_loss: int | None = None
    trailing: int | None = None

    @property
    def is_open(self) -> bool:
        return self.units != 0

    @property
    def is_long(self) -> bool:
        return self.initial_units > 0

    @property
    def dependents(self) -> list[int]:
        found = (self.take_profit, self.stop_loss, self.trailing)
        return [order_id for order_id in found if order_id is not None]


@dataclass(slots=True)
class Totals:
    """Money that an instrument's closed business left behind, in account currency."""

    long_pl: Decimal = ZERO
    short_pl: Decimal = ZERO
    financing: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status and the JSON body that goes with it."""

    status: int
    body: Json


class Ledger:
    """The account's transactions and their projection. Not thread-safe; every `now_ns` is UTC."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.transactions: list[Json] = []
        self.orders: dict[int, Order] = {}
        self.trades: dict[int, Trade] = {}
        self.pending: dict[int, Order] = {}
        self.open: dict[int, Trade] = {}
        self.totals: dict[str, Totals] = {}
        self.balance = self.pl = self.financing = ZERO
        self.alias = ""
        self.margin_rate = terms.margin_rate
        self.margin_call: Json = {}
        self.last_fill_time: str | None = None
        self.order_names: dict[str, list[int]] = {}
        self.trade_names: dict[str, int] = {}
        # Trailing stop values and the price that a market-if-touched order started from. They
        # follow from quotes, not from transactions, and so are kept beside them.
        self.marks: dict[int, Decimal] = {}
        # The request that the next transactions answer; None: they follow from prices or time.
        self.request_id: str | None = None

    @classmethod
    def opened(cls, terms: Terms, now_ns: int) -> Ledger:
        """A new account with its opening balance."""
        ledger = cls(terms)
        site, division, user, number = terms.account_id.split("-")
        Batch(ledger, now_ns).add(
            "CREATE",
            divisionID=int(division),
            siteID=int(site),
            accountUserID=int(user),
            accountNumber=int(number),
            homeCurrency=terms.currency,
        )
        Batch(ledger, now_ns).add(
            "TRANSFER_FUNDS",
            amount=money_text(terms.opening_balance),
            fundingReason="CLIENT_FUNDING",
            accountBalance=money_text(terms.opening_balance),
        )
        return ledger

    @classmethod
    def replayed(
        cls, terms: Terms, transactions: Iterable[Json], marks: dict[int, Decimal] | None = None
    ) -> Ledger:
        """The account after these transactions, which begin at id 1."""
        ledger = cls(terms)
        for transaction in transactions:
            ledger.apply(transaction)
        ledger.marks = dict(marks or {})
        return ledger

    @property
    def last_id(self) -> int:
        return len(self.transactions)

    @property
    def created_time(self) -> str:
        return str(self.transactions[0]["time"])

    # -- applying ------------------------------------------------------------------------------

    def apply(self, transaction: Json) -> None:
        """Append a transaction and fold it into the state.

        Raises:
            ValueError: its id is not the next one.
        """
        if int(transaction["id"]) != self.last_id + 1:
            raise ValueError(f"transaction id must be {self.last_id + 1}, was {transaction['id']}")
        self.transactions.append(transaction)
        kind: str = transaction["type"]
        if kind.endswith("_ORDER"):
            self._apply_order(transaction, kind.removesuffix("_ORDER"))
        elif apply := _APPLY.get(kind):
            apply(self, transaction)

    def _apply_order(self, transaction: Json, order_type: str) -> None:
        order_id = int(transaction["id"])
        trade = self.trades.get(int(transaction["tradeID"])) if "tradeID" in transaction else None
        fields = {key: transaction[key] for key in transaction if key not in _NOT_ORDER_FIELDS}
        fields["type"] = order_type
        order = Order(
            order_id,
            order_type,
            trade.instrument if trade else transaction["instrument"],
            fields,
            transaction["time"],
        )
        if "replacesOrderID" in transaction:
            order.extra["replacesOrderID"] = transaction["replacesOrderID"]
        self.orders[order_id] = self.pending[order_id] = order
        if order.client_id:
            self.order_names.setdefault(order.client_id, []).append(order_id)
        if trade:
            setattr(trade, DEPENDENT_SLOTS[order_type][0], order_id)

    def _end_order(self, transaction: Json, state: str, cause: str, at: str) -> Order:
        number = int(transaction["orderID"])
        # A scripted fault fills an order that has ended, or one that never was.
        order = self.pending.pop(number, None) or self.orders.get(number)
        if order is None:
            order = Order(number, "MARKET", transaction["instrument"], {}, transaction["time"])
        order.state = state
        order.extra[cause] = transaction["id"]
        order.extra[at] = transaction["time"]
        self.marks.pop(order.id, None)
        if order.type in DEPENDENT_TYPES:
            trade, slot = self.trades[order.trade_id], DEPENDENT_SLOTS[order.type][0]
            if getattr(trade, slot) == order.id:
                setattr(trade, slot, None)
        return order

    def _apply_cancel(self, transaction: Json) -> None:
        order = self._end_order(
            transaction, "CANCELLED", "cancellingTransactionID", "cancelledTime"
        )
        if "replacedByOrderID" in transaction:
            order.extra["replacedByOrderID"] = transaction["replacedByOrderID"]

    def _apply_fill(self, transaction: Json) -> None:
        order = self._end_order(transaction, "FILLED", "fillingTransactionID", "filledTime")
        totals = self.totals.setdefault(transaction["instrument"], Totals())
        reduced = transaction.get("tradeReduced")
        for part in [*transaction.get("tradesClosed", []), *([reduced] if reduced else [])]:
            trade = self.trades[int(part["tradeID"])]
            units, realized = Decimal(part["units"]), Decimal(part["realizedPL"])
            trade.units += units
            trade.realized += realized
            trade.closed_value += abs(units) * Decimal(part["price"])
            trade.closing_ids.append(int(transaction["id"]))
            if trade.is_long:
                totals.long_pl += realized
            else:
                totals.short_pl += realized
            if not trade.is_open:
                trade.close_time = transaction["time"]
                del self.open[trade.id]
                order.extra.setdefault("tradeClosedIDs", []).append(part["tradeID"])
            else:
                order.extra["tradeReducedID"] = part["tradeID"]
        if opened := transaction.get("tradeOpened"):
            trade_id, extensions = int(opened["tradeID"]), opened.get("clientExtensions")
            self.trades[trade_id] = self.open[trade_id] = Trade(
                trade_id,
                transaction["instrument"],
                Decimal(opened["price"]),
                transaction["time"],
                Decimal(opened["units"]),
                Decimal(opened["units"]),
                opened["initialMarginRequired"],
                extensions,
            )
            order.extra["tradeOpenedID"] = opened["tradeID"]
            if extensions and "id" in extensions:
                self.trade_names[extensions["id"]] = trade_id
        self.pl += Decimal(transaction["pl"])
        self.balance = Decimal(transaction["accountBalance"])
        self.last_fill_time = transaction["time"]

    def _apply_funds(self, transaction: Json) -> None:
        self.balance = Decimal(transaction["accountBalance"])

    def _apply_configure(self, transaction: Json) -> None:
        self.alias = transaction.get("alias", self.alias)
        self.margin_rate = Decimal(transaction.get("marginRate", self.margin_rate))

    def _apply_order_extensions(self, transaction: Json) -> None:
        order = self.orders[int(transaction["orderID"])]
        if found := transaction.get("clientExtensionsModify"):
            before = order.client_id
            order.fields["clientExtensions"] = found
            if order.client_id != before:
                if before:
                    self.order_names[before].remove(order.id)
                if order.client_id:
                    self.order_names.setdefault(order.client_id, []).append(order.id)
        if found := transaction.get("tradeClientExtensionsModify"):
            order.fields["tradeClientExtensions"] = found

    def _apply_trade_extensions(self, transaction: Json) -> None:
        trade = self.trades[int(transaction["tradeID"])]
        if trade.extensions and "id" in trade.extensions:
            del self.trade_names[trade.extensions["id"]]
        trade.extensions = transaction["tradeClientExtensionsModify"]
        if "id" in trade.extensions:
            self.trade_names[trade.extensions["id"]] = trade.id

    def _apply_financing(self, transaction: Json) -> None:
        for position in transaction["positionFinancings"]:
            totals = self.totals.setdefault(position["instrument"], Totals())
            for part in position["openTradeFinancings"]:
                amount = Decimal(part["financing"])
                self.trades[int(part["tradeID"])].financing += amount
                totals.financing += amount
        self.financing += Decimal(transaction["financing"])
        self.balance = Decimal(transaction["accountBalance"])

    def _apply_margin_call(self, transaction: Json) -> None:
        entered = transaction["type"] == "MARGIN_CALL_ENTER"
        self.margin_call = {"marginCallEnterTime": transaction["time"]} if entered else {}

    # -- finding -------------------------------------------------------------------------------

    def order_named(self, specifier: str) -> Order | None:
        """The order of an id, or of `@` and a client id; None if there is none."""
        if not specifier.startswith("@"):
            return (
                self.orders.get(int(specifier))
                if specifier.isascii() and specifier.isdigit()
                else None
            )
        found = [self.orders[order_id] for order_id in self.order_names.get(specifier[1:], [])]
        pending = [order for order in found if order.state == "PENDING"]
        candidates = pending or (found if self.terms.lookup == "all" else [])
        return candidates[-1] if candidates else None

    def trade_named(self, specifier: str) -> Trade | None:
        """The trade of an id, or of `@` and a client id; None if there is none."""
        if specifier.startswith("@"):
            trade_id = self.trade_names.get(specifier[1:])
            return None if trade_id is None else self.trades[trade_id]
        return (
            self.trades.get(int(specifier)) if specifier.isascii() and specifier.isdigit() else None
        )

    def open_trades(self, instrument: str, *, long: bool) -> list[Trade]:
        """Open trades of one side, oldest first."""
        return [
            trade
            for trade in self.open.values()
            if trade.instrument == instrument and trade.is_long == long
        ]

    def order_name_taken(self, name: str | None, *, except_for: int | None = None) -> bool:
        held = [one for one in self.order_names.get(name or "", []) if one != except_for]
        if self.terms.client_ids == "open":
            return any(self.orders[one].state == "PENDING" for one in held)
        return bool(held)

    def trade_name_taken(self, fields: Json) -> bool:
        """Whether the client id that the order wants for its trade is already a trade's."""
        name = fields.get("tradeClientExtensions", {}).get("id")
        return name is not None and name in self.trade_names


class Batch:
    """The transactions of one cause: one time, one batch id, the ids that a response lists."""

    def __init__(self, ledger: Ledger, now_ns: int) -> None:
        self.ledger, self.now_ns, self.time = ledger, now_ns, time_text(now_ns)
        self.ids: list[str] = []

    def add(self, kind: str, **fields: Any) -> Json:
        """Record the next transaction and return it."""
        own = str(self.ledger.last_id + 1)
        account_id = self.ledger.terms.account_id
        transaction = {
            "type": kind,
            "id": own,
            "batchID": self.ids[0] if self.ids else own,
            "userID": int(account_id.split("-")[2]),
            "accountID": account_id,
            "time": self.time,
            **({"requestID": self.ledger.request_id} if self.ledger.request_id else {}),
            **fields,
        }
        self.ids.append(own)
        self.ledger.apply(transaction)
        return transaction

    def cancel(self, order: Order, reason: str, **fields: Any) -> Json:
        """Record the end of a pending order."""
        named = {"clientOrderID": order.client_id} if order.client_id else {}
        return self.add("ORDER_CANCEL", orderID=str(order.id), **named, reason=reason, **fields)

    def reply(self, status: int, body: Json) -> Reply:
        """The response that lists this batch."""
        related = {"relatedTransactionIDs": self.ids, "lastTransactionID": str(self.ledger.last_id)}
        return Reply(status, body | related)

    def rejection(
        self, name: str, kind: str, why: str, *, status: int | None = None, **fields: Any
    ) -> Reply:
        """Record a reject transaction; the response is 404 for a missing thing, else 400."""
        if status is None:
            status = 404 if why.endswith("_DOESNT_EXIST") else 400
        body = {name: self.add(kind, **fields, rejectReason=why)}
        return self.reply(status, body | {"errorCode": why, "errorMessage": error_message(why)})


_APPLY: dict[str, Callable[[Ledger, Json], None]] = {
    "TRANSFER_FUNDS": Ledger._apply_funds,
    "ORDER_FILL": Ledger._apply_fill,
    "ORDER_CANCEL": Ledger._apply_cancel,
    "CLIENT_CONFIGURE": Ledger._apply_configure,
    "ORDER_CLIENT_EXTENSIONS_MODIFY": Ledger._apply_order_extensions,
    "TRADE_CLIENT_EXTENSIONS_MODIFY": Ledger._apply_trade_extensions,
    "DAILY_FINANCING": Ledger._apply_financing,
    "MARGIN_CALL_ENTER": Ledger._apply_margin_call,
    "MARGIN_CALL_EXIT": Ledger._apply_margin_call,
}

_MESSAGES = {
    "PRICE_PRECISION_EXCEEDED": (
        "The price specified contains more precision than is allowed for the instrument"
    ),
    "ORDER_DOESNT_EXIST": "The Order ID specified does not exist",
    "TRADE_DOESNT_EXIST": "The Trade ID specified does not exist",
    "CLIENT_ORDER_ID_ALREADY_EXISTS": "The client Order ID specified is already in use",
    "INSUFFICIENT_MARGIN": "The Account has insufficient margin for the Order",
}


def error_message(reason: str) -> str:
    """A sentence for a reason; the wording of most is this server's own."""
    return _MESSAGES.get(reason, reason.replace("_", " ").capitalize())
