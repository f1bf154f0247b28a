"""Beating for processes that have no loop of their own to do it in."""

import contextlib
import threading

from django.db import DatabaseError, connection
from django.utils import timezone

from webapp.trading.services.heartbeat import beat

PERIOD_S = 5.0


def start_heartbeat(name: str) -> None:
    """Write every 5 s that the process `name` is alive, until it ends."""
    threading.Thread(target=_beat, args=(name,), name="heartbeat", daemon=True).start()


def _beat(name: str) -> None:
    started_at = timezone.now()
    wait = threading.Event()
    while True:
        # Without a database there is nobody to tell; the health says so by the missing beat.
        with contextlib.suppress(DatabaseError):
            beat(name, started_at=started_at, now=timezone.now(), detail={})
        connection.close_if_unusable_or_obsolete()
        wait.wait(PERIOD_S)
