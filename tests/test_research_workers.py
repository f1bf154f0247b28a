"""A run on the real stack: its worker is killed, and nothing is lost or done twice."""

import sqlite3
import time
from typing import Any

import psutil

from tests.stack import Stack

LEASE_S = 30
RULE = {
    "direction": "last_bit_reversal",
    "horizon_bars": 4,
    "stop_ticks": None,
    "units": "1000",
}


def worker_pid(stack: Stack, *, other_than: int | None = None) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in stack.health()["processes"]:
            pid = process["pid"]
            if process["name"] == "worker" and pid and pid != other_than:
                return int(pid)
        time.sleep(0.5)
    raise AssertionError("the worker does not beat")


def rows(stack: Stack, query: str) -> list[Any]:
    with sqlite3.connect(stack.var_path / "sep.sqlite3", timeout=60) as database:
        return database.execute(query).fetchall()


def kill_amid_a_shard(stack: Stack, pid: int) -> int:
    """Kill a worker that has a shard, and return the shard.

    It stands still while it is looked at: only the worker writes that a shard is done.
    """
    worker = psutil.Process(pid)
    deadline = time.monotonic() + 120
    while True:
        worker.suspend()
        while worker.status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        if found := rows(stack, "SELECT id FROM trading_runshard WHERE state = 'RUNNING'"):
            worker.kill()
            return int(found[0][0])
        worker.resume()
        assert time.monotonic() < deadline, "no shard was taken"
        time.sleep(0.05)


def test_a_killed_worker_s_shard_is_done_again_and_nothing_twice(stack: Stack) -> None:
    login = {"username": stack.username, "password": stack.password}
    token = stack.call("auth/token", body=login)["access"]
    killed = worker_pid(stack)
    asked = stack.call("evidence", token, {"surrogates": 40, "seed": 7}, key="kill-test")
    address = asked["id"]

    lost = kill_amid_a_shard(stack, killed)

    deadline = time.monotonic() + LEASE_S + 400
    while True:
        run = stack.call(f"runs/{address}", token)
        if run["state"] not in ("QUEUED", "RUNNING"):
            break
        assert time.monotonic() < deadline, run
        time.sleep(1.0)

    assert (run["state"], run["error"]) == ("DONE", "")
    assert run["result_text"] == "No evidence of edge after costs."
    assert run["shards"]["done"] == run["shards"]["total"]
    (attempts,) = rows(stack, f"SELECT attempts FROM trading_runshard WHERE id = {lost}")[0]
    assert attempts >= 2
    # Each of the 145 rules was looked at once, and there is one answer.
    tried = f"SELECT count(*) FROM trading_trial WHERE run_address = '{address}'"
    assert rows(stack, tried) == [(145,)]
    answers = f"SELECT count(*) FROM trading_runresult WHERE run_id = '{address}'"
    assert rows(stack, answers) == [(1,)]
    assert worker_pid(stack, other_than=killed) != killed
