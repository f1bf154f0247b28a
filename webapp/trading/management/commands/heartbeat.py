"""`manage.py heartbeat NAME`: is one process alive? A container's health check."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from webapp.trading.selectors.status import PROCESSES, health_resource


class Command(BaseCommand):
    help = "Succeed when the process has beaten in time."
    # A check every few seconds need not inspect the whole project.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=sorted(PROCESSES))

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        health = health_resource(timezone.now())
        if health["status"] == "down":
            raise CommandError("the database does not answer")
        (process,) = (one for one in health["processes"] if one["name"] == name)
        if process["status"] != "up":
            age_s = process["age_s"]
            last = "it has never beaten" if age_s is None else f"last beat {age_s} s ago"
            raise CommandError(f"{name} is {process['status']}, {last}")
