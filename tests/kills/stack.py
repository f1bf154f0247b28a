"""One stack to kill traders in: PostgreSQL or SQLite, Valkey, the local OANDA server's own prices.

Each kill befalls an order in one pair; meanwhile an order in another pair is asked for, and the
seconds from the death until that one is filled by the next trader are what a kill costs.
"""

import contextlib
import io
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.kills.places import Deed, Place
from tests.world import ENDED, WAIT_S, Unreached, World, audit, state_of, until
from webapp import embedded_valkey

VICTIMS = ("EUR_USD", "AUD_USD", "NZD_USD", "EUR_GBP", "USD_CHF", "USD_CAD")
BYSTANDER = "GBP_USD"
BIDS = {
    "EUR_USD": "1.10000",
    "AUD_USD": "0.70000",
    "NZD_USD": "0.60000",
    "EUR_GBP": "0.85000",
    "USD_CHF": "0.90000",
    "USD_CAD": "1.35000",
    "GBP_USD": "1.30000",
}
# A Monday, so that every calendar is open whenever this runs.
MONDAY = datetime(2030, 1, 7, 10, tzinfo=UTC)
QUOTE_GAP_S = 0.5
AGAIN_S = 120.0
# What follows the end of an order, its publishing above all, takes less.
ENDED_S = 10.0
# So many kills at writes go by between two comparisons of all the books, for which nothing may run.
COMPARED_EVERY = 10
# A trader that ends before it is armed, as a loaded machine lets one, is followed by another.
STARTS = 3
# What no recovery mends: an order twice at the venue or without an intent, a broken log.
FINAL = ("I1", "I5", "I6", "I7", "I8", "feed")


@dataclass(frozen=True, slots=True)
class Kill:
    """What came of one kill.

    Attributes:
        place: where the trader died, as a row of the table.
        number: of the kill at that place, from 0.
        reached: whether it died there; else it was killed a while later.
        seconds: from the death until the next trader had an order in another pair filled.
        armed_s: from the death until the next trader was armed; None if it was not seen.
        starts: traders that were started until then; one more than 1 found the account taken.
        faults: broken invariants that no recovery could mend, seen when the books were compared.
    """

    place: str
    number: int
    reached: bool
    seconds: float
    faults: tuple[str, ...]
    armed_s: float | None = None
    starts: int = 1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Prices(threading.Thread):
    """Quotes every pair all the time, a tick up and down, at the time of a Monday."""

    def __init__(self, one: World) -> None:
        super().__init__(daemon=True)
        self._one = one
        self._enough = threading.Event()
        self._since = time.monotonic()

    def run(self) -> None:
        for number in itertools.count():
            self.quote_all(number)
            if self._enough.wait(QUOTE_GAP_S):
                return

    def quote_all(self, number: int) -> None:
        at = MONDAY + timedelta(seconds=time.monotonic() - self._since)
        for name, bid in BIDS.items():
            low = Decimal(bid) + Decimal("0.00001") * (number % 2)
            body = {"instrument": name, "bid": str(low), "ask": str(low + Decimal("0.00010"))}
            with contextlib.suppress(httpx.HTTPError):
                self._one.control("POST", "/quote", body | {"time": at.isoformat()})

    def stop(self) -> None:
        self._enough.set()
        self.join()


class KillStack:
    """A world whose traders are killed one after another."""

    def __init__(self, one: World) -> None:
        self.world = one
        self._next = 0

    # What is asked for.

    def victim(self) -> str:
        """Return the next pair in which nothing is unsettled.

        A doubt that only absence ends needs a trader that lives for a while, as those that are
        killed do not: if no pair is settled, one lives until there is one.
        """
        if (name := self._settled()) is None:
            lives = self.lives()
            until(
                lambda: self._keep() and self._settled() is not None,
                "a pair was settled",
                seconds=AGAIN_S,
            )
            if not lives:
                self.world.stop_trader(signal.SIGKILL)
            name = self._settled()
        assert name is not None
        self._next = VICTIMS.index(name) + 1
        return name

    def lives(self) -> bool:
        return self.world.trader is not None and self.world.trader.poll() is None

    def _keep(self) -> bool:
        self.world.keep_trader()
        return True

    def _settled(self) -> str | None:
        """Return the next pair whose orders have ended or work; None if no pair is so far.

        In a pair with an order in doubt, a limit order that was to be changed too, the gate refuses
        the next one, and who is killed then is killed at nothing.
        """
        from webapp.trading.models import Order

        live = Order.objects.exclude(state__in=(*ENDED, "ACCEPTED"))
        unsettled = set(live.values_list("instrument__name", flat=True))
        first = self._next % len(VICTIMS)
        turn = (*VICTIMS[first:], *VICTIMS[:first])
        return next((name for name in turn if name not in unsettled), None)

    def ask(self, name: str, **terms: Any) -> Any:
        """Record an intent of 1,000 units that shrinks what is held, if `terms` say no `units`."""
        from django.utils import timezone

        from sep_engine.execution.states import Origin
        from webapp.trading.models import BrokerAccount, Instrument, Position
        from webapp.trading.services.orders import order_submit

        held = Position.objects.filter(instrument__name=name, units__gt=0).exists()
        terms.setdefault("units", Decimal(-1000 if held else 1000))
        return order_submit(
            account=BrokerAccount.objects.get(),
            instrument=Instrument.objects.get(name=name),
            stop_distance=Decimal("0.01000"),
            origin=Origin.PERSON,
            now=timezone.now(),
            **terms,
        )

    def rest(self, name: str) -> Any:
        """Have a limit order work at the venue, far below the market; None if the trader died.

        500 pips below it: the gate's collar refuses more than 1,000. It buys whatever is held: a
        sale there would trade at once, or with those that rest from before.
        """
        from sep_engine.execution.states import OrderType

        terms = {"type": OrderType.LIMIT, "units": Decimal(1000)}
        terms["price"] = Decimal(BIDS[name]) - Decimal("0.05000")
        order = self.ask(name, **terms)
        deadline = time.monotonic() + AGAIN_S
        while state_of(order) != "ACCEPTED" and time.monotonic() < deadline:
            if self.world.trader is None or self.world.trader.poll() is not None:
                return None
            if state_of(order) in ENDED:
                order = self.ask(name, **terms)
            time.sleep(0.02)
        return order

    # One kill.

    def kill(self, place: Place, number: int) -> Kill:
        """Start a trader that dies at `place`, then one that lives; return what came of it."""
        name = self.victim()
        if place.deed == Deed.RECOVER:
            self.world.start_trader(place="claimed:1")
            self.world.await_armed()
            self.await_death(self.ask(name))
        self.world.start_trader(place=f"{place.name}:{place.visit}")
        order = None
        if place.deed not in (Deed.START, Deed.RECOVER):
            self.world.await_armed()
            order = self.deed(place.deed, name)
        reached = self.await_death(order)
        return self._survive(str(place), number, reached=reached)

    def kill_at_write(self, series: str, write: int, *, number: int) -> Kill | None:
        """Kill the trader at the `write`-th write to a socket after an order was asked for.

        The one that lives after it is the next to be killed, but for every COMPARED_EVERY-th.

        series: "venue and Valkey", the writes of the main thread, or "database", those of the
            thread that works with PostgreSQL.

        Returns:
            None if the order was filled before so many writes were made. What died beside an order
            that was refused has not reached the write.
        """
        name = self.victim()
        for _ in range(STARTS if not self.lives() else 0):
            self.world.start_trader()
            if self.world.await_armed():
                break
            self.world.stop_trader(signal.SIGKILL)
        assert self.world.trader is not None
        pid = self.world.trader.pid
        tracer = trace(pid if series != "database" else database_thread(pid), write)
        try:
            order = self.ask(name)
            with contextlib.suppress(Unreached):
                until(
                    lambda: self.world.trader.poll() is not None or state_of(order) in ENDED,
                    "the trader died or the order ended",
                )
            died = self.world.trader.poll() is not None
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=60)
        self.world.stop_trader(signal.SIGKILL)
        if not died and state_of(order) == "FILLED":
            return None
        reached = died and state_of(order) != "DENIED"
        compared = write % COMPARED_EVERY == 0
        return self._survive(
            f"write to a socket, {series}", number, reached=reached, compared=compared
        )

    def deed(self, deed: Deed, name: str) -> Any:
        """Ask for what the trader is to die of; what it does not live to do is not waited for.

        Returns:
            The order; None if the trader died before it worked at the venue.
        """
        from django.utils import timezone

        from webapp.trading.services.orders import order_cancel, order_change
        from webapp.trading.services.refusals import NotNow

        if deed == Deed.MARKET:
            return self.ask(name)
        order = self.rest(name)
        if order is None:
            return None
        if deed == Deed.CANCEL:
            order_cancel(order_id=order.pk, now=timezone.now())
        else:
            higher = order.price + Decimal("0.00010")
            with contextlib.suppress(NotNow):  # it never came to work
                order_change(order_id=order.pk, changes={"price": higher}, now=timezone.now())
        return order

    def await_death(self, order: Any = None) -> bool:
        """Return whether the trader died by itself; one that does not is killed.

        It has no more to die of when the order, if there is one, ended a while ago.
        """
        assert self.world.trader is not None
        deadline = time.monotonic() + WAIT_S
        while self.world.trader.poll() is None and time.monotonic() < deadline:
            if order is not None and state_of(order) in ENDED:
                order, deadline = None, min(deadline, time.monotonic() + ENDED_S)
            time.sleep(0.05)
        if self.world.trader.poll() is None:
            self.world.stop_trader(signal.SIGKILL)
            return False
        return self.world.trader.returncode == -signal.SIGKILL

    def _survive(self, place: str, number: int, *, reached: bool, compared: bool = True) -> Kill:
        """Let the next trader fill an order in another pair, kill it too, and compare the books.

        compared: False lets it live.
        """
        died = time.monotonic()
        faults, armed_s, before = [], None, self.world.starts
        order = self.ask(BYSTANDER)
        self.world.start_trader()
        while order.state != "FILLED":
            if order.state in ENDED:
                # On a machine that starts a trader in more than 30 s an intent grows too old.
                order = self.ask(BYSTANDER)
            if time.monotonic() - died > AGAIN_S:
                faults.append(f"{BYSTANDER} is {order.state}: {order.denied_reason or order.cause}")
                break
            self.world.keep_trader()
            time.sleep(0.05)
            if armed_s is None and self.world.armed():
                armed_s = round(time.monotonic() - died, 2)
            order.refresh_from_db()
        seconds = time.monotonic() - died
        if compared:
            # It dies in its turn, in the middle of whatever it does.
            self.world.stop_trader(signal.SIGKILL)
            faults += [line for line in audit() if line.startswith(FINAL)]
        return Kill(
            place,
            number,
            reached,
            round(seconds, 2),
            tuple(faults),
            armed_s,
            self.world.starts - before,
        )

    def settle(self) -> list[str]:
        """Let a trader settle every doubt and end it politely; return what is wrong in the end."""
        from webapp.trading.models import Order

        self.world.start_trader()
        self.world.await_armed()
        doubt = Order.objects.filter(
            state__in=("CREATED", "QUEUED", "SENDING", "UNKNOWN", "CHANGE_UNKNOWN")
        )
        faults = []
        try:
            until(lambda: not doubt.exists(), "every doubt was settled", seconds=2 * WAIT_S)
        except Unreached as error:
            faults.append(str(error))
        self.world.stop_trader(signal.SIGTERM)
        return faults + audit()


def trace(thread: int, write: int) -> "subprocess.Popen[bytes]":
    """Let strace kill the thread's process as it enters its `write`-th write to a socket."""
    calls = "sendto,sendmsg"
    tracer = subprocess.Popen(
        ["strace", "-p", str(thread), "-e", f"trace={calls}", "-o", "/dev/null",
         "-e", f"inject={calls}:signal=KILL:when={write}"],
        stderr=subprocess.PIPE,
        preexec_fn=embedded_valkey.die_with_parent,
    )  # fmt: skip
    assert tracer.stderr is not None
    said = tracer.stderr.readline().decode()
    if "attached" not in said:
        tracer.communicate(timeout=60)
        raise SystemExit(f"strace cannot follow a process here: {said.strip()}")
    return tracer


def can_trace() -> bool:
    """Return whether strace is here and may follow a process that it did not start."""
    if shutil.which("strace") is None:
        return False
    sleeper = subprocess.Popen(["sleep", "10"])
    try:
        tracer = trace(sleeper.pid, 1)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=60)
    except SystemExit:
        return False
    finally:
        sleeper.kill()
        sleeper.wait(60)
    return True


def database_thread(pid: int) -> int:
    """Return the thread of the trader that works with the database.

    It is the one beside the main thread that waited most often so far: for the server's answers.
    The relay has a thread too, which asks less; those of numerical libraries wait for ever.
    """
    waits = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        words = (task / "status").read_text().split()
        waits[int(task.name)] = int(words[words.index("voluntary_ctxt_switches:") + 1])
    del waits[pid]
    return max(waits, key=waits.__getitem__)


@contextlib.contextmanager
def kill_stack(var_path: Path, *, database: str) -> Iterator[KillStack]:
    """Start a venue with prices, Valkey and a fresh database; end everything afterwards."""
    var_path.mkdir(parents=True, exist_ok=True)
    one = World.open(var_path, database=database)
    prices = Prices(one)
    try:
        import django

        django.setup()
        prices.quote_all(0)
        _prepare(one)
        prices.start()
        yield KillStack(one)
    finally:
        if prices.is_alive():
            prices.stop()
        one.close()


def _prepare(one: World) -> None:
    """Add the account as a person would, with the other pairs and limits that refuse nothing."""
    from django.core.management import call_command

    from tests.timing import LIMITS
    from webapp.trading.models import Instrument, RiskLimit

    asked, sys.stdin = sys.stdin, io.StringIO(f"{one.token}\n")
    try:
        call_command("broker", "add", "oanda-local", "--granularity", "M1", stdout=io.StringIO())
    finally:
        sys.stdin = asked
    first = Instrument.objects.get()
    for name in BIDS:
        if name != first.name:
            base, _, quoted = name.partition("_")
            fields = {"display_name": name.replace("_", "/"), "base": base, "quote": quoted}
            same = ("tick", "pip", "units_step", "price_decimals", "calendar")
            kept = {field: getattr(first, field) for field in same}
            Instrument.objects.create(name=name, **fields, **kept)
    for name, value in LIMITS.items():
        RiskLimit.objects.filter(name=name).update(value=value)
    one.start_valkey()


def environment_of(var_path: Path) -> dict[str, str]:
    """Return the environment of a stack's process, without what names another database."""
    left = ("DATABASE_URL", "VALKEY_URL", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if name not in left}
    return kept | {"SEP_VAR_PATH": str(var_path)}
