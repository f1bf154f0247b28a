"""The newest quote, bar and metrics of each instrument, as the trader last published them.

Valkey holds them, not the database: when it is down or was emptied there is no newest quote, and
that is what these functions say.
"""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django.conf import settings
from valkey import Valkey
from valkey.exceptions import ValkeyError

logger = logging.getLogger(__name__)


def market_key(instrument: str) -> str:
    return f"sep:events:market.{instrument}"


@cache
def valkey_client() -> "Valkey[bytes]":
    """Return this process' client: a pool of connections that gives up after a second."""
    return Valkey.from_url(settings.VALKEY_URL, socket_timeout=1.0, socket_connect_timeout=1.0)


@dataclass(frozen=True, slots=True)
class MarketUpdate:
    """The newest market update of one instrument, and when it was published (wall clock)."""

    data: dict[str, Any]
    published_at: datetime

    @property
    def bid(self) -> Decimal:
        return Decimal(self.data["quote"]["bid"])

    @property
    def ask(self) -> Decimal:
        return Decimal(self.data["quote"]["ask"])

    def age_s(self, now: datetime) -> float:
        return round(max(0.0, (now - self.published_at).total_seconds()), 3)


def market_latest(instrument: str) -> MarketUpdate | None:
    """Return the newest update, or None when none is known."""
    try:
        entries = valkey_client().xrevrange(market_key(instrument), count=1)
    except ValkeyError as error:
        logger.warning("Valkey does not answer: %s", error)
        return None
    if not entries:
        return None
    _, fields = entries[0]
    envelope = json.loads(fields[b"envelope"])
    published_at = datetime.fromisoformat(envelope["time"]).astimezone(UTC)
    return MarketUpdate(data=envelope["data"], published_at=published_at)
