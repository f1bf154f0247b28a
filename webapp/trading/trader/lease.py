"""One writer for each account.

PostgreSQL: a session advisory lock on a connection of its own, which the server takes back the
moment the process or its link dies. SQLite: a lease row and whether its holder lives. Both: an
epoch that rises with each holder and fences the claims of older ones.
"""

import os
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psutil
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from webapp.trading.models import BrokerAccount, LeaseRow

LEASE = timedelta(seconds=10)
# The first half of the lock's key; the second is the account.
_LOCK_CLASS = 0x5E9
# The server must notice within about 10 s that a host is gone, or nobody could take over.
_NOTICE = (
    "SET tcp_keepalives_idle = 4; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
)


class LeaseHeld(Exception):
    """Another trader has the account."""


class LeaseLost(Exception):
    """Another trader took the account from us."""


class PooledConnection(Exception):
    """DATABASE_URL leads through a pool, in which a session's lock belongs to nobody."""


class AccountLock:
    """A session advisory lock of PostgreSQL, held for as long as its own connection lives."""

    def __init__(self, account_id: int) -> None:
        """Take the lock of an account.

        Raises:
            LeaseHeld: another session has it.
            PooledConnection: the server that answers is not the one that the connection is to.
        """
        self._wrapper: BaseDatabaseWrapper = connections.create_connection("default")
        self._wrapper.inc_thread_sharing()  # its uses follow one another, in whatever thread
        try:
            with self._wrapper.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (answering,) = cursor.fetchone()
                assert self._wrapper.connection is not None
                if answering != self._wrapper.connection.info.backend_pid:
                    raise PooledConnection(
                        "the account's lock needs a session of its own: let DATABASE_URL name the "
                        "server itself, not a pool of connections"
                    )
                cursor.execute(_NOTICE)
                cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_CLASS, account_id])
                (taken,) = cursor.fetchone()
        except BaseException:
            self.release()
            raise
        if not taken:
            self.release()
            raise LeaseHeld("its lock is held by another session")

    def lost(self) -> bool:
        """Return whether the connection has ended, without asking the server.

        The server sends nothing on this connection by itself, except its end.
        """
        raw = self._wrapper.connection
        if raw is None or raw.closed:
            return True
        readable, _, _ = select.select([raw.fileno()], [], [], 0)
        return bool(readable)

    def confirm(self) -> None:
        """Ask the server whether the session lives.

        Raises:
            LeaseLost: it does not answer, and the lock went with it.
        """
        try:
            with self._wrapper.cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError as error:
            raise LeaseLost(f"the connection that holds the account was lost: {error}") from error

    def release(self) -> None:
        """Give the lock back and end the connection.

        The server ends a session some time after its connection closed, so without being asked it
        would refuse whoever comes next for that time.
        """
        if self._wrapper.connection is not None:
            with suppress(DatabaseError), self._wrapper.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock_all()")
        self._wrapper.close()


@dataclass(frozen=True, slots=True)
class Lease:
    """`lock` is None on SQLite."""

    account_id: int
    holder: str
    epoch: int
    lock: AccountLock | None = field(default=None, compare=False)

    def lost(self) -> bool:
        """Return whether the account is certainly no longer ours; asks no database."""
        return self.lock is not None and self.lock.lost()


class Tenure:
    """A lease that is being kept.

    Attributes:
        until_s: when it ends unless it is renewed, by the steady clock.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.until_s = time.monotonic() + LEASE.total_seconds()

    def renew(self, *, now: datetime) -> None:
        """Keep the account for another LEASE.

        Raises:
            LeaseLost: another trader took it, or the lock is gone; this process must stop.
        """
        renew(self.lease, now=now)
        self.until_s = time.monotonic() + LEASE.total_seconds()

    def lost(self) -> bool:
        """Return whether the account may be another's; asks no database."""
        return time.monotonic() >= self.until_s or self.lease.lost()


def own_name() -> str:
    """Return host, process id and start time: unique even when a process id comes again."""
    return _name(os.getpid())


def _name(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def take(*, account_id: int, holder: str, now: datetime) -> Lease:
    """Take the account and begin a new epoch.

    PostgreSQL says by the lock who has the account. On SQLite a lease that has not ended belongs to
    its holder, unless that was a process of this host which is gone: after a crash nobody waits.

    Raises:
        LeaseHeld: another trader lives, or may live on another host.
    """
    lock = None
    if connections["default"].vendor == "postgresql":
        try:
            lock = AccountLock(account_id)
        except LeaseHeld as error:
            row = LeaseRow.objects.select_related("account").filter(account_id=account_id).first()
            if row is None:
                raise
            raise LeaseHeld(
                f"account {row.account.name} has a trader already ({row.holder}); stop it first"
            ) from error
    try:
        return _take_row(account_id=account_id, holder=holder, now=now, lock=lock)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


@transaction.atomic
def _take_row(*, account_id: int, holder: str, now: datetime, lock: AccountLock | None) -> Lease:
    account = BrokerAccount.objects.select_for_update(no_key=True).get(pk=account_id)
    row = LeaseRow.objects.select_for_update().filter(account=account).first()
    ours = lock is not None or row is None or row.holder == holder or row.expires_at <= now
    if row is not None and not ours and _may_live(row.holder):
        raise LeaseHeld(
            f"account {account.name} has a trader already ({row.holder}); stop it or wait until "
            f"{row.expires_at:%H:%M:%S} UTC"
        )
    account.epoch += 1
    account.save(update_fields=["epoch"])
    LeaseRow.objects.update_or_create(
        account=account,
        defaults={"holder": holder, "epoch": account.epoch, "expires_at": now + LEASE},
    )
    return Lease(account.pk, holder, account.epoch, lock)


def renew(lease: Lease, *, now: datetime) -> None:
    """Keep the account for another LEASE.

    Raises:
        LeaseLost: another trader took it, or the lock is gone; this process must stop.
    """
    if lease.lock is not None:
        lease.lock.confirm()
    ours = LeaseRow.objects.filter(
        account_id=lease.account_id, holder=lease.holder, epoch=lease.epoch
    )
    if ours.update(expires_at=now + LEASE) != 1:
        raise LeaseLost(f"another trader took account {lease.account_id} after epoch {lease.epoch}")


def give_back(lease: Lease, *, now: datetime) -> None:
    """End the lease now, so that the next trader need not wait."""
    try:
        LeaseRow.objects.filter(account_id=lease.account_id, epoch=lease.epoch).update(
            expires_at=now
        )
    finally:
        if lease.lock is not None:
            lease.lock.release()


def held_by(*, account_id: int, now: datetime) -> str:
    """Return who trades for the account, "" if nobody does: for who reads or repairs the books."""
    row = LeaseRow.objects.filter(account_id=account_id, expires_at__gt=now).first()
    return row.holder if row is not None and _may_live(row.holder) else ""


def _may_live(holder: str) -> bool:
    host, _, rest = holder.partition(":")
    pid, _, _ = rest.partition(":")
    if host != socket.gethostname():
        return True
    try:
        return _name(int(pid)) == holder
    except psutil.NoSuchProcess:
        return False
