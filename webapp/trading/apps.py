from django.apps import AppConfig
from django.core.cache import close_caches
from django.core.signals import request_finished
from django_valkey.base import close_async_caches


class TradingConfig(AppConfig):
    name = "webapp.trading"
    label = "trading"
    verbose_name = "Trading"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # django_valkey's receiver is a coroutine function, for which Django starts a thread and an
        # event loop at the end of each request. No cache here is asynchronous.
        request_finished.disconnect(close_async_caches)
        request_finished.connect(close_caches)
