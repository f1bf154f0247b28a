from __future__ import annotations

import itertools

import numpy as np
import pytest

from python.tests.evidence import worlds
from sep_engine.backtest.market import SIDES, Costs, PriceSide, Side, market
from sep_engine.backtest.trades import ENTRIES, Entry, trade
from sep_engine.errors import ArgumentError
from sep_engine.evidence.market import BarTicks
from sep_engine.evidence.simulation import (
    Exit,
    Spread,
    outcomes,
    positions,
    round_trips,
    simulate_days,
)


def by_hand() -> BarTicks:
    """Six bars; opens 100, 102, 105, 101, 99, 104."""
    rows = [
        (100, 103, 99, 102),
        (102, 106, 101, 105),
        (105, 107, 100, 101),
        (101, 102, 97, 99),
        (99, 105, 98, 104),
        (104, 104, 103, 103),
    ]
    return BarTicks(*np.array(rows, dtype=np.int64).T)


def test_a_horizon_of_two_by_hand() -> None:
    # Decided at bar 0: in at 102 (bar 1), out at 101 (bar 3): bought -1, sold +1.
    # Decided at bar 2: in at 101 (bar 3), out at 104 (bar 5): +3.
    # Decided at bar 3 and 4: the data end first, at the close of bar 5, 103: 4 and -1.
    o = outcomes(by_hand(), Exit(2))
    assert o.gross.tolist() == [[1, -1], [6, -6], [-3, 3], [-4, 4], [1, -1], [0, 0]]
    assert o.exited[:, 1].tolist() == [3, 4, 5, 5, 5, 6]


def test_a_stop_and_a_gap_through_it_by_hand() -> None:
    # Bought at 105 (bar 2) with stop 4: bar 2 falls to 100, so it leaves at 101.
    # Bought at 102 (bar 1) with stop 1: bar 1 falls to 101: stopped at 101 in bar 1.
    # Sold at 101 (bar 3) with stop 1: bar 3 rises to 102: -1.
    assert outcomes(by_hand(), Exit(2, stop=4)).gross[1, 1] == -4
    o = outcomes(by_hand(), Exit(2, stop=1))
    assert (o.gross[0, 1], o.exited[0, 1]) == (-1, 1)
    assert (o.gross[2, 0], o.exited[2, 0]) == (-1, 3)
    # Bars 10, then an open at 4 beyond the stop at 8: out at 4.
    gap = BarTicks(
        *(np.array(v) for v in ([9, 10, 4, 4], [9, 10, 5, 4], [9, 9, 4, 4], [9, 9, 4, 4]))
    )
    assert outcomes(gap, Exit(2, stop=2)).gross[0, 1] == -6


def test_a_bar_that_touches_both_counts_as_the_stop() -> None:
    # Bar 1 opens at 102 and ranges 101..106: target 4 at 106 and stop 1 at 101.
    assert outcomes(by_hand(), Exit(2, stop=1, target=4)).gross[0, 1] == -1
    assert outcomes(by_hand(), Exit(2, stop=2, target=4)).gross[0, 1] == 4


def test_decisions_in_a_position_are_passed_over() -> None:
    always = np.ones(6, dtype=np.int8)
    # In at bar 1, out at the open of bar 3; the close of bar 3 decides again, and the data end.
    assert positions(outcomes(by_hand(), Exit(2)), always).decided.tolist() == [0, 3]
    one = positions(outcomes(by_hand(), Exit(1)), always)
    assert one.decided.tolist() == [0, 2, 4]
    assert one.gross.tolist() == [105 - 102, 99 - 101, 103 - 104]


def test_a_fill_pays_half_of_the_spread_of_its_bar() -> None:
    # Bought at bar 1 (spread 5: 3 to buy, 2 to sell) and sold at bar 3 (spread 8): 3 + 4.
    # Sold at bar 1 and bought back at bar 3: 2 + 4.
    spread = np.array([0, 5, 0, 8, 0, 0])
    assert outcomes(by_hand(), Exit(2), spread=spread).cost[0].tolist() == [6, 7]
    with pytest.raises(ArgumentError, match=r"one value a bar \(6\), has 5"):
        outcomes(by_hand(), Exit(2), spread=spread[1:])


def test_a_fill_pays_by_the_side_that_the_bars_are_of() -> None:
    # In at bar 1 (spread 5), out at bar 3 (spread 8). Where the bars are bids, a buy is made at the
    # ask of bar 1, 5 above them, and sold again at the bid: 5. A sale is made at the bid and bought
    # back at the ask of bar 3: 8. Where they are asks it is the other way round.
    spread = np.array([0, 5, 0, 8, 0, 0])
    of_bids = outcomes(by_hand(), Exit(2), spread=spread, side="bid")
    of_asks = outcomes(by_hand(), Exit(2), spread=spread, side="ask")
    assert of_bids.cost[0].tolist() == [8, 5]
    assert of_asks.cost[0].tolist() == [5, 8]
    # Bought at the ask 102 + 5 = 107, stop 7 below at 100. Bids fall to 101 in bar 1 and to 100 in
    # bar 2: out there, 2 below the bid of the entry. Asks fall so far in bar 3 only, to 97 - 8 = 89
    # as bids: it opens at 101 - 8 = 93, beyond the stop at 102 - 7 = 95, and leaves at its open.
    stopped = outcomes(by_hand(), Exit(4, stop=7), spread=spread, side="bid")
    assert (stopped.exited[0, 1], stopped.gross[0, 1], stopped.cost[0, 1]) == (2, -2, 5)
    stopped = outcomes(by_hand(), Exit(4, stop=7), spread=spread, side="ask")
    assert (stopped.exited[0, 1], stopped.gross[0, 1], stopped.cost[0, 1]) == (3, -1, 8)


def test_an_entry_at_the_close_by_hand() -> None:
    # Decided at bar 0: in at the close of bar 1, 105, out at that of bar 3, 99: bought -6, sold 6.
    # Decided at bar 3: in at 104 (bar 4), the data end at 103. After bar 4 nothing can be held.
    o = outcomes(by_hand(), Exit(2, entry="close"))
    assert o.gross.tolist() == [[6, -6], [-3, 3], [-4, 4], [1, -1], [0, 0], [0, 0]]
    assert o.exited[:, 0].tolist() == [3, 4, 5, 5, 6, 6]
    # Its own bar falls to 101, which is over by then: a stop of 3 below 105 is met by bar 2 (100).
    assert outcomes(by_hand(), Exit(2, stop=3, entry="close")).exited[0, 1] == 2
    # Without one it would end at the close of bar 3; a stop of 7 is met there, at 98, before it.
    last = outcomes(by_hand(), Exit(2, stop=7, entry="close"))
    assert (last.exited[0, 1], last.gross[0, 1]) == (3, -7)
    always = np.ones(6, dtype=np.int8)
    assert positions(o, always).decided.tolist() == [0, 3]
    assert positions(outcomes(by_hand(), Exit(1, entry="close")), always).decided.tolist() == [
        0,
        2,
    ]


VARYING = 6 + np.arange(150) * 7 % 23


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(("side", "spread"), [*itertools.product(SIDES, (0, 80, VARYING))])
@pytest.mark.parametrize(("stop", "target"), [(None, None), (60, None), (None, 45), (60, 45)])
def test_positions_equal_the_backtester(
    side: PriceSide, spread: Spread, stop: int | None, target: int | None, entry: Entry
) -> None:
    rng = np.random.default_rng(4)
    for seed in (1, 2, 3):
        m = worlds.market(150, seed=seed)
        d = rng.integers(-1, 2, (150, 5)).astype(np.int8)
        own = Side(m.bars.open, m.bars.high, m.bars.low, m.bars.close)
        both = market(own, side=side, costs=Costs(spread_ticks=spread))
        exits = [Exit(h, stop=stop, target=target, entry=entry) for h in (1, 2, 3, 7, 24)]
        for lane, leave in enumerate(exits):
            expected = trade(
                both,
                d[:, lane],
                horizon_bars=leave.horizon,
                stop_ticks=stop,
                target_ticks=target,
                entry_at=entry,
            )
            found = positions(outcomes(m.bars, leave, spread=spread, side=side), d[:, lane])
            assert found.decided.tolist() == [t.entry_bar - 1 for t in expected]
            assert found.exited.tolist() == [t.exit_bar for t in expected]
            assert found.gross.tolist() == [t.gross_ticks for t in expected]
            assert (found.gross - found.cost).tolist() == [t.net_ticks for t in expected]
            trips = round_trips(m.bars, d[:, lane], leave, spread=spread, side=side)
            complete = expected[: len(trips)]
            assert trips.exited.tolist() == [t.exit_bar for t in complete]


def test_days_sum_the_same_trades() -> None:
    m = worlds.market(150)
    d = np.random.default_rng(4).integers(-1, 2, (150, 3)).astype(np.int8)
    exits = [Exit(1), Exit(5, stop=60), Exit(24, entry="close")]
    day = np.arange(150) // 40
    sums = simulate_days([m.bars], [d], exits, day=day, spread=VARYING)[0]
    for rule, leave in enumerate(exits):
        one = positions(outcomes(m.bars, leave, spread=VARYING), d[:, rule])
        assert (sums.won[rule], sums.lost[rule]) == ((one.gross > 0).sum(), (one.gross < 0).sum())
        for number in range(4):
            here = day[one.decided] == number
            assert sums.gross[number, rule] == one.gross[here].sum()
            assert sums.net[number, rule] == (one.gross - one.cost)[here].sum()
            assert sums.trades[number, rule] == here.sum()


def test_costless_trades_of_a_series_and_its_mirror_are_opposite() -> None:
    m = worlds.market(200)
    mirror = m.bars.each(lambda a: 400_000 - a)
    mirror = BarTicks(mirror.open, mirror.low, mirror.high, mirror.close)
    d = np.random.default_rng(1).integers(-1, 2, 200).astype(np.int8)
    one, other = (
        positions(outcomes(bars, Exit(3, stop=30)), way)
        for bars, way in ((m.bars, d), (mirror, -d))
    )
    assert np.array_equal(one.gross, other.gross)


@pytest.mark.parametrize("wrong", [(0, None), (1, 0), (1, -3)])
def test_exits_must_be_ahead(wrong: tuple[int, int | None]) -> None:
    with pytest.raises(ArgumentError, match="must be >= 1"):
        Exit(wrong[0], stop=wrong[1])
