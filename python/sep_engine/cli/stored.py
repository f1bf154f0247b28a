"""sep runs and sep verify: look at stored runs, and make one again to compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from sep_engine.cli.backtest import BacktestOptions, trade_back
from sep_engine.cli.source import AsJson, progress
from sep_engine.cli.sweep import SweepOptions, sweep_over
from sep_engine.cli.text import screen
from sep_engine.cli.trades import TradesOptions, trades_document
from sep_engine.cli.verdict import VerdictOptions, judge
from sep_engine.errors import ArgumentError
from sep_engine.qfh import BackendName

app = typer.Typer(help="List, show, compare and delete stored runs.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--out", help="Folder that the runs were written to.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="JSON file of a run, or its digits.")]

_OUT = Path("runs")
# Taken from the clock, the machine or the ledger, so not part of what must come out again.
_NOT_COMPARED = ("run", "page", "computed_on")


@app.callback()
def _runs() -> None:
    pass


@app.command("list")
def list_runs(out: Folder = _OUT, as_json: AsJson = False) -> None:
    """List the runs of a folder, newest first."""
    rows = []
    paths = sorted(out.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        document = _document(path)
        if "run" in document:
            rows.append({"run": path.stem, "result": _result(document)})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo(f"No runs in {out}.")
        return
    from rich.table import Table

    table = Table("run", "result")
    for row in rows:
        table.add_row(row["run"], row["result"])
    screen().print(table)


@app.command()
def show(run: Run, out: Folder = _OUT) -> None:
    """Print the JSON document of a run."""
    typer.echo(json.dumps(_document(_path(run, out)), indent=2))


@app.command()
def compare(run: Run, other: Run, out: Folder = _OUT, as_json: AsJson = False) -> None:
    """Show every figure in which two runs differ."""
    first, second = (_document(_path(one, out)) for one in (run, other))
    differences = list(_differences(first, second))
    if as_json:
        typer.echo(json.dumps([dict(zip("abc", row, strict=True)) for row in differences]))
        return
    if not differences:
        typer.echo("No difference.")
        return
    from rich.table import Table

    table = Table("figure", _name(run), _name(other))
    for name, left, right in _gathered(differences):
        table.add_row(name, left, right)
    screen().print(table)


@app.command()
def delete(
    run: Run,
    out: Folder = _OUT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the page and the document of a run. What was tried stays in the ledger."""
    path = _path(run, out)
    _document(path)
    if not yes:
        typer.confirm(f"Delete {path.stem}?", abort=True, err=True)
    path.unlink()
    path.with_suffix(".html").unlink(missing_ok=True)
    typer.echo(f"Deleted {path.stem}")


def verify(
    run: Run,
    out: Folder = _OUT,
    backend: Annotated[
        str,
        typer.Option(help="What computes it now: auto, scalar, simd or cuda. None may differ."),
    ] = "auto",
) -> None:
    """Make a run again from its data and compare every figure. Exit code 1: it differs."""
    if backend not in get_args(BackendName):
        names = ", ".join(get_args(BackendName))
        raise ArgumentError(f"--backend must be one of {names}; was {backend!r}")
    path = _path(run, out)
    stored = _document(path)
    if "run" not in stored:
        raise ArgumentError(f"{path}: no run of sep backtest, sep sweep or sep verdict")
    options = _options(path, stored["run"])
    with progress(stages=4) as bar:
        if isinstance(options, BacktestOptions):
            made, _, _ = trade_back(options, bar)
        elif isinstance(options, SweepOptions):
            made = sweep_over(options, bar, backend=backend).document
        elif isinstance(options, TradesOptions):
            from sep_engine.evidence.settings import Count

            known = Count(stored["selection"]["ledger_trials"], stored["selection"]["look"])
            made = trades_document(options, bar, lambda bars, of: lambda _: known)
        else:
            from sep_engine.evidence.settings import Count

            # What was tried by then is the ledger's to say; nothing new is tried here.
            tried = Count(stored["selection"]["trials"], stored["selection"]["look"])
            gate = stored["causality"]
            made = judge(
                options,
                bar,
                lambda bars, family, settings: lambda _: tried,
                backend=cast(BackendName, backend),
                # As often as its time allowed then, however fast this machine is.
                gate=(gate["truncations"], gate["trades_again"], gate["largest_again"]),
            )
    differences = list(_differences(stored, json.loads(json.dumps(made))))
    if not differences:
        typer.echo(f"{path.stem}: the same, to the last bit")
        return
    for name, left, right in differences[:20]:
        typer.echo(f"{name}: stored {left}, now {right}")
    typer.echo(f"{path.stem}: {len(differences)} figures differ")
    raise typer.Exit(1)


def _path(run: str, out: Path) -> Path:
    if run.endswith(".json"):
        return Path(run)
    found = list(out.glob(f"*{run}.json"))
    if len(found) != 1:
        raise ArgumentError(f"{out}: {len(found)} runs end in {run!r}")
    return found[0]


def _options(
    path: Path, run: Mapping[str, Any]
) -> BacktestOptions | SweepOptions | TradesOptions | VerdictOptions:
    try:
        values = {**run["options"], "accept": tuple(run["options"]["accept"])}
        if run["command"] == "backtest":
            return BacktestOptions(**values)
        if run["command"] == "sweep":
            return SweepOptions(**values)
        if run["command"] == "verdict":
            return VerdictOptions(**values)
        if run["command"] == "verdict --trades":
            return TradesOptions(**values)
        raise KeyError(run["command"])
    except (KeyError, TypeError) as error:
        raise ArgumentError(f"{path}: made by another version of sep: {error}") from error


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ArgumentError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ArgumentError(f"{path}: no run")
    return document


def _result(document: Mapping[str, Any]) -> str:
    if isinstance(document["verdict"], Mapping):
        return str(document["verdict"]["text"])
    if "best" in document:
        best = document["best"][0]
        return (
            f"{document['rules']:,} rules, the best {best['trades']:,} trades, net "
            f"{best['net_ticks']:+,} ticks"
        )
    figures = document["figures"]
    return f"{figures['trades']:,} trades, net {figures['net_ticks']:+,} ticks"


def _name(run: str) -> str:
    """Return what a run is called in the head of a table."""
    return run.removesuffix(".json").rpartition("/")[2][-24:].lstrip("-")


def _gathered(
    differences: Sequence[tuple[str, object, object]],
) -> Iterator[tuple[str, str, str]]:
    """Yield single figures as they are, and of each list how many of its values differ."""
    lists: dict[str, list[tuple[object, object]]] = {}
    for path, left, right in differences:
        lists.setdefault(path.partition("[")[0], []).append((left, right))
    for name, pairs in lists.items():
        if all(path != name for path, _, _ in differences):
            yield name, f"{len(pairs):,} values differ", ""
            continue
        for left, right in pairs:
            short = _short(left), _short(right)
            # Figures that differ in the last bits only are shown with all of them.
            yield name, *(short if short[0] != short[1] else (str(left), str(right)))


def _short(value: object) -> str:
    if isinstance(value, list | dict):
        return f"{len(value):,} values"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _differences(
    left: object, right: object, path: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Yield path and both values of every leaf that differs; floats are compared exactly."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted({*left, *right} - set(_NOT_COMPARED if not path else ())):
            where = f"{path}.{name}" if path else name
            yield from _differences(left.get(name), right.get(name), where)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif left != right:
        yield path, left, right
