"""Measure `make run` on a fresh clone: cold, warm, how fast it stops, and the memory it needs.

Usage: measure.py [PYTHON]

The clone and every download cache are new, so the cold figure holds all downloads. Prints one line
for each figure, with the load of the machine before it: on a busy machine they say little.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
COLD_TIMEOUT_S = 1200
SETTLE_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def page_is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def say(what: str, value: float, unit: str, load: float) -> None:
    print(f"{what:40} {value:8.1f} {unit:3} load before {load:.1f}", flush=True)


def run_once(name: str, clone: Path, environment: dict[str, str], python: str) -> None:
    """Start `make run`, wait for the page, look at the memory, and stop it with Ctrl-C."""
    port = free_port()
    load = os.getloadavg()[0]
    started = time.monotonic()
    with (clone.parent / f"{name}.log").open("w") as log:
        make = subprocess.Popen(
            ["make", "run", f"PORT={port}", f"PYTHON={python}"],
            cwd=clone,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while not page_is_up(port):
        if make.poll() is not None or time.monotonic() - started > COLD_TIMEOUT_S:
            raise SystemExit((clone.parent / f"{name}.log").read_text())
        time.sleep(0.05)
    say(f"make run, {name}: page up", time.monotonic() - started, "s", load)
    time.sleep(SETTLE_S)
    family = psutil.Process(make.pid).children(recursive=True)
    # Proportional set size: a page that processes share is counted once.
    used_mb = sum(process.memory_full_info().pss for process in family) / 1e6
    say(f"make run, {name}: memory of {len(family)} processes", used_mb, "MB", load)
    started = time.monotonic()
    os.killpg(make.pid, signal.SIGINT)
    make.wait()
    left = psutil.wait_procs(family, timeout=30)[1]
    say(f"make run, {name}: stopped", time.monotonic() - started, "s", load)
    if left:
        raise SystemExit(f"these outlived make run: {left}")


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else shutil.which("python3") or "python3"
    with tempfile.TemporaryDirectory(prefix="sep-measure-") as folder:
        clone = Path(folder) / "sep"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("VIRTUAL_ENV", "DATABASE_URL", "VALKEY_URL", "REDIS_URL", "PYTHONPATH")
            and not re.match(r"(SEP_|DJANGO_|MAKE)", name)
        }
        # The tools of this checkout's environment must not stand in for those of the clone.
        environment["PATH"] = os.pathsep.join(
            part
            for part in environment["PATH"].split(os.pathsep)
            if Path(part) != ROOT / ".venv" / "bin"
        )
        environment["UV_CACHE_DIR"] = f"{folder}/uv-cache"
        environment["npm_config_cache"] = f"{folder}/npm-cache"
        environment["PIP_NO_CACHE_DIR"] = "1"
        run_once("cold", clone, environment, python)
        run_once("warm", clone, environment, python)


if __name__ == "__main__":
    main()
