"""Kills and restarts on PostgreSQL and Valkey, with real processes: a sample of `tests.kills`."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.postgres_for_tests import server_binaries
from tests import restarts
from tests.kills.__main__ import table
from tests.kills.stack import can_trace
from tests.restarts import Servers
from tests.world import ROOT, Unreached, files_with

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
        timeout=900,
    )
    log = (tmp_path / "trader.log").read_text(errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:] + log[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["faults"] == []
    # One place of the order path, the writes, three servers that went and came, and all at once;
    # a sync that fails needs strace.
    assert result["kills"] == 1 + int(writes)
    assert result["restarts"] == 4 + can_trace()


def test_a_token_in_a_log_or_a_database_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "trader.log").write_text("sent with Authorization: Bearer c4n4ry\n")
    (tmp_path / "db.sqlite3-wal").write_bytes(b"\x00\xffc4n4ry\x00")
    (tmp_path / "quiet.log").write_text("nothing\n")
    assert files_with("c4n4ry", tmp_path) == [
        "I10 db.sqlite3-wal holds the token",
        "I10 logs/trader.log holds the token",
    ]


@pytest.mark.parametrize("end", [KeyboardInterrupt, Unreached("an order ended")])
def test_restarts_that_are_broken_off_print_the_rows_that_there_are(
    end: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    took = iter([4.0, 5.0, 1.0])

    def seconds(strike: Any) -> float:
        try:
            return next(took)
        except StopIteration:
            raise end from None

    monkeypatch.setattr(restarts, "can_trace", lambda: False)
    one: Any = Servers(stack=None, cluster=None)  # type: ignore[arg-type]
    one.seconds = seconds
    traders: Any = SimpleNamespace(failures=0)
    with pytest.raises(SystemExit, match="Broken off, and the books were not compared"):
        restarts.measured(one, traders, 2, 1.0)
    said = capsys.readouterr().out
    # Two of PostgreSQL and the first of Valkey; the second was broken off.
    assert "PostgreSQL crashes and starts, until an order is filled and told | 15 s | 2 |" in said
    assert "Valkey is killed and starts, until an order is filled and told | 5 s | 1 |" in said
    assert "flushed" not in said


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
