"""B18: what every broker promises, asked of each: paper, OANDA's adapter, an exchange's by ccxt.

The trader knows only the port; where two venues answer differently, one of them breaks it. What a
venue says that it does not take (`base.Terms`) is not asked of it.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sep_engine.execution.states import OrderType, PositionFill, TimeInForce
from sep_engine.model import Quote
from sep_engine.venues.oanda.client import local
from webapp.tests import local_venue
from webapp.tests.fake_exchange import Exchange, serving
from webapp.trading.brokers.base import FedBroker, Kind, OrderRequest, Transaction
from webapp.trading.brokers.ccxt.adapter import CcxtBroker, open_sandbox
from webapp.trading.brokers.oanda.adapter import LocalOandaBroker
from webapp.trading.brokers.paper import PaperBroker

START = datetime(2030, 1, 7, 10, tzinfo=UTC)
SPREAD = Decimal("0.0002")
ORDER = OrderRequest(
    client_id="a",
    instrument="EUR_USD",
    type=OrderType.MARKET,
    units=Decimal(1000),
)
LIMIT = replace(ORDER, type=OrderType.LIMIT, price=Decimal("1.0900"), time_in_force=TimeInForce.GTC)


class Bench:
    """A broker, and the quotes that its venue sees. `stop`: of orders, where it takes one."""

    stop: Decimal | None = Decimal("1.0900")

    def __init__(self, broker: Any) -> None:
        self.broker, self.event, self.now = broker, 0, START

    def ask(self, what: str, *words: Any) -> Any:
        return asyncio.run(self._ask(what, *words))

    async def _ask(self, what: str, *words: Any) -> Any:
        return await getattr(self.broker, what)(*words)

    def quote(self, bid: str, *, later: timedelta = timedelta(0)) -> None:
        self.event, self.now = self.event + 1, self.now + later
        quote = Quote("EUR_USD", self.now, Decimal(bid), Decimal(bid) + SPREAD)
        assert isinstance(self.broker, FedBroker)
        asyncio.run(self.broker.on_quote(quote, event=self.event, assumed_spread=False))

    def submit(self, order: OrderRequest) -> None:
        """Send an order; a venue that fills at the next quote gets one."""
        self.ask("submit", order)
        self.quote("1.1000")

    def since(self, number: int) -> list[Transaction]:
        facts: list[Transaction] = self.ask("transactions_since", number)
        return facts

    def kinds(self, client_id: str) -> list[Kind]:
        told = (Kind.OTHER, Kind.CHARGE)
        return [
            fact.kind
            for fact in self.since(0)
            if fact.client_id == client_id and fact.kind not in told
        ]


class OneLoop(Bench):
    """The same with a loop that lives as long as the broker's connections."""

    def __init__(self, broker: Any) -> None:
        super().__init__(broker)
        self.loop = asyncio.new_event_loop()

    def ask(self, what: str, *words: Any) -> Any:
        return self.loop.run_until_complete(self._ask(what, *words))

    def quote(self, bid: str, *, later: timedelta = timedelta(0)) -> None:
        self.event, self.now = self.event + 1, self.now + later
        quote = Quote("EUR_USD", self.now, Decimal(bid), Decimal(bid) + SPREAD)
        work = self.broker.on_quote(quote, event=self.event, assumed_spread=False)
        self.loop.run_until_complete(work)


class Spot(Bench):
    """An exchange that sees a quote of its own and is sent none by the broker."""

    stop = None

    def __init__(self, broker: Any, exchange: Exchange) -> None:
        super().__init__(broker)
        self.exchange = exchange

    def quote(self, bid: str, *, later: timedelta = timedelta(0)) -> None:
        self.exchange.quote(bid, str(Decimal(bid) + SPREAD))


OF_FX = pytest.mark.parametrize("bench", ["paper", "oanda"], indirect=True)


@pytest.fixture(params=["paper", "oanda", "ccxt"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "ccxt":
        exchange = Exchange()
        with serving(exchange) as address:
            client = open_sandbox("binance", "key:secret", address=address)
            client.enableRateLimit = False
            spot = Spot(
                CcxtBroker(
                    exchange=client,
                    path=tmp_path / "ledger.sqlite3",
                    currency="USD",
                    opening_balance=Decimal(50_000),
                    account_key=1,
                ),
                exchange,
            )
            yield spot
            spot.ask("close")
        return
    if request.param == "paper":
        path = tmp_path / "ledger.sqlite3"
        one = Bench(PaperBroker(path=path, currency="USD", opening_balance=Decimal(100_000)))
        one.quote("1.1000")
        yield one
        one.ask("close")
        return
    with local_venue.serving("--clock", "market") as url:
        one = OneLoop(
            LocalOandaBroker(
                endpoint=local(url),
                token="local",
                venue_account=local_venue.ACCOUNT,
                account_key=1,
            )
        )
        one.quote("1.1000")
        yield one
        one.ask("close")
        one.loop.close()


def test_a_working_order_is_found_by_its_name_and_cancelled_once(bench: Bench) -> None:
    assert bench.ask("order_by_client_id", "a") is None
    bench.submit(LIMIT)
    found = bench.ask("order_by_client_id", "a")
    assert (found.client_id, found.units, found.working) == ("a", 1000, True)
    assert [one.client_id for one in bench.ask("account").open_orders] == ["a"]
    bench.ask("cancel", "a")
    bench.ask("cancel", "a")
    assert bench.kinds("a") == [Kind.ACCEPTED, Kind.CANCELLED]
    assert not bench.ask("order_by_client_id", "a").working
    assert bench.ask("account").open_orders == ()


def test_b18_a_name_that_comes_twice_is_one_order(bench: Bench) -> None:
    bench.submit(LIMIT)
    bench.submit(LIMIT)
    assert bench.kinds("a") == [Kind.ACCEPTED]
    assert len(bench.ask("account").open_orders) == 1


@OF_FX
def test_b18_a_fill_brings_its_protection_and_closing_ends_it(bench: Bench) -> None:
    bench.submit(replace(ORDER, stop_loss=Decimal("1.0900"), take_profit=Decimal("1.1200")))
    assert bench.kinds("a") == [Kind.ACCEPTED, Kind.FILLED]
    filled = next(fact for fact in bench.since(0) if fact.kind == Kind.FILLED)
    assert (filled.units, filled.price, filled.final) == (1000, Decimal("1.1002"), True)
    dependents = [fact for fact in bench.since(0) if fact.kind == Kind.DEPENDENT]
    assert {(one.order_type, one.units, one.price) for one in dependents} == {
        ("STOP_LOSS", Decimal(-1000), Decimal("1.09")),
        ("TAKE_PROFIT", Decimal(-1000), Decimal("1.12")),
    }
    assert {one.parent_id for one in dependents} == {filled.venue_order_id}
    assert bench.ask("account").positions == {"EUR_USD": 1000}
    bench.submit(replace(ORDER, client_id="b", units=Decimal(-1000), reduce_only=True))
    report = bench.ask("account")
    assert (report.positions, report.open_orders) == ({}, ())
    # Bought at 1.1002 and sold at 1.1000: 1,000 * -0.0002.
    assert report.balance == Decimal("99999.8")
    ended = {fact.venue_order_id for fact in bench.since(0) if fact.kind == Kind.CANCELLED}
    assert ended == {one.venue_order_id for one in dependents}


@OF_FX
def test_a_replacement_takes_the_place_in_one_step(bench: Bench) -> None:
    bench.submit(LIMIT)
    old = bench.ask("order_by_client_id", "a")
    bench.ask("replace", "a", replace(LIMIT, client_id="b", price=Decimal("1.0800")))
    ended, new = [fact for fact in bench.since(0) if fact.kind in (Kind.REPLACED, Kind.ACCEPTED)][
        -2:
    ]
    assert (ended.kind, ended.venue_order_id) == (Kind.REPLACED, old.venue_order_id)
    assert (new.kind, new.client_id, new.price) == (Kind.ACCEPTED, "b", Decimal("1.08"))
    assert new.replaces_id == old.venue_order_id
    assert new.id == ended.id + 1
    assert [one.client_id for one in bench.ask("account").open_orders] == ["b"]


def test_b18_an_order_that_only_reduces_opens_nothing(bench: Bench) -> None:
    bench.submit(replace(ORDER, reduce_only=True, position_fill=PositionFill.REDUCE_ONLY))
    # A venue that has no such orders is not asked: then the broker's own refusal is the answer.
    assert bench.kinds("a") in ([Kind.ACCEPTED, Kind.CANCELLED], [Kind.REJECTED])
    assert not bench.ask("order_by_client_id", "a").working
    assert bench.ask("account").positions == {}


@OF_FX
def test_an_order_ends_with_its_time(bench: Bench) -> None:
    until = START + timedelta(minutes=5)
    bench.submit(replace(LIMIT, time_in_force=TimeInForce.GTD, good_until=until))
    bench.quote("1.1000", later=timedelta(minutes=4))
    assert bench.ask("order_by_client_id", "a").working
    bench.quote("1.1000", later=timedelta(minutes=2))
    bench.ask("account")  # a venue may look at its clock only when it is asked
    assert bench.kinds("a") == [Kind.ACCEPTED, Kind.EXPIRED]


def test_the_ledger_has_no_gaps_and_can_be_read_from_anywhere(bench: Bench) -> None:
    first = bench.ask("account").last_transaction_id
    bench.submit(replace(ORDER, stop_loss=bench.stop))
    bench.submit(replace(LIMIT, client_id="b"))
    facts = bench.since(first)
    assert [fact.id for fact in facts] == list(range(first + 1, first + 1 + len(facts)))
    assert bench.ask("account").last_transaction_id == facts[-1].id
    assert bench.since(facts[1].id) == facts[2:]
    assert bench.since(facts[-1].id) == []
