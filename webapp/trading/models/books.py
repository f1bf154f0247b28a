"""What is held and earned, and whether the venue says the same."""

from decimal import Decimal

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from webapp.trading.fields import AmountField, SumField
from webapp.trading.models.accounts import BrokerAccount
from webapp.trading.models.market import Instrument
from webapp.trading.models.orders import Order


def position_key(instrument: str, side: str) -> str:
    """Return how the books name a position: the instrument, and the side where there are two."""
    return instrument if side == Position.Side.NET else f"{instrument} {side.lower()}"


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
        indexes = [models.Index(fields=["account", "time"], name="charge_by_account_and_time")]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class AccountTotals(models.Model):
    """What the fills and charges of an account came to, up to a key of each.

    Neither is ever changed, so the whole is this row and what came after it: nobody reads them all.
    """

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="totals")
    last_fill = models.BigIntegerField(default=0, help_text="Fills up to this key are counted.")
    last_charge = models.BigIntegerField(default=0, help_text="The same of charges.")
    realised = SumField(default=Decimal("0"), help_text="Fills and charges, less fees.")
    transferred = SumField(default=Decimal("0"), help_text="Money that came or went.")
    trades = models.PositiveIntegerField(default=0, help_text="Fills that realised something.")
    wins = models.PositiveIntegerField(default=0)
    newest_fill = models.DateTimeField(null=True, blank=True, help_text="Market time.")
    day_start = models.DateTimeField(
        null=True, blank=True, help_text="Of the trading day of the newest fill, market time."
    )
    pass_started = models.DateTimeField(
        null=True, blank=True, help_text="When the pass of a replay began that the day is of."
    )
    day_realised = SumField(default=Decimal("0"), help_text="What the day made, as realised.")

    class Meta:
        verbose_name_plural = "account totals"

    def __str__(self) -> str:
        return f"{self.account_id} up to fill {self.last_fill}"


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
        indexes = [
            models.Index(fields=["account", "-id"], name="snapshot_by_account"),
            models.Index(fields=["account", "-drawdown"], name="snapshot_by_drawdown"),
            models.Index(
                F("account"), (F("realised_pl") + F("open_pl")).desc(), name="snapshot_by_made"
            ),
        ]
        constraints = [
            CheckConstraint(
                condition=Q(wins__lte=F("trades")) & Q(drawdown__gte=0),
                name="snapshot_is_consistent",
            )
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.equity}"
