"""sep analyze: the metrics of a file, latest and over all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    progress,
)
from sep_engine.cli.text import duration_text, screen, time_text
from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_HIGH = 95.0  # percentile


def analyze(
    file: File = None,
    sample: UseSample = False,
    window: Annotated[int, typer.Option(help="Bits that the metrics look back on.")] = 64,
    encoding: Annotated[
        str, typer.Option(help="Prices to bits: moves, tick_carry, strict_up or pip_trunc_carry.")
    ] = "moves",
    out: Annotated[
        Path | None,
        typer.Option(help="Write every row's metrics to this .parquet or .csv file."),
    ] = None,
    tick: TickOption = None,
    calendar: Calendar = "fx",
    columns: Columns = None,
    time_zone: TimeZone = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """Compute the QFH metrics of a FILE, with their percentiles under a fair coin."""
    source = Source(located(file), sample, tick, calendar, columns, time_zone, accept)
    with progress(stages=4) as bar:
        bar.begin("Reading")
        import numpy as np

        from sep_engine.data import Bars, write_columns
        from sep_engine.model.ticks import infer_tick
        from sep_engine.qfh import COUNT_METRICS, ENCODINGS, rolling

        if encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise ArgumentError(f"--encoding must be one of {known}; was {encoding!r}")
        series = source.prices()
        if isinstance(series, Bars):
            closes, gaps, grid, duration = series.close, series.gaps(), series.tick, series.duration
        else:
            closes, gaps, duration = np.round(series.mid, 10), None, None
            grid = decimal_option("--tick", tick) or infer_tick(closes)
        bar.begin("Computing")
        metrics = rolling(
            closes,
            tick=float(grid),
            window=window,
            encoding=encoding,
            gap=gaps,
        )
        bar.begin("Comparing with a fair coin")
        names = (*COUNT_METRICS, "lambda_", "damped", "damped_anchored", "flat_ratio")
        values = {name: getattr(metrics, name) for name in names}
        percentiles = {name: metrics.percentile(name) for name in COUNT_METRICS}
        if out is not None:
            bar.begin(f"Writing {out}")
            scores = {f"{name}_percentile": percentiles[name] for name in COUNT_METRICS}
            plain = {name.rstrip("_"): column for name, column in values.items()}
            write_columns(out, series.times, {"close": closes, **plain, **scores})

    rows = [_row(name, values[name], percentiles.get(name), window=window) for name in names]
    document = {
        "name": series.name,
        "sha256": series.sha256,
        "rows": len(series),
        "first": time_text(int(series.times[0])),
        "last": time_text(int(series.times[-1])),
        "bars": duration_text(duration),
        "tick": str(grid),
        "tick_inferred": tick is None and not sample,
        "window": window,
        "encoding": encoding,
        "gaps": None if gaps is None else int(gaps.sum()),
        "warnings": [finding.kind for finding in series.quality.findings],
        "metrics": rows,
        "out": None if out is None else str(out),
    }
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        _print(document)


def _row(name: str, column: Floats, percentiles: Floats | None, *, window: int) -> dict[str, Any]:
    """Return the latest value and the mean of a (n,) metric, beside what a fair coin has.

    percentiles: (n,) under a fair coin, None for a metric of which a coin says nothing.
    """
    import numpy as np

    from sep_engine.qfh import coin_distribution

    known = column[np.isfinite(column)]
    counted = None if percentiles is None else percentiles[np.isfinite(percentiles)]
    row = {
        "metric": name.rstrip("_"),
        "latest": _number(column[-1]),
        "latest_percentile": None if percentiles is None else _number(percentiles[-1]),
        "mean": _number(known.mean()) if known.size else None,
        "coin_mean": None,
        "share_at_or_above_95": None,
        "coin_share_at_or_above_95": None,
    }
    if counted is not None and counted.size:
        row["coin_mean"] = coin_distribution(name, window).mean
        row["share_at_or_above_95"] = float((counted >= _HIGH).mean())
        row["coin_share_at_or_above_95"] = _coin_share(name, window)
    return row


def _coin_share(metric: str, window: int) -> float:
    """Return how often a fair coin is at or above the 95th percentile: 5 % or, for atoms, more."""
    from sep_engine.qfh import coin_distribution

    cumulative = coin_distribution(metric, window).cumulative
    return 1.0 - float(cumulative[100 * cumulative < _HIGH].max(initial=0.0))


def _number(value: float) -> float | None:
    return float(value) if value == value else None


def _print(document: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    def cell(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    console = screen()
    console.print(Text(document["name"], style="bold"))
    gaps = "" if document["gaps"] is None else f", {document['gaps']:,} gaps"
    console.print(
        f"{document['rows']:,} rows of {document['bars']}, "
        f"{document['first']} to {document['last']}{gaps}"
    )
    inferred = " (inferred)" if document["tick_inferred"] else ""
    console.print(
        f"tick {document['tick']}{inferred}, encoding {document['encoding']}, "
        f"window {document['window']}"
    )
    table = Table("metric", "latest", "percentile", "mean", "coin", "≥ 95th", "coin")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in document["metrics"]:
        table.add_row(
            row["metric"],
            cell(row["latest"], ".4f"),
            cell(row["latest_percentile"], ".1f"),
            cell(row["mean"], ".4f"),
            cell(row["coin_mean"], ".4f"),
            cell(row["share_at_or_above_95"], ".1%"),
            cell(row["coin_share_at_or_above_95"], ".1%"),
        )
    console.print(table)
    console.print(
        "percentile: of the latest value under a fair coin. ≥ 95th: share of windows at or above "
        "the coin's 95th percentile. coin: what a fair coin has.",
        style="dim",
    )
    if document["warnings"]:
        console.print(
            f"Data: {', '.join(document['warnings'])}; see sep data check.", style="yellow"
        )
    if document["out"]:
        console.print(f"Wrote {document['out']}")
