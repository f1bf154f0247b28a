"""What is under the order path fails: the database, Valkey, the build, the machine's limits."""

import io
import threading
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from sep_engine.execution.states import Origin
from webapp.trading.management.commands import runtrader
from webapp.trading.models import (
    BrokerAccount,
    EventLog,
    Feed,
    Order,
    PerformanceSnapshot,
    ProcessHeartbeat,
)
from webapp.trading.retried import TRIES, retried
from webapp.trading.services import events, order_path
from webapp.trading.services.orders import order_submit
from webapp.trading.services.performance import performance_record
from webapp.trading.trader import lease

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'",
    reason="needs PostgreSQL: run_tests.py web-postgresql runs it",
)
on_sqlite = pytest.mark.skipif(
    "connection.vendor != 'sqlite'", reason="fills SQLite's file; run_tests.py web-sqlite runs it"
)


def queued(feed: Feed) -> Order:
    """Return an order that the gate let through."""
    order = order_submit(
        account=BrokerAccount.objects.get(),
        instrument=feed.instrument,
        units=Decimal(1000),
        stop_distance=Decimal("0.00300"),
        origin=Origin.PERSON,
        now=timezone.now(),
    )
    Order.objects.filter(pk=order.pk).update(state="QUEUED")
    return order


def record(text: str) -> None:
    with transaction.atomic():
        events.record(stream="audit", type="said", data={"text": text}, now=timezone.now())


def record_for_ever(text: str) -> None:
    while True:
        record(text)


def claim(order: Order) -> bool:
    from sep_engine.execution.core import Timing

    claimed = order_path.orders_claim(
        account_id=order.account_id,
        order_ids=[order.pk],
        epoch=0,
        now=timezone.now(),
        timing=Timing(),
    )
    return bool(claimed)


# The database.


@on_postgresql
def test_c8_two_transactions_that_wait_for_each_other_both_end_well(sample: Feed) -> None:
    first, second = queued(sample), queued(sample)
    together = threading.Barrier(2, timeout=60)
    runs: list[str] = []

    @retried
    def lock_both(one: Order, other: Order) -> None:
        runs.append(one.client_id)
        Order.objects.select_for_update().get(pk=one.pk)
        if len(runs) <= 2:  # of the first runs only: each holds what the other wants
            together.wait()
        Order.objects.select_for_update().get(pk=other.pk)

    def work(one: Order, other: Order) -> None:
        lock_both(one, other)
        connections.close_all()

    thread = threading.Thread(target=work, args=(second, first))
    thread.start()
    lock_both(first, second)
    thread.join()
    # The server ended one of them, which ran again: twice if it was back before the other went on.
    assert len(runs) in (3, 4)


@pytest.mark.parametrize(("failures", "runs"), [(0, 1), (TRIES - 1, TRIES), (TRIES, TRIES)])
def test_c8_a_transaction_is_run_three_times_at_most(failures: int, runs: int) -> None:
    class Deadlock(Exception):
        sqlstate = "40P01"

    seen: list[int] = []

    @retried
    def work() -> str:
        seen.append(1)
        events.record(stream="audit", type="tried", data={}, now=timezone.now())
        if len(seen) <= failures:
            raise OperationalError("deadlock detected") from Deadlock()
        return "done"

    if failures < TRIES:
        assert work() == "done"
    else:
        with pytest.raises(OperationalError):
            work()
    assert len(seen) == runs
    # What a failed run wrote is gone.
    assert EventLog.objects.filter(type="tried").count() == (failures < TRIES)


def test_c8_another_error_of_the_database_is_not_tried_again() -> None:
    seen: list[int] = []

    @retried
    def work() -> None:
        seen.append(1)
        raise OperationalError("disk I/O error")

    with pytest.raises(OperationalError):
        work()
    assert len(seen) == 1


@on_postgresql
def test_c9_a_claim_that_waits_for_a_lock_gives_up_and_claims_nothing(sample: Feed) -> None:
    order = queued(sample)
    with connection.cursor() as cursor:
        for name, value in (
            ("lock_timeout", "2s"),
            ("statement_timeout", "30s"),
            ("idle_in_transaction_session_timeout", "1min"),
            ("synchronous_commit", "on"),
        ):
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (value,)
        cursor.execute("SET lock_timeout = '100ms'")
    holding, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Order.objects.select_for_update().get(pk=order.pk)
            holding.set()
            enough.wait(60)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert holding.wait(60)
        with pytest.raises(OperationalError, match="lock timeout"):
            claim(order)
    finally:
        enough.set()
        thread.join()
        connection.close()
    order.refresh_from_db()
    assert order.state == "QUEUED"


@on_postgresql
def test_c10_a_pool_of_connections_is_refused_as_the_holder_of_an_account(
    sample: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    # A pool answers the start of a session itself, with a number of its own.
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", property(lambda _: 1))
    with pytest.raises(lease.PooledConnection, match="let DATABASE_URL name the server itself"):
        lease.take(account_id=sample_account().pk, holder="here:1:0", now=timezone.now())
    assert sample_account().epoch == 0


@on_sqlite
def test_c11_a_full_disk_stops_the_claim_and_nothing_is_half_written(sample: Feed) -> None:
    order = queued(sample)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count")
        (before,) = cursor.fetchone()
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
    try:
        for size in (2000, 200, 1):  # until not even a short event has room
            with pytest.raises(OperationalError, match="disk is full"):
                record_for_ever("x" * size)
        with pytest.raises(OperationalError, match="disk is full"):
            claim(order)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA max_page_count = {before}")
    order.refresh_from_db()
    assert (order.state, order.sent_at) == ("QUEUED", None)
    assert events.first_fault("orders") is None
    # With room again the same order goes on.
    assert claim(order)


# Valkey.


def test_c4_a_valkey_that_stands_still_holds_no_order_up(
    sample: Feed, valkey: Any, valkey_server: Any
) -> None:
    with valkey_server.stopped():
        started = time.monotonic()
        order = queued(sample)
        assert claim(order)
        # The hint may cost the second after which a client gives up; the order path asks nothing.
        assert time.monotonic() - started < 60


# Builds and tables.


def refusal() -> str:
    """Return why no trader starts; one that does fails the test instead of trading on in it."""

    def begins(account_id: int, *, with_relay: bool) -> None:
        raise AssertionError("the trader started")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtrader, "_run", begins)
        with pytest.raises(CommandError) as refused:
            call_command("runtrader", "--skip-checks", stdout=io.StringIO())
    return str(refused.value)


def test_c16_a_trader_refuses_tables_that_are_older_or_newer_than_it(sample: Feed) -> None:
    from django.db.migrations.recorder import MigrationRecorder

    recorder = MigrationRecorder(connection)
    newest = recorder.migration_qs.filter(app="trading").order_by("name").last()
    try:
        recorder.record_unapplied("trading", newest.name)
        assert f"trading.{newest.name}: run manage.py migrate" in refusal()
        recorder.record_applied("trading", newest.name)
        recorder.record_applied("trading", "9999_of_tomorrow")
        assert "of a newer build, with trading.9999_of_tomorrow" in refusal()
    finally:
        recorder.record_applied("trading", newest.name)
        recorder.record_unapplied("trading", "9999_of_tomorrow")


def test_c17_a_trader_refuses_while_a_process_of_another_build_lives(sample: Feed) -> None:
    now = timezone.now()
    web = ProcessHeartbeat.objects.create(
        name="web", pid=1, host="here", build="0.0.9", started_at=now, beat_at=now
    )
    assert refusal() == (
        f"web runs build 0.0.9, this is {configured.SEP_BUILD}: start all processes of one build"
    )
    # One that has not beaten for a while is gone.
    from webapp.trading.fit import LIVES, misfit

    web.beat_at = now - LIVES - timedelta(seconds=1)
    web.save()
    assert misfit(now=now) == ""


def test_c19_a_minute_whose_job_comes_twice_is_written_once(sample: Feed) -> None:
    now = timezone.now().replace(second=10, microsecond=0)
    performance_record(now=now)
    count = PerformanceSnapshot.objects.count()
    performance_record(now=now)
    performance_record(now=now + timedelta(seconds=20))
    assert PerformanceSnapshot.objects.count() == count


def sample_account() -> BrokerAccount:
    return BrokerAccount.objects.get()
