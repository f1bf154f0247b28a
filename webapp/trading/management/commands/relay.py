import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from webapp.trading.cancelling import cancelled
from webapp.trading.services.heartbeat import beat
from webapp.trading.streams import Relay, connect, listen_for_hints
from webapp.trading.trader.clock import utc_now
from webapp.trading.trader.database import DatabaseThread
from webapp.trading.trader.trader import HEARTBEAT_S, LOOK_S


class Command(BaseCommand):
    help = "Publish the event log to Valkey, in order, each event at least once. One is enough."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_run())


async def _run() -> None:
    database = DatabaseThread("relay-database")
    client = connect()
    wake, stopping = asyncio.Event(), asyncio.Event()
    relay = Relay(database, now=utc_now)
    started_at = utc_now()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with asyncio.TaskGroup() as group:
        endless = [
            group.create_task(relay.run(client, wake, look_s=LOOK_S)),
            group.create_task(listen_for_hints(client, wake)),
        ]
        while not stopping.is_set():
            detail = {"published": relay.published}
            await database(beat, "relay", started_at=started_at, now=utc_now(), detail=detail)
            try:
                await asyncio.wait_for(stopping.wait(), HEARTBEAT_S)
            except TimeoutError:
                continue
        await cancelled(endless)
    await client.aclose()
    await database.close()
