"""Backups of every state of an order, restored after trading went on: `python -m tests.restores`.

A trader dies at each named place of the order path; a backup is made of what it leaves. Other
traders trade on with the books that it is of: they cancel, change, close and open. Then the backup
is restored, and the next trader has the venue's word alone for what was done after it. It must
trade on, and in the end the books must be the venue's.
"""

import argparse
import itertools
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.kills.places import PLACES, Deed, Place
from tests.kills.stack import BYSTANDER
from tests.restarts import Servers, servers
from tests.world import ENDED, Unreached, audit, until

SETTLED_S = 60.0


def restored(one: Servers, place: Place, path: Path, rng: random.Random) -> list[str]:
    """Return what is wrong after a backup of a death at `place` was restored."""
    stack, world = one.stack, one.stack.world
    name = stack.victim()
    place_of_start = Place("claimed", Deed.MARKET) if place.deed == Deed.RECOVER else place
    world.start_trader(place=f"{place_of_start.name}:{place_of_start.visit}")
    order = None
    if place.deed != Deed.START:
        world.await_armed()
        order = stack.deed(Deed.MARKET if place.deed == Deed.RECOVER else place.deed, name)
    stack.await_death(order)
    one.back_up(path)

    world.start_trader()
    world.await_armed()
    for _ in range(rng.randrange(4)):
        trade_on(one, name, rng)
    one.until_filled(lambda: stack.ask(BYSTANDER))
    if rng.random() < 0.5:
        settle()
    world.stop_trader(rng.choice((signal.SIGTERM, signal.SIGKILL)))

    one.restore(path)
    world.start_trader()
    world.await_armed()
    try:
        one.until_filled(lambda: stack.ask(BYSTANDER))
        settle()
    except Unreached as error:
        return [str(error)]
    finally:
        world.stop_trader(signal.SIGTERM)
    return audit(restored=True)


def trade_on(one: Servers, name: str, rng: random.Random) -> None:
    """Do something in the pair, if its orders let it be done now."""
    from django.utils import timezone

    from webapp.trading.models import BrokerAccount, Instrument, Order
    from webapp.trading.services.orders import order_cancel, order_change, position_close
    from webapp.trading.services.refusals import NotNow

    now, rests = timezone.now(), Order.objects.filter(instrument__name=name, state="ACCEPTED")
    limit: Any = rests.filter(type="LIMIT").order_by("pk").last()
    deed = rng.choice(("open", "rest", "cancel", "change", "close"))
    if deed == "open":
        one.stack.ask(name)
    elif deed == "rest":
        one.stack.rest(name)
    elif deed == "close":
        instrument = Instrument.objects.get(name=name)
        position_close(account=BrokerAccount.objects.get(), instrument=instrument, now=now)
    elif limit is not None:
        try:
            if deed == "cancel":
                order_cancel(order_id=limit.pk, now=now)
            else:
                order_change(
                    order_id=limit.pk,
                    changes={"price": limit.price - limit.instrument.pip},
                    now=now,
                )
        except NotNow:
            pass


def settle() -> None:
    """Wait until no order is on its way or in doubt.

    Raises:
        Unreached: one still is.
    """
    from webapp.trading.models import Order

    left = Order.objects.exclude(state__in=(*ENDED, "ACCEPTED", "PARTIAL"))
    until(lambda: not left.exists(), "every order was settled", seconds=SETTLED_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2, help="at each place (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is done after the backups")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="sep-restores-") as folder,
        servers(Path(folder)) as one,
    ):
        for number, place in itertools.product(range(options.count), PLACES):
            rng = random.Random(f"{options.seed} {number} {place}")
            faults = restored(one, place, Path(folder) / "backup", rng)
            print(f"{number} {place}: {faults or 'equal'}", file=sys.stderr, flush=True)
            if faults:
                return 1  # books that are wrong stay wrong
    print(f"{options.count} backups at each of {len(PLACES)} places: all books equal the venue's")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
