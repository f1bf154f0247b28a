"""The metrics of the newest bits at every price."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sep_engine import _core
from sep_engine.qfh._arrays import as_bits, as_gap, as_prices, as_window
from sep_engine.qfh.bits import Encoding
from sep_engine.qfh.calibration import coin_distribution

BackendName = Literal["auto", "scalar", "cuda"]


@dataclass(frozen=True, slots=True, eq=False)
class RollingMetrics:
    """Metrics of the newest `window` bits; index k belongs to price k (or bit k).

    All arrays are (n,) float64, except `complete`. NaN until the window is full, and where a gap
    leaves too little: the count metrics need 3/4 of the transitions, `lambda_` the newest 20 bits
    without a gap, `damped` and `damped_anchored` that and a window without a gap.

    Attributes:
        null_ratio, flip_ratio, rupture_ratio: shares of the pairs 00, (01 or 10), 11; 0..1.
        entropy: of the three states, over log2 3; 0..1.
        coherence: 1 minus the entropy in bits of the next bit given this one; 0..1.
        state_coherence: 1 - entropy.
        stability: 1 - flip_ratio.
        balance: rupture_ratio - null_ratio; -1..1.
        lambda_: decay rate from the newest 20 bits; 0.01..1.
        damped: sum of +1 and -1 for bits 1 and 0, weighted e^(-lambda k), k = 0 the newest.
        damped_anchored: the same of (bit - newest bit). Its sign is fixed by the newest bit, so it
            is never a direction.
        complete: (n,) bool, the window is full and has no gap in it.
        flat_ratio: share of the newest `window` prices that did not move; None for bits.
    """

    window: int
    encoding: Encoding | None
    null_ratio: NDArray[np.float64]
    flip_ratio: NDArray[np.float64]
    rupture_ratio: NDArray[np.float64]
    entropy: NDArray[np.float64]
    coherence: NDArray[np.float64]
    state_coherence: NDArray[np.float64]
    stability: NDArray[np.float64]
    balance: NDArray[np.float64]
    lambda_: NDArray[np.float64]
    damped: NDArray[np.float64]
    damped_anchored: NDArray[np.float64]
    complete: NDArray[np.bool_]
    flat_ratio: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.complete)

    @property
    def index(self) -> NDArray[np.int64]:
        """(n,) int64, the price (or bit) that each value belongs to."""
        return np.arange(len(self), dtype=np.int64)

    def percentile(self, name: str) -> NDArray[np.float64]:
        """Return 100 P(X <= value) under a fair coin, (n,) float64 in 0..100.

        NaN where the window is not full or has a gap, and everywhere for `strict_up`, whose bits
        are no fair coin even when prices are.

        Args:
            name: null_ratio, flip_ratio, rupture_ratio, entropy, coherence, state_coherence,
                stability or balance.

        Raises:
            ArgumentError: another name.
        """
        coin = coin_distribution(name, self.window)
        if self.encoding == "strict_up":
            return np.full(len(self), np.nan)
        return coin.percentiles(getattr(self, name), self.complete)


def rolling(
    prices: ArrayLike,
    *,
    tick: float,
    window: int = 64,
    encoding: Encoding = "moves",
    gap: ArrayLike | None = None,
    backend: BackendName = "auto",
) -> RollingMetrics:
    """Return the metrics of the newest `window` bits at every price.

    At a price that gives no bit (`moves`, equal price) the metrics stay as they were. Everything
    uses prices up to that one only.

    Args:
        prices: (n,) float64, oldest first, finite, > 0, multiples of `tick` within 1e-3 of it.
        tick: the price step, > 0. Of a mid series: half the quote's tick.
        window: bits, 8 to 1024; n must be at least window + 1.
        encoding: `moves` or `strict_up`, as in `encode`.
        gap: (n,) bool, something is missing before this price; the transition into its bit is then
            not valid.
        backend: `auto` is the fastest on this machine's processor. A backend that is named and
            cannot run here is an error, never replaced. All give the same bytes.

    Raises:
        ArgumentError: a rule is broken; the message names the argument and the first bad row.
        TypeError: an array has another dtype.
        BackendError: the named backend cannot run here.
    """
    array = as_prices(prices)
    size = as_window(window, values=array.size, needed=window + 1, values_name="prices")
    results = _core.rolling(array, float(tick), size, encoding, as_gap(gap), backend)
    return RollingMetrics(window=size, encoding=encoding, **results)


def rolling_bits(
    bits: ArrayLike,
    *,
    window: int = 64,
    gap: ArrayLike | None = None,
    backend: BackendName = "auto",
) -> RollingMetrics:
    """Return the metrics of the newest `window` bits at every bit.

    Args:
        bits: (n,) uint8 or bool, 0 or 1, oldest first, n >= window.
        window: bits, 8 to 1024.
        gap: (n,) bool, the transition into this bit is not valid.
        backend: as in `rolling`.

    Raises:
        ArgumentError: a rule is broken; the message names the argument and the first bad row.
        TypeError: an array has another dtype.
        BackendError: the named backend cannot run here.
    """
    array = as_bits(bits)
    size = as_window(window, values=array.size, needed=window, values_name="bits")
    results = _core.rolling_bits(array, size, as_gap(gap), backend)
    return RollingMetrics(window=size, encoding=None, **results)
