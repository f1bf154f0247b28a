"""What the API answers, held to the schema that it serves."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from django.core.management import call_command
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from sep_engine.execution.states import OrderState
from webapp.trading.api.rendering import dumps
from webapp.trading.models import (
    AnalysisJob,
    BrokerAccount,
    BrokerFact,
    EventLog,
    Feed,
    Fill,
    Order,
    PerformanceSnapshot,
    Position,
    Signal,
)

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MARKET_TIME = datetime(2017, 5, 1, 10, tzinfo=UTC)
QUOTE = {
    "time": "2017-05-01T10:00:00Z",
    "bid": "1.08987",
    "ask": "1.09000",
    "mid": "1.089935",
    "assumed_spread": True,
}
BAR = {
    "start": "2017-05-01T09:00:00Z",
    "open": "1.08900",
    "high": "1.09100",
    "low": "1.08800",
    "close": "1.09000",
    "complete": True,
}


@pytest.fixture
def traded(sample: Feed) -> Order:
    """A signal, its order, its fill and an open position of 1,000 at 1.08500."""
    account, instrument = BrokerAccount.objects.get(), sample.instrument
    strategy = account.strategies.get()
    signal = Signal.objects.create(
        strategy=strategy,
        instrument=instrument,
        time=MARKET_TIME,
        direction=1,
        price=Decimal("1.085"),
        metrics={"coherence": 0.5, "lambda": None},
        percentiles={"coherence": 91.25},
        inputs={"window": 64, "encoding": "moves"},
        decision_reason="coherence percentile 91.2 within 80..100",
    )
    order = Order.objects.create(
        client_id="sep-test-1",
        account=account,
        instrument=instrument,
        strategy=strategy,
        signal=signal,
        origin="RULE",
        type="MARKET",
        units=Decimal(1000),
        stop_loss=Decimal("1.082"),
        checks=[{"rule": "size", "limit": "10000", "value": "1000", "passed": True}],
        market_time=MARKET_TIME,
    )
    for state in ("QUEUED", "SENDING", "FILLED"):
        filled = state == "FILLED"
        Order.objects.filter(pk=order.pk).update(
            state=state,
            filled_units=Decimal(1000 if filled else 0),
            average_price=Decimal("1.085") if filled else None,
            venue_order_id="7",
        )
    signal.order = order
    signal.save()
    Fill.objects.create(
        order=order,
        account=account,
        transaction_id=8,
        units=Decimal(1000),
        price=Decimal("1.085"),
        realised_pl=Decimal(0),
        half_spread_cost=Decimal("0.065"),
        assumed_spread=True,
        time=MARKET_TIME,
    )
    BrokerFact.objects.create(
        account=account,
        transaction_id=8,
        kind="ORDER_FILL",
        raw={"client_id": "sep-test-1", "price": "1.085"},
        applied_at=NOW,
    )
    EventLog.objects.create(
        stream="orders",
        seq=1,
        time=NOW,
        type="order_update",
        data={"id": order.pk, "state": "FILLED"},
        subject=order.pk,
        previous_hash="",
        hash="0" * 64,
    )
    Position.objects.create(
        account=account,
        instrument=instrument,
        units=Decimal(1000),
        average_price=Decimal("1.085"),
        stop_loss=Decimal("1.082"),
        opened_at=MARKET_TIME,
    )
    PerformanceSnapshot.objects.create(
        account=account,
        time=MARKET_TIME,
        equity=Decimal("100010"),
        balance=Decimal("100000"),
        realised_pl=Decimal(0),
        open_pl=Decimal(10),
        drawdown=Decimal(0),
        trades=0,
        wins=0,
    )
    return order


@pytest.fixture
def quoted(valkey: Any) -> None:
    """The trader has just published bid 1.08987, ask 1.09000."""
    envelope = {
        "stream": "market.EUR_USD",
        "seq": 1,
        "time": timezone.now().isoformat(),
        "type": "market_update",
        "data": {"instrument": "EUR_USD", "quote": QUOTE, "bar": BAR, "qfh": None},
    }
    valkey.xadd("sep:events:market.EUR_USD", {"envelope": dumps(envelope)}, id="1-0")


def response_schema(path: str) -> dict[str, Any]:
    document = SchemaGenerator().get_schema(request=None, public=True)
    answer = document["paths"][path]["get"]["responses"]["200"]
    return {
        **answer["content"]["application/json"]["schema"],
        "components": document["components"],
    }


READS = {
    "/api/health": "/api/health",
    "/api/status": "/api/status",
    "/api/system-status": "/api/status",
    "/api/system/info": "/api/system/info",
    "/api/instruments": "/api/instruments",
    "/api/market-data": "/api/market-data",
    "/api/candles/EUR_USD?limit=3": "/api/candles/{instrument}",
    "/api/qfh/EUR_USD?limit=3": "/api/qfh/{instrument}",
    "/api/trading-signals": "/api/trading-signals",
    "/api/orders?state=FILLED&instrument=EUR_USD": "/api/orders",
    "/api/positions": "/api/positions",
    "/api/performance/current": "/api/performance/current",
    "/api/performance/history": "/api/performance/history",
    "/api/config/get": "/api/config/get",
    "/api/config/history": "/api/config/history",
    "/api/feed": "/api/feed",
}


@pytest.mark.parametrize("address", READS)
def test_every_read_answers_what_the_schema_says(
    api: Any, traded: Order, quoted: None, address: str
) -> None:
    response = api.get(address)
    assert response.status_code == 200, response.content
    validator = jsonschema.Draft202012Validator(
        response_schema(READS[address]), format_checker=jsonschema.FormatChecker()
    )
    validator.validate(json.loads(response.content))


def test_one_order_comes_with_checks_events_and_facts(api: Any, traded: Order) -> None:
    body = api.get(f"/api/orders/{traded.pk}").json()
    jsonschema.Draft202012Validator(response_schema("/api/orders/{order_id}")).validate(body)
    assert body["state"] == "FILLED"
    assert body["average_price"] == "1.08500"
    assert body["fills"][0]["price"] == "1.08500"
    assert body["checks"] == [{"rule": "size", "limit": "10000", "value": "1000", "passed": True}]
    assert [event["state"] for event in body["events"]] == ["FILLED"]
    assert [fact["kind"] for fact in body["facts"]] == ["ORDER_FILL"]


def test_one_signal_comes_with_its_inputs(api: Any, traded: Order) -> None:
    body = api.get(f"/api/trading-signals/{traded.signal_id}").json()
    jsonschema.Draft202012Validator(response_schema("/api/trading-signals/{signal_id}")).validate(
        body
    )
    assert body["direction"] == "BUY"
    assert body["metrics"] == {"coherence": 0.5, "lambda": None}
    assert body["inputs"] == {"window": 64, "encoding": "moves"}
    assert body["order_id"] == traded.pk


def test_a_job_answers_what_the_schema_says(api: Any, sample: Feed) -> None:
    job = AnalysisJob.objects.create(instrument=sample.instrument)
    body = api.get(f"/api/jobs/{job.pk}").json()
    jsonschema.Draft202012Validator(response_schema("/api/jobs/{job_id}")).validate(body)


def test_an_open_position_is_valued_at_the_price_that_it_could_be_closed_at(
    api: Any, traded: Order, quoted: None
) -> None:
    (position,) = api.get("/api/positions").json()["results"]
    # A long position sells at the bid: (1.08987 - 1.08500) * 1000 = 4.87.
    assert position["mark"] == "1.08987"
    assert position["open_pl"] == "4.87"
    performance = api.get("/api/performance/current").json()
    # 100,000 at the start, nothing realised.
    assert performance["balance"] == "100000.00"
    assert performance["equity"] == "100004.87"
    # Nothing was realised today.
    assert performance["day_pl"] == "4.87"
    # The snapshot's equity of 100,010 is the peak: 100,010 - 100,004.87 = 5.13.
    assert performance["drawdown"] == "5.13"
    assert performance["win_rate"] is None
    assert performance["sharpe"] is None


def test_a_day_begins_at_17_00_in_new_york(api: Any, traded: Order, quoted: None) -> None:
    # The quote is of 10:00 UTC on 1 May; that day began on 30 April at 21:00 UTC.
    for number, (hour, earned) in enumerate(((20, "7"), (22, "2")), start=9):
        Fill.objects.create(
            order=traded,
            account=traded.account,
            transaction_id=number,
            units=Decimal(-1),
            price=Decimal("1.085"),
            realised_pl=Decimal(earned),
            half_spread_cost=Decimal(0),
            assumed_spread=True,
            time=datetime(2017, 4, 30, hour, tzinfo=UTC),
        )
    # 2.00 of today, and 4.87 that the position would make.
    assert api.get("/api/performance/current").json()["day_pl"] == "6.87"


def test_without_a_quote_nothing_is_made_up(api: Any, traded: Order, valkey: Any) -> None:
    (position,) = api.get("/api/positions").json()["results"]
    assert (position["mark"], position["open_pl"], position["age_s"]) == (None, None, None)
    performance = api.get("/api/performance/current").json()
    assert (performance["equity"], performance["open_pl"]) == (None, None)
    assert performance["day_pl"] is None
    assert performance["balance"] == "100000.00"
    (market,) = api.get("/api/market-data").json()["instruments"]
    assert market["quote"] is None


def test_candles_come_oldest_first_and_can_be_read_backwards(api: Any, sample: Feed) -> None:
    newest = api.get("/api/candles/EUR_USD?limit=2").json()
    assert newest["feed_cursor"] == 2000
    assert newest["price_side"] == "ask"
    first, second = (candle["start"] for candle in newest["candles"])
    assert first < second
    before = api.get(f"/api/candles/EUR_USD?limit=1&before={first}").json()
    (older,) = before["candles"]
    hour = timedelta(hours=1)
    assert datetime.fromisoformat(first) - datetime.fromisoformat(older["start"]) >= hour


def test_metrics_use_the_past_only(api: Any, sample: Feed) -> None:
    """The newest point of a shorter history equals that point of the longer one."""
    whole = api.get("/api/qfh/EUR_USD?limit=50").json()["points"]
    newest = sample.instrument.candles.order_by("-start").first()
    newest.delete()
    shorter = api.get("/api/qfh/EUR_USD?limit=50").json()["points"]
    assert shorter[-1] == whole[-2]
    assert whole[-1]["metrics"]["coherence"] is not None
    assert 0 <= whole[-1]["percentiles"]["coherence"] <= 100


def test_metrics_can_be_read_backwards_and_are_the_same_on_either_page(
    api: Any, sample: Feed
) -> None:
    whole = api.get("/api/qfh/EUR_USD?limit=30").json()["points"]
    first = whole[10]["time"]
    older = api.get(f"/api/qfh/EUR_USD?limit=10&before={first}").json()
    assert older["points"] == whole[:10]
    # Nothing is before the oldest candle.
    start = sample.instrument.candles.order_by("start").first().start
    none = api.get("/api/qfh/EUR_USD", {"before": start.isoformat()}).json()
    assert (none["points"], none["as_of"]) == ([], None)


def test_metrics_are_those_of_the_granularity_asked_for(api: Any, sample: Feed) -> None:
    assert api.get("/api/qfh/EUR_USD?granularity=M1").json()["points"] == []


def test_the_state_shown_is_the_strictest_of_all_scopes(api: Any, sample: Feed) -> None:
    assert api.get("/api/status").json()["trading"]["state"] == "ACTIVE"
    body = {"state": "HALTED", "scope": "STRATEGY", "reason": "looks wrong"}
    assert api.post("/api/trading/state", body, format="json").status_code == 200
    trading = api.get("/api/status").json()["trading"]
    assert (trading["state"], trading["reason"]) == ("HALTED", "looks wrong")
    assert trading["account"]["state"] == "ACTIVE"
    assert trading["strategy"]["changed_by"] == "alice"


def test_without_stored_states_the_page_says_halted(api: Any) -> None:
    assert api.get("/api/status").json()["trading"]["state"] == "HALTED"


def test_health_needs_no_login_and_names_what_is_down(client: Any, valkey: Any, db: None) -> None:
    body = client.get("/api/health").json()
    assert body["status"] == "degraded"
    assert {process["name"]: process["status"] for process in body["processes"]} == {
        "web": "down",
        "trader": "down",
        "relay": "down",
        "worker": "down",
        "beat": "down",
    }
    assert body["database"]["status"] == "up"
    assert body["valkey"]["status"] == "up"


def test_metrics_for_prometheus_name_every_process(client: Any, valkey: Any, db: None) -> None:
    lines = client.get("/metrics").content.decode().splitlines()
    assert "sep_database_up 1" in lines
    assert 'sep_process_up{process="trader"} 0' in lines


def test_the_schema_is_valid_without_a_warning() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null")


def test_the_schema_knows_every_order_state(api: Any) -> None:
    document = api.get("/api/schema").json()
    assert document["openapi"].startswith("3.1")
    assert document["components"]["schemas"]["OrderState"]["enum"] == list(OrderState)
