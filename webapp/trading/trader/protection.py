"""Every position has a stop at the venue: what has none is given one, or closed."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from sep_engine.execution.states import LIVE, OrderType, Origin, TradingMode
from sep_engine.model import Quote
from webapp.trading.brokers.base import Terms
from webapp.trading.models import BrokerAccount, Order, Position, Trade
from webapp.trading.selectors.limits import limits_of
from webapp.trading.selectors.stops import covered_units, stops_of, uncovered_trades
from webapp.trading.services import system
from webapp.trading.services.modes import modes_for
from webapp.trading.services.orders import order_submit
from webapp.trading.statements import Asked
from webapp.trading.trader import clock
from webapp.trading.trader.exposure import DEFAULT_STOP_PIPS, Received, instrument_value
from webapp.trading.trader.facts import Facts
from webapp.trading.wire import decimal_text

COVER_PAUSE_S_MAX = 60.0

_positions = Asked(
    lambda account: (
        Position.objects.filter(account=account).exclude(units=0).select_related("instrument")
    )
)


class Protection:
    """Sees that a stop works for every position of the account."""

    def __init__(
        self,
        *,
        account: BrokerAccount,
        terms: Terms,
        facts: Facts,
        quotes: Mapping[str, Received],
        work: asyncio.Event,
    ) -> None:
        """work: set when an order was asked for."""
        self._account, self._terms, self._facts = account, terms, facts
        self._quotes, self._work = quotes, work
        # The books at which all was protected: only another fact can change that.
        self._whole_at: int | None = None
        # Of positions without a stop: how often one was asked for, and when it may be again.
        self._asked: dict[int, tuple[int, float]] = {}

    @property
    def is_due(self) -> bool:
        """Whether a position may be without its stop."""
        return bool(self._facts.book.positions) and self._whole_at != self._facts.changes

    def check(self) -> None:
        """See that a stop works for every position; ask for one, or for the way out, if not."""
        now, protected = clock.utc_now(), True
        for position in _positions(self._account.pk):
            stops = stops_of(position)
            missing = abs(position.units) - covered_units(position, stops)
            if missing > 0:
                protected = False
                self._ask(position, stops, missing, now)
        if protected:
            self._asked.clear()
            self._whole_at = self._facts.changes

    def _ask(self, position: Position, stops: list[Order], missing: Decimal, now: datetime) -> None:
        # What closes it now is waited for. A target that waits for its price protects nothing.
        leaving = Order.objects.filter(
            account=self._account,
            instrument=position.instrument,
            type=OrderType.MARKET,
            reduce_only=True,
            state__in=sorted(LIVE),
        )
        received = self._quotes.get(position.instrument.name)
        if received is None or any(one.units * position.units < 0 for one in leaving):
            return
        tries, next_at = self._asked.get(position.pk, (0, 0.0))
        if clock.steady() < next_at:
            return
        # What was refused a moment ago will be again: the venue is not asked without a pause.
        pause_s = min(2.0 ** min(tries, 30), COVER_PAUSE_S_MAX)
        self._asked[position.pk] = tries + 1, clock.steady() + pause_s
        modes = modes_for(Order(account=self._account, reduce_only=True))
        if TradingMode.HALTED in modes:
            if not tries:
                bare = f"{position.instrument.name} has {decimal_text(missing)} units"
                text = f"{bare} without a stop, and nothing is sent while HALTED"
                system.announce(level="error", text=text, now=now)
            return
        trades = uncovered_trades(position, stops) if self._terms.trades else []
        for trade in trades:
            self._cover(position, trade.units, trade.price, received.quote, now, trade)
        if not trades:
            assert position.average_price is not None
            units = missing.copy_sign(position.units)
            self._cover(position, units, position.average_price, received.quote, now)

    def _cover(
        self,
        position: Position,
        held: Decimal,
        opened_at: Decimal,
        quote: Quote,
        now: datetime,
        trade: Trade | None = None,
    ) -> None:
        """Ask for a stop for `held` units (signed) that were opened at a price, or for their close.

        trade: the one that they belong to, where the venue keeps trades.
        """
        instrument = instrument_value(position.instrument)
        limits = limits_of(self._account)
        away = limits.get("default_stop_pips", DEFAULT_STOP_PIPS) * instrument.pip
        long = held > 0
        price = instrument.round_price(opened_at + (-away if long else away))
        passed = price >= quote.bid if long else price <= quote.ask
        whose = "" if trade is None else f" (trade {trade.venue_trade_id})"
        text = f"{instrument.name} has {decimal_text(abs(held))} units without a stop{whose}"
        stop: dict[str, Any] = {} if passed else {"type": OrderType.STOP_LOSS, "price": price}
        with transaction.atomic():
            system.alert(
                level="error", text=f"{text}: {'closing' if passed else 'adding one'}", now=now
            )
            order_submit(
                account=self._account,
                instrument=position.instrument,
                units=-held,
                origin=Origin.PROTECTIVE,
                reduce_only=True,
                trade=trade,
                now=now,
                **stop,
            )
        self._work.set()
