"""What a list of trades alone can say, and what it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from python.tests.evidence.worlds import HOUR_NS, market
from sep_engine.errors import ArgumentError
from sep_engine.evidence.lab import RoundTripCosts
from sep_engine.evidence.market import BarTicks, TimedBars
from sep_engine.evidence.settings import Count
from sep_engine.evidence.trades import MISSING, TABLE, Report, TradeList, evaluate, mismatches

COSTS = RoundTripCosts(0, 10.0, True, "of the test")


def listed(
    m: TimedBars, entries: Sequence[int], directions: Sequence[int], *, held: int = 3
) -> TradeList:
    """Return trades from the open of each entry bar to the open `held` bars later."""
    first = np.asarray(entries, dtype=np.int64)
    last = first + held
    size = first.size
    return TradeList(
        opened=m.times[first],
        closed=m.times[last],
        direction=np.asarray(directions, dtype=np.int64),
        entry=m.bars.open[first].astype(float),
        exit=m.bars.open[last].astype(float),
        weight=np.ones(size),
        fees=np.zeros(size),
    )


def judged(m: TimedBars, trades: TradeList, **other: object) -> Report:
    settings: dict[str, object] = {
        "costs": COSTS,
        "duration_ns": HOUR_NS,
        "tolerance_ticks": 0.0,
        "refused": 0,
        "provenance": {},
        "declared_trials": 1,
        "worlds": 99,
        **other,
    }
    return evaluate(m, trades, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def walk() -> TimedBars:
    return market(6000, seed=3)


@pytest.fixture(scope="module")
def entries() -> list[int]:
    return list(range(10, 5980, 6))


def foreseen(m: TimedBars, entries: Sequence[int]) -> list[int]:
    """Return directions that know the future."""
    went = np.sign(m.bars.open[np.array(entries) + 3] - m.bars.open[np.array(entries)])
    return [int(one) or 1 for one in went]


def test_trades_that_know_the_future_pass_every_line(walk: TimedBars, entries: list[int]) -> None:
    report = judged(walk, listed(walk, entries, foreseen(walk, entries)))
    assert [judged.line.name for judged in report.verdict.lines if not judged.passed] == []
    assert report.verdict.text == (
        "Evidence of an edge after costs in these trades, beyond last-bit reversal; "
        "whether their rule looks ahead, trades cannot say."
    )
    # 99 worlds, none as good: 1 / 100.
    assert report.document["controls"]["random_times"]["p"] == 0.01
    assert report.document["missing"] == dict(MISSING)


def test_unknown_trials_pass_no_verdict(walk: TimedBars, entries: list[int]) -> None:
    trades = listed(walk, entries, foreseen(walk, entries))
    report = judged(walk, trades, declared_trials=None)
    failed = {judged.line.name for judged in report.verdict.lines if not judged.passed}
    assert failed == {"deflated_sharpe", "length"}
    assert not report.verdict.edge
    assert "--trials" in report.document["selection"]["note"]


def test_rows_left_out_pass_no_verdict(walk: TimedBars, entries: list[int]) -> None:
    report = judged(walk, listed(walk, entries, foreseen(walk, entries)), refused=1)
    assert not report.verdict.edge


def test_more_declared_trials_ask_for_more(walk: TimedBars, entries: list[int]) -> None:
    trades = listed(walk, entries, foreseen(walk, entries))
    looks = {
        trials: judged(
            walk, trades, declared_trials=trials, count=lambda sharpe: Count(4, 2)
        ).document["selection"]
        for trials in (1, 1000)
    }
    # Three other configurations lie in the ledger beside this one.
    assert looks[1]["trials"] == 4
    assert looks[1000]["trials"] == 1003
    assert looks[1000]["length"]["years_needed"] > looks[1]["length"]["years_needed"]


def test_p_values_of_random_trades_are_uniform(walk: TimedBars) -> None:
    rng = np.random.default_rng(5)
    found: dict[str, list[float]] = {"random_times": [], "coin": []}
    for _ in range(60):
        entries = np.sort(rng.choice(np.arange(1000, 2000), size=80, replace=False))
        # Some lie beside each other, so positions overlap.
        trades = listed(walk, entries, rng.choice((-1, 1), size=80), held=9)
        controls = judged(walk, trades, worlds=39).document["controls"]
        assert controls["episodes"] < 80
        for kind, values in found.items():
            values.append(controls[kind]["p"])
    for kind, values in found.items():
        # Of 60 uniform values 18 lie at or below 0.3; 8 to 28 with all but 1 % of chance.
        assert 8 <= np.sum(np.array(values) <= 0.3) <= 28, kind


def test_a_stop_stamped_with_the_start_of_its_bar_is_marked_after_it(walk: TimedBars) -> None:
    # A stop inside bar 20 is stamped with that bar's start, whose open lies above it: marked there
    # it would not have lost.
    trades = listed(walk, [10, 100], [1, 1], held=10)
    stop = float(walk.bars.open[20] - 30)
    stopped = replace(trades, exit=np.array([stop, trades.exit[1]]))
    marked = judged(walk, stopped).document["direction"]["marked"]["estimate"]
    opens = walk.bars.open
    assert marked == (opens[21] - opens[10] + opens[110] - opens[100]) / 2


def test_money_counts_units_and_fees(walk: TimedBars) -> None:
    trades = replace(
        listed(walk, [10, 100], [1, -1]),
        weight=np.array([1.5, 0.5]),
        entry=np.array([1000.0, 1000.0]),
        exit=np.array([1010.0, 1030.0]),
        fees=np.array([2.0, 2.0]),
    )
    money = judged(walk, trades, costs=RoundTripCosts(3, 10.0, True, "")).document["money"]
    # Gains of 10 and -30 ticks at weights 1.5 and 0.5: (15 - 15) / 2 = 0; 5 ticks of costs each.
    assert money["gross_pips"] == 0.0
    assert money["cost_pips"] == 0.5
    assert money["net_pips"] == -0.5
    assert money["fees_pips"] == 0.2


def test_unknown_fees_leave_money_unsaid(walk: TimedBars, entries: list[int]) -> None:
    trades = listed(walk, entries, foreseen(walk, entries))
    report = judged(walk, replace(trades, fees=np.full(len(trades), np.nan)))
    assert report.document["money"]["net"] is None
    failed = {judged.line.name for judged in report.verdict.lines if not judged.passed}
    assert failed == {"money", "deflated_sharpe", "length"}


def test_costs_that_nobody_said_leave_money_unsaid(walk: TimedBars, entries: list[int]) -> None:
    trades = listed(walk, entries, foreseen(walk, entries))
    report = judged(walk, trades, costs=replace(COSTS, said=False))
    reasons = {one.line.name: one.reason for one in report.verdict.lines if not one.passed}
    assert set(reasons) == {"money", "deflated_sharpe", "length"}
    assert reasons["money"] == "nobody said what a round trip costs"
    assert report.document["money"]["net_pips"] is None
    # At costs that are said, the same trades pass all three.
    assert judged(walk, trades).verdict.edge


def test_trades_inside_single_bars_ask_for_finer_ones(walk: TimedBars) -> None:
    trades = listed(walk, range(10, 5980, 6), [1] * 995, held=0)
    times = judged(walk, trades).document["controls"]["random_times"]
    assert times["p"] is None
    assert "finer bars" in times["reason"]


def flat() -> TimedBars:
    """Return three bars at 100, 110 and 120, each 5 ticks up and down, with a hole after two."""
    closes = np.array([100, 110, 120])
    bars = BarTicks(closes, closes + 5, closes - 5, closes)
    times = HOUR_NS * np.array([0, 1, 5])
    return TimedBars(times, bars, np.zeros(3, dtype=bool), 0.01)


@pytest.mark.parametrize(
    ("hours", "price", "reason"),
    [
        (0.5, 105.0, ""),
        (0.5, 107.0, ""),  # two ticks outside: tolerated
        (0.5, 108.0, "opened at 1.08, outside its bar's 0.95..1.05"),
        (1.0, 96.0, ""),  # on the boundary both bars count
        (2.0, 115.0, ""),  # the end of the second bar
        (2.5, 115.0, "opened when there is no bar"),
        (-0.5, 100.0, "opened when there is no bar"),
    ],
)
def test_a_fill_lies_in_its_bar_or_is_named(hours: float, price: float, reason: str) -> None:
    trade = TradeList(
        opened=np.array([int(hours * HOUR_NS)]),
        closed=np.array([int(5.5 * HOUR_NS)]),
        direction=np.array([1]),
        entry=np.array([price]),
        exit=np.array([120.0]),
        weight=np.ones(1),
        fees=np.zeros(1),
    )
    found = mismatches(flat(), trade, duration_ns=HOUR_NS, tolerance_ticks=2.0)
    assert found == [reason]


def test_one_day_of_trades_is_refused(walk: TimedBars) -> None:
    with pytest.raises(ArgumentError, match="2 trading days"):
        judged(walk, listed(walk, [10, 11], [1, 1]))


def test_every_line_names_a_figure_of_the_report(walk: TimedBars) -> None:
    report = judged(walk, listed(walk, [10, 500], [1, -1]))
    assert {line.figure for line in TABLE} <= set(report.document["verdict"]["figures"])


def test_positions_elsewhere_are_held_as_long_and_the_same_way(walk: TimedBars) -> None:
    # On a ramp of one tick a bar a position gains what it is held, bought, and loses it, sold,
    # wherever it stands: every world ends where the trades end.
    ramp = np.arange(len(walk), dtype=np.int64) + 10_000
    m = walk.with_bars(BarTicks(ramp, ramp, ramp, ramp))
    first = np.array([50, 52, 300, 900, 905])  # two pairs overlap
    last = np.array([70, 55, 301, 912, 960])
    trades = TradeList(
        opened=m.times[first],
        closed=m.times[last],
        direction=np.array([1, -1, 1, 1, -1]),
        entry=ramp[first].astype(float),
        exit=ramp[last].astype(float),
        weight=np.array([1.0, 1.0, 2.0, 0.5, 0.5]),
        fees=np.zeros(5),
    )
    document = judged(m, trades).document
    assert document["controls"]["episodes"] == 3
    # 20 - 3 + 2 * 1 + 12 / 2 - 55 / 2
    ends = {name: level[-1] for name, level in document["controls"]["band"].items()}
    assert ends == {"low": -2.5, "median": -2.5, "high": -2.5}
    assert document["money"]["equity"][-1] == -2.5
