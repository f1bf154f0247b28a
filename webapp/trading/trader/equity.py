"""What the account is worth: the equity line, and what happens when too much of it is lost."""

import time
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sep_engine.execution.states import TradingMode
from sep_engine.model.calendar import day_start
from webapp.trading.models import BrokerAccount, PerformanceSnapshot
from webapp.trading.selectors.balance import most_made
from webapp.trading.selectors.limits import limits_of
from webapp.trading.selectors.market import MarketUpdate
from webapp.trading.selectors.performance import performance_current
from webapp.trading.services import events
from webapp.trading.services.performance import snapshots_drop_old
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.trader import clock
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.exposure import Received
from webapp.trading.trader.facts import Facts
from webapp.trading.wire import money_text, time_text

PUBLISHED_EVERY_S = 1.0
# Of what is stored: turned into another currency a profit has more decimals than SQLite keeps.
_STEP = Decimal("0.00001")


class Equity:
    """Follows the account's equity; an account that lost its limit may only reduce."""

    def __init__(
        self,
        *,
        account: BrokerAccount,
        db: DatabaseThread,
        facts: Facts,
        quotes: Mapping[str, Received],
    ) -> None:
        self._account, self._db, self._facts, self._quotes = account, db, facts, quotes
        # The most that the account had made, realised and open; what was paid in is not of it.
        self._most_made = most_made(account)
        # The books at which the losses were looked at.
        self._watched_at: int | None = None
        self._published_s = 0.0

    def peak(self) -> Decimal:
        """Return the highest equity, as if all that was paid in or out had been so before."""
        return self._facts.book.peak(self._most_made)

    async def watch(self, market_time: datetime) -> None:
        """Look at the losses after a price."""
        if self._facts.book.day_start != day_start(market_time):
            await self._db(self._facts.read_book)
        # A flat account loses nothing more, but what its last fill lost has to be seen once.
        changes = self._facts.changes
        if self._facts.book.positions or self._watched_at != changes:
            await self._db(self.watch_now)
            self._watched_at = changes

    def watch_now(self) -> None:
        """Let an account that lost its limit only reduce. Only a person makes it ACTIVE again."""
        limits, book = limits_of(self._account), self._facts.book
        currency = self._account.currency
        limit, result = limits.get("daily_loss_max"), book.day_pl(self._quotes)
        if limit is not None and result is not None and -result >= limit:
            self._only_reduce(
                f"the day's loss {money_text(-result)} {currency} reached {money_text(limit)}"
            )
        percent, equity = limits.get("drawdown_percent_max"), book.equity(self._quotes)
        if percent is None or equity is None:
            return
        peak = self.peak()
        lost = peak - equity
        if lost > 0 and 100 * lost >= percent * peak:
            self._only_reduce(
                f"{money_text(lost)} {currency} below the highest equity reached "
                f"{money_text(percent)} %"
            )

    def _only_reduce(self, reason: str) -> None:
        trading_state_worsen(
            account=self._account, state=TradingMode.REDUCING, reason=reason, now=clock.utc_now()
        )

    def store(self, market_time: datetime, now: datetime) -> None:
        """Store one point of the equity line and tell the figures at most once a second.

        In the caller's transaction. Without the price of something that is held there is no point.
        """
        book = self._facts.book
        open_pl = book.open_pl(self._quotes)
        if open_pl is None:
            return
        open_pl = open_pl.quantize(_STEP)
        equity = book.balance + open_pl
        self._most_made = max(self._most_made, book.realised + open_pl)
        point = PerformanceSnapshot.objects.create(
            account=self._account,
            time=market_time,
            equity=equity,
            balance=book.balance,
            realised_pl=book.realised,
            open_pl=open_pl,
            drawdown=self.peak() - equity,
            trades=book.trades,
            wins=book.wins,
        )
        snapshots_drop_old(newest=point)
        if time.monotonic() - self._published_s >= PUBLISHED_EVERY_S:
            self._published_s = time.monotonic()
            events.record(
                stream="performance",
                type="performance_update",
                data=performance_current(self._account, markets=self._markets(now), now=now),
                now=now,
            )

    def _markets(self, now: datetime) -> dict[str, MarketUpdate | None]:
        return {
            name: MarketUpdate(
                data={
                    "quote": {
                        "time": time_text(received.quote.time),
                        "bid": str(received.quote.bid),
                        "ask": str(received.quote.ask),
                    }
                },
                published_at=now,
            )
            for name, received in self._quotes.items()
        }
