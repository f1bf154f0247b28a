from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from webapp.trading import halt_flag


class Command(BaseCommand):
    help = "Stop every order of every account, with the database and Valkey up or down."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", default="manage.py halt")
        parser.add_argument(
            "--release", action="store_true", help="Take the flag down; states decide again."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["release"]:
            halt_flag.take_down()
            self.stdout.write("The flag is down: the states in the database decide.")
        else:
            halt_flag.put_up(options["reason"])
            self.stdout.write(f"Halted by {halt_flag.path()}: nothing is sent while it is there.")
