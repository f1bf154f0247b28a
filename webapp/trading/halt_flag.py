"""The kill switch that needs no database: while the file is there, nothing is sent.

The trader looks at it when it judges an order and again right before it sends one. Close
everything still passes, as it passes every other halt.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings


def path() -> Path:
    return Path(settings.SEP_VAR_PATH) / "halted"


def is_set() -> bool:
    """Return whether the flag is there. A folder that cannot be read counts as set."""
    try:
        path().stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def reason() -> str:
    """Return what the flag says: when it was put up, by whom and why, as far as it can be read."""
    try:
        return path().read_text(encoding="utf-8", errors="replace").strip()[:300]
    except OSError as error:
        return f"the flag cannot be read: {error.strerror}"


def put_up(reason: str, *, by: str, now: datetime) -> None:
    """Halt every trader that uses this `var` folder.

    Raises:
        OSError: it cannot be written; see `is_set` for whether it is there all the same.
    """
    when = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
    text = f"{when}, {by}: {reason}\n"
    # The file is there, which is what counts, before its text is.
    path().write_text(text, encoding="utf-8")
    with _alone():
        # Whoever was lifting an older one at this moment took this one with it.
        if not path().exists():
            path().write_text(text, encoding="utf-8")


def take_down(*, seen: str) -> bool:
    """Let the states in the database decide again; False if the flag is another than was seen.

    seen: what `reason` told who lifts it; one that was put up again since then stays.

    Raises:
        OSError: it cannot be taken down.
    """
    with _alone():
        if reason() != seen:
            return False
        path().unlink(missing_ok=True)
        return True


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep others out between a look at the flag and what follows from it."""
    folder = os.open(path().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
