"""Candles of OANDA, bid and ask, into the store."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sep_engine.data.store import BarColumns, Origin
from sep_engine.errors import ArgumentError, DataError
from sep_engine.venues.download import Again, Terms, Wanted, download
from sep_engine.venues.oanda.client import (
    CANDLES_PER_REQUEST,
    LIVE,
    PRACTICE,
    MarketDataClient,
    VenueError,
)
from sep_engine.venues.oanda.parse import GRANULARITY_S, Candle

_CORNERS = ("open", "high", "low", "close")


async def download_candles(
    client: MarketDataClient,
    *,
    host: str,
    instrument: str,
    granularity: str,
    since: datetime,
    until: datetime,
    store: Path,
    name: str,
    requests_per_s: float,
    now: datetime,
    on_page: Callable[[datetime], None] = lambda reached: None,
) -> Mapping[str, Any]:
    """Make or continue a data set of one instrument's candles and return its metadata.

    Args:
        host: where the client reads; prices of any other host than OANDA's are marked synthetic.
        since, until: starts of bars wanted, the latter excluded; aware.

    Raises:
        ArgumentError, DataError, VenueError: as `sep_engine.venues.download.download`, or the
            venue does not know the instrument or the token.
    """
    if granularity not in GRANULARITY_S:
        raise ArgumentError(f"granularity must be one of {', '.join(GRANULARITY_S)}")
    (terms,) = await client.instruments([instrument])
    known = terms.instrument()
    length = timedelta(seconds=GRANULARITY_S[granularity])
    ended = False

    async def page(start: datetime) -> BarColumns | None:
        nonlocal ended
        if ended:
            return None
        try:
            candles = await client.candles(
                instrument, granularity, since=start, count=CANDLES_PER_REQUEST
            )
        except VenueError as error:
            if error.status is None or error.status == 429 or error.status >= 500:
                raise Again(str(error)) from error
            raise
        # A page that is not full is the last: what is missing has not happened yet.
        ended = len(candles) < CANDLES_PER_REQUEST
        return _columns([one for one in candles if one.complete])

    real = host in (LIVE.rest, PRACTICE.rest)
    return await download(
        Wanted("OANDA", instrument, granularity, since, "BA"),
        Terms(
            origin=Origin(
                vendor="OANDA" if real else f"a server at {host}",
                licence="OANDA's terms: for the account holder's own use" if real else "unknown",
                price_side="bid",
                time_zone="UTC, stated by the venue",
                synthetic=not real,
                source=host,
            ),
            tick=known.tick,
            pip=known.pip,
            calendar="fx",
        ),
        page,
        until=until,
        length=length,
        store=store,
        name=name,
        pause_s=1 / requests_per_s,
        now=now,
        on_page=on_page,
    )


def _columns(candles: list[Candle]) -> BarColumns:
    for one in candles:
        if one.bid is None or one.ask is None:
            raise DataError("a candle came without bid or ask, which were asked for")

    def side(name: str) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        return {
            corner: np.array(
                [float(getattr(getattr(one, name), corner)) for one in candles], dtype=np.float64
            )
            for corner in _CORNERS
        }

    return BarColumns(
        times=np.array([one.start_ns for one in candles], dtype=np.int64),
        own=side("bid"),
        ask=side("ask"),
        volume=np.array([one.volume for one in candles], dtype=np.float64),
    )
