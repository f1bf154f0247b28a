"""A grid of rules as a value: some choices for every part of a rule, and all their combinations.

The TOML form names the parts as the JSON form of a rule does. A single value may stand for a list
of one; what is left out is the rule's default; `"none"` is no stop, or no target:

    direction = ["last_bit_reversal", "damped"]
    invert = [false, true]
    window = [32, 64]
    gates = [[], [{ metric = "coherence", percentile = [80, 100] }]]
    entry = ["open", "close"]
    horizon_bars = [1, 4, 16]
    stop_ticks = ["none", 300]
    costs = ["given", { spread_multiple = 2 }, { spread_ticks = 13, per_side_ticks = 1 }]

Rule number k is the k-th combination, with `target_ticks` turning fastest and `costs` slowest.
Numbers do not depend on the order of the keys in a file.
"""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from sep_engine.backtest.market import Costs, CostsChange
from sep_engine.backtest.trades import ENTRIES, Entry
from sep_engine.errors import ArgumentError, RuleError
from sep_engine.qfh import Encoding
from sep_engine.signals import Gate, Rule

# Parts of a rule that decide, and parts that say what comes of a position; in order of numbering.
DECISION_AXES: Final = ("encoding", "window", "direction", "invert", "gates")
EXIT_AXES: Final = ("entry", "horizon_bars", "stop_ticks", "target_ticks")
AXES: Final = ("costs", *DECISION_AXES, *EXIT_AXES)
_NOT_OF_A_RULE: Final = ("costs", "entry")
_DEFAULTS: Final[dict[str, Any]] = {
    "costs": "given",
    "encoding": "moves",
    "window": 64,
    "invert": False,
    "gates": [],
    "entry": "open",
    "target_ticks": "none",
    "units": "1000",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """All combinations of the choices for each part of a rule; see `Rule` for their meaning.

    Attributes:
        direction, encoding, window, invert, horizon_bars, stop_ticks, target_ticks: choices of the
            parts of a `Rule`, in its units; None is no stop, or no target.
        gates: each choice is a tuple of gates that must all pass.
        entry: at which price of the bar after its decision a position is entered.
        costs: what the costs that a sweep is given are turned into.
        units: of all rules.

    Raises:
        RuleError: a part has no choice or one twice, or a choice is out of range.
    """

    direction: tuple[str, ...]
    horizon_bars: tuple[int, ...]
    stop_ticks: tuple[int | None, ...]
    target_ticks: tuple[int | None, ...] = (None,)
    encoding: tuple[Encoding, ...] = ("moves",)
    window: tuple[int, ...] = (64,)
    invert: tuple[bool, ...] = (False,)
    gates: tuple[tuple[Gate, ...], ...] = ((),)
    entry: tuple[Entry, ...] = ("open",)
    costs: tuple[CostsChange, ...] = (CostsChange(),)
    units: Decimal = Decimal(1000)

    def __post_init__(self) -> None:
        for name in AXES:
            choices = getattr(self, name)
            if not isinstance(choices, tuple) or not choices:
                raise RuleError(f"{name} must be a tuple of at least one choice, was {choices!r}")
            for place, choice in enumerate(choices):
                if choice in choices[:place]:
                    raise RuleError(f"{name} must hold a choice once, holds {choice!r} twice")
        for entry in self.entry:
            if entry not in ENTRIES:
                raise RuleError(f"entry must be one of {', '.join(ENTRIES)}; was {entry!r}")
        for change in self.costs:
            if not isinstance(change, CostsChange):
                raise RuleError(f"costs must hold changes of costs, holds {change!r}")
        # Only gates are restricted, by encoding and window: every such pair has to be seen once.
        first = {name: getattr(self, name)[0] for name in AXES}
        for name in AXES:
            for choice in getattr(self, name):
                self._made({**first, name: choice})
        for name in ("encoding", "window"):
            for choice, gates in itertools.product(getattr(self, name), self.gates):
                self._made({**first, name: choice, "gates": gates})

    def __len__(self) -> int:
        return math.prod(len(getattr(self, name)) for name in AXES)

    @property
    def decisions(self) -> int:
        """Combinations of the parts that decide; each comes with every exit."""
        return math.prod(len(getattr(self, name)) for name in DECISION_AXES)

    @property
    def exits(self) -> int:
        """Combinations of the parts that say what comes of a position."""
        return math.prod(len(getattr(self, name)) for name in EXIT_AXES)

    def rule(self, number: int) -> Rule:
        """Return a rule by its number; `entry_of` says when it enters.

        Raises:
            IndexError: number is not in 0..len - 1.
        """
        return self._made(self._choices(number))

    def entry_of(self, number: int) -> Entry:
        """Return at which price the rule of a number enters."""
        entry: Entry = self._choices(number)["entry"]
        return entry

    def costs_of(self, number: int, given: Costs) -> Costs:
        """Return the costs that the rule of a number pays where these are given."""
        return self.costs_change(number).of(given)

    def costs_change(self, number: int) -> CostsChange:
        """Return what the rule of a number makes of the costs that are given."""
        change: CostsChange = self._choices(number)["costs"]
        return change

    def number(self, rule: Rule, *, entry: Entry = "open", costs: CostsChange | None = None) -> int:
        """Return the number of a rule, the inverse of `rule`; its units do not matter.

        Args:
            entry: when it enters.
            costs: which of the grid's; None is the first.

        Raises:
            RuleError: it is not in the grid; the message names the first part that is not.
        """
        number = 0
        beside = {"entry": entry, "costs": self.costs[0] if costs is None else costs}
        for name in AXES:
            choices = getattr(self, name)
            choice = beside[name] if name in beside else getattr(rule, name)
            if choice not in choices:
                raise RuleError(f"{name} {choice!r} is not in the grid")
            number = number * len(choices) + choices.index(choice)
        return number

    def rules(self) -> Iterator[Rule]:
        """Yield all rules in the order of their numbers."""
        return (self.rule(number) for number in range(len(self)))

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """Return the grid of the TOML file at `path`.

        Raises:
            RuleError: the file cannot be read, is not TOML, or a part is missing, unknown or wrong.
        """
        try:
            document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise RuleError(f"{path}: {error.strerror}") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RuleError(f"{path}: not TOML: {error}") from error
        try:
            return cls.from_json(document)
        except RuleError as error:
            raise RuleError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the grid of a decoded document with the keys of the TOML form.

        Raises:
            RuleError: a part is missing, unknown or wrong; the message begins with its name.
        """
        for name in document:
            if name not in (*AXES, "units"):
                raise RuleError(f"{name} is not known; known are {', '.join((*AXES, 'units'))}")
        for name in ("direction", "horizon_bars", "stop_ticks"):
            if name not in document:
                raise RuleError(f"{name} is missing")
        given = {**_DEFAULTS, **document}
        choices: dict[str, Any] = {
            name: tuple(None if choice in ("none", None) else choice for choice in _listed(value))
            for name, value in given.items()
            if name not in ("costs", "gates", "units")
        }
        choices["costs"] = tuple(_costs_of(one) for one in _listed(given["costs"]))
        alternatives = given["gates"]
        if not isinstance(alternatives, list):
            raise RuleError(f"gates must be a list of lists of gates, was {alternatives!r}")
        if not alternatives or isinstance(alternatives[0], Mapping):
            alternatives = [alternatives]
        # A rule reads gates and units, so that both forms are read by one piece of code.
        gates = tuple(_as_rule(gates=one, units=given["units"]).gates for one in alternatives)
        return cls(**choices, gates=gates, units=_as_rule(gates=[], units=given["units"]).units)

    def to_json(self) -> dict[str, Any]:
        """Return a document that `from_json` reads back, with every default written out."""
        document: dict[str, Any] = {name: list(getattr(self, name)) for name in AXES}
        document["gates"] = [
            [{"metric": gate.metric, gate.of: [gate.low, gate.high]} for gate in gates]
            for gates in self.gates
        ]
        for name in ("stop_ticks", "target_ticks"):
            document[name] = ["none" if choice is None else choice for choice in document[name]]
        document["costs"] = [costs_document(one) for one in self.costs]
        document["units"] = format(self.units, "f")
        return document

    def _choices(self, number: int) -> dict[str, Any]:
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise TypeError(f"rule number must be an int, was {type(number).__name__}")
        if not 0 <= number < len(self):
            raise IndexError(f"rule number must be in 0..{len(self) - 1}, was {number}")
        chosen = {}
        for name in reversed(AXES):
            choices = getattr(self, name)
            number, place = divmod(number, len(choices))
            chosen[name] = choices[place]
        return chosen

    def _made(self, chosen: Mapping[str, Any]) -> Rule:
        return Rule(
            units=self.units, **{k: v for k, v in chosen.items() if k not in _NOT_OF_A_RULE}
        )


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def configuration(rule: Rule, entry: Entry) -> dict[str, object]:
    """Return what a rule with its `entry` is to the ledger of trials: size changes no figure."""
    return {
        **{name: value for name, value in rule.to_json().items() if name != "units"},
        # An entry at the open is what a configuration has always meant.
        **({} if entry == "open" else {"entry": entry}),
    }


def costs_document(change: CostsChange) -> str | dict[str, Any]:
    """Return the form of a choice of costs in a document."""
    if change == CostsChange():
        return "given"
    document: dict[str, Any] = {}
    if change.spread_multiple != 1:
        document["spread_multiple"] = format(change.spread_multiple, "f")
    for name in ("spread_ticks", "per_side_ticks"):
        if getattr(change, name) is not None:
            document[name] = getattr(change, name)
    return document


def _costs_of(choice: object) -> CostsChange:
    if choice == "given":
        return CostsChange()
    known = ("spread_multiple", "spread_ticks", "per_side_ticks")
    if not isinstance(choice, Mapping) or not choice or any(name not in known for name in choice):
        raise RuleError(f'costs must be "given" or a table of {", ".join(known)}; was {choice!r}')
    ticks = {name: choice[name] for name in known[1:] if name in choice}
    for name, value in ticks.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise RuleError(f"costs: {name} must be a whole number, was {value!r}")
    multiple = choice.get("spread_multiple", 1)
    try:
        if isinstance(multiple, bool):
            raise InvalidOperation
        return CostsChange(Decimal(str(multiple)), **ticks)
    except InvalidOperation as error:
        raise RuleError(f"costs: spread_multiple must be a number, was {multiple!r}") from error
    except ArgumentError as error:
        raise RuleError(f"costs: {error}") from error


def _as_rule(*, gates: Any, units: Any) -> Rule:
    # The encoding is checked with the gates of a grid, not here: `moves` takes every gate.
    return Rule.from_json(
        {
            "direction": "last_bit_reversal",
            "horizon_bars": 1,
            "stop_ticks": None,
            "gates": gates,
            "units": units,
        }
    )
