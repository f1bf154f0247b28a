"""sep data: look at market data before anything is computed from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from sep_engine.cli.source import AsJson, Calendar, Columns, File, Source, TimeZone, UseSample
from sep_engine.cli.text import duration_text, time_text

if TYPE_CHECKING:
    from sep_engine.data import QualityReport

app = typer.Typer(help="Check market data.", no_args_is_help=True)


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

    source = Source(file, sample, None, calendar, columns, time_zone, None)
    path = source.file or sample_path(DEFAULT_SAMPLE) / "bars.csv"
    table = read_table(path, columns=source.column_names, time_zone=time_zone)
    report = inspect(table, calendar=calendar)
    if as_json:
        typer.echo(json.dumps(_document(report), indent=2))
    else:
        _print(report)
    if report.errors:
        raise typer.Exit(1)


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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
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
