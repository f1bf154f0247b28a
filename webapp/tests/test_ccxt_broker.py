"""A spot exchange through ccxt itself, against a server that speaks as Binance does."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sep_engine.execution.states import OrderType, PositionFill, TimeInForce
from webapp.tests.fake_exchange import Exchange, serving
from webapp.trading.brokers import registry
from webapp.trading.brokers.base import (
    BrokerError,
    BrokerUnsure,
    Kind,
    Listening,
    OrderRequest,
    Reached,
)
from webapp.trading.brokers.ccxt.adapter import CcxtBroker, open_sandbox
from webapp.trading.brokers.ccxt.parse import Seen, wire_id
from webapp.trading.models import BrokerAccount

D = Decimal
ORDER = OrderRequest(
    client_id="sep-0123",
    instrument="EUR_USD",
    type=OrderType.MARKET,
    units=D(1000),
)
LIMIT = replace(ORDER, type=OrderType.LIMIT, price=D("1.0900"), time_in_force=TimeInForce.GTC)


class Desk:
    """The exchange, and the broker that trades at it."""

    def __init__(self, address: str, exchange: Exchange, path: Path) -> None:
        self.address, self.exchange, self.path = address, exchange, path
        self.open()

    def open(self) -> None:
        client = open_sandbox("binance", "key:secret", address=self.address)
        client.enableRateLimit = False
        self.broker = CcxtBroker(
            exchange=client,
            path=self.path,
            currency="USD",
            opening_balance=D(50_000),
            account_key=1,
        )

    def ask(self, what: str, *words: Any) -> Any:
        async def asked() -> Any:
            return await getattr(self.broker, what)(*words)

        return asyncio.run(asked())

    def kinds(self) -> list[Kind]:
        return [fact.kind for fact in self.ask("transactions_since", 0)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    exchange = Exchange()
    with serving(exchange) as address:
        one = Desk(address, exchange, tmp_path / "ledger.sqlite3")
        yield one
        one.ask("close")


def test_a_round_trip_is_booked_to_the_cent(desk: Desk) -> None:
    desk.exchange.fee = D("0.25")
    accepted, filled = desk.ask("submit", ORDER)
    assert (accepted.kind, accepted.client_id, accepted.units) == (Kind.ACCEPTED, "sep-0123", 1000)
    assert (filled.id, filled.units, filled.price) == (2, 1000, D("1.1002"))
    assert (filled.final, filled.commission) == (True, D("0.25"))
    report = desk.ask("account")
    # The 7 EUR that were there before are not a position; the money in the position is not gone.
    assert (report.positions, report.balance) == ({"EUR_USD": 1000}, D("49999.75"))
    desk.exchange.quote("1.1010", "1.1012")
    *_, sold = desk.ask("submit", replace(ORDER, client_id="out", units=D(-1000), reduce_only=True))
    # Bought at 1.1002, sold at 1.1010: 1,000 * 0.0008.
    assert (sold.units, sold.realised_pl) == (-1000, D("0.8"))
    report = desk.ask("account")
    # 50,000 + 0.80 - 2 * 0.25.
    assert (report.positions, report.balance) == ({}, D("50000.3"))
    assert report.last_transaction_id == 4


def test_the_exchange_gets_the_order_under_its_name(desk: Desk) -> None:
    desk.ask("submit", replace(LIMIT, client_id="sep-" + 32 * "a"))
    name = desk.exchange.orders[0]["clientOrderId"]
    assert name == wire_id("sep-" + 32 * "a")
    assert len(name) == 32
    assert name.isalnum()


@pytest.mark.parametrize("fault", ["cut", "500"])
def test_a_lost_answer_is_a_doubt_that_the_name_ends(desk: Desk, fault: str) -> None:
    desk.exchange.fault = fault
    with pytest.raises(BrokerUnsure):
        desk.ask("submit", ORDER)
    found = desk.ask("order_by_client_id", "sep-0123")
    assert (found.venue_order_id, found.working) == ("101", False)
    assert desk.kinds() == [Kind.ACCEPTED, Kind.FILLED]
    # One request made it, and asking for the same again sends nothing.
    assert desk.ask("submit", ORDER) == []
    assert desk.exchange.asked["POST order"] == 1


def test_an_order_that_never_came_is_not_there_and_not_sent_again(desk: Desk) -> None:
    desk.exchange.fault = "drop"
    with pytest.raises(BrokerUnsure):
        desk.ask("submit", ORDER)
    assert desk.ask("order_by_client_id", "sep-0123") is None
    assert desk.ask("submit", ORDER) == []
    assert (desk.exchange.asked["POST order"], desk.kinds()) == (1, [])


def test_what_was_done_is_known_after_a_restart_without_the_ledger_telling_it(desk: Desk) -> None:
    desk.exchange.fault = "cut"
    with pytest.raises(BrokerUnsure):
        desk.ask("submit", LIMIT)
    desk.ask("close")
    desk.open()
    assert desk.kinds() == [Kind.ACCEPTED]
    desk.exchange.quote("1.0890", "1.0892")
    facts = desk.ask("transactions_since", 1)
    assert [(one.kind, one.id, one.price) for one in facts] == [(Kind.FILLED, 2, D("1.0892"))]


def test_each_fill_is_booked_once_and_a_cancel_ends_the_rest(desk: Desk) -> None:
    desk.exchange.fault = "partial"
    _, part = desk.ask("submit", replace(LIMIT, price=D("1.1002")))
    assert (part.units, part.final) == (400, False)
    assert desk.ask("transactions_since", part.id) == []
    left = desk.ask("account").open_orders
    assert [(one.client_id, one.units) for one in left] == [("sep-0123", 600)]
    (ended,) = desk.ask("cancel", "sep-0123")
    assert (ended.kind, ended.id) == (Kind.CANCELLED, 3)
    assert desk.ask("cancel", "sep-0123") == []


def test_an_end_waits_for_the_fills_before_it(desk: Desk) -> None:
    desk.exchange.hidden_trades = True
    desk.ask("submit", ORDER)
    assert desk.kinds() == [Kind.ACCEPTED]
    assert desk.ask("order_by_client_id", "sep-0123").working
    desk.exchange.hidden_trades = False
    assert desk.kinds() == [Kind.ACCEPTED, Kind.FILLED]


def test_a_refusal_of_the_exchange_ends_the_order(desk: Desk) -> None:
    (refused,) = desk.ask("submit", replace(ORDER, units=D(90_000)))
    assert (refused.kind, refused.client_id) == (Kind.REJECTED, "sep-0123")
    assert refused.reason.startswith("InsufficientFunds")
    assert not desk.ask("order_by_client_id", "sep-0123").working


def test_more_than_was_bought_is_not_sold(desk: Desk) -> None:
    # The exchange holds 7 EUR that are not ours.
    (refused,) = desk.ask("submit", replace(ORDER, units=D(-5)))
    assert refused.reason.startswith("UNITS_EXCEED_POSITION")
    assert desk.exchange.asked["POST order"] == 0


def test_a_worst_price_makes_a_limit_that_does_not_rest(desk: Desk) -> None:
    facts = desk.ask("submit", replace(ORDER, price_bound=D("1.1001")))
    sent = desk.exchange.orders[0]
    assert (sent["type"], sent["timeInForce"], D(sent["price"])) == ("LIMIT", "IOC", D("1.1001"))
    assert [fact.kind for fact in facts] == [Kind.ACCEPTED, Kind.EXPIRED]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (replace(LIMIT, type=OrderType.STOP), "takes MARKET and LIMIT orders here, not STOP"),
        (replace(LIMIT, time_in_force=TimeInForce.GTD), "GTC, IOC and FOK here, not GTD"),
        (replace(ORDER, stop_distance=D("0.01")), "takes no stop_distance"),
        (replace(ORDER, take_profit=D("1.2")), "takes no take_profit"),
        (replace(ORDER, trade_id="7"), "takes no trade_id"),
        (replace(ORDER, position_fill=PositionFill.OPEN_ONLY), "takes no OPEN_ONLY"),
        (replace(ORDER, units=D("1000.5")), "takes no amount of 1000.5, only 1000"),
        (replace(LIMIT, price=D("1.09001")), "takes no price of 1.09001"),
        (replace(ORDER, instrument="GBP_USD"), "no spot market GBP_USD"),
    ],
)
def test_what_an_exchange_cannot_do_is_refused_by_name(
    desk: Desk, order: OrderRequest, message: str
) -> None:
    with pytest.raises(BrokerError, match=message):
        desk.ask("submit", order)
    with pytest.raises(BrokerError, match="changes no order in one step"):
        desk.ask("replace", "x", order)
    assert desk.exchange.asked["POST order"] == 0
    assert desk.ask("order_by_client_id", order.client_id) is None


def test_an_order_made_beside_us_and_a_fee_in_coin_show_as_differences(desk: Desk) -> None:
    desk.exchange.fee, desk.exchange.fee_asset = D("1"), "EUR"
    _, filled = desk.ask("submit", ORDER)
    assert (filled.commission, filled.reason) == (0, "a fee of 1 EUR is not in the books")
    desk.exchange.place(
        {
            "side": "BUY",
            "type": "LIMIT",
            "price": "1.0",
            "quantity": "5",
            "newClientOrderId": "theirs",
        }
    )
    report = desk.ask("account")
    assert report.positions == {"EUR_USD": 999}
    assert [one.client_id for one in report.open_orders] == ["venue-1-102"]
    desk.ask("cancel", "venue-1-102")
    assert desk.exchange.orders[1]["status"] == "CANCELED"


def test_nothing_but_the_sandbox_is_asked(desk: Desk) -> None:
    desk.broker._exchange.urls["api"]["private"] = "https://api.binance.com/api/v3"
    with pytest.raises(BrokerError, match=r"api\.binance\.com is not the sandbox"):
        desk.ask("account")


def test_an_order_without_its_name_does_not_leave(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = desk.broker._exchange
    create = client.create_order
    monkeypatch.setattr(client, "create_order", lambda *words: create(*words[:5]))
    with pytest.raises(BrokerError, match="not asked with the order's own name"):
        desk.ask("submit", ORDER)
    assert desk.exchange.asked["POST order"] == 0


def test_the_account_is_read_again_and_again(desk: Desk) -> None:
    async def first_two() -> list[Any]:
        await desk.broker.submit(LIMIT)
        news = desk.broker.news()
        told = [await anext(news), await anext(news)]
        await news.aclose()
        return told

    assert asyncio.run(first_two()) == [Listening(), Reached(1)]


@pytest.mark.parametrize(
    ("name", "address", "message"),
    [
        ("nowhere", "", "knows no exchange 'nowhere'"),
        ("kraken", "", "kraken has no sandbox"),
        ("okx", "", "the sandbox of okx has no address of its own"),
        ("coinspot", "", "cannot be traded here: ccxt has no fetchOrder"),
        ("binance", "http://192.0.2.1", "must be on this machine"),
    ],
)
def test_only_a_sandbox_with_an_address_of_its_own_opens(
    name: str, address: str, message: str
) -> None:
    with pytest.raises(BrokerError, match=message):
        open_sandbox(name, "key:secret", address=address)


def test_without_ccxt_the_account_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "webapp.trading.brokers.ccxt.adapter", raising=False)
    monkeypatch.setitem(sys.modules, "ccxt", None)
    account = BrokerAccount(name="Coins", kind="ccxt-sandbox", opening_balance=1)
    with pytest.raises(BrokerError, match=r"pip install 'sep-engine\[ccxt\]'"):
        registry.broker_for(account)


def test_times_are_those_of_the_exchange(desk: Desk) -> None:
    accepted, filled = desk.ask("submit", ORDER)
    assert {accepted.time, filled.time} == {datetime(2030, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("open", None),
        ("canceled", Kind.CANCELLED),
        # Closed with a rest that did not fill: nothing more comes of it.
        ("closed", Kind.CANCELLED),
        ("expired", Kind.EXPIRED),
    ],
)
def test_how_an_order_ended_is_read_from_its_status(status: str, kind: Kind | None) -> None:
    seen = Seen(id="1", wire_id="a", filled=D("0.5"), status=status, time=None, raw={})
    assert seen.ends == kind
