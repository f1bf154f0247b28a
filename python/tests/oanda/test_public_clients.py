"""The two public Python clients of the interface, unchanged, against the local server.

Neither is a dependency of SEP: they are the outside opinion on what the interface looks like.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both are from before Python 3.10 and say so on import
    import v20
    from oandapyV20 import API, V20Error, oandapyV20
    from oandapyV20.contrib import requests as shapes
    from oandapyV20.endpoints import (
        accounts,
        instruments,
        orders,
        positions,
        pricing,
        trades,
        transactions,
    )
    from oandapyV20.exceptions import StreamTerminated

Serve = Any
ACCOUNT = "101-004-1435156-001"


@pytest.fixture
def v20_api(serve: Serve) -> Iterator[tuple[Any, Any]]:
    served = serve()
    context = v20.Context("127.0.0.1", served.port, ssl=False, token="the-token")
    yield context, served
    context._session.close()


@pytest.fixture
def oandapy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    served = serve()
    local = {"api": served.url, "stream": served.url}
    monkeypatch.setitem(oandapyV20.TRADING_ENVIRONMENTS, "local", local)
    api = API(access_token="the-token", environment="local")
    yield api, served
    api.client.close()


def test_v20_trades_and_reads_back(v20_api: tuple[Any, Any]) -> None:
    api, served = v20_api
    assert api.account.list().get("accounts", 200)[0].id == ACCOUNT

    answer = api.order.market(
        ACCOUNT,
        instrument="EUR_USD",
        units=1000,
        clientExtensions=v20.transaction.ClientExtensions(id="sep-1"),
        stopLossOnFill=v20.transaction.StopLossDetails(price="1.09"),
        takeProfitOnFill=v20.transaction.TakeProfitDetails(price="1.12"),
    )
    assert answer.status == 201
    filled = answer.get("orderFillTransaction", 201)
    assert (filled.type, filled.price, filled.tradeOpened.tradeID) == ("ORDER_FILL", 1.1001, "4")

    account = api.account.get(ACCOUNT).get("account", 200)
    assert account.balance == 100000.0
    assert [order.type for order in account.orders] == ["TAKE_PROFIT", "STOP_LOSS"]
    assert account.trades[0].stopLossOrderID == "6"
    assert account.positions[0].long.units == 1000

    assert api.order.get(ACCOUNT, "@sep-1").get("order", 200).state == "FILLED"
    changes = api.account.changes(ACCOUNT, sinceTransactionID="2").get("changes", 200)
    assert [trade.id for trade in changes.tradesOpened] == ["4"]
    since = api.transaction.since(ACCOUNT, id="2").get("transactions", 200)
    assert [one.type for one in since] == [
        "MARKET_ORDER",
        "ORDER_FILL",
        "TAKE_PROFIT_ORDER",
        "STOP_LOSS_ORDER",
    ]

    served.publish("1.10500", "1.10510")
    closed = api.trade.close(ACCOUNT, "4", units="ALL").get("orderFillTransaction", 200)
    assert closed.pl == 4.9  # (1.10500 - 1.10010) * 1,000
    assert closed.tradesClosed[0].tradeID == "4"
    assert api.position.list_open(ACCOUNT).get("positions", 200) == []


def test_v20_places_replaces_and_cancels_every_pending_type(v20_api: tuple[Any, Any]) -> None:
    api, _ = v20_api
    for place, price in (
        (api.order.limit, "1.05"),
        (api.order.stop, "1.15"),
        (api.order.market_if_touched, "1.05"),
    ):
        order = {"instrument": "EUR_USD", "units": "10", "price": price}
        created = place(ACCOUNT, **order).get("orderCreateTransaction", 201)
        assert created.price == float(price)
    replaced = api.order.limit_replace(ACCOUNT, "3", instrument="EUR_USD", units="20", price="1.04")
    assert replaced.get("orderCreateTransaction", 201).replacesOrderID == "3"
    cancelled = api.order.cancel(ACCOUNT, replaced.get("orderCreateTransaction", 201).id)
    assert cancelled.get("orderCancelTransaction", 200).reason == "CLIENT_REQUEST"
    refused = api.order.cancel(ACCOUNT, "3")
    assert refused.status == 404
    assert refused.get("orderCancelRejectTransaction", 404).rejectReason == "ORDER_DOESNT_EXIST"
    pending = api.order.list_pending(ACCOUNT).get("orders", 200)
    assert [order.type for order in pending] == ["MARKET_IF_TOUCHED", "STOP"]

    trade = api.order.market(ACCOUNT, instrument="EUR_USD", units="10")
    trade_id = trade.get("orderFillTransaction", 201).tradeOpened.tradeID
    for place, level in (
        (api.order.take_profit, {"price": "1.2"}),
        (api.order.stop_loss, {"price": "1.0"}),
        (api.order.trailing_stop_loss, {"distance": "0.01"}),
    ):
        assert place(ACCOUNT, tradeID=trade_id, **level).status == 201
    changed = api.trade.set_dependent_orders(
        ACCOUNT, trade_id, stopLoss=v20.transaction.StopLossDetails(price="1.01")
    )
    assert changed.get("stopLossOrderTransaction", 200).price == 1.01


def test_v20_reads_prices_candles_and_both_streams(v20_api: tuple[Any, Any]) -> None:
    api, served = v20_api
    prices = api.pricing.get(ACCOUNT, instruments="EUR_USD", includeUnitsAvailable=True)
    assert prices.get("prices", 200)[0].closeoutAsk == 1.1001
    candles = api.instrument.candles("EUR_USD", granularity="S5", price="BA").get("candles", 200)
    assert candles[-1].ask.c == 1.1001

    seen = []
    for kind, message in api.pricing.stream(ACCOUNT, instruments="EUR_USD").parts():
        seen.append(kind)
        if kind == "pricing.ClientPrice":
            assert message.closeoutBid == 1.1
        if len(seen) == 2:
            break
    assert seen == ["pricing.ClientPrice", "pricing.PricingHeartbeat"]

    stream = api.transaction.stream(ACCOUNT).parts()
    kind, beat = next(stream)
    assert (kind, beat.lastTransactionID) == ("transaction.TransactionHeartbeat", "2")
    api.order.market(ACCOUNT, instrument="EUR_USD", units="1")
    kinds = [next(stream)[1].type for _ in range(2)]
    assert [kind for kind in kinds if kind != "HEARTBEAT"] == ["MARKET_ORDER", "ORDER_FILL"]
    assert served.server.venue.ledgers[ACCOUNT].last_id == 4


def test_oandapyv20_trades_and_reads_back(oandapy: tuple[Any, Any]) -> None:
    api, served = oandapy
    order = shapes.MarketOrderRequest(
        instrument="EUR_USD",
        units=1000,
        takeProfitOnFill=shapes.TakeProfitDetails(price=1.12).data,
        stopLossOnFill=shapes.StopLossDetails(price=1.09).data,
    )
    filled = api.request(orders.OrderCreate(ACCOUNT, data=order.data))
    assert filled["orderFillTransaction"]["tradeOpened"]["tradeID"] == "4"
    assert filled["relatedTransactionIDs"] == ["3", "4", "5", "6"]

    limit = shapes.LimitOrderRequest(instrument="EUR_USD", units=-5, price=1.2)
    assert api.request(orders.OrderCreate(ACCOUNT, data=limit.data))["lastTransactionID"] == "7"
    assert [one["id"] for one in api.request(orders.OrdersPending(ACCOUNT))["orders"]] == [
        "7",
        "6",
        "5",
    ]
    assert api.request(orders.OrderCancel(ACCOUNT, orderID="7"))["orderCancelTransaction"]

    details = {"stopLoss": {"timeInForce": "GTC", "price": "1.095"}}
    changed = api.request(trades.TradeCRCDO(ACCOUNT, tradeID="4", data=details))
    assert changed["stopLossOrderTransaction"]["price"] == "1.09500"
    account = api.request(accounts.AccountDetails(ACCOUNT))["account"]
    assert (account["openTradeCount"], account["pendingOrderCount"]) == (1, 2)
    assert api.request(accounts.AccountSummary(ACCOUNT))["account"]["NAV"] == "99999.9000"
    assert api.request(accounts.AccountInstruments(ACCOUNT))["instruments"]
    changes = api.request(accounts.AccountChanges(ACCOUNT, params={"sinceTransactionID": "6"}))
    assert [one["id"] for one in changes["changes"]["ordersCancelled"]] == ["7", "6"]

    served.publish("1.10500", "1.10510")
    data = {"longUnits": "ALL"}
    closed = api.request(positions.PositionClose(ACCOUNT, instrument="EUR_USD", data=data))
    assert closed["longOrderFillTransaction"]["pl"] == "4.9000"
    assert api.request(positions.OpenPositions(ACCOUNT))["positions"] == []
    assert api.request(trades.TradesList(ACCOUNT, params={"state": "CLOSED"}))["trades"]
    found = api.request(transactions.TransactionsSinceID(ACCOUNT, params={"id": "2"}))
    assert found["transactions"][0]["type"] == "MARKET_ORDER"
    pages = api.request(transactions.TransactionList(ACCOUNT, params={"pageSize": 5}))["pages"]
    assert pages[0].startswith(f"{served.url}/v3/accounts/")


def test_oandapyv20_sees_errors_as_the_venue_gives_them(oandapy: tuple[Any, Any]) -> None:
    api, _ = oandapy
    order = {"order": {"type": "MARKET", "instrument": "EURUSD", "units": "1"}}
    with pytest.raises(V20Error, match=r"Invalid value specified for 'order.instrument'"):
        api.request(orders.OrderCreate(ACCOUNT, data=order))
    with pytest.raises(V20Error, match="ORDER_DOESNT_EXIST"):
        api.request(orders.OrderCancel(ACCOUNT, orderID="99"))
    with pytest.raises(V20Error, match="Insufficient authorization"):
        api.request(accounts.AccountDetails("101-004-1435156-999"))


def end(stream: Any) -> None:
    """The client's own way of ending a stream."""
    with pytest.raises(StreamTerminated):
        stream.terminate()


def test_oandapyv20_reads_prices_candles_and_streams(oandapy: tuple[Any, Any]) -> None:
    api, served = oandapy
    params = {"instruments": "EUR_USD"}
    assert api.request(pricing.PricingInfo(ACCOUNT, params=params))["prices"][0]["tradeable"]
    candles = instruments.InstrumentsCandles("EUR_USD", params={"granularity": "M1"})
    assert api.request(candles)["candles"][-1]["mid"]["c"] == "1.10005"

    lines = []
    stream = pricing.PricingStream(ACCOUNT, params=params)
    for line in api.request(stream):
        lines.append(line["type"])
        if len(lines) == 3:
            end(stream)
            break
    assert lines == ["PRICE", "HEARTBEAT", "HEARTBEAT"]

    lines = []
    stream = transactions.TransactionsStream(ACCOUNT)
    order = shapes.MarketOrderRequest(instrument="EUR_USD", units=1)
    for line in api.request(stream):
        if line["type"] != "HEARTBEAT":
            lines.append(line["type"])
        elif served.server.venue.ledgers[ACCOUNT].last_id == 2:
            api.request(orders.OrderCreate(ACCOUNT, data=order.data))
        if len(lines) == 2:
            end(stream)
            break
    assert lines == ["MARKET_ORDER", "ORDER_FILL"]
