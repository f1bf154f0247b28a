"""Writing down what the account is worth, and what its fills and charges came to."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal

from django.core.cache import cache
from django.db import transaction

from webapp.trading.models import AccountTotals, BrokerAccount, PerformanceSnapshot
from webapp.trading.selectors.balance import MADE, totals_with_day
from webapp.trading.selectors.performance import markets_of_positions, performance_current
from webapp.trading.services import events

REMEMBERED_S = 120
ACCOUNTS_MAX = 100
SNAPSHOTS_KEPT = 20_000
SNAPSHOTS_DROPPED_EVERY = 1_000


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
            point = PerformanceSnapshot.objects.create(
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
            snapshots_drop_old(newest=point)
            events.record(stream="performance", type="performance_update", data=figures, now=now)
        written += 1
    return written


def snapshots_drop_old(*, newest: PerformanceSnapshot, kept: int = SNAPSHOTS_KEPT) -> None:
    """Drop the old points of an equity line now and then: whoever adds one calls this.

    The point of the deepest drawdown stays, and the one from which drawdown is counted.
    """
    if newest.pk % SNAPSHOTS_DROPPED_EVERY:
        return
    points = PerformanceSnapshot.objects.filter(account_id=newest.account_id)
    best = points.order_by(MADE.desc(), "pk").values_list("pk", flat=True)[:1]
    worst = points.order_by("-drawdown", "pk").values_list("pk", flat=True)[:1]
    old = points.filter(pk__lte=newest.pk - kept)
    old.exclude(pk__in=[*best, *worst]).delete()


def totals_keep(account: BrokerAccount) -> None:
    """Keep what the fills and charges came to until now, so that only later ones are read again.

    For the account's trader, which alone books fills: none may come in between.
    """
    AccountTotals.objects.update_or_create(
        account=account, defaults=asdict(totals_with_day(account))
    )
