"""Tokens for programs, tickets for WebSockets."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, permissions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.serializers import (
    TokenBlacklistSerializer,
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken
from valkey.exceptions import ValkeyError

from webapp.trading.api.errors import Unavailable
from webapp.trading.api.shapes import (
    CredentialsIn,
    RefreshIn,
    TicketOut,
    TokensOut,
    checked,
    with_errors,
)
from webapp.trading.services.tickets import TICKET_S, ticket_make


class _OpenToAll(APIView):
    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:
        # Without it a refusal would be 403: "you may not" in place of "you are nobody yet".
        return 'Bearer realm="api"'


class TokenObtain(_OpenToAll):
    @extend_schema(
        operation_id="token_obtain",
        request=CredentialsIn,
        responses=with_errors({200: TokensOut}, 401, 429, 503),
    )
    def post(self, request: Request) -> Response:
        """Exchange user name and password for an access and a refresh token."""
        serializer = TokenObtainPairSerializer(
            data=checked(CredentialsIn, request.data), context={"request": request}
        )
        try:
            serializer.is_valid(raise_exception=True)
        except exceptions.AuthenticationFailed:
            refused = getattr(request, "login_refused", None)
            if refused is None:
                raise
            if request.login_wait_s == 0:  # type: ignore[attr-defined]
                raise Unavailable(refused) from None
            raise exceptions.Throttled(request.login_wait_s, refused) from None  # type: ignore[attr-defined]
        return Response(serializer.validated_data)


class TokenRefresh(_OpenToAll):
    @extend_schema(
        operation_id="token_refresh",
        request=RefreshIn,
        responses=with_errors({200: TokensOut}, 401),
    )
    def post(self, request: Request) -> Response:
        """Exchange a refresh token for a new pair; the old one can never be used again.

        A refresh token that comes a second time was stolen from one side or the other: every
        refresh token of its user is then revoked.
        """
        data = checked(RefreshIn, request.data)
        serializer = TokenRefreshSerializer(data=data)
        try:
            serializer.is_valid(raise_exception=True)
        except TokenError as error:
            _revoke_family(data["refresh"])
            raise exceptions.AuthenticationFailed(str(error), "token_not_valid") from error
        except get_user_model().DoesNotExist as error:
            raise exceptions.AuthenticationFailed(code="token_not_valid") from error
        return Response(serializer.validated_data)


class TokenRevoke(_OpenToAll):
    @extend_schema(
        operation_id="token_revoke",
        request=RefreshIn,
        responses=with_errors({204: None}, 401),
    )
    def post(self, request: Request) -> Response:
        """End a refresh token."""
        serializer = TokenBlacklistSerializer(data=checked(RefreshIn, request.data))
        try:
            serializer.is_valid(raise_exception=True)
        except TokenError as error:
            raise exceptions.AuthenticationFailed(str(error), "token_not_valid") from error
        return Response(status=204)


class WebSocketTicket(APIView):
    @extend_schema(
        operation_id="ws_ticket",
        request=None,
        responses=with_errors({200: TicketOut}, 503),
    )
    def post(self, request: Request) -> Response:
        """Make a ticket that opens one WebSocket within 30 s: `/ws/?ticket=...`."""
        assert isinstance(request.user, AbstractBaseUser)  # the permission admits no other
        session_key = getattr(getattr(request, "session", None), "session_key", None)
        try:
            ticket = ticket_make(user=request.user, session_key=session_key)
        except ValkeyError as error:
            raise Unavailable("Valkey does not answer.") from error
        return Response({"ticket": ticket, "expires_in_s": TICKET_S})


def _revoke_family(refresh: str) -> None:
    try:
        jti = RefreshToken(refresh, verify=False)["jti"]  # type: ignore[arg-type]
    except (TokenError, KeyError):
        return
    # The text must match too: only a token that was signed here is in the table.
    known = OutstandingToken.objects.filter(jti=jti, token=refresh).first()
    if known is None:
        return
    if not BlacklistedToken.objects.filter(token=known).exists():
        return
    for outstanding in OutstandingToken.objects.filter(user=known.user):
        BlacklistedToken.objects.get_or_create(token=outstanding)
