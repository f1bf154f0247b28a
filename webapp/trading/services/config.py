"""Configuration entries and their whole history."""

from datetime import datetime
from typing import Any

from django.db import transaction

from webapp.trading.models import ConfigChange, ConfigEntry
from webapp.trading.services import system


@transaction.atomic
def config_set(*, key: str, value: Any, changed_by: str, source: str, now: datetime) -> ConfigEntry:
    """Set `key` and keep who changed what from what."""
    entry = ConfigEntry.objects.select_for_update().filter(key=key).first()
    before = None if entry is None else entry.value
    if entry is None:
        entry = ConfigEntry(key=key, value=value, version=1)
    else:
        entry.value = value
        entry.version += 1
    entry.full_clean(validate_unique=False)
    entry.save()
    ConfigChange.objects.create(
        key=key,
        version=entry.version,
        before=before,
        after=value,
        changed_by=changed_by,
        changed_at=now,
        source=source,
    )
    system.status_changed(now=now)
    return entry


@transaction.atomic
def config_rollback(
    *, key: str, version: int, changed_by: str, source: str, now: datetime
) -> ConfigEntry:
    """Set `key` to what it was at `version`, as a change of its own."""
    change = ConfigChange.objects.get(key=key, version=version)
    return config_set(key=key, value=change.after, changed_by=changed_by, source=source, now=now)
