"""What the pages say: their sessions print it, and all that they name is there."""

import doctest
import importlib.util
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from sep_engine.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()
SETTINGS = (ROOT / "webapp" / "config" / "settings.py").read_text()


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def codes() -> tuple[str, ...]:
    """Every line of code blocks, continued ones joined, and every code span of all pages."""
    found: list[str] = []
    for text in map(text_of, PAGES):
        for block in re.findall(r"(?ms)^```(?:sh|console)?\n(.*?)^```", text):
            found += block.replace("\\\n", " ").splitlines()
        found += re.findall(r"`([^`]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    return tuple(re.sub(r"\s+", " ", code.partition("#")[0]).strip() for code in found)


def commands(program: str) -> Iterator[list[str]]:
    """The words after each `program` that the pages show."""
    for code in codes():
        for part in re.split(r"&&|\|(?= )|;", code):
            found = re.match(
                rf"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?{program}(?: (.*))?$", part.strip()
            )
            if found:
                yield _words(found[1] or "")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe of prose beside a command
        return text.split()


def options(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]


def test_the_session_in_the_readme_prints_what_it_says() -> None:
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert result.attempted >= 4
    assert result.failed == 0


@pytest.mark.parametrize("command", ["analyze --sample", "backtest --sample"])
def test_a_session_of_sep_prints_what_its_page_shows(command: str, tmp_path: Path) -> None:
    (shown,) = (
        block.splitlines()[1:]
        for page in PAGES
        for block in re.findall(rf"(?m)^```\n(\$ sep {command}\n(?:[^`].*\n)+)^```", text_of(page))
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("sep"), *command.split()],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(shown) >= 8
    # A page may leave rows of a table out, and the last lines.
    printed = iter(done.stdout.splitlines())
    assert [line for line in shown if line not in printed] == []


# A connection of this process would keep its log in memory and not die with it.
WRITER = """
import sqlite3, sys
running = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.stdin:
    running.execute(statement)
    print("done", flush=True)
"""


def test_a_backup_made_and_restored_as_the_page_says_is_what_was_committed(tmp_path: Path) -> None:
    page = text_of(ROOT / "docs" / "guides" / "operate.md")
    backup, restore = re.findall(r"(?ms)^```\n(.*?)^```", page)[:2]
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "secret_keys").write_text("key")
    # It is written to meanwhile, and later dies and leaves its log behind.
    running = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path / "var" / "sep.sqlite3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def write(statement: str) -> None:
        assert running.stdin is not None
        assert running.stdout is not None
        print(statement, file=running.stdin, flush=True)
        assert running.stdout.readline() == "done\n"

    write("PRAGMA journal_mode=WAL")
    write("CREATE TABLE traded (units)")
    write("INSERT INTO traded VALUES (1000)")
    subprocess.run(["sh", "-e", "-c", backup], cwd=tmp_path, check=True)
    write("INSERT INTO traded VALUES (2000)")
    running.kill()
    running.communicate()
    assert (tmp_path / "var" / "sep.sqlite3-wal").stat().st_size > 0
    (tmp_path / "var" / "secret_keys").unlink()
    copied, _, after = restore.partition(".venv/bin/python manage.py rebuild --check\n")
    subprocess.run(["sh", "-e", "-c", copied], cwd=tmp_path, check=True)
    assert after == "make run\n"
    restored = sqlite3.connect(tmp_path / "var" / "sep.sqlite3")
    assert restored.execute("SELECT units FROM traded").fetchall() == [(1000,)]
    assert (tmp_path / "var" / "secret_keys").read_text() == "key"
    restored.close()


def test_links_between_pages_lead_to_files_and_headings() -> None:
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(page)):
            path, _, heading = target.partition("#")
            file = (page.parent / path) if path else page
            if not file.exists() or (heading and heading not in headings(file)):
                missing.append((page.name, target))
    assert missing == []


def headings(page: Path) -> set[str]:
    """The anchors that a page's headings get: lower case, hyphens for blanks, no punctuation."""
    found = re.findall(r"(?m)^#+ (.+)$", text_of(page))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}


def test_every_page_is_reached_from_the_index() -> None:
    index, decisions = ROOT / "docs" / "index.md", ROOT / "docs" / "adr" / "README.md"
    linked = {
        (start.parent / target).resolve()
        for start in (index, decisions)
        for target in re.findall(r"\]\(([^)#\s]+\.md)\)", text_of(start))
    }
    assert set(PAGES) - linked == {ROOT / "README.md", index}


def test_every_decision_is_in_the_list_by_its_title_and_has_a_status() -> None:
    folder = ROOT / "docs" / "adr"
    row = re.compile(r"\| \[(\d+)\]\((\S+)\) \| (.+) \| (in force since|replaced by) .+ \|")
    listed = [row.fullmatch(line) for line in text_of(folder / "README.md").splitlines()[6:]]
    told = [(found[2], f"# {found[1]}. {found[3]}") for found in listed if found]
    assert told == [
        (page.name, text_of(page).partition("\n")[0]) for page in sorted(folder.glob("0*.md"))
    ]


def test_make_targets_and_their_variables_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+)(?: [a-z-]+)*:", MAKEFILE)) | {"client"}
    variables = set(re.findall(r"(?m)^(\w+) *\?=", MAKEFILE)) | set(
        re.findall(r"\$\((\w+)\)", MAKEFILE)
    )
    unknown = [
        word
        for words in commands("make")
        for word in words
        if (word.partition("=")[0] not in variables if "=" in word else word not in targets)
    ]
    assert unknown == []


def test_commands_of_sep_exist_with_their_options() -> None:
    unknown = []
    all_commands = typer.main.get_command(app)
    for words in commands("sep"):
        found: Any = all_commands
        rest = list(words)
        while rest and rest[0] in getattr(found, "commands", {}):
            found = found.commands[rest.pop(0)]
        known = {name for one in found.params for name in one.opts} | {"--help"}
        # What follows a group is one of its commands; "list | show NAME" lists several.
        if getattr(found, "commands", {}) and rest and re.match(r"[a-z]", rest[0]):
            unknown.append(f"sep {' '.join(words)}")
        unknown += [f"sep {' '.join(words)}: {one}" for one in options(rest) if one not in known]
    assert unknown == []


@cache
def django() -> Any:
    """The options of every manage.py command, by name, and the API's paths with their methods."""
    program = """
import django, json, sys
django.setup()
from django.core.management import get_commands, load_command_class
from drf_spectacular.generators import SchemaGenerator

def known(parser):
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for name, one in action.choices.items():
                yield name
                yield from known(one)

parsers = {
    name: sorted(known(load_command_class(owner, name).create_parser("manage.py", name)))
    for name, owner in get_commands().items()
    if owner == "webapp.trading" or name in ("migrate", "createsuperuser", "changepassword")
}
schema = SchemaGenerator().get_schema(request=None, public=True)
print(json.dumps([parsers, {path: list(one) for path, one in schema["paths"].items()}]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "webapp.config.testing"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_commands_of_manage_exist_with_their_actions_and_options() -> None:
    parsers, _ = django()
    unknown = []
    for words in commands(r"(?:python3? )?manage.py"):
        if not words or words[0].isupper():  # COMMAND stands for any
            continue
        name, *rest = words
        if name not in parsers:
            unknown.append(f"manage.py {name}")
            continue
        actions = [one for one in parsers[name] if not one.startswith("-")]
        if actions and rest and rest[0] not in actions:
            unknown.append(f"manage.py {name} {rest[0]}")
        unknown += [f"{name} {one}" for one in options(rest) if one not in parsers[name]]
    assert unknown == []


def test_modules_that_are_run_exist_with_their_options() -> None:
    unknown = []
    for module, *rest in commands(r"python3? -m"):
        found = importlib.util.find_spec(module)
        if found is None or found.origin is None:
            unknown.append(module)
            continue
        sources = [Path(found.origin), Path(found.origin).with_name("__main__.py")]
        source = "".join(text_of(one) for one in sources if one.exists())
        unknown += [
            f"{module} {one}"
            for one in options(rest)
            if one != "--help" and f'"{one}"' not in source
        ]
    assert unknown == []


def test_paths_of_the_repository_exist() -> None:
    named = [
        path
        for code in codes()
        for path in re.findall(
            r"(?<![\w./~-])((?:cpp|deploy|docs|python|requirements|samples|scripts|tests|webapp)"
            r"/[\w./-]*\w/?)(?![\w*<{])",
            code,
        )
    ]
    # Made by who follows the page, or by a build.
    made = ("deploy/secrets", "webapp/dashboard/static/dashboard")
    assert [
        path for path in named if not path.startswith(made) and not (ROOT / path).exists()
    ] == []


def test_settings_that_a_page_names_are_read() -> None:
    named = {one for page in PAGES for one in re.findall(r"\bSEP_[A-Z_]+[A-Z]\b", text_of(page))}
    assert named <= set(re.findall(r'"(SEP_\w+)"', SETTINGS))


def test_every_setting_has_a_row_or_a_line_on_its_page() -> None:
    told = set(re.findall(r"`([A-Z_]{4,})`", text_of(ROOT / "docs" / "reference" / "settings.md")))
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', SETTINGS))
    known = {
        name for name in re.findall(r'"(SEP_\w+)"', SETTINGS) if not name.endswith("_FILE")
    } - {"SEP_KILLPOINT", "SEP_TESTS"}  # of tests alone
    assert len(read) > 15
    assert (read | known) - told == set()


def test_requests_that_a_page_names_are_answered() -> None:
    _, paths = django()
    patterns = {
        re.compile(re.sub(r"\{\w+\}", r"[^/]+", path)): methods for path, methods in paths.items()
    }
    unknown = []
    for code in codes():
        for method, path in re.findall(r"\b(GET|POST|PATCH|PUT|DELETE) (/api/[^\s?`\"]+)", code):
            if not any(
                pattern.fullmatch(path) and method.lower() in methods
                for pattern, methods in patterns.items()
            ):
                unknown.append(f"{method} {path}")
    assert unknown == []


def test_the_checks_above_find_what_they_look_for() -> None:
    """A pattern that matched nothing any more would find nothing wrong either."""
    programs = ("sep", "make", r"(?:python3? )?manage.py", "python3? -m")
    assert [len(list(commands(one))) > 15 for one in programs] == [True] * 4
    assert sum(len(re.findall(r"(?:GET|POST) /api/", code)) for code in codes()) > 20
