"""One OANDA account as a broker. Needs httpx.

A request is written once and never again: httpx opens no second connection for it, follows no
redirect and is given no retries. What its answer proves is decided by `venues.oanda.orders`.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from sep_engine.errors import ArgumentError, DataError
from sep_engine.execution.core import Timing
from sep_engine.execution.states import (
    PLACED,
    PROTECTIVE,
    OrderType,
    PositionFill,
    TimeInForce,
)
from sep_engine.model import Instrument, Quote, QuoteBar
from sep_engine.venues.oanda import orders, parse
from sep_engine.venues.oanda.backoff import Backoff
from sep_engine.venues.oanda.client import (
    BODY_BYTES_MAX,
    SILENCE_S,
    Endpoint,
    Opened,
    VenueError,
    open_http,
    stream_items,
)
from sep_engine.venues.oanda.orders import (
    Answer,
    Dependent,
    DependentType,
    Entry,
    EntryType,
    Outcome,
    Stop,
)
from webapp.trading import halt_flag
from webapp.trading.brokers.base import (
    AccountReport,
    BrokerError,
    BrokerUnsent,
    BrokerUnsure,
    Deaf,
    Listening,
    News,
    OrderRequest,
    Reached,
    Terms,
    Transaction,
    VenueOrder,
)
from webapp.trading.brokers.breaker import Breaker
from webapp.trading.brokers.oanda.connections import KeptConnections
from webapp.trading.brokers.oanda.facts import fills_wanted, transactions_of

TERMS = Terms(
    types=PLACED,
    times=frozenset(TimeInForce),
    fills=frozenset(PositionFill),
    on_fill=PROTECTIVE & PLACED,
    trades=True,
    replaces=True,
    target_distance=False,
)

# A stop or target of the position as a whole is a stop or limit order that may only reduce.
_ENTRY_TYPES = {
    OrderType.MARKET: EntryType.MARKET,
    OrderType.LIMIT: EntryType.LIMIT,
    OrderType.STOP: EntryType.STOP,
    OrderType.MARKET_IF_TOUCHED: EntryType.MARKET_IF_TOUCHED,
    OrderType.STOP_LOSS: EntryType.STOP,
    OrderType.TAKE_PROFIT: EntryType.LIMIT,
}
# A token that was refused is not tried again before this long.
UNAUTHORISED_PAUSE_S = 60.0
logger = logging.getLogger(__name__)
_ADOPTED = re.compile(r"venue-\d+-(\d+)", re.ASCII)


@dataclass(slots=True)
class _Read:
    after: int
    facts: list[Transaction] | None = None


class SharedReads:
    """Reads of the ledger for answers that come at the same time: one read serves all who ask
    before it begins.
    """

    def __init__(self, read: Callable[[int], Awaitable[list[Transaction]]]) -> None:
        self._read = read
        self._reading = asyncio.Lock()
        self._next: _Read | None = None

    async def since(self, after: int) -> list[Transaction]:
        """Return at least the transactions after this id that there were at the call.

        Raises:
            BrokerError: they cannot be read.
        """
        ours = self._next
        if ours is None:
            ours = self._next = _Read(after)
        ours.after = min(ours.after, after)
        async with self._reading:
            if ours.facts is None:
                # Who asks from now on is not served by what was true before.
                if self._next is ours:
                    self._next = None
                ours.facts = await self._read(ours.after)
        return ours.facts


class OandaBroker:
    """The port of `base.Broker` for one account.

    Args:
        endpoint: PRACTICE, LIVE or `local(...)` of `sep_engine.venues.oanda.client`.
        token: the bearer token; it goes into one header and nowhere else.
        venue_account: the venue's id of the account.
        account_key: our key of the account; orders that were made beside us are named after it.
        timeout_s: the longest wait for each part of an answer.
        silence_s: the longest wait for a line of the transaction stream.
        backoff: between two attempts at that stream.
    """

    timing = Timing()

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        token: str,
        venue_account: str,
        account_key: int,
        timeout_s: float = 4.0,
        silence_s: float = SILENCE_S,
        backoff: Backoff | None = None,
    ) -> None:
        self._account, self._account_key = venue_account, account_key
        self._instruments: dict[str, Instrument] = {}
        self._budget = orders.RequestBudget()
        self._reads = SharedReads(self.transactions_since)
        self._breakers: dict[str, Breaker] = {}
        self._url = f"{endpoint.rest}/v3/accounts/{venue_account}"
        self._stream_url = f"{endpoint.stream}/v3/accounts/{venue_account}/transactions/stream"
        self._silence_s = silence_s
        # Why the venue does not accept us ("" while it does), and when it may be asked again.
        self.unauthorised = ""
        self._ask_again_at = 0.0
        self._backoff = backoff or Backoff()
        self._http = open_http(token, timeout_s=timeout_s, transport=KeptConnections())

    # The port.

    async def submit(self, request: OrderRequest) -> list[Transaction]:
        instrument = await self._instrument_to_send(request.instrument)
        try:
            if request.type == OrderType.MARKET and request.trade_id:
                wire = orders.close_trade(request.trade_id, instrument, abs(request.units))
            else:
                wire = orders.place(_order(request, instrument))
        except ArgumentError as error:
            raise BrokerUnsent(f"order {request.client_id} cannot be sent: {error}") from error
        return await self._recorded(await self._change(wire, protective=request.reduce_only))

    async def replace(self, client_id: str, request: OrderRequest) -> list[Transaction]:
        instrument = await self._instrument_to_send(request.instrument)
        try:
            wire = orders.replace(_specifier(client_id), _order(request, instrument))
        except ArgumentError as error:
            raise BrokerUnsent(f"order {client_id} cannot be changed: {error}") from error
        return await self._recorded(await self._change(wire, protective=request.reduce_only))

    async def cancel(self, client_id: str) -> list[Transaction]:
        wire = orders.cancel(_specifier(client_id))
        return await self._recorded(await self._change(wire, protective=True))

    async def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        path = orders.look_up(client_id).path
        if found := _ADOPTED.fullmatch(client_id):
            path = f"/orders/{found[1]}"
        status, content = await self._exchange(orders.HttpRequest("GET", path), protective=True)
        body = self._read(status, content, allowed=(200, 404))
        if status == 404:
            if parse.text(body, "errorCode") != "NO_SUCH_ORDER":
                raise BrokerError(f"HTTP 404: {parse.text(body, 'errorMessage')}")
            return None
        try:
            order = parse.read_order(body.get("order", {}))
        except DataError as error:
            raise BrokerError(f"order {client_id} cannot be read: {error}") from error
        return self._venue_order(order, {})

    async def transactions_since(self, transaction_id: int) -> list[Transaction]:
        try:
            lines = await self._lines_since(transaction_id)
            fills = []
            for fill_id in sorted(fills_wanted(lines)):
                one = await self._get(orders.HttpRequest("GET", f"/transactions/{fill_id}"))
                fills.append(one.get("transaction", {}))
            return transactions_of(lines, fills, account=self._account)
        except DataError as error:
            raise BrokerError(f"transactions cannot be read: {error}") from error

    async def _lines_since(self, transaction_id: int) -> list[dict[str, Any]]:
        """Read the ledger after a transaction to its end, in as many pages as the venue makes.

        A page that brings nothing ends it: reads may lag behind what the venue says there is.
        """
        lines: list[dict[str, Any]] = []
        read = transaction_id
        while True:
            before, body = read, await self._get(orders.transactions_since(read))
            page = parse.objects(body, "transactions")
            for line in sorted(page, key=lambda one: parse.identifier(one, "id")):
                number = parse.identifier(line, "id")
                if number <= read:
                    continue
                if number != read + 1:
                    raise DataError(f"transaction {number} follows {read}: some are missing")
                lines.append(line)
                read = number
            said = body.get("lastTransactionID", "0")
            if read == before or read >= parse.identifier({"id": said}, "id"):
                return lines

    async def account(self) -> AccountReport:
        body = await self._get(orders.HttpRequest("GET", ""))
        try:
            account = parse.read_account(body)
        except DataError as error:
            raise BrokerError(f"the account cannot be read: {error}") from error
        if account.id != self._account:
            raise BrokerError(f"the answer is about account {account.id or 'of no name'}")
        trades = {trade.id: trade for trade in account.trades}
        return AccountReport(
            last_transaction_id=account.last_transaction_id,
            balance=account.balance,
            positions=dict(account.positions),
            open_orders=tuple(self._venue_order(order, trades) for order in account.orders),
            trades={str(trade.id): trade.units for trade in account.trades},
            sides=account.sides if account.hedging else None,
        )

    async def news(self) -> AsyncGenerator[News, None]:
        """The venue's transaction stream, opened again whenever it is lost; it has no end."""
        while True:
            opened_at: float | None = None
            try:
                async for item in stream_items(
                    self._http, self._stream_url, {}, silence_s=self._silence_s
                ):
                    if isinstance(item, Opened):
                        opened_at = time.monotonic()
                        yield Listening()
                    elif isinstance(item, parse.Heartbeat):
                        if item.last_transaction_id is not None:
                            yield Reached(item.last_transaction_id)
                    elif isinstance(item, parse.Transaction):
                        yield Reached(item.id)
            except (VenueError, DataError) as error:
                lived_s = 0.0 if opened_at is None else time.monotonic() - opened_at
                wait_s = self._backoff.next_s(lived_s=lived_s, chance=random.random())
                yield Deaf(str(error), wait_s)
                await asyncio.sleep(wait_s)

    async def close(self) -> None:
        await self._http.aclose()

    # Below.

    async def _recorded(self, answer: Answer) -> list[Transaction]:
        """The transactions that answer a change, those included that the answer only names."""
        if answer.outcome == Outcome.AMBIGUOUS:
            raise BrokerUnsure(answer.reason)
        if answer.outcome == Outcome.REFUSED:
            raise BrokerError(answer.reason)
        if answer.missing_ids:
            first = min(one.id for one in answer.transactions)
            try:
                return await self._reads.since(first - 1)
            except BrokerError:
                pass  # what the answer carries is known; the rest is found by the next read
        try:
            raw = [one.raw for one in answer.transactions]
            return transactions_of(raw, account=self._account)
        except DataError as error:
            raise BrokerUnsure(f"the answer cannot be read: {error}") from error

    async def _change(self, wire: orders.HttpRequest, *, protective: bool) -> Answer:
        status, content = await self._exchange(wire, protective=protective)
        return orders.classify(status, content)

    async def _get(self, wire: orders.HttpRequest) -> dict[str, Any]:
        status, content = await self._exchange(wire, protective=True)
        return self._read(status, content, allowed=(200,))

    def _read(self, status: int, content: bytes, *, allowed: tuple[int, ...]) -> dict[str, Any]:
        try:
            body = parse.load_json(content)
        except DataError as error:
            raise BrokerError(f"HTTP {status}: {error}") from error
        if status not in allowed:
            raise BrokerError(f"HTTP {status}: {parse.text(body, 'errorMessage')}")
        return body

    async def _exchange(self, wire: orders.HttpRequest, *, protective: bool) -> tuple[int, bytes]:
        """Status and body of one request.

        Raises:
            BrokerUnsent: nothing of it was written.
            BrokerUnsure: it may have, and no whole answer came.
        """
        if self.unauthorised and time.monotonic() < self._ask_again_at:
            raise BrokerUnsent(self.unauthorised)
        where = f"{wire.method} {wire.path.split('/')[1] if '/' in wire.path else 'account'}"
        breaker = self._breakers.setdefault(where, Breaker())
        while (wait_s := breaker.wait_s(time.monotonic(), protective=protective)) > 0:
            if not protective:
                raise BrokerUnsent(
                    f"the venue's link is resting after {breaker.failures} failures of {where} "
                    f"in a row, for {wait_s:.1f} s more"
                )
            await asyncio.sleep(wait_s)
        try:
            while (wait_s := self._budget.wait_s(time.monotonic(), protective=protective)) > 0:
                await asyncio.sleep(wait_s)
            if not protective and halt_flag.is_set():
                # Its sender looked before it waited here.
                raise BrokerUnsent("the halt flag was put up before the send")
        except BaseException:
            breaker.untried()
            raise
        started, failed = time.monotonic(), True
        try:
            status, content = await self._asked(wire)
            failed = status >= 500
        finally:
            ended = time.monotonic()
            breaker.ended(ended, failed=failed, took_s=ended - started)
        if status in (401, 403):
            self.unauthorised = f"HTTP {status}: the token or the account is not accepted"
            self._ask_again_at = time.monotonic() + UNAUTHORISED_PAUSE_S
        else:
            self.unauthorised = ""
        return status, content

    async def _asked(self, wire: orders.HttpRequest) -> tuple[int, bytes]:
        request = self._http.build_request(
            wire.method, self._url + wire.path, json=wire.body, params=list(wire.query)
        )
        try:
            response = await self._http.send(request, stream=True)
            try:
                parts, size = [], 0
                async for part in response.aiter_raw():
                    size += len(part)
                    if size > BODY_BYTES_MAX:
                        raise BrokerUnsure(f"the answer is longer than {BODY_BYTES_MAX} bytes")
                    parts.append(part)
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise BrokerUnsent(f"the venue was not reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise BrokerUnsure(f"no whole answer: {type(error).__name__}") from error
        return response.status_code, b"".join(parts)

    async def _instrument_to_send(self, name: str) -> Instrument:
        try:
            return await self._instrument(name)
        except BrokerError as error:
            raise BrokerUnsent(str(error)) from error

    async def _instrument(self, name: str) -> Instrument:
        if name not in self._instruments:
            wire = orders.HttpRequest("GET", "/instruments")
            try:
                terms = parse.read_instruments(await self._get(wire))
                self._instruments = {one.name: one.instrument() for one in terms}
            except (ArgumentError, DataError) as error:
                raise BrokerError(f"the venue's instruments cannot be read: {error}") from error
        if name not in self._instruments:
            raise BrokerError(f"the venue does not offer {name}")
        return self._instruments[name]

    def _venue_order(
        self, order: parse.VenueOrder, trades: Mapping[int, parse.VenueTrade]
    ) -> VenueOrder:
        """An order; a dependent wants the opposite of what its trade holds."""
        trade = trades.get(order.trade_id) if order.trade_id is not None else None
        units = order.units
        if units is None:
            units = -trade.units if trade else Decimal(0)
        return VenueOrder(
            venue_order_id=str(order.id),
            client_id=order.client_id or f"venue-{self._account_key}-{order.id}",
            instrument=order.instrument or (trade.instrument if trade else ""),
            units=units,
            working=order.state == "PENDING",
            type=order.type,
            trade_id="" if order.trade_id is None else str(order.trade_id),
        )


class LocalOandaBroker(OandaBroker):
    """The local server, fed with the prices of our own feed.

    Its control address takes quotes. A complete bar gives one quote, its close; the bar's range
    between open and close is not shown to the venue. While the server cannot be reached it gets
    no quotes, and orders do not reach it either.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._control = httpx.URL(options["endpoint"].rest).join("/control/quote")
        self._event = 0
        self._seen: int | None = None

    async def on_quote(
        self, quote: Quote, *, event: int, assumed_spread: bool
    ) -> list[Transaction]:
        """Bring the quote to the venue; return what happened there since the last call."""
        if event <= self._event:
            return []
        self._event = event
        try:
            return await self._feed(quote)
        except BrokerError as error:
            logger.warning("the local venue missed a quote: %s", error)
            return []

    async def on_bar(self, bar: QuoteBar, *, event: int) -> list[Transaction]:
        """Bring the bar's last quote to the venue; return what happened there."""
        return await self.on_quote(bar.close_quote, event=event, assumed_spread=bar.assumed_spread)

    async def account(self) -> AccountReport:
        report = await super().account()
        if self._seen is None:
            self._seen = report.last_transaction_id  # the trader reads for itself what came before
        return report

    async def on_standing_quote(self, quote: Quote, *, assumed_spread: bool) -> list[Transaction]:
        """Nothing waits for a quote at this venue: market orders fill when they come."""
        return []

    async def _feed(self, quote: Quote) -> list[Transaction]:
        body = {
            "instrument": quote.instrument,
            "bid": f"{quote.bid:f}",
            "ask": f"{quote.ask:f}",
            "time": parse.time_text(quote.time),
        }
        try:
            response = await self._http.post(self._control, json=body)
        except httpx.HTTPError as error:
            raise BrokerError(f"the local venue took no quote: {type(error).__name__}") from error
        status = self._read(response.status_code, response.content, allowed=(200,))
        last = int(status["accounts"].get(self._account, 0))
        if self._seen is not None and last > self._seen:
            facts = await self.transactions_since(self._seen)
        else:
            facts = []
        self._seen = last
        return facts


def _order(request: OrderRequest, instrument: Instrument) -> Entry | Dependent:
    if request.type in PROTECTIVE and request.trade_id:
        return Dependent(
            request.client_id,
            instrument,
            DependentType(request.type.value),
            request.trade_id,
            price=request.price,
            distance=request.trailing_distance,
            time_in_force=request.time_in_force or TimeInForce.GTC,
            expires=request.good_until,
        )
    return _entry(request, instrument)


def _entry(request: OrderRequest, instrument: Instrument) -> Entry:
    if request.type == OrderType.TRAILING_STOP_LOSS:
        raise ArgumentError("the venue hangs a trailing stop on a trade: name the trade")
    if request.target_distance is not None:
        raise ArgumentError("the venue takes a target as a price, not as a distance")
    stop = None
    if request.stop_loss is not None or request.stop_distance is not None:
        stop = Stop(price=request.stop_loss, distance=request.stop_distance)
    type_ = _ENTRY_TYPES[request.type]
    bound = None
    if request.price_bound is not None and type_ != EntryType.LIMIT:
        bound = instrument.round_price(request.price_bound)
    return Entry(
        request.client_id,
        instrument,
        type_,
        request.units,
        price=request.price,
        price_bound=bound,
        position_fill=PositionFill.REDUCE_ONLY if request.reduce_only else request.position_fill,
        time_in_force=request.time_in_force,
        expires=request.good_until,
        stop_loss=stop,
        take_profit=request.take_profit,
        trailing_distance=request.trailing_distance,
    )


def _specifier(client_id: str) -> str:
    found = _ADOPTED.fullmatch(client_id)
    return found[1] if found else f"@{client_id}"
