"""Publishing: every event in order and at least once, and no waiting for Valkey."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from valkey.exceptions import ValkeyError

from webapp.tests.conftest import ValkeyServer
from webapp.trading import streams
from webapp.trading.models import EventLog
from webapp.trading.selectors.market import market_latest
from webapp.trading.services import events
from webapp.trading.streams import MarketStream, Relay, connect
from webapp.trading.trader.database import DatabaseThread

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


def record(count: int) -> None:
    with transaction.atomic():
        for number in range(count):
            events.record(stream="orders", type="order_update", data={"n": number}, now=NOW)


def relayed(work: Callable[[Relay, Any], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        database = DatabaseThread("test")
        client = connect()
        try:
            return await work(Relay(database, now=lambda: NOW), client)
        finally:
            await client.aclose()
            await database.close()

    return asyncio.run(whole())


def told(valkey: Any) -> list[tuple[bytes, Any]]:
    entries = valkey.xrange("sep:events:orders")
    return [(key, json.loads(fields[b"envelope"])["data"]) for key, fields in entries]


def test_events_are_told_in_order_with_their_own_numbers(valkey: Any) -> None:
    record(3)
    assert relayed(lambda relay, client: relay.publish(client)) == 3
    assert told(valkey) == [(b"1-0", {"n": 0}), (b"2-0", {"n": 1}), (b"3-0", {"n": 2})]
    assert not EventLog.objects.filter(published_at__isnull=True).exists()
    assert relayed(lambda relay, client: relay.publish(client)) == 0


def test_o8_what_was_told_before_a_crash_is_not_told_twice_in_the_stream(valkey: Any) -> None:
    record(2)
    relayed(lambda relay, client: relay.publish(client))
    # The crash came before the mark.
    EventLog.objects.update(published_at=None)
    assert relayed(lambda relay, client: relay.publish(client)) == 2
    assert [key for key, _ in told(valkey)] == [b"1-0", b"2-0"]


def test_c2_a_flushed_valkey_goes_on_with_the_next_number(valkey: Any) -> None:
    record(2)
    relayed(lambda relay, client: relay.publish(client))
    valkey.flushall()
    with transaction.atomic():
        events.record(stream="orders", type="order_update", data={"n": 9}, now=NOW)
    relayed(lambda relay, client: relay.publish(client))
    assert told(valkey) == [(b"3-0", {"n": 9})]


def test_c3_what_a_valkey_of_a_second_ago_lacks_is_found_in_the_log(
    valkey: Any, valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    kept = Path(settings.SEP_VAR_PATH) / "valkey" / "appendonlydir"
    record(2)
    relayed(lambda relay, client: relay.publish(client))
    shutil.copytree(kept, tmp_path / "a-second-ago")
    record(1)
    relayed(lambda relay, client: relay.publish(client))
    valkey_server.kill()
    shutil.rmtree(kept)
    shutil.copytree(tmp_path / "a-second-ago", kept)
    valkey_server.start()
    assert [key for key, _ in told(valkey)] == [b"1-0", b"2-0"]
    record(1)
    relayed(lambda relay, client: relay.publish(client))
    # The numbers show whoever reads the stream that the third is missing; the log has it
    # (test_a_gap_in_the_hints_is_filled_from_the_log).
    assert [key for key, _ in told(valkey)] == [b"1-0", b"2-0", b"4-0"]
    assert EventLog.objects.filter(stream="orders", seq=3).exists()


def test_c4_events_wait_while_valkey_is_full(valkey: Any) -> None:
    record(1)
    valkey.config_set("maxmemory", 1)
    try:
        with pytest.raises(ValkeyError, match="maxmemory"):
            relayed(lambda relay, client: relay.publish(client))
    finally:
        valkey.config_set("maxmemory", 256_000_000)
    assert EventLog.objects.filter(published_at=None).count() == 1
    assert relayed(lambda relay, client: relay.publish(client)) == 1
    assert [key for key, _ in told(valkey)] == [b"1-0"]


def test_the_group_of_the_stream_hears_the_envelopes_of_a_batch_at_once(valkey: Any) -> None:
    record(2)

    async def work(relay: Relay, client: Any) -> Any:
        layer = get_channel_layer()
        name = await layer.new_channel()
        await layer.group_add("events.orders", name)
        await relay.publish(client)
        message = await asyncio.wait_for(layer.receive(name), 60)
        await layer.group_discard("events.orders", name)
        await layer.flush()
        return message

    message = relayed(work)
    assert message["type"] == "events"
    told = [(one["seq"], one["data"]) for one in message["envelopes"]]
    assert told == [(1, {"n": 0}), (2, {"n": 1})]


def test_c1_without_valkey_events_wait_in_the_log(settings: Any) -> None:
    settings.VALKEY_URL = "unix:///nonexistent/valkey.sock"
    record(1)
    with pytest.raises(ValkeyError):
        relayed(lambda relay, client: relay.publish(client))
    assert EventLog.objects.filter(published_at__isnull=True).count() == 1


def market(work: Callable[[MarketStream, Any], Awaitable[None]]) -> None:
    async def whole() -> None:
        client = connect()
        stream = MarketStream("EUR_USD")
        try:
            await work(stream, client)
        finally:
            await client.aclose()

    asyncio.run(whole())


def test_b11_a_burst_that_nobody_takes_holds_no_more_than_its_bound() -> None:
    stream = MarketStream("EUR_USD")
    # 100 quotes to a bar, 2,500 bars, while Valkey does not answer.
    for number in range(250_000):
        stream.put({"n": number}, complete=number % 100 == 99, now=NOW)
    # Of the quotes one is kept between two bars; the oldest are dropped, and counted.
    assert len(stream._waiting) == streams.QUEUE_LENGTH
    assert stream._waiting[-1][2] == {"n": 249_999}
    assert stream.dropped == 2 * 2_500 - streams.QUEUE_LENGTH


def test_b10_quotes_are_conflated_and_complete_bars_are_kept(valkey: Any) -> None:
    async def work(stream: MarketStream, client: Any) -> None:
        for number in range(3):
            stream.put({"quote": number}, complete=False, now=NOW)
        stream.put({"bar": 1}, complete=True, now=NOW)
        stream.put({"bar": 2}, complete=True, now=NOW)
        stream.put({"quote": 8}, complete=False, now=NOW)
        stream.put({"quote": 9}, complete=False, now=NOW)
        await stream._send_all(client)

    market(work)
    found = [
        (key, json.loads(fields[b"envelope"])["data"])
        for key, fields in valkey.xrange("sep:events:market.EUR_USD")
    ]
    assert found == [
        (b"1-0", {"quote": 2}),
        (b"2-0", {"bar": 1}),
        (b"3-0", {"bar": 2}),
        (b"4-0", {"quote": 9}),
    ]
    newest = market_latest("EUR_USD")
    assert newest is not None
    assert newest.data == {"quote": 9}


def test_a_new_trader_goes_on_with_the_stream_s_numbers(valkey: Any) -> None:
    async def work(stream: MarketStream, client: Any) -> None:
        stream.put({"quote": 1}, complete=False, now=NOW)
        await stream._send_all(client)

    market(work)
    market(work)
    assert [key for key, _ in valkey.xrange("sep:events:market.EUR_USD")] == [b"1-0", b"2-0"]


def test_a_queue_that_nobody_takes_is_bounded_and_says_what_it_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "QUEUE_LENGTH", 3)

    async def work(stream: MarketStream, client: Any) -> None:
        for number in range(5):
            stream.put({"bar": number}, complete=True, now=NOW)
        assert stream.dropped == 2
        assert [data["bar"] for _, _, data in stream._waiting] == [2, 3, 4]

    market(work)
