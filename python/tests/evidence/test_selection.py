from __future__ import annotations

import itertools

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap, StepM

from sep_engine.errors import ArgumentError
from sep_engine.evidence import selection as se


def family(*, days: int = 250, rules: int = 30, seed: int = 1, best: float = 0.0) -> np.ndarray:
    """P&L with different sizes of bets, correlated columns and some autocorrelation."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((days, rules)) + 0.5 * rng.standard_normal((days, 1))
    noise[1:] += 0.2 * noise[:-1]
    noise[:, : rules // 2] -= 0.15
    noise[:, -1] += best
    return noise * np.geomspace(0.2, 20, rules)


def rows_of_arch(periods: int, *, draws: int, block: int, seed: int) -> np.ndarray:
    """The very rows that arch's stationary bootstrap draws."""
    bootstrap = StationaryBootstrap(block, np.arange(periods), seed=seed)
    return np.stack([data[0][0] for data in bootstrap.bootstrap(draws)])


def test_the_long_run_deviation_equals_the_double_loop_of_arch() -> None:
    gains = family()
    spa = SPA(np.zeros(250), -gains, block_size=7, reps=2, seed=1)
    spa.compute()
    theirs = np.sqrt(spa._loss_diff_var)
    assert np.allclose(se.long_run_deviation(gains, block=7), theirs, rtol=1e-10)


@pytest.mark.parametrize("best", [0.0, 0.25, 0.4])
def test_the_three_p_values_equal_arch_on_standardised_columns(best: float) -> None:
    gains = family(best=best)
    rows = rows_of_arch(250, draws=400, block=7, seed=3)
    ours = se.superior_ability(gains, rows=rows, block=7, small_sample=False)
    scaled = gains / se.long_run_deviation(gains, block=7)
    spa = SPA(np.zeros(250), -scaled, block_size=7, reps=400, seed=3)
    spa.compute()
    # arch leaves the observation out of the count: (1 + 400 p) / 401 is ours.
    theirs = (1 + 400 * spa.pvalues) / 401
    assert (ours.lower, ours.consistent, ours.upper) == pytest.approx(
        (theirs["lower"], theirs["consistent"], theirs["upper"]), abs=1e-12
    )
    assert ours.lower <= ours.consistent <= ours.upper


@pytest.mark.parametrize("best", [0.0, 0.3, 0.6])
def test_the_survivors_equal_arch_on_standardised_columns(best: float) -> None:
    gains = family(best=best)
    gains[:, 20] += best * 0.8 * gains[:, 20].std()
    scaled = gains / se.long_run_deviation(gains, block=7)
    stepm = StepM(np.zeros(250), -scaled, size=0.05, block_size=7, reps=400, seed=3)
    stepm.compute()
    rows = rows_of_arch(250, draws=400, block=7, seed=3)
    ours = se.survivors(gains, rows=rows, block=7, level=0.05, small_sample=False)
    assert list(ours) == stepm.superior_models
    assert (29 in ours) == (best > 0)


def test_one_rule_with_huge_bets_does_not_hide_a_good_one() -> None:
    rng = np.random.default_rng(5)
    gains = rng.standard_normal((300, 2))
    gains[:, 0] += 0.35
    gains[:, 1] *= 1000
    rows = se.bootstrap_rows(300, draws=499, block=2, seed=1)
    assert se.superior_ability(gains, rows=rows, block=2).consistent == 1 / 500
    unscaled = SPA(np.zeros(300), -gains, block_size=2, reps=499, seed=1)
    unscaled.compute()
    assert unscaled.pvalues["consistent"] > 0.05


def test_a_family_that_never_trades_is_no_evidence() -> None:
    rows = se.bootstrap_rows(50, draws=19, block=1, seed=1)
    test = se.superior_ability(np.zeros((50, 3)), rows=rows, block=1)
    assert (test.lower, test.consistent, test.upper) == (1.0, 1.0, 1.0)
    assert se.survivors(np.zeros((50, 3)), rows=rows, block=1) == ()


def test_superior_ability_is_conservative_on_nulls() -> None:
    # 120 families of 20 rules, half of them losing: 6 rejections expected at the most, 4 standard
    # errors above are 15.
    rejected = 0
    for seed in range(120):
        gains = np.random.default_rng(seed).standard_normal((80, 20))
        gains[:, :10] -= 0.3
        rows = se.bootstrap_rows(80, draws=199, block=1, seed=seed)
        rejected += se.superior_ability(gains, rows=rows, block=1).consistent <= 0.05
    assert rejected <= 15


def test_forty_days_with_blocks_are_allowed_for() -> None:
    # 200 families of 12 fair rules with heavy tails over 54 days, blocks of 5: 10 rejections are
    # expected at 5 %, 4 standard errors above are 22. Without the allowance they are more.
    rejected = np.zeros(2, dtype=int)
    for seed in range(200):
        gains = np.random.default_rng(seed).standard_t(4, (54, 12))
        rows = se.bootstrap_rows(54, draws=99, block=5, seed=seed)
        for k, small in enumerate((True, False)):
            test = se.superior_ability(gains, rows=rows, block=5, small_sample=small)
            rejected[k] += test.consistent <= 0.05
    assert rejected[0] <= 22 < rejected[1]


def test_what_the_mean_hides_of_a_long_run_variance_is_known() -> None:
    # Alone, a variance around the mean of 50 values shows 49 fiftieths of itself.
    assert se._seen_share(50, 1.0) == pytest.approx(0.98)
    # With blocks it shows less; 4,000 columns of white noise say how much, to 1 %.
    noise = np.random.default_rng(7).standard_normal((54, 4000))
    seen = (se.long_run_deviation(noise, block=5) ** 2).mean()
    assert se._seen_share(54, 5.0) == pytest.approx(seen, rel=0.01)
    assert 0.83 < seen < 0.87


def overfitting_by_definition(gains: np.ndarray, blocks: int) -> list[float]:
    parts = np.array_split(np.arange(len(gains)), blocks)
    logits = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[b] for b in chosen])
        outside = np.setdiff1d(np.arange(len(gains)), inside)
        best = int((gains[inside].mean(0) / gains[inside].std(0)).argmax())
        ratio = gains[outside].mean(0) / gains[outside].std(0)
        rank = 1 + sum(ratio < ratio[best])
        w = rank / (gains.shape[1] + 1)
        logits.append(float(np.log(w / (1 - w))))
    return logits


def test_overfitting_equals_its_definition() -> None:
    gains = family(days=83, rules=7)
    ours = se.overfitting(gains, blocks=6)
    expected = overfitting_by_definition(gains, 6)
    assert ours.logits.tolist() == pytest.approx(expected)
    assert ours.probability == np.mean(np.array(expected) <= 0)


def test_overfitting_tells_noise_from_a_rule_that_lasts() -> None:
    noise = np.random.default_rng(2).standard_normal((400, 50))
    good = noise.copy()
    good[:, 7] += 0.4
    assert se.overfitting(noise, blocks=10).probability > 0.3
    assert se.overfitting(good, blocks=10).probability == 0.0


def test_overfitting_is_rank_stability_not_profit() -> None:
    # Every rule loses, one always loses least.
    gains = np.random.default_rng(2).standard_normal((200, 10)) - 3
    gains[:, 4] += 1.5
    result = se.overfitting(gains, blocks=8)
    assert result.probability == 0.0
    assert result.out_of_sample.max() < 0


@pytest.mark.parametrize(
    ("blocks", "shape"),
    [
        *((blocks, (1000, 2)) for blocks in (3, 0, -2, 22, 200)),
        (6, (11, 2)),  # a block of one row has no ratio
        (6, (12, 1)),
    ],
)
def test_overfitting_refuses_blocks_that_do_not_fit(blocks: int, shape: tuple[int, int]) -> None:
    with pytest.raises(ArgumentError, match=rf"blocks must be even.*was {blocks}, .{shape[0]}, "):
        se.overfitting(np.zeros(shape), blocks=blocks)


@pytest.mark.parametrize(("blocks", "halves"), [(2, 2), (6, 20), (20, 184_756)])
def test_overfitting_takes_blocks_up_to_every_limit(blocks: int, halves: int) -> None:
    # C(2, 1) = 2, C(6, 3) = 20, C(20, 10) = 184,756; two rows a block and two rules are enough.
    gains = np.random.default_rng(1).standard_normal((2 * blocks, 2))
    assert se.overfitting(gains, blocks=blocks).logits.size == halves


def test_no_bars_or_figures_that_are_none_are_refused() -> None:
    for shape in ((1, 2), (2, 0), (5,)):
        with pytest.raises(ArgumentError, match=r"gains must be \(T, K\), finite, with T >= 2"):
            se.mean_correlation(np.zeros(shape))
    with pytest.raises(ArgumentError, match="gains must be"):
        se.mean_correlation([[1.0, np.nan], [2.0, 1.0]])
    assert se.mean_correlation([[1.0], [2.0]]) == 0.0


def test_mean_correlation_leaves_the_diagonal_out() -> None:
    gains = np.random.default_rng(3).standard_normal((500, 6)) + np.random.default_rng(
        4
    ).standard_normal((500, 1))
    matrix = np.corrcoef(gains.T)
    expected = (matrix.sum() - 6) / 30
    assert se.mean_correlation(gains) == pytest.approx(expected)
    assert se.mean_correlation(np.column_stack([gains[:, 0], np.zeros(500)])) == 0.0
