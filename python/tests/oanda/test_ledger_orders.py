"""Orders against the local venue: what fills, when, at which price, and what is recorded."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sep_oanda_server.matching import Interference

Desk = Any


def test_a_market_order_with_target_and_stop_answers_like_the_venue(desk: Desk) -> None:
    response = desk.order(
        type="MARKET",
        units="10000",
        clientExtensions={"id": "sep-1", "tag": "rule"},
        takeProfitOnFill={"price": "1.12"},
        stopLossOnFill={"price": "1.09000"},
    )
    created = response.body["orderCreateTransaction"]
    filled = response.body["orderFillTransaction"]
    assert response.status == 201
    assert response.headers["Location"].endswith("/orders/3")
    assert created == {
        "type": "MARKET_ORDER",
        "id": "3",
        "batchID": "3",
        "userID": 1435156,
        "accountID": "101-004-1435156-001",
        "time": "2026-06-02T12:00:00.000000000Z",
        "requestID": "0000000000000001",
        "reason": "CLIENT_ORDER",
        "instrument": "EUR_USD",
        "units": "10000",
        "timeInForce": "FOK",
        "positionFill": "DEFAULT",
        "clientExtensions": {"id": "sep-1", "tag": "rule"},
        "takeProfitOnFill": {
            "price": "1.12000",
            "timeInForce": "GTC",
            "triggerCondition": "DEFAULT",
        },
        "stopLossOnFill": {
            "price": "1.09000",
            "timeInForce": "GTC",
            "triggerCondition": "DEFAULT",
        },
    }
    # A buy fills at the ask. Half the spread of 0.00010 on 10,000 units is 0.50 USD; the margin
    # is 2 % of 10,000 units at the middle price: 10,000 * 1.10005 * 0.02 = 220.01 USD.
    assert filled["price"] == "1.10010"
    assert filled["orderID"] == "3"
    assert filled["clientOrderID"] == "sep-1"
    assert filled["pl"] == "0.0000"
    assert filled["accountBalance"] == "100000.0000"
    assert filled["halfSpreadCost"] == "0.5000"
    assert filled["tradeOpened"] == {
        "tradeID": "4",
        "units": "10000",
        "price": "1.10010",
        "guaranteedExecutionFee": "0.0000",
        "halfSpreadCost": "0.5000",
        "initialMarginRequired": "220.0100",
    }
    # The dependents are in the batch, target first, but not in the body.
    assert response.body["relatedTransactionIDs"] == ["3", "4", "5", "6"]
    assert response.body["lastTransactionID"] == "6"
    assert desk.types_since(4) == ["TAKE_PROFIT_ORDER", "STOP_LOSS_ORDER"]
    assert {one["batchID"] for one in desk.ledger.transactions[2:]} == {"3"}
    assert {one["time"] for one in desk.ledger.transactions[2:]} == {created["time"]}


def test_closing_books_the_gain_to_the_balance_and_cancels_the_dependents(desk: Desk) -> None:
    desk.order(type="MARKET", units="10000", stopLossOnFill={"price": "1.09000"})
    desk.quote("1.10510", "1.10520")
    response = desk.send("PUT", "/trades/4/close", {"units": "ALL"})
    # Bought at 1.10010, sold at 1.10510: 0.00500 * 10,000 = 50 USD.
    closed = response.body["orderFillTransaction"]
    assert response.status == 200
    assert closed["reason"] == "MARKET_ORDER_TRADE_CLOSE"
    assert closed["pl"] == "50.0000"
    assert closed["accountBalance"] == "100050.0000"
    # Half of the spread of 0.00010, on 10,000: 0.50 USD.
    assert closed["tradesClosed"] == [
        {
            "tradeID": "4",
            "units": "-10000",
            "price": "1.10510",
            "realizedPL": "50.0000",
            "financing": "0.0000",
            "guaranteedExecutionFee": "0.0000",
            "halfSpreadCost": "0.5000",
        }
    ]
    assert response.body["orderCreateTransaction"]["tradeClose"] == {
        "tradeID": "4",
        "units": "ALL",
    }
    assert desk.ledger.transactions[-1]["type"] == "ORDER_CANCEL"
    assert desk.ledger.transactions[-1]["reason"] == "LINKED_TRADE_CLOSED"
    assert desk.get("/summary")["account"]["balance"] == "100050.0000"


def test_a_trade_can_be_closed_in_part(desk: Desk) -> None:
    desk.order(type="MARKET", units="-10000")
    desk.quote("1.09910", "1.09920")
    filled = desk.send("PUT", "/trades/4/close", {"units": "4000"}).body["orderFillTransaction"]
    # Sold at 1.10000, 4,000 bought back at 1.09920: 0.00080 * 4,000 = 3.20 USD.
    assert filled["tradeReduced"]["realizedPL"] == "3.2000"
    trade = desk.get("/trades/4")["trade"]
    assert (trade["currentUnits"], trade["initialUnits"]) == ("-6000", "-10000")
    assert trade["realizedPL"] == "3.2000"
    # The rest stands at (1.10000 - 1.09920) * 6,000 = 4.80 USD.
    assert trade["unrealizedPL"] == "4.8000"


def test_opposite_orders_reduce_the_oldest_trades_first(desk: Desk) -> None:
    for _ in range(3):
        desk.order(type="MARKET", units="1000")
    filled = desk.order(type="MARKET", units="-1500").body["orderFillTransaction"]
    # Trades 4, 6 and 8: the first goes whole, the second by half.
    assert [part["tradeID"] for part in filled["tradesClosed"]] == ["4"]
    assert filled["tradeReduced"]["tradeID"] == "6"
    assert filled["tradeReduced"]["units"] == "-500"
    assert "tradeOpened" not in filled
    assert desk.get("/positions/EUR_USD")["position"]["long"]["units"] == "1500"


def test_an_order_can_turn_the_position_round(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000")
    filled = desk.order(type="MARKET", units="-2500").body["orderFillTransaction"]
    assert filled["tradesClosed"][0]["units"] == "-1000"
    assert filled["tradeOpened"]["units"] == "-1500"
    position = desk.get("/positions/EUR_USD")["position"]
    assert position["long"]["units"] == "0"
    assert position["short"]["units"] == "-1500"
    assert position["short"]["averagePrice"] == "1.10000"


def test_a_hedging_account_holds_both_sides(make_desk: Any) -> None:
    desk = make_desk(hedging=True)
    desk.order(type="MARKET", units="1000")
    desk.order(type="MARKET", units="-400")
    position = desk.get("/positions/EUR_USD")["position"]
    assert (position["long"]["units"], position["short"]["units"]) == ("1000", "-400")
    # Margin is that of the larger side: 1,000 * 1.10005 * 0.02 = 22.0010.
    assert desk.get("/summary")["account"]["marginUsed"] == "22.0010"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"units": "1000", "priceBound": "1.10000"}, "BOUNDS_VIOLATION"),
        ({"units": "-1000", "priceBound": "1.10001"}, "BOUNDS_VIOLATION"),
        ({"units": "20000000"}, "INSUFFICIENT_LIQUIDITY"),
        # 5,000,000 * 1.10005 * 0.02 = 110,005 USD of margin against 100,000.
        ({"units": "5000000"}, "INSUFFICIENT_MARGIN"),
        ({"units": "1000", "positionFill": "REDUCE_ONLY"}, "INSUFFICIENT_LIQUIDITY"),
        ({"units": "1000", "stopLossOnFill": {"price": "1.10000"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ({"units": "1000", "stopLossOnFill": {"distance": "0.00010"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ({"units": "1000", "takeProfitOnFill": {"price": "1.1"}}, "TAKE_PROFIT_ON_FILL_LOSS"),
    ],
)
def test_a_market_order_that_cannot_fill_is_created_and_cancelled(
    desk: Desk, order: dict[str, Any], reason: str
) -> None:
    response = desk.order(type="MARKET", **order)
    assert response.status == 201
    assert "orderFillTransaction" not in response.body
    assert response.body["orderCancelTransaction"]["reason"] == reason
    assert response.body["orderCancelTransaction"]["orderID"] == "3"
    assert desk.types_since(2) == ["MARKET_ORDER", "ORDER_CANCEL"]
    assert desk.get("/orders/3")["order"]["state"] == "CANCELLED"


def test_a_halted_market_cancels_a_market_order(desk: Desk) -> None:
    desk.quote("1.10000", "1.10010", tradeable=False)
    response = desk.order(type="MARKET", units="1")
    assert response.body["orderCancelTransaction"]["reason"] == "MARKET_HALTED"


def test_an_immediate_or_cancel_order_takes_what_there_is(desk: Desk) -> None:
    response = desk.order(
        type="MARKET", units="1000", timeInForce="IOC", force=Interference(liquidity=Decimal(300))
    )
    filled = response.body["orderFillTransaction"]
    assert (filled["units"], filled["requestedUnits"]) == ("300", "1000")
    assert desk.get("/orders/3")["order"]["state"] == "FILLED"


def test_a_resting_order_filled_in_part_is_reissued_for_the_rest(desk: Desk) -> None:
    response = desk.order(
        type="LIMIT",
        units="1000",
        price="1.10010",
        clientExtensions={"id": "sep-7"},
        force=Interference(liquidity=Decimal(300)),
    )
    assert response.body["orderFillTransaction"]["units"] == "300"
    reissued = response.body["orderReissueTransaction"]
    assert (reissued["id"], reissued["units"], reissued["replacesOrderID"]) == ("5", "700", "3")
    desk.quote("1.10000", "1.10010")
    assert desk.ledger.transactions[-1]["type"] == "ORDER_FILL"
    assert desk.get("/positions/EUR_USD")["position"]["long"]["units"] == "1000"


def test_the_rest_of_a_touched_order_still_knows_where_it_started(desk: Desk) -> None:
    desk.order(type="MARKET_IF_TOUCHED", units="1000", price="1.09500")
    desk.quote("1.09490", "1.09500", ask_liquidity=300)
    assert desk.types_since(3) == ["ORDER_FILL", "MARKET_IF_TOUCHED_ORDER"]
    desk.quote("1.09990", "1.10000")
    assert desk.get("/orders/5")["order"]["state"] == "PENDING"
    desk.quote("1.09480", "1.09490")
    assert desk.ledger.transactions[-1]["units"] == "700"


# (order, a quote that leaves it alone, a quote that fills it, fill price, units after)
TRIGGERS = [
    pytest.param(
        {"type": "LIMIT", "units": "100", "price": "1.09500"},
        ("1.09491", "1.09501"), ("1.09480", "1.09490"), "1.09490", "100",
        id="a buy limit waits for the ask and fills at it or better",
    ),
    pytest.param(
        {"type": "LIMIT", "units": "-100", "price": "1.10500"},
        ("1.10499", "1.10520"), ("1.10500", "1.10520"), "1.10500", "-100",
        id="a sell limit waits for the bid",
    ),
    pytest.param(
        {"type": "STOP", "units": "100", "price": "1.10500"},
        ("1.10490", "1.10499"), ("1.10610", "1.10620"), "1.10620", "100",
        id="a buy stop fills at the ask, gap included",
    ),
    pytest.param(
        {"type": "STOP", "units": "-100", "price": "1.09500", "priceBound": "1.09400"},
        ("1.09501", "1.09510"), ("1.09450", "1.09460"), "1.09450", "-100",
        id="a sell stop fills inside its bound",
    ),
    pytest.param(
        {"type": "MARKET_IF_TOUCHED", "units": "100", "price": "1.09500"},
        ("1.09500", "1.09501"), ("1.09470", "1.09480"), "1.09480", "100",
        id="a buy touched from above",
    ),
    pytest.param(
        {"type": "MARKET_IF_TOUCHED", "units": "100", "price": "1.10500"},
        ("1.10480", "1.10499"), ("1.10510", "1.10520"), "1.10520", "100",
        id="a buy touched from below",
    ),
    pytest.param(
        {"type": "LIMIT", "units": "100", "price": "1.09500", "triggerCondition": "BID"},
        ("1.09501", "1.09511"), ("1.09490", "1.09500"), "1.09500", "100",
        id="a trigger condition looks at the other side, the fill does not",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("order", "calm", "firing", "price", "units"), TRIGGERS)
def test_pending_orders_trigger_on_quotes(
    desk: Desk,
    order: dict[str, Any],
    calm: tuple[str, str],
    firing: tuple[str, str],
    price: str,
    units: str,
) -> None:
    response = desk.order(**order)
    assert set(response.body) == {
        "orderCreateTransaction",
        "relatedTransactionIDs",
        "lastTransactionID",
    }
    desk.quote(*calm)
    assert desk.get("/orders/3")["order"]["state"] == "PENDING"
    desk.quote(*firing)
    filled = desk.ledger.transactions[-1]
    assert filled["type"] == "ORDER_FILL"
    assert filled["reason"] == f"{order['type']}_ORDER"
    assert (filled["price"], filled["units"], filled["batchID"]) == (price, units, "4")


def test_a_stop_that_gaps_through_its_bound_is_cancelled(desk: Desk) -> None:
    desk.order(type="STOP", units="100", price="1.10500", priceBound="1.10600")
    desk.quote("1.10700", "1.10710")
    assert desk.ledger.transactions[-1]["reason"] == "BOUNDS_VIOLATION"
    assert desk.get("/orders/3")["order"]["state"] == "CANCELLED"


def test_a_limit_that_the_market_has_reached_fills_at_once(desk: Desk) -> None:
    filled = desk.order(type="LIMIT", units="100", price="1.10200").body["orderFillTransaction"]
    assert (filled["price"], filled["reason"]) == ("1.10010", "LIMIT_ORDER")


@pytest.mark.parametrize("in_force", ["FOK", "IOC"])
def test_a_limit_that_may_not_wait_is_cancelled(desk: Desk, in_force: str) -> None:
    response = desk.order(type="LIMIT", units="100", price="1.09", timeInForce=in_force)
    assert response.body["orderCancelTransaction"]["reason"] == "TIME_IN_FORCE_EXPIRED"


def test_a_stop_loss_closes_the_trade_at_the_gapped_price(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000", stopLossOnFill={"price": "1.09900"})
    desk.quote("1.09500", "1.09510")
    filled = desk.ledger.transactions[-1]
    # Bought at 1.10010, stopped at the bid of 1.09500: -0.00510 * 1,000 = -5.10 USD.
    assert (filled["reason"], filled["pl"]) == ("STOP_LOSS_ORDER", "-5.1000")
    assert desk.get("/openTrades")["trades"] == []
    assert desk.get("/trades/4")["trade"]["state"] == "CLOSED"


def test_a_take_profit_closes_the_trade_and_its_stop_goes(desk: Desk) -> None:
    desk.order(
        type="MARKET",
        units="-1000",
        takeProfitOnFill={"price": "1.09500"},
        stopLossOnFill={"price": "1.11000"},
    )
    desk.quote("1.09480", "1.09490")
    filled, cancelled = desk.ledger.transactions[-2:]
    # Sold at 1.10000, bought at 1.09490: 0.00510 * 1,000 = 5.10 USD.
    assert (filled["reason"], filled["pl"]) == ("TAKE_PROFIT_ORDER", "5.1000")
    assert (cancelled["orderID"], cancelled["reason"]) == ("6", "LINKED_TRADE_CLOSED")
    assert cancelled["batchID"] == filled["id"]


def test_a_stop_closes_what_is_left_of_the_trade(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000", stopLossOnFill={"price": "1.09900"})
    desk.order(type="MARKET", units="-400")
    desk.quote("1.09900", "1.09910")
    # 600 units are left, closed at 1.09900: -0.00110 * 600 = -0.66 USD.
    filled = desk.ledger.transactions[-1]
    assert (filled["units"], filled["pl"]) == ("-600", "-0.6600")
    assert desk.ledger.open == {}


def test_a_trailing_stop_follows_only_in_the_winning_direction(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000", trailingStopLossOnFill={"distance": "0.00100"})
    # 1.10000 - 0.00100, then 1.10300 - 0.00100; the way back moves nothing.
    for bid, ask, value in (
        ("1.10000", "1.10010", "1.09900"),
        ("1.10300", "1.10310", "1.10200"),
        ("1.10250", "1.10260", "1.10200"),
    ):
        desk.quote(bid, ask)
        assert desk.get("/orders/5")["order"]["trailingStopValue"] == value
    desk.quote("1.10200", "1.10210")
    filled = desk.ledger.transactions[-1]
    assert (filled["reason"], filled["price"]) == ("TRAILING_STOP_LOSS_ORDER", "1.10200")
    assert filled["pl"] == "1.9000"  # (1.10200 - 1.10010) * 1,000


@pytest.mark.parametrize(("units", "price"), [("1000", "1.09910"), ("-1000", "1.10100")])
def test_a_stop_loss_distance_counts_from_the_ask_when_long_and_the_bid_when_short(
    desk: Desk, units: str, price: str
) -> None:
    desk.order(type="MARKET", units=units, stopLossOnFill={"distance": "0.00100"})
    assert desk.get("/orders/5")["order"]["price"] == price


def test_a_good_till_date_order_ends_on_its_second(desk: Desk) -> None:
    desk.order(
        type="LIMIT",
        units="1",
        price="1.00000",
        timeInForce="GTD",
        gtdTime="2026-06-02T12:01:00Z",
    )
    desk.later(59.9)
    assert desk.get("/orders/3")["order"]["state"] == "PENDING"
    desk.later(0.1)
    assert desk.ledger.transactions[-1]["reason"] == "TIME_IN_FORCE_EXPIRED"


def test_a_time_without_zone_is_read_as_new_york_time(desk: Desk) -> None:
    response = desk.order(
        type="LIMIT", units="1", price="1", timeInForce="GTD", gtdTime="2026-07-02T00:00:00"
    )
    gtd_time = response.body["orderCreateTransaction"]["gtdTime"]
    assert gtd_time == "2026-07-02T04:00:00.000000000Z"


def test_a_good_for_day_order_ends_at_five_in_new_york(desk: Desk) -> None:
    desk.order(type="LIMIT", units="1", price="1.00000", timeInForce="GFD")
    # 17:00 EDT is 21:00 UTC, nine hours after noon.
    desk.later(9 * 3600 - 1)
    assert desk.get("/orders/3")["order"]["state"] == "PENDING"
    desk.later(1)
    assert desk.get("/orders/3")["order"]["state"] == "CANCELLED"


def test_replacing_an_order_gives_it_a_new_id_and_keeps_its_name(desk: Desk) -> None:
    desk.order(type="LIMIT", units="100", price="1.09", clientExtensions={"id": "sep-1"})
    new = {"type": "LIMIT", "instrument": "EUR_USD", "units": "200", "price": "1.08"}
    response = desk.send("PUT", "/orders/@sep-1", {"order": new})
    assert response.status == 201
    cancelled = response.body["orderCancelTransaction"]
    created = response.body["orderCreateTransaction"]
    assert (cancelled["id"], cancelled["reason"]) == ("4", "CLIENT_REQUEST_REPLACED")
    assert cancelled["replacedByOrderID"] == created["id"] == "5"
    assert (created["replacesOrderID"], created["reason"]) == ("3", "REPLACEMENT")
    assert created["clientExtensions"] == {"id": "sep-1"}
    order = desk.get("/orders/@sep-1")["order"]
    assert (order["id"], order["units"], order["state"]) == ("5", "200", "PENDING")


def test_cancelling_twice_is_refused_and_recorded(desk: Desk) -> None:
    desk.order(type="LIMIT", units="100", price="1.09")
    assert desk.send("PUT", "/orders/3/cancel").status == 200
    refused = desk.send("PUT", "/orders/3/cancel")
    assert refused.status == 404
    reject = refused.body["orderCancelRejectTransaction"]
    assert (reject["id"], reject["type"]) == ("5", "ORDER_CANCEL_REJECT")
    assert reject["rejectReason"] == "ORDER_DOESNT_EXIST"


def test_dependent_orders_are_created_replaced_and_cancelled_on_a_trade(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000")
    first = desk.send("PUT", "/trades/4/orders", {"stopLoss": {"price": "1.09"}}).body
    assert first["stopLossOrderTransaction"]["id"] == "5"
    second = desk.send(
        "PUT", "/trades/4/orders", {"stopLoss": {"price": "1.095"}, "takeProfit": {"price": "1.2"}}
    ).body
    # Target first, then the stop's cancel and its replacement.
    assert second["takeProfitOrderTransaction"]["id"] == "6"
    assert second["stopLossOrderCancelTransaction"]["id"] == "7"
    assert second["stopLossOrderTransaction"]["replacesOrderID"] == "5"
    assert second["stopLossOrderTransaction"]["cancellingTransactionID"] == "7"
    third = desk.send("PUT", "/trades/4/orders", {"takeProfit": None}).body
    assert third["takeProfitOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
    trade = desk.get("/trades/4")["trade"]
    assert trade["stopLossOrder"]["price"] == "1.09500"
    # What it cancelled is of the transaction; of an order it would say what cancelled the order.
    assert "cancellingTransactionID" not in trade["stopLossOrder"]
    assert "takeProfitOrder" not in trade


def test_a_position_is_closed_on_the_named_side(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000")
    desk.order(type="MARKET", units="500")
    response = desk.send("PUT", "/positions/EUR_USD/close", {"longUnits": "ALL"})
    assert response.status == 200
    created = response.body["longOrderCreateTransaction"]
    assert created["longPositionCloseout"] == {"instrument": "EUR_USD", "units": "ALL"}
    assert response.body["longOrderFillTransaction"]["units"] == "-1500"
    refused = desk.send("PUT", "/positions/EUR_USD/close", {"longUnits": "ALL"})
    assert refused.status == 404
    reject = refused.body["longOrderRejectTransaction"]
    assert reject["rejectReason"] == "CLOSEOUT_POSITION_DOESNT_EXIST"


def test_yen_profit_is_converted_at_the_worse_price(desk: Desk) -> None:
    desk.quote("150.000", "150.020", "USD_JPY")
    desk.order(type="MARKET", units="1000", instrument="USD_JPY")
    desk.quote("151.000", "151.020", "USD_JPY")
    closed = desk.send("PUT", "/positions/USD_JPY/close", {"longUnits": "ALL"}).body
    # (151.000 - 150.020) * 1,000 = 980 JPY; a gain is sold at the ask: 980 / 151.02 = 6.4892 USD.
    assert closed["longOrderFillTransaction"]["pl"] == "6.4892"
    assert closed["longOrderFillTransaction"]["accountBalance"] == "100006.4892"


def test_losing_half_the_margin_closes_everything(make_desk: Any) -> None:
    # 1,000 USD carry 40,000 units with a margin of 40,000 * 1.10005 * 0.02 = 880.04 USD.
    desk = make_desk(opening_balance=Decimal(1000))
    desk.order(type="MARKET", units="40000")
    desk.quote("1.09700", "1.09710")
    # Open loss 0.00310 * 40,000 = 124: value 876 < margin 877.64, more than half of it.
    assert desk.ledger.transactions[-1]["type"] == "MARGIN_CALL_ENTER"
    desk.quote("1.08580", "1.08590")
    # Open loss 0.01430 * 40,000 = 572: value 428 <= 434.34, half of 868.68.
    assert desk.types_since(5) == ["MARKET_ORDER", "ORDER_FILL"]
    assert desk.ledger.transactions[-1]["reason"] == "MARKET_ORDER_MARGIN_CLOSEOUT"
    assert desk.get("/summary")["account"]["balance"] == "428.0000"
    desk.quote("1.08580", "1.08590")
    assert desk.ledger.transactions[-1]["type"] == "MARGIN_CALL_EXIT"


def test_financing_is_booked_at_the_end_of_the_trading_day(make_desk: Any) -> None:
    rates = {"EUR_USD": (Decimal("-0.02"), Decimal("0.01"))}
    desk = make_desk(financing=rates)
    desk.order(type="MARKET", units="10000")
    desk.later(9 * 3600)
    # 10,000 * 1.10005 * -0.02 / 365 = -0.60276...
    booked = desk.ledger.transactions[-1]
    assert booked["type"] == "DAILY_FINANCING"
    assert booked["financing"] == "-0.6028"
    assert booked["accountBalance"] == "99999.3972"
    desk.later(3600)
    assert desk.ledger.transactions[-1] is booked


@pytest.mark.parametrize(
    ("client_ids", "status", "reason"),
    [("forever", 400, "CLIENT_ORDER_ID_ALREADY_EXISTS"), ("open", 201, None)],
)
def test_a_name_of_a_finished_order_may_be_used_again_only_in_one_mode(
    make_desk: Any, client_ids: str, status: int, reason: str | None
) -> None:
    desk = make_desk(client_ids=client_ids)
    desk.order(type="MARKET", units="1", clientExtensions={"id": "x"})
    again = desk.order(type="MARKET", units="1", clientExtensions={"id": "x"})
    assert again.status == status
    assert again.body.get("errorCode") == reason


def test_a_name_of_a_pending_order_is_taken_in_both_modes(make_desk: Any) -> None:
    for client_ids in ("forever", "open"):
        desk = make_desk(client_ids=client_ids)
        desk.order(type="LIMIT", units="1", price="1", clientExtensions={"id": "x"})
        again = desk.order(type="LIMIT", units="1", price="1", clientExtensions={"id": "x"})
        assert again.status == 400
        reject = again.body["orderRejectTransaction"]
        assert reject["type"] == "LIMIT_ORDER_REJECT"
        assert reject["rejectReason"] == "CLIENT_ORDER_ID_ALREADY_EXISTS"
        assert reject["clientExtensions"] == {"id": "x"}


def test_fifo_accounts_refuse_to_close_a_younger_trade_of_the_same_size(make_desk: Any) -> None:
    desk = make_desk(fifo=True)
    desk.order(type="MARKET", units="1000")
    desk.order(type="MARKET", units="1000")
    response = desk.send("PUT", "/trades/6/close", {"units": "ALL"})
    assert response.body["orderCancelTransaction"]["reason"] == "FIFO_VIOLATION"


def test_client_extensions_of_orders_and_trades_can_be_changed(desk: Desk) -> None:
    desk.order(type="LIMIT", units="1", price="1", clientExtensions={"id": "a"})
    changed = desk.send("PUT", "/orders/3/clientExtensions", {"clientExtensions": {"id": "b"}})
    assert changed.body["orderClientExtensionsModifyTransaction"]["clientExtensionsModify"] == {
        "id": "b"
    }
    assert desk.get("/orders/@b")["order"]["id"] == "3"
    assert desk.send("GET", "/orders/@a").status == 404
    desk.order(type="MARKET", units="1", tradeClientExtensions={"id": "t"})
    desk.send("PUT", "/trades/@t/clientExtensions", {"clientExtensions": {"id": "u"}})
    assert desk.get("/trades/@u")["trade"]["clientExtensions"] == {"id": "u"}


def test_a_script_can_reject_or_cancel_an_order(desk: Desk) -> None:
    rejected = desk.order(type="MARKET", units="1", force=Interference(reject="ACCOUNT_LOCKED"))
    assert (rejected.status, rejected.body["errorCode"]) == (400, "ACCOUNT_LOCKED")
    cancelled = desk.order(type="MARKET", units="1", force=Interference(cancel="MARKET_HALTED"))
    assert cancelled.status == 201
    assert cancelled.body["orderCancelTransaction"]["reason"] == "MARKET_HALTED"


@pytest.mark.parametrize(
    ("condition", "calm", "firing"),
    [
        # A buy stop at 1.10500 that looks at the bid, or at the middle, instead of the ask.
        ("INVERSE", ("1.10499", "1.10509"), ("1.10500", "1.10510")),
        ("BID", ("1.10499", "1.10509"), ("1.10500", "1.10510")),
        ("MID", ("1.10494", "1.10504"), ("1.10495", "1.10505")),
        ("ASK", ("1.10489", "1.10499"), ("1.10490", "1.10500")),
    ],
)
def test_trigger_conditions_choose_the_price_that_is_watched(
    desk: Desk, condition: str, calm: tuple[str, str], firing: tuple[str, str]
) -> None:
    desk.order(type="STOP", units="1", price="1.10500", triggerCondition=condition)
    desk.quote(*calm)
    assert desk.get("/orders/3")["order"]["state"] == "PENDING"
    desk.quote(*firing)
    assert desk.ledger.transactions[-1]["price"] == firing[1]


def test_a_target_that_is_already_reached_fills_at_once_and_takes_the_stop_with_it(
    desk: Desk,
) -> None:
    desk.order(type="MARKET", units="1000", stopLossOnFill={"price": "1.09"})
    desk.quote("1.11000", "1.11010")
    response = desk.send("PUT", "/trades/4/orders", {"takeProfit": {"price": "1.10500"}})
    filled = response.body["takeProfitOrderFillTransaction"]
    # Bought at 1.10010, sold at the bid of 1.11000, better than the target: 9.90 USD.
    assert (filled["price"], filled["pl"]) == ("1.11000", "9.9000")
    assert desk.ledger.transactions[-1]["reason"] == "LINKED_TRADE_CLOSED"
    assert desk.ledger.pending == {}


def test_a_closed_trade_takes_no_further_orders_of_the_same_request(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000")
    desk.quote("1.11000", "1.11010")
    both = {"takeProfit": {"price": "1.10500"}, "stopLoss": {"price": "1.05"}}
    body = desk.send("PUT", "/trades/4/orders", both).body
    assert "takeProfitOrderFillTransaction" in body
    assert "stopLossOrderTransaction" not in body


def test_a_dependent_order_can_be_placed_replaced_and_cancelled_as_an_order(desk: Desk) -> None:
    desk.order(type="MARKET", units="1000", tradeClientExtensions={"id": "t"})
    placed = desk.send(
        "POST", "/orders", {"order": {"type": "STOP_LOSS", "clientTradeID": "t", "price": "1.09"}}
    )
    created = placed.body["orderCreateTransaction"]
    assert (created["tradeID"], created["clientTradeID"], created["id"]) == ("4", "t", "5")
    moved = {"type": "STOP_LOSS", "tradeID": "4", "price": "1.08"}
    assert desk.send("PUT", "/orders/5", {"order": moved}).status == 201
    assert desk.get("/trades/4")["trade"]["stopLossOrder"]["id"] == "7"
    desk.send("PUT", "/orders/7/cancel")
    assert "stopLossOrder" not in desk.get("/trades/4")["trade"]


def test_a_replacement_may_not_move_to_another_trade_or_instrument(desk: Desk) -> None:
    desk.quote("150.000", "150.020", "USD_JPY")
    for _ in range(2):
        desk.order(type="MARKET", units="1000")
    desk.order(type="STOP_LOSS", tradeID="4", price="1.09", instrument=None)
    other = {"type": "STOP_LOSS", "tradeID": "6", "price": "1.09"}
    refused = desk.send("PUT", "/orders/7", {"order": other})
    assert refused.body["errorCode"] == "REPLACING_TRADE_ID_INVALID"
    limit = desk.order(type="LIMIT", units="1", price="1.05")
    order_id = limit.body["orderCreateTransaction"]["id"]
    other = {"type": "LIMIT", "instrument": "USD_JPY", "units": "1", "price": "140"}
    refused = desk.send("PUT", f"/orders/{order_id}", {"order": other})
    assert refused.body["errorCode"] == "REPLACING_ORDER_INVALID"


@pytest.mark.parametrize(
    ("terms", "order", "reason"),
    [
        ({"open_trades_max": 1}, {}, "OPEN_TRADES_ALLOWED_EXCEEDED"),
        ({}, {"units": "-1", "positionFill": "OPEN_ONLY"}, "FIFO_VIOLATION"),
        (
            {},
            {"stopLossOnFill": {"price": "1.0", "clientExtensions": {"id": "used"}}},
            "STOP_LOSS_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS",
        ),
    ],
)
def test_limits_of_the_account_cancel_a_fill(
    make_desk: Any, terms: dict[str, Any], order: dict[str, Any], reason: str
) -> None:
    desk = make_desk(**terms)
    desk.order(type="MARKET", units="10", clientExtensions={"id": "used"})
    response = desk.order(**{"type": "MARKET", "units": "1"} | order)
    assert response.body["orderCancelTransaction"]["reason"] == reason


def test_what_waited_too_long_is_refused_when_it_fills(desk: Desk) -> None:
    stop = {"price": "1.0", "timeInForce": "GTD", "gtdTime": "2026-06-02T13:00:00Z"}
    desk.order(type="LIMIT", units="1", price="1.09", stopLossOnFill=stop)
    trade = {"id": "t"}
    desk.order(type="LIMIT", units="1", price="1.08", tradeClientExtensions=trade)
    desk.order(type="MARKET", units="1", tradeClientExtensions=trade)
    desk.later(3600)
    desk.quote("1.08990", "1.09000")
    assert desk.ledger.transactions[-1]["reason"] == "STOP_LOSS_ON_FILL_GTD_TIMESTAMP_IN_PAST"
    desk.quote("1.07990", "1.08000")
    assert desk.ledger.transactions[-1]["reason"] == "CLIENT_TRADE_ID_ALREADY_EXISTS"


def test_a_script_can_refuse_every_kind_of_change(desk: Desk) -> None:
    desk.order(type="MARKET", units="10")
    desk.order(type="LIMIT", units="1", price="1.0")
    limit = {"type": "LIMIT", "instrument": "EUR_USD", "units": "2", "price": "1.0"}
    force = Interference(reject="ACCOUNT_LOCKED")
    for path, body in (
        ("/orders/5/cancel", {}),
        ("/orders/5", {"order": limit}),
        ("/trades/4/close", {}),
        ("/trades/4/orders", {"stopLoss": {"price": "1.0"}}),
        ("/positions/EUR_USD/close", {"longUnits": "ALL"}),
    ):
        before = desk.ledger.last_id
        refused = desk.send("PUT", path, body, force)
        assert refused.status in (400, 404)
        assert refused.body["errorCode"] == "ACCOUNT_LOCKED"
        assert desk.types_since(before)[0].endswith("_REJECT")
    assert len(desk.ledger.pending) == len(desk.ledger.open) == 1
