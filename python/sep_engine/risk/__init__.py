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

__all__ = [
    "LIMIT_NAMES",
    "Approved",
    "Check",
    "Denied",
    "Exposure",
    "Intent",
    "Verdict",
    "check_order",
]
