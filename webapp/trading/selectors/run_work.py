"""What a run computes: its pieces, and what comes of each.

A piece is JSON in and JSON out, so that any worker can do it: evidence searches ranges of null
worlds and then writes the report, a sweep tries ranges of rules and then ranks them all.
What loads SciPy and Matplotlib is imported where it is used: the web server only plans.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

import sep_engine
from sep_engine import ledger
from sep_engine.backtest import ENTRIES, Costs, Entry, Grid, run, sweep
from sep_engine.backtest import configuration as rule_configuration
from sep_engine.errors import ArgumentError
from sep_engine.ledger import Tried
from sep_engine.model.calendar import trading_days
from sep_engine.model.hours import TradingHours
from sep_engine.model.times import from_ns
from sep_engine.signals import Rule
from webapp.trading.selectors.run_data import Material, whole_ticks
from webapp.trading.wire import time_text

if TYPE_CHECKING:
    from sep_engine.evidence import lab
    from sep_engine.evidence.family import Family
    from sep_engine.evidence.settings import Count, Settings
    from sep_engine.evidence.surrogates import Kind

Json = dict[str, Any]
Ints = NDArray[np.int64]
Progress = Callable[[float], None]
Record = Callable[[Sequence[ledger.Trial], Mapping[str, object]], Tried]

# A piece is some seconds of work, so that a process of its own costs little beside it.
_CELLS_A_PIECE = 3_000_000_000  # bars times rules times worlds
_BARS_A_PIECE = 2_000_000_000  # bars times rules of a sweep
_PIECES_MAX = 2_000
_NULLS: dict["Kind", int] = {"walk": 50, "iaaft": 50}
# The causality gate runs its fewest cuts always and more while there is time.
_GATE_S = 30.0
_BEST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Work:
    """A piece. `stage` n begins when every piece of the stages before is done."""

    stage: int
    content: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run found.

    Attributes:
        document: JSON text; page: HTML.
        edge: the verdict, None for what is none.
        text: one line.
        summary: {"sections": [{"name", "text"}], "figures": [{"name", "value", "unit"}]}.
    """

    document: str
    page: str
    edge: bool | None
    text: str
    summary: Json


def plan(kind: str, configuration: Mapping[str, Any], *, bars: int) -> list[Work]:
    """Return the pieces of a run, in their order."""
    pieces: list[Json] = []
    if kind == "evidence":
        rules = len(_family(configuration))
        a_piece = max(1, _CELLS_A_PIECE // (bars * rules))
        pieces.append({"gate": True})
        for null, count in _settings(configuration, seed=0).surrogates.items():
            pieces += [{"null": null, **part} for part in _parts(count, a_piece)]
    elif kind == "sweep":
        grid = Grid.from_json(configuration["grid"])
        pieces += _parts(len(grid), max(1, _BARS_A_PIECE // bars))
    return [*(Work(0, piece) for piece in pieces), Work(1, {"report": kind})]


def name_of(kind: str, configuration: Mapping[str, Any], title: str) -> str:
    """Return what a run is about, for people."""
    if kind == "evidence":
        names = _family(configuration).names
        what = names[0] if len(names) == 1 else f"{len(names):,} rules"
    elif kind == "sweep":
        what = f"{len(Grid.from_json(configuration['grid'])):,} rules"
    else:
        from sep_engine.evidence.family import rule_name

        what = rule_name(Rule.from_json(configuration["rule"]))
    more = ""
    if configuration["spread_pips"] is not None:
        more += f", spread {configuration['spread_pips']}"
    if configuration.get("cost_pips") is not None:
        more += f", {configuration['cost_pips']} a side"
    if kind == "backtest" and configuration.get("entry") == "close":
        more += ", entered at the close"
    if "session" in configuration:
        more += f", {configuration['session']}"
    return f"{what} on {title}{more}"[:200]


def piece_result(
    work: Mapping[str, Any],
    *,
    kind: str,
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    progress: Progress,
) -> Json:
    """Return what a piece of stage 0 finds.

    Raises:
        SepError: the bars are too few, or a setting does not fit them.
    """
    if kind == "evidence" and "gate" in work:
        return _gate(configuration, seed, given, progress)
    if kind == "evidence":
        return _worlds(work, configuration, seed, given, progress)
    return _tried(work, configuration, given, progress)


def answer(
    *,
    kind: str,
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    found: Sequence[Mapping[str, Any]],
    record: Record,
    progress: Progress,
) -> Answer:
    """Return what the run found, from what its pieces found.

    record: the ledger; takes every configuration tried, and what else makes this another look, and
        says how many there were by now.
    """
    if kind == "evidence":
        return _evidence(configuration, seed, given, found, record, progress)
    if kind == "sweep":
        return _sweep(configuration, given, found, record)
    return _backtest(configuration, given, record)


def _parts(count: int, a_piece: int) -> list[Json]:
    """Cut 0..count into ranges as equal as can be, of at most `a_piece`, at most _PIECES_MAX."""
    pieces = min(_PIECES_MAX, -(-count // a_piece))
    edges = [count * k // pieces for k in range(pieces + 1)]
    return [{"first": first, "count": end - first} for first, end in itertools.pairwise(edges)]


# Evidence.


def _family(configuration: Mapping[str, Any]) -> "Family":
    from sep_engine.evidence.family import default_rules, rule_family

    if configuration["grid"] is not None:
        grid = Grid.from_json(configuration["grid"])
        return rule_family(list(grid.rules()), [grid.entry_of(k) for k in range(len(grid))])
    rules = configuration["rules"]
    made = default_rules() if rules is None else [Rule.from_json(rule) for rule in rules]
    return rule_family(made, [_entry(configuration)] * len(made))


def _entry(configuration: Mapping[str, Any]) -> Entry:
    entry: Entry = configuration.get("entry", "open")
    return entry


def _judged(configuration: Mapping[str, Any], given: Material) -> "Family":
    """Return the rules that are asked about, within their hours."""
    family, counts = _family(configuration), session_counts(configuration, given)
    if counts is not None:
        family = family.within(lambda market: counts[: len(market)], _hours(configuration))
    return family.folded(configuration["folds"])


def _hours(configuration: Mapping[str, Any]) -> dict[str, object]:
    """Return what a configuration says of hours, for the ledger: nothing where it has none."""
    return {"session": configuration["session"]} if "session" in configuration else {}


def session_counts(configuration: Mapping[str, Any], given: Material) -> NDArray[np.bool_] | None:
    """Return (n,) bool: whether a bar ends within the hours that were asked for; None for all.

    Raises:
        ArgumentError: none does.
    """
    if "session" not in configuration:
        return None
    counts = TradingHours.of(configuration["session"]).contain(given.bars.ends)
    if not counts.any():
        raise ArgumentError(f"no bar of {given.title} ends within {configuration['session']}")
    return counts


def _settings(configuration: Mapping[str, Any], *, seed: int) -> "Settings":
    from sep_engine.evidence.settings import Settings

    return Settings(
        seed=seed,
        folds=configuration["folds"],
        surrogates={"sign": configuration["surrogates"], **_NULLS},
    )


def _costs(configuration: Mapping[str, Any], given: Material) -> "lab.Costs":
    from sep_engine.evidence import lab

    spread, assumed = given.spread_ticks(configuration["spread_pips"])
    if configuration["spread_pips"] is not None:
        source = "given with the request"
    else:
        source = "assumed for these bars" if assumed else "median of these bars' closes"
    return lab.Costs(spread, given.pip_ticks(), assumed, source)


def _spreads(configuration: Mapping[str, Any], given: Material) -> "Ints | None":
    """Return each bar's spread in ticks, where it was measured and nothing else was asked for."""
    return given.spreads if configuration["spread_pips"] is None else None


def _gate(configuration: Mapping[str, Any], seed: int, given: Material, progress: Progress) -> Json:
    from sep_engine.evidence import lab
    from sep_engine.evidence.market import Market

    started = time.monotonic()
    report = lab.gate_report(
        Market.of(given.bars, side=given.side),
        _judged(configuration, given),
        costs=_costs(configuration, given),
        settings=_settings(configuration, seed=seed),
        spreads=_spreads(configuration, given),
        enough=lambda: time.monotonic() - started > _GATE_S,
        progress=lambda part, done, total: progress(done / total),
    )
    return {"gate": asdict(report)}


def _worlds(
    work: Mapping[str, Any],
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    progress: Progress,
) -> Json:
    from sep_engine.evidence import lab
    from sep_engine.evidence.market import Market

    found = []
    for world in lab.null_worlds(
        Market.of(given.bars, side=given.side),
        _judged(configuration, given),
        costs=_costs(configuration, given),
        settings=_settings(configuration, seed=seed),
        kind=work["null"],
        first=work["first"],
        count=work["count"],
        spreads=_spreads(configuration, given),
    ):
        # Spreads are whole ticks, so the running P&L is whole too.
        equity = [int(value) for value in world.equity]
        best = world.best_t if math.isfinite(world.best_t) else None
        found.append({"best_t": best, "walk_forward_t": world.walk_forward_t, "equity": equity})
        progress(len(found) / work["count"])
    return {"null": work["null"], "first": work["first"], "worlds": found}


def _evidence(
    configuration: Mapping[str, Any],
    seed: int,
    given: Material,
    found: Sequence[Mapping[str, Any]],
    record: Record,
    progress: Progress,
) -> Answer:
    from sep_engine.evidence import lab
    from sep_engine.evidence.capacity import Volume
    from sep_engine.evidence.causality import GateReport
    from sep_engine.evidence.market import Market
    from sep_engine.evidence.settings import Count
    from sep_engine.report import verdict_page
    from sep_engine.report.verdict import section_lines

    family, bars = _judged(configuration, given), given.bars
    settings = _settings(configuration, seed=seed)

    def worlds(kind: "Kind", count: int) -> "list[lab.World]":
        pieces = sorted(
            (piece for piece in found if piece.get("null") == kind),
            key=lambda piece: piece["first"],
        )
        return [
            lab.World(
                -math.inf if world["best_t"] is None else world["best_t"],
                world["walk_forward_t"],
                np.array(world["equity"], dtype=np.float64),
            )
            for piece in pieces
            for world in piece["worlds"]
        ]

    def count(sharpes: Sequence[float | None]) -> "Count":
        tried = record(
            [
                ledger.Trial(dict(one), sharpe)
                for one, sharpe in zip(family.configurations, sharpes, strict=True)
            ],
            settings.unusual,
        )
        return Count(tried.trials, tried.look)

    report = lab.evaluate(
        Market.of(bars, side=given.side),
        family,
        costs=_costs(configuration, given),
        provenance={
            "name": bars.name,
            "sha256": bars.sha256,
            "content_sha256": bars.content_sha256,
            "bars_of": given.granularity,
            "tick": str(bars.tick),
            "calendar": bars.calendar,
            **given.origin,
            "findings": [f"{one.kind}: {one.count}" for one in bars.quality.findings],
            "synthetic": given.synthetic or configuration["synthetic"],
        },
        settings=settings,
        count=count,
        worlds=worlds,
        spreads=_spreads(configuration, given),
        volume=None if bars.volume is None else Volume(bars.volume, given.volume_of),
        gate=next(GateReport.from_json(piece["gate"]) for piece in found if "gate" in piece),
    )
    progress(0.9)
    document = {**report.document, "engine": sep_engine.__version__}
    names = family.names
    what = names[0] if len(names) == 1 else f"{len(names)} rules"
    page = verdict_page(document, title=f"Verdict on {what} on {bars.name}")
    sections = [{"name": name, "text": text} for name, text in section_lines(document)]
    sections.append({"name": "verdict", "text": _lines_text(report.verdict.lines)})
    return Answer(
        document=json.dumps(document),
        page=page,
        # Generated prices are evidence of nothing.
        edge=report.verdict.edge and not document["synthetic"],
        text=report.verdict.text,
        summary={"sections": sections, "figures": _verdict_figures(document)},
    )


def _lines_text(lines: Sequence[Any]) -> str:
    failed = [line for line in lines if not line.passed]
    text = f"{len(lines) - len(failed)} of {len(lines)} lines passed"
    return text if not failed else f"{text}; not: {'; '.join(line.line.text for line in failed)}"


def _verdict_figures(document: Mapping[str, Any]) -> list[Json]:
    money, direction, chosen = document["money"], document["direction"], document["selection"]
    measured, pip = money["levels"]["measured"], document["costs"]["pip"]
    rate = direction["hit_rate"]
    return [
        _figure("rules", chosen["rules"]),
        _figure("configurations tried", chosen["trials"]),
        _figure("trades of the best", direction["trades"]),
        _figure("hit rate", None if rate is None else rate["estimate"], "share"),
        _figure("net a trade", measured["net_pips"], "pips"),
        _figure("walk-forward a day", measured["walk_forward_a_day"] / pip, "pips"),
        _figure("break-even cost", money["break_even_cost_pips"], "pips"),
        _figure("p against coin worlds", document["controls"]["sign"]["best_p"], "share"),
        _figure("SPA p", chosen["spa"]["consistent"], "share"),
        _figure("deflated Sharpe", chosen["deflated_sharpe"]["value"], "share"),
        _figure("deflated Sharpe needed", chosen["deflated_sharpe"]["needed"], "share"),
        _figure("probability of overfitting", chosen["overfitting"]["probability"], "share"),
        _figure("Sharpe a year", chosen["sharpe_a_year"]),
        _figure("years of data", chosen["length"]["years"]),
    ]


def _figure(name: str, value: float | None, unit: str = "") -> Json:
    return {"name": name, "value": None if value is None else float(value), "unit": unit}


# Backtests.


def _backtest(configuration: Mapping[str, Any], given: Material, record: Record) -> Answer:
    from sep_engine.report import Provenance, backtest_page

    bars = given.bars
    rule = Rule.from_json(configuration["rule"])
    result = run(
        bars,
        rule,
        _trade_costs(configuration, given),
        side=given.side,
        entry=_entry(configuration),
        counts=session_counts(configuration, given),
    )
    days = int(np.unique(trading_days(bars.times)).size)
    tried = record(
        [
            ledger.Trial(
                {**rule_configuration(rule, result.entry), **_hours(configuration)},
                result.sharpe(days),
            )
        ],
        {},
    )
    page = backtest_page(
        result,
        times=bars.times,
        closes=bars.close,
        pip=given.pip,
        provenance=Provenance(
            [
                ("bars of", given.granularity),
                ("first", _time(int(bars.times[0]))),
                ("last", _time(int(bars.times[-1]))),
                ("calendar", bars.calendar),
                *(("entered only within", str(hours)) for hours in _hours(configuration).values()),
                *given.origin.items(),
                ("sha256 of the bars", bars.content_sha256),
                ("configurations tried on them", f"{tried.trials:,}"),
            ],
            [f"{one.kind}: {one.count:,} rows; {one.text}" for one in bars.quality.findings],
            synthetic=given.synthetic,
        ),
        engine_version=sep_engine.__version__,
    )
    document = {
        **result.to_json(),
        "engine": sep_engine.__version__,
        "pip": str(given.pip),
        "trials": tried.trials,
        "verdict": "unproven",
        **_hours(configuration),
    }
    figures, pip = result.figures, given.pip_ticks()
    net = figures.net_ticks / pip
    return Answer(
        document=json.dumps(document),
        page=page,
        edge=None,
        text=f"{figures.trades:,} trades, net {net:+,.1f} pips; one backtest proves nothing",
        summary={
            "sections": [],
            "figures": [
                _figure("trades", figures.trades),
                _figure("win rate", figures.win_rate, "share"),
                _figure("gross", figures.gross_ticks / pip, "pips"),
                _figure("net", net, "pips"),
                _figure(
                    "net a trade",
                    None
                    if figures.net_ticks_per_trade is None
                    else figures.net_ticks_per_trade / pip,
                    "pips",
                ),
                _figure("largest drawdown", -figures.max_drawdown_ticks / pip, "pips"),
                _figure("longest losing run", figures.longest_losing_run),
                _figure("time in the market", figures.exposure, "share"),
                _figure("configurations tried", tried.trials),
            ],
        },
    )


def _trade_costs(configuration: Mapping[str, Any], given: Material) -> Costs:
    spread, assumed = given.spread_ticks(configuration["spread_pips"])
    pips = configuration["cost_pips"]
    side = 0 if pips is None else whole_ticks("cost_pips", Decimal(pips), given)
    spreads = _spreads(configuration, given)
    return Costs(spread if spreads is None else spreads, side, assumed=assumed)


def _time(time_ns: int) -> str:
    return time_text(from_ns(time_ns))


# Sweeps.

_COLUMNS = ("trades", "wins", "net_ticks", "gross_ticks", "max_drawdown_ticks")


def _tried(
    work: Mapping[str, Any],
    configuration: Mapping[str, Any],
    given: Material,
    progress: Progress,
) -> Json:
    grid, first, count = Grid.from_json(configuration["grid"]), work["first"], work["count"]
    columns: dict[str, list[float | None]] = {name: [None] * count for name in _COLUMNS}
    columns["sharpe"] = [None] * count
    done = 0
    for entry in ENTRIES:
        numbers = [k for k in range(first, first + count) if grid.entry_of(k) == entry]
        if not numbers:
            continue
        result = sweep(
            given.bars,
            [grid.rule(number) for number in numbers],
            _trade_costs(configuration, given),
            side=given.side,
            entry=entry,
            counts=session_counts(configuration, given),
            threads=1,  # the run has its shards for more
        )
        values = {name: result.columns[name].tolist() for name in _COLUMNS}
        values["sharpe"] = [
            value if math.isfinite(value) else None for value in result.sharpe.tolist()
        ]
        for name, column in values.items():
            for place, number in enumerate(numbers):
                columns[name][number - first] = column[place]
        done += len(numbers)
        progress(done / count)
    return {"first": first, "columns": columns}


def _sweep(
    configuration: Mapping[str, Any],
    given: Material,
    found: Sequence[Mapping[str, Any]],
    record: Record,
) -> Answer:
    from sep_engine.evidence.family import rule_name
    from sep_engine.report import sweep_page

    grid = Grid.from_json(configuration["grid"])
    pieces = sorted(found, key=lambda piece: cast(int, piece["first"]))
    columns = {
        name: [value for piece in pieces for value in piece["columns"][name]]
        for name in (*_COLUMNS, "sharpe")
    }
    if len(columns["trades"]) != len(grid):
        raise ArgumentError(f"{len(grid)} rules were wanted, {len(columns['trades'])} tried")
    tried = record(
        [
            ledger.Trial(
                {
                    **rule_configuration(grid.rule(number), grid.entry_of(number)),
                    **_hours(configuration),
                },
                sharpe,
            )
            for number, sharpe in enumerate(columns["sharpe"])
        ],
        {},
    )
    pip = given.pip_ticks()
    order = sorted(range(len(grid)), key=lambda number: (-columns["net_ticks"][number], number))
    best = [
        {
            "number": number,
            "name": rule_name(grid.rule(number)),
            "rule": grid.rule(number).to_json(),
            "entry": grid.entry_of(number),
            **{name: column[number] for name, column in columns.items()},
        }
        for number in order[:_BEST_SHOWN]
    ]
    gained = sum(net > 0 for net in columns["net_ticks"])
    text = (
        f"{gained:,} of {len(grid):,} rules gained; the best {best[0]['net_ticks'] / pip:+,.1f} "
        "pips, which the best of many always looks like"
    )
    document = {
        "format": "sep-sweep-1",
        "engine": sep_engine.__version__,
        "name": given.bars.name,
        "content_sha256": given.bars.content_sha256,
        "grid": grid.to_json(),
        "costs": {key: configuration[key] for key in ("spread_pips", "cost_pips")},
        "price_side": given.side,
        **_hours(configuration),
        "pip_ticks": pip,
        "trials": asdict(tried),
        "columns": columns,
        "best": best,
    }
    rows = [
        [
            row["name"] + (", enters at the close" if row["entry"] == "close" else ""),
            f"{row['trades']:,}",
            f"{row['net_ticks'] / pip:+,.1f}",
            f"{row['gross_ticks'] / pip:+,.1f}",
            f"{row['max_drawdown_ticks'] / pip:,.1f}",
            "none" if row["sharpe"] is None else f"{row['sharpe']:.3f}",
        ]
        for row in best
    ]
    html = sweep_page(
        f"Sweep of {len(grid):,} rules on {given.bars.name}",
        text=f"{text}. {tried.trials:,} configurations were tried on these bars by now. The best "
        "have the largest net gain.",
        facts=[
            ("prices", given.side),
            *(("entered only within", str(hours)) for hours in _hours(configuration).values()),
            *((name.replace("_", " "), value) for name, value in given.origin.items()),
            ("sha256 of the bars", given.bars.content_sha256),
        ],
        header=["rule", "trades", "net, pips", "gross, pips", "drawdown, pips", "Sharpe a day"],
        rows=rows,
        grid_document=grid.to_json(),
        synthetic=given.synthetic,
    )
    return Answer(
        document=json.dumps(document),
        page=html,
        edge=None,
        text=text[:200],
        summary={
            "sections": [{"name": "best", "text": best[0]["name"]}],
            "figures": [
                _figure("rules", len(grid)),
                _figure("rules that gained", gained),
                _figure("net of the best", best[0]["net_ticks"] / pip, "pips"),
                _figure("trades of the best", best[0]["trades"]),
                _figure("net of the median", float(np.median(columns["net_ticks"])) / pip, "pips"),
                _figure("configurations tried", tried.trials),
            ],
        },
    )
