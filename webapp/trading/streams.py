"""Publishing to Valkey: market data straight from the trader, everything else out of the log.

Valkey is never waited for by the order path. When it is down the trader goes on: market updates
are dropped and counted, events wait in the log until they can be told.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson
from channels.layers import get_channel_layer
from django.conf import settings
from valkey.asyncio import Valkey
from valkey.exceptions import ResponseError, ValkeyError

from webapp.trading.killpoint import killpoint
from webapp.trading.models import EventLog
from webapp.trading.selectors.market import market_key
from webapp.trading.services import hints
from webapp.trading.services.events import envelope
from webapp.trading.statements import Asked
from webapp.trading.wire import time_text

logger = logging.getLogger(__name__)

STREAM_LENGTH = 10_000
QUEUE_LENGTH = 2_000
RELAY_BATCH = 200
RETRY_S = 1.0


def connect() -> "Valkey[bytes]":
    """Return a client of this event loop that gives up after a second."""
    return Valkey.from_url(settings.VALKEY_URL, socket_timeout=1.0, socket_connect_timeout=1.0)


def _sequence(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0])


class MarketStream:
    """The newest prices and metrics of one instrument.

    `put` never waits. A quote that was not sent yet is replaced by the next; complete bars are
    kept, and counted in `dropped` when more than QUEUE_LENGTH of them wait.
    """

    def __init__(self, instrument: str) -> None:
        self._stream = f"market.{instrument}"
        self._key = market_key(instrument)
        self._waiting: deque[tuple[bool, datetime, dict[str, Any]]] = deque()
        self._filled = asyncio.Event()
        self._seq: int | None = None
        self.dropped = 0

    def put(self, data: dict[str, Any], *, complete: bool, now: datetime) -> None:
        """Queue an update; `complete` says that it carries a complete bar."""
        if self._waiting and not complete and not self._waiting[-1][0]:
            self._waiting.pop()
        if len(self._waiting) >= QUEUE_LENGTH:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((complete, now, data))
        self._filled.set()

    async def run(self, client: "Valkey[bytes]") -> None:
        """Send what is queued for ever."""
        silent = False
        while True:
            await self._filled.wait()
            try:
                await self._send_all(client)
                silent = False
            except ValkeyError as error:
                if not silent:
                    logger.warning("market data is not published: %s", error)
                silent, self._seq = True, None
                await asyncio.sleep(RETRY_S)

    async def _send_all(self, client: "Valkey[bytes]") -> None:
        if self._seq is None:
            newest = await client.xrevrange(self._key, count=1)
            self._seq = _sequence(newest[0][0]) if newest else 0
        while self._waiting:
            complete, now, data = self._waiting[0]
            seq = self._seq + 1
            message = {
                "stream": self._stream,
                "seq": seq,
                "time": time_text(now),
                "type": "market_update",
                "data": data,
            }
            await client.xadd(
                self._key,
                {"envelope": orjson.dumps(message)},
                id=f"{seq}-0",
                maxlen=STREAM_LENGTH,
                approximate=True,
            )
            self._seq = seq
            if self._waiting and self._waiting[0] == (complete, now, data):
                self._waiting.popleft()
        self._filled.clear()


class Relay:
    """Tells the events of the log in order, each at least once."""

    def __init__(
        self, database: Callable[..., Awaitable[Any]], *, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._now = now
        self.published = 0

    async def run(self, client: "Valkey[bytes]", wake: asyncio.Event, *, look_s: float) -> None:
        """Publish what is unpublished, when woken and at least every `look_s`."""
        silent = False
        while True:
            try:
                count = await self.publish(client)
                silent = False
            except (ValkeyError, OSError) as error:
                if not silent:
                    logger.warning("events wait in the log: %s", error)
                silent, count = True, 0
                await asyncio.sleep(RETRY_S)
            if count < RELAY_BATCH:
                wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), look_s)

    async def publish(self, client: "Valkey[bytes]") -> int:
        """Publish one batch; return how many events it had."""
        batch: list[EventLog] = await self._database(_unpublished)
        if not batch:
            return 0
        layer = get_channel_layer()
        messages = [envelope(event) for event in batch]
        await self._add(client, messages)
        streams: dict[str, list[dict[str, Any]]] = {}
        for message in messages:
            streams.setdefault(message["stream"], []).append(message)
        for name, told in streams.items():
            await layer.group_send(f"events.{name}", {"type": "events", "envelopes": told})
        killpoint("relay_before_mark")
        await self._database(_mark, [event.pk for event in batch], self._now())
        self.published += len(batch)
        return len(batch)

    async def _add(self, client: "Valkey[bytes]", messages: list[dict[str, Any]]) -> None:
        pipeline = client.pipeline(transaction=False)
        for message in messages:
            pipeline.xadd(
                f"sep:events:{message['stream']}",
                {"envelope": orjson.dumps(message)},
                id=f"{message['seq']}-0",
                maxlen=STREAM_LENGTH,
                approximate=True,
            )
        for answer in await pipeline.execute(raise_on_error=False):
            # It was told before a crash that came before the mark. If the stream is ahead of the
            # log itself (a restored database), it is told by the group alone.
            told = isinstance(answer, ResponseError) and "equal or smaller" in str(answer)
            if isinstance(answer, Exception) and not told:
                raise answer


def _unpublished() -> list[EventLog]:
    return _waiting()


_waiting = Asked(
    lambda: EventLog.objects.filter(published_at__isnull=True).order_by("pk")[:RELAY_BATCH]
)


def _mark(keys: list[int], now: datetime) -> None:
    EventLog.objects.filter(pk__in=keys).update(published_at=now)


async def listen_for_hints(client: "Valkey[bytes]", *events: asyncio.Event) -> None:
    """Set `events` whenever somebody says that there is work; without Valkey nobody does."""
    while True:
        try:
            async with client.pubsub() as channel:
                await channel.subscribe(hints.CHANNEL)
                while True:
                    message = await channel.get_message(ignore_subscribe_messages=True, timeout=0.9)
                    if message is not None:
                        for event in events:
                            event.set()
        except (ValkeyError, OSError):
            await asyncio.sleep(RETRY_S)
