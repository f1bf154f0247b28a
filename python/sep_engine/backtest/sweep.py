"""Many rules on the same bars, each with the figures that `run` gives it alone.

All figures are whole ticks and whole numbers, so that they are the same for every backend and
number of threads. A grid is swept in blocks: with `top` or `table` a billion rules take no more
memory than a thousand.
"""

import hashlib
import json
import math
import os
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sep_engine import _core
from sep_engine.backtest.grid import Grid
from sep_engine.backtest.market import Costs, CostsChange, PriceSide
from sep_engine.backtest.result import BacktestResult
from sep_engine.backtest.run import TradedBars, run
from sep_engine.backtest.sweep_plan import (
    FIGURES,
    Block,
    Span,
    SweepBars,
    blocks,
    compiled_rules,
)
from sep_engine.backtest.sweep_table import ParquetTable, Table, table_at, written
from sep_engine.backtest.trades import ENTRIES, Entry, Trade
from sep_engine.errors import ArgumentError
from sep_engine.qfh import BackendName
from sep_engine.qfh._arrays import as_whole
from sep_engine.signals import Rule

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Statistic = Literal["sharpe", "net_ticks"]
STATISTICS: Final[tuple[Statistic, ...]] = get_args(Statistic)
Progress = Callable[[int, int], object]
EachBlock = Callable[[Ints, dict[str, Ints]], object]
Made = tuple[Span, _core.SweepRules]  # numbers of rules, and the rules

_FORMAT: Final = "sep-sweep-2"
_RULES_IN_BLOCK: Final = 8_192
_DECISIONS_IN_BLOCK: Final = 512
# A GPU walks a rule for every thread, and cuts by itself what its memory does not hold. Several
# blocks are in flight; larger ones leave more GPUs idle at both ends of a sweep.
_RULES_IN_BLOCK_OF_GPU: Final = 262_144
_DECISIONS_IN_BLOCK_OF_GPU: Final = 65_536
_DECISION_BITS_MAX: Final = 2**31  # of the decisions that are kept at a time: 256 MiB
_CHECKPOINT_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class SweepResult:
    """Figures of rules, in columns.

    Attributes:
        bars, costs, side: what the rules were tried on; a grid may change the costs.
        rules: the grid, or the rules that were given.
        entry: of rules that were given; those of a grid have their own.
        numbers: (m,) int64, which rules the columns are of: all in order, or the best ones, the
            best first, when only those were asked for.
        columns: by the names in FIGURES, (m,) int64 each; `day_net_ticks_squared` is the sum over
            trading days of the squared net result of the day.
        days: trading days of the bars, idle ones included.
        counts: (n,) bool, the bars whose decisions counted, None for all.
    """

    bars: TradedBars
    costs: Costs
    side: PriceSide
    rules: Grid | tuple[Rule, ...]
    entry: Entry
    numbers: Ints
    columns: dict[str, Ints]
    days: int
    counts: Bools | None = None

    def __len__(self) -> int:
        return self.numbers.size

    def __repr__(self) -> str:
        return (
            f"SweepResult({len(self)} of {len(self.rules)} rules on {self.bars.name}, "
            f"{self.bars.times.size} bars on {self.days} days)"
        )

    @property
    def sharpe(self) -> Floats:
        """(m,) float64: mean over standard deviation of the daily net result, idle days included.

        Per day: multiply by the square root of the days of a year for the usual figure. -inf where
        the result does not vary.
        """
        return self._t_values() / math.sqrt(max(self.days, 1))

    @property
    def win_rate(self) -> Floats:
        """(m,) float64: share of trades that won, NaN without trades."""
        trades = self.columns["trades"]
        return np.where(trades > 0, self.columns["wins"] / np.maximum(trades, 1), np.nan)

    @property
    def exposure(self) -> Floats:
        """(m,) float64: share of bars at whose end a position was open, 0..1."""
        return self.columns["held_bars"] / max(self.bars.times.size, 1)

    @property
    def sides(self) -> Ints:
        """(m,) int64: fills, two a trade: the turnover in units of the position's size."""
        return 2 * self.columns["trades"]

    def rule(self, number: int) -> Rule:
        """Return the rule of a number."""
        return self.rules.rule(number) if isinstance(self.rules, Grid) else self.rules[number]

    def entry_of(self, number: int) -> Entry:
        """Return at which price the rule of a number enters."""
        return self.rules.entry_of(number) if isinstance(self.rules, Grid) else self.entry

    def costs_of(self, number: int) -> Costs:
        """Return the costs that the rule of a number paid."""
        if isinstance(self.rules, Grid):
            return self.rules.costs_of(number, self.costs)
        return self.costs

    def best(self, by: Statistic = "sharpe", count: int = 10) -> Ints:
        """Return the numbers of the best rules, the best first; of equals the smaller number.

        Args:
            by: "sharpe" (by the day) or "net_ticks".
            count: how many, >= 0.
        """
        as_whole("count", count, low=0)
        order = _best_first(self._statistic(by), self.numbers, count)
        return self.numbers[order]

    def backtest(self, number: int) -> BacktestResult:
        """Return what the plain backtester says of rule `number`: its trades, equity and days."""
        return run(
            self.bars,
            self.rule(number),
            self.costs_of(number),
            side=self.side,
            entry=self.entry_of(number),
            counts=self.counts,
        )

    def equity(self, number: int) -> Ints:
        """Return (n,) int64, the equity of rule `number` in ticks at the end of each bar."""
        return self.backtest(number).equity_ticks

    def trades(self, number: int) -> tuple[Trade, ...]:
        """Return the trades of rule `number`."""
        return self.backtest(number).trades

    def _statistic(self, by: Statistic) -> Floats:
        if by not in STATISTICS:
            raise ArgumentError(f"by must be one of {', '.join(STATISTICS)}; was {by!r}")
        return self._t_values() if by == "sharpe" else self.columns["net_ticks"].astype(np.float64)

    def _t_values(self) -> Floats:
        return _core.daily_t_values(
            self.columns["net_ticks"], self.columns["day_net_ticks_squared"], self.days
        )


def sweep(
    bars: TradedBars,
    rules: Grid | Sequence[Rule],
    costs: Costs,
    *,
    side: PriceSide = "mid",
    entry: Entry = "open",
    counts: Bools | None = None,
    top: int | None = None,
    by: Statistic = "sharpe",
    table: Path | str | None = None,
    checkpoint: Path | str | None = None,
    backend: BackendName = "auto",
    threads: int = 0,
    progress: Progress | None = None,
    each_block: EachBlock | None = None,
) -> SweepResult:
    """Return the figures of many rules on the same bars.

    Args:
        bars, costs, side: as for `run`. A grid may hold changes of the costs.
        rules: a grid, or rules that need not be one.
        entry: of rules that are no grid: at which price of the next bar they enter.
        counts: (n,) bool, the bars whose decisions count, None for all; of every rule.
        top: keep only so many of the best rules; None keeps all.
        by: what "best" means for `top`.
        table: a file to write the figures of all rules to. "….parquet" gets a row for each rule in
            the order in which they are swept: its number, its parts, the columns of FIGURES. It is
            there once it is whole. "….npy" is (rules, 13) int64 with the columns of FIGURES in
            order, row k rule k: `np.load(path, mmap_mode="r")`. It stays after an interrupt only
            with a checkpoint.
        checkpoint: a file that keeps what is done, written every ten seconds and when interrupted.
            If it is there the sweep goes on from it, and is refused if anything about the sweep
            differs. It stays when the sweep has ended. A Parquet table is written in one go and
            has none.
        backend: "scalar" is the reference, "simd" the processor, "cuda" a GPU. "auto" is "simd".
        threads: of the processor; 0 is as many as it has.
        progress: called with the rules done and all rules, after each block.
        each_block: called before it with the block's (m,) numbers of rules and their figures by the
            names in FIGURES, (m,) int64 each. Blocks come in the order in which they are swept and
            each once, also when a sweep goes on from a checkpoint. What it raises ends the sweep,
            which counts the block as not done.

    Raises:
        ArgumentError: something does not fit; the checkpoint is of another sweep.
        DataError: the table or the checkpoint cannot be written.
        BackendError: the backend cannot run here.
    """
    rules = _checked(bars, rules, costs, entry)
    for name, call in (("progress", progress), ("each_block", each_block)):
        if call is not None and not callable(call):
            raise TypeError(f"{name} must be something to call, was {type(call).__name__}")
    engines = _Engines(bars, costs, side, counts, backend, threads)
    job = _Job(
        rules=rules,
        entry=entry,
        bars=int(bars.times.size),
        top=None if top is None else min(as_whole("top", top, low=1), 2**31 - 1),
        by=by,
        days=engines.made.days,
        on_gpu=backend == "cuda",
    )
    engines.check(job.costs)
    kept = _Kept.fresh(job)
    saved = None
    if checkpoint is not None:
        saved = _Checkpoint(Path(checkpoint), job.key(engines.made, table))
        if saved.path.exists():
            kept = saved.read(job)
    output = table_at(*(table, job.rules, entry), saved=saved is not None, resumed=kept.blocks > 0)
    if saved is not None and kept.blocks == 0:
        saved.write(kept)  # hours later would be late to find that it cannot be
    wholes = [] if job.top is not None else [kept.figures]
    wholes += [] if output is None else output.wholes
    apart = each_block is not None or isinstance(output, ParquetTable)
    saved_at = time.monotonic()
    with output or nullcontext(), closing(_swept(engines, job, kept, wholes, apart)) as swept:
        try:
            for block in swept:
                if each_block is not None:
                    each_block(block.span.all(), dict(zip(FIGURES, block.figures, strict=True)))
                if output is not None:
                    output.add(block.span, block.figures)
                kept = kept.with_block(job, block)
                if saved is not None and time.monotonic() - saved_at > _CHECKPOINT_EVERY_S:
                    _save(saved, kept, output)
                    saved_at = time.monotonic()
                if progress is not None:
                    progress(kept.rules, len(job.rules))
        finally:
            swept.close()  # blocks in flight write into what is saved
            if saved is not None:
                _save(saved, kept, output)
    return SweepResult(
        bars=bars,
        costs=costs,
        side=side,
        rules=job.rules,
        entry=entry,
        numbers=kept.numbers,
        columns=dict(zip(FIGURES, kept.figures, strict=True)),
        days=job.days,
        counts=counts,
    )


def _checked(
    bars: TradedBars, rules: Grid | Sequence[Rule], costs: Costs, entry: Entry
) -> Grid | tuple[Rule, ...]:
    """Return the rules if all that a sweep is of has the form that it needs."""
    for column in ("times", "close", "open_ticks", "high_ticks", "low_ticks", "close_ticks"):
        if not isinstance(getattr(bars, column, None), np.ndarray):
            kind = type(bars).__name__
            raise TypeError(f"bars must have an array {column}, as Bars do; were {kind}")
    if not isinstance(costs, Costs):
        raise TypeError(f"costs must be Costs, were {type(costs).__name__}")
    if entry not in ENTRIES:
        raise ArgumentError(f"entry must be one of {', '.join(ENTRIES)}; was {entry!r}")
    if isinstance(rules, Grid):
        return rules
    if not isinstance(rules, Iterable):
        raise TypeError(f"rules must be a Grid or a sequence of Rule, were {type(rules).__name__}")
    listed = tuple(rules)
    for place, rule in enumerate(listed):
        if not isinstance(rule, Rule):
            raise TypeError(f"rules must hold Rule, held {type(rule).__name__} at {place}")
    return listed


@dataclass(frozen=True, slots=True, eq=False)
class RealityCheck:
    """The best of all rules, and how good the best is where nothing can be known.

    Attributes:
        kind, seed, statistic: as they were asked for.
        best: number of the rule with the largest statistic; of equals the smallest.
        observed: its statistic.
        null: (M,) float64, the largest statistic in each null world.
        null_best: (M,) int64, the rule that had it.
        p_value: (1 + #{null >= observed}) / (M + 1).
    """

    kind: str
    seed: int
    statistic: Statistic
    best: int
    observed: float
    null: Floats
    null_best: Ints
    p_value: float


def reality_check(
    bars: TradedBars,
    rules: Grid | Sequence[Rule],
    costs: Costs,
    *,
    kind: Literal["sign", "block", "circular"] = "sign",
    count: int = 500,
    seed: int = 0,
    block: float = 1.0,
    statistic: Statistic = "sharpe",
    side: PriceSide = "mid",
    entry: Entry = "open",
    counts: Bools | None = None,
    backend: BackendName = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> RealityCheck:
    """Return whether the best rule is better than the best of luck.

    In every null world the whole search is made again: bars, metrics, gates, decisions, trades.
    World k of a seed is surrogate k of `sep_engine.evidence.surrogates` with the same kind, with
    the times, gaps and costs of the bars; `counts` stay at their bars, too.

    Args:
        kind: "sign" mirrors bars at random, "block" and "circular" choose which bar comes when.
        count: null worlds, >= 1.
        block: mean length of blocks in bars, of fixed length (rounded) for "circular"; >= 1.
        statistic: "sharpe" is the t value of the daily net result, "net_ticks" the net result.
        progress: called with the worlds done and all.

    The other arguments are those of `sweep`.

    Raises:
        ArgumentError: something does not fit.
        BackendError: the backend cannot run here.

    Source: White (2000), "A reality check for data snooping", with surrogates in place of the
    bootstrap of results.
    """
    as_whole("count", count, low=1)
    seed = as_whole("seed", seed, low=0, high=2**64 - 1)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be something to call, was {type(progress).__name__}")
    if isinstance(block, bool) or not isinstance(block, (int, float, np.number)):
        raise TypeError(f"block must be a number, was {type(block).__name__}")
    found = sweep(
        bars,
        rules,
        costs,
        side=side,
        entry=entry,
        counts=counts,
        top=1,
        by=statistic,
        backend=backend,
        threads=threads,
    )
    if not len(found):
        raise ArgumentError("there must be at least one rule")
    observed = float(found._statistic(statistic)[0])
    if isinstance(found.rules, Grid):
        whole = Block(range(found.rules.decisions), range(found.rules.exits))
        compiled = whole.compiled(found.rules, whole.decided(found.rules))
        changes = found.rules.costs
    else:
        compiled = compiled_rules((rule, entry) for rule in found.rules)
        changes = (CostsChange(),)
    engines = [
        SweepBars.of(bars, change.of(costs), side, counts).compiled(backend, threads)
        for change in changes
    ]
    null, null_best = np.full(count, -np.inf), np.zeros(count, dtype=np.int64)
    # A GPU works on many worlds at a time; threads share a few.
    step = 1024 if backend == "cuda" else 8 * (threads or os.cpu_count() or 1)
    sharpe = statistic == "sharpe"
    for first in range(0, count, step):
        part = slice(first, min(first + step, count))
        for place, engine in enumerate(engines):
            values, numbers = np.empty(part.stop - first), np.empty(part.stop - first, np.int64)
            engine.best(compiled, kind, seed, block, first, sharpe, values, numbers)
            better = values > null[part]  # of equals the first
            null[part][better] = values[better]
            null_best[part][better] = numbers[better] + place * len(compiled)
        if progress is not None:
            progress(part.stop, count)
    return RealityCheck(
        kind=kind,
        seed=seed,
        statistic=statistic,
        best=int(found.numbers[0]),
        observed=observed,
        null=null,
        null_best=null_best,
        p_value=(1 + int((null >= observed).sum())) / (count + 1),
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """What decides the figures besides the bars, and how it is cut."""

    rules: Grid | tuple[Rule, ...]
    entry: Entry
    bars: int
    top: int | None
    by: Statistic
    days: int
    on_gpu: bool

    def __post_init__(self) -> None:
        if self.by not in STATISTICS:
            raise ArgumentError(f"by must be one of {', '.join(STATISTICS)}; was {self.by!r}")

    @property
    def costs(self) -> tuple[CostsChange, ...]:
        return self.rules.costs if isinstance(self.rules, Grid) else (CostsChange(),)

    @property
    def rules_max(self) -> int:
        return _RULES_IN_BLOCK_OF_GPU if self.on_gpu else _RULES_IN_BLOCK

    @property
    def decisions_max(self) -> int:
        if self.on_gpu:
            return _DECISIONS_IN_BLOCK_OF_GPU
        return max(1, min(_DECISIONS_IN_BLOCK, _DECISION_BITS_MAX // (2 * max(self.bars, 1))))

    def blocks(self, first: int) -> Iterator[tuple[CostsChange, Made]]:
        """Yield the costs of each block from `first` on, the numbers of its rules, and these."""
        if isinstance(self.rules, Grid):
            made: Sequence[Block] = blocks(
                self.rules, rules_max=self.rules_max, decisions_max=self.decisions_max
            )
            decisions: range = range(0)
            decided: _core.SweepDecisions | None = None
            for number in range(first, len(made) * len(self.costs)):
                place, block = number // len(made), made[number % len(made)]
                if decided is None or decisions != block.decisions:
                    decisions, decided = block.decisions, block.decided(self.rules)
                span = block.span(self.rules, place)
                yield self.costs[place], (span, block.compiled(self.rules, decided))
            return
        # Rules that are no grid may all have decisions of their own.
        size = min(self.rules_max, self.decisions_max)
        for begin in range(first * size, len(self.rules), size):
            some = self.rules[begin : begin + size]
            span = Span(len(some), begin, size, size)
            yield self.costs[0], (span, compiled_rules((rule, self.entry) for rule in some))

    def key(self, bars: SweepBars, table: Path | str | None) -> str:
        """sha256 of everything that another sweep could differ in."""
        rules = (
            self.rules.to_json()
            if isinstance(self.rules, Grid)
            else [rule.to_json() for rule in self.rules]
        )
        document = {
            "format": _FORMAT,
            "engine": _core.__version__,
            "bars": bars.sha256,
            "rules": rules,
            "entry": self.entry,
            "top": self.top,
            "by": self.by,
            "blocks": [self.rules_max, self.decisions_max],
            "table": table is not None,
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


class _Engines:
    """Compiled sweeps on the same bars, one at a time, for costs that change."""

    def __init__(
        self,
        bars: TradedBars,
        costs: Costs,
        side: PriceSide,
        counts: Bools | None,
        backend: BackendName,
        threads: int,
    ) -> None:
        self._given = (bars, costs, side, counts, backend, threads)
        self.made = SweepBars.of(bars, costs, side, counts)
        self._last: tuple[CostsChange, _core.Sweep] | None = None

    def check(self, changes: Sequence[CostsChange]) -> None:
        """Refuse costs that do not fit before anything is swept."""
        for change in reversed(changes):
            self.of(change)

    def of(self, change: CostsChange) -> _core.Sweep:
        bars, costs, side, counts, backend, threads = self._given
        if self._last is None or self._last[0] != change:
            self._last = None  # gives its memory back before the next takes some
            made = self.made
            if change != CostsChange():
                made = SweepBars.of(bars, change.of(costs), side, counts)
            self._last = change, made.compiled(backend, threads)
        return self._last[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What a sweep has kept so far: figures of rules, and how many blocks and rules are done."""

    blocks: int
    rules: int
    numbers: Ints
    figures: Ints  # (13, m); of all rules there are all columns, those to come hold anything

    @classmethod
    def fresh(cls, job: _Job) -> "_Kept":
        size = len(job.rules) if job.top is None else 0
        return cls(0, 0, np.arange(size), np.zeros((len(FIGURES), size), dtype=np.int64))

    def with_block(self, job: _Job, block: "_Swept") -> "_Kept":
        """Return what is kept once a block is done."""
        blocks_done, rules_done = self.blocks + 1, self.rules + block.span.size
        if job.top is None:  # the block wrote into the columns itself
            return _Kept(blocks_done, rules_done, self.numbers, self.figures)
        numbers = np.concatenate([self.numbers, block.span.numbers(block.places)])
        figures = np.concatenate([self.figures, block.best], axis=1)
        order = _best_first(_statistics(figures, job.by, job.days), numbers, job.top)
        return _Kept(blocks_done, rules_done, numbers[order], figures[:, order])


@dataclass(frozen=True, slots=True, eq=False)
class _Swept:
    """A block that is done.

    Attributes:
        span: numbers of its rules.
        figures: (13, m) of all its rules, m 0 if nobody wants them apart.
        places, best: (k,) and (13, k), its best rules and their figures.
    """

    span: Span
    figures: Ints
    places: Ints
    best: Ints


def _swept(
    engines: _Engines, job: _Job, kept: _Kept, wholes: Sequence[Ints], apart: bool
) -> Generator[_Swept]:
    """Yield all blocks that are not done yet, in order.

    As many as the engine has lanes are in flight, and three times as many wait: blocks are handed
    over in their order, so that lanes that are ahead would idle behind the oldest. Closing it ends
    them.

    wholes: (13, rules) each, which the figures of all rules are written into.
    """
    in_flight: deque[tuple[Span, Ints]] = deque()

    def finished(engine: _core.Sweep) -> _Swept:
        places, best = engine.finish()
        return _Swept(*in_flight.popleft(), places, best)

    for change, made in groupby(job.blocks(kept.blocks), itemgetter(0)):
        engine = engines.of(change)
        try:
            for _, (span, rules) in made:
                own = np.empty((len(FIGURES), span.size if apart else 0), dtype=np.int64)
                sinks = [(whole, span.first, span.width, span.pitch) for whole in wholes]
                if apart:
                    sinks.append((own, 0, span.size, span.size))
                engine.begin(rules, sinks, job.top or 0, job.by == "sharpe", job.days)
                in_flight.append((span, own))
                if len(in_flight) >= 4 * engine.lanes:
                    yield finished(engine)
            while in_flight:
                yield finished(engine)
        finally:
            engine.clear()


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    path: Path
    key: str

    def read(self, job: _Job) -> _Kept:
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                key, counts = str(stored["key"]), stored["counts"]
                numbers, figures = stored["numbers"], stored["figures"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ArgumentError(f"{self.path}: not a checkpoint of a sweep: {error}") from error
        if key != self.key:
            raise ArgumentError(
                f"{self.path}: is of another sweep: bars, costs, rules, options or version differ; "
                "name another file, or delete it to begin anew"
            )
        if job.top is None and figures.shape != (len(FIGURES), len(job.rules)):
            raise ArgumentError(f"{self.path}: not a checkpoint of a sweep: figures are missing")
        return _Kept(int(counts[0]), int(counts[1]), numbers, figures)

    def write(self, kept: _Kept) -> None:
        """Write beside the file, then put it in its place: a reader sees one or the other."""
        with (
            written(self.path),
            tempfile.NamedTemporaryFile(
                dir=self.path.parent, prefix=self.path.name, suffix=".part", delete=False
            ) as part,
        ):
            try:
                np.savez(
                    part,
                    key=np.array(self.key),
                    counts=np.array([kept.blocks, kept.rules]),
                    numbers=kept.numbers,
                    figures=kept.figures,
                )
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).replace(self.path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise


def _save(saved: _Checkpoint, kept: _Kept, output: Table | None) -> None:
    if output is not None:
        output.flush()  # before the checkpoint says that it is there
    saved.write(kept)


def _statistics(figures: Ints, by: Statistic, days: int) -> Floats:
    net = np.ascontiguousarray(figures[FIGURES.index("net_ticks")])
    if by == "net_ticks":
        return net.astype(np.float64)
    squares = np.ascontiguousarray(figures[FIGURES.index("day_net_ticks_squared")])
    return _core.daily_t_values(net, squares, days)


def _best_first(statistics: Floats, numbers: Ints, count: int) -> Ints:
    """Places of the largest statistics, the largest first; of equals the smaller number."""
    if not 0 < count < statistics.size:
        return np.lexsort((numbers, -statistics))[: max(count, 0)]
    last = statistics.size - count
    near = np.flatnonzero(statistics >= np.partition(statistics, last)[last])
    return np.asarray(near[np.lexsort((numbers[near], -statistics[near]))[:count]])
