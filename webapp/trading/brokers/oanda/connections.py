"""HTTP/1.1 connections to a venue that are kept between requests: httpx's transport for orders.

httpx's own pool looks at each idle connection for each request and finds out again which event loop
it runs in; that took a fifth of the trader's time under load. Here the event loop itself tells when
an idle connection has ended. A request is written once, on one connection: nothing is tried again.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import h11
import httpx

KEPT_MAX = 20
KEPT_S = 5.0
_READ_BYTES = 64 * 1024
_HEAD_BYTES_MAX = 100 * 1024
_Origin = tuple[str, str, int]


class KeptConnections(httpx.AsyncBaseTransport):
    """Up to KEPT_MAX connections wait for at most KEPT_S for the next request to their origin.

    It raises what httpx's own transport does: ConnectError and ConnectTimeout before anything was
    written, other errors of httpx after that.
    """

    def __init__(self) -> None:
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, timeouts = request.url, request.extensions.get("timeout", {})
        port = url.port or (443 if url.scheme == "https" else 80)
        origin = (url.scheme, url.host, port)
        connection = self._kept(origin) or await self._open(origin, timeouts.get("connect"))
        try:
            content = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
            head = h11.Request(
                method=request.method, target=url.raw_path, headers=request.headers.raw
            )
            await connection.write(head, content, timeouts.get("write"))
            answer = await connection.answer(timeouts.get("read"))
        except BaseException:
            connection.close()
            raise
        return httpx.Response(
            answer.status_code,
            headers=list(answer.headers),
            stream=_Body(self, connection, timeouts.get("read")),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": bytes(answer.reason)},
        )

    async def aclose(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def done(self, connection: "_Connection") -> None:
        """Keep a connection whose answer was read whole, close every other."""
        if connection.reusable() and len(self._idle) < KEPT_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    def _kept(self, origin: _Origin) -> "_Connection | None":
        """Return the connection that was used last; those that have ended or waited go."""
        found = None
        left: list[_Connection] = []
        for connection in reversed(self._idle):
            if not connection.waits():
                connection.close()
            elif found is None and connection.origin == origin:
                found = connection
            else:
                left.append(connection)
        self._idle = left[::-1]
        return found

    async def _open(self, origin: _Origin, timeout_s: float | None) -> "_Connection":
        scheme, host, port = origin
        if scheme == "https" and self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(
                    host, port, ssl=self._tls if scheme == "https" else None
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {timeout_s:g} s") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return _Connection(origin, reader, writer)


class _Connection:
    def __init__(
        self, origin: _Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.origin = origin
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._idle_since = 0.0

    def reusable(self) -> bool:
        """Return whether the answer was read whole and another may follow; if so, begin anew."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._idle_since = time.monotonic()
        return True

    def waits(self) -> bool:
        ended = self._writer.is_closing() or self._reader.at_eof()
        return not ended and time.monotonic() - self._idle_since < KEPT_S

    def close(self) -> None:
        self._writer.close()

    async def write(self, head: h11.Request, content: bytes, timeout_s: float | None) -> None:
        parts = [self._http.send(head)]
        if content:
            parts.append(self._http.send(h11.Data(data=content)))
        parts.append(self._http.send(h11.EndOfMessage()))
        try:
            self._writer.write(b"".join(part for part in parts if part))
            async with asyncio.timeout(timeout_s):
                await self._writer.drain()
        except TimeoutError as error:
            raise httpx.WriteTimeout(f"not written within {timeout_s:g} s") from error
        except OSError as error:
            raise httpx.WriteError(str(error)) from error

    async def answer(self, timeout_s: float | None) -> h11.Response:
        """Return the head of the answer."""
        while True:
            event = await self._event(timeout_s)
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise httpx.RemoteProtocolError("closed without an answer")

    async def part(self, timeout_s: float | None) -> bytes | None:
        """Return the next bytes of the body, None at its end."""
        event = await self._event(timeout_s)
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def _event(self, timeout_s: float | None) -> Any:
        while True:
            try:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    return event
                async with asyncio.timeout(timeout_s):
                    self._http.receive_data(await self._reader.read(_READ_BYTES))
            except TimeoutError as error:
                raise httpx.ReadTimeout(f"nothing came for {timeout_s:g} s") from error
            except OSError as error:
                raise httpx.ReadError(str(error)) from error
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error)) from error


class _Body(httpx.AsyncByteStream):
    def __init__(
        self, pool: KeptConnections, connection: _Connection, timeout_s: float | None
    ) -> None:
        self._pool, self._connection, self._timeout_s = pool, connection, timeout_s
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._connection.part(self._timeout_s)) is not None:
            yield part

    async def aclose(self) -> None:
        if not self._ended:
            self._ended = True
            self._pool.done(self._connection)
