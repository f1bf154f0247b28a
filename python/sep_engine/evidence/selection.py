"""What choosing the best of many does to a figure: SPA, StepM and the probability of overfitting.

Input is a matrix of gains, (T, K) float64: net P&L of K rules in T periods (days, not bars), more
is better. A rule that never trades is a column of zeros and is never found to be good. Every test
looks at columns divided by their long-run standard deviation, so that one rule with large bets
cannot hide the others.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from sep_engine.errors import ArgumentError
from sep_engine.evidence.surrogates import block_indices

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """Hansen's test that no rule of the family gains anything.

    `lower`, `consistent` and `upper` are its three p-values, (1 + #) / (B + 1); `statistic` is
    sqrt(T) times the largest standardised mean and `best` its column.
    """

    lower: float
    consistent: float
    upper: float
    statistic: float
    best: int


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Combinatorially symmetric cross-validation of the choice of the best rule.

    `probability` is the share of splits whose in-sample best comes out in the lower half out of
    sample: rank stability, not profit. `out_of_sample` (splits,) holds the Sharpe ratio per period
    that the chosen rule had out of sample.
    """

    probability: float
    logits: Floats
    out_of_sample: Floats


def bootstrap_rows(periods: int, *, draws: int, block: float, seed: int) -> Ints:
    """Return (draws, periods) row numbers: a stationary bootstrap, row d from surrogate d."""
    return np.stack([block_indices(periods, block=block, seed=seed, index=d) for d in range(draws)])


def long_run_deviation(gains: npt.ArrayLike, *, block: float) -> Floats:
    """Return (K,) long-run standard deviations per period, as the stationary bootstrap sees them.

    Autocovariances come from one FFT: O(T log T) where the plain double loop is O(T^2).

    Source: Politis and Romano (1994), "The stationary bootstrap", equation (9).
    """
    d = _matrix(gains)
    n = d.shape[0]
    centred = d - d.mean(axis=0)
    size = fft.next_fast_len(2 * n, real=True)
    spectrum = fft.rfft(centred, size, axis=0)
    covariance = fft.irfft(np.abs(spectrum) ** 2, size, axis=0)[:n] / n
    variance = np.maximum(_weights(n, block) @ covariance, 0)
    scale = centred.std(axis=0)
    return np.where(variance > 1e-12 * scale**2, np.sqrt(variance), 0.0)


def _weights(periods: int, block: float) -> Floats:
    """(T,) what the autocovariance of each lag counts in the long-run variance."""
    lag = np.arange(periods)
    keep = 1 - 1 / block
    weight = 2 * ((1 - lag / periods) * keep**lag + lag / periods * keep ** (periods - lag))
    weight[0] = 1
    return np.asarray(weight)


def _seen_share(periods: int, block: float) -> float:
    """The share of its long-run variance that white noise shows around its own mean.

    Around the true mean the autocovariance at lag l is on average 1 for l = 0 and 0 else; taking
    off the mean of T values takes (T - l) / T^2 off each.
    """
    lag = np.arange(periods)
    expected = np.where(lag == 0, 1.0, 0.0) - (periods - lag) / periods**2
    return float(_weights(periods, block) @ expected)


def superior_ability(
    gains: npt.ArrayLike, *, rows: Ints, block: float, small_sample: bool = True
) -> SuperiorAbility:
    """Return Hansen's test of superior predictive ability against gaining nothing.

    Args:
        gains: (T, K).
        rows: (B, T) from `bootstrap_rows`.
        block: the mean block length that `rows` was made with.
        small_sample: allow for the long-run deviation being estimated from some T / block
            independent values, as Student's t does, and around their own mean, which makes it too
            small; without it the test rejects too often on a few dozen days.

    Source: Hansen (2005), "A test for superior predictive ability".
    """
    scaled, active = _standardised(gains, block=block)
    if not active.any():
        return SuperiorAbility(1.0, 1.0, 1.0, 0.0, 0)
    n = scaled.shape[0]
    mean = np.where(active, scaled.mean(axis=0), -np.inf)
    best = int(mean.argmax())
    simulated = _bootstrap_means(scaled[:, active], rows)
    centre = mean[active]
    bound = -math.sqrt(2 * math.log(math.log(n)) / n) if n > 2 else 0.0
    statistic = float(mean[best]) * math.sqrt(n)
    reached = _allowed(statistic, n, block) if small_sample else statistic
    p_values = []
    for recentred in (
        np.maximum(centre, 0),
        np.where(centre >= bound, centre, 0.0),
        centre,
    ):
        largest = (simulated - recentred).max(axis=1) * math.sqrt(n)
        p_values.append((1 + int((largest >= reached).sum())) / (len(rows) + 1))
    lower, consistent, upper = p_values
    return SuperiorAbility(lower, consistent, upper, statistic, best)


def survivors(
    gains: npt.ArrayLike,
    *,
    rows: Ints,
    block: float,
    level: float = 0.05,
    small_sample: bool = True,
) -> tuple[int, ...]:
    """Return the columns that gain something with familywise error `level`, ascending.

    Rules above the critical value of the largest standardised mean are taken out, and the rest is
    tested again, until none is above it.

    Source: Romano and Wolf (2005), "Stepwise multiple testing as formalized data snooping".
    """
    scaled, active = _standardised(gains, block=block)
    mean = scaled.mean(axis=0)
    root = math.sqrt(len(scaled))
    reached = _allowed(mean * root, len(scaled), block) if small_sample else mean * root
    left = np.flatnonzero(active)
    centred = _bootstrap_means(scaled[:, left], rows) - mean[left]
    found: list[int] = []
    while left.size:
        critical = root * float(np.quantile(centred.max(axis=1), 1 - level, method="higher"))
        above = reached[left] > critical
        if not above.any():
            break
        found.extend(left[above].tolist())
        left, centred = left[~above], centred[:, ~above]
    return tuple(sorted(found))


def overfitting(gains: npt.ArrayLike, *, blocks: int = 16) -> Overfitting:
    """Return the probability of backtest overfitting over all C(blocks, blocks/2) halves.

    Rules are ranked by Sharpe ratio; ties get their mean rank; a rule without variance has ratio 0.

    Args:
        gains: (T, K), T >= 2 * blocks, K >= 2.
        blocks: even, 2..20.

    Source: Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest
    overfitting".
    """
    d = _matrix(gains)
    if blocks % 2 or not 2 <= blocks <= 20 or d.shape[0] < 2 * blocks or d.shape[1] < 2:
        raise ArgumentError(
            f"blocks must be even, 2..20, with T >= 2 * blocks and K >= 2: was {blocks}, {d.shape}"
        )
    edges = [part[0] for part in np.array_split(np.arange(d.shape[0]), blocks)]
    sums = np.add.reduceat(d, edges, axis=0)
    squares = np.add.reduceat(d**2, edges, axis=0)
    counts = np.diff([*edges, d.shape[0]])
    halves = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, chosen in zip(halves, itertools.combinations(range(blocks), blocks // 2), strict=True):
        row[list(chosen)] = 1
    logits, ratios = [], []
    for some in np.array_split(halves, max(1, halves.size // blocks * d.shape[1] // 2_000_000)):
        inside = _sharpe(some @ sums, some @ squares, (some @ counts)[:, None])
        rest = 1 - some
        outside = _sharpe(rest @ sums, rest @ squares, (rest @ counts)[:, None])
        own = np.take_along_axis(outside, inside.argmax(axis=1)[:, None], axis=1)
        rank = (outside < own).sum(axis=1) + ((outside == own).sum(axis=1) + 1) / 2
        share = rank / (d.shape[1] + 1)
        logits.append(np.log(share / (1 - share)))
        ratios.append(own[:, 0])
    logit = np.concatenate(logits)
    return Overfitting(float((logit <= 0).mean()), logit, np.concatenate(ratios))


def mean_correlation(gains: npt.ArrayLike) -> float:
    """Return the mean correlation between different columns that vary; 0 for fewer than two."""
    d = _matrix(gains)
    deviation = d.std(axis=0)
    z = (d - d.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    k = z.shape[1]
    if k < 2:
        return 0.0
    # The variance of the sum of k standardised columns is k plus the k (k - 1) correlations.
    return float((z.sum(axis=1).var() - k) / (k * (k - 1)))


def _matrix(gains: npt.ArrayLike) -> Floats:
    d = np.asarray(gains, dtype=np.float64)
    if d.ndim != 2 or d.shape[0] < 2 or d.shape[1] < 1 or not np.isfinite(d).all():
        raise ArgumentError(f"gains must be (T, K), finite, with T >= 2, were {d.shape}")
    return d


def _standardised(gains: npt.ArrayLike, *, block: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    d = _matrix(gains)
    omega = long_run_deviation(d, block=block)
    active = omega > 0
    return d / np.where(active, omega, 1.0), active


@overload
def _allowed(statistic: float, periods: int, block: float) -> float: ...
@overload
def _allowed(statistic: Floats, periods: int, block: float) -> Floats: ...
def _allowed(statistic: Any, periods: int, block: float) -> Any:
    """The normal value with the tail that a positive statistic has by Student's t, its deviation
    taken for as large as it is around the true mean; others as they are."""
    value = np.asarray(statistic, dtype=np.float64)
    shrunk = value * math.sqrt(_seen_share(periods, block))
    freedom = max(periods / block - 1, 1.0)
    normal = -special.ndtri(special.stdtr(freedom, -shrunk))
    # A tail below the smallest float is an infinite normal value: leave the statistic then.
    kept = np.where(value > 0, np.where(np.isfinite(normal), normal, shrunk), value)
    return float(kept) if np.isscalar(statistic) else kept


def _bootstrap_means(d: Floats, rows: Ints) -> Floats:
    n = d.shape[0]
    weights = np.stack([np.bincount(row, minlength=n) for row in rows]) / n
    return np.asarray(weights @ d)


def _sharpe(total: Floats, square: Floats, count: Floats) -> Floats:
    mean = total / count
    variance = square / count - mean**2
    flat = variance <= 1e-12 * square / count
    return np.where(flat, 0.0, mean / np.sqrt(np.where(flat, 1.0, variance)))
