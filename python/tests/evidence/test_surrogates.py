from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sep_engine.errors import ArgumentError
from sep_engine.evidence import surrogates as su
from sep_engine.evidence.market import BarTicks


def philox4x64(counter: int, key: tuple[int, int]) -> list[int]:
    """One block of Philox4x64-10 by its definition (Salmon et al. 2011), on Python integers."""
    mask = 2**64 - 1
    x = [counter & mask, counter >> 64 & mask, 0, 0]
    k = list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [(b >> 64) ^ x[1] ^ k[0], b & mask, (a >> 64) ^ x[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return x


def bars(count: int, *, seed: int = 1) -> BarTicks:
    rng = np.random.default_rng(seed)
    before = 100_000 + np.concatenate(([0], np.cumsum(rng.integers(-30, 31, count - 1))))
    opens = before + rng.integers(-2, 3, count)
    closes = np.concatenate((before[1:], [100_000]))
    high = np.maximum(opens, closes) + rng.integers(0, 9, count)
    low = np.minimum(opens, closes) - rng.integers(0, 9, count)
    return BarTicks(opens, high, low, closes)


def test_words_are_philox_of_seed_and_index() -> None:
    expected = [word for counter in (1, 2, 3) for word in philox4x64(counter, (7, 12_345))]
    assert su.words(12, seed=7, index=12_345).tolist() == expected


def test_a_longer_surrogate_begins_like_a_shorter_one() -> None:
    assert np.array_equal(su.signs(1000, seed=3, index=8)[:65], su.signs(65, seed=3, index=8))
    assert not np.array_equal(su.signs(64, seed=3, index=8), su.signs(64, seed=3, index=9))
    assert not np.array_equal(su.signs(64, seed=3, index=8), su.signs(64, seed=4, index=8))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_outside_64_bits_are_refused(seed: int) -> None:
    with pytest.raises(ArgumentError, match="seed and index"):
        su.words(1, seed=seed, index=0)


def test_signs_are_one_up_or_down_and_fair() -> None:
    signs = su.signs(10_000, seed=1, index=0)
    assert np.array_equal(np.unique(signs), [-1, 1])
    # 10,000 fair signs: 4 standard errors are 200.
    assert abs((signs > 0).sum() - 5000) < 200


def test_circular_blocks_are_runs_that_wrap() -> None:
    rows = su.block_indices(10, block=4, seed=2, index=5, kind="circular")
    for first in (0, 4, 8):
        block = rows[first : first + 4]
        assert np.array_equal(block, (block[0] + np.arange(block.size)) % 10)


def test_stationary_blocks_have_the_mean_length_asked_for() -> None:
    rows = su.block_indices(200_000, block=20, seed=2, index=5)
    breaks = (np.diff(rows) % 200_000 != 1).sum()
    # About 10,000 breaks, 4 standard errors are 400.
    assert breaks == pytest.approx(10_000, abs=400)
    assert np.bincount(rows // 20_000).min() > 15_000


def test_random_phases_keep_the_spectrum() -> None:
    x = np.cumsum(np.random.default_rng(1).standard_normal(501))
    for series in (x, x[:500]):
        shaped = su.phase_randomised(series, seed=1, index=1)
        assert np.allclose(np.abs(np.fft.rfft(shaped)), np.abs(np.fft.rfft(series)))
        assert shaped.mean() == pytest.approx(series.mean())


def test_iaaft_keeps_values_and_linear_reversal() -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_t(4, 4000)
    x[1:] -= 0.3 * x[:-1]
    order, rounds = su.Iaaft(x).order(seed=1, index=0)
    assert np.array_equal(np.sort(order), np.arange(4000))
    assert rounds < 200

    def lag_one(v: np.ndarray) -> float:
        return float(np.corrcoef(v[1:], v[:-1])[0, 1])

    assert lag_one(x[order]) == pytest.approx(lag_one(x), abs=0.01)
    assert abs(lag_one(rng.permutation(x))) < 0.06 < abs(lag_one(x))


def iaaft_by_numpy(x: np.ndarray, *, seed: int, index: int) -> tuple[np.ndarray, int]:
    """The definition on NumPy's transforms, which round otherwise: for values without ties."""
    by_value, amplitude = np.argsort(x), np.abs(np.fft.rfft(x))
    order = np.argsort(su.uniforms(x.size, seed=seed, index=index))
    for rounds in range(200):
        spectrum = np.fft.rfft(x[order])
        shaped = np.fft.irfft(spectrum / np.abs(spectrum) * amplitude, x.size)
        ranked = np.empty_like(by_value)
        ranked[np.argsort(shaped)] = by_value
        if np.array_equal(ranked, order):
            return order, rounds
        order = ranked
    return order, 200


# Transforms of one column and of many, of lengths with large primes (186,348 = 4 * 3 * 53 * 293),
# and odd ones, which are not halved.
@pytest.mark.parametrize("count", [2, 3, 4, 5, 16, 31, 64, 65, 293, 1_000, 1_023, 5_000, 18_634])
def test_iaaft_is_what_its_definition_gives(count: int) -> None:
    x = np.random.default_rng(count).standard_normal(count)
    order, rounds = su.Iaaft(x).order(seed=2, index=3)
    expected, rounds_expected = iaaft_by_numpy(x, seed=2, index=3)
    assert rounds == rounds_expected
    assert np.array_equal(order, expected)


@pytest.mark.parametrize("series", [[], [3.0], [2.0, 2.0, 2.0], [0.0, -0.0, 0.0, -0.0]])
def test_iaaft_of_equal_values_is_some_order(series: list[float]) -> None:
    order, _ = su.Iaaft(series).order(seed=2, index=3)
    assert sorted(order) == list(range(len(series)))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_iaaft_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ArgumentError, match="finite"):
        su.Iaaft([1.0, bad, 2.0])


@pytest.mark.parametrize("kind", ["sign", "block", "circular", "phase", "iaaft", "walk"])
@pytest.mark.parametrize("count", [2, 63, 64, 65, 500])
def test_surrogate_bars_are_bars(kind: su.Kind, count: int) -> None:
    made = su.surrogate_bars(bars(count), kind=kind, seed=9, index=2, block=5)
    assert len(made) == count
    assert (made.high >= np.maximum(made.open, made.close)).all()
    assert (made.low <= np.minimum(made.open, made.close)).all()
    assert made.low.min() >= 1
    again = su.surrogate_bars(bars(count), kind=kind, seed=9, index=2, block=5)
    assert np.array_equal(made.close, again.close)


def test_mirrored_bars_keep_every_range_and_gap() -> None:
    original = bars(300)
    made = su.surrogate_bars(original, kind="sign", seed=9, index=2)
    assert np.array_equal(made.high - made.low, original.high - original.low)
    assert np.array_equal(np.abs(np.diff(made.close)), np.abs(np.diff(original.close)))
    gaps = np.abs(original.open[1:] - original.close[:-1])
    assert np.array_equal(np.abs(made.open[1:] - made.close[:-1]), gaps)


def test_one_bar_mirrored_by_hand() -> None:
    # The bar after close 100 opens at 101, ranges 98..107 and closes at 105: mirrored in 100 it
    # opens at 99, ranges 93..102 and closes at 95.
    two = BarTicks(*(np.array(v) for v in ([100, 101], [100, 107], [100, 98], [100, 105])))
    index = next(k for k in range(64) if su.signs(2, seed=0, index=k)[1] < 0)
    made = su.surrogate_bars(two, kind="sign", seed=0, index=index)
    assert [a[1] for a in (made.open, made.high, made.low, made.close)] == [99, 102, 93, 95]


def test_reordered_bars_are_the_same_bars() -> None:
    original = bars(400)
    made = su.surrogate_bars(original, kind="iaaft", seed=4, index=0)

    def shapes(b: BarTicks) -> list[tuple[int, int, int]]:
        rows = np.stack([b.high - b.close, b.low - b.close, b.open - b.close], axis=1)
        return sorted(map(tuple, rows.tolist()))

    assert shapes(made) == shapes(original)


def test_p_values_count_the_observation_itself() -> None:
    # Two of four null figures reach 3: (1 + 2) / (4 + 1). None reach 9: 1/5.
    assert su.permutation_p(3, [1, 2, 3, 4]) == 0.6
    assert su.permutation_p(9, [1, 2, 3, 4]) == 0.2
    assert su.permutation_p(math.nan, [1, 2, 3, 4]) == 1.0
    assert su.permutation_p(9, [1, 2, math.nan, 4]) == 0.4


def test_p_values_of_null_series_are_uniform() -> None:
    # The figure is the sum of steps of a symmetric heavy-tailed series; 19 surrogates give the
    # values 1/20 .. 20/20. 600 series; chi-squared over the 20 cells.
    rng = np.random.default_rng(21)
    counts = np.zeros(20)
    for _ in range(600):
        steps = rng.standard_t(3, 80)
        null = [(steps * su.signs(80, seed=5, index=k)).sum() for k in range(19)]
        counts[round(su.permutation_p(steps.sum(), null) * 20) - 1] += 1
    assert stats.chisquare(counts).pvalue > 0.01
