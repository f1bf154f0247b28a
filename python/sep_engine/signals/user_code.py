"""Code that is not SEP's: a strategy class is found, checked and called here, and nowhere else.

What it prints never reaches stdout, which may carry a protocol or a table; whatever it raises, and
`sys.exit`, becomes one `ArgumentError` that names the line of the file.
"""

import contextlib
import inspect
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from sep_engine.errors import ArgumentError, RuleError, SepError
from sep_engine.signals.rule import check_exit, check_whole

WINDOW_BARS_MAX = 1_000_000  # that a class says it looks back on

_T = TypeVar("_T")


def called(path: str, call: Callable[[], _T]) -> _T:
    """Run the user's code. What it prints goes to stderr; what it raises becomes one line.

    Raises:
        ArgumentError: with `path`, and the line of it that the error came through.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return call()
    except SepError as error:
        raise ArgumentError(f"{_place(path, error)}: {error}") from error
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ArgumentError(f"{_place(path, error)}: {type(error).__name__}: {error}") from error


def class_of(module: ModuleType, path: str, name: str = "") -> Any:
    """Return the strategy class that a module defines itself.

    name: of the class; "" takes the only one there is.

    Raises:
        ArgumentError: there is none, or several and no name.
    """
    found = {
        one.__name__: one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if one.__module__ == module.__name__ and (hasattr(one, "on_bar") or hasattr(one, "prepare"))
    }
    if name:
        if name not in found:
            known = ", ".join(found) or "none"
            raise ArgumentError(f"{path}: has no class {name} with on_bar or prepare, has: {known}")
        return found[name]
    if len(found) != 1:
        raise ArgumentError(f"{path}: needs one class with on_bar or prepare, has {len(found)}")
    return next(iter(found.values()))


def check_numbers(made: Any, path: str) -> None:
    """Refuse a class whose horizon, window, stop or target is no number that can be one.

    Raises:
        ArgumentError: names the attribute and its value.
    """
    try:
        check_exit(
            getattr(made, "horizon_bars", None),
            getattr(made, "stop_ticks", None),
            getattr(made, "target_ticks", None),
        )
        check_whole("window", getattr(made, "window", None), 0, WINDOW_BARS_MAX)
    except RuleError as error:
        raise ArgumentError(f"{path}: {made.__name__}.{error}") from error


def _place(path: str, error: BaseException) -> str:
    """Return the path with the line of it that the error came through, if it did."""
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == path]
    return f"{path}, line {lines[-1]}" if lines else path
