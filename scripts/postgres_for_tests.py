"""Run a command with DATABASE_URL pointing at a throw-away PostgreSQL cluster.

Usage: postgres_for_tests.py COMMAND...

The cluster lives in a temporary folder, listens on a Unix socket in it and on nothing else, and is
gone afterwards. The server refuses to run as root, so root starts it as another user.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

# Losing this cluster at a power cut costs nothing, so nothing waits for the disk.
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")


def server_binaries() -> Path | None:
    """Return the folder that holds initdb and pg_ctl, the newest of Debian's first, or None."""
    # Debian keeps each version's programs off the path.
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda initdb: int(initdb.parts[-3]),
    )
    initdb = debian[-1] if debian else shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def server_user() -> pwd.struct_passwd | None:
    """Return the user that the server must run as, or None to stay the present one."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise SystemExit("postgres_for_tests: root needs a user 'postgres' or 'nobody' to run as")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A throw-away cluster in `folder`, which belongs to the user that runs it."""

    binaries: Path
    folder: str
    user: pwd.struct_passwd | None

    @property
    def url(self) -> str:
        """What DATABASE_URL is to be."""
        return f"postgresql://sep@{quote(self.folder, safe='')}/postgres"

    def create(self) -> None:
        self._run("initdb", "-U", "sep", "-A", "trust", "-E", "UTF8", "-N", "--locale=C")

    def start(self, *, durable: bool = False) -> None:
        """Start it. `durable`: let it write to the disk as a server that is not for tests does."""
        settings = (f"-c {setting}={'on' if durable else 'off'}" for setting in DURABILITY)
        options = " ".join([f"-k {self.folder}", "-h ''", *settings])
        self._run("pg_ctl", "-l", f"{self.folder}/log", "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop without a checkpoint, as a crash does: the next start recovers from the log."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def backends(self) -> list[int]:
        """Return the processes of the server but its first, which starts the others anew."""
        first = int(Path(self.folder, "data", "postmaster.pid").read_text().splitlines()[0])
        return [child.pid for child in psutil.Process(first).children()]

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self.binaries / program, "-D", f"{self.folder}/data", *words],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            user=self.user.pw_uid if self.user else None,
            group=self.user.pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
        )


@contextlib.contextmanager
def running(binaries: Path, *, durable: bool = False) -> Iterator[Cluster]:
    """Start a cluster; stop and delete it afterwards. `durable`: as `Cluster.start` says."""
    user = server_user()
    with tempfile.TemporaryDirectory(prefix="sep-pg-") as folder:
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        one = Cluster(binaries, folder, user)
        one.create()
        one.start(durable=durable)
        try:
            yield one
        finally:
            one.stop()


@contextlib.contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """Start a cluster and yield its DATABASE_URL; stop and delete it afterwards."""
    with running(binaries) as one:
        yield one.url


def main() -> int:
    binaries = server_binaries()
    if binaries is None:
        raise SystemExit("postgres_for_tests: no initdb found: apt install postgresql")
    with cluster(binaries) as url:
        return subprocess.run(
            sys.argv[1:], env={**os.environ, "DATABASE_URL": url}, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
