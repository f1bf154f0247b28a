"""Connections to the venue that are kept, at a server of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from webapp.trading.brokers.oanda.connections import KeptConnections

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"


async def asked(
    answers: list[bytes],
    work: Callable[[httpx.AsyncClient], Awaitable[None]],
    *,
    ends: bool = False,
) -> int:
    """Answer requests in turn, one list for all connections; return how many were opened.

    ends: the server closes a connection after each answer without having said so.
    """
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while answers and await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer := answers.pop(0))
            await writer.drain()
            if ends or answer != OK:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(
        transport=KeptConnections(), base_url=f"http://127.0.0.1:{port}", trust_env=False
    ) as client:
        await work(client)
    server.close()
    await server.wait_closed()
    return opened


async def twice(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await client.get("/")).text == "ok"
        for _ in range(50):  # the end of a connection is heard of, however slow the machine is
            await asyncio.sleep(0.001)


async def test_requests_that_follow_one_another_share_a_connection() -> None:
    assert await asked([OK, OK], twice) == 1


@pytest.mark.parametrize(("answers", "ends"), [([LAST, OK], False), ([OK, OK], True)])
async def test_a_connection_that_has_ended_is_not_written_to(
    answers: list[bytes], ends: bool
) -> None:
    assert await asked(answers, twice, ends=ends) == 2


async def test_an_answer_that_is_cut_is_an_error_and_nothing_is_asked_again() -> None:
    async def cut(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")

    assert await asked([SHORT, OK], cut) == 1


async def test_nobody_there_is_told_before_anything_is_written() -> None:
    async with httpx.AsyncClient(transport=KeptConnections(), trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:1/")
