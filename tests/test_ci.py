"""The job that runs every night names what there is, and one failure does not end it."""

import json
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NIGHTLY = ROOT / ".ci" / "nightly"


def steps() -> list[str]:
    return re.findall(r"^step (.+)$", NIGHTLY.read_text(), re.MULTILINE)


def test_every_step_of_the_night_names_something_that_exists() -> None:
    targets = set(re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    presets = json.loads((ROOT / "CMakePresets.json").read_text())
    workflows = {preset["name"] for preset in presets["workflowPresets"]}
    for step in steps():
        command, *words = step.split()
        if command == "make":
            assert words[0] in targets, step
        elif command.endswith("cmake"):
            assert words[-1] in workflows, step
        else:
            assert (ROOT / words[0]).is_file(), step


def test_each_fuzzer_runs_for_two_minutes_unless_told_otherwise() -> None:
    assert 'make fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-120}"' in steps()


def test_a_step_that_fails_is_named_and_the_others_still_run(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "nightly").write_text(NIGHTLY.read_text())
    (tmp_path / ".ci" / "run").write_text("exit 3\n")
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("make", "cmake", "clang++"):
        (commands / name).write_text('#!/bin/sh\necho "$0 $*" >> ran\ntest "$1" != chaos\n')
        (commands / name).chmod(0o755)
    done = subprocess.run(
        ["bash", tmp_path / ".ci" / "nightly"],
        env={"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["failed: bash .ci/run", "failed: make chaos"]
    # Every step but the first, which is a script of the tree.
    assert len((tmp_path / "ran").read_text().splitlines()) == len(steps()) - 1
