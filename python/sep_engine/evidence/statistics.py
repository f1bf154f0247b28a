"""Intervals, tests and corrections for single figures.

A Sharpe ratio here is mean over standard deviation per period, never annualised unless the name
says so. Kurtosis is the plain fourth standardised moment: 3 for a normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import special

from sep_engine.errors import ArgumentError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_NORMAL = NormalDist()
_EULER_GAMMA = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the two-sided interval around it, in the unit of the estimate."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DirectionTest:
    """Pesaran-Timmermann: do calls and outcomes agree more than their own frequencies explain?

    `statistic` and `p_value` (upper tail) are None when all calls or all outcomes are equal:
    the test is then undefined, whatever the hit rate is.
    """

    hit_rate: float
    expected_hit_rate: float
    statistic: float | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class WordTest:
    """The G test of fair, independent bits by the next bit after each word of k bits.

    `entropy` is that of the next bit in bits, Miller-Madow corrected; `statistic` uses the
    uncorrected one and is chi-squared with `freedom` = 2**k degrees under the null.
    """

    statistic: float
    freedom: int
    p_value: float
    entropy: float


@dataclass(frozen=True, slots=True)
class Moments:
    """Sharpe ratio per period, skewness and kurtosis of `periods` values."""

    periods: int
    sharpe: float
    skewness: float
    kurtosis: float


def wilson(hits: int, *, calls: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson interval of a hit rate whose calls are independent.

    Overlapping horizons and persistent signals are not independent: use `clustered_mean`.

    Raises:
        ArgumentError: calls < 1, or hits outside 0..calls.
    """
    if calls < 1 or not 0 <= hits <= calls:
        raise ArgumentError(f"hits must be in 0..calls and calls >= 1, were {hits} of {calls}")
    z = _two_sided_z(confidence)
    rate = hits / calls
    centre = (hits + z * z / 2) / (calls + z * z)
    half = z * math.sqrt(calls * rate * (1 - rate) + z * z / 4) / (calls + z * z)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def clustered_mean(
    values: npt.ArrayLike, clusters: npt.ArrayLike, *, confidence: float = 0.95
) -> Interval:
    """Return the mean of values that are dependent inside clusters, with its interval.

    The variance sums residuals inside each cluster before squaring (the sandwich estimate with
    the factor G/(G-1)); the quantile is Student's with G-1 degrees. Of hits (0 or 1) by trading
    day this is the day-clustered hit rate.

    Args:
        values: (n,) finite.
        clusters: (n,) labels, integers or dates; equal label, same cluster.

    Raises:
        ArgumentError: the shapes differ, or there are fewer than two clusters.
    """
    x = np.asarray(values, dtype=np.float64)
    _, label = np.unique(np.asarray(clusters), return_inverse=True)
    if x.ndim != 1 or label.shape != x.shape:
        raise ArgumentError(f"values and clusters must be (n,), were {x.shape}, {label.shape}")
    groups = int(label.max()) + 1 if label.size else 0
    if groups < 2:
        raise ArgumentError(f"clusters must hold at least 2 labels, held {groups}")
    mean = float(x.mean())
    sums = np.bincount(label, weights=x - mean, minlength=groups)
    error = math.sqrt(groups / (groups - 1) * float(sums @ sums)) / x.size
    half = _student_quantile(0.5 + confidence / 2, groups - 1) * error
    return Interval(mean, mean - half, mean + half)


def clustered_difference(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    others: npt.ArrayLike,
    other_clusters: npt.ArrayLike,
    confidence: float = 0.95,
) -> Interval:
    """Return mean(values) - mean(others) with its interval, both dependent inside clusters.

    The two may share clusters and even observations, as two strategies on the same days do: what
    they have in common cancels inside each cluster before squaring.

    Args:
        values, others: (n,) and (m,), each at least one, finite.
        clusters, other_clusters: labels of the same kind, as in `clustered_mean`.

    Raises:
        ArgumentError: the shapes differ, one side is empty, or there are fewer than two clusters.
    """
    x, y = (np.asarray(a, dtype=np.float64) for a in (values, others))
    a, b = np.asarray(clusters), np.asarray(other_clusters)
    if x.ndim != 1 or y.ndim != 1 or a.shape != x.shape or b.shape != y.shape:
        raise ArgumentError(f"values and clusters must pair, were {x.shape}, {a.shape}, {y.shape}")
    _, label = np.unique(np.concatenate((a, b)), return_inverse=True)
    groups = int(label.max()) + 1 if label.size else 0
    if not x.size or not y.size or groups < 2:
        raise ArgumentError(f"both sides must hold values in 2 clusters, held {groups} clusters")
    parts = np.concatenate(((x - x.mean()) / x.size, (y.mean() - y) / y.size))
    sums = np.bincount(label, weights=parts, minlength=groups)
    error = math.sqrt(groups / (groups - 1) * float(sums @ sums))
    half = _student_quantile(0.5 + confidence / 2, groups - 1) * error
    difference = float(x.mean() - y.mean())
    return Interval(difference, difference - half, difference + half)


def pesaran_timmermann(called_up: npt.ArrayLike, went_up: npt.ArrayLike) -> DirectionTest:
    """Return the Pesaran-Timmermann test of calls against outcomes.

    Valid for horizons that do not overlap. It corrects for drift and for one-sided calling.

    Args:
        called_up, went_up: (n,) bool, n >= 2, ties left out by the caller.

    Source: Pesaran and Timmermann (1992), "A simple nonparametric test of predictive
    performance", Journal of Business and Economic Statistics 10.
    """
    call = np.asarray(called_up, dtype=bool)
    outcome = np.asarray(went_up, dtype=bool)
    if call.ndim != 1 or call.shape != outcome.shape or call.size < 2:
        raise ArgumentError(
            f"called_up and went_up must be (n,) with n >= 2, were {call.shape}, {outcome.shape}"
        )
    n = call.size
    p_y, p_x = float(outcome.mean()), float(call.mean())
    hit_rate = float((call == outcome).mean())
    expected = p_y * p_x + (1 - p_y) * (1 - p_x)
    of_hits = expected * (1 - expected) / n
    of_expected = (
        (2 * p_y - 1) ** 2 * p_x * (1 - p_x)
        + (2 * p_x - 1) ** 2 * p_y * (1 - p_y)
        + 4 * p_y * p_x * (1 - p_y) * (1 - p_x) / n
    ) / n
    if p_x in (0.0, 1.0) or p_y in (0.0, 1.0) or of_hits <= of_expected:
        return DirectionTest(hit_rate, expected, None, None)
    statistic = (hit_rate - expected) / math.sqrt(of_hits - of_expected)
    return DirectionTest(hit_rate, expected, statistic, 1 - _NORMAL.cdf(statistic))


def moments(returns: npt.ArrayLike) -> Moments:
    """Return the Sharpe ratio, skewness and kurtosis of (T,) returns or P&L per period.

    Raises:
        ArgumentError: fewer than 3 values, or all equal.
    """
    x = np.asarray(returns, dtype=np.float64)
    deviation = float(x.std(ddof=1)) if x.size >= 3 else 0.0
    if deviation <= 0:
        raise ArgumentError(f"returns must be at least 3 values that differ, had {x.size}")
    centred = x - x.mean()
    spread = float((centred**2).mean())
    return Moments(
        periods=x.size,
        sharpe=float(x.mean()) / deviation,
        skewness=float((centred**3).mean()) / spread**1.5,
        kurtosis=float((centred**4).mean()) / spread**2,
    )


def probabilistic_sharpe(observed: Moments, *, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio exceeds `benchmark` (per period).

    Source: Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier".
    """
    variance = (
        1 - observed.skewness * observed.sharpe + (observed.kurtosis - 1) / 4 * observed.sharpe**2
    )
    if observed.periods < 2 or variance <= 0:
        raise ArgumentError(
            f"periods must be >= 2 and the variance factor > 0, were {observed.periods}, {variance}"
        )
    scaled = (observed.sharpe - benchmark) * math.sqrt(observed.periods - 1) / math.sqrt(variance)
    return _NORMAL.cdf(scaled)


def expected_max(trials: float) -> float:
    """Return the expected largest of `trials` independent standard normals; 0 for one trial.

    The limit does not hold just above one, where it would fall below 0: it is 0 there.

    Source: Bailey and Lopez de Prado (2014), "The deflated Sharpe ratio", from the Gumbel limit.
    """
    if trials < 1:
        raise ArgumentError(f"trials must be >= 1, was {trials}")
    if trials == 1:
        return 0.0
    upper, beyond = (_NORMAL.inv_cdf(1 - 1 / n) for n in (trials, trials * math.e))
    return max(0.0, (1 - _EULER_GAMMA) * upper + _EULER_GAMMA * beyond)


def deflated_sharpe(
    observed: Moments, *, trials: float, sharpe_deviation: float | None = None
) -> float:
    """Return the probability that the true Sharpe ratio exceeds that of the luckiest fair trial.

    Args:
        observed: of the trial that was chosen.
        trials: how many were tried, >= 1; an effective number may be fractional.
        sharpe_deviation: standard deviation of the Sharpe ratio across comparable trials, per
            period. None takes its value under the null, 1/sqrt(T-1): a mixed family has a far
            larger one, which measures the mixture and not luck.
    """
    if sharpe_deviation is None:
        sharpe_deviation = 1 / math.sqrt(observed.periods - 1)
    return probabilistic_sharpe(observed, benchmark=sharpe_deviation * expected_max(trials))


def familywise_deflated_sharpe(trials: float, *, level: float) -> float:
    """Return the Deflated Sharpe ratio that the best of fair trials exceeds with chance `level`.

    The Deflated Sharpe ratio compares with the expected maximum, the familywise test with the
    upper quantile of the maximum. For one trial it is 1 - level, for 1,000 at 5 % it is 0.74.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"level must be in (0, 1), was {level}")
    quantile = -_NORMAL.inv_cdf(-math.expm1(math.log1p(-level) / trials))
    return _NORMAL.cdf(quantile - expected_max(trials))


def effective_trials(trials: int, *, mean_correlation: float) -> float:
    """Return N (1 - rho) + rho, how many independent trials `trials` correlated ones amount to."""
    rho = min(1.0, max(0.0, mean_correlation))
    return trials * (1 - rho) + rho


def min_backtest_years(trials: float, *, annual_sharpe: float) -> float:
    """Return the years below which the best of `trials` fair ones is expected to reach
    `annual_sharpe`.

    Source: Bailey, Borwein, Lopez de Prado and Zhu (2014), "Pseudo-mathematics and financial
    charlatanism".
    """
    if annual_sharpe <= 0:
        raise ArgumentError(f"annual_sharpe must be > 0, was {annual_sharpe}")
    return (expected_max(trials) / annual_sharpe) ** 2


def break_even_hit_rate(*, cost: float, mean_abs_move: float) -> float:
    """Return the hit rate that pays the round-trip cost; above 1 even an oracle loses.

    Args:
        cost: of one round trip, >= 0, in the unit of the move.
        mean_abs_move: mean size of a move over the horizon, > 0.
    """
    if cost < 0 or mean_abs_move <= 0:
        raise ArgumentError(
            f"cost must be >= 0 and mean_abs_move > 0, were {cost}, {mean_abs_move}"
        )
    return 0.5 + cost / (2 * mean_abs_move)


def signals_needed(hit_rate: float, *, level: float = 0.05, power: float = 0.8) -> int:
    """Return how many independent signals show `hit_rate` to differ from one half.

    Args:
        hit_rate: in (0, 1), not 0.5.
        level: two-sided.
        power: chance of finding it.
    """
    if not 0 < hit_rate < 1 or hit_rate == 0.5:
        raise ArgumentError(f"hit_rate must be in (0, 1) and not 0.5, was {hit_rate}")
    z = _two_sided_z(1 - level) + _NORMAL.inv_cdf(power)
    return math.ceil((z / 2 / (hit_rate - 0.5)) ** 2)


def word_test(bits: npt.ArrayLike, *, length: int) -> WordTest:
    """Return the G test of the bit that follows each word of `length` bits.

    Args:
        bits: (n,) of 0 and 1, oldest first, n > length.
        length: k in 0..16.
    """
    b = np.asarray(bits)
    if b.ndim != 1 or not 0 <= length <= 16 or b.size <= length:
        raise ArgumentError(f"bits must be (n,) with n > length in 0..16, were {b.shape}, {length}")
    if not np.isin(b, (0, 1)).all():
        raise ArgumentError("bits must be 0 or 1")
    windows = np.lib.stride_tricks.sliding_window_view(b.astype(np.int64), length + 1)
    codes = windows @ (1 << np.arange(length, -1, -1))
    counts = np.bincount(codes, minlength=2 << length).reshape(-1, 2).astype(np.float64)
    n = float(counts.sum())
    word = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    seen = counts > 0
    entropy = -float((counts[seen] * np.log2(counts[seen] / word[seen])).sum()) / n
    freedom = 1 << length
    statistic = max(0.0, 2 * n * math.log(2) * (1 - entropy))
    # Miller-Madow for a conditional entropy: half a nat a free cell, over n.
    cells = int(seen.sum()) - int((word[:, 0] > 0).sum())
    corrected = min(1.0, entropy + cells / (2 * n * math.log(2)))
    return WordTest(statistic, freedom, float(special.chdtrc(freedom, statistic)), corrected)


def block_length(series: npt.ArrayLike, *, kind: str = "stationary") -> float:
    """Return the Politis-White block length of a (T,) series for its mean, 1..min(3 sqrt(T), T/3).

    1 for a series of fewer than 9 values or without variance.

    Args:
        kind: "stationary" for the mean of geometric blocks, "circular" for a fixed length.

    Source: Politis and White (2004), "Automatic block-length selection for the dependent
    bootstrap", with the correction of Patton, Politis and White (2009).
    """
    if kind not in ("stationary", "circular"):
        raise ArgumentError(f'kind must be "stationary" or "circular", was "{kind}"')
    x = np.asarray(series, dtype=np.float64)
    n = x.size
    if n < 9 or x.std() == 0:
        return 1.0
    e = x - x.mean()
    quiet_lags = max(5, int(math.log10(n)))
    lag_max = min(math.ceil(math.sqrt(n)) + quiet_lags, n - 2)
    lags = range(lag_max + 1)
    products = np.array([e[k:] @ e[: n - k] for k in lags])
    sizes = np.array(
        [math.sqrt((e[k + 1 :] @ e[k + 1 :]) * (e[: -k - 1] @ e[: -k - 1])) for k in lags]
    )
    bound = 2 * math.sqrt(math.log10(n) / n)
    is_quiet = np.abs(products) < bound * sizes
    # The first lag from which on `quiet_lags` correlations in a row are negligible.
    first = next(
        (k for k in range(lag_max - quiet_lags + 1) if is_quiet[k : k + quiet_lags].all()), None
    )
    reach = lag_max if first is None else min(2 * max(first, 1), lag_max)
    lag = np.arange(1, reach + 1)
    weight = 2 * np.minimum(1, 2 * (1 - lag / reach)) * products[1 : reach + 1] / n
    long_run = products[0] / n + weight.sum()
    slope = (weight * lag).sum()
    scale = 2.0 if kind == "stationary" else 4 / 3
    if long_run == 0:
        return 1.0
    length = (2 * slope**2 / (scale * long_run**2) * n) ** (1 / 3)
    return float(max(1.0, min(length, math.ceil(min(3 * math.sqrt(n), n / 3)))))


def max_drawdown(pnl: npt.ArrayLike) -> float:
    """Return the largest fall of cumulative P&L below its earlier peak (start included), >= 0."""
    equity = np.concatenate(([0.0], np.cumsum(np.asarray(pnl, dtype=np.float64))))
    return float((np.maximum.accumulate(equity) - equity).max())


# scipy.special: importing scipy.stats, which calls it, takes longer than most reports.
def _student_quantile(probability: float, freedom: int) -> float:
    return float(special.stdtrit(freedom, probability))


def _two_sided_z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence must be in (0, 1), was {confidence}")
    return _NORMAL.inv_cdf(0.5 + confidence / 2)
