"""Telling that a process is alive."""

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from webapp.trading.models import ProcessHeartbeat


def beat(name: str, *, started_at: datetime, now: datetime, detail: Mapping[str, Any]) -> None:
    """Write that the process `name` is alive and what it is doing."""
    ProcessHeartbeat.objects.update_or_create(
        name=name,
        defaults={
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "build": settings.SEP_BUILD,
            "started_at": started_at,
            "beat_at": now,
            "detail": dict(detail),
        },
    )
