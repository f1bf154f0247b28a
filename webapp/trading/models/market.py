"""Instruments, their candles, and where their feeds stand."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from webapp.trading.fields import AmountField


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
