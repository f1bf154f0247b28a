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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sep_engine import _core
from sep_engine.backtest.grid import Grid
from sep_engine.backtest.market import Costs, PriceSide
from sep_engine.backtest.result import BacktestResult
from sep_engine.backtest.run import BarColumns, run
from sep_engine.backtest.sweep_plan import (
    FIGURES,
    Block,
    Span,
    SweepBars,
    blocks,
    compiled_rules,
)
from sep_engine.backtest.trades import Entry, Trade
from sep_engine.errors import ArgumentError
from sep_engine.qfh import BackendName
from sep_engine.signals import Rule

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Statistic = Literal["sharpe", "net_ticks"]
STATISTICS: Final[tuple[Statistic, ...]] = get_args(Statistic)
Progress = Callable[[int, int], object]
Made = tuple[Span, _core.SweepRules]  # numbers of rules, and the rules
Rows = np.memmap[Any, np.dtype[np.int64]]

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
        bars, costs, side: what the rules were tried on.
        rules: the grid, or the rules that were given.
        entry: of rules that were given; those of a grid have their own.
        numbers: (m,) int64, which rules the columns are of: all in order, or the best ones, the
            best first, when only those were asked for.
        columns: by the names in FIGURES, (m,) int64 each; `day_net_ticks_squared` is the sum over
            trading days of the squared net result of the day.
        days: trading days of the bars, idle ones included.
    """

    bars: BarColumns
    costs: Costs
    side: PriceSide
    rules: Grid | tuple[Rule, ...]
    entry: Entry
    numbers: Ints
    columns: dict[str, Ints]
    days: int

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

    def best(self, by: Statistic = "sharpe", count: int = 10) -> Ints:
        """Return the numbers of the best rules, the best first; of equals the smaller number."""
        order = _best_first(self._statistic(by), self.numbers, count)
        return self.numbers[order]

    def backtest(self, number: int) -> BacktestResult:
        """Return what the plain backtester says of one rule: its trades, equity and days."""
        return run(
            self.bars,
            self.rule(number),
            self.costs,
            side=self.side,
            entry=self.entry_of(number),
        )

    def equity(self, number: int) -> Ints:
        """Return (n,) int64, the equity of one rule in ticks at the end of each bar."""
        return self.backtest(number).equity_ticks

    def trades(self, number: int) -> tuple[Trade, ...]:
        """Return the trades of one rule."""
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
    bars: BarColumns,
    rules: Grid | Sequence[Rule],
    costs: Costs,
    *,
    side: PriceSide = "mid",
    entry: Entry = "open",
    top: int | None = None,
    by: Statistic = "sharpe",
    table: Path | str | None = None,
    checkpoint: Path | str | None = None,
    backend: BackendName = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> SweepResult:
    """Return the figures of many rules on the same bars.

    Args:
        bars, costs, side: as for `run`.
        rules: a grid, or rules that need not be one.
        entry: of rules that are no grid: at which price of the next bar they enter.
        top: keep only so many of the best rules; None keeps all.
        by: what "best" means for `top`.
        table: a file to write the figures of all rules to: NumPy's .npy format, (rules, 13) int64
            with the columns of FIGURES in order, row k rule k. Read it with
            `np.load(path, mmap_mode="r")`.
        checkpoint: a file that keeps what is done, written every ten seconds and when interrupted.
            If it is there the sweep goes on from it, and is refused if anything about the sweep
            differs. It stays when the sweep has ended.
        backend: "scalar" is the reference, "simd" the processor, "cuda" a GPU. "auto" is "simd".
        threads: of the processor; 0 is as many as it has.
        progress: called with the rules done and all rules, after each block.

    Raises:
        ArgumentError: something does not fit; the checkpoint is of another sweep.
        BackendError: the backend cannot run here.
    """
    made = SweepBars.of(bars, costs, side)
    job = _Job(
        rules=rules if isinstance(rules, Grid) else tuple(rules),
        entry=entry,
        bars=int(bars.times.size),
        top=top,
        by=by,
        days=made.days,
        on_gpu=backend == "cuda",
    )
    engine = made.compiled(backend, threads)
    kept = _Kept.fresh(job)
    saved = None if checkpoint is None else _Checkpoint(Path(checkpoint), job.key(made, table))
    if saved is not None and saved.path.exists():
        kept = saved.read(job)
    rows = None if table is None else _table(Path(table), len(job.rules), resumed=kept.blocks > 0)
    wholes = [] if job.top is not None else [kept.figures]
    if rows is not None:
        wholes.append(rows.T)
    saved_at = time.monotonic()
    try:
        for span, places, figures in _swept(engine, job, job.blocks(kept.blocks), wholes):
            kept = kept.with_block(job, span, places, figures)
            if saved is not None and time.monotonic() - saved_at > _CHECKPOINT_EVERY_S:
                _save(saved, kept, rows)
                saved_at = time.monotonic()
            if progress is not None:
                progress(kept.rules, len(job.rules))
    finally:
        engine.clear()  # blocks in flight write into what is saved
        if saved is not None:
            _save(saved, kept, rows)
    return SweepResult(
        bars=bars,
        costs=costs,
        side=side,
        rules=job.rules,
        entry=entry,
        numbers=kept.numbers,
        columns=dict(zip(FIGURES, kept.figures, strict=True)),
        days=made.days,
    )


@dataclass(frozen=True, slots=True, eq=False)
class RealityCheck:
    """The best of all rules, and how good the best is where nothing can be known.

    Attributes:
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
    bars: BarColumns,
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
    backend: BackendName = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> RealityCheck:
    """Return whether the best rule is better than the best of luck.

    In every null world the whole search is made again: bars, metrics, gates, decisions, trades.
    World k of a seed is surrogate k of `sep_engine.evidence.surrogates` with the same kind, with
    the times, gaps and costs of the bars.

    Args:
        kind: "sign" mirrors bars at random, "block" and "circular" choose which bar comes when.
        count: null worlds, >= 1.
        block: mean length of blocks in bars, of fixed length (rounded) for "circular"; >= 1.
        statistic: "sharpe" is the t value of the daily net result, "net_ticks" the net result.
        progress: called with the worlds done and all.

    Raises:
        ArgumentError: something does not fit.
        BackendError: the backend cannot run here.

    Source: White (2000), "A reality check for data snooping", with surrogates in place of the
    bootstrap of results.
    """
    if count < 1 or not 0 <= seed < 2**64:
        raise ArgumentError(f"count must be >= 1 and seed in 0..2**64-1, were {count}, {seed}")
    found = sweep(
        bars,
        rules,
        costs,
        side=side,
        entry=entry,
        top=1,
        by=statistic,
        backend=backend,
        threads=threads,
    )
    if not len(found):
        raise ArgumentError("there must be at least one rule")
    observed = float(found._statistic(statistic)[0])
    engine = SweepBars.of(bars, costs, side).compiled(backend, threads)
    if isinstance(found.rules, Grid):
        whole = Block(range(found.rules.decisions), range(found.rules.exits))
        compiled = whole.compiled(found.rules)
    else:
        compiled = compiled_rules((rule, entry) for rule in found.rules)
    null, null_best = np.empty(count), np.empty(count, dtype=np.int64)
    # A GPU works on many worlds at a time; threads share a few.
    step = 1024 if backend == "cuda" else 8 * (threads or os.cpu_count() or 1)
    for first in range(0, count, step):
        part = slice(first, min(first + step, count))
        sharpe = statistic == "sharpe"
        # Slices are contiguous views, so that the results land in the arrays themselves.
        engine.best(compiled, kind, seed, block, first, sharpe, null[part], null_best[part])
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
        if self.top is not None and self.top < 1:
            raise ArgumentError(f"top must be >= 1, was {self.top}")
        if self.by not in STATISTICS:
            raise ArgumentError(f"by must be one of {', '.join(STATISTICS)}; was {self.by!r}")

    @property
    def rules_max(self) -> int:
        return _RULES_IN_BLOCK_OF_GPU if self.on_gpu else _RULES_IN_BLOCK

    @property
    def decisions_max(self) -> int:
        if self.on_gpu:
            return _DECISIONS_IN_BLOCK_OF_GPU
        return max(1, min(_DECISIONS_IN_BLOCK, _DECISION_BITS_MAX // (2 * max(self.bars, 1))))

    def blocks(self, first: int) -> Iterator[Made]:
        """Yield the numbers of the rules of each block from `first` on, and the rules."""
        if isinstance(self.rules, Grid):
            made: Sequence[Block] = blocks(
                self.rules, rules_max=self.rules_max, decisions_max=self.decisions_max
            )
            for block in made[first:]:
                yield block.span(self.rules), block.compiled(self.rules)
            return
        # Rules that are no grid may all have decisions of their own.
        size = min(self.rules_max, self.decisions_max)
        for begin in range(first * size, len(self.rules), size):
            some = self.rules[begin : begin + size]
            span = Span(len(some), begin, size, size)
            yield span, compiled_rules((rule, self.entry) for rule in some)

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

    def with_block(self, job: _Job, span: Span, places: Ints, best: Ints) -> "_Kept":
        """Return what is kept once a block is done; `places` in it hold its best rules."""
        blocks_done, rules_done = self.blocks + 1, self.rules + span.size
        if job.top is None:  # the block wrote into the columns itself
            return _Kept(blocks_done, rules_done, self.numbers, self.figures)
        numbers = np.concatenate([self.numbers, span.numbers(places)])
        figures = np.concatenate([self.figures, best], axis=1)
        order = _best_first(_statistics(figures, job.by, job.days), numbers, job.top)
        return _Kept(blocks_done, rules_done, numbers[order], figures[:, order])


def _swept(
    engine: _core.Sweep, job: _Job, made: Iterable[Made], wholes: Sequence[Ints]
) -> Iterator[tuple[Span, Ints, Ints]]:
    """Yield for each block, in order, its numbers and the places and figures of its best rules.

    As many blocks as the engine has lanes are in flight, and one more waits.

    wholes: (13, rules) each, which the figures of all rules are written into.
    """
    in_flight: deque[Span] = deque()

    def finished() -> tuple[Span, Ints, Ints]:
        places, figures = engine.finish()
        return in_flight.popleft(), places, figures

    for span, rules in made:
        sinks = [(whole, span.first, span.width, span.pitch) for whole in wholes]
        engine.begin(rules, sinks, job.top or 0, job.by == "sharpe", job.days)
        in_flight.append(span)
        if len(in_flight) > engine.lanes:
            yield finished()
    while in_flight:
        yield finished()


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
        with tempfile.NamedTemporaryFile(
            dir=self.path.parent, prefix=self.path.name, suffix=".part", delete=False
        ) as part:
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


def _save(
    saved: _Checkpoint, kept: _Kept, rows: "np.memmap[Any, np.dtype[np.int64]] | None"
) -> None:
    if rows is not None:
        rows.flush()  # before the checkpoint says that they are there
    saved.write(kept)


def _table(path: Path, rules: int, *, resumed: bool) -> Rows:
    shape = (rules, len(FIGURES))
    if not resumed:
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.int64, shape=shape)
    try:
        rows = np.lib.format.open_memmap(path, mode="r+")
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"{path}: the table that the checkpoint belongs to cannot be read: {error}"
        ) from error
    if rows.shape != shape or rows.dtype != np.int64:
        raise ArgumentError(f"{path}: must be the table of {shape} int64 begun before")
    return rows


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
