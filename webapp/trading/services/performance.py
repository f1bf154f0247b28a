"""Writing down what the account is worth."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from webapp.trading.models import BrokerAccount, PerformanceSnapshot
from webapp.trading.selectors.performance import markets_of_positions, performance_current
from webapp.trading.services import events


def performance_record(*, now: datetime) -> int:
    """Record a snapshot and an event for every account; return how many were written.

    An account whose equity is not known (an open position without a quote) is left out, and so is
    one that has a snapshot of this minute already.
    """
    period = now.replace(second=0, microsecond=0)
    written = 0
    for account in BrokerAccount.objects.order_by("pk")[:100]:
        with transaction.atomic():
            # Two workers with the same minute queue up here; the second finds the first's row.
            locked = BrokerAccount.objects.select_for_update().get(pk=account.pk)
            done = PerformanceSnapshot.objects.filter(account=locked, created_at__gte=period)
            if done.exists():
                continue
            figures = performance_current(locked, markets=markets_of_positions(locked), now=now)
            if figures["equity"] is None or figures["market_time"] is None:
                continue
            PerformanceSnapshot.objects.create(
                account=locked,
                time=datetime.fromisoformat(figures["market_time"]),
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
