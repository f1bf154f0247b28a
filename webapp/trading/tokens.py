"""Brokers' tokens: sealed in the database, opened only where a request is signed.

No log, page, error or admin shows one. `store_token` also renews what the kill switch keeps for
the time when there is no database (`webapp.trading.standby`).
"""

from django.db import transaction

from webapp.config import sealing
from webapp.trading import standby
from webapp.trading.models import BrokerAccount, BrokerToken, SecondFactor

TOKEN_LENGTH_MAX = 4096


class NoToken(Exception):
    """The account has no token."""


@transaction.atomic
def store_token(account: BrokerAccount, token: str, *, stored_by: str = "system") -> None:
    """Keep the token of an account, in place of the one that it had.

    Raises:
        ValueError: this cannot be a token; the message does not hold it.
    """
    if not token or len(token) > TOKEN_LENGTH_MAX or not token.isascii() or not token.isprintable():
        raise ValueError(
            f"a token is 1 to {TOKEN_LENGTH_MAX} printable ASCII characters; what was given is not"
        )
    if any(character.isspace() for character in token):
        raise ValueError("a token holds no spaces; what was given does")
    row, _ = BrokerToken.objects.update_or_create(
        account=account,
        defaults={"sealed": sealing.seal(_purpose(account), token), "stored_by": stored_by[:150]},
    )
    account.token = row
    transaction.on_commit(standby.write)


def read_token(account: BrokerAccount) -> str:
    """Return the token of an account.

    Raises:
        NoToken: it has none, or none that our keys open.
    """
    try:
        row = account.token
    except BrokerToken.DoesNotExist:
        raise NoToken(
            f"account {account.name} has no token: run manage.py broker add, or the admin"
        ) from None
    try:
        return sealing.unseal(_purpose(account), row.sealed)
    except sealing.SealBroken as error:
        raise NoToken(
            f"the token of account {account.name} cannot be opened ({error}): store it again"
        ) from None


def rotate_keys() -> int:
    """Seal every kept secret under the newest key; return how many there were.

    In a local run a new key is made first and the old ones are forgotten at the end. Keys that
    come from the environment are the operator's: the new one is put first there before this runs.

    Raises:
        sealing.SealBroken: one cannot be opened; then nothing was changed and no key forgotten.
    """
    sealing.add_key()
    count = 0
    with transaction.atomic():
        for kept in (BrokerToken, SecondFactor):
            for row in kept.objects.select_for_update():
                row.sealed = sealing.reseal(row.sealed)
                row.save(update_fields=["sealed"])
                count += 1
    standby.write()
    sealing.forget_old_keys()
    return count


def _purpose(account: BrokerAccount) -> str:
    return f"token of account {account.pk}"
