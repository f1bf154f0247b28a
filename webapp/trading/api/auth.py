"""Tokens for programs, tickets for WebSockets."""

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
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

from webapp.trading.api.auth_shapes import CredentialsIn, RefreshIn, TicketOut, TokensOut
from webapp.trading.api.authentication import end_access, user_of
from webapp.trading.api.errors import Unavailable
from webapp.trading.api.shapes import checked, with_errors
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
        token of its user is then dead.
        """
        data = checked(RefreshIn, request.data)
        serializer = TokenRefreshSerializer(data=data)
        try:
            with transaction.atomic():
                # Of two that come at one time the second must see that the first used it up.
                _known(data["refresh"], lock=True)
                serializer.is_valid(raise_exception=True)
        except TokenError as error:
            known = _known(data["refresh"])
            if known is not None and _is_used_up(known):
                _end_login(known.user_id)
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
        """End a refresh token, and the access tokens that its user has now."""
        data = checked(RefreshIn, request.data)
        serializer = TokenBlacklistSerializer(data=data)
        try:
            serializer.is_valid(raise_exception=True)
        except TokenError as error:
            raise exceptions.AuthenticationFailed(str(error), "token_not_valid") from error
        known = _known(data["refresh"])
        if known is not None and known.user_id is not None:
            end_access(known.user_id, now=timezone.now())
        return Response(status=204)


class WebSocketTicket(APIView):
    @extend_schema(
        operation_id="ws_ticket",
        request=None,
        responses=with_errors({200: TicketOut}, 503),
    )
    def post(self, request: Request) -> Response:
        """Make a ticket that opens one WebSocket within 30 s: `/ws/?ticket=...`."""
        session_key = getattr(getattr(request, "session", None), "session_key", None)
        try:
            ticket = ticket_make(user=user_of(request), session_key=session_key)
        except ValkeyError as error:
            raise Unavailable("Valkey does not answer.") from error
        return Response({"ticket": ticket, "expires_in_s": TICKET_S})


def _known(refresh: str, *, lock: bool = False) -> OutstandingToken | None:
    """Return the row of a refresh token that was signed here: its whole text must match."""
    try:
        jti = RefreshToken(refresh, verify=False)["jti"]  # type: ignore[arg-type]
    except (TokenError, KeyError):
        return None
    rows = OutstandingToken.objects.filter(jti=jti, token=refresh)
    return (rows.select_for_update() if lock else rows).first()


def _is_used_up(token: OutstandingToken) -> bool:
    return BlacklistedToken.objects.filter(token=token).exists()


def _end_login(user_id: int | None) -> None:
    if user_id is None:  # the user was deleted
        return
    for outstanding in OutstandingToken.objects.filter(user=user_id):
        BlacklistedToken.objects.get_or_create(token=outstanding)
    end_access(user_id, now=timezone.now())
