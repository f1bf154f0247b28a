"""Requests of the trading adapter, and what each kind of answer proves."""

from __future__ import annotations

import json
from dataclasses import replace as changed
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sep_engine.errors import ArgumentError
from sep_engine.model import Instrument
from sep_engine.venues.oanda import orders
from sep_engine.venues.oanda.orders import (
    Entry,
    EntryType,
    Outcome,
    PositionFill,
    Refusal,
    RequestBudget,
    Stop,
    TimeInForce,
    classify,
    refusal_of,
)
from sep_oanda_server.matching import Interference

PAYLOADS = Path(__file__).parent / "payloads"
EUR_USD = Instrument(
    "EUR_USD", "EUR", "USD", Decimal("0.00001"), Decimal("0.0001"), Decimal(1), 5, "fx"
)
USD_JPY = Instrument(
    "USD_JPY", "USD", "JPY", Decimal("0.001"), Decimal("0.01"), Decimal(1), 3, "fx"
)
BUY = Entry("sep-1", EUR_USD, EntryType.MARKET, Decimal(1000))
LIMIT = Entry("sep-2", EUR_USD, EntryType.LIMIT, Decimal(-500), price=Decimal("1.2"))


def content(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


# -- requests ----------------------------------------------------------------------------------


def test_a_market_order_carries_its_name_bound_and_stop() -> None:
    entry = changed(
        BUY,
        price_bound=Decimal("1.1005"),
        stop_loss=Stop(distance=Decimal("0.003")),
        take_profit=Decimal("1.12"),
        tag="rule-3",
    )
    request = orders.place(entry)
    assert (request.method, request.path) == ("POST", "/orders")
    assert request.body == {
        "order": {
            "type": "MARKET",
            "instrument": "EUR_USD",
            "units": "1000",
            "timeInForce": "FOK",
            "positionFill": "DEFAULT",
            "clientExtensions": {"id": "sep-1", "tag": "rule-3"},
            "priceBound": "1.10050",
            "stopLossOnFill": {"distance": "0.00300", "timeInForce": "GTC"},
            "takeProfitOnFill": {"price": "1.12000", "timeInForce": "GTC"},
        }
    }


def test_a_pending_order_carries_price_and_expiry_in_the_instruments_precision() -> None:
    entry = Entry(
        "sep-3",
        USD_JPY,
        EntryType.STOP,
        Decimal(-700),
        price=Decimal("151.25"),
        time_in_force=TimeInForce.GTD,
        expires=datetime(2026, 1, 5, 21, tzinfo=UTC),
        position_fill=PositionFill.REDUCE_ONLY,
        trailing_distance=Decimal("0.5"),
    )
    body: Any = orders.place(entry).body
    assert body["order"] == {
        "type": "STOP",
        "instrument": "USD_JPY",
        "units": "-700",
        "timeInForce": "GTD",
        "gtdTime": "2026-01-05T21:00:00.000000000Z",
        "positionFill": "REDUCE_ONLY",
        "clientExtensions": {"id": "sep-3"},
        "price": "151.250",
        "triggerCondition": "DEFAULT",
        "trailingStopLossOnFill": {"distance": "0.500", "timeInForce": "GTC"},
    }


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (changed(BUY, client_id=""), "client_id must have 1 to 128 characters"),
        (changed(BUY, client_id="x" * 129), "client_id must have 1 to 128 characters"),
        (changed(BUY, units=Decimal(0)), "units must be a multiple of 1"),
        (changed(BUY, units=Decimal("0.5")), "units must be a multiple of 1"),
        (changed(BUY, units=Decimal("NaN")), "units must be a multiple of 1"),
        (changed(BUY, price=Decimal(1)), "every order but MARKET has a price"),
        (changed(LIMIT, price=None), "every order but MARKET has a price"),
        (changed(LIMIT, price=Decimal("1.200001")), "price must be a multiple > 0 of 0.00001"),
        (changed(LIMIT, price=Decimal("-1.2")), "price must be a multiple > 0 of 0.00001"),
        (changed(LIMIT, price_bound=Decimal("1.2")), "a LIMIT order's price is its bound"),
        (changed(BUY, time_in_force=TimeInForce.GTC), "a MARKET order is FOK or IOC"),
        (
            changed(LIMIT, type=EntryType.MARKET_IF_TOUCHED, time_in_force=TimeInForce.IOC),
            "a MARKET_IF_TOUCHED order is GTC, GTD or GFD",
        ),
        (changed(LIMIT, time_in_force=TimeInForce.GTD), "GTD, and only GTD"),
        (changed(LIMIT, expires=datetime(2026, 1, 1, tzinfo=UTC)), "GTD, and only GTD"),
    ],
)
def test_an_order_that_contradicts_itself_is_not_sent(entry: Entry, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        orders.place(entry)


def test_types_have_the_names_that_the_venue_knows() -> None:
    assert " ".join(EntryType) == "MARKET LIMIT STOP MARKET_IF_TOUCHED"
    assert " ".join(orders.DependentType) == "TAKE_PROFIT STOP_LOSS TRAILING_STOP_LOSS"
    assert " ".join(Outcome) == "RECORDED REFUSED AMBIGUOUS"
    assert " ".join(Refusal) == (
        "ACCOUNT CONFIGURATION DEPENDENT DUPLICATE FUNDS GONE INSTRUMENT MARKET OTHER POSITION "
        "PRICE REQUEST SIZE TIME_IN_FORCE VENUE"
    )


STOP_LOSS = orders.Dependent(
    "sep-4", EUR_USD, orders.DependentType.STOP_LOSS, "12", price=Decimal("1.09")
)
TRAILING = changed(
    STOP_LOSS,
    type=orders.DependentType.TRAILING_STOP_LOSS,
    price=None,
    distance=Decimal("0.002"),
    time_in_force=TimeInForce.GTD,
    expires=datetime(2026, 1, 5, 21, tzinfo=UTC),
)


def test_a_protective_order_names_its_trade_and_its_level() -> None:
    assert orders.place(STOP_LOSS) == orders.HttpRequest(
        "POST",
        "/orders",
        {
            "order": {
                "type": "STOP_LOSS",
                "tradeID": "12",
                "timeInForce": "GTC",
                "triggerCondition": "DEFAULT",
                "clientExtensions": {"id": "sep-4"},
                "price": "1.09000",
            }
        },
    )
    body: Any = orders.place(TRAILING).body
    assert body["order"] == {
        "type": "TRAILING_STOP_LOSS",
        "tradeID": "12",
        "timeInForce": "GTD",
        "gtdTime": "2026-01-05T21:00:00.000000000Z",
        "triggerCondition": "DEFAULT",
        "clientExtensions": {"id": "sep-4"},
        "distance": "0.00200",
    }
    assert orders.replace("@sep-4", STOP_LOSS).path == "/orders/@sep-4"


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (changed(STOP_LOSS, price=None), "a trailing stop has a distance, every other"),
        (changed(STOP_LOSS, distance=Decimal("0.1")), "a trailing stop has a distance"),
        (changed(TRAILING, price=Decimal("1.09")), "a trailing stop has a distance"),
        (changed(TRAILING, distance=None), "a trailing stop has a distance"),
        (changed(STOP_LOSS, time_in_force=TimeInForce.FOK), "a protective order is GTC, GTD"),
        (changed(STOP_LOSS, time_in_force=TimeInForce.GTD), "GTD, and only GTD"),
        (changed(TRAILING, distance=Decimal("0.000001")), "trailing distance must be a multiple"),
        (changed(TRAILING, distance=Decimal(0)), "trailing distance must be a multiple > 0"),
    ],
)
def test_a_protective_order_that_contradicts_itself_is_not_sent(
    order: orders.Dependent, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        orders.place(order)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (changed(BUY, price_bound=Decimal(0)), "price_bound must be a multiple > 0"),
        (changed(BUY, take_profit=Decimal(0)), "take_profit must be a multiple > 0"),
        (changed(BUY, stop_loss=Stop(price=Decimal(0))), "stop must be a multiple > 0"),
        (changed(BUY, stop_loss=Stop(distance=Decimal(0))), "stop distance must be a multiple"),
        (changed(BUY, trailing_distance=Decimal(0)), "trailing distance must be a multiple > 0"),
    ],
)
def test_a_level_that_is_none_is_named(entry: Entry, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        orders.place(entry)


def test_a_stop_at_a_price_and_units_of_an_instrument_with_parts_are_written_out() -> None:
    tenths = changed(EUR_USD, units_step=Decimal("0.1"))
    entry = changed(
        BUY, instrument=tenths, units=Decimal("2.5"), stop_loss=Stop(price=Decimal("1.09"))
    )
    body: Any = orders.place(entry).body
    assert body["order"]["units"] == "2.5"
    assert body["order"]["stopLossOnFill"] == {"price": "1.09000", "timeInForce": "GTC"}
    tens = changed(EUR_USD, units_step=Decimal(10))
    body = orders.place(changed(BUY, instrument=tens)).body
    assert body["order"]["units"] == "1000"


def test_names_of_up_to_128_characters_are_sent() -> None:
    body: Any = orders.place(changed(BUY, client_id="x" * 128, tag="y" * 128)).body
    assert body["order"]["clientExtensions"] == {"id": "x" * 128, "tag": "y" * 128}
    with pytest.raises(ArgumentError, match="client_id must have 1 to 128 characters"):
        orders.place(changed(BUY, tag="y" * 129))


def test_one_unit_can_be_closed_and_none_cannot() -> None:
    assert orders.close_trade("9", EUR_USD, Decimal(1)).body == {"units": "1"}
    with pytest.raises(ArgumentError, match="units to close must be > 0"):
        orders.close_trade("9", EUR_USD, Decimal(0))


def test_a_stop_is_a_price_or_a_distance() -> None:
    for stop in ({}, {"price": Decimal(1), "distance": Decimal(1)}):
        with pytest.raises(ArgumentError, match="a price or a distance"):
            Stop(**stop)


def test_changes_are_addressed_by_id_or_name() -> None:
    assert orders.cancel("@sep-1").path == "/orders/@sep-1/cancel"
    assert orders.cancel("7").path == "/orders/7/cancel"
    assert orders.cancel("@a/../b").path == "/orders/@a%2F..%2Fb/cancel"
    assert orders.replace("@sep-2", LIMIT).method == "PUT"
    assert orders.look_up("sep-1") == orders.HttpRequest("GET", "/orders/@sep-1")
    assert orders.close_position(EUR_USD, long=True).body == {
        "longUnits": "ALL", "shortUnits": "NONE",
    }  # fmt: skip
    assert orders.transactions_since(7) == orders.HttpRequest(
        "GET", "/transactions/sinceid", None, (("id", "7"),)
    )
    assert orders.close_trade("9", EUR_USD).body == {"units": "ALL"}
    assert orders.close_trade("9", EUR_USD, Decimal(40)).body == {"units": "40"}
    assert orders.close_position(EUR_USD, long=False, client_id="sep-8").body == {
        "shortUnits": "ALL",
        "longUnits": "NONE",
        "shortClientExtensions": {"id": "sep-8"},
    }
    for wrong in (
        lambda: orders.cancel("@"),
        lambda: orders.replace("1", BUY),
        lambda: orders.close_trade("9", EUR_USD, Decimal(-1)),
    ):
        with pytest.raises(ArgumentError):
            wrong()


# -- answers -----------------------------------------------------------------------------------


def test_a_filled_order_is_recorded() -> None:
    answer = classify(201, content("market_filled"))
    assert (answer.outcome, answer.reason) == (Outcome.RECORDED, "")
    assert [one.id for one in answer.transactions] == [2503, 2504]
    assert answer.missing_ids == ()
    assert answer.last_transaction_id == 2504
    filled = answer.first("ORDER_FILL")
    assert filled is not None
    assert filled.units == Decimal(10000)


def test_o21_a_created_order_that_was_cancelled_at_once_is_no_acceptance() -> None:
    answer = classify(201, content("market_cancelled"))
    assert (answer.outcome, answer.reason) == (Outcome.RECORDED, "STOP_LOSS_ON_FILL_LOSS")
    assert answer.rejected is None
    assert answer.first("ORDER_CANCEL") is not None


def test_a_replacement_shows_both_ids() -> None:
    answer = classify(201, content("order_replaced"))
    created = answer.first("LIMIT_ORDER")
    assert created is not None
    assert (created.order_id, created.client_id) == (6901, "sep-9")


@pytest.mark.parametrize(
    ("status", "name", "reason"),
    [
        (400, "order_rejected", "PRICE_PRECISION_EXCEEDED"),
        (404, "cancel_rejected", "ORDER_DOESNT_EXIST"),
    ],
)
def test_a_recorded_reject_is_definite(status: int, name: str, reason: str) -> None:
    answer = classify(status, content(name))
    assert (answer.outcome, answer.reason) == (Outcome.RECORDED, reason)
    assert answer.rejected is not None
    assert answer.rejected.reason == reason


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Invalid value specified for 'order.instrument'"),
        (401, "Insufficient authorization to perform request."),
        (403, "Insufficient authorization to perform request."),
        (404, "The order ID specified does not exist"),
        (405, "Method Not Allowed"),
    ],
)
def test_the_venues_own_error_without_a_transaction_is_a_refusal(status: int, message: str) -> None:
    answer = classify(status, json.dumps({"errorMessage": message}).encode())
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, message)
    assert answer.unauthorised == (status in (401, 403))


@pytest.mark.parametrize(
    "status", [100, 204, 301, 302, 307, 408, 409, 416, 500, 502, 503, 504, 520]
)
def test_o24_other_statuses_prove_nothing(status: int) -> None:
    for body in (
        b"",
        b'{"errorMessage": "Timeout waiting for response."}',
        content("market_filled"),
    ):
        answer = classify(status, body)
        assert (answer.outcome, answer.reason) == (Outcome.AMBIGUOUS, f"HTTP {status}")


@pytest.mark.parametrize("status", [200, 201, 400, 403, 404])
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Web server is down</html>", b"[]", b"{}", b'{"relatedTransactionIDs": ["x"]}'],
)
def test_a_body_that_is_not_the_venues_proves_nothing(status: int, body: bytes) -> None:
    assert classify(status, body).outcome == Outcome.AMBIGUOUS


def test_o22_a_cut_answer_proves_nothing_at_any_byte() -> None:
    for name, status in (("market_filled", 201), ("order_rejected", 400)):
        whole = content(name).rstrip()
        for size in range(len(whole)):
            assert classify(status, whole[:size]).outcome == Outcome.AMBIGUOUS
        assert classify(status, whole).outcome == Outcome.RECORDED


def test_an_accepting_status_with_a_reject_alone_proves_nothing() -> None:
    assert classify(201, content("order_rejected")).outcome == Outcome.AMBIGUOUS


def test_a_fill_whose_rest_could_not_be_reissued_is_still_a_fill() -> None:
    body = json.loads(content("market_filled"))
    reject = json.loads(content("order_rejected"))["orderRejectTransaction"]
    body["orderReissueRejectTransaction"] = reject | {"id": "2505", "batchID": "2503"}
    answer = classify(201, json.dumps(body).encode())
    assert answer.outcome == Outcome.RECORDED
    assert answer.rejected is None


def test_o23_too_many_requests_are_a_doubt() -> None:
    assert classify(429, b"").outcome == Outcome.AMBIGUOUS
    assert classify(429, content("market_filled")).outcome == Outcome.AMBIGUOUS


@pytest.mark.parametrize("reason", (PAYLOADS / "reject_reasons.txt").read_text().split())
def test_o20_every_reject_reason_is_definite_and_of_a_known_kind(reason: str) -> None:
    body = json.loads(content("order_rejected"))
    body["orderRejectTransaction"]["rejectReason"] = body["errorCode"] = reason
    answer = classify(400, json.dumps(body).encode())
    assert (answer.outcome, answer.reason) == (Outcome.RECORDED, reason)
    assert refusal_of(reason) != Refusal.OTHER


@pytest.mark.parametrize("reason", (PAYLOADS / "cancel_reasons.txt").read_text().split())
def test_o21_every_cancel_reason_is_definite_and_of_a_known_kind(reason: str) -> None:
    body = json.loads(content("market_cancelled"))
    body["orderCancelTransaction"]["reason"] = reason
    answer = classify(201, json.dumps(body).encode())
    assert (answer.outcome, answer.reason) == (Outcome.RECORDED, reason)
    ours = reason in ("CLIENT_REQUEST", "CLIENT_REQUEST_REPLACED")
    assert (refusal_of(reason) == Refusal.REQUEST) is ours


def test_there_are_143_reject_and_47_cancel_reasons() -> None:
    assert len(set((PAYLOADS / "reject_reasons.txt").read_text().split())) == 143
    assert len(set((PAYLOADS / "cancel_reasons.txt").read_text().split())) == 47


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("CLIENT_ORDER_ID_ALREADY_EXISTS", Refusal.DUPLICATE),
        ("STOP_LOSS_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS", Refusal.DUPLICATE),
        ("INSUFFICIENT_MARGIN", Refusal.FUNDS),
        ("ORDER_DOESNT_EXIST", Refusal.GONE),
        ("MARKET_HALTED", Refusal.MARKET),
        ("BOUNDS_VIOLATION", Refusal.PRICE),
        ("PRICE_PRECISION_EXCEEDED", Refusal.PRICE),
        ("UNITS_MIMIMUM_NOT_MET", Refusal.SIZE),
        ("ACCOUNT_LOCKED", Refusal.ACCOUNT),
        ("STOP_LOSS_ON_FILL_LOSS", Refusal.DEPENDENT),
        ("HEDGING_GSLO_VIOLATION", Refusal.DEPENDENT),
        ("LINKED_TRADE_CLOSED", Refusal.GONE),
        ("MIGRATION", Refusal.VENUE),
        ("ACCOUNT_POSITION_VALUE_LIMIT_EXCEEDED", Refusal.POSITION),
        ("LOSING_TAKE_PROFIT", Refusal.DEPENDENT),
        ("INSUFFICIENT_LIQUIDITY", Refusal.MARKET),
        ("INSTRUMENT_HALTED", Refusal.MARKET),
        ("REDUCE_ONLY_ORDER_WOULD_INCREASE", Refusal.MARKET),
        ("FIFO_VIOLATION", Refusal.POSITION),
        ("POSITION_SIZE_EXCEEDED", Refusal.POSITION),
        ("INSTRUMENT_PRICE_UNKNOWN", Refusal.INSTRUMENT),
        ("UNITS_LIMIT_EXCEEDED", Refusal.SIZE),
        ("SOMETHING_NEW", Refusal.OTHER),
    ],
)
def test_reasons_have_the_kind_that_they_name(reason: str, kind: Refusal) -> None:
    assert refusal_of(reason) == kind


def test_o20_a_reason_that_came_later_is_as_definite() -> None:
    body = json.loads(content("order_rejected"))
    body["orderRejectTransaction"]["rejectReason"] = "SOMETHING_NEW"
    answer = classify(400, json.dumps(body).encode())
    assert (answer.outcome, answer.reason) == (Outcome.RECORDED, "SOMETHING_NEW")


# -- both sides --------------------------------------------------------------------------------


def test_the_local_venue_understands_every_request_and_every_answer_is_understood(
    desk: Any,
) -> None:
    def send(request: orders.HttpRequest, force: Interference | None = None) -> orders.Answer:
        body = None if request.body is None else dict(request.body)
        answer = desk.send(request.method, request.path, body, force or Interference())
        return classify(answer.status, json.dumps(answer.body).encode())

    entry = changed(BUY, stop_loss=Stop(distance=Decimal("0.003")), take_profit=Decimal("1.2"))
    opened = send(orders.place(entry))
    assert [one.type for one in opened.transactions] == ["MARKET_ORDER", "ORDER_FILL"]
    assert opened.missing_ids == (5, 6)  # target and stop have to be read
    assert send(orders.place(entry)).reason == "CLIENT_ORDER_ID_ALREADY_EXISTS"
    assert send(orders.place(LIMIT)).outcome == Outcome.RECORDED
    moved = send(orders.replace("@sep-2", changed(LIMIT, price=Decimal("1.3"))))
    assert [one.type for one in moved.transactions] == ["ORDER_CANCEL", "LIMIT_ORDER"]
    assert send(orders.cancel("@sep-2")).reason == "CLIENT_REQUEST"
    assert send(orders.cancel("@sep-2")).reason == "ORDER_DOESNT_EXIST"
    part = send(orders.close_trade("4", EUR_USD, Decimal(400)))
    assert part.first("ORDER_FILL") is not None
    rest = send(orders.close_position(EUR_USD, long=True, client_id="sep-9"))
    assert rest.first("ORDER_FILL") is not None
    assert send(orders.close_position(EUR_USD, long=True)).rejected is not None
    halted = send(orders.place(changed(BUY, client_id="x")), Interference(cancel="MARKET_HALTED"))
    assert halted.reason == "MARKET_HALTED"


def test_the_budget_keeps_a_reserve_for_protective_requests() -> None:
    budget = RequestBudget(per_s=10, reserve=4)
    ordinary = [budget.wait_s(100.0, protective=False) for _ in range(7)]
    assert ordinary[:6] == [0.0] * 6
    assert ordinary[6] == pytest.approx(0.1)  # one more than the six that are not reserved
    protective = [budget.wait_s(100.0, protective=True) for _ in range(5)]
    assert protective[:4] == [0.0] * 4
    assert protective[4] == pytest.approx(0.1)
    assert budget.wait_s(100.25, protective=True) == 0.0
    with pytest.raises(ArgumentError, match=r"reserve must be in 0\.\.9"):
        RequestBudget(per_s=10, reserve=10)
