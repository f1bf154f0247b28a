"""Changing what is configured: checked, kept with who, when, before and after, and applied."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import jsonschema
from django.core.exceptions import ValidationError
from django.db import transaction

from webapp.trading.configuration import RISK, SCHEMA
from webapp.trading.models import BrokerAccount, ConfigChange, ConfigEntry, RiskLimit
from webapp.trading.selectors.configuration import configured_value
from webapp.trading.services import system


def configuration_check(*, key: str, value: Any) -> None:
    """Raise ValidationError by field: the key is not known, or the value breaks its rule."""
    rule = SCHEMA["properties"].get(key)
    if rule is None:
        raise ValidationError({"key": f"there is no setting {key}"})
    try:
        jsonschema.validate(value, rule)
    except jsonschema.ValidationError as error:
        raise ValidationError({"value": error.message}) from error


@transaction.atomic
def configuration_set(
    *, account: BrokerAccount, key: str, value: Any, changed_by: str, source: str, now: datetime
) -> ConfigEntry:
    """Set one key and make it count from the next check on.

    Raises:
        ValidationError: the key is not known, or the value breaks its rule.
    """
    configuration_check(key=key, value=value)
    if not ConfigEntry.objects.filter(key=key).exists():
        # So that the first change can be taken back too.
        before = configured_value(account, key)
        if before is not None:
            _entry_set(key=key, value=before, changed_by="system", source="system", now=now)
    entry = _entry_set(key=key, value=value, changed_by=changed_by, source=source, now=now)
    _apply_limit(account, key.removeprefix(RISK), Decimal(value))
    return entry


def configuration_rollback(
    *, account: BrokerAccount, key: str, version: int, changed_by: str, source: str, now: datetime
) -> ConfigEntry:
    """Set a key to what it was at `version`, as a change of its own.

    Raises:
        ValidationError: there is no such version, or its value breaks today's rule.
    """
    change = ConfigChange.objects.filter(key=key, version=version).first()
    if change is None:
        raise ValidationError({"version": f"{key} has no version {version}"})
    return configuration_set(
        account=account,
        key=key,
        value=change.after,
        changed_by=changed_by,
        source=source,
        now=now,
    )


def _entry_set(*, key: str, value: Any, changed_by: str, source: str, now: datetime) -> ConfigEntry:
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


def _apply_limit(account: BrokerAccount, name: str, value: Decimal) -> None:
    current = (
        RiskLimit.objects.select_for_update()
        .filter(account=account, name=name)
        .order_by("-version")
        .first()
    )
    if current is not None:
        RiskLimit.objects.filter(account=account, name=name).update(active=False)
    version = 1 if current is None else current.version + 1
    limit = RiskLimit(account=account, name=name, value=value, version=version)
    limit.clean_fields()
    limit.save(force_insert=True)
