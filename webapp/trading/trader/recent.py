"""What happened lately, for the protections of the risk gate: stops, losses, repeats, rates."""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from sep_engine.errors import ArgumentError
from sep_engine.execution.states import STOPS, OrderState
from sep_engine.model.hours import TradingHours
from webapp.trading.models import Blackout, BrokerAccount, Fill, Order
from webapp.trading.selectors.balance import this_pass
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


REMEMBERED = timedelta(days=1)


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


class Results:
    """What the fills of this pass of the feed made, for the protections.

    Only the account's trader books fills, so they are read once, as far back as the longest window
    reaches, and then told of each: an order costs the same however many there were. They are read
    anew when the window has gone on for a day, so that no more is remembered than that.
    """

    def __init__(self, account: BrokerAccount) -> None:
        self._account = account
        self._since: datetime | None = None
        self._made: dict[int, _Made] = {}
        self._stops: list[datetime] = []
        self._lost: dict[int, list[datetime]] = {}

    def booked(self, fill: Fill) -> None:
        """Count a fill that was booked since the reading; its `order` is fetched."""
        if self._since is not None:
            made = fill.realised_pl + fill.financing - fill.commission
            order = fill.order
            self._count(order.instrument_id, order.type, fill.time, fill.realised_pl, made)

    def before(self, order: Order, *, limits: Mapping[str, Decimal], at: datetime) -> Recent:
        """Return what they say before `at`, market time, of the order's instrument.

        A window of 0 min looks at nothing; one that is not configured gives None, which the gate
        refuses.
        """
        guard, window = limits.get("stops_window_min"), limits.get("loss_window_min")
        since = at - _minutes(max(guard or Decimal(0), window or Decimal(0)))
        if self._since is None or not timedelta(0) <= since - self._since <= REMEMBERED:
            self._read(since)
        stops = window_pl = loss_age_min = None
        if guard is not None:
            first = bisect_right(self._stops, at - _minutes(guard))
            stops = bisect_right(self._stops, at) - first if guard else 0
        if window is not None:
            made = self._made.get(order.instrument_id)
            window_pl = Decimal(0)
            if window and made is not None:
                window_pl = made.until(at) - made.until(at - _minutes(window))
        if limits.get("loss_pause_min"):
            lost_at = self._last_loss(order.instrument_id, at)
            if lost_at is not None:
                loss_age_min = Decimal((at - lost_at) // timedelta(seconds=1)) / 60
        return Recent(stops, loss_age_min, window_pl)

    def _read(self, since: datetime) -> None:
        self._since, self._made, self._stops, self._lost = since, {}, [], {}
        rows = self._fills().filter(time__gt=since).order_by("time")
        for instrument_id, type, time, realised, financing, fees in rows.values_list(
            "order__instrument_id", "order__type", "time", "realised_pl", "financing", "commission"
        ):
            self._count(instrument_id, type, time, realised, realised + financing - fees)

    def _count(
        self, instrument_id: int, type: str, time: datetime, realised: Decimal, made: Decimal
    ) -> None:
        self._made.setdefault(instrument_id, _Made()).add(time, made)
        if type in STOPS:
            insort(self._stops, time)
        if realised < 0 and instrument_id in self._lost:
            insort(self._lost[instrument_id], time)

    def _last_loss(self, instrument_id: int, at: datetime) -> datetime | None:
        """Return when the last loss until `at` was; the ones before it are read once."""
        lost = self._lost.get(instrument_id)
        if lost is None or (lost and at < lost[0]):
            rows = self._fills().filter(order__instrument_id=instrument_id, realised_pl__lt=0)
            times = rows.order_by("-time").values_list("time", flat=True)
            # Those that come after `at` are in the books already, and count a moment later.
            later = times.filter(time__gt=at).reverse()
            lost = self._lost[instrument_id] = [*times.filter(time__lte=at)[:1], *later]
        index = bisect_right(lost, at)
        return lost[index - 1] if index else None

    def _fills(self) -> QuerySet[Fill]:
        return this_pass(Fill.objects.filter(account=self._account))


class _Made:
    """Money by time, and the sum of all until then."""

    def __init__(self) -> None:
        self._times: list[datetime] = []
        self._sums = [Decimal(0)]

    def add(self, time: datetime, made: Decimal) -> None:
        index = bisect_right(self._times, time)
        self._times.insert(index, time)
        self._sums.insert(index + 1, self._sums[index])
        for later in range(index + 1, len(self._sums)):  # as a rule one: time goes on
            self._sums[later] += made

    def until(self, at: datetime) -> Decimal:
        return self._sums[bisect_right(self._times, at)]


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


def like_order_age_s(order: Order, *, within_s: Decimal) -> Decimal | None:
    """Return how long before this order the last one like it was wanted; None: not within so long.

    Orders of different signals are different decisions, however alike they look; an order is no
    repeat of the one whose place it takes.
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
        created_at__gt=order.created_at - timedelta(seconds=float(within_s)),
    )
    others = alike.exclude(pk__in=[order.pk, order.replaces_id]).exclude(state__in=_CAME_TO_NOTHING)
    before = others.order_by("-created_at").values_list("created_at", flat=True).first()
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


def _minutes(count: Decimal) -> timedelta:
    return timedelta(minutes=int(count))
