"""Intents, claims and facts: what the order path lets happen in the database."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from sep_engine.execution.core import Absent, Doubted, Found, Judged, Timing, Withdrawn, step
from sep_engine.execution.states import OrderType, Origin, TradingMode
from sep_engine.risk import Approved
from webapp.tests.conftest import at_once, eur_usd
from webapp.trading import halt_flag
from webapp.trading.brokers.base import Kind, TradeChange, Transaction
from webapp.trading.models import (
    BrokerAccount,
    BrokerFact,
    Closing,
    EventLog,
    Feed,
    Fill,
    Instrument,
    Order,
    Position,
    Strategy,
    StreamHead,
    TradingState,
)
from webapp.trading.selectors.closing import closing_left
from webapp.trading.selectors.stops import nearest_stop
from webapp.trading.services import events, order_path
from webapp.trading.services.closing import close_everything, closings_go_on
from webapp.trading.services.feed import feed_control
from webapp.trading.services.order_facts import FactGap, facts_apply
from webapp.trading.services.order_steps import record_of
from webapp.trading.services.orders import (
    order_cancel,
    order_submit,
    position_close,
)
from webapp.trading.services.refusals import KeyReused
from webapp.trading.services.trading_state import trading_state_set, trading_state_worsen

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TIMING = Timing()
pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> BrokerAccount:
    account = BrokerAccount.objects.create(name="Paper", opening_balance=Decimal(100_000))
    TradingState.objects.create(scope="GLOBAL", changed_at=NOW)
    TradingState.objects.create(scope="ACCOUNT", account=account, changed_at=NOW)
    return account


@pytest.fixture
def instrument() -> Instrument:
    return eur_usd()


@pytest.fixture
def submit(account: BrokerAccount, instrument: Instrument) -> Callable[..., Order]:
    def one(**fields: Any) -> Order:
        wanted: dict[str, Any] = {
            "account": account,
            "instrument": instrument,
            "units": Decimal(1000),
            "origin": Origin.PERSON,
            "now": NOW,
        }
        return order_submit(**(wanted | fields))

    return one


def queued(order: Order) -> Order:
    """Pass the gate without asking it: the gate has tests of its own."""
    order.state = step(record_of(order), Judged(), NOW, TIMING).order.state
    order.save()
    return order


def claim(order: Order, *, epoch: int = 0, now: datetime = NOW) -> bool:
    return bool(
        order_path.orders_claim(
            account_id=order.account_id, order_ids=[order.pk], epoch=epoch, now=now, timing=TIMING
        )
    )


def fact(number: int, kind: Kind, order: Order, **fields: Any) -> Transaction:
    return Transaction(
        id=number,
        kind=kind,
        time=NOW,
        venue_order_id="1",
        client_id=order.client_id,
        instrument="EUR_USD",
        **fields,
    )


def filled(number: int, order: Order, units: int, **fields: Any) -> Transaction:
    return fact(number, Kind.FILLED, order, units=Decimal(units), price=Decimal("1.1"), **fields)


def apply(account: BrokerAccount, *facts: Transaction, catching_up: bool = False) -> int:
    return facts_apply(
        account_id=account.pk, facts=facts, now=NOW, timing=TIMING, catching_up=catching_up
    )


def test_o1_the_same_key_gives_the_same_order_and_another_request_a_conflict(
    submit: Callable[..., Order],
) -> None:
    first = submit(idempotency_key="k")
    assert submit(idempotency_key="k").pk == first.pk
    with pytest.raises(KeyReused, match="k was used for another request"):
        submit(idempotency_key="k", units=Decimal(2000))
    assert Order.objects.count() == 1
    assert EventLog.objects.filter(stream="orders").count() == 1


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("units", {"units": Decimal(0)}),
        ("units", {"units": Decimal("0.5")}),
        ("units", {"units": Decimal("NaN")}),
        ("price", {"price": Decimal("1.1")}),
        ("price", {"type": OrderType.LIMIT}),
        ("price", {"type": OrderType.LIMIT, "price": Decimal("1.000001")}),
        ("stop_loss", {"stop_loss": Decimal(-1)}),
    ],
)
def test_a_request_that_cannot_be_is_refused_by_field(
    field: str, fields: dict[str, Any], submit: Callable[..., Order]
) -> None:
    with pytest.raises(ValidationError) as refused:
        submit(**fields)
    assert set(refused.value.message_dict) == {field}
    assert not Order.objects.exists()


def test_o15_a_claim_is_won_once(submit: Callable[..., Order]) -> None:
    order = queued(submit())
    assert claim(order)
    assert not claim(order)
    order.refresh_from_db()
    assert (order.state, order.sent_at) == ("SENDING", NOW)


@pytest.mark.parametrize("scope", ["GLOBAL", "ACCOUNT"])
@pytest.mark.parametrize("state", [TradingMode.REDUCING, TradingMode.HALTED])
def test_d4_no_claim_is_won_after_the_kill_switch(
    scope: str, state: TradingMode, submit: Callable[..., Order], account: BrokerAccount
) -> None:
    order = queued(submit())
    trading_state_set(
        scope=scope,
        account=account if scope == "ACCOUNT" else None,
        state=state,
        reason="test",
        changed_by="alice",
        now=NOW,
    )
    assert not claim(order)
    order.refresh_from_db()
    assert order.state == "QUEUED"


def test_d7_no_claim_is_won_without_the_kill_switch_s_rows(submit: Callable[..., Order]) -> None:
    order = queued(submit())
    TradingState.objects.filter(scope="GLOBAL").delete()
    assert not claim(order)


def test_d5_no_claim_is_won_while_the_flag_is_up(
    submit: Callable[..., Order], settings: Any, tmp_path: Path
) -> None:
    settings.SEP_VAR_PATH = tmp_path
    order = queued(submit())
    call_command("halt", reason="fire", stdout=io.StringIO())
    assert re.fullmatch(r"20\S+ \S+ UTC, shell: fire\n", (tmp_path / "halted").read_text())
    assert not claim(order)
    halt_flag.take_down(seen=halt_flag.reason())
    assert claim(order)


def test_o3_o15_an_intent_that_grew_old_is_never_sent(submit: Callable[..., Order]) -> None:
    order = queued(submit())
    assert not claim(order, now=NOW + timedelta(seconds=31))
    order.refresh_from_db()
    assert order.state == "EXPIRED_UNSENT"


def test_o18_a_trader_of_an_older_epoch_claims_nothing(submit: Callable[..., Order]) -> None:
    order = queued(submit())
    BrokerAccount.objects.update(epoch=2)
    with pytest.raises(order_path.StaleEpoch, match="is at epoch 2, we are 1"):
        claim(order, epoch=1)


@dataclass(frozen=True)
class Seen:
    modes: tuple[TradingMode, ...] = ()


class Quoted:
    """What a trader with a quote would answer; every order passes its gate."""

    def terms(self, order: Order, limits: Any) -> order_path.Terms:
        return order_path.Terms(price_bound=Decimal("1.2"), stop_distance=Decimal("0.003"))

    def exposure(self, order: Order, limits: Any) -> Any:
        return Seen()

    def approved(self, order: Order) -> None:
        assert order.state == "QUEUED"


@pytest.mark.parametrize(
    ("wanted", "price_bound", "stop_distance"),
    [
        ({}, "1.2", "0.003"),
        # Its own price is the bound of every other order.
        ({"type": OrderType.LIMIT, "price": Decimal("1.05")}, None, "0.003"),
        # What somebody asked for stays; what only reduces opens nothing to stop.
        ({"stop_loss": Decimal("1.01")}, "1.2", None),
        ({"stop_distance": Decimal("0.001")}, "1.2", "0.001"),
        ({"reduce_only": True}, "1.2", None),
    ],
)
def test_an_order_gets_the_bound_and_the_stop_that_it_does_not_name(
    wanted: dict[str, Any],
    price_bound: str | None,
    stop_distance: str | None,
    submit: Callable[..., Order],
    account: BrokerAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(order_path, "check_order", lambda *_: Approved(checks=()))
    [order] = order_path.orders_judge(
        account_id=account.pk,
        order_ids=[submit(**wanted).pk],
        epoch=0,
        judging=Quoted,
        now=NOW,
        timing=TIMING,
    )
    order.refresh_from_db()
    assert order.price_bound == (None if price_bound is None else Decimal(price_bound))
    assert order.stop_distance == (None if stop_distance is None else Decimal(stop_distance))


def opened(number: int, order: Order, units: int) -> Transaction:
    trade = TradeChange(str(number), Decimal(units), Decimal("1.1"), Decimal(0), opens=True)
    return filled(number, order, units, trades=(trade,))


def hung(number: int, order: Order, type_: str, **fields: Any) -> Transaction:
    """A dependent of trade 1 that came with the fill of `order`."""
    return Transaction(
        id=number,
        kind=Kind.DEPENDENT,
        time=NOW,
        venue_order_id=str(number),
        instrument="EUR_USD",
        order_type=type_,
        units=Decimal(-1000),
        parent_id="1",
        trade_id="1",
        **fields,
    )


def test_what_hangs_on_a_fill_gives_its_order_the_prices_that_it_did_not_know(
    submit: Callable[..., Order], account: BrokerAccount
) -> None:
    order = queued(submit(stop_distance=Decimal("0.003")))
    assert claim(order)
    apply(
        account,
        opened(1, order, 1000),
        hung(2, order, "STOP_LOSS", price=Decimal("1.097")),
        hung(3, order, "TAKE_PROFIT", price=Decimal("1.12")),
        hung(4, order, "TRAILING_STOP_LOSS", price=Decimal("1.096"), distance=Decimal("0.004")),
    )
    order.refresh_from_db()
    assert (order.stop_loss, order.take_profit) == (Decimal("1.097"), Decimal("1.12"))
    stop, target, trailing = Order.objects.filter(parent=order).order_by("pk")
    assert (stop.price, stop.trailing_distance, stop.reduce_only) == (Decimal("1.097"), None, True)
    assert (target.price, target.units) == (Decimal("1.12"), -1000)
    # The price of a trailing stop moves: only its distance is a term of it.
    assert (trailing.price, trailing.trailing_distance) == (None, Decimal("0.004"))
    position = Position.objects.get()
    assert (position.stop_loss, position.trailing_distance) == (Decimal("1.097"), Decimal("0.004"))


def test_a_stop_wants_what_its_trade_holds_by_then(
    submit: Callable[..., Order], account: BrokerAccount
) -> None:
    order, leaving = queued(submit()), queued(submit(units=Decimal(-400), reduce_only=True))
    assert claim(order)
    assert claim(leaving)
    reduced = TradeChange("1", Decimal(-400), Decimal("1.1"), Decimal(0), opens=False)
    close = filled(2, leaving, -400, trades=(reduced,))
    apply(
        account,
        opened(1, order, 1000),
        replace(close, venue_order_id="9"),
        hung(3, order, "STOP_LOSS", price=Decimal("1.097")),
    )
    # 400 of its 1,000 are closed, whatever the fill that opened it says.
    assert Order.objects.get(type="STOP_LOSS").units == -600


def test_an_order_tells_what_became_of_it_last(
    submit: Callable[..., Order], account: BrokerAccount
) -> None:
    order = queued(submit())
    assert claim(order)
    order.refresh_from_db()
    assert order.cause == "claimed by the trader of epoch 0"

    def happens(event: Any, at: datetime = NOW) -> str:
        order_path.order_happened(order_id=order.pk, event=event, now=at, timing=TIMING)
        order.refresh_from_db()
        return f"{order.state}: {order.cause}"

    assert happens(Doubted("reset")) == "UNKNOWN: no clear answer: reset"
    absent = Absent(send_closed=True)
    assert happens(absent, NOW + timedelta(seconds=10)) == "UNKNOWN: no clear answer: reset"
    assert happens(absent, NOW + timedelta(seconds=12)) == (
        "EXPIRED_UNSENT: two reads of the venue did not find it"
    )
    other = queued(submit())
    assert claim(other)
    then = NOW + timedelta(hours=1)
    cancel = fact(1, Kind.CANCELLED, other, reason="MARKET_HALTED")
    apply(account, replace(cancel, time=then))
    other.refresh_from_db()
    assert (other.cause, other.market_time) == ("transaction 1, MARKET_HALTED", then)


def test_only_a_cancel_that_is_to_be_sent_is_asked_for(
    submit: Callable[..., Order], account: BrokerAccount
) -> None:
    def sends_a_cancel(order: Order, event: Any) -> bool:
        return order_path.order_happened(order_id=order.pk, event=event, now=NOW, timing=TIMING)[1]

    order = queued(submit())
    assert claim(order)
    assert not sends_a_cancel(order, Withdrawn())
    assert not sends_a_cancel(order, Doubted("reset"))
    assert not sends_a_cancel(order, Found("1"))
    assert sends_a_cancel(order, Withdrawn())
    # The venue will not: the wish is over, and may be wished again.
    order_cancel(order_id=order.pk, now=NOW)
    apply(account, fact(1, Kind.CANCEL_REFUSED, order, reason="ORDER_CANCEL_LOCKED"))
    order.refresh_from_db()
    assert (order.state, order.cancel_requested_at) == ("ACCEPTED", None)


def test_an_order_that_was_cancelled_while_it_waited_is_not_claimed(
    submit: Callable[..., Order],
) -> None:
    order = queued(submit())
    Order.objects.filter(pk=order.pk).update(cancel_requested_at=NOW)
    assert not claim(order)
    order.refresh_from_db()
    assert (order.state, order.sent_at) == ("CANCELLED", None)


def test_an_order_whose_place_is_gone_is_not_sent(submit: Callable[..., Order]) -> None:
    old, successor = queued(submit()), queued(submit())
    Order.objects.filter(pk=successor.pk).update(replaces=old)
    assert not claim(successor)
    successor.refresh_from_db()
    assert successor.state == "EXPIRED_UNSENT"
    assert successor.cause == f"order {old.pk} cannot be changed any more"


@pytest.mark.parametrize("wished", [True, False])
def test_who_wants_an_order_gone_wants_what_took_its_place_gone(
    wished: bool, submit: Callable[..., Order], account: BrokerAccount
) -> None:
    old, successor = queued(submit()), queued(submit())
    assert claim(old)
    apply(account, fact(1, Kind.ACCEPTED, old))
    Order.objects.filter(pk=successor.pk).update(replaces=old)
    assert claim(successor)
    if wished:
        Order.objects.filter(pk=old.pk).update(cancel_requested_at=NOW)
    apply(account, fact(2, Kind.REPLACED, old))
    old.refresh_from_db()
    successor.refresh_from_db()
    assert old.state == "REPLACED"
    assert successor.cancel_requested_at == (NOW if wished else None)


@pytest.mark.parametrize(("units", "nearest"), [(1000, "1.09"), (-1000, "1.08")])
def test_the_nearest_stop_is_the_first_that_prices_come_to(units: int, nearest: str) -> None:
    stops = [Order(price=None), *(Order(price=Decimal(text)) for text in ("1.08", "1.09"))]
    held = Position(units=Decimal(units))
    # A long position falls to the higher one first, a short one rises to the lower.
    assert nearest_stop(held, stops) == Decimal(nearest)
    assert nearest_stop(held, stops[:1]) is None


def test_o19_facts_are_applied_once_and_in_order(
    submit: Callable[..., Order], account: BrokerAccount
) -> None:
    order = queued(submit())
    claim(order)
    facts = [fact(1, Kind.ACCEPTED, order), filled(2, order, 400, final=False)]
    assert apply(account, *reversed(facts)) == 2
    assert apply(account, *facts) == 0
    assert apply(account, filled(3, order, 600)) == 1
    order.refresh_from_db()
    assert (order.state, order.filled_units) == ("FILLED", Decimal(1000))
    assert Fill.objects.count() == 2
    assert BrokerFact.objects.count() == 3
    assert Position.objects.get().units == Decimal(1000)


def test_b3_a_missing_transaction_applies_nothing(
    submit: Callable[..., Order], account: BrokerAccount
) -> None:
    order = queued(submit())
    claim(order)
    with pytest.raises(FactGap, match="transaction 2 follows 0"):
        apply(account, filled(2, order, 1000))
    assert not BrokerFact.objects.exists()


def test_o26_a_fill_after_a_rejection_moves_the_position_and_halts(
    submit: Callable[..., Order], account: BrokerAccount
) -> None:
    order = queued(submit())
    claim(order)
    apply(account, fact(1, Kind.REJECTED, order, reason="INSUFFICIENT_MARGIN"))
    apply(account, filled(2, order, 1000))
    order.refresh_from_db()
    assert (order.state, order.filled_units) == ("REJECTED", Decimal(1000))
    assert Position.objects.get().units == Decimal(1000)
    state = TradingState.objects.get(scope="ACCOUNT")
    assert state.state == "HALTED"
    assert "is REJECTED" in state.reason


def test_o28_a_transaction_about_an_unknown_order_halts(account: BrokerAccount) -> None:
    stranger = Transaction(id=1, kind=Kind.CANCELLED, time=NOW, venue_order_id="77")
    apply(account, stranger)
    assert TradingState.objects.get(scope="ACCOUNT").state == "HALTED"
    assert BrokerFact.objects.count() == 1


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize(
    ("kinds", "ends"),
    [
        ((Kind.ACCEPTED, Kind.FILLED), "FILLED"),
        ((Kind.ACCEPTED, Kind.CANCELLED), "CANCELLED"),
        ((Kind.REJECTED,), "REJECTED"),
        ((Kind.ACCEPTED,), "ACCEPTED"),
    ],
)
def test_c18_what_a_restored_backup_had_not_sent_follows_the_venue(
    submit: Callable[..., Order],
    account: BrokerAccount,
    judged: bool,
    kinds: tuple[Kind, ...],
    ends: str,
) -> None:
    order = submit()
    if judged:
        queued(order)
    facts = [
        filled(number, order, 1000) if kind == Kind.FILLED else fact(number, kind, order)
        for number, kind in enumerate(kinds, 1)
    ]
    apply(account, *facts, catching_up=True)
    order.refresh_from_db()
    assert (order.state, order.sent_at, order.epoch) == (ends, NOW, 0)
    assert TradingState.objects.get(scope="ACCOUNT").state == "ACTIVE"
    alert = EventLog.objects.get(stream="alerts").data["text"]
    assert "these books are older than what was sent" in alert


def test_o26_what_was_not_sent_yet_the_venue_has_halts_while_trading(
    submit: Callable[..., Order],
    account: BrokerAccount,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    order = submit()
    with django_capture_on_commit_callbacks(execute=True):
        apply(account, fact(1, Kind.ACCEPTED, order))
    assert TradingState.objects.get(scope="ACCOUNT").state == "HALTED"
    assert "ACCOUNT is HALTED: order sep-" in caplog.text


def test_cancelling_only_notes_the_wish(submit: Callable[..., Order]) -> None:
    order = submit()
    assert order_cancel(order_id=order.pk, now=NOW).cancel_requested_at == NOW
    order.refresh_from_db()
    assert order.state == "CREATED"


def test_close_everything_asks_for_cancels_and_reduce_only_orders(
    submit: Callable[..., Order], account: BrokerAccount, instrument: Instrument
) -> None:
    working = submit()
    Position.objects.create(
        account=account, instrument=instrument, units=Decimal(-700), average_price=Decimal("1.1")
    )
    [order] = close_everything(account=account, reason="enough", now=NOW)
    assert (order.units, order.reduce_only) == (Decimal(700), True)
    assert order.origin == "CLOSE_EVERYTHING"
    working.refresh_from_db()
    assert working.cancel_requested_at == NOW
    assert TradingState.objects.get(scope="ACCOUNT").state == "REDUCING"
    alert = EventLog.objects.filter(stream="alerts").order_by("-seq")[0]
    assert alert.data["text"] == "Close everything: enough"


def test_a_second_click_asks_for_nothing_that_is_on_its_way(
    account: BrokerAccount, instrument: Instrument
) -> None:
    Position.objects.create(
        account=account, instrument=instrument, units=Decimal(-700), average_price=Decimal("1.1")
    )
    assert len(close_everything(account=account, reason="enough", now=NOW)) == 1
    assert close_everything(account=account, reason="really", now=NOW) == []
    assert Closing.objects.get().reason == "enough"


def test_a_second_click_does_not_wait_for_the_pause_after_an_order_that_closed_nothing(
    account: BrokerAccount, instrument: Instrument
) -> None:
    Position.objects.create(
        account=account, instrument=instrument, units=Decimal(-700), average_price=Decimal("1.1")
    )
    close_everything(account=account, reason="enough", now=NOW)
    ended = {"state": "DENIED", "denied_rule": "feed", "denied_reason": "it stands"}
    Order.objects.update(updated_at=NOW, **ended)
    assert closings_go_on(account_id=account.pk, now=NOW) == []  # the pause is 1 s
    [again] = close_everything(account=account, reason="now", now=NOW)
    assert again.units == 700


def test_d6_who_makes_the_account_active_again_ends_what_was_to_be_closed(
    account: BrokerAccount, instrument: Instrument
) -> None:
    position = Position.objects.create(
        account=account, instrument=instrument, units=Decimal(-700), average_price=Decimal("1.1")
    )
    close_everything(account=account, reason="enough", now=NOW)
    Order.objects.update(state="DENIED", denied_rule="feed", denied_reason="feed: it stands")
    state = {"account": account, "changed_by": "bob", "reason": "on", "now": NOW}
    trading_state_set(scope="ACCOUNT", state=TradingMode.ACTIVE, **state)
    assert closings_go_on(account_id=account.pk, now=NOW + timedelta(days=1)) == []
    assert Closing.objects.get().ended_because == "bob lets it trade again"
    told = EventLog.objects.filter(stream="audit").order_by("seq").values_list("type", flat=True)
    assert list(told) == ["close_everything", "close_everything_ended"]
    assert position.units == -700


def test_closing_a_strategy_asks_for_its_own_units_and_ends_when_those_are_gone(
    submit: Callable[..., Order], account: BrokerAccount, instrument: Instrument
) -> None:
    strategy = Strategy.objects.create(
        name="QFH", account=account, instrument=instrument, granularity="H1", rule={}
    )
    TradingState.objects.create(scope="STRATEGY", strategy=strategy, changed_at=NOW)
    order = submit(strategy=strategy)
    Position.objects.create(
        account=account,
        instrument=order.instrument,
        units=Decimal(1500),
        average_price=Decimal("1.1"),
    )
    Fill.objects.create(
        order=order,
        account=account,
        transaction_id=7,
        units=Decimal(1000),
        price=Decimal("1.1"),
        realised_pl=Decimal(0),
        half_spread_cost=Decimal(0),
        assumed_spread=False,
        time=NOW,
    )
    for state in ("QUEUED", "SENDING", "FILLED"):
        Order.objects.filter(pk=order.pk).update(state=state)
    asked = close_everything(account=account, strategy=strategy, reason="enough", now=NOW)
    # 1,000 of the 1,500 are its own.
    assert [one.units for one in asked] == [-1000]
    assert TradingState.objects.get(scope="STRATEGY").state == "REDUCING"
    assert TradingState.objects.get(scope="ACCOUNT").state == "ACTIVE"


def test_the_shell_tells_what_is_left_and_why_until_all_is_flat(
    account: BrokerAccount, instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.trading.management.commands.halt.FLAT_WAIT_S", 0)
    Position.objects.create(
        account=account, instrument=instrument, units=Decimal(-700), average_price=Decimal("1.1")
    )
    shown = io.StringIO()
    with pytest.raises(CommandError, match="not flat after 0 s: position EUR_USD, -700 units"):
        call_command("halt", "--close-everything", "--reason", "enough", stdout=shown)
    said = "position EUR_USD, -700 units: an order waits for the trader\n"
    assert shown.getvalue() == said
    # The venue refuses it; an hour later the next is asked for, and closes.
    first = Order.objects.get()
    Order.objects.update(state="DENIED", denied_rule="feed", denied_reason="feed: it stands")
    later = timezone.now() + timedelta(hours=1)
    [second] = closings_go_on(account_id=account.pk, now=later)
    [left] = closing_left(Closing.objects.get(), now=later)
    assert left.why == (
        f"an order waits for the trader; tried once, order {first.pk} ended DENIED: feed: it stands"
    )
    for state in ("QUEUED", "SENDING", "FILLED"):
        Order.objects.filter(pk=second.pk).update(state=state)
    Position.objects.update(units=0, average_price=None)
    closings_go_on(account_id=account.pk, now=later)
    assert Closing.objects.get().ended_because == "flat"
    shown = io.StringIO()
    call_command("halt", "--close-everything", "--reason", "again", stdout=shown)
    assert shown.getvalue() == "Flat: no position and no order is left.\n"


def test_orders_can_be_placed_and_cancelled_from_the_shell(
    account: BrokerAccount, instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.trading.management.commands.order.WAIT_S", 0)
    shown = io.StringIO()
    call_command("order", "place", "EUR_USD", "-500", stop_loss="1.2", stdout=shown)
    order = Order.objects.get()
    assert (order.units, order.stop_loss, order.origin) == (Decimal(-500), Decimal("1.2"), "PERSON")
    assert shown.getvalue() == f"{order.pk} EUR_USD PERSON MARKET -500: CREATED, filled 0\n"
    call_command("order", "cancel", str(order.pk), stdout=io.StringIO())
    order.refresh_from_db()
    assert order.cancel_requested_at is not None
    with pytest.raises(CommandError, match="multiple of 1 and not 0"):
        call_command("order", "place", "EUR_USD", "0.5", stdout=io.StringIO())


def test_there_is_nothing_to_close_without_a_position(
    account: BrokerAccount, instrument: Instrument
) -> None:
    assert position_close(account=account, instrument=instrument, now=NOW) is None


def test_d6_a_rule_never_loosens_a_state(account: BrokerAccount) -> None:
    def worsen(state: TradingMode) -> bool:
        return trading_state_worsen(account=account, state=state, reason="r", now=NOW)

    assert worsen(TradingMode.HALTED)
    assert not worsen(TradingMode.REDUCING)
    assert TradingState.objects.get(scope="ACCOUNT").state == "HALTED"


def test_an_event_outside_of_a_transaction_is_refused(
    transactional_db: None,
) -> None:
    with pytest.raises(RuntimeError, match="inside the transaction"):
        events.record(stream="orders", type="t", data={}, now=NOW)


def test_c13_the_chain_shows_a_changed_and_a_missing_event() -> None:
    for number in range(4):
        events.record(stream="system", type="t", data={"n": number}, now=NOW)
    assert events.first_fault("system") is None
    with connection.cursor() as cursor:
        # As somebody with the keys to the database would: the triggers out of the way first.
        cursor.execute("DELETE FROM trading_eventlog WHERE seq = 2")
    assert events.first_fault("system") == "system 2 is missing"


def test_c13_the_chain_shows_a_cut_tail() -> None:
    for number in range(3):
        events.record(stream="system", type="t", data={"n": number}, now=NOW)
    EventLog.objects.filter(seq=3).delete()
    assert events.first_fault("system") == "system ends at 2, its head says 3"


def test_an_event_goes_back_with_its_transaction() -> None:
    with transaction.atomic():
        events.record(stream="system", type="t", data={}, now=NOW)
        transaction.set_rollback(True)
    events.record(stream="system", type="t", data={}, now=NOW)
    assert list(EventLog.objects.values_list("seq", flat=True)) == [1]
    assert StreamHead.objects.get().last_seq == 1


def test_the_speed_of_the_replay_is_bounded(sample: Feed) -> None:
    assert feed_control(feed_id=sample.pk, now=NOW, bars_per_second=1000).bars_per_second == 1000
    with pytest.raises(ValidationError, match=r"must be 0\.01 to 1000"):
        feed_control(feed_id=sample.pk, now=NOW, bars_per_second=1000.1)


@pytest.mark.django_db(transaction=True)
def test_o1_one_key_under_many_threads_gives_one_order(
    submit: Callable[..., Order], django_user_model: Any
) -> None:
    alice = django_user_model.objects.create_user("alice")
    found = at_once(8, lambda _: submit(idempotency_key="k", created_by=alice).pk)
    assert len(set(found)) == 1
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_o15_o17_one_order_under_many_claimants_is_sent_once(submit: Callable[..., Order]) -> None:
    order = queued(submit())
    assert sorted(at_once(8, lambda _: claim(order))) == [False] * 7 + [True]
