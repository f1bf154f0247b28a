"""Trade lists that other programs export, as rows with the line that each came from.

| source         | files                                         | times            |
|----------------|-----------------------------------------------|------------------|
| freqtrade      | backtest result (.zip or the .json in it),    | UTC, stated      |
|                | `show-trades --print-json`, trades as CSV     |                  |
| LEAN           | backtest result (.json), trades as CSV        | UTC, stated      |
| MetaTrader 5   | report as HTML, or its sheet as CSV: its      | the server's own |
|                | positions, else its deals, paired first in,   |                  |
|                | first out                                     |                  |
| backtesting.py | `stats._trades` as CSV                        | those of its bars|
| generic        | CSV: opened, closed, direction, entry, exit   | as written       |
|                | [, units, fees, profit, instrument]           |                  |

Times without a zone are refused until it is named. Nothing is repaired or dropped: a row that is
no closed trade is kept as a `BadRow` with its line and the reason.
"""

import csv
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sep_engine.data.table import BadRow
from sep_engine.errors import DataError
from sep_engine.model.times import to_ns

SIZE_BYTES_MAX = 256 << 20
# How far profit per price and unit may differ between rows and still be one exchange rate.
_RATE_TOLERANCE = Decimal("0.001")
_CENT = Decimal("0.01")  # profits are rounded to it

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One closed position.

    Attributes:
        line: in the file (the first is 1); in JSON, number of the trade from 1.
        instrument: as the file names it, "" if it does not.
        direction: 1 bought first, -1 sold first.
        units: > 0 in the file's own measure (units or lots), None if it states none.
        opened_ns, closed_ns: nanoseconds since 1970 UTC.
        entry, exit: fill prices, > 0.
        fees: what the file says was paid beside the prices (commission, fee, swap), >= 0 for a
            cost, in quote currency for one unit; None when it says so in money that has no fixed
            rate to the price. 0 when it says nothing (`TradeTable.fees` tells).
    """

    line: int
    instrument: str
    direction: int
    units: Decimal | None
    opened_ns: int
    closed_ns: int
    entry: Decimal
    exit: Decimal
    fees: Decimal | None


@dataclass(frozen=True, slots=True)
class TradeTable:
    """The trades of one file, in file order, and the rows that are none.

    Attributes:
        source: which program the file is from.
        fees: what is known of costs beside the prices, for people.
        sha256: of the file's bytes.
    """

    path: Path
    source: str
    rows: tuple[TradeRow, ...]
    bad_rows: tuple[BadRow, ...]
    fees: str
    sha256: str


@dataclass(frozen=True, slots=True)
class _Paid:
    """A trade whose fees are still in account currency; `profit` is before fees."""

    row: TradeRow
    fees: Decimal | None
    profit: Decimal | None


class _Unreadable(Exception):
    """A row that is no closed trade, and why."""


def read_trades(path: Path | str, *, time_zone: str | None = None) -> TradeTable:
    """Return the trades of an export; its columns say which program it is from.

    Args:
        time_zone: IANA name for times that carry no zone, e.g. "Europe/Athens".

    Raises:
        DataError: the file is missing, too large, of no known form, or its times have no zone.
    """
    path = Path(path)
    try:
        if path.stat().st_size > SIZE_BYTES_MAX:
            raise DataError(f"{path}: larger than {SIZE_BYTES_MAX >> 20} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    try:
        zone = None if time_zone is None else ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DataError(f"time zone {time_zone!r} is not known; use a name such as UTC") from error
    source, records, parse = _records(path, _decoded(path, _unpacked(path, content)))
    found: list[_Paid] = []
    bad: list[BadRow] = []
    for line, record in records:
        try:
            if not record:
                raise _Unreadable("other columns than the header")
            found.append(parse(line, record, zone))
        except _Unreadable as error:
            bad.append(BadRow(line, str(error)))
        except DataError as error:
            raise DataError(f"{path}, line {line}: {error}") from error
    if not found and not bad:
        raise DataError(f"{path}: holds no trades")
    rows, fees = _per_unit(found)
    return TradeTable(path, source, rows, tuple(bad), fees, hashlib.sha256(content).hexdigest())


def _unpacked(path: Path, content: bytes) -> bytes:
    """Return the result in the archive that freqtrade writes; any other file as it is."""
    if not content.startswith(b"PK\x03\x04"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Beside it lie NAME_config.json and, of a tuned strategy, NAME_Strategy.json.
            found = [info for info in archive.infolist() if info.filename.endswith(".json")]
            if not found:
                raise DataError(
                    f"{path}: an archive without a freqtrade result; save a MetaTrader 5 report as "
                    "HTML, or its sheet as CSV"
                )
            result = min(found, key=lambda info: len(info.filename))
            with archive.open(result) as file:
                text = file.read(SIZE_BYTES_MAX + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{path}: the archive cannot be read: {error}") from error
    if len(text) > SIZE_BYTES_MAX:
        raise DataError(f"{path}: {result.filename} is larger than {SIZE_BYTES_MAX >> 20} MiB")
    return text


def _decoded(path: Path, content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not text; export trades as CSV or JSON, a MetaTrader 5 report as HTML"
        ) from error


def _records(path: Path, text: str) -> tuple[str, Iterator[tuple[int, Any]], Any]:
    """Return the program's name, its rows with their lines, and what reads one."""
    head = text.lstrip()[:1]
    if head in ("{", "["):
        return _json_records(path, text)
    if head == "<":
        return _metatrader(path, _html_tables(text))
    lines = text.splitlines()
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    rows = [
        (reader_line, cells)
        for reader_line, cells in _csv_lines(io.StringIO(text, newline=""), delimiter)
        if any(cell.strip() for cell in cells)
    ]
    if not rows:
        raise DataError(f"{path}: empty")
    header = [cell.strip().lower() for cell in rows[0][1]]
    for name, needed, parse in _CSV_FORMS:
        if needed <= set(header):
            return name, _dicts(header, rows[1:]), parse
    # The sheet of a MetaTrader report begins with lines about the account.
    if any({"deal", "position"} & {cell.strip().lower() for cell in cells} for _, cells in rows):
        return _metatrader(path, rows)
    raise DataError(
        f"{path}: no trade list of a known form; columns {', '.join(header[:12])}. Needed: "
        "opened,closed,direction,entry,exit and, where known, units,fees,profit,instrument"
    )


def _csv_lines(text: io.StringIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text, delimiter=delimiter)
    before = 0
    for cells in reader:
        yield before + 1, cells
        before = reader.line_num


def _dicts(
    header: Sequence[str], rows: Sequence[tuple[int, list[str]]]
) -> Iterator[tuple[int, Fields]]:
    for line, cells in rows:
        # A row with other cells than the header has none of its fields for certain.
        yield line, dict(zip(header, cells, strict=True)) if len(cells) == len(header) else {}


def _json_records(path: Path, text: str) -> tuple[str, Iterator[tuple[int, Any]], Any]:
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    name, trades, parse = "freqtrade", None, _freqtrade
    if isinstance(document, dict) and isinstance(document.get("backtest"), dict):
        document = document["backtest"]  # as QuantConnect's API wraps it
    if isinstance(document, list):
        trades = document
    elif isinstance(document.get("strategy"), dict):
        strategies = document["strategy"]
        if len(strategies) != 1:
            names = ", ".join(map(str, strategies))
            raise DataError(f"{path}: holds {len(strategies)} strategies ({names}); export one")
        (result,) = strategies.values()
        trades = result.get("trades") if isinstance(result, dict) else None
    else:
        performance = _lower(document).get("totalperformance")
        if isinstance(performance, dict):
            name, parse = "LEAN", _lean
            trades = _lower(performance).get("closedtrades")
        elif isinstance(document.get("trades"), list):
            trades = document["trades"]
    if not isinstance(trades, list) or not all(isinstance(trade, dict) for trade in trades):
        raise DataError(
            f"{path}: neither a freqtrade result (strategy.NAME.trades) nor one of LEAN "
            "(totalPerformance.closedTrades)"
        )
    return name, enumerate((_lower(trade) for trade in trades), start=1), parse


def _lower(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in fields.items()}


# One function a program: from a row's fields to a trade, in the words of that program.


def _freqtrade(line: int, of: Fields, zone: ZoneInfo | None) -> _Paid:
    if _is_true(of.get("is_open")) or _blank(of.get("close_date")):
        raise _Unreadable("still open: it has no result")
    entry, exit_ = _price(of, "open_rate"), _price(of, "close_rate")
    # Fees are shares of the turnover of each side.
    shares = [_optional(of, name) for name in ("fee_open", "fee_close")]
    opening, closing = shares
    fees = None if opening is None or closing is None else opening * entry + closing * exit_
    units = _units(of, "amount")
    funding = _optional(of, "funding_fees")  # quote currency, > 0 where it was received
    if fees is not None and funding:
        fees = None if units is None else fees - funding / units
    row = TradeRow(
        line=line,
        instrument=str(of.get("pair", "")),
        direction=-1 if _is_true(of.get("is_short")) else 1,
        units=units,
        # Live trades have dates without a zone, and a time at which the first order was filled.
        opened_ns=_first_moment(of, ("open_fill_timestamp", "open_timestamp", "open_date"), zone),
        closed_ns=_first_moment(of, ("close_timestamp", "close_date"), zone),
        entry=entry,
        exit=exit_,
        fees=fees,
    )
    return _Paid(_checked(row), None, None)


def _lean(line: int, of: Fields, zone: ZoneInfo | None) -> _Paid:
    symbol = of.get("symbol")
    if symbol is None:
        # Later versions list symbols; a trade of one instrument has one.
        listed = of.get("symbols")
        symbol = listed[0] if isinstance(listed, list) and len(listed) == 1 else listed
    if isinstance(symbol, dict):
        symbol = _lower(symbol).get("value", "")
    # 0 is long in LEAN's own numbering.
    spoken = {"0": "long", "1": "short"}.get(str(of.get("direction")), str(of.get("direction")))
    row = TradeRow(
        line=line,
        instrument="" if symbol is None else str(symbol),
        direction=_side(spoken),
        units=_units(of, "quantity"),
        opened_ns=_moment(of, "entrytime" if "entrytime" in of else "entry time", zone),
        closed_ns=_moment(of, "exittime" if "exittime" in of else "exit time", zone),
        entry=_price(of, "entryprice" if "entryprice" in of else "entry price"),
        exit=_price(of, "exitprice" if "exitprice" in of else "exit price"),
        fees=None,
    )
    fees = _optional(of, "totalfees" if "totalfees" in of else "fees")
    return _Paid(_checked(row), fees, _optional(of, "profitloss" if "profitloss" in of else "p&l"))


def _backtesting_py(line: int, of: Fields, zone: ZoneInfo | None) -> _Paid:
    size = _number(of, "size")
    if size == 0:
        raise _Unreadable("size is 0")
    commission = _optional(of, "commission")
    row = TradeRow(
        line=line,
        instrument="",
        direction=1 if size > 0 else -1,
        units=abs(size),
        opened_ns=_moment(of, "entrytime", zone),
        closed_ns=_moment(of, "exittime", zone),
        entry=_price(of, "entryprice"),
        exit=_price(of, "exitprice"),
        # Its cash is in quote currency already.
        fees=None if commission is None else commission / abs(size),
    )
    return _Paid(_checked(row), None, None)


def _generic(line: int, of: Fields, zone: ZoneInfo | None) -> _Paid:
    fees = _optional(of, "fees")
    row = TradeRow(
        line=line,
        instrument=str(of.get("instrument", "")).strip(),
        direction=_side(of.get("direction")),
        units=_units(of, "units"),
        opened_ns=_moment(of, "opened", zone),
        closed_ns=_moment(of, "closed", zone),
        entry=_price(of, "entry"),
        exit=_price(of, "exit"),
        fees=None,
    )
    return _Paid(_checked(row), fees, _optional(of, "profit"))


_CSV_FORMS = (
    ("freqtrade", {"pair", "open_date", "close_date", "open_rate", "close_rate"}, _freqtrade),
    ("LEAN", {"entry time", "exit time", "direction", "entry price", "exit price"}, _lean),
    (
        "backtesting.py",
        {"size", "entryprice", "exitprice", "entrytime", "exittime"},
        _backtesting_py,
    ),
    ("generic", {"opened", "closed", "direction", "entry", "exit"}, _generic),
)

# MetaTrader 5: one page holds several tables, and positions repeat the headings Time and Price.


class _Cells(HTMLParser):
    """Collects the visible cells of every table row, with the line that the row begins on."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[tuple[int, list[str]]] = []
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append((self.getpos()[0], []))
        elif tag in ("td", "th") and self.rows and ("class", "hidden") not in attrs:
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1][1].append(" ".join("".join(self._cell).split()))
            self._cell = None


def _html_tables(text: str) -> list[tuple[int, list[str]]]:
    reader = _Cells()
    reader.feed(text)
    return reader.rows


def _metatrader(
    path: Path, rows: Sequence[tuple[int, list[str]]]
) -> tuple[str, Iterator[tuple[int, Any]], Any]:
    for needed, read in (
        ({"position", "symbol", "type", "volume", "profit"}, _mt5_positions),
        ({"deal", "symbol", "type", "direction", "volume", "profit"}, _mt5_deals),
    ):
        for number, (_, cells) in enumerate(rows):
            header = [cell.strip().lower() for cell in cells]
            if needed <= set(header):
                body = _until_other_shape(rows[number + 1 :], len(header))
                return "MetaTrader 5", read(header, body), _mt5_trade
    raise DataError(
        f"{path}: no table of positions or deals with English headings; save the report of the "
        "history or of the strategy tester as HTML"
    )


def _until_other_shape(
    rows: Sequence[tuple[int, list[str]]], width: int
) -> list[tuple[int, list[str]]]:
    body: list[tuple[int, list[str]]] = []
    for line, cells in rows:
        # In a sheet all rows are as wide: sums have no time and number, titles nothing else.
        if len(cells) != width or not any(cells[:2]) or not any(cells[1:]):
            break
        body.append((line, cells))
    return body


def _mt5_positions(
    header: Sequence[str], rows: Sequence[tuple[int, list[str]]]
) -> Iterator[tuple[int, Fields]]:
    names, seen = [], set()
    for name in header:
        names.append(f"closing {name}" if name in seen else name)
        seen.add(name)
    for line, cells in rows:
        yield line, dict(zip(names, cells, strict=True))


def _mt5_deals(
    header: Sequence[str], rows: Sequence[tuple[int, list[str]]]
) -> Iterator[tuple[int, Fields]]:
    """Yield positions made of deals: what leaves closes what came in first."""
    held: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
    for line, cells in rows:
        deal: dict[str, Any] = dict(zip(header, cells, strict=True))
        if deal["type"] not in ("buy", "sell"):
            continue  # deposits, balance, the line of sums
        try:
            left = _number(deal, "volume")
            costs = sum((_optional(deal, name) or Decimal(0)) for name in _MT5_COSTS)
        except _Unreadable as error:
            yield line, {"reason": str(error)}
            continue
        whole = left
        book = held[deal["symbol"]]
        while left > 0 and deal["direction"] in ("out", "in/out", "out by"):
            if not book or book[0]["type"] == deal["type"]:
                break
            opened = book[0]
            part = min(left, opened["left"])
            share = part / opened["whole"]
            yield (
                line,
                {
                    **{name: opened[name] for name in ("time", "symbol", "type", "price")},
                    "volume": str(part),
                    "closing time": deal["time"],
                    "closing price": deal["price"],
                    "costs": opened["costs"] * share + costs * part / whole,
                    # A deal that closes several positions states their profit together.
                    "profit": deal["profit"] if part == whole else "",
                },
            )
            left -= part
            opened["left"] -= part
            if opened["left"] == 0:
                book.popleft()
        if left > 0 and deal["direction"] == "in":
            book.append({**deal, "left": left, "whole": whole, "costs": costs, "line": line})
        elif left > 0 and deal["direction"] == "in/out":
            share = left / whole
            book.append({**deal, "left": left, "whole": left, "costs": costs * share, "line": line})
        elif left > 0:
            yield line, {"reason": f"closes {left} of {deal['symbol']} that nothing opened"}
    for book in held.values():
        for opened in book:
            yield opened["line"], {"reason": "still open: it has no result"}


_MT5_COSTS = ("commission", "fee", "swap")


def _mt5_trade(line: int, of: Fields, zone: ZoneInfo | None) -> _Paid:
    if "reason" in of:
        raise _Unreadable(of["reason"])
    if "costs" in of:
        costs = of["costs"]
    else:
        costs = sum((_optional(of, name) or Decimal(0)) for name in _MT5_COSTS)
    row = TradeRow(
        line=line,
        instrument=of["symbol"],
        direction=_side(of["type"]),
        units=_units(of, "volume"),
        opened_ns=_moment(of, "time", zone),
        closed_ns=_moment(of, "closing time", zone),
        entry=_price(of, "price"),
        exit=_price(of, "closing price"),
        fees=None,
    )
    # MetaTrader books costs as gains below zero.
    return _Paid(_checked(row), -costs, _optional(of, "profit"))


# Cells.


def _per_unit(found: Sequence[_Paid]) -> tuple[tuple[TradeRow, ...], str]:
    """Return the rows with fees for one unit in quote currency, and what is known of fees.

    Money of the account is turned into price by the rate that profits and moves of all rows agree
    on. Where they agree on none, the rate moved, and the fees stay unknown.
    """
    if all(one.row.fees is not None for one in found):
        return tuple(one.row for one in found), "stated in the file"
    if all(one.fees is None and one.row.fees is None for one in found):
        rows = tuple(replace(one.row, fees=Decimal(0)) for one in found)
        return rows, "not stated in the file: none are counted"
    if all(one.fees == 0 for one in found):
        rows = tuple(replace(one.row, fees=Decimal(0)) for one in found)
        return rows, "stated in the file: none"
    moves = [
        (one, (one.row.exit - one.row.entry) * one.row.direction * (one.row.units or 1))
        for one in found
        if one.profit is not None
    ]
    # The largest move gives the rate with the smallest rounding.
    first, move = max(moves, key=lambda pair: abs(pair[1]), default=(None, Decimal(0)))
    rate = None if first is None or not move else (first.profit or Decimal(0)) / move
    steady = (
        rate is not None
        and rate > 0
        and all(
            abs((one.profit or Decimal(0)) - rate * move)
            <= _RATE_TOLERANCE * abs(rate * move) + _CENT
            for one, move in moves
        )
    )
    if rate is None or not steady or any(one.fees is None for one in found):
        return (
            tuple(one.row for one in found),
            "stated in money of the account, whose rate to the price is not constant",
        )
    rows = tuple(
        replace(one.row, fees=(one.fees or Decimal(0)) / (rate * (one.row.units or 1)))
        for one in found
    )
    return rows, f"stated in money of the account, {rate:.6g} for a price of 1 and one unit"


def _checked(row: TradeRow) -> TradeRow:
    if row.closed_ns < row.opened_ns:
        raise _Unreadable("it closed before it opened")
    return row


def _blank(value: object) -> bool:
    return value is None or str(value).strip() in ("", "nan", "NaN", "NaT", "None")


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in ("true", "1")


def _side(value: object) -> int:
    spoken = str(value).strip().lower()
    if spoken in ("buy", "long", "1", "+1"):
        return 1
    if spoken in ("sell", "short", "-1"):
        return -1
    raise _Unreadable(f"direction {value!r} is neither buy nor sell")


def _number(of: Fields, name: str) -> Decimal:
    if name not in of:
        raise _Unreadable(f"no {name}")
    # Thousands are parted by (unbreakable) spaces in reports.
    text = re.sub(r"[\s\u00a0]", "", str(of[name]))
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise _Unreadable(f"{name} {of[name]!r} is not a number") from None
    if not value.is_finite():
        raise _Unreadable(f"{name} {of[name]!r} is not a number")
    return value


def _optional(of: Fields, name: str) -> Decimal | None:
    return None if _blank(of.get(name)) else _number(of, name)


def _price(of: Fields, name: str) -> Decimal:
    value = _number(of, name)
    if value <= 0:
        raise _Unreadable(f"{name} must be > 0, was {value}")
    return value


def _units(of: Fields, name: str) -> Decimal | None:
    value = _optional(of, name)
    if value == 0:
        raise _Unreadable(f"{name} is 0")
    return None if value is None else abs(value)


_TIME = re.compile(
    r"(\d{4})[-./](\d{2})[-./](\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(\.\d{1,9})?"
    r"(Z|[+-]\d{2}:?\d{2})?"
)


def _first_moment(of: Fields, names: Sequence[str], zone: ZoneInfo | None) -> int:
    return _moment(of, next((name for name in names if not _blank(of.get(name))), names[-1]), zone)


def _moment(of: Fields, name: str, zone: ZoneInfo | None) -> int:
    if name not in of:
        raise _Unreadable(f"no {name}")
    text = str(of[name]).strip()
    if re.fullmatch(r"\d{13}(\.0)?", text):
        return int(text[:13]) * 1_000_000  # milliseconds since 1970
    found = _TIME.fullmatch(text)
    if found is None:
        raise _Unreadable(f"{name} {text!r} is not a time")
    year, month, day, clock, fraction, offset = found.groups()
    try:
        at = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{offset or ''}")
    except ValueError as error:
        raise _Unreadable(f"{name} {text!r} is not a time: {error}") from None
    if at.utcoffset() is None:
        if zone is None:
            raise DataError(
                f"the time {text!r} carries no zone; name it, e.g. --trades-time-zone UTC"
            )
        aware = at.replace(tzinfo=zone)
        # A clock that is put back shows an hour twice, one that is put forward leaves one out.
        if aware.utcoffset() != aware.replace(fold=1).utcoffset():
            raise _Unreadable(f"{name} {text!r} does not exist once in {zone.key}")
        at = aware
    return to_ns(at) + int((fraction or ".0")[1:].ljust(9, "0"))
