"""HTTP through Django's WSGI handler: what granian serves, and what asgi.py hands requests to."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.settings")

application = get_wsgi_application()
