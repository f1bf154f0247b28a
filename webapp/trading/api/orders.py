"""Orders and signals."""

import time

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sep_engine.execution.states import (
    LIVE,
    TERMINAL,
    OrderState,
    OrderType,
    Origin,
    PositionFill,
    TimeInForce,
)
from webapp.trading.api.errors import Conflict
from webapp.trading.api.idempotency import KEY, key_of
from webapp.trading.api.order_shapes import (
    OrderChangeIn,
    OrderDetailOut,
    OrderIn,
    OrderOut,
    OrdersIn,
    SignalDetailOut,
    SignalOut,
    SignalsIn,
    WaitIn,
)
from webapp.trading.api.pages import page_of, paged
from webapp.trading.api.shapes import SIGNED_IN, checked, with_errors
from webapp.trading.models import Instrument, Order, Signal, Trade
from webapp.trading.selectors.orders import order_detail
from webapp.trading.selectors.resources import order_resource, signal_resource
from webapp.trading.selectors.status import account_default, the_account
from webapp.trading.services.orders import (
    order_cancel,
    order_change,
    order_submit,
)
from webapp.trading.statements import Asked

# Nobody outside SEP has answered yet.
UNDECIDED = (OrderState.CREATED, OrderState.QUEUED, OrderState.SENDING, OrderState.UNKNOWN)
OUTCOME_POLL_S = 0.05


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
        if "state" in query:
            states = sorted(LIVE) if query["state"] == "OPEN" else [query["state"]]
            # The account leads to the index of states; one database has one venue.
            rows = rows.filter(account=account_default(), state__in=states)
        if "instrument" in query:
            rows = rows.filter(instrument__name=query["instrument"])
        return page_of(request, rows, order_resource)


class OrderDetail(APIView):
    @extend_schema(
        operation_id="order", responses=with_errors({200: OrderDetailOut}, 404, *SIGNED_IN)
    )
    def get(self, request: Request, order_id: int) -> Response:
        """One order with every check of the risk gate, its events and the broker's facts."""
        rows = Order.objects.select_related(
            "instrument", "account", "created_by", "signal__instrument", "signal__strategy"
        )
        return Response(order_detail(get_object_or_404(rows, pk=order_id)))

    @extend_schema(
        operation_id="order_cancel",
        responses=with_errors({202: OrderOut}, 404, 409, *SIGNED_IN),
    )
    def delete(self, request: Request, order_id: int) -> Response:
        """Ask for an order to be cancelled; the trader and the venue decide."""
        if _order(order_id).state in TERMINAL:
            raise Conflict("The order has ended; there is nothing to cancel.")
        order_cancel(order_id=order_id, now=timezone.now())
        return Response(order_resource(_order(order_id)), status=202)

    @extend_schema(
        operation_id="order_change",
        request=OrderChangeIn,
        parameters=[WaitIn, KEY],
        responses=with_errors({200: OrderOut, 202: OrderOut}, 400, 404, 409, 422, *SIGNED_IN),
    )
    def patch(self, request: Request, order_id: int) -> Response:
        """Ask for other terms: the answer is a new order that takes this one's place."""
        wait_s = checked(WaitIn, request.query_params.dict())["wait"]
        key = key_of(request)
        changes = checked(OrderChangeIn, request.data)
        _order(order_id)
        order = order_change(
            order_id=order_id,
            changes=changes,
            idempotency_key=key,
            created_by=request.user,
            now=timezone.now(),
        )
        order, done = _outcome(order, wait_s)
        return Response(order_resource(order), status=200 if done else 202)


class PlaceOrder(APIView):
    @extend_schema(
        operation_id="place_order",
        request=OrderIn,
        parameters=[WaitIn, KEY],
        responses=with_errors({200: OrderOut, 202: OrderOut}, 400, 404, 422, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Record an intent. 202 with the order as it is; 200 if its outcome came within `wait`."""
        wait_s = checked(WaitIn, request.query_params.dict())["wait"]
        key = key_of(request)
        wanted = checked(OrderIn, request.data)
        named = _instruments(wanted.pop("instrument"))
        if not named:
            raise ValidationError({"instrument": ["There is no such instrument."]})
        (instrument,) = named
        account = the_account()
        trade = None
        if "trade_id" in wanted:
            trade = Trade.objects.filter(
                account=account, venue_trade_id=wanted.pop("trade_id")
            ).first()
            if trade is None:
                raise ValidationError({"trade_id": ["There is no such trade."]})
            wanted.setdefault("units", -trade.units)
        if "time_in_force" in wanted:
            wanted["time_in_force"] = TimeInForce(wanted["time_in_force"])
        order = order_submit(
            account=account,
            instrument=instrument,
            origin=Origin.PERSON,
            type=OrderType(wanted.pop("type")),
            position_fill=PositionFill(wanted.pop("position_fill")),
            trade=trade,
            idempotency_key=key,
            created_by=request.user,
            now=timezone.now(),
            **wanted,
        )
        order, done = _outcome(order, wait_s)
        return Response(order_resource(order), status=200 if done else 202)


_instruments = Asked(lambda name: Instrument.objects.filter(name=name))


def _outcome(order: Order, wait_s: float) -> tuple[Order, bool]:
    """Return the order once the trader and the venue have answered, or as it is after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while order.state in UNDECIDED and time.monotonic() < deadline:
        time.sleep(OUTCOME_POLL_S)
        order = _order(order.pk)
    return order, order.state not in UNDECIDED


def _order(order_id: int) -> Order:
    rows = Order.objects.select_related("instrument").prefetch_related("fills")
    return get_object_or_404(rows, pk=order_id)
