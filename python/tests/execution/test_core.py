"""The order core: what it does, and what no sequence of events can make it do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_engine.errors import IllegalTransition
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
    LookUp,
    OrderEvent,
    OrderRecord,
    Rejected,
    Replaced,
    Replacing,
    Restarted,
    Send,
    Step,
    Timing,
    Unsent,
    Withdrawn,
    step,
)
from sep_engine.execution.states import TERMINAL, TRANSITIONS, UNSENT, OrderState

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TIMING = Timing(late=timedelta(seconds=10), read_gap=timedelta(seconds=2))
S = OrderState


def order(state: OrderState = S.CREATED, **fields: object) -> OrderRecord:
    doubt = NOW if state in (S.UNKNOWN, S.CHANGE_UNKNOWN) else None
    record = OrderRecord(client_id="a", units=Decimal(1000), state=state, doubt_since=doubt)
    return replace(record, **fields)  # type: ignore[arg-type]


def run(record: OrderRecord, *events: OrderEvent, at: datetime = NOW) -> Step:
    result = Step(record)
    effects: list[object] = []
    for event in events:
        result = step(result.order, event, at, TIMING)
        effects += result.effects
    return Step(result.order, tuple(effects))  # type: ignore[arg-type]


def fill(number: int, units: int, price: str = "1.1", *, final: bool = False) -> Filled:
    return Filled(number, "7", Decimal(units), Decimal(price), final)


def test_the_table_has_the_states_and_ways_of_the_design() -> None:
    # 16 states; the ways counted by hand from the table of reliability rule 1.1, row by row:
    # 2 + 3 + 7 + 7 + 6 + 5 + 6 + 6 + 6 = 48.
    assert len(OrderState) == 16
    assert sum(len(after) for after in TRANSITIONS.values()) == 48
    assert {
        S.DENIED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.EXPIRED_UNSENT, S.REPLACED,
    } == TERMINAL  # fmt: skip
    assert {S.CREATED, S.QUEUED, S.DENIED, S.EXPIRED_UNSENT} == UNSENT


def test_an_approved_order_is_sent_exactly_once_by_its_claim() -> None:
    sent = run(order(), Judged(), Claimed())
    assert sent.order.state == S.SENDING
    assert sent.effects == (Send("a"),)
    with pytest.raises(IllegalTransition, match="in SENDING cannot become SENDING"):
        run(sent.order, Claimed())


def test_a_denied_order_keeps_the_rule_and_never_moves_again() -> None:
    denied = run(order(), Judged("size", "20000, allowed is at most 10000")).order
    assert (denied.state, denied.denied_rule) == (S.DENIED, "size")
    with pytest.raises(IllegalTransition):
        run(denied, Judged())


@pytest.mark.parametrize("event", [Doubted("timeout"), Restarted()])
def test_o10_o11_doubt_about_a_send_is_unknown_and_asks_for_a_look_up(event: OrderEvent) -> None:
    unsure = run(order(S.SENDING), event)
    assert unsure.order.state == S.UNKNOWN
    assert unsure.order.doubt_since == NOW
    assert unsure.effects == (LookUp("a"),)


def test_o12_absence_needs_a_closed_send_the_late_time_and_two_reads() -> None:
    unsure = order(S.UNKNOWN)
    closed = Absent(send_closed=True)
    # 9 s: a send may still arrive until 10 s.
    assert step(unsure, closed, NOW + timedelta(seconds=9), TIMING).order.absent_since is None
    # With the connection still open no time is late enough.
    open_send = step(unsure, Absent(send_closed=False), NOW + timedelta(hours=1), TIMING)
    assert (open_send.order.state, open_send.order.absent_since) == (S.UNKNOWN, None)
    first = step(unsure, closed, NOW + timedelta(seconds=10), TIMING).order
    assert first.state == S.UNKNOWN
    early = step(first, closed, NOW + timedelta(seconds=11.9), TIMING).order
    assert early.state == S.UNKNOWN
    late = step(first, closed, NOW + timedelta(seconds=12), TIMING).order
    assert late.state == S.EXPIRED_UNSENT


def test_o25_what_was_never_written_ends_at_once_and_only_out_of_its_doubt() -> None:
    unsent = Unsent("the venue's link is resting")
    assert step(order(S.UNKNOWN), unsent, NOW, TIMING).order.state == S.EXPIRED_UNSENT
    for state in set(S) - {S.UNKNOWN}:
        with pytest.raises(IllegalTransition):
            step(order(state), unsent, NOW, TIMING)


def test_o9_a_second_crash_starts_the_waiting_again() -> None:
    first = step(order(S.UNKNOWN), Absent(send_closed=True), NOW + timedelta(seconds=10), TIMING)
    again = step(first.order, Restarted(), NOW + timedelta(seconds=11), TIMING).order
    assert again.absent_since is None
    assert again.doubt_since == NOW + timedelta(seconds=11)


def test_an_unknown_order_that_is_found_works() -> None:
    found = run(order(S.UNKNOWN), Found("7")).order
    assert (found.state, found.venue_order_id) == (S.ACCEPTED, "7")


def test_a_partly_filled_order_has_the_weighted_price() -> None:
    # 400 at 1.10 and 600 at 1.20: (440 + 720) / 1000 = 1.16.
    done = run(order(S.ACCEPTED), fill(8, 400, "1.10"), fill(9, 600, "1.20"))
    assert done.order.state == S.FILLED
    assert done.order.average_price == Decimal("1.16")
    assert done.effects == (
        ApplyFill(8, Decimal(400), Decimal("1.10")),
        ApplyFill(9, Decimal(600), Decimal("1.20")),
    )


def test_o19_every_order_of_acknowledgement_fills_and_cancel_ends_the_same() -> None:
    # The venue's ledger: accepted 7, 300 filled 8, 200 filled 9, the rest cancelled 10.
    facts: tuple[Fact, ...] = (
        Accepted(7, "7"),
        fill(8, 300),
        fill(9, 200),
        Cancelled(10, "7", "CLIENT_REQUEST"),
    )
    for arrival in permutations(facts):
        done = run(order(S.SENDING), *arrival, *arrival)  # each told twice
        assert done.order.state == S.CANCELLED, arrival
        assert done.order.filled_units == 500
        assert sorted(e.transaction_id for e in done.effects if isinstance(e, ApplyFill)) == [8, 9]
        assert not [e for e in done.effects if isinstance(e, HaltAccount)]


def test_o26_a_fill_after_a_rejection_is_applied_and_halts() -> None:
    rejected = run(order(S.SENDING), Rejected(7, "INSUFFICIENT_MARGIN"))
    late = run(rejected.order, fill(8, 1000, final=True))
    assert late.order.state == S.REJECTED
    assert late.order.filled_units == 1000
    assert isinstance(late.effects[0], ApplyFill)
    assert isinstance(late.effects[1], HaltAccount)
    assert "REJECTED" in late.effects[1].reason


def test_o26_an_overfill_is_applied_and_halts() -> None:
    over = run(order(S.ACCEPTED), fill(8, 1200))
    assert (over.order.state, over.order.filled_units) == (S.FILLED, 1200)
    assert [type(effect) for effect in over.effects] == [ApplyFill, HaltAccount]


def test_o29_a_cancel_that_is_refused_leaves_the_order_working() -> None:
    pending = run(order(S.PARTIAL, filled_units=Decimal(300)), Withdrawn())
    assert pending.order.state == S.CANCEL_PENDING
    assert pending.effects == (Cancel("a"),)
    back = run(pending.order, CancelRefused(9, "ORDER_DOESNT_EXIST")).order
    assert (back.state, back.cancel_wanted) == (S.PARTIAL, False)


@pytest.mark.parametrize("start", [S.ACCEPTED, S.PARTIAL])
def test_a_replaced_order_ends_and_a_refused_change_leaves_it_working(start: OrderState) -> None:
    filled = Decimal(300) if start == S.PARTIAL else Decimal(0)
    asked = run(order(start, filled_units=filled), Replacing()).order
    assert asked.state == S.REPLACE_PENDING
    assert run(asked, Replaced(9, "7")).order.state == S.REPLACED
    assert run(asked, CancelRefused(9, "PRICE_INVALID")).order.state == start
    # No answer: only the venue's word ends the doubt.
    doubt = run(asked, Doubted("timeout")).order
    assert doubt.state == S.CHANGE_UNKNOWN
    assert run(doubt, Replaced(9, "7")).order.state == S.REPLACED
    assert run(doubt, Found("7")).order.state == start


def test_an_order_that_is_being_cancelled_or_sent_is_not_replaced() -> None:
    for state in (S.SENDING, S.UNKNOWN, S.CANCEL_PENDING, S.REPLACE_PENDING, S.FILLED):
        with pytest.raises(IllegalTransition):
            run(order(state), Replacing())


def test_o27_an_order_that_somebody_else_replaces_is_cancelled_for_us() -> None:
    gone = run(order(S.ACCEPTED), Replaced(9, "7"))
    assert (gone.order.state, gone.order.closed_by, gone.effects) == (S.CANCELLED, 9, ())


def test_o29_a_wish_to_cancel_waits_while_the_send_is_in_doubt() -> None:
    wished = run(order(S.UNKNOWN), Withdrawn())
    assert (wished.order.state, wished.effects) == (S.UNKNOWN, ())
    works = run(wished.order, Accepted(7, "7")).order
    assert (works.state, works.cancel_wanted) == (S.ACCEPTED, True)
    assert run(works, Withdrawn()).effects == (Cancel("a"),)


def test_withdrawing_before_the_send_ends_the_order_here() -> None:
    assert run(order(S.QUEUED), Withdrawn()).order.state == S.CANCELLED
    created = run(order(S.CREATED), Withdrawn()).order
    assert (created.state, created.denied_rule) == (S.DENIED, "withdrawn")


NUMBERS = st.integers(min_value=1, max_value=9)
UNITS = st.sampled_from([Decimal(200), Decimal(500), Decimal(1000), Decimal(-300)])
EVENTS = st.one_of(
    st.builds(Judged, st.sampled_from(["", "size"]), st.just("because")),
    st.just(Withdrawn()),
    st.just(Lapsed()),
    st.just(Claimed()),
    st.just(Doubted("timeout")),
    st.just(Restarted()),
    st.builds(Absent, st.booleans()),
    st.just(Found("7")),
    st.builds(Accepted, NUMBERS, st.just("7")),
    st.builds(Filled, NUMBERS, st.just("7"), UNITS, st.just(Decimal("1.1")), st.booleans()),
    st.builds(Cancelled, NUMBERS, st.just("7"), st.just("r")),
    st.builds(Rejected, NUMBERS, st.just("r")),
    st.builds(Expired, NUMBERS, st.just("7")),
    st.builds(Replaced, NUMBERS, st.just("7")),
    st.builds(Replacing),
    st.builds(CancelRefused, NUMBERS, st.just("r")),
)
OURS = (Judged, Lapsed, Claimed, Replacing)
EVIDENCE = (
    *(Accepted, Filled, Cancelled, Rejected, Expired),
    *(Replaced, Found, Absent, CancelRefused),
)


@given(st.lists(st.tuples(EVENTS, st.integers(min_value=0, max_value=20)), max_size=25))
def test_no_history_leaves_the_table_or_loses_a_fill(
    history: list[tuple[OrderEvent, int]],
) -> None:
    record, now = order(), NOW
    told: dict[int, Decimal] = {}
    seen: set[int] = set()
    applied: list[int] = []
    sends = 0
    for event, seconds in history:
        now += timedelta(seconds=seconds)
        before = record
        try:
            result = step(record, event, now, TIMING)
        except IllegalTransition:
            assert isinstance(event, OURS), f"{event} must never be refused"
            continue
        record = result.order
        number = getattr(event, "transaction_id", None)
        if isinstance(event, Filled) and number not in seen:
            told[event.transaction_id] = event.units
        if number is not None:
            seen.add(number)
        applied += [e.transaction_id for e in result.effects if isinstance(e, ApplyFill)]
        sends += sum(isinstance(effect, Send) for effect in result.effects)
        if record.state != before.state:
            assert record.state in TRANSITIONS[before.state], (before.state, record.state)
            if before.state in (S.UNKNOWN, S.CHANGE_UNKNOWN):
                assert isinstance(event, EVIDENCE)
    # Each fill once, whatever came twice or in whatever order, and the sum is the order's.
    assert sorted(applied) == sorted(told)
    assert record.filled_units == sum(told.values(), Decimal(0))
    assert sends <= 1
