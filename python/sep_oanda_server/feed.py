"""Recorded quotes to replay, and the recorded bars that come before them as history.

Two kinds of file: quotes (`time,bid,ask`) and bars (`time,open,high,low,close[,volume]` with a
`metadata.json` beside them, as in `samples/`). A bar gives two quotes, its open when it starts
and its close when it ends; nothing is interpolated between them.
"""

from __future__ import annotations

import csv
import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from sep_oanda_server.candles import SECONDS, Candle, Ohlc
from sep_oanda_server.market import Quote
from sep_oanda_server.wire import NS, read_time

QUOTE_GAP_MAX_NS = 60 * NS


class FeedError(Exception):
    """A recording that cannot be used; the message names file, line and reason."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Quotes of one instrument, oldest first, and the candles from before the first of them.

    `gap_max_ns` is the longest recorded silence that a replay waits for; longer ones, such as
    weekends, are cut to it.
    """

    instrument: str
    quotes: tuple[Quote, ...]
    history: tuple[Candle, ...]
    granularity: str
    gap_max_ns: int

    def shifted(self, by_ns: int) -> Recording:
        """The same recording with its history moved in time; the quotes keep their times."""
        moved = tuple(replace(one, start_ns=one.start_ns + by_ns) for one in self.history)
        return replace(self, history=moved)


def read_recording(
    path: Path, *, instrument: str | None = None, history: int | None = None
) -> Recording:
    """A recording from a file of quotes, a file of bars or a folder with `bars.csv`.

    Args:
        path: what to read.
        instrument: the name for a file of quotes, which does not say it.
        history: how many bars come before the replay; None takes what the metadata says.

    Raises:
        FeedError: the file cannot be read as one of the kinds above.
    """
    file = path / "bars.csv" if path.is_dir() else path
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines)
            columns = rows.fieldnames or []
            if {"time", "bid", "ask"} <= set(columns):
                if instrument is None:
                    raise FeedError(f"{file}: name the instrument of a file of quotes")
                quotes = tuple(_quotes(file, rows, instrument))
                return Recording(instrument, quotes, (), "S5", QUOTE_GAP_MAX_NS)
            if {"time", "open", "high", "low", "close"} <= set(columns):
                return _bars(file, rows, history)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FeedError(f"{file}: {error}") from error
    raise FeedError(f"{file}: needs the columns time,bid,ask or time,open,high,low,close")


def _number(file: Path, line: int, text: str | None) -> Decimal:
    try:
        value = Decimal(text or "")
    except InvalidOperation:
        raise FeedError(f"{file}:{line}: not a number: {text!r}") from None
    if not value.is_finite():
        raise FeedError(f"{file}:{line}: not a finite number: {text!r}")
    return value


def _time(file: Path, line: int, text: str | None) -> int:
    try:
        return read_time(text or "")
    except ValueError as error:
        raise FeedError(f"{file}:{line}: {error}") from None


def _quotes(file: Path, rows: csv.DictReader[str], instrument: str) -> Iterator[Quote]:
    for row in rows:
        line = rows.line_num
        bid, ask = _number(file, line, row["bid"]), _number(file, line, row["ask"])
        try:
            yield Quote(instrument, _time(file, line, row["time"]), bid, ask)
        except ValueError as error:
            raise FeedError(f"{file}:{line}: {error}") from None


def _bars(file: Path, rows: csv.DictReader[str], history: int | None) -> Recording:
    try:
        about = json.loads((file.parent / "metadata.json").read_text(encoding="utf-8"))
        instrument, granularity = about["instrument"], about["granularity"]
        spread = Decimal(about["assumed_spread_pips"]) * Decimal(about["pip"])
        side = about["price_side"]
        kept = about["history_bars"] if history is None else history
    except (OSError, ValueError, KeyError, InvalidOperation) as error:
        raise FeedError(f"{file.parent / 'metadata.json'}: {error}") from error
    if side not in ("bid", "ask", "mid"):
        raise FeedError(f"{file.parent / 'metadata.json'}: price_side must be bid, ask or mid")
    # The recorded side stays as it is; the assumed spread gives the other.
    below = {"ask": spread, "bid": Decimal(0), "mid": spread / 2}[side]
    above = spread - below
    length = SECONDS[granularity] * NS
    candles: list[Candle] = []
    for row in rows:
        line = rows.line_num
        o, h, low, c = (_number(file, line, row[key]) for key in ("open", "high", "low", "close"))
        volume = int(_number(file, line, row["volume"])) if row.get("volume") else 0
        bid = Ohlc(o - below, h - below, low - below, c - below)
        ask = Ohlc(o + above, h + above, low + above, c + above)
        candles.append(Candle(_time(file, line, row["time"]), bid, ask, volume))
    quotes = []
    for one in candles[kept:]:
        quotes.append(Quote(instrument, one.start_ns, one.bid.o, one.ask.o))
        quotes.append(Quote(instrument, one.start_ns + length - 1, one.bid.c, one.ask.c))
    return Recording(instrument, tuple(quotes), tuple(candles[:kept]), granularity, length)


def merged(recordings: Sequence[Recording]) -> list[tuple[int, Quote]]:
    """The quotes of all recordings by time, each with the nanoseconds to wait before it."""
    longest = min((one.gap_max_ns for one in recordings), default=0)
    events = []
    previous: int | None = None
    for quote in heapq.merge(*(one.quotes for one in recordings), key=lambda q: q.time_ns):
        gap = 0 if previous is None else max(0, quote.time_ns - previous)
        events.append((min(gap, longest), quote))
        previous = quote.time_ns
    return events
