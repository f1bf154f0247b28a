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

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from sep_engine.errors import ArgumentError
from sep_engine.evidence.market import BarTicks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
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


def sign_flip(steps: npt.ArrayLike, *, seed: int, index: int) -> Floats:
    """Return (n,) steps with fair random signs."""
    x = np.asarray(steps, dtype=np.float64)
    return x * signs(x.size, seed=seed, index=index)


def phase_randomised(series: npt.ArrayLike, *, seed: int, index: int) -> Floats:
    """Return a (n,) series with the spectrum and mean of `series` and random phases."""
    x = np.asarray(series, dtype=np.float64)
    spectrum = fft.rfft(x)
    phases = np.exp(2j * np.pi * uniforms(spectrum.size, seed=seed, index=index))
    phases[0] = 1
    if x.size % 2 == 0:
        phases[-1] = 1  # the Nyquist term of an even length must stay real
    return np.asarray(fft.irfft(spectrum * phases, x.size))


def iaaft_order(
    series: npt.ArrayLike, *, seed: int, index: int, iterations_max: int = 200
) -> tuple[Ints, int]:
    """Return the order that makes an IAAFT surrogate of (n,) `series`, and the rounds it took
    (`iterations_max`: the ranks had not settled).

    `series[order]` holds exactly the values of `series`, arranged so that its spectrum is nearly
    the same: its spectrum is imposed, then its ranks, until no rank changes.

    Source: Schreiber and Schmitz (1996), "Improved surrogate data for nonlinearity tests".
    """
    x = np.asarray(series, dtype=np.float64)
    by_value = np.argsort(x, kind="stable")
    amplitude = np.abs(fft.rfft(x))
    order = np.argsort(uniforms(x.size, seed=seed, index=index), kind="stable")
    for rounds in range(iterations_max):
        spectrum = fft.rfft(x[order])
        size = np.abs(spectrum)
        turned = np.where(size > 0, spectrum / np.where(size > 0, size, 1), 1) * amplitude
        shaped = fft.irfft(turned, x.size)
        ranked = np.empty_like(by_value)
        ranked[_stable_order(shaped)] = by_value
        if np.array_equal(ranked, order):
            return order, rounds
        order = ranked
    return order, iterations_max


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
    before = np.concatenate((bars.open[:1], bars.close[:-1]))
    rows = np.stack([a - before for a in (bars.open, bars.high, bars.low, bars.close)], axis=1)
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
        rows = rows[iaaft_order(steps, seed=seed, index=index)[0]]
    elif kind == "walk":
        normal = special.ndtri(uniforms(len(bars), seed=seed, index=index))
        moved = np.rint(normal * steps.std()).astype(np.int64)
        zero = np.zeros_like(moved)
        rows = np.stack([zero, np.maximum(moved, 0), np.minimum(moved, 0), moved], axis=1)
    else:
        raise ArgumentError(f'kind must be one of {get_args(Kind)}, was "{kind}"')
    closes = int(bars.open[0]) + np.cumsum(rows[:, 3])
    before = np.concatenate((bars.open[:1], closes[:-1]))
    prices = before[:, None] + rows
    prices += max(0, 1 - int(prices.min()))
    return BarTicks(*(np.ascontiguousarray(prices[:, k]) for k in range(4)))


def permutation_p(observed: float, null: npt.ArrayLike) -> float:
    """Return (1 + #{null >= observed}) / (M + 1) for (M,) figures of null worlds.

    NaN in `null` counts as at least as large as `observed`; an observed NaN gives 1.
    """
    figures = np.asarray(null, dtype=np.float64)
    return (1 + int((~(figures < observed)).sum())) / (figures.size + 1)
