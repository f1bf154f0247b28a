"""What SEP's work costs after a busy year, beside what it cost before: `python -m tests.history`.

Everything is asked for twice in one process with a database of its own: after a few orders, and
after a year of them: orders with their events, facts and fills, signals, points of the equity line
and comparisons of the books. Times are the least of several: of the processor on SQLite, of the
wall on PostgreSQL, which `python scripts/postgres_for_tests.py python -m tests.history` uses. The
paper venue stands behind it, whose own ledger grows as well. It measures and judges nothing.
"""

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import psutil

RUNS = 5
TURN = 16
BARS = 10
CYCLE = 3  # orders: an entry, its stop, its exit
BATCH = 3_000
START = datetime(2025, 1, 6, tzinfo=UTC)
LISTS = (
    "status", "orders", "orders?state=OPEN", "orders?state=FILLED", "orders?instrument=EUR_USD",
    "orders?limit=50&offset=1000", "trading-signals", "positions", "trades", "reconciliations",
    "performance/current", "performance/history?limit=1000", "candles/EUR_USD", "qfh/EUR_USD",
    "market-data", "config/get", "config/history", "runs", "health",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """The least milliseconds that a piece of work took, and the statements that it needed."""

    ms: float
    statements: int


def grow(orders: int, reconciliations: int, points: int) -> None:
    """Add a year to the sample's account: pairs of trades that leave nothing open.

    Rows are those that the order path writes, and the events' chain is whole, so that the books can
    be made again from the log.
    """
    from django.db import connection, transaction

    from webapp.trading.models import (
        BrokerAccount,
        BrokerFact,
        EventLog,
        Fill,
        Instrument,
        Order,
        PerformanceSnapshot,
        Position,
        Reconciliation,
        Signal,
        Strategy,
        StreamHead,
    )
    from webapp.trading.selectors.resources import order_resource, position_resource
    from webapp.trading.services.events import event_hash
    from webapp.trading.services.performance import totals_keep
    from webapp.trading.triggers import create_statements, drop_statements

    account, strategy = BrokerAccount.objects.get(), Strategy.objects.get()
    instrument = Instrument.objects.get(name="EUR_USD")
    position, _ = Position.objects.get_or_create(
        account=account, instrument=instrument, side=Position.Side.NET
    )
    assert position.units == 0, "the year is added to a flat account"
    heads = {
        name: StreamHead.objects.get_or_create(stream=name)[0]
        for name in ("orders", "positions", "system")
    }
    fact = account.last_transaction_id
    events: list[EventLog] = []

    def tell(stream: str, type: str, data: dict[str, Any], at: datetime, subject: Any) -> None:
        head = heads[stream]
        head.last_seq += 1
        event = EventLog(
            stream=stream, seq=head.last_seq, time=at, type=type, data=data, subject=subject,
            previous_hash=head.last_hash, published_at=at,
        )  # fmt: skip
        event.hash = head.last_hash = event_hash(event)
        events.append(event)

    def order(number: int, part: str, **fields: Any) -> Order:
        market = fields.get("type", "MARKET") == "MARKET"
        return Order(
            client_id=f"year-{number}-{part}", account=account, instrument=instrument,
            venue_order_id=f"y{number}{part}", epoch=1, checks=checks if market else [],
            **{"type": "MARKET", **fields},
        )  # fmt: skip

    checks = [{"rule": f"rule_{n}", "limit": "10000", "value": "1000", "passed": True}
              for n in range(22)]  # fmt: skip
    pause = timedelta(days=365) / max(orders // CYCLE, 1)
    with connection.cursor() as cursor:
        for statement in drop_statements(connection.vendor):
            cursor.execute(statement)
    first = Signal.objects.count()
    for begun in range(0, orders // CYCLE, BATCH // CYCLE):
        numbers = range(begun, min(begun + BATCH // CYCLE, orders // CYCLE))
        with transaction.atomic():
            signals, wanted, fills, facts = [], [], [], []
            events.clear()
            for number in numbers:
                at = START + number * pause
                signals.append(
                    Signal(
                        strategy=strategy,
                        instrument=instrument,
                        time=at,
                        direction=1,
                        price=Decimal("1.1"),
                        metrics={"coherence": 0.5},
                        run=1000 + first,
                        percentiles={"coherence": 91.2},
                        inputs={"window": 64},
                        decision_reason="coherence percentile 91.2 within 80..100",
                    )
                )
                ended = {"filled_units": Decimal(1000), "state": "FILLED", "sent_at": at}
                wanted += [
                    order(number, "e", units=Decimal(1000), origin="RULE", strategy=strategy,
                          average_price=Decimal("1.1"), stop_distance=Decimal("0.003"), **ended),
                    order(number, "s", units=Decimal(-1000), origin="PROTECTIVE", strategy=strategy,
                          type="STOP_LOSS", price=Decimal("1.097"), reduce_only=True,
                          state="CANCELLED"),
                    order(number, "x", units=Decimal(-1000), origin="EXIT", strategy=strategy,
                          average_price=price_out(number), reduce_only=True,
                          **{**ended, "filled_units": Decimal(-1000)}),
                ]  # fmt: skip
            Signal.objects.bulk_create(signals)
            Order.objects.bulk_create(wanted)
            Order.objects.filter(pk__in=[one.pk for one in wanted]).update(created_at=at)
            for place, number in enumerate(numbers):
                entry, stop, leaving = wanted[CYCLE * place : CYCLE * (place + 1)]
                at = START + number * pause
                for one, price, made in (
                    (entry, Decimal("1.1"), Decimal(0)),
                    (leaving, price_out(number), (price_out(number) - Decimal("1.1")) * 1000),
                ):
                    fact += 2
                    fills.append(
                        Fill(
                            order=one,
                            account=account,
                            transaction_id=fact,
                            units=one.units,
                            price=price,
                            realised_pl=made,
                            half_spread_cost=Decimal("0.1"),
                            assumed_spread=True,
                            time=at,
                        )
                    )
                    facts += [
                        BrokerFact(
                            account=account, transaction_id=fact + less, kind=kind, applied_at=at,
                            venue_order_id=one.venue_order_id, client_id=one.client_id,
                            raw={"id": str(fact + less), "units": "1000", "reason": "CLIENT_ORDER"},
                        )
                        for less, kind in ((-1, "ACCEPTED"), (0, "FILLED"))
                    ]  # fmt: skip
                    position.realised_pl += made
                    position.booked_pl += made
            Fill.objects.bulk_create(fills)
            BrokerFact.objects.bulk_create(facts)
            for place, number in enumerate(numbers):
                at = START + number * pause
                entry, stop, leaving = wanted[CYCLE * place : CYCLE * (place + 1)]
                for one, fill in ((entry, fills[2 * place]), (stop, None), (leaving, fills[-1])):
                    if fill is not None and one is leaving:
                        fill = fills[2 * place + 1]
                    last = order_resource(one, fills=[] if fill is None else [fill])
                    states = ["CREATED", "QUEUED", "SENDING"] if fill is not None else ["ACCEPTED"]
                    for state in states:
                        told = {**last, "state": state, "filled_units": "0", "fills": []}
                        tell("orders", "order_update", told, at, one.pk)
                    tell("orders", "order_update", last, at, one.pk)
                    if fill is not None:
                        held = position_resource(position, currency=account.currency)
                        tell("positions", "position_update", held, at, None)
            EventLog.objects.bulk_create(events, batch_size=500)
        print(f"\r{min(begun + BATCH // CYCLE, orders // CYCLE) * CYCLE:,} orders",
              end="", file=sys.stderr)  # fmt: skip
    print(file=sys.stderr)
    with connection.cursor() as cursor:
        for statement in create_statements(connection.vendor):
            cursor.execute(statement)
    with transaction.atomic():
        for head in heads.values():
            head.save()
        position.save()
        BrokerAccount.objects.update(last_transaction_id=fact)
    balance = account.opening_balance + position.booked_pl
    side = {"last_transaction_id": fact, "balance": str(balance), "positions": {}, "trades": {},
            "orders": {}}  # fmt: skip
    Reconciliation.objects.bulk_create(
        (
            Reconciliation(
                account=account, cause="minute", outcome="AGREED", local=side, reported=side,
                started_at=START + timedelta(minutes=n), finished_at=START + timedelta(minutes=n),
            )
            for n in range(reconciliations)
        ),
        batch_size=1000,
    )  # fmt: skip
    newest = PerformanceSnapshot.objects.order_by("-pk").first()
    now = datetime.now(UTC) if newest is None else newest.time
    PerformanceSnapshot.objects.bulk_create(
        (
            PerformanceSnapshot(
                account=account, time=now - timedelta(minutes=points - n), equity=balance,
                balance=balance, realised_pl=position.booked_pl, open_pl=Decimal(0),
                drawdown=Decimal(n % 50), trades=n, wins=n // 2,
            )
            for n in range(points)
        ),
        batch_size=1000,
    )  # fmt: skip
    totals_keep(account)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "SELECT 1")
    _grow_paper_ledger(account, wanted_orders=orders, last=fact, made=position.booked_pl)


def price_out(number: int) -> Decimal:
    """Return the price at which cycle `number` sells what it bought at 1.1, a little away."""
    return Decimal("1.1") + Decimal(number % 21 - 10) / 100_000


def _grow_paper_ledger(account: Any, *, wanted_orders: int, last: int, made: Decimal) -> None:
    """Let the paper venue have seen as much: its ended orders, and a ledger that ends at `last`."""
    from django.conf import settings

    path = settings.SEP_VAR_PATH / "paper_broker.sqlite3"
    with sqlite3.connect(path) as ledger:
        (number,) = ledger.execute("SELECT COALESCE(MAX(id), 0) FROM transactions").fetchone()
        body = {"kind": "ACCEPTED", "time": START.isoformat(), "instrument": "EUR_USD",
                "order_type": "MARKET", "units": "1000"}  # fmt: skip
        ledger.executemany(
            "INSERT INTO transactions VALUES (?, 'ACCEPTED', ?, ?)",
            (
                (n, str(n), json.dumps({**body, "id": n, "client_id": f"year-{n}"}))
                for n in range(number + 1, last + 1)
            ),
        )
        ledger.executemany(
            "INSERT INTO orders (id, client_id, instrument, type, units, reduce_only, working,"
            " after_event) VALUES (?, ?, 'EUR_USD', 'MARKET', '1000', 0, 0, 0)",
            ((f"y{n}", f"year-{n}") for n in range(wanted_orders)),
        )
        ledger.execute(
            "UPDATE meta SET value = ? WHERE key = 'balance'",
            (str(account.opening_balance + made),),
        )
    ledger.close()


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count the statements of every thread's connection that runs within."""
    from django.db.backends.utils import CursorWrapper

    count, cursors = [0], cast(Any, CursorWrapper)
    execute = cursors._execute

    def counting(self: Any, *args: Any) -> Any:
        count[0] += 1
        return execute(self, *args)

    cursors._execute = counting
    try:
        yield count
    finally:
        cursors._execute = execute


def clock() -> float:
    """Return seconds: of this process's processors, or of the wall where a server works for it."""
    from django.db import connection

    return time.process_time() if connection.vendor == "sqlite" else time.perf_counter()


def least(work: Callable[[], Any], runs: int = RUNS) -> Cost:
    """Run `work` several times; the first warms what is kept of a statement."""
    times, statements = [], 0
    for _ in range(runs):
        with counted() as count:
            began = clock()
            work()
            times.append(clock() - began)
        statements = count[0]
    return Cost(1000 * min(times), statements)


async def least_of(work: Callable[[], Awaitable[Any]], runs: int = RUNS) -> Cost:
    times, statements = [], 0
    for _ in range(runs):
        with counted() as count:
            began = clock()
            await work()
            times.append(clock() - began)
        statements = count[0]
    return Cost(1000 * min(times), statements)


def trader_costs() -> dict[str, Cost]:
    """Return what the trader's own work costs: starting, prices, orders, comparing, closing."""
    from django.utils import timezone

    from sep_engine.execution.states import Origin
    from sep_engine.venues.replay import ReplayVenue
    from webapp.trading.models import BrokerAccount, Instrument, Order, TradingState
    from webapp.trading.selectors.performance import performance_current
    from webapp.trading.services.closing import close_everything, closings_go_on
    from webapp.trading.services.orders import order_submit
    from webapp.trading.trader.trader import Trader

    account, euro = BrokerAccount.objects.get(), Instrument.objects.get(name="EUR_USD")
    costs: dict[str, Cost] = {}
    units = iter(range(1, 10_000))  # no order looks like another

    def wish() -> None:
        for _ in range(TURN // 2):
            number = next(units)
            for signed in (number, -number):
                order_submit(
                    account=account, instrument=euro, units=Decimal(signed), origin=Origin.PERSON,
                    stop_distance=Decimal("0.003"), now=timezone.now(),
                )  # fmt: skip

    async def started() -> Trader:
        one = Trader(account_id=account.pk, with_relay=False)
        await one.open()
        await one.recover()
        return one

    async def start_and_end() -> None:
        await (await started()).close()

    async def whole() -> None:
        costs["trader: start until armed, and end"] = await least_of(start_and_end, 3)
        one = await started()
        try:
            venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)

            async def bars() -> None:
                await one.db(one.beat)
                for _ in range(2 * BARS):
                    await one.events.on_event(next(venue))

            async def turn() -> None:
                await one.db(wish)
                await one.orders.work()
                await one.events.on_event(next(venue))
                await one.events.on_event(next(venue))

            def publish() -> None:
                now = timezone.now()
                performance_current(account, markets=one.equity._markets(now), now=now)

            def close() -> None:
                close_everything(account=account, reason="measured", now=timezone.now())
                for _ in range(4):
                    closings_go_on(account_id=account.pk, now=timezone.now())

            costs[f"trader: {BARS} bars of the replay"] = await least_of(bars)
            costs[f"trader: a turn of {TURN} orders, wanted to filled"] = await least_of(turn)
            costs["trader: one comparison of the books"] = await least_of(
                lambda: one.check.compare("minute")
            )
            costs["trader: one look for orders"] = await least_of(one.orders.work)
            costs["trader: the published performance"] = await one.db(least, publish)
            costs["close everything, and four looks at it"] = await one.db(least, close)
            # Flat again, for whatever comes next.
            for _ in range(8):
                await one.db(closings_go_on, account_id=account.pk, now=timezone.now())
                await one.orders.work()
                await one.events.on_event(next(venue))
                await one.events.on_event(next(venue))
            await one.db(TradingState.objects.update, state="ACTIVE")
            live = await one.db(Order.objects.filter(state="CREATED").count)
            assert not live, f"{live} orders still wait"
        finally:
            await one.close()

    asyncio.run(whole())
    return costs


def page_costs() -> dict[str, Cost]:
    """Return what each list of the API, an order's page and each list of the admin cost."""
    from django.contrib import admin
    from django.contrib.auth import get_user_model
    from django.test import Client
    from rest_framework.test import APIClient

    from webapp.trading.models import Order, Reconciliation

    users = get_user_model().objects
    user = users.filter(username="year").first() or users.create_superuser("year")
    api, site = APIClient(), Client()
    api.force_login(user)
    site.force_login(user)
    costs: dict[str, Cost] = {}

    def asked(client: Any, path: str) -> Callable[[], None]:
        def ask() -> None:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.status_code, answer.content[:300])

        return ask

    newest = Order.objects.order_by("-pk").values_list("pk", flat=True)[0]
    compared = Reconciliation.objects.order_by("-pk").values_list("pk", flat=True)[0]
    for path in (*LISTS, f"orders/{newest}", f"reconciliations/{compared}"):
        name = path.replace(str(newest), "N").replace(str(compared), "N")
        costs[f"GET /api/{name}"] = least(asked(api, f"/api/{path}"))
    for model in admin.site._registry:
        if model._meta.app_label == "trading":
            path = f"/admin/trading/{model._meta.model_name}/"
            costs[f"GET {path}"] = least(asked(site, path), 3)
    return costs


def log_costs() -> dict[str, Cost]:
    """Return what looks at the log cost: heads, a socket that resumes, the check of the books."""
    from django.core.management import call_command

    from webapp.trading import hub
    from webapp.trading.models import StreamHead

    head = StreamHead.objects.get(stream="orders").last_seq
    heads, after = hub._heads.func, hub._events_after.func
    costs = {
        "WebSocket: the heads of all streams": least(heads),
        "WebSocket: the last 100 events, resumed": least(lambda: after("orders", head - 100)),
    }
    with open(os.devnull, "w") as nowhere:
        costs["manage.py rebuild --check"] = least(
            lambda: call_command("rebuild", "--check", stdout=nowhere, stderr=nowhere), 1
        )
    return costs


def backup_cost() -> Cost:
    """Copy the database as docs/guides/operate.md says; PostgreSQL's own tools are not measured."""
    from django.db import connection

    if connection.vendor != "sqlite":
        return Cost(0.0, 0)
    path = Path(str(connection.settings_dict["NAME"]))

    def copy() -> None:
        source, target = sqlite3.connect(path), sqlite3.connect(f"{path}.copy")
        source.backup(target)
        source.close()
        target.close()
        Path(f"{path}.copy").unlink()

    return least(copy, 1)


def measured() -> dict[str, Cost]:
    costs = trader_costs() | page_costs() | log_costs()
    if (copied := backup_cost()).ms:
        costs["backup of the database"] = copied
    return costs


def soak(bars: int) -> None:
    """Show the memory of one trader that lives through `bars` bars of the replay, an order each.

    At 100 bars a second the sample's months pass in a minute; what is kept for ever shows.
    """
    from django.utils import timezone

    from sep_engine.execution.states import Origin
    from sep_engine.venues.replay import ReplayVenue
    from webapp.trading.models import BrokerAccount, Instrument
    from webapp.trading.services.orders import order_submit
    from webapp.trading.trader.trader import Trader

    account, euro = BrokerAccount.objects.get(), Instrument.objects.get(name="EUR_USD")

    def wish(number: int) -> None:
        order_submit(
            account=account, instrument=euro, units=Decimal(1 if number % 2 else -1),
            origin=Origin.PERSON, stop_distance=Decimal("0.003"), now=timezone.now(),
        )  # fmt: skip

    async def whole() -> None:
        one = Trader(account_id=account.pk, with_relay=False)
        await one.open()
        try:
            await one.recover()
            venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)
            own = psutil.Process()
            for number in range(bars + 1):
                if number % (bars // 10) == 0:
                    await one.db(one.beat)
                    print(f"{number:,} bars: {own.memory_info().rss / 2**20:.1f} MiB", flush=True)
                await one.db(wish, number)
                await one.events.on_event(next(venue))
                await one.events.on_event(next(venue))
        finally:
            await one.close()

    asyncio.run(whole())


def memory_mb() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lines(before: dict[str, Cost], after: dict[str, Cost]) -> Iterator[str]:
    """Return the table, the worst ratio first."""
    yield "| | after few: ms | statements | after the year: ms | statements | ratio |"
    yield "|---|---|---|---|---|---|"
    for name in sorted(before, key=lambda one: -after[one].ms / before[one].ms):
        few, many = before[name], after[name]
        yield (
            f"| {name} | {few.ms:.3g} | {few.statements} | {many.ms:.4g} | {many.statements} "
            f"| {many.ms / few.ms:.2f} |"
        )


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--reconciliations", type=int, default=50_000)
    parser.add_argument("--points", type=int, default=20_000, help="as many as are kept")
    parser.add_argument("--soak", type=int, default=0, metavar="BARS",
                        help="show the memory of a trader over so many bars instead")  # fmt: skip
    options = parser.parse_args(words)
    os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.config.testing"
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.utils import timezone

    from webapp import embedded_valkey
    from webapp.trading.models import RiskLimit
    from webapp.trading.trader import lease
    from webapp.trading.trader.setup import sample_load

    lease.LEASE = timedelta(hours=1)
    settings.ALLOWED_HOSTS.append("testserver")
    valkey = embedded_valkey.start(Path(settings.SEP_VAR_PATH), timeout_s=60)
    try:
        call_command("migrate", verbosity=0)
        sample_load(name="eur_usd_h1", now=timezone.now())
        RiskLimit.objects.exclude(name__contains="_min").update(value=1_000_000)
        RiskLimit.objects.filter(name="repeat_pause_s").update(value=1)
        if options.soak:
            soak(options.soak)
            return 0
        before = measured()
        began, memory = time.perf_counter(), memory_mb()
        grow(options.orders, options.reconciliations, options.points)
        made_s = time.perf_counter() - began
        grown = memory_mb()
        after = measured()
    finally:
        connection.close()
        valkey.terminate()
        valkey.wait()
    print(f"{connection.vendor}, {options.orders:,} orders, made in {made_s:.0f} s; memory "
          f"{memory:.0f} MiB before, {grown:.0f} while it was made, {memory_mb():.0f} at the "
          "end\n")  # fmt: skip
    for line in lines(before, after):
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
