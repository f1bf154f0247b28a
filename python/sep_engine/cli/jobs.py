"""The same work for many numbers, shared among forks of this process.

A fork has everything that the work needs, code of the user included, without it being sent. Its
answers come back through a pipe.
"""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, TypeVar

from sep_engine.errors import ArgumentError

if TYPE_CHECKING:
    from sep_engine.evidence.causality import Share

_T = TypeVar("_T")


def among(jobs: int) -> Share:
    """Return what shares work among `jobs` processes, >= 1: job j takes j, j + jobs and so on.

    It raises what the work raises, and ArgumentError when a process ended without having said why.
    """

    def share(
        work: Callable[[int], _T], count: int, *, more: Callable[[int], bool]
    ) -> Iterator[tuple[int, _T]]:
        processes = min(jobs, count)
        if processes <= 1:
            from sep_engine.evidence.causality import in_turn

            return in_turn(work, count, more=more)
        return _forked(work, count, processes, more)

    return share


def again(share: Share, counts: Sequence[int]) -> Share:
    """Return what shares the first `counts[k]` numbers of the k-th work that it is given, all of
    them, whatever the time: as many as were done when somebody's time was up."""
    left = iter(counts)

    def made_again(
        work: Callable[[int], _T], count: int, *, more: Callable[[int], bool]
    ) -> Iterable[tuple[int, _T]]:
        return share(work, min(count, next(left)), more=lambda number: True)

    return made_again


def _forked(
    work: Callable[[int], _T], count: int, jobs: int, more: Callable[[int], bool]
) -> Iterator[tuple[int, _T]]:
    context = multiprocessing.get_context("fork")
    running: dict[Connection, Any] = {}
    try:
        for job in range(jobs):
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
