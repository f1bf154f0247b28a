"""A strategy class at the trader: the trades of the backtest, and what happens when it fails."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sep_engine.backtest import Costs, run_decided
from sep_engine.cli.strategy import strategy_decisions
from sep_engine.data import load_sample
from sep_engine.execution.core import Timing
from sep_engine.venues.replay import ReplayVenue
from webapp.trading.audit import account_faults
from webapp.trading.brokers.registry import broker_for
from webapp.trading.models import (
    BrokerAccount,
    EventLog,
    Fill,
    LiveOverride,
    Order,
    Signal,
    Strategy,
    TradingState,
)
from webapp.trading.selectors.status import status_resource
from webapp.trading.services.live_gate import may_trade_live, override_make
from webapp.trading.trader import feeds, lease, strategy_process
from webapp.trading.trader.strategies import RunningClass
from webapp.trading.trader.trader import Trader

pytestmark = pytest.mark.django_db(transaction=True)

BREAKOUT = Path(__file__).parents[2] / "python/tests/cli/breakout.py"
HOUR = timedelta(hours=1)
BARS = 100

the_sample = cache(load_sample)
the_bars = cache(lambda: load_sample().quote_bars())


@pytest.fixture(autouse=True)
def own_ledger(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paper ledger for this test alone; nothing is late on a busy machine."""
    monkeypatch.setattr(lease, "LEASE", timedelta(minutes=30))
    monkeypatch.setattr(strategy_process, "ANSWER_S", 120.0)
    monkeypatch.setattr(strategy_process, "WARM_UP_S", 120.0)
    settings.SEP_VAR_PATH = tmp_path
    monkeypatch.setattr(feeds, "load_feed", lambda feed: (the_bars(), "ask"))


@pytest.fixture
def breakout(sample: Any) -> Strategy:
    """The class of the documentation, stored by the command and on."""
    out = StringIO()
    call_command("strategy", "add", str(BREAKOUT), "--name", "Break", "--enable", stdout=out)
    assert out.getvalue().splitlines()[1:] == [
        "Last-bit reversal is off: one strategy trades an instrument.",
        "Break is on. The trader takes it up when it starts again.",
    ]
    return Strategy.objects.get(name="Break")


def broker(account: BrokerAccount) -> Any:
    made: Any = broker_for(account)
    made.timing = Timing(late=made.timing.late, read_gap=made.timing.late)
    return made


def trader(steps: Callable[[Trader], Awaitable[None]]) -> None:
    """Run steps with a new trader that has recovered, armed itself and warmed its classes up."""
    account = BrokerAccount.objects.get()

    async def whole() -> None:
        one = Trader(account_id=account.pk, with_relay=False)
        await one.open(broker)
        try:
            await one.recover()
            await one.strategies.ready(one.stopping)
            await steps(one)
        finally:
            await one.close()

    asyncio.run(whole())


async def play(one: Trader, bars: int) -> None:
    venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)
    for _ in range(2 * bars):
        await one.events.take(next(venue))


def running(one: Trader) -> RunningClass:
    return one.strategies.classes()[0]


def alerts() -> list[str]:
    rows = EventLog.objects.filter(stream="alerts").order_by("pk")
    return [f"{row.data['level']}: {row.data['text']}" for row in rows]


def test_a_class_trades_what_its_backtest_says_across_a_restart_of_the_trader(
    breakout: Strategy,
) -> None:
    trader(lambda one: play(one, 47))
    trader(lambda one: play(one, BARS - 47))
    sample = the_sample()
    first = sample.history_bars
    kept, decided = strategy_decisions(str(BREAKOUT), sample.bars)
    assert kept.source_sha256 == breakout.rule["source_sha256"]
    expected = [first + k for k in np.flatnonzero(decided[first : first + BARS]).tolist()]
    number = {bar.start: k for k, bar in enumerate(the_bars())}
    told = list(Signal.objects.order_by("pk"))
    assert [number[one.time - HOUR] for one in told] == expected
    assert len(expected) >= 4
    assert {one.direction for one in told} == {1}
    decided[:first] = 0  # the trader was not there
    result = run_decided(sample.bars, kept, decided, Costs(spread_ticks=13), side="ask")
    tick, wanted = sample.bars.tick, []
    for done in result.trades:
        wanted.append((done.entry_bar, done.entry_ticks * tick))
        wanted.append((done.exit_bar, done.exit_ticks * tick))
    found = [
        # A fill at an open carries its time; a stop is known when its bar is complete.
        (number[fill.time - (HOUR if fill.order.type == "STOP_LOSS" else timedelta(0))], fill.price)
        for fill in Fill.objects.order_by("pk").select_related("order")
    ]
    assert len(found) >= 5
    assert found == [one for one in wanted if one[0] < first + BARS]
    assert account_faults(BrokerAccount.objects.get()) == []
    assert alerts() == []
    # A signal says what it came from, and names no metric: none was looked at.
    last = told[-1]
    assert (last.decision_reason, last.metrics, last.percentiles) == ("Breakout buys", {}, {})
    assert last.inputs["bars"] == number[last.time - HOUR] + 1
    assert last.inputs["rule"] == breakout.rule


def test_one_that_dies_enters_nothing_while_its_position_ends_by_the_horizon(
    breakout: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_process, "PAUSE_S", 3600.0)

    async def steps(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        process = running(one)._process._process
        assert process is not None
        process.kill()
        await play(one, 30)
        assert (
            running(one)
            ._decided(running(one)._last_start, None)
            .reason.startswith("no answer: its process was ended by SIGKILL; started again in")
        )
        running(one)._process._next_start = 0.0
        await play(one, 1)

    trader(steps)
    assert Order.objects.filter(origin="RULE").count() == 1
    leaving = Order.objects.exclude(origin="RULE").exclude(type="STOP_LOSS")
    stopped = Order.objects.filter(type="STOP_LOSS", state="FILLED")
    assert leaving.count() + stopped.count() == 1
    assert alerts() == [
        "error: Break stands and enters nothing: its process was ended by SIGKILL",
        "info: Break decides again.",
    ]
    assert account_faults(BrokerAccount.objects.get()) == []


def test_a_strategy_that_was_switched_off_leaves_the_position_of_the_next_one_alone(
    sample: Any,
) -> None:
    async def until_it_bought_and_left(one: Trader) -> None:
        bought = Order.objects.filter(origin="RULE", state="FILLED").order_by("-pk")
        last = None
        while last is None or last.units < 0 or not await one.db(one.prices.is_flat):
            await play(one, 1)
            last = await one.db(bought.first)

    trader(until_it_bought_and_left)
    call_command("strategy", "add", str(BREAKOUT), "--name", "Break", "--enable", stdout=StringIO())

    async def until_the_class_holds_a_bar_more(one: Trader) -> None:
        while not one.facts.book.positions:
            await play(one, 1)
        await play(one, 1)

    trader(until_the_class_holds_a_bar_more)
    entry = Order.objects.filter(origin="RULE").order_by("-pk")[0]
    assert entry.strategy is not None
    assert entry.strategy.name == "Break"
    # It leaves after four bars; the horizon of the one that is off is over long ago.
    assert not Order.objects.filter(pk__gt=entry.pk, origin="EXIT").exists()


def test_orders_go_on_while_a_class_thinks(
    sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\nclass Slow:\n    horizon_bars, window, stop_ticks = 4, 0, 300\n    seen = 0\n"
        "    def on_bar(self, bar):\n        self.seen += 1\n"
        "        time.sleep(600 if self.seen > 2000 else 0)\n        return 1\n"
    )
    call_command("strategy", "add", str(slow), "--name", "Slow", "--enable", stdout=StringIO())
    monkeypatch.setattr(strategy_process, "ANSWER_S", 1.0)

    async def steps(one: Trader) -> None:
        venue = ReplayVenue(one.feed.bars, cursor=one.feed.row.cursor)
        await one.events.take(next(venue))
        before = one.feed.row.cursor
        deciding = asyncio.create_task(one.events.take(next(venue)))
        await asyncio.sleep(0)
        async with asyncio.timeout(60), one.writing:
            assert not deciding.done()
            assert one.feed.row.cursor == before
            await one.orders.work()
        await deciding
        assert one.feed.row.cursor == before + 1

    trader(steps)
    assert not Signal.objects.exists()
    assert alerts() == ["error: Slow stands and enters nothing: no answer within 1 s"]


def test_a_source_that_is_not_what_its_hash_names_is_never_run(breakout: Strategy) -> None:
    Strategy.objects.filter(pk=breakout.pk).update(source=breakout.source + "\n")

    async def steps(one: Trader) -> None:
        await play(one, 1)
        assert running(one)._process._process is None

    trader(steps)
    assert alerts() == [
        "error: Break stands and enters nothing: its source is not the one that its hash names: "
        "add it again"
    ]


def test_one_that_is_off_has_no_process(breakout: Strategy) -> None:
    call_command("strategy", "disable", "Break", stdout=StringIO())

    async def steps(one: Trader) -> None:
        await play(one, 1)
        assert running(one)._process._process is None
        assert one.strategies.metrics() is not None  # those of the rule beside it

    trader(steps)
    assert alerts() == []


def test_a_class_trades_real_money_only_on_the_word_of_a_person(breakout: Strategy) -> None:
    now = timezone.now()
    assert may_trade_live(breakout, now).reason == "a paper account"
    breakout.account.kind = "oanda-live"
    closed = may_trade_live(breakout, now)
    assert closed.reason == "a class has no verdict here: only an override opens the gate"
    assert not closed.allowed
    override_make(
        strategy=breakout, reason="judged elsewhere", confirmation="Break", made_by="alice", now=now
    )
    later = now + HOUR
    assert may_trade_live(breakout, later).allowed
    call_command("strategy", "replace", "Break", str(BREAKOUT), "--units", "1", stdout=StringIO())
    breakout = Strategy.objects.get(pk=breakout.pk)
    breakout.account.kind = "oanda-live"
    assert breakout.rule["units"] == "1"
    assert breakout.verdict == "unproven"
    assert not may_trade_live(breakout, timezone.now() + HOUR).allowed
    assert LiveOverride.objects.count() == 1


def test_replacing_a_rule_by_a_class_is_a_change_that_is_kept(sample: Any) -> None:
    before = Strategy.objects.get()
    out = StringIO()
    call_command("strategy", "replace", before.name, str(BREAKOUT), stdout=out)
    after = Strategy.objects.get()
    digest = after.rule["source_sha256"][:12]
    text = f"class Breakout, source {digest}, 1000 units, stop 300 ticks, 4 bars"
    assert out.getvalue() == (
        f"Last-bit reversal trades by {text}. The trader takes it up when it starts again.\n"
    )
    assert after.source == BREAKOUT.read_text()
    assert after.changed_at is not None
    kept = EventLog.objects.get(stream="audit", type="strategy_class").data
    assert (kept["before"], kept["changed_by"], kept["rule"]) == ("", "shell", after.rule)
    out = StringIO()
    call_command("strategy", "replace", before.name, str(BREAKOUT), stdout=out)
    assert out.getvalue() == "Last-bit reversal trades by this class already.\n"
    out = StringIO()
    call_command("strategy", "list", stdout=out)
    assert out.getvalue() == f"Last-bit reversal: on, unproven, EUR_USD H1 on Paper, {text}\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["add", "gone.py", "--name", "X"], "gone.py: No such file or directory"),
        (["add", str(BREAKOUT), "--name", "Last-bit reversal"], "there is a strategy Last-bit"),
        (["add", f"{BREAKOUT}:Other", "--name", "X"], "has no class Other with on_bar"),
        (["add", str(BREAKOUT), "--name", "X", "--units", "0"], "--units must be > 0, was 0"),
        (["replace", "X", str(BREAKOUT)], "there is no strategy X; there is: Last-bit reversal"),
    ],
)
def test_what_cannot_be_added_is_refused_in_a_line(
    sample: Any, arguments: list[str], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason.replace(".", r"\.")):
        call_command("strategy", *arguments)
    assert Strategy.objects.count() == 1


def test_the_page_shows_the_class_that_trades_and_none_of_its_code(
    breakout: Strategy, api: Any
) -> None:
    shown = status_resource()["strategy"]
    assert (shown["name"], shown["verdict"]) == ("Break", "unproven")
    assert shown["rule"]["strategy"] == "Breakout"
    assert "source" not in shown
    assert "def on_bar" not in json.dumps(status_resource())
    answer = api.post(
        "/api/evidence",
        {"strategy": breakout.pk},
        format="json",
        headers={"Idempotency-Key": "judge"},
    )
    assert answer.status_code == 400
    assert "judge its file with sep verdict" in json.dumps(answer.json())
    metrics = api.get("/api/qfh/EUR_USD").json()
    assert (metrics["window"], metrics["encoding"]) == (64, "moves")


def test_the_admin_shows_the_source_and_changes_neither_it_nor_its_rule(
    breakout: Strategy, client: Client, django_user_model: Any
) -> None:
    client.force_login(django_user_model.objects.create_superuser("root"))
    address = reverse("admin:trading_strategy_change", args=[breakout.pk])
    assert "def on_bar" in client.get(address).content.decode()
    client.post(address, {"name": "Break", "rule": "{}", "source": "", "enabled": "on"})
    again = Strategy.objects.get(pk=breakout.pk)
    assert (again.rule, again.source) == (breakout.rule, breakout.source)
    assert TradingState.objects.filter(strategy=breakout).count() == 1
