"""How fast SEP stops, as this machine does it: `python -m tests.timing`.

The risk gate is timed in this process. Everything else is timed at the whole of SEP as `make run`
starts it, with the local OANDA server on the wall clock behind it: orders are asked for all the
time at the API, over a few connections that are kept, and the times of sends and cancels are those
that the venue wrote into its ledger.

Each line of the table is printed when it is there; Ctrl-C ends what is being measured and keeps
what was. It measures and judges nothing: a busy machine gives large figures, and no test depends on
one.
"""

import argparse
import contextlib
import http.client
import io
import json
import math
import os
import platform
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from scripts.postgres_for_tests import running, server_binaries
from sep_engine.execution.states import Origin, TradingMode
from sep_engine.model import Instrument, Quote
from sep_engine.risk import LIMIT_NAMES, Approved, Exposure, Intent, check_order
from sep_oanda_server.wire import Json, read_time
from tests.stack import ROOT, Stack, running_stack
from tests.world import WAIT_S, Unreached, until
from webapp.tests.ports import free_port

MS = 1_000_000  # nanoseconds
BEFORE_S = 2.0  # how long before a click the rate of sends is counted
AFTER_S = 1.5  # how long orders are asked for after it
RESTING = 10  # limit orders that work at the venue when the click comes
QUEUE = 32  # orders that may wait for the trader; more are not asked for until it has caught up
ASKERS = 4  # connections over which orders are asked for
ENDED = ("FILLED", "CANCELLED", "REJECTED", "EXPIRED", "EXPIRED_UNSENT", "DENIED")
# Nothing but the kill switch and the loss is to refuse an order here.
LIMITS = {name: Decimal(0 if "_pause_" in name else 1_000_000) for name in LIMIT_NAMES} | {
    "price_collar_pips_max": Decimal(1000)
}
HEAD = "| | goal | n | p50 | p99 | most | |\n|---|---|---|---|---|---|---|"
NOT_MEASURED = (
    "a venue behind a network (loopback was used)",
    "halts by the shell, the flag file and the kill switch's own process",
    "a daily loss that grows by price alone",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what took how many milliseconds, and what is aimed at.

    Attributes:
        remark: what must be known beside it; without values, why there are none.
    """

    what: str
    goal: str
    values_ms: tuple[float, ...]
    remark: str = ""

    def line(self) -> str:
        if not self.values_ms:
            return f"| {self.what} | {self.goal} | 0 | | | | not measured: {self.remark} |"
        figures = (percentile(self.values_ms, 50), percentile(self.values_ms, 99))
        texts = " | ".join(f"{value:.3g} ms" if value < 100 else f"{value:,.0f} ms"
                           for value in (*figures, max(self.values_ms)))  # fmt: skip
        return f"| {self.what} | {self.goal} | {len(self.values_ms):,} | {texts} | {self.remark} |"


@dataclass(frozen=True, slots=True)
class Click:
    """What the venue's ledger says of one click on HALTED.

    Attributes:
        rate: orders sent per second in the time before it.
        sends_after: how many arrived after it, and the last of them how late; 0.0 without one.
        working: orders that worked at that moment.
        cancelled_ms: when the last of those had ended; None if one never did.
    """

    rate: float
    sends_after: int
    last_send_ms: float
    working: int
    cancelled_ms: float | None


class Stopped(Unreached):
    """Somebody asked for the end."""


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest of `values` that at least `percent` (1..100) of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def read_click(lines: Sequence[Json], click_ns: int, *, before_s: float) -> Click:
    """Read off the ledger what a click did.

    Args:
        lines: the venue's transactions, oldest first, from before the first order that works.
        click_ns: when it was sent off, Unix time.
        before_s: the time before it in which the rate is counted.

    A send is an order that a client asked for, refused ones too; stops that the venue makes at a
    fill are none.
    """
    timed = [(read_time(line["time"]), line) for line in lines]
    sends = [at for at, line in timed if line.get("reason") == "CLIENT_ORDER"
             and "_ORDER" in line["type"]]  # fmt: skip
    ends = {line["orderID"]: at for at, line in timed
            if line["type"] in ("ORDER_CANCEL", "ORDER_FILL")}  # fmt: skip
    resting = [line["id"] for at, line in timed if line["type"] == "LIMIT_ORDER" and at <= click_ns]
    working = [ends.get(key) for key in resting if ends.get(key, click_ns) >= click_ns]
    ended = [at for at in working if at is not None]
    late = [at - click_ns for at in sends if at > click_ns]
    return Click(
        rate=sum(click_ns - before_s * 1e9 <= at <= click_ns for at in sends) / before_s,
        sends_after=len(late),
        last_send_ms=max(late, default=0) / MS,
        working=len(working),
        cancelled_ms=(max(ended, default=click_ns) - click_ns) / MS
        if len(ended) == len(working)
        else None,
    )


# The risk gate.


def judged(count: int) -> tuple[Row, int]:
    """Time `count` decisions one by one; return them and how many were approved."""
    now = datetime(2026, 1, 5, 12, tzinfo=UTC)
    cases = tuple(gate_cases(now))
    took, approved = [], 0
    for number in range(count):
        intent, exposure = cases[number % len(cases)]
        started = time.perf_counter_ns()
        verdict = check_order(intent, exposure, LIMITS, now)
        took.append((time.perf_counter_ns() - started) / MS)
        approved += isinstance(verdict, Approved)
    remark = f"{approved / count:.0%} approved, {len(LIMITS)} limits"
    return Row("risk gate, one decision", "2 ms p99", tuple(took), remark), approved


def gate_cases(now: datetime) -> Iterator[tuple[Intent, Exposure]]:
    """Orders of an account that holds seven pairs: markets, limits, exits, and two too many."""
    pair = Instrument(
        "EUR_USD", "EUR", "USD", Decimal("0.00001"), Decimal("0.0001"), Decimal(1), 5, "fx"
    )
    quote = Quote("EUR_USD", now, Decimal("1.09173"), Decimal("1.09186"))
    values = {
        "EUR": Decimal("8113.27"),
        "USD": Decimal("-5120.40"),
        "GBP": Decimal("1999.03"),
        "JPY": Decimal("-4010.11"),
        "CHF": Decimal("702.50"),
        "AUD": Decimal("-31.70"),
        "CAD": Decimal("-1652.59"),
    }
    exposure = Exposure(
        instrument=pair,
        modes=(TradingMode.ACTIVE,) * 3,
        quote=quote,
        quote_received_at=now - timedelta(milliseconds=180),
        feed_stands="",
        blackout="",
        account_per_quote=Decimal(1),
        position_units=Decimal(2350),
        pending_buy_units=Decimal(1200),
        pending_sell_units=Decimal(-800),
        waiting_buy_price=Decimal("1.08950"),
        waiting_sell_price=Decimal("1.09640"),
        unresolved=False,
        equity=Decimal("99713.4482"),
        peak_equity=Decimal("101877.0310"),
        gross_value=Decimal("21634.1177"),
        currency_values=values,
        open_positions=6,
        open_orders=14,
        sent_last_second=3,
        sent_last_minute=77,
        sent_today=4310,
        like_order_age_s=Decimal("12.418"),
        day_pl=Decimal("-163.0047"),
        stops_recent=1,
        loss_age_min=Decimal(41),
        window_pl=Decimal("-22.5101"),
    )
    for units in (Decimal(1000), Decimal(-1000)):
        away = Decimal("0.00300") if units > 0 else Decimal("-0.00300")
        market = Intent("EUR_USD", units, None, None, Decimal("0.00300"), False, Origin.RULE)
        price = quote.mid - away / 3
        limit = replace(market, price=price, stop_loss=price - away, stop_distance=None)
        yield from ((market, exposure), (limit, exposure))
        yield replace(market, units=units * 10_000), exposure  # too large
        yield market, replace(exposure, modes=(TradingMode.HALTED,) * 3)
    yield Intent("EUR_USD", Decimal(-2350), None, None, None, True, Origin.EXIT), exposure


# The whole of SEP.


@dataclass(frozen=True, slots=True)
class World:
    """A running SEP at a venue whose ledger can be read."""

    stack: Stack
    login: dict[str, str]
    ledger: Path

    def token(self) -> str:
        token: str = self.stack.call("auth/token", body=self.login)["access"]
        return token

    def last_id(self) -> int:
        return max((int(line["id"]) for line in self.lines(0)), default=0)

    def lines(self, after: int) -> list[Json]:
        """Return the venue's transactions after this id, from its file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as file:
            rows = file.execute("SELECT body FROM transactions WHERE id > ? ORDER BY id", (after,))
            return [json.loads(body) for (body,) in rows]


@contextlib.contextmanager
def durable_postgresql() -> Iterator[str]:
    """Start a throw-away cluster that writes to the disk as a real one does; yield its URL.

    Raises:
        Unreached: this machine has no PostgreSQL.
    """
    binaries = server_binaries()
    if binaries is None:
        raise Unreached("no initdb found: apt install postgresql")
    with running(binaries, durable=True) as cluster:
        yield cluster.url


@contextlib.contextmanager
def world(var_path: Path, *, database: str, silences: int) -> Iterator[World]:
    """Start SEP at a venue that lets its first `silences` transaction streams fall silent.

    Each does after one line, with the connection left open. `database`: what DATABASE_URL is to
    be, "" for SQLite.
    """
    port, ledger, faults = free_port(), var_path / "venue.sqlite3", var_path / "faults.json"
    stall = {"method": "GET", "path": "/transactions/stream$", "stall_after": 1, "times": silences}
    faults.write_text(json.dumps([stall] if silences else []))
    for name in ("DATABASE_URL", "VALKEY_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    os.environ["SEP_OANDA_TOKEN"] = secrets.token_urlsafe(48)
    venue = subprocess.Popen(
        [sys.executable, "-m", "sep_oanda_server", "--paused", "--port", str(port),
         "--ledger", str(ledger), "--faults", str(faults)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        os.environ.update(
            SEP_VAR_PATH=str(var_path),
            DJANGO_SETTINGS_MODULE="webapp.config.settings",
            SEP_OANDA_URL=f"http://127.0.0.1:{port}",
            DATABASE_URL=database,
        )
        login = prepare()
        until(lambda: listens(port), "the venue listens")
        with running_stack(var_path, broker="oanda-local", database=database) as stack:
            log = var_path / "log" / "trader.log"
            until(lambda: "armed" in log.read_text(errors="replace"), "the trader is armed")
            yield World(stack, login, ledger)
    finally:
        venue.terminate()
        venue.wait(WAIT_S)


def prepare() -> dict[str, str]:
    """Make the database, with no rule and a slow replay; return the administrator's login."""
    import django

    django.setup()
    from django.core.management import call_command

    from webapp.trading.models import Feed, RiskLimit, Strategy

    said = io.StringIO()
    call_command("prepare", broker="oanda-local", stdout=said, stderr=io.StringIO())
    Strategy.objects.update(enabled=False)
    # The price stands for most of the time, and the market day does not end under the orders.
    Feed.objects.update(bars_per_second=0.02)
    for name, value in LIMITS.items():
        RiskLimit.objects.filter(name=name).update(value=value)
    login: dict[str, str] = json.loads(said.getvalue())
    return login


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(units: int, **terms: Any) -> Any:
    """Record an intent of `units`, a market order if nothing else is said; return the order."""
    from django.utils import timezone

    from webapp.trading.models import BrokerAccount, Instrument
    from webapp.trading.services.orders import order_submit

    return order_submit(
        account=BrokerAccount.objects.get(),
        instrument=Instrument.objects.get(),
        units=Decimal(units),
        stop_distance=Decimal("0.01000"),
        origin=Origin.PERSON,
        now=timezone.now(),
        **terms,
    )


def trade(units: int) -> None:
    """Have a market order filled; one that the gate denies is asked for again for a while."""
    from webapp.trading.models import Order

    for _ in range(20):
        key = ask(units).pk
        until(Order.objects.filter(pk=key, state__in=ENDED).exists, "a market order ended")
        order = Order.objects.get(pk=key)
        if order.state == "FILLED":
            return
        time.sleep(0.3)
    checks = [one for one in order.checks if not one["passed"]]
    raise Unreached(f"a market order was {order.state}: {checks}")


def held() -> Decimal:
    """Return the units of the position."""
    from webapp.trading.models import Position

    return sum(Position.objects.values_list("units", flat=True), Decimal(0))


def waiting() -> int:
    """Return how many orders wait for the trader."""
    from webapp.trading.models import Order

    return Order.objects.filter(state__in=("CREATED", "QUEUED")).count()


class Orders:
    """Asks the API for market orders, buying and selling in turn, `rate` a second while few wait.

    ASKERS threads do, each over a connection of its own that it keeps.
    """

    def __init__(self, one: World, token: str, *, rate: float) -> None:
        self._address = urlsplit(one.stack.url)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._every_s = ASKERS / rate
        self._enough = threading.Event()
        begin = time.monotonic()
        self._threads = [
            threading.Thread(target=self._ask, args=(begin + number / rate,), daemon=True)
            for number in range(ASKERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, due: float) -> None:
        from django.db import connections

        wanted = {"instrument": "EUR_USD", "type": "MARKET", "stop_distance": "0.01000"}
        units = -1000 if held() > 0 else 1000
        assert self._address.hostname is not None
        connection = http.client.HTTPConnection(self._address.hostname, self._address.port)
        while not self._enough.wait(max(0.0, due - time.monotonic())):
            # What could not be asked for in time is not made up for.
            due = max(due, time.monotonic() - self._every_s) + self._every_s
            if waiting() < QUEUE:
                key = {"Idempotency-Key": secrets.token_hex(8)}
                body = json.dumps(wanted | {"units": str(units)})
                connection.request("POST", "/api/place-order", body, self._headers | key)
                answer = connection.getresponse()
                content = answer.read()
                if answer.status not in (200, 202):
                    say(f"an order was refused: HTTP {answer.status}: {content[:200]!r}")
                units = -units
        connection.close()
        connections.close_all()


@dataclass(frozen=True, slots=True)
class Pressed:
    """One click: what the ledger says, when the API answered, and how many orders waited then."""

    ledger: Click
    answer_ms: float
    queued: int


def clicks(one: World, count: int, rate: float, pressed: list[Pressed]) -> None:
    """Press HALTED for everything, again and again, while orders are sent."""
    for number in range(count):
        if number % 10 == 0:
            token = one.token()
        pressed.append(click(one, token, rate))
        say(f"click {number + 1}: {pressed[-1]}")


def click_rows(pressed: Sequence[Pressed], rate: float, why: str) -> list[Row]:
    """Return what the clicks took. `why`: what ended them early, "" if nothing did."""
    if not pressed:
        return [Row("kill switch", "", (), why or "no clicks were asked for")]
    results = [each.ledger for each in pressed]
    rates = [result.rate for result in results]
    queues = [each.queued for each in pressed]
    after = sum(result.sends_after for result in results)
    cancelled = [result.cancelled_ms for result in results if result.cancelled_ms is not None]
    open_still = len(pressed) - len(cancelled)
    load = (f"{min(rates):.1f} to {max(rates):.1f} orders/s, {percentile(rates, 50):.1f} in the "
            f"median, of {rate:g} asked for, {min(queues)} to {max(queues)} more waited for the "
            f"trader; {after} sends after {len(pressed)} clicks")  # fmt: skip
    working = f"{min(r.working for r in results)} to {max(r.working for r in results)} orders"
    return [
        Row("click on HALTED to the API's answer", "",
            tuple(each.answer_ms for each in pressed), why),
        Row("click to the last send at the venue", "500 ms p99",
            tuple(result.last_send_ms for result in results), load),
        Row("click to the end of all working orders", "5 s", tuple(cancelled),
            working + (f"; in {open_still} clicks one stayed" if open_still else "")),
    ]  # fmt: skip


def click(one: World, token: str, rate: float) -> Pressed:
    """Let orders work and be sent, and press."""
    from sep_engine.execution.states import OrderType
    from webapp.trading.models import Order

    set_state("GLOBAL", TradingMode.ACTIVE)
    first = one.last_id()
    # Some 300 pips below the market of the sample, where nothing fills.
    prices = [Decimal("1.06000") - Decimal(n) / 10_000 for n in range(RESTING)]
    keys = [ask(100, type=OrderType.LIMIT, price=price).pk for price in prices]
    rest = Order.objects.filter(pk__in=keys)
    until(lambda: not rest.exclude(state="ACCEPTED").exists(), "the limit orders work")
    orders = Orders(one, token, rate=rate)
    orders.start()
    try:
        time.sleep(BEFORE_S + 0.3)
        queued = waiting()
        click_ns = time.time_ns()
        one.stack.call(
            "trading/state", token, {"scope": "GLOBAL", "state": "HALTED", "reason": "timing"}
        )
        answer_ms = (time.time_ns() - click_ns) / MS
        time.sleep(AFTER_S)
    finally:
        orders.stop()
    unended = Order.objects.filter(type__in=("LIMIT", "MARKET")).exclude(state__in=ENDED)
    with contextlib.suppress(Unreached):  # the ledger then shows what stayed
        until(lambda: not unended.exists(), "all orders ended")
    found = read_click(one.lines(first), click_ns, before_s=BEFORE_S)
    return Pressed(found, answer_ms, queued)


def load(one: World, seconds: float, rate: float) -> list[Row]:
    """Let orders be asked for without a click; return how long they waited and what they took."""
    from django.utils import timezone

    from webapp.trading.models import Order

    set_state("GLOBAL", TradingMode.ACTIVE)
    orders = Orders(one, one.token(), rate=rate)
    orders.start()
    try:
        time.sleep(BEFORE_S)
        used, began, begin = Used(one), timezone.now(), time.monotonic()
        time.sleep(seconds)
        sent, took_s, rows = used.sent(), time.monotonic() - begin, used.rows(" without clicks")
    finally:
        orders.stop()
    times = Order.objects.filter(type="MARKET", sent_at__gte=began)
    waited = [(sent_at - created_at) / timedelta(milliseconds=1)
              for created_at, sent_at in times.values_list("created_at", "sent_at")
              if sent_at is not None]  # fmt: skip
    remark = f"{sent / took_s:.1f} orders/s sent of {rate:g} asked for, {took_s:.0f} s"
    return [Row("intent to the claim for its send", "", tuple(waited), remark), *rows]


class Used:
    """The processor time of every process of SEP from the making of this on, and what was sent."""

    def __init__(self, one: World) -> None:
        launcher = psutil.Process(one.stack.launcher.pid)
        venue = [each for each in psutil.Process().children()
                 if "sep_oanda_server" in each.cmdline()]  # fmt: skip
        self._world, self._first = one, one.last_id()
        self._processes = {process_name(each): each for each in (*launcher.children(), *venue)}
        self._before = {name: cpu_s(each) for name, each in self._processes.items()}
        self._own = time.process_time()

    def sent(self) -> int:
        """Return how many orders were sent."""
        lines = self._world.lines(self._first)
        return sum(line.get("reason") == "CLIENT_ORDER" for line in lines)

    def rows(self, when: str) -> list[Row]:
        """Return the milliseconds that each process took for one order, the largest first."""
        sent = self.sent()
        took = {name: cpu_s(each) - self._before[name] for name, each in self._processes.items()}
        took["who asks and measures"] = time.process_time() - self._own
        if not sent:
            return []
        return [
            Row(
                f"processor time of one order{when}: {name}",
                "",
                (1000 * total / sent,),
                f"{sent} sent",
            )
            for name, total in sorted(took.items(), key=lambda pair: -pair[1])
            if 1000 * total / sent >= 0.1
        ]


def process_name(process: psutil.Process) -> str:
    names = {"runtrader": "trader", "sep_oanda_server": "venue", "uvicorn": "web", "beat": "beat",
             "worker": "worker", "webapp.killswitch": "kill switch"}  # fmt: skip
    words = process.cmdline()
    return next((name for word, name in names.items() if word in words), "valkey")


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def set_state(scope: str, state: TradingMode) -> None:
    from django.utils import timezone

    from webapp.trading import halt_flag
    from webapp.trading.models import BrokerAccount
    from webapp.trading.services.trading_state import trading_state_set

    halt_flag.take_down(seen=halt_flag.reason())
    trading_state_set(
        scope=scope,
        account=BrokerAccount.objects.get() if scope == "ACCOUNT" else None,
        state=state,
        reason="timing",
        changed_by="timing",
        now=timezone.now(),
    )


def losses(count: int, took: list[float]) -> None:
    """Lose a little, put the limit below the loss, and wait until the account only reduces."""
    from webapp.trading.models import Feed, RiskLimit, TradingState

    limit = RiskLimit.objects.filter(name="daily_loss_max")
    Feed.objects.update(bars_per_second=2)
    set_state("GLOBAL", TradingMode.ACTIVE)
    trade(10)  # a loss is watched while something is held
    for number in range(count):
        trade(1000)
        trade(-1000)
        time.sleep(0.2 + 0.05 * number)  # at another moment between two quotes each time
        limit.update(value=Decimal("0.01"))
        breach_ns = time.time_ns()
        row = TradingState.objects.filter(scope="ACCOUNT", state="REDUCING")
        until(row.exists, "the account reduces")
        took.append(row.get().changed_at.timestamp() * 1000 - breach_ns / MS)
        say(f"loss {number + 1}: {took[-1]:.0f} ms")
        limit.update(value=LIMITS["daily_loss_max"])
        set_state("ACCOUNT", TradingMode.ACTIVE)


def doubts(one: World, count: int, took: list[float]) -> None:
    """Let the venue take an order and its answer be lost; wait until our books say so.

    An order is answered between two of them: failures in a row let the venue's link rest.
    """
    import httpx

    from webapp.trading.models import Order

    set_state("GLOBAL", TradingMode.ACTIVE)
    rule = {"method": "POST", "path": "/orders$", "times": 1, "cut": "after"}
    login = {"Authorization": f"Bearer {os.environ['SEP_OANDA_TOKEN']}"}
    while len(took) < count:
        trade(-1000 if held() > 0 else 1000)
        first = one.last_id()
        httpx.post(
            f"{os.environ['SEP_OANDA_URL']}/control/faults",
            json=[rule],
            headers=login,
            trust_env=False,
        ).raise_for_status()
        order = ask(-1000 if held() > 0 else 1000)
        ended = Order.objects.filter(pk=order.pk, state__in=ENDED)
        until(ended.exists, "an order whose answer was lost ended")
        found_ns = time.time_ns()
        taken = [line for line in one.lines(first) if line["type"] == "MARKET_ORDER"]
        if ended.get().state != "FILLED":
            continue  # denied: the rule waits for the next one
        took.append((found_ns - read_time(taken[0]["time"])) / MS)
        say(f"answer lost {len(took)}: {took[-1]:.0f} ms")


def silences(one: World, count: int, took: list[float]) -> None:
    """Let the stream fall silent after the first line about an order; wait for the alert."""
    from django.db.models import Max

    from webapp.trading.models import EventLog, Reconciliation

    until(Reconciliation.objects.filter(cause="stream").exists, "the stream is heard")
    for number in range(count):
        first = one.last_id()
        last = EventLog.objects.aggregate(last=Max("pk"))["last"] or 0
        alerts = EventLog.objects.filter(type="alert", pk__gt=last)
        lost = alerts.filter(data__text__icontains="transaction stream is lost")
        heard = alerts.filter(data__text__icontains="transaction stream is heard again")
        trade(1 if held() <= 0 else -1)
        line_ns = read_time(one.lines(first)[0]["time"])
        until(lost.exists, "the silence was noticed")
        took.append(lost.get().time.timestamp() * 1000 - line_ns / MS)
        say(f"silence {number + 1}: {took[-1]:.0f} ms")
        until(heard.exists, "the stream was heard again")


def until_ended(part: Callable[[], None]) -> str:
    """Measure a part; return what ended it before its time, "" if nothing did.

    Raises:
        Stopped: after this nothing more is measured; what the part has gathered stays.
    """
    try:
        part()
    except Stopped:
        raise
    except Unreached as error:
        return str(error)
    return ""


def timed(what: str, goal: str, remark: str, part: Callable[[list[float]], None]) -> None:
    """Put what the part measured, with what ended it early, before it is stopped too."""
    took: list[float] = []
    why = "stopped"
    try:
        why = until_ended(lambda: part(took))
    finally:
        put(Row(what, goal, tuple(took), f"{remark}; {why}" if took and why else why or remark))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Row], missing: Sequence[str] = NOT_MEASURED) -> str:
    """Return the rows and what is missing as Markdown. Below 100 values p99 is the most."""
    lines = "\n".join(row.line() for row in rows)
    return f"{HEAD}\n{lines}" + (f"\n\nNot measured: {'; '.join(missing)}." if missing else "")


def machine() -> str:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {load}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    option = parser.add_argument
    option("--decisions", type=int, default=20_000, help="of the gate (default: %(default)s)")
    option("--clicks", type=int, default=20, help="on HALTED (default: %(default)s)")
    option("--rate", type=float, default=50.0, help="orders a second (default: %(default)s)")
    option("--load", type=float, default=20.0, help="without clicks, s (default: %(default)g)")
    option("--losses", type=int, default=10, help="breaches of the day (default: %(default)s)")
    option("--doubts", type=int, default=60, help="answers lost (default: %(default)s)")
    option("--postgresql", action="store_true", help="with a cluster of its own, not SQLite")
    option("--silences", type=int, default=3, help="of the stream (default: %(default)s)")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    say(machine())
    kind = "PostgreSQL" if options.postgresql else "SQLite"
    print(f"At the begin: {machine()}, {kind}\n\n{HEAD}", flush=True)
    put(judged(options.decisions)[0])
    try:
        with (
            durable_postgresql() if options.postgresql else contextlib.nullcontext("") as database,
            tempfile.TemporaryDirectory(prefix="sep-timing-") as folder,
            world(Path(folder), database=database, silences=options.silences) as one,
        ):
            at_world(one, options)
    except Unreached as error:
        put(Row("everything else at a running SEP", "", (), str(error)))
    print(f"\nNot measured: {'; '.join(NOT_MEASURED)}.\n\nAt the end: {machine()}", flush=True)
    return 0


def at_world(one: World, options: argparse.Namespace) -> None:
    """Measure everything that a running SEP is needed for, and put each line when it is there."""
    if options.silences:
        what = "last line of the transaction stream to the alert"
        remark = "silence is what 10 s bring no line; entries stop"
        timed(what, "10 s", remark, lambda took: silences(one, options.silences, took))
    if options.load:
        put(*load(one, options.load, options.rate))
    if options.clicks:
        used, pressed, why = Used(one), list[Pressed](), "stopped"
        try:
            why = until_ended(lambda: clicks(one, options.clicks, options.rate, pressed))
        finally:
            put(*click_rows(pressed, options.rate, why), *used.rows(""))
    if options.losses:
        what = "daily loss past its limit to REDUCING"
        remark = "up to 400 ms of it wait for the next quote: the replay gives four a second"
        timed(what, "1 s", remark, lambda took: losses(options.losses, took))
    if options.doubts:
        what, remark = "order taken, its answer lost, to the fill in our books", "the venue answers"
        timed(what, "5 s p99", remark, lambda took: doubts(one, options.doubts, took))


def put(*rows: Row) -> None:
    for row in rows:
        print(row.line(), flush=True)


def stop(*_: object) -> None:
    raise Stopped("stopped")


if __name__ == "__main__":
    raise SystemExit(main())
