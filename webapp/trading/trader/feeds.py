"""The feed: stored bars, the durable cursor, and the storing of each complete bar.

A replay plays the bars of a sample. A live feed has none ahead: its bars come from the venue when
they are complete, and the cursor is always at their end.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from statistics import median_high

from django.db.models import QuerySet

from sep_engine.data import load_sample
from sep_engine.model import QuoteBar
from webapp.trading.models import Candle, Feed, Instrument

# The side of a venue's candles that is stored; both are known when a bar comes.
LIVE_SIDE = "bid"


def load_feed(feed: Feed) -> tuple[tuple[QuoteBar, ...], str]:
    """Return the feed's bars and the side that is stored; refuse a source that has changed.

    A live feed has no bars here.
    """
    if not feed.is_replay:
        return (), LIVE_SIDE
    sample = load_sample(feed.source)
    bars = sample.quote_bars()
    if len(bars) != feed.total_bars:
        raise ValueError(
            f"sample {feed.source} has {len(bars)} bars, the feed was made for {feed.total_bars}; "
            "run manage.py load_sample"
        )
    return bars, str(sample.metadata["price_side"])


def candle_of(feed: Feed, bar: QuoteBar, price_side: str) -> Candle:
    """Return the candle of the side that the source really has."""
    side = bar.ask if price_side == "ask" else bar.bid
    return Candle(
        instrument_id=feed.instrument_id,
        granularity=feed.granularity,
        start=bar.start,
        open=side.open,
        high=side.high,
        low=side.low,
        close=side.close,
        volume=bar.volume,
        price_side=price_side,
        source=feed.source,
    )


def close_of(bar: QuoteBar, price_side: str) -> Decimal:
    return (bar.ask if price_side == "ask" else bar.bid).close


def store_bar(feed: Feed, bar: QuoteBar, *, number: int, price_side: str, now: datetime) -> None:
    """Store bar `number` (from 0) and move the cursor behind it, in the caller's transaction.

    Raises:
        RuntimeError: the cursor is elsewhere: another process moved it.
    """
    Candle.objects.bulk_create([candle_of(feed, bar, price_side)], ignore_conflicts=True)
    moved = Feed.objects.filter(pk=feed.pk, cursor=number, run=feed.run).update(
        cursor=number + 1, total_bars=max(feed.total_bars, number + 1), updated_at=now
    )
    if moved != 1:
        raise RuntimeError(f"the cursor of feed {feed.pk} is not at {number}")
    feed.cursor = number + 1
    feed.total_bars = max(feed.total_bars, feed.cursor)


def store_history(feed: Feed, bars: Sequence[QuoteBar], price_side: str) -> None:
    """Store the bars that are known before the replay begins; those that are there stay."""
    Candle.objects.bulk_create(
        [candle_of(feed, bar, price_side) for bar in bars[: feed.history_bars]],
        ignore_conflicts=True,
        batch_size=500,
    )


def store_live_history(feed: Feed, bars: Sequence[QuoteBar], *, now: datetime) -> None:
    """Store complete bars that nobody decides on: they lie before the trader's start."""
    Candle.objects.bulk_create(
        [candle_of(feed, bar, LIVE_SIDE) for bar in bars], ignore_conflicts=True, batch_size=500
    )
    feed.cursor = feed.total_bars = candles_of(feed).count()
    feed.history_bars = min(feed.history_bars, feed.cursor)
    if bars and not feed.assumed_spread_pips:
        # One side is stored: without this no verdict on these candles would know a cost.
        feed.assumed_spread_pips = usual_spread_pips(bars, feed.instrument)
    feed.updated_at = now
    feed.save(
        update_fields=["cursor", "total_bars", "history_bars", "assumed_spread_pips", "updated_at"]
    )


def usual_spread_pips(bars: Sequence[QuoteBar], instrument: Instrument) -> Decimal:
    """Return the median spread at the closes of bars, in pips, rounded up to whole ticks."""
    spread = median_high(bar.ask.close - bar.bid.close for bar in bars)
    ticks = (spread / instrument.tick).to_integral_value(ROUND_CEILING)
    return ticks * instrument.tick / instrument.pip


def candles_of(feed: Feed) -> QuerySet[Candle]:
    """Return the feed's candles."""
    return Candle.objects.filter(
        instrument_id=feed.instrument_id, granularity=feed.granularity, source=feed.source
    )


def stored_closes(feed: Feed) -> list[tuple[datetime, Decimal]]:
    """Return when each of the feed's candles began, and its close; oldest first."""
    return list(candles_of(feed).order_by("start").values_list("start", "close"))


def stored_prices(feed: Feed) -> list[tuple[datetime, Decimal, Decimal, Decimal, Decimal]]:
    """Return start, open, high, low and close of each of the feed's candles; oldest first."""
    columns = ("start", "open", "high", "low", "close")
    return list(candles_of(feed).order_by("start").values_list(*columns))


def rewind(feed: Feed, bars: Sequence[QuoteBar], *, now: datetime) -> None:
    """Begin a new pass: forget the candles after the history and put the cursor back.

    Signals, orders and fills of earlier passes stay; their `run` and times tell them apart.
    """
    Candle.objects.filter(
        instrument_id=feed.instrument_id,
        granularity=feed.granularity,
        source=feed.source,
        start__gte=bars[feed.history_bars].start,
    ).delete()
    feed.run += 1
    feed.run_started_at = now
    feed.cursor = feed.history_bars
    feed.restart_requested = False
    feed.save()
