"""Trading at a venue's own prices: `broker add`, the price stream, the venue's candles."""

import asyncio
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from sep_engine.execution.states import Origin
from webapp.tests.local_venue import at_venue, control, serving
from webapp.trading import standby
from webapp.trading.audit import account_faults
from webapp.trading.brokers import registry
from webapp.trading.brokers.base import AccountReport, Broker, BrokerError
from webapp.trading.brokers.oanda.adapter import LocalOandaBroker
from webapp.trading.cancelling import cancelled
from webapp.trading.models import (
    BrokerAccount,
    Candle,
    EventLog,
    Feed,
    Fill,
    Instrument,
    Order,
    Position,
    Reconciliation,
    Signal,
    Trade,
)
from webapp.trading.services.orders import order_submit
from webapp.trading.tokens import read_token, store_token
from webapp.trading.trader import lease, strategy_process, venue_prices
from webapp.trading.trader.live import bar_start
from webapp.trading.trader.trader import Trader

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def url(settings: Any, tmp_path: Path) -> Iterator[str]:
    """A server whose clock is that of its quotes, with an hour of prices behind it."""
    settings.SEP_VAR_PATH = tmp_path
    with serving("--clock", "market") as address:
        settings.SEP_OANDA_URL = address
        settings.SEP_OANDA_TOKEN = "local"
        yield address


def quote(url: str, bid: str, at: str = "") -> None:
    ask = str(Decimal(bid) + Decimal("0.00010"))
    body = {"instrument": "EUR_USD", "bid": bid, "ask": ask}
    control(url, "POST", "/quote", body | ({"time": at} if at else {}))


def order_at_venue(url: str, **fields: Any) -> Any:
    order = {"type": "MARKET", "instrument": "EUR_USD"} | fields
    return at_venue(url, "POST", "/orders", {"order": order})


def add(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    said = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO("local\n"))
    call_command("broker", "add", "oanda-local", "--granularity", "M1", *words, stdout=said)
    return said.getvalue()


def told(text: str) -> bool:
    alerts = EventLog.objects.filter(stream="alerts")
    return any(text in alert.data["text"] for alert in alerts)


def test_an_account_is_added_with_what_it_holds_and_its_token_is_sealed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote(url, "1.10000", "2030-01-07T10:00:00Z")
    order_at_venue(url, units="700", stopLossOnFill={"price": "1.09000"})
    order_at_venue(url, units="300")
    order_at_venue(url, type="LIMIT", units="-50", price="1.2")
    said = add(monkeypatch, "--name", "Practice")
    account = BrokerAccount.objects.get()
    assert "local" not in said.replace("oanda-local", "")
    assert "a day may lose 500.00 USD." in said
    assert read_token(account) == "local"
    # Two opened the account; two orders with a fill, one with a stop too, and a limit order.
    assert account.last_transaction_id == 2 + 3 + 2 + 1
    assert account.opening_balance == 100_000
    position = Position.objects.get()
    assert (position.units, position.average_price) == (1000, Decimal("1.10010"))
    assert [trade.units for trade in Trade.objects.order_by("pk")] == [700, 300]
    adopted = Order.objects.order_by("pk").values_list("type", "units", "price", "origin")
    assert sorted(adopted) == [
        ("LIMIT", -50, Decimal("1.2"), "EXTERNAL"),
        ("STOP_LOSS", -700, Decimal("1.09"), "EXTERNAL"),
    ]
    assert not Feed.objects.get().is_replay
    assert not account.strategies.get().enabled


def test_a_database_has_one_venue_and_a_wrong_token_leaves_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    with pytest.raises(CommandError, match="HTTP 401"):
        call_command("broker", "add", "oanda-local")
    assert not BrokerAccount.objects.exists()
    with pytest.raises(CommandError, match="the token does not open 101-1, only 101-004"):
        add(monkeypatch, "--account", "101-1")
    add(monkeypatch)
    with pytest.raises(CommandError, match="this database holds the account OANDA 101-004"):
        add(monkeypatch)
    settings.SEP_OANDA_URL = ""
    with pytest.raises(CommandError, match="set SEP_OANDA_URL"):
        call_command("broker", "add", "oanda-local")


async def asked(made: Broker) -> AccountReport:
    try:
        return await made.account()
    finally:
        await made.close()


def test_another_token_takes_the_place_of_the_old_one_once_the_venue_takes_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, "--name", "Practice")
    account = BrokerAccount.objects.get()
    store_token(account, "old")  # as if the venue had withdrawn it
    for typed, refusal in (
        ("wrong", "the token was not stored: HTTP 401"),
        ("", "no token was given"),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
        with pytest.raises(CommandError, match=refusal):
            call_command("broker", "token", "Practice")
        assert read_token(BrokerAccount.objects.get()) == "old"
    with pytest.raises(BrokerError, match="HTTP 401"):
        asyncio.run(asked(registry.broker_for(BrokerAccount.objects.get())))
    said = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO("local\n"))
    call_command("broker", "token", "Practice", stdout=said)
    assert said.getvalue() == "Practice has the new token. Start the trader again to use it.\n"
    report = asyncio.run(asked(registry.broker_for(BrokerAccount.objects.get())))
    assert report.balance == 100_000
    (event,) = EventLog.objects.filter(type="token_replaced")
    assert event.data == {"account": "Practice"}
    # The kill switch, which asks no database, has it too.
    (kept,) = standby.accounts()
    assert read_token(kept) == "local"
    BrokerAccount.objects.update(venue_account="101-004-1435156-002")
    monkeypatch.setattr("sys.stdin", io.StringIO("local\n"))
    with pytest.raises(CommandError, match="does not open 101-004-1435156-002, only 101-004"):
        call_command("broker", "token", "Practice")


def test_b10_the_venues_own_prices_are_traded_at_and_of_those_that_waited_the_newest(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(5):
        quote(url, f"1.1000{minute}", f"2030-01-07T10:0{minute}:00Z")
    add(monkeypatch)
    account = BrokerAccount.objects.get()
    # The bar of 10:04 is not complete.
    assert [candle.close for candle in Candle.objects.order_by("start")] == [
        Decimal(f"1.1000{n}") for n in range(4)
    ]
    made = registry.broker_for(account)
    assert not isinstance(made, LocalOandaBroker)

    pound = Instrument.objects.get()
    pound.pk, pound.name, pound.base = None, "GBP_USD", "GBP"
    pound.save(force_insert=True)

    async def whole() -> None:
        one = Trader(account_id=account.pk, with_relay=False)

        async def until(condition: Any) -> None:
            async with asyncio.timeout(60):
                while not await one.db(condition):  # in the thread that closes its connection
                    await asyncio.sleep(0.05)

        await one.open(lambda _: made)
        await one.prices.read_history()
        await one.recover()
        following = asyncio.create_task(one.prices.follow())
        taking = asyncio.create_task(one.prices.take())
        quote(url, "1.10050", "2030-01-07T10:05:10Z")
        await until(lambda: "EUR_USD" in one.quotes and one.prices.forming is not None)
        # Another pair that the books know is priced too, and makes no bar of the feed.
        control(url, "POST", "/quote", {"instrument": "GBP_USD", "bid": "1.3", "ask": "1.4"})
        await until(lambda: "GBP_USD" in one.quotes)
        looked: list[tuple[str, Any]] = []
        on_price, newest = one.prices.on_price, one.prices.newest

        async def noting(price: Any) -> None:
            looked.append((price.instrument, price.bid))
            await on_price(price)

        monkeypatch.setattr(one.prices, "on_price", noting)
        async with one.writing:  # what the trader is at takes its time
            for bid in ("1.31", "1.32", "1.33"):
                control(url, "POST", "/quote", {"instrument": "GBP_USD", "bid": bid, "ask": "1.4"})
                await until(
                    lambda bid=bid: "GBP_USD" in newest and newest["GBP_USD"].bid == Decimal(bid)
                )
        await until(lambda: looked)
        assert looked == [("GBP_USD", Decimal("1.33"))]
        quote(url, "1.10020", "2030-01-07T10:05:40Z")
        await until(lambda: one.prices.forming.low == Decimal("1.10020"))
        forming = one.prices.forming
        assert (forming.open, forming.high) == (Decimal("1.10050"), Decimal("1.10050"))
        await one.db(
            order_submit,
            account=account,
            instrument=one.feed.row.instrument,
            units=Decimal(1000),
            stop_distance=Decimal("0.00300"),
            origin=Origin.PERSON,
            now=timezone.now(),
        )
        async with one.writing:
            await one.orders.work()
        # The stream is cut: that is said, and said again when it is back.
        control(url, "POST", "/faults", [{"path": "pricing/stream", "status": 503}])
        await cancelled([following])
        following = asyncio.create_task(one.prices.follow())
        await until(lambda: told("price stream is lost: HTTP 503"))
        await until(lambda: told("price stream is heard again"))
        # A minute later two more bars are complete; the venue's own are stored and decided on.
        quote(url, "1.10060", "2030-01-07T10:06:01Z")
        for bar in await one.prices.new_bars():
            await one.events.on_event(bar)
        await cancelled([following, taking])
        await one.check.compare("minute")
        await one.close()

    asyncio.run(whole())
    order = Order.objects.get(origin="PERSON")
    assert (order.state, order.average_price) == ("FILLED", Decimal("1.10030"))
    last = Candle.objects.order_by("start").last()
    assert last is not None
    assert (last.open, last.low, last.close) == (
        Decimal("1.10050"),
        Decimal("1.10020"),
        Decimal("1.10020"),
    )
    feed = Feed.objects.get()
    assert feed.cursor == feed.total_bars == 6
    assert not feed.at_end
    assert Reconciliation.objects.order_by("pk").last().outcome == "AGREED"


RISER = """
class Riser:
    horizon_bars, window, stop_ticks = 2, 1, 300
    before = None

    def on_bar(self, bar):
        before, self.before = self.before, bar.close
        return 1 if before is not None and bar.close > before else 0
"""


@pytest.mark.usefixtures("valkey")
def test_a_class_trades_at_the_venues_prices_and_leaves_when_its_backtest_would(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lease, "LEASE", timedelta(minutes=30))
    monkeypatch.setattr(strategy_process, "ANSWER_S", 120.0)
    monkeypatch.setattr(venue_prices, "CANDLE_RETRY", timedelta(seconds=0.2))
    # Quotes of a Wednesday that is over: a bar is due as soon as the first quote after it has come.
    first = datetime(2026, 1, 7, 10, tzinfo=UTC)

    def price(minute: int, bid: str, second: int) -> None:
        quote(url, bid, (first + timedelta(minutes=minute, seconds=second)).isoformat())

    for minute in range(4):
        price(minute, "1.10000", 10)
    add(monkeypatch)
    source = tmp_path / "riser.py"
    source.write_text(RISER)
    call_command("strategy", "add", str(source), "--name", "R", "--enable", stdout=io.StringIO())
    account = BrokerAccount.objects.get()

    async def whole() -> None:
        one = Trader(account_id=account.pk, with_relay=False)
        trading = asyncio.create_task(one.run())

        async def until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(120):
                while not trading.done() and not await asyncio.to_thread(closing, condition):
                    await asyncio.sleep(0.05)

        def decided(minute: int) -> Callable[[], bool]:
            return Candle.objects.filter(start=first + timedelta(minutes=minute)).exists

        def all_filled() -> bool:
            return not Order.objects.filter(type="MARKET").exclude(state="FILLED").exists()

        # The bar of minute 3 is the first that it decides on; that of 4 closes above it, and it
        # enters in minute 5. Its two bars are those of 5 and 6: it leaves in minute 7.
        bids = ["1.10000", "1.10020", "1.10030", "1.10010", "1.10005"]
        for minute, bid in enumerate(bids, start=3):
            price(minute, bid, 40)
            price(minute + 1, bid, 3)
            await until(decided(minute))
            await until(all_filled)
        one.stop()
        await trading

    asyncio.run(whole())
    entry, leaving = Order.objects.filter(type="MARKET").order_by("pk")
    at = {minute: first + timedelta(minutes=minute) for minute in range(9)}
    # Bought in minute 5 at the ask, a pip above its bid, and sold in minute 7 at the bid.
    assert (entry.origin, entry.units, entry.average_price) == ("RULE", 1000, Decimal("1.10030"))
    assert (leaving.origin, leaving.units) == ("EXIT", -1000)
    assert leaving.average_price == Decimal("1.10010")
    seconds_3 = timedelta(seconds=3)
    filled = list(Fill.objects.order_by("pk").values_list("time", flat=True))
    assert filled == [at[5] + seconds_3, at[7] + seconds_3]
    stop = Order.objects.get(type="STOP_LOSS")
    # 300 ticks of 0.00001 below what was paid; it went with the position.
    assert (stop.price, stop.state) == (Decimal("1.09730"), "CANCELLED")
    signals = Signal.objects.order_by("pk")
    # The bars of 4 and 5 closed above the one before, those of 3, 6 and 7 did not.
    assert [(one.time, one.decision_reason) for one in signals] == [
        (at[5], "Riser buys"),
        (at[6], "Riser buys"),
    ]
    assert [one.order for one in signals] == [entry, None]
    assert account_faults(account) == []
    alerts = [row.data for row in EventLog.objects.filter(stream="alerts")]
    assert [one["text"] for one in alerts if one["level"] == "error"] == []


def closing(condition: Callable[[], bool]) -> bool:
    """Ask in a thread that leaves no connection behind."""
    try:
        return condition()
    finally:
        connection.close()


def test_bars_are_aligned_to_their_length() -> None:
    at = timezone.datetime.fromisoformat("2030-01-07T10:05:59.9+00:00")
    assert bar_start(at, "M1").isoformat() == "2030-01-07T10:05:00+00:00"
    assert bar_start(at, "H4").isoformat() == "2030-01-07T08:00:00+00:00"
    assert bar_start(at + timedelta(days=1), "D").isoformat() == "2030-01-08T00:00:00+00:00"


def test_a_practice_account_without_a_token_says_what_to_do(db: None) -> None:
    account = BrokerAccount.objects.create(
        name="P", kind="oanda-practice", venue_account="101-1", opening_balance=1
    )
    with pytest.raises(registry.BrokerError, match=r"run manage\.py broker add"):
        registry.broker_for(account)
