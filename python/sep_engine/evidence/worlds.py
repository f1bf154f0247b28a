"""What a family of rules earns day by day in null worlds.

Rules are swept by the compiled engine, surrogates of kinds that it knows included; other families
decide in Python and are simulated there. Both give the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from sep_engine import _core
from sep_engine.backtest.market import Costs, Side
from sep_engine.backtest.sweep_plan import SweepBars, compiled_rules
from sep_engine.errors import ArgumentError
from sep_engine.evidence.family import Family
from sep_engine.evidence.market import Market
from sep_engine.evidence.simulation import Directions, simulate_days
from sep_engine.evidence.surrogates import Kind, surrogate_bars
from sep_engine.signals import Rule

Ints = npt.NDArray[np.int64]

_CELLS_MAX: Final = 20_000_000  # bars times rules of the worlds that are simulated together
_PANEL_CELLS_MAX: Final = 16_000_000  # days times rules of the worlds that are swept together
_COMPILED_KINDS: Final = ("sign", "block", "circular")


def world_days(
    market: Market,
    family: Family,
    *,
    day: Ints,
    spread: int,
    kind: Kind,
    seed: int,
    first: int,
    count: int,
    block: float = 1.0,
) -> Iterator[tuple[Ints, Ints]]:
    """Yield for each world `first` to `first + count - 1` (T, K) gross ticks and trades by the day
    of the bar that decided.

    Args:
        day: (n,) number of each bar's day, 0..T-1, ascending.
        spread: in ticks, >= 0.
        block: see `surrogate_bars`.
    """
    indices = range(first, first + count)
    if family.rules is not None:
        swept = _swept(market, day, spread)
        if swept is not None:
            yield from _swept_days(
                market, family.rules, swept, day, spread, kind, seed, indices, block
            )
            return
    # As many at a time as fit in memory.
    size = max(1, _CELLS_MAX // (len(market) * len(family)))
    for start in range(0, count, size):
        bars = [
            surrogate_bars(market.bars, kind=kind, seed=seed, index=index, block=block)
            for index in indices[start : start + size]
        ]
        decided = [family.directions(market.with_bars(b)) for b in bars]
        yield from simulate_days(bars, decided, family.exits, day=day, spread=spread)


def family_days(
    market: Market, family: Family, decided: Directions, *, day: Ints, spread: int
) -> tuple[Ints, Ints]:
    """Return (T, K) gross ticks and trades on the bars themselves, as `world_days` has them.

    Args:
        decided: (n, K) what the family decides on them, for a family that is not swept.
    """
    swept = None if family.rules is None else _swept(market, day, spread)
    if family.rules is None or swept is None:
        return simulate_days([market.bars], [decided], family.exits, day=day, spread=spread)[0]
    gross, trades = _panels(1, day, len(family))
    swept.panels(_compiled(family.rules), None, 0, 1.0, 0, gross, trades)
    return gross[0], trades[0]


def _swept_days(
    market: Market,
    rules: Sequence[Rule],
    swept: _core.Sweep,
    day: Ints,
    spread: int,
    kind: Kind,
    seed: int,
    indices: range,
    block: float,
) -> Iterator[tuple[Ints, Ints]]:
    compiled = _compiled(rules)
    cells = (int(day[-1]) + 1) * len(rules)
    if kind not in _COMPILED_KINDS:

        def world_of(index: int) -> tuple[Ints, Ints]:
            bars = surrogate_bars(market.bars, kind=kind, seed=seed, index=index, block=block)
            world = _swept(market.with_bars(bars), day, spread, threads=1)
            if world is None:
                raise ArgumentError("prices of a null world are too large; use a coarser tick")
            gross, trades = _panels(1, day, len(rules))
            world.panels(compiled, None, 0, 1.0, 0, gross, trades)
            return gross[0], trades[0]

        # Transforms, sorts and sweeps leave Python to other threads.
        workers = os.cpu_count() or 1
        size = max(1, min(workers, _PANEL_CELLS_MAX // cells))
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(indices), size):
                yield from pool.map(world_of, indices[start : start + size])
        return
    size = max(1, min(16, _PANEL_CELLS_MAX // cells))
    for start in range(0, len(indices), size):
        some = indices[start : start + size]
        gross, trades = _panels(len(some), day, len(rules))
        swept.panels(compiled, kind, seed, block, some[0], gross, trades)
        yield from zip(gross, trades, strict=True)


def _swept(market: Market, day: Ints, spread: int, *, threads: int = 0) -> _core.Sweep | None:
    """The compiled sweep, None where prices are more than it takes."""
    own = Side(market.bars.open, market.bars.high, market.bars.low, market.bars.close)
    # At a spread of s every buy costs s more than the bars say: as if they were bids.
    costs = Costs(spread)
    try:
        made = SweepBars.made(
            own, day, market.closes, market.gap, tick=market.tick, costs=costs, side="bid"
        )
        return made.compiled("auto", threads)
    except ArgumentError:
        return None


def _compiled(rules: Sequence[Rule]) -> _core.SweepRules:
    return compiled_rules((rule, "open") for rule in rules)


def _panels(worlds: int, day: Ints, rules: int) -> tuple[Ints, Ints]:
    shape = (worlds, int(day[-1]) + 1, rules)
    return np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
