"""Trades worked out by hand: bars of asks, ten ticks of spread, prices in ticks."""

import numpy as np
import pytest

from sep_engine.backtest import Costs, Entry, ExitReason, Trade, trade
from sep_engine.backtest.market import Side, market
from sep_engine.backtest.result import day_sums, equity_ticks, figures
from sep_engine.errors import ArgumentError

# open, high, low, close of the asks; the bids lie 10 below.
BARS = [
    (1000, 1010, 990, 1000),
    (1000, 1030, 995, 1020),
    (1020, 1060, 1015, 1050),
    (1050, 1055, 1000, 1010),
    (1010, 1015, 960, 970),
    (970, 990, 965, 985),
]
HOUR_NS = 3600 * 10**9


def asks(bars: list[tuple[int, int, int, int]] = BARS) -> Side:
    return Side(*np.array(bars, dtype=np.int64).T)


def trades_of(
    decisions: list[int],
    *,
    horizon_bars: int = 2,
    stop_ticks: int | None = None,
    target_ticks: int | None = None,
    per_side_ticks: int = 0,
    bars: list[tuple[int, int, int, int]] = BARS,
    entry_at: Entry = "open",
) -> tuple[Trade, ...]:
    return trade(
        market(asks(bars), side="ask", costs=Costs(10)),
        np.array(decisions, dtype=np.int8),
        horizon_bars=horizon_bars,
        stop_ticks=stop_ticks,
        target_ticks=target_ticks,
        per_side_ticks=per_side_ticks,
        entry_at=entry_at,
    )


def test_a_purchase_opens_at_the_next_ask_and_closes_at_the_bid_after_the_horizon() -> None:
    # Bought at bar 1's ask 1000, sold at bar 3's bid 1050 - 10 = 1040.
    assert trades_of([1, 0, 0, 0, 0, 0]) == (
        Trade(1, 3, 1, 1000, 1040, gross_ticks=50, net_ticks=40, reason=ExitReason.HORIZON),
    )


def test_a_sale_opens_at_the_next_bid_and_closes_at_the_ask() -> None:
    # Sold at bar 1's bid 990, bought back at bar 3's ask 1050: -60. Without spread -50.
    assert trades_of([-1, 0, 0, 0, 0, 0]) == (
        Trade(1, 3, -1, 990, 1050, gross_ticks=-50, net_ticks=-60, reason=ExitReason.HORIZON),
    )


def test_an_entry_at_the_close_leaves_at_the_close_after_the_horizon() -> None:
    # Bought at bar 1's closing ask 1020, sold at bar 3's closing bid 1010 - 10 = 1000.
    assert trades_of([1, 0, 0, 0, 0, 0], entry_at="close") == (
        Trade(1, 3, 1, 1020, 1000, gross_ticks=-10, net_ticks=-20, reason=ExitReason.HORIZON),
    )


def test_a_position_entered_at_a_close_is_not_judged_by_that_bar() -> None:
    # The stop lies at 1020 - 30 = 990: below it bar 1's bids went to 985, before the entry. Bar 2's
    # stay above 1005, bar 3's touch 990. The target at 1020 + 15 = 1035: bar 2's bids reach 1050.
    assert trades_of([1, 0, 0, 0, 0, 0], entry_at="close", stop_ticks=30) == (
        Trade(1, 3, 1, 1020, 990, gross_ticks=-20, net_ticks=-30, reason=ExitReason.STOP),
    )
    assert trades_of([1, 0, 0, 0, 0, 0], entry_at="close", target_ticks=15) == (
        Trade(1, 2, 1, 1020, 1035, gross_ticks=25, net_ticks=15, reason=ExitReason.TARGET),
    )


def test_nothing_is_entered_at_the_last_close() -> None:
    # Decided after bar 3: bought at bar 4's closing ask 970, sold at the last closing bid 975.
    assert trades_of([0, 0, 0, 1, 0, 0], entry_at="close") == (
        Trade(4, 5, 1, 970, 975, gross_ticks=15, net_ticks=5, reason=ExitReason.END_OF_DATA),
    )
    assert trades_of([0, 0, 0, 0, 1, 0], entry_at="close") == ()
    with pytest.raises(ArgumentError, match="entry must be one of open, close; was 'high'"):
        trades_of([1], entry_at="high")  # type: ignore[arg-type]


def test_costs_come_off_both_sides() -> None:
    (only,) = trades_of([1, 0, 0, 0, 0, 0], per_side_ticks=3)
    assert (only.gross_ticks, only.net_ticks) == (50, 34)


def test_a_stop_fills_at_its_price() -> None:
    # Bought at bar 2's ask 1020; stop 1020 - 25 = 995. Bar 3's lowest bid is 990: touched.
    assert trades_of([0, 1, 0, 0, 0, 0], stop_ticks=25) == (
        Trade(2, 3, 1, 1020, 995, gross_ticks=-15, net_ticks=-25, reason=ExitReason.STOP),
    )


def test_a_stop_that_the_open_jumps_over_fills_at_the_open() -> None:
    # Bought at 1000, stop 970. The last bar opens at a bid of 950.
    bars = [*BARS[:2], (960, 980, 955, 970)]
    assert trades_of([1, 0, 0], stop_ticks=30, bars=bars) == (
        Trade(1, 2, 1, 1000, 950, gross_ticks=-40, net_ticks=-50, reason=ExitReason.STOP),
    )


def test_a_stop_that_lies_inside_the_spread_fills_at_the_open_of_the_entrys_bar() -> None:
    # Bought at 1000, stop 995, but the bid opens at 990.
    (only,) = trades_of([1, 0, 0, 0, 0, 0], stop_ticks=5)
    assert (only.entry_bar, only.exit_bar, only.exit_ticks) == (1, 1, 990)


def test_a_short_stop_is_judged_by_the_asks() -> None:
    # Sold at bar 1's bid 990; stop 1040. The asks reach 1060 in bar 2.
    assert trades_of([-1, 0, 0, 0, 0, 0], stop_ticks=50) == (
        Trade(1, 2, -1, 990, 1040, gross_ticks=-40, net_ticks=-50, reason=ExitReason.STOP),
    )


def test_a_target_fills_at_its_price_and_never_better() -> None:
    # Bought at 1000, target 1040. Bar 2's highest bid is 1050.
    assert trades_of([1, 0, 0, 0, 0, 0], target_ticks=40) == (
        Trade(1, 2, 1, 1000, 1040, gross_ticks=50, net_ticks=40, reason=ExitReason.TARGET),
    )


def test_a_bar_that_touches_stop_and_target_counts_as_the_stop() -> None:
    # Bar 2: bids from 1005 to 1050. Bought at 1020: stop 1010, target 1025.
    (only,) = trades_of([0, 1, 0, 0, 0, 0], stop_ticks=10, target_ticks=5)
    assert (only.reason, only.exit_bar, only.exit_ticks) == (ExitReason.STOP, 2, 1010)


def test_the_bar_of_the_horizon_closes_at_its_open_before_its_range_counts() -> None:
    # Bought at bar 1's ask 1000, stop 970; bar 4 reaches bids of 950 but closes at its open.
    (only,) = trades_of([1, 0, 0, 0, 0, 0], horizon_bars=3, stop_ticks=30)
    assert (only.reason, only.exit_bar, only.exit_ticks) == (ExitReason.HORIZON, 4, 1000)


def test_a_position_that_outlives_the_data_is_closed_at_the_last_close() -> None:
    # Bought at bar 5's ask 970, closed at its last bid 975.
    assert trades_of([0, 0, 0, 0, 1, 0]) == (
        Trade(5, 5, 1, 970, 975, gross_ticks=15, net_ticks=5, reason=ExitReason.END_OF_DATA),
    )


def test_a_decision_at_the_last_bar_finds_no_open_to_trade_at() -> None:
    assert trades_of([0, 0, 0, 0, 0, 1]) == ()


def test_decisions_in_a_position_are_ignored() -> None:
    # In the market from bar 1 to the open of bar 3. The decision at the end of bar 2 is ignored,
    # that at the end of bar 3 is the next that counts.
    first, second = trades_of([1, -1, -1, -1, 0, 0], horizon_bars=2)
    assert (first.entry_bar, first.exit_bar) == (1, 3)
    assert (second.entry_bar, second.direction) == (4, -1)


def test_a_decision_at_the_end_of_the_bar_that_stopped_the_position_counts() -> None:
    # Stopped within bar 3; the decision at its end opens at bar 4.
    first, second = trades_of([0, 1, 0, 1, 0, 0], stop_ticks=25)
    assert (first.reason, first.exit_bar, second.entry_bar) == (ExitReason.STOP, 3, 4)


def test_equity_marks_the_open_position_at_each_close() -> None:
    both = market(asks(), side="ask", costs=Costs(10))
    trades = trades_of([1, 0, 0, 0, 1, 0])
    # Trade 1: bought 1000; marked at the bids 1010 and 1040, realised 40 in bar 3.
    # Trade 2: bought 970, realised 5 in bar 5.
    equity = equity_ticks(both, trades, per_side_ticks=0)
    assert equity.tolist() == [0, 10, 40, 40, 40, 45]


def test_figures_add_up() -> None:
    both = market(asks(), side="ask", costs=Costs(10))
    decisions = [1, 0, 0, -1, 0, 0]
    trades = trades_of(decisions, horizon_bars=1)
    # Long from 1000 to bar 2's bid 1010: +10. Short from bar 4's bid 1000 to bar 5's ask 970: +30.
    assert [one.net_ticks for one in trades] == [10, 30]
    equity = equity_ticks(both, trades, per_side_ticks=0)
    result = figures(np.array(decisions, dtype=np.int8), trades, equity)
    assert (result.trades, result.wins, result.signals, result.sides) == (2, 2, 2, 4)
    assert (result.net_ticks, result.gross_ticks) == (40, 60)
    assert result.exposure == pytest.approx(2 / 6)
    assert result.win_rate == 1.0
    # Equity 0, 10, 10, 10, 40, 40 has no fall. The short is marked at bar 4's ask: 1000 - 970.
    assert equity.tolist() == [0, 10, 10, 10, 40, 40]
    assert result.max_drawdown_ticks == 0


def test_drawdown_is_measured_from_the_start_when_nothing_was_won_before() -> None:
    both = market(asks(), side="ask", costs=Costs(10))
    trades = trades_of([-1, 0, -1, 0, 0, 0], horizon_bars=1)
    # Short 990 to 1020: -30; short from bar 3's bid 1040 to bar 4's ask 1010: +30.
    equity = equity_ticks(both, trades, per_side_ticks=0)
    result = figures(np.zeros(6, dtype=np.int8), trades, equity)
    assert [one.net_ticks for one in trades] == [-30, 30]
    assert (result.max_drawdown_ticks, result.longest_losing_run) == (30, 1)


def test_profits_are_summed_by_the_trading_day_of_the_exit() -> None:
    trades = trades_of([1, 0, 0, 1, 0, 0], horizon_bars=1)
    # +10 as above, and bought at bar 4's ask 1010, sold at bar 5's bid 960: -50.
    # Bars from Tuesday 2017-01-03 17:00 UTC: bar 5 starts at 22:00, a day later in New York.
    start = (17_169 * 24 + 17) * HOUR_NS
    times = np.arange(start, start + 6 * HOUR_NS, HOUR_NS, dtype=np.int64)
    days, sums, squares, counts = day_sums(times, trades)
    assert days.tolist() == [17_169, 17_170]
    assert sums.tolist() == [10, -50]
    assert squares.tolist() == [100, 2500]
    assert counts.tolist() == [1, 1]


def test_no_trades_have_no_days_and_no_rate() -> None:
    assert [part.tolist() for part in day_sums(np.arange(6), ())] == [[], [], [], []]
    nothing = figures(np.zeros(6, dtype=np.int8), (), np.zeros(6, dtype=np.int64))
    assert (nothing.win_rate, nothing.net_ticks_per_trade) == (None, None)


def test_half_of_the_spread_is_paid_at_each_side_of_mid_prices() -> None:
    both = market(asks(), side="mid", costs=Costs(10))
    assert both.ask.open[0] - both.bid.open[0] == 10
    assert (both.ask.open[0], both.bid.open[0]) == (1005, 995)
    # Of an odd spread the odd tick lies on the ask's side: 6 below and 7 above.
    odd = market(asks(), side="mid", costs=Costs(13))
    assert (odd.ask.open[0], odd.bid.open[0]) == (1007, 994)


def test_a_spread_series_gives_each_bar_its_own() -> None:
    spread = np.array([10, 10, 10, 20, 10, 10])
    both = market(asks(), side="bid", costs=Costs(spread))
    (only,) = trade(
        both, np.array([1, 0, 0, 0, 0, 0]), horizon_bars=2, stop_ticks=None, target_ticks=None
    )
    # These bars are bids: bought at 1000 + 10, sold at 1050.
    assert (only.entry_ticks, only.exit_ticks, only.gross_ticks) == (1010, 1050, 50)
    with pytest.raises(ArgumentError, match="one value a bar"):
        market(asks(), side="bid", costs=Costs(spread[:3]))


@pytest.mark.parametrize(
    ("spread", "per_side", "rule"),
    [(-1, 0, "spread_ticks must be >= 0"), (0, -1, "per_side_ticks must be >= 0")],
)
def test_costs_are_never_negative(spread: int, per_side: int, rule: str) -> None:
    with pytest.raises(ArgumentError, match=rule):
        Costs(spread, per_side)
