"""Brokers' accounts, who may use them and how, and which process writes for one."""

from django.conf import settings
from django.db import models
from django.db.models import CheckConstraint, Q

from webapp.trading.fields import AmountField


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


class LiveArming(models.Model):
    """A person's word that an account may trade real money. Without the row it may not."""

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="arming")
    armed_by = models.CharField(max_length=150)
    reason = models.CharField(max_length=300)
    armed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"account {self.account_id} armed by {self.armed_by}"


class LeaseRow(models.Model):
    """The one process that may write for an account, until `expires_at`."""

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="lease")
    holder = models.CharField(max_length=128)
    epoch = models.PositiveIntegerField()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.account_id} held by {self.holder}"
