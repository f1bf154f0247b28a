"""sep backtest: one rule over bars, as a table and as a page."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
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
    progress,
)
from sep_engine.cli.text import duration_text, time_text
from sep_engine.errors import ArgumentError, RuleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sep_engine.data import Bars
    from sep_engine.signals import Rule


def backtest(
    file: File = None,
    sample: UseSample = False,
    rule: Annotated[
        Path | None,
        typer.Option(help="JSON file with a rule; last-bit reversal at high coherence by default."),
    ] = None,
    spread_pips: Annotated[
        str | None,
        typer.Option(metavar="PIPS", help="Constant spread. Needed, unless --quotes or --sample."),
    ] = None,
    quotes: Annotated[
        Path | None,
        typer.Option(help="File with time,bid,ask at the same times: each bar's own spread."),
    ] = None,
    cost_pips: Annotated[
        str | None,
        typer.Option(metavar="PIPS", help="Commission and slippage of each side; none by default."),
    ] = None,
    side: Annotated[str, typer.Option(help="Side that the bars are of: bid, ask or mid.")] = "mid",
    pip: Annotated[
        str | None,
        typer.Option(metavar="PRICE", help="Price of a pip; 0.0001, or 0.01 for ticks >= 0.0005."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page and its JSON.")] = Path("runs"),
    tick: TickOption = None,
    calendar: Calendar = "fx",
    columns: Columns = None,
    time_zone: TimeZone = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """Run one rule over the bars of a FILE: entry at the next open, costs, stops, targets."""
    source = Source(file, sample, tick, calendar, columns, time_zone, accept)
    with progress(stages=4) as bar:
        bar.begin("Reading")
        from sep_engine import __version__
        from sep_engine.backtest import SIDES, Costs, run
        from sep_engine.report import Provenance, backtest_page

        tested = _rule(rule)
        if sample:
            given = source.sample()
            bars, side = given.bars, given.metadata["price_side"]
            pip_price = given.instrument.pip
            spread_pips = spread_pips or given.metadata["assumed_spread_pips"]
            rows = [
                (
                    "origin",
                    f"{given.metadata['origin']['package']} {given.metadata['origin']['version']}",
                ),
                ("licence", given.metadata["licence"]),
                ("vendor's terms", given.metadata["vendor_terms"]),
                ("time zone", given.metadata["time_zone_evidence"]),
            ]
        else:
            bars = source.bars()
            pip_price = decimal_option("--pip", pip) or usual_pip(bars.tick)
            rows = []
        if side not in SIDES:
            raise ArgumentError(f"--side must be one of {', '.join(SIDES)}; was {side!r}")
        spread: int | NDArray[np.int64]
        if quotes is not None:
            spread = spread_series(quotes, bars)
        elif spread_pips is not None:
            spread = whole_ticks("--spread-pips", spread_pips, pip_price, bars.tick)
        else:
            raise ArgumentError("say what the spread is: --spread-pips 1.3, or --quotes FILE")
        per_side = 0
        if cost_pips is not None:
            per_side = whole_ticks("--cost-pips", cost_pips, pip_price, bars.tick)
        costs = Costs(spread, per_side, assumed=quotes is None)
        bar.begin("Trading")
        result = run(bars, tested, costs, side=side)
        bar.begin("Drawing")
        document = {
            **result.to_json(),
            "engine": __version__,
            "file_sha256": bars.sha256,
            "pip": str(pip_price),
            "verdict": "unproven",
        }
        key = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
        page = backtest_page(
            result,
            times=bars.times,
            closes=bars.close,
            pip=pip_price,
            provenance=Provenance(
                [
                    ("bars of", duration_text(bars.duration)),
                    ("first", time_text(int(bars.times[0])) or ""),
                    ("last", time_text(int(bars.times[-1])) or ""),
                    ("calendar", bars.calendar),
                    *rows,
                    ("sha256 of the file", bars.sha256),
                ],
                [
                    f"{finding.kind}: {finding.count:,} rows, first in line "
                    f"{finding.first_line:,}; {finding.text}"
                    for finding in bars.quality.findings
                ],
            ),
            engine_version=__version__,
        )
        bar.begin("Writing")
        stem = f"backtest-{bars.name.split('.')[0]}-{key}"
        document["page"] = str(out / f"{stem}.html")
        write_files(
            out, {f"{stem}.html": page, f"{stem}.json": json.dumps(document, indent=2) + "\n"}
        )
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        _print(document, bars)


def _rule(path: Path | None) -> Rule:
    from sep_engine.signals import DEFAULT_RULE, Rule

    if path is None:
        return DEFAULT_RULE
    try:
        return Rule.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RuleError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RuleError(f"{path}: not JSON: {error}") from error
    except RuleError as error:
        raise RuleError(f"{path}: {error}") from error


def usual_pip(tick: Decimal) -> Decimal:
    """Return the usual FX pip: prices with two or three decimals (yen) have pips of 0.01."""
    return Decimal("0.01") if tick >= Decimal("0.0005") else Decimal("0.0001")


def whole_ticks(name: str, pips: str, pip: Decimal, tick: Decimal) -> int:
    """Return pips as ticks; ArgumentError if they are no whole number of them or below 0."""
    value = Decimal(0) if pips.strip("0.") == "" else decimal_option(name, pips)
    assert value is not None
    ticks = value * pip / tick
    if ticks != ticks.to_integral_value():
        raise ArgumentError(f"{name} must be a whole number of ticks of {tick}, was {pips} pips")
    return int(ticks)


def spread_series(path: Path, bars: Bars) -> NDArray[np.int64]:
    """Return (n,) the spread of each bar in ticks, from a file with a quote for every bar."""
    import numpy as np

    from sep_engine.data import load_quotes

    quotes = load_quotes(path)
    if not np.array_equal(quotes.times, bars.times):
        raise ArgumentError(f"{path}: its times must be those of the bars, one quote a bar")
    ticks = (quotes.ask - quotes.bid) / float(bars.tick)
    if np.abs(ticks - np.rint(ticks)).max() > 0.01:
        raise ArgumentError(f"{path}: its spreads must be whole ticks of {bars.tick}")
    return np.rint(ticks).astype(np.int64)


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write texts into a folder, made if needed; each file is whole or not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            unfinished = folder / f".{name}.unfinished"
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(folder / name)
    except OSError as error:
        raise ArgumentError(f"--out {folder}: {error.strerror}") from error


def _print(document: dict[str, Any], bars: Bars) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sep_engine.report.backtest import UNPROVEN

    console = Console(highlight=False)
    figures = document["figures"]
    pips_per_tick = float(Decimal(document["tick"]) / Decimal(document["pip"]))

    def pips(ticks: float | None) -> str:
        return "" if ticks is None else f"{ticks * pips_per_tick:+,.2f}"

    console.print(Text(document["name"], style="bold"))
    console.print(
        f"{figures['bars']:,} bars of {duration_text(bars.duration)}, "
        f"{time_text(int(bars.times[0]))} to {time_text(int(bars.times[-1]))}"
    )
    costs = document["costs"]
    console.print(
        f"{'assumed' if costs['assumed_spread'] else 'measured'} spread "
        f"{costs['spread_ticks'] * pips_per_tick:.2f} pips, prices are {document['price_side']}, "
        f"tick {document['tick']}, pip {document['pip']}"
    )
    table = Table("pips", "sum", "per trade")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in ("gross", "net"):
        table.add_row(
            name, pips(figures[f"{name}_ticks"]), pips(figures[f"{name}_ticks_per_trade"])
        )
    console.print(table)
    won = "" if figures["win_rate"] is None else f", {figures['win_rate']:.1%} won"
    exits = ", ".join(f"{count:,} by {why}" for why, count in figures["exits"].items() if count)
    console.print(f"{figures['trades']:,} trades{won}{': ' if exits else ''}{exits}")
    console.print(
        f"largest drawdown {pips(-figures['max_drawdown_ticks'])} pips, longest losing run "
        f"{figures['longest_losing_run']}, in the market {figures['exposure']:.1%} of bars"
    )
    console.print(UNPROVEN, style="yellow")
    console.print(f"Wrote {document['page']}")
