"""What the account has earned, out of its fills, open positions and snapshots."""

import itertools
import math
import statistics
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Q, Sum

from sep_engine.model.calendar import trading_day
from webapp.trading.models import BrokerAccount, Feed, Fill, PerformanceSnapshot, Position
from webapp.trading.selectors.market import Market, market_latest
from webapp.trading.selectors.resources import position_resource
from webapp.trading.wire import money_text, time_text

Json = dict[str, Any]

TRADING_DAYS_PER_YEAR = 252
SHARPE_DAYS_MIN = 20
SNAPSHOTS_MAX = 5_000


def open_pl(position: Position, market: Market | None) -> Decimal | None:
    """Return what closing now would earn, at the bid for a long and the ask for a short position.

    A flat position has earned 0 more; None means that no quote is known.
    """
    if position.average_price is None:
        return Decimal(0)
    if market is None:
        return None
    mark = market.bid if position.units > 0 else market.ask
    return (mark - position.average_price) * position.units


def position_read(
    position: Position, *, currency: str, market: Market | None, now: datetime
) -> Json:
    """Return a position valued at the newest quote."""
    mark = None if market is None else (market.bid if position.units > 0 else market.ask)
    return position_resource(
        position,
        currency=currency,
        mark=mark,
        open_pl=open_pl(position, market),
        age_s=None if market is None else market.age_s(now),
    )


def markets_of_positions(account: BrokerAccount) -> dict[str, Market | None]:
    """Return the newest market of every instrument that the account holds or a feed brings.

    The feed's instrument is among them while nothing is held, so that market time goes on.
    """
    held = Position.objects.filter(account=account).exclude(units=0)
    names = held.values_list("instrument__name", flat=True)
    fed = Feed.objects.values_list("instrument__name", flat=True)
    return {name: market_latest(name) for name in {*names, *fed}}


def performance_current(
    account: BrokerAccount, *, markets: dict[str, Market | None], now: datetime
) -> Json:
    """Return the account's figures as of `now`.

    Args:
        account: its opening balance and currency are used.
        markets: newest market by instrument name; a missing quote of an open position makes
            equity, open P&L and drawdown null.
        now: aware UTC.
    """
    totals = Fill.objects.filter(account=account).aggregate(
        realised=Sum("realised_pl"),
        trades=Count("pk", filter=~Q(realised_pl=0)),
        wins=Count("pk", filter=Q(realised_pl__gt=0)),
        market_time=Max("time"),
    )
    realised = totals["realised"] or Decimal(0)
    balance = account.opening_balance + realised
    values = [
        open_pl(position, markets.get(position.instrument.name))
        for position in Position.objects.filter(account=account)
        .exclude(units=0)
        .select_related("instrument")
    ]
    known = [value for value in values if value is not None]
    open_total = sum(known, Decimal(0)) if len(known) == len(values) else None
    equity = None if open_total is None else balance + open_total
    snapshots = PerformanceSnapshot.objects.filter(account=account)
    peaks = snapshots.aggregate(equity=Max("equity"), drawdown=Max("drawdown"))
    drawdown = drawdown_max = None
    if equity is not None:
        peak = max(account.opening_balance, peaks["equity"] or equity, equity)
        drawdown = peak - equity
        drawdown_max = max(drawdown, peaks["drawdown"] or Decimal(0))
    trades, wins = totals["trades"], totals["wins"]
    quote_times = [
        market.data["quote"]["time"] for market in markets.values() if market is not None
    ]
    market_time = totals["market_time"] and time_text(totals["market_time"])
    return {
        "account": account.name,
        "currency": account.currency,
        "balance": money_text(balance),
        "equity": _money(equity),
        "realised_pl": money_text(realised),
        "open_pl": _money(open_total),
        "trades": trades,
        "wins": wins,
        "win_rate": wins / trades if trades else None,
        "drawdown": _money(drawdown),
        "max_drawdown": _money(drawdown_max),
        "sharpe": sharpe(daily_equity(account)),
        "as_of": time_text(now),
        "market_time": max(quote_times, default=market_time),
        "assumed_spread": True,
    }


def daily_equity(account: BrokerAccount) -> list[float]:
    """Return the last equity of each trading day of the present pass of the feed, oldest first."""
    rows = PerformanceSnapshot.objects.filter(account=account).order_by("-pk")
    days: dict[date, float] = {}
    newest: datetime | None = None
    for time, equity in rows.values_list("time", "equity")[:SNAPSHOTS_MAX]:
        if newest is not None and time > newest:
            break  # market time stepped back here: the feed was started again
        newest = time
        days.setdefault(trading_day(time), float(equity))
    return list(reversed(days.values()))


def sharpe(equity: list[float]) -> float | None:
    """Return mean over standard deviation of daily returns times sqrt(252).

    Null below 20 daily returns, or when they do not vary. The risk-free rate is taken as 0.
    """
    returns = [after / before - 1 for before, after in itertools.pairwise(equity)]
    if len(returns) < SHARPE_DAYS_MIN:
        return None
    deviation = statistics.stdev(returns)
    if deviation == 0:
        return None
    return statistics.fmean(returns) / deviation * math.sqrt(TRADING_DAYS_PER_YEAR)


def performance_point(snapshot: PerformanceSnapshot) -> Json:
    """Return one point of the equity line."""
    return {
        "time": time_text(snapshot.time),
        "created_at": time_text(snapshot.created_at),
        "equity": money_text(snapshot.equity),
        "balance": money_text(snapshot.balance),
        "realised_pl": money_text(snapshot.realised_pl),
        "open_pl": money_text(snapshot.open_pl),
        "drawdown": money_text(snapshot.drawdown),
    }


def _money(value: Decimal | None) -> str | None:
    return None if value is None else money_text(value)
