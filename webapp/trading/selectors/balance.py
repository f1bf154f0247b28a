"""What an account has made and holds, by our books."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from sep_engine.model.calendar import trading_day
from webapp.trading.fields import AmountSum
from webapp.trading.models import BrokerAccount, Charge, Feed, Fill

TRANSFER = "TRANSFER_FUNDS"
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
    """Return what the fills of `market_time`'s trading day made, in this pass of a replay."""
    day = trading_day(market_time)
    # No trading day is longer than 25 hours.
    recent = Fill.objects.filter(account=account, time__gt=market_time - timedelta(hours=25))
    feed = Feed.objects.exclude(run_started_at__isnull=True).order_by("-run_started_at").first()
    if feed is not None:
        # A replay that began again lives through the same market days once more.
        recent = recent.filter(created_at__gte=feed.run_started_at)
    times = recent.values_list("pk", "time")
    return fills_realised(
        Fill.objects.filter(pk__in=[pk for pk, time in times if trading_day(time) == day])
    )


def account_realised(account: BrokerAccount) -> Decimal:
    """Return what all fills and charges of the account made; transfers are no profit."""
    charges = Charge.objects.filter(account=account).exclude(kind=TRANSFER)
    return fills_realised(Fill.objects.filter(account=account)) + _sum(charges)


def account_balance(account: BrokerAccount) -> Decimal:
    """Return the balance by our books."""
    transfers = Charge.objects.filter(account=account, kind=TRANSFER)
    return account.opening_balance + account_realised(account) + _sum(transfers)


def _sum(charges: QuerySet[Charge]) -> Decimal:
    total: Decimal | None = charges.aggregate(total=AmountSum("amount"))["total"]
    return total or _NOTHING
