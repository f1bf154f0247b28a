"""Addresses below /api/."""

from django.urls import include, path, register_converter
from django.urls.converters import StringConverter
from drf_spectacular.views import SpectacularJSONAPIView

from webapp.trading.api import (
    account,
    auth,
    books,
    config,
    control,
    health,
    market,
    orders,
    second_factor,
)


class InstrumentName(StringConverter):
    """What an instrument can be called; anything else is no address."""

    regex = "[A-Z0-9_]{1,32}"


register_converter(InstrumentName, "name")

urlpatterns = [
    path("health", health.Health.as_view()),
    path("status", health.Status.as_view()),
    path("system-status", health.Status.as_view(schema=None)),
    path("system/info", health.SystemInfo.as_view()),
    path("instruments", market.Instruments.as_view()),
    path("schema", SpectacularJSONAPIView.as_view(), name="schema"),
    path("auth/token", auth.TokenObtain.as_view()),
    path("auth/refresh", auth.TokenRefresh.as_view()),
    path("auth/revoke", auth.TokenRevoke.as_view()),
    path("auth/second-factor", second_factor.SecondFactor.as_view()),
    path("auth/second-factor/confirm", second_factor.SecondFactorConfirm.as_view()),
    path("auth/second-factor/end", second_factor.SecondFactorEnd.as_view()),
    path("auth/ws-ticket", auth.WebSocketTicket.as_view()),
    path("market-data", market.MarketData.as_view()),
    path("candles/<name:instrument>", market.Candles.as_view()),
    path("qfh/<name:instrument>", market.Metrics.as_view()),
    path("trading-signals", orders.Signals.as_view()),
    path("trading-signals/<int:signal_id>", orders.SignalDetail.as_view()),
    path("orders", orders.Orders.as_view()),
    path("orders/<int:order_id>", orders.OrderDetail.as_view()),
    path("place-order", orders.PlaceOrder.as_view()),
    path("broker", books.BrokerTerms.as_view()),
    path("trades", books.Trades.as_view()),
    path("trades/<str:trade_id>/close", books.TradeClose.as_view()),
    path("reconciliations", books.Reconciliations.as_view()),
    path("reconciliations/<int:run_id>", books.ReconciliationDetail.as_view()),
    path("positions", account.Positions.as_view()),
    path("positions/<name:instrument>/close", control.PositionClose.as_view()),
    path("trading/state", control.TradingStateSet.as_view()),
    path("trading/close-everything", control.CloseEverything.as_view()),
    path("config/get", config.ConfigGet.as_view()),
    path("config/set", config.ConfigSet.as_view()),
    path("config/schema", config.ConfigSchema.as_view()),
    path("config/history", config.ConfigHistory.as_view()),
    path("config/rollback", config.ConfigRollback.as_view()),
    path("feed", control.FeedControl.as_view()),
    path("analyze", control.Analyze.as_view()),
    path("jobs/<uuid:job_id>", control.Job.as_view()),
    path("", include("webapp.trading.api.run_urls")),
    path("performance/current", account.Performance.as_view()),
    path("performance/history", account.PerformanceHistory.as_view()),
]
