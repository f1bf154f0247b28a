"""Runs: asked for, claimed in shards under a lease, answered once, cancelled, deleted.

Nothing here computes: `webapp.trading.run_worker` does, in processes of its own. A task only says
that there may be work; what there is, and who has it, is in the rows.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Avg, Exists, F, OuterRef, Q
from kombu.exceptions import OperationalError

from sep_engine.ledger import sha256_of
from webapp.config.celery import app
from webapp.trading.models import Run, RunRequest, RunResult, RunShard, Strategy
from webapp.trading.research.pieces import name_of, plan
from webapp.trading.research.question import Answer, session_counts
from webapp.trading.selectors.engine import code_version
from webapp.trading.selectors.run_data import material
from webapp.trading.selectors.runs import run_resource
from webapp.trading.selectors.standing import (
    last_judged,
    run_address,
    strategy_sha256,
    strategy_standing,
)
from webapp.trading.services import events, system
from webapp.trading.services.refusals import KeyReused, NotNow

State = Run.State
OPEN_MAX = 50
ATTEMPTS_MAX = 3
HINTS_MAX = 16


class TooManyRuns(Exception):
    """The queue is full."""


class VerdictStands(NotNow):
    """The run is the newest verdict on a strategy."""


def run_submit(
    *,
    kind: str,
    reference: Mapping[str, Any],
    configuration: Mapping[str, Any],
    seed: int,
    strategy: Strategy | None,
    requested_by: Any,
    idempotency_key: str,
    now: datetime,
) -> tuple[Run, bool]:
    """Return the run that answers a question, and whether it is to be computed.

    The same data, code, configuration and seed are one run: it is stored once and only made again
    when it failed or was cancelled.

    Raises:
        DataError: there are no such bars.
        ArgumentError: what a trade costs does not fit them, or none of them ends within the hours.
        KeyReused: the key was used for another question.
        TooManyRuns: 50 runs are open.
    """
    asked = sha256_of([kind, dict(reference), dict(configuration), seed, strategy and strategy.pk])
    earlier = RunRequest.objects.filter(requested_by=requested_by, key=idempotency_key).first()
    if earlier is not None:
        if earlier.request_hash != asked:
            raise KeyReused(idempotency_key)
        return earlier.run, False
    given = material(reference)
    given.spread_ticks(configuration["spread_pips"])
    session_counts(configuration, given)
    address = run_address(
        kind=kind,
        data_sha256=given.bars.content_sha256,
        price_side=given.side,
        code_version=code_version(),
        configuration=configuration,
        spread_pips=given.spread_pips,
        seed=seed,
        strategy=strategy,
    )
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(pk=address).first()
        again = run is not None and run.state in (State.FAILED, State.CANCELLED)
        created = run is None or again
        if created and Run.objects.filter(state__in=Run.OPEN).count() >= OPEN_MAX:
            raise TooManyRuns(f"{OPEN_MAX} runs wait or are computed already")
        if run is None:
            run = Run(
                address=address,
                kind=kind,
                name=name_of(kind, configuration, given.title),
                data=given.reference | {"bars": len(given.bars), "price_side": given.side},
                data_sha256=given.bars.content_sha256,
                configuration=dict(configuration),
                seed=seed,
                code_version=code_version(),
                strategy=strategy,
                strategy_sha256="" if strategy is None else strategy_sha256(strategy),
                requested_by=requested_by,
                created_at=now,
            )
            run.full_clean(validate_unique=False)
            run.save(force_insert=True)
            pieces = plan(kind, configuration, bars=len(given.bars))
            RunShard.objects.bulk_create(
                RunShard(run=run, number=number, stage=piece.stage, work=piece.content)
                for number, piece in enumerate(pieces)
            )
        elif again:
            _begin_again(run)
        RunRequest.objects.create(
            run=run,
            requested_by=requested_by,
            key=idempotency_key,
            request_hash=asked,
            created_at=now,
        )
        if created:
            _tell(run, now)
            transaction.on_commit(lambda: workers_wake(run.shards.count()), robust=True)
    return run, created


def _begin_again(run: Run) -> None:
    """Queue a run that ended without an answer; what its shards have found stays found."""
    run.shards.exclude(state=RunShard.State.DONE).update(
        state=RunShard.State.WAITING, attempts=0, progress=0.0, error="", leased_until=None
    )
    run.state, run.error, run.finished_at = State.QUEUED, "", None
    run.save(update_fields=["state", "error", "finished_at"])


def workers_wake(count: int) -> None:
    """Say to up to `count` workers that there is work. Without a broker beat says it later."""
    for _ in range(min(count, HINTS_MAX)):
        try:
            app.send_task("trading.runs_work", retry=False)
        except OperationalError:
            return


def runs_tend(*, now: datetime) -> None:
    """Wake workers for what waits, a dead worker's shards among it. Beat calls it."""
    count = _claimable(now).count()
    if count:
        workers_wake(count)


def _claimable(now: datetime) -> Any:
    before = RunShard.objects.filter(run=OuterRef("run"), stage__lt=OuterRef("stage"))
    return (
        RunShard.objects.filter(_free(now), run__state__in=Run.OPEN)
        .annotate(blocked=Exists(before.exclude(state=RunShard.State.DONE)))
        .filter(blocked=False)
        .order_by("run__created_at", "number")
    )


def _free(now: datetime) -> Q:
    waiting = Q(state=RunShard.State.WAITING)
    return waiting | Q(state=RunShard.State.RUNNING, leased_until__lt=now)


def shard_claim(*, holder: str, now: datetime) -> RunShard | None:
    """Take the oldest shard that is free, for as long as the lease; None: there is none.

    A shard whose worker died is free when its lease ends. One that outlived three workers fails.
    """
    while True:
        shard: RunShard | None = _claimable(now).first()
        if shard is None:
            return None
        claim = secrets.token_hex(16)
        with transaction.atomic():
            taken = RunShard.objects.filter(_free(now), pk=shard.pk, claim=shard.claim).update(
                state=RunShard.State.RUNNING,
                claim=claim,
                holder=holder,
                leased_until=now + _lease(),
                attempts=F("attempts") + 1,
                progress=0.0,
                started_at=now,
            )
            if not taken:
                continue
            started = Run.objects.filter(pk=shard.run_id, state=State.QUEUED).update(
                state=State.RUNNING, started_at=now
            )
            if started:
                _tell(Run.objects.get(pk=shard.run_id), now)
        shard.refresh_from_db()
        if shard.attempts <= ATTEMPTS_MAX:
            return shard
        shard_fail(
            shard=shard,
            error=f"its worker died {ATTEMPTS_MAX} times; the log may say of what",
            now=now,
        )


def shard_renew(*, shard: RunShard, progress: float | None, now: datetime) -> bool:
    """Keep a claimed shard for another lease. False: it is not ours any more, stop."""
    with transaction.atomic():
        ours = _open(shard) and _ours(shard).update(leased_until=now + _lease())
        if ours and progress is not None:
            _ours(shard).update(progress=progress)
            _progress(shard.run_id, now)
    return bool(ours)


def shard_done(*, shard: RunShard, result: Mapping[str, Any], now: datetime) -> bool:
    """Store what a shard found, once. False: somebody else has the shard; nothing is stored."""
    with transaction.atomic():
        if not _end(shard, now, state=RunShard.State.DONE, progress=1.0, result=json.dumps(result)):
            return False
        _progress(shard.run_id, now)
    return True


def run_done(*, shard: RunShard, answer: Answer, now: datetime) -> bool:
    """Store what a run found, with its last shard. False: somebody else has the shard."""
    with transaction.atomic():
        if not _end(shard, now, state=RunShard.State.DONE, progress=1.0, result="{}"):
            return False
        run = Run.objects.select_for_update().get(pk=shard.run_id)
        RunResult.objects.create(
            run=run, document=answer.document, page=answer.page, created_at=now
        )
        run.state, run.progress, run.finished_at = State.DONE, 1.0, now
        run.edge, run.result_text, run.summary = answer.edge, answer.text[:200], answer.summary
        run.save()
        _tell(run, now)
        if run.strategy is not None:
            strategy_judge(strategy=run.strategy, now=now)
    return True


def shard_fail(*, shard: RunShard, error: str, now: datetime) -> bool:
    """Store why a shard cannot be done; its run fails with it."""
    with transaction.atomic():
        if not _end(shard, now, state=RunShard.State.FAILED, error=error[:300]):
            return False
        run = Run.objects.select_for_update().get(pk=shard.run_id)
        run.state, run.error, run.finished_at = State.FAILED, error[:300], now
        run.save(update_fields=["state", "error", "finished_at"])
        _free_claims(run)
        _tell(run, now)
    return True


def shard_release(*, shard: RunShard) -> None:
    """Give a shard back at once: its process ended without an answer."""
    _ours(shard).update(state=RunShard.State.WAITING, leased_until=None)


def run_cancel(*, address: str, now: datetime) -> Run:
    """Stop a run that has not ended; its workers notice within a second or two."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=address)
        if run.state in Run.OPEN:
            run.state, run.finished_at = State.CANCELLED, now
            run.save(update_fields=["state", "finished_at"])
            _free_claims(run)
            _tell(run, now)
    return run


def run_delete(*, address: str, now: datetime) -> None:
    """Remove a run with all it found. What it tried stays in the ledger.

    Raises:
        VerdictStands: an older verdict would count in its place.
    """
    with transaction.atomic():
        run = run_cancel(address=address, now=now)
        if run.strategy is not None and last_judged(run.strategy) == run:
            raise VerdictStands(f"This is the verdict on {run.strategy.name}: it stays.")
        run.delete()
        events.record(stream="runs", type="run_deleted", data={"id": address}, now=now)


def strategy_judge(*, strategy: Strategy, now: datetime) -> None:
    """Write beside a strategy's name what its newest verdict says of it."""
    standing = strategy_standing(strategy)
    if (
        Strategy.objects.filter(pk=strategy.pk)
        .exclude(verdict=standing.code)
        .update(verdict=standing.code)
    ):
        system.status_changed(now=now)


def _free_claims(run: Run) -> None:
    run.shards.filter(state=RunShard.State.RUNNING).update(
        state=RunShard.State.WAITING, leased_until=None, claim=""
    )


def _open(shard: RunShard) -> bool:
    """Return whether the run goes on; its row is locked until the transaction ends, so that a
    cancel comes wholly before or wholly after."""
    run = Run.objects.select_for_update().filter(pk=shard.run_id).first()
    return run is not None and run.state in Run.OPEN


def _ours(shard: RunShard) -> Any:
    return RunShard.objects.filter(pk=shard.pk, claim=shard.claim, state=RunShard.State.RUNNING)


def _end(shard: RunShard, now: datetime, **values: Any) -> bool:
    return bool(_open(shard) and _ours(shard).update(leased_until=None, finished_at=now, **values))


def _progress(address: str, now: datetime) -> None:
    share = RunShard.objects.filter(run_id=address).aggregate(share=Avg("progress"))["share"]
    Run.objects.filter(pk=address, state__in=Run.OPEN).update(progress=min(1.0, share or 0.0))
    _tell(Run.objects.get(pk=address), now)


def _lease() -> timedelta:
    return timedelta(seconds=settings.SEP_SHARD_LEASE_S)


def _tell(run: Run, now: datetime) -> None:
    events.record(stream="runs", type="run_update", data=run_resource(run), now=now)
