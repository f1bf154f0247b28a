"""Units that a risk budget buys, and rates between currencies: numbers worked out by hand."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_engine.model import Instrument
from sep_engine.risk import conversion_pairs, home_rates, position_units

D = Decimal
EUR_USD = Instrument("EUR_USD", "EUR", "USD", D("0.00001"), D("0.0001"), D(1), 5, "fx")
USD_JPY = Instrument("USD_JPY", "USD", "JPY", D("0.001"), D("0.01"), D(100), 3, "fx")


def units(**changes: Any) -> Decimal:
    wanted: dict[str, Any] = {
        "equity": D(10_000),
        "risk_fraction": D("0.01"),
        "stop_distance": D("0.0050"),
        "account_per_quote": D(1),
        "instrument": EUR_USD,
    }
    return position_units(**(wanted | changes))


def test_it_spends_the_risk_budget() -> None:
    # Budget 10,000 USD * 1 % = 100 USD. A 50-pip stop loses 0.0050 USD a unit: 20,000 units.
    assert units() == 20_000


def test_a_yen_pip_is_a_hundredth() -> None:
    # A 50-pip stop loses 0.50 JPY = 0.004 USD a unit at 125 JPY: 100 / 0.004 = 25,000 units.
    yen = units(instrument=USD_JPY, stop_distance=D("0.50"), account_per_quote=1 / D(125))
    assert yen == 25_000


def test_it_rounds_down_to_the_step() -> None:
    # 100 / 0.0051 = 19,607.8 units; of steps of 100, at 0.51 JPY and 0.01 USD a yen: 196 of them.
    assert units(stop_distance=D("0.0051")) == 19_607
    assert units(instrument=USD_JPY, stop_distance=D("0.51"), account_per_quote=D("0.01")) == 19_600


def test_a_budget_below_one_step_buys_nothing() -> None:
    # 0.004 USD buys less than one unit at 0.005.
    assert units(equity=D("0.4")) == 0
    assert units(equity=D(0)) == 0
    # Everything may be risked, and no more.
    assert units(equity=D("0.005"), risk_fraction=D(1)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"equity": D("-0.01")}, "equity must be >= 0, was -0.01"),
        ({"equity": D("NaN")}, "equity must be >= 0, was NaN"),
        ({"risk_fraction": D("1.01")}, r"risk_fraction must be in \(0, 1\], was 1.01"),
        ({"risk_fraction": D(0)}, r"risk_fraction must be in \(0, 1\], was 0"),
        ({"risk_fraction": D("NaN")}, r"risk_fraction must be in \(0, 1\], was NaN"),
        ({"stop_distance": D(0)}, "stop_distance must be > 0, was 0"),
        ({"stop_distance": D("Infinity")}, "stop_distance must be > 0, was Infinity"),
        ({"account_per_quote": D(0)}, "account_per_quote must be > 0, was 0"),
        ({"account_per_quote": D(-1)}, "account_per_quote must be > 0, was -1"),
    ],
)
def test_what_is_out_of_range_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        units(**changes)


@given(
    equity=st.integers(1, 10**9),
    points=st.integers(1, 10_000),
    percent=st.integers(1, 100),
)
def test_the_loss_at_the_stop_never_exceeds_the_budget(
    equity: int, points: int, percent: int
) -> None:
    fraction, distance = D(percent) / 100, D(points) / 100_000
    bought = units(equity=D(equity), risk_fraction=fraction, stop_distance=distance)
    assert bought * distance <= D(equity) * fraction
    assert (bought + 1) * distance > D(equity) * fraction


MIDS = {"EUR_USD": D("1.25"), "USD_JPY": D(125), "EUR_GBP": D("0.8")}


@pytest.mark.parametrize(
    ("wanted", "held", "rate"),
    [
        ("USD", "USD", D(1)),
        ("USD", "EUR", D("1.25")),
        ("EUR", "USD", D("0.8")),
        ("JPY", "USD", D(125)),
        ("USD", "JPY", D("0.008")),
        # Through the dollar: 1.25 * 125.
        ("JPY", "EUR", D("156.25")),
        # Through the euro: (1 / 0.8) * 1.25.
        ("USD", "GBP", D("1.5625")),
        # Two currencies between are too many to be asked for.
        ("JPY", "GBP", None),
        ("CHF", "USD", None),
        ("USD", "CHF", None),
    ],
)
def test_a_rate_is_found_directly_turned_or_through_one_other(
    wanted: str, held: str, rate: Decimal | None
) -> None:
    rates = home_rates(wanted, held, {name: (mid, mid) for name, mid in MIDS.items()})
    assert (None if rates is None else rates.mid) == rate


def test_gains_and_losses_are_both_turned_at_the_worse_price() -> None:
    # A gain of 1,000 yen buys dollars at the ask, 1000 / 125.02; a loss sells them at the bid.
    yen = home_rates("USD", "JPY", {"USD_JPY": (D("124.98"), D("125.02"))})
    assert yen is not None
    assert yen.home(D(1000)).quantize(D("1e-8")) == D("7.99872020")
    assert yen.home(D(-1000)).quantize(D("1e-8")) == D("-8.00128020")
    pounds = home_rates("USD", "GBP", {"GBP_USD": (D("1.25"), D("1.26"))})
    assert pounds is not None
    assert (pounds.home(D(10)), pounds.home(D(-10))) == (D("12.50"), D("-12.60"))


@pytest.mark.parametrize(
    ("wanted", "held", "pairs"),
    [
        ("USD", "USD", ()),
        ("USD", "GBP", ("GBP_USD",)),
        ("USD", "JPY", ("USD_JPY",)),
        # No pair of the two: through the dollar.
        ("SEK", "JPY", ("USD_JPY", "USD_SEK")),
        ("USD", "XYZ", ()),
    ],
)
def test_the_pairs_that_turn_one_currency_into_another(
    wanted: str, held: str, pairs: tuple[str, ...]
) -> None:
    offered = ["EUR_USD", "GBP_USD", "USD_JPY", "USD_SEK", "EUR_SEK"]
    assert conversion_pairs(wanted, held, offered) == pairs


@pytest.mark.parametrize(
    ("middles", "pairs"),
    [
        # The dollar comes first, the euro before the rest, then the alphabet.
        (("AUD", "EUR", "USD"), ("USD_HUF", "USD_PLN")),
        (("AUD", "EUR"), ("EUR_HUF", "EUR_PLN")),
        (("CHF", "AUD"), ("AUD_HUF", "AUD_PLN")),
        (("CHF",), ("CHF_HUF", "CHF_PLN")),
    ],
)
def test_the_middle_that_most_are_paired_with_is_chosen(
    middles: tuple[str, ...], pairs: tuple[str, ...]
) -> None:
    offered = [f"{middle}_{other}" for middle in middles for other in ("HUF", "PLN")]
    assert conversion_pairs("PLN", "HUF", offered) == pairs


def test_less_than_one_unit_of_gain_is_a_gain() -> None:
    pounds = home_rates("USD", "GBP", {"GBP_USD": (D("1.25"), D("1.26"))})
    assert pounds is not None
    # Half a pound at the bid of 1.25.
    assert pounds.home(D("0.5")) == D("0.625")
