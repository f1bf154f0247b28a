"""May a strategy trade real money? What its verdict says, and what a person has said instead.

Paper and practice are always allowed. A live account needs a passing verdict on exactly what the
strategy trades by, newer than its last change; or an override of a person for the same. A class is
judged by `sep verdict` only, whose runs are not kept here: without an override it trades no money.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from sep_engine.errors import ArgumentError
from sep_engine.model.hours import TradingHours
from webapp.trading.models import LiveOverride, Strategy
from webapp.trading.selectors.standing import (
    newest_verdict,
    strategy_sha256,
    strategy_standing,
)
from webapp.trading.services import events, system
from webapp.trading.wire import time_text

# Accounts on which nobody can lose money. Any other kind is taken for live.
PRACTICE_KINDS = frozenset({"paper", "oanda-local", "oanda-practice", "ccxt-sandbox"})


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """Whether a strategy may open positions on its account, and why."""

    allowed: bool
    reason: str


def may_trade_live(strategy: Strategy, now: datetime) -> LiveAnswer:
    """Return whether `strategy` may open positions on its account, at `now`."""
    kind = strategy.account.kind
    if kind in PRACTICE_KINDS:
        return LiveAnswer(True, f"a {kind} account")
    # The lab here judges rules: no run of it has seen what a class does.
    run = None if strategy.source else newest_verdict(strategy)
    if run is not None and run.edge and run.finished_at is not None and run.finished_at <= now:
        return LiveAnswer(True, f"passed in run {run.pk[:12]}")
    override = override_in_force(strategy, now)
    if override is not None:
        return LiveAnswer(True, f"override by {override.made_by}: {override.reason}"[:300])
    if strategy.source:
        return LiveAnswer(False, "a class has no verdict here: only an override opens the gate")
    if run is None:
        return LiveAnswer(False, "no verdict on this rule since it, or what it costs, changed")
    return LiveAnswer(False, f"no evidence of edge in run {run.pk[:12]}")


def override_in_force(strategy: Strategy, now: datetime) -> LiveOverride | None:
    """Return the override that holds for the strategy as it is now, None without one."""
    found = LiveOverride.objects.filter(
        strategy=strategy,
        strategy_sha256=strategy_sha256(strategy),
        withdrawn_at__isnull=True,
        created_at__lte=now,
    )
    if strategy.changed_at is not None:
        found = found.filter(created_at__gt=strategy.changed_at)
    return found.first()


@transaction.atomic
def override_make(
    *, strategy: Strategy, reason: str, confirmation: str, made_by: str, now: datetime
) -> LiveOverride:
    """Let a strategy trade a live account on a person's word; the reason is kept for ever.

    Raises:
        ValidationError: no reason, or the confirmation is not the strategy's name.
    """
    if not reason.strip():
        raise ValidationError({"reason": "Say why the verdict is not to count."})
    if confirmation != strategy.name:
        raise ValidationError({"confirmation": f"Type the strategy's name: {strategy.name}"})
    override = LiveOverride(
        strategy=strategy,
        strategy_sha256=strategy_sha256(strategy),
        reason=reason.strip(),
        made_by=made_by,
        created_at=now,
    )
    override.full_clean()
    override.save(force_insert=True)
    _tell("live_override", override, now)
    return override


@transaction.atomic
def override_withdraw(*, override_id: int, withdrawn_by: str, now: datetime) -> LiveOverride:
    """End an override; one that was withdrawn stays as it was."""
    override = (
        LiveOverride.objects.select_for_update().select_related("strategy").get(pk=override_id)
    )
    if override.withdrawn_at is None:
        override.withdrawn_at, override.withdrawn_by = now, withdrawn_by
        override.save(update_fields=["withdrawn_at", "withdrawn_by"])
        _tell("live_override_withdrawn", override, now)
    return override


def strategy_changed(*, strategy: Strategy, now: datetime) -> None:
    """Note that what a strategy trades by was changed: no verdict and no override counts on."""
    strategy.changed_at = now
    strategy.verdict = strategy_standing(strategy).code
    strategy.save(update_fields=["changed_at", "verdict"])
    with transaction.atomic():
        system.status_changed(now=now)


@transaction.atomic
def session_set(*, strategy: Strategy, session: str, changed_by: str, now: datetime) -> None:
    """Let a strategy enter only within hours, always where they are blank; who did is kept.

    Raises:
        ValidationError: hours that are none.
    """
    try:
        text = TradingHours.of(session).text if session.strip() else ""
    except ArgumentError as error:
        raise ValidationError({"session": str(error)}) from error
    before = strategy.session
    if text == before:
        return
    strategy.session = text
    strategy.save(update_fields=["session"])
    strategy_changed(strategy=strategy, now=now)
    data = {
        "strategy": {"id": strategy.pk, "name": strategy.name},
        "before": before,
        "after": text,
        "changed_by": changed_by,
    }
    events.record(stream="audit", type="strategy_session", data=data, now=now)


def _tell(type: str, override: LiveOverride, now: datetime) -> None:
    data = {
        **override_resource(override),
        "strategy": {"id": override.strategy_id, "name": override.strategy.name},
        "strategy_sha256": override.strategy_sha256,
    }
    events.record(stream="audit", type=type, data=data, now=now)


def override_resource(override: LiveOverride) -> dict[str, Any]:
    """Return an override as the API and the audit log show it."""
    ended = override.withdrawn_at
    return {
        "id": override.pk,
        "reason": override.reason,
        "made_by": override.made_by,
        "created_at": time_text(override.created_at),
        "withdrawn_by": override.withdrawn_by,
        "withdrawn_at": None if ended is None else time_text(ended),
    }
