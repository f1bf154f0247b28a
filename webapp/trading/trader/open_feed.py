"""The feed that a trader follows, with what a person may do to it while it runs."""

import asyncio
from datetime import datetime

from sep_engine.model import QuoteBar
from sep_engine.model.prices import Ohlc
from sep_engine.venues.replay import Pace
from webapp.trading.models import Feed
from webapp.trading.statements import Asked
from webapp.trading.trader import clock, feeds
from webapp.trading.trader.exposure import instrument_value

_controls = Asked(
    lambda feed: Feed.objects.filter(pk=feed).values_list(
        "bars_per_second", "paused", "restart_requested"
    )
)


class OpenFeed:
    """The oldest feed there is.

    Attributes:
        row: its cursor is where the trader stands.
        bars: those of a replay; a live feed has none ahead.
        price_side: the side of a bar that is stored, and decided on.
        pace: how fast a replay goes.
        restart: set when the replay is to begin again.
    """

    def __init__(self) -> None:
        """Open it.

        Raises:
            ValueError: there is none, or its bars are not those that it was made for.
        """
        row = Feed.objects.select_related("instrument").order_by("pk").first()
        if row is None:
            raise ValueError("there is no feed; run manage.py load_sample")
        self.row = row
        if row.run_started_at is None:
            row.run_started_at = clock.utc_now()
            row.save(update_fields=["run_started_at"])
        self.instrument = instrument_value(row.instrument)
        self.bars, self.price_side = feeds.load_feed(row)
        self.pace = Pace()
        self.restart = asyncio.Event()

    def read_controls(self) -> None:
        """Take over what a person asked of the replay."""
        ((bars_per_second, paused, restart),) = _controls(self.row.pk)
        self.pace.bars_per_second = bars_per_second
        self.pace.paused = paused
        if restart:
            self.restart.set()

    def stands(self) -> str:
        """Return why no newer quote will come, "" if one may."""
        if self.row.at_end:
            return "at its end"
        return "paused" if self.pace.paused else ""

    def market_now(self) -> datetime:
        """Return the time at the market: a replay is where its next bar begins."""
        if not self.row.is_replay:
            return clock.utc_now()
        return self.bars[min(self.row.cursor, len(self.bars) - 1)].start

    def side_of(self, bar: QuoteBar) -> Ohlc:
        """Return the side of a bar that is stored."""
        return bar.ask if self.price_side == "ask" else bar.bid
