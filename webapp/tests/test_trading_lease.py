"""One writer for each account on PostgreSQL: the lock, its loss, and what the loss stops."""

import contextlib
import time
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from sep_engine.execution.states import Origin
from webapp.tests.conftest import at_once
from webapp.trading.models import BrokerAccount, Feed, LeaseRow, Order
from webapp.trading.services import order_path
from webapp.trading.services.orders import order_cancel, order_submit
from webapp.trading.trader import lease

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "connection.vendor != 'postgresql'",
        reason="needs PostgreSQL: run_tests.py web-postgresql runs it; SQLite has the lease row",
    ),
]


@pytest.fixture
def account() -> BrokerAccount:
    return BrokerAccount.objects.create(name="Practice", kind="paper", opening_balance=1)


def take(account: BrokerAccount, holder: str = "here:1:0") -> lease.Lease:
    return lease.take(account_id=account.pk, holder=holder, now=timezone.now())


def cut(held: lease.Lease) -> None:
    """End the session that holds the account, as a failed server or link does; wait for its end."""
    assert held.lock is not None
    raw: Any = held.lock._wrapper.connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [raw.info.backend_pid])


def advisory_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        [[locks]] = cursor.fetchall()
    return locks


def test_o17_of_eight_traders_one_has_the_account(account: BrokerAccount) -> None:
    def start(number: int) -> lease.Lease | None:
        with contextlib.suppress(lease.LeaseHeld):
            return take(account, f"host{number}:1:0")
        return None

    [held] = filter(None, at_once(8, start))
    assert LeaseRow.objects.get().holder == held.holder
    lease.give_back(held, now=timezone.now())


def test_o17_the_row_of_another_host_does_not_outlive_its_lock(account: BrokerAccount) -> None:
    first = take(account, "elsewhere:1:0")
    with pytest.raises(lease.LeaseHeld, match="has a trader already \\(elsewhere:1:0\\)"):
        take(account)
    cut(first)
    # The row says that `elsewhere` has the account for ten seconds more; the lock knows better.
    second = take(account)
    assert second.epoch == first.epoch + 1
    with pytest.raises(lease.LeaseLost):
        lease.renew(first, now=timezone.now())
    lease.renew(second, now=timezone.now())
    lease.give_back(second, now=timezone.now())


def test_o18_a_holder_that_lost_its_lock_knows_it_without_asking(account: BrokerAccount) -> None:
    held = take(account)
    assert not held.lost()
    cut(held)
    deadline = time.monotonic() + 60
    while not held.lost() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held.lost()
    with pytest.raises(lease.LeaseLost, match="connection that holds the account was lost"):
        lease.renew(held, now=timezone.now())


def test_o17_an_account_that_was_given_back_is_free(account: BrokerAccount) -> None:
    for epoch in range(1, 21):
        held = take(account, f"host{epoch}:1:0")
        assert held.epoch == epoch
        lease.give_back(held, now=timezone.now())
        # Its session may live for a moment longer.
        assert not advisory_locks()


def test_intents_do_not_wait_for_the_trader_that_has_the_account_locked(sample: Feed) -> None:
    account = BrokerAccount.objects.get()

    def ask(number: int) -> Order:
        order = order_submit(
            account=account,
            instrument=sample.instrument,
            units=Decimal(1000),
            origin=Origin.PERSON,
            now=timezone.now(),
        )
        return order_cancel(order_id=order.pk, now=timezone.now())

    # Had they to wait for it, it could wait for them at the event log, and neither went on.
    with transaction.atomic():
        order_path._own_account(account.pk, account.epoch)
        [order] = at_once(1, ask)
        assert order.cancel_requested_at is not None
