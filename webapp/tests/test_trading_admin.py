"""Every model is in the admin, and the record cannot be edited there."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory
from django.urls import reverse

from webapp.config.urls import admin  # it finds every page of the admin
from webapp.trading import account_form
from webapp.trading.brokers.base import BrokerError
from webapp.trading.models import (
    BrokerAccount,
    ConfigChange,
    EventLog,
    LiveOverride,
    RiskLimit,
    Strategy,
    TradingState,
)
from webapp.trading.tokens import read_token
from webapp.trading.trader.venue_setup import CannotAdd

MODELS = sorted(apps.get_app_config("trading").get_models(), key=lambda model: model.__name__)
RECORDS = ("order", "fill", "brokerfact", "eventlog", "signal", "position", "candle")

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(django_user_model: Any) -> Client:
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root", password="x"))
    return client


def test_every_model_has_a_list_with_columns(root: Client, sample: Any) -> None:
    for model in MODELS:
        registered = admin.site._registry[model]
        assert len(registered.list_display) >= 3, model
        query = "?q=1" if registered.search_fields else ""
        address = reverse(f"admin:trading_{model._meta.model_name}_changelist")
        assert root.get(address + query).status_code == 200, model


def test_lists_show_decimals_without_their_padding(root: Client, sample: Any) -> None:
    BrokerAccount.objects.update(opening_balance=Decimal("100000.5"))
    address = reverse("admin:trading_brokeraccount_changelist")
    page = root.get(address + "?o=4").content.decode()  # ordered by that column
    assert ">100000.5<" in re.sub(r"\s+", "", page)
    assert "100000.5000000000" not in page


def _request(client: Client) -> Any:
    request = RequestFactory().get("/")
    request.user = get_user_model().objects.get(username="root")
    return request


@pytest.mark.parametrize("name", RECORDS)
def test_the_record_can_neither_be_added_nor_deleted(name: str, root: Client) -> None:
    assert root.get(reverse(f"admin:trading_{name}_add")).status_code == 403
    assert not admin.site._registry[apps.get_model("trading", name)].get_actions(_request(root))


# What a person may do in the admin; whatever is not here can only be read. Each way writes through
# the service that checks and records it, and none of these models is written by the order path.
WRITABLE = {
    "Blackout": {"add", "change", "delete"},
    "BrokerAccount": {"add", "change"},
    "ConfigEntry": {"add", "change"},
    "Feed": {"change"},
    "Instrument": {"add", "change"},
    "LiveOverride": {"add"},
    "SecondFactor": {"delete"},
    "Strategy": {"add", "change"},
    "TradingState": {"change"},
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_model_can_be_written_in_the_admin_but_those_that_a_person_may(
    model: Any, root: Client
) -> None:
    registered, request = admin.site._registry[model], _request(root)
    allowed = {
        what
        for what in ("add", "change", "delete")
        if getattr(registered, f"has_{what}_permission")(request)
    }
    assert allowed == WRITABLE.get(model.__name__, set())
    # An inline or a column that can be edited in the list would be another way in.
    assert not getattr(registered, "list_editable", ())
    for inline in registered.inlines:
        assert not inline.can_delete
        assert set(inline.fields) == set(inline.readonly_fields)
        assert not inline(model, admin.site).has_add_permission(request)
    address = reverse(f"admin:trading_{model._meta.model_name}_add")
    status = root.get(address).status_code
    assert status == (200 if "add" in allowed else 403)


def test_a_halt_from_the_admin_is_recorded_with_its_author(root: Client, sample: Any) -> None:
    row = TradingState.objects.get(scope="ACCOUNT")
    root.post(
        reverse("admin:trading_tradingstate_change", args=[row.pk]),
        {"state": "HALTED", "reason": "looks wrong"},
    )
    row.refresh_from_db()
    assert (row.state, row.reason, row.changed_by) == ("HALTED", "looks wrong", "root")
    assert EventLog.objects.filter(stream="system", data__trading__state="HALTED").count() == 1


def test_a_setting_from_the_admin_counts_and_keeps_its_history(root: Client, sample: Any) -> None:
    body = {"key": "risk.order_units_max", "value": '"5000"'}
    root.post(reverse("admin:trading_configentry_add"), body)
    change = ConfigChange.objects.first()
    assert change is not None
    assert (change.before, change.after, change.changed_by) == ("10000", "5000", "root")
    assert RiskLimit.objects.get(name="order_units_max", active=True).value == 5000


def test_a_setting_that_breaks_its_rule_is_refused(root: Client, sample: Any) -> None:
    body = {"key": "risk.order_units_max", "value": '"-1"'}
    page = root.post(reverse("admin:trading_configentry_add"), body)
    assert "does not match" in page.content.decode()
    assert not ConfigChange.objects.exists()


def test_a_rule_that_is_not_valid_is_refused(root: Client, sample: Any) -> None:
    from webapp.trading.models import Strategy

    strategy = Strategy.objects.get()
    page = root.post(
        reverse("admin:trading_strategy_change", args=[strategy.pk]),
        form_of(strategy) | {"rule": '{"direction": "up"}'},
    )
    assert b"horizon_bars is missing" in page.content


def form_of(strategy: Strategy) -> dict[str, Any]:
    """Return what the form of a strategy sends when nothing is changed."""
    return {
        "name": strategy.name,
        "account": strategy.account_id,
        "instrument": strategy.instrument_id,
        "granularity": strategy.granularity,
        "rule": json.dumps(strategy.rule),
        "enabled": "on",
    }


def test_a_changed_rule_loses_its_verdict(root: Client, sample: Any) -> None:
    strategy = Strategy.objects.get()
    Strategy.objects.update(verdict="passed")
    # A verdict is not to be had by typing it.
    rule = json.dumps({**strategy.rule, "horizon_bars": 8})
    body = form_of(strategy) | {"rule": rule, "verdict": "passed"}
    address = reverse("admin:trading_strategy_change", args=[strategy.pk])
    assert root.post(address, body).status_code == 302
    strategy.refresh_from_db()
    assert (strategy.rule["horizon_bars"], strategy.verdict) == (8, "unproven")
    assert strategy.changed_at is not None


def test_changed_hours_lose_the_verdict_and_must_be_hours(root: Client, sample: Any) -> None:
    strategy = Strategy.objects.get()
    Strategy.objects.update(verdict="passed")
    body = form_of(strategy)
    address = reverse("admin:trading_strategy_change", args=[strategy.pk])
    wrong = root.post(address, body | {"session": "office hours"})
    assert b"hours are days, spans and a zone" in wrong.content
    hours = "mon-fri 08:00-17:00 Europe/London"
    assert root.post(address, body | {"session": hours}).status_code == 302
    strategy.refresh_from_db()
    assert (strategy.session, strategy.verdict) == (hours, "unproven")
    assert strategy.changed_at is not None


def test_a_strategy_that_is_added_has_a_state_and_the_one_before_goes_off(
    root: Client, sample: Any
) -> None:
    before = Strategy.objects.get()
    address = reverse("admin:trading_strategy_add")
    page = root.post(address, form_of(before) | {"name": "Second"}, follow=True)
    assert b"Last-bit reversal is off: one strategy trades an instrument." in page.content
    added = Strategy.objects.get(name="Second")
    before.refresh_from_db()
    assert (added.enabled, before.enabled) == (True, False)
    # Without a row it would be HALTED for ever.
    assert TradingState.objects.get(strategy=added).state == "ACTIVE"
    body = form_of(before)
    root.post(reverse("admin:trading_strategy_change", args=[before.pk]), body)
    switched = Strategy.objects.order_by("pk").values_list("enabled", flat=True)
    assert list(switched) == [True, False]
    told = EventLog.objects.filter(type="strategy_switch").order_by("pk").last()
    assert told is not None
    assert (told.data["changed_by"], told.data["off"]) == ("root", ["Second"])


def test_an_override_from_the_admin_asks_for_the_name(root: Client, sample: Any) -> None:
    strategy = Strategy.objects.get()
    address = reverse("admin:trading_liveoverride_add")
    body = {"strategy": strategy.pk, "reason": "a test of fills", "confirmation": "yes"}
    assert b"Type its name" in root.post(address, body).content
    assert not LiveOverride.objects.exists()
    assert root.post(address, {**body, "confirmation": strategy.name}).status_code == 302
    override = LiveOverride.objects.get()
    assert (override.made_by, override.reason) == ("root", "a test of fills")


def test_an_account_is_added_with_a_token_that_goes_in_and_never_comes_out(
    root: Client, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    settings.SEP_VAR_PATH = tmp_path
    settings.SEP_SECRET_KEYS_PATH = tmp_path / "secret_keys"
    asked: list[tuple[str, str, str]] = []

    def balance(exchange: str, token: str, currency: str) -> Decimal:
        asked.append((exchange, token, currency))
        if token == "wrong":
            raise BrokerError("the balance cannot be read: AuthenticationError")
        return Decimal(5000)

    monkeypatch.setattr(account_form, "exchange_balance", balance)
    address = reverse("admin:trading_brokeraccount_add")
    wanted = {
        "name": "Spot",
        "kind": "ccxt-sandbox",
        "venue_account": "binance",
        "token": "wrong",
        "instrument": "EUR_USD",
        "granularity": "H1",
        "currency": "USDT",
    }
    page = root.post(address, wanted).content.decode()
    assert "AuthenticationError" in page
    assert "wrong" not in page
    assert not BrokerAccount.objects.exists()

    def refuse(**wanted: Any) -> None:
        raise CannotAdd("order 7 is of no type: cancel it first")

    with monkeypatch.context() as patch:
        patch.setattr(account_form, "exchange_add", refuse)
        page = root.post(address, wanted | {"token": "key:s3cr3t"}, follow=True).content.decode()
    assert "order 7 is of no type: cancel it first" in page
    assert not BrokerAccount.objects.exists()
    assert root.post(address, wanted | {"token": "key:s3cr3t"}).status_code == 302
    account = BrokerAccount.objects.get()
    assert (account.kind, account.opening_balance) == ("ccxt-sandbox", 5000)
    assert read_token(account) == "key:s3cr3t"
    assert asked[-1] == ("binance", "key:s3cr3t", "USDT")
    for shown in ("brokeraccount", "brokertoken", "eventlog"):
        text = root.get(reverse(f"admin:trading_{shown}_changelist")).content.decode()
        assert "s3cr3t" not in text
    change = reverse("admin:trading_brokeraccount_change", args=[account.pk])
    assert "s3cr3t" not in root.get(change).content.decode()
    # One database has one venue; real money is not offered here at all.
    assert root.get(address).status_code == 403
    assert "oanda-live" not in account_form.KINDS
