"""Coin percentiles against counting every sequence, and the tables behind the metrics."""

import hashlib
import itertools
import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from python.tests.qfh import oracle
from sep_engine import _core, qfh
from sep_engine.errors import ArgumentError


@cache
def all_values(window: int) -> dict[str, NDArray[np.float64]]:
    """Each count metric of all 2^window sequences, from the oracle."""
    by_pairs: dict[tuple[int, ...], dict[str, float]] = {}
    rows = []
    joined = [True] * window
    for sequence in itertools.product((0, 1), repeat=window):
        bits = list(sequence)
        pairs = oracle.pair_counts(bits, joined)
        if pairs not in by_pairs:
            by_pairs[pairs] = oracle.window_metrics(bits, joined, window)
        rows.append(by_pairs[pairs])
    return {name: np.array([row[name] for row in rows]) for name in qfh.COUNT_METRICS}


@pytest.mark.parametrize("window", [8, 11, 14])
@pytest.mark.parametrize("name", qfh.COUNT_METRICS)
def test_percentiles_count_every_sequence(name: str, window: int) -> None:
    values = all_values(window)[name]
    coin = qfh.coin_distribution(name, window)
    for value in coin.atoms:
        share = np.mean(values < value + 1e-9)
        assert coin.percentile(value) == pytest.approx(100 * share, abs=1e-10)
    assert len(coin.atoms) == len(np.unique(values.round(9)))
    assert coin.mean == pytest.approx(values.mean(), abs=1e-12)


@pytest.mark.parametrize("name", qfh.COUNT_METRICS)
def test_a_coin_falls_on_each_percentile_as_often_as_it_says(name: str) -> None:
    # P(percentile <= q) is the largest cumulative share up to q. Windows 64 bits apart are
    # independent: 20,000 of them are within 5 standard errors, sqrt(q (1 - q) / 20000) each.
    bits = np.random.default_rng(1).integers(0, 2, 64 * 20_000, dtype=np.uint8)
    percentiles = qfh.rolling_bits(bits).percentile(name)[63::64]
    cumulative = qfh.coin_distribution(name, 64).cumulative
    for q in (0.05, 0.2, 0.5, 0.8, 0.95):
        share = cumulative[cumulative <= q].max()
        standard_error = np.sqrt(q * (1 - q) / 20_000)
        assert np.mean(percentiles <= 100 * q) == pytest.approx(share, abs=5 * standard_error)


def test_mean_entropy_of_a_fair_coin_is_0_925_at_64_bits() -> None:
    assert qfh.coin_distribution("entropy", 64).mean == pytest.approx(0.925, abs=1e-3)


def test_flip_ratio_is_binomial() -> None:
    # Each of 63 transitions is a flip with probability 1/2: P(F <= 20) = sum of C(63, i) / 2^63.
    expected = sum(math.comb(63, i) for i in range(21)) / 2**63
    percentile = qfh.coin_distribution("flip_ratio", 64).percentile(20 / 63)
    assert percentile == pytest.approx(100 * expected, rel=1e-12)


def test_percentiles_stay_exact_at_1024_bits() -> None:
    expected = sum(math.comb(1023, i) for i in range(471)) / 2**1023
    percentile = qfh.coin_distribution("flip_ratio", 1024).percentile(470 / 1023)
    assert percentile == pytest.approx(100 * expected, rel=1e-11)


def test_strict_up_has_no_percentile() -> None:
    prices = 1 + np.cumsum(np.random.default_rng(2).integers(-1, 2, 200)) * 0.001
    result = qfh.rolling(prices, tick=0.001, encoding="strict_up")
    assert np.isnan(result.percentile("entropy")).all()
    assert np.isnan(result.percentile("damped")).all()


@pytest.mark.parametrize("name", qfh.SIMULATED_METRICS)
def test_a_simulated_percentile_agrees_with_other_tosses(name: str) -> None:
    # Tosses of another generator: each of 2,000 windows falls below the percentile q with
    # probability q, give or take the atom at q (up to 0.1 for the error share of 64 bits) and five
    # standard errors of both simulations.
    coin = qfh.simulated_distribution(name, 64)
    bits = np.random.default_rng(5).integers(0, 2, 128 * 2_000 + 1, dtype=np.uint8)
    metrics = qfh.rolling_bits(bits, metrics=[name], stride=128)
    percentiles = metrics.percentile(name)[1:]
    for q in (5.0, 25.0, 50.0, 75.0, 95.0):
        atom = np.mean(np.abs(coin.percentiles(coin.values) - q) < 6) * 100
        error = coin.standard_error(q) + 100 * math.sqrt(q / 100 * (1 - q / 100) / 2_000)
        assert 100 * np.mean(percentiles <= q) == pytest.approx(q, abs=min(atom, 10.0) + 5 * error)


def test_the_simulated_damped_value_is_symmetric_and_has_the_exact_variance() -> None:
    # Up and down are exchangeable, so the median is 0 and percentiles of v and -v add to 100.
    coin = qfh.simulated_distribution("damped", 64)
    there, back = coin.percentiles(np.array([1.5, -1.5]))
    assert there + back == pytest.approx(100.0, abs=5 * 2 * coin.standard_error(50.0))
    # 100 * sqrt(0.5 * 0.5 / 20000) = 0.354 points.
    assert coin.standard_error(50.0) == pytest.approx(0.354, abs=1e-3)


def test_a_simulation_depends_on_its_seed_alone() -> None:
    first = qfh.simulated_distribution("path_similarity", 32, draws=200, seed=3)
    qfh.simulated_distribution.cache_clear()
    again = qfh.simulated_distribution("path_similarity", 32, draws=200, seed=3)
    other = qfh.simulated_distribution("path_similarity", 32, draws=200, seed=4)
    assert first.values.tobytes() == again.values.tobytes() != other.values.tobytes()


def test_the_percentile_of_a_prediction_error_is_of_its_predictor() -> None:
    # "majority8" errs on a coin as often as "markov" in the mean, but with other variance.
    markov = qfh.simulated_distribution("qbsa_error", 64)
    majority = qfh.simulated_distribution("qbsa_error", 64, predictor="majority8")
    assert markov.values.tobytes() != majority.values.tobytes()
    bits = np.random.default_rng(6).integers(0, 2, 1000, dtype=np.uint8)
    found = qfh.rolling_bits(bits, metrics=["qbsa_error"], predictor="majority8")
    expected = majority.percentiles(found.qbsa_error)
    np.testing.assert_array_equal(found.percentile("qbsa_error"), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "entropy"}, "metric must be one of lambda_, damped"),
        ({"window": 7}, "window must be in 8..1024, was 7"),
        ({"draws": 99}, "draws must be in 100"),
        ({"seed": -1}, "seed >= 0"),
    ],
)
def test_a_bad_simulation_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        qfh.simulated_distribution(**({"metric": "damped", "window": 64} | arguments))  # type: ignore[arg-type]


def test_a_metric_without_a_coin_is_named() -> None:
    metrics = qfh.rolling_bits(np.zeros(100, dtype=np.uint8))
    with pytest.raises(ArgumentError, match="not of 'flat_ratio'"):
        metrics.percentile("flat_ratio")


def test_tables_are_the_same_everywhere() -> None:
    # Made in double-double arithmetic, so they depend on no libm: figures of x86-64, g++ 12.
    digests = {
        (name, window): hashlib.sha256(raw).hexdigest()
        for window in (8, 64, 1024)
        for name, raw in _core.table_bytes(window).items()
    }
    assert digests == SHA256


SHA256 = {
    ("g", 8): "a6f7b342b20b6082c13a06a693bc9d4a351c779440fef20daed6cf7392419c3d",
    ("damped_rows", 8): "473207e05ab5df44ce228aac2925bad3468625248776249a798df86ab9430380",
    ("row_of", 8): "bb3da749d191209e7309bbf91d34b073fcddc3f2ef3dfc37c9d9b4e1f9ed7557",
    ("spans", 8): "3d53d6694a55ccae38e5708c15289d36fce695f70724bc15a1395e32b42b007c",
    ("decays", 8): "12f04351c09602af4726ebad6aeaf7b8254e141663fa58b14011e12a8680d636",
    ("templates", 8): "4a844c46e6a2f1c41686662ccff1fdef2bd0de390eef1a5417690c20304ebcd4",
    ("g", 64): "a6f7b342b20b6082c13a06a693bc9d4a351c779440fef20daed6cf7392419c3d",
    ("damped_rows", 64): "473207e05ab5df44ce228aac2925bad3468625248776249a798df86ab9430380",
    ("row_of", 64): "bb3da749d191209e7309bbf91d34b073fcddc3f2ef3dfc37c9d9b4e1f9ed7557",
    ("spans", 64): "7528bd5bb160aa356486006e69ce465e8c07922211c7f6bc27eaf68781af6d03",
    ("decays", 64): "51d73db472656954058dff77d385700957f509f7a4cedf2920c48c0400d67b40",
    ("templates", 64): "ef371536180bb13f2713292ded070e37161fbc61143e77a760776790719b6e4d",
    ("g", 1024): "a6f7b342b20b6082c13a06a693bc9d4a351c779440fef20daed6cf7392419c3d",
    ("damped_rows", 1024): "473207e05ab5df44ce228aac2925bad3468625248776249a798df86ab9430380",
    ("row_of", 1024): "bb3da749d191209e7309bbf91d34b073fcddc3f2ef3dfc37c9d9b4e1f9ed7557",
    ("spans", 1024): "e6686f6aef55531af9724a1f82323c7a83fa220600c60a85e5528f73c6d73152",
    ("decays", 1024): "b4aeb5567d36d3d796b4bfcbfd13df69b49a74dfac670746477684f9196bcf20",
    ("templates", 1024): "8ee07325558defc55dd11216d8c7ce1d4ce80ca748528d1059a11cd8c68a179d",
}
