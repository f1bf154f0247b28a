"""Telling the trader and the relay that there is work. Only a hint: both look by themselves."""

import logging
from functools import cache

from django.conf import settings
from django.db import transaction
from valkey import Valkey
from valkey.exceptions import ValkeyError

logger = logging.getLogger(__name__)

CHANNEL = "sep:hints"


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
    try:
        _client().publish(CHANNEL, b"")
    except ValkeyError as error:
        logger.debug("no hint was given: %s", error)
