"""Seeded null worlds, and the p-value of a figure against them.

Surrogate `index` of `seed` is the same on every machine, alone or among a million: its random
words are Philox4x64-10 with the key (seed, index) and the counter from 1, and nothing else is
drawn from. A shard of a large run can therefore be computed anywhere, or twice.

| kind  | keeps                         | destroys          | asks                         |
|-------|-------------------------------|-------------------|------------------------------|
| sign  | size and time of every bar    | direction         | is direction predictable?    |
| block | what lies inside a block      | longer dependence | is the order of blocks used? |
| circ- | what lies inside a block, | longer dependence | as block, with blocks of one  |
| ular  | all of the same length    |                   | length                       |
| phase | ranks of steps, much spectrum | non-linear order  | as iaaft, rougher and faster |
| iaaft | every step, nearly the        | non-linear order  | is there more than a linear  |
|       | whole spectrum                |                   | bounce?                      |
| walk  | standard deviation of steps   | all else          | does the pipeline invent?    |
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from sep_engine import _core
from sep_engine.errors import ArgumentError
from sep_engine.evidence.market import BarTicks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
ROUNDS_MAX: Final = 200  # of IAAFT
Kind = Literal["sign", "block", "circular", "phase", "iaaft", "walk"]


def words(count: int, *, seed: int, index: int) -> Words:
    """Return the first `count` 64-bit words of surrogate `index` of `seed`, both in 0..2**64-1."""
    if not (0 <= seed < 2**64 and 0 <= index < 2**64):
        raise ArgumentError(f"seed and index must be in 0..2**64-1, were {seed}, {index}")
    key = np.array([seed, index], dtype=np.uint64)
    return np.random.Philox(key=key).random_raw(count)


def uniforms(count: int, *, seed: int, index: int) -> Floats:
    """Return (count,) float64 in the open interval (0, 1): the high 53 bits of each word."""
    high = (words(count, seed=seed, index=index) >> np.uint64(11)).astype(np.float64)
    return (high + 0.5) * 2.0**-53


def signs(count: int, *, seed: int, index: int) -> npt.NDArray[np.int64]:
    """Return (count,) fair +1 and -1: bit j % 64 of word j // 64, set for +1."""
    raw = words(-(-count // 64), seed=seed, index=index).astype("<u8")
    bits = np.unpackbits(raw.view(np.uint8), bitorder="little")[:count]
    return 2 * bits.astype(np.int64) - 1


def block_indices(
    count: int, *, block: float, seed: int, index: int, kind: str = "stationary"
) -> Ints:
    """Return (count,) row numbers of a block bootstrap that wraps around the end.

    Args:
        block: mean length of the geometric blocks of kind "stationary", >= 1; the fixed length,
            rounded, of the blocks of kind "circular".
    """
    if count < 1 or block < 1:
        raise ArgumentError(f"count and block must be >= 1, were {count}, {block}")
    raw = words(2 * count, seed=seed, index=index)
    # 32 bits choose among count < 2**32 rows; the bias is below count / 2**32.
    starts = ((raw[:count] >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.int64)
    place = np.arange(count)
    if kind == "circular":
        first = place - place % round(block)
    elif kind == "stationary":
        begins = (raw[count:] >> np.uint64(11)) * 2.0**-53 < 1 / block
        begins[0] = True
        first = np.maximum.accumulate(np.where(begins, place, 0))
    else:
        raise ArgumentError(f'kind must be "stationary" or "circular", was "{kind}"')
    rows: Ints = (starts[first] + place - first) % count
    return rows


def phase_randomised(series: npt.ArrayLike, *, seed: int, index: int) -> Floats:
    """Return a (n,) series with the spectrum and mean of `series` and random phases."""
    x = np.asarray(series, dtype=np.float64)
    spectrum = fft.rfft(x)
    phases = np.exp(2j * np.pi * uniforms(spectrum.size, seed=seed, index=index))
    phases[0] = 1
    if x.size % 2 == 0:
        phases[-1] = 1  # the Nyquist term of an even length must stay real
    return np.asarray(fft.irfft(spectrum * phases, x.size))


class Iaaft:
    """Surrogates that hold exactly the values of a series, and nearly its spectrum.

    The spectrum is imposed, then the ranks, until no rank changes. All processors and GPUs give the
    same orders: the transforms are the engine's own.

    Source: Schreiber and Schmitz (1996), "Improved surrogate data for nonlinearity tests".
    """

    def __init__(self, series: npt.ArrayLike) -> None:
        """Take a (n,) series, finite.

        Raises:
            ArgumentError: it has a NaN or an infinity, or more than 2**28 values.
        """
        self._core = _core.Iaaft(np.ascontiguousarray(series, dtype=np.float64))

    def order(self, *, seed: int, index: int, rounds_max: int = ROUNDS_MAX) -> tuple[Ints, int]:
        """Return the (n,) order of surrogate `index`, which is `series[order]`, and the rounds it
        took (`rounds_max`: the ranks had not settled). Threads may call it side by side.
        """
        order, rounds = self._core.order(seed, index, rounds_max)
        return order.astype(np.int64), rounds

    def orders_on_gpu(
        self, *, seed: int, first: int, count: int, rounds_max: int = ROUNDS_MAX
    ) -> tuple[npt.NDArray[np.int32], list[int]]:
        """Return what `order` gives for `first` to `first + count - 1`: (count, n), and the rounds.

        Raises:
            BackendError: there is no GPU, it has too little memory, or there are 2**24 values.
        """
        return self._core.orders_on_gpu(seed, first, count, rounds_max)


def _stable_order(values: Floats) -> Ints:
    """What a stable sort gives: the quick one, which differs only where values are equal."""
    order = np.argsort(values)
    in_order = values[order]
    if (in_order[1:] == in_order[:-1]).any():
        order = np.argsort(values, kind="stable")
    return order


def surrogate_bars(
    bars: BarTicks, *, kind: Kind, seed: int, index: int, block: float = 1.0
) -> BarTicks:
    """Return surrogate `index` of `bars`, as long and starting at the same open.

    A bar is taken as its four prices relative to the close before it. "sign" mirrors it in that
    close; the other kinds choose which bar comes when, by blocks or by the ranks of the steps
    from close to close; "walk" gives bars without wicks whose steps are normal with mean 0. The
    whole path is lifted when it would come below one tick, which no step or P&L can see.

    Args:
        block: block length in bars, the mean for kind "block", rounded for "circular".
    """
    rows = _rows(bars)
    steps = rows[:, 3]
    if kind == "sign":
        flip = signs(len(bars), seed=seed, index=index)
        rows = np.where(flip[:, None] > 0, rows, -rows[:, [0, 2, 1, 3]])
    elif kind in ("block", "circular"):
        drawn = "stationary" if kind == "block" else "circular"
        rows = rows[block_indices(len(bars), block=block, seed=seed, index=index, kind=drawn)]
    elif kind == "phase":
        shaped = phase_randomised(steps, seed=seed, index=index)
        order = np.empty(len(bars), dtype=np.int64)
        order[_stable_order(shaped)] = np.argsort(steps, kind="stable")
        rows = rows[order]
    elif kind == "iaaft":
        rows = rows[Iaaft(steps).order(seed=seed, index=index)[0]]
    elif kind == "walk":
        normal = special.ndtri(uniforms(len(bars), seed=seed, index=index))
        moved = np.rint(normal * steps.std()).astype(np.int64)
        zero = np.zeros_like(moved)
        rows = np.stack([zero, np.maximum(moved, 0), np.minimum(moved, 0), moved], axis=1)
    else:
        raise ArgumentError(f'kind must be one of {get_args(Kind)}, was "{kind}"')
    return _bars(int(bars.open[0]), rows)


def steps_of(bars: BarTicks) -> Floats:
    """Return (n,) steps from close to close, the first from the first open: what IAAFT orders."""
    return _rows(bars)[:, 3].astype(np.float64)


def bars_in_order(bars: BarTicks, order: npt.NDArray[np.integer[Any]]) -> BarTicks:
    """Return bars in another (n,) order, as `surrogate_bars` takes them."""
    return _bars(int(bars.open[0]), _rows(bars)[order])


def _rows(bars: BarTicks) -> Ints:
    """(n, 4) open, high, low and close from the close before."""
    before = np.concatenate((bars.open[:1], bars.close[:-1]))
    return np.stack([a - before for a in (bars.open, bars.high, bars.low, bars.close)], axis=1)


def _bars(start: int, rows: Ints) -> BarTicks:
    closes = start + np.cumsum(rows[:, 3])
    before = np.concatenate(([start], closes[:-1]))
    prices = before[:, None] + rows
    prices += max(0, 1 - int(prices.min()))
    return BarTicks(*(np.ascontiguousarray(prices[:, k]) for k in range(4)))


def permutation_p(observed: float, null: npt.ArrayLike) -> float:
    """Return (1 + #{null >= observed}) / (M + 1) for (M,) figures of null worlds.

    NaN in `null` counts as at least as large as `observed`; an observed NaN gives 1.
    """
    figures = np.asarray(null, dtype=np.float64)
    return (1 + int((~(figures < observed)).sum())) / (figures.size + 1)
