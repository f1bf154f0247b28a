"""Bounded pages: {"count", "next", "previous", "results"}."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

Row = TypeVar("Row", bound=Model)


class Page(LimitOffsetPagination):
    """`?limit=50&offset=0`; at most 500 rows. The bounds are checked by the view's input shape."""

    default_limit = 50
    max_limit = 500


def page_of(
    request: Request, rows: QuerySet[Row], resource: Callable[[Row], dict[str, Any]]
) -> Response:
    """Answer the requested page of `rows`."""
    page = Page()
    found = page.paginate_queryset(rows, request)
    return page.get_paginated_response([resource(row) for row in found or ()])


def paged(shape: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """Return the shape of a page of `shape`."""
    return inline_serializer(
        name=f"Page{shape.__name__.removesuffix('Out')}",
        fields={
            "count": serializers.IntegerField(),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
            "results": shape(many=True),
        },
    )
