"""What the engine finds in stored candles: the answer of an analysis job."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import sep_engine
from sep_engine.errors import ArgumentError
from sep_engine.model.calendar import gap_mask
from sep_engine.qfh import COUNT_METRICS, Encoding, rolling
from webapp.trading.granularity import duration, nanoseconds
from webapp.trading.models import Instrument
from webapp.trading.selectors.candles import candles_newest
from webapp.trading.selectors.engine import METRICS
from webapp.trading.wire import time_text

Json = dict[str, Any]
CANDLES_MAX = 20_000
UNUSUAL_PERCENTILE = 95.0


def analysis_result(
    instrument: Instrument,
    *,
    granularity: str,
    window: int,
    encoding: Encoding,
    progress: Callable[[float], None],
) -> Json:
    """Return how the metrics are spread over the stored candles.

    For each metric: its newest value, smallest, median and largest. For each metric with a coin
    distribution also the share of bars at or above the coin's 95th percentile, beside which a fair
    coin's own share of about 0.05 is to be held.

    Args:
        progress: called with the share that is done, before each longer part.

    Raises:
        ArgumentError: there are too few candles for the window.
    """
    candles = candles_newest(instrument, granularity=granularity, limit=CANDLES_MAX)
    stored = len(candles.rows)
    if stored <= window:
        raise ArgumentError(f"window {window} needs {window + 1} candles, {stored} are stored")
    progress(0.3)
    started = time.perf_counter()
    starts = candles.starts
    values = rolling(
        np.array(candles.closes),
        tick=float(instrument.tick),
        window=window,
        encoding=encoding,
        gap=gap_mask(nanoseconds(starts), duration(granularity), instrument.calendar),
    )
    elapsed_ms = (time.perf_counter() - started) * 1000
    progress(0.6)
    metrics = {wire: _spread(getattr(values, name)) for wire, name in METRICS.items()}
    progress(0.8)
    for name in COUNT_METRICS:
        percentiles = values.percentile(name)
        known = percentiles[~np.isnan(percentiles)]
        share = float(np.mean(known >= UNUSUAL_PERCENTILE)) if known.size else None
        metrics[name]["share_at_or_above_coin_95"] = share
    return {
        "candles": stored,
        "first": time_text(starts[0]),
        "last": time_text(starts[-1]),
        "full_windows": int(values.complete.sum()),
        "metrics": metrics,
        "engine": sep_engine.__version__,
        "rolling_ms": round(elapsed_ms, 3),
    }


def _spread(values: "np.ndarray[Any, np.dtype[np.float64]]") -> Json:
    known = values[~np.isnan(values)]
    if not known.size:
        return {"newest": None, "smallest": None, "median": None, "largest": None}
    return {
        "newest": float(known[-1]),
        "smallest": float(known.min()),
        "median": float(np.median(known)),
        "largest": float(known.max()),
    }
