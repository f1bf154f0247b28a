"""The same work as others would do it, as fast as their tools allow with reasonable care.

Each gives what the engine gives, which `bench_python.py` checks before it measures.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
Columns = NDArray[np.float32]
LAMBDA_BITS = 20


def n_log2_n(size: int) -> NDArray[np.float64]:
    n = np.arange(size, dtype=np.float64)
    return n * np.log2(np.maximum(n, 1.0))


def rolling_numpy(bits: Bits, window: int) -> Columns:
    """Ten metrics of every full window, (10, n - window + 1), by running sums."""
    g = n_log2_n(window)
    total = window - 1
    up = bits[1:] & bits[:-1]
    flip = bits[1:] ^ bits[:-1]

    def counts(values: Bits, size: int) -> NDArray[np.int64]:
        sums = np.concatenate(([0], np.cumsum(values, dtype=np.int64)))
        return sums[size:] - sums[:-size]

    n11, flips = counts(up, total), counts(flip, total)
    n00 = total - n11 - flips
    rising = (bits[1:] > bits[:-1]).view(np.uint8)
    n01 = counts(rising, total)
    n10 = flips - n01
    entropy = (g[total] - (g[n00] + g[n11] + g[flips])) / (total * math.log2(3))
    known = g[n00 + n01] + g[n10 + n11] - (g[n00] + g[n11] + g[n01] + g[n10])
    coherence = 1.0 - np.clip(known / total, 0.0, 1.0)

    pairs = LAMBDA_BITS - 1
    f20, u20 = counts(flip, pairs)[-len(n11) :], counts(up, pairs)[-len(n11) :]
    r20 = counts(rising, pairs)[-len(n11) :]
    z20 = pairs - f20 - u20
    d20 = f20 - r20
    h20 = (g[pairs] - (g[z20] + g[u20] + g[f20])) / (pairs * math.log2(3))
    k20 = g[z20 + r20] + g[d20 + u20] - (g[z20] + g[u20] + g[r20] + g[d20])
    decay = np.clip(0.3 * h20 + 0.2 * np.clip(k20 / pairs, 0.0, 1.0), 0.01, 1.0)
    damped = np.zeros(len(n11))
    factor = np.ones(len(n11))
    step = np.exp(-decay)
    signs = bits.astype(np.float64) * 2.0 - 1.0
    for k in range(window):
        newest = len(bits) - k
        damped += signs[newest - len(n11) : newest] * factor
        factor *= step
    columns = (
        *(n00 / total, flips / total, n11 / total, entropy, coherence, 1.0 - entropy),
        *(1.0 - flips / total, (n11 - n00) / total, decay, damped),
    )
    return np.array(columns, dtype=np.float32)


def _roll(bits: Any, window: int, g: Any, out: Any) -> None:
    total = window - 1
    pairs = 19
    log2_3 = math.log2(3.0)
    n = np.zeros(4, dtype=np.int64)
    m = np.zeros(4, dtype=np.int64)
    for t in range(len(bits)):
        if t > 0:
            n[2 * bits[t - 1] + bits[t]] += 1
            m[2 * bits[t - 1] + bits[t]] += 1
        if t > total:
            n[2 * bits[t - window] + bits[t - window + 1]] -= 1
        if t > pairs:
            m[2 * bits[t - 20] + bits[t - 19]] -= 1
        if t < total:
            continue
        i = t - total
        flips = n[1] + n[2]
        h = (g[total] - (g[n[0]] + g[n[3]] + g[flips])) / (total * log2_3)
        known = g[n[0] + n[1]] + g[n[2] + n[3]] - (g[n[0]] + g[n[3]] + g[n[1]] + g[n[2]])
        h20 = (g[pairs] - (g[m[0]] + g[m[3]] + g[m[1] + m[2]])) / (pairs * log2_3)
        k20 = g[m[0] + m[1]] + g[m[2] + m[3]] - (g[m[0]] + g[m[3]] + g[m[1]] + g[m[2]])
        decay = 0.3 * h20 + 0.2 * min(max(k20 / pairs, 0.0), 1.0)
        decay = min(max(decay, 0.01), 1.0)
        step = math.exp(-decay)
        value = 0.0
        for k in range(window - 1, -1, -1):  # Horner's rule
            value = value * step + (2.0 * bits[t - k] - 1.0)
        out[0, i] = n[0] / total
        out[1, i] = flips / total
        out[2, i] = n[3] / total
        out[3, i] = h
        out[4, i] = 1.0 - min(max(known / total, 0.0), 1.0)
        out[5, i] = 1.0 - h
        out[6, i] = 1.0 - flips / total
        out[7, i] = (n[3] - n[0]) / total
        out[8, i] = decay
        out[9, i] = value


@functools.cache
def compiled() -> Callable[[Bits, int, NDArray[np.float64], Columns], None]:
    """`_roll` by Numba.

    Raises:
        ModuleNotFoundError: Numba is not installed.
    """
    import numba

    made: Callable[[Bits, int, NDArray[np.float64], Columns], None]
    made = numba.njit(cache=False, fastmath=True)(_roll)
    return made


def rolling_numba(bits: Bits, window: int) -> Columns:
    """The same, one window after the other with running counts, compiled."""
    out = np.empty((10, len(bits) - window + 1), dtype=np.float32)
    compiled()(bits, window, n_log2_n(max(window, LAMBDA_BITS)), out)
    return out
