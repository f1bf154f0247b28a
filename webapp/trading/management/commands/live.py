import getpass
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from webapp.trading.models import BrokerAccount
from webapp.trading.services import second_factor
from webapp.trading.services.live_arming import (
    is_live,
    live_arm,
    live_disarm,
    live_refusal,
    sentence,
)


class Command(BaseCommand):
    help = "Arm, disarm and show accounts that trade real money."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        arm = actions.add_parser("arm", help="asks for a typed sentence and a code or password")
        arm.add_argument("account")
        arm.add_argument("--user", required=True)
        arm.add_argument("--reason", required=True)
        disarm = actions.add_parser("disarm")
        disarm.add_argument("account")
        actions.add_parser("show", help="every account, and why it may not trade real money")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(options)

    def _arm(self, options: dict[str, Any]) -> None:
        account = _account(options["account"])
        user = get_user_model().objects.filter(username=options["user"], is_active=True).first()
        if user is None or not user.is_staff:
            raise CommandError(f"{options['user']} is no administrator")
        self.stdout.write(f"Type: {sentence(account)}")
        typed = sys.stdin.readline().rstrip("\n")
        code = second_factor.has_second_factor(user)
        asked = "Code of the second factor: " if code else "Password: "
        proof = getpass.getpass(asked) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        try:
            live_arm(
                account=account,
                user=user,
                proof=proof,
                confirmation=typed,
                reason=options["reason"],
                now=timezone.now(),
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except second_factor.Refused as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{account.name} may trade real money.")

    def _disarm(self, options: dict[str, Any]) -> None:
        account = _account(options["account"])
        ended = live_disarm(account=account, changed_by="shell", now=timezone.now())
        self.stdout.write(f"{account.name} is disarmed." if ended else "It was not armed.")

    def _show(self, options: dict[str, Any]) -> None:
        accounts = BrokerAccount.objects.order_by("pk")
        if not accounts:
            self.stdout.write("There is no account yet.")
        for account in accounts:
            if is_live(account):
                why = live_refusal(account=account, strategy=None, now=timezone.now())
                self.stdout.write(why or f"{account.name} may trade real money")
            else:
                self.stdout.write(f"{account.name} is a {account.kind} account: no real money")


def _account(name: str) -> BrokerAccount:
    account = BrokerAccount.objects.filter(name=name).first()
    if account is None:
        known = ", ".join(BrokerAccount.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"there is no account {name}; there is: {known}")
    return account
