"""The choice of one rule out of a family, judged on daily P&L alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sep_engine.errors import ArgumentError
from sep_engine.evidence import selection, splits, verdict
from sep_engine.evidence import statistics as st
from sep_engine.evidence.pipeline import Forward, path_pnl, t_values, walk_forward
from sep_engine.evidence.settings import Count, Settings

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What the daily P&L of a family says about its best rule.

    net: (T, K) daily P&L after costs.
    years: that the T days span.
    best: the rule with the largest t value.
    forward: walk-forward.
    path_folds: folds of combinatorial cross-validation, 0 where T is too small for the cut.
    path_pnl: (paths, T) P&L, (0, T) likewise.
    block: mean block length of the bootstrap in days.
    superior, survivors: the test of the family, and the rules that pass it stepwise at 5 %.
    overfit: None for a family of one, which nothing was chosen from.
    moments: of the best rule's days; None if it never traded.
    """

    net: Floats
    years: float
    cut: splits.Guard
    best: int
    forward: Forward
    path_folds: int
    path_pnl: Floats
    block: float
    superior: selection.SuperiorAbility
    survivors: tuple[int, ...]
    overfit: selection.Overfitting | None
    moments: st.Moments | None

    @property
    def days_a_year(self) -> float:
        """Trading days a year."""
        return len(self.net) / self.years

    @property
    def annual_sharpe(self) -> float | None:
        """Sharpe ratio a year of the best rule."""
        return self.moments.sharpe * math.sqrt(self.days_a_year) if self.moments else None

    def years_needed(self, counted: Count) -> float | None:
        """Return the shortest backtest for the best rule's Sharpe ratio; None if it is not > 0."""
        annual = self.annual_sharpe
        if annual is None or annual <= 0:
            return None
        return st.min_backtest_years(counted.trials, annual_sharpe=annual)

    def figures(self, counted: Count) -> dict[str, float | None]:
        """Return the figures that the verdict's lines on selection ask for."""
        m = self.moments
        return {
            "walk_forward_net": float(self.forward.pnl.mean()),
            "path_median": float(np.median(self.path_pnl.mean(axis=1)))
            if self.path_folds
            else None,
            "spa_p": self.superior.consistent,
            "survives": float(self.best in self.survivors),
            "deflated_sharpe": st.deflated_sharpe(m, trials=counted.trials) if m else None,
            "deflated_sharpe_needed": verdict.deflated_sharpe_needed(
                trials=counted.trials, look=counted.look
            ),
            "pbo": self.overfit.probability if self.overfit else 0.0,
            "years": self.years,
            "years_needed": self.years_needed(counted),
        }


def choose(net: Floats, *, years: float, cut: splits.Guard, settings: Settings) -> Choice:
    """Return what (T, K) daily P&L after costs says about the choice of the best of K rules.

    Args:
        years: that the T days span, > 0.
        cut: in days.

    Raises:
        ArgumentError: fewer than 10 days, or a walk-forward that does not fit them.
    """
    days, rules = net.shape
    if days < 10 or not years > 0:
        raise ArgumentError(f"net must have at least 10 days in years > 0, had {days}, {years}")
    best = int(t_values(net).argmax())
    forward = walk_forward(net, forward_splits(days, cut=cut, settings=settings))
    folds = _folds_that_fit(days, cut, settings)
    pnl = (
        path_pnl(net, folds=folds, test_folds=settings.cv_test_folds, cut=cut)
        if folds
        else np.zeros((0, days))
    )
    own = net[:, best]
    block = min(max(st.block_length(own), st.block_length(net.mean(axis=1))), days / 4)
    rows = selection.bootstrap_rows(days, draws=settings.draws, block=block, seed=settings.seed)
    blocks = min(settings.pbo_blocks, days // 4 * 2)
    return Choice(
        net=net,
        years=years,
        cut=cut,
        best=best,
        forward=forward,
        path_folds=folds,
        path_pnl=pnl,
        block=block,
        superior=selection.superior_ability(net, rows=rows, block=block),
        survivors=selection.survivors(net, rows=rows, block=block),
        overfit=selection.overfitting(net, blocks=blocks) if rules > 1 else None,
        moments=st.moments(own) if own.std() > 0 else None,
    )


def forward_splits(days: int, *, cut: splits.Guard, settings: Settings) -> tuple[splits.Split, ...]:
    """Return the splits of the walk-forward over `days` days."""
    train = max(int(days * settings.train_share), cut.purge + 3)
    folds = min(settings.folds, days - train)
    return splits.walk_forward(days, folds=folds, cut=cut, train_min=train)


def _folds_that_fit(days: int, cut: splits.Guard, settings: Settings) -> int:
    for folds in range(settings.cv_folds, settings.cv_test_folds + 1, -1):
        if cut.purge + cut.embargo < days // folds - 1:
            return folds
    return 0
