"""Intents, switches and their errors."""

import re
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.core.signals import request_finished
from django.db import connection
from django.test.utils import CaptureQueriesContext

from webapp.config.celery import app
from webapp.trading.models import AnalysisJob, ConfigChange, EventLog, Feed, Order, RiskLimit
from webapp.trading.services import jobs
from webapp.trading.tasks import analyze

pytestmark = pytest.mark.django_db

ORDER = {"instrument": "EUR_USD", "units": "1000"}


def place(api: Any, body: dict[str, Any], key: str | None = "key-1", query: str = "") -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post(f"/api/place-order{query}", body, format="json", headers=headers)


def test_an_intent_is_recorded_and_not_judged_here(api: Any, sample: Feed, valkey: Any) -> None:
    response = place(api, ORDER)
    assert response.status_code == 202
    order = Order.objects.get()
    assert (order.state, order.units, order.origin) == ("CREATED", Decimal(1000), "PERSON")
    assert order.created_by.username == "alice"
    assert response.json()["id"] == order.pk
    event = EventLog.objects.get(stream="orders")
    assert event.data == api.get("/api/orders").json()["results"][0]


def test_an_intent_asks_the_database_for_little(api: Any, sample: Feed, valkey: Any) -> None:
    place(api, ORDER)
    with CaptureQueriesContext(connection) as seen:
        place(api, ORDER, "key-2")
    asked = [re.sub(r'"|FOR UPDATE', "", each["sql"]) for each in seen.captured_queries]
    tables = [re.match(r"(SELECT|INSERT|UPDATE)\b.*?\b(\w+_\w+)", sql) for sql in asked]
    # The user, whose session is in the cache; what the order names; the order; its event.
    assert [f"{found[1]} {found[2]}" for found in tables if found] == [
        "SELECT auth_user",
        "SELECT trading_instrument",
        "SELECT trading_brokeraccount",
        "INSERT trading_order",
        "SELECT trading_streamhead",
        "INSERT trading_eventlog",
        "UPDATE trading_streamhead",
    ]


def test_the_end_of_a_request_starts_no_event_loop(db: None) -> None:
    _, asynchronous = request_finished._live_receivers(None)
    assert asynchronous == []


def test_the_same_key_gives_the_same_order(api: Any, sample: Feed, valkey: Any) -> None:
    first, second = place(api, ORDER).json(), place(api, ORDER).json()
    assert first["id"] == second["id"]
    assert Order.objects.count() == 1


def test_the_same_key_for_another_order_is_refused(api: Any, sample: Feed, valkey: Any) -> None:
    place(api, ORDER)
    response = place(api, ORDER | {"units": "-1000"})
    assert response.status_code == 422
    assert response.json()["code"] == "idempotency_key_reused"
    assert Order.objects.count() == 1


def test_waiting_without_a_trader_answers_the_order_as_it_is(
    api: Any, sample: Feed, valkey: Any
) -> None:
    response = place(api, ORDER, query="?wait=0.2")
    assert response.status_code == 202
    assert response.json()["state"] == "CREATED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"units": "1000"}, "instrument"),
        (ORDER | {"instrument": "XXX_YYY"}, "instrument"),
        (ORDER | {"units": 1000}, "units"),
        (ORDER | {"units": "0"}, "units"),
        (ORDER | {"units": "1e3"}, "units"),
        (ORDER | {"units": "NaN"}, "units"),
        (ORDER | {"units": "0.5"}, "units"),
        (ORDER | {"units": "1234567890123.4567"}, "units"),
        (ORDER | {"price": "1.1"}, "price"),
        (ORDER | {"type": "LIMIT"}, "price"),
        (ORDER | {"type": "LIMIT", "price": "1.000001"}, "price"),
        (ORDER | {"type": "FIXED_PRICE", "price": "1.1"}, "type"),
        (ORDER | {"time_in_force": "GTC"}, "time_in_force"),
        (ORDER | {"type": "LIMIT", "price": "1.1", "time_in_force": "GTD"}, "good_until"),
        (ORDER | {"type": "TRAILING_STOP_LOSS"}, "trailing_distance"),
        (ORDER | {"position_fill": "MAYBE"}, "position_fill"),
        (ORDER | {"trade_id": "7"}, "trade_id"),
        (ORDER | {"stop_loss": "-1"}, "stop_loss"),
        (ORDER | {"state": "FILLED"}, "state"),
        (ORDER | {"account": 1}, "account"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_by_field(
    api: Any, sample: Feed, valkey: Any, body: dict[str, Any], field: str
) -> None:
    response = place(api, body)
    assert response.status_code == 400
    assert set(response.json()) == {"code", "message", "fields"}
    assert list(response.json()["fields"]) == [field]
    assert not Order.objects.exists()


@pytest.mark.parametrize("key", [None, "", "with space", "x" * 129])
def test_an_order_needs_a_key(api: Any, sample: Feed, valkey: Any, key: str | None) -> None:
    response = place(api, ORDER, key)
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["fields"]


@pytest.mark.parametrize("body", ["[]", "{", '{"units": NaN}', "1", ""])
def test_a_body_that_is_no_json_object_is_refused(api: Any, sample: Feed, body: str) -> None:
    response = api.post(
        "/api/place-order",
        body,
        content_type="application/json",
        headers={"Idempotency-Key": "k"},
    )
    assert response.status_code == 400


def test_another_content_type_is_refused(api: Any, sample: Feed) -> None:
    response = api.post(
        "/api/place-order", "units=1", content_type="text/plain", headers={"Idempotency-Key": "k"}
    )
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"


def test_cancelling_is_an_intent_too(api: Any, sample: Feed, valkey: Any) -> None:
    order_id = place(api, ORDER).json()["id"]
    assert api.delete(f"/api/orders/{order_id}").status_code == 202
    assert Order.objects.get().cancel_requested_at is not None


def test_an_order_that_has_ended_cannot_be_cancelled(api: Any, sample: Feed, valkey: Any) -> None:
    order_id = place(api, ORDER).json()["id"]
    Order.objects.update(state="DENIED", denied_rule="size", denied_reason="too large")
    response = api.delete(f"/api/orders/{order_id}")
    assert response.status_code == 409
    assert response.json()["code"] == "conflict"


def test_closing_a_position_that_is_not_there_says_so(api: Any, sample: Feed) -> None:
    refused = api.post("/api/positions/EUR_USD/close", headers={"Idempotency-Key": "k"})
    assert refused.status_code == 404


def test_close_everything_withdraws_and_reduces(api: Any, sample: Feed, valkey: Any) -> None:
    place(api, ORDER)
    response = api.post("/api/trading/close-everything", {"reason": "enough"}, format="json")
    assert response.status_code == 202
    assert response.json() == {"orders": []}
    assert Order.objects.get().cancel_requested_at is not None
    assert api.get("/api/status").json()["trading"]["state"] == "REDUCING"
    # It says what is left until nothing is.
    [closing] = api.get("/api/trading/close-everything").json()["closings"]
    assert (closing["reason"], closing["asked_by"]) == ("enough", "alice")
    assert (closing["strategy"], closing["ended_at"], closing["ended_because"]) == (None, None, "")
    order = Order.objects.get()
    why = f"{order.state}, {order.cause}"
    assert closing["left"] == [
        {"what": "order", "name": str(order.pk), "units": ORDER["units"], "why": why}
    ]


def test_a_change_of_state_needs_a_reason(api: Any, sample: Feed) -> None:
    response = api.post("/api/trading/state", {"state": "HALTED"}, format="json")
    assert response.json()["fields"] == {"reason": ["This field is required."]}


def test_the_feed_takes_speed_and_pause(api: Any, sample: Feed, valkey: Any) -> None:
    response = api.post("/api/feed", {"bars_per_second": 5, "paused": True}, format="json")
    assert response.status_code == 200
    sample.refresh_from_db()
    assert (sample.bars_per_second, sample.paused) == (5.0, True)
    assert api.post("/api/feed", {}, format="json").status_code == 400
    assert api.post("/api/feed", {"bars_per_second": 0}, format="json").status_code == 400


def test_a_limit_is_changed_kept_and_taken_back(api: Any, sample: Feed, valkey: Any) -> None:
    key = "risk.order_units_max"
    body = {"key": key, "value": "5000"}
    assert api.post("/api/config/set", body, format="json").json() == body | {"version": 2}
    limit = RiskLimit.objects.get(name="order_units_max", active=True)
    assert (limit.value, limit.version) == (Decimal(5000), 2)
    changes = api.get(f"/api/config/history?key={key}").json()["results"]
    assert [(one["before"], one["after"], one["changed_by"]) for one in changes] == [
        ("10000", "5000", "alice"),
        (None, "10000", "system"),
    ]
    back = api.post("/api/config/rollback", {"key": key, "version": 1}, format="json")
    assert back.json() == {"key": key, "value": "10000", "version": 3}
    (entry,) = api.get(f"/api/config/get?key={key}").json()["entries"]
    assert entry == {"key": key, "value": "10000", "version": 3}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("risk.nothing", "1"),
        ("risk.order_units_max", "-1"),
        ("risk.order_units_max", "NaN"),
        ("risk.order_units_max", 5000),
        ("risk.order_units_max", "1" * 20),
    ],
)
def test_a_limit_that_breaks_its_rule_changes_nothing(
    api: Any, sample: Feed, key: str, value: Any
) -> None:
    response = api.post("/api/config/set", {"key": key, "value": value}, format="json")
    assert response.status_code == 400
    assert not ConfigChange.objects.exists()


def test_rolling_back_to_what_never_was_is_refused(api: Any, sample: Feed) -> None:
    body = {"key": "risk.order_units_max", "version": 9}
    response = api.post("/api/config/rollback", body, format="json")
    assert response.json()["fields"] == {"version": ["risk.order_units_max has no version 9"]}


@pytest.mark.django_db(transaction=True)
def test_an_analysis_is_queued_run_and_answered(api: Any, sample: Feed, valkey: Any) -> None:
    response = api.post("/api/analyze", {"instrument": "EUR_USD"}, format="json")
    assert response.status_code == 202
    job_id = response.json()["id"]
    # Celery's queue is a list in database 2 of the same server.
    valkey.select(2)
    assert valkey.llen("celery") == 1
    valkey.select(0)
    analyze(job_id)
    job = api.get(f"/api/jobs/{job_id}").json()
    assert (job["state"], job["progress"]) == ("DONE", 1.0)
    assert job["result"]["candles"] == 2000
    assert job["result"]["metrics"]["coherence"]["newest"] is not None
    shares = [
        event.data["progress"] for event in EventLog.objects.filter(stream="jobs").order_by("seq")
    ]
    assert shares == [0.0, 0.0, 0.3, 0.6, 0.8, 1.0]


def test_a_job_that_ran_is_not_run_again(sample: Feed, valkey: Any) -> None:
    job = AnalysisJob.objects.create(instrument=sample.instrument, state="DONE", progress=1.0)
    analyze(str(job.pk))
    assert not EventLog.objects.exists()


def test_a_job_that_cannot_be_done_says_why(sample: Feed, valkey: Any) -> None:
    sample.instrument.candles.all().delete()
    job = AnalysisJob.objects.create(instrument=sample.instrument)
    analyze(str(job.pk))
    job.refresh_from_db()
    assert job.state == "FAILED"
    assert job.error == "window 64 needs 65 candles, 0 are stored"


def test_with_valkey_down_a_job_is_refused_and_its_row_says_so(
    api: Any, sample: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens on port 1.
    options = app.conf.broker_transport_options
    nowhere = Celery("nowhere", broker="redis://127.0.0.1:1/0", broker_transport_options=options)
    monkeypatch.setattr(jobs, "app", nowhere)
    response = api.post("/api/analyze", {"instrument": "EUR_USD"}, format="json")
    assert response.status_code == 503
    assert AnalysisJob.objects.get().state == "FAILED"


def test_the_queue_is_bounded(api: Any, sample: Feed) -> None:
    AnalysisJob.objects.bulk_create(AnalysisJob(instrument=sample.instrument) for _ in range(20))
    response = api.post("/api/analyze", {"instrument": "EUR_USD"}, format="json")
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "10"


def test_a_body_over_the_limit_is_refused(api: Any, sample: Feed) -> None:
    body = b'{"reason": "' + b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b'"}'
    response = api.post("/api/trading/close-everything", body, content_type="application/json")
    assert response.status_code in (400, 413)
