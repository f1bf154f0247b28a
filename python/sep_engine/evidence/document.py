"""Figures as the JSON documents of reports hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from sep_engine.evidence import statistics as st


def clustered(
    values: npt.NDArray[np.float64], days: npt.NDArray[np.int64]
) -> dict[str, float] | None:
    """Return the day-clustered mean of (n,) values and its interval; None for < 2 days."""
    return asdict(st.clustered_mean(values, days)) if np.unique(days).size >= 2 else None


def low_end(interval: Mapping[str, float] | None) -> float | None:
    """Return the low end of an interval, None where there is none."""
    return None if interval is None else interval["low"]


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole, None for a whole of 0."""
    return float(part) / float(whole) if whole else None


def plain(value: Any) -> Any:
    """Return JSON: arrays as lists, numbers of NumPy as Python's, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [
            plain(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)
        ]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
