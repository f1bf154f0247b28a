"""The header that makes asking twice for one thing harmless."""

import re

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    required=True,
    description="A new random text for each thing that you want; the same for a retry.",
)


def key_of(request: Request) -> str:
    """Return the key of a request, or raise ValidationError."""
    key = request.headers.get(KEY.name, "")
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", key):
        raise ValidationError({KEY.name: ["This header must have 1 to 128 printable characters."]})
    return key
