"""Signals, orders and fills; see webapp.trading.api.shapes."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from webapp.trading.api.shapes import (
    DIRECTIONS,
    ORDER_STATES,
    ORDER_TYPES,
    ORIGINS,
    POSITION_FILLS,
    TIMES_IN_FORCE,
    AmountText,
    AnyObject,
    Numbers,
    Out,
    PageIn,
    StrategyNameOut,
    Strict,
)


class SignalOut(Out):
    id = serializers.IntegerField()
    time = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    instrument = serializers.CharField()
    strategy = StrategyNameOut()
    direction = serializers.ChoiceField(DIRECTIONS)
    price = AmountText()
    metrics = Numbers()
    percentiles = Numbers()
    reason = serializers.CharField(allow_blank=True)
    order_id = serializers.IntegerField(allow_null=True)
    verdict = serializers.CharField(
        help_text="On its strategy as it is now: unproven, no edge or passed."
    )


class SignalDetailOut(SignalOut):
    inputs = AnyObject()


class FillOut(Out):
    id = serializers.IntegerField()
    units = AmountText()
    price = AmountText()
    realised_pl = AmountText()
    opened_units = AmountText(
        allow_null=True, help_text="Those that opened a trade; null where the venue keeps none."
    )
    assumed_spread = serializers.BooleanField()
    time = serializers.DateTimeField()


class OrderOut(Out):
    id = serializers.IntegerField()
    client_id = serializers.CharField()
    instrument = serializers.CharField()
    origin = serializers.ChoiceField(ORIGINS)
    type = serializers.ChoiceField(ORDER_TYPES)
    units = AmountText()
    price = AmountText(allow_null=True)
    stop_loss = AmountText(allow_null=True)
    take_profit = AmountText(allow_null=True)
    stop_distance = AmountText(allow_null=True)
    target_distance = AmountText(allow_null=True)
    trailing_distance = AmountText(allow_null=True)
    time_in_force = serializers.ChoiceField(TIMES_IN_FORCE)
    good_until = serializers.DateTimeField(allow_null=True)
    position_fill = serializers.ChoiceField(POSITION_FILLS)
    trade_id = serializers.CharField(allow_blank=True)
    replaces_id = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(ORDER_STATES)
    cause = serializers.CharField(allow_blank=True)
    filled_units = AmountText()
    average_price = AmountText(allow_null=True)
    denied_rule = serializers.CharField(allow_blank=True)
    denied_reason = serializers.CharField(allow_blank=True)
    reduce_only = serializers.BooleanField()
    parent_id = serializers.IntegerField(allow_null=True)
    signal_id = serializers.IntegerField(allow_null=True)
    venue_order_id = serializers.CharField(allow_blank=True)
    market_time = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    fills = FillOut(many=True)


class CheckOut(Out):
    rule = serializers.CharField()
    limit = serializers.CharField(allow_null=True)
    value = serializers.CharField(allow_null=True)
    passed = serializers.BooleanField()


class OrderEventOut(Out):
    seq = serializers.IntegerField()
    time = serializers.DateTimeField()
    state = serializers.ChoiceField(ORDER_STATES)
    cause = serializers.CharField(allow_blank=True)
    filled_units = AmountText()


class RelatedOrderOut(Out):
    how = serializers.CharField()
    id = serializers.IntegerField()
    type = serializers.ChoiceField(ORDER_TYPES)
    units = AmountText()
    state = serializers.ChoiceField(ORDER_STATES)


class OrderAccountOut(Out):
    name = serializers.CharField()
    kind = serializers.CharField()


class FactOut(Out):
    transaction_id = serializers.IntegerField()
    kind = serializers.CharField()
    raw = AnyObject()
    applied_at = serializers.DateTimeField()


class OrderDetailOut(OrderOut):
    account = OrderAccountOut()
    created_by = serializers.CharField(allow_null=True)
    checks = CheckOut(many=True)
    signal = SignalDetailOut(allow_null=True)
    related = RelatedOrderOut(many=True)
    events = OrderEventOut(many=True)
    facts = FactOut(many=True)


class OrderIn(Strict):
    """An intent. What the venue does not take is refused here, the rest is for the risk gate."""

    instrument = serializers.CharField(max_length=32)
    units = AmountText(
        required=False,
        help_text="Signed: + buys, - sells. Of a trade by default all that it holds.",
    )
    type = serializers.ChoiceField(ORDER_TYPES, default="MARKET")
    price = AmountText(required=False, help_text="Of every type but MARKET and TRAILING_STOP_LOSS.")
    stop_loss = AmountText(required=False)
    take_profit = AmountText(required=False)
    stop_distance = AmountText(required=False, help_text="In price from the fill.")
    target_distance = AmountText(required=False, help_text="In price from the fill.")
    trailing_distance = AmountText(
        required=False, help_text="Of a trailing stop, or of the one that comes with the fill."
    )
    time_in_force = serializers.ChoiceField(TIMES_IN_FORCE, required=False)
    good_until = serializers.DateTimeField(required=False, help_text="Of a GTD order.")
    position_fill = serializers.ChoiceField(POSITION_FILLS, default="DEFAULT")
    trade_id = serializers.CharField(required=False, max_length=32)
    reduce_only = serializers.BooleanField(default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "units" not in attrs and "trade_id" not in attrs:
            raise ValidationError({"units": ["This field is required."]})
        return attrs


class OrderChangeIn(Strict):
    """New terms of a working order; what is left out stays, null takes a stop or target away."""

    units = AmountText(required=False)
    price = AmountText(required=False)
    stop_loss = AmountText(required=False, allow_null=True)
    take_profit = AmountText(required=False, allow_null=True)
    trailing_distance = AmountText(required=False, allow_null=True)
    time_in_force = serializers.ChoiceField(TIMES_IN_FORCE, required=False)
    good_until = serializers.DateTimeField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise ValidationError("Say what is to be changed.")
        return attrs


class WaitIn(Strict):
    wait = serializers.FloatField(
        default=0, min_value=0, max_value=5, help_text="Seconds to wait for an outcome."
    )


class OrdersIn(PageIn):
    state = serializers.ChoiceField([*ORDER_STATES, "OPEN"], required=False)
    instrument = serializers.CharField(required=False, max_length=32)


class SignalsIn(PageIn):
    instrument = serializers.CharField(required=False, max_length=32)


class OrdersOut(Out):
    orders = OrderOut(many=True)
