"""What the account has at stake, read for the risk gate."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar, cast

from sep_engine.execution.positions import NetPosition
from sep_engine.execution.states import AT_VENUE, PROTECTIVE, OrderState, OrderType
from sep_engine.model import Instrument, Quote
from sep_engine.model.calendar import day_start
from sep_engine.risk import Exposure, home_rates
from webapp.trading.models import BrokerAccount, Charge, Fill, Order, Position
from webapp.trading.models import Instrument as InstrumentRow
from webapp.trading.selectors.balance import (
    TRANSFER,
    account_totals,
    day_realised,
)
from webapp.trading.selectors.holdings import BidAsk, Lot, lots_held, open_profit
from webapp.trading.services.order_path import Terms
from webapp.trading.statements import Asked
from webapp.trading.trader.recent import (
    Results,
    SentCount,
    blackout_reason,
    like_order_age_s,
)

Known = TypeVar("Known")

DEFAULT_STOP_PIPS = Decimal(30)
# Why a quote cannot be traded on that was there before we were: it may be of long ago.
BEFORE_FIRST_QUOTE = "waiting for its first quote"


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
            The rest was paid in.
        trades, wins: over all fills; a trade is a fill that realised something.
        day_start: when the trading day began that `day_realised` counts, fills and charges.
        last_fill, last_charge: the keys of the newest rows that are counted.
        results: what the fills made, by time.
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
    last_fill: int
    last_charge: int
    results: Results

    @classmethod
    def read(cls, account: BrokerAccount, *, market_time: datetime) -> "Book":
        positions, sides = _held(account)
        totals = account_totals(account)
        return cls(
            account=account,
            positions=positions,
            sides=sides,
            lots=lots_held(account),
            balance=account.opening_balance + totals.transferred + totals.realised,
            realised=totals.realised,
            trades=totals.trades,
            wins=totals.wins,
            day_start=day_start(market_time),
            day_realised=day_realised(account, market_time),
            last_fill=totals.last_fill,
            last_charge=totals.last_charge,
            results=Results(account),
        )

    def catch_up(self) -> None:
        """Count what was filled and charged since the last reading; the day is still the same."""
        for fill in _fills_after(self.account.pk, self.last_fill):
            made = fill.realised_pl + fill.financing - fill.commission
            self.balance += made
            self.realised += made
            if fill.time >= self.day_start:
                self.day_realised += made
            self.trades += fill.realised_pl != 0
            self.wins += fill.realised_pl > 0
            self.results.booked(fill)
            self.last_fill = fill.pk
        for charge in _charges_after(self.account.pk, self.last_charge):
            self.balance += charge.amount
            if charge.kind != TRANSFER:
                self.realised += charge.amount
                if charge.time >= self.day_start:
                    self.day_realised += charge.amount
            self.last_charge = charge.pk
        self.positions, self.sides = _held(self.account)
        self.lots = lots_held(self.account)

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

    def peak(self, most_made: Decimal) -> Decimal:
        """Return the highest equity of an account that made at most so much, as if all that was
        paid in or out had been so before: a transfer is no profit and no loss.
        """
        return self.balance - self.realised + most_made

    def day_pl(self, quotes: Mapping[str, Received]) -> Decimal | None:
        """Return the day's realised and open profit; None if it is not known."""
        open_now = self.open_pl(quotes)
        return None if open_now is None else self.day_realised + open_now


_fills_after = Asked(
    lambda account, key: (
        Fill.objects.filter(account=account, pk__gt=key).select_related("order").order_by("pk")
    )
)
_charges_after = Asked(
    lambda account, key: Charge.objects.filter(account=account, pk__gt=key).order_by("pk")
)


def _held(
    account: BrokerAccount,
) -> tuple[dict[str, NetPosition], dict[str, list[Decimal]]]:
    """Return what is held by instrument name, both sides together and each by itself."""
    positions: dict[str, NetPosition] = {}
    sides: dict[str, list[Decimal]] = {}
    for name, units, price in _positions(account.pk):
        sides.setdefault(name, []).append(units)
        average = None if len(sides[name]) > 1 else price
        positions[name] = NetPosition(sum(sides[name], Decimal(0)), average)
    return positions, sides


_positions = Asked(
    lambda account: (
        Position.objects.filter(account=account)
        .exclude(units=0)
        .values_list("instrument__name", "units", "average_price")
    )
)


@dataclass(frozen=True, slots=True)
class _Stakes:
    """What is held and waits, in account currency: all of it, and by currency with its sign."""

    gross: Decimal
    by_currency: Mapping[str, Decimal]


def bids_and_asks(quotes: Mapping[str, Received]) -> dict[str, BidAsk]:
    return {name: (received.quote.bid, received.quote.ask) for name, received in quotes.items()}


class Live:
    """What works or waits, read once for orders that are judged one after the other."""

    def __init__(self, account: BrokerAccount) -> None:
        self._orders = _live(account.pk)
        self._known: dict[object, object] = {}

    def add(self, order: Order) -> None:
        """Count an order that was approved."""
        self._orders.append(order)

    def entering(self) -> list[Order]:
        """Return those that may open something."""
        return [one for one in self._orders if not one.reduce_only]

    def beside(self, order: Order) -> list[Order]:
        """Return all but the order, and the one that the venue ends before it takes this one."""
        return [one for one in self._orders if one.pk not in (order.pk, order.replaces_id)]

    def known(self, key: object, ask: Callable[[], Known]) -> Known:
        """Return an answer that is the same for every order with this key; `ask` is asked once."""
        if key not in self._known:
            self._known[key] = ask()
        return cast(Known, self._known[key])


_live = Asked(
    lambda account: Order.objects.filter(
        account=account, state__in=sorted({*AT_VENUE, OrderState.QUEUED})
    ).select_related("instrument")
)


def exposure_for(
    order: Order,
    *,
    live: Live,
    sent: SentCount,
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
    beside = live.beside(order)
    entering = [other for other in beside if not other.reduce_only]
    here = [other for other in entering if other.instrument_id == row.pk]
    waiting = [other.units - other.filled_units for other in here]
    busy = {*book.positions, *(other.instrument.name for other in entering)} - {row.name}
    received = quotes.get(row.name)
    equity = book.equity(quotes)
    stakes = _stakes(book, entering, quotes)
    market_now = received.quote.time if received else now
    rates = home_rates(account.currency, row.quote, bids_and_asks(quotes))
    already = sent.at(now, day_start=day_start(now))
    pause_s = limits.get("repeat_pause_s", Decimal(0))
    # What is queued is about to be sent.
    queued = sum(other.state == OrderState.QUEUED for other in beside)
    results = live.known(
        ("results", row.pk, market_now),
        lambda: book.results.before(order, limits=limits, at=market_now),
    )
    blackout = live.known(
        ("blackout", row.pk, order.strategy_id, market_now),
        lambda: blackout_reason(order, at=market_now),
    )
    return Exposure(
        instrument=instrument_value(row) if row.enabled or order.reduce_only else None,
        modes=(),
        quote=received.quote if received else None,
        quote_received_at=received.at if received else None,
        feed_stands=received.stands if received else "without a quote",
        blackout=blackout,
        # What is lost is turned at the worse price.
        account_per_quote=None if rates is None else rates.loss,
        position_units=book.side_units(row.name, units=order.units, reduces=order.reduce_only),
        pending_buy_units=sum((units for units in waiting if units > 0), Decimal(0)),
        pending_sell_units=sum((units for units in waiting if units < 0), Decimal(0)),
        waiting_buy_price=max(_waiting_prices(here, buys=True), default=None),
        waiting_sell_price=min(_waiting_prices(here, buys=False), default=None),
        unresolved=any(
            other.state == OrderState.UNKNOWN and other.instrument_id == row.pk for other in beside
        ),
        equity=equity,
        peak_equity=peak_equity if equity is None else max(peak_equity, equity),
        gross_value=stakes.gross if stakes else None,
        currency_values=stakes.by_currency if stakes else None,
        open_positions=len(busy),
        open_orders=sum(other.type not in PROTECTIVE for other in beside),
        sent_last_second=already.last_second + queued,
        sent_last_minute=already.last_minute + queued,
        sent_today=already.today + queued,
        # A pause of 0 s looks at nothing.
        like_order_age_s=like_order_age_s(order, within_s=pause_s) if pause_s else None,
        day_pl=book.day_pl(quotes),
        stops_recent=results.stops,
        loss_age_min=results.loss_age_min,
        window_pl=results.window_pl,
    )


def _waiting_prices(orders: list[Order], *, buys: bool) -> Iterator[Decimal]:
    """The prices at which our own waiting entries of one side would trade with the other side.

    A stop order waits for the market to move away from it, so it meets nobody before that; a
    market order rests nowhere, and its price is what others give it.
    """
    for order in orders:
        if (order.units > 0) == buys and order.type not in (OrderType.STOP, OrderType.MARKET):
            assert order.price is not None
            yield order.price


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


@dataclass(slots=True)
class Judging:
    """What the trader sees while it judges a turn of orders; see `order_path.Judge`.

    Attributes:
        unheard: why nothing may be opened though quotes come ("" if it may).
    """

    live: Live
    sent: SentCount
    book: Book
    quotes: Mapping[str, Received]
    peak_equity: Decimal
    unheard: str
    now: datetime

    def terms(self, order: Order, limits: Mapping[str, Decimal]) -> Terms:
        received, pip = self.quotes.get(order.instrument.name), order.instrument.pip
        if received is None:
            return Terms(None, None)
        stop = limits.get("default_stop_pips", DEFAULT_STOP_PIPS) * pip
        if order.reduce_only or "price_collar_pips_max" not in limits:
            return Terms(None, stop)
        quote, away = received.quote, limits["price_collar_pips_max"] * pip
        buys = order.units > 0
        return Terms(quote.ask + away if buys else max(quote.bid - away, quote.bid / 2), stop)

    def all_priced(self) -> bool:
        """Return whether all that is held or may come to be held can be valued."""
        entering = self.live.entering()
        return (
            self.book.equity(self.quotes) is not None
            and _stakes(self.book, entering, self.quotes) is not None
        )

    def exposure(self, order: Order, limits: Mapping[str, Decimal]) -> Exposure:
        exposure = exposure_for(
            order,
            live=self.live,
            sent=self.sent,
            book=self.book,
            quotes=self.quotes,
            limits=limits,
            peak_equity=self.peak_equity,
            now=self.now,
        )
        return replace(exposure, feed_stands=self.unheard) if self.unheard else exposure

    def approved(self, order: Order) -> None:
        self.live.add(order)
