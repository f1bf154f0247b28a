"""The trader's clocks, and waits that end when it is to end."""

import asyncio
import time
from datetime import UTC, datetime


class Stop(Exception):
    """The process was asked to end."""


class Stopping(asyncio.Event):
    """Set when the trader is to finish its step and end."""

    async def pause(self, seconds: float) -> None:
        """Wait, or end when the trader is stopped.

        Raises:
            Stop: it is stopped, or was meanwhile.
        """
        try:
            await asyncio.wait_for(self.wait(), seconds)
        except TimeoutError:
            return
        raise Stop


def steady() -> float:
    """Return the clock that nobody sets, in seconds."""
    return time.monotonic()


def utc_now() -> datetime:
    """Return the wall clock; the trader's only reading of it."""
    return datetime.now(UTC)
