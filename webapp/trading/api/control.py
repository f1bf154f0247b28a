"""The switches: trading state, closing positions, the feed, analysis jobs."""

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound, Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sep_engine.execution.states import TradingMode
from webapp.trading.api.authentication import user_of
from webapp.trading.api.book_shapes import PositionCloseIn
from webapp.trading.api.control_shapes import (
    AnalyzeIn,
    CloseEverythingIn,
    ClosingsOut,
    FeedIn,
    JobOut,
    TradingStateIn,
)
from webapp.trading.api.errors import Unavailable
from webapp.trading.api.idempotency import KEY, key_of
from webapp.trading.api.order_shapes import OrderOut, OrdersOut
from webapp.trading.api.second_factor import refusal_at
from webapp.trading.api.shapes import SIGNED_IN, checked, with_errors
from webapp.trading.api.status_shapes import FeedOut, ScopeStateOut
from webapp.trading.models import (
    AnalysisJob,
    BrokerAccount,
    Closing,
    Feed,
    Instrument,
    Order,
    Strategy,
    TradingState,
)
from webapp.trading.selectors.closing import closing_resource
from webapp.trading.selectors.resources import (
    feed_resource,
    job_resource,
    order_resource,
    trading_state_resource,
)
from webapp.trading.selectors.status import feed_default, strategy_shown, the_account
from webapp.trading.services.closing import close_everything
from webapp.trading.services.feed import feed_control
from webapp.trading.services.jobs import QueueDown, TooManyJobs, analysis_submit
from webapp.trading.services.orders import position_close
from webapp.trading.services.trading_state import NotRecorded, trading_state_change

CLOSINGS_SHOWN = 5


class TradingStateSet(APIView):
    @extend_schema(
        operation_id="trading_state_set",
        request=TradingStateIn,
        responses=with_errors({200: ScopeStateOut}, 400, 404, 503, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Halt, reduce or re-arm everything, the account or a strategy. The reason is kept.

        To re-arm needs `proof`: the code of the second factor, or the password of who has none.
        Everything is HALTED at once, also while the database is busy: 503 then says that nothing is
        sent and that it was not recorded.
        """
        wanted = checked(TradingStateIn, request.data)
        account, strategy = _scope(wanted["scope"], wanted.get("strategy"))
        try:
            with refusal_at("proof"):
                row = trading_state_change(
                    scope=wanted["scope"],
                    account=account,
                    strategy=strategy,
                    state=TradingMode(wanted["state"]),
                    reason=wanted["reason"],
                    user=user_of(request),
                    proof=wanted["proof"],
                    request=request._request,
                    now=timezone.now(),
                )
        except NotRecorded as error:
            raise Unavailable(str(error)) from error
        return Response(trading_state_resource(row))


class CloseEverything(APIView):
    @extend_schema(
        operation_id="close_everything_state",
        responses=with_errors({200: ClosingsOut}, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """What was asked to be closed last, what is left of it and why."""
        now = timezone.now()
        rows = Closing.objects.select_related("account", "strategy")[:CLOSINGS_SHOWN]
        return Response({"closings": [closing_resource(row, now=now) for row in rows]})

    @extend_schema(
        operation_id="close_everything",
        request=CloseEverythingIn,
        responses=with_errors({202: OrdersOut}, 400, 404, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Cancel every order and close every position of a scope, in any trading state.

        It goes on until all is flat, or until the scope is made ACTIVE again.
        """
        wanted = checked(CloseEverythingIn, request.data)
        account, strategy = _scope(wanted["scope"], wanted.get("strategy"))
        if strategy is not None:
            accounts = [strategy.account]
        elif account is not None:
            accounts = [account]
        else:
            accounts = list(BrokerAccount.objects.order_by("pk"))
        orders = [
            order
            for one in accounts
            for order in close_everything(
                account=one,
                strategy=strategy,
                reason=wanted["reason"],
                created_by=request.user,
                now=timezone.now(),
            )
        ]
        return Response({"orders": [order_resource(order) for order in orders]}, status=202)


class PositionClose(APIView):
    @extend_schema(
        operation_id="position_close",
        request=PositionCloseIn,
        parameters=[KEY],
        responses=with_errors({202: OrderOut}, 400, 404, 422, *SIGNED_IN),
    )
    def post(self, request: Request, instrument: str) -> Response:
        """Ask for a position, or a part of it, to be closed at the market."""
        key = key_of(request)
        wanted = checked(PositionCloseIn, request.data)
        order = position_close(
            account=the_account(),
            instrument=get_object_or_404(Instrument, name=instrument),
            units=wanted.get("units"),
            side=wanted.get("side"),
            idempotency_key=key,
            created_by=request.user,
            now=timezone.now(),
        )
        if order is None:
            raise NotFound("There is no open position.")
        return Response(order_resource(Order.objects.get(pk=order.pk)), status=202)


class FeedControl(APIView):
    @extend_schema(operation_id="feed", responses=with_errors({200: FeedOut}, 404, *SIGNED_IN))
    def get(self, request: Request) -> Response:
        """Where the replay stands."""
        return Response(feed_resource(_feed()))

    @extend_schema(
        operation_id="feed_control",
        request=FeedIn,
        responses=with_errors({200: FeedOut}, 400, 404, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Change the speed, pause, or start the replay again: positions are closed first."""
        wanted = checked(FeedIn, request.data)
        feed = feed_control(feed_id=_feed().pk, now=timezone.now(), **wanted)
        return Response(feed_resource(feed))


class Analyze(APIView):
    @extend_schema(
        operation_id="analyze",
        request=AnalyzeIn,
        responses=with_errors({202: JobOut}, 400, 404, 429, 503, *SIGNED_IN),
    )
    def post(self, request: Request) -> Response:
        """Run the engine over the stored candles; the stream `jobs` tells the progress."""
        wanted = checked(AnalyzeIn, request.data)
        try:
            job = analysis_submit(
                instrument=get_object_or_404(Instrument, name=wanted.pop("instrument")),
                requested_by=request.user,
                now=timezone.now(),
                **wanted,
            )
        except TooManyJobs as error:
            raise Throttled(wait=10, detail=str(error)) from error
        except QueueDown as error:
            raise Unavailable(str(error)) from error
        return Response(job_resource(job), status=202)


class Job(APIView):
    @extend_schema(operation_id="job", responses=with_errors({200: JobOut}, 404, *SIGNED_IN))
    def get(self, request: Request, job_id: str) -> Response:
        """State, progress and result of an analysis job."""
        rows = AnalysisJob.objects.select_related("instrument")
        return Response(job_resource(get_object_or_404(rows, pk=job_id)))


def _scope(scope: str, strategy_id: int | None) -> tuple[BrokerAccount | None, Strategy | None]:
    """Return whose state is meant; the other is None, and both are for everything."""
    if scope == TradingState.Scope.ACCOUNT:
        return the_account(), None
    if scope == TradingState.Scope.STRATEGY:
        account = the_account()
        strategy = strategy_shown(account)
        if strategy_id is not None:
            rows = Strategy.objects.filter(account=account).select_related("account")
            strategy = rows.filter(pk=strategy_id).first()
        if strategy is None:
            raise NotFound("There is no such strategy.")
        return None, strategy
    return None, None


def _feed() -> Feed:
    feed = feed_default()
    if feed is None:
        raise NotFound("There is no feed yet: run manage.py load_sample.")
    return feed
