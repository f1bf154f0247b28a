"""The whole of SEP, started as a person starts it."""

import time

import psutil

from tests.stack import Stack


def test_every_process_beats(stack: Stack) -> None:
    # A process beats every 5 s once it is up.
    deadline = time.monotonic() + 120
    while (health := stack.health())["status"] != "ok":
        assert time.monotonic() < deadline, health
        time.sleep(1)
    assert {process["name"] for process in health["processes"]} == {
        "beat", "relay", "trader", "web", "worker",
    }  # fmt: skip
    assert health["database"]["kind"] == "sqlite"


def test_the_idle_stack_needs_less_than_its_budget_of_memory(stack: Stack) -> None:
    launcher = psutil.Process(stack.launcher.pid)
    processes = [launcher, *launcher.children(recursive=True)]
    # Proportional set size: a page that processes share is counted once.
    used_mb = sum(process.memory_full_info().pss for process in processes) / 1e6
    assert len(processes) >= 6
    assert used_mb < 1500
