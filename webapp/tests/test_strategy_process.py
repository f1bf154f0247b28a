"""A strategy class in its own process: what it is given, what it cannot do, how it fails."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest

from sep_engine.data import load_sample
from sep_engine.errors import ArgumentError
from sep_engine.signals.strategy import StrategyBar, bars_of
from webapp.trading.parity import columns_of, first_bars
from webapp.trading.trader import strategy_process
from webapp.trading.trader.strategy_process import Answer, StrategyProcess, check_source

BREAKOUT = Path(__file__).parents[2] / "python/tests/cli/breakout.py"
HOUR_NS = 3600 * 10**9

Made = Callable[..., StrategyProcess]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is late on a busy machine unless a test says so."""
    monkeypatch.setattr(strategy_process, "ANSWER_S", 120.0)
    monkeypatch.setattr(strategy_process, "WARM_UP_S", 120.0)


@pytest.fixture
def made() -> Iterator[Made]:
    """Makes processes of sources and ends them all."""
    there: list[StrategyProcess] = []

    def make(source: str, past: int = 0, **more: object) -> StrategyProcess:
        one = StrategyProcess(source=source, **more)  # type: ignore[arg-type]
        there.append(one)
        for number in range(past):
            one.see(bar(number))
        warm(one)
        return one

    yield make
    for one in there:
        one.close()


def warm(one: StrategyProcess) -> None:
    deadline = time.monotonic() + 120
    while not one.attend(1.0):
        assert time.monotonic() < deadline, "it was not warm within 120 s"


def bar(number: int, close: float = 1.1) -> StrategyBar:
    return StrategyBar(number * HOUR_NS, close, close, close, close, False)


def deciding(body: str, before: str = "") -> str:
    """Return the source of a class whose on_bar has one line."""
    numbers = "    horizon_bars = 1\n    window = 0\n"
    return f"{before}\nclass One:\n{numbers}    def on_bar(self, bar):\n        {body}\n"


def test_it_answers_as_a_backtest_does_and_so_does_one_that_was_killed(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_process, "PAUSE_S", 0.0)
    bars = bars_of(columns_of(first_bars(load_sample().bars, 400)))
    space: dict[str, type] = {}
    exec(BREAKOUT.read_text(), space)
    alone = space["Breakout"]()
    expected = [alone.on_bar(one) for one in bars]
    one = StrategyProcess(source=BREAKOUT.read_text())
    for past in bars[:100]:
        one.see(past)
    warm(one)
    found = [one.ask(now) for now in bars[100:250]]
    process = one._process
    assert process is not None
    process.kill()
    found.append(one.ask(bars[250]))
    assert found[-1] == Answer(None, "its process was ended by SIGKILL")
    # Started again by the next bar, it is given all 251 before it answers.
    found += [one.ask(now) for now in bars[251:]]
    one.close()
    answers = [answer.direction for answer in found]
    expected_answers: list[int | None] = [*expected[100:250], None, *expected[251:]]
    assert answers == expected_answers
    assert sum(expected[100:]) > 10
    assert one.told["stop_ticks"] == 300


def test_what_it_prints_never_reaches_the_protocol(made: Made) -> None:
    printed: list[str] = []
    before = "import os, sys\nprint('imported')\nos.write(1, b'to the descriptor\\n')"
    body = """print('{"bar": 0, "direction": -1}', flush=True); sys.stdout.flush(); return 1"""
    one = made(deciding(body, before), printed=printed.append)
    assert one.ask(bar(0)) == Answer(1)
    one.close()
    assert set(printed) >= {"imported", "to the descriptor", '{"bar": 0, "direction": -1}'}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no such\\nday')", "mine.py, line 6: ValueError: no such day"),
        ("raise SystemExit(0)", "mine.py, line 6: SystemExit: 0"),
        ("return 2", "mine.py: on_bar must return -1, 0 or 1, returned 2 at bar 0"),
        ("return None", "mine.py: on_bar must return -1, 0 or 1, returned None at bar 0"),
        ("import os; os._exit(3)", "its process ended with exit status 3"),
        ("import os; os.closerange(0, 99)", "its process ended with exit status"),
        ("return bytearray(4 * 2**30)[0]", "mine.py, line 6: MemoryError:"),
        ("open('kept', 'w').write('x' * 9999)", "mine.py, line 6: OSError: [Errno 27]"),
    ],
)
def test_what_is_no_decision_is_no_answer_with_the_reason(
    made: Made, body: str, reason: str
) -> None:
    one = made(deciding(body), path="mine.py")
    answer = one.ask(bar(0))
    assert answer.direction is None
    assert answer.reason.startswith(reason)
    assert one.trouble == answer.reason


def test_a_late_answer_is_none_and_the_process_is_ended(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import time; time.sleep(600 if bar.close > 2 else 0); return 1"
    one = made(deciding(body), past=1)
    assert one.ask(bar(1)) == Answer(1)
    process = one._process
    assert process is not None
    monkeypatch.setattr(strategy_process, "ANSWER_S", 0.2)
    assert one.ask(bar(2, close=3.0)) == Answer(None, "no answer within 0.2 s")
    assert process.returncode == -signal.SIGKILL


def test_one_that_fails_again_and_again_is_started_after_growing_pauses(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_process, "PAUSE_S", 1000.0)
    monkeypatch.setattr(strategy_process, "PAUSE_S_MAX", 3000.0)
    one = made(deciding("raise ValueError('never')"))
    pauses = []
    for number in range(0, 6, 2):
        assert one.ask(bar(number)).reason.endswith("ValueError: never")
        assert one._process is None
        reason = one.ask(bar(number + 1)).reason
        assert "ValueError: never; started again in " in reason
        pauses.append(round(float(reason.split()[-2]), -2))
        one._next_start = 0.0
    # 1,000 s, doubled each time, and 3,000 s at the most.
    assert pauses == [1000, 2000, 3000]


def test_one_that_cannot_be_started_stands(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy_process.sys, "executable", "/nowhere/python")
    one = made(deciding("return 1"))
    assert one.trouble.startswith("its process cannot be started: [Errno 2]")
    assert one.ask(bar(0)).direction is None


def test_bars_that_it_cannot_get_through_in_time_end_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_process, "WARM_UP_S", 0.5)
    one = made(deciding("import time; time.sleep(600)"), past=2)
    assert one.trouble == "not through the bars of the past within 0.5 s"


def test_it_sees_no_secret_no_descriptor_and_no_file_of_the_trader(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SEP_SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "OANDA_TOKEN", "HOME"):
        monkeypatch.setenv(name, "secret")
    printed: list[str] = []
    before = (
        "import os\n"
        "print('names', *sorted(os.environ))\n"
        "for one in sorted(os.listdir('/proc/self/fd'), key=int):\n"
        "    if os.path.exists(f'/proc/self/fd/{one}'):\n"
        "        print('open', one, os.readlink(f'/proc/self/fd/{one}').split(':')[0])\n"
        "print('files', os.listdir('.'))\n"
    )
    with (tmp_path / "ledger").open("w") as ledger:
        os.set_inheritable(ledger.fileno(), True)
        one = made(deciding("return 0", before), printed=printed.append)
        assert one.ask(bar(0)) == Answer(0)
    one.close()
    names = next(line.split()[1:] for line in printed if line.startswith("names"))
    allowed = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH"}
    threads = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    assert set(names) <= allowed | threads
    assert "PATH" in names
    opened = [line.split()[1:] for line in printed if line.startswith("open")]
    # stdin is nothing, stdout is stderr, then the two of the protocol.
    assert opened == [
        ["0", "/dev/null"], ["1", "pipe"], ["2", "pipe"], ["3", "pipe"], ["4", "pipe"],
    ]  # fmt: skip
    assert "files []" in printed


def test_closing_it_ends_a_call_that_waits_and_all_that_the_class_has_started(
    made: Made, tmp_path: Path
) -> None:
    printed: list[str] = []
    body = "print('pid', subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    one = made(deciding(body, "import subprocess, time"), printed=printed.append)
    answers: list[Answer] = []
    waiting = threading.Thread(target=lambda: answers.append(one.ask(bar(0))))
    waiting.start()
    deadline = time.monotonic() + 60
    while not printed:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    one.close()
    waiting.join(timeout=60)
    assert answers == [Answer(None, "its process was ended by SIGKILL")]
    assert ends(int(printed[0].split()[1]))


def test_it_ends_with_a_trader_that_is_killed(tmp_path: Path) -> None:
    source = deciding(
        "print('pid', os.getpid(), flush=True)\n        while True: pass", "import os"
    )
    trader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from sep_engine.signals.strategy import StrategyBar\n"
            "from webapp.trading.trader import strategy_process\n"
            "strategy_process.ANSWER_S = 600\n"
            "told = lambda line: print(line, flush=True)\n"
            "one = strategy_process.StrategyProcess(source=sys.argv[1], printed=told)\n"
            "one.ask(StrategyBar(0, 1.0, 1.0, 1.0, 1.0, False))\n",
            source,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert trader.stdout is not None
    child = int(trader.stdout.readline().split()[1])
    assert not ends(child, within_s=0)
    trader.kill()
    trader.wait(timeout=60)
    trader.stdout.close()
    assert ends(child)


def ends(pid: int, within_s: float = 60) -> bool:
    """Return whether a process is gone in time; one that nobody waits for is, too."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)


def checked(source: str, class_name: str = "") -> object:
    return check_source(
        source, class_name=class_name, path="mine.py", units=Decimal(2000), bars=[bar(0), bar(1)]
    )


def test_a_class_that_can_trade_is_kept_with_the_hash_of_its_source() -> None:
    two = deciding("return 0") + "\nclass Two(One):\n    horizon_bars = 3\n    stop_ticks = 50\n"
    rule = checked(two, "Two")
    assert rule.to_json() == {  # type: ignore[attr-defined]
        "strategy": "Two",
        "source_sha256": sha256(two.encode()).hexdigest(),
        "horizon_bars": 3,
        "stop_ticks": 50,
        "target_ticks": None,
        "units": "2000",
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_that_name", "mine.py, line 1: ModuleNotFoundError"),
        ("class One:", "mine.py: IndentationError: expected an indented block"),
        ("x = 1", "mine.py: needs one class with on_bar or prepare, has 0"),
        (
            "class One:\n    horizon_bars, window = 1, 0\n    def prepare(self, bars): ...",
            "mine.py: One has only prepare, which needs all bars at once",
        ),
        (
            deciding("return 0").replace("horizon_bars = 1", "horizon_bars = 0"),
            "mine.py: One.horizon_bars must be a whole number in 1..10000, was 0",
        ),
        (deciding("return 0 / 0"), "mine.py, line 6: ZeroDivisionError"),
    ],
)
def test_a_class_that_cannot_trade_is_refused_in_a_line(source: str, reason: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        checked(source)
    assert str(refused.value).startswith(reason)
