"""Two faults that leave other systems with wrong books: `python -m tests.side_by_side`.

The venue is the local OANDA server in a process of its own, the trader is the real one in its own,
with a real Valkey and a fresh database; between them is loopback HTTP. For each intent:

answer lost   the venue takes the order, then the connection is cut without an answer;
killed        the venue takes the order and holds the answer back, the trader gets SIGKILL in that
              moment, and the next trader starts.

What is counted is what the venue's ledger holds for the intent, what our books end at, and how long
they took to say so. Published beside it: what was measured of freqtrade 2026.9 and NautilusTrader
1.231.0 with the same two faults (docs/concepts/order-path.md).
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.world import ACCOUNT, ENDED, World, audit, state_of

SETTLE_S = 300.0


@dataclass
class Result:
    """What came of one fault."""

    fault: str
    at_venue: Counter[int] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    seconds: list[float] = field(default_factory=list)

    def line(self) -> str:
        ordered = sorted(self.seconds)
        n = len(ordered)
        ends = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        two = sum(count for orders, count in self.at_venue.items() if orders > 1)
        return (
            f"| {self.fault} | {n} | {two} | {self.wrong} | {ends} | "
            f"{ordered[n // 2]:.1f} | {ordered[-1]:.1f} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30, help="intents for each fault")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sep-side-") as folder, world(Path(folder)) as one:
        results = [
            run(one, "answer lost", options.count),
            run(one, "killed between accept and answer", options.count),
        ]
        one.stop_trader(signal.SIGTERM)
        faults = audit()
    print("| fault | runs | two orders at the venue | wrong in the books | ended as | "
          "median s | most s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for result in results:
        print(result.line())
    print(f"\nBoth ledgers compared at the end: {len(faults)} faults{': ' if faults else ''}"
          f"{'; '.join(faults)}. {one.starts} traders were started.")  # fmt: skip
    bad = faults or any(result.wrong or max(result.at_venue) > 1 for result in results)
    return 1 if bad else 0


@contextlib.contextmanager
def world(var_path: Path) -> Iterator[World]:
    one = World.open(var_path, database=os.environ.get("DATABASE_URL", ""))
    try:
        import django

        django.setup()
        prepare(one)
        one.start_trader()
        one.await_armed()
        yield one
    finally:
        one.close()


def prepare(one: World) -> None:
    """Make the database, with limits that only the faults are in the way of; start Valkey."""
    from django.core.management import call_command
    from django.utils import timezone

    from webapp.trading.models import Feed, RiskLimit, Strategy
    from webapp.trading.trader.setup import sample_load

    call_command("migrate", verbosity=0)
    sample_load(name="eur_usd_h1", now=timezone.now(), broker="oanda-local")
    Feed.objects.update(bars_per_second=2.0)
    Strategy.objects.update(enabled=False)
    RiskLimit.objects.filter(name__in=("repeat_pause_s", "rollover_pause_min")).update(value=0)
    RiskLimit.objects.filter(name="daily_loss_max").update(value=50_000)
    RiskLimit.objects.filter(name="quote_age_s_max").update(value=60)
    one.start_valkey()


def run(one: World, fault: str, count: int) -> Result:
    from webapp.trading.models import BrokerAccount, Instrument, Order

    result = Result(fault)
    account, instrument = BrokerAccount.objects.get(), Instrument.objects.get()
    for number in range(count):
        units = Decimal(1000 if number % 2 == 0 else -1000)
        order, first, seconds = provoke(one, account, instrument, units, killing="killed" in fault)
        order = Order.objects.get(pk=order.pk)
        orders, filled = told(one, first, order.client_id)
        result.at_venue[orders] += 1
        result.states[order.state] += 1
        result.wrong += (order.state == "FILLED") != filled or order.state not in ENDED
        result.seconds.append(seconds)
        print(
            f"{fault} {number + 1}: {orders} at the venue, {order.state} after {seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )
        answered(one, account, instrument, -units)
    return result


def answered(one: World, account: Any, instrument: Any, units: Decimal) -> None:
    """Place an order that meets no fault, and wait for its end.

    After five failures in a row the circuit breaker leaves the venue alone for a while, so that the
    next orders would meet no fault.
    """
    order = submitted(account, instrument, units)
    deadline = time.monotonic() + SETTLE_S
    while state_of(order) not in ENDED and time.monotonic() < deadline:
        one.keep_trader()
        time.sleep(0.02)


def submitted(account: Any, instrument: Any, units: Decimal) -> Any:
    from django.utils import timezone

    from sep_engine.execution.states import Origin
    from webapp.trading.services.orders import order_submit

    return order_submit(
        account=account,
        instrument=instrument,
        units=units,
        stop_distance=Decimal("0.01000"),
        origin=Origin.PERSON,
        now=timezone.now(),
    )


def provoke(
    one: World, account: Any, instrument: Any, units: Decimal, *, killing: bool
) -> tuple[Any, int, float]:
    """Let one order meet the fault; return it, the venue's last id before, and how long it took.

    An order that is denied before it was sent (the market of the replay is closed, say) met no
    fault, so another is made.
    """
    while True:
        first = one.last_id
        rule: dict[str, Any] = {"method": "POST", "path": "/orders$", "times": 1}
        one.control(
            "POST", "/faults", [rule | ({"delay_after_s": 3} if killing else {"cut": "after"})]
        )
        order = submitted(account, instrument, units)
        started = time.monotonic()
        deadline = started + SETTLE_S
        if killing:
            while one.last_id == first and time.monotonic() < deadline:
                if state_of(order) in ENDED:
                    break
                one.keep_trader()
                time.sleep(0.005)
            one.stop_trader(signal.SIGKILL)
            one.start_trader()
        while state_of(order) not in ENDED and time.monotonic() < deadline:
            one.keep_trader()
            time.sleep(0.02)
        one.control("DELETE", "/faults")
        if state_of(order) != "DENIED":
            return order, first, time.monotonic() - started
        time.sleep(0.3)


def told(one: World, first: int, client_id: str) -> tuple[int, bool]:
    """Return how many orders the venue took since `first` that are this intent's, and if it filled.

    Every entry since then counts, whatever its name: a second try under another name is a second.
    """
    answer = httpx.get(
        f"{one.url}/v3/accounts/{ACCOUNT}/transactions/sinceid",
        params={"id": str(first)},
        headers={"Authorization": f"Bearer {one.token}"},
        trust_env=False,
    )
    lines = answer.json()["transactions"]
    entries = [line["id"] for line in lines if line["type"] == "MARKET_ORDER"]
    filled = any(line["type"] == "ORDER_FILL" and line["orderID"] in entries for line in lines)
    return len(entries), filled


if __name__ == "__main__":
    raise SystemExit(main())
