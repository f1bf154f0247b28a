"""Calibrated QFH metrics, signals and honest backtests, over a compiled engine."""

from dataclasses import dataclass

from sep_engine import _core, errors, qfh

__version__ = _core.__version__

__all__ = ["Backend", "__version__", "backends", "errors", "qfh"]


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend that can be named, and whether it can run here.

    Attributes:
        name: "scalar", "simd" or "cuda".
        available: it can run here.
        detail: what runs it, or why it cannot run.
    """

    name: str
    available: bool
    detail: str


def backends() -> tuple[Backend, ...]:
    """Return every backend in a fixed order. All of them give the same bytes."""
    return tuple(Backend(*row) for row in _core.backends())
