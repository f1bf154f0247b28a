"""Sealing of secrets at rest: authenticated encryption under keys that can be changed.

A sealed text names what it was sealed for, so that one put in the place of another is refused.
The keys are those of `SEP_SECRET_KEYS`, newest first, or in a local run of a file that only its
owner can read. They are read at each use: a rotation counts for processes that run.
"""

import json
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from webapp.config.private_file import write_private


class SealBroken(Exception):
    """A sealed text cannot be opened: the key is gone, or it was changed, or is another's."""


def seal(purpose: str, secret: str) -> str:
    """Return `secret` sealed for `purpose` under the newest key."""
    content = json.dumps({"for": purpose, "secret": secret})
    return _box().encrypt(content.encode()).decode()


def unseal(purpose: str, sealed: str) -> str:
    """Return the secret that was sealed for `purpose`.

    Raises:
        SealBroken: no key of ours opens it, or it was sealed for something else.
    """
    try:
        content = json.loads(_box().decrypt(sealed.encode()))
    except InvalidToken:
        # Nothing of the cause is shown: it holds the sealed text.
        raise SealBroken(f"{purpose}: none of the secret keys opens it") from None
    if content["for"] != purpose:
        raise SealBroken(f"{purpose}: this was sealed for something else")
    secret: str = content["secret"]
    return secret


def reseal(sealed: str) -> str:
    """Return the same content sealed under the newest key.

    Raises:
        SealBroken: no key of ours opens it.
    """
    try:
        return _box().rotate(sealed.encode()).decode()
    except InvalidToken:
        raise SealBroken("none of the secret keys opens a stored secret") from None


def add_key() -> bool:
    """Put a key that was just made before those of the local file.

    Returns:
        False if the keys come from the environment, where we write nothing.
    """
    if settings.SEP_SECRET_KEYS:
        return False
    _write([Fernet.generate_key().decode(), *_keys()])
    return True


def forget_old_keys() -> None:
    """Keep only the newest key of the local file; all must have been sealed again before."""
    if not settings.SEP_SECRET_KEYS:
        _write(_keys()[:1])


def _box() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in _keys()])


def _keys() -> list[str]:
    if settings.SEP_SECRET_KEYS:
        return list(settings.SEP_SECRET_KEYS)
    path: Path | None = settings.SEP_SECRET_KEYS_PATH
    if path is None:
        raise ImproperlyConfigured(
            "SEP_SECRET_KEYS is not set, and without it no secret can be kept; make a key with "
            "python -c "
            "'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
        )
    if not path.exists():
        _write([Fernet.generate_key().decode()], first=True)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ImproperlyConfigured(f"others can read {path}: run chmod 600 {path}")
    return path.read_text(encoding="utf-8").split()


def _write(keys: list[str], *, first: bool = False) -> None:
    path = settings.SEP_SECRET_KEYS_PATH
    assert path is not None  # the environment has no keys, and `_keys` has refused without a path
    write_private(path, "\n".join(keys) + "\n", replace=not first)
