"""The FILE argument and its options, the same for every command that reads prices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from sep_engine.data import Bars, Quotes, Sample
    from sep_engine.data.store import Stored

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="CSV (.gz too) or Parquet: time,open,high,low,close[,volume] or time,bid,ask; OANDA "
        "candles (.json); or the name of stored data.",
        show_default=False,
    ),
]
UseSample = Annotated[
    bool, typer.Option("--sample", help="Use the EUR/USD H1 bars that come with SEP, not a FILE.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, no table.")]
TickOption = Annotated[
    str | None,
    typer.Option("--tick", metavar="PRICE", help="Price step, e.g. 0.00001; inferred by default."),
]
SpreadOption = Annotated[
    str | None,
    typer.Option(
        "--spread-pips",
        metavar="PIPS",
        help="Constant spread. Needed, unless --quotes or --sample.",
    ),
]
PipOption = Annotated[
    str | None,
    typer.Option(
        "--pip", metavar="PRICE", help="Price of a pip; 0.0001, or 0.01 for ticks >= 0.0005."
    ),
]
Calendar = Annotated[str, typer.Option("--calendar", help="When the market is open: fx or always.")]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="A,B,...", help="Column names of a CSV that has no header line."
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option("--time-zone", metavar="NAME", help="Zone of times that carry none, e.g. UTC."),
]
Session = Annotated[
    str | None,
    typer.Option(
        "--session",
        metavar="HOURS",
        help="Enter only within hours of a zone: 'mon-fri 08:00-17:00 Europe/London'.",
    ),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept", metavar="KIND", help="Kind of error in the data to live with; repeatable."
    ),
]


@dataclass(frozen=True, slots=True)
class Source:
    """Where prices come from and how to read them, as given on the command line."""

    file: Path | None
    use_sample: bool
    tick: str | None
    calendar: str
    columns: str | None
    time_zone: str | None
    accept: list[str] | None
    synthetic: bool = False

    def __post_init__(self) -> None:
        if (self.file is None) != self.use_sample:
            raise ArgumentError(
                "name a FILE, or ask for the data that comes along with --sample, not both"
            )
        if self.use_sample and (told := self._told):
            raise ArgumentError(f"the sample is read as it comes, without {' or '.join(told)}")
        if self.time_zone is not None and not _is_zone(self.time_zone):
            raise ArgumentError(
                f"--time-zone {self.time_zone!r} is not known; use a name such as UTC"
            )
        if self.is_stored and (self.columns is not None or self.time_zone is not None):
            raise ArgumentError(
                f"{self.file}: stored data are read as they were stored, without --columns or "
                "--time-zone"
            )

    @property
    def _told(self) -> list[str]:
        """The options that say how a file is to be read."""
        options = {
            "--tick": self.tick,
            "--calendar": None if self.calendar == "fx" else self.calendar,
            "--columns": self.columns,
            "--time-zone": self.time_zone,
            "--accept": self.accept or None,
        }
        return [name for name, value in options.items() if value is not None]

    @property
    def is_stored(self) -> bool:
        """Whether the file is a data set of the store (`located` finds it by its name)."""
        return self.file is not None and (self.file / "metadata.json").is_file()

    def stored(self) -> Stored:
        """Return the data set."""
        from sep_engine.data.store import load_stored

        assert self.file is not None
        return load_stored(self.file)

    @property
    def column_names(self) -> list[str] | None:
        return None if self.columns is None else self.columns.split(",")

    def bars(self) -> Bars:
        """Return the bars of the file."""
        from sep_engine.data import load_bars

        assert self.file is not None
        if self.is_stored:
            return self.stored().bars
        return load_bars(
            self.file,
            tick=decimal_option("--tick", self.tick),
            calendar=self.calendar,
            columns=self.column_names,
            time_zone=self.time_zone,
            accept=self.accept or (),
            synthetic=self.synthetic,
        )

    def sample(self) -> Sample:
        """Return the sample."""
        from sep_engine.data import load_sample

        return load_sample()

    def prices(self) -> Bars | Quotes:
        """Return bars, or quotes if that is what the file holds."""
        from sep_engine.data import load_quotes, read_table

        if self.use_sample:
            return self.sample().bars
        assert self.file is not None
        if self.is_stored:
            return self.bars()
        table = read_table(self.file, columns=self.column_names, time_zone=self.time_zone)
        if table.has_bars:
            return self.bars()
        return load_quotes(
            self.file,
            calendar=self.calendar,
            columns=self.column_names,
            time_zone=self.time_zone,
            accept=self.accept or (),
        )


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a stored run keeps of a FILE and how it was read, as JSON; the path is absolute."""

    file: str | None
    sample: bool
    tick: str | None
    calendar: str
    columns: str | None
    time_zone: str | None
    accept: tuple[str, ...]

    def source(self, *, synthetic: bool = False) -> Source:
        return Source(
            None if self.file is None else Path(self.file),
            self.sample,
            self.tick,
            self.calendar,
            self.columns,
            self.time_zone,
            list(self.accept),
            synthetic,
        )


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def located(file: Path | None) -> Path | None:
    """Return the data set that a FILE names where there is no such file, or the file itself."""
    if file is None or file.exists() or len(file.parts) != 1:
        return file
    from sep_engine.data.store import data_set, is_data_set, store_path

    try:
        folder = data_set(store_path(), file.name)
    except ArgumentError:
        return file
    return folder if is_data_set(folder) else file


def decimal_option(name: str, text: str | None) -> Decimal | None:
    """Return the number that an option holds; ArgumentError if it is none or not > 0."""
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ArgumentError(f"{name} must be a number, was {text!r}") from None
    if not value.is_finite() or value <= 0:
        raise ArgumentError(f"{name} must be > 0, was {text}")
    return value


class Stages:
    """A progress bar on stderr that moves on stage by stage; silent when that is no terminal."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._started = 0

    def begin(self, text: str) -> None:
        """Say what begins now; the stage before it is done."""
        self._bar.update(self._task, description=text, completed=self._started)
        self._started += 1

    def within(self, share: float) -> None:
        """Say how much of this stage is done, 0..1."""
        self._bar.update(self._task, completed=self._started - 1 + share)


@contextmanager
def progress(stages: int) -> Iterator[Stages]:
    """Show a progress bar while work of `stages` stages goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield Stages(bar, bar.add_task("", total=stages))
