from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sep_engine.errors import ArgumentError
from sep_engine.model import Instrument, Ohlc, Quote, QuoteBar

START = datetime(2017, 1, 4, 12, tzinfo=UTC)
EUR_USD = Instrument(
    name="EUR_USD",
    base="EUR",
    quote="USD",
    tick=Decimal("0.00001"),
    pip=Decimal("0.0001"),
    units_step=Decimal(1),
    price_decimals=5,
    calendar="fx",
)


def ohlc(*prices: str) -> Ohlc:
    return Ohlc(*(Decimal(price) for price in prices))


def bar() -> QuoteBar:
    return QuoteBar(
        instrument="EUR_USD",
        start=START,
        end=START + timedelta(hours=1),
        bid=ohlc("1.1000", "1.1020", "1.0990", "1.1010"),
        ask=ohlc("1.1001", "1.1021", "1.0991", "1.1011"),
        volume=None,
        assumed_spread=True,
    )


def test_a_price_is_rounded_to_the_tick() -> None:
    assert EUR_USD.round_price(Decimal("1.084257")) == Decimal("1.08426")
    assert str(EUR_USD.round_price(Decimal("1.1"))) == "1.10000"


def test_a_tie_is_rounded_to_the_even_tick() -> None:
    assert EUR_USD.round_price(Decimal("1.084245")) == Decimal("1.08424")
    assert EUR_USD.round_price(Decimal("1.084255")) == Decimal("1.08426")


def test_a_tick_of_half_a_point_rounds_to_its_own_grid() -> None:
    wide = replace(EUR_USD, tick=Decimal("0.00005"))
    assert str(wide.round_price(Decimal("1.08424"))) == "1.08425"


def test_a_difference_is_given_in_pips() -> None:
    assert EUR_USD.pips(Decimal("-0.00013")) == Decimal("-1.3")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"name": "EURUSD"}, "name must be base and quote"),
        ({"tick": Decimal(0)}, "tick must be > 0"),
        ({"tick": Decimal("NaN")}, "tick must be > 0"),
        ({"pip": Decimal("0.000105")}, "whole number of ticks"),
        ({"price_decimals": 4}, "price_decimals"),
        ({"units_step": Decimal(-1)}, "units_step must be > 0"),
        ({"calendar": "moon"}, "calendar must be one of"),
    ],
)
def test_an_instrument_that_breaks_a_rule_is_refused(change: dict[str, object], rule: str) -> None:
    with pytest.raises(ArgumentError, match=rule):
        replace(EUR_USD, **change)  # type: ignore[arg-type]


def test_a_quote_knows_its_mid_and_spread() -> None:
    quote = Quote("EUR_USD", START, Decimal("1.10000"), Decimal("1.10013"))
    assert quote.mid == Decimal("1.100065")
    assert quote.spread == Decimal("0.00013")


@pytest.mark.parametrize(("bid", "ask"), [("1.2", "1.1"), ("0", "1.1"), ("NaN", "1.1")])
def test_a_quote_that_cannot_be_is_refused(bid: str, ask: str) -> None:
    with pytest.raises(ArgumentError):
        Quote("EUR_USD", START, Decimal(bid), Decimal(ask))


def test_a_quote_without_time_zone_is_refused() -> None:
    with pytest.raises(ArgumentError, match="time zone"):
        Quote("EUR_USD", START.replace(tzinfo=None), Decimal("1.1"), Decimal("1.2"))


@pytest.mark.parametrize(
    "prices",
    [
        ("1.1", "1.0", "0.9", "1.0"),  # high below open
        ("1.1", "1.2", "1.1", "1.0"),  # low above close
        ("1.1", "1.2", "-1", "1.1"),
        ("1.1", "Infinity", "1.0", "1.1"),
    ],
)
def test_prices_out_of_order_are_refused(prices: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError):
        ohlc(*prices)


def test_a_bar_gives_a_quote_when_it_starts_and_one_when_it_ends() -> None:
    assert bar().open_quote == Quote("EUR_USD", START, Decimal("1.1000"), Decimal("1.1001"))
    end = START + timedelta(hours=1)
    assert bar().close_quote == Quote("EUR_USD", end, Decimal("1.1010"), Decimal("1.1011"))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"end": START}, "start must be before end"),
        ({"bid": ohlc("1.1002", "1.1020", "1.0990", "1.1010")}, "bid open must be <= ask open"),
        ({"volume": Decimal(-1)}, "volume must be >= 0"),
    ],
)
def test_a_bar_that_cannot_be_is_refused(change: dict[str, object], rule: str) -> None:
    with pytest.raises(ArgumentError, match=rule):
        replace(bar(), **change)  # type: ignore[arg-type]
