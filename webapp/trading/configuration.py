"""What can be configured while SEP runs, as one JSON Schema. The risk gate reads it each time."""

from typing import Any, Final

RISK: Final = "risk."

_LIMITS: Final = {
    "quote_age_s_max": "A quote older than this many seconds is too old to trade on.",
    "spread_pips_max": "A wider spread in pips is not traded.",
    "order_units_max": "Most units of one order.",
    "order_notional_max": "Most value of one order, in account currency.",
    "position_units_max": "Most units of one position, working orders counted as filled.",
    "open_positions_max": "Most positions at one time.",
    "open_orders_max": "Most working orders at one time.",
    "orders_per_minute_max": "Most orders in a minute.",
    "price_collar_pips_max": "Furthest price from the market in pips.",
    "daily_loss_max": "Loss of a trading day, open positions included, that sets REDUCING.",
    "default_stop_pips": "Distance of the stop that a position without one is given, in pips.",
}

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "SEP configuration",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        RISK + name: {
            "description": meaning,
            "type": "string",
            "pattern": r"^[0-9]{1,9}(\.[0-9]{1,6})?$",
        }
        for name, meaning in _LIMITS.items()
    },
}
