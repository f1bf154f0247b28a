"""What reads answer: lists, changes, transactions, prices, candles, times."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sep_oanda_server.candles import Alignment, Candle, Ohlc
from sep_oanda_server.wire import read_time, time_text

Desk = Any


def test_orders_are_listed_newest_first_and_filtered(desk: Desk) -> None:
    for price in ("1.01", "1.02", "1.03"):
        desk.order(type="LIMIT", units="1", price=price)
    desk.send("PUT", "/orders/4/cancel")
    assert [one["id"] for one in desk.get("/orders")["orders"]] == ["5", "3"]
    assert [one["id"] for one in desk.get("/orders", state="CANCELLED")["orders"]] == ["4"]
    assert [one["id"] for one in desk.get("/orders", state="ALL", count="2")["orders"]] == [
        "5",
        "4",
    ]
    assert [one["id"] for one in desk.get("/orders", state="ALL", beforeID="4")["orders"]] == [
        "4",
        "3",
    ]
    assert [one["id"] for one in desk.get("/orders", ids="4,3")["orders"]] == ["4", "3"]
    assert desk.get("/orders", instrument="USD_JPY")["orders"] == []
    assert [one["id"] for one in desk.get("/pendingOrders")["orders"]] == ["5", "3"]
    assert desk.send("GET", "/orders", count="501").status == 400
    assert desk.send("GET", "/orders", state="SOME").status == 400


def test_an_absent_order_trade_position_or_transaction_is_a_404_without_a_transaction(
    desk: Desk,
) -> None:
    for path, code in (
        ("/orders/99", "NO_SUCH_ORDER"),
        ("/orders/@nobody", "NO_SUCH_ORDER"),
        ("/orders/x", "NO_SUCH_ORDER"),
        ("/trades/99", "NO_SUCH_TRADE"),
        ("/positions/EUR_USD", "NO_SUCH_POSITION"),
        ("/transactions/99", "NO_SUCH_TRANSACTION"),
    ):
        response = desk.send("GET", path)
        assert (response.status, response.body["errorCode"]) == (404, code)
        assert response.body["lastTransactionID"] == "2"


def test_changes_since_an_id_tell_what_happened(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000", stopLossOnFill={"price": "1.09"})
    desk.order(type="LIMIT", units="1", price="1.0")
    changes = desk.get("/changes", sinceTransactionID="2")
    happened = changes["changes"]
    assert [one["id"] for one in happened["ordersCreated"]] == ["3", "5", "6"]
    assert [one["id"] for one in happened["ordersFilled"]] == ["3"]
    assert [one["id"] for one in happened["tradesOpened"]] == ["4"]
    assert happened["tradesOpened"][0]["stopLossOrderID"] == "5"
    assert [one["instrument"] for one in happened["positions"]] == ["EUR_USD"]
    assert [one["id"] for one in happened["transactions"]] == ["3", "4", "5", "6"]
    # Bought at 1.10010, worth 1.10000: -0.00010 * 1,000 = -0.10 USD.
    assert changes["state"]["unrealizedPL"] == "-0.1000"
    assert changes["state"]["NAV"] == "99999.9000"
    assert changes["state"]["trades"][0]["unrealizedPL"] == "-0.1000"
    assert changes["lastTransactionID"] == "6"
    desk.send("PUT", "/trades/4/close", {"units": "ALL"})
    later = desk.get("/changes", sinceTransactionID="6")["changes"]
    assert [one["id"] for one in later["tradesClosed"]] == ["4"]
    assert [one["id"] for one in later["ordersCancelled"]] == ["5"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/changes", {"sinceTransactionID": "3"}, 416),
        ("/changes", {"sinceTransactionID": "2"}, 200),
        ("/changes", {}, 400),
        ("/transactions/sinceid", {"id": "3"}, 416),
        ("/transactions/sinceid", {"id": "-1"}, 400),
        ("/transactions/idrange", {"from": "2", "to": "1"}, 416),
        ("/transactions/idrange", {"from": "0", "to": "1"}, 416),
    ],
)
def test_ids_out_of_range_are_a_416(
    desk: Desk, path: str, query: dict[str, str], status: int
) -> None:
    assert desk.send("GET", path, **query).status == status


def test_transactions_can_be_read_by_id_range_and_type(desk: Desk) -> None:
    desk.order(type="MARKET", units="1")
    ids = lambda found: [one["id"] for one in found["transactions"]]  # noqa: E731
    assert ids(desk.get("/transactions/sinceid", id="2")) == ["3", "4"]
    assert ids(desk.get("/transactions/idrange", **{"from": "1", "to": "3"})) == ["1", "2", "3"]
    assert ids(desk.get("/transactions/sinceid", id="0", type="ORDER_FILL")) == ["4"]
    assert ids(desk.get("/transactions/sinceid", id="0", type="FUNDING")) == ["2"]
    assert ids(desk.get("/transactions/sinceid", id="0", type="ORDER")) == ["3", "4"]
    assert desk.get("/transactions/4")["transaction"]["type"] == "ORDER_FILL"
    pages = desk.get("/transactions", pageSize="3")
    assert pages["count"] == 4
    path = "http://localhost/v3/accounts/101-004-1435156-001/transactions/idrange"
    assert pages["pages"] == [f"{path}?from=1&to=3", f"{path}?from=4&to=4"]


def test_a_lagging_read_answers_from_the_past(desk: Desk) -> None:
    desk.later(10)
    desk.order(type="MARKET", units="1", clientExtensions={"id": "sep-1"})
    desk.later(0.3)
    assert desk.send("GET", "/orders/@sep-1", lag_s=0.5).status == 404
    assert desk.send("GET", "/transactions/sinceid", id="2", lag_s=0.5).body["transactions"] == []
    assert desk.send("GET", "/orders/@sep-1", lag_s=0.2).status == 200
    assert desk.send("GET", "/orders/@sep-1").status == 200


def test_finished_orders_can_be_hidden_from_look_ups_by_name(make_desk: Any) -> None:
    desk = make_desk(client_ids="open", lookup="pending")
    desk.order(type="MARKET", units="1", clientExtensions={"id": "sep-1"})
    assert desk.send("GET", "/orders/@sep-1").status == 404
    assert desk.get("/transactions/sinceid", id="2")["transactions"][0]["clientExtensions"] == {
        "id": "sep-1"
    }


def test_times_are_unix_where_the_client_asks(desk: Desk) -> None:
    desk.headers["accept-datetime-format"] = "UNIX"
    body = desk.order(type="LIMIT", units="1", price="1", timeInForce="GTD", gtdTime="1780406400.5")
    # 2026-06-02T12:00:00Z is 1780401600 s.
    assert body.body["orderCreateTransaction"]["time"] == "1780401600.000000000"
    assert body.body["orderCreateTransaction"]["gtdTime"] == "1780406400.500000000"


def test_prices_carry_conversion_and_units_available(desk: Desk) -> None:
    desk.quote("150.000", "150.020", "USD_JPY")
    body = desk.get("/pricing", instruments="EUR_USD,USD_JPY", includeHomeConversions="true")
    euro, yen = body["prices"]
    assert (euro["closeoutBid"], euro["closeoutAsk"]) == ("1.10000", "1.10010")
    assert euro["quoteHomeConversionFactors"] == {"positiveUnits": "1", "negativeUnits": "1"}
    # 100,000 / (1.10005 * 0.02) = 4,545,247.9 units.
    assert euro["unitsAvailable"]["default"] == {"long": "4545247", "short": "4545247"}
    # 1 / 150.02 and 1 / 150.00, to twelve decimals.
    assert yen["quoteHomeConversionFactors"] == {
        "positiveUnits": "0.006665777896",
        "negativeUnits": "0.006666666667",
    }
    assert {one["currency"] for one in body["homeConversions"]} == {"EUR", "USD", "JPY"}
    assert desk.get("/pricing", instruments="EUR_USD", since=time_text(desk.now_ns))["prices"] == []


def test_instruments_say_their_precision(desk: Desk) -> None:
    found = desk.get("/instruments", instruments="USD_JPY")["instruments"]
    assert [(one["name"], one["pipLocation"], one["displayPrecision"]) for one in found] == [
        ("USD_JPY", -2, 3)
    ]
    assert len(desk.get("/instruments")["instruments"]) == 10


def test_the_summary_values_what_is_held(desk: Desk) -> None:
    desk.order(type="MARKET", units="10000")
    account = desk.get("/summary")["account"]
    # Bought at 1.10010 and worth 1.10000: 1 USD is lost. The middle, 1.10005, times 10,000 is
    # 11,000.50, and 2 % of that 220.01 of 99,999: 0.22 %, half of which counts for the closeout.
    expected = {
        "unrealizedPL": "-1.0000",
        "NAV": "99999.0000",
        "marginUsed": "220.0100",
        "marginAvailable": "99778.9900",
        "positionValue": "11000.5000",
        "marginCloseoutUnrealizedPL": "-1.0000",
        "marginCloseoutNAV": "99999.0000",
        "marginCloseoutMarginUsed": "220.0100",
        "marginCloseoutPercent": "0.00110",
        "marginCloseoutPositionValue": "11000.5000",
        "withdrawalLimit": "99778.9900",
        "marginCallMarginUsed": "220.0100",
        "marginCallPercent": "0.00220",
    }
    assert {name: account[name] for name in expected} == expected


def test_the_account_can_be_configured(desk: Desk) -> None:
    changed = desk.send("PATCH", "/configuration", {"alias": "mine", "marginRate": "0.05"})
    assert changed.body["clientConfigureTransaction"]["marginRate"] == "0.05"
    account = desk.get("/summary")["account"]
    assert (account["alias"], account["marginRate"]) == ("mine", "0.05")
    refused = desk.send("PATCH", "/configuration", {"marginRate": "2"})
    assert refused.body["errorCode"] == "MARGIN_RATE_INVALID"


# -- candles -----------------------------------------------------------------------------------


def flat(start: str, price: str) -> Candle:
    bid, ask = Decimal(price), Decimal(price) + Decimal("0.00010")
    return Candle(read_time(start), Ohlc(bid, bid, bid, bid), Ohlc(ask, ask, ask, ask), 1)


@pytest.fixture
def charted(desk: Desk) -> Desk:
    """Hourly bars from 08:00 to 11:00 on the day of the clock, the 09:00 bar missing."""
    desk.venue.candles.load(
        "EUR_USD",
        "H1",
        [
            flat("2026-06-02T08:00:00Z", "1.1"),
            flat("2026-06-02T10:00:00Z", "1.3"),
            flat("2026-06-02T11:00:00Z", "1.2"),
        ],
    )
    return desk


def candles(desk: Desk, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = desk.get("/v3/instruments/EUR_USD/candles", **query)["candles"]
    return found


def test_periods_without_ticks_are_left_out_and_the_running_one_is_not_complete(
    charted: Desk,
) -> None:
    found = candles(charted, granularity="H1", price="B")
    assert [(one["time"][11:16], one["complete"]) for one in found] == [
        ("08:00", True),
        ("10:00", True),
        ("11:00", True),
        ("12:00", False),  # from the quote of the fixture
    ]
    assert found[1] == {
        "complete": True,
        "volume": 1,
        "time": "2026-06-02T10:00:00.000000000Z",
        "bid": {"o": "1.30000", "h": "1.30000", "l": "1.30000", "c": "1.30000"},
    }


def test_hours_add_up_to_days_that_begin_at_five_in_new_york(charted: Desk) -> None:
    (day,) = candles(charted, granularity="D", price="A")
    assert day["time"] == "2026-06-01T21:00:00.000000000Z"
    assert (day["ask"]["o"], day["ask"]["h"], day["ask"]["c"]) == ("1.10010", "1.30010", "1.10010")
    assert not day["complete"]
    (day,) = candles(charted, granularity="D", alignmentTimezone="UTC", dailyAlignment="0")
    assert day["time"] == "2026-06-02T00:00:00.000000000Z"


def test_candles_are_counted_and_bounded(charted: Desk) -> None:

    def hours(**query: str) -> list[str]:
        return [one["time"][11:13] for one in candles(charted, granularity="H1", **query)]

    assert hours(count="2") == ["11", "12"]
    assert hours(**{"from": "2026-06-02T10:00:00Z"}) == ["10", "11", "12"]
    assert hours(**{"from": "2026-06-02T10:00:00Z"}, includeFirst="false") == ["11", "12"]
    assert hours(**{"from": "2026-06-02T08:00:00Z"}, count="1") == ["08"]
    assert hours(to="2026-06-02T11:00:00Z") == ["08", "10"]
    smooth = candles(charted, granularity="H1", smooth="true", price="B")
    assert [one["bid"]["o"] for one in smooth[:3]] == ["1.10000", "1.10000", "1.30000"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"count": "5001"}, "Maximum value for 'count' exceeded"),
        ({"granularity": "M3"}, "Invalid value specified for 'granularity'"),
        ({"price": "X"}, "Invalid value specified for 'price'"),
        ({"dailyAlignment": "24"}, "Invalid value specified for 'dailyAlignment'"),
        ({"alignmentTimezone": "Mars/Base"}, "Invalid value specified for 'alignmentTimezone'"),
        ({"from": "yesterday"}, "Invalid value specified for 'from'"),
    ],
)
def test_wrong_candle_parameters_are_refused(
    desk: Desk, query: dict[str, str], message: str
) -> None:
    response = desk.send("GET", "/v3/instruments/EUR_USD/candles", **query)
    assert (response.status, response.body["errorMessage"]) == (400, message)


def test_candles_finer_than_the_recording_come_from_the_quotes_alone(charted: Desk) -> None:
    assert [one["time"][11:19] for one in candles(charted, granularity="M1")] == ["12:00:00"]


@pytest.mark.parametrize(
    ("at", "granularity", "start", "end"),
    [
        ("2026-06-02T12:34:56Z", "M15", "2026-06-02T12:30:00Z", "2026-06-02T12:45:00Z"),
        ("2026-06-02T12:34:56Z", "H4", "2026-06-02T09:00:00Z", "2026-06-02T13:00:00Z"),
        ("2026-06-02T20:59:59Z", "D", "2026-06-01T21:00:00Z", "2026-06-02T21:00:00Z"),
        # New York springs forward on 2026-03-08: that trading day has 23 hours.
        ("2026-03-08T12:00:00Z", "D", "2026-03-07T22:00:00Z", "2026-03-08T21:00:00Z"),
        ("2026-06-02T12:00:00Z", "W", "2026-05-29T21:00:00Z", "2026-06-05T21:00:00Z"),
        ("2026-06-02T12:00:00Z", "M", "2026-05-31T21:00:00Z", "2026-06-30T21:00:00Z"),
    ],
)
def test_periods_are_aligned_to_new_york(at: str, granularity: str, start: str, end: str) -> None:
    found = Alignment().period(read_time(at), granularity)
    assert found == (read_time(start), read_time(end))


def test_the_latest_candles_of_several_kinds_come_at_once(charted: Desk) -> None:
    latest = charted.get("/candles/latest", candleSpecifications="EUR_USD:H1:BM,EUR_USD:S5:A")
    assert [one["granularity"] for one in latest["latestCandles"]] == ["H1", "S5"]
    assert set(latest["latestCandles"][0]["candles"][0]) == {
        "complete",
        "volume",
        "time",
        "bid",
        "mid",
    }
