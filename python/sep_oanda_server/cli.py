"""`sep-oanda-server`: a local OANDA v20 venue that replays recorded quotes."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

try:
    from aiohttp import web
except ModuleNotFoundError:
    sys.stderr.write("sep-oanda-server: pip install 'sep-engine[oanda-server]' brings aiohttp\n")
    raise SystemExit(2) from None

from sep_oanda_server.faults import FaultError, FaultScript, read_script
from sep_oanda_server.feed import FeedError, Recording, merged, read_recording
from sep_oanda_server.ledger import Terms
from sep_oanda_server.market import INSTRUMENTS, Instrument, QuoteBoard
from sep_oanda_server.server import Limits, Pace, Server
from sep_oanda_server.store import Store
from sep_oanda_server.venue import Venue
from sep_oanda_server.wire import NS, read_decimal

DEFAULT_TOKEN = "local"  # opens nothing but a ledger of invented money on this machine
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until Ctrl-C. Returns 0, or 2 after one line about what is wrong."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        server = build(options)
    except (FeedError, FaultError, OSError, ValueError) as error:
        sys.stderr.write(f"sep-oanda-server: {error}\n")
        return 2
    accounts = ", ".join(server.venue.ledgers)
    logging.getLogger(__name__).info(
        "http://%s:%d/v3 account %s, %d quotes", options.host, options.port, accounts,
        len(server.events),
    )  # fmt: skip
    try:
        web.run_app(
            server.application(), host=options.host, port=options.port, print=None,
            access_log=None, shutdown_timeout=1.0,
        )  # fmt: skip
    except OSError as error:
        sys.stderr.write(f"sep-oanda-server: {options.host}:{options.port}: {error}\n")
        return 2
    finally:
        server.store.close()
    return 0


def build(options: argparse.Namespace) -> Server:
    """The server that the options describe.

    Raises:
        FeedError, FaultError, ValueError, OSError: an option cannot be used.
    """
    if options.host not in LOOPBACK and options.token == DEFAULT_TOKEN:
        raise ValueError("an address beyond this machine needs a --token of your own")
    if not options.speed > 0:
        raise ValueError("--speed must be above 0")
    recordings = [_recording(text, options.history) for text in options.data or [_sample()]]
    market = QuoteBoard({**INSTRUMENTS, **_unlisted(recordings)}.values())
    terms = Terms(
        account_id=options.account,
        currency=options.currency,
        opening_balance=read_decimal(options.balance),
        margin_rate=read_decimal(options.margin_rate),
        hedging=options.hedging,
        fifo=options.fifo,
        client_ids=options.client_ids,
        lookup=options.lookup,
    )
    store = Store(options.ledger)
    events = merged(recordings)
    wall = options.clock == "wall"
    now_ns = time.time_ns() if wall else (events[0][1].time_ns if events else 0)
    for quote in store.quotes():
        market.put(quote)
        now_ns = now_ns if wall else max(now_ns, quote.time_ns)
    kept = store.load(terms)
    venue = Venue(
        [terms], market, token=options.token, now_ns=now_ns, financing=_rates(options.financing)
    )
    if kept:
        venue.ledgers[terms.account_id] = kept
    for one in recordings:
        if one.history:
            shown = one.shifted(_shift(one, now_ns)) if wall else one
            venue.candles.load(one.instrument, one.granularity, list(shown.history))
    script = json.loads(Path(options.faults).read_text()) if options.faults else []
    return Server(
        venue,
        store=store,
        events=events,
        pace=Pace(options.speed, options.paused, store.cursor()),
        limits=Limits(options.rate_limit, options.heartbeat, options.price_interval),
        faults=FaultScript(read_script(script)),
        wall_clock=wall,
        clock_offset_ns=int(options.clock_offset * NS),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sep-oanda-server",
        description=(
            "A local OANDA v20 server: REST, price and transaction streams, its own ledger, "
            "replayed quotes and scripted faults. No account and no money behind it."
        ),
    )
    option = parser.add_argument
    option("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    option("--port", type=int, default=8020, help="port (default: %(default)s)")
    option(
        "--token",
        default=os.environ.get("SEP_OANDA_TOKEN", DEFAULT_TOKEN),
        help="bearer token; also SEP_OANDA_TOKEN (default: %(default)s)",
    )
    option("--account", default=Terms().account_id, help="account id (default: %(default)s)")
    option("--currency", default="USD", help="account currency (default: %(default)s)")
    option("--balance", default="100000", help="opening balance (default: %(default)s)")
    option("--margin-rate", default="0.02", help="margin rate (default: %(default)s)")
    option("--hedging", action="store_true", help="long and short trades side by side")
    option("--fifo", action="store_true", help="trades of one size close oldest first")
    option(
        "--client-ids",
        choices=("forever", "open"),
        default="forever",
        help="a client id is unique for ever, or among pending orders (default: %(default)s)",
    )
    option(
        "--lookup",
        choices=("all", "pending"),
        default="all",
        help="@id finds orders in any state, or pending ones only (default: %(default)s)",
    )
    option(
        "--financing",
        action="append",
        metavar="EUR_USD=LONG,SHORT",
        help="yearly financing rates of an instrument; none is charged without",
    )
    option(
        "--data",
        action="append",
        metavar="PATH[=INSTRUMENT]",
        help="recorded quotes or bars; again for more instruments (default: the EUR/USD sample)",
    )
    option("--history", type=int, help="bars before the replay (default: as the metadata says)")
    option(
        "--speed",
        type=float,
        default=3600.0,
        help="recorded seconds per second (default: %(default)s, one H1 bar a second)",
    )
    option("--paused", action="store_true", help="replay nothing until told at /control/feed")
    option(
        "--clock",
        choices=("wall", "market"),
        default="wall",
        help="stamp with the wall clock, or with the recording's own time (default: %(default)s)",
    )
    option(
        "--clock-offset",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how far the venue's wall clock is ahead (default: %(default)s)",
    )
    option("--ledger", default=":memory:", metavar="FILE", help="SQLite file (default: memory)")
    option("--faults", metavar="FILE", help="JSON fault script; see docs/guides/oanda-local.md")
    option("--rate-limit", type=int, default=120, help="requests a second, 0 for any")
    option("--heartbeat", type=float, default=5.0, help="seconds between stream heartbeats")
    option("--price-interval", type=float, default=0.25, help="least seconds between prices")
    return parser


def _recording(text: str, history: int | None) -> Recording:
    path, _, instrument = text.partition("=")
    return read_recording(Path(path), instrument=instrument or None, history=history)


def _sample() -> str:
    packages = Path(__file__).resolve().parents[1]
    folders = [packages / "sep_engine" / "samples", packages.parent / "samples"]
    if chosen := os.environ.get("SEP_SAMPLES_PATH"):
        folders.insert(0, Path(chosen))
    for folder in folders:
        if (folder / "eur_usd_h1" / "bars.csv").is_file():
            return str(folder / "eur_usd_h1")
    raise FeedError("no sample found: name a recording with --data, or set SEP_SAMPLES_PATH")


def _unlisted(recordings: Sequence[Recording]) -> dict[str, Instrument]:
    names = {one.instrument for one in recordings} - set(INSTRUMENTS)
    return {name: Instrument(name) for name in names}


def _shift(recording: Recording, now_ns: int) -> int:
    """How far to move the history so that it ends now, in whole bars."""
    length = recording.gap_max_ns
    end = recording.history[-1].start_ns + length
    return (now_ns - end) // length * length


def _rates(texts: Sequence[str] | None) -> dict[str, tuple[Decimal, Decimal]]:
    rates = {}
    for text in texts or ():
        name, _, pair = text.partition("=")
        long, _, short = pair.partition(",")
        rates[name] = (read_decimal(long), read_decimal(short))
    return rates
