"""Addresses of the dashboard."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from webapp.dashboard import views

app_name = "dashboard"
urlpatterns = [
    path("", views.page, name="page"),
    # What the page shows there is its own to say.
    path("research", views.page),
    path("research/<str:run>", views.page),
    path("orders/<int:order>", views.page),
    path("reconciliation", views.page),
    path("second-factor", views.page),
    path("login", views.Login.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
]
