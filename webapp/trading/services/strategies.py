"""Strategies that are classes: stored, replaced and switched, from the shell only.

No code comes over HTTP. What is stored was run once in a process of its own (`check_source`), and
is addressed by the hash of its source: another source is a change like that of a rule.
"""

from collections.abc import Sequence
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction

from sep_engine.signals.strategy import StrategyRule
from webapp.trading.models import Strategy, TradingState
from webapp.trading.selectors.status import account_default, feed_default
from webapp.trading.services import events, system
from webapp.trading.services.live_gate import strategy_changed


@transaction.atomic
def class_add(
    *, name: str, rule: StrategyRule, source: str, changed_by: str, now: datetime
) -> Strategy:
    """Store a class as a strategy on what the trader trades here; it is off.

    Raises:
        ValidationError: there is nothing to trade, or the name is taken.
    """
    account, feed = account_default(), feed_default()
    if account is None or feed is None:
        raise ValidationError("there is nothing to trade: run manage.py load_sample or broker add")
    strategy = Strategy(
        name=name,
        account=account,
        instrument=feed.instrument,
        granularity=feed.granularity,
        rule=rule.to_json(),
        source=source,
        enabled=False,
    )
    strategy.full_clean()
    strategy.save(force_insert=True)
    TradingState.objects.get_or_create(
        scope="STRATEGY", strategy=strategy, defaults={"changed_at": now}
    )
    strategy_changed(strategy=strategy, now=now)
    _tell("strategy_class", strategy, {"before": ""}, changed_by, now)
    return strategy


@transaction.atomic
def class_replace(
    *, strategy: Strategy, rule: StrategyRule, source: str, changed_by: str, now: datetime
) -> bool:
    """Let a strategy trade by this class from now on; no verdict and no override counts on.

    Returns:
        Whether anything changed.
    """
    wanted = rule.to_json()
    if (strategy.rule, strategy.source) == (wanted, source):
        return False
    before = str(strategy.rule.get("source_sha256", ""))
    strategy.rule, strategy.source = wanted, source
    strategy.full_clean()
    strategy.save(update_fields=["rule", "source"])
    strategy_changed(strategy=strategy, now=now)
    _tell("strategy_class", strategy, {"before": before}, changed_by, now)
    return True


@transaction.atomic
def strategy_switch(
    *, strategy: Strategy, enabled: bool, changed_by: str, now: datetime
) -> Sequence[str]:
    """Switch a strategy on or off.

    Returns:
        Names of those that went off because it went on: one trades an instrument of an account.
    """
    others = Strategy.objects.filter(
        account=strategy.account, instrument=strategy.instrument, enabled=True
    ).exclude(pk=strategy.pk)
    off = list(others.values_list("name", flat=True)) if enabled else []
    if enabled:
        others.update(enabled=False)
    strategy.enabled = enabled
    strategy.save(update_fields=["enabled"])
    _tell("strategy_switch", strategy, {"enabled": enabled, "off": off}, changed_by, now)
    system.status_changed(now=now)
    return off


def _tell(
    type: str, strategy: Strategy, more: dict[str, object], changed_by: str, now: datetime
) -> None:
    data = {
        "strategy": {"id": strategy.pk, "name": strategy.name},
        "rule": strategy.rule,
        **more,
        "changed_by": changed_by,
    }
    events.record(stream="audit", type=type, data=data, now=now)
