"""Addresses of the web app."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from webapp.trading.api import health

admin.autodiscover()

urlpatterns = [
    path("api/", include("webapp.trading.api.urls")),
    path("health", health.Health.as_view(schema=None)),
    path("metrics", health.metrics),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("", include("webapp.dashboard.urls")),
]

handler400 = "webapp.trading.api.errors.bad_request"
handler403 = "webapp.trading.api.errors.forbidden"
handler404 = "webapp.trading.api.errors.not_found"
handler500 = "webapp.trading.api.errors.server_error"
