"""sep data: fetch, keep and check market data before anything is computed from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sep_engine.cli import download
from sep_engine.cli.given import bar_spreads, usual_pip
from sep_engine.cli.source import (
    Accept,
    AsJson,
    Calendar,
    Columns,
    File,
    Source,
    TickOption,
    TimeZone,
    UseSample,
    decimal_option,
    located,
)
from sep_engine.cli.text import duration_text, screen, time_text
from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from decimal import Decimal

    from sep_engine.data import Bars, QualityReport
    from sep_engine.data.store import BarColumns

app = typer.Typer(help="Fetch, keep and check market data.", no_args_is_help=True)
app.add_typer(download.app, name="download")


@app.callback()
def _data() -> None:
    pass


@app.command()
def check(
    file: File = None,
    sample: UseSample = False,
    calendar: Calendar = "fx",
    columns: Columns = None,
    time_zone: TimeZone = None,
    as_json: AsJson = False,
) -> None:
    """Report gaps, duplicates, bad rows and oddities of a FILE. Exit code 1: it has errors."""
    from sep_engine.data import inspect, read_table
    from sep_engine.data.sample import DEFAULT_SAMPLE, sample_path

    source = Source(located(file), sample, None, calendar, columns, time_zone, None)
    path = source.file or sample_path(DEFAULT_SAMPLE) / "bars.csv"
    if source.is_stored:
        stored = source.stored()  # refuses bytes that are not those that were stored
        path, calendar = path / "bars.parquet", stored.metadata["calendar"]
    table = read_table(path, columns=source.column_names, time_zone=time_zone)
    report = inspect(table, calendar=calendar)
    if as_json:
        typer.echo(json.dumps(_document(report), indent=2))
    else:
        _print(report)
    if report.errors:
        raise typer.Exit(1)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bars, or ticks with --bars-of.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the data set.")],
    instrument: Annotated[str, typer.Option(help="What these are the prices of, e.g. EUR_USD.")],
    vendor: Annotated[str, typer.Option(help="Who they are from; unknown is an answer.")],
    licence: Annotated[str, typer.Option(help="Under what they may be used; unknown too.")],
    side: Annotated[str, typer.Option(help="Price side of bars: bid, ask, mid or trade.")] = "mid",
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="These prices were generated: say so everywhere.")
    ] = False,
    volume: Annotated[
        str | None,
        typer.Option(
            metavar="units|updates",
            help="What the volume of bars counts: units traded, or updates of the price.",
        ),
    ] = None,
    quotes: Annotated[
        Path | None,
        typer.Option(help="File with time,bid,ask at the bars' times: the spread at each close."),
    ] = None,
    bars_of: Annotated[
        str | None, typer.Option(metavar="M1|H1|…", help="Make bars of this length from ticks.")
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(metavar="PRICE", help="Prices are whole numbers of points of this price."),
    ] = None,
    pip: Annotated[
        str | None, typer.Option(metavar="PRICE", help="Price of a pip; guessed from the tick.")
    ] = None,
    tick: TickOption = None,
    calendar: Calendar = "fx",
    columns: Columns = None,
    time_zone: TimeZone = None,
    accept: Accept = None,
) -> None:
    """Keep the bars of a FILE in the store under a NAME, with where they are from."""
    from sep_engine.data import load_bars, load_quotes, read_table
    from sep_engine.data.store import (
        Origin,
        bars_of_quotes,
        columns_of,
        data_set,
        save,
        store_path,
    )

    names = None if columns is None else columns.split(",")
    table = read_table(file, columns=names, time_zone=time_zone)
    step = decimal_option("--tick", tick)
    own_pip = decimal_option("--pip", pip)
    data_set(store_path(), name)
    if table.has_bars == (bars_of is not None):
        raise ArgumentError("--bars-of goes with ticks (time, bid, ask), and ticks with it")
    if volume not in (None, "units", "updates"):
        raise ArgumentError(f"--volume must be units or updates, was {volume!r}")
    if bars_of is not None:
        ticks = load_quotes(
            file, calendar=calendar, columns=names, time_zone=time_zone, accept=accept or ()
        )
        made = bars_of_quotes(ticks, download.duration_of(bars_of))
        side, volume = "bid", "updates"  # of a bar made of ticks it is their number
    else:
        bars = load_bars(
            file,
            tick=step,
            calendar=calendar,
            columns=names,
            time_zone=time_zone,
            accept=accept or (),
            synthetic=synthetic,
        )
        spread = None
        if quotes is not None:
            spread = bar_spreads(
                quotes, bars, calendar=calendar, time_zone=time_zone, accept=accept or ()
            )
        made = columns_of(bars, spread=spread)
        size = decimal_option("--point", point)
        if size is not None:
            made = _in_points(bars, size, spread)
            step, own_pip = size, own_pip or usual_pip(size)
        elif bars.tick >= 1 and own_pip is None:
            raise ArgumentError(
                "prices are whole numbers: say --point 0.00001 if they count points, or --pip"
            )
        own_pip = own_pip or usual_pip(bars.tick)
    metadata = save(
        made,
        store=store_path(),
        name=name,
        instrument=instrument,
        origin=Origin(
            vendor=vendor,
            licence=licence,
            price_side=side,
            time_zone="stated in the file" if time_zone is None else f"{time_zone}, as told",
            synthetic=synthetic,
            source=file.name,
            source_sha256=table.sha256,
        ),
        tick=step,
        pip=own_pip or usual_pip(_tick_of(made)),
        calendar=calendar,
        accept=accept or (),
        now=datetime.now(UTC),
        details=None if volume is None else {"volume_of": volume},
    )
    download.print_metadata(metadata)


@app.command("list")
def list_sets(as_json: AsJson = False) -> None:
    """List the data sets of the store (SEP_DATA_PATH, or sep-data in this folder)."""
    from sep_engine.data.store import catalogue, store_path

    found = list(catalogue(store_path()))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        typer.echo(f"No data in {store_path()}.")
        return
    from rich.table import Table

    table = Table("name", "instrument", "bars", "rows", "first", "last", "vendor")
    table.columns[3].justify = "right"
    for one in found:
        mark = "SYNTHETIC " if one["origin"]["synthetic"] else ""
        table.add_row(
            one["name"],
            one["instrument"],
            download.bars_text(one),
            f"{one['rows']:,}",
            one["first"],
            one["last"],
            mark + one["origin"]["vendor"],
        )
    screen().print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: AsJson = False) -> None:
    """Show what is known of a data set, and that its bytes are those that were stored."""
    from sep_engine.data.store import data_set, is_data_set, load_stored, store_path

    folder = data_set(store_path(), name)
    if not is_data_set(folder):
        raise ArgumentError(f"no data set {name} in {store_path()}")
    metadata = load_stored(folder).metadata
    if as_json:
        typer.echo(json.dumps(metadata, indent=2))
    else:
        download.print_metadata(metadata)


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a data set from the store."""
    from sep_engine.data.store import data_set, is_data_set, store_path
    from sep_engine.data.store import delete as delete_set

    if not yes and is_data_set(data_set(store_path(), name)):
        typer.confirm(f"Delete {name}?", abort=True, err=True)
    delete_set(store_path(), name)
    typer.echo(f"Deleted {name}")


def _in_points(bars: Bars, point: Decimal, spread: Any) -> BarColumns:
    """Return bars whose prices count points of a price, as prices on that grid."""
    import numpy as np

    from sep_engine.data.store import BarColumns
    from sep_engine.data.table import BAR_COLUMNS

    if bars.tick < 1:
        raise ArgumentError(f"--point: prices are no whole numbers, their tick is {bars.tick}")
    decimals = max(0, -int(point.as_tuple().exponent))
    # Vendors write 103428.00000000001: the whole number is what is meant, and all that is kept.
    own = {
        name: np.round(np.rint(getattr(bars, name)) * float(point), decimals)
        for name in BAR_COLUMNS
    }
    return BarColumns(times=bars.times, own=own, spread=spread, volume=bars.volume)


def _tick_of(columns: BarColumns) -> Decimal:
    import numpy as np

    from sep_engine.model.ticks import infer_tick

    return infer_tick(np.stack([columns.own["open"], columns.own["close"]]))


def _document(report: QualityReport) -> dict[str, object]:
    return {
        "path": report.path,
        "sha256": report.sha256,
        "rows": report.rows,
        "first": time_text(report.first_ns),
        "last": time_text(report.last_ns),
        "calendar": report.calendar,
        "duration_s": None if report.duration is None else report.duration.total_seconds(),
        "missing_bars": report.missing_bars,
        "longest_gap_bars": report.longest_gap_bars,
        "unchanged_fraction": report.unchanged_fraction,
        "median_spread": report.median_spread,
        "findings": [
            {
                "kind": finding.kind,
                "severity": "error" if finding.is_error else "warning",
                "count": finding.count,
                "first_line": finding.first_line,
                "text": finding.text,
            }
            for finding in report.findings
        ],
    }


def _print(report: QualityReport) -> None:
    from rich.table import Table
    from rich.text import Text

    console = screen()
    console.print(Text(report.path, style="bold"))
    console.print(
        f"{report.rows:,} rows of {duration_text(report.duration)}, "
        f"{time_text(report.first_ns) or 'no first'} to {time_text(report.last_ns) or 'no last'}, "
        f"calendar {report.calendar}"
    )
    console.print(
        f"{report.missing_bars:,} bars missing in open hours, at most "
        f"{report.longest_gap_bars:,} in a row; {100 * report.unchanged_fraction:.2f} % of closes "
        "did not move"
        + ("" if report.median_spread is None else f"; median spread {report.median_spread:.6g}")
    )
    console.print(f"sha256 {report.sha256}")
    if not report.findings:
        console.print("Nothing found.")
        return
    table = Table("finding", "rows", "first line", "what")
    table.columns[1].justify = table.columns[2].justify = "right"
    for finding in report.findings:
        kind = f"error: {finding.kind}" if finding.is_error else finding.kind
        style = "red" if finding.is_error else ""
        table.add_row(
            Text(kind, style=style), f"{finding.count:,}", f"{finding.first_line:,}", finding.text
        )
    console.print(table)
