"""The migrations make what the models say, and databases of SEPs before this one."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from webapp.trading.fit import misfit

pytestmark = pytest.mark.django_db
FIRST = import_module("webapp.trading.migrations.0001_squashed_0011_guaranteed_stops")


def test_no_change_of_the_models_lacks_a_migration() -> None:
    call_command("makemigrations", "trading", check_changes=True, dry_run=True, verbosity=0)


def test_tables_of_the_eleven_migrations_before_are_refused_by_name() -> None:
    editor = SimpleNamespace(connection=connection)
    FIRST.refuse_older(None, editor)
    MigrationRecorder(connection).record_applied("trading", "0001_initial")
    with pytest.raises(CommandError, match="of a SEP before 2026-11-22: start commit 4c19cef"):
        FIRST.refuse_older(None, editor)


def test_a_database_that_went_through_the_eleven_is_not_of_a_newer_build() -> None:
    MigrationRecorder(connection).record_applied("trading", "0007_order_types_and_books")
    assert misfit(now=timezone.now()) == ""
