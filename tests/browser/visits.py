"""Run a script that uses the page in Chromium as a person does, and return what it saw."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.stack import ROOT, Stack

CLIENT = ROOT / "webapp" / "dashboard" / "client"

Seen = dict[str, Any]


def visit(script: str, stack: Stack, folder: Path, *, timeout_s: float) -> Seen:
    """Return the JSON object that `script` printed; skip where there is no browser to run it.

    Args:
        script: its name in this folder.
        folder: where it puts screenshots.
        timeout_s: more than this is a failure.
    """
    node = _tool("node", hint="make run installs it")
    chromium = _tool("chromium", "chromium-browser", hint="apt install chromium")
    if not (CLIENT / "node_modules" / "playwright-core").exists():
        pytest.skip("the client's packages are missing: make client")
    place = Path(__file__).parent / script
    done = subprocess.run(
        [node, place, stack.url, stack.username, stack.password, chromium, folder],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: Seen = json.loads(done.stdout.splitlines()[-1])
    assert "failure" not in seen, f"{seen['failure']} (screens in {folder})"
    return seen


def _tool(*names: str, hint: str) -> str:
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=str(ROOT / ".venv" / "bin"))
        if found:
            return found
    pytest.skip(f"{names[0]} is missing: {hint}")
