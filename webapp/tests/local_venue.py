"""The local OANDA server, each in a process of its own, and what somebody does there beside SEP."""

import atexit
import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any

import httpx

from sep_oanda_server.cli import main
from webapp.tests.ports import free_port

ACCOUNT = "101-004-1435156-001"
START_S = 60.0
# Made once: a client reads the machine's certificates, 50 ms of CPU that each request without one
# would pay again.
_http = httpx.Client(trust_env=False, headers={"Authorization": "Bearer local"})
atexit.register(_http.close)
# Importing aiohttp is most of a server's start: each is forked from a process that has done it.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


def _serve(words: list[str]) -> None:
    with open(os.devnull, "w") as silence:
        os.dup2(silence.fileno(), 2)
    raise SystemExit(main(words))


@contextlib.contextmanager
def serving(*options: str) -> Iterator[str]:
    """Yield the address of a new server whose replay is paused; it has ended afterwards."""
    port = free_port()
    words = ["--port", str(port), "--paused", "--rate-limit", "0", *options]
    server = _processes.Process(target=_serve, args=(words,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_S
    while True:
        try:
            request(url, "GET", "/control")
            break
        except httpx.HTTPError:
            assert server.is_alive(), f"the server ended with {server.exitcode}"
            assert time.monotonic() < deadline, f"the server did not answer within {START_S:g} s"
            time.sleep(0.02)
    yield url
    server.terminate()
    server.join(30)
    assert server.exitcode is not None, "the server did not end within 30 s"
    server.close()


def request(url: str, method: str, path: str, body: object = None) -> Any:
    """Return what the server answers with the token that it wants; every refusal is an error."""
    answer = _http.request(method, f"{url}{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def control(url: str, method: str, path: str, body: object = None) -> Any:
    return request(url, method, f"/control{path}", body)


def at_venue(url: str, method: str, path: str, body: object = None) -> Any:
    """What somebody does with the account at the venue without SEP."""
    return request(url, method, f"/v3/accounts/{ACCOUNT}{path}", body)
