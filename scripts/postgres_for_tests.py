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
from pathlib import Path
from urllib.parse import quote

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


@contextlib.contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """Start a cluster and yield its DATABASE_URL; stop and delete it afterwards."""
    user = server_user()
    with tempfile.TemporaryDirectory(prefix="sep-pg-") as folder:
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = f"{folder}/data"

        def run(*command: str | Path) -> None:
            subprocess.run(
                command,
                check=True,
                stdout=subprocess.DEVNULL,
                cwd=folder,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )

        run(binaries / "initdb", "-D", data, "-U", "sep", "-A", "trust", "-E", "UTF8",
            "-N", "--locale=C")  # fmt: skip
        options = [f"-k {folder}", "-h ''", *(f"-c {setting}=off" for setting in DURABILITY)]
        run(binaries / "pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "-o", " ".join(options),
            "start")  # fmt: skip
        try:
            yield f"postgresql://sep@{quote(folder, safe='')}/postgres"
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


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
