"""sep data download: bars of a venue into the store."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from sep_engine.cli.source import progress
from sep_engine.cli.text import duration_text, screen
from sep_engine.errors import ArgumentError

app = typer.Typer(
    help="Download bars of a venue; a second run goes on where the first ended.",
    no_args_is_help=True,
)

Instrument = Annotated[str, typer.Option(help="As the venue names it, e.g. EUR_USD or BTC/USDT.")]
Since = Annotated[
    str, typer.Option("--from", metavar="TIME", help="First bar, e.g. 2024-01-01 (UTC).")
]
Until = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Bars before this; now by default.")
]
Name = Annotated[str | None, typer.Option(help="Of the data set; made from the rest by default.")]
Rate = Annotated[float, typer.Option(min=0.01, max=20, help="Requests a second, at the most.")]


@app.command()
def oanda(
    instrument: Instrument,
    granularity: Annotated[str, typer.Option(help="S5 to H1, as OANDA names them.")],
    since: Since,
    until: Until = None,
    price: Annotated[str, typer.Option(help="BA: bid and ask, the only choice.")] = "BA",
    account: Annotated[
        str, typer.Option(envvar="SEP_OANDA_ACCOUNT", help="Account whose instruments are read.")
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SEP_OANDA_TOKEN_FILE", help="File with the token; or SEP_OANDA_TOKEN."
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Read the live venue, not the practice one.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(envvar="SEP_OANDA_URL", help="A server on this machine instead.")
    ] = None,
    name: Name = None,
    rate: Rate = 4.0,
) -> None:
    """Download candles of OANDA, bid and ask, through its read-only interface."""
    if price != "BA":
        raise ArgumentError(f"--price must be BA: both sides are kept, was {price!r}")
    try:
        from sep_engine.venues.oanda.client import LIVE, PRACTICE, MarketDataClient, local
    except ModuleNotFoundError as error:
        raise ArgumentError(f"{error.name} is missing: pip install 'sep-engine[oanda]'") from error
    from sep_engine.data.store import store_path
    from sep_engine.venues.oanda.download import download_candles

    if live and url:
        raise ArgumentError("--live and --url exclude each other")
    token = os.environ.get("SEP_OANDA_TOKEN", "")
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ArgumentError(f"--token-file {token_file}: {error.strerror}") from error
    if not token or not account:
        raise ArgumentError("OANDA needs --account and a token: --token-file or SEP_OANDA_TOKEN")
    endpoint = local(url) if url else LIVE if live else PRACTICE
    now = datetime.now(UTC)
    span = _span(since, until, now)

    async def fetch(on_page: Callable[[datetime], None]) -> Mapping[str, Any]:
        async with MarketDataClient(endpoint, token=token, account_id=account) as client:
            return await download_candles(
                client,
                host=endpoint.rest,
                instrument=instrument,
                granularity=granularity,
                since=span[0],
                until=span[1],
                store=store_path(),
                name=name or f"{instrument}_{granularity}".lower(),
                requests_per_s=rate,
                now=now,
                on_page=on_page,
            )

    _fetched(fetch, span)


@app.command()
def ccxt(
    exchange: Annotated[str, typer.Option(help="As ccxt names it, e.g. kraken.")],
    instrument: Instrument,
    granularity: Annotated[str, typer.Option(help="As the exchange names it, e.g. 1h.")],
    since: Since,
    until: Until = None,
    name: Name = None,
    rate: Rate = 1.0,
) -> None:
    """Download bars of an exchange that ccxt knows; they are of trades, so no spread is known."""
    from sep_engine.data.store import store_path
    from sep_engine.venues.exchange import download_bars, open_exchange

    opened = open_exchange(exchange)
    now = datetime.now(UTC)
    span = _span(since, until, now)
    usual = re.sub(r"[^A-Za-z0-9]+", "_", f"{exchange} {instrument} {granularity}").lower()

    async def fetch(on_page: Callable[[datetime], None]) -> Mapping[str, Any]:
        return await download_bars(
            opened,
            instrument=instrument,
            granularity=granularity,
            since=span[0],
            until=span[1],
            store=store_path(),
            name=name or usual,
            requests_per_s=rate,
            now=now,
            on_page=on_page,
        )

    _fetched(fetch, span)


def duration_of(text: str) -> timedelta:
    """Return the length of a bar as traders write it: M1, H4, D1, S5."""
    found = re.fullmatch(r"([SMHD])([1-9]\d{0,3})", text)
    if found is None:
        raise ArgumentError(f"a bar's length is written as M1, H4 or D1, was {text!r}")
    unit_s = {"S": 1, "M": 60, "H": 3600, "D": 86_400}[found[1]]
    return timedelta(seconds=unit_s * int(found[2]))


def bars_text(metadata: Mapping[str, Any]) -> str:
    """Return the length of a data set's bars as text."""
    return duration_text(timedelta(seconds=metadata["bars_of_s"]))


def print_metadata(metadata: Mapping[str, Any]) -> None:
    """Print what is known of a data set."""
    from rich.table import Table

    origin = metadata["origin"]
    table = Table(show_header=False)
    sides = "bid and ask" if metadata["both_sides"] else origin["price_side"]
    if metadata["spread_known"] and not metadata["both_sides"]:
        sides += ", spread at each close"
    for title, value in (
        ("instrument", metadata["instrument"]),
        ("bars", f"{metadata['rows']:,} of {bars_text(metadata)}, {sides}"),
        ("from, to", f"{metadata['first']}, {metadata['last']}"),
        ("tick, pip", f"{metadata['tick']}, {metadata['pip']}"),
        ("calendar", metadata["calendar"]),
        ("vendor", origin["vendor"]),
        ("licence", origin["licence"]),
        ("time zone", origin["time_zone"]),
        ("source", origin["source"]),
        ("synthetic", "YES: generated prices" if origin["synthetic"] else "no"),
        ("findings", ", ".join(f"{f['kind']}: {f['count']:,}" for f in metadata["findings"])),
        ("sha256 of the parsed bars", metadata["content_sha256"]),
    ):
        table.add_row(title, str(value) or "none")
    console = screen()
    console.print(metadata["name"], style="bold")
    console.print(table)


def _fetched(
    fetch: Callable[[Callable[[datetime], None]], Any], span: tuple[datetime, datetime]
) -> None:
    whole = (span[1] - span[0]) / timedelta(seconds=1)
    with progress(stages=1) as bar:
        bar.begin("Downloading")
        metadata = asyncio.run(
            fetch(lambda reached: bar.within((reached - span[0]) / timedelta(seconds=1) / whole))
        )
    print_metadata(metadata)


def _span(since: str, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    first = _time("--from", since)
    last = now if until is None else min(now, _time("--to", until))
    if not first < last:
        raise ArgumentError(f"--from must lie before --to and before now, was {since}")
    return first, last


def _time(option: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentError(f"{option} must be a time such as 2024-01-01, was {text!r}") from None
    return at.replace(tzinfo=UTC) if at.utcoffset() is None else at.astimezone(UTC)
