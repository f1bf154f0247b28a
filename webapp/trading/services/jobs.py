"""Analysis jobs: recorded first, then queued by name; the worker fills them in."""

from datetime import datetime
from typing import Any

from django.db import transaction
from kombu.exceptions import OperationalError

from webapp.config.celery import app
from webapp.trading.models import AnalysisJob, Instrument
from webapp.trading.selectors.resources import job_resource
from webapp.trading.services import events

State = AnalysisJob.State
WAITING_MAX = 20


class TooManyJobs(Exception):
    """The queue is full."""


class QueueDown(Exception):
    """The job could not be queued; its row says so."""


def analysis_submit(
    *,
    instrument: Instrument,
    granularity: str,
    window: int,
    encoding: str,
    requested_by: Any,
    now: datetime,
) -> AnalysisJob:
    """Record a job and queue it.

    Raises:
        TooManyJobs: 20 jobs wait already.
        QueueDown: Valkey does not take it.
    """
    if AnalysisJob.objects.filter(state__in=[State.QUEUED, State.RUNNING]).count() >= WAITING_MAX:
        raise TooManyJobs(f"{WAITING_MAX} jobs wait already")
    job = AnalysisJob(
        instrument=instrument,
        granularity=granularity,
        window=window,
        encoding=encoding,
        requested_by=requested_by,
    )
    job.clean_fields()
    with transaction.atomic():
        job.save(force_insert=True)
        _tell(job, now)
    try:
        # The row is committed before the worker can look for it.
        app.send_task("trading.analyze", [str(job.pk)], retry=False)
    except OperationalError as error:
        job_fail(job=job, error="Valkey does not answer: the job was not queued.", now=now)
        raise QueueDown(job.error) from error
    return job


def job_claim(*, job_id: str, now: datetime) -> AnalysisJob | None:
    """Start a job; None if it has ended. One that a dead worker left running starts again."""
    waiting = AnalysisJob.objects.filter(pk=job_id, state__in=[State.QUEUED, State.RUNNING])
    with transaction.atomic():
        if not waiting.update(state=State.RUNNING, progress=0.0):
            return None
        job = AnalysisJob.objects.select_related("instrument").get(pk=job_id)
        _tell(job, now)
    return job


def job_progress(*, job: AnalysisJob, progress: float, now: datetime) -> None:
    """Record how far a running job is, as a share of 1."""
    with transaction.atomic():
        job.progress = progress
        job.save(update_fields=["progress"])
        _tell(job, now)


def job_done(*, job: AnalysisJob, result: dict[str, Any], now: datetime) -> None:
    with transaction.atomic():
        job.state, job.progress, job.result, job.finished_at = State.DONE, 1.0, result, now
        job.save(update_fields=["state", "progress", "result", "finished_at"])
        _tell(job, now)


def job_fail(*, job: AnalysisJob, error: str, now: datetime) -> None:
    with transaction.atomic():
        job.state, job.error, job.finished_at = State.FAILED, error[:300], now
        job.save(update_fields=["state", "error", "finished_at"])
        _tell(job, now)


def _tell(job: AnalysisJob, now: datetime) -> None:
    events.record(stream="jobs", type="job_progress", data=job_resource(job), now=now)
