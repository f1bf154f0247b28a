"""What an array must be before it reaches the compiled code."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sep_engine.errors import ArgumentError


def one_dimensional(name: str, values: ArrayLike, *dtypes: type[np.generic]) -> NDArray[Any]:
    """Return `values` as a contiguous array of one of `dtypes`, without conversion.

    A read-only array is welcome and a strided view is copied. A view that runs backwards is
    refused, because time would run backwards with it, and so is one that repeats a value by a
    stride of 0, because its copy may be of any size.

    Raises:
        TypeError: the dtype is none of `dtypes`, has another byte order, or values are masked.
        ArgumentError: not one-dimensional, or a stride that is not positive.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array: what is masked would be used")
    given: Any = values
    by_dlpack = hasattr(given, "__dlpack__") and not hasattr(given, "__array__")
    array = np.from_dlpack(given) if by_dlpack else np.asarray(given)
    accepted = [np.dtype(dtype) for dtype in dtypes]
    if array.dtype not in accepted:
        wanted = " or ".join(str(dtype) for dtype in accepted)
        raise TypeError(f"{name} must have dtype {wanted}, was {array.dtype.str} ({array.dtype})")
    if array.ndim != 1:
        raise ArgumentError(f"{name} must have one dimension, had shape {array.shape}")
    if array.size > 1 and array.strides[0] <= 0:
        raise ArgumentError(
            f"{name} must have a positive stride, was {array.strides[0]} bytes; pass a copy if the "
            "order is meant"
        )
    return np.require(array, requirements=["C", "ALIGNED"])


def as_prices(prices: ArrayLike) -> NDArray[np.float64]:
    array = one_dimensional("prices", prices, np.float64)
    if array.size == 0:
        raise ArgumentError("prices must not be empty")
    return array


def as_bits(bits: ArrayLike) -> NDArray[np.uint8]:
    array = one_dimensional("bits", bits, np.uint8, np.bool_)
    return array.view(np.uint8)


def as_gap(gap: ArrayLike | None, *, values: int, value: str) -> NDArray[np.uint8] | None:
    """Return the mask as bytes if it has one for each of `values`, each called a `value`."""
    return None if gap is None else as_mask("gap", gap, values=values, value=value)


def as_mask(name: str, mask: ArrayLike, *, values: int, value: str) -> NDArray[np.uint8]:
    """The same for a mask of any name, which must be there."""
    array = one_dimensional(name, mask, np.bool_)
    if array.size != values:
        raise ArgumentError(f"{name} must have one value per {value}, {values}, had {array.size}")
    return array.view(np.uint8)


def as_whole(name: str, value: int, *, low: int, high: int | None = None) -> int:
    """Return `value` if it is an int in low..high."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, was {type(value).__name__}")
    if value < low or (high is not None and value > high):
        rule = f">= {low}" if high is None else f"in {low}..{high}"
        raise ArgumentError(f"{name} must be {rule}, was {value}")
    return int(value)


def as_number(name: str, value: float) -> float:
    """Return `value` if it is a real number: an int, a float, or what turns into one.

    The compiled code takes and refuses the same, in the same words.
    """
    if not isinstance(value, (bool, complex, str, bytes, bytearray)):
        try:
            return float(value)
        except OverflowError:
            raise ArgumentError(f"{name} is too large for a float") from None
        except (TypeError, ValueError):
            pass
    raise TypeError(f"{name} must be a number, was {type(value).__name__}")


def as_word(name: str, value: str) -> str:
    """Return `value` if it is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, was {type(value).__name__}")
    return value


def as_window(window: int) -> int:
    """Return `window` if it is an int in 8..1024."""
    return as_whole("window", window, low=8, high=1024)


def check_filled(window: int, *, values: int, needed: int, values_name: str) -> None:
    """Raise ArgumentError if fewer `values` are there than fill the window once."""
    if values < needed:
        raise ArgumentError(
            f"window must be full at least once: {window} bits need {needed} {values_name}, "
            f"had {values}"
        )


def as_stride(stride: int) -> int:
    """Return `stride` if it is an int >= 1; one that no array reaches may be cut."""
    return min(as_whole("stride", stride, low=1), 2**62)


def as_results(
    names: Sequence[str], dtype: DTypeLike, out: Mapping[str, Any] | None
) -> tuple[np.dtype[Any], dict[str, Any]]:
    """Return the dtype of new results, and the arrays that were given for some of `names`."""
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise TypeError(f"dtype must be float64 or float32, was {kind}")
    if out is not None and not isinstance(out, Mapping):
        raise TypeError(f"out must be a mapping from metric to array, was {type(out).__name__}")
    given = dict(out or {})
    unknown = [str(name) for name in given if name not in (*names, "complete")]
    if unknown:
        raise ArgumentError(f"out must hold metrics that are asked for, had {', '.join(unknown)}")
    return kind, given


def as_output(name: str, array: NDArray[Any], size: int, *dtypes: type[np.generic]) -> NDArray[Any]:
    """Return `array` if results can be written into it as it is."""
    label = f"out[{name!r}]"
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{label} must not be a masked array")
    if not isinstance(array, np.ndarray) or array.dtype not in [np.dtype(d) for d in dtypes]:
        wanted = " or ".join(str(np.dtype(dtype)) for dtype in dtypes)
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{label} must be an array of dtype {wanted}, was {found}")
    if array.shape != (size,):
        raise ArgumentError(f"{label} must have shape ({size},), had {array.shape}")
    if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
        raise ArgumentError(f"{label} must be contiguous, aligned and writeable")
    return array


def check_apart(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ArgumentError if two contiguous arrays share memory: one would overwrite the other."""
    spans = sorted(
        (array.ctypes.data, array.ctypes.data + array.nbytes, label)
        for label, array in arrays.items()
    )
    for (_, end, one), (begin, _, other) in pairwise(spans):
        if begin < end:
            raise ArgumentError(f"{one} and {other} must not share memory")
