"""The second factor of a person: a code that changes every 30 s (RFC 6238), each good for once.

Who has none proves by password that it is still they who sit there. Both are counted as logins are.
"""

import hmac
from datetime import datetime

import pyotp
from django.contrib.auth import authenticate
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

from webapp.config import login, sealing
from webapp.trading.models import SecondFactor

STEP_S = 30
# The clocks of people's telephones: a code of the step before or after is taken too.
STEPS_AROUND = (0, -1, 1)


class Refused(Exception):
    """The proof was wrong, missing, or cannot be taken now; the text is for the person."""


def has_second_factor(user: AbstractBaseUser) -> bool:
    """Return whether the user must give a code, and not the password."""
    return SecondFactor.objects.filter(user_id=user.pk, confirmed_at__isnull=False).exists()


@transaction.atomic
def second_factor_begin(*, user: AbstractBaseUser) -> str:
    """Make a secret for the user and return it as an `otpauth://` address, shown this once.

    Raises:
        Refused: the user has a confirmed one; an administrator deletes it first.
    """
    if has_second_factor(user):
        raise Refused("There is a second factor already; an administrator can delete it.")
    secret = pyotp.random_base32()
    SecondFactor.objects.update_or_create(
        user_id=user.pk,
        defaults={"sealed": sealing.seal(_purpose(user), secret), "last_step": 0},
    )
    return pyotp.TOTP(secret).provisioning_uri(name=user.get_username(), issuer_name="SEP")


def second_factor_confirm(*, user: AbstractBaseUser, code: str, now: datetime) -> None:
    """Count the second factor from now on: its first code shows that the telephone has it.

    Raises:
        Refused: the code is not the present one, or nothing was begun.
    """
    if has_second_factor(user):
        raise Refused("The second factor is confirmed already.")
    _take_code(user, code, now)
    SecondFactor.objects.filter(user_id=user.pk).update(confirmed_at=now)


def person_check(
    *, user: AbstractBaseUser, proof: str, request: HttpRequest | None, now: datetime
) -> None:
    """Return if `proof` shows that it is the user: the present code, or without one the password.

    request: whose address the attempts are counted by; None at the machine's own shell.

    Raises:
        Refused: it does not, or there were too many attempts, or nobody can count them now.
    """
    name = user.get_username()
    try:
        if not has_second_factor(user):
            if authenticate(request, username=name, password=proof) != user:
                raise Refused("The password is wrong.")
            return
        if request is not None:
            login.count_attempt(request, name)
        _take_code(user, proof, now)
        if request is not None:
            login.attempt_succeeded(request, name)
    except PermissionDenied as error:
        raise Refused(str(error)) from error


def _take_code(user: AbstractBaseUser, code: str, now: datetime) -> None:
    row = SecondFactor.objects.filter(user_id=user.pk).first()
    if row is None:
        raise Refused("There is no second factor yet.")
    codes = pyotp.TOTP(sealing.unseal(_purpose(user), row.sealed))
    step = int(now.timestamp()) // STEP_S
    for around in STEPS_AROUND:
        if hmac.compare_digest(codes.generate_otp(step + around), code.strip()):
            unused = SecondFactor.objects.filter(pk=row.pk, last_step__lt=step + around)
            if unused.update(last_step=step + around) == 1:
                return
            raise Refused("This code was used already; wait for the next.")
    raise Refused("The code is wrong.")


def _purpose(user: AbstractBaseUser) -> str:
    return f"second factor of user {user.pk}"
