"""Stored candles, and the metrics that the engine makes of them."""

from datetime import datetime
from typing import Any

from webapp.trading.models import Candle, Instrument
from webapp.trading.wire import decimal_text, time_text

Json = dict[str, Any]


def candles_newest(
    instrument: Instrument,
    *,
    granularity: str,
    limit: int,
    before: datetime | None = None,
) -> list[Candle]:
    """Return at most `limit` candles that start before a time, oldest first.

    Candles of one price side and source come together: those of the newest candle.
    """
    rows = Candle.objects.filter(instrument=instrument, granularity=granularity)
    newest = rows.order_by("-start").first()
    if newest is None:
        return []
    rows = rows.filter(price_side=newest.price_side, source=newest.source)
    if before is not None:
        rows = rows.filter(start__lt=before)
    return list(reversed(rows.order_by("-start")[:limit]))


def candle_resource(candle: Candle, instrument: Instrument) -> Json:
    prices = {
        name: decimal_text(getattr(candle, name), decimals_min=instrument.price_decimals)
        for name in ("open", "high", "low", "close")
    }
    return {"start": time_text(candle.start), **prices, "complete": True}
