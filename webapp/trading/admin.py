"""The admin: everything can be seen; what is the record of something cannot be edited.

Orders, fills, facts, signals, positions and events are written by the order path alone. Changing
them by hand would make the books say what did not happen.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import DecimalField, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.utils import timezone
from unfold.admin import ModelAdmin

from sep_engine.errors import ArgumentError, RuleError
from sep_engine.execution.states import TradingMode
from sep_engine.model.hours import TradingHours
from sep_engine.signals import Rule
from webapp.trading import halt_flag, models
from webapp.trading.account_form import AccountAddForm
from webapp.trading.brokers.base import Kind
from webapp.trading.selectors.status import the_account
from webapp.trading.services.configuration import configuration_check, configuration_set
from webapp.trading.services.live_gate import override_make, strategy_changed
from webapp.trading.services.strategies import strategy_switch
from webapp.trading.services.trading_state import (
    NotRecorded,
    halt_recorded,
    loosens,
    trading_state_set,
)
from webapp.trading.wire import decimal_text


class Figures(ModelAdmin):
    """Lists show decimals without the noughts that fill their columns in the database."""

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        decimals = {
            field.name: str(field.verbose_name)
            for field in self.model._meta.concrete_fields
            if isinstance(field, DecimalField)
        }
        return tuple(
            _figure(name, decimals[name]) if name in decimals else name
            for name in super().get_list_display(request)
        )


def _figure(name: str, label: str) -> Callable[[Any], str | None]:
    @admin.display(description=label, ordering=name)
    def figure(row: Any) -> str | None:
        value = getattr(row, name)
        return None if value is None else decimal_text(value)

    return figure


class Record(Figures):
    """Rows that tell what happened: to be read only."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Settled(Figures):
    """Rows that others point to: they may be changed in part, never deleted."""

    list_per_page = 50

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.Instrument)
class InstrumentAdmin(Settled):
    list_display = ("name", "display_name", "tick", "pip", "units_step", "calendar", "enabled")
    list_filter = ("enabled", "calendar", "quote")
    search_fields = ("name", "display_name")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Prices that are stored already were written on this grid.
        return () if obj is None else ("name", "base", "quote", "tick", "pip", "price_decimals")


@admin.register(models.BrokerAccount)
class BrokerAccountAdmin(Settled):
    list_display = ("name", "kind", "currency", "opening_balance", "last_transaction_id", "epoch")
    list_filter = ("kind", "currency")
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return ("last_transaction_id", "epoch", "kind", "venue_account", "currency",
                "opening_balance", "hedging")  # fmt: skip

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # One database has one venue; before the first account there is something to add.
        allowed = super().has_add_permission(request)
        return bool(allowed) and not models.BrokerAccount.objects.exists()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = AccountAddForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ("name", "kind", "venue_account", "token", "instrument", "granularity",
                    "currency")  # fmt: skip
        return super().get_fields(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Tell what only storing the account shows: an order there that cannot be taken over."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ValidationError as error:
            self.message_user(request, "; ".join(error.messages), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def save_model(
        self, request: HttpRequest, obj: models.BrokerAccount, form: Any, change: bool
    ) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        obj.pk = form.add(stored_by=request.user.get_username()).pk
        obj.refresh_from_db()


@admin.register(models.Strategy)
class StrategyAdmin(Settled):
    list_display = ("name", "instrument", "granularity", "account", "enabled", "verdict")
    list_filter = ("enabled", "verdict", "instrument")
    search_fields = ("name",)
    # A verdict is made by a run, never by hand.
    readonly_fields = ("verdict", "changed_at", "source")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        # A class and what is kept of it change together: manage.py strategy replace.
        return (*fields, "rule") if obj is not None and obj.source else fields

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "rule" and field is not None:
            field.validators.append(_check_rule)
            field.help_text = "Takes effect when the trader starts again."
        if db_field.name == "session" and field is not None:
            field.validators.append(_check_session)
            field.help_text = f"{field.help_text} Takes effect when the trader starts again."
        if db_field.name == "enabled" and field is not None:
            field.help_text = (
                "Off counts at once, on from the next bar; a class that is switched on waits for "
                "the trader to start again. One strategy trades an instrument: the other goes off."
            )
        return field

    def save_model(
        self, request: HttpRequest, obj: models.Strategy, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        now = timezone.now()
        # Without a state of its own it would be HALTED, and nobody could change that.
        models.TradingState.objects.get_or_create(
            scope="STRATEGY", strategy=obj, defaults={"changed_at": now}
        )
        traded_by = {"rule", "session", "instrument", "granularity", "account"}
        if traded_by & set(form.changed_data):
            strategy_changed(strategy=obj, now=now)
        if not change or {"enabled", "instrument", "account"} & set(form.changed_data):
            off = strategy_switch(
                strategy=obj, enabled=obj.enabled, changed_by=request.user.get_username(), now=now
            )
            for name in off:
                self.message_user(
                    request, f"{name} is off: one strategy trades an instrument.", messages.WARNING
                )


def _check_session(value: str) -> None:
    try:
        TradingHours.of(value)
    except ArgumentError as error:
        raise ValidationError(str(error)) from error


def _check_rule(value: Any) -> None:
    try:
        Rule.from_json(value)
    except RuleError as error:
        raise ValidationError(str(error)) from error


@admin.register(models.Feed)
class FeedAdmin(Settled):
    list_display = ("instrument", "venue", "source", "cursor", "total_bars", "paused", "run")
    list_filter = ("venue", "paused")
    search_fields = ("source", "instrument__name")
    fields = ("instrument", "venue", "source", "granularity", "history_bars", "cursor",
              "total_bars", "run", "assumed_spread_pips", "bars_per_second", "paused",
              "restart_requested")  # fmt: skip
    readonly_fields = ("instrument", "venue", "source", "granularity", "history_bars", "cursor",
                       "total_bars", "run", "assumed_spread_pips")  # fmt: skip

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # manage.py load_sample makes a feed together with its candles

    def save_model(self, request: HttpRequest, obj: models.Feed, form: Any, change: bool) -> None:
        # Only these columns: the trader moves the cursor meanwhile.
        obj.save(update_fields=[*form.changed_data, "updated_at"])


@admin.register(models.RiskLimit)
class RiskLimitAdmin(Record):
    list_display = ("name", "value", "account", "version", "active", "created_at")
    list_filter = ("active", "account", "name")
    search_fields = ("name",)


@admin.register(models.BrokerToken)
class BrokerTokenAdmin(Record):
    """That there is a token and who stored it; never the token, sealed or not."""

    list_display = ("account", "stored_by", "stored_at")
    list_filter = ("account",)
    fields = ("account", "stored_by", "stored_at")


@admin.register(models.SecondFactor)
class SecondFactorAdmin(Record):
    """Who has a second factor. Deleting the row is how a lost one is replaced."""

    list_display = ("user", "confirmed_at", "recovery_codes_left", "created_at")
    search_fields = ("user__username",)
    fields = ("user", "confirmed_at", "recovery_codes_left", "created_at")

    def recovery_codes_left(self, row: models.SecondFactor) -> int:
        return len(row.recovery)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)


@admin.register(models.Closing)
class ClosingAdmin(Record):
    list_display = ("asked_at", "account", "strategy", "asked_by", "reason", "ended_at",
                    "ended_because")  # fmt: skip
    list_filter = ("account", "ended_because")
    search_fields = ("reason", "asked_by")


@admin.register(models.LiveArming)
class LiveArmingAdmin(Record):
    list_display = ("account", "armed_by", "reason", "armed_at")
    search_fields = ("armed_by", "reason")


@admin.register(models.Blackout)
class BlackoutAdmin(ModelAdmin):
    list_display = ("starts_at", "ends_at", "currency", "reason", "created_by")
    list_filter = ("currency",)
    search_fields = ("reason",)
    fields = ("currency", "starts_at", "ends_at", "reason")

    def save_model(
        self, request: HttpRequest, obj: models.Blackout, form: Any, change: bool
    ) -> None:
        obj.created_by = request.user.get_username()
        super().save_model(request, obj, form, change)


class TradingStateForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        wanted = super().clean() or {}
        before = models.TradingState.objects.get(pk=self.instance.pk)
        if "state" in wanted and loosens(before, TradingMode(wanted["state"])):
            raise ValidationError(
                "Re-arming asks for a second factor: use the dashboard or manage.py halt."
            )
        return wanted


@admin.register(models.TradingState)
class TradingStateAdmin(Settled):
    form = TradingStateForm
    list_display = ("scope", "account", "strategy", "state", "reason", "changed_by", "changed_at")
    list_filter = ("scope", "state")
    search_fields = ("reason", "changed_by")
    fields = ("scope", "account", "strategy", "state", "reason", "changed_by", "changed_at")
    readonly_fields = ("scope", "account", "strategy", "changed_by", "changed_at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Put up the halt flag before the page's transaction waits for the database."""
        page = partial(super().changeform_view, request, object_id, form_url, extra_context)
        rows = models.TradingState.objects.filter(pk=object_id or 0, scope="GLOBAL")
        halts = request.method == "POST" and request.POST.get("state") == TradingMode.HALTED
        if not (halts and self.has_change_permission(request) and rows.exists()):
            return page()
        halt_flag.put_up(
            request.POST.get("reason", "")[:300],
            by=request.user.get_username(),
            now=timezone.now(),
        )
        try:
            with halt_recorded():
                return page()
        except NotRecorded as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def save_model(
        self, request: HttpRequest, obj: models.TradingState, form: Any, change: bool
    ) -> None:
        trading_state_set(
            scope=obj.scope,
            account=obj.account,
            strategy=obj.strategy,
            state=TradingMode(obj.state),
            reason=obj.reason,
            changed_by=request.user.get_username(),
            now=timezone.now(),
        )


class ConfigEntryForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        wanted = super().clean() or {}
        key = wanted.get("key", self.instance.key)
        if key and "value" in wanted:
            configuration_check(key=key, value=wanted["value"])
        return wanted


@admin.register(models.ConfigEntry)
class ConfigEntryAdmin(Settled):
    form = ConfigEntryForm
    list_display = ("key", "value", "version", "updated_at")
    search_fields = ("key",)
    fields = ("key", "value", "version")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("version",) if obj is None else ("key", "version")

    def save_model(
        self, request: HttpRequest, obj: models.ConfigEntry, form: Any, change: bool
    ) -> None:
        entry = configuration_set(
            account=the_account(),
            key=obj.key,
            value=obj.value,
            changed_by=request.user.get_username(),
            source="admin",
            now=timezone.now(),
        )
        obj.pk, obj.version = entry.pk, entry.version


@admin.register(models.ConfigChange)
class ConfigChangeAdmin(Record):
    list_display = ("key", "version", "before", "after", "changed_by", "source", "changed_at")
    list_filter = ("source", "changed_by")
    search_fields = ("key", "changed_by")


@admin.register(models.Candle)
class CandleAdmin(Record):
    list_display = ("start", "instrument", "granularity", "open", "high", "low", "close",
                    "price_side", "source")  # fmt: skip
    list_filter = ("instrument", "granularity", "price_side", "source")
    date_hierarchy = "start"


@admin.register(models.Signal)
class SignalAdmin(Record):
    list_display = ("time", "strategy", "instrument", "direction", "price", "decision_reason",
                    "order", "run")  # fmt: skip
    list_filter = ("direction", "instrument", "strategy")
    search_fields = ("decision_reason",)
    list_select_related = ("strategy", "instrument", "order")


class FillInline(admin.TabularInline):  # type: ignore[type-arg]
    model = models.Fill
    fields = ("transaction_id", "units", "price", "realised_pl", "assumed_spread", "time")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.Order)
class OrderAdmin(Record):
    list_display = ("id", "created_at", "instrument", "origin", "type", "units", "state",
                    "filled_units", "average_price", "denied_reason")  # fmt: skip
    list_filter = ("state", "origin", "type", "instrument", "account")
    search_fields = ("client_id", "venue_order_id", "denied_reason", "idempotency_key")
    list_select_related = ("instrument",)
    inlines = (FillInline,)


@admin.register(models.Fill)
class FillAdmin(Record):
    list_display = ("transaction_id", "time", "order", "units", "price", "realised_pl",
                    "half_spread_cost", "assumed_spread")  # fmt: skip
    list_filter = ("assumed_spread", "account", "order__instrument")
    search_fields = ("order__client_id", "=transaction_id")
    list_select_related = ("order",)


class Known(admin.SimpleListFilter):
    """A filter by values that are known: Django's own would read every row to find them."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        return queryset if wanted is None else queryset.filter(**{str(self.parameter_name): wanted})


class KindFilter(Known):
    title, parameter_name = "kind", "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, kind.value) for kind in Kind]


class StreamFilter(Known):
    title, parameter_name = "stream", "stream"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = models.StreamHead.objects.order_by("stream").values_list("stream", flat=True)
        return [(name, name) for name in names]


@admin.register(models.BrokerFact)
class BrokerFactAdmin(Record):
    list_display = ("transaction_id", "kind", "account", "applied_at")
    list_filter = (KindFilter, "account")
    search_fields = ("=transaction_id",)


@admin.register(models.Position)
class PositionAdmin(Record):
    list_display = ("instrument", "account", "units", "average_price", "realised_pl", "stop_loss",
                    "opened_at")  # fmt: skip
    list_filter = ("account", "instrument")
    search_fields = ("instrument__name",)


@admin.register(models.Trade)
class TradeAdmin(Record):
    list_display = ("venue_trade_id", "account", "instrument", "opened_units", "units", "price")
    list_filter = ("account", "instrument")


@admin.register(models.Charge)
class ChargeAdmin(Record):
    list_display = ("time", "account", "kind", "amount", "transaction_id")
    list_filter = ("account", "kind")


@admin.register(models.AccountTotals)
class AccountTotalsAdmin(Record):
    list_display = ("account", "realised", "transferred", "trades", "wins", "newest_fill",
                    "last_fill")  # fmt: skip
    list_filter = ("account",)


@admin.register(models.Reconciliation)
class ReconciliationAdmin(Record):
    list_display = ("started_at", "account", "cause", "outcome", "done")
    list_filter = ("account", "outcome", "cause")


@admin.register(models.EventLog)
class EventLogAdmin(Record):
    list_display = ("stream", "seq", "time", "type", "published_at")
    list_filter = (StreamFilter,)
    search_fields = ("=seq",)


@admin.register(models.StreamHead)
class StreamHeadAdmin(Record):
    list_display = ("stream", "last_seq", "last_hash")
    search_fields = ("stream",)


@admin.register(models.ProcessHeartbeat)
class ProcessHeartbeatAdmin(Record):
    list_display = ("name", "pid", "host", "build", "started_at", "beat_at")
    list_filter = ("host", "build")
    search_fields = ("name", "host")


@admin.register(models.PerformanceSnapshot)
class PerformanceSnapshotAdmin(Record):
    list_display = ("time", "account", "equity", "balance", "open_pl", "drawdown", "trades", "wins")
    list_filter = ("account",)


@admin.register(models.LeaseRow)
class LeaseRowAdmin(Record):
    list_display = ("account", "holder", "epoch", "expires_at")
    search_fields = ("holder",)


@admin.register(models.AnalysisJob)
class AnalysisJobAdmin(Record):
    list_display = ("id", "instrument", "window", "encoding", "state", "progress", "requested_by",
                    "created_at", "finished_at")  # fmt: skip
    list_filter = ("state", "instrument", "encoding")
    search_fields = ("id", "error")


class RunShardInline(admin.TabularInline):  # type: ignore[type-arg]
    model = models.RunShard
    fields = ("number", "stage", "state", "progress", "attempts", "holder", "error")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.Run)
class RunAdmin(Record):
    list_display = ("address", "kind", "name", "state", "result_text", "strategy", "requested_by",
                    "created_at", "finished_at")  # fmt: skip
    list_filter = ("kind", "state", "edge")
    search_fields = ("address", "name", "error")
    list_select_related = ("strategy", "requested_by")
    inlines = (RunShardInline,)


@admin.register(models.RunShard)
class RunShardAdmin(Record):
    list_display = ("run", "number", "stage", "state", "progress", "attempts", "holder", "error")
    list_filter = ("state", "stage")
    search_fields = ("run__address", "error")
    exclude = ("result",)


@admin.register(models.RunResult)
class RunResultAdmin(Record):
    list_display = ("run", "created_at", "document_bytes")
    search_fields = ("run__address",)
    fields = ("run", "created_at", "document_bytes")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("page")

    @admin.display(description="bytes of JSON")
    def document_bytes(self, obj: models.RunResult) -> int:
        return len(obj.document)


@admin.register(models.RunRequest)
class RunRequestAdmin(Record):
    list_display = ("key", "run", "requested_by", "created_at")
    search_fields = ("key", "run__address")


@admin.register(models.Trial)
class TrialAdmin(Record):
    list_display = ("seq", "tried_at", "tried_by", "sharpe", "configuration", "data_sha256")
    list_filter = ("tried_by",)
    search_fields = ("=seq", "configuration_sha256", "data_sha256", "run_address")


class LiveOverrideForm(forms.ModelForm):  # type: ignore[type-arg]
    confirmation = forms.CharField(max_length=64, help_text="Type the strategy's name.")

    class Meta:
        model = models.LiveOverride
        fields = ("strategy", "reason")

    def clean(self) -> dict[str, Any]:
        wanted = super().clean() or {}
        strategy = wanted.get("strategy")
        if strategy is not None and wanted.get("confirmation") != strategy.name:
            raise forms.ValidationError({"confirmation": f"Type its name: {strategy.name}"})
        return wanted


@admin.register(models.LiveOverride)
class LiveOverrideAdmin(Record):
    list_display = ("strategy", "reason", "made_by", "created_at", "withdrawn_by", "withdrawn_at")
    search_fields = ("reason", "made_by")
    list_select_related = ("strategy",)
    form = LiveOverrideForm

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def save_model(
        self, request: HttpRequest, obj: models.LiveOverride, form: Any, change: bool
    ) -> None:
        made = override_make(
            strategy=form.cleaned_data["strategy"],
            reason=form.cleaned_data["reason"],
            confirmation=form.cleaned_data["confirmation"],
            made_by=request.user.get_username(),
            now=timezone.now(),
        )
        obj.pk = made.pk
