"""The kill switch's own process: at a real venue over HTTP, without database, Valkey or trader."""

# ruff: noqa: F811 - fixtures of the venue come by their names

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from sep_engine.execution.states import OrderType
from webapp import killswitch
from webapp.tests.test_oanda_broker import (  # noqa: F401
    BUY,
    Venue,
    broker,
    process,
    venue,
)
from webapp.trading import halt_flag, standby
from webapp.trading.brokers.oanda.adapter import OandaBroker
from webapp.trading.models import BrokerAccount

D = Decimal
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def kept(db: None, settings: Any, tmp_path: Path, venue: Venue, django_db_blocker: Any) -> Any:
    """An account at the venue is kept; from here on nobody reaches a database."""
    settings.SEP_VAR_PATH = tmp_path
    settings.SEP_SECRET_KEYS_PATH = tmp_path / "secret_keys"
    settings.SEP_OANDA_URL, settings.SEP_OANDA_TOKEN = venue.url, "local"
    BrokerAccount.objects.create(name="Local", kind="oanda-local", opening_balance=1)
    standby.write()
    with django_db_blocker.block():
        yield settings


async def pressed(*, flatten: bool) -> killswitch.Progress:
    switch = killswitch.KillSwitch(token="t")
    await switch.press(flatten=flatten, reason="fire")
    await asyncio.wait_for(asyncio.gather(*switch._tasks), 60)
    (progress,) = switch.progress
    return progress


async def with_orders(venue: Venue, broker: OandaBroker) -> None:
    """Hold 1,000 with a stop at the venue, and let three entries wait."""
    stop = replace(BUY, client_id=venue.name(), stop_distance=D("0.00300"))
    await broker.submit(stop)
    for price in ("1.09", "1.08", "1.07"):
        waiting = replace(BUY, client_id=venue.name(), type=OrderType.LIMIT, price=D(price))
        await broker.submit(waiting)
    report = await broker.account()
    assert len(report.open_orders) == 4
    assert report.positions == {"EUR_USD": D(1000)}


async def test_c7_a_halt_cancels_what_could_open_and_keeps_the_stop(
    kept: Any,
    venue: Venue,
    broker: OandaBroker,
) -> None:
    await with_orders(venue, broker)
    progress = await pressed(flatten=False)
    assert halt_flag.reason().endswith(" UTC, kill switch: fire")
    report = await broker.account()
    assert [order.trade_id != "" for order in report.open_orders] == [True]
    assert report.positions == {"EUR_USD": D(1000)}
    assert (progress.cancelled, progress.orders, progress.error) == (3, 0, "")
    assert progress.done_s is not None
    assert progress.done_s < 60


async def test_c7_a_disk_that_takes_no_flag_keeps_no_broker_from_being_asked(
    kept: Any,
    venue: Venue,
    broker: OandaBroker,
) -> None:
    await with_orders(venue, broker)
    halt_flag.path().mkdir()
    switch = killswitch.KillSwitch(token="t")
    await switch.press(flatten=False, reason="fire")
    await asyncio.wait_for(asyncio.gather(*switch._tasks), 60)
    report = await broker.account()
    assert [order.trade_id != "" for order in report.open_orders] == [True]
    assert switch.error == "the flag cannot be written (Is a directory), it is up all the same"


async def test_d5_close_everything_ends_flat(kept: Any, venue: Venue, broker: OandaBroker) -> None:
    await with_orders(venue, broker)
    progress = await pressed(flatten=True)
    report = await broker.account()
    assert (report.positions, report.open_orders) == ({}, ())
    assert "flat" in progress.line()


async def test_o10_a_lost_answer_closes_a_position_once(
    kept: Any,
    venue: Venue,
    broker: OandaBroker,
) -> None:
    await with_orders(venue, broker)
    venue.fault(method="POST", path=r".*/orders", cut="after", times=1)
    await pressed(flatten=True)
    report = await broker.account()
    # Sent twice it would be 1,000 short; a reduce-only order cannot, and the name is the same.
    assert report.positions == {}


async def test_d5_a_refused_cancel_and_a_halted_pair_keep_nothing_else_from_being_done(
    kept: Any,
    venue: Venue,
    broker: OandaBroker,
) -> None:
    await with_orders(venue, broker)
    # The first order cannot be cancelled, the pair is halted twice, and one answer is an error.
    venue.fault(method="PUT", path=r".*/cancel", reject="ORDER_CANCEL_LOCKED", times=1)
    venue.fault(method="PUT", path=r".*/cancel", status=503, times=1)
    venue.fault(method="POST", path=r".*/orders", cancel="MARKET_HALTED", times=2)
    switch = killswitch.KillSwitch(token="t")
    await switch.press(flatten=True, reason="fire")
    (progress,) = switch.progress
    seen: set[str] = set()
    while switch._tasks:
        seen.update(progress.problems.values())
        await asyncio.sleep(0.02)
    report = await broker.account()
    assert (report.positions, report.open_orders) == ({}, ())
    assert any("refused: ORDER_CANCEL_LOCKED" in why for why in seen)
    assert any(why.startswith("HTTP 503") for why in seen)
    assert "try 1 was CANCELLED, MARKET_HALTED; the next try in 0.5 s" in seen
    assert "try 2 was CANCELLED, MARKET_HALTED; the next try in 1 s" in seen
    assert (progress.problems, progress.error, progress.cancelled) == ({}, "", 3)


async def test_d5_what_is_refused_is_asked_for_less_and_less_often(
    kept: Any,
    venue: Venue,
    broker: OandaBroker,
) -> None:
    resting = replace(BUY, client_id=venue.name(), type=OrderType.LIMIT, price=D("1.09"))
    await broker.submit(resting)
    venue.fault(method="PUT", path=r".*/cancel", reject="ORDER_CANCEL_LOCKED", times=0)
    account = killswitch.Account(BrokerAccount(name="Local"), killswitch.Progress("Local"))
    asked = []
    for half_seconds in range(60):
        before = venue.last_id
        assert not await account._round(broker, flatten=False, now=half_seconds / 2)
        if venue.last_id > before:  # a refusal is written down too
            asked.append(half_seconds / 2)
    # Pauses of 0.5, 1, 2, 4, 8, 10 and 10 s.
    assert asked == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5]


async def test_the_venue_is_asked_until_it_answers(
    kept: Any,
    venue: Venue,
    broker: OandaBroker,
) -> None:
    await with_orders(venue, broker)
    venue.fault(method="GET", path=r".*", status=503, times=3)
    progress = await pressed(flatten=True)
    assert (progress.error, progress.positions) == ("", ())


async def test_without_kept_accounts_the_flag_is_up_all_the_same(
    settings: Any, tmp_path: Path
) -> None:
    settings.SEP_VAR_PATH = tmp_path
    switch = killswitch.KillSwitch(token="t")
    await switch.press(flatten=True, reason="fire")
    assert halt_flag.is_set()
    assert "no account was kept yet" in switch.error


async def test_the_page_does_nothing_without_its_token(settings: Any, tmp_path: Path) -> None:
    settings.SEP_VAR_PATH = tmp_path
    switch = killswitch.KillSwitch(token="right")
    switch.progress = [killswitch.Progress("Secret account", positions={}, orders=0)]
    async with TestServer(switch.application()) as server, ClientSession() as client:
        page = await (await client.get(server.make_url("/"))).text()
        assert "Secret account" not in page
        for form in ({}, {"token": "wrong", "action": "halt"}, {"token": "wrong", "action": "x"}):
            answer = await client.post(server.make_url("/"), data=form)
            assert answer.status == 403
            assert "Secret account" not in await answer.text()
        assert not halt_flag.is_set()
        shown = await client.post(server.make_url("/"), data={"token": "right", "action": "show"})
        assert "Secret account" in await shown.text()
        assert not halt_flag.is_set()
        answer = await client.post(
            server.make_url("/"),
            data={"token": "right", "action": "halt", "reason": "<b>fire</b>"},
        )
        assert answer.status == 200
        assert halt_flag.reason().endswith(" UTC, kill switch: <b>fire</b>")
        assert "&lt;b&gt;fire" in await answer.text()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    """The process with a database and a Valkey that nobody serves."""
    dead = {
        "SEP_VAR_PATH": str(tmp_path),
        "DATABASE_URL": "postgresql://sep@127.0.0.1:9/none",
        "VALKEY_URL": "valkey://127.0.0.1:9",
        "DJANGO_SETTINGS_MODULE": "webapp.config.settings",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "webapp.killswitch", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, **dead},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line
    yield found[0]
    server.terminate()
    server.wait(60)
    server.stdout.close()


def test_c7_the_process_halts_with_database_and_valkey_down(running: str, tmp_path: Path) -> None:
    token_path = tmp_path / "killswitch_token"
    assert token_path.stat().st_mode & 0o777 == 0o600
    form = {"token": token_path.read_text().strip(), "action": "halt", "reason": "all is down"}
    started = time.monotonic()
    answer = httpx.post(running, data=form, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert (tmp_path / "halted").read_text().endswith(" UTC, kill switch: all is down\n")
    assert time.monotonic() - started < 60
    assert form["token"] not in (httpx.get(running, trust_env=False)).text
