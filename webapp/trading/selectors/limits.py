"""The limits of an account as the risk gate takes them."""

from decimal import Decimal

from webapp.trading.models import BrokerAccount, RiskLimit
from webapp.trading.statements import Asked


def limits_of(account: BrokerAccount) -> dict[str, Decimal]:
    """Return the active limits of the account by name."""
    return dict(_limits(account.pk))


_limits = Asked(
    lambda account: (
        RiskLimit.objects.filter(account=account, active=True)
        .order_by()
        .values_list("name", "value")
    )
)
