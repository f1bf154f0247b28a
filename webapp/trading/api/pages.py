"""Bounded pages: {"count", "next", "previous", "results"}."""

from rest_framework.pagination import LimitOffsetPagination


class Page(LimitOffsetPagination):
    """`?limit=50&offset=0`; at most 500 rows, at most 100,000 rows deep."""

    default_limit = 50
    max_limit = 500
    offset_max = 100_000

    def get_offset(self, request):  # type: ignore[no-untyped-def]
        return min(super().get_offset(request), self.offset_max)
