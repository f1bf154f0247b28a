"""Real money: each of the guards alone holds an account back."""

import io
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from sep_engine.venues.oanda.client import LIVE, PRACTICE
from webapp.tests.conftest import PASSWORD
from webapp.trading.brokers import registry
from webapp.trading.models import (
    BrokerAccount,
    EventLog,
    LiveArming,
    LiveOverride,
    Order,
    Strategy,
)
from webapp.trading.services import live_arming, second_factor
from webapp.trading.services.live_arming import live_arm, live_disarm, live_refusal
from webapp.trading.services.live_gate import override_make
from webapp.trading.trader import recent
from webapp.trading.trader.venue_setup import environment_refusal


@pytest.fixture
def account(sample: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> BrokerAccount:
    """A live account with every guard but the arming passed."""
    monkeypatch.setattr(live_arming, "database_vendor", lambda: "postgresql")
    settings.SEP_LIVE_TRADING, settings.SEP_LIVE_ACCOUNT = True, "001-1"
    account = BrokerAccount.objects.get()
    account.kind, account.venue_account = "oanda-live", "001-1"
    account.save()
    return account


def refusal(account: BrokerAccount, strategy: Strategy | None = None) -> str:
    return live_refusal(account=account, strategy=strategy, now=timezone.now())


def arm(account: BrokerAccount, user: Any, **changes: Any) -> LiveArming:
    wanted = {
        "proof": PASSWORD,
        "confirmation": f"trade real money on {account.name}",
        "reason": "month 3 of the plan",
    } | changes
    return live_arm(account=account, user=user, now=timezone.now(), **wanted)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vendor": "sqlite"}, "needs PostgreSQL"),
        ({"SEP_LIVE_TRADING": False}, "SEP_LIVE_TRADING is not 1"),
        ({"SEP_LIVE_ACCOUNT": "001-2"}, "SEP_LIVE_ACCOUNT does not name it"),
        ({"SEP_LIVE_ACCOUNT": ""}, "SEP_LIVE_ACCOUNT does not name it"),
    ],
)
def test_b13_each_setting_alone_holds_a_live_account_back(
    account: BrokerAccount,
    alice: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    says: str,
) -> None:
    arm(account, alice)
    assert refusal(account) == ""
    for name, value in change.items():
        if name == "vendor":
            monkeypatch.setattr(live_arming, "database_vendor", lambda vendor=value: vendor)
        else:
            setattr(settings, name, value)
    assert says in refusal(account)
    with pytest.raises(ValidationError, match=says):
        arm(account, alice)


def test_e26_arming_needs_the_sentence_a_reason_and_the_person(
    account: BrokerAccount, alice: Any
) -> None:
    assert "not armed: manage.py live arm" in refusal(account)
    with pytest.raises(ValidationError, match="Type: trade real money on Paper"):
        arm(account, alice, confirmation="yes")
    with pytest.raises(ValidationError, match="Say why"):
        arm(account, alice, reason=" ")
    with pytest.raises(second_factor.Refused, match="password is wrong"):
        arm(account, alice, proof="wrong")
    assert not LiveArming.objects.exists()
    arm(account, alice)
    assert refusal(account) == ""
    assert live_disarm(account=account, changed_by="alice", now=timezone.now())
    assert "not armed" in refusal(account)
    kept = EventLog.objects.filter(stream="audit").values_list("type", flat=True)
    assert sorted(kept) == ["live_armed", "live_disarmed"]


def test_a_rule_without_evidence_trades_no_real_money(account: BrokerAccount, alice: Any) -> None:
    arm(account, alice)
    strategy = Strategy.objects.get()
    strategy.account = account
    assert "may not trade real money: no verdict" in refusal(account, strategy)
    # Nor does the gate let its orders through; a person's own orders pass.
    order = Order(account=account, instrument=strategy.instrument, strategy=strategy)
    assert "no verdict" in recent.blackout_reason(order, at=timezone.now())
    order.strategy = None
    assert recent.blackout_reason(order, at=timezone.now()) == ""


@pytest.mark.parametrize("kind", ["paper", "oanda-local", "oanda-practice", "ccxt-sandbox"])
def test_an_account_without_real_money_needs_no_arming(
    account: BrokerAccount, alice: Any, kind: str, settings: Any
) -> None:
    account.kind = kind
    settings.SEP_LIVE_TRADING = False
    assert refusal(account) == ""
    with pytest.raises(ValidationError, match="needs no arming"):
        arm(account, alice)


def test_a_kind_that_nobody_knows_counts_as_real_money() -> None:
    assert live_arming.is_live(BrokerAccount(kind="other"))


def test_the_shell_arms_with_what_is_typed(
    account: BrokerAccount, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def typed(*lines: str) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
        out = io.StringIO()
        call_command("live", "arm", "Paper", "--user", "alice", "--reason", "plan", stdout=out)
        return out.getvalue()

    with pytest.raises(CommandError, match="Type: trade real money"):
        typed("yes", PASSWORD)
    with pytest.raises(CommandError, match="password is wrong"):
        typed("trade real money on Paper", "wrong")
    assert "may trade real money" in typed("trade real money on Paper", PASSWORD)
    shown = io.StringIO()
    call_command("live", "show", stdout=shown)
    assert shown.getvalue() == "Paper may trade real money\n"


LOCKS = ("database", "setting", "account", "arming", "evidence")


@pytest.mark.parametrize("open_lock", LOCKS)
def test_e26_any_one_lock_left_open_keeps_every_order_in_the_house(
    account: BrokerAccount,
    alice: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    open_lock: str,
) -> None:
    """With all locks set the order passes; each of them alone, left open, stops it."""
    strategy = Strategy.objects.select_related("instrument", "account").get()
    strategy.account = account
    arm(account, alice)
    override_make(
        strategy=strategy,
        reason="a month of practice",
        confirmation=strategy.name,
        made_by="alice",
        now=timezone.now(),
    )
    order = Order(account=account, instrument=strategy.instrument, strategy=strategy)
    assert recent.blackout_reason(order, at=timezone.now()) == ""
    if open_lock == "database":
        monkeypatch.setattr(live_arming, "database_vendor", lambda: "sqlite")
    elif open_lock == "setting":
        settings.SEP_LIVE_TRADING = False
    elif open_lock == "account":
        settings.SEP_LIVE_ACCOUNT = "001-2"
    elif open_lock == "arming":
        live_disarm(account=account, changed_by="alice", now=timezone.now())
    else:
        LiveOverride.objects.update(withdrawn_at=timezone.now(), withdrawn_by="alice")
    assert recent.blackout_reason(order, at=timezone.now()) != ""
    if open_lock in ("database", "setting", "account"):
        # The trader does not even start.
        with pytest.raises(CommandError, match="is live"):
            call_command("runtrader")


def test_b13_an_account_of_the_other_environment_is_not_added(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment_refusal("oanda-practice", "101-004-1-1") == ""
    assert environment_refusal("oanda-live", "001-004-1-1") == ""
    assert environment_refusal("oanda-practice", "001-004-1-1") == (
        "001-004-1-1 is no oanda-practice account: the ids of those begin with 101-"
    )
    assert "begin with 001-" in environment_refusal("oanda-live", "101-004-1-1")
    # The host follows from the kind alone.
    assert registry.ENDPOINTS == {"oanda-practice": PRACTICE, "oanda-live": LIVE}
    assert LIVE.rest == "https://api-fxtrade.oanda.com"
    assert PRACTICE.rest == "https://api-fxpractice.oanda.com"


def test_an_account_of_real_money_is_added_with_its_typed_id_and_every_setting(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*typed: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(typed) + "\n"))
        call_command("broker", "add", "oanda-live", "--account", "001-4-1-1", stdout=io.StringIO())

    monkeypatch.setattr(live_arming, "database_vendor", lambda: "sqlite")
    with pytest.raises(CommandError, match="needs PostgreSQL"):
        add("001-4-1-1", "token")
    monkeypatch.setattr(live_arming, "database_vendor", lambda: "postgresql")
    with pytest.raises(CommandError, match="SEP_LIVE_TRADING is not 1"):
        add("001-4-1-1", "token")
    settings.SEP_LIVE_TRADING = True
    with pytest.raises(CommandError, match="SEP_LIVE_ACCOUNT does not name it"):
        add("001-4-1-1", "token")
    settings.SEP_LIVE_ACCOUNT = "001-4-1-1"
    with pytest.raises(CommandError, match="that is not its id; nothing was added"):
        add("yes", "token")
    assert not BrokerAccount.objects.exists()
