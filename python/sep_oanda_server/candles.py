"""Candles: recorded bars and the quotes that went by, in any coarser granularity.

Periods without a quote have no candle, and the period that is still running has `complete` false.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sep_oanda_server.fields import Malformed
from sep_oanda_server.market import Instrument, Quote
from sep_oanda_server.wire import NS, Json, instant, nanoseconds, read_time, time_text

SECONDS: Mapping[str, int] = {
    "S5": 5,
    "S10": 10,
    "S15": 15,
    "S30": 30,
    "M1": 60,
    "M2": 120,
    "M4": 240,
    "M5": 300,
    "M10": 600,
    "M15": 900,
    "M30": 1800,
    "H1": 3600,
    "H2": 7200,
    "H3": 10800,
    "H4": 14400,
    "H6": 21600,
    "H8": 28800,
    "H12": 43200,
    "D": 86400,
    "W": 604800,
    "M": 2678400,
}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
COUNT_MAX = 5000
LIVE_CANDLES_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Ohlc:
    """Open, high, low and close of one side."""

    o: Decimal
    h: Decimal
    low: Decimal
    c: Decimal

    def then(self, later: Ohlc) -> Ohlc:
        """This and a later stretch as one."""
        return Ohlc(self.o, max(self.h, later.h), min(self.low, later.low), later.c)

    def middle(self, other: Ohlc) -> Ohlc:
        """The mean of two sides, field by field."""
        return Ohlc(
            (self.o + other.o) / 2,
            (self.h + other.h) / 2,
            (self.low + other.low) / 2,
            (self.c + other.c) / 2,
        )

    def wire(self, spec: Instrument) -> Json:
        text = spec.price_text
        return {"o": text(self.o), "h": text(self.h), "l": text(self.low), "c": text(self.c)}


@dataclass(frozen=True, slots=True)
class Candle:
    """Both sides of one period that begins at `start_ns`."""

    start_ns: int
    bid: Ohlc
    ask: Ohlc
    volume: int

    def then(self, later: Candle) -> Candle:
        """This and a later candle as one, which begins where this one does."""
        return Candle(
            self.start_ns,
            self.bid.then(later.bid),
            self.ask.then(later.ask),
            self.volume + later.volume,
        )


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where days and weeks begin. Granularities below H2 need none."""

    hour: int = 17
    zone: str = "America/New_York"
    weekday: str = "Friday"

    def __post_init__(self) -> None:
        if not 0 <= self.hour <= 23:
            raise Malformed("Invalid value specified for 'dailyAlignment'")
        if self.weekday not in WEEKDAYS:
            raise Malformed("Invalid value specified for 'weeklyAlignment'")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise Malformed("Invalid value specified for 'alignmentTimezone'") from None

    def period(self, at_ns: int, granularity: str) -> tuple[int, int]:
        """Start and end, in nanoseconds, of the period that `at_ns` lies in."""
        length = SECONDS[granularity] * NS
        if SECONDS[granularity] <= 3600:
            start = at_ns - at_ns % length
            return start, start + length
        day = self._day(at_ns)
        if granularity == "D":
            return nanoseconds(day), nanoseconds(day + timedelta(days=1))
        if granularity == "W":
            week = day - timedelta(days=(day.weekday() - WEEKDAYS.index(self.weekday)) % 7)
            return nanoseconds(week), nanoseconds(week + timedelta(days=7))
        if granularity == "M":
            # The trading day that starts on the evening before the 1st is the month's first.
            label = day + timedelta(days=1) if self.hour >= 12 else day
            first = label.replace(day=1)
            following = (first + timedelta(days=32)).replace(day=1)
            back = label - day
            return nanoseconds(first - back), nanoseconds(following - back)
        start = nanoseconds(day)
        start += (at_ns - start) // length * length
        return start, min(start + length, nanoseconds(day + timedelta(days=1)))

    def _day(self, at_ns: int) -> datetime:
        """The start of the trading day, as wall-clock time in the zone."""
        local = instant(at_ns).astimezone(ZoneInfo(self.zone))
        start = local.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return start if nanoseconds(start) <= at_ns else start - timedelta(days=1)


class CandleBook:
    """Recorded candles of each instrument, and S5 candles of the quotes seen since."""

    def __init__(self) -> None:
        self._recorded: dict[str, tuple[str, list[Candle]]] = {}
        self._live: dict[str, deque[Candle]] = {}

    def load(self, instrument: str, granularity: str, candles: list[Candle]) -> None:
        """Take recorded candles, oldest first."""
        self._recorded[instrument] = (granularity, candles)

    def see(self, quote: Quote) -> None:
        """Count a quote into its S5 candle."""
        start, _ = Alignment().period(quote.time_ns, "S5")
        bid, ask = (Ohlc(price, price, price, price) for price in (quote.bid, quote.ask))
        fresh = Candle(start, bid, ask, 1)
        live = self._live.setdefault(quote.instrument, deque(maxlen=LIVE_CANDLES_MAX))
        if live and live[-1].start_ns == start:
            live[-1] = live[-1].then(fresh)
        else:
            live.append(fresh)

    def candles(self, instrument: str, granularity: str, alignment: Alignment) -> list[Candle]:
        """All candles of a granularity, oldest first; each begins where its period does."""
        base, recorded = self._recorded.get(instrument, ("S5", []))
        usable = recorded if SECONDS[base] <= SECONDS[granularity] else []
        return _merged([*usable, *self._live.get(instrument, ())], granularity, alignment)


def _merged(parts: Iterable[Candle], granularity: str, alignment: Alignment) -> list[Candle]:
    merged: list[Candle] = []
    end = 0
    for part in parts:
        if merged and part.start_ns < end:
            merged[-1] = merged[-1].then(part)
        else:
            start, end = alignment.period(part.start_ns, granularity)
            merged.append(Candle(start, part.bid, part.ask, part.volume))
    return merged


def candles_reply(
    book: CandleBook, spec: Instrument, query: Mapping[str, str], now_ns: int
) -> Json:
    """The body of a candles request.

    Raises:
        Malformed: a parameter is not of the interface's form, or they contradict each other.
    """
    granularity = query.get("granularity", "S5")
    if granularity not in SECONDS:
        raise Malformed("Invalid value specified for 'granularity'")
    sides = query.get("price", "M")
    if not sides or set(sides) - set("MBA"):
        raise Malformed("Invalid value specified for 'price'")
    alignment = Alignment(
        _integer(query, "dailyAlignment", 17),
        query.get("alignmentTimezone", "America/New_York"),
        query.get("weeklyAlignment", "Friday"),
    )
    begin, finish = _moment(query, "from"), _moment(query, "to")
    if "count" in query and begin is not None and finish is not None:
        raise Malformed("'count' cannot be specified when both 'to' and 'from' are provided")
    count = _integer(query, "count", 500)
    if count > COUNT_MAX:
        raise Malformed("Maximum value for 'count' exceeded")
    if count < 1:
        raise Malformed("Invalid value specified for 'count'")
    smooth = query.get("smooth", "false").lower() == "true"
    include_first = query.get("includeFirst", "true").lower() == "true"
    found = [
        candle
        for candle in book.candles(spec.name, granularity, alignment)
        if candle.start_ns <= now_ns and (finish is None or candle.start_ns < finish)
    ]
    if begin is None:
        found = found[-count:]
    else:
        first = begin if include_first else begin + 1
        found = [candle for candle in found if candle.start_ns >= first]
        if finish is None:
            found = found[:count]
        elif len(found) > COUNT_MAX:
            raise Malformed("Maximum value for 'count' exceeded")
    views = []
    previous: Candle | None = None
    for candle in found:
        shown = candle
        if smooth and previous:
            shown = Candle(
                candle.start_ns,
                _opened_at(candle.bid, previous.bid.c),
                _opened_at(candle.ask, previous.ask.c),
                candle.volume,
            )
        previous = candle
        views.append(
            _view(shown, sides, spec, alignment.period(candle.start_ns, granularity)[1] <= now_ns)
        )
    return {"instrument": spec.name, "granularity": granularity, "candles": views}


def _opened_at(side: Ohlc, price: Decimal) -> Ohlc:
    return Ohlc(price, max(side.h, price), min(side.low, price), side.c)


def _view(candle: Candle, sides: str, spec: Instrument, complete: bool) -> Json:
    view: Json = {
        "complete": complete,
        "volume": candle.volume,
        "time": time_text(candle.start_ns),
    }
    if "B" in sides:
        view["bid"] = candle.bid.wire(spec)
    if "A" in sides:
        view["ask"] = candle.ask.wire(spec)
    if "M" in sides:
        view["mid"] = candle.bid.middle(candle.ask).wire(spec)
    return view


def _integer(query: Mapping[str, str], key: str, default: int) -> int:
    text = query.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Malformed(f"Invalid value specified for '{key}'")
    return int(text)


def _moment(query: Mapping[str, str], key: str) -> int | None:
    text = query.get(key)
    if text is None:
        return None
    try:
        return read_time(text)
    except ValueError:
        raise Malformed(f"Invalid value specified for '{key}'") from None
