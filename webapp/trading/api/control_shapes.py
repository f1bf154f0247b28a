"""What people decide: states, closings, settings, the replay; see webapp.trading.api.shapes."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from webapp.trading.api.shapes import (
    JOB_STATES,
    SCOPES,
    TRADING_MODES,
    AmountText,
    AnyJson,
    Out,
    PageIn,
    Strict,
)
from webapp.trading.granularity import GRANULARITIES


class ScopeIn(Strict):
    """Of what: everything, the account, or one of its strategies."""

    scope = serializers.ChoiceField(SCOPES, default="ACCOUNT")
    strategy = serializers.IntegerField(
        required=False, help_text="The strategy's id; by default the one that the status shows."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "strategy" in attrs and attrs["scope"] != "STRATEGY":
            raise ValidationError({"strategy": ["Only the scope STRATEGY is of a strategy."]})
        return attrs


class CloseEverythingIn(ScopeIn):
    reason = serializers.CharField(max_length=300)


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


class TradingStateIn(ScopeIn):
    state = serializers.ChoiceField(TRADING_MODES)
    reason = serializers.CharField(max_length=300)
    proof = serializers.CharField(
        max_length=1024,
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="To loosen: the code of the second factor, or the password of who has none.",
    )


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
