"""What fills and charges came to is kept, and equals what a sum over all of them says."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sep_engine.execution.states import Origin
from sep_engine.model.calendar import day_start
from webapp.trading.models import (
    AccountTotals,
    BrokerAccount,
    Charge,
    Feed,
    Fill,
    Instrument,
    Order,
)
from webapp.trading.selectors.balance import (
    TRANSFER,
    Totals,
    account_balance,
    account_totals,
    day_realised,
    kept_totals_fault,
)
from webapp.trading.services.performance import totals_keep

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 5, tzinfo=UTC)
D = Decimal


class Books:
    """An account with an order whose fills, and the charges beside it, are drawn by a seed."""

    def __init__(self, name: str, seed: int) -> None:
        self.dice = random.Random(seed)
        self.account = BrokerAccount.objects.create(name=name, opening_balance=D(5000))
        self.order = Order.objects.create(
            client_id=name,
            account=self.account,
            instrument=Instrument.objects.get(),
            origin=Origin.EXTERNAL,
            type="MARKET",
            units=D(1000),
            state="ACCEPTED",
        )
        self.number = 0

    def money(self, most: int = 500) -> Decimal:
        return D(self.dice.randint(-most * 10_000, most * 10_000)) / 10_000

    def fill(self) -> None:
        self.number += 1
        Fill.objects.create(
            order=self.order,
            account=self.account,
            transaction_id=self.number,
            units=D(1),
            price=D("1.1"),
            realised_pl=self.dice.choice([D(0), self.money()]),
            half_spread_cost=D(0),
            financing=self.dice.choice([D(0), self.money(3)]),
            commission=abs(self.money(2)),
            assumed_spread=False,
            # A venue may tell of an older one later.
            time=START + timedelta(minutes=self.dice.randint(0, 4_000)),
        )

    def charge(self) -> None:
        self.number += 1
        Charge.objects.create(
            account=self.account,
            transaction_id=self.number,
            kind=self.dice.choice([TRANSFER, "DAILY_FINANCING"]),
            amount=self.money(2000),
            time=START + timedelta(minutes=self.dice.randint(0, 4_000)),
        )

    def summed_of_day(self, at: datetime) -> Decimal:
        """Every row since the last 17:00 in New York, added one by one."""
        since = day_start(at)
        fills = Fill.objects.filter(account=self.account, time__gte=since)
        charges = Charge.objects.filter(account=self.account, time__gte=since)
        made = [one.realised_pl + one.financing - one.commission for one in fills]
        made += [one.amount for one in charges if one.kind != TRANSFER]
        return sum(made, D(0))

    def summed(self) -> Totals:
        """Every row, added one by one."""
        fills = list(Fill.objects.filter(account=self.account).order_by("pk"))
        charges = list(Charge.objects.filter(account=self.account).order_by("pk"))
        made = [one.realised_pl + one.financing - one.commission for one in fills]
        made += [one.amount for one in charges if one.kind != TRANSFER]
        return Totals(
            realised=sum(made, D(0)),
            transferred=sum((one.amount for one in charges if one.kind == TRANSFER), D(0)),
            trades=sum(one.realised_pl != 0 for one in fills),
            wins=sum(one.realised_pl > 0 for one in fills),
            newest_fill=max((one.time for one in fills), default=None),
            last_fill=max((one.pk for one in fills), default=0),
            last_charge=max((one.pk for one in charges), default=0),
        )


@pytest.mark.parametrize("seed", range(3))
def test_kept_totals_and_what_came_after_are_the_sum_of_all(sample: Any, seed: int) -> None:
    both = Books("one", seed), Books("other", seed + 100)
    dice = random.Random(seed)
    for _ in range(25):
        books = dice.choice(both)
        match dice.randint(0, 3):
            case 0:
                totals_keep(books.account)
            case 1:
                books.charge()
            case _:
                books.fill()
        summed = books.summed()
        assert account_totals(books.account) == summed
        assert account_balance(books.account) == 5000 + summed.transferred + summed.realised
        assert kept_totals_fault(books.account) is None
        for hours in (0, 24):
            at = (summed.newest_fill or START) - timedelta(hours=hours)
            assert day_realised(books.account, at) == books.summed_of_day(at)


def test_a_day_of_a_new_pass_begins_with_nothing(sample: Any) -> None:
    books = Books("one", 5)
    for _ in range(5):
        books.fill()
    totals_keep(books.account)
    newest = account_totals(books.account).newest_fill
    assert newest is not None
    assert day_realised(books.account, newest) == books.summed_of_day(newest) != 0
    Feed.objects.update(run_started_at=timezone.now())
    assert day_realised(books.account, newest) == 0
    assert kept_totals_fault(books.account) is None


def test_a_total_may_have_more_digits_than_sqlite_keeps_of_a_number(sample: Any) -> None:
    books = Books("one", 1)
    books.fill()
    # Eighteen digits; a column of numbers takes 15 of them on SQLite.
    long = D("123456789012.345678")
    AccountTotals.objects.create(account=books.account, realised=long)
    assert AccountTotals.objects.get().realised == long
    fill = Fill.objects.get()
    made = fill.realised_pl + fill.financing - fill.commission
    assert account_totals(books.account).realised == long + made
    totals_keep(books.account)
    assert AccountTotals.objects.get().realised == long + made


def test_rows_that_are_counted_already_are_not_read_again(sample: Any) -> None:
    books = Books("one", 3)
    for _ in range(20):
        books.fill()
        books.charge()
    totals_keep(books.account)
    # They are as if they had never been: what is kept stands without them.
    Fill.objects.all().delete()
    Charge.objects.all().delete()
    kept = AccountTotals.objects.get()
    with CaptureQueriesContext(connection) as asked:
        totals = account_totals(books.account)
    assert (totals.realised, totals.last_fill) == (kept.realised, kept.last_fill)
    assert len(asked) == 3


def test_rebuild_says_that_kept_totals_are_wrong_and_makes_them_right(sample: Any) -> None:
    books = Books("one", 4)
    Order.objects.all().delete()  # no order of the log's is missing then
    books.charge()
    books.charge()
    totals_keep(books.account)
    right = account_totals(books.account)
    AccountTotals.objects.update(transferred=right.transferred + 1, wins=3)
    with pytest.raises(CommandError, match="1 differences"):
        call_command("rebuild", "--check", stdout=(said := StringIO()))
    assert "totals of one: kept Totals(" in said.getvalue()
    assert account_totals(books.account) != right
    call_command("rebuild", stdout=StringIO())
    assert account_totals(books.account) == right
    call_command("rebuild", "--check", stdout=StringIO())
