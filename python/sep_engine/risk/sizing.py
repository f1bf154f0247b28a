"""How many units a risk budget buys, and what a currency is worth in another."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from sep_engine.model import Instrument

# The venue writes its conversion factors with twelve decimals.
_FACTOR = Decimal("1e-12")


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


@dataclass(frozen=True, slots=True)
class HomeRates:
    """Account currency per unit of a foreign one: what a gain brings and what a loss costs."""

    gain: Decimal
    loss: Decimal

    @property
    def mid(self) -> Decimal:
        return (self.gain + self.loss) / 2

    def home(self, amount: Decimal) -> Decimal:
        """Return an amount of the foreign currency in account currency, unrounded."""
        return amount * (self.gain if amount > 0 else self.loss)


def home_rates(
    wanted: str, held: str, quotes: Mapping[str, tuple[Decimal, Decimal]]
) -> HomeRates | None:
    """Return what amounts of `held` are worth in `wanted`; None if the quotes do not say.

    A gain is sold at the worse price, a loss bought at the worse price, as the venue does it. A
    pair of the two is used either way round, else one currency in the middle.

    quotes: instrument name ("EUR_USD": base and quote) to its bid and ask, both > 0.
    """
    direct = _home_rates(wanted, held, quotes)
    if direct is not None:
        return direct
    for middle in sorted({currency for name in quotes for currency in name.split("_")}):
        first, second = _home_rates(middle, held, quotes), _home_rates(wanted, middle, quotes)
        if first is not None and second is not None:
            return HomeRates(first.gain * second.gain, first.loss * second.loss)
    return None


def _home_rates(
    wanted: str, held: str, quotes: Mapping[str, tuple[Decimal, Decimal]]
) -> HomeRates | None:
    if wanted == held:
        return HomeRates(Decimal(1), Decimal(1))
    if (straight := quotes.get(f"{held}_{wanted}")) is not None:
        return HomeRates(*straight)
    if (turned := quotes.get(f"{wanted}_{held}")) is not None:
        bid, ask = turned
        return HomeRates((1 / ask).quantize(_FACTOR), (1 / bid).quantize(_FACTOR))
    return None


def conversion_pairs(wanted: str, held: str, offered: Iterable[str]) -> tuple[str, ...]:
    """Return the instruments whose prices turn `held` into `wanted`; none if they are the same.

    offered: names of the venue's instruments. Without a pair of the two, two pairs with one
    currency in the middle; () if there are none either.
    """
    names = set(offered)
    if wanted == held:
        return ()
    if direct := _pair(wanted, held, names):
        return (direct,)
    # The currencies that most others are paired with come first.
    for middle in ("USD", "EUR", *sorted({one for name in names for one in name.split("_")})):
        first, second = _pair(middle, held, names), _pair(wanted, middle, names)
        if first and second:
            return (first, second)
    return ()


def _pair(one: str, other: str, names: Collection[str]) -> str:
    return next((name for name in (f"{other}_{one}", f"{one}_{other}") if name in names), "")
