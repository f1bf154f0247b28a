"""Who is calling: a token that ends after five minutes, or the session of the page."""

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework_simplejwt.authentication import JWTAuthentication


class TokenAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>`.

    The user is read each time: one who was deactivated or changed the password is refused at once.
    """


class TokenScheme(SimpleJWTScheme):
    target_class = TokenAuthentication  # type: ignore[assignment]
    name = "token"
