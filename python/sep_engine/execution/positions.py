"""What a fill does to a position: netting, average price and realised profit, exact in Decimal.

A hedging account has two positions in an instrument, each netted in itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from enum import StrEnum
from typing import TypeVar

from sep_engine.errors import ArgumentError

AVERAGE_STEP = Decimal("1e-8")

Key = TypeVar("Key")

# 60 digits hold every product below exactly for amounts of up to 28 digits.
_EXACT = Context(prec=60)


class Side(StrEnum):
    """Which of an instrument's positions: the only one, or one of a hedging account's two."""

    NET = "NET"
    LONG = "LONG"
    SHORT = "SHORT"


@dataclass(frozen=True, slots=True)
class NetPosition:
    """A netted position.

    Attributes:
        units: signed, + long.
        average_price: weighted entry price to 1e-8, None when flat.
        realised_pl: in quote currency, over the position's whole life.

    After any fills `realised_pl - units * average_price == -sum(fill units * fill price)` holds
    exactly: what rounding the average leaves over is booked as realised.
    """

    units: Decimal = Decimal(0)
    average_price: Decimal | None = None
    realised_pl: Decimal = Decimal(0)

    def open_pl(self, price: Decimal) -> Decimal:
        """Return the profit of closing everything at `price`, in quote currency."""
        if self.average_price is None:
            return Decimal(0)
        return self.units * (price - self.average_price)


def apply_fill(position: NetPosition, *, units: Decimal, price: Decimal) -> NetPosition:
    """Return the position after `units` (signed, not 0) were filled at `price` (> 0).

    A fill against the position realises against the average price; what is left over opens the
    other way at the fill's price.
    """
    if units == 0 or not units.is_finite():
        raise ArgumentError(f"units must be finite and not 0, were {units}")
    if not price.is_finite() or price <= 0:
        raise ArgumentError(f"price must be > 0, was {price}")
    with localcontext(_EXACT):
        held, average = position.units, position.average_price
        left = held + units
        if average is None or held * units > 0:
            cost = held * (average or Decimal(0)) + units * price
            rounded = (cost / left).quantize(AVERAGE_STEP, ROUND_HALF_EVEN)
            return NetPosition(left, rounded, position.realised_pl + (left * rounded - cost))
        if held * left >= 0:  # reduced, or closed exactly
            realised = position.realised_pl - units * (price - average)
            return NetPosition(left, average if left else None, realised)
        realised = position.realised_pl + held * (price - average)
        return NetPosition(left, price, realised)


def sides_of(
    units: Decimal, *, opened: Decimal | None, hedging: bool
) -> list[tuple[Side, Decimal]]:
    """Return which positions a fill of `units` changes, and by how much; a closed side is last.

    opened: of the units those that opened a trade; None if the venue keeps none.
    """
    if not hedging:
        return [(Side.NET, units)]
    opening, closing = (Side.LONG, Side.SHORT) if units > 0 else (Side.SHORT, Side.LONG)
    opened = opened or Decimal(0)
    parts = [(opening, opened), (closing, units - opened)]
    return [(side, part) for side, part in parts if part]


def close_answered(waiting: Iterable[tuple[Key, Decimal]], units: Decimal) -> Key | None:
    """Return which close of a trade a nameless answer is about, None if it is none of them.

    A venue that takes no client id for a close tells the trade and how much of it. Two closes of
    one trade by the same size are the same wish twice, so the older one is as good as the other.

    waiting: the closes of that trade that are not answered, oldest first, with their signed units.
    units: that the venue was asked to close, of either sign; 0 if it does not say.
    """
    return next((key for key, wanted in waiting if not units or abs(wanted) == abs(units)), None)
