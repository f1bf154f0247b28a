"""Fault schedules: the order core between a store that loses and a venue that is hard to hear.

One schedule is one seed. A trader made of nothing but `sep_engine.execution` works against a venue
with a ledger of its own, on a virtual clock, while the seed decides where answers are lost, sends
and changes arrive late, reads lag, transactions come twice or out of order, commits fail because of
other transactions, somebody halts the account, quotes grow old, the account's lock is lost, the
process dies and another one takes the account. When the faults end and nothing is in doubt any
more, both sides are compared.

A quarter of the accounts hedge: they are long and short at once. At every account trades are kept
apart and closed one by one, and the venue tells a close without our name for the order.

Beside ours the venue has the account of a neighbour, who trades under the same names, and now and
then an answer is about that one. Each account has a token of its own.

A schedule is deterministic: the same seed gives the same trace, and so the same hash.

`Mistake` names ways of getting it wrong that other systems have shipped. A schedule can be run with
one of them, to see that the checker finds it.
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import NamedTuple

from sep_engine.execution.core import (
    Absent,
    Accepted,
    ApplyFill,
    Cancel,
    Cancelled,
    CancelRefused,
    Claimed,
    Doubted,
    Effect,
    Expired,
    Fact,
    Filled,
    Found,
    HaltAccount,
    Judged,
    Lapsed,
    OrderEvent,
    OrderRecord,
    Rejected,
    Replaced,
    Replacing,
    Restarted,
    Send,
    Timing,
    Unsent,
    Withdrawn,
    step,
)
from sep_engine.execution.positions import (
    NetPosition,
    Side,
    apply_fill,
    close_answered,
    sides_of,
)
from sep_engine.execution.states import (
    AT_VENUE,
    TERMINAL,
    TRANSITIONS,
    OrderState,
    TradingMode,
)

_S = OrderState
_START = datetime(2026, 1, 5, 12, tzinfo=UTC)
CLIENT_TIMEOUT_S = 5.0
# A send arrives within the client's timeout and five seconds, or never.
TIMING = Timing(late=timedelta(seconds=CLIENT_TIMEOUT_S + 5), read_gap=timedelta(seconds=2))
ARRIVES_AT_MOST_S = 9.9
LAG_AT_MOST_S = 1.5
FAULTY_STEPS = 60
QUIET_STEPS_MAX = 400
COMMIT_TRIES = 3
SAID_BY_VENUE = (_S.FILLED, _S.REJECTED, _S.EXPIRED, _S.REPLACED)
HEDGING_SHARE = 0.25
OURS, NEIGHBOURS = "ours", "neighbour's"
NEIGHBOUR_ORDERS_MAX = 12


class Mistake(Enum):
    """Ways to lose or double an order."""

    NONE = auto()
    RESEND_ON_DOUBT = auto()
    TIMEOUT_IS_REJECTION = auto()
    ONE_READ_IS_ABSENCE = auto()
    NO_LATE_TIME = auto()
    FACTS_ARE_NOT_DEDUPLICATED = auto()
    SEND_BEFORE_COMMIT = auto()
    UNANSWERED_CHANGE_IS_REFUSED = auto()
    SEND_WITHOUT_A_LAST_LOOK = auto()
    SIDES_ARE_NETTED = auto()
    ANY_CLOSE_IS_THE_CLOSE = auto()
    NO_ANSWER_IS_UNSENT = auto()
    EVERY_LINE_IS_OURS = auto()
    DOUBTS_TELL_THE_REQUEST = auto()


class Crash(Exception):
    """The trader's process ends here."""


class Lost(Exception):
    """The client has no answer: timeout, reset, 5xx or a body that cannot be read."""


class Change(NamedTuple):
    """What a fill did to one trade: `units` are those of the fill, signed."""

    trade_id: str
    units: Decimal
    opens: bool


class Told(NamedTuple):
    """A line of the venue's ledger.

    Attributes:
        client_id: "" where the venue does not say it: it takes none for the close of a trade.
        closes: the trade that the order is to close, "" for none.
        size: how much of it, > 0.
        at: when the line was written.
        account: whose ledger it is of.
    """

    client_id: str
    fact: Fact
    at: datetime
    trades: tuple[Change, ...] = ()
    closes: str = ""
    size: Decimal = Decimal(0)
    account: str = OURS


@dataclass(frozen=True, slots=True)
class Wish:
    """What an order is to do beside its units.

    Attributes:
        replaces: the order whose place it takes.
        closes: the trade that it closes, all of it or a part.
        reduces: it closes the other side's trades first, the oldest before others.
    """

    replaces: str = ""
    closes: str = ""
    reduces: bool = False


@dataclass
class VenueOrder:
    """`client_id` is who sent it, for the checker; a close is not found by it."""

    order_id: str
    client_id: str
    units: Decimal
    wish: Wish
    filled: Decimal = Decimal(0)
    working: bool = True
    seen_from: datetime = _START


@dataclass
class Venue:
    """The other side, which is always right.

    `ids_for_ever`: whether a client id may be used again once its order has ended. The venue's
    documents do not say, so both are tried.
    """

    rng: random.Random
    ids_for_ever: bool
    hedging: bool
    clock: Callable[[], datetime]
    ledger: list[Told] = field(default_factory=list)
    orders: list[VenueOrder] = field(default_factory=list)
    trades: dict[str, Decimal] = field(default_factory=dict)
    sent_as: dict[int, str] = field(default_factory=dict)
    account: str = OURS

    @property
    def sides(self) -> dict[Side, Decimal]:
        return held_of(self.trades, hedging=self.hedging)

    def take(self, client_id: str, units: Decimal, wish: Wish) -> list[Told]:
        if wish.closes:
            return self._close(client_id, units, wish)
        known = [order for order in self.orders if order.client_id == client_id]
        if any(order.working or self.ids_for_ever for order in known):
            return []
        first = len(self.ledger)
        if self.rng.random() < 0.1:
            self._write(client_id, Rejected(self._next(), "INSUFFICIENT_MARGIN"))
            return self.ledger[first:]
        order = self._new(client_id, units, wish)
        self._write(client_id, Accepted(self._next(), order.order_id))
        if self.rng.random() < 0.5:
            self._fill(order)
        return self.ledger[first:]

    def _new(self, client_id: str, units: Decimal, wish: Wish) -> VenueOrder:
        order = VenueOrder(str(self._next()), client_id, units, wish)
        order.seen_from = self.clock() + timedelta(seconds=self.rng.uniform(0, LAG_AT_MOST_S))
        self.orders.append(order)
        return order

    def _close(self, client_id: str, units: Decimal, wish: Wish) -> list[Told]:
        """Close a trade at once, without a name; refuse if it does not hold so much."""
        first, size = len(self.ledger), abs(units)
        self.sent_as[self._next()] = client_id
        if abs(self.trades.get(wish.closes, Decimal(0))) < size or self.rng.random() < 0.1:
            refused = Rejected(self._next(), "TRADE_DOESNT_EXIST")
            self._write("", refused, closes=wish.closes, size=size)
            return self.ledger[first:]
        order = self._new(client_id, units, wish)
        accepted = Accepted(self._next(), order.order_id)
        self._write("", accepted, closes=wish.closes, size=size)
        if self.rng.random() < 0.9:
            self._fill(order, whole=True)
        else:
            self._end(order, Cancelled(self._next(), order.order_id, "MARKET_HALTED"))
        return self.ledger[first:]

    def replace(self, client_id: str, units: Decimal, wish: Wish) -> list[Told]:
        """Put another order in the place of one that works, in one step, or change nothing."""
        old_id = wish.replaces
        old = next((one for one in self.orders if one.client_id == old_id and one.working), None)
        if old is None or any(one.client_id == client_id for one in self.orders):
            return []
        first = len(self.ledger)
        if self.rng.random() < 0.15:
            self._write(client_id, Rejected(self._next(), "REPLACING_ORDER_INVALID"))
            return self.ledger[first:]
        self._end(old, Replaced(self._next(), old.order_id))
        self.take(client_id, units, wish)
        return self.ledger[first:]

    def cancel(self, client_id: str) -> list[Told]:
        first = len(self.ledger)
        for order in self.orders:
            if order.client_id == client_id and order.working:
                if self.rng.random() < 0.2:
                    self._write(client_id, CancelRefused(self._next(), "LOCKED"))
                else:
                    self._end(order, Cancelled(self._next(), order.order_id, "CLIENT_REQUEST"))
        return self.ledger[first:]

    def pass_time(self) -> None:
        for order in self.orders:
            if order.working and self.rng.random() < 0.15:
                if self.rng.random() < 0.8:
                    self._fill(order)
                elif self.rng.random() < 0.5:
                    self._end(order, Expired(self._next(), order.order_id))
                else:
                    self._end(order, Cancelled(self._next(), order.order_id, "MARKET_HALTED"))

    def finish(self) -> None:
        """Let every working order end, so that the books can be compared."""
        for order in self.orders:
            if order.working:
                self._end(order, Cancelled(self._next(), order.order_id, "MARKET_CLOSED"))

    def look_up(self, client_id: str, *, lag: timedelta) -> VenueOrder | None:
        for order in self.orders:
            named = order.client_id == client_id and not order.wish.closes
            if named and order.seen_from + lag <= self.clock():
                return order
        return None

    def _fill(self, order: VenueOrder, *, whole: bool = False) -> None:
        left = order.units - order.filled
        part = left if whole or self.rng.random() < 0.6 else left / 2
        order.filled += part
        final = order.filled == order.units
        order.working = not final
        price = Decimal(self.rng.randrange(105_000, 115_000)) / 100_000
        number = self._next()
        changes = self._share_out(order, part, str(number))
        for change in changes:
            self.trades[change.trade_id] = (
                self.trades.get(change.trade_id, Decimal(0)) + change.units
            )
        self._write(
            "" if order.wish.closes else order.client_id,
            Filled(number, order.order_id, part, price, final),
            trades=changes,
        )

    def _share_out(self, order: VenueOrder, units: Decimal, new_id: str) -> tuple[Change, ...]:
        """Share a fill out to the trades that it closes; what is left over opens one."""
        if order.wish.closes:
            return (Change(order.wish.closes, units, opens=False),)
        changes, left = [], units
        if order.wish.reduces or not self.hedging:
            for trade_id, held in self.trades.items():
                part = min(abs(left), abs(held)).copy_sign(units)
                if held * units < 0 and part:
                    changes.append(Change(trade_id, part, opens=False))
                    left -= part
        if left:
            changes.append(Change(new_id, left, opens=True))
        return tuple(changes)

    def _end(self, order: VenueOrder, fact: Fact) -> None:
        order.working = False
        self._write("" if order.wish.closes else order.client_id, fact)

    def _next(self) -> int:
        return len(self.ledger) + 1

    def _write(
        self,
        client_id: str,
        fact: Fact,
        *,
        trades: tuple[Change, ...] = (),
        closes: str = "",
        size: Decimal = Decimal(0),
    ) -> None:
        self.ledger.append(Told(client_id, fact, self.clock(), trades, closes, size, self.account))


def held_of(trades: Mapping[str, Decimal], *, hedging: bool) -> dict[Side, Decimal]:
    """Return what open trades come to on each side, without sides that are flat."""
    if not hedging:
        sums = {Side.NET: sum(trades.values(), Decimal(0))}
    else:
        sums = {
            Side.LONG: sum((units for units in trades.values() if units > 0), Decimal(0)),
            Side.SHORT: sum((units for units in trades.values() if units < 0), Decimal(0)),
        }
    return {side: units for side, units in sums.items() if units}


@dataclass
class Tables:
    """What is committed.

    Attributes:
        nobodys: transactions that none of our orders accounts for.
        neighbours: transactions of another account.
    """

    orders: dict[str, OrderRecord] = field(default_factory=dict)
    sides: dict[Side, NetPosition] = field(default_factory=dict)
    trades: dict[str, Decimal] = field(default_factory=dict)
    fills: list[int] = field(default_factory=list)
    last_transaction: int = 0
    log: list[tuple[str, OrderState]] = field(default_factory=list)
    epoch: int = 0
    mode: TradingMode = TradingMode.ACTIVE
    halted: str = ""
    nobodys: list[int] = field(default_factory=list)
    neighbours: list[int] = field(default_factory=list)

    def copy(self) -> "Tables":
        return replace(
            self,
            orders=dict(self.orders),
            sides=dict(self.sides),
            trades=dict(self.trades),
            fills=list(self.fills),
            log=list(self.log),
            nobodys=list(self.nobodys),
            neighbours=list(self.neighbours),
        )


class Schedule:
    """One seed's run; `run` returns the faults that the checker found."""

    def __init__(self, seed: int, mistake: Mistake = Mistake.NONE) -> None:
        self.rng = random.Random(seed)
        self.mistake = mistake
        self.now = _START
        self.hedging = self.rng.random() < HEDGING_SHARE
        ids_for_ever = self.rng.random() < 0.5
        self.venue = Venue(self.rng, ids_for_ever, self.hedging, clock=lambda: self.now)
        # Dice of their own: what the neighbour does changes nothing that we do.
        self.beside = random.Random(f"beside {seed}")
        self.neighbour = Venue(
            self.beside, ids_for_ever, self.hedging, lambda: self.now, account=NEIGHBOURS
        )
        self.token = f"{self.beside.getrandbits(128):032x}"
        self.leaks: list[str] = []
        self.misrouted = 0
        self.tables = Tables()
        self.faulty = True
        self.trace = hashlib.sha256()
        self.on_the_way: list[tuple[datetime, str, Decimal]] = []
        self.quotes_are_old = False
        self.sends: Counter[str] = Counter()
        self.committed_before_send: set[str] = set()
        self.sent_against: list[str] = []
        self.wishes: dict[str, Wish] = {}
        self.deaths = 0
        self.lost_locks = 0
        self.failed_commits = 0
        self.stopped = 0
        self._intents = 0

    def run(self) -> list[str]:
        epoch = self._begin_until_it_lives()
        for number in range(FAULTY_STEPS + QUIET_STEPS_MAX):
            self.faulty = number < FAULTY_STEPS
            if not self.faulty:
                self.venue.finish()
            try:
                self._people()
                if self._happens(0.03):
                    # Another process takes the account; this one does not know it yet.
                    stale, epoch = epoch, self._begin()
                    self._turn(stale)
                self._turn(epoch)
            except Crash:
                self.deaths += 1
                epoch = self._begin_until_it_lives()
            self._time_passes()
            if not self.faulty and self._settled():
                break
        return self._faults()

    # The world.

    def _happens(self, chance: float) -> bool:
        return self.rng.random() < chance and self.faulty

    def _people(self) -> None:
        """Let somebody halt, reduce or re-arm, and quotes grow old or come again."""
        if self._happens(0.06):
            self._set_mode(self.rng.choice(list(TradingMode)))
        elif not self.faulty and self.tables.mode != TradingMode.ACTIVE:
            self._set_mode(TradingMode.ACTIVE)
        self.quotes_are_old = self._happens(0.1)

    def _set_mode(self, mode: TradingMode) -> None:
        def change(tables: Tables) -> None:
            tables.mode = mode

        self._commit(change)

    def _allowed(self, client_id: str) -> bool:
        """Return whether the kill switch and the quotes let this order be sent now."""
        mode = self.tables.mode
        if self.wishes[client_id].closes:
            return mode != TradingMode.HALTED
        return mode == TradingMode.ACTIVE and not self.quotes_are_old

    def _time_passes(self) -> None:
        self.now += timedelta(seconds=self.rng.uniform(0.05, 1.0))
        if self.faulty:
            self.venue.pass_time()
            self._neighbour_trades()
        for arrival in [one for one in self.on_the_way if one[0] <= self.now]:
            self.on_the_way.remove(arrival)
            self._deliver(arrival[1], arrival[2])

    def _neighbour_trades(self) -> None:
        number = len(self.neighbour.orders) + 1
        if number <= NEIGHBOUR_ORDERS_MAX:
            self.neighbour.take(f"o{number}", Decimal(1000), Wish())
        self.neighbour.pass_time()

    def _neighbours_answer(self) -> list[Told]:
        """Return as much as is believed of an answer that is about the neighbour's account."""
        self.misrouted += 1
        told = self.neighbour.ledger[self.tables.last_transaction :]
        if self.mistake is Mistake.EVERY_LINE_IS_OURS:
            return told
        return [one for one in told if one.account == OURS]

    def _point(self, name: str) -> None:
        """A place at which the process may die."""
        self.trace.update(f"{name} {self.now.timestamp():.3f}\n".encode())
        if self._happens(0.02):
            raise Crash

    def _commit(self, change: Callable[[Tables], None]) -> None:
        """Run a transaction: it may fail and be run again, and its process may die around it."""
        for _ in range(COMMIT_TRIES):
            draft = self.tables.copy()
            change(draft)
            self._point("before commit")
            if not self._happens(0.06):
                self.tables = draft
                self._point("after commit")
                return
            self.failed_commits += 1  # a deadlock or such: nothing of the draft stays
        raise Crash

    # The trader: nothing here knows a rule of states, all of them are in `step`.

    def _begin_until_it_lives(self) -> int:
        while True:
            try:
                return self._begin()
            except Crash:
                self.deaths += 1

    def _begin(self) -> int:
        def take(tables: Tables) -> None:
            tables.epoch += 1
            for client_id, record in list(tables.orders.items()):
                if record.state in (_S.SENDING, _S.CANCEL_PENDING, _S.REPLACE_PENDING):
                    self._step(tables, client_id, Restarted())

        self._commit(take)
        return self.tables.epoch

    def _turn(self, epoch: int) -> None:
        if self.faulty and self._intents < 12 and self.rng.random() < 0.4:
            self._intend()
        if self._happens(0.3) and self.tables.orders:
            self._wish(self.rng.choice(sorted(self.tables.orders)))
        if self._happens(0.4) and self._intents < 16:
            self._wish_change()
        for client_id in sorted(self.tables.orders):
            self._work(client_id, epoch)
        self._read()

    def _intend(self, *, replaces: str = "") -> None:
        """Want an order: an entry, one that reduces first, or the close of a trade."""
        self._intents += 1
        client_id = f"o{self._intents}"
        units = Decimal(self.rng.choice([-2000, -1000, 1000, 2000]))
        wish = Wish(replaces=replaces, reduces=self.rng.random() < 0.3)
        trades = sorted(trade for trade, held in self.tables.trades.items() if held)
        if not replaces and trades and self.rng.random() < 0.4:
            trade_id = self.rng.choice(trades)
            held = self.tables.trades[trade_id]
            part = held if self.rng.random() < 0.6 else (held / 2).to_integral_value()
            if part:
                wish, units = Wish(closes=trade_id), -part
        self.wishes[client_id] = wish
        record = OrderRecord(client_id=client_id, units=units)

        def insert(tables: Tables) -> None:
            tables.orders[record.client_id] = record
            tables.log.append((record.client_id, record.state))

        self._commit(insert)

    def _wish(self, client_id: str) -> None:
        def wish(tables: Tables) -> None:
            record = tables.orders[client_id]
            if record.state not in TERMINAL:
                tables.orders[client_id] = replace(record, cancel_wanted=True)

        self._commit(wish)

    def _wish_change(self) -> None:
        """Want another order in the place of one that works and is not being changed."""
        changing = {
            self.wishes[cid].replaces
            for cid, record in self.tables.orders.items()
            if record.state not in TERMINAL
        }
        works = [
            cid
            for cid, record in sorted(self.tables.orders.items())
            if record.state in (_S.ACCEPTED, _S.PARTIAL)
            and not record.cancel_wanted
            and cid not in changing
        ]
        if works:
            self._intend(replaces=self.rng.choice(works))

    def _work(self, client_id: str, epoch: int) -> None:
        record = self.tables.orders[client_id]
        state = record.state
        if record.cancel_wanted and state in (_S.CREATED, _S.QUEUED, _S.ACCEPTED, _S.PARTIAL):
            self._withdraw(client_id)
        elif state == _S.CREATED:
            self._commit(lambda tables: self._judge(tables, client_id))
        elif state == _S.QUEUED:
            self._send(client_id, epoch)
        elif state in (_S.UNKNOWN, _S.CHANGE_UNKNOWN):
            self._look_up(client_id)

    def _judge(self, tables: Tables, client_id: str) -> None:
        denied = self.rng.random() < 0.1 or bool(tables.halted) or not self._allowed(client_id)
        self._step(tables, client_id, Judged("size", "too big") if denied else Judged())

    def _send(self, client_id: str, epoch: int) -> None:
        if self.mistake is Mistake.SEND_BEFORE_COMMIT:
            self._network(client_id, self.tables.orders[client_id].units)
        claimed = []

        def claim(tables: Tables) -> None:
            claimed.clear()
            if tables.epoch != epoch or tables.orders[client_id].state != _S.QUEUED:
                return
            if not self._allowed(client_id):
                return
            if replaced := self.wishes[client_id].replaces:
                old = tables.orders[replaced]
                if old.state not in (_S.ACCEPTED, _S.PARTIAL) or old.cancel_wanted:
                    self._step(tables, client_id, Lapsed())
                    return
                self._step(tables, old.client_id, Replacing())
            claimed.append(self._step(tables, client_id, Claimed()))

        self._commit(claim)
        if not any(isinstance(effect, Send) for effects in claimed for effect in effects):
            return
        if self._happens(0.05):
            # Stopped for a long time between claim and send; meanwhile another took the account.
            self._time_passes()
            self._begin()
        if self._happens(0.05):
            # The connection that holds the account's lock is gone: nothing is sent, and the next
            # heartbeat ends the process.
            self.lost_locks += 1
            self._doubt(client_id)
            raise Crash
        if self._happens(0.06):
            self._set_mode(TradingMode.HALTED)  # somebody halts between claim and send
        if self._happens(0.03):
            self.quotes_are_old = True
        if self.tables.epoch != epoch:
            return  # the lease is looked at right before the write; the taker settles the order
        if not self._allowed(client_id) and self.mistake is not Mistake.SEND_WITHOUT_A_LAST_LOOK:
            self.stopped += 1
            self._unsent(client_id)
            return
        try:
            self._post(client_id)
        except Lost:
            self._doubt(client_id)

    def _unsent(self, client_id: str) -> None:
        """End an entry of which nothing was written; what reduces is left in doubt for a while."""

        def end(tables: Tables) -> None:
            self._step(tables, client_id, Doubted("nothing was written"))
            if not self.wishes[client_id].closes:
                self._step(tables, client_id, Unsent("nothing was written"))

        self._commit(end)
        self._doubt_replaced(client_id)

    def _doubt(self, client_id: str) -> None:
        if self.mistake is Mistake.TIMEOUT_IS_REJECTION:
            number = 10_000 + len(self.tables.log)
            self._commit(lambda t: self._drop(t, client_id, Rejected(number, "timeout")))
            return
        if self.mistake is Mistake.NO_ANSWER_IS_UNSENT:
            self._unsent(client_id)
            return
        reason = "no answer"
        if self.mistake is Mistake.DOUBTS_TELL_THE_REQUEST:
            reason = f"no answer to {client_id} with Authorization: Bearer {self.token}"
        self._commit(lambda tables: self._drop(tables, client_id, Doubted(reason)))
        self._doubt_replaced(client_id)
        if self.mistake is Mistake.RESEND_ON_DOUBT:
            again = f"{client_id}-again"  # a new id, as bots make one for each try
            self.wishes[again] = self.wishes[client_id]
            self.committed_before_send.add(again)
            self._network(again, self.tables.orders[client_id].units)

    def _doubt_replaced(self, client_id: str) -> None:
        """Doubt the order whose place this one was to take, if it was not answered."""
        old_id = self.wishes[client_id].replaces
        if old_id and self.tables.orders[old_id].state == _S.REPLACE_PENDING:
            if self.mistake is Mistake.UNANSWERED_CHANGE_IS_REFUSED:
                number = 20_000 + len(self.tables.log)
                self._commit(lambda t: self._drop(t, old_id, CancelRefused(number, "timeout")))
                return
            self._commit(lambda tables: self._drop(tables, old_id, Doubted("no answer")))

    def _post(self, client_id: str) -> None:
        """Send once; raise Lost whenever the answer is not clear."""
        record = self.tables.orders[client_id]
        if record.state == _S.SENDING:
            self.committed_before_send.add(client_id)
        self._point("before send")
        facts = self._network(client_id, record.units)
        self._point("after answer")
        if not facts:
            raise Lost
        self._apply(facts)
        if self.tables.orders[client_id].state == _S.SENDING:
            raise Lost
        self._doubt_replaced(client_id)

    def _network(self, client_id: str, units: Decimal) -> list[Told]:
        self.sends[client_id] += 1
        if not self._allowed(client_id):
            self.sent_against.append(client_id)
        if self._happens(0.1):
            return []  # never left
        if self._happens(0.15):
            arrives = self.now + timedelta(seconds=self.rng.uniform(0.1, ARRIVES_AT_MOST_S))
            self.on_the_way.append((arrives, client_id, units))
            return []  # on its way when the client gives up
        facts = self._deliver(client_id, units)
        if self._happens(0.2):
            return []  # accepted, and the answer is cut
        return list(facts)

    def _deliver(self, client_id: str, units: Decimal) -> list[Told]:
        """Let a send arrive at the venue."""
        wish = self.wishes[client_id]
        if wish.replaces:
            return self.venue.replace(client_id, units, wish)
        return self.venue.take(client_id, units, wish)

    def _withdraw(self, client_id: str) -> None:
        asked = []

        def withdraw(tables: Tables) -> None:
            asked.clear()
            asked.append(self._step(tables, client_id, Withdrawn()))

        self._commit(withdraw)
        if not any(isinstance(effect, Cancel) for effects in asked for effect in effects):
            return
        if self._happens(0.2):
            self._commit(lambda tables: self._drop(tables, client_id, Doubted("cut")))
            return
        facts = self.venue.cancel(client_id)
        if self._happens(0.2):
            self._commit(lambda tables: self._drop(tables, client_id, Doubted("cut")))
        else:
            self._apply(list(facts))

    def _look_up(self, client_id: str) -> None:
        if self._happens(0.1):
            return  # the venue does not answer; nothing is learnt
        lag = timedelta(seconds=self.rng.uniform(0, LAG_AT_MOST_S) if self._happens(0.2) else 0)
        found = self.venue.look_up(client_id, lag=lag)
        self._apply(
            [
                told
                for told in self.venue.ledger[self.tables.last_transaction :]
                if told.at + lag <= self.now
            ]
        )
        if self.tables.orders[client_id].state not in (_S.UNKNOWN, _S.CHANGE_UNKNOWN):
            return
        successors = [cid for cid, wish in self.wishes.items() if wish.replaces == client_id]
        states = [self.tables.orders[cid].state for cid in successors if cid in self.tables.orders]
        if _S.SENDING in states or _S.UNKNOWN in states:
            return  # the change may still arrive; it is settled by the order that it makes
        if found is None:
            self._commit(lambda tables: self._absent(tables, client_id))
        elif found.working:
            order_id = found.order_id
            self._commit(lambda tables: self._drop(tables, client_id, Found(order_id)))

    def _absent(self, tables: Tables, client_id: str) -> None:
        timing = TIMING
        if self.mistake is Mistake.ONE_READ_IS_ABSENCE:
            timing = Timing(late=timedelta(0), read_gap=timedelta(0))
            self._step(tables, client_id, Absent(send_closed=True), timing)
        elif self.mistake is Mistake.NO_LATE_TIME:
            timing = Timing(late=timedelta(0), read_gap=TIMING.read_gap)
        if tables.orders[client_id].state == _S.UNKNOWN:
            self._step(tables, client_id, Absent(send_closed=True), timing)

    def _read(self) -> None:
        """Read the transactions since the last applied one, as the venue's stream tells them."""
        told = self.venue.ledger[self.tables.last_transaction :]
        if self.faulty and self.beside.random() < 0.1:
            told = self._neighbours_answer()
        if not told:
            return
        if self._happens(0.3):
            told += self.rng.choices(told, k=2)  # twice
        if self._happens(0.3):
            self.rng.shuffle(told)
        if self._happens(0.2):
            told = told[1:]  # one is missing
        self._apply(told)

    def _apply(self, lines: list[Told]) -> None:
        """Apply what follows without a gap; the rest is read again later."""

        def apply(tables: Tables) -> None:
            for told in sorted(lines, key=lambda one: one.fact.transaction_id):
                number = told.fact.transaction_id
                if self.mistake is not Mistake.FACTS_ARE_NOT_DEDUPLICATED:
                    if number <= tables.last_transaction:
                        continue
                    if number != tables.last_transaction + 1:
                        break
                tables.last_transaction = max(number, tables.last_transaction)
                if told.account != OURS:
                    tables.neighbours.append(number)
                client_id = self._name(tables, told)
                if client_id in tables.orders:
                    self._fact(tables, client_id, told)
                elif told.closes or told.trades:
                    tables.nobodys.append(number)

        if lines:
            self._commit(apply)

    def _name(self, tables: Tables, told: Told) -> str:
        """Return whose a line is: by the venue's id, by our name, or the close that waits."""
        venue_id = getattr(told.fact, "venue_order_id", "")
        for client_id, record in tables.orders.items():
            if venue_id and record.venue_order_id == venue_id:
                return client_id
        if told.client_id or not told.closes:
            return told.client_id
        size = told.size
        if self.mistake is Mistake.ANY_CLOSE_IS_THE_CLOSE:
            size = Decimal(0)
        waiting = [
            (cid, record.units)
            for cid, record in tables.orders.items()
            if self.wishes[cid].closes == told.closes
            and record.state in (_S.SENDING, _S.UNKNOWN)
            and not record.venue_order_id
        ]
        return close_answered(waiting, size) or ""

    def _fact(self, tables: Tables, client_id: str, told: Told) -> None:
        fact, wanted_gone = told.fact, tables.orders[client_id].cancel_wanted
        effects = self._step(tables, client_id, fact)
        for effect in effects:
            if isinstance(effect, ApplyFill):
                self._fill(tables, effect, told)
        old_id = self.wishes[client_id].replaces
        if old_id and tables.orders[client_id].state == _S.REJECTED:
            # The venue refused the change as a whole: what was to be replaced works on.
            self._step(tables, old_id, CancelRefused(fact.transaction_id, "refused"))
        if isinstance(fact, Replaced) and wanted_gone:
            for cid, wish in self.wishes.items():
                if wish.replaces == client_id and cid in tables.orders:
                    record = tables.orders[cid]
                    if record.state not in TERMINAL:
                        tables.orders[cid] = replace(record, cancel_wanted=True)

    def _fill(self, tables: Tables, fill: ApplyFill, told: Told) -> None:
        """Book a fill to the sides and trades that it changes."""
        opened = sum((one.units for one in told.trades if one.opens), Decimal(0))
        hedging = self.hedging and self.mistake is not Mistake.SIDES_ARE_NETTED
        for side, units in sides_of(fill.units, opened=opened, hedging=hedging):
            before = tables.sides.get(side, NetPosition())
            tables.sides[side] = apply_fill(before, units=units, price=fill.price)
        for change in told.trades:
            held = tables.trades.get(change.trade_id, Decimal(0))
            tables.trades[change.trade_id] = held + change.units
        tables.fills.append(fill.transaction_id)

    def _drop(self, tables: Tables, client_id: str, event: OrderEvent) -> None:
        self._step(tables, client_id, event)

    def _step(
        self, tables: Tables, client_id: str, event: OrderEvent, timing: Timing = TIMING
    ) -> tuple[Effect, ...]:
        before = tables.orders[client_id]
        if self.mistake is Mistake.FACTS_ARE_NOT_DEDUPLICATED:
            before = replace(before, applied=frozenset())
        result = step(before, event, self.now, timing)
        tables.orders[client_id] = result.order
        self.trace.update(f"{client_id} {type(event).__name__} {result.order.state}\n".encode())
        if self.token in f"{event} {result.effects}":
            self.leaks.append(f"{type(event).__name__} of {client_id}")
        if result.order.state != before.state:
            tables.log.append((client_id, result.order.state))
        for effect in result.effects:
            if isinstance(effect, HaltAccount):
                tables.halted = effect.reason
        return result.effects

    # The checker.

    def _settled(self) -> bool:
        unsettled = (
            _S.CREATED,
            _S.QUEUED,
            _S.SENDING,
            _S.UNKNOWN,
            _S.CHANGE_UNKNOWN,
            _S.CANCEL_PENDING,
            _S.REPLACE_PENDING,
        )
        return (
            not self.on_the_way
            # An order that was sent in the last quiet step still works: it must end first.
            and not any(order.working for order in self.venue.orders)
            and self.tables.last_transaction >= len(self.venue.ledger)
            and not any(record.state in unsettled for record in self.tables.orders.values())
        )

    def _faults(self) -> list[str]:
        tables = self.tables
        faults = [*self._sending_faults(), *self._end_faults(), *self._book_faults()]
        replayed: dict[str, OrderState] = {}
        for cid, state in tables.log:
            before = replayed.get(cid)
            if before is not None and state not in TRANSITIONS[before]:
                faults.append(f"I7 {cid} from {before} to {state}")
            replayed[cid] = state
        if replayed != {cid: record.state for cid, record in tables.orders.items()}:
            faults.append("I5 the log does not end in what the tables say")
        faults += [f"I9 transaction {one} is another account's" for one in tables.neighbours]
        faults += [f"I10 the token is told by {where}" for where in self.leaks]
        if tables.halted:
            faults.append(f"halted without cause: {tables.halted}")
        return faults

    def _sending_faults(self) -> Iterator[str]:
        taken = Counter(order.client_id for order in self.venue.orders)
        yield from (f"I1 {cid} {count} times" for cid, count in taken.items() if count > 1)
        yield from (f"I1 {cid} sent twice" for cid, count in self.sends.items() if count > 1)
        for cid in taken:
            if f"{cid}-again" in taken:
                yield f"I1 {cid} and {cid}-again are one intent"
            if cid.removesuffix("-again") not in self.tables.orders:
                yield f"I8 {cid} without intent"
        yield from (f"I8 transaction {number} is nobody's" for number in self.tables.nobodys)
        yield from (f"I6 {cid} was sent against a halt" for cid in self.sent_against)
        for cid in self.sends:
            if cid not in self.committed_before_send:
                yield f"I8 {cid} was sent before its claim"

    def _end_faults(self) -> Iterator[str]:
        """Compare how each order ended. Closes of one trade by one size are alike."""
        ends = self._ends()
        alike: dict[tuple[str, Decimal], list[str]] = defaultdict(list)
        for cid, record in self.tables.orders.items():
            there = ends.get(cid)
            if record.state in AT_VENUE:
                yield f"I2 {cid} is still {record.state}"
            elif self.wishes[cid].closes:
                alike[self.wishes[cid].closes, abs(record.units)].append(cid)
            elif there is not None and record.state != there:
                yield f"I2 {cid} is {record.state}, at the venue {there}"
            elif there is None and record.state in SAID_BY_VENUE:
                yield f"I2 {cid} is {record.state}, the venue knows nothing of it"
        for (trade_id, size), cids in alike.items():
            for state in (_S.FILLED, _S.REJECTED):
                here = sum(self.tables.orders[cid].state == state for cid in cids)
                there_too = sum(ends.get(cid) == state for cid in cids)
                if here != there_too:
                    yield (
                        f"I2 closes of {size} of trade {trade_id}: {here} {state}, "
                        f"at the venue {there_too}"
                    )

    def _ends(self) -> dict[str, OrderState]:
        """Return the state in which the venue's ledger leaves each order that was sent."""
        kinds = {
            Cancelled: _S.CANCELLED,
            Expired: _S.EXPIRED,
            Rejected: _S.REJECTED,
            Replaced: _S.REPLACED,
        }
        ends: dict[str, OrderState] = {}
        for told in self.venue.ledger:
            if isinstance(told.fact, Filled):
                if told.fact.final:
                    ends[self._sender(told)] = _S.FILLED
            elif type(told.fact) in kinds:
                ends[self._sender(told)] = kinds[type(told.fact)]
        return ends

    def _sender(self, told: Told) -> str:
        if told.client_id:
            return told.client_id
        venue_id = getattr(told.fact, "venue_order_id", "")
        sent_as = self.venue.sent_as
        return sent_as.get(int(venue_id or told.fact.transaction_id), "")

    def _book_faults(self) -> Iterator[str]:
        """Compare sides and trades, and that each fill was booked once."""
        tables, venue = self.tables, self.venue
        sides = {side: held.units for side, held in tables.sides.items() if held.units}
        if sides != venue.sides:
            yield f"I3 {_shown(sides)}, the venue has {_shown(venue.sides)}"
        trades = {trade: units for trade, units in tables.trades.items() if units}
        reported = {trade: units for trade, units in venue.trades.items() if units}
        if trades != reported:
            yield f"I3 trades {_shown(trades)}, the venue has {_shown(reported)}"
        if sides != held_of(tables.trades, hedging=self.hedging):
            yield f"I3 {_shown(sides)}, our trades are {_shown(trades)}"
        told = [line.fact for line in venue.ledger if isinstance(line.fact, Filled)]
        numbers = [fact.transaction_id for fact in told]
        if sorted(tables.fills) != numbers:
            yield f"I4 applied {sorted(tables.fills)}, told {numbers}"
        filled = sum((record.filled_units for record in tables.orders.values()), Decimal(0))
        if filled != sum((fact.units for fact in told), Decimal(0)):
            yield f"I4 the orders say that {filled} were filled"


def _shown(units: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{name} {held}" for name, held in sorted(units.items())) or "nothing"


def run_schedule(seed: int, mistake: Mistake = Mistake.NONE) -> tuple[list[str], str]:
    """Return the faults of one schedule and the hash of its trace."""
    schedule = Schedule(seed, mistake)
    faults = schedule.run()
    return faults, schedule.trace.hexdigest()
