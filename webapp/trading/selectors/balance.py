"""What an account has made and holds, by our books."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from django.db.models import Case, Count, ExpressionWrapper, F, Max, Q, QuerySet, When

from sep_engine.model.calendar import day_start
from webapp.trading.fields import AmountField, AmountSum
from webapp.trading.models import (
    AccountTotals,
    BrokerAccount,
    Charge,
    Feed,
    Fill,
    PerformanceSnapshot,
)

Rows = TypeVar("Rows", QuerySet[Fill], QuerySet[Charge])

TRANSFER = "TRANSFER_FUNDS"
# Of a snapshot, written as SQLite finds it in the index `snapshot_by_made`.
MADE = ExpressionWrapper(F("realised_pl") + F("open_pl"), output_field=AmountField())
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Totals:
    """What the fills and charges of an account come to, up to a key of each.

    Attributes:
        realised: account currency, of fills and charges, less fees.
        transferred: account currency that came or went since the account was opened.
        trades, wins: fills that realised something, and those of them that gained.
        newest_fill: market time; None without a fill.
        last_fill, last_charge: the keys of the newest rows that are counted.
        day_start, pass_started: the trading day of the newest fill, and the replay's pass, of which
            `day_realised` is a part of `realised`; None without a fill, or a replay.
    """

    realised: Decimal = _NOTHING
    transferred: Decimal = _NOTHING
    trades: int = 0
    wins: int = 0
    newest_fill: datetime | None = None
    last_fill: int = 0
    last_charge: int = 0
    day_start: datetime | None = None
    pass_started: datetime | None = None
    day_realised: Decimal = _NOTHING


def account_totals(account: BrokerAccount) -> Totals:
    """Return what all fills and charges of the account come to; only the newest are read.

    It is without a day: `day_realised` tells of the one that is wanted.
    """
    return _with_the_rest(account, _kept(account))


def totals_with_day(account: BrokerAccount) -> Totals:
    """Return the same with the day of the newest fill, as it is kept."""
    totals = account_totals(account)
    if totals.newest_fill is None:
        return totals
    return replace(
        totals,
        day_start=day_start(totals.newest_fill),
        pass_started=pass_started(),
        day_realised=day_realised(account, totals.newest_fill),
    )


def kept_totals_fault(account: BrokerAccount) -> str | None:
    """Return where the kept totals differ from what all rows up to their keys come to."""
    kept = _kept(account)
    whole = _with_the_rest(account, Totals(), until=kept)
    if kept.day_start is not None:
        fills, charges = _after(account, Totals(), kept)
        of_day = Q(time__gte=kept.day_start)
        if kept.pass_started is not None:
            of_day &= Q(created_at__gte=kept.pass_started)
        charges = charges.filter(of_day).exclude(kind=TRANSFER)
        made = fills_realised(fills.filter(of_day)) + charged(charges)
        whole = replace(
            whole, day_start=kept.day_start, pass_started=kept.pass_started, day_realised=made
        )
    if kept == whole:
        return None
    return f"totals of {account.name}: kept {kept}, by the rows {whole}"


def _kept(account: BrokerAccount) -> Totals:
    row = AccountTotals.objects.filter(account=account).first()
    if row is None:
        return Totals()
    names = Totals.__dataclass_fields__
    return Totals(**{name: getattr(row, name) for name in names})


def _with_the_rest(
    account: BrokerAccount, before: Totals, *, until: Totals | None = None
) -> Totals:
    """Add the rows after those that are counted, the last ones of `until` at most."""
    fills, charges = _after(account, before, until)
    new = fills.aggregate(
        **_SUMS,
        trades=Count("pk", filter=~Q(realised_pl=0)),
        wins=Count("pk", filter=Q(realised_pl__gt=0)),
        newest=Max("time"),
        last=Max("pk"),
    )
    realised, transferred, last_charge = before.realised + _made(new), before.transferred, 0
    by_kind = charges.order_by().values_list("kind").annotate(AmountSum("amount"), Max("pk"))
    for kind, amount, last in by_kind:
        last_charge = max(last_charge, last)
        if kind == TRANSFER:
            transferred += amount
        else:
            realised += amount
    times = [time for time in (before.newest_fill, new["newest"]) if time is not None]
    return Totals(
        realised=realised,
        transferred=transferred,
        trades=before.trades + new["trades"],
        wins=before.wins + new["wins"],
        newest_fill=max(times, default=None),
        last_fill=new["last"] or before.last_fill,
        last_charge=last_charge or before.last_charge,
    )


def _after(
    account: BrokerAccount, before: Totals, until: Totals | None = None
) -> tuple[QuerySet[Fill], QuerySet[Charge]]:
    fills = Fill.objects.filter(account=account, pk__gt=before.last_fill)
    charges = Charge.objects.filter(account=account, pk__gt=before.last_charge)
    if until is not None:
        fills = fills.filter(pk__lte=until.last_fill)
        charges = charges.filter(pk__lte=until.last_charge)
    return fills, charges


_SUMS = {
    "pl": AmountSum("realised_pl"),
    "financing": AmountSum("financing"),
    "fees": AmountSum("commission"),
}


def _made(sums: dict[str, Decimal | None]) -> Decimal:
    profit, financing, fees = (sums[name] or _NOTHING for name in ("pl", "financing", "fees"))
    return profit + financing - fees


def fills_realised(fills: QuerySet[Fill]) -> Decimal:
    """Return what fills made in account currency: profit and financing, less fees.

    The venue's `pl` of a fill is without its financing and commission.
    """
    return _made(fills.aggregate(**_SUMS))


def day_realised(account: BrokerAccount, market_time: datetime) -> Decimal:
    """Return what the trading day of `market_time` made, in this pass of a replay."""
    since, begun, kept = day_start(market_time), pass_started(), _kept(account)
    of_day = Q(time__gte=since)
    if begun is not None:
        of_day &= Q(created_at__gte=begun)
    if (kept.day_start, kept.pass_started) != (since, begun):
        fills = Fill.objects.filter(of_day, account=account)
        charges = Charge.objects.filter(of_day, account=account)
        return fills_realised(fills) + charged(charges.exclude(kind=TRANSFER))
    # A condition on the time would let the database read the whole day by its index.
    fills, charges = _after(account, kept)
    sums = {
        name: AmountSum(Case(When(of_day, then=column)))
        for name, column in (
            ("pl", "realised_pl"),
            ("financing", "financing"),
            ("fees", "commission"),
        )
    }
    taken = AmountSum(Case(When(of_day & ~Q(kind=TRANSFER), then="amount")))
    made = _made(fills.aggregate(**sums))
    return kept.day_realised + made + (charges.aggregate(taken=taken)["taken"] or _NOTHING)


def this_pass(rows: Rows) -> Rows:
    """Return those of the present pass: a replay that began again lives through the same market
    days once more.
    """
    begun = pass_started()
    return rows if begun is None else rows.filter(created_at__gte=begun)


def pass_started() -> datetime | None:
    """Return when the present pass of a replay began, wall clock."""
    feeds = Feed.objects.exclude(run_started_at__isnull=True).order_by("-run_started_at")
    return feeds.values_list("run_started_at", flat=True).first()


def account_balance(account: BrokerAccount) -> Decimal:
    """Return the balance by our books."""
    totals = account_totals(account)
    return account.opening_balance + totals.transferred + totals.realised


def most_made(account: BrokerAccount) -> Decimal:
    """Return the most that the account had ever made, realised and open, when it was recorded.

    With what was paid in it is the highest equity, as if all transfers had been made before.
    """
    snapshots = PerformanceSnapshot.objects.filter(account=account)
    best = snapshots.order_by(MADE.desc()).values_list("realised_pl", "open_pl").first()
    return _NOTHING if best is None else max(sum(best, _NOTHING), _NOTHING)


def deepest_drawdown(account: BrokerAccount) -> Decimal:
    """Return the deepest drawdown that was recorded, account currency, >= 0."""
    snapshots = PerformanceSnapshot.objects.filter(account=account)
    deepest = snapshots.order_by("-drawdown").values_list("drawdown", flat=True).first()
    return deepest or _NOTHING


def charged(charges: QuerySet[Charge]) -> Decimal:
    """Return what charges come to; - was taken."""
    total: Decimal | None = charges.aggregate(total=AmountSum("amount"))["total"]
    return total or _NOTHING
