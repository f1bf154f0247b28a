"""The record: what was wanted, sent, filled and decided, with its rules held by the database.

Amounts are exact decimals (`AmountField`), units are signed (+ buy, - sell), times are aware UTC.
`time` on a row is market time (in a replay the time of the bar), `created_at` is wall-clock time.
"""

import uuid
from decimal import Decimal

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from sep_engine.execution.states import (
    PROTECTIVE,
    OrderState,
    OrderType,
    Origin,
    PositionFill,
    TimeInForce,
    TradingMode,
)
from webapp.trading.fields import AmountField
from webapp.trading.research_models import LiveOverride as LiveOverride
from webapp.trading.research_models import Run as Run
from webapp.trading.research_models import RunRequest as RunRequest
from webapp.trading.research_models import RunResult as RunResult
from webapp.trading.research_models import RunShard as RunShard
from webapp.trading.research_models import Trial as Trial


def _choices(values: object) -> list[tuple[str, str]]:
    return [(str(v), str(v)) for v in values]  # type: ignore[attr-defined]


class Instrument(models.Model):
    name = models.CharField(max_length=32, unique=True)
    display_name = models.CharField(max_length=64)
    base = models.CharField(max_length=8)
    quote = models.CharField(max_length=8)
    tick = AmountField()
    pip = AmountField()
    units_step = AmountField()
    price_decimals = models.PositiveSmallIntegerField()
    calendar = models.CharField(max_length=16, choices=[("fx", "fx"), ("always", "always")])
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            CheckConstraint(
                condition=Q(tick__gt=0) & Q(pip__gt=0) & Q(units_step__gt=0),
                name="instrument_steps_are_positive",
            ),
            CheckConstraint(
                condition=Q(calendar__in=["fx", "always"]), name="instrument_calendar_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Feed(models.Model):
    """Where a venue's market data stands; the replay venue's durable position."""

    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="feeds")
    venue = models.CharField(max_length=32, default="replay")
    source = models.CharField(max_length=64)
    granularity = models.CharField(max_length=8, default="H1")
    history_bars = models.PositiveIntegerField()
    cursor = models.PositiveIntegerField(help_text="Bars that are complete and stored.")
    total_bars = models.PositiveIntegerField()
    bars_per_second = models.FloatField(
        default=1.0, validators=[MinValueValidator(0.01), MaxValueValidator(1000)]
    )
    paused = models.BooleanField(default=False)
    restart_requested = models.BooleanField(default=False)
    run = models.PositiveIntegerField(default=0, help_text="Rises with each restart of a replay.")
    run_started_at = models.DateTimeField(null=True, blank=True)
    assumed_spread_pips = AmountField(default=Decimal("0"))
    updated_at = models.DateTimeField(auto_now=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            UniqueConstraint(
                fields=["instrument", "venue", "granularity"], name="feed_is_unique_per_venue"
            ),
            CheckConstraint(
                condition=Q(cursor__gte=F("history_bars")) & Q(cursor__lte=F("total_bars")),
                name="feed_cursor_is_within_the_source",
            ),
            CheckConstraint(
                condition=Q(bars_per_second__gt=0) & Q(bars_per_second__lte=1000),
                name="feed_speed_is_bounded",
            ),
            CheckConstraint(
                condition=Q(assumed_spread_pips__gte=0), name="feed_spread_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.venue} {self.instrument_id} {self.granularity}"

    @property
    def is_replay(self) -> bool:
        """Whether stored bars are played; else prices come from a venue as they are made."""
        return self.venue == "replay"

    @property
    def at_end(self) -> bool:
        return self.is_replay and self.cursor >= self.total_bars


class BrokerAccount(models.Model):
    name = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=16, default="paper")
    venue_account = models.CharField(
        max_length=64, blank=True, default="", help_text="The venue's own id of the account."
    )
    currency = models.CharField(max_length=8, default="USD")
    hedging = models.BooleanField(
        default=False, help_text="The venue holds long and short side by side."
    )
    opening_balance = AmountField()
    last_transaction_id = models.BigIntegerField(
        default=0, help_text="The last transaction of the broker that was applied."
    )
    epoch = models.PositiveIntegerField(
        default=0, help_text="Rises with each trader that takes the account; fences old ones."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            CheckConstraint(
                condition=Q(last_transaction_id__gte=0),
                name="account_transaction_not_negative",
            )
        ]

    def __str__(self) -> str:
        return self.name


class BrokerToken(models.Model):
    """The token of an account, sealed. Only `webapp.trading.tokens` reads and writes it."""

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="token")
    sealed = models.TextField()
    stored_by = models.CharField(max_length=150, default="system")
    stored_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"token of account {self.account_id}"


class SecondFactor(models.Model):
    """A person's second factor: a time-based code (RFC 6238) whose secret is sealed here."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor"
    )
    sealed = models.TextField()
    last_step = models.BigIntegerField(
        default=0, help_text="The time step of the last code that was taken; each counts once."
    )
    recovery = models.JSONField(
        default=list, blank=True, help_text="SHA-256 of each recovery code that is left."
    )
    confirmed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"second factor of {self.user_id}"


class Closing(models.Model):
    """Somebody's word that all of an account, or of a strategy, be closed; it stands until it is.

    The trader asks for what is needed as long as the row is open, through crashes too.
    """

    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="closings")
    strategy = models.ForeignKey(
        "Strategy",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="closings",
        help_text="Empty: all of the account.",
    )
    reason = models.CharField(max_length=300)
    asked_by = models.CharField(max_length=150)
    asked_at = models.DateTimeField()
    after_order = models.BigIntegerField(
        default=0, help_text="The newest order when it was asked for."
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_because = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            UniqueConstraint(
                fields=["account"],
                condition=Q(ended_at__isnull=True, strategy__isnull=True),
                name="closing_is_open_once_an_account",
            ),
            UniqueConstraint(
                fields=["strategy"],
                condition=Q(ended_at__isnull=True),
                name="closing_is_open_once_a_strategy",
            ),
        ]

    def __str__(self) -> str:
        return f"close everything: {self.reason}"


class LiveArming(models.Model):
    """A person's word that an account may trade real money. Without the row it may not."""

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="arming")
    armed_by = models.CharField(max_length=150)
    reason = models.CharField(max_length=300)
    armed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"account {self.account_id} armed by {self.armed_by}"


class Blackout(models.Model):
    """A time, market time, in which nothing is opened in a currency: news, a person's choice."""

    currency = models.CharField(
        max_length=8, blank=True, default="", help_text="Of either side; empty: of every pair."
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200)
    created_by = models.CharField(max_length=150, default="system")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="blackout_ends_after_it_starts"
            )
        ]

    def __str__(self) -> str:
        return f"{self.currency or 'every currency'}: {self.reason}"


class LeaseRow(models.Model):
    """The one process that may write for an account, until `expires_at`."""

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="lease")
    holder = models.CharField(max_length=128)
    epoch = models.PositiveIntegerField()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.account_id} held by {self.holder}"


class Strategy(models.Model):
    VERDICT_TEXT = "Unproven: no evidence of edge after costs."

    name = models.CharField(max_length=64, unique=True)
    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="strategies")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="strategies")
    granularity = models.CharField(max_length=8, default="H1")
    rule = models.JSONField(help_text="Checked by sep_engine.signals.Rule.from_json.")
    session = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Enters only within hours: mon-fri 08:00-17:00 Europe/London. Empty: always.",
    )
    enabled = models.BooleanField(default=True)
    verdict = models.CharField(max_length=16, default="unproven")
    changed_at = models.DateTimeField(
        null=True, blank=True, help_text="When what it trades by was last changed."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "strategies"

    def __str__(self) -> str:
        return self.name


class Candle(models.Model):
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="candles")
    granularity = models.CharField(max_length=8)
    start = models.DateTimeField()
    open = AmountField()
    high = AmountField()
    low = AmountField()
    close = AmountField()
    volume = AmountField(null=True, blank=True)
    price_side = models.CharField(max_length=4, choices=[(s, s) for s in ("bid", "mid", "ask")])
    source = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["start"]
        constraints = [
            UniqueConstraint(
                fields=["instrument", "granularity", "start", "price_side", "source"],
                name="candle_is_unique",
            ),
            CheckConstraint(
                condition=Q(low__gt=0)
                & Q(low__lte=F("open"))
                & Q(low__lte=F("close"))
                & Q(high__gte=F("open"))
                & Q(high__gte=F("close")),
                name="candle_prices_are_ordered",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.granularity} {self.start:%Y-%m-%d %H:%M}"


class Order(models.Model):
    """An intent and what became of it. The row exists before the broker hears of it."""

    State = OrderState

    client_id = models.CharField(max_length=64, unique=True, help_text="Unique for ever.")
    account = models.ForeignKey(
        BrokerAccount, on_delete=models.PROTECT, related_name="orders", db_index=False
    )
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="orders")
    strategy = models.ForeignKey(
        Strategy, null=True, blank=True, on_delete=models.PROTECT, related_name="orders"
    )
    signal = models.ForeignKey(
        "Signal", null=True, blank=True, on_delete=models.PROTECT, related_name="orders"
    )
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="dependents"
    )
    origin = models.CharField(max_length=16, choices=_choices(Origin))
    replaces = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="successors"
    )
    type = models.CharField(max_length=24, choices=_choices(OrderType))
    units = AmountField(help_text="Signed: + buys, - sells.")
    price = AmountField(null=True, blank=True)
    price_bound = AmountField(
        null=True, blank=True, help_text="The worst price that a market order may fill at."
    )
    stop_loss = AmountField(null=True, blank=True)
    take_profit = AmountField(null=True, blank=True)
    stop_distance = AmountField(
        null=True, blank=True, help_text="Of the stop from the fill's price, in price; > 0."
    )
    target_distance = AmountField(
        null=True, blank=True, help_text="Of the target from the fill's price, in price; > 0."
    )
    trailing_distance = AmountField(
        null=True,
        blank=True,
        help_text="Of a trailing stop from the best price, in price; > 0. The order's own if it is "
        "one, else of the trailing stop that comes with its fill.",
    )
    trade_id = models.CharField(
        max_length=32, blank=True, default="", help_text="The venue's trade that it closes."
    )
    reduce_only = models.BooleanField(default=False)
    position_fill = models.CharField(
        max_length=12, choices=_choices(PositionFill), default=PositionFill.DEFAULT.value
    )
    time_in_force = models.CharField(max_length=4, default="FOK", choices=_choices(TimeInForce))
    good_until = models.DateTimeField(
        null=True, blank=True, help_text="When the venue ends a GTD order, market time."
    )
    state = models.CharField(
        max_length=16, choices=_choices(OrderState), default=OrderState.CREATED.value
    )
    cause = models.CharField(
        max_length=300, blank=True, default="", help_text="Why the order is in its state."
    )
    filled_units = AmountField(default=Decimal("0"))
    average_price = AmountField(null=True, blank=True)
    denied_rule = models.CharField(max_length=64, blank=True, default="")
    denied_reason = models.CharField(max_length=300, blank=True, default="")
    checks = models.JSONField(default=list, blank=True, help_text="Every check of the risk gate.")
    epoch = models.PositiveIntegerField(default=0)
    venue_order_id = models.CharField(max_length=64, blank=True, default="")
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="An intent that was not sent by then is never sent."
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    doubt_since = models.DateTimeField(null=True, blank=True)
    absent_since = models.DateTimeField(null=True, blank=True)
    closed_by = models.BigIntegerField(
        null=True, blank=True, help_text="The transaction that ended the order."
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    market_time = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=128, null=True, blank=True)
    request_hash = models.CharField(
        max_length=64, blank=True, default="", help_text="Of the request that the key stands for."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="trading_orders",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            # Not only of open orders: SQLite cannot see that a bound parameter fits a condition.
            models.Index(fields=["account", "state"], name="order_by_account_and_state"),
            models.Index(fields=["account", "venue_order_id"], name="order_by_venue_id"),
            models.Index(fields=["account", "-created_at"], name="order_by_account_and_time"),
        ]
        constraints = [
            UniqueConstraint(
                fields=["account", "venue_order_id"],
                condition=~Q(venue_order_id=""),
                name="order_venue_id_is_unique",
            ),
            UniqueConstraint(
                fields=["created_by", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="order_idempotency_key_is_unique",
            ),
            CheckConstraint(condition=Q(state__in=sorted(OrderState)), name="order_state_is_known"),
            CheckConstraint(condition=Q(type__in=sorted(OrderType)), name="order_type_is_known"),
            CheckConstraint(condition=Q(origin__in=sorted(Origin)), name="order_origin_is_known"),
            CheckConstraint(condition=~Q(units=0), name="order_units_are_not_zero"),
            CheckConstraint(
                condition=Q(type=OrderType.MARKET, price__isnull=True)
                | Q(
                    type=OrderType.TRAILING_STOP_LOSS,
                    price__isnull=True,
                    trailing_distance__gt=0,
                )
                | (~Q(type__in=[OrderType.MARKET, OrderType.TRAILING_STOP_LOSS]) & Q(price__gt=0)),
                name="order_price_fits_its_type",
            ),
            CheckConstraint(
                condition=(Q(stop_loss__isnull=True) | Q(stop_loss__gt=0))
                & (Q(take_profit__isnull=True) | Q(take_profit__gt=0))
                & (Q(price_bound__isnull=True) | Q(price_bound__gt=0))
                & (Q(stop_distance__isnull=True) | Q(stop_distance__gt=0))
                & (Q(target_distance__isnull=True) | Q(target_distance__gt=0))
                & (Q(trailing_distance__isnull=True) | Q(trailing_distance__gt=0)),
                name="order_prices_are_positive",
            ),
            CheckConstraint(
                condition=Q(time_in_force=TimeInForce.GTD, good_until__isnull=False)
                | (~Q(time_in_force=TimeInForce.GTD) & Q(good_until__isnull=True)),
                name="order_gtd_has_its_time",
            ),
            CheckConstraint(
                condition=Q(time_in_force__in=sorted(TimeInForce))
                & Q(position_fill__in=sorted(PositionFill)),
                name="order_terms_are_known",
            ),
            CheckConstraint(
                condition=(Q(state=OrderState.DENIED) & ~Q(denied_rule=""))
                | (~Q(state=OrderState.DENIED) & Q(denied_rule="")),
                name="order_denied_has_its_rule",
            ),
            CheckConstraint(
                condition=~Q(state=OrderState.FILLED) | Q(average_price__gt=0),
                name="order_filled_has_a_price",
            ),
            CheckConstraint(
                condition=Q(type__in=sorted(PROTECTIVE), reduce_only=True)
                | ~Q(type__in=sorted(PROTECTIVE)),
                name="order_protective_only_reduces",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} {self.state}"


class Signal(models.Model):
    strategy = models.ForeignKey(Strategy, on_delete=models.PROTECT, related_name="signals")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="signals")
    time = models.DateTimeField(help_text="End of the bar that the decision used, market time.")
    direction = models.SmallIntegerField(choices=[(1, "BUY"), (-1, "SELL")])
    price = AmountField()
    metrics = models.JSONField()
    percentiles = models.JSONField()
    inputs = models.JSONField()
    decision_reason = models.CharField(max_length=300)
    order = models.OneToOneField(
        Order, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    run = models.PositiveIntegerField(
        default=0, help_text="Which pass of the feed: rises with each restart of a replay."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["instrument", "-time"], name="signal_by_instrument")]
        constraints = [
            UniqueConstraint(
                fields=["strategy", "instrument", "time", "run"], name="signal_is_unique_per_bar"
            ),
            CheckConstraint(condition=Q(direction__in=[-1, 1]), name="signal_has_a_direction"),
            CheckConstraint(condition=Q(price__gt=0), name="signal_price_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.get_direction_display()} {self.instrument_id} {self.time:%Y-%m-%d %H:%M}"


class BrokerFact(models.Model):
    """One transaction of the broker, as it was told. Never changed, never refused."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="facts")
    transaction_id = models.BigIntegerField()
    kind = models.CharField(max_length=32)
    venue_order_id = models.CharField(max_length=64, blank=True, default="")
    client_id = models.CharField(max_length=64, blank=True, default="")
    raw = models.JSONField()
    applied_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-transaction_id"]
        indexes = [
            models.Index(
                fields=["account", "venue_order_id"],
                condition=~Q(venue_order_id=""),
                name="fact_by_venue_order",
            ),
            models.Index(
                fields=["account", "client_id"],
                condition=~Q(client_id=""),
                name="fact_by_client_id",
            ),
        ]
        constraints = [
            UniqueConstraint(
                fields=["account", "transaction_id"], name="fact_is_unique_per_account"
            )
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.kind}"


class Fill(models.Model):
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="fills")
    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="fills")
    transaction_id = models.BigIntegerField()
    units = AmountField()
    price = AmountField()
    realised_pl = AmountField()
    half_spread_cost = AmountField()
    financing = AmountField(default=Decimal("0"), help_text="Account currency; - is paid.")
    commission = AmountField(default=Decimal("0"), help_text="Account currency; + is paid.")
    opened_units = AmountField(
        null=True,
        blank=True,
        help_text="Of the units those that opened a trade; empty at a venue without trades.",
    )
    assumed_spread = models.BooleanField()
    time = models.DateTimeField(help_text="Market time.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            UniqueConstraint(
                fields=["account", "transaction_id"], name="fill_is_unique_per_account"
            ),
            CheckConstraint(condition=~Q(units=0) & Q(price__gt=0), name="fill_has_size_and_price"),
        ]

    def __str__(self) -> str:
        return f"{self.units} at {self.price}"


class Position(models.Model):
    """What is held of an instrument: one row, or at a hedging account one for each side."""

    class Side(models.TextChoices):
        NET = "NET"
        LONG = "LONG"
        SHORT = "SHORT"

    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="positions")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="positions")
    side = models.CharField(max_length=5, choices=Side.choices, default=Side.NET)
    units = AmountField(default=Decimal("0"))
    average_price = AmountField(null=True, blank=True)
    realised_pl = AmountField(
        default=Decimal("0"), help_text="Quote currency, against the average price."
    )
    booked_pl = AmountField(
        default=Decimal("0"), help_text="Account currency, as the venue booked it."
    )
    stop_loss = AmountField(null=True, blank=True)
    trailing_distance = AmountField(
        null=True, blank=True, help_text="Of the nearest trailing stop from the best price."
    )
    opened_at = models.DateTimeField(null=True, blank=True, help_text="Market time.")
    updated_at = models.DateTimeField(auto_now=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["instrument__name"]
        constraints = [
            UniqueConstraint(fields=["account", "instrument", "side"], name="position_is_unique"),
            CheckConstraint(
                condition=Q(units=0, average_price__isnull=True)
                | (~Q(units=0) & Q(average_price__gt=0)),
                name="position_has_a_price_unless_flat",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.units} {self.instrument_id}"

    @property
    def key(self) -> str:
        return position_key(self.instrument.name, self.side)


def position_key(instrument: str, side: str) -> str:
    """Return how the books name a position: the instrument, and the side where there are two."""
    return instrument if side == Position.Side.NET else f"{instrument} {side.lower()}"


class Trade(models.Model):
    """What one fill opened at a venue that keeps trades apart; a position is their sum."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="trades")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="trades")
    order = models.ForeignKey(
        Order, null=True, blank=True, on_delete=models.PROTECT, related_name="trades"
    )
    venue_trade_id = models.CharField(max_length=32)
    opened_units = AmountField(help_text="Signed: + is long.")
    units = AmountField(help_text="Signed; what is left, 0 when closed.")
    price = AmountField()
    realised_pl = AmountField(default=Decimal("0"))
    opened_at = models.DateTimeField(help_text="Market time.")
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Market time.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["account"], condition=~Q(units=0), name="trade_open_by_account")
        ]
        constraints = [
            UniqueConstraint(
                fields=["account", "venue_trade_id"], name="trade_is_unique_per_account"
            ),
            CheckConstraint(
                condition=Q(opened_units__gt=0, units__gte=0, units__lte=F("opened_units"))
                | Q(opened_units__lt=0, units__lte=0, units__gte=F("opened_units")),
                name="trade_only_shrinks",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.venue_trade_id} {self.units}"


class Charge(models.Model):
    """Money that the venue booked without a fill: financing, a transfer."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="charges")
    transaction_id = models.BigIntegerField()
    kind = models.CharField(max_length=32)
    amount = AmountField(help_text="Account currency; - was taken.")
    time = models.DateTimeField(help_text="Market time.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            UniqueConstraint(
                fields=["account", "transaction_id"], name="charge_is_unique_per_account"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class Reconciliation(models.Model):
    """One comparison of our books with the venue's."""

    class Outcome(models.TextChoices):
        AGREED = "AGREED"
        CAUGHT_UP = "CAUGHT_UP"
        DIFFERED = "DIFFERED"
        UNREACHED = "UNREACHED"

    account = models.ForeignKey(
        BrokerAccount, on_delete=models.PROTECT, related_name="reconciliations"
    )
    cause = models.CharField(
        max_length=16, choices=[(c, c) for c in ("start", "minute", "stream", "quote", "person")]
    )
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    done = models.CharField(max_length=300, blank=True, default="", help_text="What was done.")
    facts_read = models.PositiveIntegerField(default=0)
    adopted = models.PositiveIntegerField(default=0)
    local = models.JSONField(null=True, help_text="Our books; null if the venue said nothing.")
    reported = models.JSONField(null=True)
    differences = models.JSONField(default=list)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["account", "-id"], name="reconciliation_by_account")]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S} {self.outcome}"


class RiskLimit(models.Model):
    """One limit of the risk gate. A change adds a version; the old row stays, inactive."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="limits")
    name = models.CharField(max_length=64)
    value = AmountField()
    version = models.PositiveIntegerField(default=1)
    active = models.BooleanField(default=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["account", "name", "-version"]
        constraints = [
            UniqueConstraint(fields=["account", "name", "version"], name="limit_version_is_unique"),
            UniqueConstraint(
                fields=["account", "name"], condition=Q(active=True), name="limit_has_one_active"
            ),
            CheckConstraint(condition=Q(value__gte=0), name="limit_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


class TradingState(models.Model):
    """The kill switch of one scope. Its rows are always present; a claim reads them all."""

    class Scope(models.TextChoices):
        GLOBAL = "GLOBAL"
        ACCOUNT = "ACCOUNT"
        STRATEGY = "STRATEGY"

    scope = models.CharField(max_length=8, choices=Scope.choices)
    account = models.OneToOneField(
        BrokerAccount,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="trading_state",
    )
    strategy = models.OneToOneField(
        Strategy, null=True, blank=True, on_delete=models.PROTECT, related_name="trading_state"
    )
    state = models.CharField(
        max_length=8, choices=_choices(TradingMode), default=TradingMode.ACTIVE.value
    )
    reason = models.CharField(max_length=300, blank=True, default="")
    changed_by = models.CharField(max_length=150, default="system")
    changed_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            UniqueConstraint(
                fields=["scope"], condition=Q(scope="GLOBAL"), name="state_has_one_global_row"
            ),
            CheckConstraint(
                condition=Q(scope="GLOBAL", account__isnull=True, strategy__isnull=True)
                | Q(scope="ACCOUNT", account__isnull=False, strategy__isnull=True)
                | Q(scope="STRATEGY", account__isnull=True, strategy__isnull=False),
                name="state_names_its_scope",
            ),
            CheckConstraint(condition=Q(state__in=sorted(TradingMode)), name="state_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.state}"


class ConfigEntry(models.Model):
    key = models.CharField(max_length=128, unique=True)
    value = models.JSONField()
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["key"]
        verbose_name_plural = "config entries"

    def __str__(self) -> str:
        return self.key


class ConfigChange(models.Model):
    key = models.CharField(max_length=128, db_index=True)
    version = models.PositiveIntegerField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    changed_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField()
    source = models.CharField(
        max_length=8, choices=[(s, s) for s in ("api", "admin", "cli", "file", "system")]
    )

    class Meta:
        ordering = ["-pk"]
        constraints = [
            UniqueConstraint(fields=["key", "version"], name="config_change_version_is_unique")
        ]

    def __str__(self) -> str:
        return f"{self.key} version {self.version}"


class StreamHead(models.Model):
    """The end of one event stream. Its row lock is what makes `seq` gapless."""

    stream = models.CharField(max_length=64, unique=True)
    last_seq = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, default="")

    def __str__(self) -> str:
        return f"{self.stream} at {self.last_seq}"


class EventLog(models.Model):
    """Log and outbox: append-only, gapless and hash-chained per stream."""

    stream = models.CharField(max_length=64)
    seq = models.BigIntegerField()
    time = models.DateTimeField()
    type = models.CharField(max_length=32)
    data = models.JSONField()
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["id"], condition=Q(published_at__isnull=True), name="event_unpublished"
            )
        ]
        constraints = [
            UniqueConstraint(fields=["stream", "seq"], name="event_seq_is_unique"),
            CheckConstraint(condition=Q(seq__gt=0), name="event_seq_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.stream} {self.seq} {self.type}"


class ProcessHeartbeat(models.Model):
    name = models.CharField(max_length=32, unique=True)
    pid = models.PositiveIntegerField()
    host = models.CharField(max_length=128)
    build = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class PerformanceSnapshot(models.Model):
    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="snapshots")
    time = models.DateTimeField(help_text="Market time.")
    equity = AmountField()
    balance = AmountField()
    realised_pl = AmountField()
    open_pl = AmountField()
    drawdown = AmountField()
    trades = models.PositiveIntegerField()
    wins = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["account", "-id"], name="snapshot_by_account")]
        constraints = [
            CheckConstraint(
                condition=Q(wins__lte=F("trades")) & Q(drawdown__gte=0),
                name="snapshot_is_consistent",
            )
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.equity}"


class AnalysisJob(models.Model):
    class State(models.TextChoices):
        QUEUED = "QUEUED"
        RUNNING = "RUNNING"
        DONE = "DONE"
        FAILED = "FAILED"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="jobs")
    granularity = models.CharField(max_length=8, default="H1")
    window = models.PositiveIntegerField(
        default=64, validators=[MinValueValidator(2), MaxValueValidator(1024)]
    )
    encoding = models.CharField(max_length=16, default="moves")
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    progress = models.FloatField(default=0.0)
    result = models.JSONField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            CheckConstraint(
                condition=Q(progress__gte=0) & Q(progress__lte=1), name="job_progress_is_a_share"
            ),
            CheckConstraint(
                condition=Q(state__in=["QUEUED", "RUNNING", "DONE", "FAILED"]),
                name="job_state_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.state}"
