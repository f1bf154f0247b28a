"""Which brokers there are, by the kind that an account names."""

from collections.abc import Callable

from django.conf import settings

from sep_engine.errors import ArgumentError
from sep_engine.venues.oanda.client import local
from webapp.trading.brokers import paper
from webapp.trading.brokers.base import Broker, BrokerError, Terms
from webapp.trading.brokers.oanda import adapter as oanda
from webapp.trading.brokers.oanda.adapter import LocalOandaBroker
from webapp.trading.brokers.paper import PaperBroker
from webapp.trading.models import BrokerAccount

# The account that the local server opens unless it is told otherwise.
LOCAL_VENUE_ACCOUNT = "101-004-1435156-001"


def _paper(account: BrokerAccount) -> Broker:
    name = "paper_broker" if account.pk == 1 else f"paper_broker_{account.pk}"
    return PaperBroker(
        path=settings.SEP_VAR_PATH / f"{name}.sqlite3",
        currency=account.currency,
        opening_balance=account.opening_balance,
    )


def _oanda_local(account: BrokerAccount) -> Broker:
    if not settings.SEP_OANDA_URL:
        raise BrokerError(
            f"account {account.name} trades at a local OANDA server: set SEP_OANDA_URL to its "
            "address, or use make run BROKER=oanda-local"
        )
    try:
        endpoint = local(settings.SEP_OANDA_URL)
    except ArgumentError as error:
        raise BrokerError(f"SEP_OANDA_URL cannot be used: {error}") from error
    return LocalOandaBroker(
        endpoint=endpoint,
        token=settings.SEP_OANDA_TOKEN,
        venue_account=LOCAL_VENUE_ACCOUNT,
        account_key=account.pk,
    )


BROKERS: dict[str, Callable[[BrokerAccount], Broker]] = {
    "paper": _paper,
    "oanda-local": _oanda_local,
}

TERMS: dict[str, Terms] = {"paper": paper.TERMS, "oanda-local": oanda.TERMS}
VENUES = {"paper": "the paper broker", "oanda-local": "the local OANDA server"}


def terms_of(account: BrokerAccount) -> Terms:
    """Return what the account's venue takes; of a kind that is not known, nothing."""
    nothing: Terms = Terms(
        types=frozenset(),
        times=frozenset(),
        fills=frozenset(),
        on_fill=frozenset(),
        trades=False,
        replaces=False,
    )
    return TERMS.get(account.kind, nothing)


def broker_for(account: BrokerAccount) -> Broker:
    """Return the broker that `account` trades at, or refuse a kind that is not known."""
    make = BROKERS.get(account.kind)
    if make is None:
        raise BrokerError(
            f"account {account.name} is of kind {account.kind}, known are {sorted(BROKERS)}"
        )
    return make(account)
