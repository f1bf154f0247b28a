"""Named places of the order path at which a test can end the process as `kill -9` would."""

import os
import signal

_name, _, _hit = os.environ.get("SEP_KILLPOINT", "").partition(":")
_left = int(_hit or 1)


def killpoint(name: str) -> None:
    """End this process on the n-th call if SEP_KILLPOINT is "name:n"; else do nothing."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
