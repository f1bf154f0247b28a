"""A strategy class at work in a process of its own: one complete bar in, -1, 0 or 1 out.

The class is code that whoever runs SEP has chosen, and a trader holds the key of a venue. So the
class runs beside it: with an empty folder to be in, none of the trader's environment, descriptors
or memory, limits on memory and processor time, and a deadline for each answer. What is late,
raises, ends or says anything but -1, 0 or 1 is no answer. The process is then ended and started
again after growing pauses, and given every bar from the first: a class that depends on nothing but
its bars decides on as one that never stopped.

It is a wall against accidents, not against malice: the process belongs to the same user of the
machine and may read what that user may read.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from sep_engine.errors import ArgumentError
from sep_engine.signals.strategy import StrategyBar, StrategyRule

# For one answer, and for all bars of the past after a start.
ANSWER_S = 2.0
WARM_UP_S = 60.0
# Before it is started again: after the first failure, and at the most.
PAUSE_S = 2.0
PAUSE_S_MAX = 300.0
# Lines of what it prints that are passed on, and how much of each.
PRINTED_LINES_MAX = 200
PRINTED_CHARS_MAX = 200
REASON_CHARS_MAX = 250

# What a Python needs to start and to speak a language; nothing else is handed on.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
# Threads of numerical libraries would each reserve memory, and share no work on one bar.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_READ_BYTES = 1 << 16
_LINE_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a strategy said of a bar: -1, 0 or 1, or None with the reason why it said nothing."""

    direction: int | None
    reason: str = ""


class StrategyProcess:
    """One strategy class with its process; give it every complete bar, oldest first.

    Any thread may call it, one call at a time; `close` interrupts a call that waits.
    """

    def __init__(
        self,
        *,
        source: str,
        class_name: str = "",
        path: str = "strategy.py",
        printed: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            class_name: "" for the only one that the source defines.
            path: what the source is called in messages.
            printed: told each line that the strategy prints, cut and at most PRINTED_LINES_MAX of
                a process.
        """
        self._source, self._class_name, self._path = source, class_name, path
        self._printed = printed
        self._bars: list[bytes] = []
        self._turn = threading.Lock()
        # Held while the process changes: `close` does not wait for whose turn it is.
        self._changing = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._trouble = ""
        self._failures = 0
        self._next_start = 0.0
        self.told: dict[str, Any] = {}

    @property
    def trouble(self) -> str:
        """Why it stands, "" while it does not."""
        return self._trouble

    @property
    def is_warm(self) -> bool:
        """Whether it runs and has been given every bar of the past."""
        return self._process is not None and self._answered >= self._warm_at and bool(self.told)

    def see(self, bar: StrategyBar) -> None:
        """Add a bar of the past, before the process is started for the first time."""
        if self._process is not None:
            raise ArgumentError("bars of the past come before the first start")
        self._bars.append(_line(bar))

    def attend(self, wait_s: float) -> bool:
        """Start it if it is due, give it the past, notice its end. At most `wait_s` is spent.

        Returns:
            Whether there is nothing to wait for: it is warm, or it stands.
        """
        with self._turn:
            if self._process is None:
                if self._closed or time.monotonic() < self._next_start:
                    return True
                self._start()
            if self.is_warm:
                self._pump(time.monotonic(), lambda: False)
            else:
                self._pump(time.monotonic() + wait_s, lambda: self.is_warm)
                self._give_up_if_cold()
            return self._process is None or self.is_warm

    def ask(self, bar: StrategyBar) -> Answer:
        """Return what it says at the end of the next bar; at most about ANSWER_S is waited."""
        with self._turn:
            number = len(self._bars)
            self._bars.append(_line(bar))
            if self._process is None:
                pause_s = self._next_start - time.monotonic()
                if self._closed or pause_s > 0:
                    again = f"started again in {max(pause_s, 0):.0f} s"
                    return Answer(None, f"{self._trouble}; {again}")
                self._start()
            else:
                self._out += self._bars[-1]
            was_warm = self.is_warm
            self._pump(time.monotonic() + ANSWER_S, lambda: self._answered >= number)
            if not was_warm and self.is_warm:
                # The time went by with the past; this bar has its own.
                was_warm = True
                self._pump(time.monotonic() + ANSWER_S, lambda: self._answered >= number)
            if self._process is None:
                return Answer(None, self._trouble)
            if self._answered >= number:
                return Answer(self._direction)
            if was_warm:
                self._fail(f"no answer within {ANSWER_S:g} s")
                return Answer(None, self._trouble)
            self._give_up_if_cold()
            return Answer(None, self._trouble or "it is still given the bars of the past")

    def close(self) -> None:
        """End it for ever."""
        with self._changing:
            self._closed = True
            if self._process is not None:
                _kill(self._process)
        with self._turn:
            if self._process is not None:
                self._fail("closed")

    def _start(self) -> None:
        self._started_at = time.monotonic()
        with contextlib.ExitStack() as ending:
            try:
                folder = tempfile.TemporaryDirectory(prefix="sep-strategy-")
                ending.callback(folder.cleanup)
                with self._changing:
                    if self._closed:
                        return
                    self._process = _child(folder.name)
            except OSError as error:
                self._stand(f"its process cannot be started: {error}")
                return
            ending.pop_all()
        self._folder = folder
        for pipe in self._pipes():
            os.set_blocking(pipe, False)
        self._warm_at = len(self._bars) - 1
        self._answered, self._direction = -1, 0
        self._lines_printed = 0
        self._in, self._err, self._error = b"", b"", ""
        self.told = {}
        first = {
            "source": self._source,
            "class": self._class_name,
            "path": self._path,
            "answer_from": max(0, self._warm_at),
        }
        self._out = bytearray(json.dumps(first).encode() + b"\n" + b"".join(self._bars))

    def _runs(self) -> bool:
        return self._process is not None

    def _pipes(self) -> tuple[int, int, int]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        return process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()

    def _pump(self, until: float, done: Callable[[], bool]) -> None:
        """Write and read until it is `done` or fails, or until a time of the steady clock."""
        if self._process is None:
            return  # it did not start
        to, out, err = self._pipes()
        looked = False
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            ready.register(err, selectors.EVENT_READ)
            writes = False
            while self._runs() and not done():
                left = until - time.monotonic()
                if left <= 0 and looked:
                    return
                if bool(self._out) != writes:
                    writes = not writes
                    if writes:
                        ready.register(to, selectors.EVENT_WRITE)
                    else:
                        ready.unregister(to)
                for key, _ in ready.select(max(left, 0)):
                    if key.fd == to:
                        self._write(to)
                    elif key.fd == out:
                        self._hear(os.read(out, _READ_BYTES))
                    elif printed := os.read(err, _READ_BYTES):
                        self._pass_on(printed)
                    else:
                        ready.unregister(err)
                    if not self._runs():
                        return
                looked = True

    def _write(self, to: int) -> None:
        try:
            written = os.write(to, memoryview(self._out)[:_READ_BYTES])
        except BrokenPipeError:
            self._out.clear()  # its end is read from stdout, with the reason
            return
        del self._out[:written]

    def _hear(self, data: bytes) -> None:
        if not data:
            self._fail(self._error or self._end())
            return
        *lines, self._in = (self._in + data).split(b"\n")
        try:
            for line in lines:
                self._take(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._fail("its process spoke nonsense")
            return
        if len(self._in) > _LINE_BYTES_MAX:
            self._fail("its process spoke nonsense")

    def _take(self, said: dict[str, Any]) -> None:
        if "error" in said:
            self._error = str(said["error"])
        elif "strategy" in said:
            self.told = dict(said["strategy"])
        else:
            number, direction = said["bar"], said["direction"]
            if direction not in (-1, 0, 1) or number != max(self._answered + 1, self._warm_at, 0):
                raise ValueError(said)
            self._answered, self._direction = number, direction
        if self.is_warm:
            self._trouble = ""

    def _end(self) -> str:
        assert self._process is not None
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "its process closed its pipe"
        if status >= 0:
            return f"its process ended with exit status {status}"
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-status).name}"
        return f"its process was ended by signal {-status}"

    def _pass_on(self, printed: bytes) -> None:
        *lines, self._err = (self._err + printed).split(b"\n")
        self._err = self._err[-_LINE_BYTES_MAX:]
        for line in lines:
            if self._lines_printed < PRINTED_LINES_MAX:
                self._printed(line.decode(errors="replace")[:PRINTED_CHARS_MAX])
            self._lines_printed += 1

    def _give_up_if_cold(self) -> None:
        if self._process is None or self.is_warm:
            return
        if time.monotonic() - self._started_at > WARM_UP_S:
            self._fail(f"not through the bars of the past within {WARM_UP_S:g} s")

    def _fail(self, reason: str) -> None:
        process = self._process
        assert process is not None
        _kill(process)
        process.wait()
        with self._changing:
            self._process = None
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        self._folder.cleanup()
        self._stand(reason)

    def _stand(self, reason: str) -> None:
        lived_s = time.monotonic() - self._started_at
        self._failures = 1 if lived_s > PAUSE_S_MAX else self._failures + 1
        pause_s = min(PAUSE_S * 2.0 ** min(self._failures - 1, 20), PAUSE_S_MAX)
        self._next_start = time.monotonic() + pause_s
        self._trouble = " ".join(reason.split())[:REASON_CHARS_MAX]


def check_source(
    source: str, *, class_name: str, path: str, units: Decimal, bars: list[StrategyBar]
) -> StrategyRule:
    """Return what is kept of a class that can trade: it was run over `bars` in its own process.

    Raises:
        ArgumentError: it cannot be imported, has no on_bar or no horizon, or failed at a bar.
    """
    process = StrategyProcess(source=source, class_name=class_name, path=path)
    try:
        for bar in bars:
            process.see(bar)
        while not process.attend(0.25):
            pass
        if process.trouble:
            raise ArgumentError(process.trouble)
        told = process.told
        return StrategyRule(
            name=told["name"],
            source_sha256=sha256(source.encode()).hexdigest(),
            horizon_bars=told["horizon_bars"],
            stop_ticks=told["stop_ticks"],
            target_ticks=told["target_ticks"],
            units=units,
        )
    finally:
        process.close()


def _child(folder: str) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-m", "sep_engine.signals.strategy_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**kept, **_ONE_THREAD},
        bufsize=0,
        start_new_session=True,
    )


def _line(bar: StrategyBar) -> bytes:
    # Text that is read back as the same float, digit for digit.
    row = [bar.time_ns, bar.open, bar.high, bar.low, bar.close, bar.gap]
    return json.dumps(row).encode() + b"\n"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
