"""The OANDA adapter against the local OANDA server, over a loopback socket, faults included."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sep_engine.execution.states import OrderType
from sep_engine.model import Quote
from sep_engine.venues.oanda.backoff import Backoff
from sep_engine.venues.oanda.client import SILENCE_S, local
from webapp.tests import local_venue
from webapp.tests.local_venue import ACCOUNT
from webapp.trading import halt_flag
from webapp.trading.brokers.base import (
    Broker,
    BrokerError,
    BrokerUnsent,
    BrokerUnsure,
    Deaf,
    FedBroker,
    Kind,
    Listening,
    News,
    OrderRequest,
    Reached,
)
from webapp.trading.brokers.oanda.adapter import LocalOandaBroker, OandaBroker

BUY = OrderRequest(
    client_id="",
    instrument="EUR_USD",
    type=OrderType.MARKET,
    units=Decimal(1000),
)


@dataclass
class Venue:
    """The server's process, and its control address."""

    url: str
    count: int = 0

    def control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        found: dict[str, Any] = local_venue.control(self.url, method, path, body)
        return found

    def quote(self, bid: str, ask: str, **more: Any) -> None:
        self.control("POST", "/quote", {"instrument": "EUR_USD", "bid": bid, "ask": ask} | more)

    def fault(self, **rule: Any) -> None:
        self.control("POST", "/faults", [rule])

    @property
    def last_id(self) -> int:
        return int(self.control("GET", "")["accounts"][ACCOUNT])

    def name(self) -> str:
        """A client id that no other test uses."""
        self.count += 1
        return f"sep-{self.count}"


@pytest.fixture(scope="module")
def process() -> Iterator[Venue]:
    with local_venue.serving() as url:
        yield Venue(url)


@pytest.fixture
def venue(process: Venue) -> Venue:
    """The venue without faults, EUR_USD at 1.10000 / 1.10010."""
    process.control("DELETE", "/faults")
    process.quote("1.10000", "1.10010")
    return process


def broker_at(venue: Venue, **options: Any) -> OandaBroker:
    wanted = {"token": "local", "account_key": 7, "timeout_s": 4.0} | options
    return OandaBroker(endpoint=local(venue.url), venue_account=ACCOUNT, **wanted)


@pytest.fixture
async def broker(venue: Venue) -> AsyncIterator[OandaBroker]:
    """The adapter; the account is flat again after the test."""
    adapter = broker_at(venue)
    yield adapter
    venue.control("DELETE", "/faults")
    venue.quote("1.10000", "1.10010")
    report = await adapter.account()
    for order in report.open_orders:
        await adapter.cancel(order.client_id)
    for units in report.positions.values():
        await adapter.submit(replace(BUY, client_id=venue.name(), units=-units, reduce_only=True))
    await adapter.close()


def test_it_is_a_broker(venue: Venue) -> None:
    assert isinstance(broker_at(venue), OandaBroker)
    assert not isinstance(broker_at(venue), FedBroker)
    typed: Broker = broker_at(venue)
    assert typed.timing.late.total_seconds() == 10


async def test_a_market_order_is_filled_and_its_stop_is_read(
    venue: Venue, broker: OandaBroker
) -> None:
    name, before = venue.name(), venue.last_id
    facts = await broker.submit(
        replace(BUY, client_id=name, stop_distance=Decimal("0.00300"), take_profit=Decimal("1.12"))
    )
    assert [fact.kind for fact in facts] == [
        Kind.ACCEPTED,
        Kind.FILLED,
        Kind.DEPENDENT,
        Kind.DEPENDENT,
    ]
    accepted, filled, target, stop = facts
    # One after the other, so that the books can tell that nothing is missing.
    assert [fact.id for fact in facts] == [before + n for n in (1, 2, 3, 4)]
    assert (accepted.client_id, accepted.venue_order_id) == (name, str(before + 1))
    assert (filled.client_id, filled.units, filled.price) == (name, 1000, Decimal("1.10010"))
    assert filled.half_spread_cost == Decimal("0.05")  # 1,000 * 0.00010 / 2
    assert filled.final
    # It has no name of ours: an order that fills in parts would bring the same one again.
    assert (stop.client_id, stop.parent_id) == ("", accepted.venue_order_id)
    # The distance counts from the ask at which the order was filled.
    assert (stop.order_type, stop.units, stop.price) == ("STOP_LOSS", -1000, Decimal("1.09710"))
    assert (target.order_type, target.price) == ("TAKE_PROFIT", Decimal("1.12"))
    report = await broker.account()
    assert report.positions == {"EUR_USD": Decimal(1000)}
    assert {(one.client_id, one.units) for one in report.open_orders} == {
        (f"venue-7-{stop.id}", Decimal(-1000)),
        (f"venue-7-{target.id}", Decimal(-1000)),
    }
    assert report.last_transaction_id == before + 4


async def test_a_stop_that_fires_is_told_with_its_profit_and_the_target_goes(
    venue: Venue, broker: OandaBroker
) -> None:
    name = venue.name()
    facts = await broker.submit(
        replace(BUY, client_id=name, stop_loss=Decimal("1.09900"), take_profit=Decimal("1.2"))
    )
    venue.quote("1.09800", "1.09810")
    target, stop = facts[-2:]
    filled, cancelled = await broker.transactions_since(stop.id)
    assert (filled.kind, filled.venue_order_id) == (Kind.FILLED, stop.venue_order_id)
    assert filled.units == -1000
    assert filled.realised_pl == Decimal("-2.1")  # (1.09800 - 1.10010) * 1,000
    assert (cancelled.kind, cancelled.venue_order_id) == (Kind.CANCELLED, target.venue_order_id)
    assert cancelled.reason == "LINKED_TRADE_CLOSED"


async def test_dependents_are_understood_when_their_fill_was_read_before(
    venue: Venue, broker: OandaBroker
) -> None:
    facts = await broker.submit(replace(BUY, client_id=venue.name(), stop_loss=Decimal("1.09900")))
    (stop,) = await broker.transactions_since(facts[1].id)
    assert (stop.kind, stop.units, stop.parent_id) == (
        Kind.DEPENDENT,
        -1000,
        facts[0].venue_order_id,
    )


async def test_a_pending_order_is_found_and_cancelled(venue: Venue, broker: OandaBroker) -> None:
    name = venue.name()
    request = replace(BUY, client_id=name, type=OrderType.LIMIT, price=Decimal("1.05"))
    (accepted,) = await broker.submit(request)
    found = await broker.order_by_client_id(name)
    assert found is not None
    assert (found.working, found.venue_order_id) == (True, accepted.venue_order_id)
    (cancelled,) = await broker.cancel(name)
    assert (cancelled.kind, cancelled.venue_order_id) == (Kind.CANCELLED, found.venue_order_id)
    (again,) = await broker.cancel(name)  # says nothing of the order
    assert again.kind == Kind.OTHER
    found = await broker.order_by_client_id(name)
    assert found is not None
    assert not found.working
    assert await broker.order_by_client_id("nobody") is None


async def test_o20_a_reject_is_definite(venue: Venue, broker: OandaBroker) -> None:
    name = venue.name()
    (rejected,) = await broker.submit(replace(BUY, client_id=name, units=Decimal(200_000_000)))
    assert (rejected.kind, rejected.client_id, rejected.reason) == (
        Kind.REJECTED,
        name,
        "UNITS_LIMIT_EXCEEDED",
    )


async def test_o14_a_name_that_is_taken_says_nothing_of_its_order(
    venue: Venue, broker: OandaBroker
) -> None:
    request = replace(BUY, client_id=venue.name())
    await broker.submit(request)
    (duplicate,) = await broker.submit(request)
    assert (duplicate.kind, duplicate.client_id) == (Kind.OTHER, "")
    assert duplicate.reason == "CLIENT_ORDER_ID_ALREADY_EXISTS"


async def test_o21_a_201_with_a_cancel_is_a_cancel(venue: Venue, broker: OandaBroker) -> None:
    request = replace(BUY, client_id=venue.name(), price_bound=Decimal("1.09"))
    accepted, cancelled = await broker.submit(request)
    assert (accepted.kind, cancelled.kind) == (Kind.ACCEPTED, Kind.CANCELLED)
    assert cancelled.reason == "BOUNDS_VIOLATION"


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": "after"},
        {"cut": "after", "cut_at": 40},
        {"cut": "after", "cut_at": 700},
        {"truncate": 0},
        {"truncate": 300},
        {"status": 502, "body": "<html>Bad Gateway</html>", "processed": True},
        {"status": 504, "body": {"errorMessage": "Timeout"}, "processed": True},
        {"delay_after_s": 6},
    ],
    ids=str,
)  # fmt: skip
async def test_o10_a_lost_answer_is_a_doubt_and_the_order_is_found(
    venue: Venue, broker: OandaBroker, fault: dict[str, Any]
) -> None:
    name, before = venue.name(), venue.last_id
    await broker.account()
    venue.fault(method="POST", path="/orders$", **fault)
    with pytest.raises(BrokerUnsure):
        await broker.submit(replace(BUY, client_id=name))
    found = await broker.order_by_client_id(name)
    assert found is not None
    facts = await broker.transactions_since(before)
    assert [fact.client_id for fact in facts] == [name, name]
    assert [fact.kind for fact in facts] == [Kind.ACCEPTED, Kind.FILLED]


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": "before"},
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"status": 500},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
    ],
    ids=str,
)
async def test_o10_an_order_that_never_arrived_is_a_doubt_too(
    venue: Venue, broker: OandaBroker, fault: dict[str, Any]
) -> None:
    name, before = venue.name(), venue.last_id
    venue.fault(method="POST", path="/orders$", **fault)
    with pytest.raises(BrokerUnsure):
        await broker.submit(replace(BUY, client_id=name))
    assert await broker.order_by_client_id(name) is None
    assert venue.last_id == before


async def test_o13_a_read_that_lags_does_not_prove_absence_for_ever(
    venue: Venue, broker: OandaBroker
) -> None:
    name = venue.name()
    venue.fault(method="POST", path="/orders$", cut="after")
    venue.fault(method="GET", path="/orders/", times=2, lag_s=5)
    with pytest.raises(BrokerUnsure):
        await broker.submit(replace(BUY, client_id=name))
    found = [await broker.order_by_client_id(name) is not None for _ in range(3)]
    assert found == [False, False, True]


async def test_an_order_filled_in_part_goes_on_under_its_name(
    venue: Venue, broker: OandaBroker
) -> None:
    name = venue.name()
    venue.fault(method="POST", path="/orders$", fill_units="300")
    request = replace(BUY, client_id=name, type=OrderType.LIMIT, price=Decimal("1.10010"))
    accepted, first, reissue = await broker.submit(request)
    assert (first.kind, first.units, first.final) == (Kind.FILLED, 300, False)
    assert reissue.kind == Kind.OTHER
    venue.quote("1.10000", "1.10010")
    (rest,) = await broker.transactions_since(reissue.id)
    assert (rest.client_id, rest.units, rest.final) == (name, 700, True)
    assert accepted.client_id == name


async def test_o27_what_was_made_beside_us_is_told_without_a_name(
    venue: Venue, broker: OandaBroker
) -> None:
    before = venue.last_id
    order = {"type": "LIMIT", "instrument": "EUR_USD", "units": "5", "price": "1.0"}
    local_venue.at_venue(venue.url, "POST", "/orders", {"order": order})
    (made,) = await broker.transactions_since(before)
    assert (made.kind, made.client_id, made.units) == (Kind.ACCEPTED, "", 5)
    report = await broker.account()
    assert report.open_orders[0].client_id == f"venue-7-{made.venue_order_id}"
    (cancelled,) = await broker.cancel(report.open_orders[0].client_id)
    assert cancelled.kind == Kind.CANCELLED


async def test_b15_refused_credentials_are_an_error_that_does_not_show_them(venue: Venue) -> None:
    stranger = broker_at(venue, token="a-secret")
    with pytest.raises(BrokerError, match="HTTP 401: Insufficient authorization") as refused:
        await stranger.account()
    assert "a-secret" not in str(refused.value)
    await stranger.close()


async def test_a_venue_that_is_not_there_is_no_doubt() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    absent = broker_at(Venue(f"http://127.0.0.1:{port}"))
    with pytest.raises(BrokerError, match="the venue was not reached") as refused:
        await absent.account()
    assert not isinstance(refused.value, BrokerUnsure)
    await absent.close()


async def test_what_cannot_be_sent_is_said_before_it_is_sent(
    venue: Venue, broker: OandaBroker
) -> None:
    before = venue.last_id
    for request, message in (
        (replace(BUY, target_distance=Decimal("0.001")), "a target as a price"),
        (replace(BUY, units=Decimal("0.5")), "units must be a multiple of 1"),
        (replace(BUY, instrument="XAU_XAG"), "does not offer XAU_XAG"),
    ):
        with pytest.raises(BrokerError, match=message):
            await broker.submit(replace(request, client_id=venue.name()))
    assert venue.last_id == before


async def test_d4_an_entry_that_had_to_wait_is_not_written_once_the_flag_is_up(
    venue: Venue, broker: OandaBroker, settings: Any, tmp_path: Path
) -> None:
    settings.SEP_VAR_PATH = tmp_path
    await broker.submit(replace(BUY, client_id=venue.name()))
    before = venue.last_id
    waits = iter([0.1, 0.0, 0.0])

    def wait_s(now: float, *, protective: bool) -> float:
        return next(waits)

    broker._budget.wait_s = wait_s  # type: ignore[method-assign]
    entry = asyncio.create_task(broker.submit(replace(BUY, client_id=venue.name())))
    await asyncio.sleep(0)  # it waits for the budget now
    halt_flag.put_up("test", by="alice", now=datetime.now(UTC))
    with pytest.raises(BrokerUnsent, match="the halt flag was put up before the send"):
        await entry
    assert venue.last_id == before
    # What only reduces was let through by its sender: close everything passes every halt.
    close = replace(BUY, client_id=venue.name(), units=Decimal(-1000), reduce_only=True)
    assert [fact.kind for fact in await broker.submit(close)] == [Kind.ACCEPTED, Kind.FILLED]
    del broker._budget.wait_s


async def test_the_local_venue_trades_at_the_prices_of_our_feed(
    venue: Venue, broker: OandaBroker
) -> None:
    fed = LocalOandaBroker(
        endpoint=local(venue.url), token="local", venue_account=ACCOUNT, account_key=7
    )
    assert isinstance(fed, FedBroker)
    at = datetime(2026, 6, 2, 12, tzinfo=UTC)
    quote = Quote("EUR_USD", at, Decimal("1.20000"), Decimal("1.20010"))
    assert await fed.on_quote(quote, event=1, assumed_spread=True) == []
    name = venue.name()
    facts = await fed.submit(replace(BUY, client_id=name, stop_distance=Decimal("0.00100")))
    assert facts[1].price == Decimal("1.20010")
    fallen = replace(quote, bid=Decimal("1.19800"), ask=Decimal("1.19810"))
    told = await fed.on_quote(fallen, event=2, assumed_spread=True)
    assert (told[-1].kind, told[-1].venue_order_id) == (Kind.FILLED, facts[-1].venue_order_id)
    assert await fed.on_quote(fallen, event=2, assumed_spread=True) == []
    await fed.close()


async def told(adapter: OandaBroker, wanted: int) -> list[News]:
    """The first news of the stream; the test fails when they take more than a minute."""
    found: list[News] = []
    async with asyncio.timeout(60), contextlib.aclosing(adapter.news()) as news:
        async for one in news:
            found.append(one)
            if len(found) == wanted:
                break
    return found


async def test_the_stream_tells_how_far_the_ledger_has_grown(
    venue: Venue, broker: OandaBroker
) -> None:
    async with asyncio.timeout(60), contextlib.aclosing(broker.news()) as news:
        assert await anext(news) == Listening()
        facts = await broker.submit(replace(BUY, client_id=venue.name()))
        assert await anext(news) == Reached(facts[0].id)
        assert await anext(news) == Reached(facts[1].id)


def test_b1_a_loss_is_known_within_ten_seconds_and_one_late_heartbeat_is_none() -> None:
    # The venue's heartbeats come every 5 s; a second is left to tell of the loss.
    assert 5 < SILENCE_S <= 9


async def test_b1_a_stream_that_falls_silent_is_noticed_and_asked_for_again(venue: Venue) -> None:
    venue.fault(path="transactions/stream", stall_after=0)
    adapter = broker_at(venue, silence_s=0.5, backoff=Backoff(first_s=0.1))
    started = time.monotonic()
    first, lost, again = await told(adapter, 3)
    assert (first, again) == (Listening(), Listening())
    assert isinstance(lost, Deaf)
    assert lost.reason == "the stream was silent for 0.5 s"
    assert time.monotonic() - started < 60
    await adapter.close()


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 401}, {"cut": "before"}, {"cut_after": 0}, {"garble": True}],
)
async def test_b3_a_stream_that_is_refused_cut_or_garbled_comes_back(
    venue: Venue, fault: dict[str, Any]
) -> None:
    venue.fault(path="transactions/stream", **fault)
    adapter = broker_at(venue, backoff=Backoff(first_s=0.05))
    lost, back, enough = False, False, asyncio.Event()
    async with asyncio.timeout(60), contextlib.aclosing(adapter.news()) as news:
        orders = asyncio.create_task(_again_and_again(adapter, venue, enough))
        async for one in news:
            lost = lost or isinstance(one, Deaf)
            back = lost and isinstance(one, Listening)
            if back:
                break
    enough.set()
    await orders
    await adapter.close()


async def _again_and_again(adapter: OandaBroker, venue: Venue, enough: asyncio.Event) -> None:
    """Transactions for a stream to tell, whenever it was opened, and nothing left of them."""
    while not enough.is_set():
        order = replace(BUY, client_id=venue.name(), type=OrderType.LIMIT, price=Decimal("0.9"))
        await adapter.submit(order)
        await adapter.cancel(order.client_id)
        await asyncio.sleep(0.1)


async def test_a_venue_that_is_not_there_is_asked_again_and_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    adapter = broker_at(Venue(url), backoff=Backoff(first_s=0.01))
    assert all(isinstance(one, Deaf) for one in await told(adapter, 3))
    await adapter.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_b15_a_token_that_is_refused_is_not_shown_again_and_again(
    venue: Venue, status: int
) -> None:
    venue.fault(path="/v3/accounts/", status=status, times=0)
    adapter = broker_at(venue)
    assert adapter.unauthorised == ""
    for _ in range(5):
        with pytest.raises(BrokerError):
            await adapter.account()
    assert adapter.unauthorised == f"HTTP {status}: the token or the account is not accepted"
    assert venue.control("GET", "")["faults_seen"] == [1]
    await adapter.close()
