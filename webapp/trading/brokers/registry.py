"""Which brokers there are, by the kind that an account names."""

from collections.abc import Callable
from decimal import Decimal

from django.conf import settings

from sep_engine.errors import ArgumentError
from sep_engine.venues.oanda.client import LIVE, PRACTICE, Endpoint, MarketDataClient, local
from webapp.trading.brokers import paper
from webapp.trading.brokers.base import Broker, BrokerError, Terms
from webapp.trading.brokers.ccxt import parse as ccxt
from webapp.trading.brokers.oanda import adapter as oanda
from webapp.trading.brokers.oanda.adapter import LocalOandaBroker, OandaBroker
from webapp.trading.brokers.paper import PaperBroker
from webapp.trading.models import BrokerAccount
from webapp.trading.tokens import NoToken, read_token

# The account that the local server opens unless it is told otherwise.
LOCAL_VENUE_ACCOUNT = "101-004-1435156-001"


def _paper(account: BrokerAccount) -> Broker:
    name = "paper_broker" if account.pk == 1 else f"paper_broker_{account.pk}"
    return PaperBroker(
        path=settings.SEP_VAR_PATH / f"{name}.sqlite3",
        currency=account.currency,
        opening_balance=account.opening_balance,
    )


def _local_endpoint(account: BrokerAccount) -> Endpoint:
    if not settings.SEP_OANDA_URL:
        raise BrokerError(
            f"account {account.name} trades at a local OANDA server: set SEP_OANDA_URL to its "
            "address, or use make run BROKER=oanda-local"
        )
    try:
        return local(settings.SEP_OANDA_URL)
    except ArgumentError as error:
        raise BrokerError(f"SEP_OANDA_URL cannot be used: {error}") from error


def endpoint_of(account: BrokerAccount) -> Endpoint:
    """Return where an OANDA account's venue is. There is no other address.

    Raises:
        BrokerError: it is a local server, and SEP_OANDA_URL does not say where.
    """
    return _local_endpoint(account) if account.kind == "oanda-local" else ENDPOINTS[account.kind]


def _reached(account: BrokerAccount) -> tuple[Endpoint, str]:
    """Where the account's venue is, and the token for it."""
    try:
        return endpoint_of(account), read_token(account)
    except NoToken as error:
        raise BrokerError(str(error)) from error


def _oanda_local(account: BrokerAccount) -> Broker:
    if account.venue_account:
        return _oanda(account)  # the server has prices of its own
    return LocalOandaBroker(
        endpoint=_local_endpoint(account),
        token=settings.SEP_OANDA_TOKEN,
        venue_account=LOCAL_VENUE_ACCOUNT,
        account_key=account.pk,
    )


def _oanda(account: BrokerAccount) -> Broker:
    endpoint, token = _reached(account)
    return OandaBroker(
        endpoint=endpoint,
        token=token,
        venue_account=account.venue_account,
        account_key=account.pk,
    )


def _ccxt(account: BrokerAccount) -> Broker:
    try:
        from webapp.trading.brokers.ccxt.adapter import CcxtBroker, open_sandbox
    except ModuleNotFoundError as error:
        raise BrokerError(
            f"account {account.name} needs ccxt: pip install 'sep-engine[ccxt]'"
        ) from error
    try:
        token = read_token(account)
    except NoToken as error:
        raise BrokerError(str(error)) from error
    return CcxtBroker(
        exchange=open_sandbox(account.venue_account, token),
        path=settings.SEP_VAR_PATH / f"ccxt_broker_{account.pk}.sqlite3",
        currency=account.currency,
        opening_balance=account.opening_balance,
        account_key=account.pk,
    )


def exchange_balance(exchange: str, token: str, currency: str) -> Decimal:
    """Return what a spot exchange's sandbox holds of a currency.

    Raises:
        BrokerError: ccxt is not there, the exchange cannot be used, or does not answer.
    """
    try:
        from webapp.trading.brokers.ccxt.adapter import balance_of, open_sandbox
    except ModuleNotFoundError as error:
        raise BrokerError("this needs ccxt: pip install 'sep-engine[ccxt]'") from error
    return balance_of(open_sandbox(exchange, token), currency)


def market_client(account: BrokerAccount) -> MarketDataClient:
    """Return a client for the prices of the account's venue.

    Raises:
        BrokerError: the venue has none of its own, or no token is stored.
    """
    if account.kind not in ("oanda-local", *ENDPOINTS):
        raise BrokerError(f"an account of kind {account.kind} has no prices of its own")
    endpoint, token = _reached(account)
    return MarketDataClient(endpoint, token=token, account_id=account.venue_account)


# Where an account of a kind is reached; no setting, row or argument names another host.
ENDPOINTS = {"oanda-practice": PRACTICE, "oanda-live": LIVE}

BROKERS: dict[str, Callable[[BrokerAccount], Broker]] = {
    "paper": _paper,
    "oanda-local": _oanda_local,
    "oanda-practice": _oanda,
    "oanda-live": _oanda,
    "ccxt-sandbox": _ccxt,
}

TERMS: dict[str, Terms] = {
    "paper": paper.TERMS,
    "oanda-local": oanda.TERMS,
    "oanda-practice": oanda.TERMS,
    "oanda-live": oanda.TERMS,
    "ccxt-sandbox": ccxt.TERMS,
}
VENUES = {
    "paper": "the paper broker",
    "oanda-local": "the local OANDA server",
    "oanda-practice": "OANDA",
    "oanda-live": "OANDA",
    "ccxt-sandbox": "a spot exchange",
}


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
