"""The embedded Valkey starts, remembers, and does not outlive its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from valkey import Valkey

from webapp import embedded_valkey


def test_a_deep_folder_gets_a_socket_path_that_fits(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    path = embedded_valkey.socket_path(deep)
    assert len(os.fsencode(path)) <= 107
    assert path == embedded_valkey.socket_path(deep)


def test_what_was_written_a_second_before_a_kill_is_there_afterwards(tmp_path: Path) -> None:
    server = embedded_valkey.start(tmp_path, timeout_s=60)
    url = f"unix://{embedded_valkey.socket_path(tmp_path)}"
    with Valkey.from_url(url) as client:
        client.set("key", "value")
    # appendfsync everysec: the file is synced once a second.
    time.sleep(1.2)
    server.kill()
    server.wait()
    server = embedded_valkey.start(tmp_path, timeout_s=60)
    with Valkey.from_url(url) as client:
        assert client.get("key") == b"value"
    server.terminate()
    server.wait(timeout=60)


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from webapp import embedded_valkey;"
        "print(embedded_valkey.start(Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        server_pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and psutil.pid_exists(server_pid):
        time.sleep(0.05)
    assert not psutil.pid_exists(server_pid)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    (tmp_path / "valkey" / "valkey.sock").mkdir()
    with pytest.raises(RuntimeError, match=r"did not start: .*(bind|socket)"):
        embedded_valkey.start(tmp_path, timeout_s=60)
