"""Requests that are refused: the reason, the status, and what is recorded of it."""

from __future__ import annotations

from typing import Any

import pytest

from sep_oanda_server.market import QuoteBoard
from sep_oanda_server.venue import Venue

Desk = Any
LIMIT = {"type": "LIMIT", "instrument": "EUR_USD", "units": "100", "price": "1.09"}
MARKET = {"type": "MARKET", "instrument": "EUR_USD", "units": "100"}
LONG = "x" * 129

REJECTS: list[tuple[dict[str, Any], str]] = [
    (MARKET | {"instrument": None}, "INSTRUMENT_MISSING"),
    (MARKET | {"instrument": "XXX_YYY"}, "INSTRUMENT_UNKNOWN"),
    (MARKET | {"instrument": "GBP_USD"}, "INSTRUMENT_PRICE_UNKNOWN"),
    (MARKET | {"units": None}, "UNITS_MISSING"),
    (MARKET | {"units": "0"}, "UNITS_INVALID"),
    (MARKET | {"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
    (MARKET | {"units": "100000001"}, "UNITS_LIMIT_EXCEEDED"),
    (MARKET | {"timeInForce": "GTC"}, "TIME_IN_FORCE_INVALID"),
    (MARKET | {"priceBound": "0"}, "PRICE_BOUND_INVALID"),
    (MARKET | {"priceBound": "1.100001"}, "PRICE_BOUND_PRECISION_EXCEEDED"),
    (LIMIT | {"price": None}, "PRICE_MISSING"),
    (LIMIT | {"price": "-1"}, "PRICE_INVALID"),
    (LIMIT | {"price": "1.000001"}, "PRICE_PRECISION_EXCEEDED"),
    (LIMIT | {"timeInForce": "GTD"}, "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"),
    (
        LIMIT | {"timeInForce": "GTD", "gtdTime": "2026-06-02T12:00:00Z"},
        "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST",
    ),
    (LIMIT | {"type": "MARKET_IF_TOUCHED", "timeInForce": "FOK"}, "TIME_IN_FORCE_INVALID"),
    (LIMIT | {"clientExtensions": {"id": LONG}}, "CLIENT_ORDER_ID_INVALID"),
    (LIMIT | {"clientExtensions": {"tag": LONG}}, "CLIENT_ORDER_TAG_INVALID"),
    (LIMIT | {"clientExtensions": {"comment": LONG}}, "CLIENT_ORDER_COMMENT_INVALID"),
    (LIMIT | {"tradeClientExtensions": {"id": LONG}}, "CLIENT_TRADE_ID_INVALID"),
    (LIMIT | {"takeProfitOnFill": {}}, "TAKE_PROFIT_ON_FILL_PRICE_MISSING"),
    (LIMIT | {"takeProfitOnFill": {"price": "0"}}, "TAKE_PROFIT_ON_FILL_PRICE_INVALID"),
    (
        LIMIT | {"takeProfitOnFill": {"price": "1.234567"}},
        "TAKE_PROFIT_ON_FILL_PRICE_PRECISION_EXCEEDED",
    ),
    (
        LIMIT | {"takeProfitOnFill": {"price": "1.2", "timeInForce": "IOC"}},
        "TAKE_PROFIT_ON_FILL_TIME_IN_FORCE_INVALID",
    ),
    (
        LIMIT | {"takeProfitOnFill": {"price": "1.2", "timeInForce": "GTD"}},
        "TAKE_PROFIT_ON_FILL_GTD_TIMESTAMP_MISSING",
    ),
    (
        LIMIT | {"stopLossOnFill": {"price": "1.0", "distance": "0.01"}},
        "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED",
    ),
    (LIMIT | {"stopLossOnFill": {}}, "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_MISSING"),
    (LIMIT | {"stopLossOnFill": {"distance": "0"}}, "STOP_LOSS_ON_FILL_DISTANCE_INVALID"),
    (
        LIMIT | {"stopLossOnFill": {"price": "1.0", "guaranteed": True}},
        "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED",
    ),
    (
        LIMIT | {"trailingStopLossOnFill": {}},
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MISSING",
    ),
    (
        LIMIT | {"trailingStopLossOnFill": {"distance": "0.00049"}},
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MINIMUM_NOT_MET",
    ),
    (
        LIMIT | {"trailingStopLossOnFill": {"distance": "1.5"}},
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED",
    ),
    (
        LIMIT
        | {
            "takeProfitOnFill": {"price": "1.2", "clientExtensions": {"id": "same"}},
            "stopLossOnFill": {"price": "1.0", "clientExtensions": {"id": "same"}},
        },
        "ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS",
    ),
    ({"type": "STOP_LOSS", "price": "1.0"}, "TRADE_ID_UNSPECIFIED"),
    ({"type": "STOP_LOSS", "tradeID": "99", "price": "1.0"}, "TRADE_DOESNT_EXIST"),
    ({"type": "STOP_LOSS", "tradeID": "4"}, "STOP_LOSS_ORDER_PRICE_AND_DISTANCE_BOTH_MISSING"),
    (
        {"type": "STOP_LOSS", "tradeID": "4", "price": "1.0", "guaranteed": True},
        "STOP_LOSS_ORDER_GUARANTEED_NOT_ALLOWED",
    ),
    ({"type": "TAKE_PROFIT", "tradeID": "4", "price": "1.3"}, "TAKE_PROFIT_ORDER_ALREADY_EXISTS"),
    ({"type": "TRAILING_STOP_LOSS", "tradeID": "4"}, "PRICE_DISTANCE_MISSING"),
    (
        {"type": "TRAILING_STOP_LOSS", "tradeID": "4", "distance": "0.0001"},
        "PRICE_DISTANCE_MINIMUM_NOT_MET",
    ),
]


@pytest.mark.parametrize(("order", "reason"), REJECTS, ids=[reason for _, reason in REJECTS])
def test_a_refused_order_is_recorded_with_its_reason(
    desk: Desk, order: dict[str, Any], reason: str
) -> None:
    desk.order(type="MARKET", units="1", takeProfitOnFill={"price": "1.2"})
    before = desk.ledger.last_id
    response = desk.send("POST", "/orders", {"order": order})
    reject = response.body["orderRejectTransaction"]
    assert response.status == (404 if reason == "TRADE_DOESNT_EXIST" else 400)
    assert reject["type"] == f"{order['type']}_ORDER_REJECT"
    assert reject["rejectReason"] == response.body["errorCode"] == reason
    assert response.body["errorMessage"]
    # A reject uses up an id and changes nothing else.
    assert reject["id"] == response.body["lastTransactionID"] == str(before + 1)
    assert response.body["relatedTransactionIDs"] == [reject["id"]]
    assert len(desk.ledger.open) == 1


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (MARKET | {"instrument": "EURUSD"}, "Invalid value specified for 'order.instrument'"),
        (MARKET | {"units": "many"}, "Invalid value specified for 'order.units'"),
        (MARKET | {"units": "1e3"}, "Invalid value specified for 'order.units'"),
        (MARKET | {"units": True}, "Invalid value specified for 'order.units'"),
        (MARKET | {"type": "ICEBERG"}, "Invalid value specified for 'order.type'"),
        (MARKET | {"type": ["MARKET"]}, "Invalid value specified for 'order.type'"),
        (MARKET | {"timeInForce": "GTX"}, "Invalid value specified for 'order.timeInForce'"),
        (MARKET | {"positionFill": {}}, "Invalid value specified for 'order.positionFill'"),
        (LIMIT | {"price": "NaN"}, "Invalid value specified for 'order.price'"),
        (LIMIT | {"price": "1,2345"}, "Invalid value specified for 'order.price'"),
        (
            LIMIT | {"timeInForce": "GTD", "gtdTime": "tomorrow"},
            "Invalid value specified for 'order.gtdTime'",
        ),
        (LIMIT | {"stopLossOnFill": "1.0"}, "Invalid value specified for 'order.stopLossOnFill'"),
        (
            LIMIT | {"clientExtensions": {"id": 7}},
            "Invalid value specified for 'order.clientExtensions.id'",
        ),
    ],
)
def test_a_malformed_order_leaves_no_transaction(
    desk: Desk, order: dict[str, Any], message: str
) -> None:
    before = desk.ledger.last_id
    response = desk.send("POST", "/orders", {"order": order})
    assert (response.status, response.body) == (400, {"errorMessage": message})
    assert desk.ledger.last_id == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"order": 1}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_order_is_refused(desk: Desk, body: bytes) -> None:
    from sep_oanda_server.venue import Request

    path = "/v3/accounts/101-004-1435156-001/orders"
    response = desk.venue.handle(Request("POST", path, {}, body, desk.headers), desk.now_ns)
    assert response.status == 400
    assert desk.ledger.last_id == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "key", "reason"),
    [
        ("/trades/9/close", {}, 404, "orderRejectTransaction", "TRADE_DOESNT_EXIST"),
        (
            "/trades/4/close",
            {"units": "101"},
            400,
            "orderRejectTransaction",
            "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE",
        ),
        ("/trades/4/close", {"units": "-1"}, 400, "orderRejectTransaction", "UNITS_INVALID"),
        (
            "/trades/4/orders",
            {"stopLoss": {"price": "1.0", "distance": "0.1"}},
            400,
            "stopLossOrderRejectTransaction",
            "STOP_LOSS_ORDER_PRICE_AND_DISTANCE_BOTH_SPECIFIED",
        ),
        (
            "/trades/9/orders",
            {"takeProfit": {"price": "1.2"}},
            404,
            "takeProfitOrderRejectTransaction",
            "TRADE_DOESNT_EXIST",
        ),
        (
            "/positions/EUR_USD/close",
            {},
            400,
            "longOrderRejectTransaction",
            "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION",
        ),
        (
            "/positions/EUR_USD/close",
            {"shortUnits": "ALL"},
            404,
            "shortOrderRejectTransaction",
            "CLOSEOUT_POSITION_DOESNT_EXIST",
        ),
        (
            "/positions/EUR_USD/close",
            {"longUnits": "101"},
            400,
            "longOrderRejectTransaction",
            "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE",
        ),
        (
            "/orders/9/clientExtensions",
            {"clientExtensions": {"id": "a"}},
            404,
            "orderClientExtensionsModifyRejectTransaction",
            "ORDER_DOESNT_EXIST",
        ),
        (
            "/trades/4/clientExtensions",
            {},
            400,
            "tradeClientExtensionsModifyRejectTransaction",
            "CLIENT_EXTENSIONS_DATA_MISSING",
        ),
        ("/orders/@nobody/cancel", {}, 404, "orderCancelRejectTransaction", "ORDER_DOESNT_EXIST"),
    ],
)
def test_other_refused_requests_name_their_transaction(
    desk: Desk, path: str, body: dict[str, Any], status: int, key: str, reason: str
) -> None:
    desk.order(type="MARKET", units="100")
    response = desk.send("PUT", path, body)
    assert response.status == status
    assert response.body[key]["rejectReason"] == response.body["errorCode"] == reason
    assert response.body[key]["id"] == response.body["lastTransactionID"] == "5"


def test_a_replacement_of_another_kind_is_refused_and_the_order_stays(desk: Desk) -> None:
    desk.send("POST", "/orders", {"order": LIMIT})
    response = desk.send("PUT", "/orders/3", {"order": LIMIT | {"type": "STOP"}})
    reject = response.body["orderRejectTransaction"]
    assert reject["rejectReason"] == "REPLACING_ORDER_INVALID"
    assert reject["intendedReplacesOrderID"] == "3"
    assert desk.get("/orders/3")["order"]["state"] == "PENDING"


def test_too_many_pending_orders_are_refused(make_desk: Any) -> None:
    desk = make_desk(pending_orders_max=1)
    assert desk.send("POST", "/orders", {"order": LIMIT}).status == 201
    refused = desk.send("POST", "/orders", {"order": LIMIT})
    assert refused.body["errorCode"] == "PENDING_ORDERS_ALLOWED_EXCEEDED"


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("GET", "/v3/accounts", "wrong", 401),
        ("GET", "/v3/accounts/101-004-1435156-001", "", 401),
        ("GET", "/v3/accounts/101-004-1435156-002", "the-token", 403),
        ("GET", "/v3/accounts/me", "the-token", 400),
        ("GET", "/v3/nowhere", "the-token", 404),
        ("DELETE", "/v3/accounts/101-004-1435156-001/orders", "the-token", 405),
    ],
)
def test_requests_that_reach_no_operation(
    desk: Desk, method: str, path: str, token: str, status: int
) -> None:
    desk.headers = {"authorization": f"Bearer {token}"}
    response = desk.send(method, path)
    assert response.status == status
    assert "errorMessage" in response.body


def test_an_instrument_that_is_not_offered_takes_no_quote() -> None:
    from decimal import Decimal

    from sep_oanda_server.market import Quote

    venue = Venue([], QuoteBoard(), token="t", now_ns=0)
    with pytest.raises(ValueError, match="XXX_YYY is not offered"):
        venue.quote(Quote("XXX_YYY", 0, Decimal(1), Decimal(1)), 0)
    with pytest.raises(ValueError, match="0 < bid <= ask"):
        Quote("EUR_USD", 0, Decimal("1.2"), Decimal("1.1"))
