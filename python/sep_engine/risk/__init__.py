"""The gate before every order. Pure, and closed unless every rule can answer."""

from sep_engine.risk.gate import (
    LIMIT_NAMES,
    Approved,
    Check,
    Denied,
    Exposure,
    Intent,
    Verdict,
    check_order,
)
from sep_engine.risk.sizing import HomeRates, conversion_pairs, home_rates, position_units

__all__ = [
    "LIMIT_NAMES",
    "Approved",
    "Check",
    "Denied",
    "Exposure",
    "HomeRates",
    "Intent",
    "Verdict",
    "check_order",
    "conversion_pairs",
    "home_rates",
    "position_units",
]
