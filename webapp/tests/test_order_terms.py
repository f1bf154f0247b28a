"""What is refused before an order becomes an intent, by field, for every venue."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from sep_engine.execution.states import OrderType, PositionFill, TimeInForce
from webapp.trading.brokers.registry import TERMS
from webapp.trading.models import Instrument, Trade
from webapp.trading.services.order_terms import Wanted, order_faults

D = Decimal
EUR_USD = Instrument(
    pk=1,
    name="EUR_USD",
    tick=D("0.00001"),
    pip=D("0.0001"),
    units_step=D(1),
    price_decimals=5,
)
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def faults(kind: str = "oanda-local", **fields: Any) -> dict[str, str]:
    wanted: dict[str, Any] = {
        "instrument": EUR_USD,
        "units": D(1000),
        "type": OrderType.MARKET,
        "time_in_force": TimeInForce.FOK,
    }
    return order_faults(Wanted(**(wanted | fields)), TERMS[kind], "the venue")


def limit(**fields: Any) -> dict[str, Any]:
    return {
        "type": OrderType.LIMIT,
        "price": D("1.1"),
        "time_in_force": TimeInForce.GTC,
    } | fields


@pytest.mark.parametrize("kind", sorted(TERMS.keys() - {"ccxt-sandbox"}))
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"time_in_force": TimeInForce.IOC},
        {"stop_distance": D("0.002"), "take_profit": D("1.2"), "trailing_distance": D("0.01")},
        limit(),
        limit(time_in_force=TimeInForce.GTD, good_until=LATER),
        limit(time_in_force=TimeInForce.GFD, position_fill=PositionFill.OPEN_ONLY),
        limit(type=OrderType.STOP, time_in_force=TimeInForce.IOC),
        limit(type=OrderType.MARKET_IF_TOUCHED),
        limit(type=OrderType.STOP_LOSS, units=D(-1000)),
        limit(type=OrderType.TAKE_PROFIT, units=D(-1000), position_fill=PositionFill.REDUCE_ONLY),
    ],
)
def test_every_venue_takes_what_it_can_do(kind: str, fields: dict[str, Any]) -> None:
    assert faults(kind, **fields) == {}


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"units": D(0)}, "units", "must be a multiple of 1 and not 0, was 0"),
        ({"units": D("0.5")}, "units", "must be a multiple of 1 and not 0, was 0.5"),
        ({"price": D("1.1")}, "price", "a MARKET order has none"),
        (limit(price=None), "price", "a LIMIT order needs one"),
        (limit(price=D("1.000001")), "price", "must be a multiple of 0.00001 and > 0"),
        (limit(price=D("NaN")), "price", "must be a multiple of 0.00001 and > 0, was NaN"),
        ({"time_in_force": TimeInForce.GTC}, "time_in_force", "a MARKET order is one of FOK, IOC"),
        (
            limit(type=OrderType.MARKET_IF_TOUCHED, time_in_force=TimeInForce.IOC),
            "time_in_force",
            "one of GTC, GTD, GFD, was IOC",
        ),
        (limit(time_in_force=TimeInForce.GTD), "good_until", "a GTD order, and only such a one"),
        (limit(good_until=LATER), "good_until", "a GTD order, and only such a one"),
        (
            {"stop_loss": D("1.0"), "stop_distance": D("0.1")},
            "stop_loss",
            "give a price or a distance, not both",
        ),
        ({"stop_distance": D("-0.1")}, "stop_distance", "must be a multiple of 0.00001 and > 0"),
        (
            limit(type=OrderType.STOP_LOSS, stop_loss=D("1.0")),
            "stop_loss",
            "a STOP_LOSS order brings no other with it",
        ),
        (
            {"reduce_only": True, "position_fill": PositionFill.OPEN_ONLY},
            "position_fill",
            "an order that only reduces cannot be OPEN_ONLY",
        ),
        (
            {"type": OrderType.TRAILING_STOP_LOSS, "time_in_force": TimeInForce.GTC},
            "trailing_distance",
            "a TRAILING_STOP_LOSS order needs one",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_at_its_field(
    fields: dict[str, Any], field: str, message: str
) -> None:
    found = faults(**fields)
    assert message in found[field]


def trade(**fields: Any) -> Trade:
    return Trade(
        **{"venue_trade_id": "42", "instrument": EUR_USD, "units": D(1000)} | fields,
    )


@pytest.mark.parametrize(
    ("kind", "fields", "field", "message"),
    [
        (
            "paper",
            {"trade": trade()},
            "trade_id",
            "the venue keeps no separate trades: close or protect the position",
        ),
        (
            "ccxt-sandbox",
            {},
            "stop_loss",
            "the venue holds no stops, and nothing is opened without one",
        ),
        (
            "ccxt-sandbox",
            limit(type=OrderType.STOP),
            "type",
            "the venue does not take STOP orders",
        ),
        ("oanda-local", {"trade": trade(units=D(0))}, "trade_id", "trade 42 is closed"),
        ("oanda-local", {"trade": trade()}, "units", "trade 42 holds 1000"),
        ("oanda-local", {"trade": trade(), "units": D(-1001)}, "units", "trade 42 holds 1000"),
        (
            "oanda-local",
            limit(trade=trade(), units=D(-1)),
            "trade_id",
            "a LIMIT order closes no single trade",
        ),
        (
            "oanda-local",
            {
                "type": OrderType.TRAILING_STOP_LOSS,
                "time_in_force": TimeInForce.GTC,
                "trailing_distance": D("0.01"),
            },
            "trade_id",
            "the venue hangs a trailing stop on a trade: name the trade",
        ),
    ],
)
def test_trades_are_named_where_the_venue_keeps_them(
    kind: str, fields: dict[str, Any], field: str, message: str
) -> None:
    assert faults(kind, **fields)[field] == message


def test_an_instrument_that_was_disabled_can_be_left_and_not_entered() -> None:
    disabled = Instrument(pk=1, name="EUR_USD", tick=D("0.00001"), units_step=D(1), enabled=False)
    assert faults(instrument=disabled) == {"instrument": "EUR_USD is not enabled"}
    assert faults(instrument=disabled, reduce_only=True) == {}


def test_a_part_of_a_trade_can_be_closed() -> None:
    assert faults("oanda-local", trade=trade(), units=D(-400)) == {}
    short = trade(units=D(-1000))
    assert faults("oanda-local", trade=short, units=D(1000)) == {}
