"""Passwords are checked at most so often: an atomic count of failures in Valkey.

Every way in (the page, the admin, the token address) comes through `CountedLogin`. When Valkey does
not answer nobody logs in: who is in already stays in.
"""

import hashlib
import ipaddress
import logging
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from valkey import Valkey
from valkey.exceptions import ValkeyError

logger = logging.getLogger(__name__)

WINDOW_S = 3600
FAILURES_PER_ADDRESS = 20
FAILURES_PER_ADDRESS_AND_USER = 10

# Counts one attempt against every key unless one of them is at its limit; answers the seconds to
# wait, 0 when the attempt may go on. One script, so that parallel attempts cannot pass together.
_TAKE = """
local wait = 0
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[i + 1]) then
    wait = math.max(wait, redis.call('TTL', key))
  end
end
if wait > 0 then return wait end
for _, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, ARGV[1]) end
end
return 0
"""

_GIVE_BACK = """
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 and redis.call('DECR', key) <= 0 then
    redis.call('DEL', key)
  end
end
return 0
"""


@cache
def _client() -> "Valkey[bytes]":
    return Valkey.from_url(settings.VALKEY_URL, socket_timeout=1.0, socket_connect_timeout=1.0)


class CountedLogin(ModelBackend):
    """Django's user table, behind a count of failed attempts per address and per user."""

    def authenticate(  # type: ignore[override]  # as Django's own, narrower than its base
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> AbstractBaseUser | None:
        """Return the user, None for a wrong pair.

        Raises:
            PermissionDenied: too many failures, or Valkey does not answer. The reason is then in
                `request.login_refused` and the seconds to wait in `request.login_wait_s`.
        """
        if request is None or username is None or password is None:
            return super().authenticate(request, username, password, **kwargs)
        count_attempt(request, username)
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            attempt_succeeded(request, username)
        return user


def count_attempt(request: HttpRequest, username: str) -> None:
    """Count one attempt to prove who somebody is, by whatever proof.

    Raises:
        PermissionDenied: as `CountedLogin.authenticate`.
    """
    keys = _keys(request.META.get("REMOTE_ADDR", ""), username)
    limits = [FAILURES_PER_ADDRESS, FAILURES_PER_ADDRESS_AND_USER]
    try:
        wait_s = int(_client().eval(_TAKE, len(keys), *keys, WINDOW_S, *limits))
    except ValkeyError as error:
        logger.error("login refused, Valkey does not answer: %s", error)
        raise _refused(request, "Logging in is not possible: Valkey does not answer.", 0) from error
    if wait_s:
        minutes = -(-wait_s // 60)
        raise _refused(request, f"Too many attempts. Try again in {minutes} min.", wait_s)


def attempt_succeeded(request: HttpRequest, username: str) -> None:
    """Take the last attempt out of the count: it was no failure."""
    keys = _keys(request.META.get("REMOTE_ADDR", ""), username)
    try:
        _client().eval(_GIVE_BACK, len(keys), *keys)
    except ValkeyError as error:
        logger.warning("a successful login stays counted: %s", error)


def _refused(request: HttpRequest, reason: str, wait_s: int) -> PermissionDenied:
    request.login_refused = reason  # type: ignore[attr-defined]
    request.login_wait_s = wait_s  # type: ignore[attr-defined]
    return PermissionDenied(reason)


def _keys(address: str, username: str) -> list[str]:
    network = _network(address)
    name = hashlib.sha256(username.casefold().encode()).hexdigest()[:32]
    return [f"sep:login:{network}", f"sep:login:{network}:{name}"]


def _network(address: str) -> str:
    """Return what one person can be held to: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
