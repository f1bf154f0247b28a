"""The kill switch as a small process of its own: `python -m webapp.killswitch`.

It needs neither the database nor Valkey nor the trader. A press puts up the halt flag, which every
sender reads before each send, and then goes to the brokers itself with the tokens that it keeps
(`webapp.trading.standby`): it cancels what could still open, and if asked closes every position
with orders that can only reduce. It has its own page on the loopback address, behind its own token,
and shows until everything is flat. It cannot re-arm: that is for a person with a second factor.

The paper broker lives in the trader's process and has no clock without it: there the flag is all.
"""

import argparse
import asyncio
import contextlib
import hmac
import html
import logging
import os
import secrets
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import django
from aiohttp import web

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import DatabaseError  # noqa: E402

from sep_engine.execution.states import PROTECTIVE, OrderType  # noqa: E402
from webapp.config.private_file import write_private  # noqa: E402
from webapp.config.sealing import SealBroken  # noqa: E402
from webapp.trading import halt_flag, standby  # noqa: E402
from webapp.trading.brokers.base import (  # noqa: E402
    AccountReport,
    Broker,
    BrokerError,
    Kind,
    OrderRequest,
    VenueOrder,
)
from webapp.trading.brokers.registry import broker_for  # noqa: E402
from webapp.trading.models import BrokerAccount  # noqa: E402
from webapp.trading.tokens import NoToken  # noqa: E402

logger = logging.getLogger("webapp.killswitch")

HOST = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"
PORT = 8001
CALL_S = 5.0
ROUND_S = 0.5
# The longest pause before a broker, an order or a position is tried again. It goes on until done.
PAUSE_MOST_S = 10.0


@dataclass(slots=True)
class Progress:
    """What was done at one account, for the page.

    Attributes:
        positions: (instrument, signed units) of all that is held; None before the broker has
            answered.
        orders: working orders that could open; None before the broker has answered.
        problems: what did not work when it was last tried, by the position or order.
        done_s: seconds from the press until nothing was left to do.
    """

    account: str
    positions: tuple[tuple[str, Decimal], ...] | None = None
    orders: int | None = None
    cancelled: int = 0
    error: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    done_s: float | None = None

    def line(self) -> str:
        if self.positions is None:
            return f"{self.account}: {self.error or 'asking the broker'}"
        held = ", ".join(f"{units:f} {name}" for name, units in sorted(self.positions))
        words = [
            f"{self.account}: {'holds ' + held if held else 'flat'}",
            f"{self.orders} working orders could open",
            f"{self.cancelled} cancelled",
        ]
        if self.done_s is not None:
            words.append(f"done after {self.done_s:.1f} s")
        words += [f"{what}: {why}" for what, why in sorted(self.problems.items())]
        if self.error:
            words.append(self.error)
        return ", ".join(words)


def may_open(order: VenueOrder) -> bool:
    """Return whether a working order could open or grow a position, as far as the venue says."""
    return not order.trade_id and order.type not in set(PROTECTIVE)


@dataclass
class Account:
    """One account: its cancels and its way to flat, each step safe to repeat."""

    row: BrokerAccount
    progress: Progress
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    # Of positions: how many orders to close them have ended.
    _ended: dict[str, int] = field(default_factory=dict)
    # Of what did not work: how often in a row, and when it may be tried again.
    _vain: dict[str, int] = field(default_factory=dict)
    _again_at: dict[str, float] = field(default_factory=dict)

    async def work(self, *, flatten: bool, monotonic: Callable[[], float]) -> None:
        """Cancel, and flatten if asked, until nothing is left; only another press ends it."""
        if self.row.kind == "paper":
            self.progress.error = "paper trades in its trader, which reads the flag"
            return
        started, pause_s = monotonic(), ROUND_S
        while True:
            try:
                async with _broker(self.row) as broker:
                    while not await self._round(broker, flatten=flatten, now=monotonic()):
                        self.progress.error, pause_s = "", ROUND_S
                        await asyncio.sleep(ROUND_S)
                self.progress.done_s = monotonic() - started
                self.progress.error = ""
                return
            except (BrokerError, NoToken, TimeoutError) as error:
                self.progress.error = str(error) or "the broker does not answer"
                logger.warning("%s: %s", self.row.name, self.progress.error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MOST_S)

    async def _round(self, broker: Broker, *, flatten: bool, now: float) -> bool:
        """Try all that is left; True if a look at the account found nothing to do.

        What does not work is told, and keeps nothing else from being tried.
        """
        report = await self._look(broker)
        opening = [order for order in report.open_orders if may_open(order)]
        closing = report.held if flatten else ()
        # A stop whose position is gone has nothing to protect.
        ending = report.open_orders if flatten and not report.held else opening
        left = {order.client_id for order in ending} | {_what(*held) for held in closing}
        for done in self.progress.problems.keys() - left:
            del self.progress.problems[done]
        for order in ending:
            await self._try(order.client_id, partial(self._cancel, broker, order), now)
        for instrument, units in closing:
            close = partial(self._close, broker, instrument, units)
            await self._try(_what(instrument, units), close, now)
        return not ending and not closing

    async def _try(self, what: str, attempt: Callable[[], Awaitable[str]], now: float) -> None:
        """Try, unless it failed a moment ago; the pauses grow.

        attempt: returns why it did not work, "" if it did as far as the venue says.
        """
        if now < self._again_at.get(what, now):
            return
        try:
            why = await attempt()
        except (BrokerError, TimeoutError) as error:
            why = str(error) or "no answer"
        if not why:
            self.progress.problems.pop(what, None)
            self._vain.pop(what, None)
            return
        # What the venue refuses, or a pair that is halted, is not asked twice a second for hours.
        pause_s = min(ROUND_S * 2 ** self._vain.get(what, 0), PAUSE_MOST_S)
        self._vain[what] = self._vain.get(what, 0) + 1
        self._again_at[what] = now + pause_s
        self.progress.problems[what] = f"{why}; the next try in {pause_s:g} s"
        logger.warning("%s: %s: %s", self.row.name, what, self.progress.problems[what])

    async def _cancel(self, broker: Broker, order: VenueOrder) -> str:
        facts = await asyncio.wait_for(broker.cancel(order.client_id), CALL_S)
        refused = [fact.reason for fact in facts if fact.kind == Kind.CANCEL_REFUSED]
        if not refused:
            self.progress.cancelled += may_open(order)
        return f"the cancel was refused: {refused[0]}" if refused else ""

    async def _look(self, broker: Broker) -> AccountReport:
        report = await asyncio.wait_for(broker.account(), CALL_S)
        self.progress.positions = report.held
        self.progress.orders = sum(may_open(order) for order in report.open_orders)
        return report

    async def _close(self, broker: Broker, instrument: str, units: Decimal) -> str:
        """Close a position by an order that can only reduce; return why it closed nothing.

        An order whose answer was lost is sent again under the same name, which the venue takes
        once; only one that has ended is followed by another.
        """
        what = _what(instrument, units)
        number = self._ended.setdefault(what, 0)
        name = f"kill-{self.run}-{what}-{number}"
        known = await asyncio.wait_for(broker.order_by_client_id(name), CALL_S)
        if known is not None:
            if known.working:
                return "an order waits at the venue"
            self._ended[what] += 1
            name = f"kill-{self.run}-{what}-{number + 1}"
        request = OrderRequest(
            client_id=name,
            instrument=instrument,
            type=OrderType.MARKET,
            units=-units,
            reduce_only=True,
        )
        facts = await asyncio.wait_for(broker.submit(request), CALL_S)
        vain = [one for one in facts if one.kind in (Kind.CANCELLED, Kind.REJECTED, Kind.EXPIRED)]
        tries = self._ended[what] + 1
        return f"try {tries} was {vain[0].kind}, {vain[0].reason}" if vain else ""


def _what(instrument: str, units: Decimal) -> str:
    return f"{instrument}-{'long' if units > 0 else 'short'}"


@contextlib.asynccontextmanager
async def _broker(row: BrokerAccount) -> AsyncIterator[Broker]:
    broker = broker_for(row)
    try:
        yield broker
    finally:
        await broker.close()


class KillSwitch:
    """What the page shows and what its buttons do."""

    def __init__(self, *, token: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._monotonic = monotonic
        self._tasks: set[asyncio.Task[None]] = set()
        self.progress: list[Progress] = []
        self.error = ""

    def application(self) -> web.Application:
        application = web.Application(client_max_size=4096)
        application.router.add_get("/", self._page)
        application.router.add_post("/", self._press)
        application.on_shutdown.append(self._end)
        return application

    async def press(self, *, flatten: bool, reason: str) -> None:
        """Halt everything now; go on to the brokers in the background, whatever the disk says."""
        flag = "the flag is up"
        try:
            halt_flag.put_up(reason, by="kill switch", now=datetime.now(UTC))
        except OSError as error:
            stands = "is up all the same" if halt_flag.is_set() else "is NOT up: stop the traders"
            flag = f"the flag cannot be written ({error.strerror}), it {stands}"
            logger.error("%s", flag)
        for task in self._tasks:
            task.cancel()
        self.progress, self.error = [], "" if flag == "the flag is up" else flag
        try:
            rows = standby.accounts()
        except FileNotFoundError:
            self.error = f"no account was kept yet, so no broker can be asked; {flag}"
            return
        except (OSError, SealBroken) as error:
            self.error = f"the kept accounts cannot be read ({error}); {flag}"
            return
        for row in rows:
            account = Account(row, Progress(row.name))
            self.progress.append(account.progress)
            task = asyncio.create_task(account.work(flatten=flatten, monotonic=self._monotonic))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _press(self, request: web.Request) -> web.Response:
        form = await request.post()
        if not hmac.compare_digest(str(form.get("token", "")).encode(), self._token.encode()):
            await asyncio.sleep(0.5)
            return self._answer(403, "The token is wrong. It stands in the file killswitch_token.")
        action = form.get("action")
        if action in ("halt", "close"):
            reason = str(form.get("reason", ""))[:200] or "kill switch"
            await self.press(flatten=action == "close", reason=reason)
        return self._answer(200, "", token=self._token)

    async def _page(self, request: web.Request) -> web.Response:
        return self._answer(200, "")

    def _answer(self, status: int, text: str, token: str = "") -> web.Response:
        shown = html.escape
        up = (
            f"Halted: {shown(halt_flag.reason())}"
            if halt_flag.is_set()
            else "Trading is not halted."
        )
        # Who has not given the token sees nothing of the accounts.
        lines = [self.error, *(one.line() for one in self.progress)] if token else []
        items = "".join(f"<li>{shown(line)}</li>" for line in lines if line)
        body = (
            "<!doctype html><html lang=en><meta charset=utf-8><title>SEP kill switch</title>"
            "<meta name=viewport content='width=device-width'>"
            "<style>body{font:16px system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem}"
            "button,input{font:inherit;padding:.5rem;margin:.25rem 0}"
            "button{background:#b3261e;color:#fff;border:0;border-radius:4px}"
            "input{width:100%;box-sizing:border-box}</style>"
            f"<h1>SEP kill switch</h1><p role=status>{up}</p>"
            + (f"<p role=alert>{shown(text)}</p>" if text else "")
            + f"<ul>{items}</ul>"
            "<form method=post><label>Token<input type=password name=token required "
            f"autocomplete=off value='{shown(token)}'></label>"
            "<label>Reason<input name=reason maxlength=200></label>"
            "<button name=action value=halt>Halt: cancel what could open</button> "
            "<button name=action value=close>Close everything</button> "
            "<button name=action value=show style='background:#444'>Show</button></form>"
            "<p>To trade again: <code>manage.py halt --release --user NAME --reason WHY</code>.</p>"
        )
        return web.Response(
            status=status,
            text=body,
            content_type="text/html",
            headers={
                "Cache-Control": "no-store",
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
                "form-action 'self'; frame-ancestors 'none'",
                "Referrer-Policy": "no-referrer",
            },
        )

    async def _end(self, application: web.Application) -> None:
        for task in list(self._tasks):
            task.cancel()


def own_token() -> str:
    """Return the token of this folder's kill switch; it is made once, for its owner alone."""
    path = Path(settings.SEP_VAR_PATH) / "killswitch_token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n", replace=False)
    return path.read_text(encoding="utf-8").strip()


def main() -> int:
    """Serve until stopped; 1: the port cannot be had."""
    parser = argparse.ArgumentParser(prog="webapp.killswitch", description="Serve the kill switch.")
    parser.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    parser.add_argument(
        "--host",
        choices=(HOST, EVERY_ADDRESS),
        default=HOST,
        help="default: %(default)s; the other only in a container whose port stays on its machine",
    )
    options = parser.parse_args()
    with contextlib.suppress(DatabaseError):
        standby.write()  # as new as can be, while there is a database
    switch = KillSwitch(token=own_token())
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        sys.stderr.write(f"port {options.port} cannot be had: {error.strerror}\n")
        return 1
    sys.stdout.write(
        f"kill switch at http://{HOST}:{listening.getsockname()[1]}, its token is in "
        f"{settings.SEP_VAR_PATH}/killswitch_token\n"
    )
    sys.stdout.flush()
    web.run_app(switch.application(), sock=listening, print=None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
