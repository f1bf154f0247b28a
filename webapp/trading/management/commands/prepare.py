"""`manage.py prepare`: bring the database up to date; the launcher runs it at each start."""

import json
import secrets
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from webapp.trading.selectors.status import account_default
from webapp.trading.trader.setup import ACCOUNT_NAMES

# Accounts that `broker add` makes: the kind, and what the command calls it.
ADDED = {"oanda-practice": "oanda", "oanda-live": "oanda-live"}
USERNAME = "admin"


class Command(BaseCommand):
    help = (
        "Migrate, load the sample and make the first administrator. Prints one JSON object: the "
        "administrator's login if it was made now, else nothing in it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        choices = sorted([*ACCOUNT_NAMES, *ADDED])
        parser.add_argument("--broker", choices=choices, default="paper")

    def handle(self, *args: Any, **options: Any) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, stdout=self.stderr)
        if options["broker"] in ADDED:
            _check_added(options["broker"])
        else:
            call_command("load_sample", broker=options["broker"], stdout=self.stderr)
        self.stdout.write(json.dumps(_first_administrator()))


def _check_added(kind: str) -> None:
    account = account_default()
    if account is None:
        raise CommandError(
            f"no {kind} account is set up: run SEP_VAR_PATH={settings.SEP_VAR_PATH} "
            f"manage.py broker add {ADDED[kind]}"
        )
    if account.kind != kind:
        raise CommandError(
            f"the account here is of kind {account.kind}: choose another folder with SEP_VAR_PATH"
        )


def _first_administrator() -> dict[str, str]:
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return {}
    password = secrets.token_urlsafe(12)
    users.create_superuser(username=USERNAME, password=password)
    return {"username": USERNAME, "password": password}
