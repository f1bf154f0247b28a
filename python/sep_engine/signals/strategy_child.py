"""The process that a strategy class runs in: `strategy_process` starts it and speaks with it.

Started as `python -I -m sep_engine.signals.strategy_child`. Lines of JSON come on stdin: first one
object with the source, then a bar each, as an array. Lines go out on stdout: one object that tells
the class's numbers, then one for each bar from `answer_from` on, or one with `error`, the last.

Before the source is run, both pipes move to descriptors that it does not know, and stdout becomes
stderr: a strategy may print what it likes. When the pipe of the bars ends, so does this process,
whatever the class is doing: a trader that dies leaves nothing behind.
"""

import json
import os
import queue
import resource
import signal
import sys
import threading
from types import ModuleType
from typing import Any, TextIO

from sep_engine.errors import ArgumentError
from sep_engine.signals.strategy import StrategyBar, decision_of
from sep_engine.signals.user_code import called, check_numbers, class_of

MEMORY_BYTES_MAX = 2 * 2**30
# Of processor time for one bar; the trader stops waiting long before by its own clock, but it may
# be the trader that is gone.
CPU_S_MAX = 20

_Lines = queue.SimpleQueue[bytes]


def main() -> None:
    """Run the strategy that comes on stdin until its bars end."""
    asked, answers = os.dup(0), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    lines: _Lines = queue.SimpleQueue()
    threading.Thread(target=_read, args=(asked, lines), daemon=True).start()
    _limit(resource.RLIMIT_AS, MEMORY_BYTES_MAX)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        _serve(lines, answers)
    except ArgumentError as error:
        _say(answers, {"error": str(error)})
        sys.stderr.flush()
        os._exit(1)  # threads of the class do not keep it alive


def _read(asked: int, lines: _Lines) -> None:
    rest = b""
    while data := os.read(asked, 1 << 16):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            lines.put(line)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with all that the class has started
    os._exit(0)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (least, hard))


def _serve(lines: _Lines, answers: TextIO) -> None:
    first = json.loads(lines.get())
    path, answer_from = first["path"], first["answer_from"]
    made = _class_in(first["source"], path, first["class"])
    numbers = ("horizon_bars", "window", "stop_ticks", "target_ticks")
    told = {name: getattr(made, name, None) for name in numbers}
    _say(answers, {"strategy": {"name": made.__name__, **told}})
    _limit_cpu()
    strategy = called(path, made)
    place = 0
    while True:
        bar = StrategyBar(*json.loads(lines.get()))
        _limit_cpu()
        direction = _decided(path, strategy, bar, place)
        if place >= answer_from:
            _say(answers, {"bar": place, "direction": direction})
        place += 1


def _class_in(source: str, path: str, name: str) -> Any:
    module = ModuleType("strategy")
    sys.modules["strategy"] = module
    _limit_cpu()
    called(path, lambda: exec(compile(source, path, "exec"), vars(module)))
    made = class_of(module, path, name)
    if not hasattr(made, "on_bar"):
        raise ArgumentError(
            f"{path}: {made.__name__} has only prepare, which needs all bars at once; trading has "
            "one bar at a time: give it on_bar"
        )
    check_numbers(made, path)
    return made


def _decided(path: str, strategy: Any, bar: StrategyBar, place: int) -> int:
    return called(path, lambda: decision_of(strategy, bar, place))


def _limit_cpu() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_S_MAX)


def _say(answers: TextIO, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
