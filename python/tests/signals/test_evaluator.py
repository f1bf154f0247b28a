import time
from dataclasses import replace
from decimal import Decimal
from itertools import product

import numpy as np
import pytest

from sep_engine.data import load_sample
from sep_engine.errors import ArgumentError, RuleError
from sep_engine.qfh import COUNT_METRICS, rolling
from sep_engine.signals import DEFAULT_RULE, Gate, Rule, RuleEvaluator, directions
from sep_engine.signals.rule import METRICS

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


# One of each group, in ranges that some windows of 8 and 64 bits are in and some are not.
BY_VALUE = (
    (Gate("lambda", "value", 0.2, 0.45), Gate("flat_ratio", "value", 0.0, 0.5)),
    (Gate("damped_anchored", "value", -1.5, 1.0),),
    (Gate("path_confidence", "value", 0.3, 1.0), Gate("path_similarity", "value", 0.1, 0.9)),
    (Gate("qbsa_error", "value", 0.4, 0.6), Gate("confidence_low", "value", 0.1, 1.0)),
)
BY_PERCENTILE = (
    (Gate("lambda", "percentile", 20.0, 100.0), Gate("damped", "percentile", 10.0, 80.0)),
    (Gate("path_similarity", "percentile", 30.0, 100.0),),
    (Gate("confidence", "percentile", 30.0, 100.0),),
)
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
        BY_VALUE[0],
    )
]
RULES += [rule("last_bit_momentum", window=w, gates=g) for w in (8, 64) for g in BY_PERCENTILE]
RULES += [
    rule("last_bit_momentum", window=window, gates=gates, encoding=encoding)
    for window, gates in product((8, 64), BY_VALUE[1:])
    for encoding in ("moves", "strict_up")
]
RULES += [
    rule("last_bit_reversal", window=64, gates=(Gate("collapse", of, 0.0, high),))
    for of, high in (("value", 0.0), ("percentile", 99.0))
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


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_that_is_not_known_passes_no_gate(metric: str) -> None:
    # The widest range passes whatever is a number. Gaps take some windows, and so does the start.
    closes, _ = walk(3, 500)
    gaps = np.zeros(500, dtype=bool)
    gaps[[200, 203, 206, 209, 212, 215, 218, 221, 224, 227, 230]] = True
    for of, low, high in (("value", -1e300, 1e300), ("percentile", 0.0, 100.0)):
        if (metric, of) == ("flat_ratio", "percentile"):
            continue
        gate = Gate(metric, of, low, high)
        tested = rule("last_bit_momentum", window=32, gates=(gate,))
        free = directions(replace(tested, gates=()), closes, tick=TICK, gaps=gaps)
        rolled = rolling(closes, tick=TICK, window=32, gap=gaps, metrics=[gate.column])
        values = rolled.columns[gate.column] if of == "value" else rolled.percentile(gate.column)
        expected = np.where(np.isnan(values), 0, free)
        assert directions(tested, closes, tick=TICK, gaps=gaps).tolist() == expected.tolist()
        evaluator = RuleEvaluator(tested, TICK)
        decided = [evaluator.on_bar(*bar) for bar in zip(closes, gaps.tolist(), strict=True)]
        assert [decision.direction for decision in decided] == expected.tolist()
        assert np.any(expected != 0)
        if (metric, of) != ("flat_ratio", "value"):
            assert np.any((expected == 0) & (free != 0))


def test_a_gate_on_predictions_waits_for_two_windows_and_says_so() -> None:
    tested = rule("last_bit_momentum", gates=(Gate("confidence", "value", 0.0, 1.0),))
    evaluator = RuleEvaluator(tested, TICK)
    decisions = [evaluator.on_bar(close) for close in closes_of("u" * 16)]
    assert decisions[8].reason == "confidence unknown: 8 of 16 bits seen"
    assert [decision.direction for decision in decisions] == [0] * 16 + [1]
    # After eight moves up every guess is up: none is wrong.
    assert decisions[-1].reason == "last bit up, momentum; confidence 1 in 0..1"
    assert (decisions[-1].metrics["confidence"], decisions[7].metrics["confidence"]) == (1.0, None)


def test_a_decision_shows_the_metrics_that_its_gates_look_at() -> None:
    plain = RuleEvaluator(rule("last_bit_momentum", window=32), TICK).on_bar(100.0)
    assert "path_similarity" not in plain.metrics
    assert list(plain.percentiles) == list(COUNT_METRICS)
    gates = (Gate("path_similarity", "percentile", 0.0, 90.0), Gate("collapse", "value", 0.0, 0.0))
    shown = RuleEvaluator(rule("last_bit_momentum", window=32, gates=gates), TICK).on_bar(100.0)
    assert set(shown.metrics) == {*plain.metrics, "path_similarity", "collapse"}
    assert list(shown.percentiles) == [*COUNT_METRICS, "path_similarity"]
    # Rules, decisions and the wire say `lambda`.
    gates = (Gate("lambda", "percentile", 0.0, 90.0),)
    shown = RuleEvaluator(rule("last_bit_momentum", window=32, gates=gates), TICK).on_bar(100.0)
    assert list(shown.percentiles) == [*COUNT_METRICS, "lambda"]
    assert "lambda_" not in shown.metrics


def test_a_snapshot_without_the_metrics_of_the_gates_is_refused() -> None:
    # Its predictions were not judged: the share of wrong ones would be too low for two windows.
    gated = replace(DEFAULT_RULE, gates=(Gate("qbsa_error", "value", 0.0, 0.4),))
    with pytest.raises(ArgumentError, match=r"snapshot must be of the metrics .*qbsa_error.*, was"):
        RuleEvaluator(gated, TICK).restore(RuleEvaluator(DEFAULT_RULE, TICK).snapshot())


@pytest.mark.parametrize(
    "tested",
    [
        DEFAULT_RULE,
        replace(DEFAULT_RULE, gates=(*BY_VALUE[2], *BY_VALUE[3], *BY_PERCENTILE[2])),
    ],
)
def test_a_restored_evaluator_goes_on_as_if_never_stopped(tested: Rule) -> None:
    closes, gaps = walk(7, 400)
    bars = [(float(close), bool(gap)) for close, gap in zip(closes, gaps, strict=True)]
    whole = RuleEvaluator(tested, TICK)
    expected = [whole.on_bar(*bar) for bar in bars]
    for stop in (1, 63, 64, 65, 250):
        first = RuleEvaluator(tested, TICK)
        for bar in bars[:stop]:
            first.on_bar(*bar)
        second = RuleEvaluator(tested, TICK)
        second.restore(first.snapshot())
        assert [second.on_bar(*bar) for bar in bars[stop:]] == expected[stop:]


def test_a_bar_that_was_passed_over_counts_as_one_that_was_decided_on() -> None:
    tested = replace(DEFAULT_RULE, window=16)
    closes, gaps = walk(7, 400)
    bars = [(float(close), bool(gap)) for close, gap in zip(closes, gaps, strict=True)]
    whole = RuleEvaluator(tested, TICK)
    expected = [whole.on_bar(*bar) for bar in bars]
    assert {decision.direction for decision in expected} == {-1, 0, 1}
    for stop in range(300, 400):  # the close before may have moved or not
        late = RuleEvaluator(tested, TICK)
        for bar in bars[:stop]:
            late.pass_over(*bar)
        assert late.on_bar(*bars[stop]) == expected[stop]


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
        by_path = replace(DEFAULT_RULE, gates=(*BY_PERCENTILE[1], *BY_PERCENTILE[2]))
        ways = (rule("balance"), rule("run_persistence"), rule("damped"))
        for tested in (DEFAULT_RULE, by_path, *ways):
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


def test_d17_a_rule_is_data_whose_work_and_state_stay_as_they_are_with_every_bar() -> None:
    # There is no code of a person in it that could hang: a rule is read from numbers and names.
    with pytest.raises(RuleError):
        Rule.from_json({**DEFAULT_RULE.to_json(), "code": "while True: pass"})
    evaluator = RuleEvaluator(DEFAULT_RULE, 0.00001)
    closes = np.round(1.1 + 0.00001 * (walk(3, 12_000)[0] * 100 - 10_000), 5).tolist()

    def cpu_s(bars: list[float]) -> float:
        started = time.process_time()
        for close in bars:
            evaluator.on_bar(close)
        return time.process_time() - started

    early = min(cpu_s(closes[start : start + 500]) for start in range(1_000, 3_500, 500))
    size = len(evaluator.snapshot())
    for close in closes[3_500:9_500]:
        evaluator.on_bar(close)
    late = min(cpu_s(closes[start : start + 500]) for start in range(9_500, 12_000, 500))
    assert len(evaluator.snapshot()) == size
    assert late < 3 * early
