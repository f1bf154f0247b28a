"""Files with the figures of all rules of a sweep."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest.grid import AXES, Grid, costs_document
from sep_engine.backtest.sweep_plan import FIGURES, Span, places
from sep_engine.backtest.trades import Entry
from sep_engine.errors import ArgumentError, DataError
from sep_engine.signals import Gate, Rule

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]

_ROWS_IN_GROUP: Final = 131_072


class NpyTable:
    """An .npy file of (rules, 13) int64 that blocks are written into in any order.

    It stays when the sweep fails only if a checkpoint says what it holds.
    """

    def __init__(self, path: Path, rules: int, *, saved: bool, resumed: bool) -> None:
        self._path, self._saved = path, saved
        shape = (rules, len(FIGURES))
        if not resumed:
            with written(path):
                self._rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.int64, shape=shape)
                _reserve(path)
            return
        try:
            self._rows = np.lib.format.open_memmap(path, mode="r+")
        except (OSError, ValueError) as error:
            raise ArgumentError(
                f"{path}: the table that the checkpoint belongs to cannot be read: {error}"
            ) from error
        if self._rows.shape != shape or self._rows.dtype != np.int64:
            raise ArgumentError(f"{path}: must be the table of {shape} int64 begun before")

    @property
    def wholes(self) -> list[Ints]:
        """(13, rules) views for the engine to write into."""
        return [self._rows.T]

    def add(self, span: Span, figures: Ints) -> None:
        """Nothing: the engine wrote the block itself."""

    def flush(self) -> None:
        """Bring what was written to the disk."""
        self._rows.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        self.flush()
        if kind is not None and not self._saved:
            self._path.unlink(missing_ok=True)


class ParquetTable:
    """A Parquet file with a row for each rule: number, parts, figures.

    Blocks are added in the order in which they are swept, and leave memory a row group at a time.
    The file gets its name when all of it is on the disk.
    """

    def __init__(self, path: Path, rules: Grid | Sequence[Rule], entry: Entry) -> None:
        self._path, self._rules, self._entry = path, rules, entry
        self._part = path.with_name(path.name + ".part")
        self._waiting: list[pa.Table] = []
        self._writer: Any = None

    @property
    def wholes(self) -> list[Ints]:
        """None: blocks are added."""
        return []

    def add(self, span: Span, figures: Ints) -> None:
        """Take the (13, m) figures of a block."""
        import pyarrow as pa

        numbers = span.all()
        columns = {"rule": pa.array(numbers), **self._parts(numbers)}
        columns |= {name: pa.array(row) for name, row in zip(FIGURES, figures, strict=True)}
        self._waiting.append(pa.table(columns))
        if sum(table.num_rows for table in self._waiting) >= _ROWS_IN_GROUP:
            self._write()

    def flush(self) -> None:
        """Nothing: the file is not there before it is whole."""

    def __enter__(self) -> Self:
        with written(self._path):
            self._part.touch()  # hours before the first row group would find that it cannot be
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._waiting or self._writer is None:
                    self._write()
                with written(self._path):
                    self._writer.close()
                    self._part.replace(self._path)
            elif self._writer is not None:
                with suppress(OSError):  # what was raised says more
                    self._writer.close()
        finally:
            self._part.unlink(missing_ok=True)

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:  # a sweep of no rules
            none = np.empty((len(FIGURES), 0), dtype=np.int64)
            self.add(Span(0, 0, 1, 1), none)
        # Dictionaries of blocks differ where rules are no grid: they are made one for a group.
        group = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
        self._waiting.clear()
        with written(self._path):
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._part, group.schema, compression="zstd")
            self._writer.write_table(group, row_group_size=group.num_rows or None)

    def _parts(self, numbers: Ints) -> "dict[str, pa.Array]":
        if isinstance(self._rules, Grid):
            chosen = dict(zip(AXES, places(self._rules, AXES, numbers), strict=True))
            choices = {name: list(getattr(self._rules, name)) for name in AXES}
        else:
            # The same rule comes once: each is a choice of its own.
            some = [self._rules[number] for number in numbers.tolist()]
            chosen = dict.fromkeys(AXES, np.arange(len(some)))
            choices = {
                name: [getattr(rule, name) for rule in some]
                for name in AXES
                if name not in ("costs", "entry")
            }
            choices |= {"costs": ["given"] * len(some), "entry": [self._entry] * len(some)}
        return {name: _column(name, choices[name], chosen[name]) for name in AXES}


Table = NpyTable | ParquetTable


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line about the file that was to be written."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _reserve(path: Path) -> None:
    """Take the disk space of a mapped file; a full disk would end the process with SIGBUS later.

    Raises:
        OSError: there is not so much; the file is gone again.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError:
        path.unlink()
        raise


def table_at(
    path: Path | str | None,
    rules: Grid | Sequence[Rule],
    entry: Entry,
    *,
    saved: bool,
    resumed: bool,
) -> Table | None:
    """Return the table that a path's name asks for; None without a path.

    saved: a checkpoint keeps what is done; resumed: the table goes on with what one holds.

    Raises:
        ArgumentError: another name, or a checkpoint and a Parquet table; a table to go on with is
            not there, or is another one.
        DataError: it cannot be written.
    """
    if path is None:
        return None
    if Path(path).suffix == ".npy":
        return NpyTable(Path(path), len(rules), saved=saved, resumed=resumed)
    if Path(path).suffix != ".parquet":
        raise ArgumentError(f"table must end in .npy or .parquet, was {path}")
    if saved:
        raise ArgumentError(
            f"{path}: a Parquet table is written in one go: name a .npy table, or no checkpoint"
        )
    return ParquetTable(Path(path), rules, entry)


def _column(name: str, choices: list[Any], chosen: Ints) -> "pa.Array":
    """One part of rules: a number, yes or no, or a word out of a few."""
    import pyarrow as pa

    if name in ("window", "horizon_bars", "stop_ticks", "target_ticks"):
        return pa.array(choices, type=pa.int32()).take(pa.array(chosen))
    if name == "invert":
        return pa.array(choices, type=pa.bool_()).take(pa.array(chosen))
    words = [_word(choice) for choice in choices]
    known = {word: place for place, word in enumerate(dict.fromkeys(words))}
    places_of_words = np.array([known[word] for word in words], dtype=np.int32)
    indices = places_of_words[chosen] if len(words) else np.empty(0, dtype=np.int32)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(known), type=pa.string()))


def _word(choice: Any) -> str:
    if isinstance(choice, str):
        return choice
    if isinstance(choice, tuple):
        gates: tuple[Gate, ...] = choice
        return json.dumps([{"metric": g.metric, g.of: [g.low, g.high]} for g in gates])
    made = costs_document(choice)
    return made if isinstance(made, str) else json.dumps(made)
