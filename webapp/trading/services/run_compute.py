"""What the process of one shard does: read its run, compute, say what was found.

It writes nothing but the ledger of trials: the worker that started it holds the lease and stores.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sep_engine import ledger
from sep_engine.errors import DataError
from sep_engine.ledger import Tried
from webapp.trading.models import RunShard
from webapp.trading.research import pieces
from webapp.trading.research.question import Progress
from webapp.trading.selectors.engine import code_version
from webapp.trading.selectors.run_data import material
from webapp.trading.services.trials import trials_record, trials_verify


def shard_compute(*, shard: RunShard, progress: Progress, now: datetime) -> dict[str, Any]:
    """Return {"result"} of a piece, or {"answer"} of a run's last one.

    Raises:
        SepError: it cannot be done; the message is for people.
    """
    run = shard.run
    if run.code_version != code_version():
        raise DataError(
            f"the run was asked of SEP {run.code_version}, this worker is {code_version()}: "
            "start SEP again and ask again"
        )
    given = material(run.data)
    if given.bars.content_sha256 != run.data_sha256:
        raise DataError("the stored candles have changed since the run was asked for")
    question: dict[str, Any] = {
        "kind": run.kind,
        "configuration": run.configuration,
        "seed": run.seed,
        "given": given,
        "progress": progress,
    }
    if "report" not in shard.work:
        return {"result": pieces.piece_result(shard.work, **question)}

    def record(trials: Sequence[ledger.Trial], settings: Mapping[str, object]) -> Tried:
        if run.kind == run.Kind.EVIDENCE:
            trials_verify()  # a count that was tampered with is no count
        person = run.requested_by
        return trials_record(
            trials,
            run_address=run.address,
            data_sha256=given.counted_as,
            code_version=run.code_version,
            tried_by="unknown" if person is None else person.get_username(),
            now=now,
            settings=settings,
        )

    earlier = run.shards.filter(stage__lt=shard.stage).order_by("number")
    texts = earlier.values_list("result", flat=True)
    found = [json.loads(text) for text in texts if text is not None]
    return {"answer": asdict(pieces.answer(found=found, record=record, **question))}
