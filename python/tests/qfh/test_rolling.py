"""The rolling metrics against a slow oracle, and the rules that hold for all of them."""

import itertools
import signal
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
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
    return a.columns.keys() == b.columns.keys() and all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for name in [*a.columns, "complete"]
    )


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
            arguments["metrics"] = "all"
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


@pytest.mark.parametrize("window", [8, 33, 64, 130, 1024])
def test_path_metrics_agree_with_the_definitions(window: int) -> None:
    bits = np.random.default_rng(window).integers(0, 2, 1100, dtype=np.uint8)
    result = qfh.rolling_bits(bits, window=window, metrics="all")
    for k in range(max(window, 20) - 1, 1100, 29):
        confidence, similarity = oracle.path_metrics(
            bits[: k + 1].tolist(), window, float(result.lambda_[k])
        )
        assert result.path_confidence[k] == pytest.approx(confidence, abs=1e-11)
        assert result.path_similarity[k] == pytest.approx(similarity, abs=1e-11)


@pytest.mark.parametrize("predictor", ["markov", "persistence", "majority8"])
@pytest.mark.parametrize("window", [8, 20, 65])
def test_each_bit_is_predicted_once_from_the_bits_before_it(
    window: int, predictor: qfh.Predictor
) -> None:
    bits = (np.random.default_rng(window).random(300) < 0.6).astype(np.uint8)
    result = qfh.rolling_bits(bits, window=window, metrics=["qbsa_error"], predictor=predictor)
    errors = oracle.prediction_errors(bits.tolist(), window, predictor)
    assert np.isnan(result.qbsa_error[: 2 * window - 1]).all()
    for k in range(2 * window - 1, 300):
        wrong = sum(bool(error) for error in errors[k - window + 1 : k + 1])
        assert result.qbsa_error[k] == wrong / window


def test_confidence_has_its_wilson_lower_bound() -> None:
    bits = np.random.default_rng(1).integers(0, 2, 400, dtype=np.uint8)
    result = qfh.rolling_bits(bits, metrics="all")
    p, n, z = result.confidence[127:], 64, 1.959963984540054
    centre = p + z * z / (2 * n)
    low = (centre - z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    np.testing.assert_allclose(result.confidence_low[127:], low, rtol=0, atol=1e-14)


@pytest.mark.parametrize("window", [32, 33, 64, 200])
def test_collapse_agrees_with_its_definition(window: int) -> None:
    rng = np.random.default_rng(window)
    # Runs whose length varies, so that collapses happen.
    bits = np.repeat(rng.integers(0, 2, 400), rng.geometric(0.3, 400)).astype(np.uint8)[:800]
    gap = rng.random(800) < 0.02
    result = qfh.rolling_bits(bits, window=window, metrics=["collapse"], gap=gap)
    joined = [not bool(g) for g in gap]
    for k in range(window - 1, 800):
        expected = oracle.collapse(bits[: k + 1].tolist(), joined[: k + 1], window, 0.6)
        if not np.isnan(result.collapse[k]):
            assert result.collapse[k] == expected, k
    assert 0 < np.nanmean(result.collapse) < 1


def test_a_stride_gives_every_so_many_th_value() -> None:
    prices = walk(1000, 8)
    whole = qfh.rolling(prices, tick=TICK)
    for stride in (2, 7, 64, 999, 1001):
        some = qfh.rolling(prices, tick=TICK, stride=stride)
        assert some.index.tolist() == list(range(0, 1000, stride))
        np.testing.assert_array_equal(some.damped, whole.damped[::stride])
        np.testing.assert_array_equal(
            some.percentile("entropy"), whole.percentile("entropy")[::stride]
        )


def test_float32_is_the_float64_result_rounded_once() -> None:
    prices = walk(1000, 9)
    whole = qfh.rolling(prices, tick=TICK, metrics="all")
    single = qfh.rolling(prices, tick=TICK, metrics="all", dtype=np.float32)
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(getattr(single, name), values.astype(np.float32))
    for name in qfh.COUNT_METRICS:
        np.testing.assert_array_equal(single.percentile(name), whole.percentile(name))


def test_only_the_metrics_that_are_asked_for_are_computed() -> None:
    result = qfh.rolling(walk(200, 1), tick=TICK, metrics=["entropy", "collapse"])
    assert list(result.columns) == ["entropy", "collapse"]
    with pytest.raises(AttributeError, match="damped was not asked for"):
        _ = result.damped
    with pytest.raises(ArgumentError, match=r"metrics must be among .*, was entropie"):
        qfh.rolling(walk(200, 1), tick=TICK, metrics=["entropie"])
    with pytest.raises(TypeError, match="metrics must be 'all' or a sequence of names"):
        qfh.rolling(walk(200, 1), tick=TICK, metrics="entropy")


def test_results_go_into_given_arrays() -> None:
    prices = walk(500, 2)
    out = {"entropy": np.empty(500, dtype=np.float32), "complete": np.empty(500, dtype=np.bool_)}
    result = qfh.rolling(prices, tick=TICK, metrics=["entropy", "damped"], out=out)
    assert result.entropy is out["entropy"]
    whole = qfh.rolling(prices, tick=TICK)
    np.testing.assert_array_equal(out["entropy"], whole.entropy.astype(np.float32))
    np.testing.assert_array_equal(out["complete"], whole.complete)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.empty(499), ArgumentError, r"out\['entropy'\] must have shape \(500,\)"),
        (np.empty(500, dtype=np.int64), TypeError, "must be an array of dtype float64 or float32"),
        (np.empty(1000)[::2], ArgumentError, "must be contiguous, aligned and writeable"),
        (np.broadcast_to(0.0, 500), ArgumentError, "must be contiguous, aligned and writeable"),
        ([0.0] * 500, TypeError, "must be an array of dtype .*, was list"),
    ],
)
def test_a_bad_output_array_is_refused(array: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        qfh.rolling(walk(500, 2), tick=TICK, metrics=["entropy"], out={"entropy": array})


def test_chunks_of_a_series_give_the_values_of_the_whole() -> None:
    prices = walk(5000, 3)
    whole = qfh.rolling(prices, tick=TICK, metrics="all")
    cuts = [0, 1, 2, 700, 701, 4000, 5000]
    parts = list(
        qfh.rolling_chunks(
            (prices[a:b] for a, b in itertools.pairwise(cuts)), tick=TICK, metrics="all"
        )
    )
    assert np.concatenate([part.index for part in parts]).tolist() == list(range(5000))
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), values)


def test_many_series_of_any_lengths_are_taken_in_one_call() -> None:
    series = [walk(n, n) for n in (100, 500, 65)]
    results = qfh.rolling_many(series, tick=TICK, metrics=["damped"])
    for prices, result in zip(series, results, strict=True):
        np.testing.assert_array_equal(result.damped, qfh.rolling(prices, tick=TICK).damped)
    with pytest.raises(ArgumentError, match="series 1: prices must not be empty"):
        qfh.rolling_many([series[0], series[0][:0]], tick=TICK)
    with pytest.raises(TypeError, match="series must be a sequence of price arrays, was dict"):
        qfh.rolling_many({"EUR_USD": series[0]}, tick=TICK)  # type: ignore[arg-type]


def test_progress_is_called_and_may_stop_the_work() -> None:
    prices = walk(600_000, 4)
    seen: list[tuple[int, int]] = []
    # Several threads take more at a time.
    qfh.rolling(
        prices, tick=TICK, threads=1, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (600_000, 600_000)
    assert len(seen) > 1

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qfh.rolling(prices, tick=TICK, progress=stop)


@pytest.mark.parametrize("kind", ["numpy", "parquet"])
def test_a_file_is_rolled_in_chunks_as_the_whole_is(tmp_path: Path, kind: str) -> None:
    prices = walk(20_000, 31)
    if kind == "numpy":
        np.save(tmp_path / "prices.npy", prices)
        mapped = np.load(tmp_path / "prices.npy", mmap_mode="r")
        chunks: Iterable[Any] = (mapped[first : first + 7_001] for first in range(0, 20_000, 7_001))
    else:
        pq.write_table(pa.table({"close": prices}), tmp_path / "p.parquet", row_group_size=6_000)
        file = pq.ParquetFile(tmp_path / "p.parquet", memory_map=True)
        chunks = (batch["close"] for batch in file.iter_batches(batch_size=4_096))
    parts = list(qfh.rolling_chunks(chunks, tick=TICK, window=32, stride=3))
    assert len(parts) == {"numpy": 3, "parquet": 5}[kind]  # 20,000 / 7,001 and / 4,096, upwards
    whole = qfh.rolling(prices, tick=TICK, window=32, stride=3)
    np.testing.assert_array_equal(np.concatenate([part.index for part in parts]), whole.index)
    joined = np.concatenate([part.damped for part in parts])
    assert joined.tobytes() == whole.damped.tobytes()


def test_ctrl_c_stops_a_long_call() -> None:
    bits = np.zeros(50_000_000, dtype=np.uint8)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    # A shell starts a background job with SIGINT ignored, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            qfh.rolling_bits(bits, metrics=["entropy"], backend="scalar")
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGINT, before)
