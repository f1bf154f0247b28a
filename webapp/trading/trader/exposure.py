"""What the account has at stake, read for the risk gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Count, Q

from sep_engine.execution.positions import NetPosition
from sep_engine.execution.states import AT_VENUE, PROTECTIVE, OrderState
from sep_engine.model import Instrument, Quote
from sep_engine.model.calendar import trading_day
from sep_engine.risk import Exposure
from webapp.trading.models import BrokerAccount, Feed, Fill, Order, Position
from webapp.trading.models import Instrument as InstrumentRow
from webapp.trading.selectors.balance import account_balance, account_realised, fills_realised

_NEW_YORK = ZoneInfo("America/New_York")
_ROLLOVER = time(17)


@dataclass(frozen=True, slots=True)
class Received:
    """A quote, when it reached us (wall clock), and why no newer one will come ("" if one will)."""

    quote: Quote
    at: datetime
    stands: str


def instrument_value(row: InstrumentRow) -> Instrument:
    """Return the row as the value that the pure layer works with."""
    return Instrument(
        name=row.name,
        base=row.base,
        quote=row.quote,
        tick=row.tick,
        pip=row.pip,
        units_step=row.units_step,
        price_decimals=row.price_decimals,
        calendar=row.calendar,
    )


def day_start(market_time: datetime) -> datetime:
    """Return when the trading day of `market_time` began: 17:00 New York time."""
    day = trading_day(market_time)
    return datetime.combine(day - timedelta(days=1), _ROLLOVER, _NEW_YORK).astimezone(UTC)


@dataclass(slots=True)
class Book:
    """Positions and profit of an account, read again whenever a fact was applied.

    Only the trader changes them, so between two facts nothing needs to be read.

    Attributes:
        positions: by instrument name, without flat ones.
        balance: what the account holds; realised: of it, over all fills and charges, less fees.
        trades, wins: over all fills; a trade is a fill that realised something.
        day_start: when the trading day began that `day_realised` counts.
    """

    account: BrokerAccount
    positions: dict[str, NetPosition]
    balance: Decimal
    realised: Decimal
    trades: int
    wins: int
    day_start: datetime
    day_realised: Decimal

    @classmethod
    def read(cls, account: BrokerAccount, *, market_time: datetime) -> "Book":
        held = (
            Position.objects.filter(account=account).exclude(units=0).select_related("instrument")
        )
        fills = Fill.objects.filter(account=account)
        totals = fills.aggregate(
            trades=Count("pk", filter=~Q(realised_pl=0)),
            wins=Count("pk", filter=Q(realised_pl__gt=0)),
        )
        start = day_start(market_time)
        today = fills.filter(time__gte=start)
        feed = Feed.objects.exclude(run_started_at__isnull=True).order_by("-run_started_at").first()
        if feed is not None:
            # A replay that began again lives through the same market days once more.
            today = today.filter(created_at__gte=feed.run_started_at)
        return cls(
            account=account,
            positions={
                row.instrument.name: NetPosition(row.units, row.average_price) for row in held
            },
            balance=account_balance(account),
            realised=account_realised(account),
            trades=totals["trades"],
            wins=totals["wins"],
            day_start=start,
            day_realised=fills_realised(today),
        )

    def open_pl(self, quotes: Mapping[str, Received]) -> Decimal | None:
        """Return what closing everything now would realise; None if a price or rate is missing."""
        total = Decimal(0)
        for name, position in self.positions.items():
            received = quotes.get(name)
            if received is None or not name.endswith(f"_{self.account.currency}"):
                return None
            quote = received.quote
            total += position.open_pl(quote.bid if position.units > 0 else quote.ask)
        return total

    def day_pl(self, quotes: Mapping[str, Received]) -> Decimal | None:
        """Return the day's realised and open profit; None if it is not known."""
        open_now = self.open_pl(quotes)
        return None if open_now is None else self.day_realised + open_now


def exposure_for(
    order: Order, *, book: Book, quotes: Mapping[str, Received], now: datetime
) -> Exposure:
    """Return what the gate must know to judge `order`; its states are filled in under lock."""
    account, row = order.account, order.instrument
    live = [
        other
        for other in Order.objects.filter(
            account=account, state__in=sorted({*AT_VENUE, OrderState.QUEUED})
        ).select_related("instrument")
        # The venue ends the order that this one replaces before it takes this one.
        if other.pk not in (order.pk, order.replaces_id)
    ]
    entering = [other for other in live if not other.reduce_only]
    here = [other.units - other.filled_units for other in entering if other.instrument_id == row.pk]
    busy = {*book.positions, *(other.instrument.name for other in entering)} - {row.name}
    held = book.positions.get(row.name)
    received = quotes.get(row.name)
    return Exposure(
        instrument=instrument_value(row) if row.enabled else None,
        modes=(),
        quote=received.quote if received else None,
        quote_received_at=received.at if received else None,
        feed_stands=received.stands if received else "without a quote",
        account_per_quote=Decimal(1) if row.quote == account.currency else None,
        position_units=held.units if held else Decimal(0),
        pending_buy_units=sum((units for units in here if units > 0), Decimal(0)),
        pending_sell_units=sum((units for units in here if units < 0), Decimal(0)),
        unresolved=any(
            other.state == OrderState.UNKNOWN and other.instrument_id == row.pk for other in live
        ),
        open_positions=len(busy),
        open_orders=sum(other.type not in PROTECTIVE for other in live),
        sent_last_minute=Order.objects.filter(
            account=account, sent_at__gt=now - timedelta(minutes=1)
        ).count(),
        day_pl=book.day_pl(quotes),
    )
