"""Many rules over many series at once, trade for trade as `sep_engine.backtest` has them.

A rule decides at the close of bar t. When it is flat it enters at the open of bar t + 1 and leaves
at the open `horizon` bars later, or inside an earlier bar whose range reaches its stop or target:
the stop first if both, at the open if that lies beyond. Decisions while in a position, and those
too late to reach their horizon, are passed over. Prices are of one side; a round trip costs the
spread, which is subtracted later, so the trades do not depend on it.

Rules and series are lanes of one loop over bars, since only "am I flat?" needs the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sep_engine.errors import ArgumentError
from sep_engine.evidence.causality import Trades
from sep_engine.evidence.market import BarTicks

Ints = npt.NDArray[np.int64]
Directions = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, order=True)
class Exit:
    """How a position ends.

    horizon: bars from entry to the exit at an open, >= 1.
    stop, target: distances from the entry in ticks, > 0; None for none.
    """

    horizon: int
    stop: int | None = None
    target: int | None = None

    def __post_init__(self) -> None:
        if min(self.horizon, self.stop or 1, self.target or 1) < 1 or 0 in (self.stop, self.target):
            raise ArgumentError(f"horizon, stop and target must be >= 1, were {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What a position entered after each bar comes to: (n, 2) arrays, column 1 bought, 0 sold.

    exited: int64, the bar of the exit; n where the horizon is past the end.
    gross: int64, ticks gained before costs.
    """

    exited: Ints
    gross: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Trades of K rules: (n, K) arrays indexed by the bar that decided.

    taken: bool. gross: int32, ticks gained before costs, 0 where not taken.
    """

    taken: npt.NDArray[np.bool_]
    gross: npt.NDArray[np.int32]


def outcomes(bars: BarTicks, leave: Exit) -> Outcomes:
    """Return the exit and gain of every possible entry."""
    n, h = len(bars), leave.horizon
    exited = np.full((n, 2), n, dtype=np.int64)
    gross = np.zeros((n, 2), dtype=np.int64)
    count = n - 1 - h
    if count <= 0:
        return Outcomes(exited, gross)
    entry = bars.open[1 : 1 + count]
    for column, side in ((1, 1), (0, -1)):
        last = np.arange(count) + 1 + h
        gain = side * (bars.open[1 + h : 1 + h + count] - entry)
        if leave.stop is not None or leave.target is not None:
            is_open = np.ones(count, dtype=bool)
            for j in range(1, h + 1):
                at = slice(j, j + count)
                begin = side * (bars.open[at] - entry)
                low, high = bars.low[at] - entry, bars.high[at] - entry
                worst, best = (low, high) if side > 0 else (-high, -low)
                if leave.stop is not None:
                    hit = is_open & (worst <= -leave.stop)
                    gain = np.where(hit, np.minimum(begin, -leave.stop), gain)
                    last = np.where(hit, np.arange(count) + j, last)
                    is_open &= ~hit
                if leave.target is not None:
                    hit = is_open & (best >= leave.target)
                    gain = np.where(hit, np.maximum(begin, leave.target), gain)
                    last = np.where(hit, np.arange(count) + j, last)
                    is_open &= ~hit
        exited[:count, column] = last
        gross[:count, column] = gain
    return Outcomes(exited, gross)


def simulate(
    worlds: Sequence[BarTicks], directions: Sequence[Directions], exits: Sequence[Exit]
) -> list[Tape]:
    """Return the trades of K rules in each of several worlds.

    Args:
        worlds: bars, all of the same length n.
        directions: for each world (n, K) int8 of -1, 0 and 1, decided at the close of the bar.
        exits: one for each of the K rules.
    """
    n, k = directions[0].shape
    if any(d.shape != (n, k) for d in directions) or any(len(w) != n for w in worlds):
        raise ArgumentError(f"every world must have {n} bars and ({n}, {k}) directions")
    if len(exits) != k or len(worlds) != len(directions):
        raise ArgumentError(f"exits must be {k}, were {len(exits)}, one direction array a world")
    kinds = sorted(set(exits), key=repr)
    kind = np.array([kinds.index(e) for e in exits])
    # Lane l = world * K + rule; slot[l] is where its world's and exit's outcomes are, sold first.
    tables = [[outcomes(world, leave) for leave in kinds] for world in worlds]
    exited = np.concatenate([o.exited for row in tables for o in row], axis=1)
    gross = np.concatenate([o.gross for row in tables for o in row], axis=1)
    slot = 2 * (np.arange(len(worlds))[:, None] * len(kinds) + kind[None, :]).ravel()
    decided = np.concatenate(directions, axis=1)
    taken = np.zeros(decided.shape, dtype=bool)
    gains = np.zeros(decided.shape, dtype=np.int32)
    free = np.zeros(decided.shape[1], dtype=np.int64)
    for t in np.flatnonzero(decided.any(axis=1)).tolist():
        row = decided[t]
        lanes = np.flatnonzero((row != 0) & (free <= t))
        column = slot[lanes] + (row[lanes] > 0)
        until = exited[t, column]
        reaches = until < n
        lanes, column = lanes[reaches], column[reaches]
        free[lanes] = until[reaches]
        taken[t, lanes] = True
        gains[t, lanes] = gross[t, column]
    return [
        Tape(taken[:, w * k : (w + 1) * k], gains[:, w * k : (w + 1) * k])
        for w in range(len(worlds))
    ]


def round_trips(bars: BarTicks, directions: Directions, leave: Exit) -> Trades:
    """Return the trades of one rule, (n,) directions, with their prices."""
    tape = simulate([bars], [directions[:, None]], [leave])[0]
    decided = np.flatnonzero(tape.taken[:, 0])
    side = directions[decided].astype(np.int64)
    entry = bars.open[decided + 1]
    return Trades(
        decided=decided,
        entered=decided + 1,
        exited=outcomes(bars, leave).exited[decided, (side > 0).astype(np.int64)],
        direction=side,
        entry=entry,
        exit=entry + side * tape.gross[decided, 0],
    )
