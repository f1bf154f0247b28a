"""Series that lie on a GPU and results that stay there: equal bytes, ownership, named errors."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sep_engine
from sep_engine import qfh
from sep_engine.errors import ArgumentError, BackendError

CUDA = next(backend for backend in sep_engine.backends() if backend.name == "cuda")
TICK = 1e-5


@pytest.mark.skipif(CUDA.available, reason="a GPU is here")
def test_without_a_gpu_the_error_says_so() -> None:
    with pytest.raises(BackendError, match="backend cuda"):
        qfh.rolling_bits_device(np.zeros(100, dtype=np.uint8))


@pytest.mark.skipif(CUDA.available, reason="a GPU is here")
def test_without_a_gpu_the_arguments_are_judged_first() -> None:
    with pytest.raises(ArgumentError, match=r"window must be in 8\.\.1024, was 7"):
        qfh.rolling_bits_device(np.zeros(100, dtype=np.uint8), window=7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tick": "a"}, "tick must be a number, was str"),
        ({"tick": None}, "tick must be a number, was NoneType"),
        ({"tick": 1j}, "tick must be a number, was complex"),
        ({"tick": True}, "tick must be a number, was bool"),
        ({"tick": 10**400}, "tick is too large for a float"),
        ({"collapse_share": "0.6"}, "collapse_share must be a number, was str"),
        ({"encoding": 3}, "encoding must be a str, was int"),
        ({"predictor": None}, "predictor must be a str, was NoneType"),
        ({"metrics": [3]}, "metrics must be a sequence of names, each a str, was int"),
        ({"metrics": ["x"]}, "metrics must be among .*, was x"),
        ({"window": 64.0}, "window must be an int, was float"),
        ({"stride": 0}, "stride must be >= 1, was 0"),
    ],
)
def test_a_bad_argument_is_refused_in_the_words_of_the_processor(
    options: dict[str, Any], message: str
) -> None:
    # Before any GPU is asked, so this runs where there is none.
    prices = 1.1 + np.arange(300) % 7 * TICK
    with pytest.raises((ArgumentError, TypeError), match=f"^{message}$") as expected:
        qfh.rolling(prices, **{"tick": TICK, **options})
    with pytest.raises(type(expected.value)) as found:
        qfh.rolling_device(prices, **{"tick": TICK, **options})
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("device", "message"),
    [("0", "device must be an int, was str"), (-1, r"device must be in 0\.\.2147483647, was -1")],
)
def test_a_device_that_is_no_number_of_one_is_refused(device: Any, message: str) -> None:
    with pytest.raises((ArgumentError, TypeError), match=f"^{message}$"):
        qfh.rolling_bits_device(np.zeros(100, dtype=np.uint8), device=device)


OLD_DRIVER = """
int cuDriverGetVersion(int *version) { *version = 11040; return 0; }
int cuInit(unsigned flags) { return 0; }
"""
ASK = """
import numpy as np
from sep_engine import qfh
from sep_engine.errors import BackendError
bits = np.zeros(100, dtype=np.uint8)
for call in (lambda: qfh.rolling_bits(bits, backend="cuda"), lambda: qfh.rolling_bits_device(bits)):
    try:
        call()
    except BackendError as error:
        print(error)
print(int(qfh.rolling_bits(bits).complete.sum()))
"""


@pytest.mark.skipif(CUDA.detail == "built without CUDA", reason="the engine is built without CUDA")
def test_an_old_driver_is_named_and_the_processor_goes_on(tmp_path: Path) -> None:
    # A driver of CUDA 11.4, older than any that CUDA 13 works with, in place of the real one.
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make an old driver with")
    source = tmp_path / "driver.c"
    source.write_text(OLD_DRIVER)
    library = str(tmp_path / "libcuda.so.1")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, str(source)], check=True)
    made = subprocess.run(
        [sys.executable, "-c", ASK],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    refused, on_device, complete = made.stdout.splitlines()
    assert refused.startswith("backend cuda cannot run here: no usable GPU: CUDA driver version is")
    assert on_device.startswith("backend cuda: cudaGetDeviceCount: CUDA driver version is")
    assert complete == "37"  # windows of 64 in 100 bits


gpu = pytest.mark.skipif(not CUDA.available, reason=f"backend cuda cannot run here: {CUDA.detail}")


def same_bytes(on_device: qfh.DeviceRollingMetrics, expected: qfh.RollingMetrics) -> None:
    found = on_device.to_numpy()
    for name in [*expected.columns, "complete"]:
        a, b = getattr(found, name), getattr(expected, name)
        assert a.dtype == b.dtype, name
        assert a.tobytes() == b.tobytes(), (name, np.flatnonzero(a.view("u1") != b.view("u1"))[:3])


def walk(size: int, *, seed: int, flat_share: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random(size) < flat_share, 0, rng.integers(-2, 3, size))
    return (110_000 + np.cumsum(steps)) * TICK


# Sizes and windows straddle a word (32, 64), a tile (192) and the two lengths of the damped tail.
@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("window", [8, 31, 32, 33, 63, 64, 65, 88, 127, 256, 1023, 1024])
def test_bits_have_the_bytes_of_the_reference(window: int, dtype: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(window)
    for size in (window, 22 * 192, 22 * 192 + 1, 20_000):
        bits = rng.integers(0, 2, max(size, window), dtype=np.uint8)
        gap = rng.random(bits.size) < 0.0002
        for mask in (None, gap):
            expected = qfh.rolling_bits(
                bits, window=window, gap=mask, dtype=dtype, backend="scalar"
            )
            same_bytes(
                qfh.rolling_bits_device(bits, window=window, gap=mask, dtype=dtype), expected
            )


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("window", [64, 256, 1024])
@pytest.mark.parametrize("share", [0.5, 0.02, 0.98])
def test_a_million_float32_windows_have_the_bytes_of_the_reference(
    share: float, window: int
) -> None:
    # A rare flip gives small lambdas, and with them windows that the fast sum cannot settle.
    rng = np.random.default_rng(3)
    bits = (np.cumsum(rng.random(1_000_000) < share) % 2).astype(np.uint8)
    expected = qfh.rolling_bits(bits, window=window, dtype=np.float32, backend="scalar")
    same_bytes(qfh.rolling_bits_device(bits, window=window), expected)


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("encoding", qfh.ENCODINGS)
@pytest.mark.parametrize("flat_share", [0.05, 0.999])
def test_prices_have_the_bytes_of_the_reference(encoding: qfh.Encoding, flat_share: float) -> None:
    prices = walk(150_000, seed=4, flat_share=flat_share)
    prices[:300] = prices[300]  # no bit for the first words
    gap = np.random.default_rng(5).random(prices.size) < 0.001
    for mask, stride in ((None, 1), (gap, 1), (gap, 7)):
        options: dict[str, Any] = {
            "tick": TICK,
            "encoding": encoding,
            "gap": mask,
            "stride": stride,
            "window": 40,
            "metrics": "all",
            "dtype": np.float32,
        }
        expected = qfh.rolling(prices, backend="scalar", **options)
        same_bytes(qfh.rolling_device(prices, **options), expected)


@gpu
@pytest.mark.gpu
def test_cupy_arrays_go_in_and_come_out_without_a_copy() -> None:
    cupy = pytest.importorskip("cupy", reason="cupy is missing")
    bits = np.random.default_rng(6).integers(0, 2, 50_000, dtype=np.uint8)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        on_device = cupy.asarray(bits)
        metrics = qfh.rolling_bits_device(on_device, metrics=["entropy", "damped"])
        entropy = cupy.from_dlpack(metrics["entropy"])
    expected = qfh.rolling_bits(bits, metrics=["entropy", "damped"], dtype=np.float32)
    assert entropy.data.ptr == metrics["entropy"].__cuda_array_interface__["data"][0]
    assert cupy.asnumpy(entropy).tobytes() == expected.entropy.tobytes()
    assert cupy.asarray(metrics["damped"]).get().tobytes() == expected.damped.tobytes()


@gpu
@pytest.mark.gpu
def test_torch_tensors_go_in_and_come_out_and_outlive_the_result() -> None:
    torch = pytest.importorskip("torch", reason="torch is missing")
    prices = walk(50_000, seed=7, flat_share=0.2)
    metrics = qfh.rolling_device(torch.from_numpy(prices).cuda(), tick=TICK, window=64)
    tensor = torch.from_dlpack(metrics["stability"])
    expected = qfh.rolling(prices, tick=TICK, dtype=np.float32)
    del metrics
    gc.collect()
    assert tensor.cpu().numpy().tobytes() == expected.stability.tobytes()


@gpu
@pytest.mark.gpu
def test_results_go_into_given_arrays() -> None:
    cupy = pytest.importorskip("cupy", reason="cupy is missing")
    bits = np.random.default_rng(8).integers(0, 2, 10_000, dtype=np.uint8)
    given = {
        "entropy": cupy.zeros(bits.size, dtype=np.float32),
        "damped": cupy.zeros(bits.size + 1, dtype=np.float32)[1:],  # at an odd place
        "balance": cupy.zeros(bits.size, dtype=np.float64),
        "complete": cupy.zeros(bits.size, dtype=np.bool_),
    }
    metrics = qfh.rolling_bits_device(bits, metrics=["entropy", "damped", "balance"], out=given)
    expected = qfh.rolling_bits(bits)
    assert metrics["entropy"] is given["entropy"]
    for name, dtype in (("entropy", "f4"), ("damped", "f4"), ("balance", "f8"), ("complete", "?")):
        values = getattr(expected, name).astype(dtype)
        assert given[name].get().tobytes() == values.tobytes(), name


@gpu
@pytest.mark.gpu
def test_memory_is_given_back_with_the_last_array() -> None:
    cupy = pytest.importorskip("cupy", reason="cupy is missing: nothing else tells free memory")
    bits = np.zeros(1 << 22, dtype=np.uint8)
    qfh.rolling_bits_device(bits)
    gc.collect()
    free = cupy.cuda.runtime.memGetInfo()[0]
    for _ in range(50):
        metrics = qfh.rolling_bits_device(bits)
        kept = cupy.from_dlpack(metrics["entropy"])
        metrics["damped"].__dlpack__()  # a capsule that nobody takes
    assert cupy.cuda.runtime.memGetInfo()[0] < free  # one result is held
    del metrics, kept
    gc.collect()
    assert cupy.cuda.runtime.memGetInfo()[0] >= free - (1 << 22)


@gpu
@pytest.mark.gpu
def test_arrays_of_a_wrong_form_are_named() -> None:
    cupy = pytest.importorskip("cupy", reason="cupy is missing")
    bits = cupy.zeros(1000, dtype=np.uint8)
    cases: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (TypeError, "bits must have dtype uint8 or bool, had float32", bits.astype("f4"), {}),
        (TypeError, "bits must have dtype float32, float64, uint8 or bool", bits.astype("i8"), {}),
        (ArgumentError, "bits must be contiguous on the device, its stride was 2", bits[::2], {}),
        (ArgumentError, "bits must have one dimension, had 2", bits.reshape(10, 100), {}),
        (ArgumentError, "bits must not be empty", bits[:0], {}),
        (ArgumentError, "window must be full at least once: 64 bits need 64", bits[:50], {}),
        (
            ArgumentError,
            "gap must have one value per bit, 1000, had 3",
            bits,
            {"gap": cupy.zeros(3, dtype=np.bool_)},
        ),
        (TypeError, "gap must have dtype bool, had uint8", bits, {"gap": bits}),
        (
            ArgumentError,
            r"out\['entropy'\] must have size 1000, had 9",
            bits,
            {"metrics": ["entropy"], "out": {"entropy": cupy.zeros(9, dtype="f4")}},
        ),
        (
            TypeError,
            r"out\['entropy'\] must have dtype float32 or float64, had uint8",
            bits,
            {"metrics": ["entropy"], "out": {"entropy": bits}},
        ),
        (
            ArgumentError,
            r"out\['entropy'\] must lie on a GPU",
            bits,
            {"metrics": ["entropy"], "out": {"entropy": np.zeros(1000, dtype="f4")}},
        ),
        (BackendError, "there is no device 99", np.zeros(100, dtype=np.uint8), {"device": 99}),
    ]
    for error, message, values, options in cases:
        with pytest.raises(error, match=message):
            qfh.rolling_bits_device(values, **options)
    qfh.rolling_bits_device(bits)  # and the next call works


@gpu
@pytest.mark.gpu
def test_a_bad_value_on_the_device_is_named_as_on_the_host() -> None:
    bits = np.zeros(5000, dtype=np.uint8)
    bits[[4321, 4999]] = 2
    prices = walk(5000, seed=9, flat_share=0.1)
    prices[[1234, 4000]] = [np.nan, -1]
    for host, device, values, options in (
        (qfh.rolling_bits, qfh.rolling_bits_device, bits, {}),
        (qfh.rolling, qfh.rolling_device, prices, {"tick": TICK}),
    ):
        with pytest.raises(ArgumentError) as expected:
            host(values, **options)  # type: ignore[operator]
        with pytest.raises(ArgumentError) as found:
            device(values, **options)  # type: ignore[operator]
        assert str(found.value) == str(expected.value)


@gpu
@pytest.mark.gpu
def test_a_full_device_is_a_named_error_and_the_next_call_works() -> None:
    cupy = pytest.importorskip("cupy", reason="cupy is missing: nothing else fills the device")
    bits = np.zeros(1 << 20, dtype=np.uint8)
    held = []
    for size in (1 << 30, 1 << 26, 1 << 24):
        while True:
            try:
                held.append(cupy.cuda.memory.Memory(size))
            except cupy.cuda.runtime.CUDARuntimeError:
                break
    with pytest.raises(BackendError, match=r"backend cuda: .*: out of memory"):
        qfh.rolling_bits_device(bits)
    held.clear()
    assert qfh.rolling_bits_device(bits).to_numpy().complete[-1]


@gpu
@pytest.mark.gpu
def test_without_a_visible_device_the_error_says_so() -> None:
    code = """
import numpy as np
from sep_engine import qfh
from sep_engine.errors import BackendError
try:
    qfh.rolling_bits_device(np.zeros(100, dtype=np.uint8))
except BackendError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert "no CUDA-capable device is detected" in result.stdout


@gpu
@pytest.mark.gpu
def test_after_a_fork_the_child_gets_a_named_error_and_the_parent_goes_on() -> None:
    code = """
import os
import numpy as np
from sep_engine import qfh
from sep_engine.errors import BackendError

bits = np.zeros(1000, dtype=np.uint8)
metrics = qfh.rolling_bits_device(bits)
child = os.fork()
if child == 0:
    refused = 0
    for call in (metrics.to_numpy, lambda: qfh.rolling_bits_device(bits)):
        try:
            call()
        except BackendError as error:
            refused += "CUDA does not outlive a fork" in str(error)
    del metrics
    os._exit(refused)
status = os.waitpid(child, 0)[1]
assert metrics.to_numpy().complete[-1]
print(os.waitstatus_to_exitcode(status))
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout.strip() == "2"
