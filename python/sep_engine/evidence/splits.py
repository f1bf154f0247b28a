"""Walk-forward and combinatorial purged cross-validation over T consecutive periods.

A label that starts at t is known `horizon` periods later, and a feature at t has seen the last
`window`. Training data next to a test block is therefore cut: `purge` periods on both sides of it
and `embargo` more after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sep_engine.errors import ArgumentError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Guard:
    """Periods to cut; `reason` says why they are fewer than the rule asks, empty if they are not.

    Make it by `guard`, which enforces the rule.
    """

    purge: int
    embargo: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Period numbers to train on and to test on, ascending; `folds` names the test folds."""

    train: Ints
    test: Ints
    folds: tuple[int, ...]


def guard(
    *,
    horizon: int,
    window: int,
    purge: int | None = None,
    embargo: int | None = None,
    reason: str = "",
) -> Guard:
    """Return the cut for labels over `horizon` and features over `window` periods.

    Raises:
        ArgumentError: purge < horizon or embargo < window without a reason.
    """
    chosen = Guard(
        purge=horizon if purge is None else purge,
        embargo=window if embargo is None else embargo,
        reason=reason.strip(),
    )
    if min(horizon, window, chosen.purge, chosen.embargo) < 0:
        raise ArgumentError("horizon, window, purge and embargo must be >= 0")
    less = chosen.purge < horizon or chosen.embargo < window
    if less and not chosen.reason:
        raise ArgumentError(
            f"purge must be >= horizon {horizon} and embargo >= window {window}, were "
            f"{chosen.purge} and {chosen.embargo}: less needs a reason, which is recorded"
        )
    return chosen if less else Guard(chosen.purge, chosen.embargo)


def days_reached(day: Ints, bars: int) -> int:
    """Return how many days on, at the most, the bar is that comes `bars` bars after another.

    Short days count as what they are: 3 bars reach over 3 days of one bar each.

    Args:
        day: (n,) number of each bar's day, ascending.
        bars: >= 0.
    """
    if bars == 0:
        return 0
    return int((day[bars:] - day[:-bars]).max()) if bars < day.size else int(day[-1] - day[0])


def walk_forward(periods: int, *, folds: int, cut: Guard, train_min: int) -> tuple[Split, ...]:
    """Return `folds` consecutive test blocks that cover [train_min, periods), oldest first.

    Each is trained on everything before it, less `cut.purge` periods. Nothing after a test block
    trains it, so the embargo has nothing to cut.

    Raises:
        ArgumentError: there are fewer test periods than folds, or purging leaves no training.
    """
    if folds < 1 or periods - train_min < folds or train_min <= cut.purge:
        raise ArgumentError(
            f"{folds} folds and a purge of {cut.purge} do not fit {periods} periods "
            f"of which the first {train_min} train"
        )
    blocks = np.array_split(np.arange(train_min, periods), folds)
    return tuple(
        Split(np.arange(block[0] - cut.purge), block, (number,))
        for number, block in enumerate(blocks)
    )


def combinatorial(periods: int, *, folds: int, test_folds: int, cut: Guard) -> Iterator[Split]:
    """Yield the C(folds, test_folds) splits of combinatorial purged cross-validation.

    Folds hold periods // folds each, the last one also the rest.

    Raises:
        ArgumentError: purge and embargo together reach the size of a fold, less one.

    Source: Lopez de Prado (2018), "Advances in financial machine learning", chapter 12.
    """
    size = periods // folds if folds > 0 else 0
    if not 1 <= test_folds < folds or cut.purge + cut.embargo >= size - 1:
        raise ArgumentError(
            f"purge {cut.purge} and embargo {cut.embargo} must be below the fold size {size} less "
            f"1, and test_folds in 1..{folds - 1}, was {test_folds}"
        )
    fold = np.minimum(np.arange(periods) // size, folds - 1)
    for chosen in itertools.combinations(range(folds), test_folds):
        tested = np.isin(fold, chosen)
        free = ~tested
        step = np.diff(tested.astype(np.int8))
        for first in np.flatnonzero(step == 1) + 1:
            free[max(0, first - cut.purge) : first] = False
        for after in np.flatnonzero(step == -1) + 1:
            free[after : after + cut.purge + cut.embargo] = False
        yield Split(np.flatnonzero(free), np.flatnonzero(tested), chosen)


def paths(*, folds: int, test_folds: int) -> Ints:
    """Return (paths, folds) split numbers: path p has fold f from the p-th split that tests it."""
    chosen = list(itertools.combinations(range(folds), test_folds))
    columns = [[s for s, c in enumerate(chosen) if f in c] for f in range(folds)]
    return np.array(columns, dtype=np.int64).T
