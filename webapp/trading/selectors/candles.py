"""Stored candles."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from webapp.trading.models import Candle, Instrument
from webapp.trading.wire import decimal_text, time_text

Json = dict[str, Any]
Row = tuple[datetime, Decimal, Decimal, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of one price side and source: (start, open, high, low, close), oldest first."""

    price_side: str | None
    source: str | None
    rows: list[Row]

    @property
    def starts(self) -> list[datetime]:
        return [row[0] for row in self.rows]

    @property
    def closes(self) -> list[float]:
        return [float(row[4]) for row in self.rows]


def candles_newest(
    instrument: Instrument,
    *,
    granularity: str,
    limit: int,
    before: datetime | None = None,
) -> Candles:
    """Return at most `limit` candles that start before a time.

    They are of the price side and source that the newest candle of the instrument has.
    """
    found = Candle.objects.filter(instrument=instrument, granularity=granularity)
    newest = found.order_by("-start").values_list("price_side", "source").first()
    if newest is None:
        return Candles(price_side=None, source=None, rows=[])
    price_side, source = newest
    found = found.filter(price_side=price_side, source=source)
    if before is not None:
        found = found.filter(start__lt=before)
    # Plain rows: model instances would cost as much again.
    rows = list(
        found.order_by("-start").values_list("start", "open", "high", "low", "close")[:limit]
    )
    return Candles(price_side=price_side, source=source, rows=rows[::-1])


def candle_resource(row: Row, instrument: Instrument) -> Json:
    """Return a complete candle."""
    start, *prices = row
    texts = (decimal_text(price, decimals_min=instrument.price_decimals) for price in prices)
    named = dict(zip(("open", "high", "low", "close"), texts, strict=True))
    return {"start": time_text(start), **named, "complete": True}
