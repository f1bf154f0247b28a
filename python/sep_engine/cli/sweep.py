"""sep sweep: a grid of rules over bars, the best of them, and whether luck does as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from sep_engine.cli.given import Given, SideOption, given_bars, whole_ticks
from sep_engine.cli.runs import absolute, check_out, recorded, run_key, tried_text, write_files
from sep_engine.cli.source import (
    Accept,
    AsJson,
    Calendar,
    Columns,
    File,
    PipOption,
    Session,
    SourceOptions,
    SpreadOption,
    Stages,
    TickOption,
    TimeZone,
    UseSample,
    located,
    progress,
)
from sep_engine.cli.text import screen
from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from sep_engine.backtest import Grid, RealityCheck, SweepResult

# Larger grids are one row of the ledger, which counts as all of their rules.
RULES_RECORDED_MAX: Final = 20_000


def sweep(
    file: File = None,
    sample: UseSample = False,
    grid: Annotated[
        Path | None, typer.Option(help="TOML file with the choices for each part of a rule.")
    ] = None,
    spread_pips: SpreadOption = None,
    quotes: Annotated[
        Path | None,
        typer.Option(help="File with time,bid,ask at the same times: each bar's own spread."),
    ] = None,
    cost_pips: Annotated[
        str | None,
        typer.Option(metavar="PIPS", help="Commission and slippage of each side; none by default."),
    ] = None,
    side: SideOption = None,
    session: Session = None,
    pip: PipOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best rules to keep.")] = 10,
    by: Annotated[str, typer.Option(help="What best means: sharpe or net_ticks.")] = "sharpe",
    table: Annotated[
        Path | None,
        typer.Option(help="Write the figures of all rules to this .npy or .parquet file."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep what is done in this file, and go on from it.")
    ] = None,
    surrogates: Annotated[
        int, typer.Option(min=0, help="Null worlds in which the whole search is made again.")
    ] = 0,
    kind: Annotated[
        str, typer.Option(help="Of the null worlds: sign, block or circular.")
    ] = "sign",
    block: Annotated[float, typer.Option(help="Length of their blocks in bars.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the null worlds.")] = 0,
    backend: Annotated[str, typer.Option(help="auto, scalar, simd or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="0 is as many as there are cores.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the page and its JSON.")] = Path("runs"),
    tick: TickOption = None,
    calendar: Calendar = "fx",
    columns: Columns = None,
    time_zone: TimeZone = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """Try every rule of a grid on the bars of a FILE, exactly, and show the best."""
    if grid is None:
        raise ArgumentError("name a grid: --grid grid.toml")
    from sep_engine.backtest import Grid

    options = SweepOptions(
        file=absolute(located(file)),
        sample=sample,
        grid=Grid.from_toml(grid).to_json(),
        spread_pips=spread_pips,
        quotes=absolute(quotes),
        cost_pips=cost_pips,
        side=side,
        session=session,
        pip=pip,
        top=top,
        by=by,
        surrogates=surrogates,
        kind=kind,
        block=block,
        seed=seed,
        tick=tick,
        calendar=calendar,
        columns=columns,
        time_zone=time_zone,
        accept=tuple(accept or ()),
    )
    check_out(out)
    with progress(stages=3 if surrogates else 2) as bar:
        swept = sweep_over(
            options, bar, table=table, checkpoint=checkpoint, backend=backend, threads=threads
        )
        tried = recorded(out, swept.given.bars, _trials(swept, options))
        path = _written(out, swept, options)
    if as_json:
        found = {**swept.document, "page": str(path), "trials": tried.trials}
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(swept)
        typer.echo(tried_text(tried, out))
        typer.echo(f"Wrote {path}")


def _trials(swept: Swept, options: SweepOptions) -> list[tuple[dict[str, object], float | None]]:
    """Return what the ledger is told was tried: rule by rule as a verdict does, or a large grid
    whole. Costs are no choice of a rule."""
    from sep_engine.backtest import configuration
    from sep_engine.ledger import of_grid

    grid, hours = swept.grid, {} if options.session is None else {"session": options.session}
    rules = len(grid) // len(grid.costs)
    if rules > RULES_RECORDED_MAX:
        choices = {axis: options.grid[axis] for axis in options.grid if axis != "costs"}
        return [({**of_grid(choices, rules=rules), **hours}, None)]
    known = dict(zip(swept.found.numbers.tolist(), swept.found.sharpe.tolist(), strict=True))
    return [
        ({**configuration(grid.rule(k), grid.entry_of(k)), **hours}, _finite(known.get(k)))
        for k in range(rules)
    ]


@dataclass(frozen=True, slots=True)
class SweepOptions(SourceOptions):
    """Everything that decides a sweep, as JSON: what the command was given, paths absolute."""

    grid: dict[str, Any]
    spread_pips: str | None
    quotes: str | None
    cost_pips: str | None
    side: str | None
    session: str | None
    pip: str | None
    top: int
    by: str
    surrogates: int
    kind: str
    block: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """What a sweep found, and its document."""

    given: Given
    found: SweepResult
    grid: Grid
    check: RealityCheck | None
    document: dict[str, Any]


def sweep_over(
    options: SweepOptions,
    bar: Stages,
    *,
    table: Path | None = None,
    checkpoint: Path | None = None,
    backend: str = "auto",
    threads: int = 0,
) -> Swept:
    """Return what the rules of a grid earn; where and how it is computed changes no figure."""
    bar.begin("Reading")
    from sep_engine import backtest
    from sep_engine.cli.strategy import within_session

    rules = backtest.Grid.from_json(options.grid)
    given = given_bars(
        options.source(),
        side=options.side,
        pip=options.pip,
        spread_pips=options.spread_pips,
        quotes=options.quotes,
    )
    bars, per_side = given.bars, 0
    if options.cost_pips is not None:
        per_side = whole_ticks("--cost-pips", options.cost_pips, given.pip, bars.tick)
    costs = backtest.Costs(given.spread, per_side, assumed=given.assumed)

    def within(done: int, total: int) -> None:
        bar.within(done / total)

    how: dict[str, Any] = {
        "side": given.side,
        "counts": None if options.session is None else within_session(options.session, bars),
        "backend": backend,
        "threads": threads,
        "progress": within,
    }
    bar.begin(f"Trying {len(rules):,} rules")
    found = backtest.sweep(
        bars,
        rules,
        costs,
        top=options.top,
        by=cast(Any, options.by),
        table=table,
        checkpoint=checkpoint,
        **how,
    )
    check = None
    if options.surrogates:
        bar.begin(f"Searching {options.surrogates:,} null worlds")
        check = backtest.reality_check(
            bars,
            rules,
            costs,
            kind=cast(Any, options.kind),
            count=options.surrogates,
            seed=options.seed,
            block=options.block,
            statistic=cast(Any, options.by),
            **how,
        )
    return Swept(given, found, rules, check, _document(given, found, rules, check, options))


def _written(out: Path, swept: Swept, options: SweepOptions) -> Path:
    from sep_engine.report import sweep_page

    document, given = swept.document, swept.given
    header, rows = _best(swept)
    spread = document["costs"]
    page = sweep_page(
        f"Sweep of {len(swept.grid):,} rules on {given.bars.name}",
        text=_check_text(swept.check),
        facts=[
            ("bars", f"{document['bars']:,} on {document['days']:,} trading days"),
            ("prices", given.side),
            (
                "spread",
                f"{spread['spread_pips']:.2f} pips, "
                f"{'assumed' if spread['assumed_spread'] else 'measured'} ({given.source})",
            ),
            *([] if options.session is None else [("entered only within", options.session)]),
            *((name.replace("_", " "), value) for name, value in given.origin.items()),
            ("sha256 of the parsed bars", document["content_sha256"]),
        ],
        header=header,
        rows=rows,
        grid_document=document["grid"],
        synthetic=given.synthetic,
    )
    stem = f"sweep-{given.bars.name.split('.')[0]}-{run_key(document)}"
    stored = {**document, "run": {"command": "sweep", "options": asdict(options)}}
    write_files(out, {f"{stem}.html": page, f"{stem}.json": json.dumps(stored, indent=2) + "\n"})
    return out / f"{stem}.html"


def _document(
    given: Given,
    found: SweepResult,
    grid: Grid,
    check: RealityCheck | None,
    options: SweepOptions,
) -> dict[str, Any]:
    import numpy as np

    from sep_engine import __version__
    from sep_engine.backtest import FIGURES
    from sep_engine.backtest.grid import costs_document

    sharpe, win_rate, exposure = found.sharpe, found.win_rate, found.exposure
    rows = [
        {
            "number": number,
            "rule": grid.rule(number).to_json(),
            "entry": grid.entry_of(number),
            "costs": costs_document(grid.costs_change(number)),
            **{name: int(found.columns[name][place]) for name in FIGURES},
            "sharpe_a_day": _finite(sharpe[place]),
            "win_rate": _finite(win_rate[place]),
            "exposure": float(exposure[place]),
        }
        for place, number in enumerate(found.numbers.tolist())
    ]
    return {
        "name": found.bars.name,
        "content_sha256": found.bars.content_sha256,
        "engine": __version__,
        "bars": int(found.bars.times.size),
        "days": found.days,
        "price_side": given.side,
        "costs": {
            "spread_pips": float(np.asarray(given.spread).mean() * float(found.bars.tick))
            / float(given.pip),
            "spread_is_series": not isinstance(given.spread, int),
            "per_side_ticks": found.costs.per_side_ticks,
            "assumed_spread": given.assumed,
        },
        **({} if options.session is None else {"session": options.session}),
        "grid": grid.to_json(),
        "rules": len(grid),
        "best": rows,
        "reality_check": None
        if check is None
        else {
            "kind": check.kind,
            "seed": check.seed,
            "statistic": check.statistic,
            "worlds": int(check.null.size),
            "observed": _finite(check.observed),
            "best_in_null_worlds": [_finite(value) for value in sorted(check.null.tolist())],
            "p_value": check.p_value,
        },
        "verdict": "unproven",
        "synthetic": given.synthetic,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not abs(value) < float("inf") else float(value)


def _print(swept: Swept) -> None:
    from rich.table import Table
    from rich.text import Text

    console = screen()
    found, document = swept.found, swept.document
    mark = "SYNTHETIC: " if document["synthetic"] else ""
    console.print(Text(mark + found.bars.name, style="bold"))
    session = f", entered only within {document['session']}" if "session" in document else ""
    console.print(
        f"{len(swept.grid):,} rules on {found.bars.times.size:,} bars and {found.days:,} trading "
        f"days{session}"
    )
    header, rows = _best(swept)
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    style = "yellow" if swept.check is None else None
    console.print(_check_text(swept.check), style=style)


def _best(swept: Swept) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of the best rules."""
    from sep_engine.backtest.grid import AXES, costs_document

    found, grid = swept.found, swept.grid
    pips_per_tick = float(found.bars.tick / swept.given.pip)
    varied = [name for name in AXES if len(getattr(grid, name)) > 1]
    say: dict[str, Callable[[Any], str]] = {
        "gates": lambda gates: (
            ", ".join(f"{one.metric} {one.of} {one.low:g}..{one.high:g}" for one in gates) or "none"
        ),
        "costs": lambda change: _costs_text(costs_document(change)),
    }
    rows = []
    for place, number in enumerate(found.numbers.tolist()):
        rule = grid.rule(number)
        beside = {"entry": grid.entry_of(number), "costs": grid.costs_change(number)}
        parts = {name: beside[name] if name in beside else getattr(rule, name) for name in varied}
        won = found.win_rate[place]
        rows.append(
            [
                f"{number:,}",
                *(say.get(name, _text)(parts[name]) for name in varied),
                f"{found.columns['trades'][place]:,}",
                f"{found.columns['net_ticks'][place] * pips_per_tick:+,.1f}",
                f"{-found.columns['max_drawdown_ticks'][place] * pips_per_tick:,.1f}",
                "" if won != won else f"{won:.1%}",
                f"{found.sharpe[place]:+.3f}",
            ]
        )
    head = ["rule", *varied, "trades", "net pips", "drawdown", "won", "Sharpe a day"]
    return head, rows


def _check_text(check: RealityCheck | None) -> str:
    if check is None:
        return (
            "The best of many always looks good: --surrogates 500 says whether luck does as well."
        )
    return (
        f"In {check.null.size:,} null worlds ({check.kind}) the best rule does as well with "
        f"p = {check.p_value:.3g}."
    )


def _costs_text(document: str | dict[str, Any]) -> str:
    if isinstance(document, str):
        return document
    say = {
        "spread_multiple": "spread x{}",
        "spread_ticks": "spread {} ticks",
        "per_side_ticks": "{} a side",
    }
    return ", ".join(say[name].format(value) for name, value in document.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
