"""The published QFH behaviour, number for number, so that old figures can be checked.

Never the default. What is known to be wrong with it stands in docs/reference/qfh.md.
"""

import numpy as np
from numpy.typing import ArrayLike

from sep_engine import _core
from sep_engine._core import LegacyAnalysis as Analysis
from sep_engine._core import LegacyQbsa as Qbsa
from sep_engine._core import LegacyTrajectory as Trajectory
from sep_engine.qfh._arrays import as_whole, one_dimensional

__all__ = [
    "Analysis",
    "Qbsa",
    "Trajectory",
    "analyze",
    "cosine",
    "path_similarity",
    "qbsa",
    "trajectory",
]


def analyze(bits: ArrayLike) -> Analysis:
    """Return counts, ratios, entropy, coherence, runs and the damped value from bit 0.

    Args:
        bits: (n,) uint8, oldest first. A value other than 0 and 1 leaves counts and runs empty and
            raises nothing, as the published code did.

    Raises:
        TypeError: another dtype.
    """
    return _core.legacy_analyze(one_dimensional("bits", bits, np.uint8))


def trajectory(bits: ArrayLike, *, anchor: int = 0) -> Trajectory:
    """Return the damped sum of (n,) uint8 bits from bit `anchor` forward, and what was said of its
    path; ArgumentError for an anchor below 0, TypeError for another dtype."""
    at = as_whole("anchor", anchor, low=0, high=2**63 - 1)
    return _core.legacy_trajectory(one_dimensional("bits", bits, np.uint8), at)


def path_similarity(path: ArrayLike) -> float:
    """Return how like a decay, a line or a sine a (n,) float64 path is, 0..1; 0.5 below three
    points; TypeError for another dtype."""
    return _core.legacy_path_similarity(one_dimensional("path", path, np.float64))


def cosine(a: ArrayLike, b: ArrayLike) -> float:
    """Return the cosine of a and b, (n,) float64 each; 0 if a norm is 0 or the lengths differ."""
    return _core.legacy_cosine(
        one_dimensional("a", a, np.float64), one_dimensional("b", b, np.float64)
    )


def qbsa(probes: ArrayLike, expectations: ArrayLike) -> Qbsa:
    """Return where (n,) uint32 probes and expectations differ, and the share that does."""
    return _core.legacy_qbsa(
        one_dimensional("probes", probes, np.uint32),
        one_dimensional("expectations", expectations, np.uint32),
    )
