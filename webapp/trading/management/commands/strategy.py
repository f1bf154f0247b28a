from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sep_engine.data import load_sample
from sep_engine.errors import ArgumentError, RuleError
from sep_engine.signals.rule import units_of
from sep_engine.signals.strategy import StrategyRule, bars_of
from webapp.trading.models import Strategy
from webapp.trading.parity import columns_of, first_bars
from webapp.trading.services.strategies import class_add, class_replace, strategy_switch
from webapp.trading.trader.strategy_process import check_source

# Of the sample: a class is run over them before it is stored.
_CHECKED_BARS = 500
_LATER = "The trader takes it up when it starts again."


class Command(BaseCommand):
    help = "Add, replace, list and switch what trades; a class comes from a file, never over HTTP."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="store a class as a strategy; it is off")
        _file(add)
        add.add_argument("--name", required=True)
        add.add_argument("--enable", action="store_true", help="as `strategy enable` afterwards")
        replace = actions.add_parser("replace", help="let a strategy trade by a class")
        replace.add_argument("name")
        _file(replace)
        actions.add_parser("list")
        enable = actions.add_parser(
            "enable", help="let it trade its instrument, in place of what trades that now"
        )
        enable.add_argument("name")
        actions.add_parser("disable").add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except ArgumentError as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error

    def _add(self, options: dict[str, Any]) -> None:
        if Strategy.objects.filter(name=options["name"]).exists():
            raise CommandError(
                f"there is a strategy {options['name']}: strategy replace gives it another class"
            )
        rule, source = self._checked(options)
        strategy = class_add(
            name=options["name"], rule=rule, source=source, changed_by="shell", now=timezone.now()
        )
        self.stdout.write(f"{strategy.name} is stored: {_text(strategy)}.")
        if options["enable"]:
            self._switch(strategy, enabled=True)
        else:
            self.stdout.write(f"It is off: manage.py strategy enable {strategy.name!r}")

    def _replace(self, options: dict[str, Any]) -> None:
        strategy = _strategy(options["name"])
        rule, source = self._checked(options)
        changed = class_replace(
            strategy=strategy, rule=rule, source=source, changed_by="shell", now=timezone.now()
        )
        if not changed:
            self.stdout.write(f"{strategy.name} trades by this class already.")
            return
        self.stdout.write(f"{strategy.name} trades by {_text(strategy)}. {_LATER}")

    def _list(self, options: dict[str, Any]) -> None:
        rows = Strategy.objects.select_related("instrument", "account").order_by("pk")
        if not rows:
            self.stdout.write("There is no strategy yet.")
        for row in rows:
            word = "on" if row.enabled else "off"
            place = f"{row.instrument.name} {row.granularity} on {row.account.name}"
            self.stdout.write(f"{row.name}: {word}, {row.verdict}, {place}, {_text(row)}")

    def _enable(self, options: dict[str, Any]) -> None:
        self._switch(_strategy(options["name"]), enabled=True)

    def _disable(self, options: dict[str, Any]) -> None:
        self._switch(_strategy(options["name"]), enabled=False)

    def _switch(self, strategy: Strategy, *, enabled: bool) -> None:
        off = strategy_switch(
            strategy=strategy, enabled=enabled, changed_by="shell", now=timezone.now()
        )
        for name in off:
            self.stdout.write(f"{name} is off: one strategy trades an instrument.")
        if not enabled:
            self.stdout.write(f"{strategy.name} is off: it enters nothing from now on.")
        elif strategy.source:
            self.stdout.write(f"{strategy.name} is on. {_LATER}")
        else:
            self.stdout.write(f"{strategy.name} is on: it may enter from the next bar on.")

    def _checked(self, options: dict[str, Any]) -> tuple[StrategyRule, str]:
        """Return what is kept of the class of a FILE[:Class], and the source; run over bars."""
        file, class_name = _parts(options["file"])
        try:
            source = file.read_text(encoding="utf-8")
            units = units_of(options["units"])
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise CommandError(f"{file}: {why}") from error
        except RuleError as error:
            raise CommandError(f"--{error}") from error
        rule = check_source(
            source,
            class_name=class_name,
            path=str(file),
            units=units,
            bars=bars_of(columns_of(first_bars(load_sample().bars, _CHECKED_BARS))),
        )
        if rule.stop_ticks is None:
            self.stderr.write(
                f"{rule.name} has no stop_ticks: its orders get the stop of the limits "
                "(default_stop_pips), which no backtest of it had."
            )
        return rule, source


def _file(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE[:Class]", help="a Python file with the class")
    parser.add_argument("--units", default="1000", help="of each entry")


def _parts(given: str) -> tuple[Path, str]:
    path, colon, name = given.rpartition(":")
    return (Path(path), name) if colon and name.isidentifier() else (Path(given), "")


def _text(row: Strategy) -> str:
    if not row.source:
        return "a rule"
    rule = StrategyRule.from_json(row.rule)
    stop = "no stop" if rule.stop_ticks is None else f"stop {rule.stop_ticks} ticks"
    return (
        f"class {rule.name}, source {rule.source_sha256[:12]}, {rule.units:f} units, {stop}, "
        f"{rule.horizon_bars} bars"
    )


def _strategy(name: str) -> Strategy:
    row = Strategy.objects.filter(name=name).first()
    if row is None:
        known = ", ".join(Strategy.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"there is no strategy {name}; there is: {known}")
    return row
