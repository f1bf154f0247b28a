"""Whatever a caller passes: the right result, or one line that names the argument; no crash."""

import copy
import itertools
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sep_engine import qfh
from sep_engine.errors import ArgumentError, BackendError

PRICES = 1.1 + np.arange(300) % 7 * 1e-5
BITS = (np.arange(300) % 3 == 0).astype(np.uint8)
WORDS = np.zeros(2, dtype=np.uint64)

Call = Callable[[Any], object]

ODD: tuple[Any, ...] = (
    None,
    "a",
    b"a",
    1j,
    float("nan"),
    float("inf"),
    -1,
    0,
    2**70,
    10**400,
    True,
    [],
    {},
    object(),
    np.array([1.0]),
    np.arange(4).reshape(1, 4),
    Decimal("64.5"),
    (3,),
    lambda *_: None,
)


def rolling(**options: Any) -> object:
    return qfh.rolling(PRICES, **{"tick": 1e-5, **options})


# What each odd value may be refused with, and where it is as good as another.
ARGUMENTS: dict[str, Call] = {
    "tick": lambda v: rolling(tick=v),
    "window": lambda v: rolling(window=v),
    "stride": lambda v: rolling(stride=v),
    "metrics": lambda v: rolling(metrics=v),
    "encoding": lambda v: rolling(encoding=v),
    "gap": lambda v: rolling(gap=v),
    "times": lambda v: rolling(times=v),
    "predictor": lambda v: rolling(predictor=v),
    "collapse_share": lambda v: rolling(collapse_share=v),
    "out": lambda v: rolling(out=v),
    "backend": lambda v: rolling(backend=v),
    "threads": lambda v: rolling(threads=v),
    "progress": lambda v: rolling(progress=v),
    "series": lambda v: qfh.rolling_many(v, tick=1e-5),
    "tick of many": lambda v: qfh.rolling_many([PRICES], tick=v),
    "tick of chunks": lambda v: list(qfh.rolling_chunks([PRICES], tick=v)),
    "stride of chunks": lambda v: list(qfh.rolling_chunks([PRICES], tick=1e-5, stride=v)),
    "tick of encode": lambda v: qfh.encode(PRICES, tick=v),
    "encoding of encode": lambda v: qfh.encode(PRICES, tick=1e-5, encoding=v),
    "bits": lambda v: qfh.rolling_bits(v),
    "prices": lambda v: qfh.rolling(v, tick=1.0),
    "prices of infer_tick": qfh.infer_tick,
    "size": lambda v: qfh.unpack(WORDS, size=v),
    "tick of a stream": lambda v: qfh.Stream(tick=v),
    "window of a stream": lambda v: qfh.Stream(tick=1.0, window=v),
    "encoding of a stream": lambda v: qfh.Stream(tick=1.0, encoding=v),
    "metrics of a stream": lambda v: qfh.Stream(tick=1.0, metrics=v),
    "predictor of a stream": lambda v: qfh.Stream(tick=1.0, predictor=v),
    "collapse_share of a stream": lambda v: qfh.Stream(tick=1.0, collapse_share=v),
    "price of an update": lambda v: qfh.Stream(tick=0.5).update(v),
    "gap of an update": lambda v: qfh.Stream(tick=1.0).update(1.0, v),
    "snapshot": qfh.Stream.restore,
    "name": lambda v: qfh.Stream(tick=1.0).metrics.percentile(v),
    "ticks": qfh.StreamBank,
    "window of a bank": lambda v: qfh.StreamBank(np.ones(2), window=v),
    "collapse_share of a bank": lambda v: qfh.StreamBank(np.ones(2), collapse_share=v),
    "prices of a bank": lambda v: qfh.StreamBank(np.ones(2)).update(v),
    "snapshot of a bank": qfh.StreamBank.restore,
    "metric": lambda v: qfh.coin_distribution(v, 64),
    "window of a distribution": lambda v: qfh.coin_distribution("entropy", v),
    "value": lambda v: qfh.coin_distribution("entropy", 64).percentile(v),
    "values": lambda v: qfh.coin_distribution("entropy", 64).percentiles(v),
    "draws": lambda v: qfh.simulated_distribution("damped", 8, draws=v),
    "seed": lambda v: qfh.simulated_distribution("damped", 8, draws=100, seed=v),
    "anchor": lambda v: qfh.legacy.trajectory(BITS, anchor=v),
    "threshold": lambda v: qfh.legacy.analyze(BITS).collapse(v),
}


@pytest.mark.parametrize("label", ARGUMENTS)
def test_an_odd_value_is_taken_or_refused_in_one_line_that_names_the_argument(label: str) -> None:
    name = label.split(" of ")[0]
    refused = 0
    for value in ODD:
        try:
            ARGUMENTS[label](value)
        except (ArgumentError, BackendError, TypeError) as error:
            refused += 1
            message = str(error)
            assert "\n" not in message, message
            # Of prices and their tick either may be named, and a percentile is that of a metric.
            others = {"tick": "prices", "name": "percentile"}.get(name, name)
            assert name in message or others in message, f"{value!r}: {message}"
    assert refused >= 5


def test_what_has_decimals_is_not_cut_to_a_whole_number() -> None:
    # 64.5 would be 64 if it were cut.
    for call in (
        lambda: qfh.Stream(tick=1.0, window=Decimal("64.5")),
        lambda: rolling(threads=Decimal("1.5")),
        lambda: qfh.simulated_distribution("damped", 8, draws=100, seed=2.5),
    ):
        with pytest.raises(TypeError, match="must be an int"):
            call()


def test_a_stream_says_what_it_takes() -> None:
    for call in (
        lambda: qfh.Stream(),
        lambda: qfh.Stream(0.01),
        lambda: qfh.Stream(tick=0.01, windows=8),
    ):
        with pytest.raises(TypeError, match=r"^Stream takes by name: tick, and if wanted window"):
            call()
    with pytest.raises(TypeError, match=r"^update takes price"):
        qfh.Stream(tick=0.01).update()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (lambda x: {"entropy": x[:300], "damped": x[:300]}, r"out\['damped'\] .* share memory"),
        (lambda x: {"entropy": x[:300], "damped": x[299:599]}, "must not share memory"),
        (lambda x: {"entropy": x[600:], "complete": x[600:].view(bool)[-300:]}, "share memory"),
        (lambda x: {"entropy": x[300:600]}, r"out.* and prices must not share memory"),
        (lambda x: {3: x}, "out must hold metrics that are asked for, had 3"),
    ],
)
def test_outputs_that_share_memory_are_refused_untouched(
    out: Callable[[Any], dict[Any, Any]], message: str
) -> None:
    memory = np.concatenate([np.zeros(300), PRICES, np.zeros(300)])
    before = memory.copy()
    with pytest.raises(ArgumentError, match=message):
        qfh.rolling(memory[300:600], tick=1e-5, metrics=["entropy", "damped"], out=out(memory))
    np.testing.assert_array_equal(memory, before)


def test_outputs_side_by_side_in_one_array_are_welcome() -> None:
    memory = np.empty((2, 300))
    found = qfh.rolling(
        PRICES,
        tick=1e-5,
        metrics=["entropy", "damped"],
        out={"entropy": memory[0], "damped": memory[1]},
    )
    assert found.damped.tobytes() == qfh.rolling(PRICES, tick=1e-5).damped.tobytes()


def test_the_gap_mask_cannot_be_written_into() -> None:
    gap = np.zeros(300, dtype=np.bool_)
    with pytest.raises(ArgumentError, match=r"gap.* must not share memory"):
        rolling(gap=gap, out={"complete": gap})


def test_what_a_callback_raises_comes_out_and_the_next_call_works() -> None:
    def give_up(done: int, of: int) -> None:
        raise ZeroDivisionError(f"{done} of {of}")

    with pytest.raises(ZeroDivisionError, match="300 of 300"):
        rolling(progress=give_up)
    assert qfh.rolling(PRICES, tick=1e-5).complete.sum() == 236  # 299 bits, 63 before the first


def test_missing_values_of_every_library_are_refused_by_their_row() -> None:
    missing = PRICES.tolist()
    missing[31] = None
    for prices in (
        pl.Series(missing),
        pa.array(missing),
        pa.chunked_array([missing[:9], missing[9:]]),
        pd.Series(missing, dtype="float64[pyarrow]"),
        pd.Series(missing, dtype="float64"),
    ):
        with pytest.raises(ArgumentError, match="prices must be finite, was nan at row 31"):
            qfh.rolling(prices, tick=1e-5)
    times = pd.DatetimeIndex(np.datetime64("2024-01-01", "ns") + np.arange(300))
    times = times.where(np.arange(300) != 7)
    with pytest.raises(ArgumentError, match="times must not be missing, was at row 7"):
        qfh.rolling(pd.Series(PRICES, index=times), tick=1e-5)


def test_an_array_of_another_library_in_the_memory_of_the_host_is_taken_by_dlpack() -> None:
    class Lent:
        def __init__(self, array: Any) -> None:
            self._array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self._array.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self._array.__dlpack_device__()

    lent: Any = Lent(PRICES)
    found = qfh.rolling(lent, tick=1e-5).damped
    assert found.tobytes() == qfh.rolling(PRICES, tick=1e-5).damped.tobytes()
    with pytest.raises(TypeError, match="prices must have dtype float64, was <f4"):
        qfh.rolling(Lent(PRICES.astype(np.float32)), tick=1e-5)


def streamed(size: int = 200) -> qfh.Stream:
    stream = qfh.Stream(tick=1e-5, window=32, metrics=qfh.METRICS, predictor="majority8")
    for price in PRICES[:size]:
        stream.update(price)
    return stream


def banked() -> qfh.StreamBank:
    bank = qfh.StreamBank([1e-5, 2e-5], window=16, metrics=["entropy", "path_confidence"])
    for price in PRICES[:50]:
        bank.update([price, 2 * price])
    return bank


@pytest.mark.parametrize("make", [streamed, banked])
def test_a_snapshot_with_any_byte_changed_or_cut_off_is_refused(make: Callable[[], Any]) -> None:
    made = make()
    snapshot = made.snapshot()
    for i in range(len(snapshot)):
        changed = snapshot[:i] + bytes([snapshot[i] ^ (1 << i % 8)]) + snapshot[i + 1 :]
        for damaged in (changed, snapshot[:i]):
            with pytest.raises(ArgumentError, match="snapshot"):
                type(made).restore(damaged)
    with pytest.raises(ArgumentError, match="snapshot"):
        type(made).restore(snapshot + b"\0")


def test_a_snapshot_of_a_stream_is_none_of_a_bank() -> None:
    with pytest.raises(ArgumentError, match="must start with the mark of a QFH bank of streams"):
        qfh.StreamBank.restore(streamed().snapshot())
    with pytest.raises(ArgumentError, match="must start with the mark of a QFH stream"):
        qfh.Stream.restore(banked().snapshot())


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_of_a_stream_goes_on_by_itself(again: Callable[[Any], Any]) -> None:
    stream = streamed()
    other = again(stream)
    assert other.snapshot() == stream.snapshot()
    other.update(1.1)
    assert (stream.metrics.bits_seen, other.metrics.bits_seen) == (199, 200)


@pytest.mark.parametrize("size", [0, 2, 40])
@pytest.mark.parametrize("metrics", [None, "all", ["path_similarity"]])
def test_a_restored_bank_goes_on_as_the_bank_does(size: int, metrics: Any) -> None:
    # Forty streams of short windows are computed together, two by themselves.
    rng = np.random.default_rng(3)
    bank = qfh.StreamBank(np.full(size, 0.5), window=9, metrics=metrics)
    moves = rng.integers(-1, 2, (60, size)).cumsum(axis=0) * 0.5 + 100.0
    for k, prices in enumerate(moves):
        if k in (5, 30):
            snapshot = bank.snapshot()
            restored = qfh.StreamBank.restore(snapshot)
            assert restored.snapshot() == snapshot
            copied = copy.deepcopy(bank)
        found = bank.update(prices)
        if k >= 5:
            for other in (restored, copied):
                again = other.update(prices)
                assert set(found) <= set(again)
                for name, values in found.items():
                    assert values.tobytes() == again[name].tobytes(), (k, name)


def test_nobody_can_hold_an_object_that_was_not_made() -> None:
    # The memory of such an object is whatever was there.
    for kind in (qfh.Stream, qfh.StreamMetrics, qfh.DeviceArray, type(coin())):
        with pytest.raises(TypeError):
            kind.__new__(kind)
        with pytest.raises(TypeError):
            object.__new__(kind)
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Derived", (kind,), {})


def coin() -> Any:
    return qfh.coin_distribution("entropy", 64)


def test_a_stream_that_threads_share_takes_every_price_once() -> None:
    stream = qfh.Stream(tick=1.0, window=8)
    errors: list[BaseException] = []

    def feed() -> None:
        try:
            for k in range(20_000):
                stream.update(100.0 + k % 3)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    # Prices that do not move give no bit: how many do depends on who comes when.
    assert 1 < stream.metrics.bits_seen < 80_000
    assert stream.metrics.complete


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_child_forked_while_threads_roll_can_roll() -> None:
    code = """
import os, threading
import numpy as np
from sep_engine import qfh
bits = (np.arange(300_000) % 3 == 0).astype(np.uint8)
want = qfh.rolling_bits(bits, threads=2).damped.tobytes()
rolling = threading.Thread(target=lambda: [qfh.rolling_bits(bits, threads=2) for _ in range(20)])
rolling.start()
for _ in range(4):
    child = os.fork()
    if child == 0:
        os._exit(0 if qfh.rolling_bits(bits, threads=2).damped.tobytes() == want else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
rolling.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.split(), done.returncode) == (["0"] * 4, 0), done.stderr


def test_chunks_with_gaps_and_a_stride_are_one_series() -> None:
    rng = np.random.default_rng(8)
    prices = 100.0 + rng.integers(-1, 2, 2_000).cumsum() * 0.25
    gap = rng.random(2_000) < 0.002
    cuts = [0, 7, 300, 301, 1_444, 2_000]
    options: dict[str, Any] = {"tick": 0.25, "window": 24, "stride": 7, "predictor": "majority8"}
    whole = qfh.rolling(prices, gap=gap, metrics="all", **options)
    parts = list(
        qfh.rolling_chunks(
            (prices[a:b] for a, b in itertools.pairwise(cuts)),
            gaps=(gap[a:b] for a, b in itertools.pairwise(cuts)),
            metrics="all",
            **options,
        )
    )
    assert np.concatenate([part.index for part in parts]).tolist() == whole.index.tolist()
    for name in qfh.METRICS:
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tobytes() == getattr(whole, name).tobytes(), name
    with pytest.raises(ArgumentError, match="gaps must have one mask, or None, for each chunk"):
        list(qfh.rolling_chunks([prices, prices], gaps=[None], **options))
