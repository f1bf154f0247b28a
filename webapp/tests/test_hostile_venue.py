"""Lines of a venue's ledger that could break our books: rare, unknown, or made to look like ours.

Each is written as OANDA writes it, read by the adapter's own code and applied to real rows.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from sep_engine.execution.core import Doubted, Judged, Timing, step
from sep_engine.execution.states import OrderState, OrderType, Origin, TradingMode
from webapp.tests.conftest import eur_usd
from webapp.trading.brokers.base import AccountReport
from webapp.trading.brokers.oanda.facts import transactions_of
from webapp.trading.models import (
    BrokerAccount,
    BrokerFact,
    EventLog,
    Fill,
    Instrument,
    Order,
    Position,
    Trade,
    TradingState,
)
from webapp.trading.selectors.balance import account_balance
from webapp.trading.services import order_path
from webapp.trading.services.order_facts import facts_apply
from webapp.trading.services.order_steps import record_of
from webapp.trading.services.orders import order_change, order_submit
from webapp.trading.services.reconciliation import books_compare, reconciliation_record
from webapp.trading.services.refusals import KeyReused

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TIMING = Timing()
D = Decimal
pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> BrokerAccount:
    account = BrokerAccount.objects.create(
        name="OANDA", kind="oanda-local", opening_balance=D(100_000)
    )
    TradingState.objects.create(scope="GLOBAL", changed_at=NOW)
    TradingState.objects.create(scope="ACCOUNT", account=account, changed_at=NOW)
    eur_usd()
    return account


@pytest.fixture
def told(account: BrokerAccount) -> Callable[..., None]:
    """Apply lines of the ledger; their ids follow the last applied one unless given."""

    def tell(*lines: dict[str, Any]) -> None:
        account.refresh_from_db()
        numbered = [
            {"id": str(number), "batchID": str(number), "time": "2026-01-05T12:00:00.000000000Z"}
            | line
            for number, line in enumerate(lines, start=account.last_transaction_id + 1)
        ]
        facts_apply(account_id=account.pk, facts=transactions_of(numbered), now=NOW, timing=TIMING)

    return tell


def market(units: str, name: str = "", **more: Any) -> dict[str, Any]:
    extensions = {"clientExtensions": {"id": name}} if name else {}
    return {
        "type": "MARKET_ORDER",
        "instrument": "EUR_USD",
        "units": units,
        "timeInForce": "FOK",
        "reason": "CLIENT_ORDER",
        **extensions,
        **more,
    }


def fill(order: int, units: str, name: str = "", **more: Any) -> dict[str, Any]:
    named = {"clientOrderID": name} if name else {}
    return {
        "type": "ORDER_FILL",
        "orderID": str(order),
        "instrument": "EUR_USD",
        "units": units,
        "price": "1.10000",
        "pl": "0.0000",
        "accountBalance": "100000.0000",
        **named,
        **more,
    }


def opened(trade: int, units: str) -> dict[str, Any]:
    return {"tradeOpened": {"tradeID": str(trade), "units": units, "price": "1.10000"}}


def sent(account: BrokerAccount, **terms: Any) -> Order:
    """An order of ours that is SENDING: claimed, its answer not known."""
    wanted: dict[str, Any] = {"units": D(1000), "origin": Origin.PERSON}
    order = order_submit(
        account=account,
        instrument=Instrument.objects.get(name="EUR_USD"),
        now=NOW,
        **wanted | terms,
    )
    order.state = step(record_of(order), Judged(), NOW, TIMING).order.state
    order.save()
    (claimed,) = order_path.orders_claim(
        account_id=account.pk, order_ids=[order.pk], epoch=0, now=NOW, timing=TIMING
    )
    return claimed


def state() -> str:
    return str(TradingState.objects.get(scope="ACCOUNT").state)


def test_o27_a_trade_with_its_stop_in_an_instrument_that_we_do_not_know_halts_and_is_read_once(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    # Somebody trades US30 in the venue's app with a stop. What follows is read all the same.
    told(
        market("1", instrument="US30_USD"),
        fill(1, "1", instrument="US30_USD", **opened(2, "1")),
        {"type": "STOP_LOSS_ORDER", "tradeID": "2", "price": "30000.0", "reason": "ON_FILL"},
        market("100"),
        fill(4, "100", **opened(5, "100")),
    )
    account.refresh_from_db()
    assert account.last_transaction_id == BrokerFact.objects.count() == 5
    assert Position.objects.get().units == 100
    assert state() == TradingMode.HALTED
    assert TradingState.objects.get(scope="ACCOUNT").reason.startswith("transaction 1 is about")


@pytest.mark.parametrize(
    "name",
    ["{ours}", "x" * 128, "venue-1-1"],
    ids=["that-of-our-order", "longer-than-ours-are", "that-of-an-adopted-order"],
)
def test_o28_a_stop_that_somebody_named_as_they_liked_keeps_the_venues_id_as_its_name(
    account: BrokerAccount, told: Callable[..., None], name: str
) -> None:
    ours = sent(account)
    told(market("1000", ours.client_id), fill(1, "1000", ours.client_id, **opened(2, "1000")))
    named = {"clientExtensions": {"id": name.format(ours=ours.client_id)}}
    told(
        market("500"),
        fill(3, "500", **opened(4, "500")),
        {"type": "STOP_LOSS_ORDER", "tradeID": "4", "price": "1.09", "reason": "ON_FILL", **named},
    )
    stop = Order.objects.get(type=OrderType.STOP_LOSS)
    assert (stop.client_id, stop.venue_order_id) == (f"venue-{account.pk}-5", "5")
    # And what is told of it by that name is about it and nothing else.
    told(
        {"type": "ORDER_CANCEL", "orderID": "5", "clientOrderID": name, "reason": "CLIENT_REQUEST"}
    )
    stop.refresh_from_db()
    ours.refresh_from_db()
    assert (stop.state, ours.state, state()) == ("CANCELLED", "FILLED", "ACTIVE")


def test_o19_an_order_that_fills_in_two_parts_brings_two_stops_of_one_name(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    ours = sent(account, type=OrderType.LIMIT, price=D("1.1"), stop_loss=D("1.09"))
    name = ours.client_id
    limit = {"type": "LIMIT_ORDER", "instrument": "EUR_USD", "timeInForce": "GTC", "price": "1.1"}
    named = {"clientExtensions": {"id": name}}
    stop = {
        "type": "STOP_LOSS_ORDER",
        "price": "1.09",
        "reason": "ON_FILL",
        "clientExtensions": {"id": f"{name}-sl"},
    }
    told(
        limit | named | {"units": "1000", "reason": "CLIENT_ORDER"},
        fill(1, "400", name, **opened(2, "400")),
        stop | {"tradeID": "2"},
        limit | named | {"units": "600", "reason": "REPLACEMENT", "replacesOrderID": "1"},
        fill(4, "600", name, **opened(5, "600")),
        stop | {"tradeID": "5"},
    )
    ours.refresh_from_db()
    assert (ours.state, ours.filled_units) == ("FILLED", 1000)
    stops = Order.objects.filter(type=OrderType.STOP_LOSS).order_by("pk")
    assert [(one.client_id, one.units, one.trade_id, one.parent) for one in stops] == [
        (f"{name}-sl", -400, "2", ours),
        (f"venue-{account.pk}-6", -600, "5", ours),
    ]
    assert state() == TradingMode.ACTIVE


def test_o27_an_order_made_beside_us_that_fills_in_part_leaves_the_rest_under_its_own_id(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    limit = {"type": "LIMIT_ORDER", "instrument": "EUR_USD", "timeInForce": "GTC", "price": "1.1"}
    told(
        limit | {"units": "1000", "reason": "CLIENT_ORDER"},
        fill(1, "400", **opened(2, "400")),
        limit | {"units": "600", "reason": "REPLACEMENT", "replacesOrderID": "1"},
    )
    orders = Order.objects.order_by("pk").values_list("venue_order_id", "units", "state")
    # The venue is done with order 1 and has order 3; a cancel must name that one.
    assert list(orders.all()) == [("1", 1000, "FILLED"), ("3", 600, "ACCEPTED")]
    told({"type": "ORDER_CANCEL", "orderID": "3", "reason": "CLIENT_REQUEST"})
    assert list(orders.all()) == [("1", 1000, "FILLED"), ("3", 600, "CANCELLED")]
    assert (Position.objects.get().units, state()) == (400, "ACTIVE")


def test_o29_a_margin_closeout_is_not_taken_for_our_close_of_that_trade(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    told(market("1000"), fill(1, "1000", **opened(2, "1000")))
    ours = sent(account, units=D(-1000), reduce_only=True, trade=Trade.objects.get())
    order_path.order_happened(order_id=ours.pk, event=Doubted("cut"), now=NOW, timing=TIMING)
    closed = {"tradesClosed": [{"tradeID": "2", "units": "-1000", "price": "1.10000"}]}
    told(
        market(
            "-1000",
            reason="MARGIN_CLOSEOUT",
            marginCloseout={"reason": "MARGIN_CHECK_VIOLATION"},
            tradeClose={"tradeID": "2", "units": "ALL"},
        ),
        fill(3, "-1000", reason="MARKET_ORDER_MARGIN_CLOSEOUT", **closed),
        {
            "type": "MARKET_ORDER_REJECT",
            "instrument": "EUR_USD",
            "units": "-1000",
            "reason": "TRADE_CLOSE",
            "rejectReason": "TRADE_DOESNT_EXIST",
            "tradeClose": {"tradeID": "2", "units": "1000"},
        },
    )
    ours.refresh_from_db()
    assert (ours.state, ours.filled_units) == (OrderState.REJECTED, 0)
    closing = Order.objects.get(venue_order_id="3")
    assert (closing.origin, closing.state) == (Origin.EXTERNAL, "FILLED")
    assert Position.objects.get().units == 0
    assert state() == TradingMode.ACTIVE


def test_o28_a_reject_that_is_told_twice_is_applied_once(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    ours = sent(account)
    reject = market("1000", ours.client_id, type="MARKET_ORDER_REJECT", rejectReason="X", id="1")
    told(reject)
    told(reject)
    ours.refresh_from_db()
    assert (ours.state, BrokerFact.objects.count()) == ("REJECTED", 1)
    assert EventLog.objects.filter(stream="orders", data__state="REJECTED").count() == 1


def test_o1_a_change_that_is_asked_for_again_is_the_same_though_the_order_filled_in_part(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    old = sent(account, type=OrderType.LIMIT, price=D("1.1"), stop_distance=D("0.01"))
    named = {"clientExtensions": {"id": old.client_id}}
    limit = {"type": "LIMIT_ORDER", "instrument": "EUR_USD", "timeInForce": "GTC", "price": "1.1"}
    told(limit | named | {"units": "1000", "reason": "CLIENT_ORDER"})

    def change(price: str) -> Order:
        changes = {"price": D(price)}
        return order_change(order_id=old.pk, changes=changes, idempotency_key="k", now=NOW)

    new = change("1.09")
    assert new.units == 1000
    told(
        fill(1, "400", old.client_id, **opened(2, "400")),
        limit | named | {"units": "600", "reason": "REPLACEMENT", "replacesOrderID": "1"},
    )
    assert change("1.090").pk == new.pk
    with pytest.raises(KeyReused):
        change("1.08")
    assert Order.objects.filter(replaces=old).count() == 1


def test_o18_a_trader_of_an_older_epoch_judges_nothing(account: BrokerAccount) -> None:
    order = order_submit(
        account=account,
        instrument=Instrument.objects.get(),
        units=D(1000),
        origin=Origin.PERSON,
        now=NOW,
    )
    BrokerAccount.objects.update(epoch=2)

    def judging() -> Any:
        raise AssertionError("its books are old")

    with pytest.raises(order_path.StaleEpoch, match="is at epoch 2, we are 1"):
        order_path.orders_judge(
            account_id=account.pk,
            order_ids=[order.pk],
            epoch=1,
            judging=judging,
            now=NOW,
            timing=TIMING,
        )
    order.refresh_from_db()
    assert order.state == OrderState.CREATED


def transfer(amount: str, after: str) -> dict[str, Any]:
    return {"type": "TRANSFER_FUNDS", "amount": amount, "accountBalance": after}


def test_money_that_comes_to_an_emptied_account_is_counted_and_what_it_began_with_is_not(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    told({"type": "CREATE"}, transfer("100000.0000", "100000.0000"))
    assert account_balance(account) == 100_000
    told(transfer("-100000.0000", "0.0000"))
    told(transfer("700.0000", "700.0000"))
    assert account_balance(account) == 700


def test_a_balance_that_differs_is_said_once_until_it_differs_by_something_else(
    account: BrokerAccount,
) -> None:
    # Our books hold 100,000; the venue took 12 that it did not tell of, then 3 more.
    for balance in ("99988", "99988.004", "99985", "100000"):
        report = AccountReport(0, D(balance), {}, ())
        reconciliation_record(
            account=account,
            cause="minute",
            started_at=NOW,
            now=NOW,
            comparison=books_compare(account, report),
        )
    alerts = EventLog.objects.filter(stream="alerts").order_by("seq")
    assert [event.data["text"].partition(":")[0] for event in alerts] == [
        "The balance is 100000.00 USD by our books and 99988.00 by the venue's",
        "The balance is 100000.00 USD by our books and 99985.00 by the venue's",
    ]
    assert state() == TradingMode.ACTIVE


def test_a_margin_call_and_money_that_nobody_explains_are_said(
    account: BrokerAccount, told: Callable[..., None]
) -> None:
    told(
        {"type": "MARGIN_CALL_ENTER"},
        {"type": "ACCOUNT_FEE", "amount": "-12.0000", "accountBalance": "99988.0000"},
        {"type": "CLIENT_CONFIGURE", "alias": "mine"},
    )
    alerts = EventLog.objects.filter(stream="alerts").order_by("seq")
    assert [event.data["text"] for event in alerts] == [
        "The venue says MARGIN_CALL_ENTER (transaction 1).",
        "Transaction 2 is of a kind that we do not know, ACCOUNT_FEE.",
    ]
    assert BrokerFact.objects.count() == 3
    assert not Fill.objects.exists()
