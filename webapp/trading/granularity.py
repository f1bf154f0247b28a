"""Lengths of bars by their names, and times as the engine takes them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from sep_engine.model.times import to_ns

_SECONDS = {"M1": 60, "M5": 300, "M15": 900, "M30": 1800, "H1": 3600, "H4": 14_400, "D": 86_400}
GRANULARITIES = tuple(_SECONDS)


def duration(granularity: str) -> timedelta:
    """Return how long a bar lasts.

    Raises:
        ValueError: the name is none of GRANULARITIES.
    """
    if granularity not in _SECONDS:
        raise ValueError(
            f"granularity must be one of {', '.join(GRANULARITIES)}, was {granularity!r}"
        )
    return timedelta(seconds=_SECONDS[granularity])


def nanoseconds(times: Sequence[datetime]) -> NDArray[np.int64]:
    """Return aware times as (n,) int64 nanoseconds since 1970, exact to the microsecond."""
    return np.array([to_ns(time) for time in times], dtype=np.int64)
