"""The calibration in short; python/benchmarks/calibrate.py is the long form."""

from __future__ import annotations

import numpy as np
import pytest

from sep_engine.evidence import power as po
from sep_engine.evidence.settings import Count, Settings
from sep_engine.evidence.surrogates import permutation_p, signs

DAYS = Settings(draws=199, pbo_blocks=8)


def test_a_null_market_has_clustered_volatility_and_fair_directions() -> None:
    bars = po.null_market(5000, seed=1).bars
    steps = np.diff(bars.close).astype(float)
    # 5,000 fair signs: 4 standard errors are 0.028 of the share, 0.057 of a correlation.
    assert (steps > 0).mean() / (steps != 0).mean() == pytest.approx(0.5, abs=0.028)
    signs = np.sign(steps)
    assert abs(np.corrcoef(signs[1:], signs[:-1])[0, 1]) < 0.057
    assert np.corrcoef(np.abs(steps[1:]), np.abs(steps[:-1]))[0, 1] > 0.15
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()


def test_uniform_p_values_are_called_uniform_and_others_not() -> None:
    rng = np.random.default_rng(3)
    p = [
        permutation_p(x.sum(), [(x * signs(30, seed=1, index=k)).sum() for k in range(39)])
        for x in rng.standard_normal((400, 30))
    ]
    found = po.uniformity(p, worlds=39)
    assert found.p_value > 0.01
    # 400 nulls at 5 %: 4 standard errors are 4.4 %.
    assert dict(found.shares)[0.05] == pytest.approx(0.05, abs=0.044)
    assert po.uniformity(np.minimum(p, 0.5), worlds=39).p_value < 1e-6


def test_an_edge_below_its_cost_has_a_negative_sharpe_ratio() -> None:
    # 55 % of 8-pip moves: 0.8 pips a call, less 1.3. Deviation 16 sqrt(0.2475) = 7.95990.
    sharpe = po.annual_sharpe_of_calls(hit_rate=0.55, move=8.0, cost=1.3, signals_a_day=1)
    assert sharpe == pytest.approx(-0.5 / 7.95990 * np.sqrt(252), rel=1e-5)


def test_a_large_edge_is_found_and_none_is_not() -> None:
    def found(sharpe: float) -> int:
        return sum(
            po.passes(
                po.planted_days(rules=300, days=756, annual_sharpe=sharpe, seed=seed),
                counted=Count(300, 1),
                settings=DAYS,
            )
            for seed in range(10)
        )

    assert found(4.0) >= 9
    # A null passes with 4 %: three or more of ten with less than 1 %.
    assert found(0.0) <= 2


def test_trying_a_hundred_times_does_not_help() -> None:
    # At most 5 % of users: of 20 that is 1; 5 would be four standard errors above.
    users = [
        po.user_who_peeks_passes(retries=100, rules=20, days=250, seed=seed, settings=DAYS)
        for seed in range(20)
    ]
    assert sum(users) < 5


def test_the_same_family_passes_at_first_sight_and_not_after_a_hundred_looks() -> None:
    daily = po.planted_days(rules=20, days=756, annual_sharpe=2.6, seed=1)
    assert po.passes(daily, counted=Count(20, 1), settings=DAYS)
    assert not po.passes(daily, counted=Count(2000, 100), settings=DAYS)
