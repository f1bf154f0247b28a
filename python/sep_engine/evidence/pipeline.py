"""From trades to days, and the choice among rules: what every world goes through whole.

Every rule trades; the best is the one with the largest t value of daily P&L after costs.
Walk-forward chooses so on the past only, stands aside when no rule gained there, and trades what
it chose on the days that follow. P&L belongs to the day on which its position was decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sep_engine import _core
from sep_engine.evidence import splits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_EXACT = 2**53  # whole numbers below it are the same as float64


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """A walk-forward: its splits, the rule chosen in each, and the P&L of their test days in order.

    A pick of None stood aside.
    """

    splits: tuple[splits.Split, ...]
    picks: tuple[int | None, ...]
    pnl: Floats

    @property
    def days(self) -> Ints:
        """The test days, ascending."""
        return np.concatenate([split.test for split in self.splits])

    @property
    def t_value(self) -> float:
        """The t value of the stitched P&L, 0 if nothing was traded."""
        t = float(t_values(self.pnl[:, None])[0])
        return t if math.isfinite(t) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class BestByDays:
    """The best rule of a world by the days before each of C cuts.

    t_values: (C,) the largest t value, -inf where nothing varies.
    rules: (C,) the first rule that has it.
    days: (C, T) ticks that it gained on each of all days.
    """

    t_values: Floats
    rules: Ints
    days: Ints

    @classmethod
    def of(cls, daily: Ints, cuts: Sequence[int]) -> BestByDays:
        """Return the best of (T, K) daily ticks by the days before each cut, 1..T."""
        t = prefix_t_values(daily.astype(np.float64), cuts)
        rules = t.argmax(axis=1)
        return cls(t[np.arange(len(cuts)), rules], rules, np.ascontiguousarray(daily[:, rules].T))

    def forward(self, made: tuple[splits.Split, ...]) -> Forward:
        """Return the walk-forward over splits whose training days end at the first cuts."""
        picks = _picks(self.t_values[: len(made)], self.rules)
        days = self.days.astype(np.float64)
        return _forward(made, picks, lambda split, _: days[split])


def t_values(daily: Floats) -> Floats:
    """Return (K,) t values of (T, K) daily P&L; -inf where it never varies.

    Those of whole ticks come from whole sums, as they do in the null worlds that the engine
    searches: what is compared with those has the same rounding.
    """
    squares = np.square(daily).sum(axis=0)
    if _is_whole(daily, squares):
        return _of_whole(daily.sum(axis=0), squares, len(daily))
    deviation = daily.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = daily.mean(axis=0) / deviation * math.sqrt(len(daily))
    return np.where(deviation > 0, t, -np.inf)


def prefix_t_values(daily: Floats, cuts: Sequence[int]) -> Floats:
    """Return (C, K) t values of the days before each of C cuts, 1..T, of (T, K) daily P&L."""
    # Running sums give the t value of every prefix without going over it again.
    last = np.asarray(cuts, dtype=np.int64) - 1
    sums, squares = np.cumsum(daily, axis=0)[last], np.cumsum(daily**2, axis=0)[last]
    if _is_whole(daily, squares):
        return np.stack(
            [_of_whole(s, q, cut) for s, q, cut in zip(sums, squares, cuts, strict=True)]
        )
    size = last[:, None] + 1.0
    variance = (squares - sums**2 / size) / np.maximum(size - 1, 1)
    varies = variance > 1e-9 * np.maximum(squares, 1)
    return np.where(varies, sums / np.sqrt(size * np.where(varies, variance, 1)), -np.inf)


def _is_whole(daily: Floats, squares: Floats) -> bool:
    return bool(squares.max(initial=0) < _EXACT and (daily == np.rint(daily)).all())


def _of_whole(sums: Floats, squares: Floats, days: int) -> Floats:
    return _core.daily_t_values(sums.astype(np.int64), squares.astype(np.int64), days)


def best_rule(daily: Floats) -> int | None:
    """Return the rule with the largest t value, None if none gained."""
    t = t_values(daily)
    return int(t.argmax()) if t.max() > 0 else None


def walk_forward(daily: Floats, made: tuple[splits.Split, ...]) -> Forward:
    """Return the walk-forward of (T, K) daily P&L over splits whose training days are a prefix."""
    t = prefix_t_values(daily, [split.train.size for split in made])
    picks = _picks(t.max(axis=1), t.argmax(axis=1))
    return _forward(made, picks, lambda _, pick: daily[:, pick])


def _picks(t: Floats, rules: Ints) -> tuple[int | None, ...]:
    return tuple(int(rules[k]) if t[k] > 0 else None for k in range(t.size))


def _forward(
    made: tuple[splits.Split, ...],
    picks: tuple[int | None, ...],
    days_of: Callable[[int, int], Floats],
) -> Forward:
    """The walk-forward; `days_of` takes a split's number and its pick, and gives all days."""
    parts = [
        np.zeros(split.test.size) if pick is None else days_of(number, pick)[split.test]
        for number, (split, pick) in enumerate(zip(made, picks, strict=True))
    ]
    return Forward(made, picks, np.concatenate(parts))


def path_pnl(daily: Floats, *, folds: int, test_folds: int, cut: splits.Guard) -> Floats:
    """Return (paths, T) P&L of combinatorial purged cross-validation, a choice in each split."""
    made = list(splits.combinatorial(len(daily), folds=folds, test_folds=test_folds, cut=cut))
    picks = [best_rule(daily[split.train]) for split in made]
    size = len(daily) // folds
    fold = np.minimum(np.arange(len(daily)) // size, folds - 1)
    rows = []
    for path in splits.paths(folds=folds, test_folds=test_folds):
        pnl = np.zeros(len(daily))
        for number, split in enumerate(path):
            pick = picks[split]
            if pick is not None:
                pnl[fold == number] = daily[fold == number, pick]
        rows.append(pnl)
    return np.stack(rows)
