"""What the kill switch needs when there is no database: the accounts with their sealed tokens.

One file in the var folder, sealed as a whole and readable by its owner alone. It is written when a
token is stored, when a trader takes its account, and when keys change.
"""

from pathlib import Path

from django.conf import settings
from django.core import serializers

from webapp.config import sealing
from webapp.config.private_file import write_private
from webapp.trading.models import BrokerAccount, BrokerToken

_PURPOSE = "accounts of the kill switch"


def path() -> Path:
    return Path(settings.SEP_VAR_PATH) / "accounts.sealed"


def write() -> None:
    """Keep every account and its token as they are now in the database."""
    rows = [*BrokerAccount.objects.order_by("pk"), *BrokerToken.objects.order_by("pk")]
    write_private(path(), sealing.seal(_PURPOSE, serializers.serialize("json", rows)))


def accounts() -> list[BrokerAccount]:
    """Return the accounts that were kept, each with its token; no database is asked.

    Raises:
        sealing.SealBroken: the file is not one of ours.
        FileNotFoundError: none was written yet.
    """
    text = sealing.unseal(_PURPOSE, path().read_text(encoding="utf-8"))
    kept = [one.object for one in serializers.deserialize("json", text)]
    found = {one.pk: one for one in kept if isinstance(one, BrokerAccount)}
    for one in kept:
        if isinstance(one, BrokerToken) and one.account_id in found:
            one.account = found[one.account_id]  # and with it the account's `token`
    return list(found.values())
