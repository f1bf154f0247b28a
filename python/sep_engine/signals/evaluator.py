"""A rule at work: one decision for each bar, from prices up to that bar only.

The default is HOLD, direction 0, with the reason. A decision needs a full window, a bit that came
with this very bar (at a close that did not move nothing is new) and every gate passed.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sep_engine.errors import ArgumentError
from sep_engine.qfh import (
    CHEAP_METRICS,
    COUNT_METRICS,
    METRICS,
    Stream,
    StreamMetrics,
    encode,
    rolling,
)
from sep_engine.qfh.calibration import distribution
from sep_engine.signals.rule import Gate, Rule

SELL, HOLD, BUY = -1, 0, 1


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule says at the end of a bar.

    Attributes:
        direction: 1 buy, -1 sell, 0 hold.
        reason: one line for a person.
        metrics: raw values by name, of the cheap metrics and of those that the rule's gates look
            at; None where there is none yet, or a gap took it.
        percentiles: coin percentiles, 0..100, of the count metrics and of those that gates look at
            by percentile; None likewise.
    """

    direction: int
    reason: str
    metrics: dict[str, float | None]
    percentiles: dict[str, float | None]


class RuleEvaluator:
    """A rule fed with one complete bar after another.

    A bar costs the metrics that its gates ask for and no others: the path metrics take time in
    proportion to the window.

    Args:
        rule: what decides.
        tick: the grid of the closes to come, > 0.
    """

    def __init__(self, rule: Rule, tick: float) -> None:
        self.rule = rule
        self.tick = float(tick)
        asked = (*CHEAP_METRICS, *rule.columns)
        self._metrics = tuple(name for name in METRICS if name in asked)
        by_percentile = [gate.column for gate in rule.gates if gate.of == "percentile"]
        self._percentiles = tuple(dict.fromkeys([*COUNT_METRICS, *by_percentile]))
        for name in by_percentile:
            distribution(name, rule.window)  # made now: the first bar does not wait for it
        self._stream = Stream(
            tick=self.tick, window=rule.window, encoding=rule.encoding, metrics=self._metrics
        )
        self._bits_seen = 0

    def on_bar(self, close: float, gap: bool = False) -> Decision:
        """Return the decision at the end of the bar that closed at `close`.

        gap: bars are missing just before this one while the market was open.

        Raises:
            ArgumentError: the close is not finite, not > 0 or off the tick. The state is then as
                it was.
        """
        now = self._stream.update(close, gap)
        is_new = now.bits_seen > self._bits_seen
        self._bits_seen = now.bits_seen
        metrics = {_spoken(name): _number(getattr(now, name)) for name in self._metrics}
        percentiles = {_spoken(name): _number(now.percentile(name)) for name in self._percentiles}
        direction, reason = self._decide(now, is_new=is_new)
        return Decision(direction, reason, metrics, percentiles)

    def pass_over(self, close: float, gap: bool = False) -> None:
        """Take a bar (`close`, `gap`) as `on_bar` does, without a decision: old ones need none.

        Raises:
            ArgumentError: as `on_bar`.
        """
        self._bits_seen = self._stream.update(close, gap).bits_seen

    def snapshot(self) -> bytes:
        """Return the state of the metrics, for `restore` on an evaluator of the same rule."""
        return self._stream.snapshot()

    def restore(self, snapshot: bytes) -> None:
        """Go on where `snapshot` was taken.

        Raises:
            ArgumentError: the bytes are no snapshot, or one of another window, encoding or tick, or
                of other metrics.
        """
        stream = Stream.restore(snapshot)
        found = (stream.window, stream.encoding, stream.tick)
        needed = (self.rule.window, self.rule.encoding, self.tick)
        if found != needed:
            raise ArgumentError(
                f"snapshot must be of window, encoding and tick {needed}, was of {found}"
            )
        if _computed(stream) != _computed(self._stream):
            raise ArgumentError(
                f"snapshot must be of the metrics {_computed(self._stream)}, "
                f"was of {_computed(stream)}"
            )
        self._stream = stream
        self._bits_seen = stream.metrics.bits_seen

    def _decide(self, now: StreamMetrics, *, is_new: bool) -> tuple[int, str]:
        rule = self.rule
        if now.bits_seen < rule.window:
            moves = "moves" if rule.encoding == "moves" else "bits"
            return HOLD, f"window not full: {now.bits_seen} of {rule.window} {moves}"
        if not is_new:
            return HOLD, "the close did not move: no new bit"
        passed = []
        for gate in rule.gates:
            if gate.of == "percentile":
                value, label = now.percentile(gate.column), f"{gate.metric} percentile"
            else:
                value, label = getattr(now, gate.column), gate.metric
            if math.isnan(value):
                return HOLD, f"{label} unknown: {self._why_unknown(now, gate)}"
            if not gate.passes(value):
                return HOLD, f"{label} {value:.4g} outside {gate.low:g}..{gate.high:g}"
            passed.append(f"{label} {value:.4g} in {gate.low:g}..{gate.high:g}")
        direction, why = self._direction(now)
        if direction and rule.invert:
            direction, why = -direction, f"{why}, inverted"
        return direction, "; ".join([why, *passed])

    def _why_unknown(self, now: StreamMetrics, gate: Gate) -> str:
        needed = self.rule.bits_needed(gate.metric)
        if now.bits_seen < needed:
            return f"{now.bits_seen} of {needed} bits seen"
        return "a gap lies in the window"

    def _direction(self, now: StreamMetrics) -> tuple[int, str]:
        up_or_down = "up" if now.last_bit else "down"
        with_bit = BUY if now.last_bit else SELL
        match self.rule.direction:
            case "last_bit_reversal":
                return -with_bit, f"last bit {up_or_down}, reversal"
            case "last_bit_momentum":
                return with_bit, f"last bit {up_or_down}, momentum"
            case "run_persistence":
                if now.run_length < 2:
                    return HOLD, "no run: the newest two bits differ or a gap parts them"
                return with_bit, f"run of {now.run_length} bits {up_or_down}"
            case name:
                value = getattr(now, name)
                if math.isnan(value):
                    return HOLD, f"{name} unknown: a gap lies in the window"
                if value == 0:
                    return HOLD, f"{name} is 0: no direction"
                return (BUY if value > 0 else SELL), f"{name} {value:.4g}"


def directions(
    rule: Rule,
    closes: NDArray[np.float64],
    *,
    tick: float,
    gaps: NDArray[np.bool_] | None = None,
) -> NDArray[np.int8]:
    """Return the direction of every bar at once: (n,) int8, equal to `RuleEvaluator` bar by bar.

    Args:
        rule: what decides.
        closes: (n,) float64 as prices are for `qfh.rolling`.
        tick: their grid, > 0.
        gaps: (n,) bool, bars are missing just before; None for none.

    Raises:
        ArgumentError: a close breaks a rule of `qfh.rolling`.
    """
    result = np.zeros(closes.shape, dtype=np.int8)
    if closes.size <= rule.window:
        return result
    encoded = encode(closes, tick=tick, encoding=rule.encoding, gap=gaps)
    metrics = rolling(
        closes,
        tick=tick,
        window=rule.window,
        encoding=rule.encoding,
        gap=gaps,
        metrics=rule.columns,
    )
    at = encoded.index[rule.window - 1 :]  # bars with a bit of their own and a full window
    bits = encoded.bits[rule.window - 1 :]

    with_bit = np.where(bits == 1, BUY, SELL).astype(np.int8)
    match rule.direction:
        case "last_bit_reversal":
            chosen = -with_bit
        case "last_bit_momentum":
            chosen = with_bit
        case "run_persistence":
            same = np.diff(encoded.bits, prepend=encoded.bits[:1]) == 0
            in_run = (same & encoded.joined)[rule.window - 1 :]
            chosen = np.where(in_run, with_bit, HOLD).astype(np.int8)
        case name:
            value = getattr(metrics, name)[at]
            chosen = np.where(np.isnan(value), 0.0, np.sign(value)).astype(np.int8)
    if rule.invert:
        chosen = -chosen
    for gate in rule.gates:
        by_percentile = gate.of == "percentile"
        values = metrics.percentile(gate.column) if by_percentile else metrics.columns[gate.column]
        values = values[at]
        chosen = np.where((values >= gate.low) & (values <= gate.high), chosen, HOLD)
    result[at] = chosen
    return result


def _computed(stream: Stream) -> str:
    return (
        f"{', '.join(stream.computed)} (predictor {stream.predictor}, "
        f"collapse share {stream.collapse_share:g})"
    )


def _spoken(column: str) -> str:
    return "lambda" if column == "lambda_" else column


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
