"""What fills do to a position."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_engine.errors import ArgumentError
from sep_engine.execution.positions import NetPosition, apply_fill, close_answered, sides_of
from sep_engine.execution.reconcile import AccountView, Difference, reconcile

D = Decimal


def test_adding_averages_and_reducing_realises() -> None:
    position = apply_fill(NetPosition(), units=D(1000), price=D("1.10"))
    position = apply_fill(position, units=D(3000), price=D("1.14"))
    # (1000 * 1.10 + 3000 * 1.14) / 4000 = 4520 / 4000 = 1.13
    assert position == NetPosition(D(4000), D("1.13"), D(0))
    position = apply_fill(position, units=D(-1000), price=D("1.15"))
    # 1000 * (1.15 - 1.13) = 20
    assert position == NetPosition(D(3000), D("1.13"), D(20))
    assert position.open_pl(D("1.12")) == D(-30)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_smallest_position_grows_and_shrinks_as_any_other(sign: int) -> None:
    one = apply_fill(NetPosition(), units=D(sign), price=D("1.10"))
    assert one == NetPosition(D(sign), D("1.10"), D(0))
    # The average of one at 1.10 and one at 1.12 is 1.11; closing both at 1.13 makes 2 * 0.02.
    two = apply_fill(one, units=D(sign), price=D("1.12"))
    assert two == NetPosition(D(2 * sign), D("1.11"), D(0))
    assert apply_fill(two, units=D(-2 * sign), price=D("1.13")).realised_pl == sign * D("0.04")


def test_a_flat_position_gains_nothing_at_any_price() -> None:
    assert NetPosition().open_pl(D("1.5")) == 0


def test_turning_round_realises_everything_and_opens_at_the_fill() -> None:
    position = NetPosition(D(-2000), D("1.20"), D(0))
    # Buys 3000 at 1.19: 2000 * (1.20 - 1.19) = 20 realised, 1000 long at 1.19.
    assert apply_fill(position, units=D(3000), price=D("1.19")) == NetPosition(
        D(1000), D("1.19"), D(20)
    )


def test_closing_exactly_leaves_no_price() -> None:
    closed = apply_fill(NetPosition(D(500), D("2"), D(1)), units=D(-500), price=D("1.9"))
    assert closed == NetPosition(D(0), None, D(-49))  # 1 + 500 * (1.9 - 2) = -49


@pytest.mark.parametrize(
    ("units", "price"), [("0", "1"), ("1", "0"), ("1", "-1"), ("NaN", "1"), ("1", "NaN")]
)
def test_fills_without_size_or_price_are_refused(units: str, price: str) -> None:
    with pytest.raises(ArgumentError):
        apply_fill(NetPosition(), units=D(units), price=D(price))


FILLS = st.lists(
    st.tuples(
        st.integers(min_value=-1_000_000, max_value=1_000_000).filter(bool),
        st.integers(min_value=1, max_value=10_000_000),
    ),
    max_size=40,
)


@given(FILLS)
def test_no_money_appears_or_is_lost(fills: list[tuple[int, int]]) -> None:
    position, paid = NetPosition(), D(0)
    for units, ticks in fills:
        price = D(ticks) / 100_000
        position = apply_fill(position, units=D(units), price=price)
        paid += D(units) * price
    assert position.units == sum(units for units, _ in fills)
    assert (position.average_price is None) == (position.units == 0)
    held = position.units * (position.average_price or D(0))
    assert position.realised_pl - held == -paid


def test_reconciliation_names_every_difference() -> None:
    ours = AccountView(7, {"EUR_USD": D(1000), "USD_JPY": D(0)}, {"a": D(5), "b": D(6)})
    theirs = AccountView(9, {"EUR_USD": D(900)}, {"a": D(5), "c": D(-2)})
    assert reconcile(ours, theirs) == (
        Difference("transaction", "last", D(7), D(9)),
        Difference("position", "EUR_USD", D(1000), D(900)),
        Difference("order", "b", D(6), None),
        Difference("order", "c", None, D(-2)),
    )
    assert str(reconcile(ours, theirs)[2]) == "order b: we have 6, the venue has nothing"
    assert str(reconcile(ours, theirs)[3]) == "order c: we have nothing, the venue has -2"
    assert reconcile(ours, ours) == ()


def test_reconciliation_compares_each_trade() -> None:
    ours = AccountView(7, {}, {}, {"4": D(100), "5": D(200), "6": D(0)})
    theirs = AccountView(7, {}, {}, {"4": D(100), "5": D(150), "8": D(-30)})
    # A trade that holds nothing is none, on either side.
    assert reconcile(ours, theirs) == (
        Difference("trade", "5", D(200), D(150)),
        Difference("trade", "8", None, D(-30)),
    )


@pytest.mark.parametrize(
    ("units", "opened", "hedging", "sides"),
    [
        (1000, 400, False, [("NET", 1000)]),
        (1000, 1000, True, [("LONG", 1000)]),
        (1, 1, True, [("LONG", 1)]),
        (-1000, -1000, True, [("SHORT", -1000)]),
        # A sale closes what is long; without trades that opened, all of it.
        (-1000, 0, True, [("LONG", -1000)]),
        (1000, None, True, [("SHORT", 1000)]),
        # 600 short were closed, and 400 opened long; what is closed comes last.
        (1000, 400, True, [("LONG", 400), ("SHORT", 600)]),
    ],
)
def test_a_fill_changes_the_side_that_it_opens_and_the_one_that_it_closes(
    units: int, opened: int | None, hedging: bool, sides: list[tuple[str, int]]
) -> None:
    there = None if opened is None else Decimal(opened)
    assert sides_of(Decimal(units), opened=there, hedging=hedging) == sides


@pytest.mark.parametrize(
    ("units", "key"), [(500, "b"), (-500, "b"), (300, "a"), (200, None), (0, "a")]
)
def test_a_nameless_answer_is_about_the_oldest_close_of_its_size(
    units: int, key: str | None
) -> None:
    waiting = [("a", Decimal(-300)), ("b", Decimal(-500)), ("c", Decimal(-500))]
    assert close_answered(waiting, Decimal(units)) == key
