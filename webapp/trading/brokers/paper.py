"""A broker of our own with a ledger of its own, outside the trader's transactions.

It behaves as a venue does: client ids are unique for ever, every change is a numbered transaction,
a fill and what follows from it are written together, and it forgets nothing when the trader dies.
Prices come from the feed: market orders fill at the next quote, all others against complete bars,
by the rules of `sep_engine.execution.fills`. Positions are netted at their average price.

The ledger is one SQLite file that only this class opens. A commit returns when the bytes are on the
disk (synchronous=FULL).
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from sep_engine.execution.core import Timing
from sep_engine.execution.fills import Resting, bar_fills, market_price
from sep_engine.execution.positions import NetPosition, apply_fill
from sep_engine.execution.states import OrderType
from sep_engine.model import Quote, QuoteBar
from webapp.trading.brokers.base import (
    AccountReport,
    BrokerError,
    Kind,
    OrderRequest,
    Transaction,
    VenueOrder,
)
from webapp.trading.killpoint import killpoint

Result = TypeVar("Result")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS transactions (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, order_id TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL UNIQUE,
    instrument TEXT NOT NULL,
    type TEXT NOT NULL,
    units TEXT NOT NULL,
    price TEXT,
    bound TEXT,
    stop_loss TEXT,
    take_profit TEXT,
    stop_distance TEXT,
    target_distance TEXT,
    reduce_only INTEGER NOT NULL,
    parent_id TEXT NOT NULL DEFAULT '',
    working INTEGER NOT NULL,
    -- The last event of the feed that the venue had seen when it took the order.
    after_event INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_working ON orders (instrument) WHERE working = 1;
CREATE TABLE IF NOT EXISTS positions (
    instrument TEXT PRIMARY KEY, units TEXT NOT NULL, average TEXT, realised TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class _Order:
    id: str
    client_id: str
    instrument: str
    type: OrderType
    units: Decimal
    price: Decimal | None
    bound: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    stop_distance: Decimal | None
    target_distance: Decimal | None
    reduce_only: bool
    parent_id: str
    working: bool
    after_event: int


class PaperBroker:
    """The paper venue for one account. `submit` and the rest are the port of `base.Broker`.

    Args:
        path: the ledger file; made if it is not there.
        currency: of the account. Instruments must be quoted in it, so that profit needs no rate.
        opening_balance: used when the ledger is made.
    """

    # A send is a local transaction that ends with this process: nothing arrives late.
    timing = Timing(late=timedelta(seconds=0), read_gap=timedelta(seconds=2))

    def __init__(self, *, path: Path, currency: str, opening_balance: Decimal) -> None:
        self._currency = currency
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="paper-broker")
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._db.execute(
            "INSERT OR IGNORE INTO meta VALUES ('balance', ?), ('currency', ?), ('event', '0'),"
            " ('time', '1970-01-01T00:00:00+00:00')",
            (str(opening_balance), currency),
        )
        # Known events that changed nothing are kept in memory only; what follows writes them.
        self._event = int(self._meta("event"))
        self._time = self._meta("time")
        kept = self._meta("currency")
        if kept != currency:
            raise BrokerError(f"the paper ledger {path} is in {kept}, the account in {currency}")

    # The port.

    async def submit(self, request: OrderRequest) -> list[Transaction]:
        return await self._run(lambda: self._submit(request))

    async def cancel(self, client_id: str) -> list[Transaction]:
        return await self._run(lambda: self._cancel(client_id))

    async def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        return await self._run(lambda: self._order_by_client_id(client_id))

    async def transactions_since(self, transaction_id: int) -> list[Transaction]:
        return await self._run(lambda: self._since(transaction_id))

    async def account(self) -> AccountReport:
        return await self._run(self._account)

    async def close(self) -> None:
        await self._run(self._db.close)
        self._thread.shutdown()

    # The feed. `event` numbers the feed's events for ever; one that was seen before is ignored.

    async def on_quote(
        self, quote: Quote, *, event: int, assumed_spread: bool
    ) -> list[Transaction]:
        """Fill pending market orders at `quote`; return what happened."""
        return await self._run(lambda: self._on_quote(quote, event, assumed_spread))

    async def on_bar(self, bar: QuoteBar, *, event: int) -> list[Transaction]:
        """Judge resting orders by the complete `bar`, then fill market orders at its close."""
        return await self._run(lambda: self._on_bar(bar, event))

    async def on_standing_quote(self, quote: Quote, *, assumed_spread: bool) -> list[Transaction]:
        """Fill pending market orders at a quote that stands: the feed is paused or at its end."""
        return await self._run(lambda: self._on_quote(quote, None, assumed_spread))

    # Below runs in the broker's own thread.

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @contextmanager
    def _transaction(self) -> Iterator[list[Transaction]]:
        """Collect transactions and commit them together, or none."""
        done: list[Transaction] = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield done
            self._set_meta("event", str(self._event))
            self._set_meta("time", self._time)
            killpoint("broker_before_commit")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _meta(self, key: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row["value"])

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _write(self, done: list[Transaction], kind: Kind, time: datetime, **fields: Any) -> int:
        row = self._db.execute("SELECT COALESCE(MAX(id), 0) + 1 AS id FROM transactions").fetchone()
        number = int(row["id"])
        body = {"id": number, "kind": kind.value, "time": time.isoformat()}
        body |= {
            name: str(value) if isinstance(value, Decimal) else value
            for name, value in fields.items()
        }
        if kind in (Kind.ACCEPTED, Kind.DEPENDENT):
            body["venue_order_id"] = str(number)  # an order is named after its first transaction
        self._db.execute(
            "INSERT INTO transactions VALUES (?, ?, ?, ?)",
            (number, kind.value, body.get("venue_order_id", ""), json.dumps(body)),
        )
        done.append(_transaction_of(body))
        return number

    def _submit(self, request: OrderRequest) -> list[Transaction]:
        now = self._now()
        with self._transaction() as done:
            known = self._db.execute(
                "SELECT 1 FROM orders WHERE client_id = ?", (request.client_id,)
            ).fetchone()
            reason = "CLIENT_ORDER_ID_ALREADY_EXISTS" if known else self._fault(request)
            if reason:
                # A duplicate says nothing of the order that has the id, so it does not carry it.
                client_id = "" if known else request.client_id
                number = self._write(
                    done,
                    Kind.OTHER if known else Kind.REJECTED,
                    now,
                    client_id=client_id,
                    instrument=request.instrument,
                    reason=reason,
                )
                if not known:
                    self._insert(str(number), request, working=False)
                return done
            number = self._write(
                done,
                Kind.ACCEPTED,
                now,
                client_id=request.client_id,
                instrument=request.instrument,
                order_type=request.type.value,
                units=request.units,
                price=request.price,
            )
            self._insert(str(number), request, working=True)
        return done

    def _fault(self, request: OrderRequest) -> str:
        if not request.instrument.endswith(f"_{self._currency}"):
            return "CURRENCY_NOT_SUPPORTED"
        if request.units == 0 or not request.units.is_finite():
            return "UNITS_INVALID"
        if (request.type == OrderType.MARKET) != (request.price is None):
            return "PRICE_INVALID"
        return ""

    def _insert(
        self, order_id: str, request: OrderRequest, *, working: bool, parent_id: str = ""
    ) -> None:
        self._db.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                order_id,
                request.client_id,
                request.instrument,
                request.type.value,
                str(request.units),
                _text(request.price),
                _text(request.price_bound),
                _text(request.stop_loss),
                _text(request.take_profit),
                _text(request.stop_distance),
                _text(request.target_distance),
                int(request.reduce_only),
                parent_id,
                int(working),
                self._event,
            ),
        )

    def _cancel(self, client_id: str) -> list[Transaction]:
        with self._transaction() as done:
            row = self._db.execute(
                "SELECT * FROM orders WHERE client_id = ?", (client_id,)
            ).fetchone()
            if row is None or not row["working"]:
                # Nothing to cancel: whatever ended the order is in the ledger already.
                return done
            self._end(done, _order_of(row), Kind.CANCELLED, self._now(), "CLIENT_REQUEST")
        return done

    def _end(
        self, done: list[Transaction], order: _Order, kind: Kind, time: datetime, reason: str
    ) -> None:
        self._db.execute("UPDATE orders SET working = 0 WHERE id = ?", (order.id,))
        self._write(
            done,
            kind,
            time,
            venue_order_id=order.id,
            client_id=order.client_id,
            instrument=order.instrument,
            reason=reason,
        )

    def _order_by_client_id(self, client_id: str) -> VenueOrder | None:
        row = self._db.execute("SELECT * FROM orders WHERE client_id = ?", (client_id,)).fetchone()
        return None if row is None else _venue_order(_order_of(row))

    def _since(self, transaction_id: int) -> list[Transaction]:
        rows = self._db.execute(
            "SELECT body FROM transactions WHERE id > ? ORDER BY id", (transaction_id,)
        )
        return [_transaction_of(json.loads(row["body"])) for row in rows]

    def _account(self) -> AccountReport:
        last = self._db.execute("SELECT COALESCE(MAX(id), 0) AS id FROM transactions").fetchone()
        held = self._db.execute("SELECT instrument, units FROM positions").fetchall()
        working = self._db.execute("SELECT * FROM orders WHERE working = 1").fetchall()
        positions = {row["instrument"]: Decimal(row["units"]) for row in held}
        return AccountReport(
            last_transaction_id=int(last["id"]),
            balance=Decimal(self._meta("balance")),
            positions={name: units for name, units in positions.items() if units},
            open_orders=tuple(_venue_order(_order_of(row)) for row in working),
        )

    def _now(self) -> datetime:
        """Market time: that of the last quote, the epoch before the first."""
        return datetime.fromisoformat(self._time)

    def _working(self, instrument: str) -> list[_Order]:
        rows = self._db.execute(
            "SELECT * FROM orders WHERE working = 1 AND instrument = ? ORDER BY CAST(id AS INT)",
            (instrument,),
        )
        return [_order_of(row) for row in rows]

    def _on_quote(self, quote: Quote, event: int | None, assumed_spread: bool) -> list[Transaction]:
        if event is not None and event <= self._event:
            return []
        self._time = quote.time.isoformat()
        done: list[Transaction] = []
        if self._working(quote.instrument):
            with self._transaction() as done:
                self._fill_market(done, quote, assumed_spread)
                self._event = event or self._event
        self._event = event or self._event
        return done

    def _on_bar(self, bar: QuoteBar, event: int) -> list[Transaction]:
        if event <= self._event:
            return []
        done: list[Transaction] = []
        if self._working(bar.instrument):
            with self._transaction() as done:
                self._fill_resting(done, bar, event)
                self._time = bar.end.isoformat()
                self._fill_market(done, bar.close_quote, bar.assumed_spread)
                self._event = event
        self._time, self._event = bar.end.isoformat(), event
        return done

    def _fill_market(self, done: list[Transaction], quote: Quote, assumed_spread: bool) -> None:
        for order in self._working(quote.instrument):
            if order.type != OrderType.MARKET:
                continue
            price = market_price(units=order.units, quote=quote, bound=order.bound)
            if price is None:
                self._end(done, order, Kind.CANCELLED, quote.time, "BOUNDS_VIOLATION")
                continue
            self._fill(done, order, price, quote.time, quote.spread, assumed_spread)

    def _fill_resting(self, done: list[Transaction], bar: QuoteBar, event: int) -> None:
        """Fill what the bar touches.

        An order counts from the bar after the one in which it was sent: part of that bar's range
        lies before it. Protection that an entry brings with it counts at once: an entry at the
        open lives through the whole bar, and one that was itself touched within the bar may be
        stopped in it but never reach its target there.
        """
        # The quote that opened this bar is the event before this one.
        judged = [order for order in self._working(bar.instrument) if order.after_event < event - 1]
        filled = self._fill_touched(done, judged, bar)
        born = [
            order
            for order in self._working(bar.instrument)
            if order.parent_id in filled and order.type == OrderType.STOP_LOSS
        ]
        self._fill_touched(done, born, bar)

    def _fill_touched(
        self, done: list[Transaction], orders: list[_Order], bar: QuoteBar
    ) -> set[str]:
        by_id = {order.id: order for order in orders}
        resting = [
            Resting(order.id, order.type, order.units, order.price)
            for order in orders
            if order.price is not None
        ]
        filled = set()
        for touched, price in bar_fills(resting, bar):
            if self._is_working(touched.key):
                spread = bar.open_quote.spread
                self._fill(done, by_id[touched.key], price, bar.end, spread, bar.assumed_spread)
                filled.add(touched.key)
        return filled

    def _is_working(self, order_id: str) -> bool:
        row = self._db.execute("SELECT working FROM orders WHERE id = ?", (order_id,)).fetchone()
        return bool(row["working"])

    def _fill(
        self,
        done: list[Transaction],
        order: _Order,
        price: Decimal,
        time: datetime,
        spread: Decimal,
        assumed_spread: bool,
    ) -> None:
        before = self._position(order.instrument)
        units = order.units
        if order.reduce_only:
            if before.units * units >= 0:
                self._end(done, order, Kind.CANCELLED, time, "REDUCE_ONLY_WITHOUT_POSITION")
                return
            units = max(units, -before.units) if units < 0 else min(units, -before.units)
        after = apply_fill(before, units=units, price=price)
        realised = after.realised_pl - before.realised_pl
        self._db.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
            (
                order.instrument,
                str(after.units),
                _text(after.average_price),
                str(after.realised_pl),
            ),
        )
        self._set_meta("balance", str(Decimal(self._meta("balance")) + realised))
        self._db.execute("UPDATE orders SET working = 0 WHERE id = ?", (order.id,))
        self._write(
            done,
            Kind.FILLED,
            time,
            venue_order_id=order.id,
            client_id=order.client_id,
            instrument=order.instrument,
            order_type=order.type.value,
            units=units,
            price=price,
            realised_pl=realised,
            half_spread_cost=abs(units) * spread / 2,
            assumed_spread=assumed_spread,
            final=True,
        )
        if before.units * after.units <= 0:
            self._drop_protection(done, order.instrument, time)
        if after.units * units > 0:
            self._open_protection(done, order, units, price, time)

    def _drop_protection(self, done: list[Transaction], instrument: str, time: datetime) -> None:
        for order in self._working(instrument):
            if order.type in (OrderType.STOP_LOSS, OrderType.TAKE_PROFIT):
                self._end(done, order, Kind.CANCELLED, time, "POSITION_CLOSED")

    def _open_protection(
        self,
        done: list[Transaction],
        order: _Order,
        units: Decimal,
        fill_price: Decimal,
        time: datetime,
    ) -> None:
        ahead = 1 if units > 0 else -1
        for type_, suffix, given, distance in (
            (OrderType.STOP_LOSS, "sl", order.stop_loss, order.stop_distance),
            (OrderType.TAKE_PROFIT, "tp", order.take_profit, order.target_distance),
        ):
            price = given
            if distance is not None:
                away = distance if type_ == OrderType.TAKE_PROFIT else -distance
                price = fill_price + ahead * away
            if price is None or price <= 0:
                continue
            client_id = f"{order.client_id}-{suffix}"
            number = self._write(
                done,
                Kind.DEPENDENT,
                time,
                client_id=client_id,
                instrument=order.instrument,
                order_type=type_.value,
                units=-units,
                price=price,
                parent_id=order.id,
            )
            request = OrderRequest(
                client_id=client_id,
                instrument=order.instrument,
                type=type_,
                units=-units,
                price=price,
                price_bound=None,
                stop_loss=None,
                take_profit=None,
                stop_distance=None,
                target_distance=None,
                reduce_only=True,
            )
            self._insert(str(number), request, working=True, parent_id=order.id)

    def _position(self, instrument: str) -> NetPosition:
        row = self._db.execute(
            "SELECT * FROM positions WHERE instrument = ?", (instrument,)
        ).fetchone()
        if row is None:
            return NetPosition()
        return NetPosition(
            Decimal(row["units"]), _decimal(row["average"]), Decimal(row["realised"])
        )


def _transaction_of(body: dict[str, Any]) -> Transaction:
    price = body.get("price")
    return Transaction(
        id=body["id"],
        kind=Kind(body["kind"]),
        time=datetime.fromisoformat(body["time"]),
        venue_order_id=body.get("venue_order_id", ""),
        client_id=body.get("client_id", ""),
        instrument=body.get("instrument", ""),
        order_type=body.get("order_type", ""),
        units=Decimal(body.get("units", "0")),
        price=None if price is None else Decimal(price),
        realised_pl=Decimal(body.get("realised_pl", "0")),
        half_spread_cost=Decimal(body.get("half_spread_cost", "0")),
        assumed_spread=bool(body.get("assumed_spread", False)),
        final=bool(body.get("final", True)),
        reason=body.get("reason", ""),
        parent_id=body.get("parent_id", ""),
        raw=body,
    )


def _order_of(row: sqlite3.Row) -> _Order:
    return _Order(
        id=row["id"],
        client_id=row["client_id"],
        instrument=row["instrument"],
        type=OrderType(row["type"]),
        units=Decimal(row["units"]),
        price=_decimal(row["price"]),
        bound=_decimal(row["bound"]),
        stop_loss=_decimal(row["stop_loss"]),
        take_profit=_decimal(row["take_profit"]),
        stop_distance=_decimal(row["stop_distance"]),
        target_distance=_decimal(row["target_distance"]),
        reduce_only=bool(row["reduce_only"]),
        parent_id=row["parent_id"],
        working=bool(row["working"]),
        after_event=row["after_event"],
    )


def _venue_order(order: _Order) -> VenueOrder:
    return VenueOrder(
        venue_order_id=order.id,
        client_id=order.client_id,
        instrument=order.instrument,
        units=order.units,
        working=order.working,
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
