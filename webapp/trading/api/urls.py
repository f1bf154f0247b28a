"""Addresses below /api/."""

from django.urls import path

from webapp.trading.api import health

urlpatterns = [path("health", health.Health.as_view())]
