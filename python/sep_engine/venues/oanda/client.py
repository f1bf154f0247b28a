"""Reading an OANDA v20 account and its market over HTTP: instruments, candles, prices, streams.

Read-only: no method here can change an account. Needs httpx (`pip install sep-engine[oanda]`).
"""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from sep_engine.errors import ArgumentError, DataError, SepError
from sep_engine.model.times import from_ns
from sep_engine.venues.oanda.parse import (
    GRANULARITY_S,
    Candle,
    Heartbeat,
    InstrumentTerms,
    LineSplitter,
    Price,
    Transaction,
    VenueAccount,
    load_json,
    objects,
    read_account,
    read_candles,
    read_instruments,
    read_price,
    read_stream_line,
    text,
    time_text,
)

BODY_BYTES_MAX = 16 << 20
CANDLES_PER_REQUEST = 5000
# A heartbeat comes every 5 s. Loss is to be known within 10 s: a second of them is for telling it.
SILENCE_S = 9.0


class VenueError(SepError):
    """The venue answered with an error, or not at all. `status` is None where nothing came."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Opened:
    """The venue has begun to answer; what follows is live."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the venue is. Made by the names below only, so that no token goes anywhere else."""

    rest: str
    stream: str


PRACTICE = Endpoint("https://api-fxpractice.oanda.com", "https://stream-fxpractice.oanda.com")
LIVE = Endpoint("https://api-fxtrade.oanda.com", "https://stream-fxtrade.oanda.com")


def local(url: str) -> Endpoint:
    """The endpoint of a local server.

    Raises:
        ArgumentError: the address is not on this machine.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if parts.scheme != "http" or not loopback or parts.path not in ("", "/"):
        raise ArgumentError(f"a local server is at http://127.0.0.1:PORT, was {url!r}")
    base = url.rstrip("/")
    return Endpoint(base, base)


def open_http(
    token: str, *, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Return what sends the token to nobody but who is asked: no redirects, no proxies."""
    # Compression is not asked for: an answer is then no larger than what was read of it.
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept-Datetime-Format": "RFC3339",
        "Accept-Encoding": "identity",
    }
    return httpx.AsyncClient(
        headers=headers,
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


class MarketDataClient:
    """Reads one account's view of the market. Use as an async context manager.

    Args:
        endpoint: PRACTICE, LIVE or `local(...)`.
        token: the bearer token; it goes into one header and nowhere else.
        account_id: the account whose instruments and prices are read.
        timeout_s: the longest wait for a connection, and for each part of an answer.
    """

    def __init__(
        self, endpoint: Endpoint, *, token: str, account_id: str, timeout_s: float = 10.0
    ) -> None:
        self._endpoint = endpoint
        self._account = f"/v3/accounts/{quote(account_id, safe='')}"
        self._http = open_http(token, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def accounts(self) -> list[str]:
        """The ids of the accounts that the token opens.

        Raises:
            VenueError, DataError: no answer, an error, or an unusable answer.
        """
        body = await self._get("/v3/accounts", {})
        return [text(one, "id") for one in objects(body, "accounts")]

    async def account(self) -> VenueAccount:
        """The account as of one transaction.

        Raises:
            VenueError, DataError: no answer, an error, or an unusable answer.
        """
        return read_account(await self._get(self._account, {}))

    async def instruments(self, names: Sequence[str] = ()) -> list[InstrumentTerms]:
        """The terms of these instruments, or of all.

        Raises:
            VenueError, DataError: no answer, an error, or an unusable answer.
        """
        query = {"instruments": ",".join(names)} if names else {}
        return read_instruments(await self._get(f"{self._account}/instruments", query))

    async def prices(self, instruments: Sequence[str]) -> list[Price]:
        """The latest prices.

        Raises:
            VenueError, DataError: no answer, an error, or an unusable answer.
        """
        query = {"instruments": ",".join(instruments)}
        body = await self._get(f"{self._account}/pricing", query)
        return [read_price(one) for one in body.get("prices", [])]

    async def candles(
        self,
        instrument: str,
        granularity: str,
        *,
        count: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Candle]:
        """One request's candles, bid and ask, oldest first; the last may be incomplete.

        Args:
            count: at most CANDLES_PER_REQUEST; not together with both times.
            since, until: the first start, and the bound below which starts lie; aware.

        Raises:
            VenueError, DataError: no answer, an error, or an unusable answer.
        """
        query = {"granularity": granularity, "price": "BA"}
        if count is not None:
            query["count"] = str(count)
        if since is not None:
            query["from"] = time_text(since)
        if until is not None:
            query["to"] = time_text(until)
        path = f"/v3/instruments/{quote(instrument, safe='')}/candles"
        return read_candles(await self._get(path, query))

    async def history(
        self, instrument: str, granularity: str, *, since: datetime, until: datetime
    ) -> AsyncIterator[list[Candle]]:
        """The complete candles of a range, in pages, oldest first.

        Raises:
            ArgumentError: the granularity's bars do not all last the same.
            VenueError, DataError: as `candles`; also when a page does not move forward.
        """
        if granularity not in GRANULARITY_S:
            raise ArgumentError(f"history needs one of {', '.join(GRANULARITY_S)}")
        length = timedelta(seconds=GRANULARITY_S[granularity])
        while since < until:
            page = await self.candles(
                instrument, granularity, since=since, count=CANDLES_PER_REQUEST
            )
            starts = [from_ns(one.start_ns) for one in page]
            if any(start < since for start in starts):
                raise DataError(f"{instrument}: a candle from before {since.isoformat()} came")
            wanted = [
                one
                for one, start in zip(page, starts, strict=True)
                if one.complete and start < until
            ]
            if wanted:
                yield wanted
            if len(page) < CANDLES_PER_REQUEST:
                return
            since = starts[-1] + length

    async def price_stream(
        self, instruments: Sequence[str]
    ) -> AsyncGenerator[Price | Heartbeat, None]:
        """Prices and heartbeats as they come; the first are the latest prices.

        Reconnecting is the caller's decision: the stream ends by raising.

        Raises:
            VenueError: refused, broken off, or silent for SILENCE_S.
            DataError: a line that cannot be used.
        """
        query = {"instruments": ",".join(instruments), "snapshot": "true"}
        url = f"{self._endpoint.stream}{self._account}/pricing/stream"
        async for item in stream_items(self._http, url, query, silence_s=SILENCE_S):
            if isinstance(item, Price | Heartbeat):
                yield item

    async def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        request = self._http.build_request("GET", self._endpoint.rest + path, params=query)
        try:
            response = await self._http.send(request, stream=True)
            try:
                content = await _body(response)
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise VenueError(f"no answer to GET {path}: {type(error).__name__}") from None
        if response.status_code != 200:
            raise _refused(response.status_code, content)
        return load_json(content)


async def stream_items(
    http: httpx.AsyncClient,
    url: str,
    query: Mapping[str, str],
    *,
    silence_s: float = SILENCE_S,
) -> AsyncIterator[Opened | Price | Heartbeat | Transaction]:
    """The lines of one stream of the venue; `Opened` comes first, the end comes by raising.

    Args:
        http: a client that carries the token and follows no redirect.
        url: of the stream.
        silence_s: the longest wait for a whole line. Bytes that complete none do not count.

    Raises:
        VenueError: refused, broken off, closed, or silent for too long.
        DataError: a line that cannot be used.
    """
    loop = asyncio.get_running_loop()
    request = http.build_request("GET", url, params=query, timeout=httpx.Timeout(silence_s))
    splitter = LineSplitter()
    silent = VenueError(f"the stream was silent for {silence_s:g} s")
    try:
        response = await http.send(request, stream=True)
        try:
            if response.status_code != 200:
                raise _refused(response.status_code, await _body(response))
            yield Opened()
            heard_at = loop.time()
            chunks = response.aiter_raw()
            while True:
                async with asyncio.timeout_at(heard_at + silence_s):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                for line in splitter.feed(chunk):
                    if (item := read_stream_line(line)) is not None:
                        yield item
                    # The time that the caller took with it is no silence of the venue.
                    heard_at = loop.time()
        finally:
            await response.aclose()
    except (httpx.ReadTimeout, TimeoutError):
        raise silent from None
    except httpx.HTTPError as error:
        raise VenueError(f"the stream broke off: {type(error).__name__}") from None
    raise VenueError("the venue closed the stream")


async def _body(response: httpx.Response) -> bytes:
    """The body, bounded; compressed ones are refused, since they were not asked for."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise DataError("a compressed answer came that was not asked for")
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise DataError(f"an answer is longer than {BODY_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def _refused(status: int, content: bytes) -> VenueError:
    try:
        body = load_json(content)
    except DataError:
        body = {}
    message = text(body, "errorMessage") or "no reason given"
    return VenueError(f"HTTP {status}: {message}", status=status, code=text(body, "errorCode"))
