"""The trader on a link that fails where it hurts: between facts, at a doubt, with the clock."""

# ruff: noqa: F811 - fixtures of the trader's tests come by their names

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from sep_engine.execution.core import Timing
from sep_engine.execution.states import OrderType, Origin, TradingMode
from sep_engine.venues.oanda import parse
from webapp.tests.test_oanda_trader import (  # noqa: F401
    Play,
    ask,
    at_venue,
    audit,
    control,
    limit_order,
    play,
    state,
    trade,
    url,
    venue_prices,
)
from webapp.trading.brokers.base import Deaf, Listening, Reached
from webapp.trading.models import EventLog, Order, RiskLimit, TradingState
from webapp.trading.services.orders import order_submit
from webapp.trading.trader import clock as trader_clock
from webapp.trading.trader.trader import Trader

D = Decimal
pytestmark = pytest.mark.django_db(transaction=True)
BESIDE_US = {"type": "LIMIT", "instrument": "EUR_USD", "units": "5", "price": "0.90000"}


def market(one: Trader, **fields: Any) -> dict[str, Any]:
    return limit_order(one, type=OrderType.MARKET, price=None, **fields)


def test_b3_an_answer_that_follows_what_cannot_be_read_is_a_doubt_and_ends_no_trader(
    trade: Play, url: str
) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        # The ledger has grown by an order of somebody else when ours is answered.
        at_venue(url, "POST", "/orders", {"order": BESIDE_US})
        unread = {"method": "GET", "path": "transactions/sinceid", "cut": "before", "times": 3}
        control(url, "POST", "/faults", [unread])
        order = await ask(one, order_submit, **market(one))
        assert order.state == "UNKNOWN"
        control(url, "DELETE", "/faults")
        await one.doubts.look_up()
        await one.db(order.refresh_from_db)
        assert order.state == "FILLED"
        await one.check.compare("start")

    trade(steps)
    assert Order.objects.filter(origin="EXTERNAL").count() == 1
    assert audit() == []


@pytest.mark.parametrize("was_deaf", [True, False])
def test_b3_a_stream_that_is_open_is_not_heard_before_the_books_were_compared(
    trade: Play, url: str, was_deaf: bool
) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        await one.db(RiskLimit.objects.filter(name="repeat_pause_s").update, value=0)
        if was_deaf:
            await one.hearing.on_news(Deaf("the stream was silent for 10 s", 0.5))
        at_venue(url, "POST", "/orders", {"order": BESIDE_US})
        unread = {"method": "GET", "path": "transactions/sinceid", "cut": "before", "times": 3}
        control(url, "POST", "/faults", [unread])
        await one.hearing.on_news(Listening())
        assert (await ask(one, order_submit, **market(one))).denied_rule == "feed"
        control(url, "DELETE", "/faults")
        await one.hearing.on_news(Reached(1))  # the next heartbeat
        assert (await ask(one, order_submit, **market(one))).state == "FILLED"

    trade(steps)
    said = EventLog.objects.filter(stream="alerts").order_by("seq")
    texts = [event.data["text"] for event in said if "stream" in event.data["text"]]
    assert len(texts) == 2
    assert texts[0].startswith("The venue's transaction stream is lost: ")
    assert texts[1].startswith("The venue's transaction stream is heard again after ")
    assert audit() == []


def test_o12_d14_a_clock_that_is_set_does_not_make_a_send_late(
    trade: Play, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_clock(by: timedelta) -> None:
        monkeypatch.setattr("webapp.trading.trader.clock.utc_now", lambda: timezone.now() + by)

    async def steps(one: Trader) -> None:
        await play(one, 1)
        one.broker.timing = Timing()  # a send may arrive for ten seconds
        control(url, "POST", "/faults", [{"method": "POST", "path": "/orders$", "cut": "before"}])
        order = await ask(one, order_submit, **market(one))
        doubt_since = order.doubt_since
        assert order.state == "UNKNOWN"
        for hours, seconds in ((1, 0), (1, 3), (2, 0)):
            set_clock(timedelta(hours=hours, seconds=seconds))
            await one.doubts.look_up()
            await one.db(order.refresh_from_db)
            assert (order.state, order.absent_since) == ("UNKNOWN", None)
        # Set back, the wait begins again, and does not last until the old time comes round.
        set_clock(timedelta(hours=-1))
        await one.doubts.look_up()
        await one.db(order.refresh_from_db)
        assert order.state == "UNKNOWN"
        assert order.doubt_since < doubt_since
        # Ten seconds by the steady clock, then two reads two seconds apart.
        one.doubts._since[order.pk] = time.monotonic() - 10
        for seconds in (11, 13):
            set_clock(timedelta(hours=-1, seconds=seconds))
            await one.doubts.look_up()
        await one.db(order.refresh_from_db)
        assert order.state == "EXPIRED_UNSENT"

    trade(steps)
    assert state() == TradingMode.ACTIVE
    assert audit() == []


def test_a_stop_that_the_venue_will_not_have_is_asked_for_again_after_longer_and_longer_pauses(
    trade: Play, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = [1000.0]
    monkeypatch.setattr(trader_clock, "steady", lambda: steady[0])
    asked: list[int] = []

    async def steps(one: Trader) -> None:
        await play(one, 1)
        refuse = {"method": "POST", "path": "/orders$", "reject": "ACCOUNT_LOCKED", "times": 99}
        at_venue(url, "POST", "/orders", {"order": BESIDE_US | {"price": "2", "units": "100"}})
        control(url, "POST", "/faults", [refuse])
        await one.check.compare("start")
        assert one.facts.book.positions["EUR_USD"].units == 100
        stops = Order.objects.filter(origin=Origin.PROTECTIVE)
        for seconds in (0, 0.2, 0.7, 0.2, 1.5, 0.5, 3.9, 0.2):
            steady[0] += seconds
            await one.orders.work()  # asks
            await one.orders.work()  # is refused
            asked.append(await one.db(stops.count))
        control(url, "DELETE", "/faults")
        steady[0] += 60
        await one.orders.work()
        await one.orders.work()

    trade(steps)
    # At once, then after 1, 2 and 4 seconds.
    assert asked == [1, 1, 1, 2, 2, 3, 3, 4]
    assert Order.objects.get(origin=Origin.PROTECTIVE, state="ACCEPTED").units == -100
    assert audit() == []


def test_a_position_without_a_stop_is_said_once_while_nothing_may_be_sent(
    trade: Play, url: str
) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        await one.db(TradingState.objects.filter(scope="ACCOUNT").update, state="HALTED")
        at_venue(url, "POST", "/orders", {"order": BESIDE_US | {"price": "2", "units": "100"}})
        await one.check.compare("start")
        for _ in range(3):
            await one.orders.work()

    trade(steps)
    said = EventLog.objects.filter(stream="alerts", data__level="error")
    assert [event.data["text"] for event in said] == [
        "EUR_USD has 100 units without a stop, and nothing is sent while HALTED"
    ]
    assert not Order.objects.filter(origin=Origin.PROTECTIVE).exists()


def test_b6_b8_a_pair_that_is_not_traded_or_crossed_opens_nothing_until_the_next_good_price(
    trade: Play, url: str
) -> None:
    def price(bid: str, ask: str, second: int, *, tradeable: bool = True) -> parse.Price:
        at = datetime(2030, 1, 7, 10, tzinfo=UTC) + timedelta(seconds=second)
        line = {"instrument": "EUR_USD", "time": parse.time_text(at), "tradeable": tradeable}
        sides = {"bids": [{"price": bid}], "asks": [{"price": ask}]}
        return parse.read_price(line | sides)

    good = price("1.10000", "1.10010", 1)
    halted = price("1.10020", "1.10030", 2, tradeable=False)
    again = price("1.10030", "1.10040", 3)
    crossed = price("1.10020", "1.10010", 4)

    async def steps(one: Trader) -> None:
        await play(one, 1)
        one.quotes.clear()
        said, prices = [], venue_prices(one)
        for tick in (good, halted, again, crossed):
            await prices.on_price(tick)
            received = one.quotes["EUR_USD"]
            said.append((received.quote.bid, received.stands))
        assert said == [
            (D("1.10000"), ""),
            (D("1.10000"), "not tradeable at the venue"),
            (D("1.10030"), ""),
            (D("1.10030"), "EUR_USD: bid 1.10020 is above ask 1.10010"),
        ]
        denied = await ask(one, order_submit, **market(one))
        assert denied.denied_reason == (
            "feed: EUR_USD: bid 1.10020 is above ask 1.10010, allowed is running"
        )
        await prices.on_price(price("1.10040", "1.10050", 5))
        assert one.quotes["EUR_USD"].stands == ""
        # What cannot be traded from the start is no quote at all.
        one.quotes.clear()
        await prices.on_price(halted)
        assert one.quotes == {}

    trade(steps)
