from __future__ import annotations

import math

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length
from scipy import stats

from sep_engine.errors import ArgumentError
from sep_engine.evidence import statistics as st


def test_wilson_of_eight_hits_in_ten() -> None:
    # z = 1.959964, z^2 = 3.841459. Centre (8 + 1.920729) / 13.841459 = 0.716740;
    # half 1.959964 * sqrt(10 * 0.16 + 0.960365) / 13.841459 = 0.226576.
    interval = st.wilson(8, calls=10)
    assert interval.estimate == 0.8
    assert interval.low == pytest.approx(0.490162, abs=2e-6)
    assert interval.high == pytest.approx(0.943318, abs=2e-6)


@pytest.mark.parametrize(("hits", "calls"), [(0, 5), (5, 5), (3, 7), (1041, 2000)])
def test_wilson_equals_scipy(hits: int, calls: int) -> None:
    ours = st.wilson(hits, calls=calls, confidence=0.9)
    theirs = stats.binomtest(hits, calls).proportion_ci(0.9, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("hits", "calls"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(hits: int, calls: int) -> None:
    with pytest.raises(ArgumentError, match="hits must be in"):
        st.wilson(hits, calls=calls)


def test_two_days_that_disagree_leave_the_hit_rate_open() -> None:
    # Residual sums +1 and -1; sqrt(2/1 * 2) / 4 = 0.5; t(0.975, 1) = 12.7062.
    interval = st.clustered_mean([1, 1, 0, 0], ["mon", "mon", "tue", "tue"])
    assert interval.estimate == 0.5
    assert interval.low == pytest.approx(0.5 - 6.3531, abs=1e-4)


def test_copying_every_signal_does_not_narrow_the_clustered_interval() -> None:
    hits = np.random.default_rng(3).integers(0, 2, 50)
    once = st.clustered_mean(hits, np.arange(50))
    ten_times = st.clustered_mean(np.repeat(hits, 10), np.repeat(np.arange(50), 10))
    assert ten_times.high == pytest.approx(once.high, abs=1e-12)
    # One cluster a value is the t interval.
    low, high = stats.t.interval(0.95, 49, hits.mean(), hits.std(ddof=1) / math.sqrt(50))
    assert (once.low, once.high) == pytest.approx((low, high), abs=1e-12)


def test_one_cluster_has_no_interval() -> None:
    with pytest.raises(ArgumentError, match="at least 2 labels, held 1"):
        st.clustered_mean([1, 0], [7, 7])


def test_two_strategies_with_the_same_signals_do_not_differ() -> None:
    hits = np.random.default_rng(3).integers(0, 2, 60)
    days = np.arange(60) // 3
    same = st.clustered_difference(hits, days, others=hits, other_clusters=days)
    assert (same.estimate, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-15)


def test_the_difference_of_strategies_on_other_days_is_that_of_independent_means() -> None:
    # Values 1, 0, 1, 0 and 1, 1, 0, 1, each in its own cluster: means 0.5 and 0.75; squared
    # residuals sum to 1 and 0.75, over 16: 0.109375; times 8/7, root 0.353553; t(0.975, 7) =
    # 2.364624.
    difference = st.clustered_difference(
        [1, 0, 1, 0], [0, 1, 2, 3], others=[1, 1, 0, 1], other_clusters=[4, 5, 6, 7]
    )
    assert difference.estimate == -0.25
    assert difference.high == pytest.approx(-0.25 + 2.364624 * 0.353553, abs=2e-6)


def test_sixty_hits_in_a_balanced_hundred() -> None:
    # P* = 0.5, V = 0.0025, W = (4 * 0.0625 / 100) / 100 = 0.000025;
    # 0.1 / sqrt(0.002475) = 2.010076, upper tail 0.02221.
    calls = np.repeat([True, False], 50)
    outcomes = np.concatenate(
        [np.repeat([True, False], [30, 20]), np.repeat([True, False], [20, 30])]
    )
    test = st.pesaran_timmermann(calls, outcomes)
    assert test.hit_rate == 0.6
    assert test.statistic == pytest.approx(2.010076, abs=1e-6)
    assert test.p_value == pytest.approx(0.02221, abs=1e-5)


def test_always_calling_up_proves_nothing_in_a_rising_market() -> None:
    outcomes = np.repeat([True, False], [70, 30])
    test = st.pesaran_timmermann(np.ones(100, dtype=bool), outcomes)
    assert (test.hit_rate, test.statistic, test.p_value) == (0.7, None, None)


def test_pesaran_timmermann_is_standard_normal_when_calls_are_random() -> None:
    rng = np.random.default_rng(11)
    values = [
        st.pesaran_timmermann(rng.random(400) < 0.8, rng.random(400) < 0.55).statistic
        for _ in range(2000)
    ]
    assert stats.kstest(np.array(values, dtype=float), "norm").pvalue > 0.01


def test_probabilistic_sharpe_of_the_published_hedge_fund() -> None:
    # Bailey and Lopez de Prado (2012): 24 months, monthly SR 0.458; 0.982 if returns were
    # normal, 0.913 with their skewness -2.448 and kurtosis 10.164.
    normal = st.Moments(periods=24, sharpe=0.458, skewness=0, kurtosis=3)
    actual = st.Moments(periods=24, sharpe=0.458, skewness=-2.448, kurtosis=10.164)
    assert st.probabilistic_sharpe(normal) == pytest.approx(0.982, abs=5e-4)
    assert st.probabilistic_sharpe(actual) == pytest.approx(0.913, abs=5e-4)


def test_deflated_sharpe_of_the_published_example() -> None:
    # Bailey and Lopez de Prado (2014): 1,250 days, annual SR 2.5 of 250 days, 100 trials with
    # annual variance 1/2, skewness -3, kurtosis 10: SR0 = 0.1132 a day, DSR = 0.9004.
    observed = st.Moments(periods=1250, sharpe=2.5 / math.sqrt(250), skewness=-3, kurtosis=10)
    deviation = math.sqrt(0.5 / 250)
    assert deviation * st.expected_max(100) == pytest.approx(0.1132, abs=5e-5)
    deflated = st.deflated_sharpe(observed, trials=100, sharpe_deviation=deviation)
    assert deflated == pytest.approx(0.9004, abs=5e-5)


def test_deflated_sharpe_of_one_trial_is_the_probabilistic_one() -> None:
    observed = st.moments(np.random.default_rng(5).normal(0.1, 1, 200))
    assert st.deflated_sharpe(observed, trials=1) == st.probabilistic_sharpe(observed)


def test_hardly_more_than_one_trial_is_not_judged_more_kindly_than_one() -> None:
    # The Gumbel limit at 1.1: 0.4228 * -1.3352 + 0.5772 * 0.4277 = -0.3177, a bonus for a trial.
    observed = st.Moments(periods=250, sharpe=0.1, skewness=0.0, kurtosis=3.0)
    alone = st.deflated_sharpe(observed, trials=1)
    assert st.expected_max(1.1) == 0
    assert st.deflated_sharpe(observed, trials=1.1) == alone == st.probabilistic_sharpe(observed)
    # At 2 it is 0.5772 * Phi^-1(1 - 1 / (2 e)) = 0.5772 * 0.9003; exactly it were 1 / sqrt(pi).
    assert st.expected_max(2) == pytest.approx(0.5197, abs=5e-4)


def test_the_expected_maximum_agrees_with_simulation() -> None:
    # 20,000 maxima of 63 normals have a standard error of 0.003.
    largest = np.random.default_rng(8).standard_normal((20_000, 63)).max(axis=1).mean()
    assert st.expected_max(63) == pytest.approx(2.36, abs=0.005)
    assert st.expected_max(63) == pytest.approx(largest, abs=0.03)
    assert st.expected_max(1) == 0


def test_the_familywise_threshold_is_exceeded_at_its_level_under_the_null() -> None:
    # The best of 200 fair trials of 500 days, 2,000 times: 5 % pass, standard error 0.5 %.
    threshold = st.familywise_deflated_sharpe(200, level=0.05)
    best = np.random.default_rng(2).standard_normal((2000, 200)).max(axis=1)
    deflated = stats.norm.cdf(best - st.expected_max(200))
    assert (deflated > threshold).mean() == pytest.approx(0.05, abs=0.015)
    assert st.familywise_deflated_sharpe(1, level=0.05) == pytest.approx(0.95)
    assert st.familywise_deflated_sharpe(1000, level=0.05) == pytest.approx(0.735, abs=5e-4)


def test_forty_five_trials_need_five_years() -> None:
    assert st.min_backtest_years(45, annual_sharpe=1.0) == pytest.approx(5.0, abs=0.01)
    assert st.min_backtest_years(63, annual_sharpe=1.0) == pytest.approx(5.6, abs=0.02)


def test_correlated_trials_count_for_less() -> None:
    # 980 * 0.1 + 0.9 = 98.9.
    assert st.effective_trials(980, mean_correlation=0.9) == pytest.approx(98.9)
    assert st.effective_trials(980, mean_correlation=-0.2) == 980


def test_break_even_hit_rates() -> None:
    # 1.3 pips against a mean move of 8: 0.5 + 1.3/16. At M1, 1 pip against 0.9: above 100 %.
    assert st.break_even_hit_rate(cost=1.3, mean_abs_move=8) == 0.58125
    assert st.break_even_hit_rate(cost=1.0, mean_abs_move=0.9) > 1


@pytest.mark.parametrize(
    ("hit_rate", "signals"), [(0.505, 78_489), (0.51, 19_623), (0.52, 4_906), (0.55, 785)]
)
def test_signals_needed_to_show_a_hit_rate(hit_rate: float, signals: int) -> None:
    assert st.signals_needed(hit_rate) == signals


def test_alternating_bits_are_fully_told_by_the_last_one() -> None:
    # Eight words of one bit, all determined: G = 2 * 8 * ln 2.
    test = st.word_test([0, 1, 0, 1, 0, 1, 0, 1, 0], length=1)
    assert test.statistic == pytest.approx(16 * math.log(2))
    assert (test.freedom, test.entropy) == (2, 0.0)


def test_words_of_no_bits_are_scipys_g_test() -> None:
    theirs = stats.power_divergence([30, 70], lambda_="log-likelihood")
    ours = st.word_test(np.repeat([0, 1], [30, 70]), length=0)
    assert ours.statistic == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue)


def test_the_word_test_is_uniform_on_fair_bits() -> None:
    rng = np.random.default_rng(4)
    values = [st.word_test(rng.integers(0, 2, 3000), length=3).p_value for _ in range(800)]
    assert stats.kstest(values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", ["stationary", "circular"])
@pytest.mark.parametrize("count", [40, 250, 2000])
@pytest.mark.parametrize("persistence", [-0.5, 0.0, 0.3, 0.95])
def test_block_lengths_equal_arch(kind: str, count: int, persistence: float) -> None:
    x = np.random.default_rng(count).standard_normal(count)
    for t in range(1, count):
        x[t] += persistence * x[t - 1]
    theirs = float(optimal_block_length(x)[kind].iloc[0])
    assert st.block_length(x, kind=kind) == pytest.approx(max(1.0, theirs), rel=1e-9)


def test_blocks_grow_with_autocorrelation() -> None:
    noise = np.random.default_rng(9).standard_normal(2000)
    persistent = noise.copy()
    for t in range(1, 2000):
        persistent[t] += 0.8 * persistent[t - 1]
    assert st.block_length(noise) < 8 < st.block_length(persistent)
    assert st.block_length(np.ones(100)) == 1


def test_drawdown_counts_from_the_start() -> None:
    # Equity 0, -2, 1, 0, -3: the worst fall is from 1 to -3.
    assert st.max_drawdown([-2, 3, -1, -3]) == 4
    assert st.max_drawdown([-5]) == 5


def test_moments_are_those_of_the_definition() -> None:
    # Around their mean of 3: -2, -1, 3. Squares 14, of which 7 with n - 1; cubes 18, fourths 98.
    found = st.moments([1.0, 2.0, 6.0])
    assert found.periods == 3
    assert found.sharpe == pytest.approx(3 / math.sqrt(7))
    assert found.skewness == pytest.approx(6 / (14 / 3) ** 1.5)
    assert found.kurtosis == pytest.approx(1.5)  # 98 / 3 over (14 / 3) squared
    with pytest.raises(ArgumentError, match="at least 3 values that differ, had 4"):
        st.moments([0.5] * 4)
