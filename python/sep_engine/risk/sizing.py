"""How many units a risk budget buys, and what a currency is worth in another."""

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal

from sep_engine.model import Instrument


def position_units(
    *,
    equity: Decimal,
    risk_fraction: Decimal,
    stop_distance: Decimal,
    account_per_quote: Decimal,
    instrument: Instrument,
) -> Decimal:
    """Return the most units whose loss at the stop fits the risk budget.

    Args:
        equity: account currency, >= 0.
        risk_fraction: share of equity that may be lost, in (0, 1].
        stop_distance: |entry - stop| as a price difference (not pips), > 0.
        account_per_quote: account currency per unit of quote currency, > 0.
        instrument: gives the step that the result is rounded *down* to.

    Returns:
        Units of base currency, >= 0. Zero means that the budget buys less than one step.

    Raises:
        ValueError: an argument is outside its range.
    """
    if not equity.is_finite() or equity < 0:
        raise ValueError(f"equity must be >= 0, was {equity}")
    if not risk_fraction.is_finite() or not 0 < risk_fraction <= 1:
        raise ValueError(f"risk_fraction must be in (0, 1], was {risk_fraction}")
    for name, value in (("stop_distance", stop_distance), ("account_per_quote", account_per_quote)):
        if not value.is_finite() or value <= 0:
            raise ValueError(f"{name} must be > 0, was {value}")
    loss_per_unit = stop_distance * account_per_quote
    steps = equity * risk_fraction / (loss_per_unit * instrument.units_step)
    return steps.to_integral_value(ROUND_FLOOR) * instrument.units_step


def conversion_rate(wanted: str, held: str, mids: Mapping[str, Decimal]) -> Decimal | None:
    """Return units of `wanted` per unit of `held`; None if the prices do not say.

    mids: instrument name ("EUR_USD": base and quote) to its mid price, > 0. A pair of the two is
    used either way round, else one currency in the middle.
    """
    direct = _rate(wanted, held, mids)
    if direct is not None:
        return direct
    currencies = sorted({currency for name in mids for currency in name.split("_")})
    for middle in currencies:
        first, second = _rate(middle, held, mids), _rate(wanted, middle, mids)
        if first is not None and second is not None:
            return first * second
    return None


def _rate(wanted: str, held: str, mids: Mapping[str, Decimal]) -> Decimal | None:
    if wanted == held:
        return Decimal(1)
    straight, turned = mids.get(f"{held}_{wanted}"), mids.get(f"{wanted}_{held}")
    if straight is not None:
        return straight
    return None if turned is None else 1 / turned
