"""The facts that the risk gate's protections ask for, read from real rows; and what they stop."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.utils import timezone

from sep_engine.execution.states import OrderType, Origin
from sep_engine.model import Quote
from webapp.trading.models import (
    Blackout,
    BrokerAccount,
    Charge,
    Fill,
    Instrument,
    Order,
    PerformanceSnapshot,
    RiskLimit,
    Strategy,
    TradingState,
)
from webapp.trading.selectors.balance import day_realised, deepest_drawdown, most_made
from webapp.trading.selectors.limits import limits_of
from webapp.trading.services import performance
from webapp.trading.services.configuration import configuration_set
from webapp.trading.services.orders import order_submit
from webapp.trading.trader import recent
from webapp.trading.trader.equity import Equity
from webapp.trading.trader.exposure import Book, Live, Received, exposure_for
from webapp.trading.trader.facts import Facts
from webapp.trading.trader.setup import DEFAULT_LIMITS, limits_for

D = Decimal


@pytest.fixture
def account(sample: Any) -> BrokerAccount:
    return BrokerAccount.objects.get()


def wanted(account: BrokerAccount, units: int = 1000, **more: Any) -> Order:
    return order_submit(
        account=account,
        instrument=Instrument.objects.get(),
        units=D(units),
        origin=Origin.PERSON,
        now=timezone.now(),
        **more,
    )


def filled(account: BrokerAccount, *, pl: str, minutes_ago: int, type: str = "MARKET") -> None:
    """A fill of an order of its own; its row is made as the order path's rows are, by the shell."""
    now = timezone.now()
    order = Order.objects.create(
        client_id=f"x-{Order.objects.count()}",
        account=account,
        instrument=Instrument.objects.get(),
        origin=Origin.PROTECTIVE if type == "STOP_LOSS" else Origin.EXTERNAL,
        type=type,
        price=None if type == "MARKET" else D("1.1"),
        reduce_only=type != "MARKET",
        units=D(1000),
        state="ACCEPTED",
    )
    Fill.objects.create(
        order=order,
        account=account,
        transaction_id=Fill.objects.count() + 1,
        units=D(1000),
        price=D("1.1"),
        realised_pl=D(pl),
        half_spread_cost=D(0),
        assumed_spread=False,
        time=now - timedelta(minutes=minutes_ago),
    )


def results(account: BrokerAccount, **limits: int) -> recent.Recent:
    given = {name: D(value) for name, value in limits.items()}
    return recent.Results(account).before(wanted(account), limits=given, at=timezone.now())


def test_stops_are_counted_within_their_window(account: BrokerAccount) -> None:
    for minutes_ago in (5, 25, 90):
        filled(account, pl="-3", minutes_ago=minutes_ago, type="STOP_LOSS")
    filled(account, pl="-3", minutes_ago=1)  # a loss, but no stop
    assert results(account, stops_window_min=60).stops == 2
    assert results(account, stops_window_min=0).stops == 0
    assert results(account).stops is None


def test_fills_that_left_the_window_long_ago_are_forgotten(account: BrokerAccount) -> None:
    filled(account, pl="-3", minutes_ago=30, type="STOP_LOSS")
    kept, limits = recent.Results(account), {"stops_window_min": D(60), "loss_pause_min": D(15)}
    order, now = wanted(account), timezone.now()
    assert kept.before(order, limits=limits, at=now).stops == 1
    later = kept.before(order, limits=limits, at=now + timedelta(days=2))
    # The loss is remembered for its age, however old: 2 days and 30 minutes.
    assert (later.stops, later.loss_age_min // 60) == (0, 48)
    assert kept._stops == []


def test_the_age_of_the_last_loss_and_the_result_of_the_window(account: BrokerAccount) -> None:
    filled(account, pl="-4", minutes_ago=30)
    filled(account, pl="-3", minutes_ago=12)
    filled(account, pl="5", minutes_ago=2)
    seen = results(account, loss_pause_min=15, loss_window_min=20)
    assert seen.loss_age_min is not None
    assert 12 <= seen.loss_age_min < 13
    assert seen.window_pl == 2  # -3 and 5; -4 is older than 20 minutes
    assert results(account, loss_pause_min=0).loss_age_min is None
    assert results(account).window_pl is None


def test_d2_two_wishes_that_look_the_same_are_a_repeat(account: BrokerAccount) -> None:
    first = wanted(account)
    assert recent.like_order_age_s(first, within_s=D(5)) is None
    second = wanted(account)
    age = recent.like_order_age_s(second, within_s=D(5))
    assert age is not None
    assert 0 <= age < 120
    for other in (wanted(account, 2000), wanted(account, -1000)):
        assert recent.like_order_age_s(other, within_s=D(5)) is None
    limit = wanted(account, type=OrderType.LIMIT, price=D("1.05"))
    assert recent.like_order_age_s(limit, within_s=D(5)) is None
    # Other hours for the first are no second order.
    changed = wanted(account, 3000, replaces=wanted(account, 3000))
    assert recent.like_order_age_s(changed, within_s=D(5)) is None
    # What came to nothing may be asked for again.
    Order.objects.filter(pk=first.pk).update(state="DENIED", denied_rule="size")
    assert recent.like_order_age_s(second, within_s=D(5)) is None


def test_d12_a_blackout_of_a_currency_stops_its_pairs(account: BrokerAccount) -> None:
    now = timezone.now()
    order = wanted(account)
    row = Blackout.objects.create(
        currency="USD", starts_at=now, ends_at=now + timedelta(minutes=30), reason="payrolls"
    )
    assert recent.blackout_reason(order, at=now).startswith("payrolls until ")
    assert recent.blackout_reason(order, at=now - timedelta(seconds=1)) == ""
    assert recent.blackout_reason(order, at=row.ends_at) == ""
    for currency, stopped in (("JPY", False), ("EUR", True), ("", True)):
        Blackout.objects.update(currency=currency)
        assert bool(recent.blackout_reason(order, at=now)) == stopped


def test_nothing_is_opened_outside_the_hours_of_its_strategy(account: BrokerAccount) -> None:
    strategy = Strategy.objects.get()
    # In June London is an hour ahead of UTC: eight o'clock there is 07:00.
    strategy.session = "mon-fri 08:00-17:00 Europe/London"
    strategy.save()
    own, persons = wanted(account, strategy=strategy), wanted(account)
    early = datetime(2026, 6, 1, 6, 59, tzinfo=UTC)
    refused = recent.blackout_reason(own, at=early)
    assert refused == f"{strategy.name} enters only within {strategy.session}"
    assert recent.blackout_reason(own, at=early + timedelta(minutes=1)) == ""
    # A person's order is nobody's rule.
    assert recent.blackout_reason(persons, at=early) == ""
    # Hours that cannot be read, which no form lets in, open nothing.
    strategy.session = "whenever"
    strategy.save()
    own.strategy.refresh_from_db()
    assert "cannot be read" in recent.blackout_reason(own, at=early + timedelta(hours=1))


def exposure(account: BrokerAccount, order: Order, *quotes: Quote) -> Any:
    now = timezone.now()
    return exposure_for(
        order,
        live=Live(account),
        sent=recent.SentCount(account),
        book=Book.read(account, market_time=now),
        quotes={quote.instrument: Received(quote, now, "") for quote in quotes},
        limits=limits_of(account),
        peak_equity=D(100_000),
        now=now,
    )


def test_what_waits_counts_as_held_and_as_a_price_to_meet(account: BrokerAccount) -> None:
    quote = Quote("EUR_USD", timezone.now(), D("1.09990"), D("1.10010"))
    for units, price in ((1000, "1.05"), (1000, "1.06"), (-1000, "1.15")):
        waiting = wanted(account, units, type=OrderType.LIMIT, price=D(price))
        Order.objects.filter(pk=waiting.pk).update(state="QUEUED")
    stop = wanted(account, -1000, type=OrderType.STOP, price=D("1.01"))
    Order.objects.filter(pk=stop.pk).update(state="QUEUED")
    seen = exposure(account, wanted(account, 3000), quote)
    assert (seen.waiting_buy_price, seen.waiting_sell_price) == (D("1.06"), D("1.15"))
    # Four orders of 1,000 at the mid of 1.10000; two buy and two sell.
    assert seen.gross_value == D(4400)
    assert seen.currency_values == {"EUR": D(0), "USD": D(0)}
    assert (seen.equity, seen.peak_equity) == (D(100_000), D(100_000))


def test_a_pair_in_another_currency_is_valued_through_a_rate(account: BrokerAccount) -> None:
    yen = Instrument.objects.create(
        name="EUR_JPY", display_name="EUR/JPY", base="EUR", quote="JPY", tick=D("0.001"),
        pip=D("0.01"), units_step=D(1), price_decimals=3, calendar="fx",
    )  # fmt: skip
    now = timezone.now()
    order = order_submit(
        account=account, instrument=yen, units=D(1000), origin=Origin.PERSON, now=now
    )
    pair = Quote("EUR_JPY", now, D("137.50"), D("137.50"))
    assert exposure(account, order, pair).account_per_quote is None
    dollar = Quote("USD_JPY", now, D(125), D(125))
    assert exposure(account, order, pair, dollar).account_per_quote == D("0.008")


def test_each_limit_of_the_gate_can_be_configured_and_has_a_start(account: BrokerAccount) -> None:
    from sep_engine.risk import LIMIT_NAMES
    from webapp.trading.configuration import SCHEMA

    configurable = {name.removeprefix("risk.") for name in SCHEMA["properties"]}
    assert set(LIMIT_NAMES) <= configurable
    assert configurable == set(DEFAULT_LIMITS)
    configuration_set(
        account=account, key="risk.leverage_max", value="3", changed_by="alice", source="api",
        now=timezone.now(),
    )  # fmt: skip
    rows = RiskLimit.objects.filter(account=account, name="leverage_max").order_by("version")
    assert [(row.value, row.active) for row in rows] == [(2, False), (3, True)]
    assert limits_of(account)["leverage_max"] == 3


@pytest.mark.parametrize(
    ("balance", "day", "order"),
    # 0.5 and 20 % of what the account begins with, in its own currency.
    [("100000", "500", "20000"), ("2000", "10", "400"), ("10000000", "50000", "2000000")],
)
def test_limits_of_money_begin_as_shares_of_the_balance(balance: str, day: str, order: str) -> None:
    limits = limits_for(D(balance))
    assert limits.keys() == DEFAULT_LIMITS.keys()
    assert (limits["daily_loss_max"], limits["order_notional_max"]) == (D(day), D(order))
    assert limits["order_units_max"] == 10_000


@pytest.mark.parametrize(("equity", "state"), [("90000.01", "ACTIVE"), ("90000", "REDUCING")])
def test_d3_a_drawdown_from_the_peak_sets_reducing(
    account: BrokerAccount, equity: str, state: str
) -> None:
    # 10 % of the highest equity of 100,000 is the limit.
    facts, watcher = watching(account)
    facts.book.balance, facts.book.realised = D(equity), D(equity) - 100_000
    watcher.watch_now()
    row = TradingState.objects.get(scope="ACCOUNT")
    assert row.state == state
    if state == "REDUCING":
        assert row.reason == "10000.00 USD below the highest equity reached 10.00 %"


def charge(account: BrokerAccount, amount: str, *, kind: str, minutes_ago: int = 1) -> None:
    Charge.objects.create(
        account=account,
        transaction_id=1000 + Charge.objects.count(),
        kind=kind,
        amount=D(amount),
        time=timezone.now() - timedelta(minutes=minutes_ago),
    )


def point(account: BrokerAccount, *, realised: str, paid_in: str = "100000") -> PerformanceSnapshot:
    balance = D(paid_in) + D(realised)
    return PerformanceSnapshot.objects.create(
        account=account, time=timezone.now(), equity=balance, balance=balance,
        realised_pl=D(realised), open_pl=D(0), drawdown=D(0), trades=0, wins=0,
    )  # fmt: skip


def watching(account: BrokerAccount, db: Any = None) -> tuple[Facts, Equity]:
    """The books as a trader that starts reads them, and who watches what they lose."""
    facts = Facts(
        account=account,
        broker=cast(Any, None),
        db=db,
        tell=asyncio.Event(),
        market_now=timezone.now,
    )
    return facts, Equity(account=account, db=db, facts=facts, quotes={})


@pytest.mark.parametrize(
    ("transferred", "lost", "state"),
    [
        # 100,000 and 2,000 made: the peak is 102,000, and 10 % of it is 10,200.
        ("0", "10199.99", "ACTIVE"),
        ("0", "10200", "REDUCING"),
        # 20,000 taken out lose nothing: the peak is 82,000, and 10 % of it is 8,200.
        ("-20000", "8199.99", "ACTIVE"),
        ("-20000", "8200", "REDUCING"),
        # 20,000 paid in win nothing back: the peak is 122,000, and 10 % of it is 12,200.
        ("20000", "12199.99", "ACTIVE"),
        ("20000", "12200", "REDUCING"),
    ],
)
def test_d3_money_that_is_paid_in_or_out_is_no_profit_and_no_drawdown(
    account: BrokerAccount, transferred: str, lost: str, state: str
) -> None:
    RiskLimit.objects.filter(name="daily_loss_max").update(value=D(1_000_000))
    point(account, realised="2000")
    filled(account, pl="2000", minutes_ago=3)
    filled(account, pl=f"-{lost}", minutes_ago=2)
    if transferred != "0":
        charge(account, transferred, kind="TRANSFER_FUNDS")
    _, equity = watching(account)
    equity.watch_now()
    assert TradingState.objects.get(scope="ACCOUNT").state == state


def test_d3_peak_and_deepest_drawdown_are_not_forgotten_with_the_old_points_of_the_equity_line(
    account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    peak = point(account, realised="7000")
    later = [point(account, realised=f"{n}000") for n in (1, 6, 5, 2)]
    PerformanceSnapshot.objects.filter(pk=later[0].pk).update(drawdown=D(6000))
    monkeypatch.setattr(performance, "SNAPSHOTS_DROPPED_EVERY", 1)
    performance.snapshots_drop_old(newest=later[3], kept=1)
    assert list(PerformanceSnapshot.objects.order_by("pk").values_list("pk", flat=True)) == [
        peak.pk,
        later[0].pk,
        later[3].pk,
    ]
    assert (most_made(account), deepest_drawdown(account)) == (7000, 6000)


def test_d3_financing_counts_for_the_day_that_it_is_taken_on(account: BrokerAccount) -> None:
    # 60 lost and 50 taken reach a limit of 110; what was paid out is not lost.
    RiskLimit.objects.filter(name="daily_loss_max").update(value=D(110))
    facts, equity = watching(account)
    filled(account, pl="-60", minutes_ago=0)
    charge(account, "-49.99", kind="DAILY_FINANCING", minutes_ago=0)
    charge(account, "-5000", kind="TRANSFER_FUNDS", minutes_ago=0)
    facts.book.catch_up()
    equity.watch_now()
    assert TradingState.objects.get(scope="ACCOUNT").state == "ACTIVE"
    charge(account, "-0.01", kind="DAILY_FINANCING", minutes_ago=0)
    facts.book.catch_up()
    assert facts.book.day_realised == day_realised(account, timezone.now()) == -110
    equity.watch_now()
    row = TradingState.objects.get(scope="ACCOUNT")
    assert (row.state, row.reason) == ("REDUCING", "the day's loss 110.00 USD reached 110.00")


def test_d15_a_loss_that_one_fill_made_is_seen_though_nothing_is_held_any_more(
    account: BrokerAccount,
) -> None:
    RiskLimit.objects.filter(name="daily_loss_max").update(value=D(60))
    looks = 0

    async def at_once(work: Any, *args: Any) -> Any:
        nonlocal looks
        looks += work == equity.watch_now
        return await sync_to_async(work)(*args)

    facts, equity = watching(account, at_once)
    watch = async_to_sync(equity.watch)
    watch(timezone.now())
    # The market opens far below the stop: the position is gone with the fill that lost 60.
    filled(account, pl="-60", minutes_ago=0)
    facts.book.catch_up()
    facts.changes += 1
    assert facts.book.positions == {}
    watch(timezone.now())
    assert TradingState.objects.get(scope="ACCOUNT").state == "REDUCING"
    # And a flat account is not looked at with every quote.
    watch(timezone.now())
    assert looks == 2


def test_the_worth_of_a_large_account_in_another_currency_is_stored_and_ends_no_trader(
    account: BrokerAccount,
) -> None:
    book = SimpleNamespace(
        balance=D("10000494.9525"),
        realised=D("494.9525"),
        trades=9,
        wins=5,
        # 30 units lost 0.00013 dollars each, turned at 150.009 yen.
        open_pl=lambda quotes: D("-3.02400615"),
        peak=lambda made: D(10_000_000) + made,
    )
    quotes: dict[str, Received] = {}
    facts: Any = SimpleNamespace(book=book)
    database: Any = None
    equity = Equity(account=account, db=database, facts=facts, quotes=quotes)
    equity._published_s = math.inf
    equity.store(timezone.now(), timezone.now())
    # 10,000,494.9525 - 3.02401
    point = PerformanceSnapshot.objects.get()
    assert (point.equity, point.open_pl) == (D("10000491.92849"), D("-3.02401"))
