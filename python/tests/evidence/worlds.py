"""Markets and strategies that the tests of the evidence lab share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sep_engine.evidence.causality import Columns, Subject
from sep_engine.evidence.market import BarTicks, TimedBars
from sep_engine.evidence.simulation import Exit, round_trips

HOUR_NS = 3_600_000_000_000


def market(count: int = 700, *, seed: int = 1, reversal: float = 0.0) -> TimedBars:
    """Return hourly bars of a random walk in ticks whose steps turn back with some probability.

    reversal: how much likelier than 1/2 a step goes against the one before.
    """
    rng = np.random.default_rng(seed)
    size = np.rint(40 * np.exp(0.5 * rng.standard_normal(count))).astype(np.int64) + 1
    turns = rng.random(count) < 0.5 + reversal
    sign = np.cumprod(np.where(turns, -1, 1))
    closes = 200_000 + np.cumsum(sign * size)
    opens = np.concatenate(([200_000], closes[:-1]))
    high = np.maximum(opens, closes) + rng.integers(0, 30, count)
    low = np.minimum(opens, closes) - rng.integers(0, 30, count)
    times = 1_483_311_600_000_000_000 + HOUR_NS * np.arange(count)
    return TimedBars(times, BarTicks(opens, high, low, closes), np.zeros(count, dtype=bool), 1e-5)


def rolling_mean(x: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of the last `width` values, NaN before there are as many."""
    out = np.full(x.size, np.nan)
    if x.size >= width:
        out[width - 1 :] = np.lib.stride_tricks.sliding_window_view(x, width).mean(axis=1)
    return out


def rolling_std(x: np.ndarray, width: int) -> np.ndarray:
    out = np.full(x.size, np.nan)
    if x.size >= width:
        out[width - 1 :] = np.lib.stride_tricks.sliding_window_view(x, width).std(axis=1)
    return out


def decide(score: np.ndarray, threshold: float | np.ndarray = 0.0) -> np.ndarray:
    """Return 1 above the threshold, -1 below its negative, 0 between and where unknown."""
    with np.errstate(invalid="ignore"):
        return (score > threshold).astype(np.int8) - (score < -threshold).astype(np.int8)


def subject(
    name: str,
    score: Callable[[TimedBars], np.ndarray],
    *,
    threshold: float = 0.0,
    stop: int | None = None,
    tolerance: float = 0.0,
) -> Subject:
    """Return a strategy that follows the sign of a score."""

    def columns(m: TimedBars) -> Columns:
        value = score(m)
        return {"score": value, "direction": decide(value, threshold)}

    return Subject(
        name,
        columns,
        trades=lambda m: round_trips(m.bars, decide(score(m), threshold), Exit(3, stop=stop)),
        tolerance=tolerance,
    )
