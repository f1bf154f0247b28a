"""At which price an order fills."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sep_engine.errors import ArgumentError
from sep_engine.execution.fills import Resting, bar_fills, bar_price, market_price
from sep_engine.execution.states import OrderType
from sep_engine.model import Ohlc, Quote, QuoteBar

START = datetime(2017, 5, 1, 8, tzinfo=UTC)
D = Decimal


def bar(open_: str, high: str, low: str, close: str, spread: str = "0.0002") -> QuoteBar:
    """A bar with these bid prices and the ask one spread above."""
    bid = [D(open_), D(high), D(low), D(close)]
    ask = [price + D(spread) for price in bid]
    return QuoteBar(
        "EUR_USD", START, START + timedelta(hours=1), Ohlc(*bid), Ohlc(*ask), None, True
    )


QUOTE = Quote("EUR_USD", START, D("1.1000"), D("1.1002"))
BAR = bar("1.1000", "1.1050", "1.0950", "1.1010")


def test_a_market_order_buys_at_the_ask_and_sells_at_the_bid() -> None:
    assert market_price(units=D(1), quote=QUOTE) == D("1.1002")
    assert market_price(units=D(-1), quote=QUOTE) == D("1.1000")


def test_a_bound_is_the_worst_price_allowed() -> None:
    assert market_price(units=D(1), quote=QUOTE, bound=D("1.1002")) == D("1.1002")
    assert market_price(units=D(1), quote=QUOTE, bound=D("1.10019")) is None
    assert market_price(units=D(-1), quote=QUOTE, bound=D("1.1000")) == D("1.1000")
    assert market_price(units=D(-1), quote=QUOTE, bound=D("1.10001")) is None


@pytest.mark.parametrize(
    ("type_", "units", "price", "expected"),
    [
        # A sell stop goes by the bid: its low is 1.0950.
        (OrderType.STOP_LOSS, -1, "1.0950", "1.0950"),
        (OrderType.STOP_LOSS, -1, "1.09499", None),
        # Opened below the stop: the open's price, not the stop's.
        (OrderType.STOP_LOSS, -1, "1.1005", "1.1000"),
        # A buy stop goes by the ask: its high is 1.1052, its open 1.1002.
        (OrderType.STOP_LOSS, 1, "1.1052", "1.1052"),
        (OrderType.STOP, 1, "1.10521", None),
        (OrderType.STOP, 1, "1.1001", "1.1002"),
        # A sell limit needs the bid up there; a buy limit needs the ask down there (low 1.0952).
        (OrderType.TAKE_PROFIT, -1, "1.1050", "1.1050"),
        (OrderType.TAKE_PROFIT, -1, "1.1051", None),
        (OrderType.LIMIT, 1, "1.0952", "1.0952"),
        (OrderType.LIMIT, 1, "1.0951", None),
        # Opened better than the limit: still the limit's own price.
        (OrderType.LIMIT, 1, "1.1030", "1.1030"),
    ],
)
def test_a_resting_order_fills_by_its_side_of_the_bar(
    type_: OrderType, units: int, price: str, expected: str | None
) -> None:
    found = bar_price(type=type_, units=D(units), price=D(price), bar=BAR)
    assert found == (None if expected is None else D(expected))


def test_a_bar_that_touches_stop_and_target_counts_as_the_stop() -> None:
    target = Resting("target", OrderType.TAKE_PROFIT, D(-1), D("1.1040"))
    stop = Resting("stop", OrderType.STOP_LOSS, D(-1), D("1.0960"))
    far = Resting("far", OrderType.STOP_LOSS, D(-1), D("1.0900"))
    assert bar_fills([target, far, stop], BAR) == [(stop, D("1.0960")), (target, D("1.1040"))]


def test_orders_that_cannot_be_priced_are_refused() -> None:
    with pytest.raises(ArgumentError, match="units must not be 0"):
        market_price(units=D(0), quote=QUOTE)
    with pytest.raises(ArgumentError, match="rests at the venue"):
        bar_price(type=OrderType.MARKET, units=D(1), price=D(1), bar=BAR)
