"""The whole interface without a network: a request value in, a response value out.

The HTTP server and an in-process simulator drive the same `Venue`, each with its own clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from sep_oanda_server import desk, views
from sep_oanda_server.candles import CandleBook, candles_reply
from sep_oanda_server.fields import Malformed, Rejected, instrument_named, next_day_end
from sep_oanda_server.ledger import Ledger, Order, Reply, Terms, Trade
from sep_oanda_server.market import Instrument, Quote, QuoteBoard
from sep_oanda_server.matching import NONE, Interference, charge_financing, on_quote, on_time
from sep_oanda_server.wire import Json, read_json, read_time, time_text, with_unix_times

LIST_COUNT, LIST_COUNT_MAX = 50, 500
PAGE_SIZE, PAGE_SIZE_MAX = 100, 1000
_FORBIDDEN = "Insufficient authorization to perform request."
_GROUPS: Mapping[str, Callable[[str], bool]] = {
    "ORDER": lambda kind: "ORDER" in kind,
    "FUNDING": lambda kind: kind.startswith(("TRANSFER_FUNDS", "DAILY_FINANCING")),
    "ADMIN": lambda kind: kind in ("CREATE", "CLOSE", "REOPEN") or "CONFIGURE" in kind,
}


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """A status, a JSON body and headers."""

    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)


class Failure(Exception):
    """An answer that is an error and leaves no transaction."""

    def __init__(self, status: int, message: str, **fields: str) -> None:
        super().__init__(message)
        self.status, self.body = status, {**fields, "errorMessage": message}


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to a handler. `args` are the variable parts of the path."""

    venue: Venue
    request: Request
    account: Ledger
    args: tuple[str, ...]
    now_ns: int
    force: Interference

    @property
    def market(self) -> QuoteBoard:
        return self.venue.market

    def json(self) -> Json:
        """The request's body, an object."""
        try:
            body = read_json(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise Failure(400, "Invalid JSON in the request body") from None
        if not isinstance(body, dict):
            raise Failure(400, "Invalid JSON in the request body")
        return body

    def listed(self, **lists: Any) -> Response:
        return Response(200, {**lists, "lastTransactionID": str(self.account.last_id)})

    def integer(self, key: str, default: int, largest: int) -> int:
        text = self.request.query.get(key)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise Malformed(f"Invalid value specified for '{key}'")
        if int(text) > largest:
            raise Malformed(f"Maximum value for '{key}' exceeded")
        return int(text)


Handler = Callable[[Call], Response]


class Venue:
    """Accounts, quotes and candles behind the interface's operations."""

    def __init__(
        self,
        accounts: Iterable[Terms],
        market: QuoteBoard,
        *,
        token: str,
        now_ns: int,
        financing: Mapping[str, tuple[Decimal, Decimal]] | None = None,
    ) -> None:
        self.market = market
        self.token = token
        self.candles = CandleBook()
        self.ledgers = {terms.account_id: Ledger.opened(terms, now_ns) for terms in accounts}
        self.financing = dict(financing or {})
        self._next_financing_ns = next_day_end(now_ns)
        self._requests = 0

    # -- what happens by itself ----------------------------------------------------------------

    def quote(self, quote: Quote, now_ns: int) -> None:
        """Take a new quote and let every account act on it.

        Raises:
            ValueError: the instrument is not offered.
        """
        self.market.put(quote)
        self.candles.see(quote)
        self.tick(now_ns)
        for ledger in self.ledgers.values():
            on_quote(ledger, quote, self.market, now_ns)

    def tick(self, now_ns: int) -> None:
        """Let time pass: orders run out, and at 17:00 New York a day's financing is booked."""
        day_ended = now_ns >= self._next_financing_ns
        if day_ended:
            self._next_financing_ns = next_day_end(now_ns)
        for ledger in self.ledgers.values():
            ledger.request_id = None
            on_time(ledger, now_ns)
            if day_ended:
                charge_financing(ledger, self.financing, self.market, now_ns)

    # -- requests ------------------------------------------------------------------------------

    def handle(
        self, request: Request, now_ns: int, force: Interference = NONE, *, lag_ns: int = 0
    ) -> Response:
        """Answer one request.

        Args:
            request: what came.
            now_ns: the venue's time.
            force: what a fault script makes the matching engine do.
            lag_ns: a read is answered from the account as it was so long ago.
        """
        self._requests += 1
        request_id = f"{self._requests:016d}"
        try:
            response = self._route(request, request_id, now_ns, force, lag_ns)
        except Failure as failure:
            response = Response(failure.status, failure.body)
        except Malformed as malformed:
            response = Response(400, {"errorMessage": str(malformed)})
        except Rejected as rejected:  # in the path, where no transaction can say it
            response = Response(400, {"errorMessage": f"Invalid value: {rejected.reason}"})
        if request.headers.get("accept-datetime-format", "").upper() == "UNIX":
            response = Response(response.status, with_unix_times(response.body), response.headers)
        return Response(
            response.status, response.body, {"RequestID": request_id, **response.headers}
        )

    def authorised(self, request: Request) -> bool:
        """Whether the request carries the token."""
        return request.headers.get("authorization", "") == f"Bearer {self.token}"

    def account(self, request: Request, account_id: str) -> Ledger:
        """The account that a request may use.

        Raises:
            Failure: 401 without the token, 400 for a malformed id, 403 for any other account.
        """
        if not self.authorised(request):
            raise Failure(401, _FORBIDDEN)
        if not re.fullmatch(r"\d+-\d+-\d+-\d+", account_id, re.ASCII):
            raise Failure(400, "Invalid value specified for 'accountID'")
        if account_id not in self.ledgers:
            raise Failure(403, _FORBIDDEN)
        return self.ledgers[account_id]

    def _route(
        self, request: Request, request_id: str, now_ns: int, force: Interference, lag_ns: int
    ) -> Response:
        if not self.authorised(request):
            raise Failure(401, _FORBIDDEN)
        if request.path == "/v3/accounts":
            ids = [{"id": account_id, "tags": []} for account_id in self.ledgers]
            return Response(200, {"accounts": ids})
        if found := re.fullmatch(r"/v3/instruments/([^/]+)/candles", request.path):
            return Response(200, self._candles(unquote(found[1]), request, now_ns))
        methods = []
        for method, pattern, handler in _ROUTES:
            if found := pattern.fullmatch(request.path):
                methods.append(method)
                if method != request.method:
                    continue
                ledger = self.account(request, found[1])
                if method == "GET" and lag_ns:
                    ledger = _as_of(ledger, now_ns - lag_ns)
                else:
                    ledger.request_id = None
                    on_time(ledger, now_ns)
                    ledger.request_id = request_id
                args = tuple(unquote(one) for one in found.groups()[1:])
                return handler(Call(self, request, ledger, args, now_ns, force))
        if methods:
            raise Failure(405, "Method Not Allowed")
        raise Failure(404, "Not Found")

    def _candles(self, name: str, request: Request, now_ns: int) -> Json:
        return candles_reply(self.candles, self.offered(name), request.query, now_ns)

    def offered(self, name: str) -> Instrument:
        """The instrument, or the malformed-request answer that the interface gives."""
        try:
            return instrument_named(name, self.market.instruments, "instrument")
        except Rejected:
            raise Malformed("Invalid value specified for 'instrument'") from None


def _as_of(ledger: Ledger, at_ns: int) -> Ledger:
    """The account from the transactions up to a time; the two that opened it always count."""
    kept = [
        transaction
        for n, transaction in enumerate(ledger.transactions)
        if n < 2 or read_time(transaction["time"]) <= at_ns
    ]
    return Ledger.replayed(ledger.terms, kept, ledger.marks)


# -- accounts ----------------------------------------------------------------------------------


def _account(call: Call) -> Response:
    return call.listed(account=views.account_view(call.account, call.market))


def _summary(call: Call) -> Response:
    return call.listed(account=views.summary_view(call.account, call.market))


def _instruments(call: Call) -> Response:
    names = call.request.query.get("instruments")
    chosen = [call.venue.offered(name) for name in names.split(",")] if names else None
    return call.listed(
        instruments=[one.wire() for one in chosen or call.market.instruments.values()]
    )


def _changes(call: Call) -> Response:
    since = _known_id(call, "sinceTransactionID")
    return Response(200, views.changes_view(call.account, since, call.market))


def _configure(call: Call) -> Response:
    return _answer(desk.configure(call.account, call.json(), call.now_ns))


# -- orders ------------------------------------------------------------------------------------


def _answer(reply: Reply) -> Response:
    return Response(reply.status, reply.body)


def _order_request(call: Call) -> Json:
    order = call.json().get("order")
    if not isinstance(order, dict):
        raise Malformed("Invalid value specified for 'order'")
    return order


def _create_order(call: Call) -> Response:
    reply = desk.create_order(
        call.account, _order_request(call), call.market, call.now_ns, call.force
    )
    return _located(call, reply)


def _located(call: Call, reply: Reply) -> Response:
    headers = {}
    if "orderCreateTransaction" in reply.body:
        order_id = reply.body["orderCreateTransaction"]["id"]
        headers["Location"] = f"/v3/accounts/{call.account.terms.account_id}/orders/{order_id}"
    return Response(reply.status, reply.body, headers)


def _chosen(call: Call, found: Iterable[Any], state: str, default: str) -> list[Any]:
    """The list filters that orders and trades share, newest first."""
    query = call.request.query
    wanted = query.get("state", default)
    ids = set(query["ids"].split(",")) if "ids" in query else None
    before = call.integer("beforeID", 10**18, 10**18)
    count = call.integer("count", LIST_COUNT, LIST_COUNT_MAX)
    if wanted not in state.split():
        raise Malformed("Invalid value specified for 'state'")
    instrument = query.get("instrument")
    kept = [
        one
        for one in found
        if (ids is None or str(one.id) in ids)
        and (ids is not None or wanted == "ALL" or _state(one) == wanted)
        and (instrument is None or one.instrument == instrument)
        and one.id <= before
    ]
    return sorted(kept, key=lambda one: -one.id)[:count]


def _state(one: Order | Trade) -> str:
    if isinstance(one, Order):
        return one.state
    return "OPEN" if one.is_open else "CLOSED"


def _orders(call: Call) -> Response:
    found = _chosen(
        call, call.account.orders.values(), "PENDING FILLED TRIGGERED CANCELLED ALL", "PENDING"
    )
    return call.listed(
        orders=[views.order_view(call.account, order, call.market) for order in found]
    )


def _pending_orders(call: Call) -> Response:
    newest_first = sorted(call.account.pending.values(), key=lambda order: -order.id)
    return call.listed(
        orders=[views.order_view(call.account, order, call.market) for order in newest_first]
    )


def _order(call: Call) -> Response:
    order = call.account.order_named(call.args[0])
    if order is None:
        raise _absent(call, "NO_SUCH_ORDER", "The order ID specified does not exist")
    return call.listed(order=views.order_view(call.account, order, call.market))


def _absent(call: Call, code: str, message: str) -> Failure:
    last = str(call.account.last_id)
    return Failure(404, message, errorCode=code, lastTransactionID=last)


def _replace_order(call: Call) -> Response:
    reply = desk.replace_order(
        call.account, call.args[0], _order_request(call), call.market, call.now_ns, call.force
    )
    return _located(call, reply)


def _cancel_order(call: Call) -> Response:
    return _answer(desk.cancel_order(call.account, call.args[0], call.now_ns, call.force))


def _order_extensions(call: Call) -> Response:
    return _answer(desk.set_order_extensions(call.account, call.args[0], call.json(), call.now_ns))


# -- trades and positions ----------------------------------------------------------------------


def _trades(call: Call) -> Response:
    found = _chosen(
        call, call.account.trades.values(), "OPEN CLOSED CLOSE_WHEN_TRADEABLE ALL", "OPEN"
    )
    return call.listed(trades=[views.trade_view(call.account, one, call.market) for one in found])


def _open_trades(call: Call) -> Response:
    newest_first = sorted(call.account.open.values(), key=lambda trade: -trade.id)
    return call.listed(
        trades=[views.trade_view(call.account, one, call.market) for one in newest_first]
    )


def _trade(call: Call) -> Response:
    trade = call.account.trade_named(call.args[0])
    if trade is None:
        raise _absent(call, "NO_SUCH_TRADE", "The trade ID specified does not exist")
    return call.listed(trade=views.trade_view(call.account, trade, call.market))


def _close_trade(call: Call) -> Response:
    return _answer(
        desk.close_trade(
            call.account, call.args[0], call.json(), call.market, call.now_ns, call.force
        )
    )


def _trade_extensions(call: Call) -> Response:
    return _answer(desk.set_trade_extensions(call.account, call.args[0], call.json(), call.now_ns))


def _trade_orders(call: Call) -> Response:
    return _answer(
        desk.set_trade_orders(
            call.account, call.args[0], call.json(), call.market, call.now_ns, call.force
        )
    )


def _positions(call: Call) -> Response:
    return call.listed(
        positions=[
            views.position_view(call.account, name, call.market) for name in call.account.totals
        ]
    )


def _open_positions(call: Call) -> Response:
    held = {trade.instrument: None for trade in call.account.open.values()}
    return call.listed(
        positions=[views.position_view(call.account, name, call.market) for name in held]
    )


def _position(call: Call) -> Response:
    name = call.venue.offered(call.args[0]).name
    if name not in call.account.totals:
        raise _absent(call, "NO_SUCH_POSITION", "The Position requested does not exist")
    return call.listed(position=views.position_view(call.account, name, call.market))


def _close_position(call: Call) -> Response:
    return _answer(
        desk.close_position(
            call.account, call.args[0], call.json(), call.market, call.now_ns, call.force
        )
    )


# -- transactions ------------------------------------------------------------------------------


def _known_id(call: Call, key: str) -> int:
    """A transaction id out of the query; 416 when the account has not reached it."""
    if key not in call.request.query:
        raise Malformed(f"Invalid value specified for '{key}'")
    found = call.integer(key, 0, 10**18)
    if found > call.account.last_id:
        raise Failure(
            416, "The transaction ID specified is out of range", errorCode="INVALID_RANGE"
        )
    return found


def _of_types(call: Call, transactions: list[Json]) -> list[Json]:
    names = call.request.query.get("type")
    if not names:
        return transactions
    wanted = names.split(",")

    def passes(kind: str) -> bool:
        return kind in wanted or any(
            belongs(kind) for group, belongs in _GROUPS.items() if group in wanted
        )

    return [one for one in transactions if passes(one["type"])]


def _transaction(call: Call) -> Response:
    text = call.args[0]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if not 1 <= number <= call.account.last_id:
        raise _absent(call, "NO_SUCH_TRANSACTION", "The transaction ID specified does not exist")
    return call.listed(transaction=call.account.transactions[number - 1])


def _since(call: Call) -> Response:
    since = _known_id(call, "id")
    return call.listed(transactions=_of_types(call, call.account.transactions[since:]))


def _id_range(call: Call) -> Response:
    first, last = _known_id(call, "from"), _known_id(call, "to")
    if first < 1 or first > last or last - first >= PAGE_SIZE_MAX:
        raise Failure(416, "The transaction ID range is out of range", errorCode="INVALID_RANGE")
    return call.listed(transactions=_of_types(call, call.account.transactions[first - 1 : last]))


def _pages(call: Call) -> Response:
    query = call.request.query
    size = call.integer("pageSize", PAGE_SIZE, PAGE_SIZE_MAX) or PAGE_SIZE
    try:
        begin = read_time(query.get("from", call.account.created_time))
        end = read_time(query.get("to", time_text(call.now_ns)))
    except ValueError:
        raise Malformed("Invalid value specified for 'from' or 'to'") from None
    ids = [
        int(one["id"])
        for one in _of_types(call, call.account.transactions)
        if begin <= read_time(one["time"]) <= end
    ]
    base = f"http://{call.request.headers.get('host', 'localhost')}"
    base += f"/v3/accounts/{call.account.terms.account_id}/transactions/idrange"
    types = f"&type={query['type']}" if query.get("type") else ""
    spans = (
        [(start, min(start + size - 1, ids[-1])) for start in range(ids[0], ids[-1] + 1, size)]
        if ids
        else []
    )
    return call.listed(
        **{"from": time_text(begin), "to": time_text(end)},
        pageSize=size,
        **({"type": query["type"].split(",")} if query.get("type") else {}),
        count=len(ids),
        pages=[f"{base}?from={first}&to={last}{types}" for first, last in spans],
    )


# -- prices ------------------------------------------------------------------------------------


def _pricing(call: Call) -> Response:
    query = call.request.query
    if not query.get("instruments"):
        raise Malformed("Invalid value specified for 'instruments'")
    names = [call.venue.offered(name).name for name in query["instruments"].split(",")]
    since = query.get("since")
    try:
        after = read_time(since) if since else 0
    except ValueError:
        raise Malformed("Invalid value specified for 'since'") from None
    units = query.get("includeUnitsAvailable", "true").lower() == "true"
    quotes = [call.market.quotes[name] for name in names if name in call.market.quotes]
    body: Json = {
        "prices": [
            views.client_price(call.account, quote, call.market, units=units)
            for quote in quotes
            if quote.time_ns > after
        ],
        "time": time_text(call.now_ns),
    }
    if query.get("includeHomeConversions", "false").lower() == "true":
        body["homeConversions"] = views.home_conversions(call.account, call.market)
    return Response(200, body)


def _latest_candles(call: Call) -> Response:
    latest = []
    for one in call.request.query.get("candleSpecifications", "").split(","):
        parts = one.split(":")
        if len(parts) != 3:
            raise Malformed("Invalid value specified for 'candleSpecifications'")
        spec = call.venue.offered(parts[0])
        query = {"granularity": parts[1], "price": parts[2], "count": "2"}
        latest.append(candles_reply(call.venue.candles, spec, query, call.now_ns))
    return Response(200, {"latestCandles": latest})


def _account_candles(call: Call) -> Response:
    spec = call.venue.offered(call.args[0])
    return Response(200, candles_reply(call.venue.candles, spec, call.request.query, call.now_ns))


def _route(method: str, path: str, handler: Handler) -> tuple[str, re.Pattern[str], Handler]:
    return method, re.compile(f"/v3/accounts/([^/]+){path}"), handler


_ONE = "/([^/]+)"
_ROUTES = (
    _route("GET", "", _account),
    _route("GET", "/summary", _summary),
    _route("GET", "/instruments", _instruments),
    _route("GET", "/changes", _changes),
    _route("PATCH", "/configuration", _configure),
    _route("POST", "/orders", _create_order),
    _route("GET", "/orders", _orders),
    _route("GET", "/pendingOrders", _pending_orders),
    _route("GET", f"/orders{_ONE}", _order),
    _route("PUT", f"/orders{_ONE}", _replace_order),
    _route("PUT", f"/orders{_ONE}/cancel", _cancel_order),
    _route("PUT", f"/orders{_ONE}/clientExtensions", _order_extensions),
    _route("GET", "/trades", _trades),
    _route("GET", "/openTrades", _open_trades),
    _route("GET", f"/trades{_ONE}", _trade),
    _route("PUT", f"/trades{_ONE}/close", _close_trade),
    _route("PUT", f"/trades{_ONE}/clientExtensions", _trade_extensions),
    _route("PUT", f"/trades{_ONE}/orders", _trade_orders),
    _route("GET", "/positions", _positions),
    _route("GET", "/openPositions", _open_positions),
    _route("GET", f"/positions{_ONE}", _position),
    _route("PUT", f"/positions{_ONE}/close", _close_position),
    _route("GET", "/transactions", _pages),
    _route("GET", "/transactions/sinceid", _since),
    _route("GET", "/transactions/idrange", _id_range),
    _route("GET", f"/transactions{_ONE}", _transaction),
    _route("GET", "/pricing", _pricing),
    _route("GET", "/candles/latest", _latest_candles),
    _route("GET", f"/instruments{_ONE}/candles", _account_candles),
)
