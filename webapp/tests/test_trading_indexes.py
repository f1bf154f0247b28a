"""What the trader asks for each order is found by an index, however many orders have ended."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sep_engine.execution.states import AT_VENUE, OrderState
from webapp.tests.test_trading_trader import sample_account
from webapp.trading.models import BrokerAccount, Order, Position
from webapp.trading.selectors.stops import stops_of
from webapp.trading.trader.recent import like_order_age_s

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by what is there"),
]


def open_ones(account: BrokerAccount) -> Any:
    return list(Order.objects.filter(account=account, state__in=sorted(AT_VENUE)))


def doubtful(account: BrokerAccount) -> Any:
    return list(Order.objects.filter(account=account, state=OrderState.UNKNOWN).order_by("pk"))


def stops(account: BrokerAccount) -> Any:
    instrument = account.strategies.get().instrument
    return stops_of(Position(account=account, instrument=instrument, units=1))


def told(account: BrokerAccount) -> Any:
    return list(Order.objects.filter(account=account, venue_order_id__in=["1", "2"]).order_by("pk"))


def alike(account: BrokerAccount) -> Any:
    order = Order(
        pk=1,
        account=account,
        instrument=account.strategies.get().instrument,
        units=Decimal(1),
        created_at=timezone.now(),
    )
    return like_order_age_s(order, within_s=Decimal(60))


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (open_ones, "order_by_account_and_state (account_id=? AND state=?)"),
        (doubtful, "order_by_account_and_state (account_id=? AND state=?)"),
        (stops, "order_by_account_and_state (account_id=? AND state=?)"),
        (told, "order_by_venue_id (account_id=? AND venue_order_id=?)"),
        (alike, "order_by_account_and_time (account_id=? AND created_at>? AND created_at<?)"),
    ],
)
def test_orders_that_ended_are_not_read(
    sample: Any, ask: Callable[[BrokerAccount], Any], index: str
) -> None:
    account = sample_account()
    with CaptureQueriesContext(connection) as seen:
        ask(account)
    sql = seen.captured_queries[-1]["sql"]
    with connection.cursor() as cursor:
        plan = [row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert any(index in line for line in plan), plan
    # The newest of those alike is met first: nothing is sorted to find it.
    assert ask is not alike or not any("TEMP B-TREE" in line for line in plan), plan
