"""What the venue told (T3): each transaction once, to its order, position and trades.

Only the account's one trader calls this. No broker is asked within the transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from sep_engine.execution.core import (
    Accepted,
    ApplyFill,
    Cancelled,
    CancelRefused,
    Claimed,
    Effect,
    Expired,
    Fact,
    Filled,
    HaltAccount,
    Judged,
    Rejected,
    Replaced,
    Timing,
    step,
)
from sep_engine.execution.positions import (
    NetPosition,
    Side,
    apply_fill,
    close_answered,
    sides_of,
)
from sep_engine.execution.states import (
    PROTECTIVE,
    OrderState,
    OrderType,
    Origin,
    TimeInForce,
    TradingMode,
)
from webapp.trading.brokers.base import Kind, TradeChange, Transaction
from webapp.trading.models import (
    BrokerAccount,
    BrokerFact,
    Charge,
    Fill,
    Instrument,
    Order,
    Position,
    Trade,
)
from webapp.trading.selectors.resources import position_resource
from webapp.trading.selectors.stops import nearest_stop, stops_of
from webapp.trading.services import events, system
from webapp.trading.services.order_steps import (
    advance,
    locked_account,
    locked_orders,
    record_of,
    step_save,
)
from webapp.trading.services.orders import order_event
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.statements import Asked, row_insert, rows_insert, rows_update

_S = OrderState


class FactGap(Exception):
    """Transactions between the last applied one and the first given one are missing."""


def facts_apply(
    *,
    account_id: int,
    facts: Iterable[Transaction],
    now: datetime,
    timing: Timing,
    catching_up: bool = False,
) -> int:
    """T3: record transactions in order and apply each to its order and position.

    One that was recorded before is skipped, so any of them may come any number of times.

    catching_up: nothing was sent yet by this trader, and no other may. What the books have not
        sent, yet the venue has, was sent by those that they are a backup of, so it follows the
        venue. Otherwise nobody can have sent it, and the account halts.

    Returns:
        How many were new.

    Raises:
        FactGap: an earlier transaction is missing; nothing was applied, read from the last one.
    """
    with transaction.atomic(), events.together():
        account = locked_account(account_id)
        fresh = {fact.id: fact for fact in facts if fact.id > account.last_transaction_id}
        told = [fresh[number] for number in sorted(fresh)]
        if not told:
            return 0
        for number, fact in enumerate(told, start=account.last_transaction_id + 1):
            if fact.id != number:
                raise FactGap(f"transaction {fact.id} follows {number - 1}: some are missing")
        rows_insert(
            [
                BrokerFact(
                    account=account,
                    transaction_id=fact.id,
                    kind=fact.kind.value,
                    venue_order_id=fact.venue_order_id,
                    client_id=fact.client_id[:64],
                    raw=fact.raw,
                    applied_at=now,
                )
                for fact in told
            ]
        )
        begin = account.last_transaction_id == 0
        books = _Books(account, told, begin=begin, catching_up=catching_up)
        account.last_transaction_id = told[-1].id
        rows_update([account], ("last_transaction_id",))
        for fact in told:
            instrument_id = _fact_apply(books, fact, now, timing)
            if instrument_id is not None:
                books.touched.add(instrument_id)
        for instrument_id in books.touched:
            _position_changed(books, instrument_id, now)
        return len(told)


class _Books:
    """The rows that a batch of facts is about, each read and locked once.

    An order is one object however many facts name it, so that what one fact changes the next sees.

    begin: the facts are the first that the account's books take.
    catching_up: as in `facts_apply`.
    """

    def __init__(
        self,
        account: BrokerAccount,
        facts: Sequence[Transaction],
        *,
        begin: bool,
        catching_up: bool,
    ) -> None:
        self.account, self.begin, self.catching_up = account, begin, catching_up
        self.touched: set[int] = set()
        self._orders: dict[int, Order] = {}
        self._by_venue_id: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self._positions: dict[tuple[int, str], Position] = {}
        self._instruments: dict[str, Instrument | None] = {}
        self._fills: dict[int, list[Fill]] = {}
        venue_ids = {id_ for fact in facts for id_ in (fact.venue_order_id, fact.parent_id) if id_}
        client_ids = {fact.client_id for fact in facts if fact.client_id}
        # One after the other: with OR between them SQLite would read all orders of the account, as
        # it would to find client ids among them. Those are unique for ever and need no account.
        named = _by_venue_ids(account.pk, *venue_ids) if venue_ids else []
        named += _by_client_ids(*client_ids) if client_ids else []
        for order in named:
            if order.pk not in self._orders and order.account_id == account.pk:
                self.add(order)

    def _ours(self) -> QuerySet[Order]:
        return locked_orders().filter(account=self.account)

    def add(self, order: Order) -> None:
        self._orders[order.pk] = order
        if order.venue_order_id:
            self._by_venue_id[order.venue_order_id] = order
        self._by_client_id[order.client_id] = order

    def unfilled(self, order: Order) -> None:
        """Note that the order has no fills yet."""
        self._fills[order.pk] = []

    def filled(self, order: Order, fill: Fill) -> None:
        """Note a fill that was booked now."""
        if order.pk in self._fills:
            self._fills[order.pk].append(fill)

    def fills(self, order: Order) -> list[Fill] | None:
        """Return all fills of an order, None if they must be read."""
        return self._fills.get(order.pk)

    def by_venue_id(self, venue_order_id: str) -> Order | None:
        return self._by_venue_id.get(venue_order_id)

    def by_client_id(self, client_id: str) -> Order | None:
        return self._by_client_id.get(client_id)

    def get(self, order_id: int) -> Order:
        if order_id not in self._orders:
            self.add(self._ours().get(pk=order_id))
        return self._orders[order_id]

    def opener(self, trade_id: str) -> Order | None:
        """Return the order that opened a trade; what is left of one that filled in part has
        another id at the venue.
        """
        opened = next(iter(_trades(self.account.pk, trade_id)), None) if trade_id else None
        return None if opened is None or opened.order_id is None else self.get(opened.order_id)

    def closing(self, trade_id: str, units: Decimal) -> Order | None:
        """Return the close of a trade, of that size, that we are waiting for an answer to."""
        waiting = self._ours().filter(
            trade_id=trade_id,
            type=OrderType.MARKET.value,
            venue_order_id="",
            state__in=(_S.SENDING, _S.UNKNOWN),
        )
        key = close_answered(waiting.order_by("pk").values_list("pk", "units"), units)
        return None if key is None else self.get(key)

    def successors_end(self, order: Order, now: datetime) -> None:
        """Want the orders gone that took the place of one that was to go."""
        for pk in Order.objects.filter(
            replaces=order, cancel_requested_at__isnull=True
        ).values_list("pk", flat=True):
            successor = self.get(pk)
            successor.cancel_requested_at = now
            rows_update([successor], ("cancel_requested_at",))

    def instrument(self, name: str) -> Instrument | None:
        if name not in self._instruments:
            self._instruments[name] = Instrument.objects.filter(name=name).first()
        return self._instruments[name]

    def position(self, instrument_id: int, side: Side) -> Position:
        key = (instrument_id, str(side))
        if key not in self._positions:
            self.positions_of(instrument_id)
        if key not in self._positions:
            self._positions[key] = Position.objects.create(
                account=self.account, instrument_id=instrument_id, side=side
            )
        return self._positions[key]

    def positions_of(self, instrument_id: int) -> list[Position]:
        """Return every side that there is a row of, flat or not."""
        for row in _positions_in(self.account.pk, instrument_id):
            self._positions.setdefault((instrument_id, str(row.side)), row)
        return [row for key, row in self._positions.items() if key[0] == instrument_id]


def _fact_apply(books: _Books, fact: Transaction, now: datetime, timing: Timing) -> int | None:
    """Apply one transaction; return the instrument whose position or stop it changed."""
    if fact.notice:
        system.alert(level="warning", text=fact.notice, now=now)
    if fact.kind == Kind.OTHER:
        return None
    if fact.kind == Kind.CHARGE:
        if fact.to_empty and books.begin:
            return None  # what the account was opened with
        Charge.objects.create(
            account=books.account,
            transaction_id=fact.id,
            kind=fact.reason,
            amount=fact.amount,
            time=fact.time,
        )
        return None
    if fact.kind == Kind.DEPENDENT:
        dependent = _dependent_open(books, fact, now)
        return None if dependent is None else dependent.instrument_id
    order = _order_of(books, fact)
    if order is None:
        if fact.kind == Kind.REJECTED:
            return None  # what somebody else asked for and did not get
        order = _adopt(books, fact, now)
        if order is None:
            return None
    if books.catching_up and order.state in (_S.CREATED, _S.QUEUED):
        _sent_before(order, fact, now, timing)
    record = record_of(order)
    result = step(record, _core_fact(fact), now, timing)
    # The event of a fill is written below, when the fill is there to be shown.
    step_save(
        order,
        record,
        result.order,
        now,
        cause=_fact_cause(fact),
        market_time=fact.time,
        silent=bool(result.effects),
    )
    books.add(order)
    if record.average_price is None:
        books.unfilled(order)
    for effect in result.effects:
        _effect_apply(books, order, fact, effect, now)
    if result.effects:
        order_event(order, now=now, fills=books.fills(order))
    if order.replaces_id is not None and order.state == _S.REJECTED:
        # The venue refused the change as a whole: what was to be replaced works on.
        old = books.get(order.replaces_id)
        advance(old, CancelRefused(fact.id, fact.reason), now, timing, _fact_cause(fact))
    if fact.kind == Kind.REPLACED and record.cancel_wanted:
        books.successors_end(order, now)
    return order.instrument_id


def _sent_before(order: Order, fact: Transaction, now: datetime, timing: Timing) -> None:
    """Take the send as made that these books do not know of, at the latest when the venue took it.

    Its epoch stays 0, that of no trader: who claimed it is not known, nor what the gate said.
    """
    cause = "the venue has it: these books are older than what was sent, as a restored backup is"
    if order.state == _S.CREATED:
        advance(order, Judged(), now, timing, cause)
    order.sent_at = fact.time
    advance(order, Claimed(), now, timing, cause, fields=("sent_at",))
    text = f"order {order.pk} was at {order.account.name} before it was sent: {cause}"
    system.alert(level="warning", text=text, now=now)


def _effect_apply(
    books: _Books, order: Order, fact: Transaction, effect: Effect, now: datetime
) -> None:
    if isinstance(effect, ApplyFill):
        fill = Fill(
            order=order,
            account=books.account,
            transaction_id=fact.id,
            units=effect.units,
            price=effect.price,
            realised_pl=fact.realised_pl,
            half_spread_cost=fact.half_spread_cost,
            financing=fact.financing,
            commission=fact.commission,
            opened_units=fact.opened_units,
            assumed_spread=fact.assumed_spread,
            time=fact.time,
        )
        row_insert(fill)
        books.filled(order, fill)
        _position_fill(books, order.instrument_id, effect, fact)
        for change in fact.trades:
            _trade_change(books.account, order, change, fact.time)
    elif isinstance(effect, HaltAccount):
        trading_state_worsen(
            account=books.account, state=TradingMode.HALTED, reason=effect.reason, now=now
        )


def _trade_change(
    account: BrokerAccount, order: Order, change: TradeChange, time: datetime
) -> None:
    if change.opens:
        row_insert(
            Trade(
                account=account,
                instrument_id=order.instrument_id,
                order=order,
                venue_trade_id=change.trade_id,
                opened_units=change.units,
                units=change.units,
                price=change.price,
                opened_at=time,
            )
        )
        return
    # None was opened before our books began; the comparison of the books tells it.
    for trade in _trades(account.pk, change.trade_id):
        trade.units += change.units
        trade.realised_pl += change.realised_pl
        trade.closed_at = None if trade.units else time
        rows_update([trade], ("units", "realised_pl", "closed_at"))


def _position_fill(books: _Books, instrument_id: int, fill: ApplyFill, fact: Transaction) -> None:
    parts = sides_of(fill.units, opened=fact.opened_units, hedging=books.account.hedging)
    for side, units in parts:
        position = books.position(instrument_id, side)
        before = NetPosition(position.units, position.average_price, position.realised_pl)
        after = apply_fill(before, units=units, price=fill.price)
        if before.units * after.units <= 0:
            position.opened_at = fact.time if after.units else None
        position.units = after.units
        position.average_price = after.average_price
        position.realised_pl = after.realised_pl
        if side == parts[-1][0]:  # what a fill realises belongs to the side that it closes
            position.booked_pl += fact.realised_pl


def _position_changed(books: _Books, instrument_id: int, now: datetime) -> None:
    for position in books.positions_of(instrument_id):
        stops = stops_of(position)
        position.stop_loss = nearest_stop(position, stops)
        trailing = [stop.trailing_distance for stop in stops if stop.trailing_distance is not None]
        position.trailing_distance = min(trailing, default=None)
        rows_update([position], _HELD)
        events.record(
            stream="positions",
            type="position_update",
            data=position_resource(position, currency=books.account.currency),
            now=now,
        )


def _wanted(account: BrokerAccount, fact: Transaction) -> Decimal:
    """Return the signed units that an order wants; one that closes a trade wants what it holds."""
    if fact.trade_id and fact.order_type in PROTECTIVE:
        for trade in _trades(account.pk, fact.trade_id):
            if trade.units:
                return -trade.units
    return fact.units


def _dependent_open(books: _Books, fact: Transaction, now: datetime) -> Order | None:
    account = books.account
    parent = books.by_venue_id(fact.parent_id) or books.opener(fact.trade_id)
    instrument = books.instrument(fact.instrument)
    if instrument is None:
        _halt_for_unknown(account, fact, now)
        return None
    # At the paper broker they are named after the order that brings them, as OANDA's were before.
    # Somebody beside us names theirs as they like: those, and unnamed ones, go by the venue's id.
    ours = parent is not None and fact.client_id.startswith(f"{parent.client_id}-")
    if not ours or books.by_client_id(fact.client_id) is not None:
        name = f"venue-{account.pk}-{fact.venue_order_id}"
    else:
        name = fact.client_id
    order = Order(
        client_id=name,
        account=account,
        instrument=instrument,
        strategy_id=parent.strategy_id if parent else None,
        parent=parent,
        origin=Origin.PROTECTIVE.value,
        type=fact.order_type,
        units=_wanted(account, fact),
        price=None if fact.order_type == OrderType.TRAILING_STOP_LOSS else fact.price,
        trailing_distance=fact.distance
        if fact.order_type == OrderType.TRAILING_STOP_LOSS
        else None,
        trade_id=fact.trade_id,
        reduce_only=True,
        state=_S.ACCEPTED.value,
        cause=_fact_cause(fact),
        venue_order_id=fact.venue_order_id,
        market_time=fact.time,
        **_time_in_force(fact),
    )
    row_insert(order)
    books.add(order)
    order_event(order, now=now)
    if parent is not None and order.price is not None:
        # A stop that was wanted by its distance has its price now.
        name = "stop_loss" if order.type == OrderType.STOP_LOSS else "take_profit"
        if getattr(parent, name) != fact.price:
            setattr(parent, name, fact.price)
            rows_update([parent], (name, "updated_at"))
            order_event(parent, now=now, fills=books.fills(parent))
    return order


def _time_in_force(fact: Transaction) -> dict[str, Any]:
    force = fact.time_in_force if fact.time_in_force in set(TimeInForce) else "GTC"
    if force == TimeInForce.GTD and fact.good_until is None:
        force = TimeInForce.GTC.value
    return {
        "time_in_force": force,
        "good_until": fact.good_until if force == TimeInForce.GTD else None,
    }


def _adopt(books: _Books, fact: Transaction, now: datetime) -> Order | None:
    """Take over an order that we did not make: somebody traded beside us."""
    account, instrument = books.account, books.instrument(fact.instrument)
    units = _wanted(account, fact)
    if instrument is None or units == 0:
        _halt_for_unknown(account, fact, now)
        return None
    system.alert(
        level="warning",
        text=f"Order {fact.venue_order_id or fact.id} was made beside us; it counts as ours",
        now=now,
    )
    accepted = fact.kind == Kind.ACCEPTED
    type_, price, distance = OrderType.MARKET.value, None, None
    if accepted and fact.order_type in set(OrderType):
        trailing = fact.order_type == OrderType.TRAILING_STOP_LOSS
        level = fact.distance if trailing else fact.price
        if fact.order_type == OrderType.MARKET or level is not None:
            type_ = fact.order_type
            price = None if trailing else fact.price
            distance = fact.distance if trailing else None
    order = Order(
        client_id=f"venue-{account.pk}-{fact.venue_order_id or fact.id}",
        account=account,
        instrument=instrument,
        origin=Origin.EXTERNAL.value,
        type=type_,
        units=units,
        price=price,
        trailing_distance=distance,
        trade_id=fact.trade_id,
        reduce_only=type_ in PROTECTIVE,
        state=_S.ACCEPTED.value,
        cause=_fact_cause(fact),
        venue_order_id=fact.venue_order_id,
        market_time=fact.time,
        **_time_in_force(fact),
    )
    row_insert(order)
    order_event(order, now=now)
    return order


def _halt_for_unknown(account: BrokerAccount, fact: Transaction, now: datetime) -> None:
    trading_state_worsen(
        account=account,
        state=TradingMode.HALTED,
        reason=f"transaction {fact.id} is about an order that we do not know",
        now=now,
    )


def _order_of(books: _Books, fact: Transaction) -> Order | None:
    """Return the order that a fact is about, None if it is none of ours.

    The venue's id decides; a client id alone is not enough for an order that appears: one that is
    changed beside us keeps its name under a new id. A trade that is closed carries no name of
    ours: it is the close of that size that we are waiting for, if there is one.
    """
    if order := books.by_venue_id(fact.venue_order_id):
        return order
    named = books.by_client_id(fact.client_id)
    if named is not None and (fact.kind != Kind.ACCEPTED or not named.venue_order_id):
        return named
    if fact.trade_id and not fact.client_id and fact.kind in (Kind.ACCEPTED, Kind.REJECTED):
        return books.closing(fact.trade_id, fact.units)
    return None


def _core_fact(fact: Transaction) -> Fact:
    match fact.kind:
        case Kind.ACCEPTED:
            return Accepted(fact.id, fact.venue_order_id)
        case Kind.FILLED:
            assert fact.price is not None
            return Filled(fact.id, fact.venue_order_id, fact.units, fact.price, fact.final)
        case Kind.CANCELLED:
            return Cancelled(fact.id, fact.venue_order_id, fact.reason)
        case Kind.REJECTED:
            return Rejected(fact.id, fact.reason)
        case Kind.EXPIRED:
            return Expired(fact.id, fact.venue_order_id)
        case Kind.REPLACED:
            return Replaced(fact.id, fact.venue_order_id)
        case Kind.CANCEL_REFUSED:
            return CancelRefused(fact.id, fact.reason)
    raise ValueError(f"a {fact.kind} transaction is not about an order's state")


_by_client_ids = Asked(lambda *ids: locked_orders().filter(client_id__in=ids))

_by_venue_ids = Asked(
    lambda account, *ids: locked_orders().filter(account=account, venue_order_id__in=ids)
)

_positions_in = Asked(
    lambda account, instrument: (
        Position.objects.select_for_update(of=("self",), no_key=True)
        .select_related("instrument")
        .filter(account=account, instrument=instrument)
        .order_by("pk")
    )
)

_trades = Asked(
    lambda account, trade_id: Trade.objects.select_for_update(no_key=True).filter(
        account=account, venue_trade_id=trade_id
    )
)

# What a fill or a stop changes of a position.
_HELD = (
    "units",
    "average_price",
    "realised_pl",
    "booked_pl",
    "stop_loss",
    "trailing_distance",
    "opened_at",
    "updated_at",
)


def _fact_cause(fact: Transaction) -> str:
    reason = f", {fact.reason}" if fact.reason else ""
    return f"transaction {fact.id}{reason}"
