"""A demonstration on generated prices: how a hit rate of 60 % appears, and what takes it away.

The prices are made so that each bar's close less its open is a tenth of the last body plus noise.
The evaluator votes by the majority of the newest bits, over a grid of 980 settings; in its leaky
form the window ends one bar late and so holds the bar that it predicts. Nothing here is a result
about a market.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sep_engine.evidence.causality import Columns
from sep_engine.evidence.family import Family
from sep_engine.evidence.lab import Progress, Report, RoundTripCosts, evaluate
from sep_engine.evidence.market import BarTicks, Ints, TimedBars
from sep_engine.evidence.settings import Settings
from sep_engine.evidence.simulation import Directions, Exit

WINDOWS = (15, 21, 27, 33, 39, 45, 51)
MARGINS = (1, 3, 5, 7, 9, 11, 13)
FLIPS_MAX = tuple(0.42 + 0.01 * k for k in range(20))
GRID = tuple(itertools.product(WINDOWS, MARGINS, FLIPS_MAX))

_COSTS = RoundTripCosts(spread=13, pip=10.0, assumed=True, source="1.3 pips, for the demonstration")
SETTINGS = Settings(
    surrogates={"sign": 39}, truncations=100, gate_bars=1500, gate_trades=20, draws=499
)
_HOUR_NS = 3_600_000_000_000
_MONDAY_NS = 1_483_311_600_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The reports on the leaky evaluator and on the same with the slip mended."""

    leaky: Report
    mended: Report


def generated_market(bars: int, *, seed: int) -> TimedBars:
    """Return hourly bars whose bodies follow the last one by a tenth: generated, not a market."""
    rng = np.random.default_rng(seed)
    noise = 80 * rng.standard_normal(bars)
    body = np.zeros(bars)
    for t in range(1, bars):
        body[t] = 0.1 * body[t - 1] + noise[t]
    steps = np.rint(body).astype(np.int64)
    closes = 1_000_000 + np.cumsum(steps)
    opens = closes - steps
    wick = rng.integers(0, 40, (2, bars))
    ticks = BarTicks(
        opens, np.maximum(opens, closes) + wick[0], np.minimum(opens, closes) - wick[1], closes
    )
    times = _MONDAY_NS + _HOUR_NS * np.arange(bars, dtype=np.int64)
    return TimedBars(times, ticks, np.zeros(bars, dtype=np.bool_), 1e-5)


def majority_family(*, bars_late: int) -> Family:
    """Return the 980 voters. With `bars_late` = 1 the window holds the bar that is predicted."""

    def directions(market: TimedBars) -> Directions:
        votes, flips = _windows(market, bars_late)
        result = np.zeros((len(market), len(GRID)), dtype=np.int8)
        for number, (window, margin, flips_max) in enumerate(GRID):
            vote = votes[window]
            trusted = (np.abs(vote) >= margin) & (flips[window] <= flips_max * window)
            result[:, number] = np.sign(vote) * trusted
        return result

    def columns(number: int, market: TimedBars) -> Columns:
        votes, flips = _windows(market, bars_late)
        window, margin, flips_max = GRID[number]
        trusted = (np.abs(votes[window]) >= margin) & (flips[window] <= flips_max * window)
        named = {f"vote {w}": votes[w] for w in WINDOWS}
        named |= {f"flips {w}": flips[w] for w in WINDOWS}
        return {"direction": (np.sign(votes[window]) * trusted).astype(np.int8), **named}

    return Family(
        names=tuple(f"majority of {w}, margin {m}, flips {f:.2f}" for w, m, f in GRID),
        configurations=tuple(
            {"window": w, "margin": m, "flips_max": round(f, 2), "bars_late": bars_late}
            for w, m, f in GRID
        ),
        exits=(Exit(1),) * len(GRID),
        directions=directions,
        columns=columns,
        stream=None,
        window=max(WINDOWS),
    )


def study(
    *,
    bars: int = 6000,
    seed: int = 2024,
    settings: Settings = SETTINGS,
    progress: Progress = lambda part, done, total: None,
) -> Study:
    """Return both reports. The prices and all else are functions of `seed`."""
    market = generated_market(bars, seed=seed)
    reports = [
        evaluate(
            market,
            majority_family(bars_late=late),
            costs=_COSTS,
            provenance={"synthetic": True, "name": "generated", "seed": seed},
            settings=settings,
            progress=progress,
        )
        for late in (1, 0)
    ]
    return Study(*reports)


def page(result: Study) -> str:
    """Return the study as Markdown."""
    leaky, mended = result.leaky.document, result.mended.document
    most = _most_hits(leaky)
    after = mended["rules"][most["number"]]
    first = leaky["causality"]["findings"][0]
    money, chosen = mended["money"], mended["selection"]
    picked = mended["direction"]["hit_rate"]
    refused = [line for line in mended["verdict"]["lines"] if not line["passed"]]
    plain = GRID.index((WINDOWS[0], MARGINS[0], FLIPS_MAX[-1]))
    rows = [
        ("the leaky evaluator, plain majority of 15", _percent(leaky["rules"][plain]["hit_rate"])),
        ("with the slip mended", _percent(mended["rules"][plain]["hit_rate"])),
        ("the leaky evaluator, best of the 980", _percent(most["hit_rate"])),
        ("with the slip mended", _percent(after["hit_rate"])),
        ("mended, best of 980 by t value after costs", _percent(picked["estimate"])),
        (
            "mended, chosen on the past, on later days",
            _percent(mended["direction"]["out_of_sample"]["hit_rate"]["estimate"]),
        ),
        ("needed to pay 1.3 pips", _percent(money["break_even_hit_rate"])),
    ]
    return "\n".join(
        [
            "# How 60 % appears, and what takes it away",
            "",
            "**SYNTHETIC. A demonstration on generated prices; no figure here says anything about "
            "a market.**",
            "",
            f"{leaky['provenance']['bars']:,} hourly bars are generated so that close less open is "
            "a tenth of the last body plus noise. An evaluator votes by the majority of the newest "
            "bits, over a grid of 980 settings, and its window ends one bar late: it holds the bar "
            "that it predicts.",
            "",
            "| hit rate of | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
            "## Each gate on its own",
            "",
            f"1. **Causality.** Rejected, column `{first['column']}`: {first['text']}. With the "
            f"slip mended: {_gate_text(mended)}.",
            f"2. **Label shift.** {_curve(leaky)} with the leak, {_curve(mended)} without: what "
            "knows the next bar knows nothing of the one after it.",
            "3. **Nulls.** The mended grid's best t value is exceeded by that of coin-flip worlds "
            f"with p = {mended['controls']['sign']['best_p']:.2f}; walk-forward: p = "
            f"{mended['controls']['sign']['walk_forward_p']:.2f}.",
            f"4. **Costs.** A trade of the mended grid's best rule nets "
            f"{money['levels']['zero']['net_pips']:+.2f} pips at no cost and "
            f"{money['levels']['measured']['net_pips']:+.2f} at 1.3; moves are "
            f"{money['mean_abs_move_pips']:.1f} pips, so {_percent(money['break_even_hit_rate'])} "
            "of calls would have to be right.",
            f"5. **Selection.** {chosen['trials']} settings were tried: SPA p = "
            f"{chosen['spa']['consistent']:.2f}, {len(chosen['stepm']['survivors'])} survive "
            f"StepM, Deflated Sharpe {_figure(chosen['deflated_sharpe']['value'])} of "
            f"{chosen['deflated_sharpe']['needed']:.2f} needed, walk-forward "
            f"{chosen['walk_forward']['net_a_day']:+.1f} ticks a day.",
            "",
            "## Verdicts",
            "",
            f"- leaky: {leaky['verdict']['text']} ({_failed(leaky)})",
            f"- mended: {mended['verdict']['text']} ({_failed(mended)})",
            "",
            "Lines that the mended evaluator fails: "
            + "; ".join(line["reason"] for line in refused)
            + ".",
            "",
            "Made by `sep study sixty-percent`; the same seed gives the same page.",
            "",
        ]
    )


def _windows(market: TimedBars, bars_late: int) -> tuple[dict[int, Ints], dict[int, Ints]]:
    """The sum of signs and the number of changes in each window that ends at each bar."""
    sign = np.sign(market.bars.close - market.bars.open)
    change = (sign != np.concatenate((sign[:1], sign[:-1]))).astype(np.int64)
    votes: dict[int, Ints] = {}
    flips: dict[int, Ints] = {}
    for window in WINDOWS:
        for source, out in ((sign, votes), (change, flips)):
            total = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(source)))
            rows = np.zeros(len(market), dtype=np.int64)
            if len(market) >= window:
                rows[window - 1 :] = total[window:] - total[:-window]
            # One bar late: row t holds the window that ends at bar t + 1.
            out[window] = np.concatenate((rows[bars_late:], np.zeros(bars_late, dtype=np.int64)))
    return votes, flips


def _most_hits(document: dict[str, Any]) -> dict[str, Any]:
    """The rule with the highest hit rate among those with 500 trades or more."""
    rules: Sequence[dict[str, Any]] = document["rules"]
    often = [{**rule, "number": k} for k, rule in enumerate(rules) if rule["trades"] >= 500]
    return max(often, key=lambda rule: float(rule["hit_rate"]))


def _percent(share: float | None) -> str:
    return "not available" if share is None else f"{100 * share:.2f} %"


def _figure(value: float | None) -> str:
    return "not available" if value is None else f"{value:.2f}"


def _gate_text(document: dict[str, Any]) -> str:
    gate = document["causality"]
    return f"no finding at {gate['truncations']} cuts" if gate["passed"] else "rejected again"


def _curve(document: dict[str, Any]) -> str:
    rates = {s["shift"]: s["hit_rate"] for s in document["direction"]["label_shift"]}
    return " → ".join(_percent(rates[shift]) for shift in (0, 1, 2))


def _failed(document: dict[str, Any]) -> str:
    lines = [line["line"]["name"] for line in document["verdict"]["lines"] if not line["passed"]]
    return f"fails {len(lines)} lines: {', '.join(lines)}"
