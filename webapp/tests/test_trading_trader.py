"""The trader with a real database and a real paper ledger, driven event by event."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from sep_engine.backtest import Costs, trade
from sep_engine.backtest import run as backtest
from sep_engine.backtest.market import Side, market
from sep_engine.data import load_sample
from sep_engine.execution.core import Timing
from sep_engine.execution.positions import NetPosition
from sep_engine.execution.states import OrderState, OrderType, Origin, TradingMode
from sep_engine.model.hours import TradingHours
from sep_engine.signals import DEFAULT_RULE, Gate, directions
from sep_engine.venues.replay import ReplayVenue
from webapp.trading.audit import account_faults
from webapp.trading.brokers.base import BrokerUnsure, OrderRequest, Transaction
from webapp.trading.brokers.registry import broker_for
from webapp.trading.models import (
    BrokerAccount,
    Candle,
    EventLog,
    Feed,
    Fill,
    Instrument,
    Order,
    Position,
    RiskLimit,
    Signal,
    Strategy,
    TradingState,
)
from webapp.trading.selectors.holdings import Lot
from webapp.trading.services import trading_state
from webapp.trading.services.closing import close_everything
from webapp.trading.services.feed import feed_control
from webapp.trading.services.orders import order_cancel, order_change, order_submit
from webapp.trading.trader import clock, feeds, lease
from webapp.trading.trader.trader import Trader

pytestmark = pytest.mark.django_db(transaction=True)

cached_sample = cache(load_sample)
cached_bars = cache(lambda: load_sample("eur_usd_h1").quote_bars())


@pytest.fixture(autouse=True)
def own_ledger(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paper ledger for this test alone, and a sample that is read once for all.

    Nothing here renews the lease, so it lasts as long as a test may take on a busy machine.
    """
    monkeypatch.setattr(lease, "LEASE", timedelta(minutes=30))
    settings.SEP_VAR_PATH = tmp_path
    monkeypatch.setattr(feeds, "load_feed", lambda feed: (cached_bars(), "ask"))


@pytest.fixture
def trader(sample: Any) -> Callable[[Callable[[Trader], Awaitable[None]]], None]:
    """Runs a coroutine function with a new trader that has recovered and armed itself."""

    def work(steps: Callable[[Trader], Awaitable[None]]) -> None:
        account = sample_account()

        async def whole() -> None:
            one = Trader(account_id=account.pk, with_relay=False)
            await one.open(broker)
            try:
                await one.recover()
                await steps(one)
            finally:
                await one.close()

        asyncio.run(whole())

    return work


def sample_account() -> BrokerAccount:
    return BrokerAccount.objects.get()


def broker(account: BrokerAccount) -> Any:
    made: Any = broker_for(account)
    # The late time and the gap of the reads are for networks; nothing here is late.
    made.timing = Timing(late=made.timing.late, read_gap=made.timing.late)
    return made


async def play(one: Trader, bars: int, *, each: Callable[[Trader], Any] | None = None) -> None:
    """Let `bars` bars pass, as fast as they are handled."""
    venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)
    for _ in range(2 * bars):
        await one.events.on_event(next(venue))
        if each is not None:
            await one.db(each, one)


def playing(bars: int) -> Callable[[Trader], Awaitable[None]]:
    return lambda one: play(one, bars)


def audit() -> list[str]:
    return account_faults(sample_account())


def decisions() -> list[tuple[Any, ...]]:
    return list(Signal.objects.order_by("pk").values_list("time", "direction", "price", "inputs"))


def traded() -> list[tuple[Any, ...]]:
    return list(Fill.objects.order_by("pk").values_list("time", "units", "price"))


BARS = 160


def test_d16_the_trader_trades_what_the_backtester_says(trader: Any) -> None:
    trader(playing(BARS))
    sample = cached_sample("eur_usd_h1")
    bars = sample.bars
    tick = sample.instrument.tick
    first, last = sample.history_bars, sample.history_bars + BARS
    decided = directions(DEFAULT_RULE, bars.close, tick=float(tick), gaps=bars.gaps())
    decided[:first] = 0  # the trader was not there
    own = Side(bars.open_ticks, bars.high_ticks, bars.low_ticks, bars.close_ticks)
    # 1.3 pips of 10 ticks.
    both = market(own, side="ask", costs=Costs(spread_ticks=13))
    expected = []
    for done in trade(
        both, decided, horizon_bars=4, stop_ticks=300, target_ticks=None, per_side_ticks=0
    ):
        expected.append((done.entry_bar, done.direction, done.entry_ticks * tick))
        expected.append((done.exit_bar, -done.direction, done.exit_ticks * tick))
    number = {bar.start: k for k, bar in enumerate(cached_bars())}
    # A fill at an open carries its time; a stop is known when its bar is complete.
    found = [
        (
            number[fill.time - timedelta(hours=1 if fill.order.type == "STOP_LOSS" else 0)],
            fill.units / abs(fill.units),
            fill.price,
        )
        for fill in Fill.objects.order_by("pk").select_related("order")
    ]
    assert len(found) >= 10
    assert found == [one for one in expected if one[0] < last]
    assert audit() == []


def test_d16_a_strategy_with_hours_trades_what_the_backtester_says(trader: Any) -> None:
    hours = "mon-fri 00:00-12:00 Europe/London"
    Strategy.objects.update(session=hours)
    trader(playing(BARS))
    sample = cached_sample("eur_usd_h1")
    bars, first = sample.bars, sample.history_bars
    counts = TradingHours.of(hours).contain(bars.times + 3_600 * 10**9)
    counts[:first] = False  # the trader was not there
    found = backtest(bars, DEFAULT_RULE, Costs(spread_ticks=13), side="ask", counts=counts)
    expected = [(one.entry_bar, one.direction) for one in found.trades]
    expected = [one for one in expected if one[0] < first + BARS]
    number = {bar.start: k for k, bar in enumerate(cached_bars())}
    entries = Fill.objects.filter(order__origin="RULE").order_by("pk")
    assert [(number[one.time], one.units / abs(one.units)) for one in entries] == expected
    assert len(expected) == 5  # without hours one more, at another time
    decided = np.flatnonzero(found.directions)
    told = Signal.objects.order_by("pk").values_list("time", flat=True)
    ends = [number[time - timedelta(hours=1)] for time in told]
    assert ends == [k for k in decided.tolist() if k < first + BARS]
    assert all(one.inputs["session"] == hours for one in Signal.objects.all())
    assert audit() == []


def test_d16_gates_on_path_predictions_and_collapse_pass_what_the_backtester_says(
    trader: Any,
) -> None:
    gates = (
        Gate("path_similarity", "percentile", 20.0, 100.0),
        Gate("confidence", "percentile", 10.0, 100.0),
        Gate("collapse", "value", 0.0, 0.0),
    )
    rule = replace(DEFAULT_RULE, gates=gates)
    Strategy.objects.update(rule=rule.to_json())
    trader(playing(60))
    sample = cached_sample("eur_usd_h1")
    bars, first = sample.bars, sample.history_bars
    found = directions(rule, bars.close, tick=float(bars.tick), gaps=bars.gaps())
    free = directions(replace(rule, gates=()), bars.close, tick=float(bars.tick), gaps=bars.gaps())
    expected = [first + k for k in np.flatnonzero(found[first : first + 60]).tolist()]
    assert 10 < len(expected) < np.count_nonzero(free[first : first + 60])
    number = {bar.start: k for k, bar in enumerate(cached_bars())}
    told = list(Signal.objects.order_by("pk"))
    assert [number[one.time - timedelta(hours=1)] for one in told] == expected
    assert [one.direction for one in told] == found[expected].tolist()
    # A signal keeps what its gates looked at.
    assert all(20 <= one.percentiles["path_similarity"] <= 100 for one in told)
    assert all(one.metrics["collapse"] == 0 for one in told)


def test_d16_a_trader_that_was_restarted_decides_as_one_that_ran_through(
    trader: Any, sample: Any
) -> None:
    trader(playing(60))
    through = (decisions(), traded())
    assert len(through[1]) >= 8
    # The same sixty bars once more in a new pass, with three restarts, one of them within a bar.
    Feed.objects.update(restart_requested=True)
    trader(lambda one: one.prices.begin_again())
    marks = Signal.objects.count(), Fill.objects.count()

    async def half_a_bar(one: Trader) -> None:
        venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)
        await one.events.on_event(next(venue))

    trader(playing(17))
    trader(half_a_bar)
    trader(playing(20))
    trader(playing(23))
    assert decisions()[marks[0] :] == through[0]
    assert traded()[marks[1] :][: len(through[1])] == through[1]
    assert audit() == []


def test_d16_changed_prices_after_t_change_no_signal_until_t(
    trader: Any, monkeypatch: pytest.MonkeyPatch, sample: Any
) -> None:
    trader(playing(40))
    before = decisions()
    Feed.objects.update(restart_requested=True)
    trader(lambda one: one.prices.begin_again())
    start = Signal.objects.count()
    t = sample.history_bars + 30
    # From bar t on the market falls instead: every later bar is one far below.
    fallen = cached_bars()[0]
    bars = cached_bars()[:t] + tuple(
        replace(fallen, start=bar.start, end=bar.end) for bar in cached_bars()[t:]
    )
    monkeypatch.setattr(feeds, "load_feed", lambda feed: (bars, "ask"))
    trader(playing(40))
    known = [one for one in before if one[0] <= bars[t].start]
    assert len(known) >= 3
    again = [one for one in decisions()[start:] if one[0] <= bars[t].start]
    assert again == known


def test_no_moment_passes_without_a_stop_at_the_venue(trader: Any) -> None:
    seen = []

    def look(one: Trader) -> None:
        held = Position.objects.get_or_create(
            account=sample_account(), instrument=one.feed.row.instrument
        )[0].units
        stops = Order.objects.filter(type=OrderType.STOP_LOSS, state=OrderState.ACCEPTED)
        if held:
            seen.append(held)
            assert sum(stop.units for stop in stops) == -held
        else:
            assert not stops.exists()

    trader(lambda one: play(one, 40, each=look))
    assert len(seen) >= 20


def test_a_position_whose_stop_was_lost_gets_a_new_one(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        lost = await one.db(Order.objects.get, type="STOP_LOSS", state="ACCEPTED")
        await one.facts.apply(await one.broker.cancel(lost.client_id))
        await one.orders.work()
        await one.orders.work()

    trader(steps)
    stop = Order.objects.get(type="STOP_LOSS", state="ACCEPTED")
    position = Position.objects.get()
    assert stop.origin == Origin.PROTECTIVE
    assert stop.units == -position.units
    # 30 pips, the configured default, from the average price.
    assert abs(stop.price - position.average_price) == Decimal("0.003")
    assert EventLog.objects.filter(stream="alerts", data__level="error").count() == 1
    assert audit() == []


def test_o6_o10_an_answer_that_is_lost_doubles_and_loses_nothing(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        submit = one.broker.submit

        async def cut(request: OrderRequest) -> list[Transaction]:
            await submit(request)
            raise BrokerUnsure("connection reset")

        one.broker.submit = cut  # type: ignore[method-assign]
        while not await one.db(Order.objects.filter(state="UNKNOWN").exists):
            await play(one, 1)
        one.broker.submit = submit  # type: ignore[method-assign]
        await one.doubts.look_up()
        await play(one, 2)

    trader(steps)
    assert Order.objects.filter(origin="RULE", state="FILLED").count() == 1
    assert audit() == []


def test_o4_o12_an_order_that_never_arrived_is_found_absent_and_not_sent_again(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        submit = one.broker.submit

        async def lost(request: OrderRequest) -> list[Transaction]:
            raise BrokerUnsure("timeout")

        one.broker.submit = lost  # type: ignore[method-assign]
        while not await one.db(Order.objects.filter(state="UNKNOWN").exists):
            await play(one, 1)
        one.broker.submit = submit  # type: ignore[method-assign]
        await one.doubts.look_up()
        first = await one.db(Order.objects.get)
        assert first.state == "UNKNOWN"  # one read proves nothing
        await one.doubts.look_up()

    trader(steps)
    assert Order.objects.get().state == "EXPIRED_UNSENT"
    assert audit() == []


def test_close_everything_flattens_and_lets_nothing_open_again(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        await one.db(
            lambda: close_everything(account=one.account, reason="test", now=timezone.now())
        )
        await one.orders.work()
        await play(one, 30)

    trader(steps)
    assert Position.objects.get().units == 0
    assert TradingState.objects.get(scope="ACCOUNT").state == TradingMode.REDUCING
    assert Order.objects.filter(origin="CLOSE_EVERYTHING", state="FILLED").count() == 1
    denied = Order.objects.filter(origin="RULE", state="DENIED")
    assert {order.denied_rule for order in denied} == {"state"}
    assert audit() == []


def test_what_is_held_of_an_instrument_that_was_disabled_is_protected_and_closed(
    trader: Any,
) -> None:
    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        await one.db(lambda: Instrument.objects.update(enabled=False))
        lost = await one.db(Order.objects.get, type="STOP_LOSS", state="ACCEPTED")
        await one.facts.apply(await one.broker.cancel(lost.client_id))
        await one.orders.work()
        await one.orders.work()
        stop = await one.db(Order.objects.get, type="STOP_LOSS", state="ACCEPTED")
        assert stop.origin == Origin.PROTECTIVE
        await one.db(
            lambda: close_everything(account=one.account, reason="test", now=timezone.now())
        )
        await one.orders.work()
        await play(one, 2)

    trader(steps)
    assert Position.objects.get().units == 0
    assert Order.objects.get(origin="CLOSE_EVERYTHING").state == "FILLED"
    assert audit() == []


def test_a_rule_whose_orders_cannot_be_says_so_and_the_trader_goes_on(trader: Any) -> None:
    Instrument.objects.update(enabled=False)
    trader(playing(30))
    assert Signal.objects.exists()
    assert not Order.objects.exists()
    said = {row.data["text"] for row in EventLog.objects.filter(stream="alerts")}
    assert said == {"Last-bit reversal enters nothing: instrument: EUR_USD is not enabled"}


def test_a_rule_that_is_switched_off_enters_nothing_more(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        await one.db(lambda: Strategy.objects.update(enabled=False))
        await play(one, 40)

    trader(steps)
    assert Order.objects.filter(origin="RULE").count() == 1
    # What it holds ends by its horizon all the same.
    assert Position.objects.get().units == 0


def test_a_rule_closes_what_it_opened_and_not_what_a_person_added(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        entry = await one.db(Order.objects.get, origin="RULE")
        await one.db(lambda: Strategy.objects.update(enabled=False))
        await one.db(
            lambda: order_submit(
                account=one.account,
                instrument=one.feed.row.instrument,
                units=Decimal(300).copy_sign(entry.units),
                origin=Origin.PERSON,
                stop_distance=Decimal("0.0900"),
                now=timezone.now(),
            )
        )
        stops = Order.objects.filter(type="STOP_LOSS", state="ACCEPTED", parent=entry)
        await play(one, 1)
        # The stop of the rule's own order is far away, too: its horizon ends it.
        far = await one.db(stops.get)
        away = Decimal("0.0900") if entry.units < 0 else Decimal("-0.0900")
        await one.db(
            lambda: order_change(
                order_id=far.pk, changes={"price": far.price + away}, now=timezone.now()
            )
        )
        await play(one, 30)

    trader(steps)
    entry = Order.objects.get(origin="RULE")
    assert abs(entry.filled_units) == 1000
    leaving = Order.objects.get(origin="EXIT")
    assert leaving.filled_units == -entry.filled_units
    assert abs(Position.objects.get().units) == 300
    assert audit() == []


def test_close_everything_works_while_halted_and_the_feed_stands(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        await one.db(_halt, one)
        await one.db(
            lambda: close_everything(account=one.account, reason="test", now=timezone.now())
        )
        await one.orders.work()
        await one.events.stand_still("paused")

    trader(steps)
    assert Position.objects.get().units == 0
    assert audit() == []


@pytest.mark.parametrize("end", [False, True], ids=["paused", "at its end"])
def test_a_new_trader_closes_at_the_last_close_while_the_feed_stands(
    trader: Any, sample: Any, monkeypatch: pytest.MonkeyPatch, end: bool
) -> None:
    async def until_held(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)

    trader(until_held)
    if end:
        Feed.objects.update(total_bars=Feed.objects.get().cursor)
    else:
        Feed.objects.update(paused=True)

    async def close(one: Trader) -> None:
        await one.db(one.feed.read_controls)
        await one.db(
            lambda: close_everything(account=one.account, reason="test", now=timezone.now())
        )
        await one.orders.work()
        await one.events.stand_still(one.feed.stands())

    trader(close)
    assert Position.objects.get().units == 0
    assert audit() == []


def _halt(one: Trader) -> None:
    trading_state.trading_state_set(
        scope="ACCOUNT",
        account=one.account,
        state=TradingMode.HALTED,
        reason="test",
        changed_by="alice",
        now=timezone.now(),
    )


def test_d4_nothing_is_sent_while_halted(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        await one.db(_halt, one)
        await play(one, 30)

    trader(steps)
    assert Signal.objects.count() >= 3
    assert not Order.objects.exclude(state="DENIED").exists()
    assert not Order.objects.filter(sent_at__isnull=False).exists()


def test_d3_a_day_that_loses_its_limit_only_reduces(trader: Any) -> None:
    # Any open loss of half a dollar: 1,000 units lose 0.13 by the spread alone.
    RiskLimit.objects.filter(name="daily_loss_max").update(value=Decimal("0.5"))
    trader(playing(60))
    state = TradingState.objects.get(scope="ACCOUNT")
    assert state.state == TradingMode.REDUCING
    assert "the day's loss" in state.reason
    assert state.changed_by == "trader"
    assert Position.objects.get().units == 0  # the exit was still allowed
    assert audit() == []


def test_o27_a_trade_made_beside_us_is_adopted(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        await play(one, 1)
        beside = OrderRequest(
            client_id="by-hand",
            instrument="EUR_USD",
            type=OrderType.MARKET,
            units=Decimal(700),
        )
        await one.broker.submit(beside)
        await one.facts.read()
        await play(one, 1)

    trader(steps)
    external = Order.objects.get(origin="EXTERNAL")
    assert (external.state, external.filled_units) == ("FILLED", Decimal(700))
    assert Position.objects.get().units == Decimal(700)
    # It came without a stop, so it was given one.
    assert Order.objects.filter(type="STOP_LOSS", state="ACCEPTED", units=-700).exists()
    assert audit() == []


def test_o28_books_that_differ_halt_the_account_with_the_reason(trader: Any) -> None:
    trader(playing(10))
    Position.objects.update_or_create(
        account=sample_account(),
        instrument=Feed.objects.get().instrument,
        defaults={"units": Decimal(5), "average_price": Decimal("1.1")},
    )

    async def nothing(one: Trader) -> None:
        return

    trader(nothing)
    state = TradingState.objects.get(scope="ACCOUNT")
    assert state.state == TradingMode.HALTED
    assert "position EUR_USD: we have" in state.reason


def test_a_restart_of_the_replay_closes_positions_and_forgets_later_candles(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        await one.db(
            lambda: feed_control(feed_id=one.feed.row.pk, now=timezone.now(), restart=True)
        )
        await one.prices.begin_again()
        assert one.feed.row.cursor == 2000
        await play(one, 3)

    trader(steps)
    feed = Feed.objects.get()
    assert (feed.run, feed.cursor, feed.restart_requested) == (1, 2003, False)
    assert Candle.objects.count() == 2003
    assert Order.objects.filter(origin="EXIT", state="FILLED").count() == 1
    assert audit() == []


def test_a_person_s_order_gets_a_stop_and_a_withdrawn_one_is_not_sent(trader: Any) -> None:
    def submit(units: int) -> Order:
        return order_submit(
            account=sample_account(),
            instrument=Feed.objects.get().instrument,
            units=Decimal(units),
            origin=Origin.PERSON,
            now=timezone.now(),
        )

    async def steps(one: Trader) -> None:
        await play(one, 1)
        kept, dropped = await one.db(submit, 2000), await one.db(submit, 3000)
        await one.db(lambda: order_cancel(order_id=dropped.pk, now=timezone.now()))
        await play(one, 1)
        assert await one.db(one.doubts.state_of, kept.pk) == OrderState.FILLED
        assert await one.db(one.doubts.state_of, dropped.pk) == OrderState.DENIED

    trader(steps)
    kept = Order.objects.get(origin="PERSON", units=2000)
    stop = Order.objects.get(parent=kept)
    assert kept.average_price - stop.price == Decimal("0.003")
    assert kept.stop_loss == stop.price
    assert Order.objects.get(units=3000).denied_rule == "withdrawn"
    assert audit() == []


async def judge(one: Trader, order: Order) -> None:
    waiting = [row for row in await one.db(one.orders.waiting) if row.pk == order.pk]
    await one.db(one.orders.judge, waiting, clock.utc_now())


@pytest.mark.parametrize("doubted", [False, True])
def test_an_opening_order_waits_for_the_first_quotes_of_all_that_is_held_or_may_be(
    trader: Any, doubted: bool
) -> None:
    account = sample_account()
    euro = Feed.objects.get().instrument
    pound = type(euro).objects.get(pk=euro.pk)
    pound.pk, pound.name, pound.base = None, "GBP_USD", "GBP"
    pound.save(force_insert=True)

    def doubt() -> None:
        sent = order_submit(
            account=account,
            instrument=pound,
            units=Decimal(1000),
            origin=Origin.PERSON,
            now=timezone.now(),
        )
        for state in (OrderState.QUEUED, OrderState.SENDING, OrderState.UNKNOWN):
            Order.objects.filter(pk=sent.pk).update(state=state)

    async def steps(one: Trader) -> None:
        # In a pair that has no quote yet there is a position, or an order whose end is not known:
        # what is at stake is not known either.
        if doubted:
            await one.db(doubt)
        else:
            one.facts.book.positions["GBP_USD"] = NetPosition(Decimal(1000), Decimal("1.30000"))
            one.facts.book.lots = (
                Lot("GBP_USD", Position.Side.NET, Decimal(1000), Decimal("1.30000")),
            )
        await one.events.on_event(next(ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)))
        order = await one.db(
            order_submit,
            account=account,
            instrument=euro,
            units=Decimal(1000),
            origin=Origin.PERSON,
            now=timezone.now(),
        )
        one.orders.armed_at = time.monotonic()
        await judge(one, order)
        assert await one.db(one.doubts.state_of, order.pk) == OrderState.CREATED
        # Long after the start a price that is missing is a reason to deny.
        one.orders.armed_at -= 60
        await judge(one, order)
        assert await one.db(one.doubts.state_of, order.pk) == OrderState.DENIED
        one.facts.book.positions.clear()

    trader(steps)


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(seconds=1)])
def test_d14_a_clock_that_is_set_back_sends_no_entry_and_ends_no_order_late(
    trader: Any, monkeypatch: pytest.MonkeyPatch, back: timedelta
) -> None:
    account = sample_account()
    RiskLimit.objects.filter(name="repeat_pause_s").update(value=0)

    async def steps(one: Trader) -> None:
        venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)
        await one.events.on_event(next(venue))

        def ask() -> Order:
            return order_submit(
                account=account,
                instrument=Feed.objects.get().instrument,
                units=Decimal(1000),
                origin=Origin.PERSON,
                now=timezone.now(),
            )

        before, judged = await one.db(ask), await one.db(ask)
        await judge(one, judged)
        assert await one.db(one.doubts.state_of, judged.pk) == OrderState.QUEUED
        monkeypatch.setattr("webapp.trading.trader.clock.utc_now", lambda: timezone.now() - back)
        # The quote is from the future now: one order is denied, the other not sent.
        await judge(one, before)
        denied = await one.db(Order.objects.get, pk=before.pk)
        assert (denied.state, denied.denied_rule) == (OrderState.DENIED, "quote_age")
        await one.sending.send([judged.pk])
        # Nothing was written, so there is no doubt to settle.
        assert await one.db(one.doubts.state_of, judged.pk) == OrderState.EXPIRED_UNSENT
        assert [fact.client_id for fact in await one.broker.transactions_since(0)] == []

    trader(steps)


def test_o17_one_account_has_one_trader(trader: Any) -> None:
    async def steps(one: Trader) -> None:
        now = timezone.now()
        account_id = one.account.pk
        with pytest.raises(lease.LeaseHeld, match="has a trader already"):
            await one.db(lease.take, account_id=account_id, holder="elsewhere:1:0", now=now)
        # Its host says that the holder is gone: taken over at once, and the old one must stop.
        await one.db(_pretend_holder_died, one)
        taken = await one.db(lease.take, account_id=account_id, holder="elsewhere:1:0", now=now)
        with pytest.raises(lease.LeaseLost):
            await one.db(lease.renew, one.tenure.lease, now=now)
        await one.db(lease.give_back, taken, now=now)

    trader(steps)


def _pretend_holder_died(one: Trader) -> None:
    import socket

    from webapp.trading.models import LeaseRow

    if one.tenure.lease.lock is not None:
        one.tenure.lease.lock.release()  # the server does this when a process dies
    LeaseRow.objects.update(holder=f"{socket.gethostname()}:999999999:1.00")


def test_the_audit_sees_what_was_taken_from_the_books(trader: Any) -> None:
    async def until_held(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)

    trader(until_held)
    assert audit() == []
    Fill.objects.all().delete()
    EventLog.objects.filter(stream="orders", seq=2).delete()
    Candle.objects.order_by("start")[0].delete()
    found = {line.split(" ")[0] for line in audit()}
    # I4: the fill is only at the venue; I3: fills and position differ; I5: the log has a hole.
    assert {"I3", "I4", "I5", "feed"} <= found


def test_c13_the_tables_follow_from_the_log_and_positions_are_made_again(trader: Any) -> None:
    trader(playing(BARS))
    out = io.StringIO()
    call_command("rebuild", check=True, stdout=out)
    assert out.getvalue().startswith("The tables follow from the log: ")
    assert Fill.objects.count() > 5
    kept = Position.objects.get()
    Position.objects.update(units=kept.units + 7, average_price=Decimal("1.5"))
    with pytest.raises(CommandError, match="1 differences"):
        call_command("rebuild", check=True, stdout=io.StringIO())
    call_command("rebuild", stdout=out)
    assert "1 positions were written." in out.getvalue()
    again = Position.objects.get()
    assert (again.units, again.average_price, again.realised_pl) == (
        kept.units,
        kept.average_price,
        kept.realised_pl,
    )
    event = EventLog.objects.filter(stream="orders").first()
    assert event is not None
    event.delete()
    with pytest.raises(CommandError, match="broken log"):
        call_command("rebuild", check=True)
