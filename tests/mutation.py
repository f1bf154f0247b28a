"""Do the tests of the order path notice when it is wrong? `python -m tests.mutation [MODULE...]`.

Every comparison, sum, constant, call of max or min, branch and refusal of the modules below is
changed, one at a time, and their own tests run against the change. A change that no test notices
has survived and is listed with its line. Each runs in a process that is forked from one that has
imported everything that others made, so that a change costs about a second.

Not changed: docstrings, annotations, decorators, the text of exceptions, and assertions that only
tell mypy what a check before has shown.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "python" / "tests"
WANTED_PERCENT = 95
TIMEOUT_S = 120

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_CALLS = {"max": "min", "min": "max", "any": "all", "all": "any", "abs": "+"}


@dataclass(frozen=True, slots=True)
class Target:
    """A module, and the tests that are to notice when it is wrong.

    slow: chooses, as -k does, those that run only when the others have noticed nothing.
    """

    module: str
    tests: tuple[str, ...]
    slow: str = ""


_GATE = "normal_order or never_exceeds"
TARGETS = (
    Target("sep_engine.risk.gate", ("risk",), _GATE),
    Target("sep_engine.risk.sizing", ("risk",), _GATE),
    Target("sep_engine.execution.states", ("execution",), "no_history"),
    Target("sep_engine.execution.core", ("execution/test_core.py",), "no_history"),
    Target("sep_engine.execution.fills", ("execution/test_fills.py",)),
    Target("sep_engine.execution.positions", ("execution/test_positions.py",), "no_money"),
    Target("sep_engine.execution.reconcile", ("execution/test_positions.py",), "no_money"),
    Target("sep_engine.venues.oanda.parse", ("oanda/test_parse.py",), "no_payload"),
    Target("sep_engine.venues.oanda.orders", ("oanda/test_orders.py",)),
)
# Imported once: what the modules and their tests use, and what uses none of the modules.
_OTHERS = ("aiohttp.web", "httpx", "hypothesis.strategies", "sep_engine", "sep_engine.model")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `source` is the whole module with it."""

    module: str
    line: int
    what: str
    source: str


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Yield every single change of a module."""
    tree = ast.parse(source)
    count = len(list(_places(tree)))
    for number in range(count):
        changed = copy.deepcopy(tree)
        node, change = list(_places(changed))[number]
        before = ast.unparse(node)
        what = change()
        yield Mutant(module, getattr(node, "lineno", 0), f"{before}: {what}", ast.unparse(changed))


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, "Change"]]:
    for node in _code(tree):
        if isinstance(node, ast.Compare):
            for place, op in enumerate(node.ops):
                if type(op) in _SWAPS:
                    yield node, Change(node.ops, place, _SWAPS[type(op)]())
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPS:
            yield node, Change(node, "op", _SWAPS[type(node.op)]())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            yield node, Change(node, "op", ast.UAdd() if isinstance(node.op, ast.USub) else _same())
        elif isinstance(node, ast.IfExp):
            yield node, Change(node, "test", ast.UnaryOp(ast.Not(), node.test))
        elif isinstance(node, ast.If):
            yield node.test, Change(node, "test", ast.UnaryOp(ast.Not(), node.test))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            other = _CALLS.get(node.func.id)
            if other == "+":
                yield node, Change(node, "func", ast.Name("Decimal", ast.Load()))
            elif other is not None:
                yield node, Change(node.func, "id", other)
        elif isinstance(node, ast.Constant):
            new = _other_constant(node.value)
            if new is not None:
                yield node, Change(node, "value", new)


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs: no docstrings, annotations, assertions or texts of exceptions."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Assert | ast.Raise | ast.Import | ast.ImportFrom):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.AnnAssign):
            if child.value is not None:
                yield child.value
                yield from _code(child.value)
            continue
        if isinstance(child, ast.FunctionDef):
            for statement in child.body:
                yield statement
                if not isinstance(statement, ast.Expr):
                    yield from _skipping(statement)
            continue
        if isinstance(child, ast.ClassDef):
            yield from _code(ast.Module(child.body, []))
            continue
        yield child
        yield from _code(child)


def _skipping(statement: ast.stmt) -> Iterator[ast.AST]:
    if not isinstance(statement, ast.Assert | ast.Raise):
        yield from _code(statement)


def _same() -> ast.unaryop:
    # `not x` becomes `+(x)`, which a truth value survives unchanged in meaning.
    return ast.UAdd()


def _other_constant(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str) and value:
        return value + "X"
    return None


@dataclass(slots=True)
class Change:
    """Sets one attribute or element to something else."""

    owner: object
    place: str | int
    new: object

    def __call__(self) -> str:
        if isinstance(self.owner, list):
            self.owner[int(self.place)] = self.new
        else:
            setattr(self.owner, str(self.place), self.new)
        shown = type(self.new).__name__ if isinstance(self.new, ast.AST) else repr(self.new)
        return f"{self.place} -> {shown}"


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str):  # type: ignore[no-untyped-def]
        return compile(self._source, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant, path: str) -> None:
        self._mutant, self._path = mutant, path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        loader = _Loader(fullname, self._path, self._mutant.source)
        return importlib.machinery.ModuleSpec(fullname, loader, origin=self._path)


def is_killed(mutant: Mutant, path: str, target: Target) -> bool:
    """Run the tests against a change, the quick ones first; True if one of them fails."""
    if not target.slow:
        return _fails(mutant, path, target, "")
    return any(_fails(mutant, path, target, one) for one in (f"not ({target.slow})", target.slow))


def _fails(mutant: Mutant, path: str, target: Target, chosen: str) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            sys.meta_path.insert(0, _Finder(mutant, path))
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
            # None of the project's plugins and settings are of use here, and each costs time.
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            bare = ("-c", os.devnull, "--assert=plain", "-p", "no:cacheprovider")
            tests = [str(TESTS / one) for one in target.tests]
            status = int(pytest.main(["-x", "-q", *bare, "-k", chosen, *tests]))
        os._exit(status)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return True  # a change that never ends is noticed


def survivors(target: Target, every: int) -> tuple[int, list[Mutant]]:
    """Return how many changes of a module were tried, and those that its tests did not notice.

    Raises:
        SystemExit: its tests fail without a change.
    """
    path = ROOT / "python" / Path(*target.module.split(".")).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    unchanged = Mutant(target.module, 0, "nothing", source)
    if is_killed(unchanged, str(path), target):
        raise SystemExit(f"the tests fail without a change: run pytest {' '.join(target.tests)}")
    tried, survived = list(mutants(target.module, source))[::every], []
    for number, mutant in enumerate(tried, start=1):
        if not is_killed(mutant, str(path), target):
            survived.append(mutant)
            print(f"survived: {path.name}:{mutant.line} {mutant.what}", flush=True)
        if number % 50 == 0:
            print(f"{path.name}: {number} of {len(tried)}", flush=True)
    # Tests that were edited meanwhile may fail whatever the module says.
    if is_killed(unchanged, str(path), target):
        raise SystemExit(f"the tests of {path.name} fail without a change by now: begin again")
    return len(tried), survived


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="ends of their names, like risk.gate; all else")
    parser.add_argument("--every", type=int, default=1, help="run only each n-th change")
    options = parser.parse_args()
    chosen = [
        target
        for target in TARGETS
        if not options.modules or any(target.module.endswith(f".{one}") for one in options.modules)
    ]
    if not chosen:
        parser.error(f"there is none of that name in {', '.join(one.module for one in TARGETS)}")
    for name in _OTHERS:
        importlib.import_module(name)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    started, noticed, tried = time.monotonic(), 0, 0
    rows = ["| module | noticed | of | percent |", "|---|---|---|---|"]
    for target in chosen:
        total, survived = survivors(target, options.every)
        found = total - len(survived)
        rows.append(f"| `{target.module}` | {found} | {total} | {100 * found / total:.1f} |")
        noticed, tried = noticed + found, tried + total
    percent = 100 * noticed / tried
    print(*rows, sep="\n")
    print(
        f"{noticed} of {tried} changes were noticed, {percent:.1f} %, wanted are {WANTED_PERCENT}; "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if percent >= WANTED_PERCENT else 1


if __name__ == "__main__":
    raise SystemExit(main())
