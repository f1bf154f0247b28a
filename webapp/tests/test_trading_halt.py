"""The kill switch: three levels, what they end, and what re-arming asks for."""

import contextlib
import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.utils import timezone
from valkey import Valkey

from sep_engine.execution.states import TradingMode
from webapp.config import login
from webapp.tests.conftest import PASSWORD
from webapp.trading import halt_flag
from webapp.trading.models import Closing, EventLog, SecondFactor, Strategy, TradingState
from webapp.trading.services import second_factor
from webapp.trading.services.strategies import strategy_switch
from webapp.trading.services.trading_state import trading_state_set

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
STATE = "/api/trading/state"


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> None:
    settings.SEP_VAR_PATH = tmp_path


def state(scope: str = "ACCOUNT") -> str:
    return TradingState.objects.get(scope=scope).state


def ask(api: Any, state: str, **more: Any) -> Any:
    return api.post(STATE, {"state": state, "reason": "because", **more}, format="json")


def enrolled(user: Any, now: datetime) -> pyotp.TOTP:
    uri = second_factor.second_factor_begin(user=user)
    codes = pyotp.parse_uri(uri)
    assert isinstance(codes, pyotp.TOTP)
    before = now - timedelta(seconds=60)
    second_factor.second_factor_confirm(user=user, code=codes.at(before), now=before)
    return codes


@pytest.mark.parametrize("scope", ["GLOBAL", "ACCOUNT", "STRATEGY"])
def test_d4_each_level_is_tightened_with_a_reason_alone(api: Any, sample: Any, scope: str) -> None:
    for wanted in ("REDUCING", "HALTED"):
        assert ask(api, wanted, scope=scope).status_code == 200
        assert state(scope) == wanted
    assert TradingState.objects.get(scope=scope).reason == "because"
    told = EventLog.objects.filter(stream="alerts").order_by("seq").last()
    assert told is not None
    assert told.data == {"level": "warning", "text": f"{scope} is HALTED: because"}


def test_d4_the_strategy_that_is_halted_is_the_one_that_trades_or_was_named(
    api: Any, sample: Any, valkey: Any
) -> None:
    first = Strategy.objects.get()
    second = Strategy.objects.create(
        name="Second",
        account=first.account,
        instrument=first.instrument,
        rule=first.rule,
        enabled=False,
    )
    TradingState.objects.create(scope="STRATEGY", strategy=second, changed_at=NOW)
    strategy_switch(strategy=second, enabled=True, changed_by="alice", now=NOW)
    assert api.get("/api/status").json()["strategy"]["name"] == "Second"

    def states() -> list[str]:
        rows = TradingState.objects.filter(scope="STRATEGY").order_by("strategy")
        return list(rows.values_list("state", flat=True))

    assert ask(api, "HALTED", scope="STRATEGY").status_code == 200
    assert states() == ["ACTIVE", "HALTED"]
    assert ask(api, "REDUCING", scope="STRATEGY", strategy=first.pk).status_code == 200
    assert states() == ["REDUCING", "HALTED"]
    assert ask(api, "HALTED", scope="STRATEGY", strategy=77).status_code == 404
    wrong = ask(api, "HALTED", scope="ACCOUNT", strategy=first.pk)
    assert list(wrong.json()["fields"]) == ["strategy"]
    assert state("ACCOUNT") == "ACTIVE"
    address = "/api/trading/close-everything"
    wanted = {"scope": "STRATEGY", "reason": "enough"}
    assert api.post(address, wanted, format="json").status_code == 202
    assert api.post(address, wanted | {"strategy": first.pk}, format="json").status_code == 202
    asked = Closing.objects.order_by("pk").values_list("strategy__name", flat=True)
    assert list(asked) == ["Second", first.name]


def test_d6_re_arming_asks_who_has_no_second_factor_for_the_password(
    api: Any, sample: Any, valkey: Any
) -> None:
    ask(api, "HALTED")
    for proof in ("", "wrong"):
        answer = ask(api, "ACTIVE", proof=proof)
        assert answer.status_code == 400
        assert answer.json()["fields"] == {"proof": ["The password is wrong."]}
        # From halted to reducing is looser too.
        assert ask(api, "REDUCING", proof=proof).status_code == 400
    assert state() == "HALTED"
    assert ask(api, "ACTIVE", proof=PASSWORD).status_code == 200
    assert state() == "ACTIVE"
    row = TradingState.objects.get(scope="ACCOUNT")
    assert (row.reason, row.changed_by) == ("because", "alice")


def test_d6_re_arming_needs_a_reason(api: Any, sample: Any, valkey: Any) -> None:
    ask(api, "HALTED")
    answer = api.post(STATE, {"state": "ACTIVE", "proof": PASSWORD, "reason": ""}, format="json")
    assert answer.status_code == 400
    assert state() == "HALTED"


def test_d6_who_has_a_second_factor_needs_its_code(
    api: Any, alice: Any, sample: Any, valkey: Any
) -> None:
    codes = enrolled(alice, timezone.now())
    ask(api, "HALTED")
    answer = ask(api, "ACTIVE", proof=PASSWORD)
    assert answer.json()["fields"] == {"proof": ["The code is wrong."]}
    assert state() == "HALTED"
    assert ask(api, "ACTIVE", proof=codes.now()).status_code == 200
    assert state() == "ACTIVE"


def test_d6_a_code_counts_once(alice: Any) -> None:
    codes = enrolled(alice, NOW)
    second_factor.person_check(user=alice, proof=codes.at(NOW), request=None, now=NOW)
    with pytest.raises(second_factor.Refused, match="used already"):
        second_factor.person_check(user=alice, proof=codes.at(NOW), request=None, now=NOW)
    # Nor does the one of the step before, once a later one was taken.
    before = codes.at(NOW - timedelta(seconds=30))
    with pytest.raises(second_factor.Refused, match="used already"):
        second_factor.person_check(user=alice, proof=before, request=None, now=NOW)


@pytest.mark.parametrize(("late_s", "taken"), [(-30, True), (30, True), (-60, False), (60, False)])
def test_d6_a_code_may_be_one_step_off(alice: Any, late_s: int, taken: bool) -> None:
    codes = enrolled(alice, NOW - timedelta(hours=1))
    code = codes.at(NOW + timedelta(seconds=late_s))
    if taken:
        second_factor.person_check(user=alice, proof=code, request=None, now=NOW)
    else:
        with pytest.raises(second_factor.Refused, match="code is wrong"):
            second_factor.person_check(user=alice, proof=code, request=None, now=NOW)


def test_d6_codes_cannot_be_tried_without_end(
    api: Any, alice: Any, sample: Any, valkey: Any
) -> None:
    enrolled(alice, timezone.now())
    ask(api, "HALTED")
    for _ in range(10):
        assert "wrong" in ask(api, "ACTIVE", proof="000000").json()["fields"]["proof"][0]
    assert "Too many attempts" in ask(api, "ACTIVE", proof="000000").json()["fields"]["proof"][0]


def test_d6_passwords_cannot_be_tried_without_end_and_the_right_one_is_not_called_wrong(
    api: Any, sample: Any, valkey: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(api, "HALTED")
    for _ in range(10):
        assert ask(api, "ACTIVE", proof="x").json()["fields"] == {
            "proof": ["The password is wrong."]
        }
    (told,) = ask(api, "ACTIVE", proof=PASSWORD).json()["fields"]["proof"]
    assert told.startswith("Too many attempts")
    # Nobody counts the attempts while Valkey is away.
    monkeypatch.setattr(login, "_client", lambda: Valkey.from_url("valkey://127.0.0.1:9"))
    (told,) = ask(api, "ACTIVE", proof=PASSWORD).json()["fields"]["proof"]
    assert told == "Logging in is not possible: Valkey does not answer."
    assert state() == "HALTED"


def test_a_second_factor_is_made_with_the_password_and_counts_when_confirmed(
    api: Any, alice: Any, valkey: Any
) -> None:
    none = {"enrolled": False, "recovery_codes_left": 0}
    assert api.get("/api/auth/second-factor").json() == none
    refused = api.post("/api/auth/second-factor", {"password": "wrong"}, format="json")
    assert refused.status_code == 400
    made = api.post("/api/auth/second-factor", {"password": PASSWORD}, format="json")
    codes = pyotp.parse_uri(made.json()["uri"])
    assert isinstance(codes, pyotp.TOTP)
    assert codes.secret not in SecondFactor.objects.get().sealed
    assert made.json()["secret"] == codes.secret
    assert api.get("/api/auth/second-factor").json() == none
    confirm = "/api/auth/second-factor/confirm"
    assert api.post(confirm, {"code": "000000"}, format="json").status_code == 400
    answer = api.post(confirm, {"code": codes.now()}, format="json").json()
    assert answer["enrolled"] is True
    assert len(set(answer["recovery_codes"])) == 8
    assert api.get("/api/auth/second-factor").json() == {"enrolled": True, "recovery_codes_left": 8}
    kept = SecondFactor.objects.get().recovery
    assert not any(code in str(kept) for code in answer["recovery_codes"])
    again = api.post("/api/auth/second-factor", {"password": PASSWORD}, format="json")
    assert "already" in again.json()["fields"]["password"][0]


def test_a_recovery_code_stands_for_the_code_once(api: Any, alice: Any, valkey: Any) -> None:
    uri = second_factor.second_factor_begin(user=alice)
    code = pyotp.parse_uri(uri).at(NOW)  # type: ignore[union-attr]
    first, second, *_ = second_factor.second_factor_confirm(user=alice, code=code, now=NOW)
    # As a person types it: capitals, and spaces in place of hyphens.
    typed = first.upper().replace("-", " ")
    second_factor.person_check(user=alice, proof=typed, request=None, now=NOW)
    with pytest.raises(second_factor.Refused, match="code is wrong"):
        second_factor.person_check(user=alice, proof=first, request=None, now=NOW)
    assert second_factor.recovery_codes_left(alice) == 7
    end = "/api/auth/second-factor/end"
    refused = api.post(end, {"proof": PASSWORD}, format="json")
    assert refused.json()["fields"]["proof"] == ["The code is wrong."]
    ended = api.post(end, {"proof": second}, format="json")
    assert ended.json() == {"enrolled": False, "recovery_codes_left": 0}
    assert not SecondFactor.objects.exists()
    told = EventLog.objects.filter(stream="audit").order_by("pk").values_list("type", flat=True)
    assert list(told) == ["second_factor_made", "second_factor_ended"]
    again = api.post(end, {"proof": second}, format="json")
    assert again.json()["fields"]["proof"] == ["There is no second factor."]


def test_the_qr_code_holds_the_address() -> None:
    uri = "otpauth://totp/SEP:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=SEP"
    code = second_factor.qr_code(uri)
    # 75 letters at level M need version 5: 37 modules, and a quiet zone of 4 on each side.
    assert len(uri) == 75
    assert code.size == 37 + 8
    # The finder of the upper left: 7 dark, then 1, 5 light, 1, below the quiet zone.
    assert code.path.startswith("M4 4.5h7")
    assert "M4 5.5h1M10 5.5h1" in code.path


def test_the_admin_can_tighten_and_not_loosen(admin_client: Any, sample: Any) -> None:
    row = TradingState.objects.get(scope="ACCOUNT")
    page = f"/admin/trading/tradingstate/{row.pk}/change/"
    admin_client.post(page, {"state": "HALTED", "reason": "fire"})
    assert state() == "HALTED"
    answer = admin_client.post(page, {"state": "ACTIVE", "reason": "out"})
    assert "second factor" in answer.content.decode()
    assert state() == "HALTED"


def test_d5_the_page_says_that_the_flag_is_up(api: Any, sample: Any, valkey: Any) -> None:
    call_command("halt", reason="fire", stdout=io.StringIO())
    trading = api.get("/api/status").json()["trading"]
    assert trading["state"] == "HALTED"
    assert re.fullmatch(r"Halt flag: 20\S+ \S+ UTC, shell: fire", trading["reason"])
    # Making everything active takes it down, and that is re-arming too.
    assert ask(api, "ACTIVE", scope="GLOBAL").status_code == 400
    assert halt_flag.is_set()
    assert ask(api, "ACTIVE", scope="GLOBAL", proof=PASSWORD).status_code == 200
    assert not halt_flag.is_set()
    assert api.get("/api/status").json()["trading"]["state"] == "ACTIVE"


@pytest.fixture
def waits_briefly(transactional_db: None) -> Iterator[None]:
    """Let this thread's connection wait 0.5 s for a lock, as it otherwise waits some seconds."""
    words = {
        "sqlite": ("PRAGMA busy_timeout = 500", "PRAGMA busy_timeout = 5000"),
        "postgresql": ("SET lock_timeout = 500", "SET lock_timeout = 2000"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(words[0])
        yield
        cursor.execute(words[1])


@contextlib.contextmanager
def locked_until(done: Callable[[], bool]) -> Iterator[None]:
    """Hold the states as somebody who writes to the database, until `done` says so or 60 s."""
    held = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(TradingState.objects.select_for_update())
            held.set()
            deadline = time.monotonic() + 60
            while not done() and time.monotonic() < deadline:
                time.sleep(0.01)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    try:
        yield
    finally:
        thread.join()


def halt_by_api(api: Any, admin_client: Any) -> str:
    answer = ask(api, "HALTED", scope="GLOBAL")
    return answer.json()["message"] if answer.status_code == 503 else "recorded"


def halt_by_admin(api: Any, admin_client: Any) -> str:
    page = f"/admin/trading/tradingstate/{TradingState.objects.get(scope='GLOBAL').pk}/change/"
    answer = admin_client.post(page, {"state": "HALTED", "reason": "because"}, follow=True)
    found = re.search("Nothing is sent, the halt flag is up[^<]*", answer.content.decode())
    return found[0] if found else "recorded"


def halt_by_shell(api: Any, admin_client: Any) -> str:
    try:
        call_command("halt", scope="everything", reason="because", stdout=io.StringIO())
    except CommandError as error:
        return str(error)
    return "recorded"


ways = pytest.mark.parametrize(
    ("halt", "who"), [(halt_by_api, "alice"), (halt_by_admin, "admin"), (halt_by_shell, "shell")]
)


@ways
def test_d4_the_flag_stands_before_the_database_is_asked(
    transactional_db: None, api: Any, admin_client: Any, sample: Any, halt: Any, who: str
) -> None:
    # Whoever writes lets go when the flag is up. A halt that waited for the row first would wait
    # for the database's own limit, 5 s, and be refused.
    with locked_until(halt_flag.is_set):
        assert halt(api, admin_client) == "recorded"
    assert state("GLOBAL") == "HALTED"
    assert re.fullmatch(rf"20\S+ \S+ UTC, {who}: because", halt_flag.reason())


@ways
def test_d4_a_halt_that_the_database_does_not_take_says_so_and_stands(
    waits_briefly: None, api: Any, admin_client: Any, sample: Any, halt: Any, who: str
) -> None:
    over = threading.Event()
    with locked_until(over.is_set):
        said = halt(api, admin_client)
        over.set()
    assert said.startswith("Nothing is sent, the halt flag is up; the database did not record it:")
    assert state("GLOBAL") == "ACTIVE"
    assert re.fullmatch(rf"20\S+ \S+ UTC, {who}: because", halt_flag.reason())


def test_d6_letting_everything_reduce_takes_the_flag_down_and_needs_proof(
    api: Any, sample: Any, valkey: Any
) -> None:
    ask(api, "HALTED", scope="GLOBAL")
    assert halt_flag.is_set()
    assert ask(api, "REDUCING", scope="GLOBAL").status_code == 400
    assert (state("GLOBAL"), halt_flag.is_set()) == ("HALTED", True)
    assert ask(api, "REDUCING", scope="GLOBAL", proof=PASSWORD).status_code == 200
    assert (state("GLOBAL"), halt_flag.is_set()) == ("REDUCING", False)


def test_d6_with_the_flag_up_everything_counts_as_halted_whatever_its_row_says(
    api: Any, sample: Any, valkey: Any
) -> None:
    call_command("halt", reason="fire", stdout=io.StringIO())
    # ACTIVE to REDUCING would be tighter, but nothing was sent until now and exits would be then.
    assert ask(api, "REDUCING", scope="GLOBAL").status_code == 400
    assert (state("GLOBAL"), halt_flag.is_set()) == ("ACTIVE", True)


@pytest.mark.parametrize("scope", ["ACCOUNT", "STRATEGY"])
def test_d4_a_halt_of_one_scope_leaves_the_others_alone(api: Any, sample: Any, scope: str) -> None:
    assert ask(api, "HALTED", scope=scope).status_code == 200
    assert not halt_flag.is_set()


def test_d4_a_flag_that_was_put_up_again_meanwhile_is_not_taken_down(sample: Any) -> None:
    halt_flag.put_up("first", by="alice", now=NOW)
    seen = halt_flag.reason()
    assert seen == "2026-01-05 12:00:00.000000 UTC, alice: first"
    halt_flag.put_up("first", by="alice", now=NOW + timedelta(microseconds=1))
    assert not halt_flag.take_down(seen=seen)
    assert halt_flag.is_set()
    assert halt_flag.take_down(seen=halt_flag.reason())
    assert not halt_flag.is_set()


def test_d4_a_flag_that_is_put_up_while_an_older_one_comes_down_stands(
    sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt_flag.put_up("first", by="alice", now=NOW)
    seen = halt_flag.reason()
    again = threading.Thread(
        target=lambda: halt_flag.put_up("again", by="bob", now=NOW + timedelta(seconds=1))
    )

    def pressed_between() -> str:
        again.start()
        while "again" not in halt_flag.path().read_text():
            time.sleep(0.001)
        return seen

    # The look found the first one; the next is written before it is taken away.
    monkeypatch.setattr(halt_flag, "reason", pressed_between)
    assert halt_flag.take_down(seen=seen)
    again.join(60)
    assert "bob: again" in halt_flag.path().read_text()


def test_d4_a_halt_is_recorded_although_the_flag_cannot_be_put_up(
    api: Any, sample: Any, settings: Any, tmp_path: Path
) -> None:
    settings.SEP_VAR_PATH = tmp_path / "gone"
    assert ask(api, "HALTED", scope="GLOBAL").status_code == 200
    assert (state("GLOBAL"), halt_flag.is_set()) == ("HALTED", False)


def shell(monkeypatch: pytest.MonkeyPatch, typed: str, *words: str) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed + "\n"))
    out = io.StringIO()
    call_command("halt", *words, stdout=out)
    return out.getvalue()


def test_d6_the_flag_is_taken_down_by_a_person_with_proof_and_reason(
    alice: Any, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(monkeypatch, "")
    with pytest.raises(CommandError, match="needs --reason"):
        shell(monkeypatch, PASSWORD, "--release", "--user", "alice")
    with pytest.raises(CommandError, match="name of an administrator"):
        shell(monkeypatch, PASSWORD, "--release", "--reason", "over", "--user", "nobody")
    with pytest.raises(CommandError, match="the flag stays: The password is wrong"):
        shell(monkeypatch, "wrong", "--release", "--reason", "over", "--user", "alice")
    assert halt_flag.is_set()
    shell(monkeypatch, PASSWORD, "--release", "--reason", "over", "--user", "alice")
    assert not halt_flag.is_set()
    row = TradingState.objects.get(scope="GLOBAL")
    assert (row.reason, row.changed_by) == ("halt flag taken down: over", "alice")


def test_d4_a_halt_while_the_password_is_typed_is_not_released_with_the_older_one(
    alice: Any, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(monkeypatch, "")
    check = second_factor.person_check

    def slowly(**words: Any) -> None:
        check(**words)
        halt_flag.put_up("fire", by="bob", now=NOW)

    monkeypatch.setattr(second_factor, "person_check", slowly)
    stays = re.escape("put up again meanwhile (2026-01-05 12:00:00.000000 UTC, bob: fire)")
    with pytest.raises(CommandError, match=stays):
        shell(monkeypatch, PASSWORD, "--release", "--reason", "over", "--user", "alice")
    assert halt_flag.is_set()


@pytest.mark.parametrize("scope", ["everything", "account", "strategy"])
def test_d4_the_shell_sets_each_level(
    alice: Any, sample: Any, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    kept = {"everything": "GLOBAL", "account": "ACCOUNT", "strategy": "STRATEGY"}[scope]
    tightened = shell(monkeypatch, "", "--scope", scope, "--state", "REDUCING")
    assert tightened == f"{kept} is REDUCING.\n"
    assert shell(monkeypatch, "", "--scope", scope) == f"{kept} is HALTED.\n"
    assert state(kept) == "HALTED"
    words = ("--scope", scope, "--state", "ACTIVE", "--reason", "over")
    with pytest.raises(CommandError, match="name of an administrator"):
        shell(monkeypatch, "", *words)
    with pytest.raises(CommandError, match="nothing was changed"):
        shell(monkeypatch, "wrong", *words, "--user", "alice")
    assert state(kept) == "HALTED"
    shell(monkeypatch, PASSWORD, *words, "--user", "alice")
    assert state(kept) == "ACTIVE"


def test_the_shell_asks_which_account_when_there_are_two(
    sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.trading.models import BrokerAccount

    BrokerAccount.objects.create(name="Second", opening_balance=1)
    with pytest.raises(CommandError, match=re.escape("there is: Paper, Second")):
        shell(monkeypatch, "", "--scope", "account")


def test_nothing_but_a_person_re_arms(sample: Any) -> None:
    from webapp.trading.services.trading_state import trading_state_worsen

    account = TradingState.objects.get(scope="ACCOUNT").account
    trading_state_set(
        scope="ACCOUNT",
        account=account,
        state=TradingMode.HALTED,
        reason="r",
        changed_by="alice",
        now=NOW,
    )
    for wanted in TradingMode:
        assert not trading_state_worsen(account=account, state=wanted, reason="r", now=NOW)
    assert state() == "HALTED"
