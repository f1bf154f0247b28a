"""What is configured now."""

from typing import Any

from webapp.trading.configuration import RISK, SCHEMA
from webapp.trading.models import BrokerAccount, ConfigEntry, RiskLimit
from webapp.trading.wire import decimal_text


def configured_value(account: BrokerAccount, key: str) -> str | None:
    """Return the value that counts for `key`; None: it is not set, and the gate denies."""
    limit = RiskLimit.objects.filter(
        account=account, name=key.removeprefix(RISK), active=True
    ).first()
    return None if limit is None else decimal_text(limit.value)


def configuration(account: BrokerAccount) -> list[dict[str, Any]]:
    """Return every key with its value and version; version 0 was never changed."""
    limits = RiskLimit.objects.filter(account=account, active=True)
    values = {RISK + limit.name: decimal_text(limit.value) for limit in limits}
    versions = dict(ConfigEntry.objects.values_list("key", "version"))
    return [
        {"key": key, "value": values.get(key), "version": versions.get(key, 0)}
        for key in SCHEMA["properties"]
    ]
