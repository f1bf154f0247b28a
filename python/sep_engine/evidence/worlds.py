"""What a family of rules earns day by day, on its bars and in null worlds.

Rules are swept by the compiled engine, surrogates of kinds that it knows included; other families
decide in Python and are simulated there. Both give the same numbers.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sep_engine import _core, backends
from sep_engine.backtest.market import Costs, Side
from sep_engine.backtest.sweep_plan import SweepBars, compiled_rules
from sep_engine.errors import ArgumentError, BackendError
from sep_engine.evidence.family import Family
from sep_engine.evidence.market import BarTicks, TimedBars
from sep_engine.evidence.pipeline import BestByDays
from sep_engine.evidence.simulation import DaySums, Spread, simulate_days
from sep_engine.evidence.surrogates import (
    Iaaft,
    Kind,
    bars_in_order,
    steps_of,
    surrogate_bars,
)
from sep_engine.qfh import BackendName

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_CELLS_MAX: Final = 20_000_000  # bars times rules of the worlds that are simulated together
_WORLDS_OF_GPU: Final = 256  # that are swept together, so that progress is told now and then
_ORDERED_MAX: Final = 100_000_000  # bars of the worlds whose order a GPU makes in one call
_COMPILED_KINDS: Final = ("sign", "block", "circular")


def best_of_worlds(
    market: TimedBars,
    family: Family,
    *,
    day: Ints,
    spread: Spread,
    kind: Kind,
    seed: int,
    first: int,
    count: int,
    cuts: Sequence[int],
    block: float = 1.0,
    backend: BackendName = "auto",
) -> Iterator[BestByDays]:
    """Yield the best rules of each world `first` to `first + count - 1` by the days before `cuts`.

    Ticks are after costs, and belong to the day of the bar that decided.

    Args:
        day: (n,) number of each bar's day, 0..T-1, ascending.
        spread: in ticks, >= 0; a series stays at its bars in every world.
        block: see `surrogate_bars`.
        backend: see `world_backend`.

    Raises:
        BackendError: the backend cannot run here, or was asked for by name and the family is not
            made of rules or has prices that the engine does not take.
    """
    indices = range(first, first + count)
    chosen = world_backend(family, backend)
    if family.rules is not None:
        swept = _swept(market, family, day, spread, backend=chosen)
        if swept is not None:
            yield from _best_of_swept(
                market,
                _compiled(family),
                swept,
                _cuts(cuts),
                day,
                kind,
                seed,
                indices,
                block,
                chosen,
            )
            return
    if backend != "auto":
        raise BackendError(f"backend {backend} searches worlds of rules at prices below 2**29 only")
    # As many at a time as fit in memory.
    size = max(1, _CELLS_MAX // (len(market) * len(family)))
    for start in range(0, count, size):
        bars = [
            surrogate_bars(market.bars, kind=kind, seed=seed, index=index, block=block)
            for index in indices[start : start + size]
        ]
        decided = [family.directions(market.with_bars(b)) for b in bars]
        for sums in simulate_days(
            bars, decided, family.exits, day=day, spread=spread, side=market.side
        ):
            yield BestByDays.of(sums.net, cuts)


def world_backend(family: Family, backend: BackendName) -> BackendName:
    """Return what searches the worlds of a family: "auto" is a GPU if there is one, for rules.

    All backends give the same bytes.
    """
    if backend != "auto":
        return backend
    if family.rules is None:
        return "simd"
    return "cuda" if any(b.name == "cuda" and b.available for b in backends()) else "simd"


def family_days(market: TimedBars, family: Family, *, day: Ints, spread: Spread) -> DaySums:
    """Return what a family earns on the bars themselves; arguments as for `best_of_worlds`."""
    swept = None if family.rules is None else _swept(market, family, day, spread)
    if family.rules is None or swept is None:
        decided = family.directions(market)
        return simulate_days(
            [market.bars], [decided], family.exits, day=day, spread=spread, side=market.side
        )[0]
    shape = (int(day[-1]) + 1, len(family))
    panels = {what: np.empty(shape, dtype=np.int64) for what in ("gross", "net", "won", "lost")}
    trades = np.empty(shape, dtype=np.int64)
    swept.panels(_compiled(family), panels, trades)
    won, lost = (panels[what].sum(axis=0) for what in ("won", "lost"))
    return DaySums(panels["gross"], panels["net"], trades, won, lost)


def _best_of_swept(
    market: TimedBars,
    compiled: _core.SweepRules,
    swept: _core.Sweep,
    cuts: NDArray[np.int32],
    day: Ints,
    kind: Kind,
    seed: int,
    indices: range,
    block: float,
    backend: BackendName,
) -> Iterator[BestByDays]:
    days, workers = int(day[-1]) + 1, os.cpu_count() or 1
    # A GPU takes many worlds at a time; every thread of the processor has one.
    size = _WORLDS_OF_GPU if backend == "cuda" else 4 * workers

    def results(worlds: int) -> tuple[Floats, Ints, Ints]:
        shape = (worlds, cuts.size)
        return (
            np.empty(shape),
            np.empty(shape, dtype=np.int64),
            np.empty((*shape, days), dtype=np.int64),
        )

    def world_of(made_of: Callable[[int], BarTicks], index: int) -> NDArray[np.int32]:
        bars = made_of(index)
        prices = np.stack([bars.open, bars.high, bars.low, bars.close])
        if int(prices.max()) >= 2**29:
            raise ArgumentError("prices of a null world are too large; use a coarser tick")
        return prices.astype(np.int32)

    if kind in _COMPILED_KINDS:
        for start in range(0, len(indices), size):
            some = indices[start : start + size]
            made = results(len(some))
            swept.best_by_days(compiled, kind, seed, block, some[0], cuts, *made)
            yield from map(BestByDays, *made)
        return
    # Transforms and sorts leave Python to other threads; more worlds are made meanwhile.
    most = max(1, _ORDERED_MAX // len(market))
    for start in range(0, len(indices), most):
        part = indices[start : start + most]
        make = partial(
            world_of, _bars_of(market.bars, kind, seed, part, block, on_gpu=backend == "cuda")
        )
        with ThreadPoolExecutor(workers) as pool:
            coming = deque(pool.submit(make, index) for index in part[: 2 * workers])
            later = iter(part[2 * workers :])
            try:
                while coming:
                    now = [coming.popleft().result() for _ in range(min(workers, len(coming)))]
                    coming.extend(pool.submit(make, index) for index in islice(later, len(now)))
                    made = results(len(now))
                    swept.best_by_days_of(compiled, np.stack(now), cuts, *made)
                    yield from map(BestByDays, *made)
            finally:
                pool.shutdown(cancel_futures=True)  # what nobody waits for any more


def _bars_of(
    bars: BarTicks, kind: Kind, seed: int, indices: range, block: float, *, on_gpu: bool
) -> Callable[[int], BarTicks]:
    """What makes the bars of a world; threads may call it side by side."""
    if kind != "iaaft":
        return lambda index: surrogate_bars(bars, kind=kind, seed=seed, index=index, block=block)
    iaaft = Iaaft(steps_of(bars))
    if on_gpu and len(bars) < 2**24:
        orders, _ = iaaft.orders_on_gpu(seed=seed, first=indices[0], count=len(indices))
        return lambda index: bars_in_order(bars, orders[index - indices[0]])
    return lambda index: bars_in_order(bars, iaaft.order(seed=seed, index=index)[0])


def _cuts(cuts: Sequence[int]) -> NDArray[np.int32]:
    return np.array(cuts, dtype=np.int32)


def _swept(
    market: TimedBars, family: Family, day: Ints, spread: Spread, *, backend: BackendName = "auto"
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
            side=market.side,
            counts=None if family.counts is None else family.counts(market),
        )
        return made.compiled(backend, 0)
    except ArgumentError:
        return None


def _compiled(family: Family) -> _core.SweepRules:
    assert family.rules is not None
    entries = (leave.entry for leave in family.exits)
    return compiled_rules(zip(family.rules, entries, strict=True))
