"""Addresses of WebSockets."""

from django.urls import path

from webapp.trading.consumers import EventConsumer

websocket_urlpatterns = [path("ws/", EventConsumer.as_asgi()), path("ws", EventConsumer.as_asgi())]
