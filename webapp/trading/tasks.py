"""Celery tasks: they translate, services do. A task that runs twice does no harm."""

import logging
from typing import cast

from celery import shared_task
from django.utils import timezone

from sep_engine.errors import SepError
from sep_engine.qfh import Encoding
from webapp.trading.run_worker import work_until_done
from webapp.trading.selectors.analysis import analysis_result
from webapp.trading.services import jobs, runs
from webapp.trading.services.performance import performance_record as record

logger = logging.getLogger(__name__)


@shared_task(name="trading.performance_record")
def performance_record() -> None:
    """Write the account's figures of this minute."""
    record(now=timezone.now())


@shared_task(name="trading.runs_work")
def runs_work() -> None:
    """Compute what is free of the runs."""
    work_until_done()


@shared_task(name="trading.runs_tend")
def runs_tend() -> None:
    """Find shards that nobody computes."""
    runs.runs_tend(now=timezone.now())


@shared_task(name="trading.analyze")
def analyze(job_id: str) -> None:
    """Run the engine over stored candles."""
    job = jobs.job_claim(job_id=job_id, now=timezone.now())
    if job is None:
        return
    try:
        result = analysis_result(
            job.instrument,
            granularity=job.granularity,
            window=job.window,
            encoding=cast(Encoding, job.encoding),
            progress=lambda share: jobs.job_progress(job=job, progress=share, now=timezone.now()),
        )
    except SepError as error:
        jobs.job_fail(job=job, error=str(error), now=timezone.now())
    except Exception as error:
        logger.exception("job %s", job_id)
        jobs.job_fail(job=job, error=f"{type(error).__name__}; see the log", now=timezone.now())
        raise
    else:
        jobs.job_done(job=job, result=result, now=timezone.now())
