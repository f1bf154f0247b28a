"""HTTP through the WSGI handler inside an ASGI server."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from webapp.config import http
from webapp.config.http import ANSWER_PART_BYTES, HttpInThreads

Message = dict[str, Any]


def scope(method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None) -> Message:
    return {
        "type": "http",
        "method": method,
        "path": "/caf\N{LATIN SMALL LETTER E WITH ACUTE}",
        "query_string": b"a=1",
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("10.0.0.9", 5555),
        "headers": headers or [],
    }


async def answer_of(
    wsgi: Callable[..., Iterable[bytes]],
    request: Message,
    parts: list[Message],
    body_bytes_max: int = 100,
) -> list[Message]:
    sent: list[Message] = []
    waiting = list(parts)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await HttpInThreads(wsgi, threads=1, body_bytes_max=body_bytes_max)(request, receive, send)
    return sent


WHOLE = [{"type": "http.request", "body": b"", "more_body": False}]


async def test_the_request_reaches_the_application_as_wsgi_wants_it() -> None:
    seen: dict[str, Any] = {}

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.update(environ, content=environ["wsgi.input"].read())
        start_response("201 Created", [("X-Answer", "yes")])
        return [b"done"]

    headers = [
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-list", b"1"),
        (b"x-list", b"2"),
        (b"x_forwarded_for", b"evil"),
        (b"content-type", b"text/plain"),
    ]
    body = [
        {"type": "http.request", "body": b"he", "more_body": True},
        {"type": "http.request", "body": b"llo", "more_body": False},
    ]
    sent = await answer_of(wsgi, scope("POST", headers), body)

    assert sent[0]["status"] == 201
    assert sent[0]["headers"] == [(b"x-answer", b"yes")]
    assert sent[1] == {"type": "http.response.body", "body": b"done", "more_body": False}
    assert seen["REQUEST_METHOD"] == "POST"
    # UTF-8 bytes read as Latin-1, as PEP 3333 has it.
    assert seen["PATH_INFO"] == "/caf\u00c3\u00a9"
    assert seen["content"] == b"hello"
    assert seen["CONTENT_LENGTH"] == "5"
    assert seen["HTTP_COOKIE"] == "a=1; b=2"
    assert seen["HTTP_X_LIST"] == "1,2"
    assert seen["CONTENT_TYPE"] == "text/plain"
    assert seen["REMOTE_ADDR"] == "10.0.0.9"
    assert "HTTP_X_FORWARDED_FOR" not in seen


async def test_a_long_answer_comes_in_parts_and_is_closed_once() -> None:
    closed: list[bool] = []

    class Body:
        def __iter__(self) -> Iterable[bytes]:
            return iter([b"x" * (ANSWER_PART_BYTES // 2)] * 5)

        def close(self) -> None:
            closed.append(True)

    def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    sent = await answer_of(wsgi, scope(), WHOLE)

    # Two halves make a part: 2 + 2 + 1 halves.
    bodies = [
        (len(message["body"]) * 2 // ANSWER_PART_BYTES, message["more_body"])
        for message in sent[1:]
    ]
    assert bodies == [(2, True), (2, True), (1, False)]
    assert closed == [True]


async def test_a_client_that_leaves_in_the_middle_of_an_answer_still_has_it_closed() -> None:
    closed: list[bool] = []

    class Body:
        def __iter__(self) -> Iterable[bytes]:
            return iter([b"x" * ANSWER_PART_BYTES] * 100)

        def close(self) -> None:
            closed.append(True)

    def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    async def receive() -> Message:
        return WHOLE[0]

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await HttpInThreads(wsgi, threads=1, body_bytes_max=100)(scope(), receive, send)
    assert closed == [True]


async def test_d4_a_path_aside_is_answered_while_all_threads_are_busy() -> None:
    busy, over = threading.Event(), threading.Event()

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/halt":
            busy.set()
            over.wait(60)
        start_response("200 OK", [])
        return [b"halted" if not over.is_set() else b"late"]

    http = HttpInThreads(wsgi, threads=1, body_bytes_max=100, aside=frozenset({"/halt"}))
    bodies: list[bytes] = []

    async def ask(path: str) -> None:
        async def receive() -> Message:
            return WHOLE[0]

        async def send(message: Message) -> None:
            bodies.append(message.get("body", b""))

        await http(scope() | {"path": path}, receive, send)

    other = asyncio.create_task(ask("/orders"))
    await asyncio.to_thread(busy.wait, 60)
    try:
        await asyncio.wait_for(ask("/halt"), 30)
    finally:
        over.set()
    await other
    assert bodies == [b"", b"halted", b"", b"late"]


def never(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise AssertionError("a refused request must not reach the application")


@pytest.mark.parametrize(
    "request_and_parts",
    [
        # Read to its end, so that the client sees the answer.
        (
            scope("POST", [(b"content-length", b"101")]),
            [
                {"type": "http.request", "body": b"x" * 100, "more_body": True},
                {"type": "http.request", "body": b"x", "more_body": False},
            ],
        ),
        # Too much even to be dropped.
        (scope("POST", [(b"content-length", b"16000001")]), []),
        (
            scope("POST"),
            [{"type": "http.request", "body": b"x" * 8_000_001, "more_body": True}] * 2,
        ),
    ],
)
async def test_a_body_over_the_limit_is_refused(
    request_and_parts: tuple[Message, list[Message]],
) -> None:
    request, parts = request_and_parts
    sent = await answer_of(never, request, parts)
    assert sent[0]["status"] == 413
    assert b'"code": "too_long"' in sent[1]["body"]


async def test_a_body_that_never_ends_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_TIMEOUT_S", 0.05)
    parts = [{"type": "http.request", "body": b"x", "more_body": True}]
    sent = await answer_of(never, scope("POST"), parts)
    assert sent[0]["status"] == 408


async def test_a_client_that_leaves_before_its_request_is_complete_gets_nothing() -> None:
    assert await answer_of(never, scope("POST"), [{"type": "http.disconnect"}]) == []
