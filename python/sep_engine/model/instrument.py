"""What can be traded, and on which grid of prices and sizes."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from sep_engine.errors import ArgumentError
from sep_engine.model.calendar import CALENDARS


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable pair.

    Attributes:
        name: base and quote joined by an underscore, e.g. "EUR_USD".
        base, quote: currency or asset codes.
        tick: smallest price step, in quote currency, > 0.
        pip: the market's usual unit of price differences, a whole number of ticks.
        units_step: smallest size step, in units of base, > 0.
        price_decimals: decimals that a price is written with; the tick needs no more.
        calendar: when the market is open: "fx" or "always".
    """

    name: str
    base: str
    quote: str
    tick: Decimal
    pip: Decimal
    units_step: Decimal
    price_decimals: int
    calendar: str

    def __post_init__(self) -> None:
        if not self.base or not self.quote or self.name != f"{self.base}_{self.quote}":
            raise ArgumentError(
                f"name must be base and quote joined by '_', was {self.name!r} "
                f"for {self.base!r} and {self.quote!r}"
            )
        for field in ("tick", "pip", "units_step"):
            value = getattr(self, field)
            if not value.is_finite() or value <= 0:
                raise ArgumentError(f"{field} must be > 0, was {value}")
        if self.pip % self.tick != 0:
            raise ArgumentError(f"pip must be a whole number of ticks, was {self.pip}/{self.tick}")
        if self.tick % Decimal(1).scaleb(-self.price_decimals) != 0:
            raise ArgumentError(
                f"price_decimals must be enough to write the tick {self.tick}, "
                f"was {self.price_decimals}"
            )
        if self.calendar not in CALENDARS:
            raise ArgumentError(f"calendar must be one of {CALENDARS}, was {self.calendar!r}")

    def round_price(self, price: Decimal) -> Decimal:
        """Return the nearest multiple of the tick (a tie goes to the even multiple)."""
        ticks = (price / self.tick).to_integral_value(ROUND_HALF_EVEN)
        return (ticks * self.tick).quantize(Decimal(1).scaleb(-self.price_decimals))

    def pips(self, difference: Decimal) -> Decimal:
        """Return a price difference in pips, exact and signed."""
        return difference / self.pip
