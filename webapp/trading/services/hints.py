"""Telling the trader and the relay that there is work. Only a hint: both look by themselves."""

import logging
from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.db import transaction
from valkey import Valkey
from valkey.exceptions import ValkeyError

logger = logging.getLogger(__name__)

CHANNEL = "sep:hints"

_told: list[Callable[[], object]] = []


def tell_here(callback: Callable[[], object] | None) -> None:
    """Let this process's own hints reach `callback` and nobody else; None: everybody, as before.

    It is for the trader that relays: what it writes is news for its own relay alone, and it need
    not wake itself to look for work that it has just done.
    """
    _told[:] = [] if callback is None else [callback]


def wake() -> None:
    """Say once that there is work, when the caller's transaction has committed."""
    connection = transaction.get_connection()
    if any(call[1] is _publish for call in connection.run_on_commit):
        return
    transaction.on_commit(_publish, robust=True)


@cache
def _client() -> "Valkey[bytes]":
    return Valkey.from_url(settings.VALKEY_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def _publish() -> None:
    if _told:
        _told[0]()
        return
    try:
        _client().publish(CHANNEL, b"")
    except ValkeyError as error:
        logger.debug("no hint was given: %s", error)
