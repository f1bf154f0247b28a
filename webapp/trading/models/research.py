"""What research keeps: runs in shards, what they found, every configuration tried, overrides.

A run is addressed by the hash of what decides its outcome, so the same question has one row. An
analysis job asks less: how the metrics of stored candles are spread.
"""

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint

from webapp.trading.models.market import Instrument


class Run(models.Model):
    """A question to the lab, and how far its answer is."""

    class Kind(models.TextChoices):
        EVIDENCE = "evidence"
        BACKTEST = "backtest"
        SWEEP = "sweep"

    class State(models.TextChoices):
        QUEUED = "QUEUED"
        RUNNING = "RUNNING"
        DONE = "DONE"
        FAILED = "FAILED"
        CANCELLED = "CANCELLED"

    OPEN = (State.QUEUED, State.RUNNING)

    address = models.CharField(
        max_length=64, primary_key=True, help_text="SHA-256 of data, code, configuration and seed."
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    name = models.CharField(max_length=200)
    data = models.JSONField(help_text="Where the bars are, and which.")
    data_sha256 = models.CharField(max_length=64, help_text="Of the bars' times and prices.")
    configuration = models.JSONField()
    seed = models.BigIntegerField(default=0)
    code_version = models.CharField(max_length=64)
    strategy = models.ForeignKey(
        "trading.Strategy", null=True, blank=True, on_delete=models.SET_NULL, related_name="runs"
    )
    strategy_sha256 = models.CharField(
        max_length=64, blank=True, default="", help_text="Of the strategy as it was judged."
    )
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    progress = models.FloatField(default=0.0)
    edge = models.BooleanField(
        null=True, blank=True, help_text="The verdict; null for what is no verdict."
    )
    result_text = models.CharField(max_length=200, blank=True, default="")
    summary = models.JSONField(default=dict, blank=True, help_text="Key figures, for lists.")
    error = models.CharField(max_length=300, blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["-created_at"], name="run_by_time")]
        constraints = [
            CheckConstraint(
                condition=Q(kind__in=["evidence", "backtest", "sweep"]), name="run_kind_is_known"
            ),
            CheckConstraint(
                condition=Q(state__in=["QUEUED", "RUNNING", "DONE", "FAILED", "CANCELLED"]),
                name="run_state_is_known",
            ),
            CheckConstraint(
                condition=Q(progress__gte=0) & Q(progress__lte=1), name="run_progress_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.address[:12]}"


class RunShard(models.Model):
    """A piece of a run. Who claims it has it until `leased_until`; its result is written once."""

    class State(models.TextChoices):
        WAITING = "WAITING"
        RUNNING = "RUNNING"
        DONE = "DONE"
        FAILED = "FAILED"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="shards")
    number = models.PositiveIntegerField()
    stage = models.PositiveSmallIntegerField(help_text="Begins when all before it are done.")
    work = models.JSONField(help_text="What is to be computed.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    progress = models.FloatField(default=0.0)
    attempts = models.PositiveSmallIntegerField(default=0)
    holder = models.CharField(max_length=128, blank=True, default="")
    claim = models.CharField(max_length=32, blank=True, default="", help_text="Of this attempt.")
    leased_until = models.DateTimeField(null=True, blank=True)
    result = models.TextField(null=True, blank=True, help_text="JSON.")
    error = models.CharField(max_length=300, blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["run", "number"]
        constraints = [
            UniqueConstraint(fields=["run", "number"], name="shard_number_is_unique"),
            CheckConstraint(
                condition=Q(state="DONE", result__isnull=False)
                | (~Q(state="DONE") & Q(result__isnull=True)),
                name="shard_done_has_its_result",
            ),
            CheckConstraint(
                condition=Q(state="RUNNING", leased_until__isnull=False)
                | (~Q(state="RUNNING") & Q(leased_until__isnull=True)),
                name="shard_running_has_a_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id[:12]} shard {self.number}"


class RunResult(models.Model):
    """What a run found: its JSON document and its page, as they were made."""

    run = models.OneToOneField(
        Run, primary_key=True, on_delete=models.CASCADE, related_name="result"
    )
    document = models.TextField()
    page = models.TextField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"result of {self.run_id[:12]}"


class RunRequest(models.Model):
    """An Idempotency-Key and the run that it asked for."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="requests")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    key = models.CharField(max_length=128)
    request_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            UniqueConstraint(fields=["requested_by", "key"], name="run_request_key_is_unique")
        ]

    def __str__(self) -> str:
        return f"{self.key} for {self.run_id[:12]}"


class Trial(models.Model):
    """One configuration tried on a data set: the ledger of `sep_engine.ledger`, in the database.

    Append-only, which triggers hold, and hash-chained. It outlives the run that tried it.
    """

    seq = models.BigIntegerField(primary_key=True)
    run_address = models.CharField(max_length=64)
    data_sha256 = models.CharField(max_length=64)
    look_sha256 = models.CharField(max_length=64)
    configuration_sha256 = models.CharField(max_length=64)
    configuration = models.TextField(help_text="Canonical JSON.")
    code_version = models.CharField(max_length=64)
    tried_by = models.CharField(max_length=150)
    tried_at = models.CharField(max_length=40, help_text="As hashed: ISO-8601, UTC.")
    sharpe = models.FloatField(null=True, help_text="Per day; null if it has none.")
    previous_sha256 = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-seq"]
        indexes = [
            models.Index(fields=["data_sha256", "configuration_sha256"], name="trial_of_data"),
            models.Index(fields=["run_address"], name="trial_of_run"),
        ]
        constraints = [
            CheckConstraint(condition=Q(seq__gte=1), name="trial_seq_is_positive"),
            CheckConstraint(condition=~Q(tried_by=""), name="trial_has_its_author"),
        ]

    def __str__(self) -> str:
        return f"trial {self.seq}"


class LiveOverride(models.Model):
    """A person's word that a strategy may trade a live account without a passing verdict.

    It holds for the strategy as it was then, until it is withdrawn.
    """

    strategy = models.ForeignKey(
        "trading.Strategy", on_delete=models.PROTECT, related_name="live_overrides"
    )
    strategy_sha256 = models.CharField(max_length=64)
    reason = models.CharField(max_length=300)
    made_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    withdrawn_by = models.CharField(max_length=150, blank=True, default="")
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            CheckConstraint(condition=~Q(reason="") & ~Q(made_by=""), name="override_has_a_reason"),
            CheckConstraint(
                condition=Q(withdrawn_at__isnull=True, withdrawn_by="")
                | (Q(withdrawn_at__isnull=False) & ~Q(withdrawn_by="")),
                name="override_withdrawal_has_its_author",
            ),
        ]

    def __str__(self) -> str:
        return f"override for {self.strategy_id}"


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
