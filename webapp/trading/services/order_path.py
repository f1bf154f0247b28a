"""The trader's side of the order path: judge (T1), claim (T2), record what the venue told (T3).

Only the account's one trader calls these. Each is one transaction; no broker is asked inside it.
Every change of state is made by `sep_engine.execution.core.step`.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q

from sep_engine.execution.core import (
    Absent,
    Accepted,
    ApplyFill,
    Cancel,
    Cancelled,
    CancelRefused,
    Claimed,
    Doubted,
    Effect,
    Expired,
    Fact,
    Filled,
    Found,
    HaltAccount,
    Judged,
    Lapsed,
    OrderEvent,
    OrderRecord,
    Rejected,
    Replaced,
    Replacing,
    Restarted,
    Timing,
    Withdrawn,
    step,
)
from sep_engine.execution.positions import NetPosition, apply_fill
from sep_engine.execution.states import (
    PROTECTIVE,
    STOPS,
    TERMINAL,
    OrderState,
    OrderType,
    Origin,
    TimeInForce,
    TradingMode,
)
from sep_engine.risk import Approved, Exposure, Intent, check_order
from webapp.trading import halt_flag
from webapp.trading.brokers.base import Kind, TradeChange, Transaction
from webapp.trading.models import (
    BrokerAccount,
    BrokerFact,
    Charge,
    Fill,
    Instrument,
    Order,
    Position,
    RiskLimit,
    Trade,
    TradingState,
)
from webapp.trading.retried import retried
from webapp.trading.selectors.resources import position_resource
from webapp.trading.services import events, system
from webapp.trading.services.orders import order_cancel, order_event
from webapp.trading.services.trading_state import trading_state_worsen

_S = OrderState


class FactGap(Exception):
    """Transactions between the last applied one and the first given one are missing."""


class StaleEpoch(Exception):
    """Another trader has taken the account."""


def limits_of(account: BrokerAccount) -> dict[str, Decimal]:
    """Return the active limits of the account by name."""
    rows = RiskLimit.objects.filter(account=account, active=True)
    return dict(rows.values_list("name", "value"))


def modes_for(order: Order, *, lock: bool) -> tuple[TradingMode, ...]:
    """Return the state of every scope that the order belongs to, the halt flag's among them.

    `lock`: hold the rows until the transaction ends, so that a change of the kill switch comes
    wholly before or wholly after what is decided here.
    """
    scopes = Q(scope="GLOBAL") | Q(scope="ACCOUNT", account_id=order.account_id)
    wanted = 2
    if order.strategy_id is not None:
        scopes |= Q(scope="STRATEGY", strategy_id=order.strategy_id)
        wanted = 3
    rows = TradingState.objects.filter(scopes)
    if lock:
        rows = rows.select_for_update()
    modes = tuple(TradingMode(row.state) for row in rows)
    # A row that is missing counts as the strictest state, and so does the flag.
    if len(modes) == wanted and not halt_flag.is_set():
        return modes
    return (TradingMode.HALTED, *modes)


def allowed_by(modes: tuple[TradingMode, ...], order: Order) -> bool:
    """Return whether the kill switch lets this order be sent."""
    if order.reduce_only and order.origin == Origin.CLOSE_EVERYTHING:
        return True
    if order.reduce_only:
        return TradingMode.HALTED not in modes
    return set(modes) == {TradingMode.ACTIVE}


def may_rest(modes: tuple[TradingMode, ...], order: Order) -> bool:
    """Return whether an order of ours that waits may go on waiting: what could open may not.

    Stops and targets of positions stay at any state, and so does what closes everything.
    """
    if order.type in PROTECTIVE or order.origin == Origin.CLOSE_EVERYTHING:
        return True
    return allowed_by(modes, order)


@retried
def orders_end_stopped(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every waiting order that the kill switch stops; return how many."""
    waiting = Order.objects.filter(
        account_id=account_id,
        state__in=(_S.QUEUED, _S.ACCEPTED, _S.PARTIAL),
        cancel_requested_at__isnull=True,
    )
    stopped = [
        order.pk
        for order in waiting.exclude(type__in=PROTECTIVE)
        if not may_rest(modes_for(order, lock=False), order)
    ]
    for order_id in stopped:
        order_cancel(order_id=order_id, now=now)
    return len(stopped)


@retried
def order_judge(
    *,
    order_id: int,
    exposure: Exposure,
    price_bound: Decimal | None,
    default_stop_distance: Decimal | None,
    now: datetime,
    timing: Timing,
) -> Order:
    """T1: run the risk gate on a CREATED order and queue or deny it.

    Args:
        exposure: what the trader sees. Positions and orders in it were read by the caller, which
            is the only writer of them; the states are read here, under lock.
        price_bound: the worst price for a market order, kept with it.
        default_stop_distance: of the stop of an opening order that names none, in price.
    """
    BrokerAccount.objects.select_for_update().get(orders__pk=order_id)
    order = _locked(order_id)
    if order.state != _S.CREATED:
        return order
    if order.cancel_requested_at is not None:
        return _advance(order, Withdrawn(), now, timing)
    if order.expires_at is not None and now > order.expires_at:
        return _advance(order, Lapsed(), now, timing)
    if order.stop_loss is None and order.stop_distance is None and not order.reduce_only:
        order.stop_distance = default_stop_distance
    if order.type == OrderType.MARKET:
        order.price_bound = price_bound
    intent = Intent(
        instrument=order.instrument.name,
        units=order.units,
        price=order.price,
        stop_loss=order.stop_loss,
        stop_distance=order.stop_distance,
        reduce_only=order.reduce_only,
        origin=Origin(order.origin),
    )
    exposure = replace(exposure, modes=modes_for(order, lock=True))
    verdict = check_order(intent, exposure, limits_of(order.account), now)
    order.checks = [asdict(check) for check in verdict.checks]
    if isinstance(verdict, Approved):
        return _advance(order, Judged(), now, timing)
    return _advance(order, Judged(verdict.rule, verdict.reason), now, timing)


@retried
def order_claim(*, order_id: int, epoch: int, now: datetime, timing: Timing) -> bool:
    """T2: make a QUEUED order SENDING. True: the caller, and nobody else, sends it now.

    Raises:
        StaleEpoch: the account has a newer trader.
    """
    order = _locked(order_id)
    account = BrokerAccount.objects.select_for_update().get(pk=order.account_id)
    if account.epoch != epoch:
        raise StaleEpoch(f"account {account.name} is at epoch {account.epoch}, we are {epoch}")
    if order.state != _S.QUEUED:
        return False
    if order.cancel_requested_at is not None:
        _advance(order, Withdrawn(), now, timing)
        return False
    if order.expires_at is not None and now > order.expires_at:
        _advance(order, Lapsed(), now, timing)
        return False
    if not allowed_by(modes_for(order, lock=True), order):
        return False
    if order.replaces_id is not None:
        old = _locked(order.replaces_id)
        if old.state not in (_S.ACCEPTED, _S.PARTIAL) or old.cancel_requested_at is not None:
            _advance(order, Lapsed(), now, timing, f"order {old.pk} cannot be changed any more")
            return False
        _advance(old, Replacing(), now, timing, f"order {order.pk} is to take its place")
    order.epoch = epoch
    order.last_txn_id_seen = account.last_transaction_id
    order.sent_at = now
    _advance(order, Claimed(), now, timing, f"claimed by the trader of epoch {epoch}")
    return True


@retried
def order_happened(
    *,
    order_id: int,
    event: Doubted | Restarted | Absent | Found | Withdrawn | Lapsed,
    now: datetime,
    timing: Timing,
) -> tuple[Order, bool]:
    """Apply something that is not a fact of the ledger; True: a cancel is to be sent now."""
    order = _locked(order_id)
    record = _record(order)
    result = step(record, event, now, timing)
    _save(order, record, result.order, now, cause=_cause(event))
    return order, any(isinstance(effect, Cancel) for effect in result.effects)


def facts_apply(
    *, account_id: int, facts: Iterable[Transaction], now: datetime, timing: Timing
) -> int:
    """T3: record transactions in order and apply each to its order and position.

    One that was recorded before is skipped, so any of them may come any number of times.

    Returns:
        How many were new.

    Raises:
        FactGap: an earlier transaction is missing; nothing was applied, read from the last one.
    """
    with transaction.atomic():
        account = BrokerAccount.objects.select_for_update().get(pk=account_id)
        touched: set[int] = set()
        count = 0
        for fact in sorted(facts, key=lambda fact: fact.id):
            if fact.id <= account.last_transaction_id:
                continue
            if fact.id != account.last_transaction_id + 1:
                raise FactGap(
                    f"transaction {fact.id} follows {account.last_transaction_id}: some are missing"
                )
            BrokerFact.objects.create(
                account=account,
                transaction_id=fact.id,
                kind=fact.kind.value,
                venue_order_id=fact.venue_order_id,
                client_id=fact.client_id[:64],
                raw=fact.raw,
                applied_at=now,
            )
            account.last_transaction_id = fact.id
            instrument_id = _fact_apply(account, fact, now, timing)
            if instrument_id is not None:
                touched.add(instrument_id)
            count += 1
        if count:
            account.save(update_fields=["last_transaction_id"])
        for instrument_id in touched:
            _position_changed(account, instrument_id, now)
        return count


def _fact_apply(
    account: BrokerAccount, fact: Transaction, now: datetime, timing: Timing
) -> int | None:
    """Apply one transaction; return the instrument whose position or stop it changed."""
    if fact.kind == Kind.OTHER:
        return None
    if fact.kind == Kind.CHARGE:
        Charge.objects.create(
            account=account,
            transaction_id=fact.id,
            kind=fact.reason,
            amount=fact.amount,
            time=fact.time,
        )
        return None
    if fact.kind == Kind.DEPENDENT:
        return _dependent_open(account, fact, now).instrument_id
    order = _order_of(account, fact)
    if order is None:
        if fact.kind == Kind.REJECTED:
            return None  # what somebody else asked for and did not get
        order = _adopt(account, fact, now)
        if order is None:
            return None
    record = _record(order)
    result = step(record, _core_fact(fact), now, timing)
    # The event of a fill is written below, when the fill is there to be shown.
    _save(
        order,
        record,
        result.order,
        now,
        cause=_fact_cause(fact),
        market_time=fact.time,
        silent=bool(result.effects),
    )
    for effect in result.effects:
        _effect_apply(account, order, fact, effect, now)
    if result.effects:
        order_event(_read(order.pk), now=now)
    if order.replaces_id is not None and order.state == _S.REJECTED:
        # The venue refused the change as a whole: what was to be replaced works on.
        old = _locked(order.replaces_id)
        _advance(old, CancelRefused(fact.id, fact.reason), now, timing, _fact_cause(fact))
    if fact.kind == Kind.REPLACED and record.cancel_wanted:
        # Who wanted the order gone wants its successor gone too.
        Order.objects.filter(replaces=order, cancel_requested_at__isnull=True).update(
            cancel_requested_at=now
        )
    return order.instrument_id


def _effect_apply(
    account: BrokerAccount, order: Order, fact: Transaction, effect: Effect, now: datetime
) -> None:
    if isinstance(effect, ApplyFill):
        Fill.objects.create(
            order=order,
            account=account,
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
        _position_fill(account, order.instrument_id, effect, fact)
        for change in fact.trades:
            _trade_change(account, order, change, fact.time)
    elif isinstance(effect, HaltAccount):
        trading_state_worsen(
            account=account, state=TradingMode.HALTED, reason=effect.reason, now=now
        )


def _trade_change(
    account: BrokerAccount, order: Order, change: TradeChange, time: datetime
) -> None:
    if change.opens:
        Trade.objects.create(
            account=account,
            instrument_id=order.instrument_id,
            order=order,
            venue_trade_id=change.trade_id,
            opened_units=change.units,
            units=change.units,
            price=change.price,
            opened_at=time,
        )
        return
    trade = (
        Trade.objects.select_for_update()
        .filter(account=account, venue_trade_id=change.trade_id)
        .first()
    )
    if trade is None:
        return  # opened before our books began; the comparison of the books tells it
    trade.units += change.units
    trade.realised_pl += change.realised_pl
    trade.closed_at = None if trade.units else time
    trade.save()


def _position_fill(
    account: BrokerAccount, instrument_id: int, fill: ApplyFill, fact: Transaction
) -> None:
    parts = sides_of(fill.units, opened=fact.opened_units, hedging=account.hedging)
    for side, units in parts:
        position, _ = Position.objects.select_for_update().get_or_create(
            account=account, instrument_id=instrument_id, side=side
        )
        before = NetPosition(position.units, position.average_price, position.realised_pl)
        after = apply_fill(before, units=units, price=fill.price)
        if before.units * after.units <= 0:
            position.opened_at = fact.time if after.units else None
        position.units = after.units
        position.average_price = after.average_price
        position.realised_pl = after.realised_pl
        if side == parts[-1][0]:  # what a fill realises belongs to the side that it closes
            position.booked_pl += fact.realised_pl
        position.save()


def sides_of(
    units: Decimal, *, opened: Decimal | None, hedging: bool
) -> list[tuple[Position.Side, Decimal]]:
    """Return which positions a fill of `units` changes, and by how much; a closed side is last.

    opened: of the units those that opened a trade; None if the venue keeps none.
    """
    if not hedging:
        return [(Position.Side.NET, units)]
    sides = (Position.Side.LONG, Position.Side.SHORT)
    opening, closing = sides if units > 0 else reversed(sides)
    opened = opened or Decimal(0)
    parts = [(opening, opened), (closing, units - opened)]
    return [(side, part) for side, part in parts if part]


def _position_changed(account: BrokerAccount, instrument_id: int, now: datetime) -> None:
    for position in Position.objects.select_related("instrument").filter(
        account=account, instrument_id=instrument_id
    ):
        stops = stops_of(position)
        position.stop_loss = nearest_stop(position, stops)
        trailing = [stop.trailing_distance for stop in stops if stop.trailing_distance is not None]
        position.trailing_distance = min(trailing, default=None)
        position.save(update_fields=["stop_loss", "trailing_distance", "updated_at"])
        events.record(
            stream="positions",
            type="position_update",
            data=position_resource(position, currency=account.currency),
            now=now,
        )


def stops_of(position: Position) -> list[Order]:
    """Return the stop orders that work for the position."""
    stops = Order.objects.filter(
        account_id=position.account_id,
        instrument_id=position.instrument_id,
        type__in=sorted(STOPS),
    ).exclude(state__in=TERMINAL)
    return [stop for stop in stops if stop.units * position.units < 0]


def covered_units(position: Position, stops: list[Order]) -> Decimal:
    """Return how many units (>= 0) of the position the stops close; a trade counts once."""
    left = dict(
        Trade.objects.filter(account_id=position.account_id)
        .exclude(units=0)
        .values_list("venue_trade_id", "units")
    )
    total, seen = Decimal(0), set()
    for stop in stops:
        if not stop.trade_id:
            total += abs(stop.units)
        elif stop.trade_id not in seen:
            seen.add(stop.trade_id)
            total += abs(left.get(stop.trade_id, Decimal(0)))
    return total


def uncovered_trades(position: Position, stops: list[Order]) -> list[Trade]:
    """Return the open trades of a hedging account's side that no stop closes, oldest first."""
    covered = {stop.trade_id for stop in stops}
    trades = Trade.objects.filter(
        account_id=position.account_id, instrument_id=position.instrument_id
    ).exclude(units=0)
    return [
        trade
        for trade in trades.order_by("pk")
        if trade.units * position.units > 0 and trade.venue_trade_id not in covered
    ]


def nearest_stop(position: Position, stops: list[Order]) -> Decimal | None:
    """Return the price at which the position is first stopped, None if no stop has a price."""
    prices = [stop.price for stop in stops if stop.price is not None]
    if not prices:
        return None
    return max(prices) if position.units > 0 else min(prices)


def _wanted(account: BrokerAccount, fact: Transaction) -> Decimal:
    """Return the signed units that an order wants; one that closes a trade wants what it holds."""
    if fact.trade_id and fact.order_type in PROTECTIVE:
        trade = Trade.objects.filter(account=account, venue_trade_id=fact.trade_id).first()
        if trade is not None and trade.units:
            return -trade.units
    return fact.units


def _dependent_open(account: BrokerAccount, fact: Transaction, now: datetime) -> Order:
    parent = Order.objects.filter(account=account, venue_order_id=fact.parent_id).first()
    instrument = Instrument.objects.get(name=fact.instrument)
    order = Order(
        client_id=fact.client_id or f"venue-{account.pk}-{fact.venue_order_id}",
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
    order.save(force_insert=True)
    order_event(order, now=now)
    if parent is not None and order.price is not None:
        # A stop that was wanted by its distance has its price now.
        name = "stop_loss" if order.type == OrderType.STOP_LOSS else "take_profit"
        if getattr(parent, name) != fact.price:
            setattr(parent, name, fact.price)
            parent.save(update_fields=[name, "updated_at"])
            order_event(parent, now=now)
    return order


def _time_in_force(fact: Transaction) -> dict[str, Any]:
    force = fact.time_in_force if fact.time_in_force in set(TimeInForce) else "GTC"
    if force == TimeInForce.GTD and fact.good_until is None:
        force = TimeInForce.GTC.value
    return {
        "time_in_force": force,
        "good_until": fact.good_until if force == TimeInForce.GTD else None,
    }


def _adopt(account: BrokerAccount, fact: Transaction, now: datetime) -> Order | None:
    """Take over an order that we did not make: somebody traded beside us."""
    instrument = Instrument.objects.filter(name=fact.instrument).first()
    units = _wanted(account, fact)
    if instrument is None or units == 0:
        trading_state_worsen(
            account=account,
            state=TradingMode.HALTED,
            reason=f"transaction {fact.id} is about an order that we do not know",
            now=now,
        )
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
    order.save(force_insert=True)
    order_event(order, now=now)
    return order


def _order_of(account: BrokerAccount, fact: Transaction) -> Order | None:
    """Return the order that a fact is about, None if it is none of ours.

    The venue's id decides; a client id alone is not enough for an order that appears: one that is
    changed beside us keeps its name under a new id. A trade that is closed carries no name of
    ours: it is the close that we are waiting for, if there is one.
    """
    orders = Order.objects.select_for_update(of=("self",)).select_related("instrument")
    ours = orders.filter(account=account)
    if fact.venue_order_id and (order := ours.filter(venue_order_id=fact.venue_order_id).first()):
        return order
    named = ours.filter(client_id=fact.client_id).first() if fact.client_id else None
    if named is not None and (fact.kind != Kind.ACCEPTED or not named.venue_order_id):
        return named
    if fact.trade_id and not fact.client_id and fact.kind in (Kind.ACCEPTED, Kind.REJECTED):
        waiting = ours.filter(
            trade_id=fact.trade_id,
            type=OrderType.MARKET.value,
            venue_order_id="",
            state__in=(_S.SENDING, _S.UNKNOWN),
        )
        return waiting.order_by("pk").first()
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


def _locked(order_id: int) -> Order:
    orders = Order.objects.select_for_update(of=("self",))
    return orders.select_related("instrument", "account").get(pk=order_id)


def _read(order_id: int) -> Order:
    return Order.objects.select_related("instrument").get(pk=order_id)


def _record(order: Order) -> OrderRecord:
    return OrderRecord(
        client_id=order.client_id,
        units=order.units,
        state=OrderState(order.state),
        filled_units=order.filled_units,
        average_price=order.average_price,
        venue_order_id=order.venue_order_id,
        closed_by=order.closed_by,
        doubt_since=order.doubt_since,
        absent_since=order.absent_since,
        cancel_wanted=order.cancel_requested_at is not None,
        denied_rule=order.denied_rule,
        denied_reason=order.denied_reason,
    )


def _advance(
    order: Order, event: OrderEvent, now: datetime, timing: Timing, cause: str = ""
) -> Order:
    record = _record(order)
    result = step(record, event, now, timing).order
    _save(order, record, result, now, cause=cause or _cause(event))
    return order


def _cause(event: OrderEvent) -> str:
    """Return in words why an order changed, for events that are no facts."""
    match event:
        case Judged(rule=""):
            return "passed every check of the risk gate"
        case Judged(rule=_, reason=reason):
            return f"refused by the risk gate: {reason}"
        case Withdrawn():
            return "withdrawn"
        case Lapsed():
            return "too old to be sent"
        case Doubted(reason=reason):
            return f"no clear answer: {reason or 'timeout'}"
        case Restarted():
            return "the trader that sent it is gone"
        case Absent():
            return "two reads of the venue did not find it"
        case Found(venue_order_id=venue_order_id):
            return f"found working at the venue as {venue_order_id}"
    return ""


def _fact_cause(fact: Transaction) -> str:
    reason = f", {fact.reason}" if fact.reason else ""
    return f"transaction {fact.id}{reason}"


def _save(
    order: Order,
    before: OrderRecord,
    after: OrderRecord,
    now: datetime,
    *,
    cause: str = "",
    market_time: datetime | None = None,
    silent: bool = False,
) -> None:
    if cause and (before.state != after.state or before.filled_units != after.filled_units):
        order.cause = cause[:300]
    order.state = after.state.value
    order.filled_units = after.filled_units
    order.average_price = after.average_price
    order.venue_order_id = after.venue_order_id
    order.closed_by = after.closed_by
    order.doubt_since = after.doubt_since
    order.absent_since = after.absent_since
    order.denied_rule = after.denied_rule
    order.denied_reason = after.denied_reason[:300]
    if before.cancel_wanted and not after.cancel_wanted:
        order.cancel_requested_at = None
    if market_time is not None:
        order.market_time = market_time
    order.save()
    if not silent and replace(before, applied=frozenset(), absent_since=None) != replace(
        after, applied=frozenset(), absent_since=None
    ):
        order_event(order, now=now)
