"""Transactions that are run again when another one was in their way."""

import functools
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

TRIES = 3
PAUSE_S = 0.05
# serialization_failure and deadlock_detected: the server rolled everything back, nothing is wrong.
AGAIN = ("40001", "40P01")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def retried(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make `work` one transaction, run up to TRIES times while others are in its way.

    Called within a transaction it is a part of that one, which alone can be run again. `work` asks
    no broker and changes nothing outside the database.
    """

    @functools.wraps(work)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        tries = 1 if connection.in_atomic_block else TRIES
        for number in range(1, tries + 1):
            try:
                with transaction.atomic():
                    return work(*args, **kwargs)
            except OperationalError as error:
                state = getattr(error.__cause__, "sqlstate", None)
                if state not in AGAIN or number == tries:
                    raise
                # Not at once: it would be back before the other has what it waited for.
                time.sleep(random.uniform(0.2, 1) * PAUSE_S * number)
        raise AssertionError("a transaction was neither done nor refused")

    return run
