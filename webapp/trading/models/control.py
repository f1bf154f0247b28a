"""What people set: limits, states of trading, times without entries, closings."""

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from sep_engine.execution.states import TradingMode
from webapp.trading.fields import AmountField
from webapp.trading.models.accounts import BrokerAccount
from webapp.trading.models.choices import choices
from webapp.trading.models.orders import Strategy


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


class RiskLimit(models.Model):
    """One limit of the risk gate. A change adds a version; the old row stays, inactive.

    Who changed it stands in its `ConfigChange`.
    """

    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="limits")
    name = models.CharField(max_length=64)
    value = AmountField()
    version = models.PositiveIntegerField(default=1)
    active = models.BooleanField(default=True)
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
        max_length=8, choices=choices(TradingMode), default=TradingMode.ACTIVE.value
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
