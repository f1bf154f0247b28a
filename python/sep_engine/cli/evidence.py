"""sep study: what the evidence lab says of generated prices, and of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sep_engine.cli.source import AsJson, progress
from sep_engine.errors import ArgumentError

app = typer.Typer(
    help="What the evidence lab says of generated prices, and of real ones.", no_args_is_help=True
)


@app.callback()
def _studies() -> None:
    pass


@app.command("sixty-percent")
def sixty_percent(
    bars: Annotated[int, typer.Option(help="Hourly bars to generate, 1500 to 100000.")] = 6000,
    seed: Annotated[int, typer.Option(help="Of the prices and of everything else.")] = 2024,
    out: Annotated[
        Path | None, typer.Option(help="Write the Markdown page there, not to stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a hit rate of 60 % appears on generated prices, and how each gate takes it away."""
    if not 1500 <= bars <= 100_000:
        raise ArgumentError(f"--bars must be in 1500..100000, was {bars}")
    with progress(stages=1) as bar:
        bar.begin("Evaluating 980 settings, with and without the leak")
        try:
            from sep_engine.evidence import sixty_percent as demonstration
        except ModuleNotFoundError as error:
            raise ArgumentError(
                f"{error.name} is missing: pip install 'sep-engine[evidence]'"
            ) from error
        result = demonstration.study(bars=bars, seed=seed)
        page = demonstration.page(result)
    if as_json:
        import json

        typer.echo(
            json.dumps({"leaky": result.leaky.document, "mended": result.mended.document}, indent=2)
        )
    else:
        _shown(page, out)


@app.command("real-data")
def real_data(
    data: Annotated[
        Path, typer.Option(help="Folder with the files that the page names; they are not shipped.")
    ],
    surrogates: Annotated[int, typer.Option(min=19, help="Worlds of coin flips, each.")] = 200,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for each verdict, so that a second run goes on.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the Markdown page there, not to stdout.")
    ] = None,
) -> None:
    """Judge the default rules on real bars of several markets, and write one page of figures."""
    from sep_engine.cli import real_data as study

    with progress(stages=4 * len(study.CASES)) as bar:
        found = [
            study.judged(case, data, bar, surrogates=surrogates, keep=keep) for case in study.CASES
        ]
    _shown(study.page(found, surrogates=surrogates), out)


def _shown(page: str, out: Path | None) -> None:
    if out is None:
        typer.echo(page)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"--out {out}: {error.strerror}") from error
    typer.echo(f"Wrote {out}")
