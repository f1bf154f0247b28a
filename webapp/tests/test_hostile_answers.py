"""Answers of a venue that are whole in form and cannot be, or hold a part of what they name."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from sep_engine.execution.states import OrderType
from sep_engine.model import Quote
from sep_engine.venues.oanda import parse
from sep_engine.venues.oanda.client import MarketDataClient, local
from webapp.trading import halt_flag
from webapp.trading.brokers.base import (
    BrokerError,
    BrokerUnsent,
    BrokerUnsure,
    Kind,
    OrderRequest,
)
from webapp.trading.brokers.breaker import Breaker
from webapp.trading.brokers.oanda.adapter import LocalOandaBroker, OandaBroker
from webapp.trading.cancelling import end_together
from webapp.trading.models import Order
from webapp.trading.trader.venue_setup import CannotAdd, VenueState, account_add, venue_read

ACCOUNT = "101-004-1435156-001"
D = Decimal
BUY = OrderRequest(
    client_id="sep-1",
    instrument="EUR_USD",
    type=OrderType.MARKET,
    units=D(1000),
)
INSTRUMENTS = {
    "instruments": [
        {
            "name": "EUR_USD",
            "type": "CURRENCY",
            "pipLocation": -4,
            "displayPrecision": 5,
            "tradeUnitsPrecision": 0,
            "minimumTradeSize": "1",
        }
    ]
}
Respond = Callable[[httpx.Request], httpx.Response]


def broker_with(respond: Respond, kind: type[OandaBroker] = OandaBroker) -> OandaBroker:
    """The adapter on a venue that is a function."""
    made = kind(
        endpoint=local("http://127.0.0.1:9"), token="t", venue_account=ACCOUNT, account_key=1
    )
    made._http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    return made


def answer(status: int, body: object) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(json.dumps(body).encode()))


def line(number: int, kind: str, **fields: Any) -> dict[str, Any]:
    time = "2026-01-05T12:00:00.000000000Z"
    return {"id": str(number), "batchID": str(number), "time": time, "type": kind} | fields


def since(ledger: list[dict[str, Any]], request: httpx.Request, *, page: int) -> httpx.Response:
    after = int(request.url.params["id"])
    lines = [one for one in ledger if int(one["id"]) > after][:page]
    return answer(200, {"transactions": lines, "lastTransactionID": ledger[-1]["id"]})


LEDGER = [
    line(1, "LIMIT_ORDER", instrument="EUR_USD", units="1000", price="1.1", timeInForce="GTC")
    | {"clientExtensions": {"id": "sep-1"}, "reason": "CLIENT_ORDER"},
    line(2, "ORDER_FILL", orderID="1", clientOrderID="sep-1", instrument="EUR_USD", units="400")
    | {"price": "1.1", "pl": "0", "accountBalance": "1"},
    line(3, "LIMIT_ORDER", instrument="EUR_USD", units="600", price="1.1", timeInForce="GTC")
    | {"clientExtensions": {"id": "sep-1"}, "reason": "REPLACEMENT", "replacesOrderID": "1"},
    line(4, "CLIENT_CONFIGURE"),
    line(5, "CLIENT_CONFIGURE"),
]


@pytest.mark.parametrize("page", [1, 2, 4, 5, 1000])
async def test_b3_a_ledger_that_comes_in_pages_is_read_to_its_end(page: int) -> None:
    broker = broker_with(lambda request: since(LEDGER, request, page=page))
    facts = await broker.transactions_since(0)
    assert [fact.id for fact in facts] == [1, 2, 3, 4, 5]
    # A page that ends between a fill and the rest of its order does not end the order.
    assert (facts[1].kind, facts[1].final) == (Kind.FILLED, False)


async def test_b3_a_ledger_that_lags_behind_what_it_says_is_given_as_far_as_it_goes() -> None:
    asked = 0

    def respond(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        lines = LEDGER[:2] if request.url.params["id"] == "0" else []
        return answer(200, {"transactions": lines, "lastTransactionID": "5"})

    assert [fact.id for fact in await broker_with(respond).transactions_since(0)] == [1, 2]
    assert asked == 2


async def test_b3_a_ledger_with_a_hole_in_it_is_not_read_past_the_hole() -> None:
    holed = [LEDGER[0], LEDGER[1], LEDGER[3]]
    broker = broker_with(lambda request: since(holed, request, page=1000))
    with pytest.raises(BrokerError, match="transaction 4 follows 2: some are missing"):
        await broker.transactions_since(0)


async def test_an_answer_about_another_account_is_not_believed() -> None:
    other = {"accountID": "101-004-1435156-002"}
    ledger = [LEDGER[0] | {"accountID": ACCOUNT}, LEDGER[1] | other]
    accepted = {"orderCreateTransaction": LEDGER[0] | other, "relatedTransactionIDs": ["1"]}
    account = {"id": "101-004-1435156-002", "currency": "USD", "balance": "1", "NAV": "1"}
    account |= {"marginUsed": "0", "marginAvailable": "1"}

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return answer(201, accepted)
        if request.url.path.endswith("/instruments"):
            return answer(200, INSTRUMENTS)
        if request.url.path.endswith("/sinceid"):
            return since(ledger, request, page=1000)
        return answer(200, {"account": account, "lastTransactionID": "1"})

    broker = broker_with(respond)
    with pytest.raises(BrokerUnsure, match="transaction 1 is of account 101-004-1435156-002"):
        await broker.submit(BUY)
    with pytest.raises(BrokerError, match="transaction 2 is of account 101-004-1435156-002"):
        await broker.transactions_since(0)
    with pytest.raises(BrokerError, match="the answer is about account 101-004-1435156-002"):
        await broker.account()


@pytest.mark.parametrize(
    "broken",
    [{"units": None}, {"price": "0"}, {"pl": "much"}, {"tradeOpened": {"units": "1"}}],
    ids=str,
)
async def test_o22_a_fill_in_an_answer_that_cannot_be_read_is_a_doubt(
    broken: dict[str, Any],
) -> None:
    accepted = line(1, "MARKET_ORDER", instrument="EUR_USD", units="1000", timeInForce="FOK")
    fill = line(2, "ORDER_FILL", orderID="1", instrument="EUR_USD", units="1000", price="1.1")
    fill |= {"pl": "0", "accountBalance": "1"} | broken
    body = {
        "orderCreateTransaction": accepted,
        "orderFillTransaction": fill,
        "relatedTransactionIDs": ["1", "2"],
        "lastTransactionID": "2",
    }

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return answer(200, INSTRUMENTS)
        return answer(201, body)

    with pytest.raises(BrokerUnsure, match="the answer cannot be read"):
        await broker_with(respond).submit(BUY)


async def test_o25_a_probe_that_was_never_written_does_not_shut_the_venue_out_for_ever(
    settings: Any, tmp_path: Path
) -> None:
    settings.SEP_VAR_PATH = tmp_path
    asked = 0

    def respond(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.method == "GET":
            return answer(200, INSTRUMENTS)
        asked += 1
        return answer(400, {"errorMessage": "no"})

    broker = broker_with(respond)
    await broker._instrument("EUR_USD")
    # Five failures ago the link was opened; its pause is over, and the next request is the probe.
    breaker = broker._breakers["POST orders"] = Breaker(failures=5, _pause_s=1.0)
    halt_flag.put_up("test", by="alice", now=datetime.now(UTC))
    with pytest.raises(BrokerUnsent, match="the halt flag was put up before the send"):
        await broker.submit(BUY)
    halt_flag.take_down(seen=halt_flag.reason())
    assert breaker.failures == 5  # the venue has no part in that
    with pytest.raises(BrokerError, match=r"^no$"):
        await broker.submit(BUY)
    assert asked == 1


async def test_c15_a_task_that_loses_a_cancellation_ends_with_the_one_that_failed() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                # As a library does whose connection breaks while it is being cancelled.
                if lost == 2:
                    raise
                lost += 1

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("too many open files")

    async with asyncio.timeout(60):
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.TaskGroup() as group:
                end_together([group.create_task(stubborn()), group.create_task(fails())])
    assert [str(one) for one in raised.value.exceptions] == ["too many open files"]
    assert lost == 2


async def test_an_account_that_wants_every_stop_guaranteed_is_not_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = {
        "account": {"id": "101-1", "currency": "USD", "balance": "1", "NAV": "1"}
        | {"marginUsed": "0", "marginAvailable": "1", "guaranteedStopLossOrderMode": "REQUIRED"},
        "lastTransactionID": "1",
    }

    async def account(self: MarketDataClient) -> parse.VenueAccount:
        return parse.read_account(body)

    monkeypatch.setattr(MarketDataClient, "account", account)
    with pytest.raises(CannotAdd, match="guaranteed stops alone, which SEP does not place: use"):
        await venue_read(
            local("http://127.0.0.1:9"),
            "token",
            venue_account="101-1",
            instruments=("EUR_USD",),
            granularity="H1",
        )


@pytest.mark.django_db
def test_o27_orders_that_worked_before_are_taken_over_with_the_time_at_which_they_end() -> None:
    limit = {"type": "LIMIT", "instrument": "EUR_USD", "units": "5", "price": "1.05"}
    terms = [
        {"timeInForce": "GTD", "gtdTime": "2026-01-07T12:00:00.000000000Z"},
        {"timeInForce": "GFD"},
        {"timeInForce": "GTD"},
        {"timeInForce": "WHENEVER"},
        {},
    ]
    orders = [limit | one | {"id": str(2 + at), "state": "PENDING"} for at, one in enumerate(terms)]
    account = {"id": ACCOUNT, "currency": "USD", "balance": "1", "NAV": "1", "orders": orders}
    account |= {"marginUsed": "0", "marginAvailable": "1"}
    (eur_usd,) = parse.read_instruments(INSTRUMENTS)
    read = parse.read_account({"account": account, "lastTransactionID": "6"})
    account_add(
        name="Practice",
        kind="oanda-practice",
        token="t",
        state=VenueState(read, {"EUR_USD": eur_usd}, ()),
        instruments=("EUR_USD",),
        granularity="H1",
        now=datetime(2026, 1, 5, 12, tzinfo=UTC),
    )
    taken = Order.objects.order_by("pk").values_list("time_in_force", "good_until")
    assert list(taken) == [
        ("GTD", datetime(2026, 1, 7, 12, tzinfo=UTC)),
        ("GFD", None),
        ("GTC", None),
        ("GTC", None),
        ("GTC", None),
    ]


async def test_the_local_venue_s_other_accounts_say_nothing_of_ours() -> None:
    """Its control address tells how far each account's ledger has grown."""
    ledger = [line(1, "CREATE"), line(2, "CLIENT_CONFIGURE")]

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/control/quote":
            return httpx.Response(200, json={"accounts": {"101-004-1-002": "50", ACCOUNT: "2"}})
        return since(ledger, request, page=1000)

    broker = broker_with(respond, LocalOandaBroker)
    assert isinstance(broker, LocalOandaBroker)
    broker._seen = 1
    quote = Quote("EUR_USD", datetime(2026, 1, 5, 12, tzinfo=UTC), D("1.1"), D("1.2"))
    facts = await broker.on_quote(quote, event=1, assumed_spread=False)
    assert [fact.id for fact in facts] == [2]
    assert broker._seen == 2
