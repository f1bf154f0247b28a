"""One spot account of an exchange as a broker. Needs ccxt.

An exchange has orders and trades but no ledger of the account. This one keeps it: an SQLite file
in which every order is written before it is sent, and every fact once it was read, numbered
without gaps. Facts come from the exchange alone; the file only remembers them.

Only sandboxes: a request to any address that is not the sandbox's own is stopped before it leaves.
A request that makes an order, or looks one up in doubt, is stopped too unless it carries the
order's name, so that "no such order" is an answer to the question that was asked.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ccxt

from sep_engine.errors import DataError
from sep_engine.execution.core import Timing
from sep_engine.execution.positions import NetPosition, apply_fill
from sep_engine.execution.states import OrderType, TimeInForce
from webapp.trading.brokers.base import (
    AccountReport,
    BrokerError,
    BrokerUnsure,
    Deaf,
    Kind,
    Listening,
    News,
    OrderRequest,
    Reached,
    Transaction,
    VenueOrder,
)
from webapp.trading.brokers.ccxt import parse

Result = TypeVar("Result")

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
NEEDED = ("createOrder", "cancelOrder", "fetchOrder", "fetchOpenOrders", "fetchMyTrades")
POLL_S = 2.0
# An order that waited this long behind other requests is not sent any more.
SEND_WITHIN_S = 3.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS transactions (
    id INTEGER PRIMARY KEY, deal TEXT UNIQUE, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS orders (
    client_id TEXT PRIMARY KEY, instrument TEXT NOT NULL, type TEXT NOT NULL, units TEXT NOT NULL,
    price TEXT, sent_at REAL NOT NULL, venue_order_id TEXT NOT NULL DEFAULT '',
    filled TEXT NOT NULL DEFAULT '0', done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS positions (
    instrument TEXT PRIMARY KEY, units TEXT NOT NULL, average TEXT, realised TEXT NOT NULL
);
"""


class Stopped(Exception):
    """A request was not let out."""


def balance_of(exchange: Any, currency: str) -> Decimal:
    """Return what the exchange holds of a currency.

    Raises:
        BrokerError: it does not answer, does not accept the key, or says nothing of the currency.
    """
    try:
        total = exchange.fetch_balance().get("total", {})
    except ccxt.BaseError as error:
        raise BrokerError(f"the balance cannot be read: {type(error).__name__}") from error
    if total.get(currency) is None:
        raise BrokerError(f"the exchange says nothing of {currency}: name one that it holds")
    return Decimal(str(total[currency]))


def open_sandbox(name: str, credentials: str, *, address: str = "") -> Any:
    """Return ccxt's client of an exchange's sandbox.

    Args:
        name: as ccxt names the exchange.
        credentials: `key:secret`, or `key:secret:passphrase` where the exchange wants one.
        address: of a server on this machine that stands in for the exchange.

    Raises:
        BrokerError: ccxt does not know it, it lacks what is needed, or its sandbox has no address
            of its own.
    """
    if name not in ccxt.exchanges:
        raise BrokerError(f"ccxt knows no exchange {name!r}; see ccxt.exchanges")
    exchange = getattr(ccxt, name)(
        {
            "enableRateLimit": True,
            "timeout": 3000,
            "options": {
                "defaultType": "spot",
                "fetchMarkets": {"types": ["spot"]},
                "maxRetriesOnFailure": 0,
                "warnOnFetchOpenOrdersWithoutSymbol": False,
            },
        }
    )
    missing = [one for one in (*NEEDED, "fetchBalance") if exchange.has.get(one) is not True]
    if missing:
        raise BrokerError(f"{name} cannot be traded here: ccxt has no {', '.join(missing)} for it")
    for field, value in zip(("apiKey", "secret", "password"), credentials.split(":"), strict=False):
        setattr(exchange, field, value)
    live = _hosts(exchange)
    if not exchange.urls.get("test"):
        raise BrokerError(f"{name} has no sandbox, and nothing else is traded here")
    exchange.set_sandbox_mode(True)
    if _hosts(exchange) & live:
        raise BrokerError(f"the sandbox of {name} has no address of its own, so it is not used")
    if address:
        if urlsplit(address).hostname not in LOOPBACK:
            raise BrokerError(f"a server that stands in must be on this machine, was {address}")
        exchange.urls["api"] = _moved(exchange.urls["api"], address)
    exchange.session.max_redirects = 0
    exchange.number = str
    # Amounts that come as JSON numbers must not become binary fractions on the way.
    exchange.on_json_response = lambda body: json.loads(body, parse_float=str)
    return exchange


def _addresses(urls: Any) -> Iterator[str]:
    if isinstance(urls, str):
        yield urls
    elif isinstance(urls, dict):
        for one in urls.values():
            yield from _addresses(one)


def _hosts(exchange: Any) -> set[str]:
    return {
        urlsplit(exchange.implode_hostname(url)).netloc for url in _addresses(exchange.urls["api"])
    }


def _moved(urls: Any, address: str) -> Any:
    if isinstance(urls, dict):
        return {name: _moved(one, address) for name, one in urls.items()}
    return address.rstrip("/") + urlsplit(urls).path


class CcxtBroker:
    """The port of `base.Broker` for one spot account. A position is what was bought since it began.

    Args:
        exchange: from `open_sandbox`.
        path: the ledger file; made if it is not there.
        currency: of the account; only markets quoted in it are traded.
        opening_balance: of the account's books.
        account_key: our key of the account; orders that were made beside us are named after it.
    """

    timing = Timing()

    def __init__(
        self,
        *,
        exchange: Any,
        path: Path,
        currency: str,
        opening_balance: Decimal,
        account_key: int,
    ) -> None:
        self._exchange, self._currency = exchange, currency
        self._opening_balance, self._account_key = opening_balance, account_key
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ccxt-broker")
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._allowed = _hosts(exchange)
        # The name that the request under way must carry, until when, and whether it left.
        self._named, self._until, self._left = "", float("inf"), False
        self._fetch = exchange.fetch
        exchange.fetch = self._let_out

    # The port.

    async def submit(self, request: OrderRequest) -> list[Transaction]:
        until = time.monotonic() + SEND_WITHIN_S
        return await self._run(lambda: self._submit(request, until))

    async def replace(self, client_id: str, request: OrderRequest) -> list[Transaction]:
        raise BrokerError("a spot exchange changes no order in one step: cancel it")

    async def cancel(self, client_id: str) -> list[Transaction]:
        return await self._run(lambda: self._cancel(client_id))

    async def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        return await self._run(lambda: self._look_up(client_id))

    async def transactions_since(self, transaction_id: int) -> list[Transaction]:
        return await self._run(lambda: self._since(transaction_id, read=True))

    async def account(self) -> AccountReport:
        return await self._run(self._account)

    async def news(self) -> AsyncGenerator[News, None]:
        """The account is read every POLL_S: such an exchange tells nothing by itself."""
        heard = False
        while True:
            try:
                await self._run(self._read_all)
                if not heard:
                    heard = True
                    yield Listening()
                yield Reached(await self._run(self._last))
            except BrokerError as error:
                heard = False
                yield Deaf(str(error), POLL_S)
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        await self._run(self._db.close)
        self._exchange.session.close()
        self._thread.shutdown()

    # Below runs in the broker's own thread.

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _submit(self, request: OrderRequest, until: float) -> list[Transaction]:
        refused = parse.refusal(request)
        if refused:
            raise BrokerError(f"order {request.client_id} is not sent: {refused}")
        self._ready()
        market = self._market(request.instrument)
        words = self._words(request)
        held = self._beyond_start().get(market["base"], Decimal(0))
        first = self._last()
        if not self._write_down(request, held):
            return self._since(first, read=False)
        name = parse.wire_id(request.client_id)
        try:
            with self._carrying(name, until):
                answer = self._exchange.create_order(market["symbol"], *words[:4], words[4])
        except (ccxt.InsufficientFunds, ccxt.InvalidOrder) as error:
            if not self._left:
                raise self._unsent(request.client_id, error) from error
            if isinstance(error, (ccxt.OrderNotFound, ccxt.DuplicateOrderId)):
                raise BrokerUnsure(f"the answer is {type(error).__name__}") from error
            with self._transaction():
                self._reject(self._row(request.client_id), f"{type(error).__name__}: {error}")
            return self._since(first, read=False)
        except Exception as error:  # whatever goes wrong once the request has left is a doubt
            if not self._left:
                raise self._unsent(request.client_id, error) from error
            raise BrokerUnsure(f"no answer to rely on: {type(error).__name__}") from error
        try:
            # Some exchanges answer with the id alone; what the order is comes from the look-up.
            seen = parse.read_order({**answer, "filled": answer.get("filled") or "0"})
        except (DataError, TypeError) as error:
            raise BrokerUnsure(f"the answer cannot be read: {error}") from error
        if seen.wire_id not in ("", name):
            raise BrokerUnsure(f"the answer is about another order, {seen.wire_id}")
        self._accept(request.client_id, seen)
        self._read(request.client_id, strict=False)
        return self._since(first, read=False)

    def _unsent(self, client_id: str, error: Exception) -> BrokerError:
        with self._transaction():
            self._db.execute("DELETE FROM orders WHERE client_id = ?", (client_id,))
        return BrokerError(f"order {client_id} was not sent: {type(error).__name__}: {error}")

    def _words(self, request: OrderRequest) -> tuple[str, str, str, str | None, dict[str, str]]:
        """What ccxt is told: type, side, amount, price and parameters, exact or not at all."""
        symbol = parse.symbol_of(request.instrument)
        type_, price, force = "limit", request.price, request.time_in_force or TimeInForce.GTC
        if request.type == OrderType.MARKET:
            type_, force = "market", TimeInForce.GTC
            if request.price_bound is not None:
                # A market order with a worst price is a limit order that does not rest.
                type_, price, force = "limit", request.price_bound, TimeInForce.IOC
        parameters = {"clientOrderId": parse.wire_id(request.client_id)}
        if force != TimeInForce.GTC:
            if not self._exchange.feature_value(symbol, "createOrder", "timeInForce", force.value):
                raise BrokerError(f"{self._exchange.id} takes no {force} orders in {symbol}")
            parameters["timeInForce"] = force.value
        amount = self._exact("amount", symbol, abs(request.units))
        if price is None:
            return type_, _side(request.units), amount, None, parameters
        if request.price is None:
            price = Decimal(self._exchange.price_to_precision(symbol, f"{price:f}"))
        return type_, _side(request.units), amount, self._exact("price", symbol, price), parameters

    def _exact(self, what: str, symbol: str, value: Decimal) -> str:
        """The value as the exchange takes it; ccxt would cut what is too fine without a word."""
        try:
            text = str(getattr(self._exchange, f"{what}_to_precision")(symbol, f"{value:f}"))
        except ccxt.BaseError as error:
            raise BrokerError(f"{symbol} takes no {what} of {value}") from error
        if Decimal(text) != value:
            raise BrokerError(f"{symbol} takes no {what} of {value}, only {text}")
        return text

    def _write_down(self, request: OrderRequest, held: Decimal) -> bool:
        """Keep the order before it is sent; False if it is known, or may not be sent at all."""
        with self._transaction():
            if self._row(request.client_id) is not None:
                return False  # a name is sent once, whatever became of it
            self._db.execute(
                "INSERT INTO orders (client_id, instrument, type, units, price, sent_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    request.client_id,
                    request.instrument,
                    request.type.value,
                    str(request.units),
                    None if request.price is None else str(request.price),
                    time.time(),
                ),
            )
            reason = ""
            if request.units > 0 and request.reduce_only:
                reason = "NOTHING_TO_REDUCE: a spot account holds no short position"
            elif request.units < 0 and held < self._for_sale(request.instrument):
                reason = "UNITS_EXCEED_POSITION: what was there at the start is not sold"
            if reason:
                self._reject(self._row(request.client_id), reason)
            return not reason

    def _for_sale(self, instrument: str) -> Decimal:
        """The units that open orders sell. One that the exchange does not show may still arrive."""
        units = Decimal(0)
        arrives_after = time.time() - self.timing.late.total_seconds()
        for row in self._open_rows():
            there = row["venue_order_id"] or row["sent_at"] > arrives_after
            if there and row["instrument"] == instrument and Decimal(row["units"]) < 0:
                units -= Decimal(row["units"]) - Decimal(row["filled"])
        return units

    def _cancel(self, client_id: str) -> list[Transaction]:
        first, row = self._last(), self._row(client_id)
        if row is None:
            for one in self._working():  # made beside us: the kill switch wants it gone too
                if one.client_id == client_id:
                    self._end(one.venue_order_id, one.instrument)
            return []
        if row["done"]:
            return []
        if not row["venue_order_id"] and self._look_up(client_id) is None:
            raise BrokerError(f"order {client_id} is not at the exchange, or not yet")
        self._end(self._row(client_id)["venue_order_id"], row["instrument"])
        self._read(client_id, strict=False)
        return self._since(first, read=False)

    def _end(self, venue_order_id: str, instrument: str) -> None:
        try:
            self._exchange.cancel_order(venue_order_id, parse.symbol_of(instrument))
        except ccxt.OrderNotFound:
            pass  # it ended before; how is read afterwards
        except Exception as error:  # the order may be cancelled all the same
            raise BrokerUnsure(f"the cancel has no answer: {type(error).__name__}") from error

    def _look_up(self, client_id: str) -> VenueOrder | None:
        row = self._row(client_id)
        if row is None:
            return None  # never handed to the exchange
        if not row["done"] and not self._read(client_id, strict=True):
            return None
        row = self._row(client_id)
        return VenueOrder(
            venue_order_id=row["venue_order_id"],
            client_id=client_id,
            instrument=row["instrument"],
            units=Decimal(row["units"]),
            working=not row["done"],
            type=row["type"],
        )

    def _account(self) -> AccountReport:
        self._ready()
        self._read_all()
        held = self._beyond_start()
        cash = held.pop(self._currency, Decimal(0))
        # The money that went into what is held is still the account's: at its average price.
        cost = sum(
            (
                Decimal(row["units"]) * Decimal(row["average"])
                for row in self._db.execute("SELECT * FROM positions WHERE average IS NOT NULL")
            ),
            Decimal(0),
        )
        return AccountReport(
            last_transaction_id=self._last(),
            balance=self._opening_balance + cash + cost,
            positions={f"{name}_{self._currency}": units for name, units in held.items() if units},
            open_orders=tuple(self._working()),
        )

    def _working(self) -> Iterator[VenueOrder]:
        """What may fill in the markets that were traded, orders made beside us included."""
        rows = {row["venue_order_id"]: row for row in self._db.execute("SELECT * FROM orders")}
        for instrument in sorted({row["instrument"] for row in rows.values()}):
            for one in self._ask("fetch_open_orders", parse.symbol_of(instrument)):
                seen = self._understood(partial(parse.read_order, one))
                left = Decimal(str(one.get("remaining") or 0))
                yield VenueOrder(
                    venue_order_id=seen.id,
                    client_id=rows[seen.id]["client_id"]
                    if seen.id in rows
                    else f"venue-{self._account_key}-{seen.id}",
                    instrument=instrument,
                    units=left if one.get("side") == "buy" else -left,
                    working=True,
                    type=str(one.get("type") or "").upper(),
                )

    # What the exchange says of our orders.

    def _read_all(self) -> None:
        self._ready()
        for row in self._open_rows():
            self._read(row["client_id"], strict=True)

    def _read(self, client_id: str, *, strict: bool) -> bool:
        """Read an order's state and its deals into the ledger; False if it is not there.

        strict: raise what goes wrong; else it is read again with the next look.
        """
        try:
            return self._read_now(client_id)
        except BrokerError:
            if strict:
                raise
            return True

    def _read_now(self, client_id: str) -> bool:
        row = self._row(client_id)
        symbol = parse.symbol_of(row["instrument"])
        venue_id = row["venue_order_id"]
        self._ready()
        try:
            if venue_id:
                order = self._ask("fetch_order", venue_id, symbol)
            else:
                with self._carrying(parse.wire_id(client_id), float("inf")):
                    order = self._ask(
                        "fetch_order_with_client_order_id", parse.wire_id(client_id), symbol
                    )
        except ccxt.OrderNotFound as error:
            if venue_id:
                raise BrokerError(f"the exchange forgot order {venue_id}") from error
            return False
        seen = self._understood(lambda: parse.read_order(order))
        if not venue_id:
            if seen.wire_id not in ("", parse.wire_id(client_id)):
                raise BrokerError(f"asked for {client_id}, shown {seen.wire_id}")
            self._accept(client_id, seen)
        deals: list[parse.Deal] = []
        if seen.filled > abs(Decimal(row["filled"])):
            by_order = self._exchange.has.get("fetchOrderTrades") is True
            words = (
                ("fetch_order_trades", seen.id, symbol) if by_order else ("fetch_my_trades", symbol)
            )
            trades = self._ask(*words)
            deals = self._understood(lambda: parse.read_deals(trades, seen.id))
        with self._transaction():
            self._book(client_id, seen, deals)
        return True

    def _accept(self, client_id: str, seen: parse.Seen) -> None:
        with self._transaction():
            row = self._row(client_id)
            if row["venue_order_id"] or row["done"]:
                return
            self._db.execute(
                "UPDATE orders SET venue_order_id = ? WHERE client_id = ?", (seen.id, client_id)
            )
            row = self._row(client_id)
            if seen.status == "rejected":
                self._reject(row, "the exchange rejected it")
                return
            self._fact(row, Kind.ACCEPTED, seen.time, raw=seen.raw)

    def _book(self, client_id: str, seen: parse.Seen, deals: list[parse.Deal]) -> None:
        row = self._row(client_id)
        if row["done"]:
            return
        wanted, filled = Decimal(row["units"]), Decimal(row["filled"])
        for deal in deals:
            key = f"{row['instrument']} {deal.id}"
            if self._db.execute("SELECT 1 FROM transactions WHERE deal = ?", (key,)).fetchone():
                continue
            units = deal.units if wanted > 0 else -deal.units
            filled += units
            in_account = deal.fee_currency == self._currency
            self._fact(
                row,
                Kind.FILLED,
                deal.time,
                deal=key,
                units=units,
                price=deal.price,
                realised_pl=self._held(row["instrument"], units, deal.price),
                commission=deal.fee if in_account else Decimal(0),
                final=abs(filled) >= abs(wanted),
                reason=""
                if in_account or not deal.fee
                else f"a fee of {deal.fee} {deal.fee_currency} is not in the books",
                raw=deal.raw,
            )
        whole = abs(filled) >= abs(wanted)
        # An end counts once all that was filled before it has been read.
        ended = seen.ends is not None and abs(filled) >= seen.filled
        if ended and not whole:
            assert seen.ends is not None
            self._fact(row, seen.ends, seen.time, reason=seen.status, raw=seen.raw)
        self._db.execute(
            "UPDATE orders SET filled = ?, done = ? WHERE client_id = ?",
            (str(filled), int(whole or ended), client_id),
        )

    def _held(self, instrument: str, units: Decimal, price: Decimal) -> Decimal:
        """Book a fill on the position and return what it realised."""
        before = self._position(instrument)
        after = apply_fill(before, units=units, price=price)
        average = None if after.average_price is None else str(after.average_price)
        self._db.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
            (instrument, str(after.units), average, str(after.realised_pl)),
        )
        return after.realised_pl - before.realised_pl

    # The ledger.

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _fact(
        self,
        row: Any,
        kind: Kind,
        at: datetime | None,
        *,
        deal: str | None = None,
        **fields: Any,
    ) -> None:
        accepted = {"units": Decimal(row["units"])} if kind == Kind.ACCEPTED else {}
        if kind == Kind.ACCEPTED and row["price"] is not None:
            accepted["price"] = Decimal(row["price"])
        fact = Transaction(
            id=self._last() + 1,
            kind=kind,
            time=at or datetime.now(UTC),
            venue_order_id=row["venue_order_id"],
            client_id=row["client_id"],
            instrument=row["instrument"],
            order_type=row["type"],
            **(accepted | fields),
        )
        self._db.execute(
            "INSERT INTO transactions VALUES (?, ?, ?)",
            (fact.id, deal, json.dumps(parse.to_plain(fact), default=str)),
        )

    def _reject(self, row: Any, reason: str) -> None:
        self._fact(row, Kind.REJECTED, None, reason=reason[:200])
        self._db.execute("UPDATE orders SET done = 1 WHERE client_id = ?", (row["client_id"],))

    def _since(self, transaction_id: int, *, read: bool) -> list[Transaction]:
        if read:
            self._read_all()
        rows = self._db.execute(
            "SELECT body FROM transactions WHERE id > ? ORDER BY id", (transaction_id,)
        )
        return [parse.from_plain(json.loads(row["body"])) for row in rows]

    def _last(self) -> int:
        row = self._db.execute("SELECT COALESCE(MAX(id), 0) AS id FROM transactions").fetchone()
        return int(row["id"])

    def _row(self, client_id: str) -> Any:
        return self._db.execute("SELECT * FROM orders WHERE client_id = ?", (client_id,)).fetchone()

    def _open_rows(self) -> list[Any]:
        return self._db.execute("SELECT * FROM orders WHERE done = 0 ORDER BY rowid").fetchall()

    def _position(self, instrument: str) -> NetPosition:
        row = self._db.execute(
            "SELECT * FROM positions WHERE instrument = ?", (instrument,)
        ).fetchone()
        if row is None:
            return NetPosition()
        average = None if row["average"] is None else Decimal(row["average"])
        return NetPosition(Decimal(row["units"]), average, Decimal(row["realised"]))

    def _meta(self, key: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row["value"])

    # The exchange.

    def _ready(self) -> None:
        """Know the markets, and what the account held before the first order."""
        if not self._exchange.markets:
            self._ask("load_markets")
        if not self._meta("start"):
            start = json.dumps({name: str(held) for name, held in self._totals().items()})
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('start', ?)", (start,))

    def _beyond_start(self) -> dict[str, Decimal]:
        """Currency to what is held of it beyond what was there before the first order."""
        now, start = self._totals(), json.loads(self._meta("start"))
        return {
            name: now.get(name, Decimal(0)) - Decimal(start.get(name, "0"))
            for name in now.keys() | start.keys()
        }

    def _totals(self) -> dict[str, Decimal]:
        balance = self._ask("fetch_balance")
        return self._understood(lambda: parse.read_totals(balance))

    def _market(self, instrument: str) -> Any:
        market = self._exchange.markets.get(parse.symbol_of(instrument))
        if market is None or not market.get("spot"):
            raise BrokerError(f"{self._exchange.id} has no spot market {instrument}")
        if market["quote"] != self._currency:
            raise BrokerError(f"{instrument} is not quoted in {self._currency}, as the account is")
        return market

    def _ask(self, what: str, *words: Any) -> Any:
        """A read. What goes wrong changes nothing, so one error stands for all but not-found."""
        try:
            return getattr(self._exchange, what)(*words)
        except ccxt.OrderNotFound:
            raise
        except Stopped as error:
            raise BrokerError(str(error)) from error
        except Exception as error:  # ccxt also fails with KeyError and the like on odd answers
            raise BrokerError(f"{what}: {type(error).__name__}") from error

    def _understood(self, reading: Callable[[], Result]) -> Result:
        try:
            return reading()
        except DataError as error:
            raise BrokerError(f"the exchange's answer cannot be read: {error}") from error

    @contextmanager
    def _carrying(self, name: str, until: float) -> Iterator[None]:
        self._named, self._until, self._left = name, until, False
        try:
            yield
        finally:
            self._named, self._until = "", float("inf")

    def _let_out(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """In the place of ccxt's own `fetch`: the last point before the network."""
        if urlsplit(url).netloc not in self._allowed:
            raise Stopped(f"{urlsplit(url).netloc} is not the sandbox of {self._exchange.id}")
        if self._named:
            if self._named not in f"{url} {body or ''}":
                raise Stopped(f"{self._exchange.id} is not asked with the order's own name")
            if time.monotonic() > self._until:
                raise Stopped("the request waited too long to be sent")
            self._left = True
        return self._fetch(url, method, headers, body)


def _side(units: Decimal) -> str:
    return "buy" if units > 0 else "sell"
