"""A venue and a trader that may die: the processes that the proofs of the order path work with.

The venue is the local OANDA server in a process of its own, the trader the real one in its own.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from webapp import embedded_valkey

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "101-004-1435156-001"
ENDED = ("FILLED", "CANCELLED", "REJECTED", "EXPIRED", "EXPIRED_UNSENT", "DENIED", "REPLACED")
START_S = 60.0
LEASE_HELD = 3  # the exit code of a trader whose account has another one
WAIT_S = 30.0


class Unreached(Exception):
    """What was waited for did not come about in time."""


def until(question: Callable[[], bool], what: str, *, seconds: float = WAIT_S) -> None:
    """Wait until the answer is yes.

    Raises:
        Unreached: it was not in time.
    """
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            raise Unreached(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


@dataclass
class World:
    """The venue, and the trader that may die.

    Attributes:
        trader: the one that was started last; None before the first.
        starts: how many were started.
        place: where the newest is to die, "" for nowhere.
        log_before: characters of the log that are older than the newest trader.
    """

    url: str
    token: str
    var_path: Path
    trader: "subprocess.Popen[bytes] | None" = None
    starts: int = 0
    place: str = ""
    log_before: int = 0
    venue: "subprocess.Popen[bytes] | None" = None
    valkey: "subprocess.Popen[bytes] | None" = None
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False))

    @classmethod
    def open(cls, var_path: Path, *, database: str) -> "World":
        """Start the venue and let the settings name it; the trader comes later.

        database: what DATABASE_URL is to be, "" for SQLite.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        token = secrets.token_urlsafe(48)
        url = f"http://127.0.0.1:{port}"
        os.environ.update(
            SEP_VAR_PATH=str(var_path),
            DJANGO_SETTINGS_MODULE="webapp.config.settings",
            SEP_OANDA_URL=url,
            SEP_OANDA_TOKEN=token,
            DATABASE_URL=database,
        )
        one = cls(url, token, var_path)
        one.start_venue()
        return one

    def start_venue(self) -> None:
        """Start the venue where it always is, on the ledger that it kept, and await it."""
        port = self.url.rpartition(":")[2]
        words = ("--paused", "--clock", "market", "--rate-limit", "0", "--port", port)
        ledger = ("--ledger", str(self.var_path / "oanda.sqlite3"))
        self.venue = subprocess.Popen(
            [sys.executable, "-m", "sep_oanda_server", *words, *ledger],
            stderr=subprocess.DEVNULL,
            preexec_fn=embedded_valkey.die_with_parent,
        )
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.control("GET", "")
                return
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.05)

    def start_valkey(self) -> None:
        self.valkey = embedded_valkey.start(self.var_path, timeout_s=START_S)

    def control(self, method: str, path: str, body: object = None) -> Any:
        answer = self.http.request(
            method,
            f"{self.url}/control{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        )
        answer.raise_for_status()
        return answer.json()

    @property
    def last_id(self) -> int:
        return int(self.control("GET", "")["accounts"][ACCOUNT])

    def start_trader(self, *, place: str = "") -> None:
        """Start a trader; `place` is where it is to die, as `webapp.trading.killpoint` says."""
        self.starts += 1
        self.place = place
        self.log_before = len(self.log())
        with (self.var_path / "trader.log").open("ab") as log:
            self.trader = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "runtrader", "--relay", "--skip-checks"],
                # Many starts: modules that are compiled once save most of their time.
                env={**os.environ, "SEP_KILLPOINT": place, "PYTHONDONTWRITEBYTECODE": ""},
                stdout=log,
                stderr=log,
                preexec_fn=embedded_valkey.die_with_parent,
            )

    def keep_trader(self) -> None:
        """Start the next trader if the last one has ended, as the launcher would."""
        if self.trader is None or self.trader.poll() is not None:
            self.start_trader()

    def await_armed(self) -> bool:
        """Wait until the trader is armed or has ended; return whether it is armed.

        One that the account was not free for, because the server has not noticed yet that the last
        trader is dead, is started again.
        """
        assert self.trader is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.trader.poll() in (None, LEASE_HELD):
            if self.armed():
                return True
            if self.trader.poll() == LEASE_HELD:
                self.start_trader(place=self.place)
            time.sleep(0.05)
        return False

    def armed(self) -> bool:
        """Return whether the newest trader says that it is armed."""
        return " armed: account" in self.log()[self.log_before :]

    def log(self) -> str:
        path = self.var_path / "trader.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop_trader(self, number: int) -> None:
        assert self.trader is not None
        if self.trader.poll() is None:
            self.trader.send_signal(number)
        self.trader.wait(30)

    def close(self) -> None:
        """End the trader, then what it worked with."""
        for process in (self.trader, self.venue, self.valkey):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        self.http.close()


def state_of(order: Any) -> str:
    from webapp.trading.models import Order

    return str(Order.objects.values_list("state", flat=True).get(pk=order.pk))


def audit(*, restored: bool = False) -> list[str]:
    """Compare both ledgers with no trader running; return every broken invariant.

    restored: the books are a backup that was restored.

    The invariants are those of `webapp.trading.audit`, and I10: nothing that was written, be it a
    log or a row, holds the token.
    """
    from webapp.trading.audit import account_faults
    from webapp.trading.models import BrokerAccount

    faults = account_faults(BrokerAccount.objects.get(), restored=restored)
    token, folder = os.environ["SEP_OANDA_TOKEN"], Path(os.environ["SEP_VAR_PATH"])
    return [*faults, *files_with(token, folder), *rows_with(token)]


def files_with(secret: str, folder: Path) -> list[str]:
    """Return a fault for each file below a folder that holds a secret; SQLite's are among them."""
    faults = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # Valkey and SQLite take theirs away
            if path.is_file() and secret.encode() in path.read_bytes():
                faults.append(f"I10 {path.relative_to(folder)} holds the token")
    return faults


def rows_with(secret: str) -> list[str]:
    """Return a fault for each table of PostgreSQL that holds a secret in any of its columns."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return []
    faults = []
    with connection.cursor() as cursor:
        for name in sorted(connection.introspection.table_names(cursor)):
            table = connection.ops.quote_name(name)
            cursor.execute(f"SELECT count(*) FROM {table} AS one WHERE one::text LIKE %s",
                           [f"%{secret}%"])  # fmt: skip
            if cursor.fetchone()[0]:
                faults.append(f"I10 the table {name} holds the token")
    return faults
