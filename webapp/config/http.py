"""HTTP of an ASGI server through a WSGI application, with one thread hop a request.

A worker thread runs the application and takes the first part of the answer. Most answers end there;
a longer one is read on in further hops, so that a slow reader holds memory for one part and never a
thread. Requests are read whole, within a bound of bytes and time, before a thread is taken.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]

BODY_IN_MEMORY_BYTES = 64_000
BODY_TIMEOUT_S = 30.0
DROPPED_BYTES_MAX = 16_000_000
ANSWER_PART_BYTES = 256_000


class HttpInThreads:
    """An ASGI application of type `http` around a WSGI application.

    Args:
        wsgi: the application.
        threads: how many requests run at one time; others wait in order of arrival.
        aside: paths whose requests have a thread of their own, so that no others are in their way.
        body_bytes_max: a longer request body is answered with 413.
    """

    def __init__(
        self,
        wsgi: Callable[..., Any],
        *,
        threads: int,
        body_bytes_max: int,
        aside: frozenset[str] = frozenset(),
    ) -> None:
        self._wsgi = wsgi
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="http")
        self._aside = dict.fromkeys(aside, ThreadPoolExecutor(1, thread_name_prefix="http-aside"))
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        with tempfile.SpooledTemporaryFile(BODY_IN_MEMORY_BYTES) as body:
            try:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    size_bytes = await self._read_body(scope, receive, body)
            except _Refused as refused:
                await _refuse(send, refused)
                return
            except TimeoutError:
                await _refuse(send, _Refused(408, "timeout", "The request took too long to arrive"))
                return
            except _Gone:
                return
            environ = wsgi_environ(scope, body, size_bytes)
            answer = _Answer()
            threads = self._aside.get(scope["path"], self._threads)
            part, more = await loop.run_in_executor(threads, answer.start, self._wsgi, environ)
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": answer.headers,
                }
            )
            try:
                while more:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    part, more = await loop.run_in_executor(threads, answer.next_part)
                await send({"type": "http.response.body", "body": part, "more_body": False})
            finally:
                if more:
                    await loop.run_in_executor(threads, answer.close)

    async def _read_body(self, scope: Scope, receive: Receive, body: IO[bytes]) -> int:
        """Read the body; one that is too long is read on and dropped, as far as that is cheap.

        A client that is cut off while it sends sees a broken connection in place of the answer.
        """
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > DROPPED_BYTES_MAX:
                raise self._too_long()
        size_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            size_bytes += len(part)
            if size_bytes > DROPPED_BYTES_MAX:
                raise self._too_long()
            if size_bytes <= self._body_bytes_max:
                body.write(part)
            if not message.get("more_body", False):
                if size_bytes > self._body_bytes_max:
                    raise self._too_long()
                body.seek(0)
                return size_bytes

    def _too_long(self) -> "_Refused":
        return _Refused(
            413, "too_long", f"The request body must have at most {self._body_bytes_max} bytes"
        )


def wsgi_environ(scope: Scope, body: IO[bytes], size_bytes: int) -> dict[str, Any]:
    """Return the WSGI variables (PEP 3333) of an ASGI http scope whose body has been read."""
    client = scope.get("client") or ("127.0.0.1", 0)
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", "").encode().decode("latin-1"),
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "CONTENT_LENGTH": str(size_bytes),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1")
        # An underscore would be told apart from a hyphen no longer: such a header is an attack.
        if "_" in name or name in ("content-length", "transfer-encoding"):
            continue
        value = raw_value.decode("latin-1")
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        if key in environ:
            value = f"{environ[key]}{'; ' if name == 'cookie' else ','}{value}"
        environ[key] = value
    return environ


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Gone(Exception):
    """The client left before its request was complete."""


async def _refuse(send: Send, refused: _Refused) -> None:
    body = json.dumps({"code": refused.code, "message": str(refused), "fields": {}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # What is left of the request is not read.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@dataclass(slots=True)
class _Answer:
    """The answer of one request, read in parts; every method runs in a worker thread."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] | None = None
    _body: Any = None
    _chunks: Iterator[bytes] | None = None

    def start(self, wsgi: Callable[..., Any], environ: dict[str, Any]) -> tuple[bytes, bool]:
        self._body = wsgi(environ, self._start_response)
        self._chunks = iter(self._body)
        return self.next_part()

    def _start_response(self, status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        self.status = int(status.split(" ", 1)[0])
        self.headers = [
            # Django writes cookies with a leading space, which h11 refuses.
            (name.lower().encode("latin-1"), value.strip().encode("latin-1"))
            for name, value in headers
        ]

    def next_part(self) -> tuple[bytes, bool]:
        """Return the next bytes, and whether there may be more; the last part closes the answer."""
        assert self._chunks is not None
        part = bytearray()
        try:
            for chunk in self._chunks:
                part += chunk
                if len(part) >= ANSWER_PART_BYTES:
                    return bytes(part), True
        except BaseException:
            self.close()
            raise
        self.close()
        return bytes(part), False

    def close(self) -> None:
        """Release files and database connections that the answer holds."""
        body, self._body = self._body, None
        close = getattr(body, "close", None)
        if close is not None:
            close()
