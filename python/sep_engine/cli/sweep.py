"""sep sweep: a grid of rules over bars, the best of them, and whether luck does as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sep_engine.cli.backtest import spread_series, usual_pip, whole_ticks
from sep_engine.cli.source import (
    Accept,
    AsJson,
    Calendar,
    Columns,
    File,
    PipOption,
    Source,
    SpreadOption,
    TickOption,
    TimeZone,
    UseSample,
    decimal_option,
    located,
    progress,
)
from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from sep_engine.backtest import Costs, Grid, PriceSide, RealityCheck, SweepResult
    from sep_engine.data import Bars


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
    side: Annotated[str, typer.Option(help="Side that the bars are of: bid, ask or mid.")] = "mid",
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
    source = Source(located(file), sample, tick, calendar, columns, time_zone, accept)
    with progress(stages=3 if surrogates else 2) as bar:
        bar.begin("Reading")
        from sep_engine import backtest

        rules = backtest.Grid.from_toml(grid)
        bars, costs, price_side, pip_price = _material(
            source, side, pip, spread_pips, quotes, cost_pips
        )

        def within(done: int, total: int) -> None:
            bar.within(done / total)

        given: dict[str, Any] = {"side": price_side, "backend": backend, "threads": threads}
        bar.begin(f"Trying {len(rules):,} rules")
        found = backtest.sweep(
            bars,
            rules,
            costs,
            top=top,
            by=cast(Any, by),
            table=table,
            checkpoint=checkpoint,
            progress=within,
            **given,
        )
        check = None
        if surrogates:
            bar.begin(f"Searching {surrogates:,} null worlds")
            check = backtest.reality_check(
                bars,
                rules,
                costs,
                kind=cast(Any, kind),
                count=surrogates,
                seed=seed,
                block=block,
                statistic=cast(Any, by),
                progress=within,
                **given,
            )
    if as_json:
        typer.echo(json.dumps(_document(found, rules, check), indent=2))
    else:
        _print(found, rules, check, float(bars.tick / pip_price))


def _material(
    source: Source,
    side: str,
    pip: str | None,
    spread_pips: str | None,
    quotes: Path | None,
    cost_pips: str | None,
) -> tuple[Bars, Costs, PriceSide, Decimal]:
    from sep_engine.backtest import SIDES, Costs

    if source.use_sample:
        sample = source.sample()
        bars, pip_price = sample.bars, sample.instrument.pip
        side = sample.metadata["price_side"]
        spread_pips = spread_pips or sample.metadata["assumed_spread_pips"]
    else:
        bars = source.bars()
        pip_price = decimal_option("--pip", pip) or usual_pip(bars.tick)
    if side not in SIDES:
        raise ArgumentError(f"--side must be one of {', '.join(SIDES)}; was {side!r}")
    per_side = 0
    if cost_pips is not None:
        per_side = whole_ticks("--cost-pips", cost_pips, pip_price, bars.tick)
    if quotes is not None:
        costs = Costs(spread_series(quotes, bars), per_side, assumed=False)
    elif spread_pips is not None:
        spread = whole_ticks("--spread-pips", spread_pips, pip_price, bars.tick)
        costs = Costs(spread, per_side, assumed=True)
    else:
        raise ArgumentError("say what the spread is: --spread-pips 1.3, or --quotes FILE")
    return bars, costs, side, pip_price


def _document(found: SweepResult, grid: Grid, check: RealityCheck | None) -> dict[str, Any]:
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
    }


def _finite(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None


def _print(
    found: SweepResult, grid: Grid, check: RealityCheck | None, pips_per_tick: float
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sep_engine.backtest.grid import AXES, costs_document

    console = Console(highlight=False)
    console.print(Text(found.bars.name, style="bold"))
    console.print(
        f"{len(grid):,} rules on {found.bars.times.size:,} bars and {found.days:,} trading days"
    )
    varied = [name for name in AXES if len(getattr(grid, name)) > 1]
    table = Table("rule", *varied, "trades", "net pips", "drawdown", "won", "Sharpe a day")
    say: dict[str, Callable[[Any], str]] = {
        "gates": lambda gates: (
            ", ".join(f"{one.metric} {one.of} {one.low:g}..{one.high:g}" for one in gates) or "none"
        ),
        "costs": lambda change: _costs_text(costs_document(change)),
    }
    for place, number in enumerate(found.numbers.tolist()):
        rule = grid.rule(number)
        beside = {"entry": grid.entry_of(number), "costs": grid.costs_change(number)}
        parts = {name: beside[name] if name in beside else getattr(rule, name) for name in varied}
        won = found.win_rate[place]
        table.add_row(
            f"{number:,}",
            *(say.get(name, _text)(parts[name]) for name in varied),
            f"{found.columns['trades'][place]:,}",
            f"{found.columns['net_ticks'][place] * pips_per_tick:+,.1f}",
            f"{-found.columns['max_drawdown_ticks'][place] * pips_per_tick:,.1f}",
            "" if won != won else f"{won:.1%}",
            f"{found.sharpe[place]:+.3f}",
        )
    console.print(table)
    if check is None:
        console.print(
            "The best of many always looks good: --surrogates 500 says whether luck does as well.",
            style="yellow",
        )
    else:
        console.print(
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
