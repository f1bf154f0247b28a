"""The same work for many numbers, shared among forks of this process.

A fork has everything that the work needs, code of the user included, without it being sent. Its
answers come back through a pipe.
"""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from sep_engine.errors import ArgumentError

_T = TypeVar("_T")


def each(
    work: Callable[[int], _T], count: int, *, jobs: int, more: Callable[[int], bool]
) -> Iterator[tuple[int, _T]]:
    """Yield (number, work(number)) for numbers from 0 to below `count`, in any order.

    Args:
        jobs: processes, >= 1; 1 works in this one. Job j takes j, j + jobs and so on.
        more: asked before each number; a job ends where the answer is no.

    Raises:
        ArgumentError: a process ended without having said why; or what `work` raises.
    """
    if min(jobs, count) <= 1:
        for number in range(count):
            if not more(number):
                return
            yield number, work(number)
        return
    context = multiprocessing.get_context("fork")
    running: dict[Connection, Any] = {}
    try:
        for job in range(min(jobs, count)):
            receive, send = context.Pipe(duplex=False)
            process = context.Process(
                target=_answer, args=(send, work, range(job, count, jobs), more), daemon=True
            )
            with warnings.catch_warnings():
                # Python warns of other threads: here they draw a progress bar, which no fork does.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            send.close()
            running[receive] = process
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                try:
                    answer = ready.recv()
                except EOFError:
                    raise ArgumentError("a process of the causality gate was ended") from None
                if isinstance(answer, BaseException):
                    raise answer
                if answer is not None:
                    yield answer
                    continue
                running.pop(ready).join()
                ready.close()
    finally:
        for receive, process in running.items():
            process.terminate()
            process.join()
            receive.close()


def _answer(
    send: Connection,
    work: Callable[[int], Any],
    numbers: Iterable[int],
    more: Callable[[int], bool],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends its jobs
    with closing(send):
        try:
            for number in numbers:
                if not more(number):
                    break
                send.send((number, work(number)))
            send.send(None)
        except BrokenPipeError:
            return  # nobody listens any more
        except Exception as error:  # handed over, not swallowed
            send.send(error)
