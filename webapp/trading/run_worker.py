"""Computing shards: claim one, let a process of its own compute it, store what it found.

A process for each shard means that its memory and time have limits that hold, that a cancelled run
stops at once, and that a crash costs a shard and not the worker. The process runs at low priority:
trading comes first.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from django.conf import settings
from django.utils import timezone

from webapp.trading.models import RunShard
from webapp.trading.research.question import Answer
from webapp.trading.services import runs

RENEW_S = 2.0
# Cores are shared with trading: one shard fewer than there are, at least one.
_slots = threading.BoundedSemaphore(max(1, (os.cpu_count() or 1) - 1))


def work_until_done() -> int:
    """Compute shards until none is free; return how many. 0 at once while all slots are in use."""
    if not _slots.acquire(blocking=False):
        return 0
    try:
        count = 0
        while True:
            shard = runs.shard_claim(holder=_name(), now=timezone.now())
            if shard is None:
                return count
            _compute(shard)
            count += 1
    finally:
        _slots.release()


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[:128]


def _compute(shard: RunShard) -> None:
    process = subprocess.Popen(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "compute_shard",
         str(shard.pk), shard.claim, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        _follow(shard, process)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _follow(shard: RunShard, process: "subprocess.Popen[bytes]") -> None:
    """Renew the lease while the process works; store its answer or why there is none."""
    assert process.stdout is not None
    deadline = time.monotonic() + settings.SEP_SHARD_TIME_S
    progress: float | None = None
    renew_at = time.monotonic() + RENEW_S
    for line in _lines(process.stdout):
        now = time.monotonic()
        if line is not None:
            said = json.loads(line)
            if "progress" not in said:
                _store(shard, said)
                return
            progress = said["progress"]
        if now >= renew_at:
            if not runs.shard_renew(shard=shard, progress=progress, now=timezone.now()):
                return  # cancelled, or the lease was lost
            progress, renew_at = None, now + RENEW_S
        if now > deadline:
            limit = settings.SEP_SHARD_TIME_S
            error = f"a shard took more than {limit} s; SEP_SHARD_TIME_S sets the limit"
            runs.shard_fail(shard=shard, error=error, now=timezone.now())
            return
    status = process.wait()
    if status < 0 and status != -signal.SIGTERM:
        # Killed: by the kernel for memory, or by a person. Another attempt will tell.
        runs.shard_release(shard=shard)
    elif status > 0:
        error = f"the process of a shard ended with exit code {status}; see the worker's log"
        runs.shard_fail(shard=shard, error=error, now=timezone.now())


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Yield whole lines as they come, and None at least each half second without one."""
    rest = b""
    os.set_blocking(stream.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=0.5):
                yield None
                continue
            with contextlib.suppress(BlockingIOError):
                data = os.read(stream.fileno(), 1 << 20)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from lines
                yield None


def _store(shard: RunShard, said: dict[str, Any]) -> None:
    now = timezone.now()
    if "error" in said:
        runs.shard_fail(shard=shard, error=said["error"], now=now)
    elif "answer" in said:
        runs.run_done(shard=shard, answer=Answer(**said["answer"]), now=now)
    else:
        runs.shard_done(shard=shard, result=said["result"], now=now)
