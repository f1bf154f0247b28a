"""What requests and answers look like. The OpenAPI schema, and with it the client, comes from here.

Input shapes (`...In`) check; a field that they do not know is an error. Output shapes (`...Out`)
only describe: answers are built by webapp.trading.selectors and a test holds them to the schema.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
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
    return dict(_made(shape).run_validation(data))


@cache
def _made(shape: type[Strict]) -> Strict:
    """Return the shape. To make one copies all of its fields; to check leaves them as they are."""
    return shape()


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


class StrategyNameOut(Out):
    id = serializers.IntegerField()
    name = serializers.CharField()


class PageIn(Strict):
    limit = serializers.IntegerField(required=False, min_value=1, max_value=500)
    offset = serializers.IntegerField(required=False, min_value=0, max_value=100_000)
