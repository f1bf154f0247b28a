"""From trades to days, and the choice among rules: what every world goes through whole.

Every rule trades; the best is the one with the largest t value of daily P&L after costs.
Walk-forward chooses so on the past only, stands aside when no rule gained there, and trades what
it chose on the days that follow. P&L belongs to the day on which its position was decided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sep_engine.evidence import splits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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


def t_values(daily: Floats) -> Floats:
    """Return (K,) t values of (T, K) daily P&L; -inf where it never varies."""
    deviation = daily.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = daily.mean(axis=0) / deviation * math.sqrt(len(daily))
    return np.where(deviation > 0, t, -np.inf)


def best_rule(daily: Floats) -> int | None:
    """Return the rule with the largest t value, None if none gained."""
    t = t_values(daily)
    return int(t.argmax()) if t.max() > 0 else None


def walk_forward(daily: Floats, made: tuple[splits.Split, ...]) -> Forward:
    """Return the walk-forward of (T, K) daily P&L over splits whose training days are a prefix."""
    # Running sums give the t value of every prefix without going over it again.
    size = np.array([[float(split.train.size)] for split in made])
    last = size[:, 0].astype(np.int64) - 1
    sums, squares = np.cumsum(daily, axis=0)[last], np.cumsum(daily**2, axis=0)[last]
    variance = (squares - sums**2 / size) / np.maximum(size - 1, 1)
    varies = variance > 1e-9 * np.maximum(squares, 1)
    t = np.where(varies, sums / np.sqrt(size * np.where(varies, variance, 1)), -np.inf)
    picks = tuple(int(row.argmax()) if row.max() > 0 else None for row in t)
    parts = [
        np.zeros(split.test.size) if pick is None else daily[split.test, pick]
        for split, pick in zip(made, picks, strict=True)
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
