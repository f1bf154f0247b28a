"""Commands misused: one line says what is wrong and what to do, and nothing is half written."""

import importlib.util
import io
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError
from django.utils import timezone

from sep_engine.execution.states import Origin
from webapp.trading.management.commands import order as order_command
from webapp.trading.models import BrokerAccount, Feed, Instrument, Order, Position
from webapp.trading.services.orders import order_submit
from webapp.trading.trader import lease

ROOT = Path(__file__).resolve().parents[2]


def said(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


NO_ACCOUNT = "there is no account yet: run manage.py load_sample, or broker add"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("order place EUR_USD 1000", NO_ACCOUNT),
        ("order close 7", NO_ACCOUNT),
        ("order cancel 7", "there is no order 7"),
        ("runtrader", NO_ACCOUNT),
        ("runtrader --account Other", "there is no account Other; there is: none"),
        ("check_books", "there is no account: nothing was compared"),
        ("halt --close-everything", "there is no account: nothing was closed"),
        ("halt --scope account", "--name must say which one; there is: none"),
        ("live arm Other --user a --reason b", "there is no account Other; there is: none"),
        ("heartbeat trader", "trader is down, it has never beaten"),
        ("export_schema /nowhere/x.json", "/nowhere/x.json cannot be written: No such file"),
    ],
)
def test_a_command_without_an_account_says_so(db: None, words: str, message: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command(*words.split())
    assert str(refused.value).startswith(message)


def test_what_only_shows_says_that_there_is_nothing(db: None) -> None:
    assert said("broker", "list") == said("live", "show") == "There is no account yet.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("place XXX 1000", "no instrument XXX here; there is: EUR_USD"),
        ("place EUR_USD abc", "units must be a decimal number, was 'abc'"),
        ("place EUR_USD 0", "units: must be a multiple of 1 and not 0, was 0"),
        ("place EUR_USD 1000 --type LIMIT", "price: a LIMIT order needs one"),
        ("place EUR_USD 1000 --limit 1 --stop 1", "give one of --limit, --stop"),
        ("place EUR_USD 1000 --trade 77", "there is no trade 77; open at the venue: none"),
        ("place EUR_USD 1 --good-until tomorrow", "--good-until must be a time, was 'tomorrow'"),
        ("place EUR_USD 1 --good-until 2030-01-01", "--good-until must say its zone: end it wi"),
        ("list --limit 0", "--limit must be at least 1, was 0"),
        ("close 77", "there is no trade 77; open at the venue: none"),
        ("close 77 --side LONG", "--side is of a position: name its instrument"),
        ("close EUR_USD", "there is no such position; nothing was to be closed"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_and_not_kept(
    sample: Any, words: str, message: str
) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("order", *words.split())
    assert str(refused.value).startswith(message)
    assert not Order.objects.exists()


def test_an_order_that_has_ended_is_not_cancelled(sample: Any) -> None:
    order = order_submit(
        account=BrokerAccount.objects.get(),
        instrument=Instrument.objects.get(),
        units=Decimal(1000),
        origin=Origin.PERSON,
        now=timezone.now(),
    )
    Order.objects.update(state="DENIED", denied_rule="armed", denied_reason="not armed")
    with pytest.raises(CommandError, match=f"order {order.pk} has ended: it is DENIED"):
        call_command("order", "cancel", str(order.pk))


def test_a_part_of_a_position_is_asked_to_be_closed(
    sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_command, "WAIT_S", 0.0)  # no trader runs
    account, instrument = BrokerAccount.objects.get(), Instrument.objects.get()
    Position.objects.create(
        account=account, instrument=instrument, units=-1000, average_price=Decimal("1.1")
    )
    assert "PERSON MARKET 400: CREATED" in said("order", "close", "EUR_USD", "--units", "400")
    assert "PERSON MARKET 1000: CREATED" in said("order", "close", "EUR_USD")
    assert all(order.reduce_only for order in Order.objects.all())
    with pytest.raises(CommandError, match="units: must be above 0 and at most 1000, was 1001"):
        call_command("order", "close", "EUR_USD", "--units", "1001")
    assert Order.objects.count() == 2


@pytest.fixture
def traded(sample: Feed) -> Callable[[], None]:
    """The account has a trader: this process. What is returned ends that."""
    held = lease.take(
        account_id=BrokerAccount.objects.get().pk, holder=lease.own_name(), now=timezone.now()
    )
    return lambda: lease.give_back(held, now=timezone.now())


def test_books_are_not_rewritten_while_a_trader_writes_them(
    traded: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    holder = lease.own_name()
    with pytest.raises(CommandError) as refused:
        call_command("rebuild")
    assert str(refused.value) == f"Paper has a trader ({holder}); stop it first, or use --check"
    told = io.StringIO()
    call_command("rebuild", check=True, stdout=io.StringIO(), stderr=told)
    call_command("check_books", stdout=io.StringIO(), stderr=told)
    warning = f"Paper has a trader ({holder}): what it does meanwhile may differ\n"
    assert told.getvalue() == 2 * warning
    traded()
    assert "0 positions were written" in said("rebuild")


def test_a_trader_that_is_late_or_dead_holds_no_books(traded: Callable[[], None]) -> None:
    account_id, now = BrokerAccount.objects.get().pk, timezone.now()
    assert lease.held_by(account_id=account_id, now=now) == lease.own_name()
    assert lease.held_by(account_id=account_id, now=now + timedelta(seconds=11)) == ""
    traded()
    assert lease.held_by(account_id=account_id, now=timezone.now()) == ""


def test_books_of_no_account_do_not_agree(sample: Any) -> None:
    with pytest.raises(CommandError, match="there is no account Papper: nothing was compared"):
        call_command("check_books", account="Papper")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "no token was given; nothing was added"),
        ("   ", "no token was given; nothing was added"),
        ("two words", "the token has a blank or a letter that no token has; nothing was added"),
        ("tökén", "the token has a blank or a letter that no token has; nothing was added"),
    ],
)
@pytest.mark.parametrize("venue", [("oanda",), ("ccxt", "--account", "binance")])
def test_a_token_that_is_none_is_sent_nowhere(
    db: None, monkeypatch: pytest.MonkeyPatch, typed: str, message: str, venue: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed + "\n"))
    # Asking the venue would fail otherwise: no test here reaches another host.
    with pytest.raises(CommandError) as refused:
        call_command("broker", "add", *venue)
    assert str(refused.value) == message
    assert not BrokerAccount.objects.exists()


def outcome(monkeypatch: pytest.MonkeyPatch, error: BaseException, *words: str) -> Any:
    """What manage.py ends with when its command raises."""
    found = importlib.util.spec_from_file_location("manage", ROOT / "manage.py")
    assert found is not None
    assert found.loader is not None
    manage = importlib.util.module_from_spec(found)
    found.loader.exec_module(manage)

    def fail(argv: list[str]) -> None:
        raise error

    monkeypatch.setattr("django.core.management.execute_from_command_line", fail)
    monkeypatch.setattr(sys, "argv", ["manage.py", *words])
    with pytest.raises(SystemExit) as ended:
        manage.main()
    return ended.value.code


def test_manage_tells_in_one_line_what_a_person_can_put_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(error: BaseException, *words: str) -> Any:
        return outcome(monkeypatch, error, *(words or ("order", "list")))

    assert told(KeyboardInterrupt()) == 130
    assert told(EOFError()) == "SEP: a question was not answered; nothing was done"
    assert told(ImproperlyConfigured("SEP_ENV must be …")) == "SEP: SEP_ENV must be …"
    missing = "no such table: trading_order"
    for command in ("order", "runtrader"):
        assert told(OperationalError(missing), command) == (
            f"SEP: the database: {missing}; run manage.py migrate first"
        )
    gone = 'relation "trading_order" does not exist\nLINE 1: SELECT'
    assert told(ProgrammingError(gone)) == (
        'SEP: the database: relation "trading_order" does not exist LINE 1: SELECT; '
        "run manage.py migrate first"
    )
    assert told(OperationalError("connection refused")) == (
        "SEP: the database: connection refused; is its server up?"
    )


def test_manage_keeps_the_traceback_where_the_code_is_to_blame_or_a_log_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error, *words in (
        (ProgrammingError("syntax error"), "order", "list"),
        (OperationalError("connection refused"), "runtrader"),
        (OperationalError("no such table: x"), "order", "--traceback"),
    ):
        with pytest.raises(type(error)):
            outcome(monkeypatch, error, *words)
