"""How long it costs when servers go and come: `python -m tests.restarts`.

The trader is kept alive as the launcher keeps it, with the launcher's pauses after a failure; each
strike meets a trader that counts as steady, without the minute of work that this takes. Orders are
asked for while the servers go and come. A restart is over when an order that was asked for after it
began is filled and its events are published; none that was asked for may be lost.
"""

import argparse
import contextlib
import json
import math
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from scripts.postgres_for_tests import Cluster, running, server_binaries
from tests.kills.places import Deed, Place
from tests.kills.stack import BYSTANDER, Kill, KillStack, can_trace, kill_stack
from tests.timing import Row, machine, table
from tests.world import ENDED, Unreached, World, audit, state_of, until
from webapp.launcher import BACK_OFF_S

GIVEN_UP_S = 120.0
STARVED_S = 2.0
GOALS = {
    "PostgreSQL crashes and starts": "15 s",
    "Valkey is killed and starts": "5 s",
    "Valkey is flushed": "5 s",
    "everything is killed at once": "30 s",
    "a write of PostgreSQL to the disk fails": "15 s",
}


class Supervisor(threading.Thread):
    """Starts the next trader when one ends, after the pauses of the launcher.

    Attributes:
        failures: ends since the trader was steady, as the launcher counts them.
    """

    def __init__(self, one: World) -> None:
        super().__init__(daemon=True)
        self.failures = 0
        self._one = one
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(0.02):
            assert self._one.trader is not None
            if self._one.trader.poll() is not None:
                self._enough.wait(BACK_OFF_S[min(self.failures, len(BACK_OFF_S) - 1)])
                self.failures += 1
                if not self._enough.is_set():
                    self._one.start_trader()

    def stop(self) -> None:
        self._enough.set()
        self.join()


@dataclass
class Servers:
    """A stack whose PostgreSQL and Valkey can be taken away.

    Attributes:
        asked: keys of all orders that were asked for: their commit was acknowledged.
        tracer: what lets a sync fail; it ends with the processes that it holds.
    """

    stack: KillStack
    cluster: Cluster
    asked: list[int] = field(default_factory=list)
    tracer: "subprocess.Popen[bytes] | None" = None

    def order(self) -> Any:
        """Ask for an order as soon as the database takes one; return it.

        Raises:
            Unreached: the database did not come back.
        """
        from django.db import DatabaseError, connection

        deadline = time.monotonic() + GIVEN_UP_S
        while time.monotonic() < deadline:
            try:
                order = self.stack.ask(BYSTANDER)
                self.asked.append(order.pk)
                return order
            except DatabaseError:
                connection.close()
                time.sleep(0.05)
        raise Unreached(f"the database did not take an order within {GIVEN_UP_S:g} s")

    def traded(self) -> None:
        """Return when an order that is asked for now was filled and told."""
        from webapp.trading.models import EventLog

        self.until_filled(self.order)
        untold = EventLog.objects.filter(stream="orders", published_at__isnull=True)
        until(lambda: not untold.exists(), "the events were published", seconds=GIVEN_UP_S)

    def seconds(self, strike: Callable[[], None]) -> float:
        """Strike while an order is on its way; return what passes until trading goes on."""
        self.traded()
        self.order()
        started = time.monotonic()
        strike()
        self.traded()
        return time.monotonic() - started

    def crash_database(self) -> None:
        self.cluster.stop()
        self.cluster.start()

    def fail_a_sync(self) -> None:
        """Let the next sync of PostgreSQL's log fail, of whichever process makes it.

        The server cannot know what is on the disk then: it ends all its sessions and recovers by
        itself. Whoever waited for a commit does not know whether it was made.
        """
        pids = self.cluster.backends()
        fail = ("strace", "-qq", "-e", "trace=fdatasync",
                "-e", "inject=fdatasync:error=EIO:when=1")  # fmt: skip
        self.tracer = subprocess.Popen(
            [*fail, *(word for pid in pids for word in ("-p", str(pid)))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: all(not alive or traced for alive, traced in map(seen, pids)), "strace holds")

    def await_panic(self) -> None:
        """See that it was the sync that ended the server."""
        assert self.tracer is not None
        self.tracer.wait(60)
        assert "PANIC:  could not fdatasync" in Path(self.cluster.folder, "log").read_text()

    def kill_valkey(self) -> None:
        end(self.stack.world.valkey)
        time.sleep(BACK_OFF_S[0])  # as the launcher
        self.stack.world.start_valkey()

    def flush_valkey(self) -> None:
        from django.conf import settings
        from valkey import Valkey

        with contextlib.closing(Valkey.from_url(settings.VALKEY_URL)) as client:
            client.flushall()

    def kill_all(self) -> None:
        """End all processes as a power cut does; the trader is started by its supervisor."""
        world = self.stack.world
        for process in (world.trader, world.venue, world.valkey):
            end(process)
        self.crash_database()
        world.start_valkey()
        world.start_venue()

    def starve(self, limit: int, used: Callable[[psutil.Process], int]) -> None:
        """Let the trader have no more of something than it uses now, for STARVED_S.

        limit: one of the RLIMIT_ constants. It may end by that, or only fail to send.
        """
        assert self.stack.world.trader is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            trader = psutil.Process(self.stack.world.trader.pid)
            before, most = trader.rlimit(limit)
            trader.rlimit(limit, (used(trader), most))
            self.order()
            time.sleep(STARVED_S)
            trader.rlimit(limit, (before, most))
        self.traded()

    def restore_backup(self, path: Path) -> None:
        """Back the database up, trade on, and go back to the backup, with no trader running.

        What the backup holds was not sent yet when it was made, and is filled after it.
        """
        world, unsent = self.stack.world, self.stack.ask(self.stack.victim())
        self.back_up(path)
        world.start_trader()
        world.await_armed()
        self.until_filled(lambda: self.stack.ask(BYSTANDER))
        self._await_end(unsent)
        world.stop_trader(signal.SIGTERM)
        self.restore(path)

    def back_up(self, path: Path) -> None:
        run(self.cluster.binaries / "pg_dump", "-Fc", "-f", path, self.cluster.url)

    def restore(self, path: Path) -> None:
        """Go back to a backup, as operate.md says."""
        from django.db import connection

        connection.close()
        empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        run(self.cluster.binaries / "psql", "-q", "-c", empty, self.cluster.url)
        run(self.cluster.binaries / "pg_restore", "-d", self.cluster.url, path)

    def faults(self) -> list[str]:
        """Return what is wrong when all has ended: orders that are lost or stuck."""
        from webapp.trading.models import Order

        mine = Order.objects.filter(pk__in=self.asked)
        market = Order.objects.filter(type="MARKET")
        faults = []
        try:
            until(lambda: not market.exclude(state__in=ENDED).exists(), "all ended", seconds=60)
        except Unreached as error:
            faults.append(str(error))
        if mine.count() != len(self.asked):
            faults.append(f"{len(self.asked)} orders were asked for, {mine.count()} are there")
        return faults

    def until_filled(self, ask: Callable[[], Any]) -> None:
        """Ask for orders until one is filled: a trader that has just begun denies some.

        Raises:
            Unreached: none was, with what became of the last.
        """
        deadline = time.monotonic() + GIVEN_UP_S
        while True:
            order = ask()
            self._await_end(order)
            order.refresh_from_db()
            if order.state == "FILLED":
                return
            if time.monotonic() > deadline:
                why = f"{order.state}, {order.denied_reason or order.cause}; {stopped_by()}"
                raise Unreached(f"no order was filled in {GIVEN_UP_S:g} s: {why}")

    def _await_end(self, order: Any) -> None:
        until(lambda: state_of(order) in ENDED, "an order ended", seconds=GIVEN_UP_S)


def stopped_by() -> str:
    """Return what keeps trading from being ACTIVE, and who says so."""
    from webapp.trading.models import TradingState

    rows = TradingState.objects.exclude(state="ACTIVE").order_by("pk")
    stopped = [f"{row.scope} is {row.state} by {row.changed_by}: {row.reason}" for row in rows]
    return ", ".join(stopped) or "everything is ACTIVE"


@contextlib.contextmanager
def servers(var_path: Path) -> Iterator[Servers]:
    """Start a stack on PostgreSQL."""
    binaries = server_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is missing: apt install postgresql")
    with running(binaries) as cluster, kill_stack(var_path, database=cluster.url) as stack:
        yield Servers(stack, cluster)


@contextlib.contextmanager
def kept_alive(world: World) -> Iterator[Supervisor]:
    """Start a trader, and the next whenever one ends; end the last one politely."""
    world.start_trader()
    world.await_armed()
    supervisor = Supervisor(world)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
    world.stop_trader(signal.SIGTERM)


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def seen(pid: int) -> tuple[bool, bool]:
    """Return whether a process lives, and whether it is traced."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False, False
    return True, "TracerPid:\t0\n" not in status


def end(process: "subprocess.Popen[bytes] | None") -> None:
    assert process is not None
    process.kill()
    process.wait(60)


def measure(
    one: Servers,
    traders: Supervisor,
    count: int,
    rows: list[Row],
    *,
    minutes: float = math.inf,
) -> None:
    """Strike `count` times with each, or as often as fits in each one's share of the minutes.

    rows: gets one for each kind of strike, also of one that something ends.
    """
    began = time.monotonic()
    strikes = [one.crash_database, one.kill_valkey, one.flush_valkey, one.kill_all]
    if can_trace():
        strikes.append(one.fail_a_sync)
    for place, ((what, goal), strike) in enumerate(zip(GOALS.items(), strikes, strict=False), 1):
        until_s = began + 60 * minutes * place / len(strikes)
        took: list[float] = []
        if strike == one.fail_a_sync:
            one.cluster.stop()
            one.cluster.start(durable=True)
        try:
            for number in range(count):
                if number and time.monotonic() > until_s:
                    break
                traders.failures = 0
                took.append(1000 * one.seconds(strike))
                print(f"{what} {number + 1}: {took[-1]:.0f} ms", file=sys.stderr, flush=True)
                if strike == one.fail_a_sync:
                    one.await_panic()
        finally:
            if took:
                rows.append(Row(f"{what}, until an order is filled and told", goal, tuple(took)))


def sample(var_path: Path, writes: int) -> int:
    """Kill at one place and at `writes` writes, let each server go and come; print what came."""
    with servers(var_path) as one:
        kills: list[Kill | None] = [one.stack.kill(Place("claimed", Deed.MARKET), 0)]
        kills += [
            one.stack.kill_at_write(series, 3 + number, number=number)
            for number, series in zip(range(writes), ("venue and Valkey", "database"), strict=False)
        ]
        one.restore_backup(var_path / "backup")
        with kept_alive(one.stack.world) as traders:
            one.starve(psutil.RLIMIT_NOFILE, psutil.Process.num_fds)
            one.starve(psutil.RLIMIT_AS, lambda trader: int(trader.memory_info().vms))
            rows: list[Row] = []
            measure(one, traders, 1, rows)
            faults = one.faults()
        # What was traded after the backup was read from the venue again.
        faults += audit(restored=True)
    faults += [fault for kill in kills if kill is not None for fault in kill.faults]
    done = [kill for kill in kills if kill is not None and kill.reached]
    result = {"kills": len(done), "restarts": len(rows), "faults": faults}
    print("\n".join(row.line() for row in rows), json.dumps(result), sep="\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10, help="of each (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="begin nothing after (default: %(default)s)"
    )
    parser.add_argument("--sample", type=int, metavar="WRITES", help=argparse.SUPPRESS)
    parser.add_argument("--var", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sample is not None:
        return sample(options.var, options.sample)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="sep-restarts-") as folder,
        servers(Path(folder)) as one,
    ):
        with kept_alive(one.stack.world) as traders:
            faults = measured(one, traders, options.count, options.minutes)
        faults += audit()
    print(f"{len(one.asked)} orders were asked for, {len(faults)} faults")
    for fault in faults:
        print(f"- {fault}")
    return 1 if faults else 0


def measured(one: Servers, traders: Supervisor, count: int, minutes: float) -> list[str]:
    """Measure and print the table, as far as it came; return what is wrong with the orders.

    Raises:
        SystemExit: somebody ended it, or a server did not come back. The servers may be gone with
            it, so the books are not compared then.
    """
    rows: list[Row] = []
    try:
        measure(one, traders, count, rows, minutes=minutes)
    except (KeyboardInterrupt, Unreached) as error:
        print(f"{machine()}\n\n{table(rows, ())}\n", flush=True)
        why = str(error) or "stopped"
        raise SystemExit(f"Broken off, and the books were not compared: {why}") from None
    print(f"{machine()}\n\n{table(rows, ())}\n", flush=True)
    return one.faults()


if __name__ == "__main__":
    raise SystemExit(main())
