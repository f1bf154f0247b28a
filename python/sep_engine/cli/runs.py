"""Stored runs: a page and a JSON document each, named by the hash of what was found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from sep_engine.data import Bars
    from sep_engine.evidence.settings import Count


def absolute(path: Path | None) -> str | None:
    """Return a path as text that means the same from any folder."""
    return None if path is None else str(path.resolve())


def run_key(document: Mapping[str, Any]) -> str:
    """Return what a run is named by: it depends on data, rules, costs, seed and engine only."""
    result = {name: part for name, part in document.items() if name != "computed_on"}
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()[:12]


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


def counted_in(
    out: Path, bars: Bars, configurations: Sequence[Mapping[str, object]]
) -> Callable[[Sequence[float | None]], Count]:
    """Return what records a look in the ledger beside the runs and counts all before it.

    It takes the Sharpe ratio of every configuration, None where there is none.
    """
    from sep_engine import __version__
    from sep_engine.evidence.settings import Count
    from sep_engine.ledger import Ledger, Trial, whoami

    def count(sharpes: Sequence[float | None]) -> Count:
        trials = [
            Trial(dict(configuration), sharpe)
            for configuration, sharpe in zip(configurations, sharpes, strict=True)
        ]
        try:
            with Ledger(out / "ledger.sqlite3") as ledger:
                tried = ledger.record(
                    trials,
                    data_sha256=bars.content_sha256,
                    code_version=__version__,
                    tried_by=whoami(),
                    now=datetime.now(UTC),
                )
        except OSError as error:
            raise ArgumentError(f"--out {out}: {error.strerror}") from error
        return Count(tried.trials, tried.look)

    return count
