import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import typer.main
from matplotlib.figure import Figure

from sep_engine.cli import main
from sep_engine.data.sample import sample_path
from sep_engine.evidence import settings


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


# Typer makes all commands out of their functions each time that it is called: 0.1 s of CPU.
_command = cache(typer.main.get_command)


@pytest.fixture
def drawn() -> None:
    """Asked for by tests of pages: their figures are drawn."""


@pytest.fixture(autouse=True)
def composed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere figures are composed and not drawn, which is two fifths of what a run costs."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(Figure, "savefig", lambda figure, out, **_: out.write("<svg></svg>"))


@pytest.fixture
def sep(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(typer.main, "get_command", _command)

    def call(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sep", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, out, err)

    return call


@pytest.fixture
def quick_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lab cut, draw and run again less often than anyone should."""
    fewer = partial(settings.Settings, truncations=60, gate_trades=10, draws=100)
    monkeypatch.setattr(settings, "Settings", fewer)


@pytest.fixture
def small(tmp_path: Path) -> Callable[[int], Path]:
    """Write the first bars of the sample to a file."""

    def write(bars: int) -> Path:
        lines = (sample_path("eur_usd_h1") / "bars.csv").read_text().splitlines()[: bars + 1]
        path = tmp_path / "small.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
