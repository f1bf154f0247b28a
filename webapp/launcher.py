"""`make run`: start every process of SEP on one machine, watch them, and stop them all.

Order: checks, embedded Valkey (unless VALKEY_URL names another), web server, database and sample,
local OANDA server (only with `--broker oanda-local`), trader, worker, beat, kill switch. Ctrl-C
stops the trader first and Valkey last. Each child asks the kernel for SIGTERM at the launcher's
end, so that even `kill -9` of the launcher leaves nothing behind. Logs are in `var/log`; the
console gets one line for each thing that happens.
"""

import argparse
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from django.core.exceptions import ImproperlyConfigured

from webapp import embedded_valkey
from webapp.config import env

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
OANDA_LOCAL = "oanda-local"
BROKERS = ("paper", OANDA_LOCAL, "oanda-practice", "oanda-live")
DISK_FREE_BYTES_MIN = 1_000_000_000
LOG_BYTES_MAX = 20_000_000
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 4.0
# What holds positions or ends them outlives pages and computations when memory runs out.
LAST_TO_GO = ("trader", "killswitch", "valkey", "venue")
OOM_SCORE = "500"
BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60.0
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class CannotStart(Exception):
    """One line that says what to do."""


class Stopped(Exception):
    """The person asked to stop."""


@dataclass(slots=True)
class Child:
    """One process and what happened to it."""

    name: str
    words: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float | None = None
    secrets: dict[str, str] = field(default_factory=dict)  # what this child alone is told


@dataclass(slots=True)
class Launcher:
    var_path: Path
    port: int
    environment: dict[str, str]
    broker: str
    children: list[Child] = field(default_factory=list)

    def run(self) -> None:
        """Start everything and return when it is to stop. What was started is always stopped."""
        try:
            if not (os.environ.get("VALKEY_URL") or os.environ.get("REDIS_URL")):
                self._start_valkey()
            starts_venue = self.broker == OANDA_LOCAL and not os.environ.get("SEP_OANDA_URL")
            if starts_venue:
                venue_port = _free_port()
                self.environment["SEP_OANDA_URL"] = f"http://{HOST}:{venue_port}"
            web = self._start("web", _web_words(self.port))
            login = self._prepare()
            if starts_venue:
                self._start_venue(venue_port)
            self._start("trader", _manage("runtrader", "--relay"))
            # Two threads beside those that wait for the shards of runs.
            threads = str(2 + max(1, (os.cpu_count() or 1) - 1))
            self._start("worker", _celery("worker", "--pool", "threads", "--concurrency", threads))
            schedule = self.var_path / "beat" / "schedule"
            schedule.parent.mkdir(exist_ok=True)
            self._start("beat", _celery("beat", "--schedule", str(schedule)))
            self._await_page(web)
            switch_port = _free_port()
            words = _python("-m", "webapp.killswitch", "--port", str(switch_port))
            self._start("killswitch", words)
            self._welcome(login, switch_port)
            while True:
                self._watch(timeout_s=1.0)
        finally:
            self._stop()

    def _start_valkey(self) -> None:
        try:
            child = Child("valkey", embedded_valkey.command(self.var_path))
            self._launch(child)
            self.children.append(child)
        except RuntimeError as error:
            raise CannotStart(str(error)) from error
        path = embedded_valkey.socket_path(self.var_path)
        self.environment["VALKEY_URL"] = f"unix://{path}"
        deadline = time.monotonic() + 30
        while not embedded_valkey.answers(path):
            assert child.process is not None
            if child.process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(
                    f"the embedded Valkey did not start: {self._last_words('valkey')}"
                )
            self._watch(timeout_s=0.02)

    def _start_venue(self, port: int) -> None:
        """Start the local OANDA server, which gets its quotes from the trader, and await it."""
        try:
            token = env.secret("SEP_OANDA_TOKEN", kept_in=self.var_path / "oanda_token")
        except ImproperlyConfigured as error:
            raise CannotStart(str(error)) from error
        ledger = str(self.var_path / "oanda.sqlite3")
        words = _python("-m", "sep_oanda_server", "--paused", "--clock", "market")
        venue = self._start(
            "venue", [*words, "--port", str(port), "--ledger", ledger], SEP_OANDA_TOKEN=token
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _listens(port):
            if venue.failures > 2 or time.monotonic() > deadline:
                raise CannotStart(
                    f"the local OANDA server did not start: {self._last_words('venue')}"
                )
            self._watch(timeout_s=0.05)

    def _start(self, name: str, words: list[str], **secrets: str) -> Child:
        child = Child(name, words, secrets=secrets)
        self._launch(child)
        self.children.append(child)
        return child

    def _launch(self, child: Child) -> None:
        with self._log_path(child.name).open("ab") as log:
            child.process = subprocess.Popen(
                child.words,
                cwd=ROOT,
                env=self.environment | child.secrets,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C in the terminal reaches the launcher alone, which
                # then stops the others in order.
                start_new_session=True,
                preexec_fn=_as_child(os.getpid(), first_to_go=child.name not in LAST_TO_GO),
            )
        child.started_at = time.monotonic()
        child.restart_at = None

    def _prepare(self) -> dict[str, str]:
        """Bring the database up to date; return the first administrator's login if it was made."""
        with self._log_path("prepare").open("ab") as log:
            process = subprocess.Popen(
                _manage("prepare", "--broker", self.broker),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=_as_child(os.getpid(), first_to_go=True),
            )
        self.children.append(Child("prepare", [], process))
        try:
            while process.poll() is None:
                self._wait_signal(0.1)
        finally:
            self.children.pop()
            if process.poll() is None:
                process.terminate()
        output = process.stdout.read() if process.stdout else b""
        if process.stdout:
            process.stdout.close()
        if process.returncode != 0:
            raise CannotStart(f"the database could not be prepared: {self._last_words('prepare')}")
        login: dict[str, str] = json.loads(output or b"{}")
        return login

    def _await_page(self, web: Child) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            if web.failures > 2 or time.monotonic() > deadline:
                raise CannotStart(f"the web server did not start: {self._last_words('web')}")
            self._watch(timeout_s=0.1)

    def _welcome(self, login: dict[str, str], switch_port: int) -> None:
        say("")
        say(f"SEP is running at http://localhost:{self.port}")
        if login:
            say(f"Log in as {login['username']} with password {login['password']}")
            say("This password is shown once; `python manage.py changepassword` sets another.")
        say(
            f"The kill switch is at http://{HOST}:{switch_port}, "
            f"its token is in {self.var_path / 'killswitch_token'}"
        )
        say(f"Logs are in {self._log_path('*')}. Ctrl-C stops everything.")
        say("")

    def _watch(self, *, timeout_s: float) -> None:
        """Wait for a signal or the time; restart children that ended; bound the logs."""
        self._wait_signal(timeout_s)
        now = time.monotonic()
        for child in self.children:
            assert child.process is not None
            code = child.process.poll()
            if code is None:
                continue
            if child.restart_at is None:
                steady = now - child.started_at >= STEADY_S
                child.failures = 1 if steady else child.failures + 1
                pause_s = BACK_OFF_S[min(child.failures, len(BACK_OFF_S)) - 1]
                child.restart_at = now + pause_s
                say(
                    f"{child.name} ended with {_ending(code)}, starts again in {pause_s:.0f} s: "
                    f"{self._last_words(child.name)}"
                )
            elif now >= child.restart_at:
                self._launch(child)
                say(f"{child.name} was started again")
        self._reap_strays()
        for log in self._log_path("*").parent.glob("*.log"):
            # Opened for appending, so writers go on at the new end.
            with contextlib.suppress(OSError):
                if log.stat().st_size > LOG_BYTES_MAX:
                    shutil.copyfile(log, log.with_suffix(".log.1"))
                    os.truncate(log, 0)

    def _wait_signal(self, timeout_s: float) -> None:
        received = signal.sigtimedwait(_SIGNALS, timeout_s)
        if received is not None and received.si_signo != signal.SIGCHLD:
            raise Stopped

    def _reap_strays(self) -> None:
        """Collect processes that a dead child left to us: what lives is killed, the rest reaped."""
        ours = {child.process.pid for child in self.children if child.process}
        for stray in psutil.Process().children():
            if stray.pid not in ours:
                with contextlib.suppress(psutil.Error, ChildProcessError):
                    stray.kill()
                    os.waitpid(stray.pid, 0)

    def _stop(self) -> None:
        """End every child: the trader first, Valkey last, each within its time."""
        rank = {"trader": 0, "killswitch": 2, "valkey": 2}
        for stage in (0, 1, 2):
            group = [
                child.process
                for child in self.children
                if child.process and rank.get(child.name, 1) == stage
            ]
            for process in group:
                if process.poll() is None:
                    process.terminate()
            deadline = time.monotonic() + (STOP_TIMEOUT_S if stage < 2 else 2.0)
            for process in group:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for stray in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                stray.kill()

    def _log_path(self, name: str) -> Path:
        return self.var_path / "log" / f"{name}.log"

    def _last_words(self, name: str) -> str:
        with contextlib.suppress(OSError), self._log_path(name).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            lines = log.read().decode(errors="replace").strip().splitlines()
            if lines:
                return f"{lines[-1].strip()[:300]} (see {self._log_path(name)})"
        return f"see {self._log_path(name)}"


def say(line: str) -> None:
    """Print one line, marked as the launcher's where a person looks on."""
    print(f"\x1b[36m{line}\x1b[0m" if line and sys.stdout.isatty() else line, flush=True)


def check_disk(var_path: Path) -> None:
    free_bytes = shutil.disk_usage(var_path).free
    if free_bytes < DISK_FREE_BYTES_MIN:
        raise CannotStart(
            f"{var_path} has {free_bytes // 1_000_000} MB free, SEP needs "
            f"{DISK_FREE_BYTES_MIN // 1_000_000}: free some, or choose another folder with "
            "SEP_VAR_PATH"
        )


def check_writable(var_path: Path) -> None:
    try:
        (var_path / "log").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(
            f"{var_path} cannot be made ({error.strerror}): choose another folder with SEP_VAR_PATH"
        ) from error
    for path in (var_path, var_path / "log", *var_path.glob("*.sqlite3*")):
        if not os.access(path, os.W_OK):
            raise CannotStart(
                f"{path} cannot be written: give it to this user, or choose another folder with "
                "SEP_VAR_PATH"
            )


def check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            other = port + 1 if port < 65_535 else 8000
            if error.errno == errno.EADDRINUSE:
                raise CannotStart(
                    f"port {port} is in use{_user_of(port)}: stop that program, or choose another "
                    f"port: make run PORT={other}"
                ) from error
            raise CannotStart(
                f"port {port} cannot be opened ({error.strerror}): choose another: "
                f"make run PORT={other}"
            ) from error


def _user_of(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for one in psutil.net_connections("tcp"):
            if (
                one.status == psutil.CONN_LISTEN
                and one.laddr
                and one.laddr.port == port
                and one.pid
            ):
                return f" by {psutil.Process(one.pid).name()} (pid {one.pid})"
    return ""


@contextlib.contextmanager
def only_one(var_path: Path) -> Iterator[None]:
    """Hold the lock of this `var` folder."""
    with (var_path / "launcher.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            raise CannotStart(
                f"SEP runs on {var_path} already (pid {pid}): stop it, or choose another folder "
                "with SEP_VAR_PATH"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _as_child(parent: int, *, first_to_go: bool):  # type: ignore[no-untyped-def]
    """Return what a child does before it becomes its program.

    first_to_go: when the machine has no memory left the kernel ends it before the others.
    """

    def prepare() -> None:
        if first_to_go:
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        embedded_valkey.die_with_parent()
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)

    return prepare


def _python(*words: str) -> list[str]:
    return [sys.executable, *words]


def _manage(*words: str) -> list[str]:
    return _python("manage.py", *words)


def _celery(command: str, *words: str) -> list[str]:
    return _python("-m", "celery", "-A", "webapp.config.celery", command, "-l", "INFO", *words)


def _web_words(port: int) -> list[str]:
    options = {
        "--host": HOST,
        "--port": str(port),
        "--ws-max-size": "16384",
        "--ws-per-message-deflate": "false",
        "--timeout-graceful-shutdown": "2",
        "--timeout-keep-alive": "30",
        "--limit-concurrency": "500",
        "--lifespan": "on",
        "--log-level": "warning",
    }
    flat = (word for pair in options.items() for word in pair)
    # What proxies say about a client is for SEP_TRUSTED_PROXIES to believe (wsgi.py).
    flags = ("--no-access-log", "--no-proxy-headers")
    return _python("-m", "uvicorn", "webapp.config.asgi:application", *flags, *flat)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="webapp.launcher", description="Start SEP on this machine."
    )
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("PORT") or 8000,
        help="where the page answers; the variable PORT sets it too (default 8000)",
    )
    parser.add_argument(
        "--broker",
        choices=BROKERS,
        default="paper",
        help="where to trade: SEP's own paper broker (default), a local OANDA server, or the "
        "practice account of manage.py broker add",
    )
    arguments = parser.parse_args()
    if not 1 <= arguments.port <= 65_535:
        parser.error(f"the port must be in [1, 65535], was {arguments.port}")
    return arguments


def main() -> int:
    """Run until asked to stop. 0: stopped by a person; 1: it could not start."""
    arguments = _arguments()
    # One folder holds one account with its venue's ledger.
    own = ROOT / "var" if arguments.broker == "paper" else ROOT / "var" / arguments.broker
    var_path = Path(os.environ.get("SEP_VAR_PATH") or own).resolve()
    # Signals are taken one by one in `_wait_signal`, never in the middle of something.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    started_at = time.monotonic()
    try:
        check_writable(var_path)
        check_disk(var_path)
        with only_one(var_path):
            check_port(arguments.port)
            environment = {
                **os.environ,
                "SEP_VAR_PATH": str(var_path),
                "DJANGO_SETTINGS_MODULE": "webapp.config.settings",
                "PYTHONUNBUFFERED": "1",
            }
            say("starting SEP")
            Launcher(var_path, arguments.port, environment, arguments.broker).run()
    except CannotStart as reason:
        print(f"SEP cannot start: {reason}", file=sys.stderr, flush=True)
        return 1
    except Stopped:
        say(f"SEP stopped after {time.monotonic() - started_at:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
