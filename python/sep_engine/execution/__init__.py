"""Order states, the order core, fills, positions and reconciliation. Pure: no clock, no IO."""

from sep_engine.execution.states import (
    AT_VENUE,
    LIVE,
    TERMINAL,
    TRANSITIONS,
    UNSENT,
    OrderState,
    OrderType,
    Origin,
    TradingMode,
    check_transition,
)

__all__ = [
    "AT_VENUE",
    "LIVE",
    "TERMINAL",
    "TRANSITIONS",
    "UNSENT",
    "OrderState",
    "OrderType",
    "Origin",
    "TradingMode",
    "check_transition",
]
