"""What an array must be before it reaches the compiled code."""

from collections.abc import Mapping, Sequence
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
    array = np.asarray(values)
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
    if gap is None:
        return None
    array = one_dimensional("gap", gap, np.bool_)
    if array.size != values:
        raise ArgumentError(f"gap must have one value per {value}, {values}, had {array.size}")
    return array.view(np.uint8)


def as_window(window: int, *, values: int, needed: int, values_name: str) -> int:
    """Return `window` if it is in 8..1024 and `values` suffice to fill it once."""
    if isinstance(window, bool) or not isinstance(window, (int, np.integer)):
        raise TypeError(f"window must be an int, was {type(window).__name__}")
    if not 8 <= window <= 1024:
        raise ArgumentError(f"window must be in 8..1024, was {window}")
    if values < needed:
        raise ArgumentError(
            f"window must be full at least once: {window} bits need {needed} {values_name}, "
            f"had {values}"
        )
    return int(window)


def as_count(name: str, value: int) -> int:
    """Return `value` if it is an int >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, was {type(value).__name__}")
    if value < 1:
        raise ArgumentError(f"{name} must be >= 1, was {value}")
    return int(value)


def as_results(
    names: Sequence[str], dtype: DTypeLike, out: Mapping[str, Any] | None
) -> tuple[np.dtype[Any], dict[str, Any]]:
    """Return the dtype of new results, and the arrays that were given for some of `names`."""
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise TypeError(f"dtype must be float64 or float32, was {kind}")
    given = dict(out or {})
    unknown = [name for name in given if name not in (*names, "complete")]
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
