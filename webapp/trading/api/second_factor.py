"""The second factor of the user: making, confirming and ending it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.trading.api.auth_shapes import (
    SecondFactorBeginIn,
    SecondFactorBeginOut,
    SecondFactorConfirmIn,
    SecondFactorConfirmOut,
    SecondFactorEndIn,
    SecondFactorOut,
)
from webapp.trading.api.authentication import user_of
from webapp.trading.api.shapes import SIGNED_IN, checked, with_errors
from webapp.trading.services import second_factor


@contextmanager
def refusal_at(field: str) -> Iterator[None]:
    """Answer a proof that was refused at the field that held it."""
    try:
        yield
    except second_factor.Refused as error:
        raise ValidationError({field: [str(error)]}) from error


class SecondFactor(APIView):
    @extend_schema(
        operation_id="second_factor", responses=with_errors({200: SecondFactorOut}, *SIGNED_IN)
    )
    def get(self, request: Request) -> Response:
        """Whether the user has a second factor: then `proof` is a code, else the password."""
        return Response(_standing(user_of(request)))

    @extend_schema(
        operation_id="second_factor_begin",
        request=SecondFactorBeginIn,
        responses=with_errors({200: SecondFactorBeginOut}, 400, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Make a second factor; its address is shown this once and counts when confirmed."""
        wanted, user = checked(SecondFactorBeginIn, request.data), user_of(request)
        with refusal_at("password"):
            if second_factor.has_second_factor(user):
                raise second_factor.Refused(
                    "There is a second factor already; an administrator can delete it."
                )
            second_factor.person_check(
                user=user,
                proof=wanted["password"],
                request=request._request,
                now=timezone.now(),
            )
            uri = second_factor.second_factor_begin(user=user)
        qr = second_factor.qr_code(uri)
        secret = parse_qs(urlsplit(uri).query)["secret"][0]
        return Response({"uri": uri, "secret": secret, "qr": {"size": qr.size, "path": qr.path}})


class SecondFactorEnd(APIView):
    @extend_schema(
        operation_id="second_factor_end",
        request=SecondFactorEndIn,
        responses=with_errors({200: SecondFactorOut}, 400, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Take the second factor away; from then on the password is the proof."""
        wanted = checked(SecondFactorEndIn, request.data)
        with refusal_at("proof"):
            second_factor.second_factor_end(
                user=user_of(request),
                proof=wanted["proof"],
                request=request._request,
                now=timezone.now(),
            )
        return Response(_standing(user_of(request)))


class SecondFactorConfirm(APIView):
    @extend_schema(
        operation_id="second_factor_confirm",
        request=SecondFactorConfirmIn,
        responses=with_errors({200: SecondFactorConfirmOut}, 400, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Count the second factor from now on, by its first code; recovery codes come this once."""
        wanted = checked(SecondFactorConfirmIn, request.data)
        with refusal_at("code"):
            codes = second_factor.second_factor_confirm(
                user=user_of(request), code=wanted["code"], now=timezone.now()
            )
        return Response({"enrolled": True, "recovery_codes": codes})


def _standing(user: AbstractBaseUser) -> dict[str, Any]:
    return {
        "enrolled": second_factor.has_second_factor(user),
        "recovery_codes_left": second_factor.recovery_codes_left(user),
    }
