"""What a family of rules earns day by day, on its bars and in null worlds.

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
from sep_engine.evidence.simulation import DaySums, Spread, simulate_days
from sep_engine.evidence.surrogates import Kind, surrogate_bars
from sep_engine.signals import Rule

Ints = npt.NDArray[np.int64]

_CELLS_MAX: Final = 20_000_000  # bars times rules of the worlds that are simulated together
_PANEL_CELLS_MAX: Final = 16_000_000  # days times rules of the worlds that are swept together
_COMPILED_KINDS: Final = ("sign", "block", "circular")
_NONE: Final = np.empty(0, dtype=np.int64)


def world_days(
    market: Market,
    family: Family,
    *,
    day: Ints,
    spread: Spread,
    kind: Kind,
    seed: int,
    first: int,
    count: int,
    block: float = 1.0,
) -> Iterator[Ints]:
    """Yield for each world `first` to `first + count - 1` (T, K) int64 ticks after costs, by the
    day of the bar that decided.

    Args:
        day: (n,) number of each bar's day, 0..T-1, ascending.
        spread: in ticks, >= 0; a series stays at its bars in every world.
        block: see `surrogate_bars`.
    """
    indices = range(first, first + count)
    if family.rules is not None:
        swept = _swept(market, family, day, spread)
        if swept is not None:
            yield from _swept_days(
                market, family, family.rules, swept, day, spread, kind, seed, indices, block
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
        for sums in simulate_days(bars, decided, family.exits, day=day, spread=spread):
            yield sums.net


def family_days(market: Market, family: Family, *, day: Ints, spread: Spread) -> DaySums:
    """Return what a family earns on the bars themselves; arguments as for `world_days`."""
    swept = None if family.rules is None else _swept(market, family, day, spread)
    if family.rules is None or swept is None:
        decided = family.directions(market)
        return simulate_days([market.bars], [decided], family.exits, day=day, spread=spread)[0]
    compiled = _compiled(family.rules)
    gross, net, trades, counted = (_panels(1, day, len(family)) for _ in range(4))
    swept.panels(compiled, None, 0, 1.0, 0, "gross", gross, trades)
    swept.panels(compiled, None, 0, 1.0, 0, "net", net, _NONE)
    swept.panels(compiled, None, 0, 1.0, 0, "won", counted, _NONE)
    won = counted[0].sum(axis=0)
    swept.panels(compiled, None, 0, 1.0, 0, "lost", counted, _NONE)
    return DaySums(gross[0], net[0], trades[0], won, counted[0].sum(axis=0))


def _swept_days(
    market: Market,
    family: Family,
    rules: Sequence[Rule],
    swept: _core.Sweep,
    day: Ints,
    spread: Spread,
    kind: Kind,
    seed: int,
    indices: range,
    block: float,
) -> Iterator[Ints]:
    compiled = _compiled(rules)
    cells = (int(day[-1]) + 1) * len(rules)
    if kind not in _COMPILED_KINDS:

        def world_of(index: int) -> Ints:
            bars = surrogate_bars(market.bars, kind=kind, seed=seed, index=index, block=block)
            world = _swept(market.with_bars(bars), family, day, spread, threads=1)
            if world is None:
                raise ArgumentError("prices of a null world are too large; use a coarser tick")
            net = _panels(1, day, len(rules))
            world.panels(compiled, None, 0, 1.0, 0, "net", net, _NONE)
            return net.reshape(net.shape[1:])

        # Transforms, sorts and sweeps leave Python to other threads.
        workers = os.cpu_count() or 1
        size = max(1, min(4 * workers, _PANEL_CELLS_MAX // cells))
        pool = ThreadPoolExecutor(workers)
        try:
            for start in range(0, len(indices), size):
                yield from pool.map(world_of, indices[start : start + size])
        finally:
            pool.shutdown(cancel_futures=True)
        return
    size = max(1, min(16, _PANEL_CELLS_MAX // cells))
    for start in range(0, len(indices), size):
        some = indices[start : start + size]
        net = _panels(len(some), day, len(rules))
        swept.panels(compiled, kind, seed, block, some[0], "net", net, _NONE)
        yield from net


def _swept(
    market: Market, family: Family, day: Ints, spread: Spread, *, threads: int = 0
) -> _core.Sweep | None:
    """The compiled sweep, None where prices are more than it takes."""
    own = Side(market.bars.open, market.bars.high, market.bars.low, market.bars.close)
    try:
        made = SweepBars.made(
            own,
            day,
            market.closes,
            market.gap,
            tick=market.tick,
            costs=Costs(spread),
            side="mid",
            counts=None if family.counts is None else family.counts(market),
        )
        return made.compiled("auto", threads)
    except ArgumentError:
        return None


def _compiled(rules: Sequence[Rule]) -> _core.SweepRules:
    return compiled_rules((rule, "open") for rule in rules)


def _panels(worlds: int, day: Ints, rules: int) -> Ints:
    return np.empty((worlds, int(day[-1]) + 1, rules), dtype=np.int64)
