"""Runs as the API and the events show them."""

from collections.abc import Sequence
from typing import Any

from webapp.trading.models import Run, RunShard
from webapp.trading.wire import time_text

Json = dict[str, Any]


def run_resource(run: Run) -> Json:
    """Return a run without its configuration; read it with strategy and requester fetched."""
    strategy, person = run.strategy, run.requested_by
    return {
        "id": run.address,
        "kind": run.kind,
        "name": run.name,
        "data": run.data,
        "data_sha256": run.data_sha256,
        "code_version": run.code_version,
        "seed": run.seed,
        "strategy": None if strategy is None else {"id": strategy.pk, "name": strategy.name},
        "state": run.state,
        "progress": run.progress,
        "edge": run.edge,
        "result_text": run.result_text,
        "error": run.error,
        "sections": run.summary.get("sections", []),
        "figures": run.summary.get("figures", []),
        "requested_by": None if person is None else person.get_username(),
        "created_at": time_text(run.created_at),
        "started_at": None if run.started_at is None else time_text(run.started_at),
        "finished_at": None if run.finished_at is None else time_text(run.finished_at),
    }


def run_detail(run: Run) -> Json:
    """Return a run with what it was asked and how its pieces stand."""
    shards = run.shards.order_by("number").defer("result")
    counts = dict.fromkeys(RunShard.State.values, 0)
    for shard in shards:
        counts[shard.state] += 1
    return {
        **run_resource(run),
        "configuration": run.configuration,
        "shards": {
            "total": len(shards),
            "done": counts[RunShard.State.DONE],
            "running": counts[RunShard.State.RUNNING],
            "waiting": counts[RunShard.State.WAITING],
            "failed": counts[RunShard.State.FAILED],
            "tried_again": sum(shard.attempts > 1 for shard in shards),
        },
    }


def runs_compared(runs: Sequence[Run]) -> Json:
    """Return runs side by side: every figure that any of them has, null where one has it not."""
    values = [{figure["name"]: figure for figure in run.summary.get("figures", [])} for run in runs]
    names = list(dict.fromkeys(name for one in values for name in one))
    units = {name: figure["unit"] for one in values for name, figure in one.items()}
    return {
        "runs": [run_resource(run) for run in runs],
        "figures": [
            {
                "name": name,
                "unit": units[name],
                "values": [one[name]["value"] if name in one else None for one in values],
            }
            for name in names
        ],
    }
