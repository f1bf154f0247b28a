"""The launcher with real processes: it starts everything, watches it, and leaves nothing behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from webapp import launcher
from webapp.tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_S = 240.0
NOBODY = 65534


def processes_of(var_path: Path) -> list[psutil.Process]:
    """Return every process that was started for this folder, whoever its parent is."""
    found = []
    for process in psutil.process_iter():
        try:
            # Valkey writes its title over its environment; the title names its socket.
            named = any(str(var_path) in word for word in process.cmdline())
            ours = named or process.environ().get("SEP_VAR_PATH") == str(var_path)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(var_path: Path, timeout_s: float) -> list[psutil.Process]:
    """Wait until nothing of this folder runs; return what still does."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and processes_of(var_path):
        time.sleep(0.1)
    return processes_of(var_path)


def environment_of(var_path: Path) -> dict[str, str]:
    """Return ours with this folder, and without the servers of a test run."""
    servers = ("VALKEY_URL", "REDIS_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    kept = {name: value for name, value in os.environ.items() if name not in servers}
    return {**kept, "SEP_VAR_PATH": str(var_path)}


class Run:
    """One launcher with its output."""

    def __init__(self, var_path: Path, port: int, *options: str) -> None:
        self.var_path, self.port = var_path, port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "webapp.launcher", "--port", str(port), *options],
            cwd=ROOT,
            env=environment_of(var_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip())

    def await_line(self, pattern: str, timeout_s: float = START_S) -> "re.Match[str]":
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.05)
        raise AssertionError(f"no line {pattern!r} in:\n" + "\n".join(self.lines))

    def end(self) -> int:
        code = self.process.wait(timeout=60)
        self._reader.join()
        return code

    def get(self, path: str, **headers: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def post(self, path: str, body: object, **headers: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def log_in(self) -> dict[str, str]:
        """Return the headers that speak for the first administrator."""
        login = self.await_line(r"Log in as (\S+) with password (\S+)$")
        tokens = self.post("/api/auth/token", {"username": login[1], "password": login[2]})
        return {"Authorization": f"Bearer {tokens['access']}"}

    def health(self) -> dict[str, str]:
        return {one["name"]: one["status"] for one in self.get("/api/health")["processes"]}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start_one(*options: str) -> Run:
        run = Run(tmp_path, free_port(), *options)
        runs.append(run)
        return run

    yield start_one
    for run in runs:
        run.process.kill()
        run.end()
    for process in gone(tmp_path, 60):
        process.kill()


def test_a_first_run_and_a_second_one(start: Callable[[], Run], tmp_path: Path) -> None:
    first = start()
    first.await_line(rf"SEP is running at http://localhost:{first.port}$")
    login = first.await_line(r"Log in as (\S+) with password (\S+)$")
    deadline = time.monotonic() + START_S
    while set(first.health().values()) != {"up"} and time.monotonic() < deadline:
        time.sleep(0.2)
    assert set(first.health()) == {"web", "trader", "relay", "worker", "beat"}
    assert set(first.health().values()) == {"up"}

    # The login works, and the password is in no log.
    bearer = first.log_in()
    assert first.get("/api/status", **bearer)["trading"]["state"] == "ACTIVE"
    for log in (tmp_path / "log").glob("*.log"):
        assert login[2] not in log.read_text()

    # A second launcher on the same folder is refused with one line.
    second = start()
    assert second.end() == 1
    assert re.fullmatch(
        rf"SEP cannot start: SEP runs on \S+ already \(pid {first.process.pid}\): stop it, or "
        r"choose another folder with SEP_VAR_PATH",
        second.lines[-1],
    )

    # A child that dies is started again, and it is said.
    (worker,) = (one for one in processes_of(tmp_path) if "worker" in one.cmdline())
    worker.kill()
    first.await_line(r"worker ended with signal SIGKILL, starts again in 1 s")
    first.await_line(r"worker was started again")

    cursor = first.get("/api/feed", **bearer)["cursor"]
    began = time.monotonic()
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 0
    assert time.monotonic() - began < 60  # 4 s and 2 s are what it waits for the stubborn
    assert processes_of(tmp_path) == []
    assert first.lines[-1].startswith("SEP stopped")

    # It goes on with the same data, and shows no password again.
    third = start()
    third.await_line(r"SEP is running")
    assert not [line for line in third.lines if "password" in line]
    assert third.get("/api/feed", **bearer)["cursor"] >= cursor
    third.process.send_signal(signal.SIGTERM)
    assert third.end() == 0
    assert processes_of(tmp_path) == []


def until(what: Callable[[], bool], timeout_s: float = START_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def test_one_command_trades_at_a_local_oanda_server(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start("--broker", "oanda-local")
    run.await_line("SEP is running")
    bearer = run.log_in()
    until(lambda: set(run.health().values()) == {"up"})
    assert set(run.health()) == {"web", "trader", "relay", "worker", "beat", "venue"}
    assert run.get("/api/status", **bearer)["account"]["kind"] == "oanda-local"

    run.post("/api/feed", {"bars_per_second": 50}, **bearer)
    until(lambda: run.get("/api/orders?state=FILLED", **bearer)["count"] >= 6)
    # The venue's server dies and comes back with its ledger; trading goes on.
    (venue,) = (one for one in processes_of(tmp_path) if "sep_oanda_server" in one.cmdline())
    venue.kill()
    run.await_line("venue was started again")
    filled = run.get("/api/orders?state=FILLED", **bearer)["count"]
    until(lambda: run.get("/api/orders?state=FILLED", **bearer)["count"] >= filled + 2)

    run.post("/api/feed", {"paused": True}, **bearer)
    doubts = ("CREATED", "QUEUED", "SENDING", "UNKNOWN", "CANCEL_PENDING", "CHANGE_UNKNOWN")
    until(lambda: not any(run.get(f"/api/orders?state={s}", **bearer)["count"] for s in doubts))
    assert run.get("/api/status", **bearer)["trading"]["state"] == "ACTIVE"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        run.post("/api/feed", {"restart": True}, **bearer)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
    assert processes_of(tmp_path) == []

    assert (tmp_path / "oanda_token").stat().st_mode & 0o777 == 0o600
    token = (tmp_path / "oanda_token").read_text()
    for log in (tmp_path / "log").glob("*.log"):
        assert token not in log.read_text()
        assert "HTTP Request" not in log.read_text()

    assert check_books(tmp_path, token) == "the books agree\n"

    # The folder is this broker's.
    other = start()
    assert other.end() == 1
    assert "the account here is of kind oanda-local, not paper: start with" in other.lines[-1]
    assert processes_of(tmp_path) == []


def check_books(var_path: Path, token: str) -> str:
    """What `check_books` says of the books by the ledger that the venue left behind."""
    port = free_port()
    environment = environment_of(var_path)
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "sep_oanda_server", "--paused", "--clock", "market"),
            *("--port", str(port), "--ledger", str(var_path / "oanda.sqlite3")),
        ],
        cwd=ROOT,
        env={**environment, "SEP_OANDA_TOKEN": token},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: launcher._listens(port))
        result = subprocess.run(
            [sys.executable, "manage.py", "check_books"],
            cwd=ROOT,
            env={**environment, "SEP_OANDA_URL": f"http://127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return result.stdout + result.stderr
    finally:
        server.terminate()
        server.wait(60)


def test_nothing_outlives_a_launcher_that_was_killed(
    start: Callable[[], Run], tmp_path: Path
) -> None:
    run = start()
    run.await_line("SEP is running")
    # Launcher, Valkey, web, trader, worker, beat, kill switch.
    assert len(processes_of(tmp_path)) == 7
    run.process.kill()
    assert gone(tmp_path, 60) == []


def test_stopping_in_the_middle_of_the_start_leaves_nothing(
    start: Callable[[], Run], tmp_path: Path
) -> None:
    run = start()
    deadline = time.monotonic() + START_S
    while not any("prepare" in one.cmdline() for one in processes_of(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("name", ["trader", "killswitch", "web", "worker"])
def test_c14_when_memory_runs_out_the_page_goes_before_what_trades(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    starter = launcher.Launcher(tmp_path, 0, dict(os.environ), "paper")
    read = "import sys; sys.stdout.write(open('/proc/self/oom_score_adj').read())"
    child = starter._start(name, [sys.executable, "-c", read])
    assert child.process is not None
    assert child.process.wait(30) == 0
    # What trades keeps the score that everything here began with.
    own = Path("/proc/self/oom_score_adj").read_text().strip()
    wanted = own if name in ("trader", "killswitch") else "500"
    assert (tmp_path / "log" / f"{name}.log").read_text().strip() == wanted


def test_a_busy_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = Run(tmp_path, port)
        assert run.end() == 1
    assert re.fullmatch(
        rf"SEP cannot start: port {port} is in use by \S+ \(pid {os.getpid()}\): stop that "
        rf"program, or choose another port: make run PORT={port + 1}",
        run.lines[-1],
    )
    assert processes_of(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(launcher.CannotStart, match=r"cannot be made .* SEP_VAR_PATH"):
        launcher.check_writable(tmp_path / "file" / "var")


@contextlib.contextmanager
def without_rights() -> Iterator[Path]:
    """Yield a folder of this process, which is not root's meanwhile: root may write everywhere."""
    root = os.getuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if root:
            os.chown(folder, NOBODY, -1)
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield Path(folder)
        finally:
            if root:
                os.setresuid(0, 0, 0)


def test_a_database_that_cannot_be_written_is_named() -> None:
    with without_rights() as folder:
        launcher.check_writable(folder)
        (folder / "sep.sqlite3").touch(mode=0o400)
        with pytest.raises(launcher.CannotStart, match=r"sep\.sqlite3 cannot be written"):
            launcher.check_writable(folder)


def test_a_disk_with_too_little_room_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "DISK_FREE_BYTES_MIN", 10**18)
    with pytest.raises(launcher.CannotStart, match="MB free, SEP needs 1000000000000: free some"):
        launcher.check_disk(tmp_path)


def test_help_says_what_it_takes() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "webapp.launcher", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--port" in result.stdout


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "webapp.launcher", "--port", port],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
