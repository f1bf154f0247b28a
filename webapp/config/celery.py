"""The Celery application: jobs that may be late or repeated. Orders never pass through it."""

import os

from celery import Celery
from celery.signals import beat_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.settings")

app = Celery("sep")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["webapp.trading"])


@worker_ready.connect
def _worker_ready(**_: object) -> None:
    _beat_as("worker")


@beat_init.connect
def _beat_init(**_: object) -> None:
    _beat_as("beat")


def _beat_as(name: str) -> None:
    from webapp.trading.services.heartbeat import start_heartbeat

    start_heartbeat(name)
