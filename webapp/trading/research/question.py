"""What the questions have in common: how they are asked, and what an answer is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sep_engine import ledger
from sep_engine.backtest import Costs, Entry
from sep_engine.errors import ArgumentError
from sep_engine.ledger import Tried
from sep_engine.model.hours import TradingHours
from webapp.trading.selectors.run_data import Material, whole_ticks

Json = dict[str, Any]
Progress = Callable[[float], None]
Record = Callable[[Sequence[ledger.Trial], Mapping[str, object]], Tried]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run found.

    Attributes:
        document: JSON text; page: HTML.
        edge: the verdict, None for what is none.
        text: one line.
        summary: {"sections": [{"name", "text"}], "figures": [{"name", "value", "unit"}]}.
    """

    document: str
    page: str
    edge: bool | None
    text: str
    summary: Json


def entry_of(configuration: Mapping[str, Any]) -> Entry:
    entry: Entry = configuration.get("entry", "open")
    return entry


def hours_of(configuration: Mapping[str, Any]) -> dict[str, object]:
    """Return what a configuration says of hours, for the ledger: nothing where it has none."""
    return {"session": configuration["session"]} if "session" in configuration else {}


def session_counts(configuration: Mapping[str, Any], given: Material) -> NDArray[np.bool_] | None:
    """Return (n,) bool: whether a bar ends within the hours that were asked for; None for all.

    Raises:
        ArgumentError: none does.
    """
    if "session" not in configuration:
        return None
    counts = TradingHours.of(configuration["session"]).contain(given.bars.ends)
    if not counts.any():
        raise ArgumentError(f"no bar of {given.title} ends within {configuration['session']}")
    return counts


def spreads_of(configuration: Mapping[str, Any], given: Material) -> NDArray[np.int64] | None:
    """Return each bar's spread in ticks, where it was measured and nothing else was asked for."""
    return given.spreads if configuration["spread_pips"] is None else None


def trade_costs(configuration: Mapping[str, Any], given: Material) -> Costs:
    spread, assumed = given.spread_ticks(configuration["spread_pips"])
    pips = configuration["cost_pips"]
    side = 0 if pips is None else whole_ticks("cost_pips", Decimal(pips), given)
    spreads = spreads_of(configuration, given)
    return Costs(spread if spreads is None else spreads, side, assumed=assumed)


def figure(name: str, value: float | None, unit: str = "") -> Json:
    return {"name": name, "value": None if value is None else float(value), "unit": unit}
