"""At which price an order fills: the one model for the paper broker and the backtester.

Rules:
    A market order fills at the next quote that the venue sees after it has the order: a buy at the
    ask, a sell at the bid, unless that is beyond its bound.
    Every other order is judged against complete bars, buys by the ask's range and sells by the
    bid's. A stop that is touched fills at its price, or at the bar's open if the bar opened beyond
    it. A limit that is touched fills at its own price, never better.
    Within a bar nothing is known of the order of prices, so stops come before targets: a bar that
    touches both counts as the stop.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from sep_engine.errors import ArgumentError
from sep_engine.execution.states import OrderType
from sep_engine.model import Quote, QuoteBar

STOPS = frozenset({OrderType.STOP, OrderType.STOP_LOSS})
LIMITS = frozenset({OrderType.LIMIT, OrderType.TAKE_PROFIT})

# Protection first, then entries, targets last: the pessimistic reading of a bar.
BAR_PRIORITY = (OrderType.STOP_LOSS, OrderType.STOP, OrderType.LIMIT, OrderType.TAKE_PROFIT)


@dataclass(frozen=True, slots=True)
class Resting:
    """An order that waits at the venue: `key` names it to the caller, `units` are signed."""

    key: str
    type: OrderType
    units: Decimal
    price: Decimal


def market_price(*, units: Decimal, quote: Quote, bound: Decimal | None = None) -> Decimal | None:
    """Return the price that a market order of `units` (signed) gets from `quote`.

    None means that the price is beyond `bound`, the worst price allowed.
    """
    if units == 0:
        raise ArgumentError("units must not be 0")
    price = quote.ask if units > 0 else quote.bid
    if bound is not None and (price > bound if units > 0 else price < bound):
        return None
    return price


def bar_price(*, type: OrderType, units: Decimal, price: Decimal, bar: QuoteBar) -> Decimal | None:
    """Return the price at which `bar` fills a resting order, None if the bar does not touch it."""
    if units == 0:
        raise ArgumentError("units must not be 0")
    side = bar.ask if units > 0 else bar.bid
    if type in STOPS:
        if units > 0:
            return max(price, side.open) if side.high >= price else None
        return min(price, side.open) if side.low <= price else None
    if type in LIMITS:
        touched = side.low <= price if units > 0 else side.high >= price
        return price if touched else None
    raise ArgumentError(f"type must be one that rests at the venue, was {type}")


def bar_fills(orders: Iterable[Resting], bar: QuoteBar) -> list[tuple[Resting, Decimal]]:
    """Return the orders that `bar` touches with their prices, in the order in which they count.

    The caller takes them one after another and drops those that an earlier one made void (the
    target of a position that its stop has closed).
    """
    touched = []
    for order in orders:
        price = bar_price(type=order.type, units=order.units, price=order.price, bar=bar)
        if price is not None:
            touched.append((order, price))
    return sorted(touched, key=lambda pair: BAR_PRIORITY.index(pair[0].type))
