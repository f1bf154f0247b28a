"""OANDA's transactions as those of the port: what each line of the ledger says of an order."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from sep_engine.errors import DataError
from webapp.trading.brokers.base import Kind, TradeChange, Transaction
from webapp.trading.brokers.oanda.facts import fills_wanted, transactions_of

D = Decimal
TIME = "2026-01-07T10:00:00.000000000Z"


def line(number: int, type_: str, **fields: Any) -> dict[str, Any]:
    return {"id": str(number), "type": type_, "time": TIME, "instrument": "EUR_USD", **fields}


def one(*lines: dict[str, Any], **more: Any) -> Transaction:
    """Return what the last line says."""
    return transactions_of(lines, **more)[-1]


LIMIT = line(
    7, "LIMIT_ORDER", units="-500", price="1.2", timeInForce="GTD", gtdTime="2026-01-08T00:00:00Z",
    reason="CLIENT_ORDER", clientExtensions={"id": "sep-1"}, replacesOrderID="3",
    cancellingTransactionID="6",
)  # fmt: skip
OPENING = line(
    8, "ORDER_FILL", orderID="5", units="1000", price="1.1",
    tradeOpened={"tradeID": "8", "units": "1000", "price": "1.1"},
)  # fmt: skip


def test_an_order_that_the_venue_took_carries_all_its_terms() -> None:
    assert one(LIMIT) == Transaction(
        id=7,
        kind=Kind.ACCEPTED,
        time=datetime(2026, 1, 7, 10, tzinfo=UTC),
        venue_order_id="7",
        client_id="sep-1",
        instrument="EUR_USD",
        reason="CLIENT_ORDER",
        order_type="LIMIT",
        units=D(-500),
        price=D("1.2"),
        time_in_force="GTD",
        good_until=datetime(2026, 1, 8, tzinfo=UTC),
        replaces_id="3",
        raw=LIMIT,
    )
    bare = one(line(7, "MARKET_ORDER"))
    assert (bare.kind, bare.units, bare.price, bare.distance) == (Kind.ACCEPTED, 0, None, None)
    assert (bare.good_until, bare.replaces_id, bare.trade_id) == (None, "", "")


def test_what_is_left_of_an_order_goes_on_under_its_name() -> None:
    rest = line(9, "LIMIT_ORDER", units="-300", replacesOrderID="7")
    named = rest | {"clientExtensions": {"id": "sep-1"}}
    fill = line(8, "ORDER_FILL", orderID="7", units="-200", price="1.2")
    part, on = transactions_of([named, fill])
    assert (part.id, part.kind, part.final) == (8, Kind.FILLED, False)
    assert on.kind == Kind.OTHER
    # Without a name the venue's id is all there is: another order, and this fill was the last.
    part, other = transactions_of([rest, fill])
    assert (part.final, other.kind) == (True, Kind.ACCEPTED)


def test_a_fill_tells_its_money_and_each_trade() -> None:
    source = OPENING | {
        "pl": "-3.5", "halfSpreadCost": "0.5", "financing": "-0.25", "commission": "0.75",
        "guaranteedExecutionFee": "0.125",
        "tradesClosed": [{"tradeID": "4", "units": "-40", "realizedPL": "-3.5"}],
    }  # fmt: skip
    fill = one(source)
    assert (fill.kind, fill.units, fill.price, fill.final) == (Kind.FILLED, D(1000), D("1.1"), True)
    assert (fill.realised_pl, fill.half_spread_cost, fill.financing) == (
        D("-3.5"), D("0.5"), D("-0.25"),
    )  # fmt: skip
    # 0.75 and the premium of a guaranteed stop, 0.125.
    assert fill.commission == D("0.875")
    # What the fill closed without a price of its own went at the fill's; the opened one is last.
    assert fill.trades == (
        TradeChange("4", D(-40), D("1.1"), D("-3.5"), False),
        TradeChange("8", D(1000), D("1.1"), D(0), True),
    )


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("TIME_IN_FORCE_EXPIRED", Kind.EXPIRED),
        ("CLIENT_REQUEST_REPLACED", Kind.REPLACED),
        ("CLIENT_REQUEST", Kind.CANCELLED),
        ("OF_A_NEW_KIND", Kind.CANCELLED),
    ],
)
def test_the_reason_of_a_cancel_says_how_an_order_ended(reason: str, kind: Kind) -> None:
    ended = one(line(9, "ORDER_CANCEL", orderID="7", reason=reason, clientOrderID="sep-1"))
    assert (ended.kind, ended.venue_order_id, ended.client_id) == (kind, "7", "sep-1")
    assert ended.reason == reason


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("ORDER_DOESNT_EXIST", Kind.OTHER), ("ORDER_CANCEL_LOCKED", Kind.CANCEL_REFUSED)],
)
def test_a_refused_cancel_leaves_an_order_that_is_there(reason: str, kind: Kind) -> None:
    refused = one(line(9, "ORDER_CANCEL_REJECT", orderID="7", rejectReason=reason))
    assert (refused.kind, refused.notice) == (kind, "")


@pytest.mark.parametrize("type_", ["MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "STOP_LOSS"])
def test_a_refused_order_is_rejected_unless_its_name_was_taken(type_: str) -> None:
    source = line(9, f"{type_}_ORDER_REJECT", clientExtensions={"id": "sep-1"})
    refused = one(source | {"rejectReason": "INSUFFICIENT_MARGIN"})
    assert (refused.kind, refused.client_id) == (Kind.REJECTED, "sep-1")
    taken = one(source | {"rejectReason": "CLIENT_ORDER_ID_ALREADY_EXISTS"})
    # It says nothing of the order that has the name.
    assert (taken.kind, taken.client_id) == (Kind.OTHER, "")


@pytest.mark.parametrize(
    ("close", "trade_id", "units"),
    [
        ({"tradeClose": {"tradeID": "4", "units": "40"}}, "4", 40),
        ({"tradeClose": {"tradeID": "4", "units": "ALL"}}, "4", 0),
        ({"tradeClose": {"tradeID": "4"}}, "4", 0),
        ({}, "", 0),
    ],
)
def test_a_refused_close_names_its_trade_and_how_much_of_it(
    close: dict[str, Any], trade_id: str, units: int
) -> None:
    refused = one(line(9, "MARKET_ORDER_REJECT", rejectReason="CLOSE_TRADE_UNITS", **close))
    assert (refused.trade_id, refused.units) == (trade_id, units)


def test_a_close_by_the_venue_itself_is_no_wish_of_ours() -> None:
    close = line(9, "MARKET_ORDER", tradeClose={"tradeID": "4"}, units="-40")
    assert one(close | {"reason": "TRADE_CLOSE"}).trade_id == "4"
    for reason in ("MARGIN_CLOSEOUT", "DELAYED_TRADE_CLOSE"):
        assert one(close | {"reason": reason}).trade_id == ""


def test_a_stop_wants_the_opposite_of_what_its_trade_opened() -> None:
    stop = line(9, "STOP_LOSS_ORDER", tradeID="8", price="1.09", reason="ON_FILL", instrument="")
    hung = transactions_of([stop, OPENING])[1]
    assert (hung.kind, hung.order_type, hung.trade_id) == (Kind.DEPENDENT, "STOP_LOSS", "8")
    assert (hung.parent_id, hung.instrument, hung.units) == ("5", "EUR_USD", -1000)
    # The fill may have been read before; asked for, it says the same.
    assert fills_wanted([stop]) == {8}
    assert fills_wanted([stop, OPENING]) == set()
    assert fills_wanted([LIMIT, line(9, "STOP_LOSS_ORDER")]) == set()
    assert one(stop, fills=[OPENING]) == hung
    # Placed later by somebody, it belongs to no order that brought it.
    later = one(stop | {"reason": "CLIENT_ORDER"}, fills=[OPENING])
    assert (later.kind, later.parent_id, later.units) == (Kind.ACCEPTED, "", -1000)
    alone = one(stop)
    assert (alone.kind, alone.parent_id, alone.units, alone.trade_id) == (
        Kind.ACCEPTED, "", 0, "8",
    )  # fmt: skip


def test_a_trailing_stop_keeps_its_distance() -> None:
    trailing = line(9, "TRAILING_STOP_LOSS_ORDER", tradeID="8", distance="0.002")
    assert one(trailing).distance == D("0.002")


@pytest.mark.parametrize(
    ("type_", "key"),
    [
        ("DAILY_FINANCING", "financing"),
        ("TRANSFER_FUNDS", "amount"),
        ("DIVIDEND_ADJUSTMENT", "dividendAdjustment"),
    ],
)
def test_money_that_moves_without_an_order_is_a_charge(type_: str, key: str) -> None:
    charge = one(line(9, type_, accountBalance="100", **{key: "-2.5"}))
    assert (charge.kind, charge.amount, charge.reason) == (Kind.CHARGE, D("-2.5"), type_)
    assert (charge.to_empty, charge.notice) == (False, "")
    # Only a transfer opens an account: the balance is then what came in.
    first = one(line(1, type_, accountBalance="100", **{key: "100"}))
    assert first.to_empty is (type_ == "TRANSFER_FUNDS")
    assert one(line(9, type_)).amount == 0


def test_what_a_person_should_know_is_said_and_what_changes_nothing_is_not() -> None:
    said = one(line(9, "MARGIN_CALL_ENTER"))
    assert said.notice == "The venue says MARGIN_CALL_ENTER (transaction 9)."
    assert (said.kind, one(line(9, "CLOSE")).kind) == (Kind.OTHER, Kind.OTHER)
    new = one(line(9, "OF_A_NEW_KIND"))
    assert new.notice == "Transaction 9 is of a kind that we do not know, OF_A_NEW_KIND."
    for quiet in ("CREATE", "CLIENT_CONFIGURE", "RESET_RESETTABLE_PL", "CLIENT_CONFIGURE_REJECT"):
        assert one(line(9, quiet)).notice == ""


def test_lines_are_told_oldest_first_and_none_of_another_account_is_believed() -> None:
    told = transactions_of([line(9, "CLOSE"), line(10, "CLOSE"), line(8, "CLOSE")])
    assert [fact.id for fact in told] == [8, 9, 10]
    ours, theirs = line(8, "CLOSE", accountID="a"), line(9, "CLOSE", accountID="b")
    assert [fact.id for fact in transactions_of([ours, theirs])] == [8, 9]
    # One that names no account is of the one that was asked.
    assert len(transactions_of([ours, line(9, "CLOSE")], account="a")) == 2
    with pytest.raises(DataError, match="transaction 9 is of account b"):
        transactions_of([ours, theirs], account="a")
