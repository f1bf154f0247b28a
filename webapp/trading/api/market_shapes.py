"""Instruments, quotes, candles and metrics; see webapp.trading.api.shapes."""

from rest_framework import serializers

from webapp.trading.api.shapes import AmountText, Numbers, Out, Strict
from webapp.trading.granularity import GRANULARITIES


class InstrumentOut(Out):
    name = serializers.CharField()
    display_name = serializers.CharField()
    base = serializers.CharField()
    quote = serializers.CharField()
    tick = AmountText()
    pip = AmountText()
    units_step = AmountText()
    price_decimals = serializers.IntegerField()
    calendar = serializers.CharField()
    enabled = serializers.BooleanField()


class QuoteOut(Out):
    time = serializers.DateTimeField()
    bid = AmountText()
    ask = AmountText()
    mid = AmountText()
    assumed_spread = serializers.BooleanField()


class BarOut(Out):
    start = serializers.DateTimeField()
    open = AmountText()
    high = AmountText()
    low = AmountText()
    close = AmountText()
    complete = serializers.BooleanField()


class MetricsNowOut(Out):
    metrics = Numbers()
    percentiles = Numbers()
    window = serializers.IntegerField()
    encoding = serializers.CharField()
    engine = serializers.CharField()
    as_of = serializers.DateTimeField()


class MarketOut(Out):
    instrument = serializers.CharField()
    quote = QuoteOut(allow_null=True)
    bar = BarOut(allow_null=True)
    qfh = MetricsNowOut(allow_null=True)
    age_s = serializers.FloatField(allow_null=True)


class MarketsOut(Out):
    instruments = MarketOut(many=True)


class CandlesIn(Strict):
    granularity = serializers.ChoiceField(GRANULARITIES, default="H1")
    limit = serializers.IntegerField(default=2000, min_value=1, max_value=5000)
    before = serializers.DateTimeField(
        required=False, help_text="Only candles that start before this time."
    )


class CandlesOut(Out):
    instrument = serializers.CharField()
    granularity = serializers.CharField()
    price_side = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)
    candles = BarOut(many=True)
    feed_cursor = serializers.IntegerField(allow_null=True)


class MetricsIn(CandlesIn):
    window = serializers.IntegerField(required=False, min_value=8, max_value=1024)
    encoding = serializers.ChoiceField(["moves", "strict_up"], required=False)


class MetricsPointOut(Out):
    time = serializers.DateTimeField(help_text="Start of the bar.")
    metrics = Numbers()
    percentiles = Numbers()


class MetricsOut(Out):
    instrument = serializers.CharField()
    window = serializers.IntegerField()
    encoding = serializers.CharField()
    engine = serializers.CharField()
    as_of = serializers.DateTimeField(allow_null=True)
    points = MetricsPointOut(many=True)
