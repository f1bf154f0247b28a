"""Prices to direction bits, packed bits, and the tick of a series."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sep_engine import _core
from sep_engine.errors import ArgumentError
from sep_engine.model import ticks
from sep_engine.qfh._arrays import as_bits, as_gap, as_prices, as_whole, one_dimensional

Encoding = Literal["moves", "tick_carry", "strict_up", "pip_trunc_carry"]

ENCODINGS: Final[tuple[Encoding, ...]] = ("moves", "tick_carry", "strict_up", "pip_trunc_carry")


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A price series as bits.

    Attributes:
        bits: (m,) uint8, 0 or 1, oldest first.
        index: (m,) int64, the price that gave each bit.
        joined: (m,) bool, whether the transition from the bit before is valid. It is not where a
            gap lies between the two prices; the first bit has none.
    """

    bits: NDArray[np.uint8]
    index: NDArray[np.int64]
    joined: NDArray[np.bool_]


def encode(
    prices: ArrayLike,
    *,
    tick: float,
    encoding: Encoding = "moves",
    gap: ArrayLike | None = None,
) -> Encoded:
    """Return the direction bits of a price series.

    Args:
        prices: (n,) float64, oldest first, finite, > 0, multiples of `tick` within 1e-3 of it.
        tick: the price step, > 0.
        encoding: `moves`: in ticks, a rise is 1, a fall is 0, an equal price gives no bit.
            `tick_carry`: as moves, but an equal price repeats the bit before, once there is one.
            `strict_up`: a price above the one before is 1, anything else 0.
            `pip_trunc_carry`: the change cut to whole ticks (pass the pip as `tick`); 0 repeats the
            bit before, at first 0. Prices need not be multiples of the tick.
        gap: (n,) bool, something is missing before this price. Before a price that gives no bit it
            counts for the next bit.

    Raises:
        ArgumentError: a rule is broken; the message names the first offending row.
        TypeError: an array has another dtype.
    """
    array = as_prices(prices)
    mask = as_gap(gap, values=array.size, value="price")
    bits, index, joined = _core.encode(array, tick, encoding, mask)
    return Encoded(bits, index, joined.view(np.bool_))


def pack(bits: ArrayLike) -> NDArray[np.uint64]:
    """Return bits packed 64 to a word, (ceil(n / 64),) uint64: bit i is bit i % 64 of word i // 64.

    Args:
        bits: (n,) uint8 or bool, 0 or 1.

    Raises:
        ArgumentError: a value is neither; the message names the first such row.
        TypeError: an array has another dtype.
    """
    return _core.pack(as_bits(bits))


def unpack(words: ArrayLike, *, size: int) -> NDArray[np.uint8]:
    """Return the first `size` bits of packed words as (size,) uint8.

    Args:
        words: (k,) uint64.
        size: 0 to 64 * k.

    Raises:
        ArgumentError: size is out of range.
        TypeError: an array has another dtype.
    """
    array = one_dimensional("words", words, np.uint64)
    return _core.unpack(array, as_whole("size", size, low=0, high=64 * array.size))


def infer_tick(prices: ArrayLike) -> float:
    """Return the coarsest usual tick of which all prices are multiples (`model.ticks.infer_tick`).

    Args:
        prices: (n,) float64, finite, > 0.

    Raises:
        ArgumentError: a price is not finite or not > 0, or no usual tick fits.
    """
    array = as_prices(prices)
    for rule, holds in (("be finite", np.isfinite(array)), ("be > 0", array > 0)):
        if not holds.all():
            row = int(np.argmin(holds))
            raise ArgumentError(f"prices must {rule}, was {array[row]} at row {row}")
    return float(ticks.infer_tick(array))
