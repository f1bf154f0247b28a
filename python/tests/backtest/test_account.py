"""Trades in ticks as money: every figure here is worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from sep_engine.backtest import BacktestResult, Costs, Figures, run
from sep_engine.backtest.account import AccountResult, Charges, Leg, Rate, Size, keep_account
from sep_engine.backtest.trades import ExitReason, Trade
from sep_engine.data import load_sample
from sep_engine.errors import ArgumentError
from sep_engine.model import Instrument
from sep_engine.signals import DEFAULT_RULE

D = Decimal
HOUR_NS = 3_600_000_000_000
# Tuesday, 2017-01-03 12:00 UTC, which is 07:00 in New York; the day ends ten hours later.
NOON_NS = 1_483_444_800_000_000_000
EUR_USD = Instrument("EUR_USD", "EUR", "USD", D("0.0001"), D("0.0001"), D(1), 4, "fx")
USD_JPY = Instrument("USD_JPY", "USD", "JPY", D("0.01"), D("0.01"), D(1), 2, "fx")


@dataclass(frozen=True, eq=False)
class Hours:
    """Hourly bars that stand still at one price in ticks."""

    ticks: int = 10_000
    count: int = 200
    tick: Decimal = Decimal("0.0001")
    name: str = "hours"
    content_sha256: str = "0" * 64

    @property
    def times(self) -> Any:
        return NOON_NS + HOUR_NS * np.arange(self.count)

    @property
    def open_ticks(self) -> Any:
        return np.full(self.count, self.ticks, dtype=np.int64)

    high_ticks = low_ticks = close_ticks = open_ticks

    @property
    def close(self) -> Any:
        return self.close_ticks * float(self.tick)

    def gaps(self) -> Any:
        return np.zeros(self.count, dtype=bool)


def result(*trades: Trade, bars: Hours | None = None) -> BacktestResult:
    """Return a backtest that made exactly these trades."""
    of = bars or Hours()
    empty = np.zeros(0, dtype=np.int64)
    return BacktestResult(
        name=of.name,
        content_sha256=of.content_sha256,
        rule=replace(DEFAULT_RULE, stop_ticks=100),
        costs=Costs(0),
        tick=of.tick,
        side="mid",
        entry="open",
        directions=np.zeros(of.count, dtype=np.int8),
        trades=trades,
        equity_ticks=empty,
        days=empty,
        day_net_ticks=empty,
        day_net_ticks_squared=empty,
        day_trades=empty,
        figures=Figures(0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, {}),
    )


def bought(
    entry_bar: int,
    exit_bar: int,
    exit_ticks: int,
    reason: ExitReason = ExitReason.HORIZON,
    *,
    entry_ticks: int = 10_000,
    direction: int = 1,
) -> Trade:
    gain = (exit_ticks - entry_ticks) * direction
    return Trade(entry_bar, exit_bar, direction, entry_ticks, exit_ticks, gain, gain, reason)


def kept(*trades: Trade, charges: Charges | None = None, **other: Any) -> AccountResult:
    leg = Leg(
        EUR_USD, Hours(), result(*trades), other.pop("size", Size(units=D(1000))),
        charges or Charges(),
    )  # fmt: skip
    return keep_account([leg], **{"currency": "USD", "opening": D(10_000), **other})


def test_units_times_the_move_is_the_profit() -> None:
    # 50 ticks of 0.0001 on 1,000 units are 5 USD.
    account = kept(bought(0, 4, 10_050))
    assert account.balance == D(10_005)
    assert account.booked[0].net == D(5)


def test_slippage_worsens_all_fills_but_a_targets() -> None:
    charges = Charges(slippage_ticks=2)
    # In and out at the market: 4 ticks of 0.0001 on 1,000 units, 0.4 less.
    assert kept(bought(0, 4, 10_050), charges=charges).balance == D("10004.6")
    # Out at a target: 2 ticks.
    out = bought(0, 4, 10_050, ExitReason.TARGET)
    assert kept(out, charges=charges).balance == D("10004.8")


def test_commission_is_a_share_of_both_sides_turnover() -> None:
    # 1,000 * (1.0000 + 1.0050) * 0.0001 = 0.2005
    charges = Charges(commission_fraction=D("0.0001"))
    account = kept(bought(0, 4, 10_050), charges=charges)
    assert account.total("commission") == D("0.2005")
    assert account.balance == D("10004.7995")


@pytest.mark.parametrize(
    ("bars", "days"),
    [
        (9, 0),  # out at 21:00 UTC, before the day ends
        (10, 1),  # at 22:00 UTC Tuesday has ended
        (33, 1),
        (34, 4),  # and Wednesday, which counts three days
        (58, 5),  # Thursday
        (82, 6),  # Friday; the bars go on over the weekend
        (130, 6),  # Saturday and Sunday count none
    ],
)
def test_financing_counts_the_days_that_end(bars: int, days: int) -> None:
    # 1,000 units at 1.0 and 3.65 % a year: 0.1 a day.
    account = kept(bought(0, bars, 10_000), charges=Charges(long_rate=D("-0.0365")))
    assert account.total("financing") == D("0.1") * days
    assert account.balance == D(10_000) - D("0.1") * days


def test_a_sold_position_may_earn_financing() -> None:
    charges = Charges(long_rate=D("-0.0365"), short_rate=D("0.0073"))
    account = kept(bought(0, 10, 10_000, direction=-1), charges=charges)
    assert account.balance == D("10000.02")


def test_risk_sizes_each_position_by_the_balance_before_it() -> None:
    # 1 % of 10,000 at a stop of 0.01: 10,000 units. They lose 0.01 each: 9,900 are left.
    # Then 1 % of 9,900 buys 9,900 units, which gain 0.005 each: 49.5.
    account = kept(
        bought(0, 4, 9_900, ExitReason.STOP),
        bought(5, 9, 10_050),
        size=Size(risk_fraction=D("0.01")),
    )
    assert [one.units for one in account.booked] == [D(10_000), D(9_900)]
    assert account.balance == D("9949.5")
    assert account.max_drawdown == D(100)


def test_a_budget_below_one_step_makes_no_trade() -> None:
    size = Size(risk_fraction=D("0.01"))
    account = kept(bought(3, 9, 10_050), size=size, opening=D("0.5"))
    assert account.booked == ()
    assert account.skipped == (("EUR_USD", 3, "the budget buys less than one step"),)
    assert account.balance == D("0.5")


def two_legs(**other: Any) -> AccountResult:
    """Buy 1,000 EUR at 1.0 USD, and 1,000 USD at 100 JPY an hour later; both end together."""
    yen = Hours(ticks=10_000, tick=D("0.01"), content_sha256="1" * 64)
    charges = Charges(margin_fraction=D("0.05"))
    legs = [
        Leg(EUR_USD, Hours(), result(bought(0, 4, 10_100)), Size(units=D(1000)), charges),
        Leg(
            USD_JPY, yen, result(bought(1, 4, 10_200), bars=yen), Size(units=D(1000)), charges
        ),
    ]  # fmt: skip
    return keep_account(legs, **{"currency": "USD", "opening": D(1000), **other})


def test_two_instruments_share_one_account() -> None:
    account = two_legs()
    # 1,000 * 0.01 = 10 USD; 1,000 * 2 JPY at 1/100, the close of USD_JPY: 20 USD.
    assert [one.net for one in account.booked] == [D(10), D(20)]
    assert account.balance == D(1030)


def test_margin_in_use_is_not_free() -> None:
    # The first position ties up 50 USD, the second wants 50 more.
    account = two_legs(opening=D(99))
    assert [one.instrument for one in account.booked] == ["EUR_USD"]
    assert account.skipped == (("USD_JPY", 1, "margin 50.00 is more than the free 49.00"),)


def test_a_third_currency_needs_a_rate_that_is_known_by_then() -> None:
    leg = Leg(EUR_USD, Hours(), result(bought(2, 4, 10_100)), Size(units=D(1000)))

    def in_pounds(first_ns: int) -> AccountResult:
        ends = np.array([first_ns, NOON_NS + 5 * HOUR_NS], dtype=np.int64)
        rates = {"USD": Rate(ends, np.array([0.8, 0.5]))}
        return keep_account([leg], currency="GBP", opening=D(1000), rates=rates)

    # 10 USD at the rate that is known at the exit, 0.8; the later one is not known yet.
    assert in_pounds(NOON_NS).balance == D(1008)
    with pytest.raises(ArgumentError, match="no rate of USD is known by the time"):
        in_pounds(NOON_NS + 3 * HOUR_NS)
    with pytest.raises(ArgumentError, match="no rate from USD to GBP"):
        keep_account([leg], currency="GBP", opening=D(1000))


def test_without_charges_an_account_is_the_backtest_itself() -> None:
    sample = load_sample()
    made = run(sample.bars, DEFAULT_RULE, Costs(13), side="ask")
    leg = Leg(sample.instrument, sample.bars, made, Size(units=D(100_000)))
    account = keep_account([leg], currency="USD", opening=D(100_000))
    # A tick of 0.00001 on 100,000 units is 1 USD.
    assert account.balance - 100_000 == made.figures.net_ticks
    assert len(account.booked) == made.figures.trades
    in_euro = keep_account([leg], currency="EUR", opening=D(100_000))
    # A dollar was worth 0.83 to 0.96 euro in 2017.
    assert 0.83 < float((in_euro.balance - 100_000) / made.figures.net_ticks) < 0.96


def test_what_cannot_be_kept_is_refused() -> None:
    leg = Leg(EUR_USD, Hours(), result(), Size(units=D(1)))
    with pytest.raises(ArgumentError, match="opening must be > 0"):
        keep_account([leg], currency="USD", opening=D(0))
    with pytest.raises(ArgumentError, match="one leg an instrument"):
        keep_account([leg, leg], currency="USD", opening=D(1))
    with pytest.raises(ArgumentError, match="one of them"):
        Size()
    with pytest.raises(ArgumentError, match="not of these bars"):
        Leg(EUR_USD, Hours(content_sha256="2" * 64), result(), Size(units=D(1)))
