"""A family of rules: everything that was tried together, and what it decides on any bars."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from sep_engine.backtest.grid import configuration
from sep_engine.backtest.trades import Entry
from sep_engine.errors import ArgumentError
from sep_engine.evidence.causality import Columns
from sep_engine.evidence.market import TimedBars
from sep_engine.evidence.settings import FOLDS
from sep_engine.evidence.simulation import Directions, Exit
from sep_engine.qfh import (
    CHEAP_METRICS,
    BackendName,
    Encoded,
    Encoding,
    RollingMetrics,
    encode,
    rolling,
)
from sep_engine.signals import DEFAULT_RULE, Gate, Rule, RuleEvaluator

_GATES = (
    None,
    Gate("coherence", "percentile", 80.0, 100.0),
    Gate("coherence", "percentile", 95.0, 100.0),
    Gate("entropy", "percentile", 0.0, 20.0),
    Gate("stability", "percentile", 0.0, 20.0),
    Gate("stability", "percentile", 80.0, 100.0),
)
_SHOWN = ("entropy", "coherence", "stability", "balance", "lambda_", "damped")
_HORIZONS = (1, 4, 16)
# Metrics that cost the same together as one of them does.
_TOGETHER = (
    CHEAP_METRICS,
    ("path_confidence", "path_similarity"),
    ("qbsa_error", "confidence", "confidence_low"),
    ("collapse",),
)

_Key = tuple[object, ...]
_ColumnsOf = Callable[[int, TimedBars], Columns]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """K rules that are judged together.

    names: for people, one a rule.
    configurations: JSON objects for the ledger, one a rule.
    exits: one a rule.
    directions: from bars to (n, K) int8; row t uses bars up to t.
    columns: rule number and bars to its (n,) directions as "direction" and everything that the
        rules are made of, for the causality gate.
    stream: rule number and bars to (n,) directions taken one bar at a time; None if there is no
        such form.
    on_gpu: `columns` with their metrics from backend cuda; None if there is no such form.
    window: bars that a decision looks back on, at the most; also the fewest bars less one.
    rules: the rules, if that is what they are: their null worlds are then computed by the sweep.
    bar_by_bar: whether columns are decided one bar after another, which takes time.
    counts: from bars to (n,) bool, the bars whose decisions count; None if all do. The other
        functions have it in what they return.
    """

    names: tuple[str, ...]
    configurations: tuple[Mapping[str, object], ...]
    exits: tuple[Exit, ...]
    directions: Callable[[TimedBars], Directions]
    columns: Callable[[int, TimedBars], Columns]
    stream: Callable[[int, TimedBars], Directions] | None
    window: int
    rules: tuple[Rule, ...] | None = None
    bar_by_bar: bool = False
    on_gpu: Callable[[int, TimedBars], Columns] | None = None
    counts: Callable[[TimedBars], Bools] | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.names), len(self.configurations), len(self.exits)}
        if len(sizes) != 1 or not self.names or len(set(self.names)) != len(self.names):
            raise ArgumentError("a family needs one unique name, configuration and exit a rule")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def horizon(self) -> int:
        """Bars from an entry's open to the end of the longest position."""
        return max(leave.horizon + (leave.entry == "close") for leave in self.exits)

    def decided(self, number: int, market: TimedBars) -> Directions:
        """Return (n,) directions of one rule."""
        if self.rules is None:
            return self.directions(market)[:, number]
        found = _Decider(market).decided(self.rules[number])
        return found if self.counts is None else found * self.counts(market)

    def within(
        self, counts: Callable[[TimedBars], Bools], described: Mapping[str, object]
    ) -> Family:
        """Return the family that decides only where `counts` says so.

        described: what the configurations say of it, so that the ledger tells both apart.
        """
        stream = self.stream

        def inside(all_columns: _ColumnsOf) -> _ColumnsOf:
            def columns(number: int, market: TimedBars) -> Columns:
                found = dict(all_columns(number, market))
                found["direction"] = found["direction"] * counts(market)
                return found

            return columns

        return replace(
            self,
            configurations=tuple({**one, **described} for one in self.configurations),
            directions=lambda market: self.directions(market) * counts(market)[:, None],
            columns=inside(self.columns),
            on_gpu=None if self.on_gpu is None else inside(self.on_gpu),
            stream=None
            if stream is None
            else lambda number, market: stream(number, market) * counts(market),
            counts=counts,
        )

    def folded(self, folds: int) -> Family:
        """Return the family as what a walk-forward of so many folds tries: a choice of its own
        to the ledger, unless it is the usual one."""
        if folds == FOLDS:
            return self
        described = tuple({**one, "folds": folds} for one in self.configurations)
        return replace(self, configurations=described)


def default_rules() -> tuple[Rule, ...]:
    """Return the rules of `sep verdict` without a strategy: directions by gates by horizons.

    The rule that paper trading starts with is the first. Rules differ in what they decide: an
    inverted reversal is momentum, and is not tried twice.
    """
    ways = [("last_bit_reversal", False), ("last_bit_momentum", False)]
    ways += [
        (name, invert)
        for name in ("run_persistence", "balance", "damped")
        for invert in (False, True)
    ]
    rules = [
        Rule(
            direction=direction,
            invert=invert,
            gates=() if gate is None else (gate,),
            horizon_bars=horizon,
            stop_ticks=None,
            units=Decimal(1000),
        )
        for horizon, gate, (direction, invert) in itertools.product(_HORIZONS, _GATES, ways)
    ]
    return (DEFAULT_RULE, *rules)


def rule_name(rule: Rule) -> str:
    """Return a short name that tells rules of a family apart."""
    parts = [rule.direction + (" inverted" if rule.invert else "")]
    parts += [f"{gate.metric} {gate.of} {gate.low:g}..{gate.high:g}" for gate in rule.gates]
    parts.append(f"{rule.horizon_bars} bars")
    if rule.stop_ticks is not None:
        parts.append(f"stop {rule.stop_ticks}")
    if rule.target_ticks is not None:
        parts.append(f"target {rule.target_ticks}")
    if (rule.encoding, rule.window) != ("moves", 64):
        parts.append(f"{rule.encoding} {rule.window}")
    return ", ".join(parts)


def rule_family(rules: Sequence[Rule], entries: Sequence[Entry] | None = None) -> Family:
    """Return rules as a family. Metrics are computed once for each encoding and window.

    entries: one a rule, at which price of the bar after its decision it enters; None is the open.
    """
    entries = ["open"] * len(rules) if entries is None else entries

    def stream(number: int, market: TimedBars) -> Directions:
        evaluator = RuleEvaluator(rules[number], market.tick)
        decided = [
            evaluator.on_bar(float(close), bool(gap)).direction
            for close, gap in zip(market.closes, market.gap, strict=True)
        ]
        return np.array(decided, dtype=np.int8)

    # The causality gate asks for the columns a thousand times: what rules share is found once.
    ways = {_way_key(rule): rule for rule in rules}
    gates = {_gate_key(rule, gate): (rule, gate) for rule in rules for gate in rule.gates}

    return Family(
        names=tuple(
            rule_name(rule) + (", enters at the close" if entry == "close" else "")
            for rule, entry in zip(rules, entries, strict=True)
        ),
        configurations=tuple(
            configuration(rule, entry) for rule, entry in zip(rules, entries, strict=True)
        ),
        exits=tuple(
            Exit(rule.horizon_bars, stop=rule.stop_ticks, target=rule.target_ticks, entry=entry)
            for rule, entry in zip(rules, entries, strict=True)
        ),
        directions=lambda market: _Decider(market).matrix(rules),
        columns=lambda number, market: _Decider(market).columns(rules[number], ways, gates),
        stream=stream,
        window=max(rule.bits_back for rule in rules),
        rules=tuple(rules),
        on_gpu=lambda number, market: _Decider(market, "cuda").columns(rules[number], ways, gates),
    )


def last_bit_reversal(market: TimedBars) -> Directions:
    """Return (n,) directions of the baseline: against every move of the close, without gates."""
    step = np.sign(np.diff(market.bars.close, prepend=market.bars.close[:1]))
    return -step.astype(np.int8)


def _way_key(rule: Rule) -> _Key:
    return ("way", rule.encoding, rule.window, rule.direction)


def _gate_key(rule: Rule, gate: Gate) -> _Key:
    return ("gate", rule.encoding, rule.window, gate.metric, gate.of, gate.low, gate.high)


class _Decider:
    """The rules on one market, with what they share kept."""

    def __init__(self, market: TimedBars, backend: BackendName = "auto") -> None:
        self._market = market
        self._backend = backend
        self._closes = market.closes
        self._kept: dict[tuple[object, ...], npt.NDArray[Any]] = {}
        self._encoded: dict[Encoding, Encoded] = {}
        self._metrics: dict[tuple[Encoding, int, tuple[str, ...]], RollingMetrics] = {}

    def matrix(self, rules: Sequence[Rule]) -> Directions:
        result = np.zeros((len(self._market), len(rules)), dtype=np.int8)
        for number, rule in enumerate(rules):
            result[:, number] = self.decided(rule)
        return result

    def columns(
        self, rule: Rule, ways: Mapping[_Key, Rule], gates: Mapping[_Key, tuple[Rule, Gate]]
    ) -> Columns:
        """The directions of one rule, the ways and gates of all, and the metrics under them."""
        for of in ways.values():
            if len(self._market) > of.window:
                self._way(of)
        for of, gate in gates.values():
            if len(self._market) > of.window:
                self._passes(of, gate)
        named: dict[str, npt.NDArray[np.generic]] = {
            " ".join(map(str, key)): values for key, values in self._kept.items()
        }
        for (encoding, window, together), metrics in self._metrics.items():
            shown = _SHOWN if together == CHEAP_METRICS else together
            for name in shown:
                named[f"{name} {encoding} {window}"] = getattr(metrics, name)
        return {"direction": self.decided(rule), **named}

    def decided(self, rule: Rule) -> Directions:
        if len(self._market) <= rule.window:
            return np.zeros(len(self._market), dtype=np.int8)
        result = self._way(rule)
        for gate in rule.gates:
            result = result * self._passes(rule, gate)
        return -result if rule.invert else result

    def _of(self, rule: Rule, metric: str) -> RollingMetrics:
        together = next(names for names in _TOGETHER if metric in names)
        key = (rule.encoding, rule.window, together)
        if key not in self._metrics:
            m = self._market
            self._metrics[key] = rolling(
                self._closes,
                tick=m.tick,
                window=rule.window,
                encoding=rule.encoding,
                gap=m.gap,
                metrics=together,
                backend=self._backend,
            )
        return self._metrics[key]

    def _way(self, rule: Rule) -> Directions:
        key = _way_key(rule)
        if key not in self._kept:
            m = self._market
            if rule.encoding not in self._encoded:
                self._encoded[rule.encoding] = encode(
                    self._closes, tick=m.tick, encoding=rule.encoding, gap=m.gap
                )
            encoded = self._encoded[rule.encoding]
            # Bars with a bit of their own and a full window; elsewhere nothing is decided.
            at = encoded.index[rule.window - 1 :]
            with_bit = 2 * encoded.bits.astype(np.int8) - 1
            if rule.direction == "last_bit_reversal":
                chosen = -with_bit
            elif rule.direction == "last_bit_momentum":
                chosen = with_bit
            elif rule.direction == "run_persistence":
                same = np.diff(encoded.bits, prepend=encoded.bits[:1]) == 0
                chosen = with_bit * (same & encoded.joined)
            else:
                value = np.nan_to_num(getattr(self._of(rule, rule.direction), rule.direction))
                chosen = np.sign(value[encoded.index]).astype(np.int8)
            result = np.zeros(len(m), dtype=np.int8)
            result[at] = chosen[rule.window - 1 :]
            self._kept[key] = result
        kept: Directions = self._kept[key]
        return kept

    def _passes(self, rule: Rule, gate: Gate) -> npt.NDArray[np.bool_]:
        key = _gate_key(rule, gate)
        if key not in self._kept:
            name = gate.column
            metrics = self._of(rule, name)
            of = ("percentile", rule.encoding, rule.window, name)
            if gate.of == "percentile" and of not in self._kept:
                self._kept[of] = metrics.percentile(name)
            values = self._kept[of] if gate.of == "percentile" else getattr(metrics, name)
            with np.errstate(invalid="ignore"):
                self._kept[key] = (values >= gate.low) & (values <= gate.high)
        kept: npt.NDArray[np.bool_] = self._kept[key]
        return kept
