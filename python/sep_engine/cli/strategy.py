"""From the --strategy and --grid options to a family of rules."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_engine.errors import ArgumentError, RuleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sep_engine.backtest.trades import Entry
    from sep_engine.data import Bars
    from sep_engine.evidence.family import Family
    from sep_engine.evidence.market import TimedBars
    from sep_engine.signals import Rule
    from sep_engine.signals.strategy import StrategyBars, StrategyRule

# Packages offer strategies to `sep verdict --strategy NAME` under this group of entry points.
ENTRY_POINTS = "sep_engine.strategies"
# Directions of all rules at all bars are held at once, a byte each.
RULES_MAX = 100_000


def family_of(strategy: str | None, grid: str | None = None, *, entry: str | None = None) -> Family:
    """Return the rules to judge: the default ones, those of a grid, or a strategy.

    strategy: a .json file (one rule or a list), a .py file with a class, "package.module:Class",
        or the name of an entry point of the group ENTRY_POINTS.
    grid: a TOML file as `sep_engine.backtest.grid` describes it; not together with a strategy.
    entry: at which price of the bar after a decision all enter; None is the open, or what the grid
        says.
    """
    from sep_engine.evidence.family import default_rules, rule_family

    if grid is not None:
        if strategy is not None:
            raise ArgumentError("--grid and --strategy both name what is judged: give one")
        return _grid_family(grid, entry)
    at = _entry(entry or "open")

    def entering(rules: Sequence[Rule]) -> Family:
        return rule_family(rules, [at] * len(rules))

    if strategy is None:
        return entering(default_rules())
    path = Path(strategy)
    if path.suffix == ".json" and path.is_file():
        return entering(rules_in(path))
    if path.suffix == ".py" and path.is_file():
        return _strategy_family(strategy, _class_in_file(path), path.read_text("utf-8"), at)
    if path.suffix in (".json", ".py"):
        raise ArgumentError(f"{path}: no such file")
    made = _installed_class(strategy)
    return _strategy_family(strategy, made, _source(made), at)


def strategy_decisions(strategy: str, bars: Bars) -> tuple[StrategyRule, NDArray[np.int8]]:
    """Return a strategy class as a backtest keeps it, and its (n,) decisions on bars."""
    try:
        from sep_engine.evidence.market import TimedBars
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"--strategy needs {error.name}: pip install 'sep-engine[evidence]'"
        ) from error
    from sep_engine.signals.strategy import StrategyRule

    family = family_of(strategy)
    if family.rules is not None:
        raise ArgumentError(f"{strategy}: a rule is given with --rule")
    leave, source = family.exits[0], str(family.configurations[0]["source"])
    kept = StrategyRule(
        family.names[0],
        hashlib.sha256(source.encode()).hexdigest(),
        leave.horizon,
        leave.stop,
        leave.target,
        Decimal(1000),
    )
    return kept, family.decided(0, TimedBars.of(bars))


def counted_at(session: str, bars: Bars) -> Callable[[TimedBars], NDArray[np.bool_]]:
    """Return what says of a market with the times of `bars`, or their first ones, which decisions
    count: those of bars that end, and are entered, within the hours of a --session.
    """
    mask = within_session(session, bars)
    return lambda market: mask[: len(market)]


def within_session(session: str, bars: Bars) -> NDArray[np.bool_]:
    """Return (n,) bool: whether each bar ends within the hours of a --session."""
    from sep_engine.model.hours import TradingHours

    mask = TradingHours.of(session).contain(bars.ends)
    if not mask.any():
        raise ArgumentError(f"--session {session!r}: no bar of {bars.name} ends within it")
    return mask


def located(strategy: str | None) -> str | None:
    """Return a --strategy that means the same from any folder."""
    if strategy is None or not Path(strategy).is_file():
        return strategy
    return str(Path(strategy).resolve())


def _entry(name: str) -> Entry:
    from sep_engine.backtest.trades import ENTRIES

    if name not in ENTRIES:
        raise ArgumentError(f"--entry must be one of {', '.join(ENTRIES)}; was {name!r}")
    return name


def _grid_family(path: str, entry: str | None) -> Family:
    from sep_engine.backtest.grid import Grid
    from sep_engine.backtest.market import CostsChange
    from sep_engine.evidence.family import rule_family

    grid = Grid.from_toml(path)
    if entry is not None and grid.entry != (entry,):
        raise ArgumentError(f"--entry {entry}: {path} says when its rules enter; leave it out")
    if grid.costs != (CostsChange(),):
        raise RuleError(f"{path}: costs: a verdict has costs of its own (--costs): use sep sweep")
    if len(grid) > RULES_MAX:
        raise RuleError(
            f"{path}: {len(grid):,} rules; a verdict takes {RULES_MAX:,}: use sep sweep"
        )
    return rule_family(list(grid.rules()), [grid.entry_of(k) for k in range(len(grid))])


def rules_in(path: Path) -> list[Rule]:
    """Return the rule of a JSON file, or those of its list; RuleError names file and path."""
    from sep_engine.signals import Rule

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        documents = found if isinstance(found, list) else [found]
        return [Rule.from_json(document) for document in documents]
    except OSError as error:
        raise RuleError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RuleError(f"{path}: not JSON: {error}") from error
    except RuleError as error:
        raise RuleError(f"{path}: {error}") from error


def _installed_class(name: str) -> Any:
    """Return a class by "module:Class" or by the name of an entry point."""
    from sep_engine.signals.user_code import called

    if ":" in name:
        module, _, attribute = name.partition(":")
        made = called(name, lambda: getattr(importlib.import_module(module), attribute))
    else:
        offered = {one.name: one for one in metadata.entry_points(group=ENTRY_POINTS)}
        if name not in offered:
            known = ", ".join(sorted(offered)) or "none"
            raise ArgumentError(
                f"{name}: a strategy is a .py or .json file, module:Class, or an entry point of "
                f"{ENTRY_POINTS}; installed: {known}"
            )
        made = called(name, offered[name].load)
    if not inspect.isclass(made):
        raise ArgumentError(f"{name}: not a class")
    if not (hasattr(made, "on_bar") or hasattr(made, "prepare")):
        raise ArgumentError(f"{name}: needs on_bar or prepare")
    return made


def _source(made: Any) -> str:
    try:
        return inspect.getsource(made)
    except (OSError, TypeError):
        # No source to hash: the ledger tells the versions of an installed strategy apart by name.
        return f"{made.__module__}:{made.__qualname__}"


def _class_in_file(path: Path) -> Any:
    from sep_engine.signals.user_code import called, class_of

    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loader, module = spec.loader, importlib.util.module_from_spec(spec)
    called(str(path), lambda: loader.exec_module(module))
    return class_of(module, str(path))


def _strategy_family(path: str, made: Any, source: str, entry: Entry) -> Family:
    import numpy as np

    from sep_engine.evidence.family import Family
    from sep_engine.evidence.simulation import Exit
    from sep_engine.signals.strategy import decide
    from sep_engine.signals.user_code import called, check_numbers

    check_numbers(made, path)
    bar_by_bar, at_once = hasattr(made, "on_bar"), hasattr(made, "prepare")

    def stream(market: TimedBars) -> NDArray[np.int8]:
        return called(path, lambda: decide(made(), _bars(market)))

    def columns(market: TimedBars) -> Mapping[str, NDArray[np.generic]]:
        if not at_once:
            return {"direction": stream(market)}
        found = called(path, lambda: made().prepare(_bars(market)))
        if not isinstance(found, Mapping) or "direction" not in found:
            raise ArgumentError(
                f"{path}: prepare must return columns by name, 'direction' among them; "
                f"returned {type(found).__name__}"
            )
        return {str(name): _column(path, str(name), values) for name, values in found.items()}

    def directions(market: TimedBars) -> NDArray[np.int8]:
        found = columns(market)["direction"]
        if found.shape != (len(market),) or not np.isin(found, (-1, 0, 1)).all():
            raise ArgumentError(
                f"{path}: directions must be one of -1, 0, 1 for each of {len(market):,} bars"
            )
        return found.astype(np.int8)[:, None]

    exit_at = Exit(
        made.horizon_bars,
        stop=getattr(made, "stop_ticks", None),
        target=getattr(made, "target_ticks", None),
        entry=entry,
    )
    return Family(
        names=(made.__name__,),
        configurations=(
            {
                "strategy": made.__name__,
                "source": source,
                **({} if entry == "open" else {"entry": entry}),
            },
        ),
        exits=(exit_at,),
        directions=directions,
        columns=lambda number, market: columns(market),
        stream=(lambda number, market: stream(market)) if bar_by_bar and at_once else None,
        window=made.window,
        bar_by_bar=not at_once,
    )


def _column(path: str, name: str, values: object) -> NDArray[np.generic]:
    """Return a column of `prepare` as an array; objects have no bytes to compare."""
    import numpy as np

    try:
        found = np.asarray(values)
    except ValueError as error:
        raise ArgumentError(f"{path}: column {name}: {error}") from error
    if found.dtype.hasobject:
        raise ArgumentError(f"{path}: column {name} must hold numbers, text or times, not objects")
    return found


def _bars(market: TimedBars) -> StrategyBars:
    import numpy as np

    from sep_engine.signals.strategy import StrategyBars

    def prices(ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return ticks.astype(np.float64) * market.tick

    # Arrays of its own: what a strategy writes into them changes nothing for anybody else.
    bars = market.bars
    return StrategyBars(
        time_ns=market.times.copy(),
        open=prices(bars.open),
        high=prices(bars.high),
        low=prices(bars.low),
        close=prices(bars.close),
        gap=market.gap.copy(),
    )
