"""Orders that are on their way at the same time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from sep_engine.execution.states import OrderState, OrderType, Origin
from webapp.tests.test_trading_trader import own_ledger, play, sample_account, trader
from webapp.trading import halt_flag
from webapp.trading.brokers.base import OrderRequest, Transaction
from webapp.trading.brokers.oanda.adapter import SharedReads
from webapp.trading.models import EventLog, Order, RiskLimit, StreamHead
from webapp.trading.services import events
from webapp.trading.services.orders import order_submit
from webapp.trading.trader.exposure import Book
from webapp.trading.trader.recent import Results, Sent, SentCount
from webapp.trading.trader.trader import Trader
from webapp.trading.trader.turns import TOGETHER_MAX, Waiting, turns

__all__ = ["own_ledger", "trader"]


def entry(pk: int, instrument: str = "EUR_USD") -> Waiting:
    return Waiting(pk, OrderState.CREATED, instrument, withdrawn=False, alone=False)


def exit_(pk: int, instrument: str = "EUR_USD") -> Waiting:
    return Waiting(pk, OrderState.CREATED, instrument, withdrawn=False, alone=True)


def keys(*orders: Waiting) -> list[list[int]]:
    return [[one.pk for one in turn] for turn in turns(orders)]


def test_entries_go_together_and_an_exit_waits_for_what_came_before_it() -> None:
    assert keys() == []
    assert keys(entry(1), entry(2), entry(3, "GBP_USD")) == [[1, 2, 3]]
    assert keys(entry(1), exit_(2), entry(3)) == [[1], [2], [3]]
    assert keys(exit_(1), exit_(2)) == [[1], [2]]


def test_what_closes_one_pair_holds_up_no_other() -> None:
    assert keys(entry(1), exit_(2, "GBP_USD"), entry(3), exit_(4, "USD_JPY")) == [[1, 2, 3, 4]]
    assert keys(exit_(1), entry(2, "GBP_USD"), entry(3)) == [[1, 2], [3]]


def test_a_turn_is_no_longer_than_its_limit() -> None:
    assert [len(one) for one in keys(*map(entry, range(2 * TOGETHER_MAX + 1)))] == [
        TOGETHER_MAX,
        TOGETHER_MAX,
        1,
    ]


@pytest.mark.django_db(transaction=True)
class TestTheTrader:
    def test_sends_the_orders_of_a_turn_without_waiting_for_answers(
        self, trader: Callable[[Callable[[Trader], Awaitable[None]]], None]
    ) -> None:
        async def steps(one: Trader) -> None:
            await play(one, 1)
            submit, all_sent = one.broker.submit, asyncio.Barrier(3)

            async def slow(request: OrderRequest) -> list[Transaction]:
                async with asyncio.timeout(60):
                    await all_sent.wait()  # no answer comes before the third is sent
                return await submit(request)

            one.broker.submit = slow  # type: ignore[method-assign]
            await one.db(wish, 1000, 1001, 1002)
            await one.orders.work()

        trader(steps)
        assert states() == {"ACCEPTED"}
        assert [events.first_fault(name) for name in ("orders", "positions")] == [None, None]

    @pytest.mark.parametrize(
        ("limit", "value", "rule"),
        # 2,001 of 2,500 units are spoken for; two sends a second are allowed.
        [
            ("position_units_max", 2500, "position_units"),
            ("orders_per_second_max", 2, "orders_per_second"),
        ],
    )
    def test_judges_each_order_with_those_of_its_turn_before_it(
        self, trader: Any, limit: str, value: int, rule: str
    ) -> None:
        RiskLimit.objects.filter(name=limit, active=True).update(value=value)

        async def steps(one: Trader) -> None:
            await play(one, 1)
            await one.db(wish, 1000, 1001, 1002)
            await one.orders.work()

        trader(steps)
        assert states() == {"ACCEPTED", "DENIED"}
        assert Order.objects.get(state="DENIED").units == 1002
        assert Order.objects.get(state="DENIED").denied_rule == rule

    def test_looks_at_the_kill_switch_before_each_send(self, trader: Any) -> None:
        sent, first_sent = [], threading.Event()

        async def steps(one: Trader) -> None:
            await play(one, 1)
            submit = one.broker.submit

            async def pulled(request: OrderRequest) -> list[Transaction]:
                sent.append(request.units)
                halt_flag.put_up("test", by="alice", now=timezone.now())
                first_sent.set()
                return await submit(request)

            one.broker.submit = pulled  # type: ignore[method-assign]
            await one.db(wish, 1000, 1001, 1002)
            # The looks of one turn follow one another; those after the first wait for its send.
            look = one.sending.last_look

            def slow_look(order: Order, age_max: Decimal) -> str:
                assert order.units == 1000 or first_sent.wait(60)
                return look(order, age_max)

            one.sending.last_look = slow_look  # type: ignore[method-assign]
            await one.orders.work()

        trader(steps)
        assert sent == [Decimal(1000)]
        stopped = Order.objects.filter(units__in=(1001, 1002))
        assert set(stopped.values_list("state", "cause")) == {
            (
                "EXPIRED_UNSENT",
                "nothing was written to the venue: the kill switch was pulled before the send",
            )
        }

    def test_counts_fills_one_by_one_as_a_reading_of_all_does(self, trader: Any) -> None:
        async def steps(one: Trader) -> None:
            await play(one, 40)
            whole = await one.db(Book.read, one.account, market_time=one.facts.book.day_start)
            kept = one.facts.book
            assert kept.trades == whole.trades > 3
            assert (kept.wins, kept.balance, kept.realised, kept.positions) == (
                whole.wins,
                whole.balance,
                whole.realised,
                whole.positions,
            )
            assert kept.day_realised == whole.day_realised
            last = one.quotes["EUR_USD"].quote.time
            for hours, minutes in ((0, 90_000), (0, 600), (12, 600), (30, 1)):
                names = ("stops_window_min", "loss_window_min", "loss_pause_min")
                terms: Any = {
                    "limits": dict.fromkeys(names, Decimal(minutes)),
                    "at": last - timedelta(hours=hours),
                }
                order = await one.db(Order.objects.latest, "pk")
                seen = await one.db(partial(kept.results.before, order, **terms))
                read = await one.db(partial(Results(one.account).before, order, **terms))
                assert seen == read
                if minutes == 90_000:
                    assert seen.stops == 1
                    assert seen.window_pl == whole.realised != 0

        trader(steps)


def wish(*units: int) -> None:
    account = sample_account()
    for one in units:
        order_submit(
            account=account,
            instrument=account.strategies.get().instrument,
            units=Decimal(one),
            type=OrderType.MARKET,
            origin=Origin.PERSON,
            stop_distance=Decimal("0.003"),
            now=timezone.now(),
        )


def states() -> set[str]:
    return set(Order.objects.exclude(type=OrderType.STOP_LOSS).values_list("state", flat=True))


@pytest.mark.django_db
def test_events_that_are_written_together_make_the_same_chain() -> None:
    def record(*numbers: int) -> None:
        for number in numbers:
            events.record(stream="orders", type="order_update", data={"n": number}, now=now)

    now = timezone.now()
    with transaction.atomic():
        record(1)
        with events.together():
            record(2, 3)
            assert EventLog.objects.count() == 1
        record(4)
    rows = EventLog.objects.order_by("pk").values_list("seq", "data")
    assert list(rows) == [(n, {"n": n}) for n in (1, 2, 3, 4)]
    assert events.first_fault("orders") is None


@pytest.mark.django_db
def test_events_of_work_that_failed_were_never_written() -> None:
    def fail() -> None:
        with transaction.atomic(), events.together():
            events.record(stream="orders", type="order_update", data={}, now=timezone.now())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not EventLog.objects.exists()
    assert not StreamHead.objects.exists()
    with transaction.atomic():
        events.record(stream="orders", type="order_update", data={}, now=timezone.now())
    assert EventLog.objects.get().seq == 1


def test_one_read_serves_all_who_ask_before_it_begins_and_none_who_asks_later() -> None:
    asked: list[int] = []

    async def whole() -> list[list[Any]]:
        going = asyncio.Event()

        async def read(after: int) -> list[Any]:
            asked.append(after)
            await going.wait()
            return [after]

        reads = SharedReads(read)
        first = asyncio.create_task(reads.since(10))
        await asyncio.sleep(0)
        others = [asyncio.create_task(reads.since(after)) for after in (16, 13, 19)]
        await asyncio.sleep(0)
        going.set()
        return await asyncio.gather(first, *others)

    # The first read had begun; the other three share one from the oldest of what they ask.
    assert asyncio.run(whole()) == [[10], [13], [13], [13]]
    assert asked == [10, 13]


def test_a_read_that_fails_is_made_again_for_the_next_who_waits() -> None:
    answers: list[list[int] | None] = [[1], None, [2]]

    async def whole() -> list[Any]:
        async def read(after: int) -> list[Any]:
            await asyncio.sleep(0)
            answer = answers.pop(0)
            if answer is None:
                raise ConnectionError
            return [after, *answer]

        reads = SharedReads(read)
        calls = [reads.since(after) for after in (10, 13, 12)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(whole())
    assert first == [10, 1]
    assert isinstance(second, ConnectionError)
    assert third == [12, 2]


@pytest.mark.django_db
def test_sends_are_counted_by_second_minute_and_day(sample: Any) -> None:
    now = timezone.now()
    wish(1000, 1001, 1002, 1003)
    ages_s = {1000: 0.5, 1001: 30, 1002: 90, 1003: 90_000}
    for units, age_s in ages_s.items():
        Order.objects.filter(units=units).update(sent_at=now - timedelta(seconds=age_s))
    count = SentCount(sample_account())
    day = now - timedelta(hours=1)
    assert count.at(now, day_start=day) == Sent(last_second=1, last_minute=2, today=3)
    count.sent(now)
    assert count.at(now, day_start=day) == Sent(last_second=2, last_minute=3, today=4)
    later = now + timedelta(seconds=59.7)
    assert count.at(later, day_start=day) == Sent(last_second=0, last_minute=1, today=4)
    # A day that begins is read again: what only this count knew of is in no row here.
    assert count.at(now, day_start=now - timedelta(seconds=1)) == Sent(1, 2, 1)
