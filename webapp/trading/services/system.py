"""Events about SEP itself."""

from datetime import datetime

from django.db import transaction

from webapp.trading.selectors.status import status_resource
from webapp.trading.services import events


def status_changed(*, now: datetime) -> None:
    """Record what `/api/status` answers now."""
    events.record(stream="system", type="system_status", data=status_resource(), now=now)


def alert(*, level: str, text: str, now: datetime) -> None:
    """Record something that a person should see; level is info, warning or error."""
    events.record(stream="alerts", type="alert", data={"level": level, "text": text}, now=now)


@transaction.atomic
def announce(*, level: str, text: str, now: datetime) -> None:
    """Record something that a person should see, and the status that goes with it."""
    alert(level=level, text=text, now=now)
    status_changed(now=now)
