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
from sep_engine.qfh import calibration
from sep_engine.qfh.calibration import values_between


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


def every_word(bits: int) -> NDArray[np.uint8]:
    """(2^bits * bits + 1,) a first bit, then all sequences one after the other."""
    words = np.arange(2**bits, dtype=">u4").view(np.uint8).reshape(-1, 4)
    return np.append(np.uint8(0), np.unpackbits(words, axis=1)[:, -bits:])


@cache
def enumerated(
    metric: str, window: int, predictor: qfh.Predictor = "markov"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (k,) values that sequences of all the bits that it looks back on give, by the backend
    `scalar`, and P(X <= value) of each."""
    bits = 2 * window if metric in ("qbsa_error", "confidence", "confidence_low") else window
    # A value at the end of each sequence: nothing looks at a bit before it.
    found = qfh.rolling_bits(
        every_word(bits),
        window=window,
        stride=bits,
        metrics=[metric],
        backend="scalar",
        predictor=predictor,
    )
    values = getattr(found, metric)[1:].round(9)
    assert values.size == 2**bits
    atoms, counts = np.unique(values, return_counts=True)
    return atoms, counts.cumsum() / values.size


@pytest.mark.parametrize("predictor", ["markov", "persistence", "majority8"])
@pytest.mark.parametrize("name", ["qbsa_error", "confidence", "confidence_low"])
def test_percentiles_of_predictions_count_every_sequence(
    name: str, predictor: qfh.Predictor
) -> None:
    # All 2^16 sequences of two windows of 8: each predictor is wrong of 8 times as a coin is.
    values, shares = enumerated(name, 8, predictor)
    coin = qfh.coin_distribution(name, 8)
    np.testing.assert_allclose(coin.atoms, values, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(coin.cumulative, shares)


def test_the_percentile_of_lambda_counts_every_sequence_of_twenty() -> None:
    values, shares = enumerated("lambda_", 20)
    for window in (8, 64, 1024):
        coin = qfh.coin_distribution("lambda_", window)
        np.testing.assert_allclose(coin.atoms, values, rtol=0, atol=1e-9)
        np.testing.assert_allclose(coin.cumulative, shares, rtol=0, atol=1e-12)


def test_a_coin_collapses_as_often_as_counting_says() -> None:
    # Of 31 transitions 7 are the newest part. The larger of n00 and n11 must be at least 5 of them,
    # 0.6 * 7 = 4.2, and at most 14 of the other 24, 0.6 * 24 = 14.4. The parts share one bit, and
    # exchanging up and down changes neither event: P = p(7, 5) (1 - p(24, 15)).
    def share(transitions: int, needed: int) -> float:
        ways = {(bit, 0, 0): 0.5 for bit in (0, 1)}  # by newest bit, n00 and n11
        for _ in range(transitions):
            grown: dict[tuple[int, int, int], float] = {}
            for ((last, n00, n11), p), bit in itertools.product(ways.items(), (0, 1)):
                key = (bit, n00 + (last == bit == 0), n11 + (last == bit == 1))
                grown[key] = grown.get(key, 0.0) + p / 2
            ways = grown
        return sum(p for (_, n00, n11), p in ways.items() if max(n00, n11) >= needed)

    coin = qfh.coin_distribution("collapse", 32)
    assert coin.atoms.tolist() == [0.0, 1.0]
    expected = share(7, 5) * (1 - share(24, 15))
    assert coin.cumulative.tolist() == pytest.approx([1 - expected, 1.0], abs=1e-12)
    # And so many of 100,000 windows of a coin, within five standard errors.
    bits = np.random.default_rng(9).integers(0, 2, 32 * 100_000 + 1, dtype=np.uint8)
    found = qfh.rolling_bits(bits, window=32, stride=32, metrics=["collapse"]).collapse[1:]
    error = math.sqrt(expected * (1 - expected) / 100_000)
    assert found.mean() == pytest.approx(expected, abs=5 * error)


@pytest.mark.parametrize("name", qfh.SIMULATED_METRICS)
def test_a_simulated_percentile_is_that_of_all_sequences(name: str) -> None:
    # All 2^20 sequences. The largest distance between the distribution function of 20,000 draws and
    # the true one is above 1.95 / sqrt(20000) = 0.0138 one time in a thousand (Kolmogorov).
    values, shares = enumerated(name, 20)
    coin = qfh.simulated_distribution(name, 20)
    assert np.abs(coin.percentiles(values + 1e-9) / 100 - shares).max() < 0.0138
    assert coin.percentile(values.min() - 1e-6) == 0.0
    assert coin.percentile(values.max() + 1e-9) == 100.0
    # No other metric's distribution is as near.
    others = [n for n in qfh.SIMULATED_METRICS if n != name]
    far = [qfh.simulated_distribution(n, 20).percentiles(values) / 100 - shares for n in others]
    assert min(np.abs(one).max() for one in far) > 0.0138


@pytest.mark.parametrize("name", qfh.SIMULATED_METRICS)
def test_a_simulated_percentile_agrees_with_other_tosses(name: str) -> None:
    # Tosses of another generator: 4,000 windows are at or below each of the coin's atoms as often
    # as it says, within Kolmogorov's 1.95 / sqrt(n) of both simulations.
    coin = qfh.simulated_distribution(name, 64)
    bits = np.random.default_rng(5).integers(0, 2, 64 * 4_000 + 1, dtype=np.uint8)
    metrics = qfh.rolling_bits(bits, metrics=[name], stride=64)
    values, percentiles = getattr(metrics, name)[1:], metrics.percentile(name)
    below = np.searchsorted(np.sort(values), coin.atoms + 2.0**-39, side="right") / values.size
    assert np.abs(below - coin.cumulative).max() < 1.95 * (4_000**-0.5 + 20_000**-0.5)
    # A window that is not full has none; the others have the share at or below their value.
    assert np.isnan(percentiles[0])
    assert percentiles[1:].tolist() == [coin.percentile(value) for value in values]


@pytest.mark.parametrize("name", qfh.CALIBRATED_METRICS)
@pytest.mark.parametrize("window", [32, 64])
def test_a_range_of_percentiles_is_a_range_of_values(name: str, window: int) -> None:
    bits = np.random.default_rng(8).integers(0, 2, 4_000, dtype=np.uint8)
    metrics = qfh.rolling_bits(bits, window=window, metrics=[name])
    values, percentiles = getattr(metrics, name), metrics.percentile(name)
    seen = percentiles[~np.isnan(percentiles)]
    ends = [0.0, 5.0, 20.0, 50.0, 80.0, 95.0, 100.0, *seen[:: seen.size // 20].tolist()]
    for low, high in itertools.combinations_with_replacement(sorted(ends), 2):
        least, most = values_between(name, window, low, high)
        np.testing.assert_array_equal(
            (values >= least) & (values <= most) & metrics.complete,
            (percentiles >= low) & (percentiles <= high),
        )


def test_the_simulated_damped_value_is_symmetric_and_has_the_exact_variance() -> None:
    # Up and down are exchangeable, so the median is 0 and percentiles of v and -v add to 100.
    coin = qfh.simulated_distribution("damped", 64)
    there, back = coin.percentiles(np.array([1.5, -1.5]))
    assert there + back == pytest.approx(100.0, abs=5 * 2 * coin.standard_error(50.0))
    # 100 * sqrt(0.5 * 0.5 / 20000) = 0.354 points.
    assert coin.standard_error(50.0) == pytest.approx(0.354, abs=1e-3)


def test_a_simulation_depends_on_its_seed_alone() -> None:
    first = qfh.simulated_distribution("path_similarity", 32, draws=200, seed=3)
    calibration._simulated.cache_clear()
    again = qfh.simulated_distribution("path_similarity", 32, draws=200, seed=3)
    other = qfh.simulated_distribution("path_similarity", 32, draws=200, seed=4)
    assert first.atoms.tobytes() == again.atoms.tobytes() != other.atoms.tobytes()


def test_simulated_percentiles_are_the_same_everywhere() -> None:
    # Philox and the engine's own tables: figures of x86-64, g++ 12, from 20,000 windows of 64 bits.
    digests = {}
    for name in qfh.SIMULATED_METRICS:
        coin = qfh.simulated_distribution(name, 64)
        raw = coin.atoms.tobytes() + coin.cumulative.tobytes()
        digests[name] = hashlib.sha256(raw).hexdigest()[:16]
    assert digests == COIN_SHA256


def test_a_window_too_short_to_collapse_has_no_percentile() -> None:
    bits = np.random.default_rng(6).integers(0, 2, 100, dtype=np.uint8)
    found = qfh.rolling_bits(bits, window=31, metrics=["collapse"])
    assert np.isnan(found.percentile("collapse")).all()
    with pytest.raises(ArgumentError, match=r"window must be in 32\.\.1024 for collapse, was 31"):
        qfh.coin_distribution("collapse", 31)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "entropy"}, "metric must be one of damped, damped_anchored, path_confidence"),
        ({"window": 7}, "window must be in 8..1024, was 7"),
        ({"draws": 99}, "draws must be in 100"),
        ({"seed": -1}, r"seed must be in 0\.\."),
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


COIN_SHA256 = {
    "damped": "29d1d85be3247cdf",
    "damped_anchored": "bfcb7d8327150b98",
    "path_confidence": "856ddd0d9bf111a5",
    "path_similarity": "5d72d831940ff1be",
}
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
