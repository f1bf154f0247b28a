"""Reading and changing the configuration."""

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.trading.api.control_shapes import (
    ConfigChangeOut,
    ConfigEntryOut,
    ConfigHistoryIn,
    ConfigKeyIn,
    ConfigOut,
    ConfigRollbackIn,
    ConfigSetIn,
)
from webapp.trading.api.pages import page_of, paged
from webapp.trading.api.shapes import SIGNED_IN, checked, with_errors
from webapp.trading.configuration import SCHEMA
from webapp.trading.models import ConfigChange, ConfigEntry
from webapp.trading.selectors.configuration import configuration
from webapp.trading.selectors.status import the_account
from webapp.trading.services.configuration import configuration_rollback, configuration_set
from webapp.trading.wire import time_text


class ConfigGet(APIView):
    @extend_schema(
        operation_id="config_get",
        parameters=[ConfigKeyIn],
        responses=with_errors({200: ConfigOut}, 400, 404, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Every setting, or one of them; value null: not set."""
        key = checked(ConfigKeyIn, request.query_params.dict()).get("key")
        entries = configuration(the_account())
        if key is not None:
            entries = [entry for entry in entries if entry["key"] == key]
            if not entries:
                raise NotFound(f"There is no setting {key}.")
        return Response({"entries": entries})


class ConfigSet(APIView):
    @extend_schema(
        operation_id="config_set",
        request=ConfigSetIn,
        responses=with_errors({200: ConfigEntryOut}, 400, 404, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Change one setting; it counts from the next check on."""
        wanted = checked(ConfigSetIn, request.data)
        entry = configuration_set(
            account=the_account(),
            changed_by=request.user.get_username(),
            source="api",
            now=timezone.now(),
            **wanted,
        )
        return Response(_entry(entry))


class ConfigSchema(APIView):
    @extend_schema(
        operation_id="config_schema",
        responses=with_errors({200: OpenApiTypes.OBJECT}, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """The JSON Schema of every setting."""
        return Response(SCHEMA)


class ConfigHistory(APIView):
    @extend_schema(
        operation_id="config_history",
        parameters=[ConfigHistoryIn],
        responses=with_errors({200: paged(ConfigChangeOut)}, 400, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Who changed what, when, from what; newest first."""
        query = checked(ConfigHistoryIn, request.query_params.dict())
        rows = ConfigChange.objects.order_by("-pk")
        if "key" in query:
            rows = rows.filter(key=query["key"])
        return page_of(request, rows, _change)


class ConfigRollback(APIView):
    @extend_schema(
        operation_id="config_rollback",
        request=ConfigRollbackIn,
        responses=with_errors({200: ConfigEntryOut}, 400, 404, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Set a setting to what it was at a version, as a new change."""
        wanted = checked(ConfigRollbackIn, request.data)
        entry = configuration_rollback(
            account=the_account(),
            changed_by=request.user.get_username(),
            source="api",
            now=timezone.now(),
            **wanted,
        )
        return Response(_entry(entry))


def _entry(entry: ConfigEntry) -> dict[str, object]:
    return {"key": entry.key, "value": entry.value, "version": entry.version}


def _change(change: ConfigChange) -> dict[str, object]:
    return {
        "key": change.key,
        "version": change.version,
        "before": change.before,
        "after": change.after,
        "changed_by": change.changed_by,
        "changed_at": time_text(change.changed_at),
        "source": change.source,
    }
