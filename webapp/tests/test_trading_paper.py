"""The paper venue: what a real one promises, it keeps."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sep_engine.execution.states import OrderType, PositionFill, TimeInForce
from sep_engine.model import Ohlc, Quote, QuoteBar
from webapp.trading.brokers.base import BrokerError, Kind, OrderRequest, Transaction
from webapp.trading.brokers.paper import PaperBroker

START = datetime(2017, 5, 1, 8, tzinfo=UTC)
D = Decimal


class Venue:
    """A paper broker and the feed before it; prices are given as bids, the spread is 2 pips."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.event = 0
        self.broker = self.opened()

    def opened(self) -> PaperBroker:
        return PaperBroker(path=self.path, currency="USD", opening_balance=D(1000))

    def died(self) -> None:
        """Open the ledger again as a new process would."""
        asyncio.run(self.broker.close())
        self.broker = self.opened()

    def quote(
        self, bid: str, instrument: str = "EUR_USD", spread: str = "0.0002"
    ) -> list[Transaction]:
        self.event += 1
        at = START + timedelta(hours=self.event // 2)
        quote = Quote(instrument, at, D(bid), D(bid) + D(spread))
        return asyncio.run(self.broker.on_quote(quote, event=self.event, assumed_spread=True))

    def bar(self, *bids: str) -> list[Transaction]:
        self.event += 1
        prices = [D(bid) for bid in bids]
        start = START + timedelta(hours=self.event // 2 - 1)
        bar = QuoteBar(
            "EUR_USD",
            start,
            start + timedelta(hours=1),
            Ohlc(*prices),
            Ohlc(*(price + D("0.0002") for price in prices)),
            None,
            True,
        )
        return asyncio.run(self.broker.on_bar(bar, event=self.event))

    def submit(self, client_id: str, units: int, **fields: Any) -> list[Transaction]:
        return asyncio.run(self.broker.submit(self.request(client_id, units, **fields)))

    def request(self, client_id: str, units: int, **fields: Any) -> OrderRequest:
        wanted: dict[str, Any] = {
            "client_id": client_id,
            "instrument": "EUR_USD",
            "type": OrderType.MARKET,
            "units": D(units),
        }
        return OrderRequest(**(wanted | fields))

    def report(self) -> Any:
        return asyncio.run(self.broker.account())

    def ledger(self) -> list[Transaction]:
        return asyncio.run(self.broker.transactions_since(0))


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    one = Venue(tmp_path / "ledger.sqlite3")
    yield one
    asyncio.run(one.broker.close())


def kinds(facts: list[Transaction]) -> list[Kind]:
    return [fact.kind for fact in facts]


def test_a_market_order_fills_at_the_next_quote_with_its_stop(venue: Venue) -> None:
    venue.quote("1.1000")
    assert kinds(venue.submit("a", 1000, stop_distance=D("0.003"))) == [Kind.ACCEPTED]
    filled, stop = venue.bar("1.1000", "1.1010", "1.0990", "1.1005")
    assert (filled.kind, filled.price, filled.units) == (Kind.FILLED, D("1.1007"), D(1000))
    # Half of 2 pips on 1,000 units: 0.0001 * 1000 = 0.10.
    assert filled.half_spread_cost == D("0.10")
    assert (stop.kind, stop.price, stop.units) == (Kind.DEPENDENT, D("1.0977"), D(-1000))
    assert (stop.client_id, stop.parent_id) == ("a-sl", filled.venue_order_id)
    assert filled.final
    # What was told is what the ledger tells whoever asks later.
    assert venue.ledger()[-2:] == [filled, stop]


def test_a_stop_that_is_touched_closes_and_what_is_left_is_cancelled(venue: Venue) -> None:
    venue.quote("1.1000")
    venue.submit("a", 1000, stop_distance=D("0.003"), target_distance=D("0.002"))
    venue.bar("1.1000", "1.1000", "1.1000", "1.1000")  # bought at 1.1002
    venue.quote("1.1000")
    # Down to 1.0970, up to 1.1030: stop (1.0972) and target (1.1022) both touched.
    facts = venue.bar("1.1000", "1.1030", "1.0970", "1.1000")
    assert kinds(facts) == [Kind.FILLED, Kind.CANCELLED]
    assert (facts[0].client_id, facts[0].price) == ("a-sl", D("1.0972"))
    assert facts[0].realised_pl == D(-3)  # 1000 * (1.0972 - 1.1002)
    assert (facts[1].client_id, facts[1].reason) == ("a-tp", "POSITION_CLOSED")
    report = venue.report()
    assert (report.balance, report.positions, report.open_orders) == (D(997), {}, ())


def test_d15_a_weekend_gap_beyond_the_stop_loses_what_the_fill_loses(venue: Venue) -> None:
    venue.quote("1.1000")
    venue.submit("a", 1000, stop_distance=D("0.003"))
    venue.bar("1.1000", "1.1000", "1.1000", "1.1000")  # bought at 1.1002, the stop is at 1.0972
    # Monday opens at 1.0800: nobody bought at the stop, the first price is the fill.
    (filled,) = venue.bar("1.0800", "1.0810", "1.0790", "1.0805")
    assert (filled.client_id, filled.price) == ("a-sl", D("1.0800"))
    assert filled.realised_pl == D("-20.2")  # 1000 * (1.0800 - 1.1002), not the 3.0 of the stop
    assert venue.report().balance == D("979.8")


def test_an_order_never_sees_the_part_of_a_bar_before_it(venue: Venue) -> None:
    venue.quote("1.1000")
    venue.submit("a", 1000, type=OrderType.LIMIT, price=D("1.0950"))
    assert venue.bar("1.1000", "1.1000", "1.0900", "1.1000") == []
    venue.quote("1.1000")
    [filled] = venue.bar("1.1000", "1.1000", "1.0900", "1.1000")
    assert filled.price == D("1.0950")


def test_an_entry_within_a_bar_may_be_stopped_in_it_but_reach_no_target(venue: Venue) -> None:
    venue.submit(
        "a",
        1000,
        type=OrderType.LIMIT,
        price=D("1.0980"),
        stop_loss=D("1.0950"),
        take_profit=D("1.0990"),
    )
    venue.quote("1.1000")
    facts = venue.bar("1.1000", "1.1000", "1.0960", "1.1000")
    assert kinds(facts) == [Kind.FILLED, Kind.DEPENDENT, Kind.DEPENDENT]
    venue.quote("1.1000")
    assert venue.bar("1.1000", "1.1000", "1.1000", "1.1000")[0].client_id == "a-tp"
    venue.submit("b", 1000, type=OrderType.LIMIT, price=D("1.0980"), stop_loss=D("1.0950"))
    venue.quote("1.1000")
    facts = venue.bar("1.1000", "1.1000", "1.0900", "1.1000")
    assert kinds(facts) == [Kind.FILLED, Kind.DEPENDENT, Kind.FILLED]
    assert facts[2].client_id == "b-sl"


def test_a_client_id_is_taken_for_ever(venue: Venue) -> None:
    venue.submit("a", 1000)
    venue.quote("1.1000")
    [answer] = venue.submit("a", 1000)
    assert (answer.kind, answer.reason) == (Kind.OTHER, "CLIENT_ORDER_ID_ALREADY_EXISTS")
    assert venue.report().positions == {"EUR_USD": D(1000)}


def test_a_market_order_beyond_its_bound_is_cancelled(venue: Venue) -> None:
    venue.submit("a", 1000, price_bound=D("1.1001"))
    [ended] = venue.quote("1.1000")
    assert (ended.kind, ended.reason) == (Kind.CANCELLED, "BOUNDS_VIOLATION")


def test_a_reduce_only_order_never_opens(venue: Venue) -> None:
    venue.submit("a", 500)
    venue.quote("1.1000")
    venue.submit("b", -2000, reduce_only=True)
    venue.submit("c", -1, reduce_only=True)
    facts = venue.bar("1.1000", "1.1000", "1.1000", "1.1000")
    assert (facts[0].units, facts[0].final) == (D(-500), True)
    assert (facts[1].kind, facts[1].reason) == (Kind.CANCELLED, "REDUCE_ONLY_WITHOUT_POSITION")
    assert venue.report().positions == {}


def test_a_bar_that_comes_again_after_a_crash_changes_nothing(venue: Venue) -> None:
    venue.submit("a", 1000, stop_distance=D("0.003"))
    venue.quote("1.1000")
    before = venue.ledger()
    venue.died()
    venue.event -= 1
    assert venue.quote("1.2000") == []
    assert venue.ledger() == before
    venue.bar("1.1000", "1.1000", "1.0900", "1.1000")
    assert venue.report().positions == {}


def test_transactions_are_numbered_without_gaps_and_can_be_read_again(venue: Venue) -> None:
    venue.submit("a", 1000, stop_distance=D("0.003"))
    venue.quote("1.1000")
    venue.submit("b", 0)
    asyncio.run(venue.broker.cancel("a-sl"))
    ledger = venue.ledger()
    assert [fact.id for fact in ledger] == [1, 2, 3, 4, 5]
    assert kinds(ledger) == [
        Kind.ACCEPTED,
        Kind.FILLED,
        Kind.DEPENDENT,
        Kind.REJECTED,
        Kind.CANCELLED,
    ]
    venue.died()
    assert venue.ledger() == ledger
    assert asyncio.run(venue.broker.transactions_since(3)) == ledger[3:]


def test_cancelling_what_has_ended_or_never_was_changes_nothing(venue: Venue) -> None:
    venue.submit("a", 1000)
    venue.quote("1.1000")
    assert asyncio.run(venue.broker.cancel("a")) == []
    assert asyncio.run(venue.broker.cancel("nobody")) == []
    assert asyncio.run(venue.broker.order_by_client_id("nobody")) is None


def test_a_pair_whose_profit_no_quote_can_turn_is_rejected(venue: Venue) -> None:
    [answer] = venue.submit("a", 1000, instrument="USD_JPY")
    assert (answer.kind, answer.reason) == (Kind.REJECTED, "NO_RATE_INTO_THE_ACCOUNT_CURRENCY")


def test_a_ledger_of_another_currency_is_refused(venue: Venue) -> None:
    with pytest.raises(BrokerError, match="is in USD, the account in EUR"):
        PaperBroker(path=venue.path, currency="EUR", opening_balance=D(1000))


def test_an_order_touched_from_above_or_below_fills_at_its_price(venue: Venue) -> None:
    venue.quote("1.1000")
    touched = OrderType.MARKET_IF_TOUCHED
    venue.submit("below", 1000, type=touched, price=D("1.0960"))
    venue.submit("above", 1000, type=touched, price=D("1.1040"))
    venue.bar("1.1000", "1.1000", "1.1000", "1.1000")
    venue.quote("1.1000")
    # The ask runs from 1.1002 down to 1.0952: below 1.0960, never up to 1.1040.
    facts = venue.bar("1.1000", "1.1000", "1.0950", "1.0990")
    assert [(fact.client_id, fact.price) for fact in facts] == [("below", D("1.0960"))]
    venue.quote("1.0990")
    facts = venue.bar("1.0990", "1.1050", "1.0990", "1.1050")
    assert [(fact.client_id, fact.price) for fact in facts] == [("above", D("1.1040"))]


def test_a_trailing_stop_follows_the_best_price_and_never_goes_back(venue: Venue) -> None:
    venue.quote("1.1000")
    venue.submit("a", 1000, trailing_distance=D("0.0030"))
    filled, stop = venue.bar("1.1000", "1.1000", "1.1000", "1.1000")
    assert (filled.kind, stop.kind, stop.distance) == (Kind.FILLED, Kind.DEPENDENT, D("0.0030"))
    assert (stop.client_id, stop.order_type, stop.price) == ("a-ts", "TRAILING_STOP_LOSS", None)
    venue.quote("1.1000")
    # It begins at 1.1000 - 0.0030 = 1.0970. The bid rises to 1.1050: the stop is at 1.1020.
    assert venue.bar("1.1000", "1.1050", "1.0980", "1.1040") == []
    venue.quote("1.1040")
    # 1.1025 does not reach it, and 1.1045 does not move it.
    assert venue.bar("1.1040", "1.1045", "1.1025", "1.1030") == []
    venue.quote("1.1030")
    (closed,) = venue.bar("1.1030", "1.1035", "1.1010", "1.1035")
    assert (closed.client_id, closed.price) == ("a-ts", D("1.1020"))
    assert closed.realised_pl == D("1.8")  # 1,000 * (1.1020 - 1.1002)


def test_a_trailing_stop_is_hit_on_the_way_from_the_high_to_the_close(venue: Venue) -> None:
    venue.quote("1.1000")
    venue.submit("a", 1000, trailing_distance=D("0.0030"))
    venue.bar("1.1000", "1.1000", "1.1000", "1.1000")
    venue.quote("1.1000")
    # Up to 1.1060 the stop comes to 1.1030; the close at 1.1010 lies beyond it.
    (closed,) = venue.bar("1.1000", "1.1060", "1.0990", "1.1010")
    assert (closed.client_id, closed.price) == ("a-ts", D("1.1030"))


def test_orders_end_with_their_time(venue: Venue) -> None:
    venue.quote("1.1000")  # the market's clock is at 08:00 UTC
    limit = {"type": OrderType.LIMIT, "price": D("1.0900")}
    until = START + timedelta(hours=2)
    venue.submit("gtd", 1000, time_in_force=TimeInForce.GTD, good_until=until, **limit)
    venue.submit("gfd", 1000, time_in_force=TimeInForce.GFD, **limit)
    ended = []
    for _ in range(15):
        ended += venue.bar("1.1000", "1.1000", "1.1000", "1.1000")
        ended += venue.quote("1.1000")
    # 17:00 in New York in summer is 21:00 UTC.
    assert [(fact.client_id, fact.kind, fact.time) for fact in ended] == [
        ("gtd", Kind.EXPIRED, START + timedelta(hours=2)),
        ("gfd", Kind.EXPIRED, START + timedelta(hours=13)),
    ]
    (late,) = venue.submit("late", 1000, time_in_force=TimeInForce.GTD, good_until=START, **limit)
    assert (late.kind, late.reason) == (Kind.REJECTED, "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST")


@pytest.mark.parametrize("force", [TimeInForce.IOC, TimeInForce.FOK])
def test_what_must_fill_now_fills_at_the_next_quote_or_expires(
    venue: Venue, force: TimeInForce
) -> None:
    venue.quote("1.1000")
    limit = {"type": OrderType.LIMIT, "time_in_force": force}
    venue.submit("fills", 1000, price=D("1.1010"), **limit)
    venue.submit("expires", 1000, price=D("1.0990"), **limit)
    facts = venue.quote("1.1005")  # the ask is 1.1007
    assert [(fact.client_id, fact.kind, fact.price) for fact in facts] == [
        ("fills", Kind.FILLED, D("1.1007")),
        ("expires", Kind.EXPIRED, None),
    ]


def test_an_order_that_may_only_open_is_cancelled_against_a_position(venue: Venue) -> None:
    venue.quote("1.1000")
    venue.submit("a", 1000)
    venue.quote("1.1000")
    venue.submit("b", -500, position_fill=PositionFill.OPEN_ONLY)
    (refused,) = venue.quote("1.1000")
    assert (refused.kind, refused.reason) == (Kind.CANCELLED, "OPEN_ONLY_AGAINST_THE_POSITION")
    venue.submit("c", -500, position_fill=PositionFill.REDUCE_FIRST)
    (reduced,) = venue.quote("1.1000")
    assert (reduced.kind, reduced.units) == (Kind.FILLED, -500)


def test_a_working_order_is_replaced_in_one_step(venue: Venue) -> None:
    venue.quote("1.1000")
    (old,) = venue.submit("a", 1000, type=OrderType.LIMIT, price=D("1.0950"))
    change = replace(venue.request("b", 2000), type=OrderType.LIMIT, price=D("1.0940"))
    ended, new = asyncio.run(venue.broker.replace("a", change))
    assert (ended.kind, ended.venue_order_id) == (Kind.REPLACED, old.venue_order_id)
    assert (new.kind, new.client_id, new.replaces_id) == (Kind.ACCEPTED, "b", old.venue_order_id)
    assert [(one.client_id, one.units) for one in venue.report().open_orders] == [("b", D(2000))]
    (refused,) = asyncio.run(venue.broker.replace("a", venue.request("c", 1)))
    assert (refused.kind, refused.client_id, refused.reason) == (
        Kind.REJECTED,
        "c",
        "ORDER_DOESNT_EXIST",
    )


def test_a_ledger_of_before_is_read_on(venue: Venue) -> None:
    venue.quote("1.1000")
    venue.submit("a", 1000, type=OrderType.LIMIT, price=D("1.0950"))
    for column in ("trailing_distance", "time_in_force", "good_until", "position_fill", "mark"):
        venue.broker._db.execute(f"ALTER TABLE orders DROP COLUMN {column}")
    venue.died()
    assert [one.client_id for one in venue.report().open_orders] == ["a"]
    venue.bar("1.1000", "1.1000", "1.1000", "1.1000")
    venue.quote("1.1000")
    (filled,) = venue.bar("1.1000", "1.1000", "1.0940", "1.0990")
    assert (filled.client_id, filled.price) == ("a", D("1.0950"))


def test_profit_in_yen_and_pounds_becomes_dollars_at_the_worse_price(venue: Venue) -> None:
    venue.quote("150.000", "USD_JPY", "0.020")
    venue.submit("in", 1000, instrument="USD_JPY")
    venue.quote("150.000", "USD_JPY", "0.020")  # filled at 150.02
    venue.submit("out", -1000, instrument="USD_JPY", reduce_only=True)
    (gain,) = venue.quote("151.000", "USD_JPY", "0.020")
    # 0.98 yen * 1,000 = 980 yen, sold at 151.02 a dollar: 6.48920..., to four decimals.
    assert gain.realised_pl == D("6.4892")
    # Without a price of the pound nobody can say what a loss in pounds comes to.
    (refused,) = venue.submit("cross", 1000, instrument="EUR_GBP")
    assert refused.reason == "NO_RATE_INTO_THE_ACCOUNT_CURRENCY"
    venue.quote("1.3000", "GBP_USD")
    venue.quote("0.8500", "EUR_GBP")
    venue.submit("cross-in", 1000, instrument="EUR_GBP")
    venue.quote("0.8500", "EUR_GBP")  # filled at 0.8502
    venue.submit("cross-out", -1000, instrument="EUR_GBP", reduce_only=True)
    (loss,) = venue.quote("0.8402", "EUR_GBP")
    # A loss of 10 pounds is bought at the ask, 1.3002.
    assert loss.realised_pl == D("-13.0020")
    assert asyncio.run(venue.broker.account()).balance == D("1000") + D("6.4892") - D("13.0020")
