"""Research: asking for runs, their answers, and what they say of a strategy."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound, Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sep_engine.data.sample import DEFAULT_SAMPLE
from sep_engine.errors import SepError
from sep_engine.signals import DEFAULT_RULE
from webapp.trading.api.errors import Conflict
from webapp.trading.api.idempotency import KEY, key_of
from webapp.trading.api.pages import page_of, paged
from webapp.trading.api.run_shapes import (
    BacktestIn,
    ComparedOut,
    CompareIn,
    DataSetsOut,
    EvidenceIn,
    LiveGateOut,
    OverrideIn,
    OverrideOut,
    RunDetailOut,
    RunOut,
    RunsIn,
    SessionIn,
    SweepIn,
)
from webapp.trading.api.shapes import SIGNED_IN, Strict, checked, with_errors
from webapp.trading.api.status_shapes import StrategyOut
from webapp.trading.models import LiveOverride, Run, RunResult, Strategy
from webapp.trading.selectors.run_data import data_sets
from webapp.trading.selectors.runs import run_detail, run_resource, runs_compared
from webapp.trading.selectors.standing import strategy_standing
from webapp.trading.selectors.status import strategy_resource
from webapp.trading.services import live_gate, runs
from webapp.trading.services.live_gate import override_resource

Json = dict[str, Any]

# A page of a run is made by SEP of figures and names. Should one ever carry a script, it cannot
# run, and it can reach neither the login nor another address.
PAGE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_ANSWERS = with_errors({200: RunOut, 202: RunOut}, 400, 404, 422, 429, *SIGNED_IN)


CLASS_NOT_JUDGED = (
    "It is a class, and no code of a strategy runs in the workers here: judge its file with "
    "sep verdict --strategy FILE."
)


class _Submit(APIView):
    """Answer 202 with a run that is to be computed, 200 with one that is there already."""

    kind: Run.Kind
    shape: type[Strict]

    def submit(self, request: Request) -> Response:
        key = key_of(request)
        wanted = checked(self.shape, request.data)
        if wanted.get("session") is None:
            wanted.pop("session", None)  # no hours are no part of the question
        strategy = None
        if "strategy" in wanted:
            rows = Strategy.objects.select_related("instrument", "account")
            strategy = get_object_or_404(rows, pk=wanted.pop("strategy"))
        try:
            run, created = runs.run_submit(
                kind=self.kind,
                reference=_reference(wanted.pop("data", None), strategy),
                seed=wanted.pop("seed", 0),
                configuration=self.configuration(wanted, strategy),
                strategy=strategy,
                requested_by=request.user,
                idempotency_key=key,
                now=timezone.now(),
            )
        except SepError as error:
            raise ValidationError({"data": [str(error)]}) from error
        except runs.TooManyRuns as error:
            raise Throttled(wait=10, detail=str(error)) from error
        return Response(run_resource(run), status=202 if created else 200)

    def configuration(self, wanted: Json, strategy: Strategy | None) -> Json:
        return wanted


class Evidence(_Submit):
    kind = Run.Kind.EVIDENCE
    shape = EvidenceIn

    @extend_schema(
        operation_id="evidence", request=EvidenceIn, parameters=[KEY], responses=_ANSWERS
    )
    def post(self, request: Request) -> Response:
        """Judge rules: causality, nulls, costs, selection and a verdict made by rule."""
        return self.submit(request)

    def configuration(self, wanted: Json, strategy: Strategy | None) -> Json:
        if strategy is None:
            return {"grid": None, **wanted, "rules": wanted.get("rules")}
        if strategy.source:
            raise ValidationError({"strategy": [CLASS_NOT_JUDGED]})
        hours = {"session": strategy.session} if strategy.session else {}
        return {"grid": None, **wanted, **hours, "rules": [strategy.rule]}


class Backtests(_Submit):
    kind = Run.Kind.BACKTEST
    shape = BacktestIn

    @extend_schema(
        operation_id="backtest", request=BacktestIn, parameters=[KEY], responses=_ANSWERS
    )
    def post(self, request: Request) -> Response:
        """Run one rule over bars."""
        return self.submit(request)

    def configuration(self, wanted: Json, strategy: Strategy | None) -> Json:
        return {"rule": DEFAULT_RULE.to_json(), **wanted}


class Sweeps(_Submit):
    kind = Run.Kind.SWEEP
    shape = SweepIn

    @extend_schema(operation_id="sweep", request=SweepIn, parameters=[KEY], responses=_ANSWERS)
    def post(self, request: Request) -> Response:
        """Run every rule of a grid over bars."""
        return self.submit(request)


def _reference(data: Json | None, strategy: Strategy | None) -> Json:
    if data is None and strategy is not None:
        return {"instrument": strategy.instrument.name, "granularity": strategy.granularity}
    return {"sample": DEFAULT_SAMPLE} if data is None else data


class DataSets(APIView):
    @extend_schema(operation_id="data_sets", responses=with_errors({200: DataSetsOut}, *SIGNED_IN))
    def get(self, request: Request) -> Response:
        """What `sep data` has stored where the workers look for it."""
        return Response({"data_sets": data_sets()})


class Runs(APIView):
    @extend_schema(
        operation_id="runs",
        parameters=[RunsIn],
        responses=with_errors({200: paged(RunOut)}, 400, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Runs, newest first."""
        query = checked(RunsIn, request.query_params.dict())
        rows = _rows().order_by("-created_at")
        for name in ("kind", "state"):
            if name in query:
                rows = rows.filter(**{name: query[name]})
        return page_of(request, rows, run_resource)


class RunDetail(APIView):
    @extend_schema(operation_id="run", responses=with_errors({200: RunDetailOut}, 404, *SIGNED_IN))
    def get(self, request: Request, run_id: str) -> Response:
        """One run with what it was asked and how its pieces stand."""
        return Response(run_detail(_run(run_id)))

    @extend_schema(
        operation_id="run_delete", responses=with_errors({204: None}, 404, 409, *SIGNED_IN)
    )
    def delete(self, request: Request, run_id: str) -> Response:
        """Remove a run; what it tried stays in the ledger."""
        runs.run_delete(address=_run(run_id).pk, now=timezone.now())
        return Response(status=204)


class RunCancel(APIView):
    @extend_schema(
        operation_id="run_cancel",
        request=None,
        responses=with_errors({200: RunOut}, 404, 409, *SIGNED_IN),
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Stop a run that waits or is computed."""
        run = _run(run_id)
        if run.state not in Run.OPEN:
            raise Conflict("The run has ended; there is nothing to cancel.")
        runs.run_cancel(address=run.pk, now=timezone.now())
        return Response(run_resource(_run(run_id)))


class RunDocument(APIView):
    @extend_schema(
        operation_id="run_document",
        responses=with_errors({200: OpenApiTypes.OBJECT}, 404, *SIGNED_IN),
    )
    def get(self, request: Request, run_id: str) -> HttpResponse:
        """The JSON document of a finished run, byte for byte as it was made."""
        name = f"{_run(run_id).kind}-{run_id[:12]}.json"
        return HttpResponse(
            _result(run_id).document,
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


class RunPage(APIView):
    @extend_schema(
        operation_id="run_page",
        responses={
            **with_errors({}, 404, *SIGNED_IN),
            (200, "text/html"): OpenApiResponse(OpenApiTypes.STR, "One page, with its plots."),
        },
    )
    def get(self, request: Request, run_id: str) -> HttpResponse:
        """The page of a finished run: it holds everything that it shows."""
        return HttpResponse(_result(run_id).page, headers={"Content-Security-Policy": PAGE_POLICY})


class RunsCompare(APIView):
    @extend_schema(
        operation_id="runs_compare",
        parameters=[CompareIn],
        responses=with_errors({200: ComparedOut}, 400, 404, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Two to four runs side by side, in the order asked for."""
        wanted = checked(CompareIn, request.query_params.dict())["ids"].split(",")
        found = _rows().in_bulk(wanted)
        if len(found) != len(set(wanted)):
            raise NotFound("One of these runs is not there.")
        return Response(runs_compared([found[address] for address in wanted]))


class LiveGate(APIView):
    @extend_schema(
        operation_id="live_gate", responses=with_errors({200: LiveGateOut}, 404, *SIGNED_IN)
    )
    def get(self, request: Request, strategy_id: int) -> Response:
        """May the strategy trade its account, and why? With every override there ever was."""
        return Response(_gate(_strategy(strategy_id)))

    @extend_schema(
        operation_id="live_override",
        request=OverrideIn,
        responses=with_errors({201: OverrideOut}, 400, 404, *SIGNED_IN),
    )
    def post(self, request: Request, strategy_id: int) -> Response:
        """Let the strategy trade live without a passing verdict. The reason is kept for ever."""
        override = live_gate.override_make(
            strategy=_strategy(strategy_id),
            made_by=request.user.get_username(),
            now=timezone.now(),
            **checked(OverrideIn, request.data),
        )
        return Response(override_resource(override), status=201)

    @extend_schema(
        operation_id="live_override_withdraw",
        responses=with_errors({200: LiveGateOut}, 404, *SIGNED_IN),
    )
    def delete(self, request: Request, strategy_id: int) -> Response:
        """Withdraw the overrides that are in force."""
        strategy = _strategy(strategy_id)
        for override in LiveOverride.objects.filter(strategy=strategy, withdrawn_at__isnull=True):
            live_gate.override_withdraw(
                override_id=override.pk,
                withdrawn_by=request.user.get_username(),
                now=timezone.now(),
            )
        return Response(_gate(strategy))


class StrategySession(APIView):
    @extend_schema(
        operation_id="strategy_session",
        request=SessionIn,
        responses=with_errors({200: StrategyOut}, 400, 404, *SIGNED_IN),
    )
    def put(self, request: Request, strategy_id: int) -> Response:
        """Let the strategy enter only within hours. Its verdict is another's from then on."""
        strategy = _strategy(strategy_id)
        live_gate.session_set(
            strategy=strategy,
            changed_by=request.user.get_username(),
            now=timezone.now(),
            **checked(SessionIn, request.data),
        )
        return Response(strategy_resource(strategy))


def _gate(strategy: Strategy) -> Json:
    now = timezone.now()
    answer = live_gate.may_trade_live(strategy, now)
    in_force = live_gate.override_in_force(strategy, now)
    standing = strategy_standing(strategy)
    rows = LiveOverride.objects.filter(strategy=strategy).order_by("-pk")[:50]
    return {
        "allowed": answer.allowed,
        "reason": answer.reason,
        "verdict": standing.code,
        "verdict_text": standing.text,
        "in_force": None if in_force is None else in_force.pk,
        "overrides": [override_resource(row) for row in rows],
    }


def _strategy(strategy_id: int) -> Strategy:
    return get_object_or_404(Strategy.objects.select_related("account"), pk=strategy_id)


def _rows() -> Any:
    return Run.objects.select_related("strategy", "requested_by")


def _run(run_id: str) -> Run:
    run: Run = get_object_or_404(_rows(), pk=run_id)
    return run


def _result(run_id: str) -> RunResult:
    found = RunResult.objects.filter(run_id=run_id).first()
    if found is None:
        raise NotFound("The run has no result.")
    return found
