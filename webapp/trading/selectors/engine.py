"""What the compiled engine says about itself and about stored candles."""

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

import sep_engine
from sep_engine.model.calendar import gap_mask
from sep_engine.qfh import COUNT_METRICS, Encoding, RollingMetrics, rolling
from webapp.trading.granularity import duration, nanoseconds
from webapp.trading.models import Instrument, Strategy
from webapp.trading.selectors.candles import candles_newest
from webapp.trading.wire import time_text

Json = dict[str, Any]

# The wire name of each metric and its name in the engine, where `lambda` is a word of Python.
METRICS: Final = {
    "null_ratio": "null_ratio",
    "flip_ratio": "flip_ratio",
    "rupture_ratio": "rupture_ratio",
    "entropy": "entropy",
    "coherence": "coherence",
    "state_coherence": "state_coherence",
    "stability": "stability",
    "balance": "balance",
    "lambda": "lambda_",
    "damped": "damped",
    "damped_anchored": "damped_anchored",
}


@cache
def code_version() -> str:
    """Return the engine's version and the hash of its files: other code may find other figures."""
    package = Path(sep_engine.__file__).parent
    digest = hashlib.sha256(Path(sep_engine._core.__file__).read_bytes())
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return f"{sep_engine.__version__}+{digest.hexdigest()[:12]}"


def describe() -> Json:
    """Return the engine's version and the backends that can run here."""
    return {
        "version": sep_engine.__version__,
        "backends": [one.name for one in sep_engine.backends() if one.available],
    }


def metrics_resource(
    instrument: Instrument,
    *,
    limit: int,
    granularity: str = "H1",
    window: int | None = None,
    encoding: Encoding | None = None,
    before: datetime | None = None,
) -> Json:
    """Return metrics and percentiles of at most `limit` candles before a time, oldest first.

    Window and encoding default to those of the rule on the instrument, 64 moves without one. Every
    value uses closes up to its candle only; as many candles before the first shown are read as its
    window may need.
    """
    rule = _rule_of(instrument)
    window = window or int(rule.get("window", 64))
    encoding = encoding or rule.get("encoding", "moves")
    # Twice the window: bars that do not move give no bit.
    candles = candles_newest(
        instrument, granularity=granularity, limit=limit + 2 * window, before=before
    )
    starts = candles.starts
    points: list[Json] = []
    if len(starts) > window:
        values = rolling(
            np.array(candles.closes),
            tick=float(instrument.tick),
            window=window,
            encoding=encoding,
            gap=gap_mask(nanoseconds(starts), duration(granularity), instrument.calendar),
        )
        points = _points(values, starts)[-limit:]
    return {
        "instrument": instrument.name,
        "window": window,
        "encoding": encoding,
        "engine": sep_engine.__version__,
        "as_of": time_text(starts[-1] + duration(granularity)) if starts else None,
        "points": points,
    }


def _rule_of(instrument: Instrument) -> Json:
    rules = Strategy.objects.filter(instrument=instrument, source="")  # a class has no window
    strategy = rules.order_by("pk").first()
    return {} if strategy is None else strategy.rule


def _points(values: RollingMetrics, starts: list[datetime]) -> list[Json]:
    columns = {wire: _column(getattr(values, name)) for wire, name in METRICS.items()}
    percentiles = {name: _column(values.percentile(name)) for name in COUNT_METRICS}
    return [
        {
            "time": time_text(start),
            "metrics": {name: column[index] for name, column in columns.items()},
            "percentiles": {name: column[index] for name, column in percentiles.items()},
        }
        for index, start in enumerate(starts)
    ]


def _column(values: "np.ndarray[Any, np.dtype[np.float64]]") -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
