"""Do the tests of the risk gate notice when it is wrong? `python -m tests.mutation`.

Every comparison, sum, constant, call of max or min, branch and refusal of the modules below is
changed, one at a time, and the gate's tests run against the change. A change that no test notices
has survived and is listed with its line. Each runs in a process that is forked from one that has
imported everything else, so that a change costs about a second.

Not changed: docstrings, annotations, decorators, the text of exceptions that the gate turns into an
answer, and assertions that only tell mypy what a check before has shown.
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
TESTS = str(ROOT / "python" / "tests" / "risk")
MODULES = ("sep_engine.risk.gate", "sep_engine.risk.sizing")
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


def is_killed(mutant: Mutant, path: str) -> bool:
    """Run the tests against a change, the quick ones first; True if one of them fails."""
    quick = "not normal_order and not never_exceeds"
    return _fails(mutant, path, quick) or _fails(mutant, path, "normal_order or never_exceeds")


def _fails(mutant: Mutant, path: str, chosen: str) -> bool:
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
            status = int(pytest.main(["-x", "-q", *bare, "-k", chosen, TESTS]))
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="run only each n-th change")
    options = parser.parse_args()
    # Everything but the modules under test, so that a forked process has it.
    for name in ("hypothesis", "numpy", "sep_engine.execution.states", "sep_engine.model"):
        importlib.import_module(name)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    started, total, survived = time.monotonic(), 0, []
    for module in MODULES:
        path = ROOT / "python" / Path(*module.split(".")).with_suffix(".py")
        unchanged = Mutant(module, 0, "nothing", path.read_text(encoding="utf-8"))
        if is_killed(unchanged, str(path)):
            print(f"the tests fail without a change: run pytest {TESTS}")
            return 1
        every = list(mutants(module, path.read_text(encoding="utf-8")))[:: options.every]
        for mutant in every:
            total += 1
            if not is_killed(mutant, str(path)):
                survived.append(mutant)
                print(f"survived: {path.name}:{mutant.line} {mutant.what}", flush=True)
            if total % 25 == 0:
                print(f"{total} changes, {len(survived)} survived", flush=True)
    killed = total - len(survived)
    percent = 100 * killed / total
    print(
        f"{killed} of {total} changes were noticed, {percent:.1f} %, wanted are {WANTED_PERCENT}; "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if percent >= WANTED_PERCENT else 1


if __name__ == "__main__":
    raise SystemExit(main())
