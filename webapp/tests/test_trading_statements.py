"""Statements whose SQL is kept mean what Django's own mean."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sep_engine.execution.states import Origin
from webapp.trading.models import (
    BrokerAccount,
    Candle,
    EventLog,
    Instrument,
    Order,
    Strategy,
    StreamHead,
)
from webapp.trading.services.orders import order_submit
from webapp.trading.statements import Asked, row_insert, rows_insert, rows_update

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def wish(units: int) -> Order:
    account = BrokerAccount.objects.get()
    return order_submit(
        account=account,
        instrument=Instrument.objects.get(),
        units=Decimal(units),
        origin=Origin.PERSON,
        stop_distance=Decimal("0.003"),
        now=timezone.now(),
    )


def columns(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_rows_are_those_of_the_queryset_however_often_and_with_whatever_it_is_asked(
    sample: Any,
) -> None:
    def orders(account: int, *states: str) -> Any:
        rows = Order.objects.filter(account=account, state__in=states).select_related("instrument")
        return rows.exclude(units=-300).order_by("pk")

    asked = Asked(orders)
    account = BrokerAccount.objects.get().pk
    first, second, _ = wish(100), wish(-200), wish(-300)
    assert [row.pk for row in asked(account, "CREATED")] == [first.pk, second.pk]
    assert asked(account, "QUEUED") == asked(account + 1, "CREATED") == []
    both = asked(account, "QUEUED", "CREATED")
    with CaptureQueriesContext(connection) as queries:
        assert both[0].instrument.name == "EUR_USD"
    assert not queries
    for row, other in zip(both, orders(account, "QUEUED", "CREATED"), strict=True):
        assert columns(row) == columns(other)
        assert columns(row.instrument) == columns(other.instrument)


def test_columns_come_as_the_queryset_gives_them(sample: Any) -> None:
    key = wish(100).pk
    asked = Asked(lambda pk: Order.objects.filter(pk=pk).values_list("units", "expires_at"))
    assert asked(key) == list(Order.objects.filter(pk=key).values_list("units", "expires_at"))


def test_a_value_that_the_query_changes_is_refused() -> None:
    # The pattern holds the text with signs of its own around it.
    asked = Asked(lambda name: Instrument.objects.filter(name__contains=name))
    with pytest.raises(TypeError, match="each value must come into the query as it is"):
        asked("EUR")


@pytest.mark.django_db(transaction=True)
def test_rows_are_locked_in_a_transaction_alone_however_often_they_were_asked_for() -> None:
    asked = Asked(lambda stream: StreamHead.objects.select_for_update().filter(stream=stream))
    with transaction.atomic():
        assert asked("orders") == []
    with pytest.raises(TransactionManagementError):
        asked("orders")


def test_only_the_named_fields_are_written(sample: Any) -> None:
    orders = [wish(100), wish(200)]
    for number, order in enumerate(orders):
        order.cause, order.checks, order.epoch = f"cause {number}", [{"rule": "size"}], 7
    before = orders[0].updated_at
    rows_update(orders, ("cause", "checks", "updated_at"))
    stored = list(Order.objects.order_by("pk"))
    assert [row.cause for row in stored] == ["cause 0", "cause 1"]
    assert [row.checks for row in stored] == [[{"rule": "size"}]] * 2
    assert [row.epoch for row in stored] == [0, 0]
    assert stored[0].updated_at == orders[0].updated_at > before


def test_a_row_that_is_gone_is_an_error(sample: Any) -> None:
    order = wish(100)
    with pytest.raises(DatabaseError, match="is not there to be written"):
        rows_update([order, Order(pk=order.pk + 1)], ("epoch",))


def test_inserted_rows_hold_what_saved_ones_would(sample: Any) -> None:
    strategy = Strategy.objects.get()
    kept = columns(strategy)
    strategy.name = "another"
    row_insert(strategy)
    assert strategy.pk > kept["id"]
    stored = columns(Strategy.objects.get(name="another"))
    own = {"id": strategy.pk, "name": "another", "created_at": strategy.created_at}
    assert stored == kept | own
    strategy.save()  # as a row that is there
    assert Strategy.objects.count() == 2


def test_many_rows_are_inserted_in_their_order_by_one_statement(sample: Any) -> None:
    EventLog.objects.all().delete()
    events = [
        EventLog(stream="s", seq=n, time=NOW, type="t", data={"n": [n, None]}) for n in (1, 2, 3)
    ]
    with CaptureQueriesContext(connection) as queries:
        rows_insert(events)
        rows_insert([])
    assert len(queries) == 1
    assert [(row.seq, row.data) for row in EventLog.objects.order_by("pk")] == [
        (1, {"n": [1, None]}),
        (2, {"n": [2, None]}),
        (3, {"n": [3, None]}),
    ]


def test_what_the_database_refuses_is_refused(sample: Any) -> None:
    candle = Candle.objects.first()
    assert candle is not None
    candle.high = candle.low / 2
    with pytest.raises(DatabaseError):
        rows_update([candle], ("high",))
