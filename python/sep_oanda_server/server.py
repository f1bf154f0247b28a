"""The venue over HTTP: requests, two NDJSON streams, the replay, the fault script's doings.

Everything runs in one event loop, so that a request, a quote and a tick never overlap. What a
request changed is on disk before its answer leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from aiohttp import web

from sep_oanda_server.faults import Fault, FaultError, FaultScript, read_script
from sep_oanda_server.ledger import Batch, Ledger
from sep_oanda_server.market import DEFAULT_LIQUIDITY, Quote, price_wire
from sep_oanda_server.matching import fill_again
from sep_oanda_server.store import Store
from sep_oanda_server.venue import Failure, Request, Response, Venue
from sep_oanda_server.wire import NS, Json, read_decimal, read_time, time_text, with_unix_times

BODY_BYTES_MAX = 256 * 1024
STREAMS_MAX = 20
TICK_S = 1.0
_STREAM = re.compile(r"/v3/accounts/([^/]+)/(pricing|transactions)/stream")
_CLEAN = Fault()
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pace:
    """How the recording is replayed. `speed` is recorded seconds per second, > 0."""

    speed: float = 1.0
    paused: bool = False
    cursor: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server grants: requests per second and address (0: any), seconds between beats."""

    requests_per_s: int = 120
    heartbeat_s: float = 5.0
    price_interval_s: float = 0.25


class TokenBucket:
    """`rate` per second with a burst of as many; 0 lets everything through."""

    def __init__(self, rate: int) -> None:
        self._rate, self._left, self._at = rate, float(rate), 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more may pass at `now_s`, in seconds of any steady clock."""
        self._left = min(float(self._rate), self._left + (now_s - self._at) * self._rate)
        self._at = now_s
        if self._rate and self._left < 1:
            return False
        self._left -= 1
        return True


class Server:
    """One venue behind one port.

    Args:
        venue: the accounts and their market.
        events: the recording: nanoseconds to wait and the quote that follows.
        store: where the ledgers are kept.
        wall_clock: quotes are stamped with the time they are sent; else time is the recording's.
        clock_offset_ns: how far the venue's wall clock is ahead of this machine's.
    """

    def __init__(
        self,
        venue: Venue,
        *,
        store: Store,
        events: Sequence[tuple[int, Quote]] = (),
        pace: Pace | None = None,
        limits: Limits | None = None,
        faults: FaultScript | None = None,
        wall_clock: bool = True,
        clock_offset_ns: int = 0,
    ) -> None:
        self.venue, self.store, self.events = venue, store, events
        self.pace = pace or Pace()
        self.pace.total = len(events)
        self.limits = limits or Limits()
        self.faults = faults or FaultScript()
        self.wall_clock, self._offset_ns = wall_clock, clock_offset_ns
        self._market_ns = max((one.time_ns for one in venue.market.quotes.values()), default=0)
        if not self._market_ns and events:
            self._market_ns = events[0][1].time_ns
        self._buckets: dict[str, TokenBucket] = {}
        self._wakeups: set[asyncio.Event] = set()
        self._price_queues: set[_Prices] = set()
        self._stopping = asyncio.Event()

    def now_ns(self) -> int:
        """The venue's time: the wall clock's, or that of the latest recorded quote."""
        return time.time_ns() + self._offset_ns if self.wall_clock else self._market_ns

    def application(self) -> web.Application:
        """The aiohttp application; it replays while it runs."""
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_route("*", "/control{rest:.*}", self._control)
        application.router.add_route("*", "/{path:.*}", self._serve)
        application.cleanup_ctx.append(self._running)
        return application

    async def _running(self, _application: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._replay()), asyncio.create_task(self._ticks())]
        for task in tasks:
            task.add_done_callback(_log_failure)
        yield
        self._stopping.set()
        self._wake()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._save()

    # -- what happens by itself ----------------------------------------------------------------

    def publish(self, quote: Quote) -> None:
        """Bring a quote to the accounts and the price streams.

        Raises:
            ValueError: the instrument is not offered.
        """
        self._market_ns = max(self._market_ns, quote.time_ns)
        if self.wall_clock:
            quote = replace(quote, time_ns=self.now_ns())
        self.venue.quote(quote, self.now_ns())
        self._save()
        for queue in self._price_queues:
            queue.put(quote)

    def _save(self) -> None:
        self.store.save(self.venue.ledgers, self.venue.market.quotes, self.pace.cursor)
        self._wake()

    def _wake(self) -> None:
        for event in self._wakeups:
            event.set()

    async def _replay(self) -> None:
        while self.pace.cursor < len(self.events):
            gap_ns, quote = self.events[self.pace.cursor]
            waited_s = 0.0
            while self.pace.paused or waited_s * self.pace.speed < gap_ns / NS:
                # Short steps, so that a new pace counts at once.
                step_s = (
                    0.05
                    if self.pace.paused
                    else min(0.05, gap_ns / NS / self.pace.speed - waited_s)
                )
                await asyncio.sleep(max(step_s, 0.001))
                waited_s += 0.0 if self.pace.paused else max(step_s, 0.001)
            self.pace.cursor += 1
            self.publish(quote)
            await asyncio.sleep(0)
        _log.info("the recording is at its end")

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.venue.tick(self.now_ns())
            self._save()

    # -- requests ------------------------------------------------------------------------------

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        bucket = self._buckets.setdefault(
            http.remote or "", TokenBucket(self.limits.requests_per_s)
        )
        if not bucket.take(time.monotonic()):
            return _json(Response(429, {"errorMessage": "Rate limit exceeded"}))
        fault = self.faults.take(http.method, http.path) or _CLEAN
        await asyncio.sleep(fault.delay_s)
        if fault.cut == "before":
            return _cut(http, b"")
        if found := _STREAM.fullmatch(http.path):
            return await self._stream(http, found[1], found[2], fault)
        path = http.raw_path.partition("?")[0]
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = Request(http.method, path, dict(http.query), await http.read(), headers)
        response = Response(fault.status or 200, {})
        if not fault.status or fault.processed:
            response = self.venue.handle(
                request, self.now_ns(), fault.interference, lag_ns=int(fault.lag_s * NS)
            )
            self._save()
        await asyncio.sleep(fault.delay_after_s)
        return await _answer(http, response, fault)

    # -- streams -------------------------------------------------------------------------------

    async def _stream(
        self, http: web.Request, account_id: str, kind: str, fault: Fault
    ) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = Request(http.method, http.path, dict(http.query), b"", headers)
        try:
            ledger = self.venue.account(request, account_id)
            names = [name for name in http.query.get("instruments", "").split(",") if name]
            unknown = [name for name in names if name not in self.venue.market.instruments]
            if kind == "pricing" and (unknown or not names):
                raise Failure(400, "Invalid value specified for 'instruments'")
            if len(self._wakeups) >= STREAMS_MAX:
                raise Failure(429, "Too many active streams")
        except Failure as failure:
            return _json(Response(failure.status, failure.body))
        if fault.status:
            return await _answer(http, Response(fault.status, {}), fault)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.enable_chunked_encoding()
        await response.prepare(http)
        lines = _Lines(http, response, fault, headers)
        lines.next_beat = asyncio.get_running_loop().time() + self.limits.heartbeat_s
        wakeup = asyncio.Event()
        self._wakeups.add(wakeup)
        try:
            if kind == "pricing":
                await self._stream_prices(lines, names, http.query, wakeup)
            else:
                await self._stream_transactions(lines, ledger, wakeup)
        except (ConnectionResetError, _Closed):
            pass  # the client went away, or the fault script closed the stream
        finally:
            self._wakeups.discard(wakeup)
        return response

    async def _stream_prices(
        self, lines: _Lines, names: list[str], query: Mapping[str, str], wakeup: asyncio.Event
    ) -> None:
        queue = _Prices(frozenset(names), wakeup)
        if query.get("snapshot", "true").lower() == "true":
            for name in names:
                if name in self.venue.market.quotes:
                    queue.put(self.venue.market.quotes[name])
        self._price_queues.add(queue)
        try:
            while not self._stopping.is_set():
                await self._wait(wakeup, lines, {})
                for quote in queue.take():
                    spec = self.venue.market.instruments[quote.instrument]
                    await lines.send(price_wire(quote, spec))
                await asyncio.sleep(self.limits.price_interval_s)
        finally:
            self._price_queues.discard(queue)

    async def _stream_transactions(
        self, lines: _Lines, ledger: Ledger, wakeup: asyncio.Event
    ) -> None:
        sent = ledger.last_id
        while not self._stopping.is_set():
            await self._wait(wakeup, lines, {"lastTransactionID": str(ledger.last_id)})
            while sent < ledger.last_id:
                sent += 1
                await lines.send(ledger.transactions[sent - 1])

    async def _wait(self, wakeup: asyncio.Event, lines: _Lines, beat: Json) -> None:
        """Until something may have happened or a heartbeat is due, which is then sent."""
        try:
            async with asyncio.timeout_at(lines.next_beat):
                await wakeup.wait()
            wakeup.clear()
        except TimeoutError:
            lines.next_beat += self.limits.heartbeat_s
            await lines.beat({"type": "HEARTBEAT", **beat, "time": time_text(self.now_ns())})

    # -- control -------------------------------------------------------------------------------

    async def _control(self, http: web.Request) -> web.StreamResponse:
        """`/control`: faults, quotes and the replay's pace, under the same token."""
        headers = {name.lower(): value for name, value in http.headers.items()}
        if not self.venue.authorised(Request(http.method, http.path, {}, b"", headers)):
            return _json(Response(401, {"errorMessage": "the token is missing or wrong"}))
        known: dict[tuple[str, str], Callable[[object], None]] = {
            ("POST", "/control/faults"): self._add_faults,
            ("DELETE", "/control/faults"): lambda _: self.faults.clear(),
            ("POST", "/control/quote"): self._inject_quote,
            ("POST", "/control/feed"): self._set_pace,
            ("POST", "/control/fill"): self._fill_again,
            ("POST", "/control/ids"): self._begin_ids_again,
            ("GET", "/control"): lambda _: None,
        }
        act = known.get((http.method, http.path))
        if act is None:
            return _json(Response(404, {"errorMessage": "no such control"}))
        try:
            act(json.loads(await http.read() or b"null"))
        except (FaultError, ValueError, KeyError, TypeError) as error:
            return _json(Response(400, {"errorMessage": f"{type(error).__name__}: {error}"}))
        return _json(Response(200, self._status()))

    def _status(self) -> Json:
        return {
            "time": time_text(self.now_ns()),
            "feed": {
                "cursor": self.pace.cursor,
                "total": self.pace.total,
                "speed": self.pace.speed,
                "paused": self.pace.paused,
            },
            "faults_seen": self.faults.seen,
            "accounts": {name: str(one.last_id) for name, one in self.venue.ledgers.items()},
        }

    def _add_faults(self, source: object) -> None:
        self.faults.add(read_script(source))

    def _set_pace(self, source: object) -> None:
        if not isinstance(source, dict) or set(source) - {"speed", "paused"}:
            raise ValueError("an object with `speed` and `paused`")
        speed, paused = source.get("speed", self.pace.speed), source.get("paused", self.pace.paused)
        if not isinstance(paused, bool) or not 0 < float(speed) < float("inf"):
            raise ValueError("speed must be above 0 and paused true or false")
        self.pace.speed, self.pace.paused = float(speed), paused

    def _fill_again(self, source: object) -> None:
        if not isinstance(source, dict):
            raise ValueError("an object with order, instrument and units")
        now_ns = self.now_ns()
        (account,) = self.venue.ledgers.values()
        fill_again(
            account,
            int(source["order"]),
            str(source["instrument"]),
            read_decimal(str(source["units"])),
            self.venue.market,
            Batch(account, now_ns),
        )
        self._save()
        self._wake()

    def _begin_ids_again(self, _source: object) -> None:
        """Open every account anew, as a venue does that lost its books: ids begin again at 1."""
        for name, account in self.venue.ledgers.items():
            self.venue.ledgers[name] = Ledger.opened(account.terms, self.now_ns())
        self._wake()

    def _inject_quote(self, source: object) -> None:
        if not isinstance(source, dict):
            raise ValueError("an object with instrument, bid and ask")
        at_ns = read_time(str(source["time"])) if "time" in source else self.now_ns()
        self.publish(
            Quote(
                str(source["instrument"]),
                at_ns,
                read_decimal(str(source["bid"])),
                read_decimal(str(source["ask"])),
                int(source.get("bid_liquidity", DEFAULT_LIQUIDITY)),
                int(source.get("ask_liquidity", DEFAULT_LIQUIDITY)),
                bool(source.get("tradeable", True)),
            )
        )


class _Prices:
    """The latest quote of each instrument that a stream has not sent yet."""

    def __init__(self, names: frozenset[str], wakeup: asyncio.Event) -> None:
        self._names, self._wakeup = names, wakeup
        self._waiting: dict[str, Quote] = {}

    def put(self, quote: Quote) -> None:
        if quote.instrument in self._names:
            self._waiting[quote.instrument] = quote
            self._wakeup.set()

    def take(self) -> list[Quote]:
        found = list(self._waiting.values())
        self._waiting.clear()
        return found


class _Closed(Exception):
    """The fault script has closed a stream."""


class _Lines:
    """The lines of one stream, with what the fault script does to them."""

    def __init__(
        self, http: web.Request, response: web.StreamResponse, fault: Fault, headers: dict[str, str]
    ) -> None:
        self._http, self._response, self._fault = http, response, fault
        self._unix = headers.get("accept-datetime-format", "").upper() == "UNIX"
        self._count = 0
        self._held: Json | None = None
        self.next_beat = 0.0  # by the loop's clock

    async def send(self, item: Json) -> None:
        """One line that is not a heartbeat."""
        self._count += 1
        if self._count <= self._fault.drop:
            return
        if self._fault.swap:
            if self._held is None:
                self._held = item
                return
            item, held, self._held = item, self._held, None
            await self._write(item)
            item = held
        await self._write(item)
        if self._fault.duplicate:
            await self._write(item)

    async def beat(self, item: Json) -> None:
        await self._write(item)

    async def _write(self, item: Json) -> None:
        fault = self._fault
        if fault.cut_after >= 0 and self._count > fault.cut_after:
            _abort(self._http)
            raise _Closed
        if fault.stall_after >= 0 and self._count > fault.stall_after:
            return
        line = json.dumps(with_unix_times(item) if self._unix else item).encode()
        if fault.garble and self._count == 1:
            line = line[: len(line) // 2]
        if not fault.split:
            await self._response.write(line + b"\n")
            return
        await self._response.write(line[: len(line) // 2])
        await asyncio.sleep(0)
        await self._response.write(line[len(line) // 2 :] + b"\r\n\r\n")


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("the venue's clock or replay stopped", exc_info=error)


# -- answers -----------------------------------------------------------------------------------


def _json(response: Response) -> web.Response:
    return web.Response(
        status=response.status,
        body=json.dumps(response.body).encode(),
        headers=dict(response.headers),
        content_type="application/json",
    )


def _abort(http: web.Request) -> None:
    if http.transport is not None:
        http.transport.abort()


def _cut(http: web.Request, start: bytes) -> web.Response:
    """Send `start` and close the connection; what is returned goes nowhere."""
    if http.transport is not None:
        if start:
            http.transport.write(start)
            http.transport.close()
        else:
            http.transport.abort()
    return web.Response()


async def _answer(http: web.Request, response: Response, fault: Fault) -> web.StreamResponse:
    """The answer, or what the fault script makes of it."""
    body = json.dumps(response.body).encode()
    status, headers = response.status, {"Content-Type": "application/json", **response.headers}
    if fault.status:
        status, headers = fault.status, {"Content-Type": "application/json", **fault.headers}
        text = fault.body if isinstance(fault.body, str) else json.dumps(fault.body or {})
        body = text.encode()
    if fault.cut == "after":
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in headers.items()
        )
        whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        return _cut(http, whole[: fault.cut_at])
    if fault.truncate >= 0:
        body = body[: fault.truncate]
    if not fault.pad:
        answer = web.Response(status=status, body=body, headers=headers)
        if fault.gzip or (len(body) > 1024 and "gzip" in http.headers.get("Accept-Encoding", "")):
            answer.enable_compression(web.ContentCoding.gzip)
        return answer
    padded = web.StreamResponse(status=status, headers=headers)
    if fault.gzip:
        padded.enable_compression(web.ContentCoding.gzip)
    await padded.prepare(http)
    await padded.write(body)
    with contextlib.suppress(ConnectionResetError):
        for done in range(0, fault.pad, 65536):
            await padded.write(b" " * min(65536, fault.pad - done))
    return padded
