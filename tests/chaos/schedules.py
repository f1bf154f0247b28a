"""Fault schedules: the order core between a store that loses and a venue that is hard to hear.

One schedule is one seed. A trader made of nothing but `sep_engine.execution` works against a venue
with a ledger of its own, on a virtual clock, while the seed decides where answers are lost, sends
and changes arrive late, reads lag, transactions come twice or out of order, commits fail because of
other transactions, the account's lock is lost, the process dies and another one takes the account.
When the faults end and nothing is in doubt any more, both sides are compared.

A schedule is deterministic: the same seed gives the same trace, and so the same hash.

`Mistake` names ways of getting it wrong that other systems have shipped. A schedule can be run with
one of them, to see that the checker finds it.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto

from sep_engine.execution.core import (
    Absent,
    Accepted,
    ApplyFill,
    Cancel,
    Cancelled,
    CancelRefused,
    Claimed,
    Doubted,
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
    Withdrawn,
    step,
)
from sep_engine.execution.positions import NetPosition, apply_fill
from sep_engine.execution.states import AT_VENUE, TERMINAL, TRANSITIONS, OrderState

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


class Crash(Exception):
    """The trader's process ends here."""


class Lost(Exception):
    """The client has no answer: timeout, reset, 5xx or a body that cannot be read."""


@dataclass
class VenueOrder:
    order_id: str
    client_id: str
    units: Decimal
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
    ledger: list[tuple[str, Fact]] = field(default_factory=list)
    orders: list[VenueOrder] = field(default_factory=list)
    position: Decimal = Decimal(0)

    def take(self, client_id: str, units: Decimal, now: datetime) -> list[tuple[str, Fact]]:
        known = [order for order in self.orders if order.client_id == client_id]
        if any(order.working or self.ids_for_ever for order in known):
            return []
        first = len(self.ledger)
        if self.rng.random() < 0.1:
            self._write(client_id, Rejected(self._next(), "INSUFFICIENT_MARGIN"))
            return self.ledger[first:]
        number = self._next()
        order = VenueOrder(str(number), client_id, units)
        order.seen_from = now + timedelta(seconds=self.rng.uniform(0, LAG_AT_MOST_S))
        self.orders.append(order)
        self._write(client_id, Accepted(number, order.order_id))
        if self.rng.random() < 0.5:
            self._fill(order)
        return self.ledger[first:]

    def replace(
        self, old_id: str, client_id: str, units: Decimal, now: datetime
    ) -> list[tuple[str, Fact]]:
        """Put another order in the place of one that works, in one step, or change nothing."""
        old = next((one for one in self.orders if one.client_id == old_id and one.working), None)
        if old is None or any(one.client_id == client_id for one in self.orders):
            return []
        first = len(self.ledger)
        if self.rng.random() < 0.15:
            self._write(client_id, Rejected(self._next(), "REPLACING_ORDER_INVALID"))
            return self.ledger[first:]
        self._end(old, Replaced(self._next(), old.order_id))
        self.take(client_id, units, now)
        return self.ledger[first:]

    def cancel(self, client_id: str) -> list[tuple[str, Fact]]:
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

    def look_up(self, client_id: str, now: datetime) -> VenueOrder | None:
        for order in self.orders:
            if order.client_id == client_id and order.seen_from <= now:
                return order
        return None

    def _fill(self, order: VenueOrder) -> None:
        left = order.units - order.filled
        part = left if self.rng.random() < 0.6 else left / 2
        order.filled += part
        self.position += part
        final = order.filled == order.units
        order.working = not final
        price = Decimal(self.rng.randrange(105_000, 115_000)) / 100_000
        self._write(order.client_id, Filled(self._next(), order.order_id, part, price, final))

    def _end(self, order: VenueOrder, fact: Fact) -> None:
        order.working = False
        self._write(order.client_id, fact)

    def _next(self) -> int:
        return len(self.ledger) + 1

    def _write(self, client_id: str, fact: Fact) -> None:
        self.ledger.append((client_id, fact))


@dataclass
class Tables:
    """What is committed."""

    orders: dict[str, OrderRecord] = field(default_factory=dict)
    position: NetPosition = field(default_factory=NetPosition)
    fills: list[int] = field(default_factory=list)
    last_transaction: int = 0
    log: list[tuple[str, OrderState]] = field(default_factory=list)
    epoch: int = 0
    halted: str = ""

    def copy(self) -> "Tables":
        return Tables(
            dict(self.orders),
            self.position,
            list(self.fills),
            self.last_transaction,
            list(self.log),
            self.epoch,
            self.halted,
        )


class Schedule:
    """One seed's run; `run` returns the faults that the checker found."""

    def __init__(self, seed: int, mistake: Mistake = Mistake.NONE) -> None:
        self.rng = random.Random(seed)
        self.mistake = mistake
        self.venue = Venue(self.rng, ids_for_ever=self.rng.random() < 0.5)
        self.tables = Tables()
        self.now = _START
        self.faulty = True
        self.trace = hashlib.sha256()
        self.on_the_way: list[tuple[datetime, str, Decimal]] = []
        self.sends: Counter[str] = Counter()
        self.committed_before_send: set[str] = set()
        self.replaces: dict[str, str] = {}
        self.deaths = 0
        self.lost_locks = 0
        self.failed_commits = 0
        self._intents = 0

    def run(self) -> list[str]:
        epoch = self._begin_until_it_lives()
        for number in range(FAULTY_STEPS + QUIET_STEPS_MAX):
            self.faulty = number < FAULTY_STEPS
            if not self.faulty:
                self.venue.finish()
            try:
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

    def _time_passes(self) -> None:
        self.now += timedelta(seconds=self.rng.uniform(0.05, 1.0))
        if self.faulty:
            self.venue.pass_time()
        for arrival in [one for one in self.on_the_way if one[0] <= self.now]:
            self.on_the_way.remove(arrival)
            self._deliver(arrival[1], arrival[2])

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
        self._intents += 1
        if replaces:
            self.replaces[f"o{self._intents}"] = replaces
        record = OrderRecord(
            client_id=f"o{self._intents}",
            units=Decimal(self.rng.choice([-2000, -1000, 1000, 2000])),
        )

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
            self.replaces.get(cid)
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
        denied = self.rng.random() < 0.1 or bool(tables.halted)
        self._step(tables, client_id, Judged("size", "too big") if denied else Judged())

    def _send(self, client_id: str, epoch: int) -> None:
        if self.mistake is Mistake.SEND_BEFORE_COMMIT:
            self._network(client_id, self.tables.orders[client_id].units)
        claimed = []

        def claim(tables: Tables) -> None:
            claimed.clear()
            if tables.epoch != epoch or tables.orders[client_id].state != _S.QUEUED:
                return
            if client_id in self.replaces:
                old = tables.orders[self.replaces[client_id]]
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
        if self._happens(0.03):
            # The connection that holds the account's lock is gone: nothing is sent, and the next
            # heartbeat ends the process.
            self.lost_locks += 1
            self._doubt(client_id)
            raise Crash
        if self.tables.epoch != epoch:
            return  # the lease is looked at right before the write; the taker settles the order
        try:
            self._post(client_id)
        except Lost:
            self._doubt(client_id)

    def _doubt(self, client_id: str) -> None:
        if self.mistake is Mistake.TIMEOUT_IS_REJECTION:
            number = 10_000 + len(self.tables.log)
            self._commit(lambda t: self._drop(t, client_id, Rejected(number, "timeout")))
            return
        self._commit(lambda tables: self._drop(tables, client_id, Doubted("no answer")))
        self._doubt_replaced(client_id)
        if self.mistake is Mistake.RESEND_ON_DOUBT:
            again = f"{client_id}-again"  # a new id, as bots make one for each try
            self.committed_before_send.add(again)
            self._network(again, self.tables.orders[client_id].units)

    def _doubt_replaced(self, client_id: str) -> None:
        """Doubt the order whose place this one was to take, if it was not answered."""
        old_id = self.replaces.get(client_id)
        if old_id is not None and self.tables.orders[old_id].state == _S.REPLACE_PENDING:
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

    def _network(self, client_id: str, units: Decimal) -> list[tuple[str, Fact]]:
        self.sends[client_id] += 1
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

    def _deliver(self, client_id: str, units: Decimal) -> list[tuple[str, Fact]]:
        """Let a send arrive at the venue."""
        if client_id in self.replaces:
            return self.venue.replace(self.replaces[client_id], client_id, units, self.now)
        return self.venue.take(client_id, units, self.now)

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
        lagging = self._happens(0.2)
        found = None if lagging else self.venue.look_up(client_id, self.now)
        self._read(lagging=lagging)
        if self.tables.orders[client_id].state not in (_S.UNKNOWN, _S.CHANGE_UNKNOWN):
            return
        successors = [cid for cid, old_id in self.replaces.items() if old_id == client_id]
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

    def _read(self, *, lagging: bool = False) -> None:
        """Read the transactions since the last applied one, as the venue's stream tells them."""
        if lagging:
            return
        facts = self.venue.ledger[self.tables.last_transaction :]
        if not facts:
            return
        told = list(facts)
        if self._happens(0.3):
            told += self.rng.choices(facts, k=2)  # twice
        if self._happens(0.3):
            self.rng.shuffle(told)
        if self._happens(0.2):
            told = told[1:]  # one is missing
        self._apply(told)

    def _apply(self, told: list[tuple[str, Fact]]) -> None:
        """Apply what follows without a gap; the rest is read again later."""

        def apply(tables: Tables) -> None:
            for client_id, fact in sorted(told, key=lambda one: one[1].transaction_id):
                number = fact.transaction_id
                if self.mistake is not Mistake.FACTS_ARE_NOT_DEDUPLICATED:
                    if number <= tables.last_transaction:
                        continue
                    if number != tables.last_transaction + 1:
                        break
                tables.last_transaction = max(number, tables.last_transaction)
                if client_id in tables.orders:
                    self._fact(tables, client_id, fact)

        self._commit(apply)

    def _fact(self, tables: Tables, client_id: str, fact: Fact) -> None:
        wanted_gone = tables.orders[client_id].cancel_wanted
        self._step(tables, client_id, fact)
        old_id = self.replaces.get(client_id)
        if old_id is not None and tables.orders[client_id].state == _S.REJECTED:
            # The venue refused the change as a whole: what was to be replaced works on.
            self._step(tables, old_id, CancelRefused(fact.transaction_id, "refused"))
        if isinstance(fact, Replaced) and wanted_gone:
            for cid, old in self.replaces.items():
                if old == client_id and cid in tables.orders:
                    record = tables.orders[cid]
                    if record.state not in TERMINAL:
                        tables.orders[cid] = replace(record, cancel_wanted=True)

    def _drop(self, tables: Tables, client_id: str, event: OrderEvent) -> None:
        self._step(tables, client_id, event)

    def _step(
        self, tables: Tables, client_id: str, event: OrderEvent, timing: Timing = TIMING
    ) -> tuple[object, ...]:
        before = tables.orders[client_id]
        if self.mistake is Mistake.FACTS_ARE_NOT_DEDUPLICATED:
            before = replace(before, applied=frozenset())
        result = step(before, event, self.now, timing)
        tables.orders[client_id] = result.order
        self.trace.update(f"{client_id} {type(event).__name__} {result.order.state}\n".encode())
        if result.order.state != before.state:
            tables.log.append((client_id, result.order.state))
        for effect in result.effects:
            if isinstance(effect, ApplyFill):
                tables.position = apply_fill(
                    tables.position, units=effect.units, price=effect.price
                )
                tables.fills.append(effect.transaction_id)
            elif isinstance(effect, HaltAccount):
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
        tables, ledger = self.tables, self.venue.ledger
        faults = []
        taken = Counter(order.client_id for order in self.venue.orders)
        faults += [f"I1 {cid} {count} times" for cid, count in taken.items() if count > 1]
        faults += [f"I1 {cid} sent twice" for cid, count in self.sends.items() if count > 1]
        intents = {cid.removesuffix("-again"): cid for cid in taken}
        for cid in taken:
            twin = f"{cid}-again"
            if twin in taken:
                faults.append(f"I1 {cid} and {twin} are one intent")
        faults += [f"I8 {cid} without intent" for cid in intents if cid not in tables.orders]
        faults += [
            f"I8 {cid} was sent before its claim"
            for cid in self.sends
            if cid not in self.committed_before_send
        ]
        ends: dict[str, OrderState] = {}
        kinds = {
            Cancelled: _S.CANCELLED,
            Expired: _S.EXPIRED,
            Rejected: _S.REJECTED,
            Replaced: _S.REPLACED,
        }
        for cid, fact in ledger:
            if isinstance(fact, Filled):
                if fact.final:
                    ends[cid] = _S.FILLED
            elif type(fact) in kinds:
                ends[cid] = kinds[type(fact)]
        for cid, record in tables.orders.items():
            there = ends.get(cid)
            if record.state in AT_VENUE:
                faults.append(f"I2 {cid} is still {record.state}")
            elif there is not None and record.state != there:
                faults.append(f"I2 {cid} is {record.state}, at the venue {there}")
            elif there is None and record.state in SAID_BY_VENUE:
                faults.append(f"I2 {cid} is {record.state}, the venue knows nothing of it")
        if tables.position.units != self.venue.position:
            faults.append(f"I3 {tables.position.units}, the venue has {self.venue.position}")
        told = [fact.transaction_id for _, fact in ledger if isinstance(fact, Filled)]
        if sorted(tables.fills) != told:
            faults.append(f"I4 applied {sorted(tables.fills)}, told {told}")
        replayed: dict[str, OrderState] = {}
        for cid, state in tables.log:
            before = replayed.get(cid)
            if before is not None and state not in TRANSITIONS[before]:
                faults.append(f"I7 {cid} from {before} to {state}")
            replayed[cid] = state
        if replayed != {cid: record.state for cid, record in tables.orders.items()}:
            faults.append("I5 the log does not end in what the tables say")
        if tables.halted:
            faults.append(f"halted without cause: {tables.halted}")
        return faults


def run_schedule(seed: int, mistake: Mistake = Mistake.NONE) -> tuple[list[str], str]:
    """Return the faults of one schedule and the hash of its trace."""
    schedule = Schedule(seed, mistake)
    faults = schedule.run()
    return faults, schedule.trace.hexdigest()
