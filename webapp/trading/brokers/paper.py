"""A broker of our own with a ledger of its own, outside the trader's transactions.

It behaves as a venue does: client ids are unique for ever, every change is a numbered transaction,
a fill and what follows from it are written together, and it forgets nothing when the trader dies.
Prices come from the feed: market orders fill at the next quote, all others against complete bars,
by the rules of `sep_engine.execution.fills`. Positions are netted at their average price; there are
no separate trades.

What resting orders do here that a bar leaves open:
    IOC and FOK are decided at the next quote, or at the next bar's open: filled there or expired.
    An order whose time ends within a bar is not judged by that bar. GFD ends at 17:00 New York.
    MARKET_IF_TOUCHED below the market is judged as a limit would be for a buy and as a stop for a
    sale, above it the other way round. It fills at its price, or at the open of a bar that opens
    beyond it.
    A trailing stop is judged at the level that it had when the bar began, then moves to the bar's
    best price; if the bar closes beyond the level that it has then, it was hit on the way there and
    fills at that level. A low that came after a high within the bar is not seen.

The ledger is one SQLite file that only this class opens. A commit returns when the bytes are on the
disk (synchronous=FULL).
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from sep_engine.execution.core import Timing
from sep_engine.execution.fills import Resting, bar_fills, market_price
from sep_engine.execution.positions import NetPosition, apply_fill
from sep_engine.execution.states import (
    IMMEDIATE,
    PLACED,
    PROTECTIVE,
    OrderType,
    PositionFill,
    TimeInForce,
)
from sep_engine.model import Quote, QuoteBar
from sep_engine.model.calendar import day_end
from sep_engine.risk import HomeRates, home_rates
from webapp.trading.brokers.base import (
    AccountReport,
    BrokerError,
    Kind,
    OrderRequest,
    Terms,
    Transaction,
    VenueOrder,
)
from webapp.trading.killpoint import killpoint

Result = TypeVar("Result")

# Profit that was turned into account currency is booked to this, as OANDA does.
_CENT_OF_CENT = Decimal("0.0001")
DUPLICATE = "CLIENT_ORDER_ID_ALREADY_EXISTS"

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

# Columns that ledgers of before do not have.
_ADDED = {
    "trailing_distance": "TEXT",
    "time_in_force": "TEXT NOT NULL DEFAULT ''",
    "good_until": "TEXT",
    "position_fill": "TEXT NOT NULL DEFAULT 'DEFAULT'",
    # Of a trailing stop its level; of a MARKET_IF_TOUCHED order the price that it began at.
    "mark": "TEXT",
}

TERMS = Terms(
    types=PLACED,
    times=frozenset(TimeInForce),
    fills=frozenset(PositionFill),
    on_fill=PROTECTIVE & PLACED,
    trades=False,
    replaces=True,
)


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
    trailing_distance: Decimal | None
    time_in_force: TimeInForce
    good_until: datetime | None
    position_fill: PositionFill
    mark: Decimal | None


class PaperBroker:
    """The paper venue for one account. `submit` and the rest are the port of `base.Broker`.

    Args:
        path: the ledger file; made if it is not there.
        currency: of the account. Profit in another is turned at the last quotes, at the price that
            is worse for the account; an order whose profit no quote can turn is refused.
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
        there = {row["name"] for row in self._db.execute("PRAGMA table_info(orders)")}
        for name, definition in _ADDED.items():
            if name not in there:
                self._db.execute(f"ALTER TABLE orders ADD COLUMN {name} {definition}")
        self._db.execute(
            "INSERT OR IGNORE INTO meta VALUES ('balance', ?), ('currency', ?), ('event', '0'),"
            " ('time', '1970-01-01T00:00:00+00:00')",
            (str(opening_balance), currency),
        )
        # Known events that changed nothing are kept in memory only; what follows writes them.
        self._quotes: dict[str, Quote] = {}
        self._event = int(self._meta("event"))
        self._time = self._meta("time")
        kept = self._meta("currency")
        if kept != currency:
            raise BrokerError(f"the paper ledger {path} is in {kept}, the account in {currency}")

    # The port.

    async def submit(self, request: OrderRequest) -> list[Transaction]:
        return await self._run(lambda: self._submit(request))

    async def replace(self, client_id: str, request: OrderRequest) -> list[Transaction]:
        return await self._run(lambda: self._replace(client_id, request))

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
        body = {name: value for name, value in body.items() if value is not None}
        if kind in (Kind.ACCEPTED, Kind.DEPENDENT):
            body["venue_order_id"] = str(number)  # an order is named after its first transaction
        self._db.execute(
            "INSERT INTO transactions VALUES (?, ?, ?, ?)",
            (number, kind.value, body.get("venue_order_id", ""), json.dumps(body)),
        )
        done.append(_transaction_of(body))
        return number

    def _submit(self, request: OrderRequest) -> list[Transaction]:
        with self._transaction() as done:
            reason = self._fault(request)
            if reason:
                self._reject(done, request, reason)
            else:
                self._accept(done, request)
        return done

    def _replace(self, client_id: str, request: OrderRequest) -> list[Transaction]:
        with self._transaction() as done:
            row = self._db.execute(
                "SELECT * FROM orders WHERE client_id = ?", (client_id,)
            ).fetchone()
            reason = self._fault(request)
            if row is None or not row["working"]:
                reason = "ORDER_DOESNT_EXIST"
            elif (row["instrument"], row["type"]) != (request.instrument, request.type.value):
                reason = "REPLACING_ORDER_INVALID"
            if reason:
                self._reject(done, request, reason)
                return done
            old = _order_of(row)
            self._end(done, old, Kind.REPLACED, self._now(), "CLIENT_REQUEST_REPLACED")
            self._accept(done, request, replaces=old)
        return done

    def _reject(self, done: list[Transaction], request: OrderRequest, reason: str) -> None:
        # A duplicate says nothing of the order that has the id, so it does not carry it.
        known = reason == DUPLICATE
        number = self._write(
            done,
            Kind.OTHER if known else Kind.REJECTED,
            self._now(),
            client_id="" if known else request.client_id,
            instrument=request.instrument,
            reason=reason,
        )
        if not known:
            self._insert(str(number), request, working=False)

    def _accept(
        self, done: list[Transaction], request: OrderRequest, replaces: _Order | None = None
    ) -> None:
        terms = self._ends(request)
        number = self._write(
            done,
            Kind.ACCEPTED,
            self._now(),
            client_id=request.client_id,
            instrument=request.instrument,
            order_type=request.type.value,
            units=request.units,
            price=request.price,
            distance=request.trailing_distance,
            time_in_force=terms.time_in_force.value if terms.time_in_force else "",
            replaces_id=replaces.id if replaces else "",
        )
        self._insert(
            str(number), terms, working=True, parent_id=replaces.parent_id if replaces else ""
        )

    def _ends(self, request: OrderRequest) -> OrderRequest:
        """The request with its time in force said, and with the time at which a day order ends."""
        force = request.time_in_force
        if force is None:
            force = TimeInForce.FOK if request.type == OrderType.MARKET else TimeInForce.GTC
        ends = day_end(self._now()) if force == TimeInForce.GFD else request.good_until
        return replace(request, time_in_force=force, good_until=ends)

    def _fault(self, request: OrderRequest) -> str:
        known = self._db.execute(
            "SELECT 1 FROM orders WHERE client_id = ?", (request.client_id,)
        ).fetchone()
        if known:
            return DUPLICATE
        if not request.reduce_only and self._rates(request.instrument) is None:
            return "NO_RATE_INTO_THE_ACCOUNT_CURRENCY"
        if request.units == 0 or not request.units.is_finite():
            return "UNITS_INVALID"
        if request.trade_id:
            return "TRADE_DOESNT_EXIST"
        unpriced = request.type in (OrderType.MARKET, OrderType.TRAILING_STOP_LOSS)
        if unpriced != (request.price is None):
            return "PRICE_INVALID"
        if request.type == OrderType.TRAILING_STOP_LOSS and request.trailing_distance is None:
            return "PRICE_DISTANCE_MISSING"
        if request.good_until is not None and request.good_until <= self._now():
            return "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST"
        return ""

    def _insert(
        self, order_id: str, request: OrderRequest, *, working: bool, parent_id: str = ""
    ) -> None:
        force = request.time_in_force
        row = {
            "id": order_id,
            "client_id": request.client_id,
            "instrument": request.instrument,
            "type": request.type.value,
            "units": str(request.units),
            "price": _text(request.price),
            "bound": _text(request.price_bound),
            "stop_loss": _text(request.stop_loss),
            "take_profit": _text(request.take_profit),
            "stop_distance": _text(request.stop_distance),
            "target_distance": _text(request.target_distance),
            "reduce_only": int(request.reduce_only),
            "parent_id": parent_id,
            "working": int(working),
            "after_event": self._event,
            "trailing_distance": _text(request.trailing_distance),
            "time_in_force": force.value if force else "",
            "good_until": request.good_until.isoformat() if request.good_until else None,
            "position_fill": request.position_fill.value,
            "mark": self._first_mark(request),
        }
        self._db.execute(
            f"INSERT INTO orders ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            tuple(row.values()),
        )

    def _first_mark(self, request: OrderRequest) -> str | None:
        quote = self._quotes.get(request.instrument)
        if quote is None:
            return None
        watched = quote.ask if request.units > 0 else quote.bid
        if request.type == OrderType.MARKET_IF_TOUCHED:
            return str(watched)
        if request.type == OrderType.TRAILING_STOP_LOSS and request.trailing_distance is not None:
            away = request.trailing_distance
            return str(watched + away if request.units > 0 else watched - away)
        return None

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
        self._quotes[quote.instrument] = quote
        done: list[Transaction] = []
        if self._working(quote.instrument):
            with self._transaction() as done:
                self._expire(done, quote.instrument, quote.time)
                self._fill_market(done, quote, assumed_spread)
                self._event = event or self._event
        self._event = event or self._event
        return done

    def _on_bar(self, bar: QuoteBar, event: int) -> list[Transaction]:
        if event <= self._event:
            return []
        self._quotes[bar.instrument] = bar.close_quote
        done: list[Transaction] = []
        if self._working(bar.instrument):
            with self._transaction() as done:
                self._expire(done, bar.instrument, bar.end)
                self._fill_resting(done, bar, event)
                self._time = bar.end.isoformat()
                self._fill_market(done, bar.close_quote, bar.assumed_spread)
                self._event = event
        self._time, self._event = bar.end.isoformat(), event
        return done

    def _fill_market(self, done: list[Transaction], quote: Quote, assumed_spread: bool) -> None:
        for order in self._working(quote.instrument):
            if order.type == OrderType.MARKET:
                price = market_price(units=order.units, quote=quote, bound=order.bound)
                if price is None:
                    self._end(done, order, Kind.CANCELLED, quote.time, "BOUNDS_VIOLATION")
                    continue
            elif order.time_in_force in IMMEDIATE:
                price = _immediate_price(order, quote)
                if price is None:
                    self._end(done, order, Kind.EXPIRED, quote.time, "TIME_IN_FORCE_EXPIRED")
                    continue
            else:
                continue
            self._fill(done, order, price, quote.time, quote.spread, assumed_spread)

    def _expire(self, done: list[Transaction], instrument: str, time: datetime) -> None:
        for order in self._working(instrument):
            if order.good_until is not None and order.good_until <= time:
                self._end(done, order, Kind.EXPIRED, time, "TIME_IN_FORCE_EXPIRED")

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
        self._trail(done, [one for one in judged if self._is_working(one.id)], bar)

    def _trail(self, done: list[Transaction], orders: list[_Order], bar: QuoteBar) -> None:
        """Move the trailing stops to the bar's best price; fill those that its close is beyond."""
        for order in orders:
            if order.type != OrderType.TRAILING_STOP_LOSS or order.trailing_distance is None:
                continue
            side = bar.ask if order.units > 0 else bar.bid
            if order.units > 0:
                level = side.low + order.trailing_distance
                level = level if order.mark is None else min(level, order.mark)
                hit = side.close >= level
            else:
                level = side.high - order.trailing_distance
                level = level if order.mark is None else max(level, order.mark)
                hit = side.close <= level
            self._db.execute("UPDATE orders SET mark = ? WHERE id = ?", (str(level), order.id))
            if hit:
                self._fill(done, order, level, bar.end, bar.open_quote.spread, bar.assumed_spread)

    def _fill_touched(
        self, done: list[Transaction], orders: list[_Order], bar: QuoteBar
    ) -> set[str]:
        by_id = {order.id: order for order in orders}
        resting = [one for order in orders if (one := _resting(order, bar)) is not None]
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
        rates = self._rates(order.instrument)
        if rates is None:
            return  # it waits: the quotes of other pairs have not come since the start
        before = self._position(order.instrument)
        units = order.units
        if order.position_fill == PositionFill.OPEN_ONLY and before.units * units < 0:
            self._end(done, order, Kind.CANCELLED, time, "OPEN_ONLY_AGAINST_THE_POSITION")
            return
        if order.reduce_only or order.position_fill == PositionFill.REDUCE_ONLY:
            if before.units * units >= 0:
                self._end(done, order, Kind.CANCELLED, time, "REDUCE_ONLY_WITHOUT_POSITION")
                return
            units = max(units, -before.units) if units < 0 else min(units, -before.units)
        after = apply_fill(before, units=units, price=price)
        realised = rates.home(after.realised_pl - before.realised_pl)
        if rates.gain != 1:
            realised = realised.quantize(_CENT_OF_CENT)
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
            half_spread_cost=abs(units) * spread / 2 * rates.mid,
            assumed_spread=assumed_spread,
            final=True,
        )
        if before.units * after.units <= 0:
            self._drop_protection(done, order.instrument, time)
        if after.units * units > 0:
            self._open_protection(done, order, units, price, time)

    def _drop_protection(self, done: list[Transaction], instrument: str, time: datetime) -> None:
        for order in self._working(instrument):
            if order.type in PROTECTIVE:
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
            (OrderType.TRAILING_STOP_LOSS, "ts", None, order.trailing_distance),
        ):
            price, trailing = given, None
            if type_ == OrderType.TRAILING_STOP_LOSS:
                trailing = distance
            elif distance is not None:
                away = distance if type_ == OrderType.TAKE_PROFIT else -distance
                price = fill_price + ahead * away
            if (price is None or price <= 0) and trailing is None:
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
                distance=trailing,
                time_in_force=TimeInForce.GTC.value,
                parent_id=order.id,
            )
            request = OrderRequest(
                client_id=client_id,
                instrument=order.instrument,
                type=type_,
                units=-units,
                price=price,
                reduce_only=True,
                trailing_distance=trailing,
                time_in_force=TimeInForce.GTC,
            )
            self._insert(str(number), request, working=True, parent_id=order.id)

    def _rates(self, instrument: str) -> HomeRates | None:
        quotes = {name: (quote.bid, quote.ask) for name, quote in self._quotes.items()}
        return home_rates(self._currency, instrument.partition("_")[2], quotes)

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
        replaces_id=body.get("replaces_id", ""),
        distance=_decimal(body.get("distance")),
        time_in_force=body.get("time_in_force", ""),
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
        trailing_distance=_decimal(row["trailing_distance"]),
        time_in_force=TimeInForce(row["time_in_force"] or "GTC"),
        good_until=datetime.fromisoformat(row["good_until"]) if row["good_until"] else None,
        position_fill=PositionFill(row["position_fill"]),
        mark=_decimal(row["mark"]),
    )


def _venue_order(order: _Order) -> VenueOrder:
    return VenueOrder(
        venue_order_id=order.id,
        client_id=order.client_id,
        instrument=order.instrument,
        units=order.units,
        working=order.working,
        type=order.type.value,
    )


def _immediate_price(order: _Order, quote: Quote) -> Decimal | None:
    """What the quote gives an order that must fill now: None if it does not reach its price."""
    assert order.price is not None
    price = quote.ask if order.units > 0 else quote.bid
    beyond = price <= order.price if order.units > 0 else price >= order.price
    if order.type == OrderType.STOP:
        beyond = price >= order.price if order.units > 0 else price <= order.price
    return price if beyond else None


def _resting(order: _Order, bar: QuoteBar) -> Resting | None:
    """How the bar judges the order: as a stop or a limit at a price; None if it does not."""
    if order.type == OrderType.MARKET or order.time_in_force in IMMEDIATE:
        return None
    if order.type == OrderType.TRAILING_STOP_LOSS:
        if order.mark is None:
            return None
        return Resting(order.id, OrderType.STOP_LOSS, order.units, order.mark)
    assert order.price is not None
    type_ = order.type
    if type_ == OrderType.MARKET_IF_TOUCHED:
        side = bar.ask if order.units > 0 else bar.bid
        start = side.open if order.mark is None else order.mark
        above = order.price > start
        type_ = OrderType.STOP if above == (order.units > 0) else OrderType.LIMIT
    return Resting(order.id, type_, order.units, order.price)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
