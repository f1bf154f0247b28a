import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from webapp.trading import standby
from webapp.trading.fit import misfit
from webapp.trading.models import BrokerAccount
from webapp.trading.services.live_arming import place_refusal
from webapp.trading.trader.lease import LeaseHeld, PooledConnection
from webapp.trading.trader.trader import Trader


class Command(BaseCommand):
    help = "Trade for one account: the only process that sends its orders. SIGTERM ends it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="Name of the account; the oldest by default.")
        parser.add_argument(
            "--relay", action="store_true", help="Also publish the event log (see manage.py relay)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = BrokerAccount.objects.order_by("pk")
        if options["account"]:
            accounts = accounts.filter(name=options["account"])
        account = accounts.first()
        if account is None:
            if options["account"]:
                known = ", ".join(BrokerAccount.objects.values_list("name", flat=True)) or "none"
                raise CommandError(f"there is no account {options['account']}; there is: {known}")
            raise CommandError("there is no account yet: run manage.py load_sample, or broker add")
        if refused := misfit(now=timezone.now()) or place_refusal(account):
            raise CommandError(refused)
        standby.write()  # for the kill switch, should the database go
        try:
            asyncio.run(_run(account.pk, with_relay=options["relay"]))
        except PooledConnection as error:
            raise CommandError(str(error)) from error
        except LeaseHeld as error:
            raise CommandError(str(error), returncode=3) from error


async def _run(account_id: int, *, with_relay: bool) -> None:
    trader = Trader(account_id=account_id, with_relay=with_relay)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, trader.stop)
    await trader.run()
