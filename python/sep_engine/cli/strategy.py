"""From the --strategy option to a family of rules."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sep_engine.errors import ArgumentError, RuleError, SepError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sep_engine.evidence.family import Family
    from sep_engine.evidence.market import Market
    from sep_engine.signals.strategy import StrategyBars


def family_of(path: Path | None) -> Family:
    """Return the default rules, or those of a .json file (one or a list), or a .py strategy."""
    from sep_engine.evidence.family import default_rules, rule_family

    if path is None:
        return rule_family(default_rules())
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file")
    if path.suffix == ".json":
        return rule_family(_rules(path))
    if path.suffix == ".py":
        return _strategy_family(path)
    raise ArgumentError(f"{path}: a strategy is a .py or a .json file")


def _rules(path: Path) -> list[Any]:
    from sep_engine.signals import Rule

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        documents = found if isinstance(found, list) else [found]
        return [Rule.from_json(document) for document in documents]
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RuleError(f"{path}: not JSON: {error}") from error
    except RuleError as error:
        raise RuleError(f"{path}: {error}") from error


def _strategy_class(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        raise ArgumentError(f"{path}: {type(error).__name__}: {error}") from error
    classes = [
        found
        for _, found in inspect.getmembers(module, inspect.isclass)
        if found.__module__ == path.stem and (hasattr(found, "on_bar") or hasattr(found, "prepare"))
    ]
    if len(classes) != 1:
        raise ArgumentError(f"{path}: needs one class with on_bar or prepare, has {len(classes)}")
    for name in ("horizon_bars", "window"):
        if not isinstance(getattr(classes[0], name, None), int):
            raise ArgumentError(f"{path}: {classes[0].__name__}.{name} must be a whole number")
    return classes[0]


def _strategy_family(path: Path) -> Family:
    import numpy as np

    from sep_engine.evidence.family import Family
    from sep_engine.evidence.simulation import Exit
    from sep_engine.signals.strategy import decide

    made = _strategy_class(path)
    bar_by_bar, at_once = hasattr(made, "on_bar"), hasattr(made, "prepare")

    def stream(market: Market) -> NDArray[np.int8]:
        found = _called(path, lambda: decide(made(), _bars(market)))
        return cast("NDArray[np.int8]", found)

    def columns(market: Market) -> Mapping[str, NDArray[np.generic]]:
        if not at_once:
            return {"direction": stream(market)}
        found = dict(_called(path, lambda: made().prepare(_bars(market))))
        if "direction" not in found:
            raise ArgumentError(f"{path}: prepare must return a column 'direction'")
        return found

    def directions(market: Market) -> NDArray[np.int8]:
        found = np.asarray(columns(market)["direction"])
        if found.shape != (len(market),) or not np.isin(found, (-1, 0, 1)).all():
            raise ArgumentError(f"{path}: directions must be one of -1, 0, 1 for each bar")
        return found.astype(np.int8)[:, None]

    exit_at = Exit(
        made.horizon_bars,
        stop=getattr(made, "stop_ticks", None),
        target=getattr(made, "target_ticks", None),
    )
    return Family(
        names=(made.__name__,),
        configurations=({"strategy": made.__name__, "source": path.read_text("utf-8")},),
        exits=(exit_at,),
        directions=directions,
        columns=lambda number, market: columns(market),
        stream=(lambda number, market: stream(market)) if bar_by_bar and at_once else None,
        window=made.window,
    )


def _bars(market: Market) -> StrategyBars:
    import numpy as np

    from sep_engine.signals.strategy import StrategyBars

    def prices(ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return ticks.astype(np.float64) * market.tick

    bars = market.bars
    return StrategyBars(
        time_ns=market.times,
        open=prices(bars.open),
        high=prices(bars.high),
        low=prices(bars.low),
        close=prices(bars.close),
        gap=market.gap,
    )


def _called(path: Path, call: Any) -> Any:
    try:
        return call()
    except SepError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise ArgumentError(f"{path}: {type(error).__name__}: {error}") from error
