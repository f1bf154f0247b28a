"""Start the real stack as `make run` does, in a folder of its own, and stop it again."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webapp.tests.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Stack:
    """A running SEP.

    Attributes:
        url: where the page answers, without a trailing slash.
        username, password: the first administrator.
        var_path: databases, secrets and logs.
        launcher: the process that started the others.
    """

    url: str
    username: str
    password: str
    var_path: Path
    launcher: "subprocess.Popen[str]"

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/health", timeout=30) as answer:
            health: dict[str, Any] = json.load(answer)
        return health

    def call(
        self, path: str, token: str = "", body: object = None, *, key: str = ""
    ) -> dict[str, Any]:
        """Return what the API says at `path`: to a POST of `body`, if there is one.

        Raises:
            urllib.error.HTTPError: the API refused.
        """
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {token}"} if token else {}),
                **({"Idempotency-Key": key} if key else {}),
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: dict[str, Any] = json.load(answer)
        return content


@contextlib.contextmanager
def running_stack(var_path: Path, *, broker: str = "paper", database: str = "") -> Iterator[Stack]:
    """Yield a stack whose page answers; it has ended, without orphans, when the block is left.

    database: what DATABASE_URL is to be, "" for the SQLite of `make run`.
    """
    port = free_port()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "REDIS_URL", "VALKEY_URL")
    }
    launcher = subprocess.Popen(
        [sys.executable, "-m", "webapp.launcher", "--port", str(port), "--broker", broker],
        cwd=ROOT,
        env={**kept, "SEP_VAR_PATH": str(var_path)}
        | ({"DATABASE_URL": database} if database else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    running = threading.Event()
    reader = threading.Thread(target=_read, args=(launcher, said, running), daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not running.wait(0.1):
            if launcher.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the stack did not start:\n" + "".join(said))
        login = re.search(r"Log in as (\S+) with password (\S+)", "".join(said))
        yield Stack(
            url=f"http://localhost:{port}",
            username=login[1] if login else "",
            password=login[2] if login else "",
            var_path=var_path,
            launcher=launcher,
        )
    finally:
        launcher.send_signal(signal.SIGINT)
        try:
            launcher.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()
            raise AssertionError(f"the stack did not stop in {STOP_TIMEOUT_S} s") from None
        reader.join(60)
        assert launcher.stdout is not None
        launcher.stdout.close()
    left = processes_of(var_path)
    assert left == [], f"these processes outlived the launcher: {left}"


def _read(launcher: "subprocess.Popen[str]", said: list[str], running: threading.Event) -> None:
    assert launcher.stdout is not None
    for line in launcher.stdout:
        said.append(line)
        if line.startswith("Logs are in"):  # the last line of the welcome
            running.set()


def processes_of(var_path: Path) -> list[str]:
    """Return the command lines of all processes whose SEP_VAR_PATH is this folder."""
    mark = f"SEP_VAR_PATH={var_path}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
