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
    "order_equity_percent_max": "Most value of one order, in percent of the equity.",
    "stop_risk_percent_max": "Most that one order may lose at its stop, in percent of the equity.",
    "leverage_max": "Most value of all positions and waiting entries, as a multiple of the equity.",
    "currency_exposure_max": "Most value of any one currency over all pairs, in account currency.",
    "orders_per_second_max": "Most orders in a second.",
    "orders_per_day_max": "Most orders since 17:00 New York.",
    "repeat_pause_s": "Least seconds between two orders that look the same.",
    "drawdown_percent_max": "Loss from the highest equity, in percent, that sets REDUCING.",
    "rollover_pause_min": "Nothing is opened so many minutes around 17:00 New York; 0: no pause.",
    "loss_pause_min": "Minutes without an entry in an instrument after a loss in it; 0: none.",
    "stops_max": "Most stop losses within the window of the guard.",
    "stops_window_min": "Window of the guard over stop losses, in minutes; 0: no guard.",
    "window_loss_max": "Most that an instrument may lose within its window, in account currency.",
    "loss_window_min": "Window over an instrument's results, in minutes; 0: none is looked at.",
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
