"""What the account has at stake, read for the risk gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Sum

from sep_engine.execution.positions import NetPosition
from sep_engine.execution.states import AT_VENUE, OrderState, OrderType
from sep_engine.model import Instrument, Quote
from sep_engine.model.calendar import trading_day
from sep_engine.risk import Exposure
from webapp.trading.models import BrokerAccount, Feed, Fill, Order, Position
from webapp.trading.models import Instrument as InstrumentRow

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


def day_realised(account: BrokerAccount, *, market_time: datetime) -> Decimal:
    """Return what the fills of this trading day and this pass of the feed have realised."""
    fills = Fill.objects.filter(account=account, time__gte=day_start(market_time))
    started = (
        Feed.objects.exclude(run_started_at__isnull=True)
        .order_by("-run_started_at")
        .values_list("run_started_at", flat=True)
        .first()
    )
    if started is not None:
        # A replay that began again lives through the same market days once more.
        fills = fills.filter(created_at__gte=started)
    return fills.aggregate(total=Sum("realised_pl"))["total"] or Decimal(0)


def open_pl(account: BrokerAccount, quotes: Mapping[str, Received]) -> Decimal | None:
    """Return what closing everything now would realise; None if a price or a rate is missing."""
    total = Decimal(0)
    held = Position.objects.filter(account=account).exclude(units=0).select_related("instrument")
    for position in held:
        received = quotes.get(position.instrument.name)
        if received is None or position.instrument.quote != account.currency:
            return None
        quote = received.quote
        mark = quote.bid if position.units > 0 else quote.ask
        total += NetPosition(position.units, position.average_price).open_pl(mark)
    return total


def day_pl(account: BrokerAccount, quotes: Mapping[str, Received]) -> Decimal | None:
    """Return the day's realised and open profit; None if it is not known."""
    if not quotes:
        return None
    open_now = open_pl(account, quotes)
    if open_now is None:
        return None
    newest = max(received.quote.time for received in quotes.values())
    return day_realised(account, market_time=newest) + open_now


def exposure_for(order: Order, *, quotes: Mapping[str, Received], now: datetime) -> Exposure:
    """Return what the gate must know to judge `order`; its states are filled in under lock."""
    account, row = order.account, order.instrument
    live = [
        other
        for other in Order.objects.filter(account=account, state__in=sorted(AT_VENUE))
        if other.pk != order.pk
    ]
    queued = Order.objects.filter(account=account, state=OrderState.QUEUED).exclude(pk=order.pk)
    live += list(queued)
    entering = [other for other in live if not other.reduce_only]
    here = [other.units - other.filled_units for other in entering if other.instrument_id == row.pk]
    held = {
        position.instrument_id: position.units
        for position in Position.objects.filter(account=account).exclude(units=0)
    }
    busy = {*held, *(other.instrument_id for other in entering)} - {row.pk}
    received = quotes.get(row.name)
    protective = (OrderType.STOP_LOSS, OrderType.TAKE_PROFIT)
    return Exposure(
        instrument=instrument_value(row) if row.enabled else None,
        modes=(),
        quote=received.quote if received else None,
        quote_received_at=received.at if received else None,
        feed_stands=received.stands if received else "without a quote",
        account_per_quote=Decimal(1) if row.quote == account.currency else None,
        position_units=held.get(row.pk, Decimal(0)),
        pending_buy_units=sum((units for units in here if units > 0), Decimal(0)),
        pending_sell_units=sum((units for units in here if units < 0), Decimal(0)),
        unresolved=any(
            other.state == OrderState.UNKNOWN and other.instrument_id == row.pk for other in live
        ),
        open_positions=len(busy),
        open_orders=sum(other.type not in protective for other in live),
        sent_last_minute=Order.objects.filter(
            account=account, sent_at__gt=now - timedelta(minutes=1)
        ).count(),
        day_pl=day_pl(account, quotes),
    )
