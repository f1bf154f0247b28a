"""What the venue tells by itself, and whether it is heard."""

import asyncio
import contextlib
import time

from webapp.trading.brokers.base import Deaf, Listening, News, StreamingBroker
from webapp.trading.services import system
from webapp.trading.trader import clock
from webapp.trading.trader.books_check import BooksCheck
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.facts import Facts


class Hearing:
    """Follows the venue's transaction stream. A venue that has none counts as heard."""

    def __init__(
        self, *, db: DatabaseThread, facts: Facts, check: BooksCheck, writing: asyncio.Lock
    ) -> None:
        self._db, self._facts, self._check, self._writing = db, facts, check, writing
        # Since when the venue's stream is lost, and why; None while it is heard.
        self._deaf: tuple[float, str] | None = None

    @property
    def lost(self) -> str:
        """Why the stream is lost, "" while it is heard."""
        return "" if self._deaf is None else self._deaf[1]

    async def listen(self, broker: StreamingBroker) -> None:
        """Follow the stream for ever."""
        async with contextlib.aclosing(broker.news()) as news:
            async for one in news:
                async with self._writing:
                    await self.on_news(one)

    async def on_news(self, news: News) -> None:
        """Read what the stream says there is; opening it, compare the books as at a start."""
        if isinstance(news, Deaf):
            await self._hears_no_more(news.reason)
            return
        if isinstance(news, Listening) or self._deaf is not None:
            if not await self._check.compare("stream"):
                # Who hears and cannot read knows no more than before; the next line asks again.
                await self._hears_no_more("it is open, but the venue's books cannot be read")
                return
            if self._deaf is not None:
                deaf_s = time.monotonic() - self._deaf[0]
                self._deaf = None
                await self._announce(
                    f"The venue's transaction stream is heard again after {deaf_s:.0f} s.", "info"
                )
            return
        if not self._facts.knows(news.transaction_id):
            await self._facts.read_now()

    async def _hears_no_more(self, reason: str) -> None:
        if self._deaf is not None:
            return
        self._deaf = (time.monotonic(), reason or "it ended")
        await self._announce(
            f"The venue's transaction stream is lost: {reason}. Nothing is opened until it is "
            "heard again.",
            "warning",
        )

    async def _announce(self, text: str, level: str) -> None:
        await self._db(system.announce, level=level, text=text, now=clock.utc_now())
