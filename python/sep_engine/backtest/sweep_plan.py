"""Bars and rules as the compiled sweep takes them: 32-bit ticks, lists that rules point into."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sep_engine import _core
from sep_engine.backtest.grid import DECISION_AXES, EXIT_AXES, Grid
from sep_engine.backtest.market import Costs, PriceSide, Side, spread_parts
from sep_engine.backtest.run import TradedBars
from sep_engine.backtest.trades import ENTRIES, Entry
from sep_engine.errors import ArgumentError
from sep_engine.model.calendar import trading_days
from sep_engine.qfh import BackendName
from sep_engine.qfh._arrays import as_mask
from sep_engine.qfh.calibration import value_ranges, values_between
from sep_engine.signals import Gate, Rule
from sep_engine.signals.rule import DIRECTIONS

# Rows of what `_core.Sweep` writes.
FIGURES: Final = (
    "signals",
    "trades",
    "wins",
    "gross_ticks",
    "net_ticks",
    "day_net_ticks_squared",
    "max_drawdown_ticks",
    "longest_losing_run",
    "held_bars",
    "exits_by_horizon",
    "exits_by_stop",
    "exits_by_target",
    "exits_by_end_of_data",
)
# Members of the compiled WindowMetrics in their order, then the one that comes from prices.
_METRICS: Final = (
    "null_ratio",
    "flip_ratio",
    "rupture_ratio",
    "entropy",
    "coherence",
    "state_coherence",
    "stability",
    "balance",
    "lambda",
    "damped",
    "damped_anchored",
    "path_confidence",
    "path_similarity",
    "qbsa_error",
    "confidence",
    "confidence_low",
    "collapse",
    "flat_ratio",
)
_ENCODINGS: Final = ("moves", "strict_up", "tick_carry", "pip_trunc_carry")
_TICKS_MAX: Final = 2**29
_COST_TICKS_MAX: Final = 2**26

_DecisionKey = tuple[Any, ...]
_ExitKey = tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SweepBars:
    """The columns that `_core.Sweep` is made of, and how many trading days they have."""

    columns: dict[str, Any]
    days: int

    @classmethod
    def of(
        cls,
        bars: TradedBars,
        costs: Costs,
        side: PriceSide,
        counts: NDArray[np.bool_] | None = None,
    ) -> "SweepBars":
        """Return bars with their costs; `counts` as for `made`.

        Raises:
            ArgumentError: prices or costs do not fit, or see `market`.
        """
        own = Side(bars.open_ticks, bars.high_ticks, bars.low_ticks, bars.close_ticks)
        return cls.made(
            own,
            trading_days(bars.times),
            bars.close,
            bars.gaps(),
            tick=float(bars.tick),
            costs=costs,
            side=side,
            counts=counts,
        )

    @classmethod
    def made(
        cls,
        own: Side,
        days: NDArray[np.int64],
        closes: NDArray[np.float64],
        gaps: NDArray[np.bool_],
        *,
        tick: float,
        costs: Costs,
        side: PriceSide,
        counts: NDArray[np.bool_] | None = None,
    ) -> "SweepBars":
        """Return bars from their columns, (n,) each; `days` are numbers of trading days.

        counts: the bars whose decisions count, None for all.

        Raises:
            ArgumentError: as `of`.
        """
        to_bid, to_ask = spread_parts(own.open.size, side=side, costs=costs)
        found, day = np.unique(days, return_inverse=True)
        if np.any(np.diff(day) < 0):
            raise ArgumentError("times of bars must not fall from one trading day to one before")
        prices = {"open": own.open, "high": own.high, "low": own.low, "close": own.close}
        for name, ticks in prices.items():
            if ticks.dtype.kind not in "iu":
                raise TypeError(f"{name} prices must be whole ticks, had dtype {ticks.dtype}")
            _check_below(f"{name} prices", ticks, _TICKS_MAX, "ticks; use a coarser tick")
        offs = {"bid_off": to_bid, "ask_off": to_ask}
        for ticks in (*offs.values(), np.array([costs.per_side_ticks])):
            _check_below("costs", ticks, _COST_TICKS_MAX, "ticks")
        columns: dict[str, Any] = {
            **{name: _narrow(ticks) for name, ticks in {**prices, **offs}.items()},
            "day": _narrow(day),
            "price": np.ascontiguousarray(closes, dtype=np.float64),
            "gap": np.ascontiguousarray(gaps).view(np.uint8),
            "per_side": costs.per_side_ticks,
            "tick": tick,
        }
        if counts is not None:
            columns["counts"] = as_mask("counts", counts, values=own.open.size, value="bar")
        return cls(columns, found.size)

    @property
    def sha256(self) -> str:
        """sha256 of all columns."""
        digest = hashlib.sha256()
        for name, column in sorted(self.columns.items()):
            digest.update(f"{name} ".encode())
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def compiled(self, backend: BackendName, threads: int) -> _core.Sweep:
        """Return the compiled sweep on these bars.

        Raises:
            BackendError: the backend cannot run here.
        """
        return _core.Sweep(**self.columns, backend=backend, threads=threads)


def compiled_rules(rules: Iterable[tuple[Rule, Entry]]) -> _core.SweepRules:
    """Return rules that need not be a grid; those that share a part share its work."""
    decisions: dict[_DecisionKey, int] = {}
    exits: dict[_ExitKey, int] = {}
    places = [
        (
            decisions.setdefault(tuple(getattr(rule, a) for a in DECISION_AXES), len(decisions)),
            exits.setdefault(_exit_key(rule, entry), len(exits)),
        )
        for rule, entry in rules
    ]
    return _compiled(list(decisions), list(exits), np.array(places, dtype=np.int32).reshape(-1, 2))


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers of the rules of a block: rule i of it is first + i // width * pitch + i % width."""

    size: int
    first: int
    width: int
    pitch: int

    def numbers(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the rules at these places in the block."""
        return self.first + places // self.width * self.pitch + places % self.width

    def all(self) -> NDArray[np.int64]:
        """Return (size,) the numbers of its rules."""
        return self.numbers(np.arange(self.size, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Block:
    """The rules of a grid whose decision and exit lie in these ranges of their numbers."""

    decisions: range
    exits: range

    def __len__(self) -> int:
        return len(self.decisions) * len(self.exits)

    def span(self, grid: Grid, costs: int = 0) -> Span:
        """Return the numbers of the rules as `compiled` orders them, at one of the grid's costs."""
        decision = costs * grid.decisions + self.decisions.start
        first = decision * grid.exits + self.exits.start
        return Span(len(self), first, len(self.exits), grid.exits)

    def compiled(self, grid: Grid, decided: _core.SweepDecisions) -> _core.SweepRules:
        """Return the rules, the exit turning faster; `decided` as `Block.decided` makes them."""
        entries, horizons, stops, targets = places(grid, EXIT_AXES, _whole(self.exits))
        exits = np.empty((len(self.exits), 4), dtype=np.int32)
        exits[:, 0] = np.array(grid.horizon_bars)[horizons]
        exits[:, 1] = np.array([stop or 0 for stop in grid.stop_ticks])[stops]
        exits[:, 2] = np.array([target or 0 for target in grid.target_ticks])[targets]
        exits[:, 3] = np.array([ENTRIES.index(entry) for entry in grid.entry])[entries]
        return _core.SweepRules(decisions=decided, exits=exits, rules=None)

    def decided(self, grid: Grid) -> _core.SweepDecisions:
        """Return the decisions, which blocks with the same range have in common."""
        encoding, window, direction, invert, gates = places(
            grid, DECISION_AXES, _whole(self.decisions)
        )
        # A range of percentiles is one of values of a window, so that gates go by window.
        used, pair = np.unique(window * len(grid.gates) + gates, return_inverse=True)
        metrics, ranges, first = _gates(grid, used // len(grid.gates), used % len(grid.gates))
        rows = np.empty((len(self.decisions), 6), dtype=np.int32)
        rows[:, 0] = np.array([_ENCODINGS.index(name) for name in grid.encoding])[encoding]
        rows[:, 1] = np.array([DIRECTIONS.index(name) for name in grid.direction])[direction]
        rows[:, 2] = np.array(grid.invert, dtype=np.int32)[invert]
        rows[:, 3] = np.array(grid.window)[window]
        rows[:, 4] = first[pair]
        rows[:, 5] = np.array([len(choice) for choice in grid.gates])[gates]
        return _core.SweepDecisions(gate_metrics=metrics, gate_ranges=ranges, decisions=rows)


def _gates(
    grid: Grid, windows: NDArray[np.int64], choices: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """Return (g, 2) metrics and (g, 2) ranges of values of these choices of gates at these places
    of windows, and where each choice begins."""
    counts = np.array([len(choice) for choice in grid.gates], dtype=np.int64)
    gates = [gate for choice in grid.gates for gate in choice]
    metrics = np.array(
        [(_METRICS.index(gate.metric), gate.of == "percentile") for gate in gates], dtype=np.int32
    ).reshape(-1, 2)
    ranges = np.array([(gate.low, gate.high) for gate in gates], dtype=np.float64).reshape(-1, 2)
    columns = sorted({gate.column for gate in gates})
    column = np.array([columns.index(gate.column) for gate in gates], dtype=np.int64)

    sizes = counts[choices]
    first = np.cumsum(sizes) - sizes
    # The gates of a choice follow each other in `gates` too.
    within = np.arange(sizes.sum()) - np.repeat(first, sizes)
    flat = np.repeat((np.cumsum(counts) - counts)[choices], sizes) + within
    window = np.repeat(windows, sizes)
    metrics, ranges = metrics[flat], ranges[flat]
    of_percentiles = metrics[:, 1] == 1
    alike = column[flat] * len(grid.window) + window
    for number in np.unique(alike[of_percentiles]).tolist():
        name, length = divmod(number, len(grid.window))
        some = of_percentiles & (alike == number)
        ranges[some] = value_ranges(columns[name], grid.window[length], ranges[some])
    return metrics, ranges, first


def places(
    grid: Grid, axes: tuple[str, ...], numbers: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Return for each axis which choice the combinations of these numbers take; the last axis turns
    fastest."""
    shape = tuple(len(getattr(grid, name)) for name in axes)
    return [np.asarray(chosen) for chosen in np.unravel_index(numbers, shape)]


def _whole(numbers: range) -> NDArray[np.int64]:
    return np.arange(numbers.start, numbers.stop, dtype=np.int64)


def blocks(grid: Grid, *, rules_max: int, decisions_max: int) -> list[Block]:
    """Return the blocks of a grid in the order in which they are swept.

    Exits turn inside decisions, because decisions are kept from one block to the next.
    """
    height = max(1, min(grid.decisions, decisions_max, rules_max))
    width = max(1, min(grid.exits, rules_max // height))
    return [
        Block(
            range(first, min(first + height, grid.decisions)),
            range(left, min(left + width, grid.exits)),
        )
        for first, left in product(range(0, grid.decisions, height), range(0, grid.exits, width))
    ]


def _exit_key(rule: Rule, entry: Entry) -> _ExitKey:
    return (entry, rule.horizon_bars, rule.stop_ticks, rule.target_ticks)


def _compiled(
    decisions: list[_DecisionKey], exits: list[_ExitKey], rules: NDArray[np.int32]
) -> _core.SweepRules:
    metrics: list[tuple[int, int]] = []
    ranges: list[tuple[float, float]] = []
    rows = []
    for encoding, window, direction, invert, gates in decisions:
        first = len(metrics)
        for gate in gates:
            low, high = _value_range(gate, window)
            metrics.append((_METRICS.index(gate.metric), int(gate.of == "percentile")))
            ranges.append((low, high))
        rows.append(
            (
                _ENCODINGS.index(encoding),
                DIRECTIONS.index(direction),
                int(invert),
                window,
                first,
                len(gates),
            )
        )
    leaves = [
        (horizon, stop or 0, target or 0, ENTRIES.index(entry))
        for entry, horizon, stop, target in exits
    ]
    decided = _core.SweepDecisions(
        gate_metrics=np.array(metrics, dtype=np.int32).reshape(-1, 2),
        gate_ranges=np.array(ranges, dtype=np.float64).reshape(-1, 2),
        decisions=np.array(rows, dtype=np.int32).reshape(-1, 6),
    )
    return _core.SweepRules(
        decisions=decided,
        exits=np.array(leaves, dtype=np.int32).reshape(-1, 4),
        rules=np.ascontiguousarray(rules),
    )


def _value_range(gate: Gate, window: int) -> tuple[float, float]:
    """The closed range of values that pass a gate; low > high if none does."""
    if gate.of == "value":
        return gate.low, gate.high
    return values_between(gate.column, window, gate.low, gate.high)


def _narrow(ticks: NDArray[Any]) -> NDArray[np.int32]:
    return np.ascontiguousarray(ticks, dtype=np.int32)


def _check_below(name: str, ticks: NDArray[np.int64], limit: int, unit: str) -> None:
    if ticks.size and max(int(ticks.max()), -int(ticks.min())) >= limit:
        raise ArgumentError(f"{name} must be below {limit} {unit}")
