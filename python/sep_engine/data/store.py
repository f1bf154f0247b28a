"""A folder of market data with what is known about each: where it is from, and what it hashes to.

Every data set is a folder NAME with two files: `bars.parquet` (time, open, high, low, close of one
side; volume where known; ask_open, ask_high, ask_low, ask_close where the bars are bids of a source
with both sides; spread where only that is known) and `metadata.json`. A data set is whole or not
there: it is made under another name and then renamed. It is never changed; a longer download makes
it anew.
"""

import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sep_engine.data.bars import Bars, Quotes, load_bars
from sep_engine.data.table import BAR_COLUMNS
from sep_engine.errors import ArgumentError, DataError
from sep_engine.model.times import length_ns, second_text
from sep_engine.model.volume import Counted

FORMAT = "sep-data-1"
BARS = "bars.parquet"
METADATA = "metadata.json"
PRICE_SIDES = ("bid", "ask", "mid", "trade")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where prices are from, in words that every result repeats.

    Attributes:
        vendor: who sold, gave or published them; "unknown" says that nobody knows.
        licence: under what they may be used, "unknown" likewise.
        price_side: of the four prices of a bar: bid, ask, mid or trade.
        time_zone: how the zone of the times is known.
        synthetic: the prices were generated.
        source: file or address that they were read from.
        source_sha256: of that file's bytes, "" for a download.
    """

    vendor: str
    licence: str
    price_side: str
    time_zone: str
    synthetic: bool
    source: str
    source_sha256: str = ""

    def __post_init__(self) -> None:
        if self.price_side not in PRICE_SIDES:
            raise ArgumentError(
                f"price side must be one of {', '.join(PRICE_SIDES)}; was {self.price_side!r}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class BarColumns:
    """Bars to be stored, oldest first: (n,) each.

    Attributes:
        times: int64 nanoseconds since 1970 UTC.
        own: open, high, low, close of the side that `Origin.price_side` names.
        ask: the same of the ask where `own` are bids and both are known.
        spread: ask less bid at each bar's close, where only that is known.
        volume: as the source counts it.
    """

    times: NDArray[np.int64]
    own: Mapping[str, Floats]
    ask: Mapping[str, Floats] | None = None
    spread: Floats | None = None
    volume: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A data set: its bars, the spread at each close if known, and everything in metadata.json.

    spread: (n,) float64 in price, or None.
    """

    bars: Bars
    spread: Floats | None
    metadata: Mapping[str, Any]

    @property
    def pip(self) -> Decimal:
        return Decimal(self.metadata["pip"])

    @property
    def spread_ticks(self) -> NDArray[np.int64] | None:
        """(n,) the spread at each close in ticks, None where it is not known."""
        if self.spread is None:
            return None
        return np.rint(self.spread / float(self.bars.tick)).astype(np.int64)

    @property
    def side(self) -> str:
        """The side that the bars count as: a trade is at neither, half the spread lies on each."""
        side: str = self.metadata["origin"]["price_side"]
        return "mid" if side == "trade" else side

    @property
    def volume_of(self) -> Counted:
        """What the volume counts: "units" of base, "updates" of the price, or "unknown"."""
        origin = self.metadata["origin"]
        if "volume_of" in self.metadata:
            said: Counted = self.metadata["volume_of"]
            return said
        if origin["vendor"] == "OANDA":
            return "updates"  # its candles count the prices that were made
        return "units" if str(origin["source"]).startswith("ccxt ") else "unknown"


def store_path() -> Path:
    """Return the folder of all data sets: SEP_DATA_PATH, or sep-data in the current folder."""
    return Path(os.environ.get("SEP_DATA_PATH") or "sep-data")


def data_set(store: Path, name: str) -> Path:
    """Return the folder of a data set, there or not; ArgumentError for an impossible name."""
    if not _NAME.fullmatch(name):
        raise ArgumentError(
            f"a data set is named by up to 64 of A-Z a-z 0-9 _ - and, after the first, dots; "
            f"was {name!r}"
        )
    return store / name


def is_data_set(folder: Path) -> bool:
    """Return whether a folder is a data set of a store."""
    return (folder / METADATA).is_file()


def catalogue(store: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the metadata of every data set, by name."""
    if not store.is_dir():
        return
    for folder in sorted(store.iterdir()):
        if is_data_set(folder) and not folder.name.startswith("."):
            yield read_metadata(folder)


def read_metadata(folder: Path) -> Mapping[str, Any]:
    """Return what is known of a data set; DataError if that cannot be read."""
    path = folder / METADATA
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise DataError(f"{path}: not of the form {FORMAT}")
    return metadata


def load_stored(folder: Path) -> Stored:
    """Return a data set; DataError when its bytes are not those that were stored."""
    metadata = read_metadata(folder)
    path = folder / BARS
    bars = load_bars(
        path,
        tick=Decimal(metadata["tick"]),
        calendar=metadata["calendar"],
        accept=metadata["accepted"],
        synthetic=metadata["origin"]["synthetic"],
    )
    for name, found in (("sha256", bars.sha256), ("content_sha256", bars.content_sha256)):
        if found != metadata[name]:
            raise DataError(f"{path}: {name} is {found}, {METADATA} says {metadata[name]}")
    columns = pq.read_table(path)
    spread = None
    if "ask_close" in columns.column_names:
        spread = columns["ask_close"].to_numpy() - bars.close
    elif "spread" in columns.column_names:
        spread = columns["spread"].to_numpy()
    return Stored(replace(bars, name=metadata["name"]), spread, metadata)


def save(
    columns: BarColumns,
    *,
    store: Path,
    name: str,
    instrument: str,
    origin: Origin,
    tick: Decimal | None,
    pip: Decimal,
    calendar: str,
    accept: Collection[str] = (),
    now: datetime,
    replaces: bool = False,
    details: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """Store bars as a new data set and return its metadata.

    Args:
        tick: the price grid, None to infer it.
        accept: kinds of errors to live with, as in `load_bars`.
        now: UTC, aware.
        replaces: a data set of that name may be there and is replaced.
        details: more JSON for the metadata.

    Raises:
        ArgumentError: the name is impossible or taken.
        DataError: the bars have an error that was not accepted, or cannot be written.
    """
    folder = data_set(store, name)
    if folder.exists() and not replaces:
        raise ArgumentError(f"{folder} is there already; choose another name or delete it")
    unfinished = store / f".{name}.unfinished"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_bars(unfinished / BARS, columns)
        bars = load_bars(
            unfinished / BARS,
            tick=tick,
            calendar=calendar,
            accept=accept,
            synthetic=origin.synthetic,
        )
        metadata = {
            "format": FORMAT,
            "name": name,
            "instrument": instrument,
            "bars_of_s": bars.duration.total_seconds(),
            "rows": len(bars),
            "first": second_text(int(bars.times[0])),
            "last": second_text(int(bars.times[-1])),
            "tick": str(bars.tick),
            "pip": str(pip),
            "calendar": calendar,
            "both_sides": columns.ask is not None,
            "spread_known": columns.ask is not None or columns.spread is not None,
            "origin": {field: getattr(origin, field) for field in Origin.__slots__},
            "accepted": sorted(accept),
            "findings": [
                {"kind": one.kind, "count": one.count, "first_line": one.first_line}
                for one in bars.quality.findings
            ],
            "sha256": bars.sha256,
            "content_sha256": bars.content_sha256,
            "stored_at": now.isoformat(),
            **(details or {}),
        }
        text = json.dumps(metadata, indent=2) + "\n"
        (unfinished / METADATA).write_text(text, encoding="utf-8")
        if folder.exists():
            gone = store / f".{name}.replaced"
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
            unfinished.rename(folder)
            shutil.rmtree(gone)
        else:
            unfinished.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return metadata


def delete(store: Path, name: str) -> None:
    """Delete a data set; ArgumentError if it is not there."""
    folder = data_set(store, name)
    if not is_data_set(folder):
        raise ArgumentError(f"{store}: no data set {name}")
    shutil.rmtree(folder)


def bars_of_quotes(quotes: Quotes, duration: timedelta) -> BarColumns:
    """Return bars of bid and ask made of quotes; a bar without a quote is left out.

    A bar holds the quotes with start <= time < start + duration, starts being multiples of the
    duration since 1970. Its volume is their number.
    """
    step = length_ns(duration)
    if step <= 0 or not len(quotes):
        raise ArgumentError(f"duration must be > 0 and quotes not empty, were {duration}")
    slot = quotes.times // step
    first = np.flatnonzero(np.diff(slot, prepend=slot[0] - 1))
    last = np.append(first[1:], slot.size) - 1

    def side(prices: Floats) -> dict[str, Floats]:
        return {
            "open": prices[first],
            "high": np.maximum.reduceat(prices, first),
            "low": np.minimum.reduceat(prices, first),
            "close": prices[last],
        }

    return BarColumns(
        times=slot[first] * step,
        own=side(quotes.bid),
        ask=side(quotes.ask),
        volume=(last - first + 1).astype(np.float64),
    )


def columns_of(bars: Bars, *, spread: Floats | None = None) -> BarColumns:
    """Return loaded bars as columns to store."""
    own = {name: getattr(bars, name) for name in BAR_COLUMNS}
    return BarColumns(times=bars.times, own=own, spread=spread, volume=bars.volume)


def joined(parts: Sequence[BarColumns]) -> BarColumns:
    """Return columns one after the other; a side or volume must be in all of them or in none."""

    def all_of(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if all(value is None for value in values):
            return None
        if isinstance(values[0], Mapping):
            return {key: np.concatenate([value[key] for value in values]) for key in values[0]}
        return np.concatenate(values)

    return BarColumns(**{name: all_of(name) for name in BarColumns.__slots__})


def read_columns(path: Path) -> BarColumns:
    """Return what `bars.parquet` holds."""
    table = pq.read_table(path)

    def column(name: str) -> Floats:
        return np.asarray(table[name].to_numpy(), dtype=np.float64)

    names = set(table.column_names)
    return BarColumns(
        times=table["time"].cast(pa.int64()).to_numpy(),
        own={name: column(name) for name in BAR_COLUMNS},
        ask={name: column(f"ask_{name}") for name in BAR_COLUMNS} if "ask_open" in names else None,
        spread=column("spread") if "spread" in names else None,
        volume=column("volume") if "volume" in names else None,
    )


def write_bars(path: Path, columns: BarColumns) -> None:
    """Write `columns` as `bars.parquet` holds them."""
    arrays: dict[str, Any] = {"time": pa.array(columns.times).cast(pa.timestamp("ns", "UTC"))}
    arrays |= {name: columns.own[name] for name in BAR_COLUMNS}
    if columns.ask is not None:
        arrays |= {f"ask_{name}": columns.ask[name] for name in BAR_COLUMNS}
    for name in ("spread", "volume"):
        if getattr(columns, name) is not None:
            arrays[name] = getattr(columns, name)
    pq.write_table(pa.table(arrays), path, compression="zstd")
