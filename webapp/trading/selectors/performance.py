"""What the account has earned, out of its fills, open positions and snapshots."""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sep_engine.model.calendar import trading_day, trading_days
from webapp.trading.granularity import nanoseconds
from webapp.trading.models import BrokerAccount, Feed, PerformanceSnapshot, Position
from webapp.trading.selectors.balance import (
    account_totals,
    day_realised,
    deepest_drawdown,
    most_made,
)
from webapp.trading.selectors.holdings import BidAsk, Lot, lots_held, open_profit
from webapp.trading.selectors.market import MarketUpdate, market_latest
from webapp.trading.selectors.resources import position_resource
from webapp.trading.wire import money_text, time_text

Json = dict[str, Any]

TRADING_DAYS_PER_YEAR = 252
SHARPE_DAYS_MIN = 20
SNAPSHOTS_MAX = 5_000


def quotes_of(markets: Mapping[str, MarketUpdate | None]) -> dict[str, BidAsk]:
    """Return bid and ask of every market that is known."""
    return {
        name: (market.bid, market.ask) for name, market in markets.items() if market is not None
    }


def position_read(
    position: Position,
    *,
    currency: str,
    lots: Iterable[Lot],
    markets: Mapping[str, MarketUpdate | None],
    now: datetime,
) -> Json:
    """Return a position valued at the newest quotes.

    lots: of the whole account.
    """
    name = position.instrument.name
    own = [lot for lot in lots if (lot.instrument, lot.side) == (name, position.side)]
    market = markets.get(name)
    mark = None if market is None else (market.bid if position.units > 0 else market.ask)
    return position_resource(
        position,
        currency=currency,
        mark=mark,
        open_pl=open_profit(own, quotes_of(markets), currency),
        age_s=None if market is None else market.age_s(now),
    )


def markets_of_positions(account: BrokerAccount) -> dict[str, MarketUpdate | None]:
    """Return the newest market of every instrument that the account holds or a feed brings.

    The feed's instrument is among them while nothing is held, so that market time goes on.
    """
    held = Position.objects.filter(account=account).exclude(units=0)
    names = held.values_list("instrument__name", flat=True)
    fed = Feed.objects.values_list("instrument__name", flat=True)
    markets = {name: market_latest(name) for name in {*names, *fed}}
    for market in [one for one in markets.values() if one is not None]:
        for name, quote in market.data.get("other_quotes", {}).items():
            if markets.get(name) is None:
                markets[name] = MarketUpdate({"quote": quote}, market.published_at)
    return markets


def performance_current(
    account: BrokerAccount, *, markets: dict[str, MarketUpdate | None], now: datetime
) -> Json:
    """Return the account's figures as of `now`.

    Args:
        account: its opening balance and currency are used.
        markets: newest market by instrument name; a missing quote of an open position makes
            equity, open P&L and drawdown null.
        now: aware UTC.
    """
    totals = account_totals(account)
    funds = account.opening_balance + totals.transferred
    balance = funds + totals.realised
    open_total = open_profit(lots_held(account), quotes_of(markets), account.currency)
    equity = None if open_total is None else balance + open_total
    drawdown = drawdown_max = None
    if equity is not None:
        drawdown = max(funds + most_made(account), equity) - equity
        drawdown_max = max(drawdown, deepest_drawdown(account))
    quote_times = [
        market.data["quote"]["time"] for market in markets.values() if market is not None
    ]
    market_time = None if totals.newest_fill is None else time_text(totals.newest_fill)
    newest = max(quote_times, default=market_time)
    day = None
    if newest is not None and open_total is not None:
        day = day_realised(account, datetime.fromisoformat(newest)) + open_total
    return {
        "account": account.name,
        "currency": account.currency,
        "balance": money_text(balance),
        "equity": _money(equity),
        "realised_pl": money_text(totals.realised),
        "open_pl": _money(open_total),
        "day_pl": _money(day),
        "trades": totals.trades,
        "wins": totals.wins,
        "win_rate": totals.wins / totals.trades if totals.trades else None,
        "drawdown": _money(drawdown),
        "max_drawdown": _money(drawdown_max),
        "sharpe": sharpe_of(account),
        "as_of": time_text(now),
        "market_time": newest,
        # An account of a venue is priced by the venue's own quotes, every other one by a replay.
        "assumed_spread": not account.venue_account,
    }


def sharpe_of(account: BrokerAccount) -> float | None:
    """Return the Sharpe ratio over the complete trading days of the present pass of the feed."""
    times = PerformanceSnapshot.objects.filter(account=account).order_by("-pk")
    newest = times.values_list("time", flat=True).first()
    if newest is None:
        return None
    return _sharpe_before(account.pk, account.created_at, trading_day(newest))


@lru_cache(maxsize=64)
def _sharpe_before(account_id: int, created_at: datetime, day: date) -> float | None:
    # Complete days stay while `day` lasts; `created_at` tells accounts of one number apart.
    return sharpe(daily_equity(account_id)[:-1])


def daily_equity(account_id: int) -> list[float]:
    """Return the last equity of each trading day of the present pass of the feed, oldest first."""
    newest_first = PerformanceSnapshot.objects.filter(account=account_id).order_by("-pk")
    rows = list(newest_first.values_list("time", "equity")[:SNAPSHOTS_MAX])
    times = [time for time, _ in rows]
    # Where market time stepped back the feed was started again.
    passes = (index for index in range(1, len(times)) if times[index] > times[index - 1])
    rows = rows[: next(passes, len(rows))]
    days = trading_days(nanoseconds([time for time, _ in rows])).tolist()
    last_of_day = dict(zip(reversed(days), reversed([equity for _, equity in rows]), strict=True))
    return [float(equity) for equity in last_of_day.values()]


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
