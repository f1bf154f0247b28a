"""The link to the broker: prices that lie, certificates that do, hints that are lost."""

# ruff: noqa: F811 - fixtures of the trader's tests come by their names

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sep_engine.execution.states import OrderState, OrderType
from sep_engine.venues.oanda import parse
from sep_engine.venues.oanda.client import Endpoint, MarketDataClient, local
from webapp.tests.test_oanda_trader import (  # noqa: F401
    Play,
    at_venue,
    limit_order,
    play,
    trade,
    until,
    url,
    venue_prices,
)
from webapp.trading.brokers.base import BrokerError
from webapp.trading.brokers.oanda.adapter import OandaBroker
from webapp.trading.models import Order
from webapp.trading.services import hints
from webapp.trading.services.orders import order_submit
from webapp.trading.trader.spikes import Spikes
from webapp.trading.trader.trader import Trader
from webapp.trading.trader.turns import Waiting
from webapp.trading.trader.venue_setup import CannotAdd, venue_read

D = Decimal
START = datetime(2030, 1, 7, 10, tzinfo=UTC)


def price(bid: str, second: float) -> parse.Price:
    at = START + timedelta(seconds=second)
    return parse.read_price(
        {
            "type": "PRICE",
            "instrument": "EUR_USD",
            "time": parse.time_text(at),
            "tradeable": True,
            "bids": [{"price": bid, "liquidity": 1}],
            "asks": [{"price": str(D(bid) + D("0.0001")), "liquidity": 1}],
        }
    )


@pytest.mark.django_db(transaction=True)
def test_o16_b2_a_lost_hint_loses_no_order_and_an_old_quote_opens_nothing(
    trade: Play, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "wake", lambda: None)  # every message is lost with its worker

    async def market(one: Trader) -> Order:
        wanted = limit_order(one, type=OrderType.MARKET, price=None)
        order: Order = await one.db(order_submit, now=datetime.now(UTC), **wanted)
        return order

    async def age_the_quote(one: Trader) -> None:
        received = one.quotes["EUR_USD"]
        one.quotes["EUR_USD"] = replace(received, at=received.at - timedelta(seconds=16))

    async def steps(one: Trader) -> None:
        await play(one, 1)
        looking = asyncio.create_task(one.order_loop())
        first = await market(one)
        await until(one, lambda: Order.objects.get(pk=first.pk).state == "FILLED", seconds=20)
        looking.cancel()
        # Too old at the decision: 16 s where 15 are allowed.
        await one.db(Order.objects.filter(pk=first.pk).update, created_at=START)
        await age_the_quote(one)
        late = await market(one)
        await one.orders.work()
        await one.db(late.refresh_from_db)
        assert (late.state, late.denied_rule) == ("DENIED", "quote_age")
        # Fresh at the decision, too old at the send.
        await play(one, 1)
        await one.db(Order.objects.update, created_at=START)
        queued = await market(one)
        waiting = Waiting(queued.pk, OrderState.CREATED, "EUR_USD", False, False)
        assert await one.db(one.orders.judge, [waiting], datetime.now(UTC)) == {queued.pk}
        await age_the_quote(one)
        await one.sending.send([queued.pk])
        await one.db(queued.refresh_from_db)
        assert (queued.state, queued.cause) == (
            "EXPIRED_UNSENT",
            "nothing was written to the venue: the quote grew too old before the send",
        )
        assert len(at_venue(url, "GET", "/trades?state=ALL")["trades"]) == 1

    trade(steps)


@pytest.mark.django_db(transaction=True)
def test_b4_b7_ticks_out_of_order_doubled_or_wild_make_the_bar_of_a_clean_feed(
    trade: Play, url: str
) -> None:
    clean = [price("1.10000", 1), price("1.10050", 2), price("1.10020", 3), price("1.10030", 5)]
    wild = [
        *(clean[0], clean[0], clean[2], clean[1], clean[1]),
        price("1.21000", 4),  # ten percent for one tick
        *(clean[3], clean[2]),
    ]

    async def steps(one: Trader) -> None:
        await play(one, 1)
        bars, prices = [], venue_prices(one)
        for feed in (clean[:1] + clean[2:], wild):
            one.quotes.clear()
            prices.forming = None
            for tick in feed:
                await prices.on_price(tick)
                shown = tick.quote()
                if shown is not None and shown.bid == D("1.21000"):
                    stands = one.quotes["EUR_USD"].stands
                    assert stands.startswith("jumped from 1.10025 to 1.21005, which 2 more")
            bars.append(prices.forming)
            assert one.quotes["EUR_USD"].quote.bid == D("1.10030")
            assert one.quotes["EUR_USD"].stands == ""
        assert bars[0] == bars[1]

    trade(steps)


def test_b7_a_market_that_really_moved_is_believed_with_the_third_quote() -> None:
    spikes = Spikes()
    assert spikes.doubt("EUR_CHF", D("1.20")) == ""
    assert "2 more quotes" in spikes.doubt("EUR_CHF", D("1.00"))
    assert "1 more quotes" in spikes.doubt("EUR_CHF", D("1.01"))
    assert spikes.doubt("EUR_CHF", D("1.00")) == ""
    # Two wild ticks that do not agree confirm nothing.
    assert spikes.doubt("EUR_CHF", D("1.50")) != ""
    assert "2 more quotes" in spikes.doubt("EUR_CHF", D("0.50"))
    assert spikes.doubt("EUR_CHF", D("1.00")) == ""


@pytest.mark.django_db
def test_b14_an_account_that_takes_no_client_ids_is_not_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = {
        "account": {"id": "101-1", "currency": "USD", "balance": "1", "NAV": "1"}
        | {"marginUsed": "0", "marginAvailable": "1", "mt4AccountID": 7},
        "lastTransactionID": "1",
    }

    async def account(self: MarketDataClient) -> parse.VenueAccount:
        return parse.read_account(body)

    monkeypatch.setattr(MarketDataClient, "account", account)
    reading = venue_read(
        local("http://127.0.0.1:9"),
        "token",
        venue_account="101-1",
        instruments=("EUR_USD",),
        granularity="H1",
    )
    with pytest.raises(CannotAdd, match="belongs to MT4"):
        asyncio.run(reading)


Signed = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(folder: Path, name: str, *, days: int = 1, by: Signed | None = None) -> Signed:
    """A certificate for 127.0.0.1, or "other" for another host, written with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (subject, key) if by is None else (by[0].subject, by[1])
    now = datetime.now(UTC)
    host = x509.IPAddress(IPv4Address("127.0.0.2" if name == "other" else "127.0.0.1"))
    made = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(
        made.public_bytes(encoding)
        + key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made, key


@contextmanager
def answering(chain: Path, *, newest: ssl.TLSVersion) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server that says of each account that it does not exist; and what it was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    context.load_cert_chain(chain)
    asked: list[bytes] = []

    def answer(caller: socket.socket) -> None:
        with context.wrap_socket(caller, server_side=True) as connection:
            question = b""
            while not question.endswith(b"\r\n\r\n"):
                question += connection.recv(4096)
            asked.append(question)
            body = b'{"errorMessage": "no such account"}'
            head = f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)

    def serve() -> None:
        with suppress(OSError):  # it is closed
            while True:
                caller, _ = listener.accept()
                with caller, suppress(OSError):  # who calls hangs up
                    answer(caller)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(
    ("name", "newest", "believed"),
    [
        ("good", ssl.TLSVersion.TLSv1_3, True),
        ("expired", ssl.TLSVersion.TLSv1_3, False),
        ("other", ssl.TLSVersion.TLSv1_3, False),
        ("self-signed", ssl.TLSVersion.TLSv1_3, False),
        ("good", ssl.TLSVersion.TLSv1_1, False),
    ],
)
def test_b12_a_venue_that_does_not_prove_itself_is_told_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    newest: ssl.TLSVersion,
    believed: bool,
) -> None:
    authority = certificate(tmp_path, "authority")
    if name == "self-signed":
        certificate(tmp_path, name)
    else:
        certificate(tmp_path, name, days=-1 if name == "expired" else 1, by=authority)
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "authority.pem"))
    with answering(tmp_path / f"{name}.pem", newest=newest) as (port, asked):
        host = f"https://127.0.0.1:{port}"

        async def read() -> None:
            broker = OandaBroker(
                endpoint=Endpoint(host, host), token="t0k3n", venue_account="1", account_key=1
            )
            try:
                await broker.account()
            finally:
                await broker.close()

        with pytest.raises(BrokerError) as refused:
            asyncio.run(read())
    assert ("no such account" in str(refused.value)) == believed
    assert bool(asked) == believed
    if not believed:
        assert str(refused.value) == "the venue was not reached: ConnectError"
