"""Prices on their grid: the grid's step, and prices counted in steps."""

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from sep_engine.errors import ArgumentError

# How far a price may lie from a grid that it is said to be on, in ticks.
TOLERANCE_TICKS = 1e-3

# The same for a grid that is only guessed: tighter, or 1.10005 would pass for a multiple of 0.1.
# A price and the division by a tick are each right to half an ulp of a double.
_GUESS_TOLERANCE_TICKS = 1e-6
_ULPS = 2.0**-51

# From here on a double no longer holds every whole number.
_TICKS_END = 2.0**53

# Steps that venues use, per decade; halves come from mid prices of two grid prices.
_STEPS = ("1", "0.5", "0.25", "0.2")
_DECADES = 9


def infer_tick(prices: NDArray[np.float64]) -> Decimal:
    """Return the largest usual step, at most 1, of which all prices are multiples.

    prices: float64 of any shape, at least one, finite.

    Raises:
        ArgumentError: no prices, or a price that is on no grid down to 1e-9.
    """
    if prices.size == 0:
        raise ArgumentError("prices must not be empty: a tick cannot be inferred from nothing")
    head = prices.ravel()[:64]
    for decade in range(_DECADES + 1):
        for step in _STEPS:
            tick = Decimal(step).scaleb(-decade)
            if _fits(head, tick) and _fits(prices, tick):
                return tick
    raise ArgumentError("prices must be multiples of a tick >= 1e-9; none fits all of them")


def to_ticks(prices: NDArray[np.float64], tick: Decimal) -> NDArray[np.int64]:
    """Return each price as a whole number of ticks.

    prices: (n,) float64, finite.

    Raises:
        ArgumentError: a price is not a multiple of `tick`, or is 2^53 ticks or more; the first such
            row is named.
    """
    if not tick > 0:
        raise ArgumentError(f"tick must be > 0, was {tick}")
    far = np.flatnonzero(prices / float(tick) >= _TICKS_END)
    if far.size:
        row = int(far[0])
        raise ArgumentError(
            f"prices must be below 2^53 ticks of {tick}, row {row} is {prices[row]}"
        )
    off = np.flatnonzero(~_on_grid(prices, tick))
    if off.size:
        row = int(off[0])
        raise ArgumentError(f"prices must be multiples of tick {tick}, row {row} is {prices[row]}")
    return np.rint(prices / float(tick)).astype(np.int64)


def _fits(prices: NDArray[np.float64], tick: Decimal) -> bool:
    counts = prices / float(tick)
    tolerance = np.minimum(_GUESS_TOLERANCE_TICKS + counts * _ULPS, TOLERANCE_TICKS)
    # Far below one tick every price is near 0, which is a multiple of any.
    return bool(np.all((np.abs(counts - np.rint(counts)) <= tolerance) & (counts >= 0.5)))


def _on_grid(prices: NDArray[np.float64], tick: Decimal) -> NDArray[np.bool_]:
    counts = prices / float(tick)
    return np.asarray(np.abs(counts - np.rint(counts)) <= TOLERANCE_TICKS, dtype=np.bool_)
