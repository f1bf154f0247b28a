"""What happened lately, for the protections of the risk gate: stops, losses, repeats, rates."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from sep_engine.errors import ArgumentError
from sep_engine.execution.states import STOPS, OrderState
from sep_engine.model.hours import TradingHours
from webapp.trading.models import Blackout, BrokerAccount, Feed, Fill, Order
from webapp.trading.selectors.balance import fills_realised
from webapp.trading.services.live_arming import live_refusal

# Orders that came to nothing are no reason to refuse the next one.
_CAME_TO_NOTHING = (
    OrderState.DENIED,
    OrderState.REJECTED,
    OrderState.CANCELLED,
    OrderState.EXPIRED,
    OrderState.EXPIRED_UNSENT,
    OrderState.REPLACED,
)


@dataclass(frozen=True, slots=True)
class Recent:
    """What the gate's protections ask for; see `sep_engine.risk.Exposure`."""

    stops: int | None
    loss_age_min: Decimal | None
    window_pl: Decimal | None


@dataclass(frozen=True, slots=True)
class Sent:
    """Orders of the account that were sent, wall clock."""

    last_second: int
    last_minute: int
    today: int


def recent_results(order: Order, *, limits: Mapping[str, Decimal], at: datetime) -> Recent:
    """Return what the account's fills say before `at`, market time.

    A window of 0 min looks at nothing; one that is not configured gives None, which the gate
    refuses.
    """
    fills = _fills_of_this_run(order.account).filter(time__lte=at)
    here = fills.filter(order__instrument_id=order.instrument_id)
    stops = window_pl = loss_age_min = None
    if (guard := limits.get("stops_window_min")) is not None:
        stopped = fills.filter(order__type__in=STOPS, time__gt=at - _minutes(guard))
        stops = stopped.count() if guard else 0
    if (window := limits.get("loss_window_min")) is not None:
        within = here.filter(time__gt=at - _minutes(window))
        window_pl = fills_realised(within) if window else Decimal(0)
    if limits.get("loss_pause_min"):
        lost = here.filter(realised_pl__lt=0).order_by("-time").first()
        if lost is not None:
            loss_age_min = Decimal((at - lost.time) // timedelta(seconds=1)) / 60
    return Recent(stops, loss_age_min, window_pl)


class SentCount:
    """Counts sends. Only the account's trader sends, so it reads them once a day and then counts.

    Wall clock; `day_start` begins the day.
    """

    def __init__(self, account: BrokerAccount) -> None:
        self._account = account
        self._day_start: datetime | None = None
        self._today = 0
        self._minute: deque[datetime] = deque()

    def sent(self, at: datetime) -> None:
        self._today += 1
        self._minute.append(at)

    def at(self, now: datetime, *, day_start: datetime) -> Sent:
        """Return how many orders were sent in the last second, minute, and since `day_start`."""
        if self._day_start != day_start:
            self._read(now, day_start)
        while self._minute and self._minute[0] <= now - timedelta(minutes=1):
            self._minute.popleft()
        second = sum(at > now - timedelta(seconds=1) for at in self._minute)
        return Sent(second, len(self._minute), self._today)

    def _read(self, now: datetime, day_start: datetime) -> None:
        sent = Order.objects.filter(account=self._account, sent_at__isnull=False)
        lately = sent.filter(sent_at__gt=now - timedelta(minutes=1)).order_by("sent_at")
        self._minute = deque(at for at in lately.values_list("sent_at", flat=True) if at)
        self._today = sent.filter(sent_at__gt=day_start).count()
        self._day_start = day_start


def like_order_age_s(order: Order) -> Decimal | None:
    """Return how long before this order the last one like it was wanted, None without one.

    Orders of different signals are different decisions, however alike they look.
    """
    alike = Order.objects.filter(
        account_id=order.account_id,
        instrument_id=order.instrument_id,
        units=order.units,
        type=order.type,
        price=order.price,
        origin=order.origin,
        signal=order.signal,
        reduce_only=False,
        created_at__lte=order.created_at,
    )
    others = alike.exclude(pk=order.pk).exclude(state__in=_CAME_TO_NOTHING).order_by("-created_at")
    before = others.values_list("created_at", flat=True).first()
    if before is None:
        return None
    return Decimal((order.created_at - before) // timedelta(milliseconds=1)) / 1000


def blackout_reason(order: Order, *, at: datetime) -> str:
    """Return why nothing is opened in the order's currencies at `at`, market time, else "".

    A live account that is not armed, a rule without evidence on one, and a strategy outside its
    hours are such reasons too.
    """
    refused = live_refusal(account=order.account, strategy=order.strategy, now=at)
    if refused:
        return refused
    session = "" if order.strategy is None else order.strategy.session
    if session:
        try:
            if not TradingHours.of(session).contains(at):
                return f"{order.strategy} enters only within {session}"
        except ArgumentError as error:
            return f"the hours of {order.strategy} cannot be read: {error}"
    currencies = ("", order.instrument.base, order.instrument.quote)
    row = Blackout.objects.filter(
        currency__in=currencies, starts_at__lte=at, ends_at__gt=at
    ).first()
    return "" if row is None else f"{row.reason} until {row.ends_at:%H:%M} UTC"


def _fills_of_this_run(account: BrokerAccount) -> QuerySet[Fill]:
    fills = Fill.objects.filter(account=account)
    feed = Feed.objects.exclude(run_started_at__isnull=True).order_by("-run_started_at").first()
    # A replay that began again lives through the same market days once more.
    return fills if feed is None else fills.filter(created_at__gte=feed.run_started_at)


def _minutes(count: Decimal) -> timedelta:
    return timedelta(minutes=int(count))
