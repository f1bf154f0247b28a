"""Making everything that a first run needs out of a sample; running it again changes nothing."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from sep_engine.data import load_sample
from sep_engine.signals import DEFAULT_RULE
from webapp.trading.models import (
    BrokerAccount,
    Feed,
    Instrument,
    RiskLimit,
    Strategy,
    TradingState,
)
from webapp.trading.selectors.status import account_default
from webapp.trading.trader import feeds

ACCOUNT_NAMES = {"paper": "Paper", "oanda-local": "Local OANDA"}
# What the local OANDA server opens its account with, too.
OPENING_BALANCE = Decimal(100_000)

# For the account of the sample; see `limits_for` for another.
DEFAULT_LIMITS = {
    "quote_age_s_max": Decimal(15),
    "spread_pips_max": Decimal(5),
    "order_units_max": Decimal(10_000),
    "order_notional_max": Decimal(20_000),
    "position_units_max": Decimal(20_000),
    "open_positions_max": Decimal(1),
    "open_orders_max": Decimal(5),
    # A replay at 100 bars a second may want several orders a second.
    "orders_per_minute_max": Decimal(600),
    "price_collar_pips_max": Decimal(50),
    "daily_loss_max": Decimal(500),
    "default_stop_pips": Decimal(30),
    "order_equity_percent_max": Decimal(25),
    "stop_risk_percent_max": Decimal(1),
    "leverage_max": Decimal(2),
    "currency_exposure_max": Decimal(50_000),
    "orders_per_second_max": Decimal(50),
    # A replay lives through many market days in one of ours.
    "orders_per_day_max": Decimal(100_000),
    "repeat_pause_s": Decimal(1),
    "drawdown_percent_max": Decimal(10),
    # Pauses and windows of 0 are off, so that the replay decides as the backtester does.
    "rollover_pause_min": Decimal(0),
    "loss_pause_min": Decimal(0),
    "stops_max": Decimal(4),
    "stops_window_min": Decimal(0),
    "window_loss_max": Decimal(300),
    "loss_window_min": Decimal(0),
}


# Those in account currency.
_MONEY = ("order_notional_max", "daily_loss_max", "currency_exposure_max", "window_loss_max")


def limits_for(balance: Decimal) -> dict[str, Decimal]:
    """Return the first limits of an account that begins with `balance`, in its currency.

    Those of money are the same shares of it as of the sample's, so that they mean as much to an
    account of 2,000 as to one of 10,000,000 JPY.
    """
    share = max(balance, Decimal(0)) / OPENING_BALANCE
    scaled = {name: (DEFAULT_LIMITS[name] * share).quantize(Decimal("0.01")) for name in _MONEY}
    return DEFAULT_LIMITS | scaled


class OtherBroker(Exception):
    """These data belong to an account at another broker."""


@transaction.atomic
def sample_load(*, name: str, now: datetime, broker: str = "paper") -> Feed:
    """Make instrument, account, strategy, limits, states and feed of a sample, with its history.

    Raises:
        OtherBroker: the account that is there trades elsewhere; one database has one venue.
    """
    present = account_default()
    if present is not None and present.kind != broker:
        raise OtherBroker(
            f"the account here is of kind {present.kind}, not {broker}: start with "
            f"BROKER={present.kind}, or choose another folder with SEP_VAR_PATH"
        )
    # Made in one transaction; a live feed was made by `manage.py broker add`.
    there = Feed.objects.filter(source=name).first() or Feed.objects.exclude(venue="replay").first()
    if there is not None:
        return there
    sample = load_sample(name)
    value = sample.instrument
    instrument, _ = Instrument.objects.get_or_create(
        name=value.name,
        defaults={
            "display_name": sample.metadata["display_name"],
            "base": value.base,
            "quote": value.quote,
            "tick": value.tick,
            "pip": value.pip,
            "units_step": value.units_step,
            "price_decimals": value.price_decimals,
            "calendar": value.calendar,
        },
    )
    account, _ = BrokerAccount.objects.get_or_create(
        name=ACCOUNT_NAMES[broker],
        defaults={
            "kind": broker,
            "currency": value.quote,
            "opening_balance": OPENING_BALANCE,
        },
    )
    strategy, _ = Strategy.objects.get_or_create(
        name="Last-bit reversal",
        defaults={
            "account": account,
            "instrument": instrument,
            "granularity": sample.metadata["granularity"],
            "rule": DEFAULT_RULE.to_json(),
        },
    )
    for scope in (
        {"scope": "GLOBAL"},
        {"scope": "ACCOUNT", "account": account},
        {"scope": "STRATEGY", "strategy": strategy},
    ):
        TradingState.objects.get_or_create(**scope, defaults={"changed_at": now})
    for limit, amount in DEFAULT_LIMITS.items():
        if not RiskLimit.objects.filter(account=account, name=limit).exists():
            RiskLimit.objects.create(account=account, name=limit, value=amount)
    feed = Feed.objects.create(
        instrument=instrument,
        granularity=sample.metadata["granularity"],
        source=name,
        history_bars=sample.history_bars,
        cursor=sample.history_bars,
        total_bars=len(sample.bars),
        assumed_spread_pips=Decimal(sample.metadata["assumed_spread_pips"]),
        run_started_at=now,
    )
    feeds.store_history(feed, sample.quote_bars(), sample.metadata["price_side"])
    return feed
