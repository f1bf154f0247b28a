"""Trades in ticks as money: every figure here is worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from sep_engine.backtest import BacktestResult, Costs, Figures, run
from sep_engine.backtest.account import (
    AccountResult,
    Charges,
    Closeout,
    Leg,
    Rate,
    Size,
    keep_account,
)
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


@dataclass(frozen=True, eq=False)
class Falling(Hours):
    """Bars that open at 10,000 ticks and fall, but for `opens` and `lows` at some rows."""

    opens: tuple[tuple[int, int], ...] = ()
    lows: tuple[tuple[int, int], ...] = ()

    @property
    def open_ticks(self) -> Any:
        made = np.full(self.count, self.ticks, dtype=np.int64)
        for row, ticks in self.opens:
            made[row] = ticks
        return made

    @property
    def high_ticks(self) -> Any:
        return np.maximum(self.open_ticks, self.close_ticks)

    @property
    def low_ticks(self) -> Any:
        made = np.minimum(self.open_ticks, self.close_ticks)
        for row, ticks in self.lows:
            made[row] = ticks
        return made

    @property
    def close_ticks(self) -> Any:
        return np.full(self.count, self.ticks, dtype=np.int64)


def on_margin(
    bars: Hours, *trades: Trade, margin: str = "0.05", units: int = 10_000, **other: Any
) -> AccountResult:
    """10,000 EUR at 1.0 tie up 500 of 1,000 USD; half of that, 250, is left at 0.925."""
    leg = Leg(
        EUR_USD, bars, result(*trades, bars=bars), Size(units=D(units)),
        Charges(margin_fraction=D(margin)),
    )  # fmt: skip
    return keep_account([leg], **{"currency": "USD", "opening": D(1000), **other})


def test_a_position_is_closed_when_half_of_its_margin_is_left() -> None:
    # At p the equity is 1,000 - 10,000 (1 - p), half of the margin 250 p. They meet at
    # p = 9,000 / 9,750 = 0.92307..: 0.9230 is the first tick at which equity is no more.
    bars = Falling(lows=((2, 9_000),))
    account = on_margin(bars, bought(0, 4, 10_100))
    (booked,) = account.booked
    assert (booked.exit_bar, booked.exit, booked.net) == (2, D("0.9230"), D(-770))
    assert account.closeouts == (Closeout("EUR_USD", 2, D(230), D("461.5")),)
    assert account.balance == D(230)
    # One tick less deep and the trade lives to see its end.
    assert on_margin(Falling(lows=((2, 9_231),)), bought(0, 4, 10_100)).closeouts == ()


def test_a_bar_that_opens_beyond_closes_at_its_open() -> None:
    bars = Falling(opens=((2, 9_200),))
    account = on_margin(bars, bought(0, 4, 10_100))
    assert (account.booked[0].exit_bar, account.booked[0].exit) == (2, D("0.9200"))
    # Also in the bar at whose open the rule would leave, and only there it costs nothing more.
    left = bought(0, 2, 9_200)
    assert on_margin(bars, left).balance == account.balance == D(200)
    assert len(on_margin(bars, left).closeouts) == 1


def test_a_sold_position_is_closed_at_the_ask() -> None:
    # Equity 1,000 - 10,000 (a - 1), half of the margin 250 a: a = 11,000 / 10,250 = 1.07317..
    bars = Falling(ticks=10_000, opens=((2, 10_732),))
    sold = bought(0, 4, 9_900, direction=-1)
    assert on_margin(bars, sold).booked[0].exit == D("1.0732")
    assert on_margin(Falling(opens=((2, 10_731),)), sold).closeouts == ()


@pytest.mark.parametrize(
    ("reason", "exit_ticks", "closed_at"),
    [
        (ExitReason.STOP, 9_400, "0.9400"),  # the stop comes first
        (ExitReason.STOP, 9_100, "0.9230"),  # the margin does
        (ExitReason.TARGET, 10_100, "0.9230"),  # nothing is known of the order: the worse
        (ExitReason.END_OF_DATA, 9_900, "0.9230"),
    ],
)
def test_a_nearer_stop_comes_before_the_margin(
    reason: ExitReason, exit_ticks: int, closed_at: str
) -> None:
    bars = Falling(lows=((2, 9_000),))
    account = on_margin(bars, bought(0, 2, exit_ticks, reason))
    assert account.booked[0].exit == D(closed_at)
    assert len(account.closeouts) == (closed_at == "0.9230")


def test_a_stopped_position_frees_its_margin_for_the_others() -> None:
    # Both open at 0.948 and have lost 520 each: 460 of 1,500 USD are left. The margin of both is
    # 948, half of it 474; that of the second alone 474, half of it 237.
    pounds = Instrument("GBP_USD", "GBP", "USD", D("0.0001"), D("0.0001"), D(1), 4, "fx")
    bars = Falling(opens=((2, 9_480),))
    others = Falling(opens=((2, 9_480),), content_sha256="1" * 64)
    charges, size = Charges(margin_fraction=D("0.05")), Size(units=D(10_000))

    def both(reason: ExitReason) -> AccountResult:
        first = result(bought(0, 2, 9_480, reason), bars=bars)
        second = result(bought(0, 4, 10_100), bars=others)
        legs = [
            Leg(EUR_USD, bars, first, size, charges),
            Leg(pounds, others, second, size, charges),
        ]
        return keep_account(legs, currency="USD", opening=D(1500))

    assert both(ExitReason.STOP).closeouts == ()
    held = both(ExitReason.END_OF_DATA)
    assert [one.exit for one in held.booked] == [D("0.9480"), D("0.9480")]
    assert [one.instrument for one in held.closeouts] == ["EUR_USD", "GBP_USD"]


def test_all_prices_of_a_bar_fall_at_the_same_pace() -> None:
    # The euro falls by 1,000 ticks, the pound by 500. When the euro stands at 1 - x, 1,500 less
    # 10,000 (x + x / 2) are left, and half of the margin is 250 (2 - 1.5 x). They meet at
    # x = 1,000 / 14,625 = 0.06837..: 684 ticks of the euro and 342 of the pound.
    pounds = Instrument("GBP_USD", "GBP", "USD", D("0.0001"), D("0.0001"), D(1), 4, "fx")
    bars = Falling(lows=((2, 9_000),))
    others = Falling(lows=((2, 9_500),), content_sha256="1" * 64)
    charges, size = Charges(margin_fraction=D("0.05")), Size(units=D(10_000))
    legs = [
        Leg(EUR_USD, bars, result(bought(0, 4, 10_100), bars=bars), size, charges),
        Leg(pounds, others, result(bought(0, 4, 10_100), bars=others), size, charges),
    ]
    account = keep_account(legs, currency="USD", opening=D(1500))
    assert [one.exit for one in account.booked] == [D("0.9316"), D("0.9658")]


def test_what_is_closed_early_is_not_closed_again() -> None:
    bars = Falling(opens=((2, 9_200),))
    account = on_margin(bars, bought(0, 4, 10_100), bought(5, 7, 10_010))
    # 200 USD are left and the next trade needs 500.
    assert len(account.booked) == 1
    assert account.skipped == (("EUR_USD", 5, "margin 500.00 is more than the free 200.00"),)


def test_free_is_equity_and_not_the_balance() -> None:
    yen = Hours(ticks=10_000, tick=D("0.01"), content_sha256="1" * 64)
    bars = Falling(opens=((1, 9_500),))
    charges = Charges(margin_fraction=D("0.05"))

    def asked(units: int) -> tuple[tuple[str, int, str], ...]:
        legs = [
            Leg(EUR_USD, bars, result(bought(0, 4, 10_100), bars=bars), Size(units=D(2000)),
                charges),
            Leg(USD_JPY, yen, result(bought(1, 4, 10_200), bars=yen), Size(units=D(units)),
                charges),
        ]  # fmt: skip
        return keep_account(legs, currency="USD", opening=D(1000)).skipped

    # 2,000 EUR at 0.95 have lost 100 and tie up 95: 805 are free, 5 % of 16,100 USD.
    assert asked(16_100) == ()
    assert asked(16_101) == (("USD_JPY", 1, "margin 805.05 is more than the free 805.00"),)


def test_without_a_margin_nothing_is_closed() -> None:
    bars = Falling(lows=((2, 5_000),))
    assert on_margin(bars, bought(0, 4, 10_100), margin="0").balance == D(1100)


def test_what_the_backtest_takes_off_each_side_is_commission() -> None:
    # 3 ticks of 0.0001 on 1,000 units are 0.3 a side.
    of = replace(result(bought(0, 4, 10_050)), costs=Costs(0, per_side_ticks=3))
    leg = Leg(EUR_USD, Hours(), of, Size(units=D(1000)))
    account = keep_account([leg], currency="USD", opening=D(10_000))
    assert account.total("commission") == D("0.6")
    assert account.balance == D("10004.4")


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
    with pytest.raises(ArgumentError, match=r"closeout_fraction must be in \[0, 1\], was 2"):
        keep_account([leg], currency="USD", opening=D(1), closeout_fraction=D(2))
    with pytest.raises(ArgumentError, match="one leg an instrument"):
        keep_account([leg, leg], currency="USD", opening=D(1))
    with pytest.raises(ArgumentError, match="one of them"):
        Size()
    with pytest.raises(ArgumentError, match="not of these bars"):
        Leg(EUR_USD, Hours(content_sha256="2" * 64), result(), Size(units=D(1)))
