"""Comparing our books with the venue's: both sides as of now, and the record of each comparison."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q

from sep_engine.execution.reconcile import AccountView, Difference, reconcile
from sep_engine.execution.states import OrderState, Origin
from webapp.trading.brokers.base import AccountReport
from webapp.trading.models import (
    BrokerAccount,
    Order,
    Position,
    Reconciliation,
    Trade,
    position_key,
)
from webapp.trading.selectors.balance import account_balance
from webapp.trading.services import events, system
from webapp.trading.services.performance import totals_keep
from webapp.trading.wire import decimal_text, money_text

# About a week of one a minute.
KEPT = 10_000
BALANCE_STEP = Decimal("0.01")
_S = OrderState
WORKING = (_S.ACCEPTED, _S.PARTIAL, _S.CANCEL_PENDING, _S.REPLACE_PENDING)
DOUBTFUL = (_S.UNKNOWN, _S.CHANGE_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides, and what differs. Balances are in account currency."""

    local: AccountView
    reported: AccountView
    local_balance: Decimal
    reported_balance: Decimal
    differences: tuple[Difference, ...]


def books_compare(account: BrokerAccount, report: AccountReport) -> Comparison:
    """Return our books beside the venue's report. Orders in doubt are left out of both."""
    rows = list(Order.objects.filter(account=account, state__in=(*WORKING, *DOUBTFUL)))
    by_venue_id = {row.venue_order_id: row.client_id for row in rows if row.venue_order_id}
    doubtful = {row.client_id for row in rows if row.state in DOUBTFUL}
    trades = dict(
        Trade.objects.filter(account=account)
        .exclude(units=0)
        .values_list("venue_trade_id", "units")
    )
    positions = Position.objects.filter(account=account).select_related("instrument")
    last = BrokerAccount.objects.values_list("last_transaction_id", flat=True).get(pk=account.pk)
    local = AccountView(
        last_transaction_id=last,
        positions={row.key: row.units for row in positions},
        open_orders={row.client_id: _wanted(row, trades) for row in rows if row.state in WORKING},
        trades={} if report.trades is None else trades,
    )
    named = [
        # One that was changed beside us keeps its client id; the venue's own tells them apart.
        (by_venue_id.get(one.venue_order_id, one.client_id), one.units)
        for one in report.open_orders
    ]
    reported = AccountView(
        last_transaction_id=report.last_transaction_id,
        positions=reported_positions(report),
        open_orders={name: units for name, units in named if name not in doubtful},
        trades=report.trades or {},
    )
    return Comparison(
        local=local,
        reported=reported,
        local_balance=account_balance(account),
        reported_balance=report.balance,
        differences=reconcile(local, reported),
    )


def reported_positions(report: AccountReport) -> dict[str, Decimal]:
    """Return the venue's positions as the comparison names them, each side of a hedging account."""
    if report.sides is None:
        return report.positions
    side = Position.Side
    return {
        position_key(name, side.LONG if units > 0 else side.SHORT): units
        for name, units in report.sides
    }


def _wanted(order: Order, trades: dict[str, Decimal]) -> Decimal:
    """Return the signed units still wanted; what protects a trade wants what the trade holds."""
    if order.trade_id and order.reduce_only:
        return -trades.get(order.trade_id, Decimal(0))
    return order.units - order.filled_units


@transaction.atomic
def reconciliation_record(
    *,
    account: BrokerAccount,
    cause: str,
    started_at: datetime,
    now: datetime,
    comparison: Comparison | None,
    facts_read: int = 0,
    done: str = "",
) -> Reconciliation:
    """Keep a comparison; `comparison` is None when the venue said nothing.

    It counts what was adopted since the comparison before it.
    """
    outcomes = Reconciliation.Outcome
    last = Reconciliation.objects.filter(account=account).first()
    if comparison is not None:
        _say_balance(account, comparison, now)
    if comparison is None:
        outcome = outcomes.UNREACHED
    elif comparison.differences:
        outcome = outcomes.DIFFERED
    else:
        outcome = outcomes.CAUGHT_UP if facts_read else outcomes.AGREED
    row = Reconciliation.objects.create(
        account=account,
        cause=cause,
        outcome=outcome,
        done=done[:300],
        facts_read=facts_read,
        adopted=_adopted(account, since=None if last is None else last.finished_at),
        local=comparison and _side(comparison.local, comparison.local_balance),
        reported=comparison and _side(comparison.reported, comparison.reported_balance),
        differences=_differences(comparison.differences) if comparison else [],
        started_at=started_at,
        finished_at=now,
    )
    if row.pk % 500 == 0:
        Reconciliation.objects.filter(account=account, pk__lte=row.pk - KEPT).delete()
    totals_keep(account)
    events.record(
        stream="system",
        type="reconciliation",
        data={"id": row.pk, "outcome": row.outcome, "cause": row.cause},
        now=now,
    )
    return row


def _adopted(account: BrokerAccount, *, since: datetime | None) -> int:
    """Return how many orders made beside us were taken over, with those that hang on them.

    They are taken over as they are heard of, so most were before the comparison that counts them.

    since: when the last comparison ended, None if there was none.
    """
    beside_us = Q(origin=Origin.EXTERNAL.value) | Q(parent__origin=Origin.EXTERNAL.value)
    rows = Order.objects.filter(beside_us, account=account)
    rows = rows.filter(client_id__startswith=f"venue-{account.pk}-")
    if since is not None:
        rows = rows.filter(created_at__gt=since)
    return rows.count()


def _say_balance(account: BrokerAccount, comparison: Comparison, now: datetime) -> None:
    """Say once that the balance differs, and again when it differs by something else."""
    off = comparison.reported_balance - comparison.local_balance
    last = Reconciliation.objects.filter(account=account, local__isnull=False).first()
    before = Decimal(0)
    if last is not None and last.local and last.reported:
        before = Decimal(last.reported["balance"]) - Decimal(last.local["balance"])
    if abs(off) < BALANCE_STEP or abs(off - before) <= BALANCE_STEP:
        return
    system.alert(
        level="warning",
        text=f"The balance is {money_text(comparison.local_balance)} {account.currency} by our "
        f"books and {money_text(comparison.reported_balance)} by the venue's: the venue booked "
        "something that our books do not know. See /reconciliation.",
        now=now,
    )


def _side(view: AccountView, balance: Decimal) -> dict[str, Any]:
    return {
        "last_transaction_id": view.last_transaction_id,
        "balance": money_text(balance),
        "positions": {name: decimal_text(units) for name, units in view.positions.items() if units},
        "trades": {name: decimal_text(units) for name, units in view.trades.items()},
        "orders": {name: decimal_text(units) for name, units in view.open_orders.items()},
    }


def _differences(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    return [
        {
            "what": one.what,
            "key": one.key,
            "local": None if one.local is None else decimal_text(one.local),
            "reported": None if one.reported is None else decimal_text(one.reported),
        }
        for one in differences
    ]
