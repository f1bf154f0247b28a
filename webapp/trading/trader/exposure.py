"""What the account has at stake, read for the risk gate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Count, Q

from sep_engine.execution.positions import NetPosition
from sep_engine.execution.states import AT_VENUE, PROTECTIVE, OrderState, OrderType
from sep_engine.model import Instrument, Quote
from sep_engine.model.calendar import trading_day
from sep_engine.risk import Exposure, home_rates
from webapp.trading.models import BrokerAccount, Feed, Fill, Order, Position
from webapp.trading.models import Instrument as InstrumentRow
from webapp.trading.selectors.balance import account_balance, account_realised, fills_realised
from webapp.trading.selectors.holdings import BidAsk, Lot, lots_held, open_profit
from webapp.trading.trader.recent import (
    blackout_reason,
    like_order_age_s,
    recent_results,
    sent_counts,
)

_NEW_YORK = ZoneInfo("America/New_York")
_ROLLOVER = time(17)


@dataclass(frozen=True, slots=True)
class Received:
    """A quote, when it reached us (wall clock), and why it cannot be traded on ("" if it can).

    `stands` says that no newer one will come, or that the venue does not trade the pair now.
    """

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
        positions: by instrument name, without flat ones; of a hedging account both sides together,
            which may come to 0 units.
        sides: by instrument name the units of each row of the books: one, or long and short.
        lots: what is open, at the price that it was opened at.
        balance: what the account holds; realised: of it, over all fills and charges, less fees.
        trades, wins: over all fills; a trade is a fill that realised something.
        day_start: when the trading day began that `day_realised` counts.
    """

    account: BrokerAccount
    positions: dict[str, NetPosition]
    sides: dict[str, list[Decimal]]
    lots: tuple[Lot, ...]
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
        positions: dict[str, NetPosition] = {}
        sides: dict[str, list[Decimal]] = {}
        for row in held:
            name = row.instrument.name
            sides.setdefault(name, []).append(row.units)
            both = len(sides[name]) > 1
            average = None if both else row.average_price
            positions[name] = NetPosition(sum(sides[name], Decimal(0)), average)
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
            positions=positions,
            sides=sides,
            lots=lots_held(account),
            balance=account_balance(account),
            realised=account_realised(account),
            trades=totals["trades"],
            wins=totals["wins"],
            day_start=start,
            day_realised=fills_realised(today),
        )

    def open_pl(self, quotes: Mapping[str, Received]) -> Decimal | None:
        """Return what closing everything now would realise; None if a price or rate is missing."""
        return open_profit(self.lots, bids_and_asks(quotes), self.account.currency)

    def side_units(self, instrument: str, *, units: Decimal, reduces: bool) -> Decimal:
        """Return what is held where an order of `units` would add, or, if it reduces, close.

        A netting account has one place; a hedging one closes the other side than it adds to.
        """
        held = self.sides.get(instrument, [])
        if not self.account.hedging:
            return sum(held, Decimal(0))
        sign = -units if reduces else units
        return sum((one for one in held if one * sign > 0), Decimal(0))

    def equity(self, quotes: Mapping[str, Received]) -> Decimal | None:
        """Return what the account is worth now; None if a price or rate is missing."""
        open_now = self.open_pl(quotes)
        return None if open_now is None else self.balance + open_now

    def day_pl(self, quotes: Mapping[str, Received]) -> Decimal | None:
        """Return the day's realised and open profit; None if it is not known."""
        open_now = self.open_pl(quotes)
        return None if open_now is None else self.day_realised + open_now


@dataclass(frozen=True, slots=True)
class _Stakes:
    """What is held and waits, in account currency: all of it, and by currency with its sign."""

    gross: Decimal
    by_currency: Mapping[str, Decimal]


def bids_and_asks(quotes: Mapping[str, Received]) -> dict[str, BidAsk]:
    return {name: (received.quote.bid, received.quote.ask) for name, received in quotes.items()}


def exposure_for(
    order: Order,
    *,
    book: Book,
    quotes: Mapping[str, Received],
    limits: Mapping[str, Decimal],
    peak_equity: Decimal,
    now: datetime,
) -> Exposure:
    """Return what the gate must know to judge `order`; its states are filled in under lock.

    peak_equity: the most that the account was worth until now.
    """
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
    here = [other for other in entering if other.instrument_id == row.pk]
    waiting = [other.units - other.filled_units for other in here]
    busy = {*book.positions, *(other.instrument.name for other in entering)} - {row.name}
    received = quotes.get(row.name)
    equity = book.equity(quotes)
    stakes = _stakes(book, entering, quotes)
    market_now = received.quote.time if received else now
    sent = sent_counts(account, now=now, day_start=day_start(now))
    rates = home_rates(account.currency, row.quote, bids_and_asks(quotes))
    results = recent_results(order, limits=limits, at=market_now)
    return Exposure(
        instrument=instrument_value(row) if row.enabled else None,
        modes=(),
        quote=received.quote if received else None,
        quote_received_at=received.at if received else None,
        feed_stands=received.stands if received else "without a quote",
        blackout=blackout_reason(order, at=market_now),
        # What is lost is turned at the worse price.
        account_per_quote=None if rates is None else rates.loss,
        position_units=book.side_units(row.name, units=order.units, reduces=order.reduce_only),
        pending_buy_units=sum((units for units in waiting if units > 0), Decimal(0)),
        pending_sell_units=sum((units for units in waiting if units < 0), Decimal(0)),
        waiting_buy_price=max(_waiting_prices(here, received, buys=True), default=None),
        waiting_sell_price=min(_waiting_prices(here, received, buys=False), default=None),
        unresolved=any(
            other.state == OrderState.UNKNOWN and other.instrument_id == row.pk for other in live
        ),
        equity=equity,
        peak_equity=peak_equity if equity is None else max(peak_equity, equity),
        gross_value=stakes.gross if stakes else None,
        currency_values=stakes.by_currency if stakes else None,
        open_positions=len(busy),
        open_orders=sum(other.type not in PROTECTIVE for other in live),
        sent_last_second=sent.last_second,
        sent_last_minute=sent.last_minute,
        sent_today=sent.today,
        like_order_age_s=like_order_age_s(order),
        day_pl=book.day_pl(quotes),
        stops_recent=results.stops,
        loss_age_min=results.loss_age_min,
        window_pl=results.window_pl,
    )


def _waiting_prices(
    orders: list[Order], received: Received | None, *, buys: bool
) -> Iterator[Decimal]:
    """The prices at which our own waiting entries of one side would trade with the other side.

    A stop order waits for the market to move away from it, so it meets nobody before that.
    """
    for order in orders:
        if (order.units > 0) != buys or order.type == OrderType.STOP:
            continue
        price = order.price if order.price is not None else order.price_bound
        if price is None and received is not None:
            price = received.quote.ask if buys else received.quote.bid
        if price is not None:
            yield price


def _stakes(book: Book, entering: list[Order], quotes: Mapping[str, Received]) -> _Stakes | None:
    """Value positions and waiting entries at mid prices; None if a price or rate is missing.

    Of an instrument that is held on both sides all counts, but its currencies only by the larger
    side: that is what is left when the other one is stopped.
    """
    prices = bids_and_asks(quotes)
    units = [
        (name, max(sides, key=abs), sum(map(abs, sides), Decimal(0)))
        for name, sides in book.sides.items()
    ]
    for order in entering:
        left = order.units - order.filled_units
        units.append((order.instrument.name, left, abs(left)))
    gross, by_currency = Decimal(0), dict[str, Decimal]()
    for name, signed, size in units:
        base, _, quote = name.partition("_")
        rates = home_rates(book.account.currency, quote, prices)
        if name not in prices or rates is None:
            return None
        price = quotes[name].quote.mid * rates.mid
        gross += size * price
        by_currency[base] = by_currency.get(base, Decimal(0)) + signed * price
        by_currency[quote] = by_currency.get(quote, Decimal(0)) - signed * price
    return _Stakes(gross, by_currency)
