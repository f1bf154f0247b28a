"""Who is calling: a token that ends after five minutes, or the session of the page."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.settings import api_settings


class TokenAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>`.

    The user is read each time: one who was deactivated or changed the password is refused at once,
    and so are tokens from before the user's login was ended.
    """

    def get_user(self, validated_token: Any) -> Any:
        user = super().get_user(validated_token)
        ended_at = cache.get(_ended_key(user.pk))
        if ended_at is not None and validated_token.get("iat", 0) <= ended_at:
            raise AuthenticationFailed("The login has ended.", "token_not_valid")
        return user


def end_access(user_id: int, *, now: datetime) -> None:
    """Refuse every access token of a user that was made until `now`, to the second.

    Kept for as long as such a token could live. Without Valkey it lives on, five minutes at most.
    """
    lifetime_s = api_settings.ACCESS_TOKEN_LIFETIME.total_seconds()
    cache.set(_ended_key(user_id), int(now.timestamp()), timeout=int(lifetime_s))


def _ended_key(user_id: int) -> str:
    return f"access-ended:{user_id}"


def user_of(request: Request) -> AbstractBaseUser:
    """Return who is signed in; the permission admits no other to a view."""
    assert isinstance(request.user, AbstractBaseUser)
    return request.user


class TokenScheme(SimpleJWTScheme):
    target_class = TokenAuthentication  # type: ignore[assignment]
    name = "token"
