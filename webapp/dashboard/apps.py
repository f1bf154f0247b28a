"""The dashboard as a Django app."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Templates, static files and the page; no models."""

    name = "webapp.dashboard"
    label = "dashboard"
