"""One reader a process for all its WebSockets: it hears every stream once and hands out texts.

Events of the record (orders, positions, signals, ...) come through one Channels group each, as
hints: their order and completeness come from `seq`. What a hint does not continue is read from the
event log, and so is what no hint came for: the log's heads are looked at every 2 s. With Valkey
down sockets therefore go on, 2 s late.

Market updates come from one Valkey stream an instrument; they are not in the log.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import orjson
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from webapp.trading.cancelling import cancelled
from webapp.trading.models import EventLog, StreamHead
from webapp.trading.services.events import envelope

logger = logging.getLogger(__name__)

RECORD_STREAMS = (
    "signals",
    "orders",
    "positions",
    "performance",
    "system",
    "jobs",
    "runs",
    "alerts",
)
RESUME_MAX = 1_000
LOOK_S = 2.0
RETRY_S = 1.0
SAY_AGAIN_S = 60.0
READ_BLOCK_MS = 500
READ_BATCH = 200
MARKET = "market."
_NOT_YET = 2**63


class Listener(Protocol):
    """A WebSocket, as the hub sees it."""

    def offer(self, stream: str, seq: int, text: str, *, conflate: bool) -> None:
        """Take an event for sending without waiting; `conflate`: a newer one may replace it."""

    def offer_snapshot_required(self, stream: str, seq: int) -> None:
        """Say that what came up to `seq` cannot be given."""


@dataclass(slots=True)
class _Stream:
    """How far a stream was handed out, and to whom. `positions` holds each listener's last seq."""

    last: int
    positions: dict[Listener, int] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def hand_out(self, name: str, seq: int, text: str, *, conflate: bool) -> None:
        for listener, position in self.positions.items():
            if seq > position:
                self.positions[listener] = seq
                listener.offer(name, seq, text, conflate=conflate)

    def skip_to(self, name: str, seq: int) -> None:
        self.last = seq
        for listener in self.positions:
            self.positions[listener] = seq
            listener.offer_snapshot_required(name, seq)


class Hub:
    """See the module. Lives while a listener does; belongs to one event loop."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._valkey: Valkey[bytes] | None = None
        self._listeners: set[Listener] = set()

    async def join(self, listener: Listener) -> None:
        self._listeners.add(listener)
        if not self._tasks:
            # A read may block for READ_BLOCK_MS; the client's own limit lies above it.
            self._valkey = Valkey.from_url(
                settings.VALKEY_URL, socket_timeout=5.0, socket_connect_timeout=1.0
            )
            for run in (self._hear_hints, self._look_at_heads, self._read_markets):
                self._tasks.append(asyncio.create_task(_for_ever(run)))

    async def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        for stream in self._streams.values():
            stream.positions.pop(listener, None)
        if not self._listeners:
            tasks, self._tasks, self._streams = self._tasks, [], {}
            valkey, self._valkey = self._valkey, None
            await cancelled(tasks)
            if valkey is not None and self._valkey is not valkey:
                await valkey.aclose()

    async def subscribe(self, listener: Listener, name: str, last: int | None) -> int:
        """Hand `listener` what came after `last`, then everything new; return the newest seq.

        None starts from now. When the rest is longer than RESUME_MAX, or not there any more, or
        `last` is ahead of the stream, the listener is told that it needs a snapshot.

        Raises:
            ValkeyError: a market stream cannot be read.
        """
        market = name.startswith(MARKET)
        head = await (self._market_head(name) if market else _head(name))
        stream = self._streams.setdefault(name, _Stream(last=head))
        # Keeps the stream from being dropped meanwhile; nothing is handed out to it yet.
        stream.positions[listener] = _NOT_YET
        async with stream.lock:
            head = await (self._market_head(name) if market else _head(name))
            start = head if last is None else last
            stream.positions[listener] = head
            if start > head:
                listener.offer_snapshot_required(name, head)
            elif start < head:
                await self._resume(listener, name, start, head)
        return head

    def unsubscribe(self, listener: Listener, name: str) -> None:
        stream = self._streams.get(name)
        if stream is None:
            return
        stream.positions.pop(listener, None)
        if not stream.positions:
            del self._streams[name]

    async def _resume(self, listener: Listener, name: str, start: int, head: int) -> None:
        if head - start <= RESUME_MAX:
            if name.startswith(MARKET):
                rest = await self._market_after(name, start)
            else:
                rest = [(seq, text, False) for seq, text in await _events_after(name, start)]
            rest = [row for row in rest if row[0] <= head]
            if [seq for seq, _, _ in rest] == list(range(start + 1, head + 1)):
                for seq, text, conflate in rest:
                    listener.offer(name, seq, text, conflate=conflate)
                return
        listener.offer_snapshot_required(name, head)

    async def _hear_hints(self) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        for name in RECORD_STREAMS:
            await layer.group_add(f"events.{name}", channel)
        try:
            while True:
                message = await layer.receive(channel)
                for event in message["envelopes"]:
                    await self._hear(event)
        finally:
            for name in RECORD_STREAMS:
                with contextlib.suppress(ValkeyError, OSError):
                    await layer.group_discard(f"events.{name}", channel)

    async def _hear(self, event: dict[str, Any]) -> None:
        stream = self._streams.get(event["stream"])
        if stream is None:
            return
        async with stream.lock:
            if event["seq"] == stream.last + 1:
                stream.last += 1
                text = orjson.dumps(event).decode()
                stream.hand_out(event["stream"], event["seq"], text, conflate=False)
                return
        if event["seq"] > stream.last:
            await self._catch_up(event["stream"])

    async def _look_at_heads(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for name, head in (await _heads()).items():
                stream = self._streams.get(name)
                if stream is not None and head != stream.last:
                    await self._catch_up(name)

    async def _catch_up(self, name: str) -> None:
        stream = self._streams.get(name)
        if stream is None:
            return
        async with stream.lock:
            head = await _head(name)
            if head == stream.last:
                return
            rest = []
            if 0 < head - stream.last <= RESUME_MAX:
                rest = await _events_after(name, stream.last)
            if not rest:
                stream.skip_to(name, head)
            for seq, text in rest:
                stream.last = seq
                stream.hand_out(name, seq, text, conflate=False)

    async def _read_markets(self) -> None:
        assert self._valkey is not None
        while True:
            positions: dict[str, str] = {
                f"sep:events:{name}": f"{stream.last}-0"
                for name, stream in self._streams.items()
                if name.startswith(MARKET)
            }
            if not positions:
                await asyncio.sleep(READ_BLOCK_MS / 1000)
                continue
            answer = await self._valkey.xread(positions, count=READ_BATCH, block=READ_BLOCK_MS)
            if not answer:
                await self._find_restarted()
            for key, entries in answer:
                name = key.decode().removeprefix("sep:events:")
                stream = self._streams.get(name)
                if stream is None:
                    continue
                async with stream.lock:
                    for seq, text, conflate in map(_market_entry, entries):
                        if seq > stream.last:
                            stream.last = seq
                            stream.hand_out(name, seq, text, conflate=conflate)

    async def _find_restarted(self) -> None:
        """Start anew on market streams that were emptied: their numbers began again."""
        for name, stream in list(self._streams.items()):
            if name.startswith(MARKET):
                async with stream.lock:
                    head = await self._market_head(name)
                    if head < stream.last:
                        stream.skip_to(name, head)

    async def _market_head(self, name: str) -> int:
        assert self._valkey is not None
        entries = await self._valkey.xrevrange(f"sep:events:{name}", count=1)
        return _sequence(entries[0][0]) if entries else 0

    async def _market_after(self, name: str, last: int) -> list[tuple[int, str, bool]]:
        assert self._valkey is not None
        entries = await self._valkey.xrange(
            f"sep:events:{name}", min=f"{last + 1}-0", count=RESUME_MAX
        )
        return [_market_entry(entry) for entry in entries]


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


async def _for_ever(run: Callable[[], Awaitable[None]]) -> None:
    """Run a reader again after each error: Valkey or the database may be away for a while."""
    said_at = -math.inf
    while True:
        try:
            await run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if time.monotonic() - said_at > SAY_AGAIN_S:
                logger.warning("%s starts again: %r", getattr(run, "__name__", run), error)
                said_at = time.monotonic()
            await asyncio.sleep(RETRY_S)


def _sequence(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0])


def _market_entry(entry: tuple[bytes, dict[bytes, bytes]]) -> tuple[int, str, bool]:
    """Return seq, text and whether a newer quote may replace it: not if a bar is complete in it."""
    entry_id, fields = entry
    text = fields[b"envelope"]
    bar: dict[str, Any] | None = orjson.loads(text)["data"].get("bar")
    return _sequence(entry_id), text.decode(), not (bar and bar["complete"])


@database_sync_to_async
def _heads() -> dict[str, int]:
    return dict(StreamHead.objects.values_list("stream", "last_seq"))


@database_sync_to_async
def _head(stream: str) -> int:
    row = StreamHead.objects.filter(stream=stream).values_list("last_seq", flat=True).first()
    return row or 0


@database_sync_to_async
def _events_after(stream: str, last: int) -> list[tuple[int, str]]:
    rows = EventLog.objects.filter(stream=stream, seq__gt=last).order_by("seq")[:RESUME_MAX]
    return [(row.seq, orjson.dumps(envelope(row)).decode()) for row in rows]
