"""Positions and performance of the account."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.trading.api.book_shapes import (
    HistoryIn,
    PerformanceHistoryOut,
    PerformanceOut,
    PositionOut,
)
from webapp.trading.api.pages import page_of, paged
from webapp.trading.api.shapes import SIGNED_IN, PageIn, checked, with_errors
from webapp.trading.models import PerformanceSnapshot, Position
from webapp.trading.selectors.holdings import lots_held
from webapp.trading.selectors.performance import (
    markets_of_positions,
    performance_current,
    performance_point,
    position_read,
)
from webapp.trading.selectors.status import the_account


class Positions(APIView):
    @extend_schema(
        operation_id="positions",
        parameters=[PageIn],
        responses=with_errors({200: paged(PositionOut)}, 400, 404, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Open positions at the newest quote; mark and open P&L are null when none is known."""
        checked(PageIn, request.query_params.dict())
        account, now = the_account(), timezone.now()
        markets, lots = markets_of_positions(account), lots_held(account)
        rows = Position.objects.filter(account=account).exclude(units=0)
        return page_of(
            request,
            rows.select_related("instrument"),
            lambda position: position_read(
                position,
                currency=account.currency,
                lots=lots,
                markets=markets,
                now=now,
            ),
        )


class Performance(APIView):
    @extend_schema(
        operation_id="performance_current",
        responses=with_errors({200: PerformanceOut}, 404, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """What the account has earned; null where a number is not known."""
        account = the_account()
        markets = markets_of_positions(account)
        return Response(performance_current(account, markets=markets, now=timezone.now()))


class PerformanceHistory(APIView):
    @extend_schema(
        operation_id="performance_history",
        parameters=[HistoryIn],
        responses=with_errors({200: PerformanceHistoryOut}, 400, 404, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """The newest points of the equity line, oldest first."""
        query = checked(HistoryIn, request.query_params.dict())
        account = the_account()
        rows = PerformanceSnapshot.objects.filter(account=account).order_by("-pk")
        points = [performance_point(row) for row in reversed(rows[: query["limit"]])]
        return Response({"account": account.name, "points": points})
