"""One writer for each account: a lease row, whether its holder lives, and a fencing epoch."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

import psutil
from django.db import transaction

from webapp.trading.models import BrokerAccount, LeaseRow

LEASE = timedelta(seconds=10)


class LeaseHeld(Exception):
    """Another trader has the account."""


class LeaseLost(Exception):
    """Another trader took the account from us."""


@dataclass(frozen=True, slots=True)
class Lease:
    account_id: int
    holder: str
    epoch: int


def own_name() -> str:
    """Return host, process id and start time: unique even when a process id comes again."""
    return _name(os.getpid())


def _name(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


@transaction.atomic
def take(*, account_id: int, holder: str, now: datetime) -> Lease:
    """Take the account and begin a new epoch.

    A lease that has not ended belongs to its holder, unless that was a process of this host which
    is gone: after a crash nobody waits.

    Raises:
        LeaseHeld: another trader lives, or may live on another host.
    """
    account = BrokerAccount.objects.select_for_update().get(pk=account_id)
    row = LeaseRow.objects.select_for_update().filter(account=account).first()
    if row is not None and row.holder != holder and row.expires_at > now and _may_live(row.holder):
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
    return Lease(account.pk, holder, account.epoch)


def renew(lease: Lease, *, now: datetime) -> None:
    """Keep the account for another LEASE.

    Raises:
        LeaseLost: another trader took it; this process must stop.
    """
    ours = LeaseRow.objects.filter(
        account_id=lease.account_id, holder=lease.holder, epoch=lease.epoch
    )
    if ours.update(expires_at=now + LEASE) != 1:
        raise LeaseLost(f"another trader took account {lease.account_id} after epoch {lease.epoch}")


def give_back(lease: Lease, *, now: datetime) -> None:
    """End the lease now, so that the next trader need not wait."""
    LeaseRow.objects.filter(account_id=lease.account_id, epoch=lease.epoch).update(expires_at=now)


def _may_live(holder: str) -> bool:
    host, _, rest = holder.partition(":")
    pid, _, _ = rest.partition(":")
    if host != socket.gethostname():
        return True
    try:
        return _name(int(pid)) == holder
    except psutil.NoSuchProcess:
        return False
