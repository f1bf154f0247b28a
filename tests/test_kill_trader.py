"""The order path survives `kill -9`: real processes, a real Valkey, a real ledger."""

import json
import subprocess
import sys
from pathlib import Path

HARNESS = Path(__file__).with_name("kill_trader.py")
KILLS = 12


def test_o2_o3_o4_o6_o7_o8_o9_twelve_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HARNESS), str(tmp_path), str(KILLS), "1"],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    log = tmp_path / "trader.log"
    tail = log.read_text(errors="replace")[-4000:] if log.exists() else ""
    assert done.stdout.strip(), f"{done.stderr[-4000:]}\n{tail}"
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["faults"] == [], f"{result}\n{tail}"
    # Every run must have died, most of them where it was to die, with orders on the way.
    assert sum(result["deaths"].values()) == KILLS
    at_their_place = [
        name for name in result["deaths"] if ":" in name and "not reached" not in name
    ]
    assert len(at_their_place) >= 8, result
    assert not [name for name in result["deaths"] if name.startswith("exit")], f"{result}\n{tail}"
    assert result["filled"] >= 6, result
