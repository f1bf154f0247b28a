"""What an account has made and holds, by our books."""

from decimal import Decimal

from django.db.models import QuerySet

from webapp.trading.fields import AmountSum
from webapp.trading.models import BrokerAccount, Charge, Fill

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
