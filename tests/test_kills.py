"""Kills and restarts on PostgreSQL and Valkey, with real processes: a sample of `tests.kills`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.postgres_for_tests import server_binaries
from tests.kills.__main__ import table
from tests.kills.stack import can_trace
from tests.world import ROOT

needs_postgresql = pytest.mark.skipif(
    server_binaries() is None, reason="PostgreSQL is missing: apt install postgresql"
)


@needs_postgresql
def test_c1_c2_c6_c12_c14_c15_c18_c20_o4_o5_kills_and_restarts_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    # A process of its own: its settings name another database than those of other tests.
    writes = "2" if can_trace() else "0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.restarts", "--sample", writes, "--var", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["faults"] == []
    # One place of the order path, the writes, three servers that went and came, and all at once;
    # a sync that fails needs strace.
    assert result["kills"] == 1 + int(writes)
    assert result["restarts"] == 4 + can_trace()


def test_the_table_of_kills_counts_by_place() -> None:
    lines = [
        {"place": "market: sent", "number": 0, "reached": True, "seconds": 2.0, "faults": []},
        {"place": "market: sent", "number": 1, "reached": False, "seconds": 12.0, "faults": []},
        {"place": "end", "number": 0, "reached": True, "seconds": 0.0, "faults": ["I1 twice"]},
    ]
    said = table(lines)
    assert "| market: sent | 2 | 1 | 0 | 12.0 | 12.0 |" in said
    assert "2 kills; another pair was traded again after more than 10 s in 1." in said
    assert "1 with faults." in said
    assert "- I1 twice" in said
