"""The WebSocket of the dashboard: `/ws/?ticket=...` with a ticket from /api/auth/ws-ticket.

The client sends {"type": "subscribe", "streams": {"orders": 12, "market.EUR_USD": null}} with the
last seq that it has, or null for "from now"; {"type": "unsubscribe", "streams": ["orders"]};
{"type": "ping"}. It gets the events that it lacks, then {"type": "subscribed", "streams":
{"orders": {"seq": 14}}}, then every new event; {"type": "snapshot_required", "stream", "seq"} where
the rest cannot be given; {"type": "error", "code", "message"}; {"type": "pong"}.
"""

import asyncio
import logging
import re
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson
from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from valkey.exceptions import ValkeyError

from webapp.trading.hub import MARKET, RECORD_STREAMS, hub
from webapp.trading.services.tickets import Holder, holder_is_valid, ticket_redeem

logger = logging.getLogger(__name__)

TICKET_REFUSED = 4401
TOO_SLOW = 4408
BAD_MESSAGE = 4409
TRY_LATER = 1013

FRAME_BYTES_MAX = 16_384
MESSAGES_PER_10_S = 100
STREAMS_MAX = 64
SOCKETS_PER_USER = 20
WAITING_MAX = 2_000
WAITING_BYTES_MAX = 1_000_000
RECHECK_S = 15.0

_MARKET_NAME = re.compile(r"market\.[A-Z0-9_]{1,32}")
_sockets_of: Counter[int] = Counter()


@dataclass(slots=True)
class _Waiting:
    text: str


class _BadMessage(Exception):
    pass


class EventConsumer(AsyncWebsocketConsumer):
    """One socket. The hub offers texts; a task of its own sends them as fast as the client reads.

    Quotes of one instrument that wait are replaced by newer ones. Everything else waits in full; a
    client that lets too much wait is closed with 4408 and resumes from its last seq.
    """

    # The hub listens for all sockets, so that a socket needs no channel of its own.
    channel_layer_alias = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._replaceable: dict[str, _Waiting] = {}
        self._filled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._streams: set[str] = set()
        self._received: deque[float] = deque()
        self._closing = False
        self._holder: Holder | None = None

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler; unlike its parent, without a hop to a thread for each message."""
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        # A close code reaches the browser only after the socket was accepted.
        await self.accept()
        try:
            holder = await ticket_redeem(_ticket(self.scope["query_string"]))
        except (ValkeyError, OSError):
            await self.close(TRY_LATER, "Valkey does not answer")
            return
        if holder is None or not await _holder_is_valid(holder):
            await self.close(TICKET_REFUSED, "the ticket is unknown, used or old")
            return
        if _sockets_of[holder.user_id] >= SOCKETS_PER_USER:
            await self.close(TRY_LATER, f"at most {SOCKETS_PER_USER} sockets a user")
            return
        self._holder = holder
        _sockets_of[holder.user_id] += 1
        await hub().join(self)
        self._tasks = [
            asyncio.create_task(self._send_waiting()),
            asyncio.create_task(self._recheck()),
        ]

    async def disconnect(self, code: int) -> None:
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._holder is not None:
            await hub().leave(self)
            _sockets_of[self._holder.user_id] -= 1
            if not _sockets_of[self._holder.user_id]:
                del _sockets_of[self._holder.user_id]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._holder is None or self._closing:
            return
        try:
            self._count_message()
            await self._handle(_parsed(text_data))
        except _BadMessage as error:
            await self._end(BAD_MESSAGE, str(error))

    async def _handle(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ping":
            self._offer_control({"type": "pong"})
        elif kind == "subscribe":
            await self._subscribe(message.get("streams"))
        elif kind == "unsubscribe":
            streams = message.get("streams")
            if not isinstance(streams, list):
                raise _BadMessage("unsubscribe needs a list of streams")
            for name in streams:
                if name in self._streams:
                    self._streams.discard(name)
                    hub().unsubscribe(self, name)
        else:
            raise _BadMessage("the type must be subscribe, unsubscribe or ping")

    async def _subscribe(self, streams: Any) -> None:
        if not isinstance(streams, dict):
            raise _BadMessage("subscribe needs an object of streams with the last seq of each")
        heads: dict[str, dict[str, int]] = {}
        for name, last in streams.items():
            if last is not None and (type(last) is not int or last < 0):
                raise _BadMessage(f"the last seq of {name!r} must be a whole number or null")
            if name not in RECORD_STREAMS and not _MARKET_NAME.fullmatch(name):
                self._offer_error("unknown_stream", f"There is no stream {name!r}.")
                continue
            if name not in self._streams and len(self._streams) >= STREAMS_MAX:
                self._offer_error("too_many_streams", f"At most {STREAMS_MAX} streams a socket.")
                break
            try:
                heads[name] = {"seq": await hub().subscribe(self, name, last)}
            except (ValkeyError, OSError):
                self._offer_error("unavailable", f"{name} cannot be read: Valkey does not answer.")
                continue
            self._streams.add(name)
        self._offer_control({"type": "subscribed", "streams": heads})

    def offer(self, stream: str, seq: int, text: str, *, conflate: bool) -> None:
        if self._closing:
            return
        replaceable = self._replaceable.get(stream) if conflate else None
        if replaceable is not None:
            self._waiting_bytes += len(text) - len(replaceable.text)
            replaceable.text = text
            return
        waiting = self._wait(text)
        if conflate:
            self._replaceable[stream] = waiting
        elif stream.startswith(MARKET):
            # A newer quote must not overtake this bar in an older place.
            self._replaceable.pop(stream, None)

    def offer_snapshot_required(self, stream: str, seq: int) -> None:
        self._replaceable.pop(stream, None)
        self._offer_control({"type": "snapshot_required", "stream": stream, "seq": seq})

    def _offer_control(self, message: dict[str, Any]) -> None:
        self._wait(orjson.dumps(message).decode())

    def _offer_error(self, code: str, message: str) -> None:
        self._offer_control({"type": "error", "code": code, "message": message})

    def _wait(self, text: str) -> _Waiting:
        waiting = _Waiting(text)
        self._waiting.append(waiting)
        self._waiting_bytes += len(text)
        self._filled.set()
        if len(self._waiting) > WAITING_MAX or self._waiting_bytes > WAITING_BYTES_MAX:
            self._give_up()
        return waiting

    def _give_up(self) -> None:
        """Close a client that reads too slowly. It may never read the close frame: the server's
        own pings end the connection then, and until then nothing is held for it."""
        if self._closing:
            return
        self._closing = True
        self._waiting.clear()
        self._replaceable.clear()
        sender = self._tasks[0]
        sender.cancel()
        self._tasks.append(asyncio.create_task(self.close(TOO_SLOW, "too slow")))

    async def _send_waiting(self) -> None:
        while True:
            await self._filled.wait()
            while self._waiting:
                waiting = self._waiting.popleft()
                self._waiting_bytes -= len(waiting.text)
                for stream, last in list(self._replaceable.items()):
                    if last is waiting:
                        del self._replaceable[stream]
                await self.send(text_data=waiting.text)
            self._filled.clear()

    def _count_message(self) -> None:
        now = time.monotonic()
        self._received.append(now)
        while self._received[0] < now - 10:
            self._received.popleft()
        if len(self._received) > MESSAGES_PER_10_S:
            raise _BadMessage(f"at most {MESSAGES_PER_10_S} messages in 10 s")

    async def _recheck(self) -> None:
        """End the socket of somebody who logged out, was deactivated or changed the password."""
        while True:
            await asyncio.sleep(RECHECK_S)
            assert self._holder is not None
            if not await _holder_is_valid(self._holder):
                await self._end(TICKET_REFUSED, "the login has ended")
                return

    async def _end(self, code: int, reason: str) -> None:
        if not self._closing:
            self._closing = True
            await self.close(code, reason)


def _parsed(text: str | None) -> dict[str, Any]:
    if text is None:
        raise _BadMessage("messages are texts")
    if len(text.encode()) > FRAME_BYTES_MAX:
        raise _BadMessage(f"a message has at most {FRAME_BYTES_MAX} bytes")
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _BadMessage("messages are JSON") from error
    if not isinstance(message, dict):
        raise _BadMessage("messages are JSON objects")
    return message


def _ticket(query: bytes) -> str:
    return parse_qs(query.decode("latin-1")).get("ticket", [""])[0]


_holder_is_valid = database_sync_to_async(holder_is_valid)
