"""From a rule to a fill: strategies, signals, orders, and what the broker told of them."""

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from sep_engine.execution.states import (
    PROTECTIVE,
    OrderState,
    OrderType,
    Origin,
    PositionFill,
    TimeInForce,
)
from webapp.trading.fields import AmountField
from webapp.trading.models.accounts import BrokerAccount
from webapp.trading.models.choices import choices
from webapp.trading.models.market import Instrument


class Strategy(models.Model):
    VERDICT_TEXT = "Unproven: no evidence of edge after costs."

    name = models.CharField(max_length=64, unique=True)
    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="strategies")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="strategies")
    granularity = models.CharField(max_length=8, default="H1")
    rule = models.JSONField(
        help_text="Checked by sep_engine.signals.Rule.from_json; of a class, a StrategyRule."
    )
    source = models.TextField(
        blank=True,
        default="",
        help_text="Of the class that decides, empty where the rule does. Its hash is in the rule.",
    )
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
    origin = models.CharField(max_length=16, choices=choices(Origin))
    replaces = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="successors"
    )
    type = models.CharField(max_length=24, choices=choices(OrderType))
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
        max_length=12, choices=choices(PositionFill), default=PositionFill.DEFAULT.value
    )
    time_in_force = models.CharField(max_length=4, default="FOK", choices=choices(TimeInForce))
    good_until = models.DateTimeField(
        null=True, blank=True, help_text="When the venue ends a GTD order, market time."
    )
    state = models.CharField(
        max_length=16, choices=choices(OrderState), default=OrderState.CREATED.value
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
            models.Index(fields=["account", "sent_at"], name="order_by_account_and_send"),
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
        indexes = [models.Index(fields=["account", "time"], name="fill_by_account_and_time")]

    def __str__(self) -> str:
        return f"{self.units} at {self.price}"
