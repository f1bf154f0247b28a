"""The read-only client against the local server, faults included."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sep_engine.errors import ArgumentError, DataError
from sep_engine.venues.oanda import client as client_module
from sep_engine.venues.oanda.client import LIVE, PRACTICE, MarketDataClient, VenueError, local
from sep_engine.venues.oanda.parse import Heartbeat, Price, quote_bars
from sep_oanda_server.candles import Candle, Ohlc
from sep_oanda_server.wire import NS, nanoseconds

Serve = Any
ACCOUNT = "101-004-1435156-001"
START = datetime(2026, 6, 1, tzinfo=UTC)


def client_of(served: Any, **options: Any) -> MarketDataClient:
    return MarketDataClient(local(served.url), token="the-token", account_id=ACCOUNT, **options)


def load_minutes(served: Any, count: int) -> None:
    flat = [Decimal("1.1") + Decimal(n) / 100_000 for n in range(count)]
    spread = Decimal("0.0001")
    served.server.venue.candles.load(
        "EUR_USD",
        "M1",
        [
            Candle(
                nanoseconds(START) + n * 60 * NS,
                Ohlc(bid, bid, bid, bid),
                Ohlc(bid + spread, bid + spread, bid + spread, bid + spread),
                1,
            )
            for n, bid in enumerate(flat)
        ],
    )


async def test_it_reads_instruments_and_prices(serve: Serve) -> None:
    async with client_of(serve()) as client:
        (yen,) = await client.instruments(["USD_JPY"])
        assert yen.instrument().tick == Decimal("0.001")
        (price,) = await client.prices(["EUR_USD"])
        quote = price.quote()
        assert quote is not None
        assert (quote.bid, quote.ask) == (Decimal("1.10000"), Decimal("1.10010"))


async def test_history_comes_in_pages_without_gap_or_overlap(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CANDLES_PER_REQUEST", 100)
    served = serve()
    load_minutes(served, 250)
    async with client_of(served) as client:
        until = START + timedelta(minutes=230)
        pages = [page async for page in client.history("EUR_USD", "M1", since=START, until=until)]
    assert [len(page) for page in pages] == [100, 100, 30]
    bars = quote_bars([one for page in pages for one in page], "EUR_USD", "M1")
    assert [bar.start for bar in bars] == [START + timedelta(minutes=n) for n in range(230)]
    assert bars[-1].ask.close == Decimal("1.10239")  # 1.1 + 229 points + the spread


async def test_the_price_stream_gives_prices_and_heartbeats(serve: Serve) -> None:
    served = serve()
    found: list[Price | Heartbeat] = []
    async with client_of(served) as client:
        stream = client.price_stream(["EUR_USD"])
        async for item in stream:
            found.append(item)
            if len(found) == 2:
                break
        await stream.aclose()
    assert isinstance(found[0], Price)
    assert isinstance(found[1], Heartbeat)


async def test_lines_that_come_in_pieces_are_put_together(serve: Serve) -> None:
    served = serve()
    served.fault({"path": "stream", "split": True})
    async with client_of(served) as client:
        stream = client.price_stream(["EUR_USD"])
        first = await anext(aiter(stream))
        await stream.aclose()
    assert isinstance(first, Price)


async def test_b1_a_silent_stream_is_noticed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENCE_S", 0.5)
    served = serve()
    served.fault({"path": "stream", "stall_after": 0})
    async with client_of(served) as client:
        with pytest.raises(VenueError, match=r"silent for 0.5 s"):
            async for _ in client.price_stream(["EUR_USD"]):
                pass


async def test_b1_bytes_that_complete_no_line_are_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENCE_S", 0.5)

    ended = asyncio.Event()

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"1\r\n{\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        ended.set()

    async with asyncio.timeout(60), await asyncio.start_server(dribble, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        there = local(f"http://{host}:{port}")
        async with MarketDataClient(there, token="t", account_id=ACCOUNT) as client:
            with pytest.raises(VenueError, match=r"silent for 0.5 s"):
                async for _ in client.price_stream(["EUR_USD"]):
                    pass
        await ended.wait()


async def test_b1_b10_a_stream_is_not_silent_because_its_reader_is_slow(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_S", 2.0)
    async with client_of(serve()) as client:
        stream = client.price_stream(["EUR_USD"])
        await anext(stream)
        await asyncio.sleep(2.2)  # meanwhile heartbeats come, and wait to be read
        assert await anext(stream) is not None
        await stream.aclose()


async def test_a_broken_or_refused_stream_raises(serve: Serve) -> None:
    served = serve()
    served.fault({"path": "stream", "cut_after": 0}, {"path": "stream", "status": 503})
    async with client_of(served) as client:
        with pytest.raises(VenueError, match=r"broke off|closed"):
            async for _ in client.price_stream(["EUR_USD"]):
                pass
        with pytest.raises(VenueError, match="HTTP 503") as refused:
            async for _ in client.price_stream(["EUR_USD"]):
                pass
        assert refused.value.status == 503


async def test_b16_a_redirect_is_not_followed(serve: Serve) -> None:
    served, elsewhere = serve(), serve()
    served.fault({"status": 302, "headers": {"Location": elsewhere.url + "/v3/accounts"}})
    async with client_of(served) as client:
        with pytest.raises(VenueError, match="HTTP 302"):
            await client.prices(["EUR_USD"])
    assert elsewhere.server.venue._requests == 0


async def test_b17_huge_and_compressed_answers_are_refused(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BODY_BYTES_MAX", 100_000)
    served = serve()
    served.fault({"pad": 1_000_000_000}, {"pad": 1_000_000, "gzip": True})
    async with client_of(served) as client:
        with pytest.raises(DataError, match="longer than 100000 bytes"):
            await client.prices(["EUR_USD"])
        with pytest.raises(DataError, match="compressed answer"):
            await client.prices(["EUR_USD"])


async def test_errors_carry_the_venues_words_and_never_the_token(serve: Serve) -> None:
    served = serve()
    wrong = MarketDataClient(local(served.url), token="a-secret", account_id=ACCOUNT)
    async with wrong:
        with pytest.raises(VenueError, match="HTTP 401: Insufficient authorization") as refused:
            await wrong.prices(["EUR_USD"])
    assert (refused.value.status, "a-secret" in str(refused.value)) == (401, False)
    served.fault({"cut": "before"}, {"truncate": 10}, {"delay_s": 60})
    async with client_of(served) as client:
        with pytest.raises(VenueError, match="no answer to GET"):
            await client.prices(["EUR_USD"])
        with pytest.raises(DataError, match="not JSON"):
            await client.prices(["EUR_USD"])
    async with client_of(served, timeout_s=0.2) as client:
        with pytest.raises(VenueError, match="Timeout"):
            await client.prices(["EUR_USD"])


def test_the_addresses_are_a_closed_list_and_this_machine() -> None:
    assert PRACTICE.rest == "https://api-fxpractice.oanda.com"
    assert LIVE.stream == "https://stream-fxtrade.oanda.com"
    assert local("http://127.0.0.1:8020/").rest == "http://127.0.0.1:8020"
    for url in (
        "http://10.0.0.1:8020",
        "https://127.0.0.1",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1:1/v3",
        "ftp://localhost",
        "",
    ):
        with pytest.raises(ArgumentError, match="a local server is at"):
            local(url)
