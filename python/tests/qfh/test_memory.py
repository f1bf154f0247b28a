"""What calls hold beside their outputs, and what they leave behind."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self, which only Linux has")
def test_calls_need_little_beside_their_outputs_and_leave_nothing_behind() -> None:
    # In a process of its own, whose memory nothing else moves. A leak of 32 bytes a call would
    # come to 640 KB after 20,000 calls; python -m python.benchmarks.memory makes a million.
    done = subprocess.run(
        (sys.executable, "-m", "python.benchmarks.memory", "20000"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    beside, growth = map(int, done.stdout.split())
    assert beside <= 64_000_000
    assert growth <= 512_000
