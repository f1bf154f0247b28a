"""Stored runs: a page and a JSON document each, named by the hash of what was found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sep_engine.errors import ArgumentError


def absolute(path: Path | None) -> str | None:
    """Return a path as text that means the same from any folder."""
    return None if path is None else str(path.resolve())


def run_key(document: Mapping[str, Any]) -> str:
    """Return what a run is named by: it depends on data, rules, costs, seed and engine only."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


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
