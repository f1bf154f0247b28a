"""The states of an order and the only changes between them.

The table is the single source: the database triggers of the web app are generated from it and the
checker of the kill tests reads it.
"""

from enum import StrEnum

from sep_engine.errors import IllegalTransition
from sep_engine.model.order_terms import IMMEDIATE as IMMEDIATE
from sep_engine.model.order_terms import PositionFill as PositionFill
from sep_engine.model.order_terms import TimeInForce as TimeInForce


class OrderState(StrEnum):
    """Where an order stands between intent and venue."""

    CREATED = "CREATED"
    DENIED = "DENIED"
    QUEUED = "QUEUED"
    SENDING = "SENDING"
    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    EXPIRED_UNSENT = "EXPIRED_UNSENT"
    CANCEL_PENDING = "CANCEL_PENDING"
    REPLACE_PENDING = "REPLACE_PENDING"
    REPLACED = "REPLACED"
    CHANGE_UNKNOWN = "CHANGE_UNKNOWN"


class OrderType(StrEnum):
    """What the venue is asked to do."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    MARKET_IF_TOUCHED = "MARKET_IF_TOUCHED"
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP_LOSS = "TRAILING_STOP_LOSS"
    # Kept and shown where somebody placed one at the venue; SEP places none.
    GUARANTEED_STOP_LOSS = "GUARANTEED_STOP_LOSS"


PROTECTIVE: frozenset[OrderType] = frozenset(
    {
        OrderType.STOP_LOSS,
        OrderType.TAKE_PROFIT,
        OrderType.TRAILING_STOP_LOSS,
        OrderType.GUARANTEED_STOP_LOSS,
    }
)
"""Orders that only close what is held; the rest may open."""

STOPS: frozenset[OrderType] = PROTECTIVE - {OrderType.TAKE_PROFIT}
"""Protective orders that bound a loss."""

PLACED: frozenset[OrderType] = frozenset(OrderType) - {OrderType.GUARANTEED_STOP_LOSS}
"""What SEP itself asks a venue for."""


TIMES_IN_FORCE: dict[OrderType, frozenset[TimeInForce]] = {
    OrderType.MARKET: IMMEDIATE,
    OrderType.LIMIT: frozenset(TimeInForce),
    OrderType.STOP: frozenset(TimeInForce),
    OrderType.MARKET_IF_TOUCHED: frozenset(TimeInForce) - IMMEDIATE,
    OrderType.STOP_LOSS: frozenset(TimeInForce) - IMMEDIATE,
    OrderType.TAKE_PROFIT: frozenset(TimeInForce) - IMMEDIATE,
    OrderType.TRAILING_STOP_LOSS: frozenset(TimeInForce) - IMMEDIATE,
    OrderType.GUARANTEED_STOP_LOSS: frozenset(TimeInForce) - IMMEDIATE,
}
"""What each type of order may have; the first choice is FOK for a market order, GTC else."""


class Origin(StrEnum):
    """Who wanted the order."""

    RULE = "RULE"
    PERSON = "PERSON"
    PROTECTIVE = "PROTECTIVE"
    EXIT = "EXIT"
    CLOSE_EVERYTHING = "CLOSE_EVERYTHING"
    EXTERNAL = "EXTERNAL"


class TradingMode(StrEnum):
    """What a scope (everything, an account, a strategy) may do."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


_S = OrderState

TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    _S.CREATED: frozenset({_S.DENIED, _S.QUEUED}),
    _S.QUEUED: frozenset({_S.SENDING, _S.CANCELLED, _S.EXPIRED_UNSENT}),
    _S.SENDING: frozenset(
        {
            _S.ACCEPTED,
            _S.PARTIAL,
            _S.FILLED,
            _S.CANCELLED,
            _S.REJECTED,
            _S.EXPIRED,
            _S.UNKNOWN,
        }
    ),
    # Only venue evidence leaves UNKNOWN and CHANGE_UNKNOWN: neither has a timeout edge.
    _S.UNKNOWN: frozenset(
        {
            _S.ACCEPTED,
            _S.PARTIAL,
            _S.FILLED,
            _S.CANCELLED,
            _S.REJECTED,
            _S.EXPIRED,
            _S.EXPIRED_UNSENT,
        }
    ),
    _S.ACCEPTED: frozenset(
        {
            _S.PARTIAL,
            _S.FILLED,
            _S.CANCELLED,
            _S.EXPIRED,
            _S.CANCEL_PENDING,
            _S.REPLACE_PENDING,
        }
    ),
    _S.PARTIAL: frozenset(
        {_S.FILLED, _S.CANCELLED, _S.EXPIRED, _S.CANCEL_PENDING, _S.REPLACE_PENDING}
    ),
    _S.CANCEL_PENDING: frozenset(
        {_S.CANCELLED, _S.PARTIAL, _S.FILLED, _S.EXPIRED, _S.ACCEPTED, _S.CHANGE_UNKNOWN}
    ),
    _S.REPLACE_PENDING: frozenset(
        {_S.REPLACED, _S.ACCEPTED, _S.PARTIAL, _S.FILLED, _S.CANCELLED, _S.CHANGE_UNKNOWN}
    ),
    _S.CHANGE_UNKNOWN: frozenset(
        {_S.ACCEPTED, _S.PARTIAL, _S.FILLED, _S.CANCELLED, _S.EXPIRED, _S.REPLACED}
    ),
    _S.DENIED: frozenset(),
    _S.FILLED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.EXPIRED_UNSENT: frozenset(),
    _S.REPLACED: frozenset(),
}

TERMINAL: frozenset[OrderState] = frozenset(s for s, after in TRANSITIONS.items() if not after)

LIVE: frozenset[OrderState] = frozenset(OrderState) - TERMINAL
"""States that may still change. A database finds these by an index, not those that are none."""

UNSENT: frozenset[OrderState] = frozenset({_S.CREATED, _S.QUEUED, _S.DENIED, _S.EXPIRED_UNSENT})
"""States whose order is certain never to have reached the venue."""

AT_VENUE: frozenset[OrderState] = frozenset(
    {
        _S.SENDING,
        _S.UNKNOWN,
        _S.ACCEPTED,
        _S.PARTIAL,
        _S.CANCEL_PENDING,
        _S.REPLACE_PENDING,
        _S.CHANGE_UNKNOWN,
    }
)
"""States whose order is, or may be, working at the venue: exposure counts them as if filled."""


def check_transition(old: OrderState, new: OrderState) -> None:
    """Raise IllegalTransition unless `old` may become `new` (staying the same is no change)."""
    if old != new and new not in TRANSITIONS[old]:
        raise IllegalTransition(f"an order in {old} cannot become {new}")
