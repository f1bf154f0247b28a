"""Market data files as columns, with the line that each row came from.

Nothing is repaired, filled or dropped: a row that cannot be read is kept as a `BadRow` with its
line and the reason, and whoever uses the table decides.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sep_engine.errors import DataError

BAR_COLUMNS = ("open", "high", "low", "close")
QUOTE_COLUMNS = ("bid", "ask")

_ALIASES = {
    "time": ("time", "date", "datetime", "timestamp", "gmt time", "open_time"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v", "tick_volume", "tickvol"),
    "bid": ("bid",),
    "ask": ("ask",),
}
_NAME_OF = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}
_UNITS, _UPDATES = {"volume", "vol", "v"}, {"tick_volume", "tickvol"}
# What pandas calls an index without a name.
_INDEX = ("", "unnamed: 0", "__index_level_0__")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

# Form of a time, and how to spell it as ISO-8601. All rows of a file must have one form.
_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_TIME_FORMS = (
    (rf"^({_ISO_DATE})[T ]({_CLOCK})(Z|[+-]\d{{2}}:?\d{{2}})$", r"\1T\2\3", True),
    (rf"^({_ISO_DATE})[T ]({_CLOCK}) ?UTC$", r"\1T\2Z", True),
    (rf"^({_ISO_DATE})[T ]({_CLOCK})$", r"\1T\2", False),
    (rf"^({_ISO_DATE})$", r"\1", False),
    (r"^(\d{4})(\d{2})(\d{2}) (\d{2})(\d{2})(\d{2})$", r"\1-\2-\3T\4:\5:\6", False),
    (rf"^(\d{{4}})[./](\d{{2}})[./](\d{{2}}) ({_CLOCK})$", r"\1-\2-\3T\4", False),
    (rf"^(\d{{2}})\.(\d{{2}})\.(\d{{4}}) ({_CLOCK})$", r"\3-\2-\1T\4", False),
)
_EPOCH = r"^\d{9,19}$"
_SECONDS = r"^(\d{9,10})\.(\d{1,9})$"  # since 1970, as time.time() counts them


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: its line in the file (the first is 1) and the reason."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The readable rows of one file, in file order.

    Attributes:
        path: where it was read from.
        lines: (n,) int64, line of each row; in Parquet, the row's number from 1.
        times: (n,) int64 nanoseconds since 1970 UTC.
        columns: (n,) float64 each; open, high, low, close[, volume] or bid, ask.
        bad_rows: the rows that could not be read.
        sha256: of the file's bytes, as they lie on disk.
    """

    path: Path
    lines: NDArray[np.int64]
    times: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]
    bad_rows: tuple[BadRow, ...]
    sha256: str

    @property
    def has_bars(self) -> bool:
        """True for bars, False for quotes."""
        return "close" in self.columns


def read_table(
    path: Path | str, *, columns: Sequence[str] | None = None, time_zone: str | None = None
) -> Table:
    """Return the rows of a CSV (plain or .gz), Parquet or OANDA candles file of bars or quotes.

    Args:
        path: the file. Candles (.json, plain or .gz) are an answer of OANDA's candles endpoint:
            their bids are read, else their mids, else their asks. CSV: comma, semicolon or tab;
            the header names the columns in any order.
        columns: the column names of a CSV without a header, in order; unknown ones are ignored.
        time_zone: IANA name for times that carry no zone, e.g. "America/New_York". Times with a
            zone, and seconds or finer units since 1970, need none.

    Raises:
        DataError: the file is missing or empty, columns are missing, or times have no zone.
    """
    path = Path(path)
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    try:
        if path.suffix == ".parquet":
            texts, lines, bad_rows = _read_parquet(path)
        elif path.name.endswith((".json", ".json.gz")):
            texts, lines, bad_rows = _read_candles(path)
        else:
            texts, lines, bad_rows = _read_csv(path, columns)
        wanted = _price_columns(path, tuple(texts))
        times, reasons = _times(path, texts["time"], time_zone)
        values = {name: _numbers(name, texts[name], reasons) for name in wanted}
    # OSError: the compressed stream is broken or cut short. ArrowInvalid: no time or number of a
    # kind that we know, such as the year 9000 in nanoseconds.
    except (pa.ArrowInvalid, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from error

    good = np.ones(len(lines), dtype=np.bool_)
    good[list(reasons)] = False
    bad_rows += [BadRow(int(lines[row]), reason) for row, reason in reasons.items()]
    return Table(
        path=path,
        lines=lines[good],
        times=times[good],
        columns={name: column[good] for name, column in values.items()},
        bad_rows=tuple(sorted(bad_rows, key=lambda bad: bad.line)),
        sha256=sha256,
    )


def _places(where: str, header: Sequence[str]) -> dict[str, int]:
    """Return where the columns that bars and quotes are made of stand, by their own names.

    A day and a time of day in two columns, as MetaTrader writes them, are "date" and "time"; of its
    two volumes the updates count, because currencies have no other.
    """
    lower = [name.strip().lower() for name in header]
    found: dict[str, int] = {}
    for place, name in enumerate(lower):
        known = _NAME_OF.get(name)
        if name == "date" and "time" in lower:
            known = "date"
        if known is None or (known == "volume" and name in _UNITS and _UPDATES & set(lower)):
            continue
        if known in found:
            raise DataError(
                f"{where}: more than one column is '{known}': {header[found[known]]}, "
                f"{header[place]}"
            )
        found[known] = place
    if "time" not in found:
        index = next((place for place, name in enumerate(lower) if name in _INDEX), None)
        found |= {} if index is None else {"time": index}
    return found


def _price_columns(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    if "time" not in names:
        raise DataError(
            f"{path}: no column 'time'; of those that bars and quotes are made of, it has "
            f"{', '.join(names) or 'none'}"
        )
    if set(BAR_COLUMNS) <= set(names):
        return BAR_COLUMNS + (("volume",) if "volume" in names else ())
    if set(QUOTE_COLUMNS) <= set(names):
        return QUOTE_COLUMNS
    raise DataError(
        f"{path}: needs the columns open, high, low, close or bid, ask beside time; "
        f"found {', '.join(names)}"
    )


def _unpacked(path: Path) -> bytes:
    """Return the bytes of a file, without gzip whatever its name is."""
    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _csv_bytes(path: Path) -> bytes:
    """Return the text of a file in UTF-8; files that begin as UTF-16 does are that."""
    content = _unpacked(path)
    if content[:4] == b"PK\x03\x04":
        raise DataError(f"{path}: an archive or a workbook; unpack it, or save it as CSV")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is no text in {encoding}; "
            "save the file as UTF-8"
        ) from error
    return content if encoding == "utf-8" else text.encode()


def _read_csv(
    path: Path, columns: Sequence[str] | None
) -> tuple[dict[str, pa.Array], NDArray[np.int64], list[BadRow]]:
    content = _csv_bytes(path)
    first = content[: content.find(b"\n") + 1 or None].decode("utf-8-sig").rstrip("\r\n")
    if not first.strip():
        raise DataError(f"{path}, line 1: empty; a header such as time,open,high,low,close belongs")
    # Of as many of each, commas are decimal ones.
    delimiter = max(";\t|,", key=first.count)
    fields = [field.strip(' "<>') for field in first.split(delimiter)]
    if columns is None:
        if any(re.match(_NUMBER, field) for field in fields):
            raise DataError(
                f"{path}, line 1: no header; name the columns, "
                "e.g. --columns time,open,high,low,close,volume"
            )
        names = fields
    else:
        names = list(columns)
        if len(names) != len(fields):
            raise DataError(f"{path}, line 1: {len(fields)} columns, but {len(names)} names given")
    found = _places(f"{path}, line 1", names)
    _price_columns(path, tuple(found))
    # Columns that nobody asked for still need names of their own.
    names = [f"column {place}" for place in range(len(names))]

    bad_rows: list[BadRow] = []

    def keep_bad(row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} columns, expected {row.expected_columns}"
        bad_rows.append(BadRow(row.number, reason))
        return "skip"

    header_lines = 1 if columns is None else 0
    table = pacsv.read_csv(
        pa.BufferReader(content),
        # Only one thread knows line numbers.
        read_options=pacsv.ReadOptions(
            column_names=names, skip_rows=header_lines, use_threads=False
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter, ignore_empty_lines=False, invalid_row_handler=keep_bad
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    skipped = np.array([bad.line for bad in bad_rows], dtype=np.int64)
    total = table.num_rows + skipped.size
    lines = np.setdiff1d(np.arange(1, total + 1, dtype=np.int64) + header_lines, skipped)
    texts = {
        name: pc.utf8_trim_whitespace(table.column(place).combine_chunks())
        for name, place in found.items()
    }
    if "date" in texts:
        texts["time"] = pc.binary_join_element_wise(texts.pop("date"), texts["time"], " ")
    # Empty lines at the end are no rows; one in between may be a row that is lost.
    widths = sum(pc.binary_length(column).to_numpy() for column in texts.values())
    blank = 1 if "date" in found else 0  # between a day and a time
    rows = int(np.flatnonzero(widths > blank).max(initial=-1)) + 1
    return {name: text[:rows] for name, text in texts.items()}, lines[:rows], bad_rows


def _read_parquet(path: Path) -> tuple[dict[str, pa.Array], NDArray[np.int64], list[BadRow]]:
    table = pq.read_table(path)
    found = _places(str(path), table.column_names)
    if "date" in found:
        raise DataError(f"{path}: both 'date' and 'time' are columns: rename the one to ignore")
    arrays = {
        name: _plain(path, table.column_names[place], table.column(place).combine_chunks())
        for name, place in found.items()
    }
    return arrays, np.arange(1, table.num_rows + 1, dtype=np.int64), []


def _plain(path: Path, name: str, column: pa.Array) -> pa.Array:
    """Return a column as strings, timestamps, integers, float64 or decimals.

    A float32 is taken for the shortest decimal number that it stands for: 1.05123 is no float32,
    but only one of them is written so.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_float32(kind):
        return column.cast(pa.string()).cast(pa.float64())
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("ms"))
    known = (pa.types.is_string, pa.types.is_timestamp, pa.types.is_integer, pa.types.is_decimal)
    if pa.types.is_float64(kind) or any(holds(kind) for holds in known):
        return column
    raise DataError(f"{path}: the column '{name}' holds {kind}, neither times, numbers nor text")


def _read_candles(path: Path) -> tuple[dict[str, pa.Array], NDArray[np.int64], list[BadRow]]:
    try:
        document = json.loads(_unpacked(path))
        candles = document["candles"]
        side = next(name for name in ("bid", "mid", "ask") if name in candles[0])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    except (KeyError, TypeError, IndexError, StopIteration) as error:
        raise DataError(
            f"{path}: not candles of OANDA: needs candles, each with time and bid, mid or ask"
        ) from error
    cells: dict[str, list[str]] = {name: [] for name in ("time", *BAR_COLUMNS, "volume")}
    lines, bad_rows = [], []
    for line, candle in enumerate(candles, start=1):
        try:
            corners = [str(candle[side][name[0]]) for name in BAR_COLUMNS]
            row = [_rfc3339(str(candle["time"])), *corners, str(candle.get("volume", 0))]
        except (KeyError, TypeError) as error:
            bad_rows.append(BadRow(line, f"no {side} prices or no time: {error}"))
            continue
        if candle.get("complete") is False:
            bad_rows.append(BadRow(line, "the candle is not complete"))
            continue
        lines.append(line)
        for column, cell in zip(cells.values(), row, strict=True):
            column.append(cell)
    texts = {name: pa.array(column, pa.string()) for name, column in cells.items()}
    return texts, np.array(lines, dtype=np.int64), bad_rows


def _rfc3339(text: str) -> str:
    """Return a time of OANDA as ISO-8601; it may also be sent as seconds with nine decimals."""
    seconds = re.fullmatch(r"(\d{1,10})\.(\d{9})", text)
    return f"{int(seconds[1]):010d}{seconds[2]}" if seconds else text


def _numbers(name: str, cells: pa.Array, reasons: dict[int, str]) -> NDArray[np.float64]:
    readable = cells
    if pa.types.is_string(cells.type):
        readable = _masked(cells, _matches(cells, _NUMBER), "nan")
    readable = readable.cast(pa.float64())
    if readable.null_count:
        readable = readable.fill_null(np.nan)
    numbers = readable.to_numpy()
    for row in np.flatnonzero(~np.isfinite(numbers)):
        cell = cells[int(row)].as_py()
        comma = isinstance(cell, str) and re.fullmatch(r"[+-]?\d+,\d+", cell)
        hint = ": write decimals with a point" if comma else ""
        reasons.setdefault(int(row), f"{name} {cell!r} is not a number{hint}")
    return np.array(numbers, dtype=np.float64)


def _times(
    path: Path, texts: pa.Array, time_zone: str | None
) -> tuple[NDArray[np.int64], dict[int, str]]:
    if pa.types.is_timestamp(texts.type):
        if texts.null_count:
            raise DataError(f"{path}: the column 'time' has {texts.null_count} missing values")
        stamps = texts.cast(pa.timestamp("ns", texts.type.tz))
        if texts.type.tz is None:
            return _zoned(path, stamps, time_zone, {})
        return _int64(stamps), {}
    if pa.types.is_integer(texts.type):
        texts = texts.cast(pa.string())
    if not pa.types.is_string(texts.type):
        raise DataError(f"{path}: the column 'time' holds {texts.type}, no times")
    texts = texts.fill_null("")
    if len(texts) == 0:
        return np.zeros(0, dtype=np.int64), {}

    first = _first_time(path, texts)
    if re.match(_EPOCH, first):
        matches = _matches(texts, rf"^\d{{{len(first)}}}$")
        # 10 digits are seconds until the year 2286, 13 milliseconds, 16 micro-, 19 nanoseconds.
        scale = 10 ** (9 - 3 * ((len(first) - 10 + 2) // 3))
        counts = _masked(texts, matches, "0").cast(pa.int64())
        return counts.to_numpy() * scale, _time_reasons(texts, matches)

    if re.match(_SECONDS, first):
        matches = _matches(texts, _SECONDS)
        known = _masked(texts, matches, "000000000.0")
        whole = pc.replace_substring_regex(known, _SECONDS, r"\1").cast(pa.int64()).to_numpy()
        part = pc.utf8_rpad(pc.replace_substring_regex(known, _SECONDS, r"\2"), 9, "0")
        return whole * 10**9 + part.cast(pa.int64()).to_numpy(), _time_reasons(texts, matches)

    pattern, iso, zoned = next(form for form in _TIME_FORMS if re.match(form[0], first))
    matches = _matches(texts, pattern)
    texts_iso = pc.replace_substring_regex(texts, pattern, iso)
    kind = pa.timestamp("ns", "UTC") if zoned else pa.timestamp("ns")
    stamps, matches = _cast_where(texts_iso, matches, kind)
    reasons = _time_reasons(texts, matches)
    if zoned:
        return _int64(stamps), reasons
    return _zoned(path, stamps, time_zone, reasons, texts)


def _first_time(path: Path, texts: pa.Array) -> str:
    forms = [_EPOCH, _SECONDS, *(pattern for pattern, _, _ in _TIME_FORMS)]
    for text in texts[:100].to_pylist():
        if any(re.match(form, text) for form in forms):
            return cast("str", text)
    raise DataError(f"{path}: cannot read the time {texts[0].as_py()!r} of the first row")


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    matches = pc.match_substring_regex(texts, pattern).cast(pa.uint8())
    return np.array(matches.to_numpy(), dtype=np.bool_)


def _masked(texts: pa.Array, matches: NDArray[np.bool_], filler: str) -> pa.Array:
    # Not needed for a clean file, and PyArrow would import pandas, where there is one, to do it.
    return texts if matches.all() else pc.if_else(pa.array(matches), texts, filler)


def _time_reasons(texts: pa.Array, matches: NDArray[np.bool_]) -> dict[int, str]:
    return {
        int(row): f"time {texts[int(row)].as_py()!r} is not a time of the form of the others"
        for row in np.flatnonzero(~matches)
    }


def _cast_where(
    texts: pa.Array, matches: NDArray[np.bool_], kind: pa.DataType
) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Cast the matching rows; a row of the right form may still name no day, as 2017-02-30."""
    filler = "1970-01-01T00:00:00" + ("Z" if kind.tz else "")
    try:
        return _masked(texts, matches, filler).cast(kind), matches
    except pa.ArrowInvalid:
        for row in np.flatnonzero(matches):
            try:
                texts[int(row) : int(row) + 1].cast(kind)
            except pa.ArrowInvalid:
                matches[row] = False
        return _masked(texts, matches, filler).cast(kind), matches


def _zoned(
    path: Path,
    stamps: pa.Array,
    time_zone: str | None,
    reasons: dict[int, str],
    texts: pa.Array | None = None,
) -> tuple[NDArray[np.int64], dict[int, str]]:
    shown = (stamps if texts is None else texts)[0].as_py()
    if time_zone is None:
        raise DataError(
            f"{path}: the time '{shown}' carries no time zone; name it, e.g. --time-zone UTC"
        )
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DataError(f"time zone {time_zone!r} is not known; use a name such as UTC") from error
    try:
        return _int64(pc.assume_timezone(stamps, time_zone)), reasons
    except pa.ArrowInvalid:
        # A local time that the clock skipped or showed twice: find those rows one by one.
        times = np.zeros(len(stamps), dtype=np.int64)
        for row in range(len(stamps)):
            one = stamps[row : row + 1]
            try:
                times[row] = _int64(pc.assume_timezone(one, time_zone))[0]
            except pa.ArrowInvalid:
                reasons.setdefault(
                    row, f"time '{one[0].as_py()}' does not exist once in {time_zone}"
                )
        return times, reasons


def _int64(stamps: Any) -> NDArray[np.int64]:
    return cast("NDArray[np.int64]", stamps.cast(pa.int64()).to_numpy())
