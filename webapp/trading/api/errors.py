"""Every error of the API has one shape: {"code", "message", "fields"}."""

import logging
import re
import secrets
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.fields import get_error_detail
from rest_framework.response import Response

from webapp.trading.api.rendering import dumps
from webapp.trading.services.refusals import KeyReused, NotNow

logger = logging.getLogger(__name__)


class Conflict(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "The request does not fit the present state."
    default_code = "conflict"


class Unprocessable(exceptions.APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_detail = "The request cannot be done."
    default_code = "unprocessable"


class Unavailable(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "A part that this needs does not answer."
    default_code = "unavailable"


def error(code: str, message: str, fields: dict[str, list[str]] | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "fields": fields or {}}


def exception_response(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer an exception that a view raised; None leaves it to `server_error`."""
    if isinstance(exc, Http404):
        exc = exceptions.NotFound(_missing_text(str(exc), context.get("kwargs") or {}) or None)
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    elif isinstance(exc, ValidationError):
        exc = exceptions.ValidationError(get_error_detail(exc))
    elif isinstance(exc, NotNow):
        exc = Conflict(str(exc))
    elif isinstance(exc, KeyReused):
        exc = Unprocessable(str(exc), "idempotency_key_reused")
    if not isinstance(exc, exceptions.APIException):
        return None
    headers: dict[str, str] = {}
    if getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = exc.auth_header  # type: ignore[attr-defined]
    if getattr(exc, "wait", None):
        headers["Retry-After"] = str(max(1, round(exc.wait)))  # type: ignore[attr-defined]
    return Response(_body(exc), status=exc.status_code, headers=headers)


def _missing_text(said: str, address: dict[str, Any]) -> str:
    """Return what was looked for and not found, with its name where the address holds it.

    Args:
        said: the text of Django's 404, which names the model.
        address: the parts of the address by name, e.g. {"order_id": 7}.
    """
    found = re.fullmatch(r"No (\w+) matches the given query\.", said)
    if found is None:
        return said
    words = re.sub(r"(?<=.)(?=[A-Z])", " ", found[1]).lower()
    for name in (words, f"{words}_id"):
        if name in address:
            return f"There is no {words} {address[name]}."
    return f"There is no such {words}."


def _body(exc: exceptions.APIException) -> dict[str, Any]:
    if isinstance(exc, exceptions.ValidationError):
        fields = _flat("", exc.detail)
        general = fields.pop("", None)
        message = general[0] if general else "Some fields are not valid."
        return error("invalid", message, fields)
    detail = exc.detail
    if isinstance(detail, dict):  # simplejwt puts a dictionary here
        return error(str(detail.get("code", exc.default_code)), str(detail.get("detail", "")))
    if isinstance(detail, list):
        return error(exc.default_code, str(detail[0]))
    return error(detail.code or exc.default_code, str(detail))


def _flat(path: str, detail: Any) -> dict[str, list[str]]:
    """Return messages by dotted field path; messages about the whole object are under ''."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            name = "" if name == "non_field_errors" else str(name)
            found |= _flat(".".join(filter(None, (path, name))), inner)
        return found
    if isinstance(detail, list):
        if all(isinstance(message, str) for message in detail):
            return {path: [str(message) for message in detail]}
        found = {}
        for index, inner in enumerate(detail):
            found |= _flat(f"{path}.{index}", inner) if inner else {}
        return found
    return {path: [str(detail)]}


def _answers_json(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _json(status_code: int, code: str, message: str) -> HttpResponse:
    body = dumps(error(code, message))
    return HttpResponse(body, status=status_code, content_type="application/json")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _answers_json(request):
        return _json(400, "bad_request", "The request could not be read.")
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _answers_json(request):
        return _json(403, "permission_denied", "This is not allowed.")
    return defaults.permission_denied(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return forbidden(request, PermissionDenied(reason))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _answers_json(request):
        return _json(404, "not_found", "There is nothing at this address.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an unexpected exception with an id that stands beside its traceback in the log."""
    error_id = secrets.token_hex(6)
    logger.error("error %s at %s %s", error_id, request.method, request.path)
    if _answers_json(request):
        return _json(500, "server_error", f"Something went wrong; the log has error {error_id}.")
    return defaults.server_error(request)
