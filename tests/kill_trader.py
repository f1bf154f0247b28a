"""Kill the trader in the middle of its work again and again, and see that the books still agree.

Run by test_kill_trader.py as a process of its own: `kill_trader.py VAR_PATH KILLS SEED`. It makes
a fresh database, a real Valkey and the sample there, starts the real trader at a fast replay, and
ends it with SIGKILL: at each named place of the order path, then at random moments. After every
death it starts the next trader, whose recovery is what is tested. After each death what is written
must be true; at the end the audit must find no fault at all.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Where the order path may be cut, and on which visit: later visits come with more open at the time.
# What `tests.kills` does at another venue is left to it; here is what a replay and a rule bring.
PLACES = (
    "intent_before_commit:6",
    "intent_committed:8",
    "claimed:1",
    "broker_before_commit:1",
    "sent:1",
    "facts_before_commit:3",
    "relay_before_mark:2",
    "recovering:1",
    "broker_before_commit:4",
    "facts_committed:2",
)
BARS_PER_SECOND = 60
START_S = 120.0
PLACE_S = 60.0


def main(var_path: Path, kills: int, seed: int) -> int:
    os.environ["SEP_VAR_PATH"] = str(var_path)
    os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.config.settings"
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from webapp import embedded_valkey
    from webapp.trading.models import Feed, Order
    from webapp.trading.trader.setup import sample_load

    call_command("migrate", verbosity=0)
    sample_load(name="eur_usd_h1", now=timezone.now())
    Feed.objects.update(bars_per_second=BARS_PER_SECOND)
    valkey = embedded_valkey.start(var_path, timeout_s=START_S)
    rng = random.Random(seed)
    deaths: dict[str, int] = {}
    faults: list[str] = []
    try:
        for number in range(kills):
            place = PLACES[number] if number < len(PLACES) else ""
            ended_at = _kill(place, rng)
            print(f"{time.monotonic():.1f} {ended_at}", file=sys.stderr, flush=True)
            deaths[ended_at] = deaths.get(ended_at, 0) + 1
            faults += [f"after {ended_at}: {line}" for line in _settled_faults()]
        _run_quietly(seconds=6)
        faults += [f"at the end: {line}" for line in _faults()]
        orders = Order.objects.count()
        filled = Order.objects.filter(state="FILLED").count()
    finally:
        valkey.terminate()
        valkey.wait(timeout=60)
    print(json.dumps({"deaths": deaths, "faults": faults, "orders": orders, "filled": filled}))
    return 1 if faults else 0


def _start(place: str) -> "subprocess.Popen[bytes]":
    from webapp import embedded_valkey

    # Twenty starts: modules that are compiled once save most of their time.
    env = {**os.environ, "SEP_KILLPOINT": place, "PYTHONDONTWRITEBYTECODE": ""}
    with open(Path(os.environ["SEP_VAR_PATH"]) / "trader.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "runtrader", "--relay", "--skip-checks"],
            env=env,
            stdout=log,
            stderr=log,
            # A run that is broken off leaves no trader behind.
            preexec_fn=embedded_valkey.die_with_parent,
        )


def _await_epoch(trader: "subprocess.Popen[bytes]", epoch: int) -> None:
    """Wait until the trader has taken the account, or has died before."""
    deadline = time.monotonic() + START_S
    while _epoch() == epoch and trader.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def _kill(place: str, rng: random.Random) -> str:
    """Run one trader until it is dead; return where it died."""
    epoch = _epoch()
    trader = _start(place)
    _await_epoch(trader, epoch)
    try:
        trader.wait(timeout=PLACE_S if place else rng.uniform(0.0, 1.5))
        ended_at = place
    except subprocess.TimeoutExpired:
        trader.kill()
        trader.wait(timeout=60)
        # A place may not have been on the way (nothing to recover, say): any death will do.
        ended_at = f"random, {place} was not reached" if place else "random"
    if trader.returncode != -signal.SIGKILL:
        return f"exit {trader.returncode} at {place}"
    return ended_at


def _run_quietly(*, seconds: float) -> None:
    """Run a trader with a paused feed, so that everything in doubt is settled; end it politely."""
    from webapp.trading.models import Feed, Order

    epoch = _epoch()
    Feed.objects.update(paused=True)
    trader = _start("")
    _await_epoch(trader, epoch)
    deadline = time.monotonic() + START_S
    settled = time.monotonic() + seconds
    doubt = Order.objects.filter(state__in=("SENDING", "UNKNOWN", "CHANGE_UNKNOWN", "CREATED"))
    while time.monotonic() < settled or (doubt.exists() and time.monotonic() < deadline):
        time.sleep(0.2)
    trader.terminate()
    trader.wait(timeout=START_S)


def _epoch() -> int:
    from webapp.trading.models import BrokerAccount

    return BrokerAccount.objects.get().epoch


def _settled_faults() -> list[str]:
    """Return the faults that no recovery could mend: what is written must be true at any time.

    A dead trader may have left facts unread and an order in doubt; that is for the next one. An
    order that is at the venue twice, or without an intent, or a broken log, is a fault at once.
    """
    final = ("I1", "I5", "I6", "I7", "I8", "feed")
    return [line for line in _faults() if line.startswith(final)]


def _faults() -> list[str]:
    from webapp.trading.audit import account_faults
    from webapp.trading.models import BrokerAccount

    return account_faults(BrokerAccount.objects.get())


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
