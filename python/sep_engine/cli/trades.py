"""sep verdict --trades: what a list of trades from any program says about an edge."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sep_engine.cli.given import bars_volume, sample_pip, usual_pip, whole_ticks
from sep_engine.cli.runs import check_out, counted_in, ledger_text, run_key, write_files
from sep_engine.cli.source import SourceOptions, Stages, decimal_option, progress
from sep_engine.cli.text import duration_text, print_lines, screen
from sep_engine.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from sep_engine.data import Bars
    from sep_engine.data.trades import TradeRow, TradeTable
    from sep_engine.evidence.market import TimedBars
    from sep_engine.evidence.settings import Count
    from sep_engine.evidence.trades import TradeList
    from sep_engine.model.volume import Counted

# Kinds of rows that --accept leaves out; the verdict then says so and does not pass.
ACCEPTABLE = ("bad_trade", "unmatched_trade")


@dataclass(frozen=True, slots=True)
class TradesOptions(SourceOptions):
    """Everything that decides a verdict on trades, as JSON; paths absolute."""

    trades: str
    spread_pips: str | None
    pip: str | None
    trials: int | None
    instrument: str | None
    fees_pips: str | None
    tolerance_pips: str | None
    trades_time_zone: str | None
    worlds: int
    seed: int
    synthetic: bool
    volume: str | None = None


def judge_trades(options: TradesOptions, *, out: Path, as_json: bool) -> None:
    """Judge trades, write page and document into `out`, and print what was found."""
    check_out(out)
    with progress(stages=3) as bar:
        document = trades_document(
            options,
            bar,
            # Other worlds of chance are another look.
            counted=lambda bars, of: counted_in(
                out, bars, [of], {"seed": seed} if (seed := options.seed) else None
            ),
        )
        bar.begin("Drawing")
        path = _written(out, document, options)
    if as_json:
        typer.echo(json.dumps({**document, "page": str(path)}, indent=2))
    else:
        _print(document, path)


def trades_document(
    options: TradesOptions,
    bar: Stages,
    counted: Callable[[Bars, dict[str, object]], Callable[[Sequence[float | None]], Count]],
) -> dict[str, Any]:
    """Return the document of a verdict on trades.

    counted: gives, for bars and what names the trades, what says how much was tried by now.
    """
    bar.begin("Reading")
    try:
        from sep_engine.evidence.trades import evaluate
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"sep verdict needs {error.name}: pip install 'sep-engine[evidence]'"
        ) from error
    import numpy as np

    from sep_engine import __version__
    from sep_engine.data.trades import read_trades
    from sep_engine.evidence.lab import RoundTripCosts
    from sep_engine.evidence.market import TimedBars

    ours = [kind for kind in options.accept if kind in ACCEPTABLE]
    table = read_trades(options.trades, time_zone=options.trades_time_zone)
    prices = _prices(options)
    bars, pip = prices.bars, float(prices.pip / prices.bars.tick)
    spread = whole_ticks("--spread-pips", prices.spread_pips or "0", prices.pip, bars.tick)
    told = "given on the command line" if options.spread_pips else "assumed for the sample"
    if prices.spread_pips is None:
        told = "nobody said what it costs: nothing after costs is known, and no verdict passes"
    costs = RoundTripCosts(spread, pip, True, told, said=prices.spread_pips is not None)
    # Bars of one side lie a spread beside the other, and a fill may slip by a pip.
    tolerance = max(float(spread), pip)
    if options.tolerance_pips is not None:
        pips = decimal_option("--tolerance-pips", options.tolerance_pips)
        tolerance = float(pips or 0) * pip
    market = TimedBars.of(bars)
    rows, left_out = _of_instrument(table, options.instrument)
    rows, refused = _matched(table, rows, market, bars=bars, tolerance_ticks=tolerance, accept=ours)
    trades = _columns(rows, tick=float(bars.tick))
    fees = table.fees
    if options.fees_pips is not None:
        given_fees = whole_ticks("--fees-pips", options.fees_pips, prices.pip, bars.tick)
        trades = replace(trades, fees=np.full(len(trades), float(given_fees)))
        fees = "given on the command line"
    every_size = all(row.units is not None for row in rows)
    provenance = {
        "program": table.source,
        "trades_file": table.path.name,
        "trades_sha256": table.sha256,
        "times_of_trades": options.trades_time_zone or "zone stated in the file",
        "fees": fees,
        "sizes": "stated in the file" if every_size else "not stated: every trade counts the same",
        "left_out_by_instrument": left_out,
        "refused_rows": [
            f"{reason}: {count}" for reason, count in sorted(Counter(refused).items())
        ],
        **_provenance(prices, options),
    }
    count = counted(bars, {"trades_sha256": table.sha256, "instrument": options.instrument})
    bar.begin("Opening the same positions at random times")
    report = evaluate(
        market,
        trades,
        costs=costs,
        duration_ns=bars.duration_ns,
        tolerance_ticks=tolerance,
        refused=len(refused),
        provenance=provenance,
        volume=bars_volume(bars, options.volume, prices.volume_of),
        declared_trials=options.trials,
        worlds=options.worlds,
        seed=options.seed,
        count=lambda sharpe: count([sharpe]),
        progress=lambda part, done, total: bar.within(done / total),
    )
    return {**report.document, "engine": __version__}


@dataclass(frozen=True, slots=True, eq=False)
class _Prices:
    """The bars that trades are held against. `pip` is in price, `spread_pips` as it was said, or
    None."""

    bars: Bars
    pip: Decimal
    spread_pips: str | None
    origin: Mapping[str, Any]
    volume_of: Counted


def _prices(options: TradesOptions) -> _Prices:
    """Return the bars of --prices, and what a round trip costs beside the fill prices."""
    others = tuple(kind for kind in options.accept if kind not in ACCEPTABLE)
    source = replace(options, accept=others).source(synthetic=options.synthetic)
    pip = decimal_option("--pip", options.pip)
    if options.sample:
        sample = source.sample()
        spread = options.spread_pips or sample.metadata["assumed_spread_pips"]
        return _Prices(sample.bars, sample_pip(sample, pip), spread, {}, "unknown")
    stored = source.stored() if source.is_stored else None
    bars = source.bars() if stored is None else stored.bars
    if stored is None:
        return _Prices(bars, pip or usual_pip(bars.tick), options.spread_pips, {}, "unknown")
    origin = stored.metadata["origin"]
    return _Prices(bars, pip or stored.pip, options.spread_pips, origin, stored.volume_of)


def _provenance(prices: _Prices, options: TradesOptions) -> dict[str, Any]:
    bars = prices.bars
    return {
        "name": bars.name,
        "sha256": bars.sha256,
        "content_sha256": bars.content_sha256,
        "bars_of": duration_text(bars.duration),
        "tick": str(bars.tick),
        "calendar": bars.calendar,
        "findings": [f"{found.kind}: {found.count}" for found in bars.quality.findings],
        **prices.origin,
        "synthetic": options.synthetic or prices.origin.get("synthetic", False),
    }


def _of_instrument(table: TradeTable, instrument: str | None) -> tuple[tuple[TradeRow, ...], int]:
    names = sorted({row.instrument for row in table.rows})
    if instrument is None:
        if len(names) > 1:
            raise ArgumentError(
                f"{table.path}: holds trades of {', '.join(names)}; choose with --instrument"
            )
        return table.rows, 0
    kept = tuple(row for row in table.rows if row.instrument == instrument)
    if not kept:
        raise ArgumentError(f"{table.path}: no trade of {instrument}; it has {', '.join(names)}")
    return kept, len(table.rows) - len(kept)


def _matched(
    table: TradeTable,
    rows: tuple[TradeRow, ...],
    market: TimedBars,
    *,
    bars: Bars,
    tolerance_ticks: float,
    accept: Sequence[str],
) -> tuple[tuple[TradeRow, ...], list[str]]:
    """Return the rows that lie on the bars, and a reason for each that does not.

    Raises:
        DataError: a row is no trade or lies on no bar, and that kind was not accepted.
    """
    from sep_engine.evidence.trades import mismatches

    # A stable order, so that trades opened at once keep the order of the file.
    rows = tuple(sorted(rows, key=lambda row: row.opened_ns))
    reasons = mismatches(
        market,
        _columns(rows, tick=float(bars.tick)),
        duration_ns=bars.duration_ns,
        tolerance_ticks=tolerance_ticks,
    )
    off = [(row.line, reason) for row, reason in zip(rows, reasons, strict=True) if reason]
    bad = [(row.line, row.reason) for row in table.bad_rows]
    for kind, found in (("bad_trade", bad), ("unmatched_trade", sorted(off))):
        if found and kind not in accept:
            line, reason = found[0]
            more = f" ({len(found)} such rows)" if len(found) > 1 else ""
            zone = ""
            if kind == "unmatched_trade" and len(off) * 2 > len(rows):
                zone = "; most rows are off: are time zone, price side and --tick right?"
            raise DataError(
                f"{table.path}, line {line}: {kind}: {reason}{more}{zone}; leave such rows out "
                f"with --accept {kind}, which the verdict counts against the trades"
            )
    kept = tuple(row for row, reason in zip(rows, reasons, strict=True) if not reason)
    return kept, [*(["bad_trade"] * len(bad)), *(["unmatched_trade"] * len(off))]


def _columns(rows: Sequence[TradeRow], *, tick: float) -> TradeList:
    import numpy as np

    from sep_engine.evidence.trades import TradeList

    def column(values: list[float]) -> Any:
        return np.array(values, dtype=np.float64)

    units = [None if row.units is None else float(row.units) for row in rows]
    weight = column([1.0 if None in units or size is None else size for size in units])
    fees = [float("nan") if row.fees is None else float(row.fees) / tick for row in rows]
    return TradeList(
        opened=np.array([row.opened_ns for row in rows], dtype=np.int64),
        closed=np.array([row.closed_ns for row in rows], dtype=np.int64),
        direction=np.array([row.direction for row in rows], dtype=np.int64),
        entry=column([float(row.entry) / tick for row in rows]),
        exit=column([float(row.exit) / tick for row in rows]),
        weight=weight / weight.mean() if rows else weight,
        fees=column(fees),
    )


def _written(out: Path, document: dict[str, Any], options: TradesOptions) -> Path:
    from sep_engine.report import trades_page

    found = document["provenance"]
    stem = f"verdict-trades-{found['name'].split('.')[0]}-{run_key(document)}"
    page = trades_page(document, title=f"Verdict on {found['trades_file']} on {found['name']}")
    stored = {**document, "run": {"command": "verdict --trades", "options": asdict(options)}}
    write_files(out, {f"{stem}.html": page, f"{stem}.json": json.dumps(stored) + "\n"})
    return out / f"{stem}.html"


def _print(document: dict[str, Any], path: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from sep_engine.report.trades import trades_section_lines

    console = screen()
    console.print(Text(document["verdict"]["text"], style="bold"))
    table = Table(show_header=False)
    for name, text in trades_section_lines(document):
        table.add_row(name, text)
    console.print(table)
    print_lines(console, document["verdict"])
    console.print(f"{ledger_text(path.parent)}.")
    console.print(f"Wrote {path}")
