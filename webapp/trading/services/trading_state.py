"""The kill switch at its three levels."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import Error, transaction
from django.http import HttpRequest

from sep_engine.execution.states import TradingMode
from webapp.trading import halt_flag
from webapp.trading.models import BrokerAccount, Strategy, TradingState
from webapp.trading.services import second_factor, system

logger = logging.getLogger(__name__)

_SEVERITY = list(TradingMode)


class NotRecorded(Exception):
    """The database did not take a halt of everything; the message says whether the flag is up."""


def everything_halt(*, reason: str, changed_by: str, now: datetime) -> TradingState:
    """Halt everything.

    The flag, which every sender reads before each send, goes up before the database is asked. It
    stays up until somebody with proof lets everything do more than HALTED.

    Raises:
        NotRecorded: the database did not take it.
    """
    try:
        halt_flag.put_up(reason, by=changed_by, now=now)
    except OSError as error:
        logger.error("the halt flag cannot be put up: %s", error)
    with halt_recorded():
        return trading_state_set(
            scope="GLOBAL", state=TradingMode.HALTED, reason=reason, changed_by=changed_by, now=now
        )


@contextmanager
def halt_recorded() -> Iterator[None]:
    """Let an error of the database within say what was halted all the same.

    Raises:
        NotRecorded: in place of the error.
    """
    try:
        yield
    except Error as error:
        done = "Nothing is sent, the halt flag is up"
        if not halt_flag.is_set():
            done = "NOTHING IS HALTED, the halt flag could not be put up either"
        raise NotRecorded(f"{done}; the database did not record it: {error}") from error


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

    While the halt flag is up everything is HALTED, whatever its row says: letting everything do
    more takes the flag down too.

    proof: the code of the second factor, or the password of who has none.

    Raises:
        second_factor.Refused: the state would be looser and the proof is missing or wrong.
        NotRecorded: everything was to be halted and the database did not take it.
    """
    if scope == "GLOBAL" and state == TradingMode.HALTED:
        return everything_halt(reason=reason, changed_by=user.get_username(), now=now)
    row = TradingState.objects.get(scope=scope, account=account, strategy=strategy)
    flag = halt_flag.reason() if scope == "GLOBAL" and halt_flag.is_set() else None
    if needs_proof(row, state):
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
    if flag is not None:
        halt_flag.take_down(seen=flag)
        with transaction.atomic():
            system.status_changed(now=now)
    return done


def needs_proof(row: TradingState, state: TradingMode) -> bool:
    """Return whether a person must show who they are to set the row to `state`."""
    lifts_flag = row.scope == "GLOBAL" and state != TradingMode.HALTED and halt_flag.is_set()
    return loosens(row, state) or lifts_flag


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
        transaction.on_commit(lambda: logger.error("%s is %s: %s", scope, state, reason))
        return True
