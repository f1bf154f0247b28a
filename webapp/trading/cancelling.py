"""Tasks are ended for certain."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Python 3.11 loses a cancellation that meets the end of an `asyncio.wait_for`, so once may not
    be enough.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)


def end_together(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Let all end when one of them fails: a group cancels each once, which may not be enough."""
    ending: list[asyncio.Task[None]] = []

    def ended(task: asyncio.Task[Any]) -> None:
        if not ending and not task.cancelled() and task.exception() is not None:
            ending.append(asyncio.get_running_loop().create_task(cancelled(tasks)))

    for task in tasks:
        task.add_done_callback(ended)
