"""Close everything: what somebody asked to be closed is asked for again until nothing is left.

The word is a row. The trader looks at the open ones: it cancels what waits, asks for orders that
can only reduce, and when one comes to nothing (the pair is halted at the venue, the connection was
cut) asks for the next after a pause. An order in doubt is waited for, never doubled.
"""

from datetime import datetime
from typing import Any

from django.db.models import Max, QuerySet

from sep_engine.execution.states import PROTECTIVE, Origin, TradingMode
from webapp.trading.models import BrokerAccount, Closing, Order, Strategy, TradingState
from webapp.trading.retried import retried
from webapp.trading.selectors.closing import (
    held_of,
    live_orders,
    next_at,
    on_its_way,
)
from webapp.trading.services import events, system
from webapp.trading.services.orders import order_cancel, position_flatten
from webapp.trading.services.trading_state import trading_state_worsen
from webapp.trading.wire import time_text

FLAT = "flat"


@retried
def close_everything(
    *,
    account: BrokerAccount,
    reason: str,
    now: datetime,
    created_by: Any = None,
    strategy: Strategy | None = None,
) -> list[Order]:
    """Cancel every order and close every position, at any state of the kill switch.

    What was ACTIVE becomes REDUCING, so that no rule opens again what a person has closed. Stops
    stay until their position is closed. It goes on until all is flat, or until a person makes the
    account (or the strategy) ACTIVE again.

    strategy: close what this one alone ordered and holds; the account stays as it is.

    Returns:
        The orders that were asked for now.
    """
    trading_state_worsen(
        account=account,
        strategy=strategy,
        state=TradingMode.REDUCING,
        reason=f"close everything: {reason}",
        now=now,
    )
    closing = _open(account_id=account.pk).filter(strategy=strategy).first()
    newest = Order.objects.aggregate(newest=Max("pk"))["newest"] or 0
    if closing is None:
        closing = Closing.objects.create(
            account=account,
            strategy=strategy,
            reason=reason[:300],
            asked_by=_name(created_by),
            asked_at=now,
            after_order=newest,
        )
        _tell("close_everything", closing, now)
    else:
        # Who asks again does not wait for the end of a pause after what was tried in vain.
        closing.after_order = newest
        closing.save(update_fields=["after_order"])
    whose = "" if strategy is None else f" of {strategy.name}"
    system.alert(level="warning", text=f"Close everything{whose}: {reason}", now=now)
    return _go_on(closing, now, created_by)


@retried
def closings_go_on(*, account_id: int, now: datetime) -> list[Order]:
    """Ask for what is still needed to close what somebody asked to be closed."""
    return [order for closing in _open(account_id=account_id) for order in _go_on(closing, now)]


def _go_on(closing: Closing, now: datetime, created_by: Any = None) -> list[Order]:
    if again := _rearmed_by(closing):
        _end(closing, f"{again} lets it trade again", now)
        return []
    live = live_orders(closing)
    for order in live:
        stays = order.type in PROTECTIVE or order.origin == Origin.CLOSE_EVERYTHING
        if not stays and order.cancel_requested_at is None:
            order_cancel(order_id=order.pk, now=now)
    held, asked = held_of(closing), []
    for position, units in held:
        if not on_its_way(live, position) and next_at(closing, position, now=now) <= now:
            asked.append(
                position_flatten(position, Origin.CLOSE_EVERYTHING, now, created_by, units=units)
            )
    if held:
        return [order for order in asked if order is not None]
    if closing.strategy_id is None:
        # A stop whose position is gone has nothing to protect; the venue may have kept it.
        for order in live:
            if order.type in PROTECTIVE and order.cancel_requested_at is None:
                order_cancel(order_id=order.pk, now=now)
    else:
        live = [order for order in live if order.type not in PROTECTIVE]
    if not live:
        _end(closing, FLAT, now)
    return []


def _rearmed_by(closing: Closing) -> str:
    """Return who made the scope ACTIVE again, "" if nobody did."""
    account = closing.account if closing.strategy is None else None
    row = TradingState.objects.get(account=account, strategy=closing.strategy)
    return row.changed_by if row.state == TradingMode.ACTIVE else ""


def _open(*, account_id: int) -> QuerySet[Closing]:
    rows = Closing.objects.select_for_update(of=("self",), no_key=True).select_related(
        "account", "strategy"
    )
    return rows.filter(account_id=account_id, ended_at__isnull=True).order_by("pk")


def _end(closing: Closing, because: str, now: datetime) -> None:
    closing.ended_at, closing.ended_because = now, because[:300]
    closing.save(update_fields=["ended_at", "ended_because"])
    _tell("close_everything_ended", closing, now)
    whose = f" of {closing.strategy.name}" if closing.strategy else ""
    text = f"Close everything{whose} is done: flat."
    if because != FLAT:
        text = f"Close everything{whose} goes no further: {because}."
    system.alert(level="info" if because == FLAT else "warning", text=text, now=now)


def _tell(type: str, closing: Closing, now: datetime) -> None:
    data = {
        "account": closing.account.name,
        "strategy": closing.strategy.name if closing.strategy else None,
        "reason": closing.reason,
        "by": closing.asked_by,
        "because": closing.ended_because,
        "at": time_text(now),
    }
    events.record(stream="audit", type=type, data=data, now=now)


def _name(user: Any) -> str:
    return user.get_username() if user is not None else "shell"
