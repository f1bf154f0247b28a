"""Bars of any exchange that ccxt knows, into the store. Needs `pip install 'sep-engine[ccxt]'`."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from sep_engine.data.store import BarColumns, Origin
from sep_engine.errors import ArgumentError, DataError
from sep_engine.venues.download import Again, Terms, Wanted, download

BARS_A_PAGE = 500
_COLUMNS = ("open", "high", "low", "close")


def open_exchange(name: str) -> Any:
    """Return ccxt's client of an exchange, without an account.

    Raises:
        ArgumentError: ccxt is missing, or knows no such exchange, or that one gives no bars.
    """
    try:
        import ccxt
    except ModuleNotFoundError as error:
        raise ArgumentError("ccxt is missing: pip install 'sep-engine[ccxt]'") from error
    if name not in ccxt.exchanges:
        raise ArgumentError(f"ccxt knows no exchange {name!r}; see ccxt.exchanges")
    exchange = getattr(ccxt, name)({"enableRateLimit": True, "timeout": 20_000})
    if not exchange.has.get("fetchOHLCV"):
        raise ArgumentError(f"{name} gives no bars")
    return exchange


async def download_bars(
    exchange: Any,
    *,
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
    """Make or continue a data set of one market's bars and return its metadata.

    Args:
        exchange: from `open_exchange`; its own rate limit holds beside `requests_per_s`.
        granularity: as the exchange names it, e.g. "1h".
        since, until: starts of bars wanted, the latter excluded; aware.
        now: bars that end after it are left out.

    Raises:
        ArgumentError: the exchange does not know the market or the granularity.
        DataError: as `sep_engine.venues.download.download`.
    """
    try:
        markets = await _asked(exchange.load_markets)
    except Again as error:
        raise DataError(f"{exchange.id} does not say its markets: {error}") from error
    if instrument not in markets:
        raise ArgumentError(
            f"{exchange.id} has no market {instrument!r}, e.g. {next(iter(markets))}"
        )
    if granularity not in (exchange.timeframes or {}):
        known = ", ".join(exchange.timeframes or {})
        raise ArgumentError(f"{exchange.id} gives bars of {known}; was {granularity!r}")
    length = timedelta(seconds=exchange.parse_timeframe(granularity))

    async def page(start: datetime) -> BarColumns | None:
        if start + length > now:
            return None
        rows = await _asked(
            lambda: exchange.fetch_ohlcv(
                instrument, granularity, since=_ms(start), limit=BARS_A_PAGE
            )
        )
        # Exchanges may add the bar before, and always add the one that is not over.
        wanted = [row for row in rows if _ms(start) <= row[0] <= _ms(now - length)]
        if any(None in row[:5] for row in wanted):
            raise DataError(f"{exchange.id} sent a bar without a price")
        return BarColumns(
            times=np.array([row[0] * 1_000_000 for row in wanted], dtype=np.int64),
            own={
                column: np.array([float(row[1 + place]) for row in wanted], dtype=np.float64)
                for place, column in enumerate(_COLUMNS)
            },
            volume=np.array([float(row[5] or 0) for row in wanted], dtype=np.float64),
        )

    tick = _tick(exchange, markets[instrument])
    return await download(
        Wanted(f"ccxt {exchange.id}", instrument, granularity, since, "trade"),
        Terms(
            origin=Origin(
                vendor=exchange.name or exchange.id,
                licence="the exchange's own terms",
                price_side="trade",
                time_zone="UTC, stated by the exchange",
                synthetic=False,
                source=f"ccxt {exchange.id}",
            ),
            tick=None,  # prices of years ago may lie on a finer grid than that of today
            pip=tick,
            calendar="always",
        ),
        page,
        until=min(until, now),
        length=length,
        store=store,
        name=name,
        pause_s=1 / requests_per_s,
        bars_a_page=BARS_A_PAGE,
        now=now,
        on_page=on_page,
    )


async def _asked(question: Callable[[], Any]) -> Any:
    import ccxt

    try:
        return await asyncio.to_thread(question)
    except ccxt.NetworkError as error:
        raise Again(f"{type(error).__name__}: {error}") from error
    except ccxt.BaseError as error:
        raise DataError(f"{type(error).__name__}: {error}") from error


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _tick(exchange: Any, market: Mapping[str, Any]) -> Decimal:
    import ccxt

    precision = (market.get("precision") or {}).get("price")
    if precision is None:
        raise DataError(f"{exchange.id} does not say the price step of {market['symbol']}")
    if exchange.precisionMode == ccxt.TICK_SIZE:
        return Decimal(str(precision))
    return Decimal(1).scaleb(-int(precision))
