"""What an account has made and holds, by our books."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from django.db.models import F, Max, QuerySet

from sep_engine.model.calendar import trading_day
from webapp.trading.fields import AmountSum
from webapp.trading.models import BrokerAccount, Charge, Feed, Fill, PerformanceSnapshot

Rows = TypeVar("Rows", QuerySet[Fill], QuerySet[Charge])

TRANSFER = "TRANSFER_FUNDS"
# Of a snapshot.
MADE = F("realised_pl") + F("open_pl")
_NOTHING = Decimal(0)


def fills_realised(fills: QuerySet[Fill]) -> Decimal:
    """Return what fills made in account currency: profit and financing, less fees.

    The venue's `pl` of a fill is without its financing and commission.
    """
    sums = fills.aggregate(
        pl=AmountSum("realised_pl"), financing=AmountSum("financing"), fees=AmountSum("commission")
    )
    profit, financing, fees = (sums[name] or _NOTHING for name in ("pl", "financing", "fees"))
    return profit + financing - fees


def day_realised(account: BrokerAccount, market_time: datetime) -> Decimal:
    """Return what the trading day of `market_time` made, in this pass of a replay."""
    day = trading_day(market_time)
    # No trading day is longer than 25 hours.
    since = market_time - timedelta(hours=25)
    fills = this_pass(Fill.objects.filter(account=account, time__gt=since))
    charges = this_pass(charges_of(account).filter(time__gt=since))
    return fills_realised(fills.filter(pk__in=_of_day(fills, day))) + charged(
        charges.filter(pk__in=_of_day(charges, day))
    )


def _of_day(rows: QuerySet[Fill] | QuerySet[Charge], day: date) -> list[int]:
    return [pk for pk, time in rows.values_list("pk", "time") if trading_day(time) == day]


def this_pass(rows: Rows) -> Rows:
    """Return those of the present pass: a replay that began again lives through the same market
    days once more.
    """
    feed = Feed.objects.exclude(run_started_at__isnull=True).order_by("-run_started_at").first()
    return rows if feed is None else rows.filter(created_at__gte=feed.run_started_at)


def charges_of(account: BrokerAccount) -> QuerySet[Charge]:
    """Return what the venue booked without a fill and not for money that came or went."""
    return Charge.objects.filter(account=account).exclude(kind=TRANSFER)


def account_realised(account: BrokerAccount) -> Decimal:
    """Return what all fills and charges of the account made; transfers are no profit."""
    return fills_realised(Fill.objects.filter(account=account)) + charged(charges_of(account))


def account_balance(account: BrokerAccount) -> Decimal:
    """Return the balance by our books."""
    return paid_in(account) + account_realised(account)


def paid_in(account: BrokerAccount) -> Decimal:
    """Return what the account was opened with and what was transferred since; nobody earned it."""
    transfers = Charge.objects.filter(account=account, kind=TRANSFER)
    return account.opening_balance + charged(transfers)


def most_made(account: BrokerAccount) -> Decimal:
    """Return the most that the account had ever made, realised and open, when it was recorded.

    With what was paid in it is the highest equity, as if all transfers had been made before.
    """
    snapshots = PerformanceSnapshot.objects.filter(account=account)
    most: Decimal | None = snapshots.aggregate(most=Max(MADE))["most"]
    return max(most or _NOTHING, _NOTHING)


def charged(charges: QuerySet[Charge]) -> Decimal:
    """Return what charges come to; - was taken."""
    total: Decimal | None = charges.aggregate(total=AmountSum("amount"))["total"]
    return total or _NOTHING
