"""Strict reading of the environment: a value that cannot be understood stops the process."""

import difflib
import ipaddress
import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from webapp.config.private_file import write_private


def refuse_unknown(prefix: str, known: tuple[str, ...]) -> None:
    """Raise ImproperlyConfigured for a variable of this prefix that nobody reads."""
    for name in sorted(os.environ):
        if name.startswith(prefix) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f", did you mean {near[0]}?" if near else ""
            raise ImproperlyConfigured(f"{name} is no setting of SEP{meant}")


def text(name: str, default: str = "") -> str:
    """Return the variable, or the content of the file that `<name>_FILE` points to."""
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        return os.environ.get(name, default).strip()
    if name in os.environ:
        raise ImproperlyConfigured(f"set {name} or {name}_FILE, not both")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error}") from error


def choice(name: str, allowed: tuple[str, ...]) -> str:
    """Return one of `allowed`; its first entry is the default."""
    value = text(name, allowed[0])
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, was {value!r}")
    return value


def flag(name: str, *, default: bool) -> bool:
    """Return a variable that is 0 or 1."""
    value = text(name, "1" if default else "0")
    if value not in ("0", "1"):
        raise ImproperlyConfigured(f"{name} must be 0 or 1, was {value!r}")
    return value == "1"


def whole(name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number in [low, high]."""
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError as error:
        message = f"{name} must be a whole number, was {value!r}"
        raise ImproperlyConfigured(message) from error
    if not low <= number <= high:
        raise ImproperlyConfigured(f"{name} must be in [{low}, {high}], was {number}")
    return number


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Return the comma-separated entries of a variable."""
    value = text(name)
    return [word.strip() for word in value.split(",") if word.strip()] if value else list(default)


def networks(name: str) -> list[str]:
    """Return the comma-separated addresses and networks of a variable."""
    found = words(name)
    for word in found:
        try:
            ipaddress.ip_network(word)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} must be addresses or networks: {error}") from error
    return found


def folder(name: str, default: Path) -> Path:
    """Return a folder that is there, or was made now."""
    path = Path(text(name, str(default)))
    if not path.is_absolute() and not path.name:
        raise ImproperlyConfigured(f"{name} must name a folder, was {text(name)!r}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"{name} cannot be made: {error}") from error
    return path.resolve()


def secret(name: str, *, kept_in: Path | None) -> str:
    """Return a secret of at least 50 characters.

    Args:
        name: the variable; `<name>_FILE` works too.
        kept_in: where to make the secret once when the variable is unset; None requires it.

    Raises:
        ImproperlyConfigured: it is missing, short, or has few different characters.
    """
    value = text(name)
    if not value and kept_in is not None:
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        if not kept_in.exists():
            # Processes start together: one of them wins, and all read what it wrote.
            write_private(kept_in, secrets.token_urlsafe(48), replace=False)
        value = kept_in.read_text(encoding="utf-8").strip()
    if len(value) < 50 or len(set(value)) < 10:
        raise ImproperlyConfigured(
            f"{name} must be a random text of at least 50 characters; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return value
