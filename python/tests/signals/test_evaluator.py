from dataclasses import replace
from decimal import Decimal
from itertools import product

import numpy as np
import pytest

from sep_engine.data import load_sample
from sep_engine.errors import ArgumentError
from sep_engine.signals import DEFAULT_RULE, Gate, Rule, RuleEvaluator, directions

TICK = 0.01


def rule(direction: str, *, window: int = 8, **parts: object) -> Rule:
    return Rule(direction, 1, 10, Decimal(1), window=window, **parts)  # type: ignore[arg-type]


def closes_of(moves: str) -> list[float]:
    """Closes that start at 100.00 and move by one tick: u up, d down, = not at all."""
    steps = [{"u": 1, "d": -1, "=": 0}[move] for move in moves]
    return [round(100 + TICK * total, 2) for total in np.cumsum([0, *steps])]


def last_direction(tested: Rule, moves: str) -> int:
    evaluator = RuleEvaluator(tested, TICK)
    return [evaluator.on_bar(close) for close in closes_of(moves)][-1].direction


def walk(seed: int, bars: int) -> tuple[np.ndarray, np.ndarray]:
    """Closes with ties, and a few gaps."""
    rng = np.random.default_rng(seed)
    ticks = 10_000 + np.cumsum(rng.integers(-2, 3, bars))
    return np.round(ticks * TICK, 2), rng.random(bars) < 0.01


@pytest.mark.parametrize(
    ("direction", "moves", "expected"),
    [
        ("last_bit_reversal", "uuuudddu", -1),
        ("last_bit_reversal", "uuuudddd", 1),
        ("last_bit_momentum", "uuuudddu", 1),
        ("run_persistence", "uuuudduu", 1),
        ("run_persistence", "uuuudddu", 0),  # one bit is no run
        # Pairs uu 4, dd 2, mixed 1: (4 - 2)/7 > 0.
        ("balance", "uuuuuddd", 1),
        ("balance", "uuudddd" + "d", -1),
        ("balance", "uuuudddd", 0),  # 3 pairs each
        ("damped", "ddddduuu", 1),
        ("damped", "uuuuuddd", -1),
    ],
)
def test_each_direction_says_what_it_stands_for(direction: str, moves: str, expected: int) -> None:
    # `damped` needs 20 bits, so its windows get a balanced run-up.
    run_up = "ud" * 10 if direction == "damped" else ""
    assert last_direction(rule(direction), run_up + moves) == expected
    assert last_direction(rule(direction, invert=True), run_up + moves) == -expected


def test_nothing_is_decided_before_the_window_is_full() -> None:
    evaluator = RuleEvaluator(rule("last_bit_momentum"), TICK)
    decisions = [evaluator.on_bar(close) for close in closes_of("uuuuuuuu")]
    # Nine closes make eight moves: only the last has a full window.
    assert [decision.direction for decision in decisions] == [0] * 8 + [1]
    assert decisions[3].reason == "window not full: 3 of 8 moves"
    assert decisions[3].metrics["entropy"] is None
    assert decisions[3].percentiles["entropy"] is None


def test_a_close_that_did_not_move_decides_nothing() -> None:
    evaluator = RuleEvaluator(rule("last_bit_momentum"), TICK)
    decision = [evaluator.on_bar(close) for close in closes_of("uuuuuuuu=")][-1]
    assert (decision.direction, decision.reason) == (0, "the close did not move: no new bit")
    assert decision.metrics["stability"] == 1.0


def test_a_gate_holds_what_lies_outside_it_and_says_so() -> None:
    tested = rule("last_bit_momentum", gates=(Gate("stability", "value", 0.0, 0.5),))
    evaluator = RuleEvaluator(tested, TICK)
    decision = [evaluator.on_bar(close) for close in closes_of("uuuuuuuu")][-1]
    assert (decision.direction, decision.reason) == (0, "stability 1 outside 0..0.5")


def test_a_decision_names_its_direction_and_the_gates_it_passed() -> None:
    tested = rule("last_bit_reversal", gates=(Gate("stability", "percentile", 90.0, 100.0),))
    evaluator = RuleEvaluator(tested, TICK)
    decision = [evaluator.on_bar(close) for close in closes_of("uuuuuuuu")][-1]
    assert decision.direction == -1
    # No coin beats eight equal bits: the percentile is 100.
    assert decision.reason == "last bit up, reversal; stability percentile 100 in 90..100"
    assert decision.percentiles["stability"] == 100.0


def test_a_gap_in_the_window_leaves_no_percentile_to_pass_a_gate() -> None:
    tested = rule("last_bit_momentum", gates=(Gate("stability", "percentile", 0.0, 100.0),))
    evaluator = RuleEvaluator(tested, TICK)
    closes = closes_of("uuuuuuuuu")
    decisions = [evaluator.on_bar(close, gap=place == 7) for place, close in enumerate(closes)]
    assert decisions[-1].reason == "stability percentile unknown: a gap lies in the window"


def test_an_off_tick_close_is_refused_and_changes_nothing() -> None:
    evaluator = RuleEvaluator(rule("last_bit_momentum"), TICK)
    evaluator.on_bar(100.0)
    before = evaluator.snapshot()
    with pytest.raises(ArgumentError):
        evaluator.on_bar(100.005)
    assert evaluator.snapshot() == before


RULES = [
    Rule(direction, 1, 10, Decimal(1), encoding=encoding, window=window, gates=gates)
    for direction, encoding, window in product(
        ("last_bit_reversal", "last_bit_momentum", "run_persistence", "balance", "damped"),
        ("moves", "strict_up", "tick_carry"),
        (8, 64),
    )
    for gates in (
        (),
        (Gate("coherence", "percentile" if encoding == "moves" else "value", 0.05, 70.0),),
        (Gate("lambda", "value", 0.2, 0.45), Gate("flat_ratio", "value", 0.0, 0.5)),
    )
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("bars", [8, 9, 64, 65, 400])
def test_a_batch_decides_as_the_evaluator_does_bar_by_bar(seed: int, bars: int) -> None:
    closes, gaps = walk(seed, bars)
    for tested in RULES:
        evaluator = RuleEvaluator(tested, TICK)
        stream = [
            evaluator.on_bar(float(close), bool(gap)).direction
            for close, gap in zip(closes, gaps, strict=True)
        ]
        batch = directions(tested, closes, tick=TICK, gaps=gaps)
        assert batch.tolist() == stream, tested


def test_a_restored_evaluator_goes_on_as_if_never_stopped() -> None:
    closes, gaps = walk(7, 400)
    bars = [(float(close), bool(gap)) for close, gap in zip(closes, gaps, strict=True)]
    whole = RuleEvaluator(DEFAULT_RULE, TICK)
    expected = [whole.on_bar(*bar) for bar in bars]
    for stop in (1, 63, 64, 65, 250):
        first = RuleEvaluator(DEFAULT_RULE, TICK)
        for bar in bars[:stop]:
            first.on_bar(*bar)
        second = RuleEvaluator(DEFAULT_RULE, TICK)
        second.restore(first.snapshot())
        assert [second.on_bar(*bar) for bar in bars[stop:]] == expected[stop:]


@pytest.mark.parametrize(
    "other", [RuleEvaluator(replace(DEFAULT_RULE, window=32), TICK), RuleEvaluator(DEFAULT_RULE, 1)]
)
def test_a_snapshot_of_another_window_or_tick_is_refused(other: RuleEvaluator) -> None:
    with pytest.raises(ArgumentError, match="snapshot must be of window"):
        RuleEvaluator(DEFAULT_RULE, TICK).restore(other.snapshot())


def test_prices_after_a_bar_change_nothing_at_that_bar() -> None:
    bars = load_sample().bars
    tick, rng = float(bars.tick), np.random.default_rng(11)
    for stop in rng.integers(66, 3_000, 40):
        changed = bars.close[:3_000].copy()
        moved = bars.close_ticks[stop:3_000] + rng.integers(-500, 500, 3_000 - stop)
        changed[stop:] = np.round(moved * tick, 5)
        assert not np.array_equal(changed, bars.close[:3_000])
        for tested in (DEFAULT_RULE, rule("balance"), rule("run_persistence"), rule("damped")):
            before = directions(tested, bars.close[:3_000], tick=tick)[:stop]
            assert np.array_equal(directions(tested, changed, tick=tick)[:stop], before)
            alone = directions(tested, bars.close[:stop], tick=tick)
            assert np.array_equal(alone, before)


def test_a_future_that_is_cut_off_changes_no_metric_and_no_percentile() -> None:
    bars = load_sample().bars
    evaluator = RuleEvaluator(DEFAULT_RULE, float(bars.tick))
    seen = [evaluator.on_bar(float(close)) for close in bars.close[:300]]
    again = RuleEvaluator(DEFAULT_RULE, float(bars.tick))
    # Bars after the 200th fall away by a tenth: the decisions up to there are the same values.
    changed = np.concatenate([bars.close[:200], np.round(bars.close[200:300] * 0.9, 5)])
    assert [again.on_bar(float(close)) for close in changed][:200] == seen[:200]


def test_the_sample_gives_its_first_signal_soon_after_its_history() -> None:
    sample = load_sample()
    found = directions(
        DEFAULT_RULE, sample.bars.close, tick=float(sample.bars.tick), gaps=sample.bars.gaps()
    )
    first = int(np.flatnonzero(found[sample.history_bars :])[0])
    # At one bar a second the page must show a signal and its fill within 60 s.
    assert first == 11
