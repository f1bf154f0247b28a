"""The rolling metrics against a slow oracle, and the rules that hold for all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sep_engine
from python.tests.qfh import oracle
from python.tests.qfh.oracle import METRICS
from sep_engine import qfh
from sep_engine.errors import ArgumentError, BackendError

TICK = 1e-5
AVAILABLE = [backend.name for backend in sep_engine.backends() if backend.available]


def walk(n: int, seed: int, *, flat_share: float = 0.2) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    steps = rng.choice([-1, 0, 1], n, p=[(1 - flat_share) / 2, flat_share, (1 - flat_share) / 2])
    return (110_000 + np.cumsum(steps)) * TICK


def same_bytes(a: qfh.RollingMetrics, b: qfh.RollingMetrics) -> bool:
    names = [*METRICS, "complete"] + ([] if a.flat_ratio is None else ["flat_ratio"])
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in names)


@pytest.mark.parametrize("window", [8, 19, 20, 21, 63, 64, 65, 130, 1024])
def test_rolling_agrees_with_the_definitions(window: int) -> None:
    rng = np.random.default_rng(window)
    bits = rng.integers(0, 2, 1200, dtype=np.uint8)
    gap = rng.random(1200) < 0.01
    result = qfh.rolling_bits(bits, window=window, gap=gap)
    joined = [not bool(g) for g in gap]
    for k in [*range(0, 1100, 37), *range(1100, 1200)]:
        expected = oracle.window_metrics(bits[: k + 1].tolist(), joined[: k + 1], window)
        for name, value in expected.items():
            found = getattr(result, name)[k]
            assert found == pytest.approx(value, abs=1e-12, nan_ok=True), f"{name} at {k}"


def test_index_k_belongs_to_price_k_and_flat_prices_repeat_the_metrics() -> None:
    prices = walk(400, 1)
    result = qfh.rolling(prices, tick=TICK, window=32)
    bits, index = oracle.moves(prices, TICK)
    first_full = index[31]
    assert np.isnan(result.entropy[:first_full]).all()
    assert not np.isnan(result.entropy[first_full:]).any()
    for k in range(first_full, 400):
        known = [bit for bit, at in zip(bits, index, strict=True) if at <= k]
        expected = oracle.window_metrics(known, [True] * len(known), 32)
        assert result.entropy[k] == pytest.approx(expected["entropy"], abs=1e-12)
        assert result.damped[k] == pytest.approx(expected["damped"], abs=1e-12)


def test_flat_ratio_is_the_share_of_prices_that_did_not_move() -> None:
    # Moves: up, flat, up, flat, then 8 flats. Of the 8 newest prices at row 9, rows 2..9, rows
    # 2, 4, 5, 6, 7, 8 and 9 did not move: 7 of 8.
    ticks = np.array([1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3], dtype=np.float64)
    result = qfh.rolling(ticks, tick=1.0, window=8)
    assert result.flat_ratio is not None
    assert np.isnan(result.flat_ratio[:8]).all()
    assert result.flat_ratio[9] == 7 / 8
    assert result.flat_ratio[12] == 1.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    window=st.integers(8, 200),
    cut=st.integers(201, 499),
    encoding=st.sampled_from(qfh.ENCODINGS),
)
def test_changing_prices_after_t_changes_nothing_at_t(
    seed: int, window: int, cut: int, encoding: qfh.Encoding
) -> None:
    prices = walk(500, seed)
    changed = np.concatenate([prices[:cut], walk(500 - cut, seed + 1)])
    a = qfh.rolling(prices, tick=TICK, window=window, encoding=encoding)
    b = qfh.rolling(changed, tick=TICK, window=window, encoding=encoding)
    short = qfh.rolling(prices[:cut], tick=TICK, window=window, encoding=encoding)
    for name in [*METRICS, "flat_ratio", "complete"]:
        assert getattr(a, name)[:cut].tobytes() == getattr(b, name)[:cut].tobytes()
        assert getattr(a, name)[:cut].tobytes() == getattr(short, name).tobytes()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), window=st.integers(8, 130))
def test_a_mirrored_series_changes_signs_and_nothing_else(seed: int, window: int) -> None:
    prices = walk(300, seed)
    mirrored = np.rint((2.2 - prices) / TICK) * TICK
    a = qfh.rolling(prices, tick=TICK, window=window)
    b = qfh.rolling(mirrored, tick=TICK, window=window)
    for name in ("flip_ratio", "entropy", "coherence", "state_coherence", "stability", "lambda_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.null_ratio, b.rupture_ratio)
    for name in ("balance", "damped", "damped_anchored"):
        np.testing.assert_array_equal(getattr(a, name), -getattr(b, name))


def test_every_metric_keeps_its_range() -> None:
    result = qfh.rolling_bits(np.random.default_rng(3).integers(0, 2, 5000, dtype=np.uint8))
    for name in METRICS[:8]:
        values = getattr(result, name)[63:]
        assert values.min() >= 0, name
        assert values.max() <= 1, name
    assert np.abs(result.balance[63:]).max() <= 1
    assert result.lambda_[63:].min() >= 0.01
    assert result.lambda_[63:].max() <= 0.5


def test_a_fair_coin_has_mean_entropy_0_925_at_64_bits() -> None:
    bits = np.random.default_rng(4).integers(0, 2, 200_000, dtype=np.uint8)
    assert qfh.rolling_bits(bits).entropy[63:].mean() == pytest.approx(0.925, abs=2e-3)


def test_gaps_leave_nan_where_too_little_is_valid() -> None:
    bits = np.random.default_rng(5).integers(0, 2, 300, dtype=np.uint8)
    gap = np.zeros(300, dtype=np.bool_)
    gap[100:120] = True  # at row 119, 43 of 63 transitions are valid; 48 are needed
    result = qfh.rolling_bits(bits, gap=gap)
    assert np.isnan(result.entropy[119])
    assert not np.isnan(result.entropy[[99, 200]]).any()
    assert not result.complete[100:182].any()
    assert result.complete[182]
    assert np.isnan(result.percentile("entropy")[181])
    assert not np.isnan(result.percentile("entropy")[182])


@pytest.mark.parametrize("backend", AVAILABLE)
def test_every_backend_gives_the_bytes_of_the_reference(backend: qfh.BackendName) -> None:
    prices = walk(20_000, 6)
    gap = np.random.default_rng(7).random(20_000) < 0.002
    for window in (8, 31, 32, 33, 63, 64, 65, 127, 128, 500, 1024):
        for encoding in qfh.ENCODINGS:
            arguments = {"tick": TICK, "window": window, "encoding": encoding, "gap": gap}
            reference = qfh.rolling(prices, **arguments, backend="scalar")
            assert same_bytes(qfh.rolling(prices, **arguments, backend=backend), reference)


def test_a_named_backend_that_cannot_run_is_an_error() -> None:
    absent = [backend for backend in sep_engine.backends() if not backend.available]
    if not absent:
        pytest.skip("every backend runs on this machine")
    bits = np.zeros(100, dtype=np.uint8)
    for backend in absent:
        with pytest.raises(BackendError, match=f"backend {backend.name} cannot run here: .+"):
            qfh.rolling_bits(bits, backend=backend.name)


def test_an_unknown_backend_or_encoding_is_refused_by_name() -> None:
    with pytest.raises(ArgumentError, match=r"backend must be one of auto, scalar, .*, was abacus"):
        qfh.rolling_bits(np.zeros(100, dtype=np.uint8), backend="abacus")
    with pytest.raises(ArgumentError, match=r"encoding must be one of moves, .*, was up"):
        qfh.rolling(walk(100, 0), tick=TICK, encoding="up")
