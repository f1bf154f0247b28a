"""The order core: what an order becomes when something happens, and what is to be done then.

`step` is a pure function. The trader drives it from its database and its broker, the simulator
from a schedule of faults; neither holds a rule of its own about states.

An order is CREATED by whoever wants it. The trader's gate judges it, the claim makes it SENDING and
asks for exactly one send. Any doubt about that send makes it UNKNOWN, and only what the venue says
leaves UNKNOWN: a fact, or its absence in two agreeing reads made late enough.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from sep_engine.errors import ArgumentError, IllegalTransition
from sep_engine.execution.states import (
    AT_VENUE,
    TERMINAL,
    TRANSITIONS,
    OrderState,
    check_transition,
)

_S = OrderState


@dataclass(frozen=True, slots=True)
class Timing:
    """How sure a venue lets us be.

    Attributes:
        late: how long after we stopped waiting a send may still arrive (client timeout + margin).
        read_gap: the least time between two reads that together prove absence.
    """

    late: timedelta = timedelta(seconds=10)
    read_gap: timedelta = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """What the core knows of one order.

    Attributes:
        units: signed, + buys.
        filled_units: signed; beyond `units` only if the venue overfilled.
        average_price: of the fills, None before the first.
        applied: ids of the venue's transactions that were applied.
        closed_by: id of the transaction that ended the order, None while it is open.
        doubt_since: when the order became UNKNOWN or CHANGE_UNKNOWN.
        absent_since: when the first of the agreeing reads that found nothing was made.
        cancel_wanted: a cancel was asked for and has not been answered.
    """

    client_id: str
    units: Decimal
    state: OrderState = OrderState.CREATED
    filled_units: Decimal = Decimal(0)
    average_price: Decimal | None = None
    venue_order_id: str = ""
    applied: frozenset[int] = frozenset()
    closed_by: int | None = None
    doubt_since: datetime | None = None
    absent_since: datetime | None = None
    cancel_wanted: bool = False
    denied_rule: str = ""
    denied_reason: str = ""


# Events: what happened.


@dataclass(frozen=True, slots=True)
class Judged:
    """The risk gate answered. An empty `rule` means approved."""

    rule: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Somebody wants the order gone.

    While a send or a change is unanswered only the wish is kept: the caller raises Withdrawn again
    for an order that works and has `cancel_wanted`.
    """


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The intent grew older than it may be before it was sent."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """This process, and no other, may send the order now."""


@dataclass(frozen=True, slots=True)
class Replacing:
    """This process, and no other, asks the venue now to put another order in this one's place."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """A send or a change ended without a definite answer: timeout, reset, 5xx, bad body, crash."""

    reason: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The process that owned the order is gone; what it was doing is not known."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A look-up by client id and a read of all transactions since the claim found nothing.

    `send_closed`: the connection of the send is known to be closed.
    """

    send_closed: bool


@dataclass(frozen=True, slots=True)
class Unsent:
    """The sender itself knows that not one byte of the doubted send left; nothing can arrive."""

    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A look-up by client id shows the order working at the venue."""

    venue_order_id: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """Fact: the venue has the order and it works there."""

    transaction_id: int
    venue_order_id: str


@dataclass(frozen=True, slots=True)
class Filled:
    """Fact: `units` (signed) were filled at `price`. `final`: the venue is done with the order."""

    transaction_id: int
    venue_order_id: str
    units: Decimal
    price: Decimal
    final: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Fact: the venue cancelled the order, asked or not."""

    transaction_id: int
    venue_order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Fact: the venue refused the order; it never worked there."""

    transaction_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Fact: the order's time in force ended at the venue."""

    transaction_id: int
    venue_order_id: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """Fact: another order took this one's place at the venue."""

    transaction_id: int
    venue_order_id: str


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """Fact: the venue would not cancel or replace; the order works on."""

    transaction_id: int
    reason: str


Fact = Accepted | Filled | Cancelled | Rejected | Expired | Replaced | CancelRefused
OrderEvent = (
    Judged
    | Withdrawn
    | Lapsed
    | Claimed
    | Replacing
    | Doubted
    | Restarted
    | Unsent
    | Absent
    | Found
    | Fact
)


# Effects: what is to be done. The caller does them after the new record is committed.


@dataclass(frozen=True, slots=True)
class Send:
    """Write the order to the venue, once."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the venue to cancel; asking again is harmless."""

    client_id: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the venue for the order by client id and for all transactions since the claim."""

    client_id: str


@dataclass(frozen=True, slots=True)
class ApplyFill:
    """Add a fill to the position, whatever the order's state: the venue's facts are the truth."""

    transaction_id: int
    units: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class HaltAccount:
    """Something happened that the rules say cannot; stop sending until a person has looked."""

    reason: str


Effect = Send | Cancel | LookUp | ApplyFill | HaltAccount


@dataclass(frozen=True, slots=True)
class Step:
    """The order after an event, and the effects in the order in which to do them."""

    order: OrderRecord
    effects: tuple[Effect, ...] = ()


def step(order: OrderRecord, event: OrderEvent, now: datetime, timing: Timing) -> Step:
    """Return what `order` becomes when `event` happens at `now`.

    Raises:
        IllegalTransition: one of our own events does not fit the state (a defect of the caller).
            Facts of the venue never raise: what the table does not allow is applied to the
            position and asks for a halt.
    """
    match event:
        case Judged(rule="", reason=_):
            return Step(_moved(order, _S.QUEUED))
        case Judged(rule=rule, reason=reason):
            return Step(_denied(order, rule, reason))
        case Withdrawn():
            return _withdrawn(order)
        case Lapsed():
            if order.state == _S.CREATED:
                return Step(_denied(order, "lapsed", "the intent was too old to be judged"))
            return Step(_moved(order, _S.EXPIRED_UNSENT))
        case Claimed():
            return Step(_moved(order, _S.SENDING), (Send(order.client_id),))
        case Replacing():
            return Step(_moved(order, _S.REPLACE_PENDING))
        case Doubted() | Restarted():
            return _doubted(order, now)
        case Unsent():
            if order.state != _S.UNKNOWN:
                raise IllegalTransition(f"an order in {order.state} is not one of a doubted send")
            return Step(_settled(order, _S.EXPIRED_UNSENT))
        case Absent(send_closed=send_closed):
            return _absent(order, now, timing, send_closed=send_closed)
        case Found(venue_order_id=venue_order_id):
            return _found(order, venue_order_id)
        case _:
            return _fact(order, event)


def _moved(order: OrderRecord, state: OrderState) -> OrderRecord:
    if state not in TRANSITIONS[order.state]:
        # Staying is refused too: a second claim would be a second send.
        raise IllegalTransition(f"an order in {order.state} cannot become {state}")
    return replace(order, state=state)


def _denied(order: OrderRecord, rule: str, reason: str) -> OrderRecord:
    if not rule:
        raise ArgumentError("a denial must name its rule")
    return replace(_moved(order, _S.DENIED), denied_rule=rule, denied_reason=reason)


def _withdrawn(order: OrderRecord) -> Step:
    if order.state in TERMINAL:
        return Step(order)
    if order.state == _S.CREATED:
        return Step(_denied(order, "withdrawn", "withdrawn before it was judged"))
    if order.state == _S.QUEUED:
        return Step(_moved(order, _S.CANCELLED))
    if order.state in (_S.ACCEPTED, _S.PARTIAL):
        pending = replace(_moved(order, _S.CANCEL_PENDING), cancel_wanted=True)
        return Step(pending, (Cancel(order.client_id),))
    # Being sent, in doubt or already being changed: the wish waits for what the venue says.
    return Step(replace(order, cancel_wanted=True))


def _doubted(order: OrderRecord, now: datetime) -> Step:
    doubt = {
        _S.SENDING: _S.UNKNOWN,
        _S.CANCEL_PENDING: _S.CHANGE_UNKNOWN,
        _S.REPLACE_PENDING: _S.CHANGE_UNKNOWN,
    }.get(order.state, order.state)
    if doubt not in (_S.UNKNOWN, _S.CHANGE_UNKNOWN):
        return Step(order)
    # A doubt that is raised again (a second crash) starts its waiting time again.
    check_transition(order.state, doubt)
    unsure = replace(order, state=doubt, doubt_since=now, absent_since=None)
    return Step(unsure, (LookUp(order.client_id),))


def _absent(order: OrderRecord, now: datetime, timing: Timing, *, send_closed: bool) -> Step:
    if order.state != _S.UNKNOWN:
        return Step(order)
    assert order.doubt_since is not None
    again = (LookUp(order.client_id),)
    if not send_closed or now - order.doubt_since < timing.late:
        return Step(replace(order, absent_since=None), again)
    if order.absent_since is None:
        return Step(replace(order, absent_since=now), again)
    if now - order.absent_since < timing.read_gap:
        return Step(order, again)
    return Step(_settled(order, _S.EXPIRED_UNSENT))


def _found(order: OrderRecord, venue_order_id: str) -> Step:
    if order.state not in (_S.UNKNOWN, _S.CHANGE_UNKNOWN):
        return Step(order)
    found = replace(order, venue_order_id=order.venue_order_id or venue_order_id)
    return Step(_settled(found, _working(found)))


def _settled(order: OrderRecord, state: OrderState) -> OrderRecord:
    check_transition(order.state, state)
    return replace(order, state=state, doubt_since=None, absent_since=None)


def _fact(order: OrderRecord, fact: Fact) -> Step:
    if fact.transaction_id in order.applied:
        return Step(order)
    order = replace(order, applied=order.applied | {fact.transaction_id})
    venue_id = getattr(fact, "venue_order_id", "")
    if venue_id and not order.venue_order_id:
        order = replace(order, venue_order_id=venue_id)
    if isinstance(fact, Filled):
        return _filled(order, fact)
    if isinstance(fact, Accepted):
        # An acknowledgement may come after what it acknowledges.
        if order.state in TERMINAL and order.closed_by is not None:
            if fact.transaction_id < order.closed_by:
                return Step(order)
            return _impossible(order, fact)
        return _told(order, fact, _working(order))
    if isinstance(fact, CancelRefused):
        if order.state == _S.REPLACE_PENDING:
            return Step(_settled(order, _working(order)))
        if order.state in (_S.CANCEL_PENDING, _S.CHANGE_UNKNOWN):
            return Step(replace(_settled(order, _working(order)), cancel_wanted=False))
        return Step(replace(order, cancel_wanted=False))
    if isinstance(fact, Replaced):
        # Whoever replaces beside us ends an order that we did not ask to change.
        ours = _S.REPLACED in TRANSITIONS[order.state]
        return _told(order, fact, _S.REPLACED if ours else _S.CANCELLED)
    ends: dict[type, OrderState] = {
        Cancelled: _S.CANCELLED,
        Rejected: _S.REJECTED,
        Expired: _S.EXPIRED,
    }
    return _told(order, fact, ends[type(fact)])


def _working(order: OrderRecord) -> OrderState:
    return _S.PARTIAL if order.filled_units else _S.ACCEPTED


def _told(order: OrderRecord, fact: Fact, state: OrderState) -> Step:
    """Follow the venue into `state` if the table has the way, else ask for a halt."""
    if state != order.state and state not in TRANSITIONS[order.state]:
        return _impossible(order, fact)
    if isinstance(fact, Accepted) and order.state == _S.CANCEL_PENDING:
        return Step(order)  # a late acknowledgement does not answer the cancel
    order = _settled(order, state)
    if state in TERMINAL:
        return Step(replace(order, closed_by=fact.transaction_id, cancel_wanted=False))
    return Step(order)


def _filled(order: OrderRecord, fact: Filled) -> Step:
    fill = ApplyFill(fact.transaction_id, fact.units, fact.price)
    wrong_way = fact.units * order.units <= 0
    filled = order.filled_units + fact.units
    average = order.average_price
    if filled:
        before = order.filled_units * (order.average_price or Decimal(0))
        average = ((before + fact.units * fact.price) / filled).quantize(Decimal("1e-8"))
    before_state = order
    order = replace(order, filled_units=filled, average_price=average)
    overfilled = abs(filled) > abs(order.units)

    if order.state in TERMINAL:
        # Told late, it belongs to the time before the end; told of a later time, it cannot be.
        late = order.closed_by is not None and fact.transaction_id < order.closed_by
        if late and not overfilled and not wrong_way:
            return Step(order, (fill,))
        return Step(order, (fill, _halt(before_state, fact)))
    if wrong_way or order.state not in AT_VENUE:
        return Step(order, (fill, _halt(before_state, fact)))

    if fact.final or abs(filled) >= abs(order.units):
        done = replace(_settled(order, _S.FILLED), closed_by=fact.transaction_id)
        effects: tuple[Effect, ...] = (fill,)
        if overfilled:
            effects = (fill, _halt(before_state, fact))
        return Step(replace(done, cancel_wanted=False), effects)
    if order.state in (_S.CANCEL_PENDING, _S.REPLACE_PENDING, _S.CHANGE_UNKNOWN):
        return Step(order, (fill,))  # the change is still unanswered
    return Step(_settled(order, _S.PARTIAL), (fill,))


def _impossible(order: OrderRecord, fact: Fact) -> Step:
    return Step(order, (_halt(order, fact),))


def _halt(order: OrderRecord, fact: Fact) -> HaltAccount:
    return HaltAccount(
        f"order {order.client_id} is {order.state} with {order.filled_units} of {order.units} "
        f"filled, yet the venue tells {type(fact).__name__} in transaction {fact.transaction_id}"
    )
