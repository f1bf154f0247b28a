"""One server for HTTP and sockets: requests go to the WSGI handler, /ws to Channels.

Django's own ASGI handler is not used: the same view answers seven times slower through it
(docs/adr records the figures).
"""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.settings")

from webapp.config.wsgi import application as wsgi_application  # isort: skip

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings

from webapp.config.http import HttpInThreads
from webapp.trading.routing import websocket_urlpatterns
from webapp.trading.services.heartbeat import start_heartbeat


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Beat from the server's start; a process that only imports this module does not."""
    await receive()
    start_heartbeat("web")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


application = ProtocolTypeRouter(
    {
        "lifespan": lifespan,
        "http": HttpInThreads(
            wsgi_application,
            threads=settings.SEP_HTTP_THREADS,
            body_bytes_max=settings.SEP_BODY_BYTES_MAX,
            # However many orders wait for the database, a halt is heard.
            aside=frozenset({"/api/trading/state"}),
        ),
        "websocket": AllowedHostsOriginValidator(URLRouter(websocket_urlpatterns)),
    }
)
