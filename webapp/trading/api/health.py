"""Is everything up, and what is it doing?"""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.trading.api.shapes import SIGNED_IN, with_errors
from webapp.trading.api.status_shapes import HealthOut, StatusOut, SystemInfoOut
from webapp.trading.selectors.status import health_resource, status_resource, system_resource


class Health(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(operation_id="health", responses={200: HealthOut, 503: HealthOut})
    def get(self, request: Request) -> Response:
        """Which processes and stores answer. 503 when the database does not."""
        health = health_resource(timezone.now())
        return Response(health, status=503 if health["status"] == "down" else 200)


class Status(APIView):
    @extend_schema(operation_id="status", responses=with_errors({200: StatusOut}, *SIGNED_IN))
    def get(self, request: Request) -> Response:
        """Trading state, feed, account, strategy and engine."""
        return Response(status_resource())


class SystemInfo(APIView):
    @extend_schema(
        operation_id="system_info", responses=with_errors({200: SystemInfoOut}, *SIGNED_IN)
    )
    def get(self, request: Request) -> Response:
        """What runs here, and on what."""
        return Response(system_resource())


_METRICS = {
    "status": ("sep_process_up", "Whether a process has beaten in time."),
    "age_s": ("sep_process_heartbeat_age_seconds", "Seconds since a process last beat."),
}


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer the health in the text format of Prometheus."""
    health = health_resource(timezone.now())
    lines = []
    for part in ("database", "valkey"):
        name = f"sep_{part}_up"
        lines += [f"# TYPE {name} gauge", f"{name} {int(health[part]['status'] == 'up')}"]
    for field, (name, meaning) in _METRICS.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
        for process in health["processes"]:
            value = int(process["status"] == "up") if field == "status" else process[field]
            if value is not None:
                lines.append(f'{name}{{process="{process["name"]}"}} {value}')
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4")
