"""sep info: version, backends, accelerator."""

import json
import platform

import typer

from sep_engine.cli.source import AsJson
from sep_engine.cli.text import screen


def info(as_json: AsJson = False) -> None:
    """Show the version, the backends and what can run here."""
    from importlib.metadata import version

    import sep_engine

    backends = [
        {"name": one.name, "available": one.available, "detail": one.detail}
        for one in sep_engine.backends()
    ]
    facts = {
        "version": sep_engine.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": version("numpy"),
        "pyarrow": version("pyarrow"),
        "backends": backends,
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return

    from rich.table import Table

    console = screen()
    console.print(
        f"sep {facts['version']}  Python {facts['python']} on {facts['machine']}  "
        f"NumPy {facts['numpy']}  PyArrow {facts['pyarrow']}",
    )
    table = Table("backend", "runs here", "detail")
    for one in sep_engine.backends():
        table.add_row(one.name, "yes" if one.available else "no", one.detail)
    console.print(table)
