"""The WebSocket of the dashboard."""

from channels.generic.websocket import AsyncWebsocketConsumer


class EventConsumer(AsyncWebsocketConsumer):
    """Streams of events with sequence numbers."""
