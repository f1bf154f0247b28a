"""The same fault schedules against the logic of the local OANDA server, through the real adapter.

Requests are built and answers are judged by `sep_engine.venues.oanda.orders`, transactions become
facts by the broker's own code; only the socket is missing. The server keeps its ledger by rules
that share no code with the order core.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from sep_engine.errors import DataError
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
from sep_engine.execution.positions import Side
from sep_engine.execution.states import PositionFill, TimeInForce
from sep_engine.model import Instrument
from sep_engine.venues.oanda import orders
from sep_engine.venues.oanda.orders import Entry, EntryType, Outcome
from sep_oanda_server.ledger import Ledger, Order, Terms
from sep_oanda_server.market import Quote, QuoteBoard
from sep_oanda_server.matching import NONE, Interference
from sep_oanda_server.venue import Request, Venue
from sep_oanda_server.wire import nanoseconds
from tests.chaos.schedules import (
    NEIGHBOUR_ORDERS_MAX,
    NEIGHBOURS,
    OURS,
    Change,
    Mistake,
    Schedule,
    Told,
    Wish,
    held_of,
)
from webapp.trading.brokers.base import Kind, Transaction
from webapp.trading.brokers.oanda.facts import transactions_of

ACCOUNT = "101-004-1435156-001"
NEIGHBOUR = "101-004-1435156-002"
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
        self,
        rng: random.Random,
        *,
        ids_for_ever: bool,
        hedging: bool,
        clock: Callable[[], datetime],
        token: str,
    ) -> None:
        self.rng, self.clock, self.hedging = rng, clock, hedging
        ids = "forever" if ids_for_ever else "open"
        terms = [
            Terms(account, client_ids=ids, hedging=hedging) for account in (ACCOUNT, NEIGHBOUR)
        ]
        self._token, self.leaks = token, list[str]()
        self._venue = Venue(terms, QuoteBoard(), token=token, now_ns=self._now_ns())
        self._told: list[Told] = []
        self.sent_as: dict[int, str] = {}
        self._points = 110_000
        self._move(0)

    # What the schedule asks for.

    @property
    def ledger(self) -> list[Told]:
        """Every transaction of the account in order; those that are about no order have no name."""
        lines = self._ledger.transactions
        if len(lines) != len(self._told):
            # A batch is written at once, so what follows from a line is there with it.
            self._told = [_told(one) for one in transactions_of(lines)]
        return self._told

    @property
    def orders(self) -> list[Seen]:
        """Every order, one that goes on under its name after a part was filled as one."""
        goes_on = {
            int(order.extra["replacesOrderID"]): order
            for order in self._ledger.orders.values()
            if self._is_rest(order)
        }
        seen = []
        for order in self._ledger.orders.values():
            if self._is_rest(order):
                continue
            last = order
            while last.id in goes_on:
                last = goes_on[last.id]
            name = order.client_id or self.sent_as.get(order.id, "")
            seen.append(Seen(str(order.id), name, last.state == "PENDING"))
        return seen

    def _is_rest(self, order: Order) -> bool:
        first = order.extra.get("replacesOrderID")
        return first is not None and self._ledger.orders[int(first)].client_id == order.client_id

    @property
    def trades(self) -> dict[str, Decimal]:
        return {str(trade.id): trade.units for trade in self._ledger.open.values()}

    @property
    def sides(self) -> dict[Side, Decimal]:
        return held_of(self.trades, hedging=self.hedging)

    def take(self, client_id: str, units: Decimal, wish: Wish) -> list[Told]:
        if wish.closes:
            self.sent_as[self._ledger.last_id + 1] = client_id
            wire = orders.close_trade(wish.closes, EUR_USD, abs(units))
            return self._send(wire, self._interference())
        price = Decimal(self._points + self.rng.randrange(-100, 101)) / 100_000
        kind = self.rng.choice((EntryType.MARKET, EntryType.LIMIT, EntryType.STOP))
        entry = Entry(
            client_id,
            EUR_USD,
            kind,
            units,
            position_fill=PositionFill.REDUCE_FIRST if wish.reduces else PositionFill.DEFAULT,
        )
        if kind != EntryType.MARKET:
            force = self.rng.choice((TimeInForce.GTC, TimeInForce.GTD))
            ends = self.clock() + timedelta(seconds=20) if force == TimeInForce.GTD else None
            entry = replace(entry, price=price, time_in_force=force, expires=ends)
        elif self.rng.random() < 0.3:
            entry = replace(entry, time_in_force=TimeInForce.IOC)
        return self._send(orders.place(entry), self._interference())

    def _interference(self) -> Interference:
        return self.rng.choices(
            (
                NONE,
                Interference(reject=self.rng.choice(REJECTS)),
                Interference(cancel=self.rng.choice(CANCELS)),
                Interference(liquidity=Decimal(self.rng.randrange(0, 1500))),
            ),
            weights=(70, 8, 7, 15),
        )[0]

    def replace(self, client_id: str, units: Decimal, wish: Wish) -> list[Told]:
        old = self._ledger.order_named(f"@{wish.replaces}")
        # A change that arrives late may find nothing; what it asks for is the same.
        kind = EntryType.LIMIT if old is None or old.type == "MARKET" else EntryType(old.type)
        price = Decimal(self._points + self.rng.randrange(-100, 101)) / 100_000
        entry = Entry(client_id, EUR_USD, kind, units, price=price)
        refused = Interference(reject=self.rng.choice(REJECTS))
        return self._send(
            orders.replace(f"@{wish.replaces}", entry),
            refused if self.rng.random() < 0.15 else NONE,
        )

    def cancel(self, client_id: str) -> list[Told]:
        refused = Interference(reject="ACCOUNT_ORDER_CANCEL_LOCKED")
        return self._send(
            orders.cancel(f"@{client_id}"), refused if self.rng.random() < 0.2 else NONE
        )

    def look_up(self, client_id: str, *, lag: timedelta) -> Seen | None:
        lag_ns = int(lag.total_seconds() * 1e9)
        status, body = self._exchange(orders.look_up(client_id), lag_ns=lag_ns)
        if status == 404:
            return None
        order = body["order"]
        return Seen(order["id"], client_id, order["state"] == "PENDING")

    def pass_time(self) -> None:
        self._move(self.rng.randrange(-60, 61))

    def neighbour_trades(self, client_id: str) -> None:
        entry = Entry(client_id, EUR_USD, EntryType.MARKET, Decimal(1000))
        self._exchange(orders.place(entry), account=NEIGHBOUR)

    def neighbours_answer(self, after: int, *, believe: bool) -> list[Told]:
        """Return what is read of an answer that is about the other account."""
        lines = self._venue.ledgers[NEIGHBOUR].transactions[after:]
        try:
            facts = transactions_of(lines, account="" if believe else ACCOUNT)
        except DataError:
            return []
        return [_told(one) for one in facts]

    def shown(self) -> str:
        """Return all that the venue wrote down of our account."""
        return json.dumps(self._ledger.transactions)

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
        self,
        wire: orders.HttpRequest,
        force: Interference = NONE,
        *,
        lag_ns: int = 0,
        account: str = ACCOUNT,
    ) -> tuple[int, dict[str, dict[str, str]]]:
        request = Request(
            wire.method,
            f"/v3/accounts/{account}{wire.path}",
            dict(wire.query),
            b"" if wire.body is None else json.dumps(wire.body).encode(),
            {"authorization": f"Bearer {self._token}"},
        )
        response = self._venue.handle(request, self._now_ns(), force, lag_ns=lag_ns)
        if response.status >= 400 and self._token in str(response.body):
            self.leaks.append(f"HTTP {response.status}")
        return response.status, response.body

    def _send(self, wire: orders.HttpRequest, force: Interference) -> list[Told]:
        before = self._ledger.last_id
        status, body = self._exchange(wire, force)
        answer = orders.classify(status, json.dumps(body).encode())
        assert answer.outcome == Outcome.RECORDED, answer
        return self.ledger[before:]


def _told(one: Transaction) -> Told:
    name, fact = _named_fact(one)
    changes = tuple(Change(part.trade_id, part.units, part.opens) for part in one.trades)
    # The name is ours or none; what the venue says of a trade and a size tells whose it is then.
    closes = one.trade_id if one.kind in (Kind.ACCEPTED, Kind.REJECTED) else ""
    account = OURS if one.raw["accountID"] == ACCOUNT else NEIGHBOURS
    return Told(name, fact, one.time, changes, closes, abs(one.units), account)


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
        self.local = LocalVenue(
            self.rng,
            ids_for_ever=self.rng.random() < 0.5,
            hedging=self.hedging,
            clock=lambda: self.now,
            token=self.token,
        )
        self.venue = self.local  # type: ignore[assignment]
        self._neighbour_orders = 0

    def _neighbour_trades(self) -> None:
        if self._neighbour_orders < NEIGHBOUR_ORDERS_MAX and self.beside.random() < 0.5:
            self._neighbour_orders += 1
            self.local.neighbour_trades(f"o{self._neighbour_orders}")

    def _neighbours_answer(self) -> list[Told]:
        self.misrouted += 1
        believe = self.mistake is Mistake.EVERY_LINE_IS_OURS
        return self.local.neighbours_answer(self.tables.last_transaction, believe=believe)

    def _faults(self) -> list[str]:
        self.leaks += self.local.leaks
        if self.token in self.local.shown():
            self.leaks.append("the ledger")
        return super()._faults()


def run_oanda_schedule(seed: int, mistake: Mistake = Mistake.NONE) -> tuple[list[str], str]:
    """Return the faults of one schedule and the hash of its trace."""
    schedule = OandaSchedule(seed, mistake)
    faults = schedule.run()
    return faults, schedule.trace.hexdigest()
