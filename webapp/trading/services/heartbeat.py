"""Signs of life of the processes."""

import contextlib
import logging
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

logger = logging.getLogger(__name__)

PERIOD_S = 5.0


def heartbeat_record(
    *, name: str, started_at: datetime, now: datetime, detail: Mapping[str, Any] | None = None
) -> None:
    """Say that the process `name`, which is this one, is alive at `now`."""
    ProcessHeartbeat.objects.update_or_create(
        name=name,
        defaults={
            "pid": os.getpid(),
            "host": socket.gethostname()[:128],
            "build": settings.SEP_BUILD,
            "started_at": started_at,
            "beat_at": now,
            "detail": dict(detail or {}),
        },
    )


def heartbeat_thread(name: str) -> None:
    """Beat every 5 s from a thread that ends with the process; for processes without a loop."""
    thread = threading.Thread(target=_beat, args=(name,), name="heartbeat", daemon=True)
    thread.start()


def _beat(name: str) -> None:
    started_at = timezone.now()
    wait = threading.Event()
    while True:
        # Without a database there is nobody to tell; the health says so by the missing beat.
        with contextlib.suppress(DatabaseError):
            heartbeat_record(name=name, started_at=started_at, now=timezone.now())
        connection.close_if_unusable_or_obsolete()
        wait.wait(PERIOD_S)
