"""Stored runs: a page and a JSON document each, named by the hash of what was found."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_engine.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from sep_engine.data import Bars
    from sep_engine.evidence.settings import Count
    from sep_engine.ledger import Tried


def absolute(path: Path | None) -> str | None:
    """Return a path as text that means the same from any folder."""
    return None if path is None else str(path.resolve())


def run_key(document: Mapping[str, Any]) -> str:
    """Return what a run is named by: it depends on data, rules, costs, seed and engine only."""
    result = {name: part for name, part in document.items() if name != "computed_on"}
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()[:12]


def check_out(folder: Path) -> None:
    """Refuse an --out that no file can be written to, before what is to be written takes hours."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ArgumentError(f"--out {folder}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ArgumentError(f"--out {folder}: {there} cannot be written to")


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
    out: Path,
    bars: Bars,
    configurations: Sequence[Mapping[str, object]],
    settings: Mapping[str, object] | None = None,
) -> Callable[[Sequence[float | None]], Count]:
    """Return what records a look in the ledger beside the runs and counts all before it.

    It takes the Sharpe ratio of every configuration, None where there is none.

    settings: what luck depends on besides, where it is not as usual.
    """
    from sep_engine.evidence.settings import Count

    def count(sharpes: Sequence[float | None]) -> Count:
        tried = recorded(
            out, bars, zip(configurations, sharpes, strict=True), settings=settings, verified=True
        )
        return Count(tried.trials, tried.look)

    return count


def recorded(
    out: Path,
    bars: Bars,
    trials: Iterable[tuple[Mapping[str, object], float | None]],
    *,
    settings: Mapping[str, object] | None = None,
    verified: bool = False,
) -> Tried:
    """Record configurations and their Sharpe ratios in the ledger beside the runs, as one look.

    verified: refuse a ledger whose rows do not follow from each other.
    """
    from sep_engine import __version__
    from sep_engine.ledger import Ledger, Trial, whoami

    path = out / "ledger.sqlite3"
    try:
        with Ledger(path) as ledger:
            if verified:
                ledger.verify()
            return ledger.record(
                [Trial(dict(configuration), sharpe) for configuration, sharpe in trials],
                data_sha256=bars.content_sha256,
                code_version=__version__,
                tried_by=whoami(),
                now=datetime.now(UTC),
                settings=settings,
            )
    except OSError as error:
        raise ArgumentError(f"--out {out}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise ArgumentError(f"{path}: {error}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def ledger_text(out: Path) -> str:
    """Return how far the ledger beside the runs sees, for people."""
    return (
        f"Tried is what {out}/ledger.sqlite3 was told of: nothing from Python or with another --out"
    )


def tried_text(tried: Tried, out: Path) -> str:
    """Return what the ledger holds by now, for people."""
    s = "" if tried.trials == 1 else "s"
    return f"{tried.trials:,} configuration{s} tried on these bars by now ({out}/ledger.sqlite3)"
