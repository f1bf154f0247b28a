from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webapp.config.sealing import SealBroken
from webapp.trading.tokens import rotate_keys


class Command(BaseCommand):
    help = "Brokers' accounts and the keys that their tokens are sealed with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("rotate-keys", help="seal every kept secret under the newest key")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action'].replace('-', '_')}")(options)

    def _rotate_keys(self, options: dict[str, Any]) -> None:
        try:
            count = rotate_keys()
        except SealBroken as error:
            raise CommandError(f"nothing was changed: {error}") from error
        self.stdout.write(f"{count} secrets are sealed under the newest key.")
        if settings.SEP_SECRET_KEYS:
            self.stdout.write("The other keys of SEP_SECRET_KEYS can be removed now.")
