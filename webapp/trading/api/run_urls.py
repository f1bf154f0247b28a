"""Addresses of research, below /api/."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from webapp.trading.api import runs


class RunAddress(StringConverter):
    """The hash that a run is addressed by."""

    regex = "[0-9a-f]{64}"


register_converter(RunAddress, "run")

urlpatterns = [
    path("data-sets", runs.DataSets.as_view()),
    path("evidence", runs.Evidence.as_view()),
    path("backtests", runs.Backtests.as_view()),
    path("sweeps", runs.Sweeps.as_view()),
    path("runs", runs.Runs.as_view()),
    path("runs/compare", runs.RunsCompare.as_view()),
    path("runs/<run:run_id>", runs.RunDetail.as_view()),
    path("runs/<run:run_id>/cancel", runs.RunCancel.as_view()),
    path("runs/<run:run_id>/document", runs.RunDocument.as_view()),
    path("runs/<run:run_id>/page", runs.RunPage.as_view()),
    path("strategies/<int:strategy_id>/live-gate", runs.LiveGate.as_view()),
    path("strategies/<int:strategy_id>/session", runs.StrategySession.as_view()),
]
