"""Beginning to trade an account that a venue already has: our books start where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from sep_engine.execution.states import OrderState, OrderType, Origin
from sep_engine.model import QuoteBar
from sep_engine.signals import DEFAULT_RULE
from sep_engine.venues.oanda import parse
from sep_engine.venues.oanda.client import Endpoint, MarketDataClient
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
from webapp.trading.services.orders import order_event
from webapp.trading.tokens import store_token
from webapp.trading.trader import feeds
from webapp.trading.trader.live import HISTORY_BARS, complete_bars
from webapp.trading.trader.setup import DEFAULT_LIMITS, OtherBroker
from webapp.trading.wire import money_text


class CannotAdd(Exception):
    """The account cannot be added; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class VenueState:
    """What a venue says of an account, and the candles of the instrument to trade."""

    account: parse.VenueAccount
    instruments: Mapping[str, parse.InstrumentTerms]
    bars: tuple[QuoteBar, ...]


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
    endpoint: Endpoint, token: str, *, venue_account: str, instrument: str, granularity: str
) -> VenueState:
    """Return what the venue says of an account.

    Raises:
        VenueError, DataError: no answer, an error, or an unusable answer.
        CannotAdd: the account does not offer the instrument, or belongs to MT4.
    """
    client = MarketDataClient(endpoint, token=token, account_id=venue_account)
    try:
        account = await client.account()
        if account.raw.get("mt4AccountID"):
            raise CannotAdd(
                f"account {venue_account} belongs to MT4, where orders may carry no client id: "
                "use another account"
            )
        terms = {one.name: one for one in await client.instruments()}
        if instrument not in terms:
            raise CannotAdd(f"account {venue_account} does not offer {instrument}")
        bars = await complete_bars(
            client, instrument=instrument, granularity=granularity, since=None
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
    instrument: str,
    granularity: str,
    now: datetime,
) -> BrokerAccount:
    """Make the account with its token, limits, strategy (off) and feed, and adopt what it holds.

    Raises:
        OtherBroker: this database holds another account; one database has one venue.
        CannotAdd: what the account holds cannot be taken over.
    """
    present = account_default()
    if present is not None:
        raise OtherBroker(
            f"this database holds the account {present.name} ({present.kind}): choose another "
            "folder with SEP_VAR_PATH, or another database"
        )
    venue = state.account
    account = BrokerAccount.objects.create(
        name=name,
        kind=kind,
        venue_account=venue.id,
        currency=venue.currency,
        opening_balance=venue.balance,
        last_transaction_id=venue.last_transaction_id,
    )
    store_token(account, token, stored_by="broker add")
    wanted = {
        instrument,
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
    for limit, amount in DEFAULT_LIMITS.items():
        RiskLimit.objects.create(account=account, name=limit, value=amount)
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
    events.record(
        stream="audit",
        type="account_added",
        data={
            "account": account.name,
            "kind": kind,
            "venue_account": venue.id,
            "balance": money_text(venue.balance),
            "transaction": venue.last_transaction_id,
        },
        now=now,
    )
    return account


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
    held: dict[str, list[parse.VenueTrade]] = {}
    by_id = {trade.id: trade for trade in venue.trades}
    for trade in venue.trades:
        held.setdefault(trade.instrument, []).append(trade)
        Trade.objects.create(
            account=account,
            instrument=instruments[trade.instrument],
            venue_trade_id=str(trade.id),
            opened_units=trade.units,
            units=trade.units,
            price=trade.price,
            opened_at=now,
        )
    for name, trades in held.items():
        if {trade.units > 0 for trade in trades} == {True, False}:
            raise CannotAdd(f"{name} is held long and short at once; close one side first")
        units = sum((trade.units for trade in trades), Decimal(0))
        cost = sum((trade.units * trade.price for trade in trades), Decimal(0))
        Position.objects.create(
            account=account,
            instrument=instruments[name],
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
        time_in_force="GTC",
        state=OrderState.ACCEPTED.value,
        cause="worked at the venue when the account was added",
        venue_order_id=str(order.id),
        market_time=now,
    )
    row.save(force_insert=True)
    order_event(row, now=now)
