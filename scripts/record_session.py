"""Trade for a minute at the local OANDA server and print what was said, as Markdown.

Usage: python -m scripts.record_session > docs/studies/oanda-session.md

Everything is real but the money: `make run BROKER=oanda-local` in a folder of its own, orders by
`manage.py order`, and the server's own word on each by HTTP. Ids and times differ from run to run.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.stack import ROOT, Stack, running_stack

ACCOUNT = "101-004-1435156-001"
DAY = ("--time-in-force", "GFD")


class Session:
    """A running stack, and the address and token of the server that it trades at."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        login = {"username": stack.username, "password": stack.password}
        self.token = stack.call("auth/token", body=login)["access"]
        environment = _environment_of_trader(stack)
        self.venue = environment["SEP_OANDA_URL"]
        self.venue_token = (stack.var_path / "oanda_token").read_text().strip()
        self.environment = {**os.environ, **environment}

    def say(self, text: str) -> None:
        print(f"\n{text}\n", flush=True)

    def manage(self, *words: str) -> str:
        """Run a command of manage.py and show it with its answer."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"```\n$ manage.py {' '.join(words)}\n{done.stdout.strip()}\n```", flush=True)
        return done.stdout

    def order(self, *words: str) -> str:
        """Run `manage.py order` and return the id of the order that it speaks of."""
        return self.manage("order", *words).split(" ", 1)[0]

    def ask_venue(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask the server itself, as its own app would."""
        request = urllib.request.Request(
            f"{self.venue}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.venue_token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: dict[str, Any] = json.load(answer)
        return content

    def show_venue(self, path: str, *names: str) -> None:
        """Show some fields of what the server lists at a path."""
        content = self.ask_venue("GET", f"/v3/accounts/{ACCOUNT}/{path}")
        rows = next(value for value in content.values() if isinstance(value, list))
        lines = [", ".join(f"{name} {row[name]}" for name in names if name in row) for row in rows]
        print(f"```\n> GET {path}\n" + "\n".join(lines or ["(nothing)"]) + "\n```", flush=True)

    def bid(self) -> Decimal:
        for _ in range(60):
            found = self.stack.call("market-data", self.token)["instruments"][0]["quote"]
            if found is not None:
                return Decimal(found["bid"])
            time.sleep(0.5)
        raise SystemExit("no quote came within 30 s")

    def life(self, order: str) -> None:
        """Show every event of an order with its cause."""
        events = self.stack.call(f"orders/{order}", self.token)["events"]
        lines = [f"{one['time'][11:23]} {one['state']:<9} {one['cause']}" for one in events]
        print("```\n" + "\n".join(lines) + "\n```", flush=True)


def _environment_of_trader(stack: Stack) -> dict[str, str]:
    """Return what the launcher told its trader: the settings that reach the server."""
    mark = f"SEP_VAR_PATH={stack.var_path}"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "environ").read_bytes().decode().split("\0")
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in words and b"runtrader" in command:
            pairs = (word.partition("=") for word in words if word)
            return {name: value for name, _, value in pairs if name.startswith(("SEP_", "DJANGO"))}
    raise SystemExit("the trader is not running")


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="sep-session-") as var,
        running_stack(Path(var), broker="oanda-local") as stack,
    ):
        record(Session(stack))


def record(one: Session) -> None:
    print("# A session at the local OANDA server\n")
    print("Printed by `python -m scripts.record_session`. Nothing in it was written by hand.")
    one.stack.call("feed", one.token, {"bars_per_second": 0.1})
    bid = one.bid()
    one.say("A market order with a stop and a trailing stop, filled at once:")
    entry = one.order(
        *("place", "EUR_USD", "1000"),
        *("--stop-loss", f"{bid - Decimal('0.0080'):.5f}", "--trailing-distance", "0.0120"),
    )
    one.show_venue("openTrades", "id", "currentUnits", "price", "unrealizedPL")
    one.show_venue("pendingOrders", "id", "type", "tradeID", "price", "distance")
    one.say("A limit order, changed (the venue gives it a new id), then cancelled:")
    below = one.bid() - Decimal("0.0040")
    limit = one.order("place", "EUR_USD", "500", "--limit", f"{below:.5f}", *DAY)
    changed = one.order("change", limit, "--price", f"{below - Decimal('0.0005'):.5f}")
    one.order("cancel", changed)
    one.say("What the gate and the venue's terms refuse, by field:")
    one.order("place", "EUR_USD", "50000")
    one.order("place", "EUR_USD", "100", "--type", "STOP", "--time-in-force", "GTD")
    one.say("An order whose answer is lost: the server takes it and cuts the connection.")
    one.ask_venue(
        "POST", "/control/faults", [{"method": "POST", "path": "/orders$", "cut": "after"}]
    )
    below = one.bid() - Decimal("0.0030")
    one.life(one.order("place", "EUR_USD", "300", "--limit", f"{below:.5f}"))
    one.say("An order that somebody makes at the venue without SEP is heard and adopted:")
    limit_order = {"type": "LIMIT", "instrument": "EUR_USD", "units": "5", "price": "0.90000"}
    one.ask_venue("POST", f"/v3/accounts/{ACCOUNT}/orders", {"order": limit_order})
    time.sleep(1.5)
    one.manage("order", "list", "--limit", "2")
    one.say("A part of the trade is closed, then the rest:")
    trade = one.stack.call("trades", one.token)["results"][0]["id"]
    one.manage("order", "close", trade, "--units", "400")
    one.manage("order", "close", trade)
    one.say(f"The whole life of order {entry}:")
    one.life(entry)
    one.say("The comparisons of the books so far, newest first:")
    runs = one.stack.call("reconciliations?limit=5", one.token)["results"]
    lines = [
        f"{run['started_at'][11:19]} {run['cause']:<7} {run['outcome']:<10} "
        f"{run['facts_read']} read, {run['adopted']} adopted, {run['took_ms']} ms"
        for run in runs
    ]
    print("```\n" + "\n".join(lines) + "\n```")
    books = one.manage("check_books")
    assert not re.search(r"\bI\d", books), books


if __name__ == "__main__":
    main()
