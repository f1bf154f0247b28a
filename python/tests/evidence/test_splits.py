from __future__ import annotations

import numpy as np
import pytest
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward

from sep_engine.errors import ArgumentError
from sep_engine.evidence import splits as sp


@pytest.mark.parametrize(
    ("periods", "folds", "test_folds", "purge", "embargo"),
    [(60, 6, 2, 0, 0), (103, 10, 2, 2, 3), (97, 8, 3, 1, 4), (200, 5, 4, 10, 20)],
)
def test_combinatorial_splits_equal_skfolio(
    periods: int, folds: int, test_folds: int, purge: int, embargo: int
) -> None:
    theirs = CombinatorialPurgedCV(
        n_folds=folds, n_test_folds=test_folds, purged_size=purge, embargo_size=embargo
    )
    ours = list(
        sp.combinatorial(periods, folds=folds, test_folds=test_folds, cut=sp.Guard(purge, embargo))
    )
    expected = list(theirs.split(np.zeros((periods, 1))))
    assert len(ours) == len(expected)
    for split, (train, test) in zip(ours, expected, strict=True):
        assert np.array_equal(split.train, train)
        assert np.array_equal(split.test, np.sort(np.concatenate(test)))
    path_of_split = theirs.get_path_ids()
    ours_by_path = sp.paths(folds=folds, test_folds=test_folds)
    assert len(ours_by_path) == theirs.n_test_paths
    for path, row in enumerate(ours_by_path):
        for fold, split_number in enumerate(row):
            place = ours[split_number].folds.index(fold)
            assert path_of_split[split_number, place] == path


def test_walk_forward_equals_skfolio_where_blocks_are_even() -> None:
    ours = sp.walk_forward(100, folds=5, cut=sp.Guard(3, 9), train_min=50)
    theirs = WalkForward(train_size=47, test_size=10, purged_size=3, expand_train=True)
    expected = list(theirs.split(np.zeros((100, 1))))
    assert len(ours) == len(expected) == 5
    for split, (train, test) in zip(ours, expected, strict=True):
        assert np.array_equal(split.train, train)
        assert np.array_equal(split.test, test)


def test_no_training_label_reaches_into_a_test_block() -> None:
    cut = sp.guard(horizon=4, window=9)
    for split in sp.combinatorial(300, folds=10, test_folds=3, cut=cut):
        tested = set(split.test.tolist())
        for t in split.train.tolist():
            assert not tested & set(range(t, t + 5))
            assert not tested & set(range(t - 13, t))


@pytest.mark.parametrize(("purge", "embargo"), [(3, None), (None, 63), (0, 0)])
def test_a_shorter_cut_needs_a_reason(purge: int | None, embargo: int | None) -> None:
    with pytest.raises(ArgumentError, match="less needs a reason"):
        sp.guard(horizon=4, window=64, purge=purge, embargo=embargo, reason=" ")
    kept = sp.guard(horizon=4, window=64, purge=purge, embargo=embargo, reason="features are iid")
    assert kept.reason == "features are iid"


def test_the_default_cut_covers_horizon_and_window() -> None:
    assert sp.guard(horizon=4, window=64) == sp.Guard(purge=4, embargo=64, reason="")


@pytest.mark.parametrize(
    ("folds", "test_folds", "purge", "embargo"),
    # Ten folds of ten periods: 9 are not below 10 less 1, whoever of the two takes them.
    [(10, 2, 9, 0), (10, 2, 4, 5), (10, 2, 0, 9), (10, 10, 0, 0), (0, 1, 0, 0)],
)
def test_folds_that_cannot_be_cut_are_refused(
    folds: int, test_folds: int, purge: int, embargo: int
) -> None:
    cut = sp.Guard(purge, embargo)
    with pytest.raises(ArgumentError, match="fold size"):
        list(sp.combinatorial(100, folds=folds, test_folds=test_folds, cut=cut))


def test_folds_that_can_just_be_cut_are_not_refused() -> None:
    cut = sp.Guard(4, 4)
    # Two of ten folds, in 10 * 9 / 2 ways; one of them, in ten.
    assert len(list(sp.combinatorial(100, folds=10, test_folds=2, cut=cut))) == 45
    assert len(list(sp.combinatorial(100, folds=10, test_folds=1, cut=cut))) == 10


def test_walk_forward_refuses_to_train_on_nothing() -> None:
    with pytest.raises(ArgumentError, match="do not fit 20 periods"):
        sp.walk_forward(20, folds=4, cut=sp.Guard(5, 0), train_min=5)


@pytest.mark.parametrize(
    ("bars", "days"),
    [
        (0, 0),
        (1, 1),
        # From the only bar of day 2 over that of day 3 to the first of day 4; the mean of 2.4 bars
        # a day would say one.
        (2, 2),
        (3, 3),
        (11, 4),
        (12, 4),
        (99, 4),
    ],
)
def test_bars_reach_further_over_short_days(bars: int, days: int) -> None:
    day = np.array([0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 4, 4])
    assert sp.days_reached(day, bars) == days
