"""Which stops work for a position, and what of it they close."""

from decimal import Decimal

from sep_engine.execution.states import (
    STOPS,
    TERMINAL,
    OrderState,
)
from webapp.trading.models import (
    Order,
    Position,
    Trade,
)
from webapp.trading.statements import Asked


def stops_of(position: Position) -> list[Order]:
    """Return the stop orders that work for the position."""
    # By the instrument SQLite would read all of its orders, however few of them are open.
    stops = _stops(position.account_id)
    here = (stop for stop in stops if stop.instrument_id == position.instrument_id)
    return [stop for stop in here if stop.units * position.units < 0]


_stops = Asked(
    lambda account: Order.objects.filter(
        account=account, type__in=sorted(STOPS), state__in=sorted(set(OrderState) - TERMINAL)
    )
)


def covered_units(position: Position, stops: list[Order]) -> Decimal:
    """Return how many units (>= 0) of the position the stops close; a trade counts once."""
    left = dict(_trades_open(position.account_id))
    total, seen = Decimal(0), set()
    for stop in stops:
        if not stop.trade_id:
            total += abs(stop.units)
        elif stop.trade_id not in seen:
            seen.add(stop.trade_id)
            total += abs(left.get(stop.trade_id, Decimal(0)))
    return total


_trades_open = Asked(
    lambda account: (
        Trade.objects.filter(account=account)
        .exclude(units=0)
        .values_list("venue_trade_id", "units")
    )
)


def uncovered_trades(position: Position, stops: list[Order]) -> list[Trade]:
    """Return the open trades of a position that have no stop of their own, oldest first."""
    covered = {stop.trade_id for stop in stops}
    trades = Trade.objects.filter(
        account_id=position.account_id, instrument_id=position.instrument_id
    ).exclude(units=0)
    return [
        trade
        for trade in trades.order_by("pk")
        if trade.units * position.units > 0 and trade.venue_trade_id not in covered
    ]


def nearest_stop(position: Position, stops: list[Order]) -> Decimal | None:
    """Return the price at which the position is first stopped, None if no stop has a price."""
    prices = [stop.price for stop in stops if stop.price is not None]
    if not prices:
        return None
    return max(prices) if position.units > 0 else min(prices)
