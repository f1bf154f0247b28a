"""Do our books tell what the venue's ledger tells? The invariants of the order path, checked.

I1 at most one order at the venue for each intent; I2 an order ended here as there; I3 equal
positions; I4 each fill once, and their sum is what the order says; I5 the event log is whole and
ends in what the tables say; I6 nothing was sent that the gate did not pass; I7 only changes of the
table of order states; I8 every order at the venue has an intent that was claimed first.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal

from sep_engine.execution.positions import sides_of
from sep_engine.execution.states import (
    AT_VENUE,
    TERMINAL,
    TRANSITIONS,
    OrderState,
    Origin,
)
from webapp.trading.brokers.base import AccountReport, Broker, Kind, Transaction
from webapp.trading.brokers.registry import broker_for
from webapp.trading.models import (
    BrokerAccount,
    Candle,
    EventLog,
    Feed,
    Fill,
    Order,
    Position,
    StreamHead,
    position_key,
)
from webapp.trading.services.events import first_fault
from webapp.trading.services.reconciliation import reported_positions

_S = OrderState
_ENDS = {
    Kind.FILLED: _S.FILLED,
    Kind.CANCELLED: _S.CANCELLED,
    Kind.REPLACED: _S.REPLACED,
    Kind.REJECTED: _S.REJECTED,
    Kind.EXPIRED: _S.EXPIRED,
}


def account_faults(account: BrokerAccount, *, restored: bool = False) -> list[str]:
    """Ask the account's broker for its whole ledger and return what `book_faults` finds."""
    ledger, report = asyncio.run(_read(broker_for(account)))
    return book_faults(account, ledger, report, restored=restored)


async def _read(broker: Broker) -> tuple[list[Transaction], AccountReport]:
    try:
        return await broker.transactions_since(0), await broker.account()
    finally:
        await broker.close()


def book_faults(
    account: BrokerAccount,
    ledger: Iterable[Transaction],
    report: AccountReport,
    *,
    restored: bool = False,
) -> list[str]:
    """Return every broken invariant as a line; none means that the books are right.

    ledger: all transactions of the account, oldest first. No order may be in doubt or being sent:
    that is for the trader to settle first.
    restored: the books are a backup that was restored, so of an order that was sent after it they
    know neither who claimed it nor what the gate said (epoch 0).
    """
    ledger = list(ledger)
    orders = list(Order.objects.filter(account=account).order_by("pk"))
    return [
        *_order_faults(orders, ledger, report, restored=restored),
        *_fill_faults(account, orders, ledger, report),
        *_event_faults(orders),
        *_candle_faults(),
    ]


def _order_faults(
    orders: list[Order],
    ledger: list[Transaction],
    report: AccountReport,
    *,
    restored: bool,
) -> Iterable[str]:
    by_client_id = {order.client_id: order for order in orders}
    # An order that was made beside us, and the close of a trade, has a name of ours only here.
    names = {order.venue_order_id: order.client_id for order in orders if order.venue_order_id}
    told = [(names.get(fact.venue_order_id, fact.client_id), fact) for fact in ledger]
    taken = Counter(
        client_id
        for client_id, fact in told
        if fact.kind in (Kind.ACCEPTED, Kind.DEPENDENT, Kind.REJECTED) and client_id
    )
    made_by_venue = {client_id for client_id, fact in told if fact.kind == Kind.DEPENDENT}
    for client_id, count in taken.items():
        if count > 1:
            yield f"I1 the venue has {client_id} {count} times"
        order = by_client_id.get(client_id)
        if order is None and client_id in made_by_venue:
            yield f"I2 the venue has {client_id}, which we have not heard of yet"
        elif order is None:
            yield f"I8 the venue has {client_id}, which is no intent of ours"
        elif order.parent_id is not None or order.origin == Origin.EXTERNAL:
            continue
        elif order.sent_at is None or not (order.epoch or restored):
            yield f"I8 {client_id} is at the venue and was never claimed"
    ended: dict[str, OrderState] = {}
    for client_id, fact in told:
        if fact.kind in _ENDS and (fact.kind != Kind.FILLED or fact.final):
            ended.setdefault(client_id, _ENDS[fact.kind])
    for order in orders:
        if order.state == _S.CANCELLED and ended.get(order.client_id) == _S.REPLACED:
            ended[order.client_id] = _S.CANCELLED  # replaced by somebody else
    working = {names.get(order.venue_order_id, order.client_id) for order in report.open_orders}
    for order in orders:
        state = OrderState(order.state)
        there = order.client_id in taken
        if state in (_S.SENDING, _S.UNKNOWN, _S.CHANGE_UNKNOWN):
            yield f"I2 {order.client_id} is still {state}"
        elif state in (_S.DENIED, _S.EXPIRED_UNSENT, _S.CREATED, _S.QUEUED) and there:
            yield f"I2 {order.client_id} is {state}, yet the venue has it"
        elif state in AT_VENUE and order.client_id not in working:
            yield f"I2 {order.client_id} is {state}, yet does not work at the venue"
        elif state in TERMINAL and there and ended.get(order.client_id) != state:
            yield f"I2 {order.client_id} is {state}, at the venue {ended.get(order.client_id)}"
        elif state in (_S.FILLED, _S.REJECTED, _S.EXPIRED) and not there:
            yield f"I2 {order.client_id} is {state}, the venue does not know it"
        if order.sent_at is not None and not all(check["passed"] for check in order.checks):
            yield f"I6 {order.client_id} was sent against the gate"
        if order.sent_at is not None and not order.checks and not (restored and not order.epoch):
            yield f"I6 {order.client_id} was sent without the gate"


def _fill_faults(
    account: BrokerAccount,
    orders: list[Order],
    ledger: list[Transaction],
    report: AccountReport,
) -> Iterable[str]:
    fills = list(Fill.objects.filter(account=account).select_related("order__instrument"))
    local = {fill.transaction_id: fill for fill in fills}
    told = {fact.id: fact for fact in ledger if fact.kind == Kind.FILLED}
    for number in sorted(told.keys() ^ local.keys()):
        where = "here" if number in local else "at the venue"
        yield f"I4 fill {number} is only {where}"
    for number in told.keys() & local.keys():
        fill, fact = local[number], told[number]
        if (fill.units, fill.price, fill.realised_pl) != (
            fact.units,
            fact.price,
            fact.realised_pl,
        ):
            yield f"I4 fill {number} differs: {fill}, the venue tells {fact.units} at {fact.price}"
    sums: dict[int, Decimal] = defaultdict(Decimal)
    held: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        sums[fill.order_id] += fill.units
        name = fill.order.instrument.name
        for side, units in sides_of(fill.units, opened=fill.opened_units, hedging=account.hedging):
            held[position_key(name, side)] += units
    for order in orders:
        if order.filled_units != sums[order.pk]:
            yield f"I4 {order.client_id} says {order.filled_units}, its fills {sums[order.pk]}"
    positions = {
        position.key: position.units
        for position in Position.objects.filter(account=account).select_related("instrument")
    }
    reported = reported_positions(report)
    for name in {*positions, *held, *reported}:
        three = (
            positions.get(name, Decimal(0)),
            held.get(name, Decimal(0)),
            reported.get(name, Decimal(0)),
        )
        if len(set(three)) > 1:
            yield f"I3 {name}: position {three[0]}, fills {three[1]}, venue {three[2]}"
    account.refresh_from_db(fields=["last_transaction_id"])
    if account.last_transaction_id != report.last_transaction_id:
        yield (
            f"I4 applied to transaction {account.last_transaction_id}, "
            f"the venue is at {report.last_transaction_id}"
        )


def _event_faults(orders: list[Order]) -> Iterable[str]:
    for stream in StreamHead.objects.values_list("stream", flat=True):
        fault = first_fault(stream)
        if fault is not None:
            yield f"I5 {fault}"
    states: dict[int, OrderState] = {}
    for data in (
        EventLog.objects.filter(stream="orders").order_by("seq").values_list("data", flat=True)
    ):
        key, state = data["id"], OrderState(data["state"])
        before = states.get(key)
        if before is not None and state != before and state not in TRANSITIONS[before]:
            yield f"I7 order {key} went from {before} to {state}"
        states[key] = state
    for order in orders:
        if states.get(order.pk) != order.state:
            yield f"I5 order {order.pk} is {order.state}, its events end in {states.get(order.pk)}"


def _candle_faults() -> Iterable[str]:
    for feed in Feed.objects.all():
        stored = Candle.objects.filter(
            instrument_id=feed.instrument_id, granularity=feed.granularity, source=feed.source
        ).count()
        if stored != feed.cursor:
            yield f"feed {feed.pk} is at bar {feed.cursor} with {stored} candles"
