"""Brokers' tokens: sealed, bound to their account, and shown by nothing."""

import io
import logging
import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError

from webapp.trading import standby, tokens
from webapp.trading.models import BrokerAccount, BrokerToken

CANARY = "canary-5f1d0c7e-9a44c0ffee"


@pytest.fixture
def account(db: None, tmp_path: Path, settings: Any) -> BrokerAccount:
    settings.SEP_VAR_PATH = tmp_path
    settings.SEP_SECRET_KEYS_PATH = tmp_path / "secret_keys"
    settings.SEP_SECRET_KEYS = ()
    return BrokerAccount.objects.create(name="Practice", kind="paper", opening_balance=1)


def test_a_token_comes_back_as_it_was_stored(account: BrokerAccount) -> None:
    tokens.store_token(account, CANARY)
    assert tokens.read_token(account) == CANARY
    assert tokens.read_token(BrokerAccount.objects.get()) == CANARY
    tokens.store_token(account, "another")
    assert tokens.read_token(BrokerAccount.objects.get()) == "another"


def test_an_account_without_a_token_says_what_to_do(account: BrokerAccount) -> None:
    with pytest.raises(tokens.NoToken, match=r"has no token: run manage\.py broker add"):
        tokens.read_token(account)


@pytest.mark.parametrize("wrong", ["", "two words", "tok\nen", "t" * 4097, "tökén"])
def test_what_cannot_be_a_token_is_refused_without_being_shown(
    account: BrokerAccount, wrong: str
) -> None:
    with pytest.raises(ValueError, match="what was given") as refused:
        tokens.store_token(account, wrong)
    assert not wrong or wrong not in str(refused.value)


def test_a_token_put_under_another_account_is_refused(account: BrokerAccount) -> None:
    tokens.store_token(account, CANARY)
    other = BrokerAccount.objects.create(name="Live", kind="paper", opening_balance=1)
    BrokerToken.objects.create(account=other, sealed=BrokerToken.objects.get().sealed)
    with pytest.raises(tokens.NoToken, match="sealed for something else"):
        tokens.read_token(other)


def test_a_changed_or_foreign_token_is_refused(account: BrokerAccount, settings: Any) -> None:
    tokens.store_token(account, CANARY)
    sealed = BrokerToken.objects.get().sealed
    flipped = "A" if sealed[40] != "A" else "B"
    BrokerToken.objects.update(sealed=sealed[:40] + flipped + sealed[41:])
    with pytest.raises(tokens.NoToken, match="none of the secret keys opens it"):
        tokens.read_token(BrokerAccount.objects.get())
    BrokerToken.objects.update(sealed=sealed)
    settings.SEP_SECRET_KEYS = (Fernet.generate_key().decode(),)
    with pytest.raises(tokens.NoToken, match="none of the secret keys opens it"):
        tokens.read_token(BrokerAccount.objects.get())


def test_keys_rotate_and_the_old_one_opens_nothing_more(
    account: BrokerAccount, tmp_path: Path, settings: Any
) -> None:
    tokens.store_token(account, CANARY)
    old = (tmp_path / "secret_keys").read_text().split()
    before = BrokerToken.objects.get().sealed
    out = io.StringIO()
    call_command("broker", "rotate-keys", stdout=out)
    assert out.getvalue() == "1 secrets are sealed under the newest key.\n"
    assert BrokerToken.objects.get().sealed != before
    assert tokens.read_token(BrokerAccount.objects.get()) == CANARY
    new = (tmp_path / "secret_keys").read_text().split()
    assert len(new) == 1
    assert new != old
    settings.SEP_SECRET_KEYS = tuple(old)
    with pytest.raises(tokens.NoToken):
        tokens.read_token(BrokerAccount.objects.get())


def test_keys_of_the_environment_rotate_too(account: BrokerAccount, settings: Any) -> None:
    first, second = (Fernet.generate_key().decode() for _ in range(2))
    settings.SEP_SECRET_KEYS = (first,)
    tokens.store_token(account, CANARY)
    settings.SEP_SECRET_KEYS = (second, first)
    out = io.StringIO()
    call_command("broker", "rotate-keys", stdout=out)
    assert "can be removed now" in out.getvalue()
    settings.SEP_SECRET_KEYS = (second,)
    assert tokens.read_token(BrokerAccount.objects.get()) == CANARY


def test_a_rotation_that_cannot_open_a_secret_changes_none(
    account: BrokerAccount, tmp_path: Path
) -> None:
    tokens.store_token(account, CANARY)
    other = BrokerAccount.objects.create(name="Other", kind="paper", opening_balance=1)
    BrokerToken.objects.create(account=other, sealed="nonsense")
    before = BrokerToken.objects.get(account=account).sealed
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("broker", "rotate-keys")
    assert BrokerToken.objects.get(account=account).sealed == before
    assert tokens.read_token(account) == CANARY


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "dies_in",
    ["sealing.add_key", "sealing.reseal", "standby.write", "sealing.forget_old_keys"],
)
def test_a_rotation_that_dies_on_the_way_loses_no_token_and_is_done_by_the_next(
    account: BrokerAccount, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    class Died(BaseException):
        pass

    def die(*words: object) -> None:
        raise Died

    tokens.store_token(account, CANARY)
    name, _, function = dies_in.partition(".")
    with monkeypatch.context() as dying:
        dying.setattr(getattr(tokens, name), function, die)
        with pytest.raises(Died):
            tokens.rotate_keys()
    # What was sealed before opens, in the database and beside it.
    assert tokens.read_token(BrokerAccount.objects.get()) == CANARY
    assert tokens.read_token(standby.accounts()[0]) == CANARY
    assert tokens.rotate_keys() == 1
    assert tokens.read_token(BrokerAccount.objects.get()) == CANARY
    assert tokens.read_token(standby.accounts()[0]) == CANARY


def test_the_key_file_is_its_owners_alone(account: BrokerAccount, tmp_path: Path) -> None:
    tokens.store_token(account, CANARY)
    path = tmp_path / "secret_keys"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ImproperlyConfigured, match="others can read"):
        tokens.read_token(account)


def test_production_makes_no_key_up(account: BrokerAccount, settings: Any) -> None:
    settings.SEP_SECRET_KEYS_PATH = None
    with pytest.raises(ImproperlyConfigured, match="SEP_SECRET_KEYS is not set"):
        tokens.store_token(account, CANARY)


@pytest.mark.django_db(transaction=True)
def test_c7_the_kill_switch_has_the_tokens_without_a_database(
    account: BrokerAccount, tmp_path: Path, django_db_blocker: Any
) -> None:
    tokens.store_token(account, CANARY)
    assert standby.path().stat().st_mode & 0o777 == 0o600
    with django_db_blocker.block():
        (kept,) = standby.accounts()
        assert (kept.name, kept.kind) == ("Practice", "paper")
        assert tokens.read_token(kept) == CANARY


@pytest.mark.django_db(transaction=True)
def test_e20_no_log_row_page_error_or_file_shows_a_token(
    account: BrokerAccount,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    admin_client: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = io.StringIO()
    tokens.store_token(account, CANARY, stored_by="alice")
    sealed = BrokerToken.objects.get()
    seen.write(repr(sealed) + str(sealed) + repr(account) + str(vars(account)))
    seen.write(serializers.serialize("json", [*BrokerAccount.objects.all(), sealed]))
    for number in range(2):
        try:
            if number:
                BrokerToken.objects.update(sealed="x" + sealed.sealed)
            tokens.read_token(BrokerAccount.objects.get())
            tokens.store_token(account, CANARY + " ")
        except (tokens.NoToken, ValueError):
            seen.write(traceback.format_exc())
    for page in ("brokertoken/", f"brokertoken/{sealed.pk}/change/", "brokeraccount/"):
        answer = admin_client.get(f"/admin/trading/{page}")
        assert answer.status_code == 200
        seen.write(answer.content.decode())
    assert sealed.sealed not in answer.content.decode()
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            seen.write((Path(folder) / name).read_text(errors="replace"))
    assert CANARY not in seen.getvalue() + caplog.text
