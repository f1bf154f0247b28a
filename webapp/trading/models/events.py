"""The log of events, and the signs of life of processes."""

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint


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
    subject = models.BigIntegerField(
        null=True, blank=True, help_text="The key of the order that an event of orders is about."
    )
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["id"], condition=Q(published_at__isnull=True), name="event_unpublished"
            ),
            models.Index(
                fields=["subject", "seq"],
                condition=Q(subject__isnull=False),
                name="event_by_subject",
            ),
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
