"""Beginning to trade an account that a venue already has: our books start where it stands."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from sep_engine.execution.states import OrderState, OrderType, Origin, TimeInForce
from sep_engine.model import QuoteBar
from sep_engine.model.times import from_ns
from sep_engine.signals import DEFAULT_RULE
from sep_engine.venues.oanda import parse
from sep_engine.venues.oanda.client import Endpoint, MarketDataClient
from webapp.trading.brokers.registry import endpoint_of, exchange_balance
from webapp.trading.models import (
    BrokerAccount,
    Feed,
    Instrument,
    Order,
    Position,
    RiskLimit,
    Strategy,
    Trade,
    TradingState,
)
from webapp.trading.selectors.status import account_default
from webapp.trading.services import events
from webapp.trading.services.live_arming import place_refusal
from webapp.trading.services.orders import order_event
from webapp.trading.tokens import store_token
from webapp.trading.trader import feeds
from webapp.trading.trader.live import HISTORY_BARS, complete_bars
from webapp.trading.trader.setup import OtherBroker, limits_for
from webapp.trading.wire import money_text

# The first part of an account's id says which environment it belongs to.
SITES = {"oanda-practice": "101", "oanda-live": "001"}


class CannotAdd(Exception):
    """The account cannot be added; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class VenueState:
    """What a venue says of an account, and the candles of the instrument to trade."""

    account: parse.VenueAccount
    instruments: Mapping[str, parse.InstrumentTerms]
    bars: tuple[QuoteBar, ...]


def environment_refusal(kind: str, venue_account: str) -> str:
    """Return why an account of the venue cannot be of this kind, "" if it can."""
    site = SITES.get(kind)
    if site is None or venue_account.partition("-")[0] == site:
        return ""
    return f"{venue_account} is no {kind} account: the ids of those begin with {site}-"


async def venue_accounts(endpoint: Endpoint, token: str) -> list[str]:
    """Return the ids of the accounts that the token opens.

    Raises:
        VenueError, DataError: no answer, an error, or an unusable answer.
    """
    client = MarketDataClient(endpoint, token=token, account_id="-")
    try:
        return await client.accounts()
    finally:
        await client.close()


async def venue_read(
    endpoint: Endpoint,
    token: str,
    *,
    venue_account: str,
    instruments: Sequence[str],
    granularity: str,
) -> VenueState:
    """Return what the venue says of an account.

    instruments: those to trade; the candles are of the first.

    Raises:
        VenueError, DataError: no answer, an error, or an unusable answer.
        CannotAdd: the account does not offer an instrument, belongs to MT4, or wants every stop
            guaranteed.
    """
    client = MarketDataClient(endpoint, token=token, account_id=venue_account)
    try:
        account = await client.account()
        if account.raw.get("mt4AccountID"):
            raise CannotAdd(
                f"account {venue_account} belongs to MT4, where orders may carry no client id: "
                "use another account"
            )
        if account.raw.get("guaranteedStopLossOrderMode") == "REQUIRED":
            raise CannotAdd(
                f"account {venue_account} takes guaranteed stops alone, which SEP does not place: "
                "use another account, or ask the venue to change this one's "
                "guaranteedStopLossOrderMode"
            )
        terms = {one.name: one for one in await client.instruments()}
        for name in instruments:
            if name not in terms:
                raise CannotAdd(f"account {venue_account} does not offer {name}")
        bars = await complete_bars(
            client, instrument=instruments[0], granularity=granularity, since=None
        )
    finally:
        await client.close()
    return VenueState(account, terms, tuple(bars[-HISTORY_BARS:]))


@transaction.atomic
def account_add(
    *,
    name: str,
    kind: str,
    token: str,
    state: VenueState,
    instruments: Sequence[str],
    granularity: str,
    now: datetime,
    stored_by: str = "broker add",
) -> BrokerAccount:
    """Make the account with its token, limits, strategy (off) and feed, and adopt what it holds.

    instruments: those to order in; the first is shown and traded by the strategy.

    Raises:
        OtherBroker: this database holds another account; one database has one venue.
        CannotAdd: it is of another environment, may not be traded here, or what it holds cannot be
            taken over.
    """
    _check_empty()
    instrument = instruments[0]
    venue = state.account
    if (refused := environment_refusal(kind, venue.id)) or (
        refused := place_refusal(BrokerAccount(name=name, kind=kind, venue_account=venue.id))
    ):
        raise CannotAdd(refused)
    account = BrokerAccount.objects.create(
        name=name,
        kind=kind,
        venue_account=venue.id,
        currency=venue.currency,
        opening_balance=venue.balance,
        last_transaction_id=venue.last_transaction_id,
        hedging=venue.hedging,
    )
    store_token(account, token, stored_by=stored_by)
    wanted = {
        *instruments,
        *(trade.instrument for trade in venue.trades),
        *(order.instrument for order in venue.orders if order.instrument),
    }
    rows = {one: _instrument(state.instruments, one) for one in sorted(wanted)}
    strategy = Strategy.objects.create(
        name="Last-bit reversal",
        account=account,
        instrument=rows[instrument],
        granularity=granularity,
        rule=DEFAULT_RULE.to_json(),
        enabled=False,
    )
    for scope in (
        {"scope": "GLOBAL"},
        {"scope": "ACCOUNT", "account": account},
        {"scope": "STRATEGY", "strategy": strategy},
    ):
        TradingState.objects.get_or_create(**scope, defaults={"changed_at": now})
    _add_limits(account)
    _adopt(account, venue, rows, now)
    feed = Feed.objects.create(
        instrument=rows[instrument],
        venue="oanda",
        source="oanda",
        granularity=granularity,
        history_bars=0,
        cursor=0,
        total_bars=0,
        run_started_at=now,
    )
    feeds.store_live_history(feed, state.bars, now=now)
    _tell(account, now)
    return account


@transaction.atomic
def exchange_add(
    *,
    name: str,
    exchange: str,
    token: str,
    currency: str,
    balance: Decimal,
    now: datetime,
    stored_by: str = "broker add",
) -> BrokerAccount:
    """Make the account of a spot exchange's sandbox with its token and limits.

    Args:
        exchange: as ccxt writes it.
        balance: what the sandbox holds of `currency`.

    Raises:
        OtherBroker: this database holds another account; one database has one venue.
    """
    _check_empty()
    account = BrokerAccount.objects.create(
        name=name,
        kind="ccxt-sandbox",
        venue_account=exchange,
        currency=currency,
        opening_balance=balance,
    )
    store_token(account, token, stored_by=stored_by)
    for scope in ({"scope": "GLOBAL"}, {"scope": "ACCOUNT", "account": account}):
        TradingState.objects.get_or_create(**scope, defaults={"changed_at": now})
    _add_limits(account)
    _tell(account, now)
    return account


def token_replace(account: BrokerAccount, token: str, *, now: datetime) -> None:
    """Keep another token of an account, if its venue opens the account with it.

    Raises:
        VenueError, DataError, BrokerError: the venue refuses the token, or does not answer.
        CannotAdd: the token opens other accounts.
        ValueError: this cannot be a token.
    """
    if account.kind == "ccxt-sandbox":
        exchange_balance(account.venue_account, token, account.currency)
    else:
        known = asyncio.run(venue_accounts(endpoint_of(account), token))
        if account.venue_account not in known:
            opened = ", ".join(known) or "none"
            raise CannotAdd(f"it does not open {account.venue_account}, only {opened}")
    with transaction.atomic():
        store_token(account, token, stored_by="broker token")
        events.record(
            stream="audit", type="token_replaced", data={"account": account.name}, now=now
        )


def _check_empty() -> None:
    present = account_default()
    if present is not None:
        raise OtherBroker(
            f"this database holds the account {present.name} ({present.kind}): choose another "
            "folder with SEP_VAR_PATH, or another database"
        )


def _add_limits(account: BrokerAccount) -> None:
    for limit, amount in limits_for(account.opening_balance).items():
        RiskLimit.objects.create(account=account, name=limit, value=amount)


def _tell(account: BrokerAccount, now: datetime) -> None:
    events.record(
        stream="audit",
        type="account_added",
        data={
            "account": account.name,
            "kind": account.kind,
            "venue_account": account.venue_account,
            "balance": money_text(account.opening_balance),
            "transaction": account.last_transaction_id,
        },
        now=now,
    )


def _instrument(terms: Mapping[str, parse.InstrumentTerms], name: str) -> Instrument:
    if name not in terms:
        raise CannotAdd(f"the account holds {name}, which the venue does not describe")
    value = terms[name].instrument()
    row, _ = Instrument.objects.get_or_create(
        name=value.name,
        defaults={
            "display_name": value.name.replace("_", "/"),
            "base": value.base,
            "quote": value.quote,
            "tick": value.tick,
            "pip": value.pip,
            "units_step": value.units_step,
            "price_decimals": value.price_decimals,
            "calendar": value.calendar,
        },
    )
    return row


def _adopt(
    account: BrokerAccount,
    venue: parse.VenueAccount,
    instruments: Mapping[str, Instrument],
    now: datetime,
) -> None:
    """Take over open trades, the positions that they add up to, and working orders."""
    held: dict[tuple[str, str], list[parse.VenueTrade]] = {}
    by_id = {trade.id: trade for trade in venue.trades}
    for trade in venue.trades:
        side: str = Position.Side.NET
        if account.hedging:
            side = Position.Side.LONG if trade.units > 0 else Position.Side.SHORT
        held.setdefault((trade.instrument, side), []).append(trade)
        Trade.objects.create(
            account=account,
            instrument=instruments[trade.instrument],
            venue_trade_id=str(trade.id),
            opened_units=trade.units,
            units=trade.units,
            price=trade.price,
            opened_at=now,
        )
    for (name, side), trades in held.items():
        if {trade.units > 0 for trade in trades} == {True, False}:
            raise CannotAdd(f"{name} is held long and short at once; close one side first")
        units = sum((trade.units for trade in trades), Decimal(0))
        cost = sum((trade.units * trade.price for trade in trades), Decimal(0))
        Position.objects.create(
            account=account,
            instrument=instruments[name],
            side=side,
            units=units,
            average_price=(cost / units).quantize(Decimal("1e-8")),
            opened_at=now,
        )
    for order in venue.orders:
        _adopt_order(account, order, by_id, instruments, now)


def _adopt_order(
    account: BrokerAccount,
    order: parse.VenueOrder,
    trades: Mapping[int, parse.VenueTrade],
    instruments: Mapping[str, Instrument],
    now: datetime,
) -> None:
    trade = trades.get(order.trade_id) if order.trade_id is not None else None
    units = -trade.units if trade else order.units
    known = order.type in set(OrderType) and order.type != OrderType.MARKET
    if not known or not units:
        raise CannotAdd(f"order {order.id} is {order.type or 'of no type'}: cancel it first")
    trailing = order.type == OrderType.TRAILING_STOP_LOSS
    force, ends = parse.text(order.raw, "timeInForce"), None
    if force == TimeInForce.GTD and "gtdTime" in order.raw:
        ends = from_ns(parse.time_ns(order.raw, "gtdTime"))
    elif force == TimeInForce.GTD or force not in set(TimeInForce):
        force = TimeInForce.GTC.value
    row = Order(
        client_id=f"venue-{account.pk}-{order.id}",
        account=account,
        instrument=instruments[trade.instrument if trade else order.instrument],
        origin=Origin.EXTERNAL.value,
        type=order.type,
        units=units,
        price=None if trailing else order.price,
        trailing_distance=parse.optional_decimal(order.raw, "distance") if trailing else None,
        trade_id="" if trade is None else str(trade.id),
        reduce_only=trade is not None,
        time_in_force=force,
        good_until=ends,
        state=OrderState.ACCEPTED.value,
        cause="worked at the venue when the account was added",
        venue_order_id=str(order.id),
        market_time=now,
    )
    row.save(force_insert=True)
    order_event(row, now=now)
