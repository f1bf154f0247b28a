"""Addresses below /api/."""

from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView

from webapp.trading.api import account, auth, config, control, health, market, orders

urlpatterns = [
    path("health", health.Health.as_view()),
    path("status", health.Status.as_view()),
    path("schema", SpectacularJSONAPIView.as_view(), name="schema"),
    path("auth/token", auth.TokenObtain.as_view()),
    path("auth/refresh", auth.TokenRefresh.as_view()),
    path("auth/revoke", auth.TokenRevoke.as_view()),
    path("auth/ws-ticket", auth.WebSocketTicket.as_view()),
    path("market-data", market.MarketData.as_view()),
    path("candles/<str:instrument>", market.Candles.as_view()),
    path("qfh/<str:instrument>", market.Metrics.as_view()),
    path("trading-signals", orders.Signals.as_view()),
    path("trading-signals/<int:signal_id>", orders.SignalDetail.as_view()),
    path("orders", orders.Orders.as_view()),
    path("orders/<int:order_id>", orders.OrderDetail.as_view()),
    path("place-order", orders.PlaceOrder.as_view()),
    path("positions", account.Positions.as_view()),
    path("positions/<str:instrument>/close", control.PositionClose.as_view()),
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
    path("performance/current", account.Performance.as_view()),
    path("performance/history", account.PerformanceHistory.as_view()),
]
