"""Orders and signals."""

from django.db.models import Q
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sep_engine.execution.states import TERMINAL
from webapp.trading.api.pages import page_of, paged
from webapp.trading.api.shapes import (
    SIGNED_IN,
    OrderDetailOut,
    OrderOut,
    OrdersIn,
    SignalDetailOut,
    SignalOut,
    SignalsIn,
    checked,
    with_errors,
)
from webapp.trading.models import Order, Signal
from webapp.trading.selectors.orders import order_detail
from webapp.trading.selectors.resources import order_resource, signal_resource


class Signals(APIView):
    @extend_schema(
        operation_id="signals",
        parameters=[SignalsIn],
        responses=with_errors({200: paged(SignalOut)}, 400, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Signals, newest first."""
        query = checked(SignalsIn, request.query_params.dict())
        rows = Signal.objects.select_related("instrument", "strategy").order_by("-pk")
        if "instrument" in query:
            rows = rows.filter(instrument__name=query["instrument"])
        return page_of(request, rows, signal_resource)


class SignalDetail(APIView):
    @extend_schema(
        operation_id="signal",
        responses=with_errors({200: SignalDetailOut}, 404, *SIGNED_IN),
    )
    def get(self, request: Request, signal_id: int) -> Response:
        """One signal with the inputs that it came from."""
        rows = Signal.objects.select_related("instrument", "strategy")
        signal = get_object_or_404(rows, pk=signal_id)
        return Response({**signal_resource(signal), "inputs": signal.inputs})


class Orders(APIView):
    @extend_schema(
        operation_id="orders",
        parameters=[OrdersIn],
        responses=with_errors({200: paged(OrderOut)}, 400, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Orders, newest first; `state=OPEN` stands for every state that may still change."""
        query = checked(OrdersIn, request.query_params.dict())
        rows = Order.objects.select_related("instrument").prefetch_related("fills").order_by("-pk")
        if query.get("state") == "OPEN":
            rows = rows.filter(~Q(state__in=TERMINAL))
        elif "state" in query:
            rows = rows.filter(state=query["state"])
        if "instrument" in query:
            rows = rows.filter(instrument__name=query["instrument"])
        return page_of(request, rows, order_resource)


class OrderDetail(APIView):
    @extend_schema(
        operation_id="order", responses=with_errors({200: OrderDetailOut}, 404, *SIGNED_IN)
    )
    def get(self, request: Request, order_id: int) -> Response:
        """One order with every check of the risk gate, its events and the broker's facts."""
        return Response(order_detail(_order(order_id)))


def _order(order_id: int) -> Order:
    rows = Order.objects.select_related("instrument").prefetch_related("fills")
    return get_object_or_404(rows, pk=order_id)
