"""Positions, trades, results, and the comparison of books; see webapp.trading.api.shapes."""

from rest_framework import serializers

from webapp.trading.api.shapes import (
    COMPARISONS,
    ORDER_TYPES,
    POSITION_FILLS,
    SIDES,
    TIMES_IN_FORCE,
    AmountText,
    Out,
    Strict,
)


class CloseIn(Strict):
    units = AmountText(required=False, help_text="How many to close, > 0; all by default.")


class PositionCloseIn(CloseIn):
    side = serializers.ChoiceField(
        SIDES[1:],
        required=False,
        help_text="Of a hedging account, where both sides are held.",
    )


class TradeOut(Out):
    id = serializers.CharField()
    instrument = serializers.CharField()
    opened_units = AmountText()
    units = AmountText()
    price = AmountText()
    realised_pl = AmountText()
    order_id = serializers.IntegerField(allow_null=True)
    opened_at = serializers.DateTimeField()


class OrderTypeOut(Out):
    type = serializers.ChoiceField(ORDER_TYPES)
    times_in_force = serializers.ListField(child=serializers.ChoiceField(TIMES_IN_FORCE))
    needs_trade = serializers.BooleanField()


class BrokerOut(Out):
    """What the account's venue takes."""

    kind = serializers.CharField()
    types = OrderTypeOut(many=True)
    position_fills = serializers.ListField(child=serializers.ChoiceField(POSITION_FILLS))
    on_fill = serializers.ListField(child=serializers.ChoiceField(ORDER_TYPES))
    trades = serializers.BooleanField()
    replaces = serializers.BooleanField()


class DifferenceOut(Out):
    what = serializers.CharField()
    key = serializers.CharField()
    local = AmountText(allow_null=True)
    reported = AmountText(allow_null=True)


class ReconciliationOut(Out):
    id = serializers.IntegerField()
    cause = serializers.CharField()
    outcome = serializers.ChoiceField(COMPARISONS)
    done = serializers.CharField(allow_blank=True)
    facts_read = serializers.IntegerField()
    adopted = serializers.IntegerField()
    differences = DifferenceOut(many=True)
    started_at = serializers.DateTimeField()
    took_ms = serializers.IntegerField()


class ComparedRowOut(Out):
    what = serializers.CharField()
    key = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    order_id = serializers.IntegerField(allow_null=True)
    origin = serializers.CharField(allow_blank=True)
    local = serializers.CharField(allow_null=True)
    reported = serializers.CharField(allow_null=True)
    same = serializers.BooleanField()


class ReconciliationDetailOut(ReconciliationOut):
    rows = ComparedRowOut(many=True)


class PositionOut(Out):
    instrument = serializers.CharField()
    side = serializers.ChoiceField(SIDES)
    units = AmountText()
    average_price = AmountText(allow_null=True)
    mark = AmountText(allow_null=True)
    open_pl = AmountText(allow_null=True)
    realised_pl = AmountText()
    stop_loss = AmountText(allow_null=True)
    trailing_distance = AmountText(
        allow_null=True, help_text="Of the nearest trailing stop from the best price."
    )
    age_s = serializers.FloatField(allow_null=True)
    currency = serializers.CharField()


class PerformanceOut(Out):
    account = serializers.CharField()
    currency = serializers.CharField()
    balance = AmountText()
    equity = AmountText(allow_null=True)
    realised_pl = AmountText()
    open_pl = AmountText(allow_null=True)
    day_pl = AmountText(
        allow_null=True, help_text="Realised since 17:00 New York, and open profit."
    )
    trades = serializers.IntegerField(help_text="Fills that realised a profit or a loss.")
    wins = serializers.IntegerField()
    win_rate = serializers.FloatField(allow_null=True)
    drawdown = AmountText(allow_null=True)
    max_drawdown = AmountText(allow_null=True)
    sharpe = serializers.FloatField(allow_null=True)
    as_of = serializers.DateTimeField()
    market_time = serializers.DateTimeField(allow_null=True)
    assumed_spread = serializers.BooleanField()


class PerformancePointOut(Out):
    time = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    equity = AmountText()
    balance = AmountText()
    realised_pl = AmountText()
    open_pl = AmountText()
    drawdown = AmountText()


class PerformanceHistoryOut(Out):
    account = serializers.CharField()
    points = PerformancePointOut(many=True)


class HistoryIn(Strict):
    limit = serializers.IntegerField(default=2000, min_value=1, max_value=5000)
