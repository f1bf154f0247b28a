"""sep verdict: is there an edge after costs, and does it go beyond last-bit reversal?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from sep_engine.cli.given import EntryOption, Given, SideOption, bars_volume, given_bars
from sep_engine.cli.jobs import again, among
from sep_engine.cli.runs import absolute, check_out, counted_in, ledger_text, run_key, write_files
from sep_engine.cli.source import (
    Accept,
    AsJson,
    Calendar,
    Columns,
    File,
    PipOption,
    Session,
    Source,
    SourceOptions,
    SpreadOption,
    Stages,
    TickOption,
    TimeZone,
    UseSample,
    located,
    progress,
)
from sep_engine.cli.strategy import counted_at, family_of
from sep_engine.cli.strategy import located as located_strategy
from sep_engine.cli.text import duration_text, print_lines, screen
from sep_engine.cli.trades import TradesOptions, judge_trades
from sep_engine.errors import ArgumentError
from sep_engine.qfh import BackendName

if TYPE_CHECKING:
    from sep_engine.data import Bars
    from sep_engine.evidence.family import Family
    from sep_engine.evidence.lab import RoundTripCosts
    from sep_engine.evidence.settings import Count, Settings

# The causality gate runs its fewest cuts always and more while there is time.
_GATE_S = 60.0


def verdict(
    file: File = None,
    sample: UseSample = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="Rules (.json), a strategy class (.py, module:Class or an installed one's name); "
            "a family of 145 by default."
        ),
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(help="All combinations of a TOML file's choices, as rules.")
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(
            metavar="measured|PIPS",
            help="What a round trip costs: the spread of --quotes or of stored data with both "
            "sides, or as many pips. If nobody says, 1 pip is taken and no verdict passes.",
        ),
    ] = None,
    spread_pips: SpreadOption = None,
    quotes: Annotated[
        Path | None,
        typer.Option(help="File with time,bid,ask at the same times: their median is the spread."),
    ] = None,
    pip: PipOption = None,
    session: Session = None,
    side: SideOption = None,
    entry: EntryOption = None,
    volume: Annotated[
        str | None,
        typer.Option(
            metavar="units|updates",
            help="What the volume of the bars counts: units traded, or updates of the price.",
        ),
    ] = None,
    surrogates: Annotated[
        int, typer.Option(min=19, help="Worlds whose directions are coin flips.")
    ] = 200,
    folds: Annotated[int, typer.Option(min=2, help="Folds of walk-forward.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    trades: Annotated[
        Path | None,
        typer.Option(
            help="Judge trades that another program exported (freqtrade, LEAN, MetaTrader 5, "
            "backtesting.py, or a CSV) on the bars of --prices."
        ),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="With --trades: the bars; the same as FILE.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="With --trades: strategies that were tried, this one included."),
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="With --trades: judge the trades of this instrument.")
    ] = None,
    fees_pips: Annotated[
        str | None,
        typer.Option(
            metavar="PIPS", help="With --trades: fees of a round trip, in place of the file's."
        ),
    ] = None,
    tolerance_pips: Annotated[
        str | None,
        typer.Option(
            metavar="PIPS",
            help="With --trades: how far a fill may lie outside its bar, as an ask does where bars "
            "are bids; the spread given, at least 1 pip, by default.",
        ),
    ] = None,
    trades_time_zone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --trades: zone of their times if they carry none."),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What searches worlds of coin flips: auto (a GPU if there is one), scalar, simd "
            "or cuda. All give the same verdict."
        ),
    ] = "auto",
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="These prices were generated: say so everywhere.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the page, its JSON and the ledger.")] = Path(
        "runs"
    ),
    tick: TickOption = None,
    calendar: Calendar = "fx",
    columns: Columns = None,
    time_zone: TimeZone = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """Judge rules on the bars of a FILE: causality, nulls, costs, selection, and one line."""
    if volume not in (None, "units", "updates"):
        raise ArgumentError(f"--volume must be units or updates, was {volume!r}")
    if costs is not None:
        if spread_pips is not None or (costs != "measured" and quotes is not None):
            raise ArgumentError("--costs PIPS, --spread-pips and --quotes exclude each other")
        spread_pips = None if costs == "measured" else costs
    if trades is not None:
        if costs == "measured":
            raise ArgumentError("--trades takes --costs PIPS: its fills are not those of the bars")
        if (
            strategy is not None
            or grid is not None
            or session is not None
            or side is not None
            or entry is not None
            or quotes is not None
            or (prices is not None and file is not None)
        ):
            raise ArgumentError(
                "--trades takes its bars from --prices (or FILE), "
                "no --strategy, --grid, --session, --side, --entry or --quotes"
            )
        judge_trades(
            TradesOptions(
                trades=absolute(trades) or "",
                file=absolute(located(prices or file)),
                sample=sample,
                spread_pips=spread_pips,
                pip=pip,
                trials=trials,
                instrument=instrument,
                fees_pips=fees_pips,
                tolerance_pips=tolerance_pips,
                trades_time_zone=trades_time_zone,
                worlds=surrogates,
                seed=seed,
                synthetic=synthetic,
                tick=tick,
                calendar=calendar,
                columns=columns,
                time_zone=time_zone,
                accept=tuple(accept or ()),
                volume=volume,
            ),
            out=out,
            as_json=as_json,
        )
        return
    of_trades = (prices, trials, instrument, fees_pips, tolerance_pips, trades_time_zone)
    if any(option is not None for option in of_trades):
        raise ArgumentError(
            "--prices, --trials, --instrument, --fees-pips, --tolerance-pips and "
            "--trades-time-zone go with --trades"
        )
    options = VerdictOptions(
        file=absolute(located(file)),
        sample=sample,
        strategy=located_strategy(strategy),
        grid=absolute(grid),
        measured=costs == "measured",
        spread_pips=spread_pips,
        quotes=absolute(quotes),
        pip=pip,
        surrogates=surrogates,
        folds=folds,
        seed=seed,
        synthetic=synthetic,
        tick=tick,
        calendar=calendar,
        columns=columns,
        time_zone=time_zone,
        accept=tuple(accept or ()),
        session=session,
        side=side,
        entry=entry,
        volume=volume,
    )
    if backend not in get_args(BackendName):
        names = ", ".join(get_args(BackendName))
        raise ArgumentError(f"--backend must be one of {names}; was {backend!r}")
    check_out(out)
    with progress(stages=4) as bar:
        document = judge(
            options,
            bar,
            counted=lambda bars, family, settings: counted_in(
                out, bars, family.configurations, settings.unusual
            ),
            backend=cast(BackendName, backend),
        )
        path = _written(out, document, options)
    if as_json:
        typer.echo(json.dumps({**document, "page": str(path)}, indent=2))
    else:
        _print(document, path)


@dataclass(frozen=True, slots=True)
class VerdictOptions(SourceOptions):
    """Everything that decides a verdict, as JSON: what the command was given, paths absolute."""

    strategy: str | None
    grid: str | None
    measured: bool
    spread_pips: str | None
    quotes: str | None
    pip: str | None
    surrogates: int
    folds: int
    seed: int
    synthetic: bool
    session: str | None = None
    side: str | None = None
    entry: str | None = None
    volume: str | None = None


def judge(
    options: VerdictOptions,
    bar: Stages,
    counted: Callable[[Bars, Family, Settings], Callable[[Sequence[float | None]], Count]],
    backend: BackendName = "auto",
    gate: tuple[int, int, int] | None = None,
) -> dict[str, Any]:
    """Return the evidence document.

    counted: gives, for bars, rules and settings, what says how much was tried on them by now.
    backend: what searches null worlds; it changes nothing but `computed_on`.
    gate: how many cuts, trades and largest gains the causality gate makes again, None for as many
        as fit its time.
    """
    source = options.source(synthetic=options.synthetic)
    bar.begin("Reading")
    try:
        from sep_engine.evidence.lab import evaluate
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"sep verdict needs {error.name}: pip install 'sep-engine[evidence]'"
        ) from error
    from sep_engine import __version__
    from sep_engine.evidence.causality import ROWS_A_PART
    from sep_engine.evidence.market import TimedBars
    from sep_engine.evidence.settings import WORLDS, Settings

    family = family_of(options.strategy, options.grid, entry=options.entry)
    given, costs = _material(source, options)
    bars = given.bars
    if options.session is not None:
        family = family.within(counted_at(options.session, bars), {"session": options.session})
    family = family.folded(options.folds)
    provenance = {
        "name": bars.name,
        "sha256": bars.sha256,
        "content_sha256": bars.content_sha256,
        "bars_of": duration_text(bars.duration),
        "tick": str(bars.tick),
        "calendar": bars.calendar,
        "price_side": given.side,
        **given.origin,
        "findings": [f"{found.kind}: {found.count}" for found in bars.quality.findings],
        "synthetic": given.synthetic,
    }
    settings = Settings(
        seed=options.seed,
        folds=options.folds,
        surrogates={**WORLDS, "sign": options.surrogates},
    )
    started, jobs = time.monotonic(), among(os.cpu_count() or 1)
    bar.begin("Cutting and poisoning the future")
    stages = {"controls": "Searching worlds of coin flips", "figures": "Adding up"}

    def on_progress(part: str, done: int, total: int) -> None:
        if done == 0 and part in stages:
            bar.begin(stages.pop(part))
        bar.within(done / total if total else 1.0)

    report = evaluate(
        TimedBars.of(bars, side=given.side),
        family,
        costs=costs,
        provenance=provenance,
        settings=settings,
        count=counted(bars, family, settings),
        spreads=None if isinstance(given.spread, int) else given.spread,
        volume=bars_volume(bars, options.volume, given.volume_of),
        backend=backend,
        enough=lambda: time.monotonic() - started > _GATE_S,
        share=jobs if gate is None else again(jobs, (-(-gate[0] // ROWS_A_PART), *gate[1:])),
        progress=on_progress,
    )
    return {**report.document, "engine": __version__}


def _material(source: Source, options: VerdictOptions) -> tuple[Given, RoundTripCosts]:
    """Return the bars, and what a round trip costs in the mean."""
    import numpy as np

    from sep_engine.evidence.lab import RoundTripCosts

    if options.measured and options.quotes is None and source.file and not source.is_stored:
        raise ArgumentError("--costs measured needs --quotes FILE, or stored data with both sides")
    given = given_bars(
        source,
        side=options.side,
        pip=options.pip,
        spread_pips=options.spread_pips,
        quotes=options.quotes,
        spread_option="--costs or --spread-pips",
        unsaid_pips="1",
    )
    if options.measured and given.assumed:
        raise ArgumentError("--costs measured: the sample holds one side; say --costs 1.3")
    pip_ticks = float(given.pip / given.bars.tick)
    return given, RoundTripCosts(
        int(np.median(given.spread)),
        pip_ticks,
        given.assumed,
        given.source if given.is_said else f"{given.source}, and no verdict passes",
        given.is_said,
    )


def _rules_text(count: int) -> str:
    return "1 rule" if count == 1 else f"{count:,} rules"


def _written(out: Path, document: dict[str, Any], options: VerdictOptions) -> Path:
    from sep_engine.report import verdict_page

    name, rules = document["provenance"]["name"], document["rules"]
    what = rules[0]["name"] if len(rules) == 1 else f"{len(rules)} rules"
    stem = f"verdict-{name.split('.')[0]}-{run_key(document)}"
    page = verdict_page(document, title=f"Verdict on {what} on {name}")
    stored = {**document, "run": {"command": "verdict", "options": asdict(options)}}
    write_files(out, {f"{stem}.html": page, f"{stem}.json": json.dumps(stored) + "\n"})
    return out / f"{stem}.html"


def _print(document: dict[str, Any], path: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from sep_engine.report.verdict import section_lines

    console = screen()
    verdict = document["verdict"]
    console.print(Text(verdict["text"], style="bold"))
    costs = document["costs"]
    console.print(
        f"{_rules_text(document['selection']['rules'])} on {document['provenance']['name']}, "
        f"{'assumed' if costs['assumed'] else 'measured'} spread "
        f"{costs['spread'] / costs['pip']:.2f} pips"
        f"{'' if costs['said'] else ' (' + costs['source'] + ')'}. "
        f"Best: {document['best']['name']}"
    )
    table = Table(show_header=False)
    for name, text in section_lines(document):
        table.add_row(name, text)
    console.print(table)
    print_lines(console, verdict)
    ran = document["computed_on"]
    console.print(f"{ledger_text(path.parent)}.")
    console.print(f"Null worlds: {ran['worlds']}. Causality gate on a GPU: {ran['gpu']}.")
    console.print(f"Wrote {path}")
