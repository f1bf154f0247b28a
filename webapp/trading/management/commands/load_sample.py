from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sep_engine.errors import DataError
from webapp.trading.trader.setup import ACCOUNT_NAMES, OtherBroker, sample_load


class Command(BaseCommand):
    help = "Make the account, its strategy and the replay of a sample. Safe to run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", default="eur_usd_h1")
        parser.add_argument("--broker", choices=sorted(ACCOUNT_NAMES), default="paper")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            feed = sample_load(name=options["name"], now=timezone.now(), broker=options["broker"])
        except (DataError, OtherBroker) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{feed.source}: {feed.instrument.name}, bar {feed.cursor} of {feed.total_bars}"
        )
