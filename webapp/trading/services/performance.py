"""Writing down what the account is worth."""

from datetime import datetime
from decimal import Decimal

from django.core.cache import cache
from django.db import transaction

from webapp.trading.models import BrokerAccount, PerformanceSnapshot
from webapp.trading.selectors.performance import markets_of_positions, performance_current
from webapp.trading.services import events

REMEMBERED_S = 120
ACCOUNTS_MAX = 100


def performance_record(*, now: datetime) -> int:
    """Record a snapshot and an event of this minute for every account; return how many.

    A minute that was recorded already is left out, and so is an account whose equity is not known
    (it holds a position without a quote).
    """
    # Beat may send a minute twice; two workers may hold the same one.
    if not cache.add(f"performance:{now:%Y-%m-%dT%H:%M}", 1, timeout=REMEMBERED_S):
        return 0
    written = 0
    for account in BrokerAccount.objects.order_by("pk")[:ACCOUNTS_MAX]:
        figures = performance_current(account, markets=markets_of_positions(account), now=now)
        if figures["equity"] is None or figures["market_time"] is None:
            continue
        time = datetime.fromisoformat(figures["market_time"])
        newest = PerformanceSnapshot.objects.filter(account=account).order_by("-pk").first()
        if newest is not None:
            # The trader dates a snapshot by its bar's end, which the quote may not have reached;
            # a step back in time means that a replay began again.
            time = max(time, newest.time)
        with transaction.atomic():
            PerformanceSnapshot.objects.create(
                account=account,
                time=time,
                equity=Decimal(figures["equity"]),
                balance=Decimal(figures["balance"]),
                realised_pl=Decimal(figures["realised_pl"]),
                open_pl=Decimal(figures["open_pl"]),
                drawdown=Decimal(figures["drawdown"]),
                trades=figures["trades"],
                wins=figures["wins"],
            )
            events.record(stream="performance", type="performance_update", data=figures, now=now)
        written += 1
    return written
