"""The ledger of trials in the database: what `sep_engine.ledger` keeps in a file."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Max, Min

from sep_engine import ledger
from sep_engine.errors import DataError
from sep_engine.ledger import Tried, canonical, look_of, sha256_of
from webapp.trading.models import StreamHead, Trial

_GENESIS = "0" * 64


@transaction.atomic
def trials_record(
    trials: Sequence[ledger.Trial],
    *,
    run_address: str,
    data_sha256: str,
    code_version: str,
    tried_by: str,
    now: datetime,
    settings: Mapping[str, object] | None = None,
) -> Tried:
    """Record one look, all trials of one run together; return what has been tried by now.

    A run that has recorded its look already, before its worker died, does not look again.
    """
    texts = [canonical(trial.configuration) for trial in trials]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    look = look_of(hashes, settings)
    # Its lock makes one look at a time; the ledger has no events of its own.
    StreamHead.objects.select_for_update().get_or_create(stream="trials")
    if not Trial.objects.filter(run_address=run_address).exists():
        newest = Trial.objects.order_by("-seq").first()
        seq, previous = (newest.seq, newest.sha256) if newest else (0, _GENESIS)
        rows = []
        for trial, text, digest in zip(trials, texts, hashes, strict=True):
            seq += 1
            row = Trial(
                seq=seq,
                run_address=run_address,
                data_sha256=data_sha256,
                look_sha256=look,
                configuration_sha256=digest,
                configuration=text,
                code_version=code_version,
                tried_by=tried_by,
                tried_at=now.isoformat(),
                sharpe=trial.sharpe,
                previous_sha256=previous,
            )
            row.sha256 = previous = trial_hash(row)
            rows.append(row)
        Trial.objects.bulk_create(rows, batch_size=500)
    return trials_tried(data_sha256=data_sha256, look_sha256=look)


def trials_tried(*, data_sha256: str, look_sha256: str | None = None) -> Tried:
    """Return what has been tried on a data set; without a look, `look` is that of the next one."""
    found = Trial.objects.filter(data_sha256=data_sha256).order_by()
    last = found.values("configuration_sha256").annotate(last=Max("seq")).values("last")
    sharpes = Trial.objects.filter(seq__in=last).order_by().values_list("sharpe", flat=True)
    known = [sharpe for sharpe in sharpes if sharpe is not None]
    looks = [
        row["look_sha256"]
        for row in found.values("look_sha256").annotate(first=Min("seq")).order_by("first")
    ]
    deviation = None
    if len(known) >= 2:
        mean = sum(known) / len(known)
        deviation = math.sqrt(sum((s - mean) ** 2 for s in known) / (len(known) - 1))
    place = looks.index(look_sha256) + 1 if look_sha256 in looks else len(looks) + 1
    return Tried(len(sharpes), len(looks), place, deviation)


def trials_verify() -> int:
    """Return the number of trials after checking the chain of hashes from first to last.

    Raises:
        DataError: a row is missing or was changed; names its number.
    """
    previous, expected = _GENESIS, 1
    for row in Trial.objects.order_by("seq").iterator():
        broken = row.previous_sha256 != previous or trial_hash(row) != row.sha256
        if row.seq != expected or broken:
            raise DataError(f"the ledger is broken at row {row.seq}, expected row {expected}")
        previous, expected = row.sha256, expected + 1
    return expected - 1


def trial_hash(row: Trial) -> str:
    """Return the link of the chain: the SHA-256 of a row and of the hash before it."""
    return sha256_of(
        [
            row.seq,
            row.run_address,
            row.data_sha256,
            row.look_sha256,
            row.configuration_sha256,
            row.configuration,
            row.code_version,
            row.tried_by,
            row.tried_at,
            row.sharpe,
            row.previous_sha256,
        ]
    )
