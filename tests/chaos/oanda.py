"""The same fault schedules against the logic of the local OANDA server, through the real adapter.

Requests are built and answers are judged by `sep_engine.venues.oanda.orders`, transactions become
facts by the broker's own code; only the socket is missing. The server keeps its ledger by rules
that share no code with the order core.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sep_engine.execution.core import (
    Accepted,
    Cancelled,
    CancelRefused,
    Expired,
    Fact,
    Filled,
    Rejected,
    Replaced,
)
from sep_engine.execution.states import TimeInForce
from sep_engine.model import Instrument
from sep_engine.venues.oanda import orders
from sep_engine.venues.oanda.orders import Entry, EntryType, Outcome
from sep_oanda_server.ledger import Ledger, Order, Terms
from sep_oanda_server.market import Market, Quote
from sep_oanda_server.matching import NONE, Interference
from sep_oanda_server.venue import Request, Venue
from sep_oanda_server.wire import nanoseconds
from tests.chaos.schedules import LAG_AT_MOST_S, Mistake, Schedule
from webapp.trading.brokers.base import Kind, Transaction
from webapp.trading.brokers.oanda.facts import transactions_of

ACCOUNT = "101-004-1435156-001"
EUR_USD = Instrument(
    "EUR_USD", "EUR", "USD", Decimal("0.00001"), Decimal("0.0001"), Decimal(1), 5, "always"
)
REJECTS = ("INSUFFICIENT_MARGIN", "ACCOUNT_LOCKED", "INTERNAL_SERVER_ERROR")
CANCELS = ("MARKET_HALTED", "BOUNDS_VIOLATION", "INSUFFICIENT_LIQUIDITY")


@dataclass(frozen=True, slots=True)
class Seen:
    """An order at the venue, as far as the schedule looks at it."""

    order_id: str
    client_id: str
    working: bool


class LocalVenue:
    """The venue of a schedule, kept by the local server's rules."""

    def __init__(
        self, rng: random.Random, *, ids_for_ever: bool, clock: Callable[[], datetime]
    ) -> None:
        self.rng, self.clock = rng, clock
        terms = Terms(ACCOUNT, client_ids="forever" if ids_for_ever else "open")
        self._venue = Venue([terms], Market(), token="t", now_ns=self._now_ns())
        self._facts: list[tuple[str, Fact]] = []
        self._points = 110_000
        self._move(0)

    # What the schedule asks for.

    @property
    def ledger(self) -> list[tuple[str, Fact]]:
        """Every transaction of the account in order; those that are about no order have no name."""
        told = self._ledger.transactions
        if len(told) != len(self._facts):
            # A batch is written at once, so what follows from a line is there with it.
            self._facts = [_named_fact(one) for one in transactions_of(told)]
        return self._facts

    @property
    def orders(self) -> list[Seen]:
        return [
            Seen(str(order.id), order.client_id or "", order.state == "PENDING")
            for order in self._ledger.orders.values()
            if not self._goes_on(order)
        ]

    def _goes_on(self, order: Order) -> bool:
        """Return whether this is the rest of a part-filled order, under the same name."""
        first = order.extra.get("replacesOrderID")
        return first is not None and self._ledger.orders[int(first)].client_id == order.client_id

    @property
    def position(self) -> Decimal:
        return sum((trade.units for trade in self._ledger.open.values()), Decimal(0))

    def take(self, client_id: str, units: Decimal, now: datetime) -> list[tuple[str, Fact]]:
        del now  # the clock says it
        price = Decimal(self._points + self.rng.randrange(-100, 101)) / 100_000
        kind = self.rng.choice((EntryType.MARKET, EntryType.LIMIT, EntryType.STOP))
        entry = Entry(client_id, EUR_USD, kind, units)
        if kind != EntryType.MARKET:
            force = self.rng.choice((TimeInForce.GTC, TimeInForce.GTD))
            ends = self.clock() + timedelta(seconds=20) if force == TimeInForce.GTD else None
            entry = Entry(
                client_id, EUR_USD, kind, units, price=price, time_in_force=force, expires=ends
            )
        elif self.rng.random() < 0.3:
            entry = Entry(client_id, EUR_USD, kind, units, time_in_force=TimeInForce.IOC)
        interference = self.rng.choices(
            (
                NONE,
                Interference(reject=self.rng.choice(REJECTS)),
                Interference(cancel=self.rng.choice(CANCELS)),
                Interference(liquidity=Decimal(self.rng.randrange(0, 1500))),
            ),
            weights=(70, 8, 7, 15),
        )[0]
        return self._send(orders.place(entry), interference)

    def replace(
        self, old_id: str, client_id: str, units: Decimal, now: datetime
    ) -> list[tuple[str, Fact]]:
        del now
        old = self._ledger.order_named(f"@{old_id}")
        # A change that arrives late may find nothing; what it asks for is the same.
        kind = EntryType.LIMIT if old is None or old.type == "MARKET" else EntryType(old.type)
        price = Decimal(self._points + self.rng.randrange(-100, 101)) / 100_000
        entry = Entry(client_id, EUR_USD, kind, units, price=price)
        refused = Interference(reject=self.rng.choice(REJECTS))
        return self._send(
            orders.replace(f"@{old_id}", entry), refused if self.rng.random() < 0.15 else NONE
        )

    def cancel(self, client_id: str) -> list[tuple[str, Fact]]:
        refused = Interference(reject="ACCOUNT_ORDER_CANCEL_LOCKED")
        return self._send(
            orders.cancel(f"@{client_id}"), refused if self.rng.random() < 0.2 else NONE
        )

    def look_up(self, client_id: str, now: datetime) -> Seen | None:
        del now
        lag_ns = int(self.rng.uniform(0, LAG_AT_MOST_S) * 1e9)
        status, body = self._exchange(orders.look_up(client_id), lag_ns=lag_ns)
        if status == 404:
            return None
        order = body["order"]
        return Seen(order["id"], client_id, order["state"] == "PENDING")

    def pass_time(self) -> None:
        self._move(self.rng.randrange(-60, 61))

    def finish(self) -> None:
        for order_id in list(self._ledger.pending):
            self._exchange(orders.cancel(str(order_id)))

    # Below.

    @property
    def _ledger(self) -> Ledger:
        return self._venue.ledgers[ACCOUNT]

    def _now_ns(self) -> int:
        return nanoseconds(self.clock())

    def _move(self, points: int) -> None:
        self._points = min(max(self._points + points, 105_000), 115_000)
        bid, depth = Decimal(self._points) / 100_000, self.rng.choice((10_000_000, 700))
        quote = Quote("EUR_USD", self._now_ns(), bid, bid + Decimal("0.00010"), depth, depth)
        self._venue.quote(quote, self._now_ns())

    def _exchange(
        self, wire: orders.HttpRequest, force: Interference = NONE, *, lag_ns: int = 0
    ) -> tuple[int, dict[str, dict[str, str]]]:
        request = Request(
            wire.method,
            f"/v3/accounts/{ACCOUNT}{wire.path}",
            dict(wire.query),
            b"" if wire.body is None else json.dumps(wire.body).encode(),
            {"authorization": "Bearer t"},
        )
        response = self._venue.handle(request, self._now_ns(), force, lag_ns=lag_ns)
        return response.status, response.body

    def _send(self, wire: orders.HttpRequest, force: Interference) -> list[tuple[str, Fact]]:
        before = self._ledger.last_id
        status, body = self._exchange(wire, force)
        answer = orders.classify(status, {}, json.dumps(body).encode())
        assert answer.outcome == Outcome.RECORDED, answer
        return self.ledger[before:]


def _named_fact(one: Transaction) -> tuple[str, Fact]:
    order_id = one.venue_order_id
    match one.kind:
        case Kind.ACCEPTED:
            return one.client_id, Accepted(one.id, order_id)
        case Kind.FILLED:
            assert one.price is not None
            return one.client_id, Filled(one.id, order_id, one.units, one.price, one.final)
        case Kind.CANCELLED:
            return one.client_id, Cancelled(one.id, order_id, one.reason)
        case Kind.REJECTED:
            return one.client_id, Rejected(one.id, one.reason)
        case Kind.REPLACED:
            return one.client_id, Replaced(one.id, order_id)
        case Kind.EXPIRED:
            return one.client_id, Expired(one.id, order_id)
        case Kind.CANCEL_REFUSED:
            return one.client_id, CancelRefused(one.id, one.reason)
    return "", Expired(one.id, "")  # about no order of ours; only its number counts


class OandaSchedule(Schedule):
    """A schedule whose venue is the local server's."""

    def __init__(self, seed: int, mistake: Mistake = Mistake.NONE) -> None:
        super().__init__(seed, mistake)
        self.venue = LocalVenue(  # type: ignore[assignment]
            self.rng, ids_for_ever=self.rng.random() < 0.5, clock=lambda: self.now
        )


def run_oanda_schedule(seed: int, mistake: Mistake = Mistake.NONE) -> tuple[list[str], str]:
    """Return the faults of one schedule and the hash of its trace."""
    schedule = OandaSchedule(seed, mistake)
    faults = schedule.run()
    return faults, schedule.trace.hexdigest()
