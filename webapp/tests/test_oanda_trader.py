"""The trader at the local OANDA server: the same sample, real HTTP, an outside ledger to audit by.

The server shares no code with the trader. What it wrote down is the truth that our books are held
against, by the invariants of `webapp.trading.audit`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from sep_engine.data import load_sample
from sep_engine.execution.core import Timing
from sep_engine.execution.states import OrderType, Origin, TradingMode
from sep_engine.venues.oanda.client import local
from sep_engine.venues.replay import ReplayVenue
from webapp.tests.local_venue import ACCOUNT, at_venue, control, serving
from webapp.trading.audit import account_faults
from webapp.trading.brokers import breaker as breaker_module
from webapp.trading.brokers import registry
from webapp.trading.brokers.base import Deaf
from webapp.trading.brokers.breaker import FAILURES
from webapp.trading.brokers.oanda.adapter import LocalOandaBroker
from webapp.trading.models import (
    BrokerAccount,
    BrokerFact,
    Closing,
    EventLog,
    Fill,
    Order,
    Position,
    Reconciliation,
    RiskLimit,
    Trade,
    TradingState,
)
from webapp.trading.rebuild import books_from_log, differences
from webapp.trading.selectors.closing import closing_left
from webapp.trading.services.closing import close_everything, closings_go_on
from webapp.trading.services.orders import (
    order_change,
    order_submit,
    position_close,
    trade_close,
)
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.trader import clock as trader_clock
from webapp.trading.trader import feeds
from webapp.trading.trader.trader import Trader
from webapp.trading.trader.venue_prices import VenuePrices

pytestmark = pytest.mark.django_db(transaction=True)

# Limits that would stop a large order before the one on the position.
ROOMY = (
    "order_notional_max",
    "order_equity_percent_max",
    "stop_risk_percent_max",
    "leverage_max",
    "currency_exposure_max",
)
cached_bars = cache(lambda: load_sample("eur_usd_h1").quote_bars())


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server with a new account, whose clock is that of the quotes it gets.

    Indirect parameters are further options of the server.
    """
    with serving("--clock", "market", *getattr(request, "param", ())) as address:
        yield address


Play = Callable[[Callable[[Trader], Awaitable[None]]], None]


@pytest.fixture
def trade(url: str, sample: Any, settings: Any, tmp_path: Path, monkeypatch: Any) -> Play:
    """Runs a coroutine function with a recovered trader whose broker is the server."""
    settings.SEP_VAR_PATH = tmp_path
    monkeypatch.setattr(feeds, "load_feed", lambda feed: (cached_bars(), "ask"))
    BrokerAccount.objects.update(kind="oanda-local")

    def local_oanda(account: BrokerAccount) -> Any:
        made: Any = LocalOandaBroker(
            endpoint=local(url),
            token="local",
            venue_account=ACCOUNT,
            account_key=account.pk,
            timeout_s=10.0,
        )
        # On loopback nothing is late once its connection is closed.
        made.timing = Timing(late=Timing().late * 0, read_gap=Timing().late * 0)
        return made

    monkeypatch.setitem(registry.BROKERS, "oanda-local", local_oanda)

    def work(steps: Callable[[Trader], Awaitable[None]]) -> None:
        account = BrokerAccount.objects.get()

        async def whole() -> None:
            one = Trader(account_id=account.pk, with_relay=False)
            await one.open()
            try:
                await one.recover()
                await steps(one)
            finally:
                await one.close()

        asyncio.run(whole())

    return work


async def play(one: Trader, bars: int) -> None:
    venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)
    for _ in range(2 * bars):
        await one.db(one.beat)
        await one.events.on_event(next(venue))
        await one.doubts.look_up()


def audit() -> list[str]:
    """What is wrong with our books, by the server's ledger."""
    return account_faults(BrokerAccount.objects.get())


def venue_prices(one: Trader) -> VenuePrices:
    """The venue's prices in the place of the replay, for who brings them one by one."""
    return VenuePrices(
        account=one.account,
        client=cast(Any, None),
        db=one.db,
        writing=one.writing,
        stopping=one.stopping,
        feed=one.feed,
        quotes=one.quotes,
        strategies=one.strategies,
        equity=one.equity,
        updates=one.updates,
        events=one.events,
        orders=one.orders,
    )


def state() -> str:
    return str(TradingState.objects.get(scope="ACCOUNT").state)


def test_the_books_are_those_of_the_venue_to_the_last_digit(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 60)
        await one.check.compare("start")

    trade(steps)
    assert Fill.objects.count() >= 8
    assert state() == TradingMode.ACTIVE
    assert audit() == []
    account = at_venue(url, "GET", "/summary")["account"]
    realised = sum((fill.realised_pl for fill in Fill.objects.all()), Decimal(0))
    assert realised == Decimal(account["pl"])
    assert Decimal(100_000) + realised == Decimal(account["balance"])
    assert Decimal(account["pl"]) != 0


def test_o11_a_trader_that_starts_while_the_venue_is_away_waits_and_compares_before_it_is_armed(
    trade: Play, url: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("webapp.trading.trader.trader.RECOVER_PAUSE_S", 0.01)
    # Twice no transactions, then no account to compare the books with, then all is well.
    rules = [
        {"method": "GET", "path": "/sinceid", "times": 2, "status": 503},
        {"method": "GET", "path": f"/{ACCOUNT}$", "times": 1, "cut": "before"},
    ]
    control(url, "POST", "/faults", rules)

    async def steps(one: Trader) -> None:
        assert one.orders.armed_at is not None

    trade(steps)
    assert control(url, "GET", "")["faults_seen"] == [2, 1]
    compared = Reconciliation.objects.order_by("pk")
    assert [row.outcome for row in compared] == ["UNREACHED", "AGREED"]


def test_d10_an_order_that_the_venue_has_no_margin_for_is_rejected_and_the_next_is_not(
    trade: Play, url: str
) -> None:
    rule = {"method": "POST", "path": "/orders$", "reject": "INSUFFICIENT_MARGIN", "times": 1}

    async def steps(one: Trader) -> None:
        control(url, "POST", "/faults", [rule])
        await play(one, 60)

    trade(steps)
    rejected = Order.objects.get(state="REJECTED")
    assert rejected.cause.endswith("INSUFFICIENT_MARGIN")
    assert Order.objects.filter(state="FILLED", pk__gt=rejected.pk).exists()
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_o6_o10_lost_answers_double_and_lose_nothing(trade: Play, url: str) -> None:
    rules = [
        {"method": "POST", "path": "/orders$", "cut": "after"},
        {"method": "POST", "path": "/orders$", "cut": "before"},
        {"method": "POST", "path": "/orders$", "cut": "after", "cut_at": 300},
        {"method": "POST", "path": "/orders$", "status": 502, "processed": True},
        {"method": "POST", "path": "/orders$", "status": 503},
        {"method": "POST", "path": "/orders$", "truncate": 200},
        {"method": "GET", "path": "/orders/", "times": 2, "status": 500},
        {"method": "GET", "path": "/sinceid", "after": 3, "times": 2, "cut": "before"},
        {"method": "PUT", "path": "/cancel$", "times": 2, "cut": "after"},
    ]

    async def steps(one: Trader) -> None:
        control(url, "POST", "/faults", rules)
        await play(one, 60)
        control(url, "DELETE", "/faults")
        for _ in range(3):
            await one.doubts.look_up()
        await one.check.compare("start")

    trade(steps)
    assert not Order.objects.filter(state__in=["UNKNOWN", "CHANGE_UNKNOWN", "SENDING"]).exists()
    # One was cut before it took effect, one refused with a 503: they never arrived, and nobody
    # sent them again.
    assert Order.objects.filter(state="EXPIRED_UNSENT").count() == 2
    assert Fill.objects.count() >= 6
    assert audit() == []
    assert state() == TradingMode.ACTIVE


def test_a_trader_that_was_killed_catches_up_with_the_venue(trade: Play, url: str) -> None:
    async def until_a_position(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)

    trade(until_a_position)
    # While nobody trades here, the price falls through the stop at the venue.
    control(url, "POST", "/quote", {"instrument": "EUR_USD", "bid": "0.5", "ask": "2.0"})

    async def nothing(one: Trader) -> None:
        await one.check.compare("start")

    trade(nothing)
    assert Position.objects.get().units == 0
    assert Order.objects.get(type="STOP_LOSS").state == "FILLED"
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_what_happened_after_the_start_is_heard_with_the_first_quote(trade: Play, url: str) -> None:
    async def until_a_position(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)

    trade(until_a_position)

    async def first_quote(one: Trader) -> None:
        control(url, "POST", "/quote", {"instrument": "EUR_USD", "bid": "0.5", "ask": "2.0"})
        await one.events.on_event(next(ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)))

    trade(first_quote)
    assert Order.objects.get(type="STOP_LOSS").state == "FILLED"


def test_o27_an_order_made_beside_us_is_adopted(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        async with httpx.AsyncClient(trust_env=False) as other:
            limit = {"type": "LIMIT", "instrument": "EUR_USD", "units": "5", "price": "0.9"}
            await other.post(
                f"{url}/v3/accounts/{ACCOUNT}/orders",
                json={"order": limit},
                headers={"Authorization": "Bearer local"},
            )
        await one.check.compare("start")

    trade(steps)
    adopted = Order.objects.get(origin="EXTERNAL")
    assert (adopted.units, adopted.price, adopted.state) == (5, Decimal("0.9"), "ACCEPTED")
    assert state() == TradingMode.ACTIVE


def beside_us(url: str, units: str, price: str) -> None:
    """An order that somebody places at the venue without SEP."""
    order = {"type": "LIMIT", "instrument": "EUR_USD", "units": units, "price": price}
    at_venue(url, "POST", "/orders", {"order": order})


def told(text: str) -> bool:
    alerts = EventLog.objects.filter(stream="alerts")
    return any(text in alert.data["text"] for alert in alerts)


async def until(one: Trader, condition: Callable[[], Any], *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await one.db(condition):  # in the thread that closes its connection
            await asyncio.sleep(0.05)


def test_b3_nothing_is_missed_through_a_stream_that_drops_doubles_swaps_and_breaks(
    trade: Play, url: str
) -> None:
    rules = [
        {"path": "transactions/stream", "drop": 1, "cut_after": 2},
        {"path": "transactions/stream", "status": 502},
        {"path": "transactions/stream", "duplicate": True, "swap": True, "cut_after": 3},
    ]

    async def steps(one: Trader) -> None:
        await play(one, 1)
        control(url, "POST", "/faults", rules)
        listening = asyncio.create_task(one.hearing.listen(one.broker))
        for n in range(6):
            await asyncio.to_thread(beside_us, url, "5", f"0.9{n}")
            await asyncio.sleep(0.3)
        await until(one, lambda: Order.objects.filter(origin="EXTERNAL").count() == 6)
        await until(one, lambda: told("transaction stream is heard again"))
        listening.cancel()

    trade(steps)
    assert audit() == []
    assert state() == TradingMode.ACTIVE
    assert told("transaction stream is lost")


def test_b1_nothing_is_opened_while_the_stream_is_lost(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        await one.hearing.on_news(Deaf("the stream was silent for 10 s", 0.5))
        await one.db(
            order_submit,
            account=one.account,
            instrument=one.feed.row.instrument,
            units=Decimal(1000),
            origin=Origin.PERSON,
            now=timezone.now(),
        )
        await one.orders.work()

    trade(steps)
    denied = Order.objects.get(origin="PERSON")
    assert denied.state == "DENIED"
    assert denied.denied_reason == (
        "feed: without the venue's transaction stream, allowed is running"
    )


async def ask(one: Trader, ask_for: Callable[..., Any], **fields: Any) -> Order:
    """An intent of a person, and what the trader makes of it."""
    order: Order = await one.db(ask_for, now=timezone.now(), **fields)
    await one.orders.work()
    await one.db(order.refresh_from_db)
    return order


def limit_order(one: Trader, **fields: Any) -> dict[str, Any]:
    wanted = {
        "account": one.account,
        "instrument": one.feed.row.instrument,
        "units": Decimal(1000),
        "type": OrderType.LIMIT,
        "price": one.quotes["EUR_USD"].quote.bid - Decimal("0.0040"),
        "origin": Origin.PERSON,
    }
    return wanted | fields


def test_d4_a_cancel_that_the_venue_refuses_is_asked_for_less_and_less_often(
    trade: Play, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(trader_clock, "steady", lambda: clock[0])
    refusal = {"method": "PUT", "path": "/cancel$", "reject": "ORDER_CANCEL_LOCKED", "times": 0}
    refused = BrokerFact.objects.filter(kind="CANCEL_REFUSED")
    asked: list[float] = []

    async def steps(one: Trader) -> None:
        await play(one, 1)
        order = await ask(one, order_submit, **limit_order(one))
        control(url, "POST", "/faults", [refusal])
        halt = partial(trading_state_worsen, account=one.account, reason="fire")
        await one.db(halt, state=TradingMode.HALTED, now=timezone.now())
        for half_seconds in range(60):
            clock[0] = 1000 + half_seconds / 2
            await one.orders.work()
            if await one.db(refused.count) > len(asked):
                asked.append(half_seconds / 2)
        control(url, "DELETE", "/faults")
        clock[0] += 10
        await one.orders.work()
        await one.db(order.refresh_from_db)
        assert order.state == "CANCELLED"

    trade(steps)
    # Pauses of 0.5, 1, 2, 4, 8, 10 and 10 s.
    assert asked == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5]
    assert audit() == []


def test_an_order_is_changed_and_its_successor_works_on(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        old = await ask(one, order_submit, **limit_order(one))
        assert old.state == "ACCEPTED"
        price = (old.price or 0) - Decimal("0.0005")
        new = await ask(
            one, order_change, order_id=old.pk, changes={"price": price, "units": Decimal(2000)}
        )
        await one.db(old.refresh_from_db)
        assert (old.state, new.state, new.replaces_id) == ("REPLACED", "ACCEPTED", old.pk)
        assert new.venue_order_id not in ("", old.venue_order_id)
        (working,) = at_venue(url, "GET", "/pendingOrders")["orders"]
        assert (working["id"], working["units"]) == (new.venue_order_id, "2000")
        # What the venue refuses leaves the old order as it is.
        control(url, "POST", "/faults", [{"method": "PUT", "reject": "PRICE_INVALID"}])
        again = await ask(one, order_change, order_id=new.pk, changes={"units": Decimal(3000)})
        await one.db(new.refresh_from_db)
        assert (new.state, again.state) == ("ACCEPTED", "REJECTED")
        assert again.cause.endswith("PRICE_INVALID")
        await one.check.compare("start")

    trade(steps)
    assert state() == TradingMode.ACTIVE
    assert audit() == []


@pytest.mark.parametrize(
    ("fault", "old_state", "new_state"),
    [
        ({"cut": "after"}, "REPLACED", "ACCEPTED"),
        ({"cut": "before"}, "ACCEPTED", "EXPIRED_UNSENT"),
        ({"status": 504, "processed": True}, "REPLACED", "ACCEPTED"),
        ({"status": 504}, "ACCEPTED", "EXPIRED_UNSENT"),
    ],
)
def test_o10_a_change_whose_answer_is_lost_is_settled_by_the_venue(
    trade: Play, url: str, fault: dict[str, Any], old_state: str, new_state: str
) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        old = await ask(one, order_submit, **limit_order(one))
        control(url, "POST", "/faults", [{"method": "PUT", "path": r"/orders/[^/]+$", **fault}])
        new = await ask(one, order_change, order_id=old.pk, changes={"units": Decimal(2000)})
        await one.db(old.refresh_from_db)
        assert (old.state, new.state) == ("CHANGE_UNKNOWN", "UNKNOWN")
        for _ in range(4):
            await one.doubts.look_up()
        await one.check.compare("start")

    trade(steps)
    old, new = Order.objects.filter(origin="PERSON").order_by("pk")
    assert (old.state, new.state) == (old_state, new_state)
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_o25_an_entry_that_meets_the_resting_link_ends_at_once(
    trade: Play, url: str, monkeypatch: Any
) -> None:
    # Long enough for the slowest machine: the pause is not what is under test.
    monkeypatch.setattr(breaker_module, "PAUSE_S", 30.0)

    async def steps(one: Trader) -> None:
        await play(one, 1)
        entry = limit_order(one)
        works = await ask(one, order_submit, **entry)
        assert works.state == "ACCEPTED"
        control(url, "POST", "/faults", [{"method": "POST", "path": "/orders$", "status": 503,
                                          "times": FAILURES}])  # fmt: skip
        for number in range(FAILURES):
            doubted = await ask(one, order_submit, **entry | {"units": Decimal(1001 + number)})
            assert doubted.state == "UNKNOWN"  # it was written: only the venue can say
            for _ in range(2):
                await one.doubts.look_up()
        refused = await ask(one, order_submit, **entry | {"units": Decimal(1100)})
        assert refused.state == "EXPIRED_UNSENT"
        assert refused.cause.startswith(
            "nothing was written to the venue: the venue's link is resting after 5 failures of "
            "POST orders in a row, for "
        )
        said = EventLog.objects.filter(stream="orders", data__id=refused.pk).order_by("seq")
        told = [event.data["state"] for event in await one.db(list, said)]
        assert told == ["CREATED", "QUEUED", "SENDING", "UNKNOWN", "EXPIRED_UNSENT"]
        await one.check.compare("start")

    trade(steps)
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_what_is_left_of_an_order_that_filled_in_part_fills_too_with_a_stop_of_its_own(
    trade: Play, url: str
) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        little = {"method": "POST", "path": "/orders$", "fill_units": "300"}
        control(url, "POST", "/faults", [little])
        beyond = one.quotes["EUR_USD"].quote.ask + Decimal("0.0040")
        wanted = limit_order(one, price=beyond, units=Decimal(900))
        order = await ask(one, order_submit, **wanted | {"stop_distance": Decimal("0.0200")})
        assert (order.state, order.filled_units) == ("PARTIAL", 300)
        await play(one, 1)
        await one.db(order.refresh_from_db)
        assert (order.state, order.filled_units) == ("FILLED", 900)
        await one.check.compare("minute")

    trade(steps)
    trades = at_venue(url, "GET", "/openTrades")["trades"]
    assert sorted(found["currentUnits"] for found in trades) == ["300", "600"]
    assert all("stopLossOrder" in found for found in trades)
    order = Order.objects.get(origin="PERSON")
    assert order.dependents.filter(type="STOP_LOSS", state="ACCEPTED").count() == 2
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_trades_are_kept_apart_protected_and_closed_in_part(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        await ask(
            one,
            order_submit,
            **limit_order(one, type=OrderType.MARKET, price=None)
            | {"trailing_distance": Decimal("0.0080"), "stop_distance": Decimal("0.0060")},
        )
        opened = await one.db(Trade.objects.select_related("account", "instrument").get)
        assert opened.units == 1000
        stops = Order.objects.filter(trade_id=opened.venue_trade_id)
        kinds = {order.type for order in await one.db(list, stops)}
        assert kinds == {"STOP_LOSS", "TRAILING_STOP_LOSS"}
        closed = await ask(one, trade_close, trade=opened, units=Decimal(400))
        assert (closed.state, closed.filled_units) == ("FILLED", -400)
        await one.db(opened.refresh_from_db)
        assert opened.units == 600
        # The stops close what the trade still holds; the books agree on it, and one can be moved.
        await one.check.compare("start")
        stop = await one.db(stops.get, type="STOP_LOSS")
        lower = (stop.price or 0) - Decimal("0.0010")
        moved = await ask(one, order_change, order_id=stop.pk, changes={"price": lower})
        assert (moved.state, moved.units, moved.price) == ("ACCEPTED", -600, lower)
        # A target for a part of it would close it all.
        part = {"type": OrderType.TAKE_PROFIT, "units": Decimal(-100), "trade": opened}
        with pytest.raises(ValidationError, match="closes all of trade"):
            await ask(one, order_submit, **limit_order(one, **part))
        target = limit_order(one, type=OrderType.TAKE_PROFIT, units=Decimal(-600), trade=opened)
        price = one.quotes["EUR_USD"].quote.ask + Decimal("0.0300")
        placed = await ask(one, order_submit, **target | {"price": price})
        assert (placed.state, placed.trade_id) == ("ACCEPTED", opened.venue_trade_id)
        # The venue names no close: one that never arrived is not taken for another's of its trade.
        control(url, "POST", "/faults", [{"method": "PUT", "path": "/close$", "cut": "before"}])
        lost = await ask(one, trade_close, trade=opened, units=Decimal(200))
        assert lost.state == "UNKNOWN"
        other = await ask(one, trade_close, trade=opened, units=Decimal(100))
        assert (other.state, other.filled_units) == ("FILLED", -100)
        await one.doubts.look_up()
        await one.doubts.look_up()
        await one.db(lost.refresh_from_db)
        assert (lost.state, lost.filled_units) == ("EXPIRED_UNSENT", 0)
        await one.db(opened.refresh_from_db)
        # A lost answer to a close is settled by the venue's own record of the close.
        control(url, "POST", "/faults", [{"method": "PUT", "path": "/close$", "cut": "after"}])
        last = await ask(one, trade_close, trade=opened)
        assert last.state == "UNKNOWN"
        await one.doubts.look_up()
        await one.db(last.refresh_from_db)
        assert (last.state, last.filled_units) == ("FILLED", -500)
        await one.check.compare("start")

    trade(steps)
    assert Position.objects.get().units == 0
    assert Trade.objects.get().closed_at is not None
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_o27_what_is_done_beside_us_is_adopted_with_its_dependents(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        held = at_venue(
            url,
            "POST",
            "/orders",
            {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "700"}},
        )
        trade_id = held["orderFillTransaction"]["id"]
        price = one.quotes["EUR_USD"].quote.bid - Decimal("0.0100")
        stop = {"stopLoss": {"price": f"{price:.5f}"}}
        at_venue(url, "PUT", f"/trades/{trade_id}/orders", stop)
        await one.check.compare("minute")
        # Their app moves the stop, which makes a new order of it.
        stop = {"stopLoss": {"price": f"{price - Decimal('0.001'):.5f}"}}
        at_venue(url, "PUT", f"/trades/{trade_id}/orders", stop)
        # And they change an order of ours under its own name.
        ours = await ask(one, order_submit, **limit_order(one))
        moved = {"type": "LIMIT", "instrument": "EUR_USD", "units": "500", "price": "0.90000"}
        at_venue(url, "PUT", f"/orders/{ours.venue_order_id}", {"order": moved})
        await one.check.compare("minute")
        await one.db(ours.refresh_from_db)
        assert ours.state == "CANCELLED"

    trade(steps)
    adopted = Order.objects.filter(origin="EXTERNAL").order_by("pk")
    assert [(one.type, one.units, one.state) for one in adopted] == [
        ("MARKET", 700, "FILLED"),
        ("STOP_LOSS", -700, "CANCELLED"),
        ("STOP_LOSS", -700, "ACCEPTED"),
        ("LIMIT", 500, "ACCEPTED"),
    ]
    assert Trade.objects.get().units == 700
    runs = Reconciliation.objects.order_by("pk")
    assert [(run.cause, run.outcome) for run in runs] == [
        ("start", "AGREED"),
        ("minute", "CAUGHT_UP"),
        ("minute", "CAUGHT_UP"),
    ]
    assert runs[1].adopted == 2
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_o27_a_trade_with_a_target_and_no_stop_gets_a_stop_of_its_own(
    trade: Play, url: str
) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        ask_ = one.quotes["EUR_USD"].quote.ask
        target = {"price": f"{ask_ + Decimal('0.0500'):.5f}"}
        bought = {"type": "MARKET", "instrument": "EUR_USD", "units": "700"}
        at_venue(url, "POST", "/orders", {"order": bought | {"takeProfitOnFill": target}})
        at_venue(url, "POST", "/orders", {"order": bought | {"units": "300"}})
        await one.check.compare("minute")
        await one.orders.work()
        await one.orders.work()
        # A part of a trade is closed, and its stop with it: it hangs on the trade.
        first = await one.db(Trade.objects.select_related("account", "instrument").earliest, "pk")
        assert (await ask(one, trade_close, trade=first, units=Decimal(200))).state == "FILLED"
        await one.orders.work()
        await one.check.compare("minute")

    trade(steps)
    trades = at_venue(url, "GET", "/openTrades")["trades"]
    assert sorted(found["currentUnits"] for found in trades) == ["300", "500"]
    for found in trades:
        # 30 pips, the configured default, from what each was bought at.
        stop = Decimal(found["price"]) - Decimal(found["stopLossOrder"]["price"])
        assert stop == Decimal("0.00300")
    assert Order.objects.get(type="TAKE_PROFIT").state == "ACCEPTED"
    assert Order.objects.filter(origin="PROTECTIVE", type="STOP_LOSS").count() == 2
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_o27_a_comparison_counts_what_was_adopted_since_the_one_before(
    trade: Play, url: str
) -> None:
    async def first_bar(one: Trader) -> None:
        await play(one, 1)

    trade(first_bar)
    # While no trader runs somebody buys, with a stop, and lets another order wait.
    bought = {"type": "MARKET", "instrument": "EUR_USD", "units": "700"}
    stop = {"stopLossOnFill": {"price": "0.90000"}}
    at_venue(url, "POST", "/orders", {"order": bought | stop})
    beside_us(url, "5", "0.9")

    async def heard_by_the_stream(one: Trader) -> None:
        await asyncio.to_thread(beside_us, url, "6", "0.8")
        await one.facts.read_now()
        await one.check.compare("minute")
        await one.check.compare("minute")

    trade(heard_by_the_stream)
    runs = Reconciliation.objects.order_by("pk").values_list("cause", "adopted")
    # The purchase, its stop and the order that waits; then the one that the stream told of.
    assert list(runs) == [("start", 0), ("start", 3), ("minute", 1), ("minute", 0)]


def test_a_difference_halts_the_account_and_is_kept_with_both_sides(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        await ask(one, order_submit, **limit_order(one))
        await one.db(
            lambda: Position.objects.update_or_create(
                account=one.account,
                instrument=one.feed.row.instrument,
                defaults={"units": Decimal(300), "average_price": Decimal(1)},
            )
        )
        await one.check.compare("minute")

    trade(steps)
    assert state() == TradingMode.HALTED
    run = Reconciliation.objects.get(outcome="DIFFERED")
    assert run.done == "the account was halted"
    assert run.differences == [
        {"what": "position", "key": "EUR_USD", "local": "300", "reported": None}
    ]
    assert (run.local["balance"], run.reported["balance"]) == ("100000.00", "100000.00")
    order = Order.objects.get(origin="PERSON")
    assert run.local["orders"] == run.reported["orders"] == {order.client_id: "1000"}


@pytest.mark.parametrize("url", [("--hedging",)], indirect=True)
def test_a_hedging_account_is_long_and_short_at_once_with_a_stop_for_each_trade(
    trade: Play, url: str
) -> None:
    BrokerAccount.objects.update(hedging=True)

    async def steps(one: Trader) -> None:
        await play(one, 1)
        limits = RiskLimit.objects.filter(name__in=("repeat_pause_s",))
        await one.db(lambda: limits.update(value=0))

        async def market(units: int, **terms: Any) -> Order:
            wanted = limit_order(one, type=OrderType.MARKET, price=None, units=Decimal(units))
            return await ask(one, order_submit, **wanted | terms)

        await market(1000, stop_distance=Decimal("0.0060"))
        await market(-600, stop_distance=Decimal("0.0050"))
        sides = Position.objects.order_by("side").values_list("side", "units")
        assert await one.db(lambda: list(sides.all())) == [("LONG", 1000), ("SHORT", -600)]
        assert one.facts.book.positions["EUR_USD"].units == 400
        # An order is judged by the side that it adds to: 600 short and 19,500 more are 20,100.
        await one.db(lambda: RiskLimit.objects.filter(name="order_units_max").update(value=30_000))
        await one.db(
            lambda: RiskLimit.objects.filter(name__in=ROOMY).update(value=Decimal(1_000_000))
        )
        denied = await market(-19_500, stop_distance=Decimal("0.0050"))
        assert denied.denied_reason == "position_units: 20100, allowed is at most 20000"
        # What closes names its side; a trade that is closed in part leaves the other side alone.
        with pytest.raises(ValidationError, match="both sides are held"):
            await ask(one, position_close, account=one.account, instrument=one.feed.row.instrument)
        long = await one.db(
            lambda: Trade.objects.select_related("account", "instrument").get(units=1000)
        )
        assert (await ask(one, trade_close, trade=long, units=Decimal(300))).state == "FILLED"
        assert await one.db(lambda: list(sides.all())) == [("LONG", 700), ("SHORT", -600)]
        # What somebody opens without a stop gets one of its own.
        bare = {"type": "MARKET", "instrument": "EUR_USD", "units": "-50"}
        at_venue(url, "POST", "/orders", {"order": bare})
        await one.check.compare("minute")
        await one.orders.work()
        await one.orders.work()
        trades = at_venue(url, "GET", "/openTrades")["trades"]
        assert all("stopLossOrder" in found for found in trades)
        assert len(trades) == 3
        there = sum(Decimal(found["unrealizedPL"]) for found in trades)
        assert one.facts.book.open_pl(one.quotes) == there
        closed = await ask(
            one,
            position_close,
            account=one.account,
            instrument=one.feed.row.instrument,
            side="SHORT",
        )
        assert (closed.state, closed.filled_units) == ("FILLED", 650)
        assert await one.db(lambda: list(sides.all())) == [("LONG", 700), ("SHORT", 0)]
        await one.check.compare("minute")
        await one.db(close_everything, account=one.account, reason="done", now=timezone.now())
        await one.orders.work()
        await one.check.compare("minute")

    trade(steps)
    assert set(Position.objects.values_list("units", flat=True)) == {0}
    outcomes = set(Reconciliation.objects.values_list("outcome", flat=True))
    assert outcomes <= {"AGREED", "CAUGHT_UP"}
    assert audit() == []
    assert differences(books_from_log()) == []


@pytest.mark.parametrize("url", [("--hedging",)], indirect=True)
def test_d4_close_everything_goes_on_through_a_halt_a_doubt_and_a_cut_until_all_is_flat(
    trade: Play, url: str, monkeypatch: Any
) -> None:
    BrokerAccount.objects.update(hedging=True)
    # Longer than this test takes anywhere; it says itself how late it is.
    monkeypatch.setattr("webapp.trading.selectors.closing.PAUSES_S", (1000, 2000))
    said: list[list[tuple[str, str]]] = []

    async def steps(one: Trader) -> None:
        await play(one, 1)
        await one.db(lambda: RiskLimit.objects.filter(name="repeat_pause_s").update(value=0))
        for units in (1000, -600):
            wanted = limit_order(one, type=OrderType.MARKET, price=None, units=Decimal(units))
            await ask(one, order_submit, **wanted | {"stop_distance": Decimal("0.0060")})
        waiting = await ask(one, order_submit, **limit_order(one))
        assert waiting.state == "ACCEPTED"
        rules = [
            # The long side cannot be traded, the short one's answer is lost, then nobody answers.
            {"method": "POST", "path": "/orders$", "cancel": "MARKET_HALTED"},
            {"method": "POST", "path": "/orders$", "cut": "after"},
            {"method": "GET", "path": "/orders/", "cut": "before", "times": 2},
            {"method": "POST", "path": "/orders$", "cut": "before"},
        ]
        control(url, "POST", "/faults", rules)
        now = timezone.now()
        await one.db(close_everything, account=one.account, reason="enough", now=now)

        async def look(seconds: float) -> Closing:
            """Let the trader look once; return what there is to say `seconds` after the click."""
            at = now + timedelta(seconds=seconds)
            await one.db(closings_go_on, account_id=one.account.pk, now=at)
            await one.orders.work()
            closing = await one.db(Closing.objects.select_related("account", "strategy").get)
            left = await one.db(lambda: closing_left(closing, now=timezone.now()))
            said.append([(line.name, line.why) for line in left])
            return closing

        await look(1)
        # What waited has gone; the short side is closed at the venue, and we cannot know it yet.
        assert [name for name, _ in said[-1]] == ["EUR_USD long", "EUR_USD short"]
        assert "tried once" in said[-1][0][1]
        assert "ended CANCELLED" in said[-1][0][1]
        assert "MARKET_HALTED" in said[-1][0][1]
        assert said[-1][1][1].startswith("an order is in doubt, and nothing else is sent")
        await one.doubts.look_up()
        asked = Order.objects.filter(origin="CLOSE_EVERYTHING")
        # Within the pause nothing is asked for, and what is in doubt is not asked for twice.
        await look(2)
        assert await one.db(asked.count) == 2
        # The next try is cut on its way there; the short side has been told meanwhile.
        await look(1500)
        assert await one.db(asked.count) == 3
        for _ in range(3):
            await one.doubts.look_up()
        assert [name for name, _ in said[-1]][:1] == ["EUR_USD long"]
        await look(1501)
        assert [name for name, _ in said[-1]] == ["EUR_USD long"]
        assert "tried 2 times" in said[-1][0][1]
        assert "ended EXPIRED_UNSENT" in said[-1][0][1]
        assert await one.db(asked.count) == 3
        # The third try closes it, and the look after it finds nothing left.
        await look(4000)
        closing = await look(4001)
        assert (closing.ended_because, said[-1]) == ("flat", [])
        await one.check.compare("minute")

    trade(steps)
    assert not Position.objects.exclude(units=0).exists()
    ends = Order.objects.filter(origin="CLOSE_EVERYTHING").order_by("pk")
    assert [(order.units, order.state) for order in ends] == [
        (-1000, "CANCELLED"),
        (600, "FILLED"),
        (-1000, "EXPIRED_UNSENT"),
        (-1000, "FILLED"),
    ]
    alerts = EventLog.objects.filter(stream="alerts").order_by("seq")
    texts = [event.data["text"] for event in alerts]
    assert texts.index("Close everything: enough") < texts.index("Close everything is done: flat.")
    assert state() == TradingMode.REDUCING
    assert audit() == []


@pytest.mark.parametrize("known", [True, False], ids=["of-an-ended-order", "of-no-order"])
def test_o26_a_fill_that_nobody_asked_for_is_booked_and_halts_the_account(
    trade: Play, url: str, known: bool
) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        order = await ask(one, order_submit, **limit_order(one, type=OrderType.MARKET, price=None))
        assert order.state == "FILLED"
        number = int(order.venue_order_id) if known else 999
        extra = {"order": number, "instrument": "EUR_USD", "units": "300"}
        control(url, "POST", "/fill", extra)
        await one.check.compare("minute")

    trade(steps)
    # The venue holds 1,300 and so do we; nothing was dropped.
    assert Position.objects.get().units == 1300
    assert sum(Fill.objects.values_list("units", flat=True)) == 1300
    assert {outcome for (outcome,) in Reconciliation.objects.values_list("outcome")} <= {
        "AGREED",
        "CAUGHT_UP",
    }
    alerts = [event.data["text"] for event in EventLog.objects.filter(stream="alerts")]
    if known:
        assert state() == TradingMode.HALTED
    else:
        assert any("Order 999 was made beside us; it counts as ours" in text for text in alerts)


def test_o28_a_venue_whose_ids_begin_again_halts_the_account(trade: Play, url: str) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        order = await ask(one, order_submit, **limit_order(one, type=OrderType.MARKET, price=None))
        assert order.state == "FILLED"
        control(url, "POST", "/ids", {})
        await one.check.compare("minute")

    trade(steps)
    assert state() == TradingMode.HALTED
    # What was booked stays, and nothing of the new ledger was taken for it.
    assert Position.objects.get().units == 1000
    assert Fill.objects.count() == 1
