"""How SEP is, and what it trades with; see webapp.trading.api.shapes."""

from typing import Any

from rest_framework import serializers

from webapp.trading.api.shapes import (
    HEALTH_STATES,
    PART_STATES,
    PROCESS_STATES,
    SCOPES,
    TRADING_MODES,
    AmountText,
    AnyObject,
    Out,
)


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
