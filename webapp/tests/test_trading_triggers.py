"""The database holds the table of order states and the append-only tables by itself."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from sep_engine.execution.states import TRANSITIONS, OrderState
from webapp.tests.conftest import eur_usd
from webapp.trading.models import BrokerAccount, BrokerFact, EventLog, Order, Trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def order_fields() -> dict[str, Any]:
    account = BrokerAccount.objects.create(name="Paper", opening_balance=Decimal("100000"))
    instrument = eur_usd()
    return {
        "account": account,
        "instrument": instrument,
        "origin": "PERSON",
        "type": "MARKET",
        "units": Decimal("1000"),
    }


def _force(order: Order, state: OrderState) -> None:
    """Put the row into a state without asking the trigger, to try the change that follows."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM trading_order WHERE id = %s", [order.pk])
    order.state = state
    order.origin = "EXTERNAL"  # only rows told by the venue may start in any state
    order.denied_rule = "size" if state == OrderState.DENIED else ""
    order.average_price = Decimal("1.1")
    order.save(force_insert=True)


def test_every_pair_of_states_is_held_by_the_database(order_fields: dict[str, Any]) -> None:
    order = Order.objects.create(client_id="pair", **order_fields)
    for old in OrderState:
        for new in OrderState:
            _force(order, old)
            allowed = new == old or new in TRANSITIONS[old]
            rule = "size" if new == OrderState.DENIED else ""
            try:
                with transaction.atomic():
                    Order.objects.filter(pk=order.pk).update(state=new, denied_rule=rule)
                changed = True
            except DatabaseError:
                changed = False
            assert changed == allowed, f"{old} -> {new}"


def test_an_order_of_ours_starts_as_an_intent(order_fields: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError, match="an order starts as CREATED"):
        Order.objects.create(client_id="late", state="ACCEPTED", **order_fields)


def test_what_an_order_asks_for_never_changes(order_fields: dict[str, Any]) -> None:
    order = Order.objects.create(client_id="fixed", **order_fields)
    with pytest.raises(DatabaseError, match="never changes"):
        Order.objects.filter(pk=order.pk).update(units=Decimal("2000"))


def test_events_and_facts_are_append_only(order_fields: dict[str, Any]) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    event = EventLog.objects.create(
        stream="orders", seq=1, time=now, type="x", data={}, previous_hash="", hash="h"
    )
    fact = BrokerFact.objects.create(
        account=order_fields["account"], transaction_id=1, kind="FILL", raw={}, applied_at=now
    )
    EventLog.objects.filter(pk=event.pk).update(published_at=now)  # the relay's mark is allowed
    with pytest.raises(DatabaseError, match="an event is never changed"), transaction.atomic():
        EventLog.objects.filter(pk=event.pk).update(data={"x": 1})
    with pytest.raises(DatabaseError, match="a fact is never changed"), transaction.atomic():
        BrokerFact.objects.filter(pk=fact.pk).update(kind="ACCEPTED")


def test_a_longer_amount_than_sqlite_keeps_is_refused(order_fields: dict[str, Any]) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL stores all 28 digits")
    # 1234567.123456789 has 16 significant digits; binary64 keeps 15.
    with pytest.raises(ValueError, match="opening_balance must fit 15 significant digits"):
        BrokerAccount.objects.create(name="Long", opening_balance=Decimal("1234567.123456789"))


def test_a_trial_is_neither_changed_nor_deleted() -> None:
    Trial.objects.create(
        seq=1,
        run_address="a" * 64,
        data_sha256="b" * 64,
        look_sha256="c" * 64,
        configuration_sha256="d" * 64,
        configuration="{}",
        code_version="1",
        tried_by="alice",
        tried_at="2026-11-21T12:00:00+00:00",
        previous_sha256="0" * 64,
        sha256="e" * 64,
    )
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Trial.objects.update(sharpe=3.0)
    with pytest.raises(DatabaseError, match="never deleted"), transaction.atomic():
        Trial.objects.all().delete()
