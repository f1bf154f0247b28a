"""Downloads of candles from the local server: whole, cut off, and from a venue that misbehaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from python.tests.oanda.test_market_data_client import ACCOUNT, START, load_minutes
from sep_engine.data.store import load_stored
from sep_engine.errors import ArgumentError, DataError
from sep_engine.venues import download as download_module
from sep_engine.venues.oanda import download as oanda_download
from sep_engine.venues.oanda.client import MarketDataClient, VenueError, local
from sep_engine.venues.oanda.download import download_candles

Serve = Any
NOW = datetime(2026, 6, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oanda_download, "CANDLES_PER_REQUEST", 100)


async def fetch(served: Any, store: Path, **other: Any) -> Any:
    settings: dict[str, Any] = {
        "instrument": "EUR_USD",
        "granularity": "M1",
        "since": START,
        "until": START + timedelta(minutes=250),
        "store": store,
        "name": "eur_usd_m1",
        "requests_per_s": 1000.0,
        "now": NOW,
        **other,
    }
    async with MarketDataClient(local(served.url), token="the-token", account_id=ACCOUNT) as client:
        return await download_candles(client, host=served.url, **settings)


async def test_both_sides_come_in_pages_and_are_marked(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    load_minutes(served, 300)
    reached: list[datetime] = []
    metadata = await fetch(served, tmp_path, on_page=reached.append)
    # Pages of 100 up to the bar that starts at minute 249.
    assert reached == [START + timedelta(minutes=n) for n in (99, 199, 249)]
    assert (metadata["rows"], metadata["tick"], metadata["pip"]) == (250, "0.00001", "0.0001")
    # A server on this machine is no market.
    assert metadata["origin"]["synthetic"] is True
    stored = load_stored(tmp_path / "eur_usd_m1")
    assert stored.bars.close[0] == 1.1
    assert stored.spread is not None
    assert np.round(stored.spread, 9).tolist() == [0.0001] * 250
    assert not list(tmp_path.glob(".*"))


async def test_a_download_that_was_cut_off_goes_on(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    load_minutes(served, 300)

    class Cut(Exception):
        pass

    def cut(reached: datetime) -> None:
        if reached == START + timedelta(minutes=199):
            raise Cut

    with pytest.raises(Cut):
        await fetch(served, tmp_path, on_page=cut)
    assert not (tmp_path / "eur_usd_m1").exists()
    reached: list[datetime] = []
    metadata = await fetch(served, tmp_path, on_page=reached.append)
    assert metadata["rows"] == 250
    # The first 200 bars were not asked for again, only the last of them.
    assert reached == [START + timedelta(minutes=249)]
    whole = await fetch(served, tmp_path, name="other")
    assert whole["content_sha256"] == metadata["content_sha256"]


async def test_a_data_set_grows_by_a_later_download(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    load_minutes(served, 120)
    first = await fetch(served, tmp_path)
    load_minutes(served, 180)
    second = await fetch(served, tmp_path)
    assert (first["rows"], second["rows"]) == (120, 180)
    again = await fetch(served, tmp_path)
    assert again["content_sha256"] == second["content_sha256"]


async def test_a_venue_that_changed_its_past_is_refused(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    load_minutes(served, 120)
    await fetch(served, tmp_path)
    page = oanda_download._columns

    def changed(candles: Any) -> Any:
        columns = page(candles)
        columns.own["close"][0] += 0.00001
        return columns

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oanda_download, "_columns", changed)
        with pytest.raises(DataError, match="the venue changed its past: close of the last bar"):
            await fetch(served, tmp_path)
    assert load_stored(tmp_path / "eur_usd_m1").bars.close.size == 120


async def test_another_download_of_the_same_name_is_refused(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    load_minutes(served, 120)
    await fetch(served, tmp_path)
    with pytest.raises(ArgumentError, match="not of this download"):
        await fetch(served, tmp_path, since=START + timedelta(minutes=1))


async def test_it_waits_for_a_busy_venue_and_gives_up_on_a_dead_one(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    load_minutes(served, 120)
    waited: list[float] = []

    async def no_time(seconds: float) -> None:
        waited.append(seconds)

    whole = download_module.download

    async def impatient(*given: Any, **named: Any) -> Any:
        return await whole(*given, **named, sleep=no_time)

    monkeypatch.setattr(oanda_download, "download", impatient)
    served.fault({"path": "candles", "status": 503, "times": 2})
    metadata = await fetch(served, tmp_path)
    assert metadata["rows"] == 120
    # Half a second doubles with each failure.
    assert waited[:2] == [1.0, 2.0]
    served.fault({"path": "candles", "status": 503, "times": 0})
    with pytest.raises(DataError, match="gave up after 6 attempts: HTTP 503"):
        await fetch(served, tmp_path, name="dead")


async def test_an_instrument_that_the_venue_does_not_know(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises((VenueError, ArgumentError)):
        await fetch(serve(), tmp_path, instrument="EUR_XXX")


async def test_a_range_without_bars_leaves_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    load_minutes(served, 10)
    later = START + timedelta(hours=2)
    with pytest.raises(DataError, match="no complete bar of EUR_USD"):
        await fetch(served, tmp_path, since=later, until=later + timedelta(hours=1))
    assert list(tmp_path.iterdir()) == []
