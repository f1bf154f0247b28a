import getpass
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from sep_engine.execution.states import TradingMode
from webapp.trading import halt_flag
from webapp.trading.models import BrokerAccount, Closing, Strategy, TradingState
from webapp.trading.selectors.closing import closing_left
from webapp.trading.services import second_factor
from webapp.trading.services.closing import FLAT, close_everything
from webapp.trading.services.trading_state import (
    NotRecorded,
    everything_halt,
    needs_proof,
    trading_state_change,
    trading_state_set,
)

FLAT_WAIT_S = 60.0
SCOPES = {"everything": "GLOBAL", "account": "ACCOUNT", "strategy": "STRATEGY"}


class Command(BaseCommand):
    help = (
        "Stop trading. Alone it puts up the halt flag, which needs neither database nor Valkey. "
        "With --scope it sets the state of everything, an account or a strategy."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", help="Why, for the record; needed to re-arm.")
        parser.add_argument("--scope", choices=sorted(SCOPES))
        parser.add_argument("--name", help="Of the account or strategy; needed if there are more.")
        parser.add_argument("--state", choices=[str(mode) for mode in TradingMode])
        parser.add_argument(
            "--release", action="store_true", help="Take the halt flag down; states decide again."
        )
        parser.add_argument(
            "--close-everything",
            action="store_true",
            help="Cancel all orders and close all positions, and tell until it is done.",
        )
        parser.add_argument("--user", help="Who re-arms: the code or password is asked for.")

    def handle(self, *args: Any, **options: Any) -> None:
        reason = options["reason"] or "manage.py halt"
        if options["release"]:
            self._release(options)
        elif options["close_everything"]:
            self._close_everything(reason, options)
        elif options["scope"]:
            self._set_state(reason, options)
        elif options["state"]:
            raise CommandError("--state needs --scope everything, account or strategy")
        else:
            halt_flag.put_up(reason, by="shell", now=timezone.now())
            self.stdout.write(f"Halted by {halt_flag.path()}: nothing is sent while it is there.")

    def _release(self, options: dict[str, Any]) -> None:
        """Take the flag down: that is re-arming, so somebody must prove who they are."""
        if not options["reason"]:
            raise CommandError("re-arming needs --reason")
        seen = halt_flag.reason()
        try:
            user = _user(options["user"])
            second_factor.person_check(
                user=user, proof=_proof(user), request=None, now=timezone.now()
            )
        except DatabaseError as error:
            raise CommandError(
                f"the database does not answer, so nobody can prove who they are: {error}"
            ) from error
        except second_factor.Refused as error:
            raise CommandError(f"the flag stays: {error}") from error
        try:
            lifted = not halt_flag.is_set() or halt_flag.take_down(seen=seen)
        except OSError as error:
            raise CommandError(f"the flag cannot be taken down: {error.strerror}") from error
        if not lifted:
            raise CommandError(
                f"it was put up again meanwhile ({halt_flag.reason()}), so the flag stays: "
                "release it once more if that is what you want"
            )
        row = TradingState.objects.filter(scope="GLOBAL").first()
        if row is not None:
            # The state stays what it is; who took the flag down and why is kept with it.
            trading_state_set(
                scope="GLOBAL",
                state=TradingMode(row.state),
                reason=f"halt flag taken down: {options['reason']}",
                changed_by=user.get_username(),
                now=timezone.now(),
            )
        self.stdout.write("The flag is down: the states in the database decide.")

    def _set_state(self, reason: str, options: dict[str, Any]) -> None:
        account, strategy = _whose(options)
        scope = SCOPES[options["scope"]]
        wanted = TradingMode(options["state"] or TradingMode.HALTED)
        whose: dict[str, Any] = {"scope": scope, "account": account, "strategy": strategy}
        if wanted == TradingMode.HALTED and scope == "GLOBAL":
            try:
                everything_halt(
                    reason=reason, changed_by=options["user"] or "shell", now=timezone.now()
                )
            except NotRecorded as error:
                raise CommandError(str(error)) from error
        elif options["user"] is None and not needs_proof(TradingState.objects.get(**whose), wanted):
            trading_state_set(
                **whose, state=wanted, reason=reason, changed_by="shell", now=timezone.now()
            )
        else:
            if not options["reason"]:
                raise CommandError(f"to set {wanted} needs --reason")
            user = _user(options["user"])
            try:
                trading_state_change(
                    **whose,
                    state=wanted,
                    reason=reason,
                    user=user,
                    proof=_proof(user),
                    request=None,
                    now=timezone.now(),
                )
            except second_factor.Refused as error:
                raise CommandError(f"nothing was changed: {error}") from error
        self.stdout.write(f"{scope} is {wanted}.")

    def _close_everything(self, reason: str, options: dict[str, Any]) -> None:
        account, strategy = _whose(options) if options["scope"] else (None, None)
        if strategy is not None:
            account = strategy.account
        accounts = [account] if account else list(BrokerAccount.objects.order_by("pk"))
        if not accounts:
            raise CommandError("there is no account: nothing was closed")
        for one in accounts:
            close_everything(account=one, strategy=strategy, reason=reason, now=timezone.now())
        asked = [
            Closing.objects.filter(account=one, strategy=strategy).latest("pk") for one in accounts
        ]
        deadline, said = time.monotonic() + FLAT_WAIT_S, {""}
        while True:
            left = _what_is_left(asked)
            # The seconds to the next try count down; what stands in the way is told once.
            for line in left:
                if (news := line.partition("; ")[2] or line) not in said:
                    self.stdout.write(line)
                    said.add(news)
            if not left:
                self.stdout.write("Flat: no position and no order is left.")
                return
            if time.monotonic() > deadline:
                raise CommandError(
                    f"not flat after {FLAT_WAIT_S:.0f} s: {' | '.join(left)}. A trader that runs "
                    "goes on; the page tells what is left"
                )
            time.sleep(0.2)


def _what_is_left(asked: list[Closing]) -> list[str]:
    now, lines = timezone.now(), []
    for one in asked:
        one.refresh_from_db()
        if one.ended_at is not None:
            if one.ended_because != FLAT:
                raise CommandError(f"not flat: {one.ended_because}")
            continue
        left = closing_left(one, now=now)
        lines += [str(each) for each in left] or [f"{one.account.name}: the trader looks once more"]
    return lines


def _whose(options: dict[str, Any]) -> tuple[BrokerAccount | None, Strategy | None]:
    if options["scope"] == "everything":
        return None, None
    if options["scope"] == "account":
        return _one(BrokerAccount.objects.order_by("pk"), options["name"]), None
    return None, _one(Strategy.objects.select_related("account"), options["name"])


def _one(rows: Any, name: str | None) -> Any:
    found = list(rows.filter(name=name) if name else rows)
    if len(found) != 1:
        known = ", ".join(row.name for row in rows) or "none"
        raise CommandError(f"--name must say which one; there is: {known}")
    return found[0]


def _user(name: str | None) -> AbstractBaseUser:
    user = get_user_model().objects.filter(username=name or "", is_active=True).first()
    if user is None or not user.is_staff:
        raise CommandError("re-arming needs --user with the name of an administrator")
    return user


def _proof(user: AbstractBaseUser) -> str:
    what = "Code of the second factor" if second_factor.has_second_factor(user) else "Password"
    if sys.stdin.isatty():
        return getpass.getpass(f"{what}: ")
    return sys.stdin.readline().rstrip("\n")
