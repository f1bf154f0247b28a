"""How often a fair coin scores as low: exact for the count metrics, simulated for the others."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sep_engine import _core
from sep_engine._core import CoinDistribution
from sep_engine.errors import ArgumentError

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
SIMULATED_METRICS: Final = (
    "lambda_",
    "damped",
    "damped_anchored",
    "path_confidence",
    "path_similarity",
    "qbsa_error",
    "confidence",
    "confidence_low",
)

_SAME = 2.0**-40  # values closer than this are one atom, as in the exact distributions


@cache
def coin_distribution(metric: str, window: int) -> CoinDistribution:
    """Return the exact distribution of a count metric over `window` fair coin tosses.

    Made once for each metric and window: 0.1 ms at 64 bits, some 0.3 s at 1,024.

    Args:
        metric: one of COUNT_METRICS.
        window: bits, 8 to 1024.

    Raises:
        ArgumentError: another metric, or the window is out of range.
    """
    return CoinDistribution(metric, window)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedDistribution:
    """A metric's values over windows of a simulated fair coin that share no bits.

    Attributes:
        metric: one of SIMULATED_METRICS.
        window: bits.
        seed: of the simulation.
        values: (draws,) float64, sorted.
    """

    metric: str
    window: int
    seed: int
    values: NDArray[np.float64]

    @property
    def draws(self) -> int:
        """Number of windows."""
        return self.values.size

    def percentiles(
        self, values: NDArray[np.float64], tolerance: float = 0.0
    ) -> NDArray[np.float64]:
        """Return 100 P(X <= value + tolerance), (m,) float64 in 0..100; NaN for NaN."""
        below = np.searchsorted(self.values, values + (tolerance + _SAME), side="right")
        return np.where(np.isnan(values), np.nan, below * (100.0 / self.draws))

    def standard_error(self, percentile: float) -> float:
        """Return the standard error of a percentile, in points: at most 0.35 with 20,000 draws.

        The count of draws below a value is binomial.
        """
        share = percentile / 100.0
        return 100.0 * float(np.sqrt(share * (1.0 - share) / self.draws))


@cache
def simulated_distribution(
    metric: str, window: int, *, predictor: str = "markov", draws: int | None = None, seed: int = 0
) -> SimulatedDistribution:
    """Return a metric's distribution over a fair coin, simulated once for each set of arguments.

    The tosses are the bits of the counter-based generator Philox: the same on every machine. Takes
    some 10 to 200 ms; the prediction error up to 4 s, at 1,024 bits.

    Args:
        metric: one of SIMULATED_METRICS.
        window: bits, 8 to 1024.
        predictor: of the prediction error; the other metrics do not depend on it.
        draws: windows, 100 to 1,000,000; by default 20,000, or as many as 2^23 tosses give (4,096
            of the prediction error at 1,024 bits).
        seed: >= 0.

    Raises:
        ArgumentError: another metric, or a number out of range.
    """
    if metric not in SIMULATED_METRICS:
        raise ArgumentError(f"metric must be one of {', '.join(SIMULATED_METRICS)}; was {metric!r}")
    if not 8 <= window <= 1024:
        raise ArgumentError(f"window must be in 8..1024, was {window}")
    # A prediction error looks back on twice the window. The first window is not full: one more.
    stride = 2 * window if metric in ("qbsa_error", "confidence", "confidence_low") else window
    if draws is None:
        draws = 20_000 if stride == window else min(20_000, 2**23 // stride)
    if not 100 <= draws <= 1_000_000 or seed < 0:
        raise ArgumentError(f"draws must be in 100..1000000 and seed >= 0, were {draws}, {seed}")
    roller = _core.Roller(
        tick=1.0,
        window=window,
        stride=stride,
        encoding="moves",
        metrics=[metric],
        predictor=predictor,
        collapse_share=0.6,
        backend="auto",
        threads=0,
    )
    size = stride * draws + 1
    words = np.random.Philox(key=seed).random_raw(size // 64 + 1)
    tosses = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")[:size]
    values = np.empty(draws + 1)
    complete = np.empty(draws + 1, dtype=np.bool_)
    roller.take_bits(tosses, None, {metric: values, "complete": complete}, None)
    return SimulatedDistribution(metric, window, seed, np.sort(values[1:]))
