from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from python.tests.evidence import worlds
from python.tests.evidence.worlds import decide, rolling_mean, rolling_std
from sep_engine.backtest.trades import Entry
from sep_engine.cli.jobs import among
from sep_engine.errors import ArgumentError
from sep_engine.evidence.causality import Subject, Trades, inspect, label_shift
from sep_engine.evidence.market import BarTicks, TimedBars
from sep_engine.evidence.simulation import Exit, round_trips

MARKET = worlds.market()


def steps(m: TimedBars) -> np.ndarray:
    return np.diff(m.closes, prepend=m.closes[0])


def momentum(m: TimedBars) -> np.ndarray:
    return m.closes - rolling_mean(m.closes, 20)


def reversal(m: TimedBars) -> np.ndarray:
    return -steps(m)


CLEAN: dict[str, Callable[[TimedBars], np.ndarray]] = {"momentum": momentum, "reversal": reversal}


def shifted(x: np.ndarray, by: int) -> np.ndarray:
    """Return x moved `by` rows towards the past: row t holds x[t + by]."""
    return np.concatenate((x[by:], np.full(by, np.nan)))


# Each leak takes the clean score and the market, and returns a score that knows too much.
Leak = Callable[[np.ndarray, TimedBars], np.ndarray]


def smoothed_both_ways(x: np.ndarray, m: TimedBars) -> np.ndarray:
    forth = lfilter([0.3], [1, -0.7], np.nan_to_num(x))
    return lfilter([0.3], [1, -0.7], forth[::-1])[::-1]


def unfinished_four_hours(x: np.ndarray, m: TimedBars) -> np.ndarray:
    """A 4-hour close joined to the first hour of its bar."""
    last = np.minimum(np.arange(x.size) // 4 * 4 + 3, x.size - 1)
    return x + m.closes[last] - m.closes


def best_of_windows(x: np.ndarray, m: TimedBars) -> np.ndarray:
    """The look-back that would have earned most over everything."""
    future = shifted(steps(m), 1)
    scores = [m.closes - rolling_mean(m.closes, w) for w in (5, 10, 20, 40, 80)]
    gains = [np.nansum(np.sign(s) * future) for s in scores]
    return scores[int(np.argmax(gains))] + 1e-9 * max(gains)


def low_passed(x: np.ndarray, m: TimedBars) -> np.ndarray:
    spectrum = np.fft.rfft(np.nan_to_num(x))
    spectrum[spectrum.size // 4 :] = 0
    return np.fft.irfft(spectrum, x.size)


def regressed(x: np.ndarray, m: TimedBars) -> np.ndarray:
    """A slope fitted on every label there is."""
    feature, label = np.nan_to_num(x), np.nan_to_num(shifted(steps(m), 1))
    return feature * (feature @ label) / (feature @ feature)


def interpolated(x: np.ndarray, m: TimedBars) -> np.ndarray:
    """Every third value filled in between its neighbours."""
    known = np.arange(x.size) % 3 != 1
    return np.interp(np.arange(x.size), np.flatnonzero(known), np.nan_to_num(x)[known])


def filled_backwards(x: np.ndarray, m: TimedBars) -> np.ndarray:
    holes = np.where(np.arange(x.size) % 5 == 2, np.nan, x)
    out = holes.copy()
    for t in range(out.size - 2, -1, -1):
        out[t] = out[t + 1] if np.isnan(out[t]) else out[t]
    return out


def turning_points(x: np.ndarray, m: TimedBars) -> np.ndarray:
    c = m.closes
    peak = (c > np.roll(c, 1)) & (c > np.roll(c, -1))
    trough = (c < np.roll(c, 1)) & (c < np.roll(c, -1))
    return trough.astype(float) - peak.astype(float)


def detrended(x: np.ndarray, m: TimedBars) -> np.ndarray:
    t = np.arange(x.size)
    return m.closes - np.polyval(np.polyfit(t, m.closes, 1), t)


def range_of_the_day(x: np.ndarray, m: TimedBars) -> np.ndarray:
    out = np.empty(x.size)
    for day in np.unique(m.days):
        rows = m.days == day
        out[rows] = m.closes[rows] - (m.bars.high[rows].max() + m.bars.low[rows].min()) / 2e5
    return out


def ranked(x: np.ndarray, m: TimedBars) -> np.ndarray:
    return np.argsort(np.argsort(np.nan_to_num(x))) / x.size - 0.5


def whitened(x: np.ndarray, m: TimedBars) -> np.ndarray:
    pair = np.column_stack([np.nan_to_num(x), steps(m)])
    centred = pair - pair.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][0]


LEAKS: dict[str, Leak] = {
    "negative shift": lambda x, m: shifted(x, 1),
    "shift by two": lambda x, m: shifted(x, 2),
    "window holds the next bar": lambda x, m: x + shifted(steps(m), 1),
    "shifted join": unfinished_four_hours,
    "centred window": lambda x, m: m.closes - shifted(rolling_mean(m.closes, 21), 10),
    "full-sample mean": lambda x, m: x - np.nanmean(x),
    "full-sample scaling": lambda x, m: x / np.nanstd(x) - 0.5,
    "full-sample range": lambda x, m: (x - np.nanmin(x)) / (np.nanmax(x) - np.nanmin(x)) - 0.5,
    "threshold fitted on everything": lambda x, m: x - np.nanquantile(x, 0.8),
    "median fitted on everything": lambda x, m: x - np.nanmedian(x),
    "ranks over everything": ranked,
    "principal axis of everything": whitened,
    "slope fitted on everything": regressed,
    "look-back chosen on everything": best_of_windows,
    "trend line through everything": detrended,
    "low pass of everything": low_passed,
    "smoothing both ways": smoothed_both_ways,
    "interpolation": interpolated,
    "filling backwards": filled_backwards,
    "turning points": turning_points,
    "range of the unfinished day": range_of_the_day,
    "calm next bar": lambda x, m: np.where(shifted(np.abs(steps(m)), 1) < 3e-4, x, 0.0),
    "next high": lambda x, m: x * (1 + shifted(m.bars.high * 1e-5, 1) - m.closes),
}

# The rest leak in trades: the columns are clean.
TradeLeak = Callable[[Trades, TimedBars], Trades]


def entered_at_the_best(t: Trades, m: TimedBars) -> Trades:
    best = np.where(t.direction > 0, m.bars.low[t.entered], m.bars.high[t.entered])
    return replace(t, entry=best)


def left_at_the_best(t: Trades, m: TimedBars) -> Trades:
    best = np.where(t.direction > 0, m.bars.high[t.exited], m.bars.low[t.exited])
    return replace(t, exit=best)


def entered_on_the_deciding_bar(t: Trades, m: TimedBars) -> Trades:
    return replace(t, entered=t.decided, entry=m.bars.open[t.decided])


def losers_forgotten(t: Trades, m: TimedBars) -> Trades:
    won = t.direction * (t.exit - t.entry) > 0
    return Trades(*(a[won] for a in t.rows()))


TRADE_LEAKS: dict[str, TradeLeak] = {
    "entered at the best price": entered_at_the_best,
    "left at the best price": left_at_the_best,
    "entered on the deciding bar": entered_on_the_deciding_bar,
    "losers forgotten": losers_forgotten,
}


def with_leak(base: str, leak: str) -> Subject:
    clean = worlds.subject(base, CLEAN[base])
    if leak in LEAKS:
        return worlds.subject(f"{base}, {leak}", lambda m: LEAKS[leak](CLEAN[base](m), m))
    assert clean.trades is not None
    run = clean.trades
    return replace(clean, name=f"{base}, {leak}", trades=lambda m: TRADE_LEAKS[leak](run(m), m))


ZOO = [(base, leak) for base in CLEAN for leak in (*LEAKS, *TRADE_LEAKS)][:50]


def test_of_fifty_planted_leaks_at_least_forty_eight_are_caught() -> None:
    assert len(ZOO) == 50
    missed = [
        pair
        for pair in ZOO
        if inspect(with_leak(*pair), MARKET, truncations=50, trade_points=15).passed
    ]
    assert len(missed) <= 2, missed


@pytest.mark.parametrize("base", CLEAN)
def test_the_strategies_that_the_leaks_were_planted_in_pass(base: str) -> None:
    report = inspect(
        worlds.subject(base, CLEAN[base], stop=60), MARKET, truncations=1000, trade_points=20
    )
    assert report.findings == ()
    assert (report.truncations, report.poisons) == (1000, 100)
    assert report.trades > 100


def leaky_evaluator(m: TimedBars) -> dict[str, np.ndarray]:
    """The evaluator behind a published 60 %: its window of bodies ends one bar too late."""
    bodies = np.sign(m.bars.close - m.bars.open).astype(float)
    window = rolling_mean(bodies, 5)
    return {"mean_body": shifted(window, 1), "direction": decide(shifted(window, 1))}


def test_the_leaky_evaluator_is_rejected_and_its_column_named() -> None:
    report = inspect(Subject("sixty percent", leaky_evaluator), MARKET, truncations=200)
    assert not report.passed
    assert {f.column for f in report.findings} == {"mean_body", "direction"}
    by_shift = {s.shift: s.hit_rate for s in report.label_shift}
    # It knows one fifth of the next bar, and nothing of the one after.
    assert by_shift[0] is not None
    assert by_shift[1] is not None
    assert by_shift[0] > 0.6 > 0.55 > by_shift[1]


def random_causal(seed: int) -> Subject:
    """A random chain of causal operations, some of them recursive, with a random exit."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(2, 60, 6).tolist()
    picks = rng.integers(0, 8, 3).tolist()
    decay = float(rng.uniform(0.01, 0.5))

    def score(m: TimedBars) -> np.ndarray:
        x = steps(m) if seed % 2 else m.closes - m.closes[0]
        for pick, width in zip(picks, widths, strict=False):
            if pick == 0:
                x = x - rolling_mean(x, width)
            elif pick == 1:
                x = np.concatenate((np.zeros(width), x))[: x.size]
            elif pick == 2:
                x = np.nan_to_num(x) / (1e-6 + np.nan_to_num(rolling_std(np.nan_to_num(x), width)))
            elif pick == 3:
                x = lfilter([decay], [1, decay - 1], np.nan_to_num(x))
            elif pick == 4:
                x = np.cumsum(np.nan_to_num(x)) / np.arange(1, x.size + 1)
            elif pick == 5:
                x = x - np.maximum.accumulate(np.nan_to_num(x))
            elif pick == 6:
                x = x * np.sign(steps(m))
            else:
                x = x - (m.bars.high + m.bars.low) * 0.5e-5 + m.closes
        return np.asarray(x)

    return worlds.subject(f"causal {seed}", score, stop=50 if seed % 3 else None)


def test_two_hundred_random_causal_strategies_pass() -> None:
    short = MARKET.head(300)
    alarms = [
        (seed, report.findings)
        for seed in range(200)
        if not (
            report := inspect(random_causal(seed), short, truncations=25, trade_points=3)
        ).passed
    ]
    assert alarms == []


def test_a_stream_that_differs_from_the_batch_is_found() -> None:
    clean = worlds.subject("momentum", momentum)

    def stream(m: TimedBars) -> dict[str, np.ndarray]:
        directions = decide(momentum(m))
        directions[-1] = -directions[-1]
        return {"direction": directions}

    same = {"stream": lambda m: {"direction": decide(momentum(m))}}
    assert inspect(replace(clean, twins=same), MARKET, truncations=50).passed
    report = inspect(replace(clean, twins={"stream": stream}), MARKET, truncations=50)
    assert [(f.check, f.column, f.row) for f in report.findings] == [
        ("twin stream", "direction", len(MARKET) - 1)
    ]


@pytest.mark.parametrize("pair", [ZOO[0], ZOO[20], ("momentum", next(iter(TRADE_LEAKS)))])
def test_any_number_of_processes_finds_the_same(pair: tuple[str, str]) -> None:
    alone, two, three = (
        inspect(with_leak(*pair), MARKET, truncations=75, trade_points=15, share=among(jobs))
        for jobs in (1, 2, 3)
    )
    assert alone.findings
    assert alone.truncations == 75
    assert alone.decision_lag_bars is not None
    assert two == alone
    assert three == alone


def test_what_code_raises_in_a_process_comes_out_and_ends_the_others() -> None:
    def score(m: TimedBars) -> np.ndarray:
        if len(m) == len(MARKET):
            return momentum(m)
        raise ArgumentError("a window of 7 does not fit")

    with pytest.raises(ArgumentError, match="a window of 7 does not fit"):
        inspect(worlds.subject("failing", score), MARKET, share=among(2))
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_not_a_pass() -> None:
    def score(m: TimedBars) -> np.ndarray:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return momentum(m)

    with pytest.raises(ArgumentError, match="a process of the causality gate was ended"):
        inspect(worlds.subject("killed", score), MARKET, share=among(2))


def test_slow_code_is_cut_off_after_the_least_number_of_runs() -> None:
    report = inspect(worlds.subject("momentum", momentum), MARKET, enough=lambda: True)
    assert (report.truncations, report.passed) == (50, True)


def test_rounding_passes_only_within_the_tolerance_asked_for() -> None:
    def padded(m: TimedBars) -> np.ndarray:
        return momentum(m) * (1 + 1e-13 * len(m))

    assert not inspect(worlds.subject("rounding", padded), MARKET, truncations=50).passed
    within = worlds.subject("rounding", padded, tolerance=1e-9)
    assert inspect(within, MARKET, truncations=50).passed


def test_the_label_shift_curve_of_a_known_market() -> None:
    # Opens 10, 11, 12, 11: moves +1, +1, -1. The only call, up at bar 0, is for the move from
    # open 1 to open 2 (right); one later it is wrong, one earlier right.
    opens = np.array([10, 11, 12, 11])
    bars = BarTicks(opens, opens, opens, opens)
    small = TimedBars(np.arange(4) * worlds.HOUR_NS, bars, np.zeros(4, dtype=bool), 1.0)
    curve = {s.shift: (s.hit_rate, s.signals) for s in label_shift([1, 0, 0, 0], small)}
    assert curve[0] == (1.0, 1)
    assert curve[1] == (0.0, 1)
    assert curve[-1] == (1.0, 1)
    assert curve[2] == (None, 0)


def test_the_label_shift_of_entries_at_the_close_goes_from_close_to_close() -> None:
    # Closes 10, 11, 12, 11 and opens that stand: the call at bar 0 is for close 1 to close 2.
    closes, opens = np.array([10, 11, 12, 11]), np.full(4, 11)
    bars = BarTicks(opens, np.full(4, 12), np.full(4, 10), closes)
    small = TimedBars(np.arange(4) * worlds.HOUR_NS, bars, np.zeros(4, dtype=bool), 1.0)
    found = {s.shift: s.hit_rate for s in label_shift([1, 0, 0, 0], small, entry="close")}
    assert (found[-1], found[0], found[1]) == (1.0, 1.0, 0.0)
    assert {s.hit_rate for s in label_shift([1, 0, 0, 0], small)} == {None}


@pytest.mark.parametrize("entry", ["open", "close"])
def test_an_entry_may_know_its_bar_at_the_close_only(entry: Entry) -> None:
    """Trades entered at closes: right where that was said, a leak where opens were."""
    always = np.ones(len(MARKET), dtype=np.int8)

    def at_closes(market: TimedBars) -> Trades:
        leave = Exit(3, stop=40, entry="close")
        return round_trips(market.bars, always[: len(market)], leave)

    subject = Subject(
        "always",
        lambda market: {"direction": always[: len(market)]},
        trades=at_closes,
        entry=entry,
    )
    found = inspect(subject, MARKET, truncations=20, truncations_min=20)
    leaks = {(finding.check, finding.column) for finding in found.findings}
    assert leaks == (set() if entry == "close" else {("entry", "entry")})


def test_columns_must_be_whole() -> None:
    wrong = Subject("short", lambda m: {"direction": np.zeros(3)})
    with pytest.raises(ArgumentError, match=r"column direction must be \(700,\), was \(3,\)"):
        inspect(wrong, MARKET)
    with pytest.raises(ArgumentError, match="must hold 'direction'"):
        inspect(Subject("none", lambda m: {"score": momentum(m)}), MARKET)
