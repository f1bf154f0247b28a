"""How much is computed, and what the ledger says was tried before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sep_engine.errors import ArgumentError
from sep_engine.evidence.surrogates import Kind

FOLDS: Final = 8
WORLDS: Final[Mapping[Kind, int]] = {"sign": 200, "walk": 50, "iaaft": 50}


@dataclass(frozen=True, slots=True)
class Count:
    """What the ledger says: distinct configurations tried on these data, and which look this is."""

    trials: int
    look: int


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is computed. Other settings make another report.

    surrogates: how many worlds of each kind.
    truncations: rows at which the causality gate cuts; it works on the first `gate_bars` bars and
        runs `gate_trades` trades again.
    folds: of walk-forward, after the first `train_share` of the days.
    cv_folds, cv_test_folds: of combinatorial cross-validation; fewer folds where days are few.
    pbo_blocks, draws: of the probability of overfitting, and of the bootstrap.
    purge_bars, embargo_bars: None for horizon and window; less needs `reason`.
    """

    seed: int = 0
    surrogates: Mapping[Kind, int] = field(default_factory=lambda: dict(WORLDS))
    truncations: int = 1000
    gate_bars: int = 20_000
    gate_trades: int = 100
    folds: int = FOLDS
    train_share: float = 0.5
    cv_folds: int = 10
    cv_test_folds: int = 2
    pbo_blocks: int = 12
    draws: int = 1000
    purge_bars: int | None = None
    embargo_bars: int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.surrogates.get("sign", 0) < 19:
            raise ArgumentError("surrogates must hold at least 19 of kind sign")

    @property
    def unusual(self) -> dict[str, object]:
        """What luck depends on, where it is not as usual: to try another is another look."""
        named = {"seed": (self.seed, 0), "sign": (self.surrogates["sign"], WORLDS["sign"])}
        return {name: value for name, (value, usual) in named.items() if value != usual}
