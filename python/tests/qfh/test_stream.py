"""The stream equals the batch to the last bit, also after its state was saved."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from python.tests.qfh.test_rolling import TICK, walk
from sep_engine import qfh
from sep_engine.errors import ArgumentError


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    window=st.integers(8, 200),
    encoding=st.sampled_from(qfh.ENCODINGS),
    saved_at=st.integers(0, 399),
)
def test_updates_give_the_bytes_of_the_batch(
    seed: int, window: int, encoding: qfh.Encoding, saved_at: int
) -> None:
    prices = walk(400, seed)
    gap = np.random.default_rng(seed).random(400) < 0.01
    options = {"tick": TICK, "window": window, "encoding": encoding}
    batch = qfh.rolling(prices, **options, gap=gap, metrics="all")
    stream = qfh.Stream(**options, metrics=qfh.METRICS)
    for k in range(400):
        if k == saved_at:
            stream = qfh.Stream.restore(stream.snapshot())
        metrics = stream.update(prices[k], bool(gap[k]))
        for name in qfh.METRICS:
            found = struct.pack("d", getattr(metrics, name))
            assert found == getattr(batch, name)[k].tobytes(), f"{name} at {k}"
        assert metrics.complete == batch.complete[k]


def test_percentiles_equal_those_of_the_batch() -> None:
    prices = walk(300, 2)
    options = {"tick": TICK, "window": 40, "metrics": qfh.METRICS, "predictor": "majority8"}
    batch = qfh.rolling(prices, **options)
    stream = qfh.Stream(**options)
    seen = 0
    for k, price in enumerate(prices):
        metrics = stream.update(price)
        for name in qfh.CALIBRATED_METRICS:
            found, expected = metrics.percentile(name), batch.percentile(name)[k]
            assert found == expected or (math.isnan(found) and math.isnan(expected)), (name, k)
            seen += not math.isnan(found)
    assert seen > 3_000
    for name in ("flat_ratio", "luck"):
        with pytest.raises(ArgumentError, match=f"not of '{name}'"):
            metrics.percentile(name)


def test_it_says_what_it_computes() -> None:
    assert qfh.Stream(tick=TICK).computed == qfh.CHEAP_METRICS
    stream = qfh.Stream(
        tick=TICK, metrics=["path_similarity", "qbsa_error"], predictor="persistence"
    )
    # Metrics of one group come together, and the path's come with the damped sums' own figures.
    again = qfh.Stream.restore(stream.snapshot())
    for one in (stream, again):
        assert one.computed == (
            *("path_confidence", "path_similarity"),
            *("qbsa_error", "confidence", "confidence_low", "flat_ratio"),
        )
        assert (one.predictor, one.collapse_share) == ("persistence", 0.6)
    assert math.isnan(stream.update(1.1).percentile("entropy"))


def test_it_has_no_percentile_before_it_is_full_and_none_for_strict_up() -> None:
    assert math.isnan(qfh.Stream(tick=TICK).update(1.1).percentile("entropy"))
    stream = qfh.Stream(tick=TICK, window=8, encoding="strict_up")
    for price in walk(50, 3):
        metrics = stream.update(price)
    assert metrics.complete
    assert math.isnan(metrics.percentile("entropy"))


def test_it_tells_the_last_bit_and_its_run() -> None:
    stream = qfh.Stream(tick=0.01, window=8)
    assert stream.update(1.10).last_bit is None
    assert [stream.update(p).run_length for p in (1.11, 1.12, 1.12, 1.11)] == [1, 2, 2, 1]
    assert stream.metrics.last_bit == 0
    assert stream.metrics.bits_seen == 3


@pytest.mark.parametrize("price", [0.0, -1.1, math.nan, math.inf, 1.105])
def test_a_bad_price_is_refused_and_changes_nothing(price: float) -> None:
    stream = qfh.Stream(tick=0.01)
    stream.update(1.10)
    before = stream.snapshot()
    with pytest.raises(ArgumentError, match="price must be"):
        stream.update(price)
    assert stream.snapshot() == before


def test_a_bank_gives_what_its_streams_would_give() -> None:
    rng = np.random.default_rng(5)
    ticks = np.array([1e-5, 1e-3, 0.01])
    walks = [np.rint(walk(300, seed) / TICK) * tick for seed, tick in enumerate(ticks)]
    bank = qfh.StreamBank(ticks, window=20, metrics="all")
    streams = [qfh.Stream(tick=tick, window=20, metrics=qfh.METRICS) for tick in ticks]
    for k in range(300):
        gap = rng.random(3) < 0.05
        absent = rng.random(3) < 0.1
        prices = np.where(absent, np.nan, [series[k] for series in walks])
        found = bank.update(prices, gap=gap)
        for i, stream in enumerate(streams):
            if not absent[i]:
                stream.update(prices[i], bool(gap[i]))
            for name in qfh.METRICS:
                expected = struct.pack("d", getattr(stream.metrics, name))
                assert found[name][i].tobytes() == expected, f"{name} of {i} at {k}"


def test_a_bank_refuses_a_bad_price_and_changes_no_stream() -> None:
    bank = qfh.StreamBank(np.full(3, 0.01), window=8)
    good = np.array([1.0, 1.0, 1.0])
    for k in range(9):
        bank.update(good + 0.01 * k)
    before = {name: values.copy() for name, values in bank.update(np.full(3, np.nan)).items()}
    with pytest.raises(ArgumentError, match=r"price must be multiples .* for instrument 2"):
        bank.update(np.array([1.2, 1.2, 1.205]))
    for name, values in bank.update(np.full(3, np.nan)).items():
        np.testing.assert_array_equal(values, before[name])
    with pytest.raises(ArgumentError, match="one value per instrument, 3, had 2"):
        bank.update(good[:2])


def test_a_damaged_or_foreign_snapshot_is_refused() -> None:
    snapshot = qfh.Stream(tick=TICK).snapshot()
    with pytest.raises(ArgumentError, match="must start with the mark"):
        qfh.Stream.restore(b"something else, long enough")
    with pytest.raises(ArgumentError, match="snapshot is damaged"):
        qfh.Stream.restore(snapshot[:-9] + bytes([snapshot[-9] ^ 1]) + snapshot[-8:])
    with pytest.raises(ArgumentError, match="layout version of 1 to 2, had 9"):
        qfh.Stream.restore(snapshot[:8] + struct.pack("<I", 9) + snapshot[12:])


@pytest.mark.parametrize("version", [1, 2])
def test_snapshots_of_every_version_can_be_read(version: int) -> None:
    # Window 8, tick 0.01, prices 1.00 1.01 1.02 1.01: bits 1 1 0, oldest first.
    stream = qfh.Stream.restore(bytes.fromhex(SNAPSHOTS[version]))
    assert (stream.window, stream.tick, stream.encoding) == (8, 0.01, "moves")
    assert (stream.metrics.last_bit, stream.metrics.bits_seen) == (0, 3)
    same = qfh.Stream(tick=0.01, window=8)
    for price in (1.00, 1.01, 1.02, 1.01):
        same.update(price)
    assert stream.snapshot() == same.snapshot()


SNAPSHOTS = {
    1: (
        "53455051464853000100000008000000000001007b14ae47e17a843f295c8fc2f528f03f00000000"
        "00405940040000000000000003000000000000000100000000000000000000000000006000000000"
        "000000c000000000000000001e1b048bb7221f18"
    ),
    2: (
        "53455051464853000200000008000000000001007b14ae47e17a843f295c8fc2f528f03f00000000"
        "00405940040000000000000003000000000000000100000000000000000000000000006000000000"
        "000000c000000000000000000300000000000000333333333333e33f0000000000000000ae5e5c7c"
        "d301e55a"
    ),
}
