"""How exact numbers and times are written on the wire: texts that lose nothing."""

from datetime import UTC, datetime
from decimal import Decimal


def decimal_text(value: Decimal, *, decimals_min: int = 0) -> str:
    """Return a decimal without exponent, with at least `decimals_min` digits after the point.

    Trailing zeros beyond that are dropped: 1.3000000000 is "1.3", or "1.30" with two. Zero has no
    sign: a short position at its own price earns -0, which is 0.
    """
    value = value or Decimal(0)
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"a decimal on the wire must be finite, was {value}")
    return f"{value:.{max(decimals_min, -exponent, 0)}f}"


def money_text(value: Decimal) -> str:
    """Return an amount of an account currency, with at least two decimals."""
    return decimal_text(value, decimals_min=2)


def time_text(value: datetime) -> str:
    """Return an aware time as ISO-8601 UTC with a Z."""
    if value.utcoffset() is None:
        raise ValueError(f"a time on the wire must carry its time zone, was {value.isoformat()}")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
