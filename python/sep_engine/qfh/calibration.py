"""How often a fair coin scores as low: exact, or simulated for what the damped sum decides."""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sep_engine import _core
from sep_engine._core import CoinDistribution
from sep_engine.errors import ArgumentError
from sep_engine.qfh._arrays import as_whole, as_window, one_dimensional

COUNT_METRICS: Final = (
    "null_ratio",
    "flip_ratio",
    "rupture_ratio",
    "entropy",
    "coherence",
    "state_coherence",
    "stability",
    "balance",
)
EXACT_METRICS: Final = (
    *COUNT_METRICS,
    "lambda_",
    "qbsa_error",
    "confidence",
    "confidence_low",
    "collapse",
)
SIMULATED_METRICS: Final = ("damped", "damped_anchored", "path_confidence", "path_similarity")
CALIBRATED_METRICS: Final = (*EXACT_METRICS, *SIMULATED_METRICS)
COLLAPSE_WINDOW_MIN: Final = 32

_LAMBDA_BITS: Final = 20
_SAME = 2.0**-40  # values closer than this are one atom, as in the exact distributions


def coin_distribution(metric: str, window: int) -> CoinDistribution:
    """Return the exact distribution of a metric over `window` fair coin tosses.

    Made once for each metric and window: 0.1 ms at 64 bits, some 0.3 s at 1,024. Lambda is a figure
    of the newest 20 tosses. Whatever predicts a toss is right half the time, so that the
    distribution of prediction errors is binomial for every predictor. `collapse` is that with its
    share of 0.6.

    Args:
        metric: one of EXACT_METRICS.
        window: bits, 8 to 1024; of `collapse` at least 32.

    Raises:
        ArgumentError: another metric, or the window is out of range.
    """
    if not isinstance(metric, str) or metric not in EXACT_METRICS:
        raise ArgumentError(f"metric must be one of {', '.join(EXACT_METRICS)}; was {metric!r}")
    return _made_coin_distribution(metric, as_window(window))


@cache
def _made_coin_distribution(metric: str, window: int) -> CoinDistribution:
    return CoinDistribution(metric, window)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedDistribution:
    """A metric over windows of a simulated fair coin that share no bits.

    Attributes:
        metric: one of SIMULATED_METRICS.
        window: bits.
        seed: of the simulation.
        draws: number of windows.
        atoms: (k,) float64, rising: the smallest value of each atom, less 2^-40.
        cumulative: (k,) float64, the share of windows up to each atom.
    """

    metric: str
    window: int
    seed: int
    draws: int
    atoms: NDArray[np.float64]
    cumulative: NDArray[np.float64]

    def percentile(self, value: float) -> float:
        """Return 100 P(X <= value), in 0..100; NaN for NaN."""
        if math.isnan(value):
            return value
        at = int(np.searchsorted(self.atoms, value, side="right"))
        return 100.0 * float(self.cumulative[at - 1]) if at else 0.0

    def percentiles(
        self, values: NDArray[np.float64], tolerance: float = 0.0
    ) -> NDArray[np.float64]:
        """Return 100 P(X <= value + tolerance), (m,) float64 in 0..100; NaN for NaN.

        Args:
            values: (m,) float64.
        """
        values = one_dimensional("values", values, np.float64)
        at = np.searchsorted(self.atoms, values + tolerance, side="right")
        steps = np.concatenate([[0.0], 100.0 * self.cumulative])
        return np.where(np.isnan(values), np.nan, steps[at])

    def standard_error(self, percentile: float) -> float:
        """Return the standard error of a percentile, in points: at most 0.35 with 20,000 draws.

        The count of draws below a value is binomial.

        Args:
            percentile: in 0..100.
        """
        if not 0.0 <= percentile <= 100.0:
            raise ArgumentError(f"percentile must be in 0..100, was {percentile}")
        share = percentile / 100.0
        return 100.0 * float(np.sqrt(share * (1.0 - share) / self.draws))


def simulated_distribution(
    metric: str, window: int, *, draws: int = 20_000, seed: int = 0
) -> SimulatedDistribution:
    """Return a metric's distribution over a fair coin, simulated once for each set of arguments.

    The tosses are the bits of the counter-based generator Philox, and all backends give the same
    metrics of them: the same on every machine. Takes some 10 to 300 ms.

    Args:
        metric: one of SIMULATED_METRICS.
        window: bits, 8 to 1024.
        draws: windows, 100 to 1,000,000.
        seed: 0 to 2^64 - 1.

    Raises:
        ArgumentError: another metric, or a number out of range.
    """
    if not isinstance(metric, str) or metric not in SIMULATED_METRICS:
        raise ArgumentError(f"metric must be one of {', '.join(SIMULATED_METRICS)}; was {metric!r}")
    return _simulated(
        metric,
        as_window(window),
        as_whole("draws", draws, low=100, high=1_000_000),
        as_whole("seed", seed, low=0, high=2**64 - 1),
    )


@cache
def _simulated(metric: str, window: int, draws: int, seed: int) -> SimulatedDistribution:
    stride = max(window, _LAMBDA_BITS)
    roller = _core.Roller(
        tick=1.0,
        window=window,
        stride=stride,
        encoding="moves",
        metrics=[metric],
        predictor="markov",
        collapse_share=0.6,
        backend="auto",
        threads=0,
    )
    size = stride * draws + 1  # the first window is not full: one more
    words = np.random.Philox(key=seed).random_raw(size // 64 + 1)
    tosses = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")[:size]
    values = np.empty(draws + 1)
    complete = np.empty(draws + 1, dtype=np.bool_)
    roller.take_bits(tosses, None, {metric: values, "complete": complete}, None)
    drawn = np.sort(values[1:])
    first = np.flatnonzero(np.diff(drawn, prepend=-np.inf) >= _SAME)
    cumulative = np.append(first[1:], draws) / draws
    return SimulatedDistribution(metric, window, seed, draws, drawn[first] - _SAME, cumulative)


def distribution(metric: str, window: int) -> CoinDistribution | SimulatedDistribution:
    """Return a metric's distribution over a fair coin, exact where there is one.

    Raises:
        ArgumentError: the metric is none of CALIBRATED_METRICS, or the window is out of range.
    """
    check_calibrated(metric)
    if metric in SIMULATED_METRICS:
        return simulated_distribution(metric, window)
    return coin_distribution(metric, window)


def percentile(metric: str, window: int, value: float) -> float:
    """Return the coin percentile of one value, NaN for NaN.

    Raises:
        ArgumentError: the metric is none of CALIBRATED_METRICS.
    """
    check_calibrated(metric)
    return value if math.isnan(value) else distribution(metric, window).percentile(value)


def check_calibrated(metric: str) -> None:
    """Raise ArgumentError for a metric without a coin percentile."""
    if not isinstance(metric, str) or metric not in CALIBRATED_METRICS:
        known = ", ".join(CALIBRATED_METRICS)
        raise ArgumentError(f"a percentile is known of {known}; not of {metric!r}")


@lru_cache(maxsize=65_536)
def values_between(metric: str, window: int, low: float, high: float) -> tuple[float, float]:
    """Return the closed range of values whose coin percentile lies in low..high, both in 0..100.

    Low is above high if none does. For a window without a gap a value lies in the range exactly
    when its percentile does: the percentile is a rising staircase of the value.
    """
    ((least, most),) = value_ranges(metric, window, np.array([[low, high]])).tolist()
    return least, most


def value_ranges(metric: str, window: int, percentiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (k, 2) what `values_between` gives for each of (k, 2) ranges of percentiles."""
    coin = distribution(metric, window)
    edges = np.concatenate([[-np.inf], coin.atoms, [np.inf]])
    steps = np.concatenate([[0.0], 100.0 * np.asarray(coin.cumulative)])
    first = np.searchsorted(steps, percentiles[:, 0], side="left")
    last = np.searchsorted(steps, percentiles[:, 1], side="right") - 1
    none = first > last
    ranges = np.column_stack([edges[first], np.nextafter(edges[last + 1], -np.inf)])
    ranges[none] = np.inf, -np.inf
    return ranges
