"""`evaluate`: everything that is asked of a family of rules on bars, and the verdict.

The report has eight sections, named as in SECTIONS, and is one JSON document. P&L in it is in
ticks of the bars, unless a name ends in `_pips`. Days are trading days. "The best" rule is the best
over all days, so its own figures flatter it; controls and selection say by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sep_engine import backends
from sep_engine.errors import ArgumentError
from sep_engine.evidence import causality, selection, splits, verdict
from sep_engine.evidence import statistics as st
from sep_engine.evidence.capacity import Volume, capacity
from sep_engine.evidence.causality import GateReport, Share, Subject
from sep_engine.evidence.choice import Choice, choose, forward_splits
from sep_engine.evidence.document import clustered, low_end, plain, ratio
from sep_engine.evidence.family import Family, last_bit_reversal
from sep_engine.evidence.market import TimedBars
from sep_engine.evidence.pipeline import t_values, walk_forward
from sep_engine.evidence.settings import Count, Settings
from sep_engine.evidence.simulation import (
    DaySums,
    Directions,
    Exit,
    Outcomes,
    Spread,
    outcomes,
    positions,
    round_trips,
)
from sep_engine.evidence.surrogates import Kind, permutation_p, words
from sep_engine.evidence.worlds import best_of_worlds, family_days, world_backend
from sep_engine.qfh import BackendName, coin_distribution, encode, rolling

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]

SECTIONS = (
    "provenance",
    "causality",
    "controls",
    "direction",
    "money",
    "selection",
    "metrics",
    "verdict",
)
_GPU_CHECK = "twin cuda"
_YEAR_NS = 365.25 * 86_400e9
_RANDOM_LANES = 20
_LARGEST = 20  # trades that are decided again


@dataclass(frozen=True, slots=True)
class RoundTripCosts:
    """What a round trip costs.

    spread: in ticks, >= 0, as measured (the median then) or, if `assumed`, as configured.
    pip: ticks in a pip, > 0.
    source: where the spread is from, for people.
    said: false if nobody said what the spread is; the report then holds all its figures at
        `spread`, and no verdict passes.
    """

    spread: int
    pip: float
    assumed: bool
    source: str
    said: bool = True

    def __post_init__(self) -> None:
        if self.spread < 0 or not self.pip > 0:
            raise ArgumentError(f"spread must be >= 0 and pip > 0, were {self.spread}, {self.pip}")


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What the whole search finds in one null world.

    best_t: t value of the best rule's daily P&L there, -inf when no rule traded.
    walk_forward_t: t value of the walk-forward.
    equity: (T,) running P&L of the best rule in ticks.
    """

    best_t: float
    walk_forward_t: float
    equity: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The verdict, and the JSON document that it stands on."""

    verdict: verdict.Verdict
    document: dict[str, Any]


def evaluate(
    market: TimedBars,
    family: Family,
    *,
    costs: RoundTripCosts,
    provenance: Mapping[str, Any],
    settings: Settings | None = None,
    count: Callable[[Sequence[float | None]], Count] | None = None,
    enough: Callable[[], bool] = lambda: False,
    worlds: Callable[[Kind, int], Iterable[World]] | None = None,
    spreads: Ints | None = None,
    volume: Volume | None = None,
    gate: GateReport | None = None,
    share: Share | None = None,
    backend: BackendName = "auto",
    progress: Progress = lambda part, done, total: None,
) -> Report:
    """Return the report on a family of rules.

    Args:
        market: at least 200 bars on at least 10 trading days.
        provenance: where the bars are from, JSON; `synthetic` true if they were generated.
        count: takes the Sharpe ratio per day of every rule, None where it has none, and returns
            what has been tried by now: the ledger's `record`. None counts this family alone.
        enough: asked by the causality gate after its fewest runs: has its time been used up?
        worlds: gives the worlds of a kind, as many as asked for and in their order, when they
            were computed elsewhere by `null_worlds`. None computes them here.
        spreads: (n,) the spread of each bar in ticks, where it was measured: each fill of every
            rule, in the null worlds too, then pays half of the spread of its own bar. None takes
            the one spread of `costs` for all. Where it lies from the bars' prices is a matter of
            `market.side`.
        volume: of the bars, for the note on capacity; None if they have none.
        gate: what `gate_report` found, when it was asked elsewhere. None asks here.
        share: does the runs of the causality gate, None in turn.
        backend: what searches null worlds; "auto" is a GPU if there is one. All give the same
            report, which names it in `computed_on`, where nothing but that depends on it.
        progress: called with the part's name, how much of it is done, and how much there is.

    Raises:
        BackendError: the backend was asked for by name and cannot run here.
        ArgumentError: the market is too short, or the settings do not fit it.
    """
    case = _case(market, family, costs, settings or Settings(), spreads)
    ratios = t_values(case.net) / math.sqrt(case.days)
    sharpes = [float(ratio) if math.isfinite(ratio) else None for ratio in ratios]
    counted = count(sharpes) if count else Count(len(family), 1)

    gpu = _gpu(family, backend)
    asked = gate or _gate(case.judged, enough, share, progress, on_gpu=gpu.columns)
    controls = _controls(case, worlds, backend, progress)
    progress("figures", 0, 3)
    direction = _direction(case)
    progress("figures", 1, 3)
    chosen = _selection(case, counted)
    progress("figures", 2, 3)
    money = _money(case, volume)
    figures: dict[str, float | None] = {
        "leaks": float(len(asked.findings)),
        "sign_flip_p": controls["sign"]["best_p"],
        "trades": float(direction["trades"]),
        "days": float(direction["days_traded"]),
        "gross_low": low_end(direction["gross"]),
        "beyond_low": low_end(direction["out_of_sample"]["difference"]),
        "net": money["levels"]["measured"]["net"] if costs.said else None,
        **case.choice.figures(counted),
    }
    synthetic = bool(provenance.get("synthetic", False))
    unsaid = {} if costs.said else {"net": "nobody said what a round trip costs"}
    judged = verdict.judge(figures, synthetic=synthetic, missing=unsaid)
    document: dict[str, Any] = plain(
        {
            "format": "sep-evidence-1",
            "synthetic": synthetic,
            "settings": asdict(case.settings),
            "costs": {**asdict(costs), "of_each_bar": spreads is not None, "side": market.side},
            "best": {
                "number": case.best,
                "name": family.names[case.best],
                "entry": family.exits[case.best].entry,
            },
            "rules": _rules(case),
            "provenance": {**provenance, **_description(case)},
            "causality": {
                **asdict(asked),
                # Whether a GPU was there is no matter of the rules.
                "checks": [check for check in asked.checks if check != _GPU_CHECK],
                "passed": asked.passed,
            },
            "computed_on": {
                "worlds": "elsewhere" if worlds else world_backend(family, backend),
                "gpu": gpu.found(asked, elsewhere=gate is not None),
            },
            "controls": controls,
            "direction": direction,
            "money": money,
            "selection": chosen,
            "metrics": _metrics(case),
            "verdict": {**asdict(judged), "figures": figures},
        }
    )
    progress("figures", 3, 3)
    return Report(judged, document)


@dataclass(frozen=True, slots=True)
class _Level:
    """A cost of a round trip: how many of the spreads that it met, and ticks beside them."""

    spreads: float = 0.0
    ticks: float = 0.0


def _levels(costs: RoundTripCosts) -> dict[str, _Level]:
    return {
        "zero": _Level(),
        "measured": _Level(spreads=1.0),
        "one pip": _Level(ticks=costs.pip),
        "twice measured": _Level(spreads=2.0),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A family at work on a market: what all sections start from."""

    market: TimedBars
    family: Family
    costs: RoundTripCosts
    settings: Settings
    spread: Spread
    day: Ints  # (n,) number of each bar's day
    day_labels: Ints  # (T,) days since 1970
    sums: DaySums
    choice: Choice
    decided: Directions  # (n,) of the best rule
    kept: dict[Exit, Outcomes] = field(default_factory=dict)

    @property
    def net(self) -> Floats:
        return self.choice.net

    @property
    def best(self) -> int:
        return self.choice.best

    @property
    def days(self) -> int:
        return int(self.day_labels.size)

    @property
    def judged(self) -> _Judged:
        return _Judged(self.market, self.family, self.best, self.settings, self.spread)

    def trades(self, rule: int) -> _Trades:
        decided = self.decided if rule == self.best else self.family.decided(rule, self.market)
        return _Trades.of(self.outcomes(self.family.exits[rule]), decided, self.day)

    def outcomes(self, leave: Exit) -> Outcomes:
        if leave not in self.kept:
            self.kept[leave] = outcomes(
                self.market.bars, leave, spread=self.spread, side=self.market.side
            )
        return self.kept[leave]

    def after(self, level: _Level) -> Floats:
        """(T, K) daily P&L at another cost."""
        gross = self.sums.gross.astype(np.float64)
        paid = gross - self.net
        return gross - level.spreads * paid - level.ticks * self.sums.trades


@dataclass(frozen=True, slots=True, eq=False)
class _Trades:
    """Trades of one rule: the bars that decided and ended them, days, gains before costs, spreads.

    A trade is entered in the bar after the one that decided it.
    """

    decided: Ints
    exited: Ints
    day: Ints
    gross: Floats
    paid: Floats

    @classmethod
    def of(cls, found: Outcomes, directions: Directions, day: Ints) -> _Trades:
        made = positions(found, directions)
        gross, paid = made.gross.astype(np.float64), made.cost.astype(np.float64)
        return cls(made.decided, made.exited, day[made.decided], gross, paid)

    def where(self, keep: npt.NDArray[np.bool_]) -> _Trades:
        return _Trades(
            self.decided[keep], self.exited[keep], self.day[keep], self.gross[keep], self.paid[keep]
        )

    def after(self, level: _Level) -> Floats:
        """Gains at another cost."""
        return self.gross - level.spreads * self.paid - level.ticks

    @property
    def hits(self) -> Floats:
        """1 for a gain, 0 for a loss; call it on trades that moved."""
        return (self.gross > 0).astype(np.float64)


def _case(
    market: TimedBars,
    family: Family,
    costs: RoundTripCosts,
    settings: Settings,
    spreads: Ints | None,
) -> _Case:
    labels, day = _days(market, family)
    spread = _spread(market, costs, spreads)
    sums = family_days(market, family, day=day, spread=spread)
    choice = choose(
        sums.net.astype(np.float64),
        years=float(market.times[-1] - market.times[0]) / _YEAR_NS,
        cut=_cut(market, family, settings, day=day),
        settings=settings,
    )
    return _Case(
        market=market,
        family=family,
        costs=costs,
        settings=settings,
        spread=spread,
        day=day,
        day_labels=labels,
        sums=sums,
        choice=choice,
        decided=family.decided(choice.best, market),
    )


def _spread(market: TimedBars, costs: RoundTripCosts, spreads: Ints | None) -> Spread:
    if spreads is None:
        return costs.spread
    if spreads.shape != (len(market),) or np.any(spreads < 0):
        raise ArgumentError(f"spreads must be ({len(market)},), >= 0, were {spreads.shape}")
    return spreads


def _days(market: TimedBars, family: Family) -> tuple[Ints, Ints]:
    """Return the trading days of a market, and the number of each bar's day."""
    labels, day = np.unique(market.days, return_inverse=True)
    bars_min = max(200, family.window + 2)
    if len(market) < bars_min or labels.size < 10:
        raise ArgumentError(
            f"evidence needs at least {bars_min} bars on 10 trading days, "
            f"there are {len(market)} on {labels.size}"
        )
    return labels, day


def _cut(market: TimedBars, family: Family, settings: Settings, *, day: Ints) -> splits.Guard:
    """Return purge and embargo in days: the most that so many bars reach, short days among them."""
    in_bars = splits.guard(
        horizon=family.horizon,
        window=family.window,
        purge=settings.purge_bars,
        embargo=settings.embargo_bars,
        reason=settings.reason,
    )
    return splits.Guard(
        # A position is left in the bar after the last that it holds through.
        splits.days_reached(day, in_bars.purge + 1 if in_bars.purge else 0),
        splits.days_reached(day, in_bars.embargo),
        in_bars.reason,
    )


def _description(case: _Case) -> dict[str, Any]:
    bars = case.market.bars
    return {
        "bars": len(case.market),
        "first_ns": int(case.market.times[0]),
        "last_ns": int(case.market.times[-1]),
        "days": case.days,
        "gaps": int(case.market.gap.sum()),
        "tie_share": float((np.diff(bars.close) == 0).mean()),
    }


def _rules(case: _Case) -> list[dict[str, Any]]:
    """Every rule, in the order of the family: the parameter surface."""
    sums, pip = case.sums, case.costs.pip
    trades, gross, net = (part.sum(axis=0) for part in (sums.trades, sums.gross, sums.net))
    return [
        {
            "name": name,
            "configuration": dict(configuration),
            "trades": int(trades[k]),
            "hit_rate": ratio(sums.won[k], sums.won[k] + sums.lost[k]),
            "gross": ratio(gross[k], trades[k]),
            "net": ratio(net[k], trades[k]),
            "net_one_pip": ratio(gross[k] - pip * trades[k], trades[k]),
            "net_twice": ratio(2 * net[k] - gross[k], trades[k]),
            "t_value": float(t),
        }
        for k, (name, configuration, t) in enumerate(
            zip(case.family.names, case.family.configurations, t_values(case.net), strict=True)
        )
    ]


# Section 2: causality.


@dataclass(frozen=True, slots=True)
class _Gpu:
    """The columns on a GPU, or why the gate does not compare them."""

    columns: Callable[[int, TimedBars], causality.Columns] | None
    name: str

    def found(self, gate: GateReport, *, elsewhere: bool) -> str:
        """Say what the gate found; `elsewhere`: whether it was asked on another machine."""
        if _GPU_CHECK not in gate.checks:
            return "not compared: no GPU there" if elsewhere else f"not compared: {self.name}"
        differ = any(finding.check == _GPU_CHECK for finding in gate.findings)
        found = "other columns" if differ else "the same columns"
        return found if elsewhere else f"{found} on {self.name}"


def _gpu(family: Family, backend: BackendName) -> _Gpu:
    cuda = next(one for one in backends() if one.name == "cuda")
    if not cuda.available:
        return _Gpu(None, cuda.detail)
    if backend not in ("auto", "cuda"):
        return _Gpu(None, f"backend {backend} was asked for")
    if family.on_gpu is None:
        return _Gpu(None, "the strategy has no form for a GPU")
    return _Gpu(family.on_gpu, cuda.detail)


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """What the gate judges: the best rule of a family on a market."""

    market: TimedBars
    family: Family
    best: int
    settings: Settings
    spread: Spread


def gate_report(
    market: TimedBars,
    family: Family,
    *,
    costs: RoundTripCosts,
    settings: Settings,
    spreads: Ints | None = None,
    enough: Callable[[], bool] = lambda: False,
    share: Share | None = None,
    progress: Progress = lambda part, done, total: None,
) -> GateReport:
    """Return what the causality gate says of the best rule, as `evaluate` asks it.

    Raises:
        ArgumentError: as for `evaluate`.
    """
    _, day = _days(market, family)
    spread = _spread(market, costs, spreads)
    net = family_days(market, family, day=day, spread=spread).net.astype(np.float64)
    best = int(t_values(net).argmax())
    judged = _Judged(market, family, best, settings, spread)
    return _gate(judged, enough, share, progress, on_gpu=_gpu(family, "auto").columns)


def _gate(
    judged: _Judged,
    enough: Callable[[], bool],
    share: Share | None,
    progress: Progress,
    *,
    on_gpu: Callable[[int, TimedBars], causality.Columns] | None,
) -> GateReport:
    family, best, settings = judged.family, judged.best, judged.settings
    spread = judged.spread
    stream = family.stream
    twins: dict[str, Callable[[TimedBars], causality.Columns]] = {}
    if stream is not None:
        twins["stream"] = lambda market: {"direction": stream(best, market)}
    if on_gpu is not None:
        twins["cuda"] = lambda market: on_gpu(best, market)
    report = causality.inspect(
        Subject(
            family.names[best],
            lambda market: family.columns(best, market),
            trades=lambda market: round_trips(
                market.bars,
                family.decided(best, market),
                family.exits[best],
                spread=spread if isinstance(spread, int) else spread[: len(market)],
                side=market.side,
            ),
            twins=twins,
            bars_min=family.window + 1,
            entry=family.exits[best].entry,
        ),
        judged.market.head(min(len(judged.market), settings.gate_bars)),
        truncations=settings.truncations,
        truncations_min=50 if family.bar_by_bar else settings.truncations,
        trade_points=settings.gate_trades,
        seed=settings.seed,
        enough=enough,
        share=share,
        progress=lambda done, total: progress("causality", done, total),
    )
    again, found = causality.decided_again(
        lambda market: family.decided(best, market),
        judged.market,
        _largest_gains(judged),
        enough=enough,
        share=share,
    )
    return replace(
        report,
        checks=(*report.checks, "largest"),
        findings=(*report.findings, *found),
        largest_again=again,
    )


def _largest_gains(judged: _Judged) -> Ints:
    """Return the bars that decided the best rule's trades of the largest gains, largest first."""
    market, family = judged.market, judged.family
    leave = family.exits[judged.best]
    made = positions(
        outcomes(market.bars, leave, spread=judged.spread, side=market.side),
        family.decided(judged.best, market),
    )
    return made.decided[np.argsort(-made.gross, kind="stable")[:_LARGEST]]


# Section 3: negative controls.


def null_worlds(
    market: TimedBars,
    family: Family,
    *,
    costs: RoundTripCosts,
    settings: Settings,
    kind: Kind,
    first: int,
    count: int,
    spreads: Ints | None = None,
    backend: BackendName = "auto",
) -> Iterator[World]:
    """Yield what the search finds in worlds `first` to `first + count - 1` of a kind.

    World k is the same whoever computes it, so that a range of them is a piece of work on its own.

    Raises:
        ArgumentError, BackendError: as for `evaluate`.
    """
    labels, day = _days(market, family)
    cut = _cut(market, family, settings, day=day)
    made = forward_splits(labels.size, cut=cut, settings=settings)
    cuts = [*(split.train.size for split in made), labels.size]
    for found in best_of_worlds(
        market,
        family,
        day=day,
        spread=_spread(market, costs, spreads),
        kind=kind,
        seed=settings.seed,
        first=first,
        count=count,
        cuts=cuts,
        backend=backend,
    ):
        equity = np.cumsum(found.days[-1], dtype=np.float64)
        yield World(float(found.t_values[-1]), found.forward(made).t_value, equity)


def _controls(
    case: _Case,
    worlds: Callable[[Kind, int], Iterable[World]] | None,
    backend: BackendName,
    progress: Progress,
) -> dict[str, Any]:
    best_t, forward_t = float(t_values(case.net).max()), case.choice.forward.t_value
    result: dict[str, Any] = {"observed": {"best_t": best_t, "walk_forward_t": forward_t}}
    total, done = sum(case.settings.surrogates.values()), 0
    for kind, count in case.settings.surrogates.items():
        found = []
        for world in worlds(kind, count) if worlds else _worlds(case, backend, kind, count):
            found.append(world)
            done += 1
            progress("controls", done, total)
        if len(found) != count:
            raise ArgumentError(f"{count} worlds of kind {kind} were wanted, {len(found)} given")
        null_best = [world.best_t for world in found]
        null_forward = [world.walk_forward_t for world in found]
        result[kind] = {
            "worlds": count,
            "best_p": permutation_p(best_t, null_best),
            "walk_forward_p": permutation_p(forward_t, null_forward),
            "best_t": sorted(null_best),
            "walk_forward_t": sorted(null_forward),
        }
        if kind == "sign":
            levels = np.quantile(
                np.stack([world.equity for world in found]), (0.05, 0.5, 0.95), axis=0
            )
            result["band"] = dict(zip(("low", "median", "high"), levels, strict=True))
    return result


def _worlds(case: _Case, backend: BackendName, kind: Kind, count: int) -> Iterator[World]:
    return null_worlds(
        case.market,
        case.family,
        costs=case.costs,
        settings=case.settings,
        kind=kind,
        first=0,
        count=count,
        spreads=None if isinstance(case.spread, int) else case.spread,
        backend=backend,
    )


# Section 4: direction.


def _direction(case: _Case) -> dict[str, Any]:
    trades = case.trades(case.best)
    moved = trades.where(trades.gross != 0)
    signals = int(np.count_nonzero(case.decided))
    labels, places = np.unique(moved.day, return_inverse=True)
    called_up = case.decided[moved.decided] > 0
    rate = float(moved.hits.mean()) if moved.day.size else 0.5
    return {
        "signals": signals,
        "coverage": signals / len(case.market),
        "trades": int(trades.day.size),
        "days_traded": int(np.unique(trades.day).size),
        "tie_share": ratio(trades.day.size - moved.day.size, trades.day.size),
        "hit_rate": clustered(moved.hits, moved.day),
        "hit_rate_if_independent": asdict(st.wilson(int(moved.hits.sum()), calls=moved.day.size))
        if moved.day.size
        else None,
        "signals_needed": st.signals_needed(rate) if rate not in (0.0, 0.5, 1.0) else None,
        "gross": clustered(trades.gross, trades.day),
        # One position at a time: outcomes do not overlap, so the test is valid.
        "pesaran_timmermann": asdict(
            st.pesaran_timmermann(called_up, called_up == (moved.gross > 0))
        )
        if moved.day.size >= 2
        else None,
        "baselines": _baselines(case, signals / len(case.market)),
        "out_of_sample": _out_of_sample(case),
        "by_day": {
            "day": case.day_labels[labels],
            "moved": np.bincount(places, minlength=labels.size),
            "hits": np.bincount(places, weights=moved.hits, minlength=labels.size),
        },
        "label_shift": [
            asdict(shifted)
            for shifted in causality.label_shift(
                case.decided, case.market, entry=case.family.exits[case.best].entry
            )
        ],
    }


def _baselines(case: _Case, rate: float) -> dict[str, Any]:
    """What leaving like the best rule gives to rules that know nothing, and to the last bit."""
    n = len(case.market)
    reversal = last_bit_reversal(case.market)
    raw = words(_RANDOM_LANES * n, seed=case.settings.seed, index=2**63).reshape(n, _RANDOM_LANES)
    called = (raw >> np.uint64(1)) < np.uint64(int(rate * (2**63 - 1)))
    random = np.where(called, 1 - 2 * (raw & np.uint64(1)).astype(np.int8), 0).astype(np.int8)
    columns = {"always up": np.ones_like(reversal), "last-bit reversal": reversal}
    columns["last-bit momentum"] = -reversal
    found = case.outcomes(case.family.exits[case.best])
    result: dict[str, Any] = {}
    for name, decided in columns.items():
        trades = _Trades.of(found, decided, case.day)
        moved = trades.where(trades.gross != 0)
        result[name] = {
            "trades": int(trades.day.size),
            "hit_rate": clustered(moved.hits, moved.day),
            "gross": clustered(trades.gross, trades.day),
        }
    chance = np.concatenate([positions(found, lane).gross for lane in random.T])
    won, lost = int((chance > 0).sum()), int((chance < 0).sum())
    result["random, same rate"] = {
        "trades": chance.size / _RANDOM_LANES,
        "hit_rate": ratio(won, won + lost),
        "gross": ratio(chance.sum(), chance.size),
    }
    return result


def _out_of_sample(case: _Case) -> dict[str, Any]:
    """Walk-forward that chooses by gross gain, beside last-bit reversal that leaves likewise."""
    forward = walk_forward(case.after(_Level()), case.choice.forward.splits)
    reversal = last_bit_reversal(case.market)
    kept: dict[Exit, _Trades] = {}
    picked: dict[int, _Trades] = {}
    ours: list[_Trades] = []
    theirs: list[_Trades] = []
    for split, pick in zip(forward.splits, forward.picks, strict=True):
        if pick is None:
            continue
        leave = case.family.exits[pick]
        if leave not in kept:
            kept[leave] = _Trades.of(case.outcomes(leave), reversal, case.day)
        if pick not in picked:
            picked[pick] = case.trades(pick)
        for trades, found in ((picked[pick], ours), (kept[leave], theirs)):
            tested = np.isin(trades.day, split.test) & (trades.gross != 0)
            found.append(trades.where(tested))
    hits, days = _joined(ours)
    base_hits, base_days = _joined(theirs)
    both = hits.size and base_hits.size and np.unique([*days, *base_days]).size >= 2
    return {
        "picks": [None if pick is None else case.family.names[pick] for pick in forward.picks],
        "hit_rate": clustered(hits, days),
        "last_bit_reversal": clustered(base_hits, base_days),
        "difference": asdict(
            st.clustered_difference(hits, days, others=base_hits, other_clusters=base_days)
        )
        if both
        else None,
    }


def _joined(parts: list[_Trades]) -> tuple[Floats, Ints]:
    if not parts:
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    return np.concatenate([p.hits for p in parts]), np.concatenate([p.day for p in parts])


# Section 5: money.


def _money(case: _Case, volume: Volume | None) -> dict[str, Any]:
    trades, costs = case.trades(case.best), case.costs
    gross = float(trades.gross.mean()) if trades.gross.size else None
    move = float(np.abs(trades.gross).mean()) if trades.gross.size else 0.0
    paid = float(trades.paid.mean()) if trades.paid.size else float(costs.spread)
    top = 3 * max(paid, costs.pip)
    levels = {}
    for name, level in _levels(costs).items():
        cost, net = level.spreads * paid + level.ticks, trades.after(level)
        mean = float(net.mean()) if net.size else None
        levels[name] = {
            "cost": cost,
            "cost_pips": cost / costs.pip,
            "net": mean,
            "net_pips": None if mean is None else mean / costs.pip,
            "interval": clustered(net, trades.day),
            "walk_forward_a_day": float(
                walk_forward(case.after(level), case.choice.forward.splits).pnl.mean()
            ),
        }
    return {
        "levels": levels,
        "mean_abs_move_pips": move / costs.pip,
        "break_even_hit_rate": st.break_even_hit_rate(cost=paid, mean_abs_move=move)
        if move > 0
        else None,
        "break_even_cost_pips": None if gross is None else gross / costs.pip,
        "trades_a_day": trades.day.size / case.days,
        "max_drawdown": st.max_drawdown(case.net[:, case.best]),
        "cost_curve": [
            {"cost_pips": cost / costs.pip, "net_pips": (gross - cost) / costs.pip}
            for cost in (np.linspace(0, top, 31) if gross is not None else ())
        ],
        "days": case.day_labels,
        "equity": np.cumsum(case.net[:, case.best]),
        "capacity": capacity(
            trades.decided + 1,
            trades.exited,
            bars=len(case.market),
            days=case.days,
            units=None if case.family.rules is None else case.family.rules[case.best].units,
            volume=volume,
        ),
    }


# Section 6: selection.


def _selection(case: _Case, counted: Count) -> dict[str, Any]:
    c = case.choice
    correlation = selection.mean_correlation(c.net)
    effective = st.effective_trials(counted.trials, mean_correlation=correlation)
    figures = c.figures(counted)
    means, deviations = c.path_pnl.mean(axis=1), c.path_pnl.std(axis=1)
    sharpes = np.divide(means, deviations, out=np.zeros_like(means), where=deviations > 0)
    names = case.family.names
    return {
        "trials": counted.trials,
        "look": counted.look,
        "rules": len(names),
        "mean_correlation": correlation,
        "effective_trials": effective,
        "guard_days": asdict(c.cut),
        "sharpe_a_year": c.annual_sharpe,
        "moments": asdict(c.moments) if c.moments else None,
        "probabilistic_sharpe": st.probabilistic_sharpe(c.moments) if c.moments else None,
        "deflated_sharpe": {
            "value": figures["deflated_sharpe"],
            "needed": figures["deflated_sharpe_needed"],
            "with_effective_trials": st.deflated_sharpe(c.moments, trials=effective)
            if c.moments
            else None,
        },
        "spa": {**asdict(c.superior), "block_days": c.block},
        "stepm": {
            "level": 0.05,
            "survivors": c.survivors,
            "names": [names[k] for k in c.survivors],
        },
        "overfitting": {
            "probability": figures["pbo"],
            "note": "" if c.overfit else "one rule: nothing was selected",
            "logit_quantiles": np.quantile(c.overfit.logits, np.linspace(0, 1, 41))
            if c.overfit
            else [],
        },
        "length": {"years": c.years, "years_needed": figures["years_needed"]},
        "walk_forward": {
            "net_a_day": figures["walk_forward_net"],
            "t_value": c.forward.t_value,
            "folds": [
                {
                    "first_day": case.day_labels[split.test[0]],
                    "days": split.test.size,
                    "pick": None if pick is None else names[pick],
                    "net": 0.0 if pick is None else c.net[split.test, pick].sum(),
                }
                for split, pick in zip(c.forward.splits, c.forward.picks, strict=True)
            ],
            "days": case.day_labels[c.forward.days],
            "equity": np.cumsum(c.forward.pnl),
        },
        "paths": {
            "folds": c.path_folds,
            "test_folds": case.settings.cv_test_folds,
            "median_a_day": figures["path_median"],
            "positive_share": ratio((means > 0).sum(), means.size),
            "sharpe_a_year": np.sort(sharpes * math.sqrt(c.days_a_year)),
            "reason": ""
            if c.path_folds
            else f"{case.days} days are too few for a purge of {c.cut.purge} "
            f"and an embargo of {c.cut.embargo}",
        },
    }


# Section 7: metrics.


def _metrics(case: _Case) -> dict[str, Any]:
    """How the metrics of the window in use lie in the coin's distribution."""
    market, family = case.market, case.family
    longest = max(rule.window for rule in family.rules) if family.rules else family.window
    window = min(max(longest, 8), 1024)
    bits = encode(market.closes, tick=market.tick, gap=market.gap).bits
    result: dict[str, Any] = {
        "window": window,
        "bits": int(bits.size),
        "up_share": ratio(bits.sum(), bits.size),
        "words": {
            str(length): asdict(st.word_test(bits, length=length))
            for length in (1, 3)
            if bits.size > length + 1
        },
        "coin": {},
    }
    metrics = rolling(market.closes, tick=market.tick, window=window, gap=market.gap)
    for name in ("coherence", "entropy", "rupture_ratio"):
        coin = coin_distribution(name, window)
        levels = np.asarray(coin.cumulative) * 100
        found = metrics.percentile(name)
        found = found[np.isfinite(found)]
        result["coin"][name] = {
            "bars": int(found.size),
            "deciles": np.histogram(found, bins=np.linspace(0, 100, 11))[0],
            "at_least": [
                {
                    "percentile": q,
                    "share": ratio((found >= q).sum(), found.size),
                    # The coin reaches q as often as it is not below it.
                    "coin": 1 - float(levels[levels < q].max(initial=0.0)) / 100,
                }
                for q in (80, 95)
            ],
        }
    return result
