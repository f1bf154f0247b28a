"""The wheel works in an environment that has nothing of the web app."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation the build folder of the installed engine is used again: nothing compiles.
    run("uv", "build", "--wheel", "--no-build-isolation", "--python", sys.executable,
        "--out-dir", folder)  # fmt: skip
    (built,) = folder.glob("sep_engine-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run("uv", "venv", "--python", sys.executable, folder)
    run("uv", "pip", "install", "--python", folder / "bin" / "python",
        "--constraint", "requirements/run.txt", wheel)  # fmt: skip
    return folder / "bin" / "python"


def test_the_wheel_holds_the_engine_its_types_and_its_sample_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("sep_engine/_core.") and name.endswith(".so") for name in names)
    assert "sep_engine/py.typed" in names
    assert "sep_engine/_core.pyi" in names
    assert any(name.endswith("eur_usd_h1/bars.csv") for name in names)
    assert not [name for name in names if "tests/" in name or name.startswith("webapp")]


def test_the_engine_imports_without_django(python: Path, tmp_path: Path) -> None:
    said = run(
        python,
        "-c",
        "import importlib.util as u, sep_engine as s;"
        "print(s.__version__, u.find_spec('django'), u.find_spec('celery'))",
        cwd=tmp_path,
    )
    assert said == "0.1.0 None None\n"


def test_the_command_analyses_the_sample(python: Path, tmp_path: Path) -> None:
    sep = python.with_name("sep")
    assert "0.1.0" in run(sep, "--version", cwd=tmp_path)
    assert "coherence" in run(sep, "analyze", "--sample", "--window", "64", cwd=tmp_path)


def test_every_place_that_names_the_version_agrees() -> None:
    version = 'version = "0.1.0"'
    assert version in (ROOT / "pyproject.toml").read_text()
    assert "image: sep:0.1.0" in (ROOT / "compose.yaml").read_text()
    assert 'SEP_VERSION = "0.1.0"' in (ROOT / "webapp/config/settings.py").read_text()


def test_the_locks_name_no_index_and_hash_every_package() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        text = lock.read_text()
        assert "://" not in text, lock
        pinned = [line for line in text.splitlines() if "==" in line and line[0] not in " #"]
        assert pinned, lock
        assert all(line.endswith("\\") for line in pinned), lock  # a hash follows


@pytest.mark.parametrize(
    ("lock", "groups"),
    [("uv", ["uv"]), ("run", ["web"]), ("build", ["build"]), ("dev", ["web", "dev"])],
)
def test_a_lock_answers_what_the_project_asks_for(lock: str, groups: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [Requirement(text) for name in groups for text in project["dependency-groups"][name]]
    if lock in ("run", "dev"):
        asked += map(Requirement, project["project"]["dependencies"])
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text):
        pins.setdefault(canonicalize_name(name), []).append(version)
    unmet = [
        str(requirement)
        for requirement in asked
        if not any(
            requirement.specifier.contains(version)
            for version in pins.get(canonicalize_name(requirement.name), [])
        )
    ]
    assert unmet == [], "run make lock"


def test_the_build_group_is_what_the_wheel_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    group = project["dependency-groups"]["build"]
    assert set(project["build-system"]["requires"]) <= set(group)
