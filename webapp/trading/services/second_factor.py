"""The second factor of a person: a code that changes every 30 s (RFC 6238), each good for once.

Who has none proves by password that it is still they who sit there. Who lost the telephone gives
one of the recovery codes that came with it; each of those is good for once too. All are counted as
logins are.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

import pyotp
import segno
from django.contrib.auth import authenticate
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

from webapp.config import login, sealing
from webapp.trading.models import SecondFactor
from webapp.trading.services import events
from webapp.trading.wire import time_text

STEP_S = 30
# The clocks of people's telephones: a code of the step before or after is taken too.
STEPS_AROUND = (0, -1, 1)
RECOVERY_CODES = 8
# 80 random bits: too many to guess, so a plain digest keeps them as well as a slow one would.
_RECOVERY_BYTES = 10


@dataclass(frozen=True, slots=True)
class QrCode:
    """A QR code as an SVG path of squares.

    Attributes:
        size: modules on a side, the quiet zone of 4 on each side among them; the view box.
        path: the `d` of one path whose stroke is a module wide.
    """

    size: int
    path: str


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


def qr_code(uri: str) -> QrCode:
    """Return the address as a telephone's camera reads it."""
    rows = [bytes(row) for row in segno.make_qr(uri, error="m").matrix_iter(border=4)]
    runs = []
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            width = 1
            while x + width < len(row) and row[x + width] == row[x]:
                width += 1
            if row[x]:
                runs.append(f"M{x} {y}.5h{width}")
            x += width
    return QrCode(len(rows), "".join(runs))


def second_factor_confirm(*, user: AbstractBaseUser, code: str, now: datetime) -> list[str]:
    """Count the second factor from now on: its first code shows that the telephone has it.

    Returns:
        The recovery codes, shown this once.

    Raises:
        Refused: the code is not the present one, or nothing was begun.
    """
    if has_second_factor(user):
        raise Refused("The second factor is confirmed already.")
    _take_code(user, code, now)
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        SecondFactor.objects.filter(user_id=user.pk).update(
            confirmed_at=now, recovery=[_digest(one) for one in codes]
        )
        _tell("second_factor_made", user, now)
    return codes


def second_factor_end(
    *, user: AbstractBaseUser, proof: str, request: HttpRequest | None, now: datetime
) -> None:
    """Take the user's second factor away; from now on the password proves who they are.

    Raises:
        Refused: there is none, or `proof` is neither the present code nor a recovery code.
    """
    if not has_second_factor(user):
        raise Refused("There is no second factor.")
    person_check(user=user, proof=proof, request=request, now=now)
    with transaction.atomic():
        SecondFactor.objects.filter(user_id=user.pk).delete()
        _tell("second_factor_ended", user, now)


def recovery_codes_left(user: AbstractBaseUser) -> int:
    """Return how many recovery codes the user has not used."""
    row = SecondFactor.objects.filter(user_id=user.pk, confirmed_at__isnull=False).first()
    return 0 if row is None else len(row.recovery)


def person_check(
    *, user: AbstractBaseUser, proof: str, request: HttpRequest | None, now: datetime
) -> None:
    """Return if `proof` shows that it is the user.

    That is the present code or a recovery code; without a second factor the password.

    request: whose address the attempts are counted by; None at the machine's own shell.

    Raises:
        Refused: it does not, or there were too many attempts, or nobody can count them now.
    """
    name = user.get_username()
    try:
        if not has_second_factor(user):
            if authenticate(request, username=name, password=proof) != user:
                # What a backend refuses for, authenticate does not pass on.
                why: str = getattr(request, "login_refused", "")
                raise Refused(why or "The password is wrong.")
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
    if not _take_recovery_code(row.pk, code):
        raise Refused("The code is wrong.")


@transaction.atomic
def _take_recovery_code(pk: int, code: str) -> bool:
    """Use a recovery code up; False if it is none of those that are left."""
    row = SecondFactor.objects.select_for_update().get(pk=pk)
    digest = _digest(code)
    left = [one for one in row.recovery if not hmac.compare_digest(one, digest)]
    if len(left) == len(row.recovery):
        return False
    row.recovery = left
    row.save(update_fields=["recovery"])
    return True


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _digest(code: str) -> str:
    plain = code.lower().replace("-", "").replace(" ", "")
    return hashlib.sha256(plain.encode()).hexdigest()


def _tell(type: str, user: AbstractBaseUser, now: datetime) -> None:
    data = {"user": user.get_username(), "at": time_text(now)}
    events.record(stream="audit", type=type, data=data, now=now)


def _purpose(user: AbstractBaseUser) -> str:
    return f"second factor of user {user.pk}"
