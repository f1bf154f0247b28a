from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from webapp.trading.models import BrokerAccount
from webapp.trading.rebuild import BrokenLog, books_from_log, differences, positions_rewrite
from webapp.trading.trader.lease import held_by


class Command(BaseCommand):
    help = "Make the positions again from the event log, while no trader runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Change nothing; say where log and tables differ."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for account in BrokerAccount.objects.order_by("pk"):
            if holder := held_by(account_id=account.pk, now=timezone.now()):
                if not options["check"]:
                    raise CommandError(
                        f"{account.name} has a trader ({holder}); stop it first, or use --check"
                    )
                self.stderr.write(
                    f"{account.name} has a trader ({holder}): what it does meanwhile may differ"
                )
        try:
            books = books_from_log()
        except BrokenLog as error:
            raise CommandError(f"nothing is made from a broken log: {error}") from error
        if not options["check"]:
            self.stdout.write(f"{positions_rewrite(books)} positions were written.")
        found = differences(books)
        for line in found:
            self.stdout.write(line)
        if found:
            raise CommandError(f"{len(found)} differences")
        self.stdout.write(
            f"The tables follow from the log: {len(books.orders)} orders, "
            f"{len(books.fills)} fills, {len(books.positions)} positions."
        )
