"""The CUDA backend on a machine that has it: equal bytes, and named errors when it fails."""

import subprocess
import sys

import numpy as np
import pytest

import sep_engine
from sep_engine import qfh
from sep_engine.errors import BackendError

CUDA = next(backend for backend in sep_engine.backends() if backend.name == "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not CUDA.available, reason=f"backend cuda cannot run here: {CUDA.detail}"),
]


@pytest.mark.parametrize("metrics", [None, "all"])
def test_a_million_windows_have_the_bytes_of_the_reference(metrics: str | None) -> None:
    rng = np.random.default_rng(11)
    bits = rng.integers(0, 2, 1_000_000, dtype=np.uint8)
    gap = rng.random(bits.size) < 0.0005
    stride = 1 if metrics is None else 10
    results = [
        qfh.rolling_bits(bits, gap=gap, metrics=metrics, stride=stride, backend=backend)
        for backend in ("scalar", "cuda")
    ]
    for name in [*results[0].columns, "complete"]:
        assert getattr(results[0], name).tobytes() == getattr(results[1], name).tobytes(), name


def test_a_fork_after_cuda_was_used_gets_a_named_error_and_the_parent_goes_on() -> None:
    code = """
import os
import numpy as np
from sep_engine import qfh
from sep_engine.errors import BackendError

bits = np.zeros(1000, dtype=np.uint8)
qfh.rolling_bits(bits, backend="cuda")
child = os.fork()
if child == 0:
    try:
        qfh.rolling_bits(bits, backend="cuda")
    except BackendError:
        qfh.rolling_bits(bits)
        os._exit(7)
    os._exit(0)
status = os.waitpid(child, 0)[1]
qfh.rolling_bits(bits, backend="cuda")
print(os.waitstatus_to_exitcode(status))
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout.strip() == "7"


def test_a_full_device_is_a_named_error_and_the_next_call_works() -> None:
    cupy = pytest.importorskip("cupy", reason="cupy is missing: nothing else fills the device")
    bits = np.zeros(300_000, dtype=np.uint8)
    qfh.rolling_bits(bits, backend="cuda")
    held = []
    for size in (1 << 30, 1 << 24, 1 << 20, 1 << 16):
        while True:
            try:
                held.append(cupy.cuda.memory.Memory(size))
            except cupy.cuda.runtime.CUDARuntimeError:
                break
    with pytest.raises(BackendError, match=r"backend cuda: .*: out of memory"):
        qfh.rolling_bits(bits, backend="cuda", metrics="all")
    held.clear()
    assert qfh.rolling_bits(bits, backend="cuda").complete[-1]
