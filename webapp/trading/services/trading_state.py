"""The kill switch at its three levels."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.http import HttpRequest

from sep_engine.execution.states import TradingMode
from webapp.trading import halt_flag
from webapp.trading.models import BrokerAccount, Strategy, TradingState
from webapp.trading.services import second_factor, system

_SEVERITY = list(TradingMode)


def trading_state_change(
    *,
    scope: str,
    state: TradingMode,
    reason: str,
    user: AbstractBaseUser,
    proof: str,
    request: HttpRequest | None,
    now: datetime,
    account: BrokerAccount | None = None,
    strategy: Strategy | None = None,
) -> TradingState:
    """Set the state of one scope for a person. To tighten needs nothing, to loosen needs proof.

    proof: the code of the second factor, or the password of who has none. Making everything
        ACTIVE takes the halt flag down too.

    Raises:
        second_factor.Refused: the state would be looser and the proof is missing or wrong.
    """
    row = TradingState.objects.get(scope=scope, account=account, strategy=strategy)
    lifts_flag = scope == "GLOBAL" and state == TradingMode.ACTIVE and halt_flag.is_set()
    if loosens(row, state) or lifts_flag:
        second_factor.person_check(user=user, proof=proof, request=request, now=now)
    done = trading_state_set(
        scope=scope,
        state=state,
        reason=reason,
        changed_by=user.get_username(),
        now=now,
        account=account,
        strategy=strategy,
    )
    if lifts_flag:
        halt_flag.take_down()
        with transaction.atomic():
            system.status_changed(now=now)
    return done


def loosens(row: TradingState, state: TradingMode) -> bool:
    """Return whether `state` allows more than the row does now."""
    return _SEVERITY.index(state) < _SEVERITY.index(TradingMode(row.state))


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
    *,
    account: BrokerAccount,
    state: TradingMode,
    reason: str,
    now: datetime,
    strategy: Strategy | None = None,
) -> bool:
    """Make the account's (or the strategy's) state stricter by rule; never loosen it.

    True if it changed.
    """
    whose = {"account": None, "strategy": strategy} if strategy else {"account": account}
    scope = "STRATEGY" if strategy else "ACCOUNT"
    with transaction.atomic():
        row = TradingState.objects.select_for_update().get(scope=scope, **whose)
        if _SEVERITY.index(TradingMode(row.state)) >= _SEVERITY.index(state):
            return False
        trading_state_set(
            scope=scope,
            account=None if strategy else account,
            strategy=strategy,
            state=state,
            reason=reason,
            changed_by="trader",
            now=now,
        )
        return True
