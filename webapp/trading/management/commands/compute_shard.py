"""`manage.py compute_shard`: compute one claimed shard; a worker starts it and reads its lines."""

import json
import os
import resource
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from sep_engine.errors import SepError
from webapp import embedded_valkey
from webapp.trading.models import RunShard
from webapp.trading.services.run_compute import shard_compute

# Trading on the same machine comes first.
NICE = 10


class Command(BaseCommand):
    help = "Compute one shard of a run. Only a worker calls this."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shard", type=int)
        parser.add_argument("claim")
        parser.add_argument("worker", type=int, help="process id of who reads the output")

    def handle(self, *args: Any, **options: Any) -> None:
        embedded_valkey.die_with_parent()
        if os.getppid() != options["worker"]:
            return  # it ended before the kernel was asked
        os.nice(NICE)
        limit = settings.SEP_SHARD_MEMORY_MB * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        shard = (
            RunShard.objects.select_related("run__requested_by")
            .filter(pk=options["shard"], claim=options["claim"])
            .first()
        )
        if shard is None:
            return
        try:
            self._say(
                shard_compute(
                    shard=shard,
                    progress=lambda share: self._say({"progress": share}),
                    now=timezone.now(),
                )
            )
        except SepError as error:
            self._say({"error": str(error)})
        except MemoryError:
            name = "SEP_SHARD_MEMORY_MB"
            self._say(
                {"error": f"a shard needs more than {limit // 1_000_000} MB; {name} sets the limit"}
            )

    def _say(self, message: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(message))
        self.stdout.flush()
