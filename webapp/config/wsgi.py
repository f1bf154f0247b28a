"""HTTP through Django's WSGI handler: what granian serves, and what asgi.py hands requests to."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from granian.utils.proxies import wrap_wsgi_with_proxy_headers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.settings")

application = wrap_wsgi_with_proxy_headers(get_wsgi_application(), settings.SEP_TRUSTED_PROXIES)
