"""Does the lab itself hold what it promises? Generated worlds in which the truth is known.

Null worlds have no edge: p-values must be uniform or larger, and verdicts must not pass. Planted
worlds have one of a known size: it must be found often enough. Everything here is generated and
seeded, and none of it says anything about a market.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from sep_engine.evidence import verdict
from sep_engine.evidence.choice import choose
from sep_engine.evidence.market import BarTicks, TimedBars
from sep_engine.evidence.pipeline import t_values
from sep_engine.evidence.settings import Count, Settings
from sep_engine.evidence.splits import Guard
from sep_engine.evidence.statistics import deflated_sharpe, moments

Floats = npt.NDArray[np.float64]

DAYS_A_YEAR = 252
_HOUR_NS = 3_600_000_000_000
_MONDAY_NS = 1_483_311_600_000_000_000  # 2017-01-01 23:00 UTC, an hour into the FX week


def null_market(bars: int, *, seed: int) -> TimedBars:
    """Return hourly bars whose direction is a fair coin and whose volatility comes in clusters."""
    rng = np.random.default_rng(seed)
    level = np.zeros(bars)
    shocks = 0.25 * rng.standard_normal(bars)
    for t in range(1, bars):
        level[t] = 0.95 * level[t - 1] + shocks[t]
    size = np.rint(60 * np.exp(level) * np.abs(rng.standard_normal(bars))).astype(np.int64)
    steps = size * rng.choice(np.array([-1, 1]), bars)
    closes = 1_000_000 + np.cumsum(steps)
    opens = closes - steps
    wick = rng.integers(0, 40, (2, bars))
    ticks = BarTicks(
        opens, np.maximum(opens, closes) + wick[0], np.minimum(opens, closes) - wick[1], closes
    )
    times = _MONDAY_NS + _HOUR_NS * np.arange(bars, dtype=np.int64)
    return TimedBars(times, ticks, np.zeros(bars, dtype=np.bool_), 1e-5)


def planted_days(*, rules: int, days: int, annual_sharpe: float, seed: int) -> Floats:
    """Return (days, rules) daily P&L: independent noise, and in column 0 a net Sharpe ratio."""
    daily = np.random.default_rng(seed).standard_normal((days, rules))
    daily[:, 0] += annual_sharpe / math.sqrt(DAYS_A_YEAR)
    return daily


def annual_sharpe_of_calls(
    *, hit_rate: float, move: float, cost: float, signals_a_day: float
) -> float:
    """Return the annual Sharpe ratio after costs of independent calls for moves of one size.

    Args:
        move, cost: in one unit, > 0 and >= 0; a hit gains move - cost, a miss loses move + cost.
    """
    mean = (2 * hit_rate - 1) * move - cost
    deviation = 2 * move * math.sqrt(hit_rate * (1 - hit_rate))
    return mean / deviation * math.sqrt(signals_a_day * DAYS_A_YEAR)


def passes(daily: Floats, *, counted: Count, settings: Settings) -> bool:
    """Return whether (T, K) daily P&L passes every line of the verdict on selection.

    The Deflated Sharpe line is asked first: it is cheap, and most nulls end there.
    """
    own = moments(daily[:, int(t_values(daily).argmax())])
    needed = verdict.deflated_sharpe_needed(trials=counted.trials, look=counted.look)
    if deflated_sharpe(own, trials=counted.trials) < needed:
        return False
    years = len(daily) / DAYS_A_YEAR
    choice = choose(daily, years=years, cut=Guard(1, 3), settings=settings)
    judged = verdict.judge(choice.figures(counted), synthetic=True)
    return all(j.passed for j in judged.lines if j.line.section == "selection")


def user_who_peeks_passes(
    *, retries: int, rules: int, days: int, seed: int, settings: Settings
) -> bool:
    """Return whether one of `retries` families without an edge passes, the ledger counting all.

    Each retry tries `rules` further rules that have nothing to do with the earlier ones, which
    finds more by luck than any search that repeats itself.
    """
    for look in range(1, retries + 1):
        daily = planted_days(rules=rules, days=days, annual_sharpe=0.0, seed=seed * retries + look)
        if passes(daily, counted=Count(trials=rules * look, look=look), settings=settings):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Uniformity:
    """How p-values of nulls lie.

    p_value: that of a chi-squared test of equal counts on the grid that they can take.
    shares: (level, share of p-values at or below it).
    """

    p_value: float
    shares: tuple[tuple[float, float], ...]


def uniformity(p_values: npt.ArrayLike, *, worlds: int) -> Uniformity:
    """Return how (n,) permutation p-values from `worlds` null worlds each lie on 1/(M+1)..1.

    With more than 20 grid points neighbours share a cell.
    """
    p = np.asarray(p_values, dtype=np.float64)
    grid = worlds + 1
    cells = min(20, grid)
    place = np.minimum(np.rint(p * grid).astype(np.int64) - 1, grid - 1) * cells // grid
    expected = np.bincount(np.arange(grid) * cells // grid, minlength=cells) / grid * p.size
    test = stats.chisquare(np.bincount(place, minlength=cells), expected)
    levels = (0.01, 0.05, 0.1, 0.25, 0.5)
    return Uniformity(
        float(test.pvalue),
        tuple((level, float((p <= level + 1e-12).mean())) for level in levels),
    )
