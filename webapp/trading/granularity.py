"""Lengths of bars by their names."""

from datetime import timedelta

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
