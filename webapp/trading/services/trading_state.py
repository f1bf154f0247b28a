"""The kill switch at its three levels."""

from datetime import datetime

from django.db import transaction

from sep_engine.execution.states import TradingMode
from webapp.trading.models import BrokerAccount, Strategy, TradingState
from webapp.trading.services import system

_SEVERITY = list(TradingMode)


@transaction.atomic
def trading_state_set(
    *,
    scope: str,
    state: TradingMode,
    reason: str,
    changed_by: str,
    now: datetime,
    account: BrokerAccount | None = None,
    strategy: Strategy | None = None,
) -> TradingState:
    """Set the state of one scope; every claim made after the commit sees it."""
    row = TradingState.objects.select_for_update().get(
        scope=scope, account=account, strategy=strategy
    )
    row.state = state.value
    row.reason = reason[:300]
    row.changed_by = changed_by
    row.changed_at = now
    row.full_clean(validate_constraints=False)
    row.save()
    system.status_changed(now=now)
    if state != TradingMode.ACTIVE:
        system.alert(level="warning", text=f"{scope} is {state}: {row.reason}", now=now)
    return row


def trading_state_worsen(
    *, account: BrokerAccount, state: TradingMode, reason: str, now: datetime
) -> bool:
    """Make the account's state stricter by rule; never loosen it. True if it changed."""
    with transaction.atomic():
        row = TradingState.objects.select_for_update().get(scope="ACCOUNT", account=account)
        if _SEVERITY.index(TradingMode(row.state)) >= _SEVERITY.index(state):
            return False
        trading_state_set(
            scope="ACCOUNT",
            account=account,
            state=state,
            reason=reason,
            changed_by="trader",
            now=now,
        )
        return True
