"""Telling that a process is alive."""

import contextlib
import os
import socket
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from webapp.trading.models import ProcessHeartbeat

PERIOD_S = 5.0


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


def start_heartbeat(name: str) -> None:
    """Beat every 5 s until the process ends, for one that has no loop of its own to do it in."""
    threading.Thread(target=_beat_on, args=(name,), name="heartbeat", daemon=True).start()


def _beat_on(name: str) -> None:
    started_at = timezone.now()
    wait = threading.Event()
    while True:
        # Without a database there is nobody to tell; the health says so by the missing beat.
        with contextlib.suppress(DatabaseError):
            beat(name, started_at=started_at, now=timezone.now(), detail={})
        connection.close_if_unusable_or_obsolete()
        wait.wait(PERIOD_S)
