"""Times, durations and verdicts as text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sep_engine.model.times import second_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PROSE = 32  # letters from which on a cell of a table is broken into lines


def time_text(time_ns: int | None) -> str | None:
    """Return nanoseconds since 1970 as ISO-8601 UTC to the second."""
    return None if time_ns is None else second_text(time_ns)


def duration_text(duration: timedelta | None) -> str:
    """Return a bar's length as traders write it: M1, H4, D1; "ticks" for None."""
    if duration is None:
        return "ticks"
    seconds = duration.total_seconds()
    for letter, unit_s in (("D", 86_400), ("H", 3_600), ("M", 60)):
        if seconds % unit_s == 0:
            return f"{letter}{seconds // unit_s:.0f}"
    return f"{seconds:g} s"


def screen() -> Console:
    """Return where results are printed: stdout.

    A table becomes wider than the terminal where its words and figures need it: the terminal breaks
    the lines, and nothing is cut off. A reader that has enough (`sep ... | head`) raises
    BrokenPipeError, which ends the command well.
    """
    from rich.console import Console
    from rich.table import Table

    class Screen(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            for table in objects:
                if isinstance(table, Table):
                    self.width = max(self.width, _width_whole(table))
            super().print(*objects, **how)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Screen(highlight=False)


def _width_whole(table: Table) -> int:
    """Let no column of a table be narrower than its words and figures; return the width of all."""
    for column in table.columns:
        words = [str(column.header)]
        for cell in map(str, column.cells):
            words += cell.split() if len(cell) > _PROSE else [cell]
        column.min_width = max(map(len, words))
    # Each has a blank on both sides and a line behind it.
    return sum((column.min_width or 0) + 3 for column in table.columns) + 1


def print_lines(console: Console, verdict: Mapping[str, Any]) -> None:
    """Print how many lines of a verdict passed, and why the others did not."""
    from rich.table import Table

    failed = [line for line in verdict["lines"] if not line["passed"]]
    passed = len(verdict["lines"]) - len(failed)
    console.print(f"{passed} of {len(verdict['lines'])} lines of the verdict passed.")
    if failed:
        table = Table("not passed", "because")
        for line in failed:
            table.add_row(line["line"]["text"], line["reason"])
        console.print(table)
