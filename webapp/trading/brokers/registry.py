"""Which brokers there are, by the kind that an account names."""

from collections.abc import Callable

from django.conf import settings

from webapp.trading.brokers.base import Broker, BrokerError
from webapp.trading.brokers.paper import PaperBroker
from webapp.trading.models import BrokerAccount


def _paper(account: BrokerAccount) -> Broker:
    name = "paper_broker" if account.pk == 1 else f"paper_broker_{account.pk}"
    return PaperBroker(
        path=settings.SEP_VAR_PATH / f"{name}.sqlite3",
        currency=account.currency,
        opening_balance=account.opening_balance,
    )


BROKERS: dict[str, Callable[[BrokerAccount], Broker]] = {"paper": _paper}


def broker_for(account: BrokerAccount) -> Broker:
    """Return the broker that `account` trades at, or refuse a kind that is not known."""
    make = BROKERS.get(account.kind)
    if make is None:
        raise BrokerError(
            f"account {account.name} is of kind {account.kind}, known are {sorted(BROKERS)}"
        )
    return make(account)
