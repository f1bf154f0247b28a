"""`evaluate`: what a list of trades, made by any program, says about an edge.

Trades alone cannot show how they were decided. What needs the rule itself (causality, walk-forward,
the comparison with everything else that was tried) is listed under "missing" with its reason, and
no figure stands in for it. What can be asked is asked here:

- Do the trades lie on the bars, in time and in price?
- Would the same positions, opened at random times, have gained as much? A position that begins
  while another is open stays together with it (an episode), so what happened at once happens at
  once in every world. Both are marked at the bars' opens: the first one at or after each fill, so
  that a fill inside a bar is credited with nothing that came before it. Programs that trade on bars
  stamp such a fill with the start of its bar: it is one where its price is not that bar's open.
- Would they have, with their directions chosen by coin, one coin an episode, at their own prices?
- What is left after costs, with days as clusters, and after the number of trials that is declared?

P&L is in ticks for one unit, weighted by each trade's units over their mean. It belongs to the
trading day on which its position was opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sep_engine.errors import ArgumentError
from sep_engine.evidence import statistics as st
from sep_engine.evidence import verdict
from sep_engine.evidence.capacity import Volume, capacity
from sep_engine.evidence.document import clustered, low_end, plain, ratio
from sep_engine.evidence.lab import RoundTripCosts
from sep_engine.evidence.market import TimedBars
from sep_engine.evidence.pipeline import t_values
from sep_engine.evidence.settings import Count
from sep_engine.evidence.surrogates import permutation_p, signs, uniforms
from sep_engine.evidence.verdict import Line
from sep_engine.model.calendar import trading_days

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

VERSION = "trades-1"
_TICK_DUST = 1e-3  # a price divided by its tick is whole to within this
_YEAR_NS = 365.25 * 86_400e9

TABLE: tuple[Line, ...] = (
    Line("matched", "edge", "provenance", "refused", "<=", 0, "every row is a trade on the bars"),
    Line(
        "random_times", "edge", "controls", "random_times_p", "<=", 0.05,
        "the trades gain more than the same positions opened at random times",
    ),
    Line(
        "coin_directions", "edge", "controls", "coin_p", "<=", 0.05,
        "they gain more than with directions chosen by coin",
    ),
    Line("trades", "edge", "direction", "trades", ">=", 30, "there are enough trades to judge"),
    Line("days", "edge", "direction", "days", ">=", 40, "they lie on enough trading days"),
    Line(
        "direction", "edge", "direction", "gross_low", ">", 0,
        "before costs a trade gains, by its day-clustered 95 % interval",
    ),
    Line(
        "money", "edge", "money", "net_low", ">", 0,
        "after costs a trade gains, by its day-clustered 95 % interval",
    ),
    Line(
        "deflated_sharpe", "edge", "selection", "deflated_sharpe", ">=", "deflated_sharpe_needed",
        "its Sharpe ratio stands up to the declared number of trials",
    ),
    Line(
        "length", "edge", "selection", "years", ">=", "years_needed",
        "the trades span long enough for its Sharpe ratio to mean anything",
    ),
    Line(
        "beyond_reversal", "beyond", "direction", "beyond_low", ">", 0,
        "it hits more often than last-bit reversal at the same times, by the 95 % interval",
    ),
)  # fmt: skip

MISSING: Mapping[str, str] = {
    "causality": "whether a decision used later prices shows only when the rule runs again on "
    "bars that were cut or poisoned",
    "walk_forward": "choosing on the past and trading on what came next needs all the rules that "
    "were chosen among",
    "paths": "so does combinatorial cross-validation",
    "spa": "and so do SPA and StepM, which compare the best with all the others",
    "overfitting": "and the probability of overfitting",
    "parameters": "no neighbouring parameters are known, so no surface is drawn",
}


@dataclass(frozen=True, slots=True, eq=False)
class TradeList:
    """N closed trades in the order of their opening, as they were filled.

    Attributes:
        opened, closed: (N,) int64 nanoseconds since 1970 UTC; opened is not decreasing.
        direction: (N,) int64, 1 or -1.
        entry, exit: (N,) float64 fill prices in ticks of the bars.
        weight: (N,) float64 > 0, each trade's units over their mean; ones if units are unknown.
        fees: (N,) float64 ticks paid beside the prices, NaN where that is not known.
    """

    opened: Ints
    closed: Ints
    direction: Ints
    entry: Floats
    exit: Floats
    weight: Floats
    fees: Floats

    def __post_init__(self) -> None:
        shapes = {
            column.shape
            for column in (
                self.opened, self.closed, self.direction, self.entry, self.exit, self.weight,
                self.fees,
            )
        }  # fmt: skip
        if len(shapes) != 1 or self.opened.ndim != 1:
            raise ArgumentError(f"the columns of a trade list must be (N,), were {shapes}")
        if (np.diff(self.opened) < 0).any() or (self.closed < self.opened).any():
            raise ArgumentError("trades must be ordered by opening and close after they open")

    def __len__(self) -> int:
        return int(self.opened.size)

    def where(self, keep: Bools) -> TradeList:
        """Return the trades where `keep` is true, weights unchanged."""
        return TradeList(
            self.opened[keep], self.closed[keep], self.direction[keep], self.entry[keep],
            self.exit[keep], self.weight[keep], self.fees[keep],
        )  # fmt: skip

    @property
    def gross(self) -> Floats:
        """(N,) ticks gained for one unit, as filled."""
        return self.direction * (self.exit - self.entry)


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict, and the JSON document that it stands on."""

    verdict: verdict.Verdict
    document: dict[str, Any]


def mismatches(
    market: TimedBars, trades: TradeList, *, duration_ns: int, tolerance_ticks: float
) -> list[str]:
    """Return (N,) why each trade does not lie on the bars, "" where it does.

    A fill belongs to the bar that is running, one on the boundary of two bars to both. Its price
    may lie `tolerance_ticks` outside their range: bars of one side do not show the other.
    """
    reasons = [""] * len(trades)
    for name, at, price in (
        ("opened", trades.opened, trades.entry),
        ("closed", trades.closed, trades.exit),
    ):
        bar = np.searchsorted(market.times, at, side="right") - 1
        runs = (bar >= 0) & (at < market.times[bar] + duration_ns)
        ends = np.searchsorted(market.times + duration_ns, at)
        ended = np.minimum(ends, len(market) - 1)
        just_ended = (ends < len(market)) & (market.times[ended] + duration_ns == at)
        low = np.full(len(trades), np.inf)
        high = np.full(len(trades), -np.inf)
        for place, here in ((bar, runs), (ended, just_ended)):
            low = np.where(here, np.minimum(low, market.bars.low[place]), low)
            high = np.where(here, np.maximum(high, market.bars.high[place]), high)
        off = np.maximum(low - price, price - high)
        for row in np.flatnonzero(~(off <= tolerance_ticks + _TICK_DUST)):
            if reasons[row]:
                continue
            if np.isinf(low[row]):
                reasons[row] = f"{name} when there is no bar"
            else:
                # Prices to the tick's own digits; floats show more than there is.
                reasons[row] = (
                    f"{name} at {price[row] * market.tick:.10g}, outside its bar's "
                    f"{low[row] * market.tick:.10g}..{high[row] * market.tick:.10g}"
                )
    return reasons


def evaluate(
    market: TimedBars,
    trades: TradeList,
    *,
    costs: RoundTripCosts,
    duration_ns: int,
    tolerance_ticks: float,
    refused: int,
    provenance: Mapping[str, Any],
    declared_trials: int | None,
    volume: Volume | None = None,
    worlds: int = 500,
    seed: int = 0,
    count: Callable[[float | None], Count] | None = None,
    progress: Callable[[str, int, int], None] = lambda part, done, total: None,
) -> Report:
    """Return the report on trades that lie on the bars (`mismatches` found nothing in them).

    Args:
        costs: what a round trip costs beside the fill prices and fees.
        duration_ns, tolerance_ticks: as for `mismatches`.
        refused: rows of the export that are not among `trades`.
        volume: of the bars, None if they have none.
        declared_trials: how many strategies were tried before this one was shown, itself
            included; None if nobody says, which no verdict passes.
        count: takes the Sharpe ratio per day and returns what the ledger holds for these bars.

    Raises:
        ArgumentError: fewer than 2 trades, or trades on fewer than 2 days.
    """
    if worlds < 19 or (declared_trials is not None and declared_trials < 1):
        raise ArgumentError(f"worlds must be >= 19 and trials >= 1: {worlds}, {declared_trials}")
    case = _Case.of(market, trades, costs, duration_ns, tolerance_ticks)
    m = st.moments(case.daily_net) if case.known_net and case.daily_net.std() > 0 else None
    counted = count(None if m is None else m.sharpe) if count else Count(1, 1)
    # What the ledger holds besides these trades was tried on the same bars as well.
    tried = None if declared_trials is None else declared_trials + counted.trials - 1
    controls = _controls(case, worlds, seed, progress)
    direction, money = _direction(case), _money(case, volume)
    selection = _selection(case, m, tried, declared_trials, counted)
    figures: dict[str, float | None] = {
        "refused": float(refused),
        "random_times_p": controls["random_times"]["p"],
        "coin_p": controls["coin"]["p"],
        "trades": float(len(trades)),
        "days": float(direction["days_traded"]),
        "gross_low": low_end(direction["gross"]),
        "net_low": low_end(money["net"]),
        "deflated_sharpe": selection["deflated_sharpe"]["value"],
        "deflated_sharpe_needed": selection["deflated_sharpe"]["needed"],
        "years": case.years,
        "years_needed": selection["length"]["years_needed"],
        "beyond_low": low_end(direction["beyond_last_bit_reversal"]),
    }
    synthetic = bool(provenance.get("synthetic", False))
    unsaid = {} if costs.said else {"net_low": "nobody said what a round trip costs"}
    judged = _judged(figures, synthetic=synthetic, missing=unsaid)
    document: dict[str, Any] = plain(
        {
            "format": "sep-trades-1",
            "synthetic": synthetic,
            "settings": {"worlds": worlds, "seed": seed, "declared_trials": declared_trials},
            "costs": asdict(costs),
            "provenance": {
                **provenance,
                "bars": len(market),
                "trades": len(trades),
                "refused": refused,
                "first_opened_ns": trades.opened[0],
                "last_closed_ns": trades.closed.max(),
            },
            "controls": controls,
            "direction": direction,
            "money": money,
            "selection": selection,
            "missing": dict(MISSING),
            "verdict": {**asdict(judged), "figures": figures},
        }
    )
    return Report(judged, document)


def _judged(
    figures: Mapping[str, float | None], *, synthetic: bool, missing: Mapping[str, str]
) -> verdict.Verdict:
    lines = verdict.judge_lines(TABLE, figures, missing)
    edge = all(j.passed for j in lines if j.line.question == "edge")
    beyond = edge and all(j.passed for j in lines if j.line.question == "beyond")
    if not edge:
        text = "No evidence of edge after costs in these trades."
    else:
        reach = "beyond" if beyond else "not shown to go beyond"
        text = (
            f"Evidence of an edge after costs in these trades, {reach} last-bit reversal; "
            "whether their rule looks ahead, trades cannot say."
        )
    return verdict.Verdict(
        VERSION, edge, beyond, f"SYNTHETIC: {text}" if synthetic else text, lines
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """Trades at their places among the bars, and the days that they span.

    first, last: bars (n for the end of the data) at whose opens a trade is marked.
    mark: (n + 1,) opens in ticks, then the last close.
    day: (n + 1,) number of each bar's trading day from that of the first trade on.
    episode: (N,) number of the episode of each trade.
    """

    market: TimedBars
    trades: TradeList
    costs: RoundTripCosts
    first: Ints
    last: Ints
    mark: Floats
    day: Ints
    day_labels: Ints
    opened_day: Ints
    episode: Ints
    known: Ints  # (N,) last bar that was complete when the trade opened

    @classmethod
    def of(
        cls,
        market: TimedBars,
        trades: TradeList,
        costs: RoundTripCosts,
        duration_ns: int,
        tolerance_ticks: float,
    ) -> _Case:
        n = len(market)
        opened_days = trading_days(trades.opened)
        if len(trades) < 2 or opened_days[0] == opened_days[-1]:
            raise ArgumentError(
                f"evidence needs at least 2 trades on 2 trading days, there are {len(trades)}"
            )
        mark = np.append(market.bars.open, market.bars.close[-1]).astype(np.float64)
        times = np.append(market.times, np.iinfo(np.int64).max)
        tolerance = tolerance_ticks + _TICK_DUST

        def next_open(at: Ints, price: Floats) -> Ints:
            place = np.searchsorted(market.times, at)
            inside = (times[place] == at) & (np.abs(price - mark[place]) > tolerance)
            return np.asarray(np.minimum(place + inside, n), dtype=np.int64)

        first = next_open(trades.opened, trades.entry)
        last = np.maximum(first, next_open(trades.closed, trades.exit))
        days = market.days
        inside = (days >= opened_days[0]) & (days <= opened_days[-1])
        labels = np.unique(np.concatenate((days[inside], opened_days)))
        day = np.searchsorted(labels, np.append(days, days[-1]))
        # An episode begins where everything before it is closed.
        closed_before = np.maximum.accumulate(trades.closed)[:-1]
        begins = np.append(True, trades.opened[1:] >= closed_before)
        return cls(
            market=market,
            trades=trades,
            costs=costs,
            first=first,
            last=last,
            mark=mark,
            day=np.minimum(day, labels.size - 1),
            day_labels=labels,
            opened_day=np.searchsorted(labels, opened_days),
            episode=np.cumsum(begins) - 1,
            known=np.minimum(
                np.searchsorted(market.times + duration_ns, trades.opened, side="right"), n
            )
            - 1,
        )

    @property
    def marked(self) -> Floats:
        """(N,) ticks gained for one unit, both sides marked at the bars' opens."""
        return self.trades.direction * (self.mark[self.last] - self.mark[self.first])

    @property
    def cost(self) -> Floats:
        """(N,) ticks that each trade costs; NaN where its fees are unknown."""
        return self.costs.spread + self.trades.fees

    @property
    def known_net(self) -> bool:
        return self.costs.said and not bool(np.isnan(self.trades.fees).any())

    @property
    def net(self) -> Floats:
        """(N,) weighted ticks after costs."""
        return self.trades.weight * (self.trades.gross - self.cost)

    @property
    def daily_net(self) -> Floats:
        """(T,) weighted ticks after costs of each day in the span, those without a trade too."""
        return self.by_day(self.net)

    @property
    def years(self) -> float:
        return float(self.trades.closed.max() - self.trades.opened[0]) / _YEAR_NS

    def by_day(self, values: Floats, day: Ints | None = None) -> Floats:
        place = self.opened_day if day is None else day
        sums = np.bincount(place, weights=values, minlength=self.day_labels.size)
        return np.asarray(sums, dtype=np.float64)


# Section 3: negative controls.


def _controls(
    case: _Case, worlds: int, seed: int, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    marked = case.trades.weight * case.marked
    gross = case.trades.weight * case.trades.gross
    observed_marked, observed_gross = _t(case.by_day(marked)), _t(case.by_day(gross))
    elsewhere, by_coin, equity = [], [], []
    cost = np.nan_to_num(case.trades.weight * case.cost)
    episodes = int(case.episode[-1]) + 1
    for world in range(worlds):
        begun, gained = _replaced(case, seed=seed, index=2 * world)
        daily = case.by_day(gained, case.day[begun])
        elsewhere.append(_t(daily))
        equity.append(np.cumsum(daily - case.by_day(cost, case.day[begun])))
        coin = signs(episodes, seed=seed, index=2 * world + 1)[case.episode]
        by_coin.append(_t(case.by_day(gross * coin)))
        progress("controls", world + 1, worlds)
    held = case.last - case.first
    levels = np.quantile(np.stack(equity), (0.05, 0.5, 0.95), axis=0)
    return {
        "episodes": episodes,
        "random_times": {
            "worlds": worlds,
            "observed_t": observed_marked,
            "p": permutation_p(observed_marked, elsewhere) if (held > 0).mean() >= 0.5 else None,
            "reason": ""
            if (held > 0).mean() >= 0.5
            else "most trades open and close inside one bar: finer bars are needed",
            "t": sorted(elsewhere),
        },
        "coin": {
            "worlds": worlds,
            "observed_t": observed_gross,
            "p": permutation_p(observed_gross, by_coin),
            "t": sorted(by_coin),
        },
        "band": dict(zip(("low", "median", "high"), levels, strict=True)),
    }


def _replaced(case: _Case, *, seed: int, index: int) -> tuple[Ints, Floats]:
    """Return the bars at which the trades begin in one world of random times, and their gains.

    The episodes come in random order with random pauses between them, in the bars that the trades
    span; inside an episode nothing changes but its place.
    """
    count = int(case.episode[-1]) + 1
    begins = np.flatnonzero(np.diff(case.episode, prepend=-1))
    start = case.first[begins]
    length = np.maximum.reduceat(case.last, begins) - start
    low, high = int(start[0]), int((start + length).max())
    free = high - low - int(length.sum())
    drawn = uniforms(2 * count, seed=seed, index=index)
    order = np.argsort(drawn[:count], kind="stable")
    pauses = np.sort((drawn[count:] * (free + 1)).astype(np.int64))
    placed = np.empty(count, dtype=np.int64)
    placed[order] = low + pauses + np.append(0, np.cumsum(length[order])[:-1])
    shift = (placed - start)[case.episode]
    first, last = case.first + shift, case.last + shift
    gained = case.trades.direction * (case.mark[last] - case.mark[first])
    return first, case.trades.weight * gained


def _t(daily: Floats) -> float:
    value = float(t_values(daily[:, None])[0])
    return value if np.isfinite(value) else 0.0


# Section 4: direction.


def _direction(case: _Case) -> dict[str, Any]:
    trades, day = case.trades, case.opened_day
    gross = trades.gross
    moved = gross != 0
    hits = (gross[moved] > 0).astype(np.float64)
    labels, places = np.unique(day[moved], return_inverse=True)
    went_up = case.mark[case.last] - case.mark[case.first]
    reversal = -_last_bits(case)
    both = (went_up != 0) & (reversal != 0)
    ours = (trades.direction * went_up > 0)[both].astype(np.float64)
    theirs = (reversal * went_up > 0)[both].astype(np.float64)
    shared = day[both]
    up = (went_up > 0)[went_up != 0].astype(np.float64)
    return {
        "trades": len(trades),
        "bought_share": ratio((trades.direction > 0).sum(), len(trades)),
        "days_traded": int(np.unique(day).size),
        "hit_rate": clustered(hits, day[moved]),
        "hit_rate_if_independent": asdict(st.wilson(int(hits.sum()), calls=hits.size))
        if hits.size
        else None,
        "gross": clustered(trades.weight * gross, day),
        "marked": clustered(trades.weight * case.marked, day),
        "fills_beyond_bars": clustered(trades.weight * (gross - case.marked), day),
        "baselines": {
            "always up": clustered(up, day[went_up != 0]),
            "last-bit reversal": clustered(theirs, shared),
            "last-bit momentum": clustered(1 - theirs, shared),
        },
        "hit_rate_marked": clustered(ours, shared),
        # Both call the same moves, so the difference of each pair is one value of its day.
        "beyond_last_bit_reversal": clustered(ours - theirs, shared),
        "by_day": {
            "day": case.day_labels[labels],
            "moved": np.bincount(places, minlength=labels.size),
            "hits": np.bincount(places, weights=hits, minlength=labels.size),
        },
    }


def _last_bits(case: _Case) -> Ints:
    """(N,) direction of the newest move of the closes that was complete at the opening, or 0."""
    steps = np.sign(np.diff(case.market.bars.close, prepend=case.market.bars.close[:1]))
    moved = np.where(steps != 0, np.arange(steps.size), 0)
    newest = steps[np.maximum.accumulate(moved)]
    return np.where(case.known >= 0, newest[np.maximum(case.known, 0)], 0).astype(np.int64)


# Section 5: money.


def _money(case: _Case, volume: Volume | None) -> dict[str, Any]:
    trades, costs, day = case.trades, case.costs, case.opened_day
    gross = trades.weight * trades.gross
    move = float(np.abs(trades.gross).mean())
    mean = float(gross.mean())
    known = case.known_net
    cost = float((trades.weight * case.cost).mean()) if known else None
    span_days = case.day_labels.size
    return {
        "net": clustered(case.net, day) if known else None,
        "cost": cost,
        "cost_pips": None if cost is None else cost / costs.pip,
        "fees_pips": float((trades.weight * trades.fees).mean()) / costs.pip if known else None,
        "gross_pips": mean / costs.pip,
        "net_pips": None if cost is None else (mean - cost) / costs.pip,
        "mean_abs_move_pips": move / costs.pip,
        "break_even_hit_rate": st.break_even_hit_rate(cost=max(cost, 0.0), mean_abs_move=move)
        if cost is not None and move > 0
        else None,
        "break_even_cost_pips": mean / costs.pip,
        "trades_a_day": len(trades) / span_days,
        "largest_weight": float(trades.weight.max()),
        "max_drawdown": st.max_drawdown(case.daily_net) if known else None,
        "days": case.day_labels,
        "equity": np.cumsum(case.daily_net) if known else [],
        "cost_curve": [
            {"cost_pips": level / costs.pip, "net_pips": (mean - level) / costs.pip}
            for level in np.linspace(0, 3 * max(cost or 0.0, costs.pip), 31)
        ],
        "capacity": capacity(
            *(
                np.maximum(np.searchsorted(case.market.times, times, side="right") - 1, 0)
                for times in (trades.opened, trades.closed)
            ),
            bars=len(case.market),
            days=span_days,
            volume=volume,
        ),
    }


# Section 6: selection.


def _selection(
    case: _Case,
    m: st.Moments | None,
    tried: int | None,
    declared: int | None,
    counted: Count,
) -> dict[str, Any]:
    days_a_year = case.day_labels.size / case.years if case.years > 0 else 0.0
    annual = None if m is None else m.sharpe * float(np.sqrt(days_a_year))
    needed = value = years = None
    if tried is not None and m is not None:
        value = st.deflated_sharpe(m, trials=tried)
        needed = verdict.deflated_sharpe_needed(trials=tried, look=counted.look)
        if annual is not None and annual > 0:
            years = st.min_backtest_years(tried, annual_sharpe=annual)
    return {
        "declared_trials": declared,
        "trials": tried,
        "ledger_trials": counted.trials,
        "look": counted.look,
        "sharpe_a_year": annual,
        "moments": None if m is None else asdict(m),
        "probabilistic_sharpe": None if m is None else st.probabilistic_sharpe(m),
        "deflated_sharpe": {"value": value, "needed": needed},
        "length": {"years": case.years, "years_needed": years},
        "note": ""
        if declared is not None
        else "how many strategies were tried is not declared: name it with --trials",
    }
