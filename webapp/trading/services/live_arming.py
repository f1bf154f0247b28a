"""Real money: an account may trade it only where five things agree, and says which one does not.

PostgreSQL; SEP_LIVE_TRADING=1; SEP_LIVE_ACCOUNT naming this very account of the venue; a person's
arming with proof of who they are and a typed sentence; and for a rule's own orders evidence, or a
person's override of it. Paper, the local server and practice accounts need none of this.
"""

from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from webapp.trading.models import BrokerAccount, LiveArming, Strategy
from webapp.trading.services import events, second_factor, system
from webapp.trading.services.live_gate import PRACTICE_KINDS, may_trade_live
from webapp.trading.wire import time_text


def is_live(account: BrokerAccount) -> bool:
    """Return whether the account can lose real money; a kind that is not known can."""
    return account.kind not in PRACTICE_KINDS


def database_vendor() -> str:
    return connection.vendor


def place_refusal(account: BrokerAccount) -> str:
    """Return why this installation may not trade the account, "" if it may.

    The account need not be stored: `broker add` asks before it stores one.
    """
    if not is_live(account):
        return ""
    if database_vendor() != "postgresql":
        return f"account {account.name} is live: it needs PostgreSQL (DATABASE_URL)"
    if not settings.SEP_LIVE_TRADING:
        return f"account {account.name} is live: SEP_LIVE_TRADING is not 1"
    if not account.venue_account or account.venue_account != settings.SEP_LIVE_ACCOUNT:
        return f"account {account.name} is live: SEP_LIVE_ACCOUNT does not name it"
    return ""


def live_refusal(*, account: BrokerAccount, strategy: Strategy | None, now: datetime) -> str:
    """Return why the account may open nothing now, "" if it may.

    strategy: whose order it is, None for a person's.
    """
    if not is_live(account):
        return ""
    refused = place_refusal(account)
    if refused:
        return refused
    if not LiveArming.objects.filter(account=account).exists():
        return f"account {account.name} is live and not armed: manage.py live arm"
    if strategy is None:
        return ""
    answer = may_trade_live(strategy, now)
    return "" if answer.allowed else f"{strategy.name} may not trade real money: {answer.reason}"


def sentence(account: BrokerAccount) -> str:
    """Return what a person types to arm the account."""
    return f"trade real money on {account.name}"


def live_arm(
    *,
    account: BrokerAccount,
    user: AbstractBaseUser,
    proof: str,
    confirmation: str,
    reason: str,
    now: datetime,
) -> LiveArming:
    """Let a live account trade from now on.

    Raises:
        ValidationError: by field, what is missing or does not agree.
        second_factor.Refused: it is not shown that it is the user.
    """
    refused = place_refusal(account)
    if not is_live(account):
        refused = f"account {account.name} is of kind {account.kind}: it needs no arming"
    if refused:
        raise ValidationError({"account": refused})
    if not reason.strip():
        raise ValidationError({"reason": "Say why."})
    if confirmation != sentence(account):
        raise ValidationError({"confirmation": f"Type: {sentence(account)}"})
    second_factor.person_check(user=user, proof=proof, request=None, now=now)
    with transaction.atomic():
        arming, _ = LiveArming.objects.update_or_create(
            account=account,
            defaults={
                "armed_by": user.get_username(),
                "reason": reason.strip()[:300],
                "armed_at": now,
            },
        )
        _tell("live_armed", account, user.get_username(), arming.reason, now)
    return arming


@transaction.atomic
def live_disarm(*, account: BrokerAccount, changed_by: str, now: datetime) -> bool:
    """End the arming; False if there was none."""
    ended, _ = LiveArming.objects.filter(account=account).delete()
    if ended:
        _tell("live_disarmed", account, changed_by, "", now)
    return bool(ended)


def _tell(type: str, account: BrokerAccount, who: str, reason: str, now: datetime) -> None:
    data = {"account": account.name, "by": who, "reason": reason, "at": time_text(now)}
    events.record(stream="audit", type=type, data=data, now=now)
    system.alert(
        level="warning", text=f"{account.name}: {type.replace('_', ' ')} by {who}", now=now
    )
