"""Changing orders, closing in part, and the comparisons of the books, through the API."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from webapp.trading.brokers.base import AccountReport, VenueOrder
from webapp.trading.models import BrokerAccount, Feed, Order, Position, Reconciliation, Trade
from webapp.trading.services.reconciliation import books_compare, reconciliation_record

pytestmark = pytest.mark.django_db


@pytest.fixture
def working(sample: Feed, valkey: Any) -> Order:
    """A limit order that works at the venue."""
    account = BrokerAccount.objects.get()
    return Order.objects.create(
        client_id="sep-1",
        account=account,
        instrument=sample.instrument,
        origin="EXTERNAL",
        type="LIMIT",
        units=Decimal(-1000),
        price=Decimal("1.2"),
        stop_loss=Decimal("1.25"),
        time_in_force="GTC",
        state="ACCEPTED",
        venue_order_id="17",
    )


def change(api: Any, order: Order, body: dict[str, Any], key: str = "k") -> Any:
    return api.patch(
        f"/api/orders/{order.pk}", body, format="json", headers={"Idempotency-Key": key}
    )


def test_a_change_is_an_intent_in_the_place_of_the_order(api: Any, working: Order) -> None:
    response = change(api, working, {"price": "1.21", "stop_loss": None})
    assert response.status_code == 202
    successor = Order.objects.get(replaces=working)
    assert response.json()["id"] == successor.pk
    assert response.json()["replaces_id"] == working.pk
    assert (successor.state, successor.units, successor.price) == (
        "CREATED",
        -1000,
        Decimal("1.21"),
    )
    assert (successor.stop_loss, successor.origin) == (None, "PERSON")
    working.refresh_from_db()
    assert working.state == "ACCEPTED"
    # The same key is the same change; another one has to wait.
    assert change(api, working, {"price": "1.21", "stop_loss": None}).json()["id"] == successor.pk
    again = change(api, working, {"price": "1.22"}, key="k2")
    assert again.status_code == 409
    assert again.json()["message"] == "the order is being changed already"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"state": "FILLED"}, "state"),
        ({"price": "-1"}, "price"),
        ({"price": "1.000001"}, "price"),
        ({"time_in_force": "GTD"}, "good_until"),
        ({"trailing_distance": "0"}, "trailing_distance"),
        # It sells 1,000: with these units it would buy at 1.2.
        ({"units": "500"}, "units"),
        ({"units": "0"}, "units"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_by_field(
    api: Any, working: Order, body: dict[str, Any], field: str
) -> None:
    response = change(api, working, body)
    assert response.status_code == 400
    assert list(response.json()["fields"]) == ([field] if field else [])
    assert not Order.objects.filter(replaces=working).exists()


def test_an_order_that_does_not_work_cannot_be_changed(api: Any, working: Order) -> None:
    working.cancel_requested_at = timezone.now()
    working.save()
    assert change(api, working, {"price": "1.21"}).status_code == 409


def test_a_part_of_a_position_is_closed(api: Any, sample: Feed, valkey: Any) -> None:
    account = BrokerAccount.objects.get()
    Position.objects.create(
        account=account,
        instrument=sample.instrument,
        units=Decimal(-1000),
        average_price=Decimal("1.1"),
    )
    response = close(api, "positions/EUR_USD", {"units": "400"}, "a")
    assert response.status_code == 202
    order = Order.objects.get()
    assert (order.units, order.reduce_only, order.type) == (400, True, "MARKET")
    # It is short: who wants a long one closed has not looked.
    assert close(api, "positions/EUR_USD", {"side": "LONG"}, "c").status_code == 404
    for units in ("1001", "0", "-1"):
        refused = close(api, "positions/EUR_USD", {"units": units}, "b")
        assert refused.status_code == 400
        assert "at most 1000" in refused.json()["fields"]["units"][0]


def test_a_repeated_close_whose_answer_was_lost_closes_nothing_more(
    api: Any, sample: Feed, valkey: Any
) -> None:
    account = BrokerAccount.objects.get()
    BrokerAccount.objects.update(kind="oanda-local")
    held = {"account": account, "instrument": sample.instrument, "units": Decimal(1000)}
    position = Position.objects.create(**held, average_price=Decimal("1.1"))
    trade = Trade.objects.create(
        **held,
        venue_trade_id="41",
        opened_units=Decimal(1000),
        price=Decimal("1.1"),
        opened_at=timezone.now(),
    )
    first = [
        close(api, "positions/EUR_USD", {"units": "400"}, "a").json()["id"],
        close(api, "trades/41", {"units": "400"}, "b").json()["id"],
    ]
    # Both were filled meanwhile, and so was all that was left.
    Position.objects.filter(pk=position.pk).update(units=0, average_price=None)
    Trade.objects.filter(pk=trade.pk).update(units=0)
    again = [
        close(api, "positions/EUR_USD", {"units": "400"}, "a"),
        close(api, "trades/41", {"units": "400"}, "b"),
    ]
    assert [one.status_code for one in again] == [202, 202]
    assert [one.json()["id"] for one in again] == first
    assert Order.objects.count() == 2
    for path, key in (("positions/EUR_USD", "a"), ("trades/41", "b")):
        other = close(api, path, {"units": "300"}, key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        unnamed = api.post(f"/api/{path}/close", {"units": "400"}, format="json")
        assert "Idempotency-Key" in unnamed.json()["fields"]


def close(api: Any, path: str, body: dict[str, Any], key: str) -> Any:
    headers = {"Idempotency-Key": key}
    return api.post(f"/api/{path}/close", body, format="json", headers=headers)


def test_trades_are_listed_and_closed_by_their_venues_id(
    api: Any, sample: Feed, valkey: Any
) -> None:
    account = BrokerAccount.objects.get()
    BrokerAccount.objects.update(kind="oanda-local")
    for name, units in (("41", 500), ("42", 0)):
        Trade.objects.create(
            account=account,
            instrument=sample.instrument,
            venue_trade_id=name,
            opened_units=Decimal(1000),
            units=Decimal(units),
            price=Decimal("1.1"),
            opened_at=timezone.now(),
        )
    listed = api.get("/api/trades").json()["results"]
    assert [(one["id"], one["opened_units"], one["units"]) for one in listed] == [
        ("41", "1000", "500")
    ]
    closed = close(api, "trades/41", {"units": "200"}, "a")
    assert closed.status_code == 202
    assert (closed.json()["units"], closed.json()["trade_id"]) == ("-200", "41")
    assert close(api, "trades/41", {"units": "501"}, "b").status_code == 400
    assert close(api, "trades/42", {}, "b").status_code == 409
    assert close(api, "trades/43", {}, "b").status_code == 404


def test_the_venues_terms_are_told(api: Any, sample: Feed) -> None:
    body = api.get("/api/broker").json()
    assert (body["kind"], body["trades"], body["replaces"]) == ("paper", False, True)
    times = {one["type"]: one["times_in_force"] for one in body["types"]}
    assert times["MARKET"] == ["FOK", "IOC"]
    assert times["TRAILING_STOP_LOSS"] == ["GTC", "GTD", "GFD"]


def test_a_comparison_shows_both_sides_row_by_row(api: Any, working: Order) -> None:
    account = BrokerAccount.objects.get()
    report = AccountReport(
        last_transaction_id=0,
        balance=Decimal(99_990),
        positions={"EUR_USD": Decimal(300)},
        # The venue's id says that it is ours, whatever name it bears there.
        open_orders=(VenueOrder("17", "renamed", "EUR_USD", Decimal(-1000), True),),
    )
    started = timezone.now()
    run = reconciliation_record(
        account=account,
        cause="minute",
        started_at=started,
        now=started + timedelta(milliseconds=40),
        comparison=books_compare(account, report),
        done="the account was halted",
    )
    (listed,) = api.get("/api/reconciliations").json()["results"]
    assert (listed["outcome"], listed["took_ms"]) == ("DIFFERED", 40)
    assert listed["differences"] == [
        {"what": "position", "key": "EUR_USD", "local": None, "reported": "300"}
    ]
    rows = api.get(f"/api/reconciliations/{run.pk}").json()["rows"]
    assert [(row["what"], row["local"], row["reported"], row["same"]) for row in rows] == [
        ("transaction", "0", "0", True),
        ("balance", "100000.00", "99990.00", False),
        ("position", None, "300", False),
        ("order", "-1000", "-1000", True),
    ]
    assert (rows[3]["order_id"], rows[3]["origin"]) == (working.pk, "EXTERNAL")


def test_a_venue_that_was_not_reached_is_told_as_that(api: Any, sample: Feed) -> None:
    run = reconciliation_record(
        account=BrokerAccount.objects.get(),
        cause="start",
        started_at=timezone.now(),
        now=timezone.now(),
        comparison=None,
        done="the venue was not reached: ConnectError",
    )
    assert api.get(f"/api/reconciliations/{run.pk}").json()["rows"] == []
    assert Reconciliation.objects.get().outcome == "UNREACHED"
