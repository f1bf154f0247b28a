"""Rules over series, trade for trade as `sep_engine.backtest` has them.

Prices here are those of the bars, with one spread for all bars or one for each. At mid prices a
fill pays half of the spread of its bar, the odd tick of an odd spread when buying. Where the bars
are bids, buying pays the whole spread of its bar and selling nothing; asks are the mirror image. A
stop `stop` ticks from the entry is nearer on the bars' prices by what entry and exit pay, and a
target further. With one spread for all bars that is the same whichever side the bars are of.

In `simulate_days` rules and series are lanes of one loop over bars, since only "am I flat?" needs
the past.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sep_engine.backtest.market import Costs, PriceSide, spread_parts
from sep_engine.backtest.trades import ENTRIES, Entry
from sep_engine.errors import ArgumentError
from sep_engine.evidence.causality import Trades
from sep_engine.evidence.market import BarTicks

Ints = npt.NDArray[np.int64]
Directions = npt.NDArray[np.int8]
Spread = int | Ints  # one for all bars, or (n,); in ticks, >= 0


@dataclass(frozen=True, slots=True, order=True)
class Exit:
    """How a position ends, and at which price of the bar after its decision it begins.

    horizon: bars from entry to exit, >= 1; the exit is at the price that the entry is at.
    stop, target: distances from the entry in ticks, > 0; None for none.
    entry: at the open, or at the close: a whole bar after the decision.
    """

    horizon: int
    stop: int | None = None
    target: int | None = None
    entry: Entry = "open"

    def __post_init__(self) -> None:
        if self.entry not in ENTRIES:
            raise ArgumentError(f"entry must be one of {', '.join(ENTRIES)}; was {self.entry!r}")
        if min(self.horizon, self.stop or 1, self.target or 1) < 1 or 0 in (self.stop, self.target):
            raise ArgumentError(f"horizon, stop and target must be >= 1, were {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What a position entered after each bar comes to: (n, 2) int64, column 1 bought, 0 sold.

    exited: the bar of the exit. gross: ticks gained before costs. cost: the spread paid, in ticks.
    Rows after which nothing can be entered are n, 0 and 0: the last, and with entries at the close
    the one before.
    """

    exited: Ints
    gross: Ints
    cost: Ints


@dataclass(frozen=True, slots=True, eq=False)
class DaySums:
    """What K rules gained over T days, by the day of the bar that decided.

    gross, net: (T, K) int64 ticks before and after costs. trades: (T, K) int64.
    won, lost: (K,) int64, trades that gained and that lost before costs.
    """

    gross: Ints
    net: Ints
    trades: Ints
    won: Ints
    lost: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """All positions of one rule, (k,) int64 each: as `Outcomes`, and the bar that decided."""

    decided: Ints
    exited: Ints
    gross: Ints
    cost: Ints


def outcomes(
    bars: BarTicks, leave: Exit, *, spread: Spread = 0, side: PriceSide = "mid"
) -> Outcomes:
    """Return the exit, gain and cost of every possible entry.

    Args:
        spread: in ticks, >= 0.
        side: which side the bars are of.

    Raises:
        ArgumentError: a spread series of another length.
    """
    n = len(bars)
    down, up = spread_parts(n, side=side, costs=Costs(spread))  # what selling and buying pays
    exited = np.full((n, 2), n, dtype=np.int64)
    gross, cost = np.zeros((n, 2), dtype=np.int64), np.zeros((n, 2), dtype=np.int64)
    at_close = leave.entry == "close"
    prices = bars.close if at_close else bars.open
    decided = np.arange(max(0, n - 1 - at_close))
    entry = prices[1 : 1 + decided.size]
    due = decided + 1 + leave.horizon
    in_time = due < n
    price = np.where(in_time, prices[np.minimum(due, n - 1)], bars.close[-1])
    for column, way in ((1, 1), (0, -1)):
        pays_in, pays_out = (up[1:], down) if way > 0 else (down[1:], up)
        pays_in = pays_in[: decided.size]
        last = np.where(in_time, due, n - 1)
        gain = way * (price - entry)
        waits = decided[:] if leave.stop is not None or leave.target is not None else decided[:0]
        # An entry at the close sees nothing of its own bar, and the whole of the last one.
        for j in range(1 + at_close, leave.horizon + 1 + at_close):
            waits = waits[waits + j < n]
            if not waits.size:
                break
            bar, begun = waits + j, entry[waits]
            low, high = bars.low[bar] - begun, bars.high[bar] - begun
            worst, best = (low, high) if way > 0 else (-high, -low)
            paid = pays_in[waits] + pays_out[bar]
            stopped = reached = np.zeros(waits.size, dtype=bool)
            if leave.stop is not None:
                level = paid - leave.stop
                stopped = worst <= level
                fill = np.minimum(way * (bars.open[bar] - begun), level)
                gain[waits[stopped]] = fill[stopped]
            if leave.target is not None:
                level = leave.target + paid
                reached = ~stopped & (best >= level)
                gain[waits[reached]] = level[reached]
            ended = stopped | reached
            last[waits[ended]] = bar[ended]
            waits = waits[~ended]
        exited[: decided.size, column] = last
        gross[: decided.size, column] = gain
        cost[: decided.size, column] = pays_in + pays_out[last]
    return Outcomes(exited, gross, cost)


def positions(found: Outcomes, directions: Directions) -> Positions:
    """Return the positions of one rule, (n,) directions, decided at the close of each bar."""
    n = len(found.exited)
    column = (directions > 0).astype(np.int64)
    until = found.exited[np.arange(n), column].tolist()
    taken, free = [], 0
    for t in np.flatnonzero(directions).tolist():
        if t >= free and until[t] < n:
            taken.append(t)
            free = until[t]
    decided = np.array(taken, dtype=np.int64)
    side = column[decided]
    return Positions(
        decided, found.exited[decided, side], found.gross[decided, side], found.cost[decided, side]
    )


def round_trips(
    bars: BarTicks,
    directions: Directions,
    leave: Exit,
    *,
    spread: Spread = 0,
    side: PriceSide = "mid",
) -> Trades:
    """Return the positions of one rule as trades at the prices of the bars.

    A position that the end of the data closed, or could have, is left out.
    """
    found = positions(outcomes(bars, leave, spread=spread, side=side), directions)
    complete = found.decided < len(bars) - 1 - leave.horizon
    decided, gross = found.decided[complete], found.gross[complete]
    direction = directions[decided].astype(np.int64)
    entry = (bars.close if leave.entry == "close" else bars.open)[decided + 1]
    return Trades(
        decided=decided,
        entered=decided + 1,
        exited=found.exited[complete],
        direction=direction,
        entry=entry,
        exit=entry + direction * gross,
    )


def simulate_days(
    worlds: Sequence[BarTicks],
    directions: Sequence[Directions],
    exits: Sequence[Exit],
    *,
    day: Ints,
    spread: Spread = 0,
    side: PriceSide = "mid",
) -> list[DaySums]:
    """Return what K rules gained in each of several worlds.

    Args:
        worlds: bars, all of the same length n.
        directions: for each world (n, K) int8 of -1, 0 and 1, decided at the close of the bar.
        exits: one for each of the K rules.
        day: (n,) number of each bar's day, 0..T-1, ascending.
        spread: in ticks, >= 0.
        side: which side the bars are of.
    """
    k = len(exits)
    shape = (int(day[-1]) + 1, k * len(worlds))
    gross, net, trades = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    won, lost = np.zeros(shape[1], dtype=np.int64), np.zeros(shape[1], dtype=np.int64)
    for t, lanes, gained, paid in _entries(worlds, directions, exits, spread, side):
        gross[day[t], lanes] += gained
        net[day[t], lanes] += gained - paid
        trades[day[t], lanes] += 1
        won[lanes] += gained > 0
        lost[lanes] += gained < 0
    parts = [slice(first, first + k) for first in range(0, shape[1], k)]
    return [DaySums(gross[:, p], net[:, p], trades[:, p], won[p], lost[p]) for p in parts]


def _entries(
    worlds: Sequence[BarTicks],
    directions: Sequence[Directions],
    exits: Sequence[Exit],
    spread: Spread,
    side: PriceSide,
) -> Iterator[tuple[int, Ints, Ints, Ints]]:
    """Yield each deciding bar, the lanes that enter after it, and what each gains and pays."""
    n, k = directions[0].shape
    if any(d.shape != (n, k) for d in directions) or any(len(w) != n for w in worlds):
        raise ArgumentError(f"every world must have {n} bars and ({n}, {k}) directions")
    if len(exits) != k or len(worlds) != len(directions):
        raise ArgumentError(f"exits must be {k}, were {len(exits)}, one direction array a world")
    kinds = sorted(set(exits), key=repr)
    kind = np.array([kinds.index(leave) for leave in exits])
    # Lane l = world * K + rule; slot[l] is where its world's and exit's outcomes are, sold first.
    tables = [
        outcomes(world, leave, spread=spread, side=side) for world in worlds for leave in kinds
    ]
    exited = np.concatenate([table.exited for table in tables], axis=1)
    gross = np.concatenate([table.gross for table in tables], axis=1)
    cost = np.concatenate([table.cost for table in tables], axis=1)
    slot = 2 * (np.arange(len(worlds))[:, None] * len(kinds) + kind[None, :]).ravel()
    decided = np.concatenate(directions, axis=1)
    free = np.zeros(decided.shape[1], dtype=np.int64)
    for t in np.flatnonzero(decided[:-1].any(axis=1)).tolist():
        row = decided[t]
        lanes = np.flatnonzero((row != 0) & (free <= t))
        column = slot[lanes] + (row[lanes] > 0)
        enters = exited[t, column] < n
        lanes, column = lanes[enters], column[enters]
        free[lanes] = exited[t, column]
        yield t, lanes, gross[t, column], cost[t, column]
