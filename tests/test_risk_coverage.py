"""Every branch of the risk gate is run by the gate's own tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_gate_s_tests_run_every_branch_of_it(tmp_path: Path) -> None:
    data = f"--data-file={tmp_path / 'coverage'}"
    coverage = (sys.executable, "-m", "coverage")
    tests = ("-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", "python/tests/risk")
    subprocess.run(
        [*coverage, "run", data, "--branch", "--source=python/sep_engine/risk", *tests],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    report = subprocess.run(
        [*coverage, "report", data, "--fail-under=100", "--show-missing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert report.returncode == 0, report.stdout
