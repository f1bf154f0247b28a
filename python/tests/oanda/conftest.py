"""A venue with a clock that the tests turn, and the same venue behind a loopback socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sep_oanda_server.faults import FaultScript, read_script
from sep_oanda_server.ledger import Ledger, Terms
from sep_oanda_server.market import Quote, QuoteBoard
from sep_oanda_server.matching import NONE, Interference
from sep_oanda_server.server import Limits, Pace, Server
from sep_oanda_server.store import Store
from sep_oanda_server.venue import Request, Response, Venue
from sep_oanda_server.wire import NS, read_time

ACCOUNT = "101-004-1435156-001"
TOKEN = "the-token"
# A Tuesday, 12:00 UTC = 08:00 in New York.
NOON_NS = read_time("2026-06-02T12:00:00Z")


@dataclass
class Desk:
    """Requests to an in-process venue. The clock stands still until `later` turns it."""

    venue: Venue
    now_ns: int = NOON_NS
    headers: dict[str, str] = field(default_factory=lambda: {"authorization": f"Bearer {TOKEN}"})

    @property
    def ledger(self) -> Ledger:
        return self.venue.ledgers[ACCOUNT]

    def later(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS)
        self.venue.tick(self.now_ns)

    def quote(self, bid: str, ask: str, instrument: str = "EUR_USD", **more: Any) -> None:
        quote = Quote(instrument, self.now_ns, Decimal(bid), Decimal(ask), **more)
        self.venue.quote(quote, self.now_ns)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        force: Interference = NONE,
        *,
        lag_s: float = 0,
        **query: str,
    ) -> Response:
        path = path if path.startswith("/v3") else f"/v3/accounts/{ACCOUNT}{path}"
        payload = b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, query, payload, self.headers)
        return self.venue.handle(request, self.now_ns, force, lag_ns=int(lag_s * NS))

    def get(self, path: str, **query: str) -> dict[str, Any]:
        response = self.send("GET", path, **query)
        assert response.status == 200, response.body
        return response.body

    def order(self, force: Interference = NONE, **order: Any) -> Response:
        order.setdefault("instrument", "EUR_USD")
        return self.send("POST", "/orders", {"order": order}, force)

    def types_since(self, transaction_id: int) -> list[str]:
        return [one["type"] for one in self.ledger.transactions[transaction_id:]]


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk() -> MakeDesk:
    """A venue with EUR_USD quoted at 1.10000 / 1.10010, its account opened by ids 1 and 2."""

    def make(**terms: Any) -> Desk:
        financing = terms.pop("financing", None)
        account = Terms(account_id=ACCOUNT, **terms)
        venue = Venue([account], QuoteBoard(), token=TOKEN, now_ns=NOON_NS, financing=financing)
        desk = Desk(venue)
        desk.quote("1.10000", "1.10010")
        return desk

    return make


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    return make_desk()


@dataclass
class Served:
    """A server on a loopback port, in a thread of its own."""

    server: Server
    port: int
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fault(self, *rules: dict[str, Any]) -> None:
        self.server.faults.clear()
        self.server.faults.add(read_script(list(rules)))

    def publish(self, bid: str, ask: str, instrument: str = "EUR_USD", **more: Any) -> None:
        """Bring a quote in, from inside the server's loop."""
        quote = Quote(instrument, 0, Decimal(bid), Decimal(ask), **more)

        async def put() -> None:
            self.server.publish(quote)

        asyncio.run_coroutine_threadsafe(put(), self.loop).result(5)


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers; all are stopped at the end of the test."""
    stops: list[Callable[[], None]] = []

    def start(
        *,
        events: Any = (),
        pace: Pace | None = None,
        limits: Limits | None = None,
        store_path: str | Path = ":memory:",
        wall_clock: bool = True,
        clock_offset_ns: int = 0,
        **terms: Any,
    ) -> Served:
        started: list[Served] = []
        ready, stop = threading.Event(), asyncio.Event()

        async def run() -> None:
            venue = Venue(
                [Terms(account_id=ACCOUNT, **terms)], QuoteBoard(), token=TOKEN, now_ns=NOON_NS
            )
            server = Server(
                venue,
                store=Store(store_path),
                events=events,
                pace=pace,
                limits=limits or Limits(requests_per_s=0, heartbeat_s=0.2, price_interval_s=0.01),
                faults=FaultScript(),
                wall_clock=wall_clock,
                clock_offset_ns=clock_offset_ns,
            )
            runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            assert site._server is not None
            port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
            if not events:
                server.publish(Quote("EUR_USD", 0, Decimal("1.10000"), Decimal("1.10010")))
            started.append(Served(server, port, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        assert ready.wait(60), "the server did not start"

        def finish() -> None:
            started[0].loop.call_soon_threadsafe(stop.set)
            thread.join(60)

        stops.append(finish)
        return started[0]

    yield start
    for stop in stops:
        stop()
