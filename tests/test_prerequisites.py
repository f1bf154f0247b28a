"""A machine that lacks something hears of it in one line that says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "prerequisites.sh"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs that stand in for a machine's; a test replaces one by a broken one."""
    for program in ("awk", "df", "c++"):
        (tmp_path / program).symlink_to(Path("/usr/bin") / program)
    (tmp_path / "python3").symlink_to(sys.executable)
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def check(folder: Path, python: str = "python3") -> subprocess.CompletedProcess[str]:
    # The compiler finds its own parts beside the real program, so /usr/bin need not be on the path.
    return subprocess.run(
        ["/bin/sh", SCRIPT, python],
        env={"PATH": str(folder), "HOME": os.environ["HOME"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_complete_machine_is_accepted_in_silence(machine: Path) -> None:
    done = check(machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_python_that_is_not_there_is_named(machine: Path) -> None:
    said = complaint(check(machine, "python3.99"))
    assert "python3.99 is not installed" in said
    assert "PYTHON=" in said


def test_an_old_python_is_told_from_a_new_one(machine: Path) -> None:
    old = f"""exec {sys.executable} -c '
import sys
sys.version_info = (3, 9, 18, "final", 0)
exec(sys.argv[1])' "$2" """
    program(machine, "python3", old)
    said = complaint(check(machine))
    assert "python3 is 3.9 and SEP needs Python 3.11 or later" in said


def test_a_python_without_venv_is_told_which_package_brings_it(machine: Path) -> None:
    bare = f"""case "$2" in *ensurepip*) exit 1;; esac
exec {sys.executable} "$@" """
    program(machine, "python3", bare)
    assert "apt install python3-venv" in complaint(check(machine))


def test_a_python_without_headers_is_told_which_package_brings_them(machine: Path) -> None:
    bare = f"""case "$2" in *sysconfig*) echo /nowhere; exit 0;; esac
exec {sys.executable} "$@" """
    program(machine, "python3", bare)
    assert "apt install python3-dev" in complaint(check(machine))


def test_a_missing_compiler_is_named(machine: Path) -> None:
    (machine / "c++").unlink()
    assert "apt install g++" in complaint(check(machine))


def test_a_compiler_without_cpp20_is_refused(machine: Path) -> None:
    program(machine, "c++", "exit 1")
    assert "does not compile C++20" in complaint(check(machine))


def test_a_disk_that_is_nearly_full_is_refused(machine: Path) -> None:
    # 2 097 152 KiB = 2048 MiB, less than the 3 GiB that a build needs.
    program(
        machine, "df", 'echo "Filesystem KiB Used Free Use% On"; echo "disk 9 9 2097152 1% /data"'
    )
    said = complaint(check(machine))
    assert "2048 MiB are free here" in said
    assert "/data" in said
