"""Events about SEP itself."""

from datetime import datetime

from webapp.trading.selectors.status import status_resource
from webapp.trading.services import events


def status_changed(*, now: datetime) -> None:
    """Record what `/api/status` answers now."""
    events.record(stream="system", type="system_status", data=status_resource(), now=now)


def alert(*, level: str, text: str, now: datetime) -> None:
    """Record something that a person should see; level is info, warning or error."""
    events.record(stream="alerts", type="alert", data={"level": level, "text": text}, now=now)
