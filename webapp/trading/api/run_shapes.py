"""What requests for runs and their answers look like; see webapp.trading.api.shapes."""

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from sep_engine.backtest import ENTRIES, CostsChange, Grid
from sep_engine.errors import ArgumentError, RuleError
from sep_engine.model.hours import TradingHours
from sep_engine.signals import RULE_SCHEMA, Rule
from webapp.trading.api.shapes import AmountText, AnyJson, Out, PageIn, StrategyNameOut, Strict
from webapp.trading.granularity import GRANULARITIES
from webapp.trading.wire import decimal_text

RUN_KINDS = ["evidence", "backtest", "sweep"]
RUN_STATES = ["QUEUED", "RUNNING", "DONE", "FAILED", "CANCELLED"]
RULES_MAX = 1_000
GRID_MAX = 20_000
_PLACES = re.compile(r"\[(\d+)\]")


@extend_schema_field({**RULE_SCHEMA, "title": "Rule"})
class RuleIn(serializers.JSONField):
    """A rule as `sep_engine.signals` reads it; an error is told at the path that is wrong."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return Rule.from_json(data).to_json()
        except RuleError as error:
            raise ValidationError(_at_path(str(error))) from error


@extend_schema_field({"type": "object", "additionalProperties": True})
class GridIn(serializers.JSONField):
    """A grid of rules as `sep_engine.backtest.Grid` reads it."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            grid = Grid.from_json(data if isinstance(data, dict) else {})
        except RuleError as error:
            raise ValidationError(_at_path(str(error))) from error
        if grid.costs != (CostsChange(),):
            raise ValidationError({"costs": ["A run here has costs of its own."]})
        if len(grid) > GRID_MAX:
            raise ValidationError(f"{len(grid):,} rules; at most {GRID_MAX:,} are tried here.")
        return grid.to_json()


def _at_path(message: str) -> Any:
    """Return the message under the path that it begins with, e.g. `gates[0].percentile`."""
    path, _, _ = message.partition(" ")
    path = _PLACES.sub(r".\1", path.rstrip(":"))
    if not re.fullmatch(r"[a-z_]+(\.\w+)*", path) or path == "a":
        return message
    found: Any = [message]
    for name in reversed(path.split(".")):
        found = {name: found}
    return found


class DataIn(Strict):
    """The bars: a sample that comes with SEP, a data set, or stored candles of an instrument."""

    sample = serializers.RegexField(r"^[a-z0-9_]{1,64}$", required=False)
    stored = serializers.RegexField(r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$", required=False)
    instrument = serializers.RegexField(r"^[A-Z0-9_]{1,32}$", required=False)
    granularity = serializers.ChoiceField(GRANULARITIES, required=False)
    to = serializers.DateTimeField(required=False, help_text="Start of the last bar.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is a word of Python.
        start = serializers.DateTimeField(required=False, help_text="Start of the first bar.")
        return {**super().get_fields(), "from": start}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len({"sample", "stored", "instrument"} & set(attrs)) != 1:
            raise ValidationError("Name a sample, a data set (stored) or an instrument.")
        if "instrument" not in attrs and len(attrs) > 1:
            raise ValidationError("A sample or a data set is taken whole.")
        if "instrument" in attrs:
            attrs.setdefault("granularity", "H1")
        times: dict[str, Any] = {
            name: attrs[name].isoformat() for name in ("from", "to") if name in attrs
        }
        return {**attrs, **times}


def _pips(attrs: dict[str, Any], *names: str) -> None:
    for name in names:
        value = attrs.get(name)
        if value is not None and value < 0:
            raise ValidationError({name: ["Must be >= 0."]})
        attrs[name] = None if value is None else decimal_text(value)


class _OnBars(Strict):
    """What every question has; `data` is a word of the serializer itself."""

    spread_pips = AmountText(required=False, allow_null=True)
    session = serializers.CharField(
        required=False,
        allow_null=True,
        max_length=200,
        help_text="Enter only within these hours: mon-fri 08:00-17:00 Europe/London.",
    )

    def validate_session(self, session: str | None) -> str | None:
        if session is None:
            return None
        try:
            return TradingHours.of(session).text
        except ArgumentError as error:
            raise ValidationError(str(error)) from error

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {"data": DataIn(required=False), **super().get_fields()}


class EntryIn(serializers.ChoiceField):
    """At which price of the bar after a decision a position is entered; the open if it is left out.

    A name that is left out stays out, so that a question means what it always meant.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=list(ENTRIES), required=False, **kwargs)


class EvidenceIn(_OnBars):
    """Is there an edge? Of rules, of a strategy's rule, or of the 145 that SEP starts with."""

    rules = serializers.ListField(
        child=RuleIn(), required=False, min_length=1, max_length=RULES_MAX
    )
    grid = GridIn(required=False)
    strategy = serializers.IntegerField(required=False, min_value=1)
    surrogates = serializers.IntegerField(default=200, min_value=19, max_value=5_000)
    entry = EntryIn()
    folds = serializers.IntegerField(default=8, min_value=2, max_value=50)
    seed = serializers.IntegerField(default=0, min_value=0, max_value=2**31 - 1)
    synthetic = serializers.BooleanField(default=False, help_text="The prices were generated.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        _pips(attrs, "spread_pips")
        if "strategy" in attrs:
            for name in ("rules", "grid", "synthetic", "spread_pips", "session", "entry"):
                if attrs.get(name):
                    raise ValidationError({name: ["A strategy is judged as it trades."]})
            if "data" in attrs:
                raise ValidationError({"data": ["A strategy is judged on all its candles."]})
            for name in ("folds", "seed"):
                if attrs[name] != self.fields[name].default:
                    raise ValidationError({name: ["A strategy is judged with the usual ones."]})
            if attrs["surrogates"] < 200:
                raise ValidationError({"surrogates": ["A strategy is judged with 200 at least."]})
        if "grid" in attrs and "rules" in attrs:
            raise ValidationError({"grid": ["Name rules or a grid of them, not both."]})
        if "grid" in attrs and "entry" in attrs:
            raise ValidationError({"entry": ["A grid says itself when its rules enter."]})
        names = [json_text(rule) for rule in attrs.get("rules", ())]
        if len(set(names)) != len(names):
            raise ValidationError({"rules": ["Each rule must be there once."]})
        return attrs


def json_text(rule: dict[str, Any]) -> str:
    """Return what tells rules apart: all but their size."""
    return str(sorted((key, str(value)) for key, value in rule.items() if key != "units"))


class BacktestIn(_OnBars):
    """What one rule would have earned."""

    rule = RuleIn(required=False)
    entry = EntryIn()
    cost_pips = AmountText(required=False, allow_null=True, help_text="Of each side.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        _pips(attrs, "spread_pips", "cost_pips")
        return attrs


class SweepIn(_OnBars):
    """What every rule of a grid would have earned."""

    grid = GridIn()
    cost_pips = AmountText(required=False, allow_null=True, help_text="Of each side.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        _pips(attrs, "spread_pips", "cost_pips")
        return attrs


class RunsIn(PageIn):
    kind = serializers.ChoiceField(RUN_KINDS, required=False)
    state = serializers.ChoiceField(RUN_STATES, required=False)


class CompareIn(Strict):
    ids = serializers.RegexField(
        r"^[0-9a-f]{64}(,[0-9a-f]{64}){1,3}$", help_text="Two to four runs, by commas."
    )


class RunDataOut(Out):
    sample = serializers.CharField(required=False)
    stored = serializers.CharField(required=False)
    instrument = serializers.CharField(required=False)
    granularity = serializers.CharField(required=False)
    price_side = serializers.CharField()
    bars = serializers.IntegerField()
    to = serializers.DateTimeField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            **super().get_fields(),
            "from": serializers.DateTimeField(required=False),
            "source": serializers.CharField(required=False),
        }


class DataSetOut(Out):
    name = serializers.CharField()
    instrument = serializers.CharField()
    granularity = serializers.CharField()
    bars = serializers.IntegerField()
    first = serializers.CharField()
    last = serializers.CharField()
    content_sha256 = serializers.CharField()
    synthetic = serializers.BooleanField()
    spread_known = serializers.BooleanField()


class DataSetsOut(Out):
    data_sets = DataSetOut(many=True)


class SectionOut(Out):
    name = serializers.CharField()
    text = serializers.CharField()


class FigureOut(Out):
    name = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    unit = serializers.CharField(allow_blank=True)


class RunOut(Out):
    id = serializers.CharField(help_text="The hash of data, code, configuration and seed.")
    kind = serializers.ChoiceField(RUN_KINDS)
    name = serializers.CharField()
    data_sha256 = serializers.CharField()
    code_version = serializers.CharField()
    seed = serializers.IntegerField()
    strategy = StrategyNameOut(allow_null=True)
    state = serializers.ChoiceField(RUN_STATES)
    progress = serializers.FloatField(min_value=0, max_value=1)
    edge = serializers.BooleanField(allow_null=True)
    result_text = serializers.CharField(allow_blank=True)
    error = serializers.CharField(allow_blank=True)
    sections = SectionOut(many=True)
    figures = FigureOut(many=True)
    requested_by = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "data": RunDataOut()}


class ShardsOut(Out):
    total = serializers.IntegerField()
    done = serializers.IntegerField()
    running = serializers.IntegerField()
    waiting = serializers.IntegerField()
    failed = serializers.IntegerField()
    tried_again = serializers.IntegerField()


class RunDetailOut(RunOut):
    configuration = AnyJson()
    shards = ShardsOut()


class ComparedFigureOut(Out):
    name = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    values = serializers.ListField(child=serializers.FloatField(allow_null=True))


class ComparedOut(Out):
    runs = RunOut(many=True)
    figures = ComparedFigureOut(many=True)


class SessionIn(Strict):
    session = serializers.CharField(
        max_length=200,
        allow_blank=True,
        help_text="mon-fri 08:00-17:00 Europe/London; blank: it enters at any time.",
    )


class OverrideIn(Strict):
    reason = serializers.CharField(max_length=300)
    confirmation = serializers.CharField(max_length=64, help_text="The strategy's name, typed.")


class OverrideOut(Out):
    id = serializers.IntegerField()
    reason = serializers.CharField()
    made_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    withdrawn_by = serializers.CharField(allow_blank=True)
    withdrawn_at = serializers.DateTimeField(allow_null=True)


class LiveGateOut(Out):
    allowed = serializers.BooleanField()
    reason = serializers.CharField()
    verdict = serializers.CharField()
    verdict_text = serializers.CharField()
    in_force = serializers.IntegerField(
        allow_null=True, help_text="The override that holds for the strategy as it is now."
    )
    overrides = OverrideOut(many=True)
