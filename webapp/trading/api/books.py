"""The venue's trades, what the venue takes, and the comparisons of our books with the venue's."""

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sep_engine.execution.states import (
    TIMES_IN_FORCE,
    OrderType,
    PositionFill,
    TimeInForce,
)
from webapp.trading.api.book_shapes import (
    BrokerOut,
    CloseIn,
    ReconciliationDetailOut,
    ReconciliationOut,
    TradeOut,
)
from webapp.trading.api.idempotency import KEY, key_of
from webapp.trading.api.order_shapes import OrderOut
from webapp.trading.api.pages import page_of, paged
from webapp.trading.api.shapes import SIGNED_IN, PageIn, checked, with_errors
from webapp.trading.brokers.registry import terms_of
from webapp.trading.models import Reconciliation, Trade
from webapp.trading.selectors.reconciliation import reconciliation_detail
from webapp.trading.selectors.resources import (
    order_resource,
    reconciliation_resource,
    trade_resource,
)
from webapp.trading.selectors.status import the_account
from webapp.trading.services.orders import trade_close


class BrokerTerms(APIView):
    @extend_schema(operation_id="broker", responses=with_errors({200: BrokerOut}, 404, *SIGNED_IN))
    def get(self, request: Request) -> Response:
        """What the account's venue takes: what is not here is refused before it is an intent."""
        account = the_account()
        terms = terms_of(account)
        return Response(
            {
                "kind": account.kind,
                "types": [
                    {
                        "type": kind.value,
                        "times_in_force": [
                            force.value
                            for force in TimeInForce
                            if force in TIMES_IN_FORCE[kind] & terms.times
                        ],
                        "needs_trade": terms.trades and kind == OrderType.TRAILING_STOP_LOSS,
                    }
                    for kind in OrderType
                    if kind in terms.types
                ],
                "position_fills": [one.value for one in PositionFill if one in terms.fills],
                "on_fill": [one.value for one in OrderType if one in terms.on_fill],
                "trades": terms.trades,
                "replaces": terms.replaces,
            }
        )


class Trades(APIView):
    @extend_schema(
        operation_id="trades",
        parameters=[PageIn],
        responses=with_errors({200: paged(TradeOut)}, 400, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """The venue's open trades, newest first; none where it keeps no trades apart."""
        checked(PageIn, request.query_params.dict())
        rows = Trade.objects.filter(account=the_account()).exclude(units=0).order_by("-pk")
        return page_of(request, rows.select_related("instrument"), trade_resource)


class TradeClose(APIView):
    @extend_schema(
        operation_id="trade_close",
        request=CloseIn,
        parameters=[KEY],
        responses=with_errors({202: OrderOut}, 400, 404, 409, 422, *SIGNED_IN),
    )
    def post(self, request: Request, trade_id: str) -> Response:
        """Ask for one trade, or a part of it, to be closed at the market."""
        key = key_of(request)
        wanted = checked(CloseIn, request.data)
        rows = Trade.objects.select_related("instrument", "account")
        trade = get_object_or_404(rows, account=the_account(), venue_trade_id=trade_id)
        order = trade_close(
            trade=trade,
            units=wanted.get("units"),
            idempotency_key=key,
            created_by=request.user,
            now=timezone.now(),
        )
        return Response(order_resource(order), status=202)


class Reconciliations(APIView):
    @extend_schema(
        operation_id="reconciliations",
        parameters=[PageIn],
        responses=with_errors({200: paged(ReconciliationOut)}, 400, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Comparisons of our books with the venue's, newest first."""
        checked(PageIn, request.query_params.dict())
        rows = Reconciliation.objects.filter(account=the_account()).order_by("-pk")
        return page_of(request, rows, reconciliation_resource)


class ReconciliationDetail(APIView):
    @extend_schema(
        operation_id="reconciliation",
        responses=with_errors({200: ReconciliationDetailOut}, 404, *SIGNED_IN),
    )
    def get(self, request: Request, run_id: int) -> Response:
        """One comparison, row by row."""
        run = get_object_or_404(Reconciliation, account=the_account(), pk=run_id)
        return Response(reconciliation_detail(run))
