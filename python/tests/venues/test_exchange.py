"""Bars of an exchange through ccxt itself, from a server that speaks as that exchange does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sep_engine.data.store import load_stored
from sep_engine.errors import ArgumentError
from sep_engine.venues.exchange import download_bars, open_exchange

START = datetime(2022, 1, 1, tzinfo=UTC)
NOW = START + timedelta(hours=700, minutes=30)
MARKET = {
    "name": "BTC/USD",
    "market_symbol": "btcusd",
    "base_currency": "BTC",
    "base_decimals": 8,
    "counter_currency": "USD",
    "counter_decimals": 1,
    "minimum_order_value": "10",
    "trading": "Enabled",
    "description": "Bitcoin / U.S. dollar",
    "market_type": "SPOT",
}


class Bitstamp(BaseHTTPRequestHandler):
    """Hourly bars 0 to 700 from START, the last of them not over at NOW; 300..309 are missing."""

    failures = 0

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        answer: Any = []
        if "/markets" in parts.path:
            answer = [MARKET]
        elif "/ohlc/" in parts.path:
            if Bitstamp.failures:
                Bitstamp.failures -= 1
                self.send_error(503)
                return
            query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
            first = int(START.timestamp())
            rows = []
            for n in range(701):
                at = first + 3600 * n
                if query["start"] <= at <= query["end"] and not 300 <= n < 310:
                    price = f"{40_000 + n / 10:.1f}"
                    row = dict.fromkeys(("open", "high", "low", "close"), price)
                    rows.append({**row, "timestamp": str(at), "volume": "1.5"})
            answer = {"data": {"pair": "BTC/USD", "ohlc": rows[: query["limit"]]}}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def exchange() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bitstamp)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    opened = open_exchange("bitstamp")
    opened.enableRateLimit = False
    address = f"http://127.0.0.1:{server.server_address[1]}"
    opened.urls["api"] = {"public": address, "private": address}
    yield opened
    opened.session.close()
    server.shutdown()
    thread.join()
    server.server_close()


async def fetch(exchange: Any, store: Path, **other: Any) -> Any:
    settings: dict[str, Any] = {
        "instrument": "BTC/USD",
        "granularity": "1h",
        "since": START,
        "until": NOW,
        "store": store,
        "name": "btc",
        "requests_per_s": 1000.0,
        "now": NOW,
        **other,
    }
    return await download_bars(exchange, **settings)


async def test_all_complete_bars_come_with_the_step_of_the_market(
    exchange: Any, tmp_path: Path
) -> None:
    metadata = await fetch(exchange, tmp_path)
    # Bars 0 to 699 are over at NOW, ten of them are missing.
    assert (metadata["rows"], metadata["pip"], metadata["calendar"]) == (690, "0.1", "always")
    assert metadata["last"] == "2022-01-30T03:00:00Z"
    stored = load_stored(tmp_path / "btc")
    assert stored.spread is None
    assert stored.bars.close[-1] == 40_069.9
    assert stored.metadata["origin"]["price_side"] == "trade"
    # Every step is 0.1 but the one across the hole.
    assert [one["kind"] for one in metadata["findings"]] == ["gap", "outlier"]


async def test_a_failing_exchange_is_asked_again(exchange: Any, tmp_path: Path) -> None:
    Bitstamp.failures = 1
    metadata = await fetch(exchange, tmp_path)
    assert metadata["rows"] == 690
    assert Bitstamp.failures == 0


async def test_what_the_exchange_does_not_have_is_named(exchange: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no market 'X/Y', e\.g\. BTC/USD"):
        await fetch(exchange, tmp_path, instrument="X/Y")
    with pytest.raises(ArgumentError, match="gives bars of 1m, 3m"):
        await fetch(exchange, tmp_path, granularity="7h")
    with pytest.raises(ArgumentError, match="knows no exchange 'nowhere'"):
        open_exchange("nowhere")
