from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from webapp.trading.audit import account_faults
from webapp.trading.models import BrokerAccount
from webapp.trading.trader.lease import held_by


class Command(BaseCommand):
    help = "Compare our books with the venue's ledger while no trader runs; say what differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="Name of the account; all by default.")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = BrokerAccount.objects.order_by("pk")
        if options["account"]:
            accounts = accounts.filter(name=options["account"])
        if not accounts:
            whose = f"no account {options['account']}" if options["account"] else "no account"
            raise CommandError(f"there is {whose}: nothing was compared")
        faults = []
        for account in accounts:
            if holder := held_by(account_id=account.pk, now=timezone.now()):
                self.stderr.write(
                    f"{account.name} has a trader ({holder}): what it does meanwhile may differ"
                )
            faults += [f"{account.name}: {line}" for line in account_faults(account)]
        for line in faults:
            self.stdout.write(line)
        if faults:
            raise CommandError(f"{len(faults)} faults")
        self.stdout.write("the books agree")
