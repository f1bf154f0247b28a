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
from sep_engine.execution.states import (
    AT_VENUE,
    PLACED,
    PROTECTIVE,
    STOPS,
    TERMINAL,
    TIMES_IN_FORCE,
    TRANSITIONS,
    UNSENT,
    OrderState,
    OrderType,
    Origin,
    TradingMode,
    check_transition,
)

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
    # An order is here only, at the venue or over.
    assert set(S) - UNSENT - TERMINAL == AT_VENUE


def test_a_state_may_stay_and_may_not_jump() -> None:
    check_transition(S.FILLED, S.FILLED)
    check_transition(S.ACCEPTED, S.FILLED)
    with pytest.raises(IllegalTransition, match="an order in FILLED cannot become ACCEPTED"):
        check_transition(S.FILLED, S.ACCEPTED)


def test_states_types_and_origins_have_the_names_that_tables_and_pages_use() -> None:
    assert " ".join(OrderState) == (
        "CREATED DENIED QUEUED SENDING UNKNOWN ACCEPTED PARTIAL FILLED CANCELLED REJECTED EXPIRED "
        "EXPIRED_UNSENT CANCEL_PENDING REPLACE_PENDING REPLACED CHANGE_UNKNOWN"
    )
    assert " ".join(OrderType) == (
        "MARKET LIMIT STOP MARKET_IF_TOUCHED STOP_LOSS TAKE_PROFIT TRAILING_STOP_LOSS "
        "GUARANTEED_STOP_LOSS"
    )
    assert " ".join(Origin) == "RULE PERSON PROTECTIVE EXIT CLOSE_EVERYTHING EXTERNAL"
    assert " ".join(TradingMode) == "ACTIVE REDUCING HALTED"


def test_what_protects_may_wait_and_what_buys_at_once_may_not() -> None:
    protective = {"STOP_LOSS", "TAKE_PROFIT", "TRAILING_STOP_LOSS", "GUARANTEED_STOP_LOSS"}
    assert protective == PROTECTIVE
    assert protective - {"TAKE_PROFIT"} == STOPS
    assert set(OrderType) - {"GUARANTEED_STOP_LOSS"} == PLACED
    waiting = {"GTC", "GTD", "GFD"}
    assert {type_: set(times) for type_, times in TIMES_IN_FORCE.items()} == {
        "MARKET": {"FOK", "IOC"},
        "LIMIT": waiting | {"FOK", "IOC"},
        "STOP": waiting | {"FOK", "IOC"},
        "MARKET_IF_TOUCHED": waiting,
        **dict.fromkeys(protective, waiting),
    }


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
    assert created.denied_reason == "withdrawn before it was judged"


def test_an_intent_that_grew_too_old_ends_here_whether_it_was_judged_or_not() -> None:
    created = run(order(S.CREATED), Lapsed()).order
    assert (created.state, created.denied_rule) == (S.DENIED, "lapsed")
    assert created.denied_reason == "the intent was too old to be judged"
    assert run(order(S.QUEUED), Lapsed()).order.state == S.EXPIRED_UNSENT


def test_a_venue_that_says_nothing_else_is_late_for_ten_seconds_and_read_twice_in_two() -> None:
    assert Timing() == Timing(late=timedelta(seconds=10), read_gap=timedelta(seconds=2))


def test_the_first_fact_names_the_order_at_the_venue_and_later_ones_do_not_rename_it() -> None:
    sent = run(order(), Judged(), Claimed())
    assert (sent.order.cancel_wanted, sent.order.venue_order_id) == (False, "")
    named = run(sent.order, Accepted(7, "70")).order
    assert (named.venue_order_id, named.cancel_wanted) == ("70", False)
    assert run(named, Accepted(8, "71")).order.venue_order_id == "70"
    assert run(order(S.UNKNOWN, venue_order_id="70"), Found("71")).order.venue_order_id == "70"


def test_what_an_acknowledgement_proves_of_an_order_that_has_ended_depends_on_its_place() -> None:
    ended = run(order(S.SENDING), Cancelled(9, "7", "MARKET_HALTED")).order
    before = run(ended, Accepted(8, "7"))
    assert (before.order.state, before.effects) == (S.CANCELLED, ())
    for number in (9, 10):
        # `applied` is not stored: a trader that starts again has only what ended the order.
        after = run(replace(ended, applied=frozenset()), Accepted(number, "7"))
        assert [type(effect) for effect in after.effects] == [HaltAccount]


def test_an_order_that_was_never_sent_cannot_work_at_the_venue() -> None:
    for state in (S.CREATED, S.QUEUED):
        told = run(order(state), Accepted(8, "7"))
        assert told.order.state == state
        assert told.effects == (
            HaltAccount(
                f"order a is {state} with 0 of 1000 filled, yet the venue tells Accepted in "
                "transaction 8"
            ),
        )


@pytest.mark.parametrize("end", [Cancelled(9, "7", "r"), Expired(9, "7"), Rejected(9, "r")])
def test_a_wish_to_cancel_is_over_when_the_order_is(end: Fact) -> None:
    wished = run(order(S.SENDING), Withdrawn()).order
    assert wished.cancel_wanted
    ended = run(wished, end).order
    assert (ended.state in TERMINAL, ended.cancel_wanted, ended.closed_by) == (True, False, 9)


def test_a_wish_to_cancel_is_over_when_the_order_is_filled_or_the_venue_will_not() -> None:
    pending = run(order(S.ACCEPTED), Withdrawn()).order
    assert (pending.state, pending.cancel_wanted) == (S.CANCEL_PENDING, True)
    filled = run(pending, fill(9, 1000)).order
    assert (filled.state, filled.cancel_wanted) == (S.FILLED, False)
    refused = run(order(S.SENDING, cancel_wanted=True), CancelRefused(9, "r")).order
    assert (refused.state, refused.cancel_wanted) == (S.SENDING, False)


@pytest.mark.parametrize("state", [S.CANCEL_PENDING, S.REPLACE_PENDING, S.CHANGE_UNKNOWN])
def test_a_part_that_fills_does_not_answer_a_change(state: OrderState) -> None:
    part = run(order(state), fill(8, 300))
    assert (part.order.state, part.order.filled_units) == (state, 300)
    assert part.effects == (ApplyFill(8, Decimal(300), Decimal("1.1")),)


def test_an_acknowledgement_does_not_answer_a_cancel() -> None:
    assert run(order(S.CANCEL_PENDING), Accepted(7, "7")).order.state == S.CANCEL_PENDING


@pytest.mark.parametrize("sign", [1, -1])
def test_o26_parts_of_a_sale_count_as_those_of_a_purchase_do(sign: int) -> None:
    wanted = order(S.ACCEPTED, units=Decimal(1000 * sign))
    part = run(wanted, fill(8, 400 * sign))
    assert (part.order.state, part.order.filled_units) == (S.PARTIAL, 400 * sign)
    whole = run(part.order, fill(9, 600 * sign, "1.2"))
    # 400 at 1.1 and 600 at 1.2: (440 + 720) / 1000 = 1.16.
    assert (whole.order.state, whole.order.average_price) == (S.FILLED, Decimal("1.16"))
    assert [type(effect) for effect in whole.effects] == [ApplyFill]
    over = run(part.order, fill(9, 601 * sign))
    assert over.order.state == S.FILLED
    assert [type(effect) for effect in over.effects] == [ApplyFill, HaltAccount]


@pytest.mark.parametrize("units", [-1, -1000])
def test_o26_a_fill_the_other_way_is_applied_and_halts(units: int) -> None:
    turned = run(order(S.ACCEPTED, units=Decimal(1)), fill(8, units))
    assert turned.order.filled_units == units
    assert [type(effect) for effect in turned.effects] == [ApplyFill, HaltAccount]
    assert turned.order.state == S.ACCEPTED


def test_the_smallest_order_is_filled_like_any_other() -> None:
    one = run(order(S.SENDING, units=Decimal(1)), fill(8, 1))
    assert (one.order.state, [type(effect) for effect in one.effects]) == (S.FILLED, [ApplyFill])


def test_o26_a_fill_is_late_only_if_it_is_older_than_the_end() -> None:
    ended = order(S.CANCELLED, closed_by=9, filled_units=Decimal(300), units=Decimal(1000))
    assert [type(effect) for effect in run(ended, fill(8, 200)).effects] == [ApplyFill]
    for number in (9, 10):
        told = run(ended, fill(number, 200))
        assert [type(effect) for effect in told.effects] == [ApplyFill, HaltAccount]
    for units in (701, -1):
        told = run(ended, fill(8, units))
        assert [type(effect) for effect in told.effects] == [ApplyFill, HaltAccount]


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
