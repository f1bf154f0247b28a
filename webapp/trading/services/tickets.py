"""One-time tickets that open a WebSocket: an address bar or a log never holds a login."""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.models import Session
from rest_framework_simplejwt.utils import get_md5_hash_password
from valkey.asyncio import Valkey

from webapp.trading.selectors.market import valkey_client

TICKET_S = 30


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a ticket was made for, with what must still hold while the socket is open."""

    user_id: int
    password_mark: str
    session_key: str | None


def ticket_make(*, user: AbstractBaseUser, session_key: str | None) -> str:
    """Return a ticket that can be redeemed once within 30 s.

    Raises:
        ValkeyError: Valkey does not answer.
    """
    ticket = secrets.token_urlsafe(32)
    holder = Holder(user.pk, get_md5_hash_password(user.password), session_key)
    valkey_client().set(_key(ticket), json.dumps(asdict(holder)), ex=TICKET_S)
    return ticket


async def ticket_redeem(ticket: str) -> Holder | None:
    """Return who the ticket was made for; None if it is unknown, used or old.

    Raises:
        ValkeyError: Valkey does not answer.
    """
    async with Valkey.from_url(
        settings.VALKEY_URL, socket_timeout=1.0, socket_connect_timeout=1.0
    ) as client:
        stored = await client.getdel(_key(ticket))
    return None if stored is None else Holder(**json.loads(stored))


def holder_is_valid(holder: Holder) -> bool:
    """Return whether the holder is still active staff with the same password and login."""
    user = get_user_model().objects.filter(pk=holder.user_id, is_active=True).first()
    if user is None or not user.is_staff:
        return False
    if get_md5_hash_password(user.password) != holder.password_mark:
        return False
    if holder.session_key is None:
        return True
    return Session.objects.filter(session_key=holder.session_key).exists()


def _key(ticket: str) -> str:
    # Under its hash, so that what Valkey holds opens nothing.
    return f"sep:ws:ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"
