"""Any layout of an array gives what its plain copy gives, or an error that names the argument.

"Plain" is a contiguous array of the machine's own byte order. What is accepted is decided here
without the engine: one dimension, an accepted dtype in native order, and a stride that goes
forward. Everything else must be refused, and nothing may crash.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sep_engine import qfh
from sep_engine.errors import ArgumentError

TICK = 0.25  # a power of two: every price below survives float16, float32 and long double
HUGE = 2**31 + 17
EXAMPLES = 250

Call = Callable[[Any], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Argument:
    """An array argument: how to call with it, the dtypes it may have, and good values."""

    name: str
    call: Call
    dtypes: tuple[str, ...]
    values: Callable[[int], NDArray[Any]]
    least: int


def prices(size: int) -> NDArray[np.float64]:
    return 100.0 + TICK * (np.arange(size) * 7 % 5)


def bits(size: int) -> NDArray[np.uint8]:
    return (np.arange(size) * 5 % 3 == 0).astype(np.uint8)


def mask(size: int) -> NDArray[np.bool_]:
    return np.arange(size) % 11 == 4


def columns(metrics: qfh.RollingMetrics) -> dict[str, NDArray[Any]]:
    return {**metrics.columns, "complete": metrics.complete}


ARGUMENTS = {
    "rolling": Argument(
        "prices",
        lambda array: columns(qfh.rolling(array, tick=TICK, window=8)),
        ("float64",),
        prices,
        9,
    ),
    "encode": Argument(
        "prices",
        lambda array: {"bits": qfh.encode(array, tick=TICK).bits},
        ("float64",),
        prices,
        1,
    ),
    "rolling_bits": Argument(
        "bits",
        lambda array: columns(qfh.rolling_bits(array, window=8)),
        ("uint8", "bool"),
        bits,
        8,
    ),
    "pack": Argument("bits", lambda array: {"words": qfh.pack(array)}, ("uint8", "bool"), bits, 0),
    "gap": Argument(
        "gap",
        lambda array: columns(
            qfh.rolling_bits(bits(max(8, np.asarray(array).size % HUGE)), window=8, gap=array)
        ),
        ("bool",),
        mask,
        8,
    ),
}

DTYPES = ("float64", "float32", "float16", "longdouble", "int64", "uint8", "bool", "object",
          "complex128", "U8", "datetime64[ns]")  # fmt: skip


def plain(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "M":
        return values.astype(np.int64).astype(dtype)
    return values.astype(dtype)


def spread(array: NDArray[Any], step: int) -> NDArray[Any]:
    """The same values, `step` places apart, forward or backward."""
    holder = np.zeros(max(1, array.size * abs(step)), dtype=array.dtype)
    view = holder[:: abs(step)][: array.size]
    view = view[::-1] if step < 0 else view
    view[:] = array
    return view


def unaligned(array: NDArray[Any]) -> NDArray[Any]:
    """The same values one byte past an aligned address."""
    raw = np.zeros(array.nbytes + 1, dtype=np.uint8)
    view = raw[1:].view(array.dtype) if array.dtype.hasobject is False else array
    view[...] = array
    return view


SHAPES: dict[str, Callable[[NDArray[Any]], Any]] = {
    "plain": lambda a: a,
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype) if not a.dtype.hasobject else a,
    "every second": lambda a: spread(a, 2),
    "every seventh": lambda a: spread(a, 7),
    "backwards": lambda a: spread(a, -1),
    "every third backwards": lambda a: spread(a, -3),
    "unaligned": unaligned,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "column of a C matrix": lambda a: np.stack([a, a[::-1]], axis=1)[:, 0],
    "column of a Fortran matrix": lambda a: np.asfortranarray(np.stack([a, a], axis=1))[:, 1],
    "field of records": lambda a: np.rec.fromarrays([a, a], names="x,y").x,
    "matrix of one row": lambda a: a.reshape(1, -1),
    "matrix of one column": lambda a: a.reshape(-1, 1),
    "cube": lambda a: a.reshape(1, 1, -1),
    "0-d": lambda a: a[:1].reshape(()) if a.size else np.zeros((), a.dtype),
    "scalar": lambda a: a[0] if a.size else np.zeros(1, a.dtype)[0],
    "empty": lambda a: a[:0],
    "masked": lambda a: np.ma.array(a, mask=np.arange(a.size) % 2 == 0),
    "one value, repeated past 2^31": lambda a: np.broadcast_to(a[:1], HUGE) if a.size else a,
    "memory view": lambda a: memoryview(a) if a.dtype.kind in "fiub" else a,
    "subclass": lambda a: a.view(type("Own", (np.ndarray,), {})),
}


def expected_values(given_array: Any, argument: Argument) -> NDArray[Any] | None:
    """The plain array that `given_array` stands for, or None if it must be refused."""
    if isinstance(given_array, np.ma.MaskedArray):
        return None
    seen = np.asarray(given_array)
    forward = seen.size < 2 or (seen.ndim == 1 and seen.strides[0] > 0)
    native = seen.dtype in [np.dtype(name) for name in argument.dtypes]
    if seen.ndim != 1 or not forward or not native or seen.size < argument.least:
        return None
    return np.array(seen, order="C", copy=True)


@pytest.mark.parametrize("name", ARGUMENTS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    dtype=st.sampled_from(DTYPES),
    own=st.booleans(),
    size=st.sampled_from((0, 1, 7, 8, 9, 63, 64, 65, 200)),
)
def test_a_layout_gives_what_its_copy_gives_or_an_error(
    name: str, shape: str, dtype: str, own: bool, size: int
) -> None:
    argument = ARGUMENTS[name]
    # Half of the examples have a dtype that is accepted, so that layouts are not all refused.
    kind = np.dtype(argument.dtypes[0] if own else dtype)
    array = SHAPES[shape](plain(argument.values(size), kind))
    copy = expected_values(array, argument)
    if copy is None:
        with pytest.raises((ArgumentError, TypeError), match=argument.name):
            argument.call(array)
        return
    found, wanted = argument.call(array), argument.call(copy)
    assert found.keys() == wanted.keys()
    for column, values in found.items():
        assert values.tobytes() == wanted[column].tobytes(), column


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    dtype=st.sampled_from(DTYPES),
    own=st.booleans(),
    size=st.sampled_from((0, 1, 99, 100, 101)),
)
def test_an_output_is_written_whole_or_refused_untouched(
    shape: str, dtype: str, own: bool, size: int
) -> None:
    given_bits = bits(100)
    kind = np.dtype("float32" if own else dtype)
    out = SHAPES[shape](plain(np.full(size, 3), kind))
    fits = (
        isinstance(out, np.ndarray)
        and not isinstance(out, np.ma.MaskedArray)
        and out.dtype in (np.float64, np.float32)
        and out.shape == (100,)
        and out.flags.c_contiguous
        and out.flags.writeable
        and out.flags.aligned
    )
    if not fits:
        before = np.array(out[:200]) if isinstance(out, np.ndarray) and out.ndim else None
        with pytest.raises((ArgumentError, TypeError), match="out"):
            qfh.rolling_bits(given_bits, metrics=["entropy"], out={"entropy": out})
        if before is not None:
            np.testing.assert_array_equal(out[:200], before)
        return
    found = qfh.rolling_bits(given_bits, metrics=["entropy"], out={"entropy": out})
    assert found.entropy is out
    wanted = qfh.rolling_bits(given_bits, metrics=["entropy"], dtype=out.dtype).entropy
    assert out.tobytes() == wanted.tobytes()
