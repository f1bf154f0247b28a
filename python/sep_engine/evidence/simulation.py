"""Many rules over many series at once, trade for trade as `sep_engine.backtest` has them.

The rules are those of that package's docstring with one spread for all bars. Prices here are of
the bars' own side: with a spread of s, a stop `stop` ticks from the entry is s ticks nearer on
them and a target s ticks further, and a round trip costs s whichever side the bars are of.

Rules and series are lanes of one loop over bars, since only "am I flat?" needs the past.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    exited: int64, the bar of the exit. gross: int64, ticks gained before costs.
    The last row, after which nothing can be entered, is n and 0.
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


def outcomes(bars: BarTicks, leave: Exit, *, spread: int = 0) -> Outcomes:
    """Return the exit and gain of every possible entry; `spread` in ticks, >= 0."""
    n = len(bars)
    exited = np.full((n, 2), n, dtype=np.int64)
    gross = np.zeros((n, 2), dtype=np.int64)
    decided = np.arange(n - 1)
    entry = bars.open[1:]
    due = decided + 1 + leave.horizon
    in_time = due < n
    price = np.where(in_time, bars.open[np.minimum(due, n - 1)], bars.close[-1])
    for column, side in ((1, 1), (0, -1)):
        last = np.where(in_time, due, n - 1)
        gain = side * (price - entry)
        waits = decided[:] if leave.stop is not None or leave.target is not None else decided[:0]
        for j in range(1, leave.horizon + 1):
            waits = waits[waits + j < n]
            if not waits.size:
                break
            bar, begun = waits + j, entry[waits]
            low, high = bars.low[bar] - begun, bars.high[bar] - begun
            worst, best = (low, high) if side > 0 else (-high, -low)
            stopped = reached = np.zeros(waits.size, dtype=bool)
            if leave.stop is not None:
                level = spread - leave.stop
                stopped = worst <= level
                fill = np.minimum(side * (bars.open[bar] - begun), level)
                gain[waits[stopped]] = fill[stopped]
            if leave.target is not None:
                reached = ~stopped & (best >= leave.target + spread)
                gain[waits[reached]] = leave.target + spread
            ended = stopped | reached
            last[waits[ended]] = bar[ended]
            waits = waits[~ended]
        exited[:-1, column] = last
        gross[:-1, column] = gain
    return Outcomes(exited, gross)


def simulate(
    worlds: Sequence[BarTicks],
    directions: Sequence[Directions],
    exits: Sequence[Exit],
    *,
    spread: int = 0,
) -> list[Tape]:
    """Return the trades of K rules in each of several worlds.

    Args:
        worlds: bars, all of the same length n.
        directions: for each world (n, K) int8 of -1, 0 and 1, decided at the close of the bar.
        exits: one for each of the K rules.
        spread: in ticks, >= 0; moves stops and targets. Gains are still before costs.
    """
    n, k = directions[0].shape
    lanes_count = k * len(worlds)
    taken = np.zeros((n, lanes_count), dtype=bool)
    gains = np.zeros((n, lanes_count), dtype=np.int32)
    for t, lanes, gained in _entries(worlds, directions, exits, spread):
        taken[t, lanes] = True
        gains[t, lanes] = gained
    return [
        Tape(taken[:, first : first + k], gains[:, first : first + k])
        for first in range(0, lanes_count, k)
    ]


def simulate_days(
    worlds: Sequence[BarTicks],
    directions: Sequence[Directions],
    exits: Sequence[Exit],
    *,
    day: Ints,
    spread: int = 0,
) -> list[tuple[Ints, Ints]]:
    """Return for each world (T, K) gross ticks and trades by the day of the bar that decided.

    The same trades as `simulate`, without keeping them.

    Args:
        day: (n,) number of each bar's day, 0..T-1, ascending.
    """
    k = len(exits)
    shape = (int(day[-1]) + 1, k * len(worlds))
    gross, trades = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for t, lanes, gained in _entries(worlds, directions, exits, spread):
        gross[day[t], lanes] += gained
        trades[day[t], lanes] += 1
    return [
        (gross[:, first : first + k], trades[:, first : first + k])
        for first in range(0, shape[1], k)
    ]


def _entries(
    worlds: Sequence[BarTicks],
    directions: Sequence[Directions],
    exits: Sequence[Exit],
    spread: int,
) -> Iterator[tuple[int, Ints, Ints]]:
    """Yield each deciding bar, the lanes that enter after it, and what each gains."""
    n, k = directions[0].shape
    if any(d.shape != (n, k) for d in directions) or any(len(w) != n for w in worlds):
        raise ArgumentError(f"every world must have {n} bars and ({n}, {k}) directions")
    if len(exits) != k or len(worlds) != len(directions):
        raise ArgumentError(f"exits must be {k}, were {len(exits)}, one direction array a world")
    kinds = sorted(set(exits), key=repr)
    kind = np.array([kinds.index(leave) for leave in exits])
    # Lane l = world * K + rule; slot[l] is where its world's and exit's outcomes are, sold first.
    tables = [outcomes(world, leave, spread=spread) for world in worlds for leave in kinds]
    exited = np.concatenate([table.exited for table in tables], axis=1)
    gross = np.concatenate([table.gross for table in tables], axis=1)
    slot = 2 * (np.arange(len(worlds))[:, None] * len(kinds) + kind[None, :]).ravel()
    decided = np.concatenate(directions, axis=1)
    free = np.zeros(decided.shape[1], dtype=np.int64)
    for t in np.flatnonzero(decided[:-1].any(axis=1)).tolist():
        row = decided[t]
        lanes = np.flatnonzero((row != 0) & (free <= t))
        column = slot[lanes] + (row[lanes] > 0)
        free[lanes] = exited[t, column]
        yield t, lanes, gross[t, column]


def round_trips(bars: BarTicks, directions: Directions, leave: Exit, *, spread: int = 0) -> Trades:
    """Return the trades of one rule, (n,) directions, at prices of the bars' own side.

    A position that the end of the data closed is left out.
    """
    result = outcomes(bars, leave, spread=spread)
    column = (directions > 0).astype(np.int64)
    until = result.exited[np.arange(len(bars)), column].tolist()
    taken, free = [], 0
    for t in np.flatnonzero(directions[: max(0, len(bars) - 1 - leave.horizon)]).tolist():
        if t >= free:
            taken.append(t)
            free = until[t]
    decided = np.array(taken, dtype=np.int64)
    side = directions[decided].astype(np.int64)
    entry = bars.open[decided + 1]
    return Trades(
        decided=decided,
        entered=decided + 1,
        exited=result.exited[decided, column[decided]],
        direction=side,
        entry=entry,
        exit=entry + side * result.gross[decided, column[decided]],
    )
