"""WebSockets against a real server, a real Valkey and a real log: nothing is lost, in any order."""

import asyncio
import contextlib
import json
import socket as socketlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction
from django.utils import timezone
from valkey import Valkey
from valkey.asyncio import Valkey as AsyncValkey
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from webapp.trading import consumers, hub
from webapp.trading.consumers import EventConsumer
from webapp.trading.models import EventLog
from webapp.trading.services import events, tickets
from webapp.trading.streams import Relay

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WAIT_S = 60.0
Open = Callable[..., ClientConnection]


@pytest.fixture
def open_socket(server: str, valkey: "Valkey[bytes]", alice: Any) -> Iterator[Open]:
    """Open sockets as alice; they are closed afterwards."""
    with contextlib.ExitStack() as opened:

        def open_one(ticket: str | None = None, **options: Any) -> ClientConnection:
            if ticket is None:
                ticket = tickets.ticket_make(user=alice, session_key=None)
            options.setdefault("origin", f"http://{server}")
            address = f"ws://{server}/ws/?ticket={ticket}"
            return opened.enter_context(connect(address, compression=None, **options))

        yield open_one
    # The hub ends with its last socket; it must not meet the next test's empty database.
    await_sockets(0)


def await_sockets(count: int) -> None:
    """Wait until the server has noticed that no more than so many sockets are open."""
    deadline = time.monotonic() + WAIT_S
    while consumers._sockets_of.total() > count:
        assert time.monotonic() < deadline, consumers._sockets_of
        time.sleep(0.01)


def say(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def hear(socket: ClientConnection, timeout_s: float = WAIT_S) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=timeout_s))
    return message


def subscribe(socket: ClientConnection, **streams: int | None) -> list[dict[str, Any]]:
    """Subscribe and return everything up to the confirmation, the confirmation last."""
    say(socket, type="subscribe", streams={n.replace("__", "."): s for n, s in streams.items()})
    heard = [hear(socket)]
    while heard[-1]["type"] != "subscribed":
        heard.append(hear(socket))
    return heard


def read_until_closed(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Return what is heard until the server closes, and its close code."""
    heard: list[dict[str, Any]] = []
    try:
        while True:
            heard.append(hear(socket))
    except ConnectionClosed as closed:
        return heard, closed.rcvd.code if closed.rcvd else 1006


def closed_with(socket: ClientConnection) -> int:
    return read_until_closed(socket)[1]


def record(count: int, stream: str = "orders", **data: Any) -> list[int]:
    """Record events as the services do; return their seqs."""
    with transaction.atomic():
        for n in range(count):
            events.record(stream=stream, type="order_update", data={"n": n, **data}, now=NOW)
    recorded = EventLog.objects.filter(stream=stream).order_by("-seq")[:count]
    return sorted(row.seq for row in recorded)


def publish() -> int:
    """Let the relay tell what is unpublished; return how many events it told."""

    async def run() -> int:
        from django.conf import settings

        client = AsyncValkey.from_url(settings.VALKEY_URL)
        relay = Relay(lambda work, *args: database_sync_to_async(work)(*args), now=timezone.now)
        try:
            return await relay.publish(client)
        finally:
            await get_channel_layer().flush()
            await client.aclose()

    return asyncio.run(run())


def heard_of(socket: ClientConnection) -> dict[str, Any]:
    """Publish until a new socket, whose hub begins to listen meanwhile, hears of it."""
    deadline = time.monotonic() + WAIT_S
    while True:
        EventLog.objects.update(published_at=None)
        assert publish() == 1
        try:
            return hear(socket, 0.5)
        except TimeoutError:
            assert time.monotonic() < deadline


def seqs(messages: list[dict[str, Any]], stream: str = "orders") -> list[int]:
    return [message["seq"] for message in messages if message.get("stream") == stream]


def market(valkey: "Valkey[bytes]", seq: int, *, complete: bool = False, pad: int = 0) -> None:
    envelope = {
        "stream": "market.EUR_USD",
        "seq": seq,
        "time": "2026-11-21T12:00:00Z",
        "type": "market_update",
        "data": {"quote": {"bid": str(seq)}, "bar": {"complete": complete}, "pad": "x" * pad},
    }
    fields = {"envelope": json.dumps(envelope)}
    valkey.xadd("sep:events:market.EUR_USD", fields, id=f"{seq}-0")


def test_an_event_is_heard_as_it_was_recorded(
    open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LOOK_S", 3600.0)  # it is told, not found in the log
    socket = open_socket()
    assert subscribe(socket, orders=None) == [
        {"type": "subscribed", "streams": {"orders": {"seq": 0}}}
    ]
    record(1)
    assert heard_of(socket) == {
        "stream": "orders",
        "seq": 1,
        "time": "2026-11-21T12:00:00Z",
        "type": "order_update",
        "data": {"n": 0},
    }


def test_a_ping_is_answered(open_socket: Open) -> None:
    socket = open_socket()
    say(socket, type="ping")
    assert hear(socket) == {"type": "pong"}


def test_what_was_missed_comes_first_and_in_order(open_socket: Open) -> None:
    record(5)
    publish()
    record(20)
    socket = open_socket()
    heard = subscribe(socket, orders=5)
    # Twenty events, told or not told yet, and only then what is new.
    assert seqs(heard) == list(range(6, 26))
    assert heard[-1]["streams"] == {"orders": {"seq": 25}}
    publish()
    record(1)
    publish()
    assert hear(socket)["seq"] == 26


def test_a_gap_in_the_hints_is_filled_from_the_log(open_socket: Open) -> None:
    socket = open_socket()
    subscribe(socket, orders=None)
    first, second, _ = record(3)
    EventLog.objects.filter(seq__in=[first, second]).update(published_at=NOW)
    assert publish() == 1
    assert [hear(socket)["seq"] for _ in range(3)] == [1, 2, 3]


def test_events_that_nobody_told_are_found_in_the_log(open_socket: Open) -> None:
    socket = open_socket()
    subscribe(socket, orders=None)
    record(2)
    assert [hear(socket)["seq"] for _ in range(2)] == [1, 2]


def test_an_event_that_is_told_twice_is_heard_once(open_socket: Open) -> None:
    socket = open_socket()
    subscribe(socket, orders=None)
    record(1)
    publish()
    EventLog.objects.update(published_at=None)
    publish()
    record(1)
    publish()
    assert [hear(socket)["seq"] for _ in range(2)] == [1, 2]


def test_a_client_that_is_ahead_of_the_record_is_told_to_start_anew(open_socket: Open) -> None:
    record(3)
    heard = subscribe(open_socket(), orders=99)
    assert heard[0] == {"type": "snapshot_required", "stream": "orders", "seq": 3}


def test_a_rest_that_is_too_long_is_not_given(
    open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RESUME_MAX", 10)
    record(12)
    assert seqs(subscribe(open_socket(), orders=2)) == list(range(3, 13))
    heard = subscribe(open_socket(), orders=1)
    assert heard[0] == {"type": "snapshot_required", "stream": "orders", "seq": 12}
    assert len(heard) == 2


def test_c1_valkey_dies_and_returns_and_nothing_is_lost(
    open_socket: Open, valkey_server: Any
) -> None:
    socket = open_socket()
    subscribe(socket, orders=None)
    record(1)
    publish()
    assert hear(socket)["seq"] == 1
    valkey_server.kill()
    record(1)
    # Without Valkey nobody tells; the log is looked at.
    assert hear(socket)["seq"] == 2
    valkey_server.start()
    record(1)
    publish()
    assert hear(socket)["seq"] == 3


def test_streams_are_independent_and_can_be_left(open_socket: Open) -> None:
    socket = open_socket()
    subscribe(socket, orders=None, signals=None)
    say(socket, type="unsubscribe", streams=["orders"])
    say(socket, type="ping")
    assert hear(socket) == {"type": "pong"}
    record(1)
    record(1, stream="signals")
    publish()
    assert hear(socket)["stream"] == "signals"


def test_market_updates_come_from_their_own_stream(
    open_socket: Open, valkey: "Valkey[bytes]"
) -> None:
    for seq in (1, 2, 3):
        market(valkey, seq, complete=True)
    socket = open_socket()
    heard = subscribe(socket, market__EUR_USD=1)
    assert seqs(heard, "market.EUR_USD") == [2, 3]
    market(valkey, 4)
    assert hear(socket)["seq"] == 4


def test_a_market_stream_that_was_emptied_starts_anew(
    open_socket: Open, valkey: "Valkey[bytes]"
) -> None:
    market(valkey, 7)
    socket = open_socket()
    subscribe(socket, market__EUR_USD=None)
    valkey.flushall()
    snapshot = {"type": "snapshot_required", "stream": "market.EUR_USD", "seq": 0}
    assert hear(socket) == snapshot
    market(valkey, 1)
    assert hear(socket)["seq"] == 1


def test_an_unknown_stream_is_named(open_socket: Open) -> None:
    heard = subscribe(open_socket(), secrets=None, orders=None)
    assert heard[0]["code"] == "unknown_stream"
    assert heard[-1]["streams"] == {"orders": {"seq": 0}}


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"type": "steal"}',
        '{"type": "subscribe", "streams": ["orders"]}',
        '{"type": "subscribe", "streams": {"orders": -1}}',
        '{"type": "subscribe", "streams": {"orders": true}}',
        '{"type": "unsubscribe"}',
        b"bytes",
    ],
)
def test_a_message_that_makes_no_sense_ends_the_socket(open_socket: Open, text: Any) -> None:
    socket = open_socket()
    socket.send(text)
    assert closed_with(socket) == 4409


def test_a_frame_over_16_kb_ends_the_socket(open_socket: Open) -> None:
    socket = open_socket()
    socket.send("x" * (consumers.FRAME_BYTES_MAX + 1))
    assert closed_with(socket) == 1009


def test_too_many_messages_end_the_socket(open_socket: Open) -> None:
    socket = open_socket()
    for _ in range(consumers.MESSAGES_PER_10_S + 1):
        say(socket, type="ping")
    assert closed_with(socket) == 4409


def test_a_ticket_opens_one_socket(open_socket: Open, alice: Any) -> None:
    ticket = tickets.ticket_make(user=alice, session_key=None)
    first = open_socket(ticket)
    say(first, type="ping")
    assert hear(first) == {"type": "pong"}  # it has redeemed the ticket
    assert closed_with(open_socket(ticket)) == 4401


@pytest.mark.parametrize("ticket", ["", "invented"])
def test_without_a_ticket_nothing_is_heard(open_socket: Open, ticket: str) -> None:
    assert closed_with(open_socket(ticket)) == 4401


def test_a_ticket_ends_after_half_a_minute(valkey: "Valkey[bytes]", alice: Any) -> None:
    before = time.time()
    tickets.ticket_make(user=alice, session_key=None)
    after = time.time()
    (key,) = valkey.keys("sep:ws:ticket:*")
    assert before + 29 <= valkey.expiretime(key) <= after + 31


def test_the_ticket_address_gives_one_that_opens(api: Any, open_socket: Open) -> None:
    answer = api.post("/api/auth/ws-ticket").json()
    assert answer["expires_in_s"] == 30
    socket = open_socket(answer["ticket"])
    say(socket, type="ping")
    assert hear(socket) == {"type": "pong"}


def test_a_login_without_rights_hears_nothing(open_socket: Open, charlie: Any) -> None:
    ticket = tickets.ticket_make(user=charlie, session_key=None)
    assert closed_with(open_socket(ticket)) == 4401


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_another_site_cannot_open_a_socket(open_socket: Open, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_socket(origin=origin)
    assert refused.value.response.status_code == 403


def test_logging_out_ends_the_socket(
    api: Any, open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_S", 0.1)
    socket = open_socket(api.post("/api/auth/ws-ticket").json()["ticket"])
    subscribe(socket, orders=None)
    api.logout()
    assert closed_with(socket) == 4401


def test_a_user_has_a_bounded_number_of_sockets(
    open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SOCKETS_PER_USER", 2)
    first, second = open_socket(), open_socket()
    for socket in (first, second):
        say(socket, type="ping")
        hear(socket)
    assert closed_with(open_socket()) == 1013
    first.close()
    await_sockets(1)
    third = open_socket()
    say(third, type="ping")
    assert hear(third) == {"type": "pong"}


def test_c5_a_client_that_does_not_read_is_closed_and_misses_no_order_event(
    server: str, open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not read while 10 MB of events come: more than the kernel and we hold for it."""
    monkeypatch.setattr(consumers, "WAITING_BYTES_MAX", 100_000)
    host, port = server.split(":")
    small = socketlib.socket()
    small.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 8192)
    small.connect((host, int(port)))
    # A full queue of one message makes the client's library stop reading.
    socket = open_socket(max_queue=1, sock=small)
    subscribe(socket, orders=None)
    for _ in range(20):
        record(16, pad="x" * 32_000)
        publish()
    messages, code = read_until_closed(socket)
    assert code == 4408
    heard = seqs(messages)
    assert heard == list(range(1, len(heard) + 1))
    assert len(heard) < 320
    monkeypatch.setattr(consumers, "WAITING_BYTES_MAX", 100_000_000)
    rest = seqs(subscribe(open_socket(), orders=len(heard)))
    assert heard + rest == list(range(1, 321))


async def test_a_reader_that_loses_its_cancellation_holds_up_no_socket_s_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stubborn(_: hub.Hub) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    for reader in ("_hear_hints", "_look_at_heads", "_read_markets"):
        monkeypatch.setattr(hub.Hub, reader, stubborn)
    one, socket = hub.Hub(), EventConsumer()
    await one.join(socket)
    await asyncio.sleep(0)  # the readers have begun
    async with asyncio.timeout(60):
        await one.leave(socket)


def waiting_after(*offers: tuple[str, int, bool]) -> list[str]:
    """Return what waits in a socket whose client does not read, after these offers."""
    consumer = EventConsumer()
    for stream, seq, conflate in offers:
        consumer.offer(stream, seq, f"{stream} {seq}", conflate=conflate)
    return [waiting.text for waiting in consumer._waiting]


def test_a_waiting_quote_is_replaced_by_the_next() -> None:
    assert waiting_after(("m", 1, True), ("m", 2, True), ("m", 3, True)) == ["m 3"]


def test_quotes_of_two_instruments_do_not_replace_each_other() -> None:
    waiting = waiting_after(("m", 1, True), ("n", 1, True), ("m", 2, True))
    assert waiting == ["m 2", "n 1"]


def test_a_complete_bar_is_kept_and_newer_quotes_stay_behind_it() -> None:
    offers = [("market.m", 1, True), ("market.m", 2, False), ("market.m", 3, True)]
    waiting = waiting_after(*offers, ("market.m", 4, True))
    assert waiting == ["market.m 1", "market.m 2", "market.m 4"]


def test_order_events_are_never_replaced() -> None:
    offers = [("orders", seq, False) for seq in range(1, 6)]
    assert waiting_after(*offers) == [f"orders {seq}" for seq in range(1, 6)]


def test_the_log_is_looked_at_often_enough() -> None:
    assert timedelta(seconds=hub.LOOK_S) <= timedelta(seconds=2)
