from __future__ import annotations

import numpy as np
import pytest

from sep_engine.evidence import pipeline as pi
from sep_engine.evidence import splits


def test_a_rule_that_never_trades_is_never_the_best() -> None:
    daily = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0]])
    # Mean 2, deviation 1, three days: 2 sqrt(3).
    assert pi.t_values(daily).tolist() == pytest.approx([-np.inf, 2 * np.sqrt(3)])
    assert pi.best_rule(daily) == 1
    assert pi.best_rule(-daily) is None


def test_walk_forward_chooses_on_the_past_and_stands_aside_when_nothing_gained() -> None:
    rng = np.random.default_rng(2)
    daily = rng.standard_normal((60, 3)) * 0.1
    daily[:30, 0] += 1
    daily[30:, 0] -= 5
    made = splits.walk_forward(60, folds=3, cut=splits.Guard(2, 0), train_min=30)
    forward = pi.walk_forward(daily - 0.5, made)
    assert forward.picks[0] == 0
    assert forward.picks[2] is None
    assert forward.pnl[:10].tolist() == (daily[30:40, 0] - 0.5).tolist()
    assert forward.pnl[20:].tolist() == [0.0] * 10
    assert forward.days.tolist() == list(range(30, 60))


def test_running_sums_choose_as_the_plain_t_value_does() -> None:
    daily = np.random.default_rng(5).standard_normal((200, 40))
    made = splits.walk_forward(200, folds=7, cut=splits.Guard(3, 3), train_min=60)
    forward = pi.walk_forward(daily, made)
    assert forward.picks == tuple(pi.best_rule(daily[split.train]) for split in made)
    assert forward.t_value == pytest.approx(
        forward.pnl.mean() / forward.pnl.std(ddof=1) * np.sqrt(140)
    )


def test_every_path_tests_every_day_once_with_a_rule_chosen_elsewhere() -> None:
    rng = np.random.default_rng(7)
    daily = rng.standard_normal((100, 2)) * 0.01
    daily[:, 0] += 1.0
    daily[:, 1] += np.where(np.arange(100) < 20, 50.0, -1.0)
    pnl = pi.path_pnl(daily, folds=5, test_folds=2, cut=splits.Guard(1, 1))
    assert pnl.shape == (4, 100)
    # Rule 1 shines in fold 0 only, so it is never chosen where fold 0 is tested.
    assert np.array_equal(pnl[:, :20], np.broadcast_to(daily[:20, 0], (4, 20)))
