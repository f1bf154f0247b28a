"""What requests and answers look like. The OpenAPI schema, and with it the client, comes from here.

Input shapes (`...In`) check; a field that they do not know is an error. Output shapes (`...Out`)
only describe: answers are built by webapp.trading.selectors and a test holds them to the schema.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from sep_engine.execution.states import (
    OrderState,
    OrderType,
    Origin,
    PositionFill,
    TimeInForce,
    TradingMode,
)
from webapp.trading.granularity import GRANULARITIES

# SQLite keeps so many exactly.
DIGITS_MAX = 15
_AMOUNT = r"-?[0-9]{1,18}(\.[0-9]{1,10})?"
# Named in settings, so that the schema and the client call them by these names.
ORDER_STATES = [str(state) for state in OrderState]
TRADING_MODES = [str(mode) for mode in TradingMode]
ORDER_TYPES = [str(kind) for kind in OrderType]
TIMES_IN_FORCE = [str(force) for force in TimeInForce]
POSITION_FILLS = [str(fill) for fill in PositionFill]
COMPARISONS = ["AGREED", "CAUGHT_UP", "DIFFERED", "UNREACHED"]
ORIGINS = [str(origin) for origin in Origin]
DIRECTIONS = ["BUY", "SELL"]
SCOPES = ["GLOBAL", "ACCOUNT", "STRATEGY"]
SIDES = ["NET", "LONG", "SHORT"]
JOB_STATES = ["QUEUED", "RUNNING", "DONE", "FAILED"]
HEALTH_STATES = ["ok", "degraded", "down"]
PROCESS_STATES = ["up", "late", "down"]
PART_STATES = ["up", "down"]


class Strict(serializers.Serializer[Any]):
    """An input whose unknown fields are errors."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise ValidationError({name: ["This field is not known."] for name in unknown})
        return super().to_internal_value(data)


def checked(shape: type[Strict], data: Any) -> dict[str, Any]:
    """Return the validated input, or raise ValidationError."""
    serializer = shape(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class Out(serializers.Serializer[Any]):
    """An output; see the module."""


@extend_schema_field({"type": "string", "pattern": f"^{_AMOUNT}$", "example": "1.08425"})
class AmountText(serializers.CharField):
    """An exact decimal as text. A JSON number is refused: it may have lost digits already."""

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str) or not re.fullmatch(_AMOUNT, data):
            raise ValidationError('Must be a decimal number as text, such as "1.08425".')
        value = Decimal(data)
        if len(value.normalize().as_tuple().digits) > DIGITS_MAX:
            raise ValidationError(f"Must have at most {DIGITS_MAX} significant digits.")
        return value


@extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "null"]}})
class Numbers(serializers.DictField):
    """Metrics by name; null where the window was not full."""


@extend_schema_field({"type": "object", "additionalProperties": True})
class AnyObject(serializers.DictField):
    """An object whose fields are not fixed."""


@extend_schema_field({})
class AnyJson(serializers.JSONField):
    """Any JSON value."""


class ErrorOut(Out):
    code = serializers.CharField()
    message = serializers.CharField()
    fields = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))


_REASONS = {
    400: "The request is not valid.",
    401: "No valid token or session.",
    403: "Not allowed.",
    404: "There is no such thing.",
    409: "It does not fit the present state.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many attempts.",
    503: "A part that this needs does not answer.",
}


def with_errors(responses: dict[int, Any], *codes: int) -> dict[int, Any]:
    """Return the responses of an operation together with its error answers."""
    errors = {code: OpenApiResponse(ErrorOut, _REASONS[code]) for code in codes}
    return responses | errors


SIGNED_IN = (401, 403)


class CredentialsIn(Strict):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class RefreshIn(Strict):
    refresh = serializers.CharField(max_length=4096)


class TokensOut(Out):
    access = serializers.CharField()
    refresh = serializers.CharField()


class TicketOut(Out):
    ticket = serializers.CharField()
    expires_in_s = serializers.IntegerField()


class ProcessOut(Out):
    name = serializers.CharField()
    status = serializers.ChoiceField(PROCESS_STATES)
    age_s = serializers.FloatField(allow_null=True)
    pid = serializers.IntegerField(allow_null=True)
    detail = AnyObject()


class PartOut(Out):
    status = serializers.ChoiceField(PART_STATES)
    kind = serializers.CharField()
    latency_ms = serializers.FloatField(allow_null=True)


class HealthOut(Out):
    status = serializers.ChoiceField(HEALTH_STATES)
    version = serializers.CharField()
    processes = ProcessOut(many=True)
    database = PartOut()
    valkey = PartOut()
    time = serializers.DateTimeField()


class ScopeStateOut(Out):
    scope = serializers.ChoiceField(SCOPES)
    state = serializers.ChoiceField(TRADING_MODES)
    reason = serializers.CharField(allow_blank=True)
    changed_by = serializers.CharField()
    changed_at = serializers.DateTimeField()


class TradingOut(Out):
    """`state` is the strictest of all scopes."""

    state = serializers.ChoiceField(TRADING_MODES)
    reason = serializers.CharField(allow_blank=True)
    account = ScopeStateOut(allow_null=True)
    strategy = ScopeStateOut(allow_null=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `global` is a word of Python.
        return {**super().get_fields(), "global": ScopeStateOut(allow_null=True)}


class FeedPositionOut(Out):
    cursor = serializers.IntegerField()
    total = serializers.IntegerField()
    bars_per_second = serializers.FloatField()
    paused = serializers.BooleanField()
    at_end = serializers.BooleanField()


class FeedOut(FeedPositionOut):
    instrument = serializers.CharField()
    source = serializers.CharField()
    name = serializers.CharField()
    granularity = serializers.CharField()
    history_bars = serializers.IntegerField()
    restart_requested = serializers.BooleanField()


class AccountOut(Out):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.CharField()
    currency = serializers.CharField()


class StrategyOut(Out):
    id = serializers.IntegerField()
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    rule = AnyObject()
    session = serializers.CharField(
        allow_blank=True, help_text="Hours that it enters within; blank: always."
    )
    verdict = serializers.CharField()
    verdict_text = serializers.CharField()
    verdict_run = serializers.CharField(allow_blank=True, help_text="The run that it is from.")


class AssumedSpreadOut(Out):
    pips = AmountText()
    text = serializers.CharField()


class EngineOut(Out):
    version = serializers.CharField()
    backends = serializers.ListField(child=serializers.CharField())


class SystemInfoOut(Out):
    version = serializers.CharField()
    build = serializers.CharField()
    engine = EngineOut()
    python = serializers.CharField()
    platform = serializers.CharField()
    cpus = serializers.IntegerField()
    memory_mb = serializers.IntegerField()
    memory_free_mb = serializers.IntegerField()
    disk_free_mb = serializers.IntegerField()


class StatusOut(Out):
    trading = TradingOut()
    feed = FeedOut(allow_null=True)
    account = AccountOut(allow_null=True)
    strategy = StrategyOut(allow_null=True)
    assumed_spread = AssumedSpreadOut(allow_null=True)
    engine = EngineOut()


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


class StrategyNameOut(Out):
    id = serializers.IntegerField()
    name = serializers.CharField()


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
    confidence = serializers.CharField()


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


class WaitIn(Strict):
    wait = serializers.FloatField(
        default=0, min_value=0, max_value=5, help_text="Seconds to wait for an outcome."
    )


class PageIn(Strict):
    limit = serializers.IntegerField(required=False, min_value=1, max_value=500)
    offset = serializers.IntegerField(required=False, min_value=0, max_value=100_000)


class OrdersIn(PageIn):
    state = serializers.ChoiceField([*ORDER_STATES, "OPEN"], required=False)
    instrument = serializers.CharField(required=False, max_length=32)


class SignalsIn(PageIn):
    instrument = serializers.CharField(required=False, max_length=32)


class OrdersOut(Out):
    orders = OrderOut(many=True)


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


class CloseEverythingIn(Strict):
    reason = serializers.CharField(max_length=300)
    scope = serializers.ChoiceField(SCOPES, default="ACCOUNT")


class LeftOut(Out):
    what = serializers.ChoiceField(("position", "order"))
    name = serializers.CharField(help_text="The instrument of a position, the id of an order.")
    units = AmountText()
    why = serializers.CharField()


class ClosingOut(Out):
    id = serializers.IntegerField()
    account = serializers.CharField()
    strategy = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    ended_because = serializers.CharField(allow_blank=True, help_text='"flat" if nothing is left.')
    left = LeftOut(many=True)


class ClosingsOut(Out):
    closings = ClosingOut(many=True, help_text="The newest first.")


class SecondFactorOut(Out):
    enrolled = serializers.BooleanField()
    recovery_codes_left = serializers.IntegerField()


class SecondFactorBeginIn(Strict):
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class QrOut(Out):
    size = serializers.IntegerField(help_text="Side of the view box, quiet zone included.")
    path = serializers.CharField(help_text="Of an SVG path with a stroke one unit wide.")


class SecondFactorBeginOut(Out):
    uri = serializers.CharField(help_text="The `otpauth://` address.")
    secret = serializers.CharField(help_text="Of the address, for typing; base32.")
    qr = QrOut()


class SecondFactorConfirmIn(Strict):
    code = serializers.CharField(max_length=16)


class SecondFactorConfirmOut(Out):
    enrolled = serializers.BooleanField()
    recovery_codes = serializers.ListField(child=serializers.CharField())


class SecondFactorEndIn(Strict):
    proof = serializers.CharField(max_length=64, help_text="The present code, or a recovery code.")


class TradingStateIn(Strict):
    state = serializers.ChoiceField(TRADING_MODES)
    scope = serializers.ChoiceField(SCOPES, default="ACCOUNT")
    reason = serializers.CharField(max_length=300)
    proof = serializers.CharField(
        max_length=1024,
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="To loosen: the code of the second factor, or the password of who has none.",
    )


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


class ConfigKeyIn(Strict):
    key = serializers.CharField(required=False, max_length=128)


class ConfigHistoryIn(PageIn):
    key = serializers.CharField(required=False, max_length=128)


class ConfigEntryOut(Out):
    key = serializers.CharField()
    value = AnyJson()
    version = serializers.IntegerField()


class ConfigOut(Out):
    entries = ConfigEntryOut(many=True)


class ConfigSetIn(Strict):
    key = serializers.CharField(max_length=128)
    value = AnyJson()


class ConfigRollbackIn(Strict):
    key = serializers.CharField(max_length=128)
    version = serializers.IntegerField(min_value=1)


class ConfigChangeOut(Out):
    key = serializers.CharField()
    version = serializers.IntegerField()
    before = AnyJson()
    after = AnyJson()
    changed_by = serializers.CharField()
    changed_at = serializers.DateTimeField()
    source = serializers.CharField()


class FeedIn(Strict):
    bars_per_second = serializers.FloatField(required=False, min_value=0.01, max_value=1000)
    paused = serializers.BooleanField(required=False)
    restart = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise ValidationError("Say at least one of bars_per_second, paused and restart.")
        return attrs


class AnalyzeIn(Strict):
    instrument = serializers.CharField(max_length=32)
    granularity = serializers.ChoiceField(GRANULARITIES, default="H1")
    window = serializers.IntegerField(default=64, min_value=8, max_value=1024)
    encoding = serializers.ChoiceField(["moves", "strict_up"], default="moves")


class JobOut(Out):
    id = serializers.UUIDField()
    instrument = serializers.CharField()
    granularity = serializers.CharField()
    window = serializers.IntegerField()
    encoding = serializers.CharField()
    state = serializers.ChoiceField(JOB_STATES)
    progress = serializers.FloatField(min_value=0, max_value=1)
    result = AnyJson()
    error = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
