"""Writing the event log: the outbox of everything that the screen and the audit see."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from webapp.trading.models import EventLog, StreamHead
from webapp.trading.services import hints
from webapp.trading.statements import Asked, row_insert, rows_insert, rows_update
from webapp.trading.wire import time_text


@dataclass(slots=True)
class _Page:
    """Events that wait to be written, and the heads of their streams as they will be."""

    heads: dict[str, StreamHead] = field(default_factory=dict)
    events: list[EventLog] = field(default_factory=list)


_page: ContextVar[_Page | None] = ContextVar("page", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Write what is recorded within in one statement at the end, in the same order.

    The caller's transaction must hold all of it: what it rolls back was never written.
    """
    if _page.get() is not None:
        yield
        return
    page = _Page()
    token = _page.set(page)
    try:
        yield
    finally:
        _page.reset(token)
    if page.events:
        rows_insert(page.events)
        rows_update(list(page.heads.values()), _MOVED)
        hints.wake()


def record(
    *, stream: str, type: str, data: Mapping[str, Any], now: datetime, subject: int | None = None
) -> None:
    """Append one event to `stream` within the caller's transaction.

    `seq` is gapless: the stream's head is locked until the caller commits, and goes back with it.

    subject: the key of the order that it is about, by which its events are found again.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("events.record must run inside the transaction that it speaks of")
    page = _page.get()
    head = page.heads.get(stream) if page is not None else None
    if head is None:
        head = _locked_head(stream)
    head.last_seq += 1
    event = EventLog(
        stream=stream,
        seq=head.last_seq,
        time=now,
        type=type,
        data=dict(data),
        subject=subject,
        previous_hash=head.last_hash,
    )
    event.hash = head.last_hash = event_hash(event)
    if page is not None:
        page.heads[stream] = head
        page.events.append(event)
        return
    row_insert(event)
    rows_update([head], _MOVED)
    hints.wake()


def _locked_head(stream: str) -> StreamHead:
    for head in _heads(stream):
        return head
    return StreamHead.objects.select_for_update().get_or_create(stream=stream)[0]


_heads = Asked(lambda stream: StreamHead.objects.select_for_update().filter(stream=stream))
_MOVED = ("last_seq", "last_hash")


def event_hash(event: EventLog) -> str:
    """Return the link of the chain: sha256 over the event and the hash before it."""
    content = [event.previous_hash, envelope(event)]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def envelope(event: EventLog) -> dict[str, Any]:
    """Return the event as every reader gets it."""
    return {
        "stream": event.stream,
        "seq": event.seq,
        "time": time_text(event.time),
        "type": event.type,
        "data": event.data,
    }


def first_fault(stream: str) -> str | None:
    """Return what is wrong with a stream's chain, None when it is whole."""
    previous, seq = "", 0
    for event in EventLog.objects.filter(stream=stream).order_by("seq").iterator():
        seq += 1
        if event.seq != seq:
            return f"{stream} {seq} is missing"
        if event.previous_hash != previous or event.hash != event_hash(event):
            return f"{stream} {seq} does not fit its hash"
        previous = event.hash
    head = StreamHead.objects.filter(stream=stream).first()
    if seq != (head.last_seq if head else 0):
        return f"{stream} ends at {seq}, its head says {head.last_seq if head else 0}"
    return None
