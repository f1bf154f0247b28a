"""sep study: demonstrations of the evidence lab on generated prices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sep_engine.cli.source import AsJson, progress
from sep_engine.errors import ArgumentError

app = typer.Typer(help="Demonstrations of the evidence lab on generated prices.")


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
    elif out is None:
        typer.echo(page)
    else:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(page, encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"--out {out}: {error.strerror}") from error
        typer.echo(f"Wrote {out}")
