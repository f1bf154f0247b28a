"""What holds of the ledger whatever is asked of it."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sep_oanda_server.ledger import Ledger, Terms
from sep_oanda_server.market import Quote, QuoteBoard
from sep_oanda_server.matching import Interference, share_out
from sep_oanda_server.store import Store
from sep_oanda_server.venue import Request, Venue

ACCOUNT = "101-004-1435156-001"
HEADERS = {"authorization": "Bearer t"}
MINUTE_NS = 60_000_000_000

units = st.integers(-3000, 3000).filter(bool).map(str)
prices = st.integers(109_000, 111_000).map(lambda points: f"1.{points % 100_000:05d}")
distances = st.integers(50, 500).map(lambda points: f"0.{points:05d}")
names = st.sampled_from(["a", "b", "c", "d"])
dependents = st.fixed_dictionaries(
    {},
    optional={
        "takeProfitOnFill": st.fixed_dictionaries({"price": prices}),
        "stopLossOnFill": st.fixed_dictionaries({"distance": distances}),
        "trailingStopLossOnFill": st.fixed_dictionaries({"distance": distances}),
        "clientExtensions": st.fixed_dictionaries({"id": names}),
        "positionFill": st.sampled_from(["DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY"]),
    },
)
market_orders = st.builds(
    lambda size, more: {"type": "MARKET", "instrument": "EUR_USD", "units": size} | more,
    units,
    dependents,
)
pending_orders = st.builds(
    lambda kind, size, price, force, more: (
        {
            "type": kind,
            "instrument": "EUR_USD",
            "units": size,
            "price": price,
            "timeInForce": force,
        }
        | more
    ),
    st.sampled_from(["LIMIT", "STOP", "MARKET_IF_TOUCHED"]),
    units,
    prices,
    st.sampled_from(["GTC", "GFD"]),
    dependents,
)
ids = st.integers(1, 40).map(str)
plain_orders = st.builds(
    lambda size, stop: {"type": "MARKET", "instrument": "EUR_USD", "units": size} | stop,
    units,
    st.sampled_from([{}, {}, {"stopLossOnFill": {"distance": "0.00200"}}]),
)
quotes = st.tuples(st.just("quote"), st.integers(-300, 300))
plain = st.tuples(st.just("POST /orders"), st.builds(lambda o: {"order": o}, plain_orders))
# Most runs should hold several trades at once, so plain market orders come up most often.
actions = st.one_of(
    plain,
    plain,
    plain,
    plain,
    quotes,
    quotes,
    st.tuples(st.just("POST /orders"), st.builds(lambda o: {"order": o}, market_orders)),
    st.tuples(st.just("POST /orders"), st.builds(lambda o: {"order": o}, pending_orders)),
    st.tuples(
        st.builds(lambda n: f"PUT /orders/{n}", ids),
        st.builds(lambda o: {"order": o}, pending_orders),
    ),
    st.tuples(st.builds(lambda n: f"PUT /orders/{n}/cancel", ids), st.just({})),
    st.tuples(st.builds(lambda n: f"PUT /orders/@{n}/cancel", names), st.just({})),
    st.tuples(
        st.builds(lambda n: f"PUT /trades/{n}/close", ids),
        st.sampled_from([{"units": "ALL"}, {"units": "100"}]),
    ),
    st.tuples(
        st.builds(lambda n: f"PUT /trades/{n}/orders", ids),
        st.builds(
            lambda price, far: {"takeProfit": {"price": price}, "stopLoss": {"distance": far}},
            prices,
            distances,
        ),
    ),
    st.tuples(
        st.just("PUT /positions/EUR_USD/close"),
        st.sampled_from([{"longUnits": "ALL"}, {"shortUnits": "ALL"}]),
    ),
    st.tuples(st.just("wait"), st.integers(1, 300)),
)


class Run:
    """A venue under a list of actions."""

    def __init__(self, terms: Terms) -> None:
        self.venue = Venue([terms], QuoteBoard(), token="t", now_ns=0)
        self.now_ns, self.points = 0, 110_000
        self.move(0)

    @property
    def ledger(self) -> Ledger:
        return self.venue.ledgers[ACCOUNT]

    def move(self, points: int) -> None:
        self.points = min(max(self.points + points, 108_000), 112_000)
        bid = Decimal(self.points) / 100_000
        ask = bid + Decimal("0.00010")
        self.venue.quote(Quote("EUR_USD", self.now_ns, bid, ask), self.now_ns)

    def act(self, what: str, value: Any, force: Interference) -> None:
        if what == "quote":
            self.move(value)
        elif what == "wait":
            self.now_ns += value * MINUTE_NS
            self.venue.tick(self.now_ns)
        else:
            import json

            method, path = what.split(" ")
            request = Request(
                method, f"/v3/accounts/{ACCOUNT}{path}", {}, json.dumps(value).encode(), HEADERS
            )
            response = self.venue.handle(request, self.now_ns, force)
            assert response.status in (200, 201, 400, 404), response


def check(ledger: Ledger) -> None:
    """Everything that must hold of a ledger between any two requests."""
    transactions = ledger.transactions
    assert [int(one["id"]) for one in transactions] == list(range(1, len(transactions) + 1))
    batch_start = "1"
    for one in transactions:
        if one["batchID"] == one["id"]:
            batch_start = one["id"]
        assert one["batchID"] == batch_start
        assert one["time"] == transactions[int(batch_start) - 1]["time"]
    # Money: what came in plus every gain and loss is the balance, to the last digit.
    fills = [one for one in transactions if one["type"] == "ORDER_FILL"]
    opening = Decimal(transactions[1]["amount"])
    assert opening + sum(Decimal(one["pl"]) for one in fills) == ledger.balance
    # Units: filled, opened, closed and held are the same amount.
    assert sum(Decimal(one["units"]) for one in fills) == sum(
        trade.units for trade in ledger.open.values()
    )
    for one in fills:
        parts = [*one.get("tradesClosed", [])]
        parts += [one["tradeReduced"]] if "tradeReduced" in one else []
        opened = Decimal(one["tradeOpened"]["units"]) if "tradeOpened" in one else 0
        assert sum((Decimal(p["units"]) for p in parts), Decimal(opened)) == Decimal(one["units"])
        assert sum(Decimal(p["realizedPL"]) for p in parts) == Decimal(one["pl"])
    # Every order ends at most once, and exactly the open-ended ones are pending.
    final = ("ORDER_FILL", "ORDER_CANCEL")
    ended = [one["orderID"] for one in transactions if one["type"] in final]
    assert len(ended) == len(set(ended))
    created = {one["id"] for one in transactions if one["type"].endswith("_ORDER")}
    assert {str(order_id) for order_id in ledger.pending} == created - set(ended)
    # Dependents hang on open trades, one of a kind.
    for order in ledger.pending.values():
        if "tradeID" in order.fields:
            assert order.id in ledger.open[order.trade_id].dependents
    if not ledger.terms.hedging:
        assert len({trade.is_long for trade in ledger.open.values()}) <= 1


def check_first_in_first_out(ledger: Ledger) -> None:
    """Replay the fills of a netting account against a plain queue of trades."""
    queue: deque[list[Any]] = deque()
    for one in ledger.transactions:
        if one["type"] != "ORDER_FILL":
            continue
        order = ledger.orders[int(one["orderID"])]
        chosen = order.fields.get("tradeClose", {}).get("tradeID") or order.fields.get("tradeID")
        parts = [*one.get("tradesClosed", [])]
        parts += [one["tradeReduced"]] if "tradeReduced" in one else []
        for part in parts:
            entry = queue[0] if chosen is None else next(e for e in queue if e[0] == chosen)
            assert part["tradeID"] == entry[0]
            entry[1] += Decimal(part["units"])
            if entry[1] == 0:
                queue.remove(entry)
        if "tradeOpened" in one:
            queue.append([one["tradeOpened"]["tradeID"], Decimal(one["tradeOpened"]["units"])])


interferences = st.one_of(
    st.just(Interference()),
    st.just(Interference()),
    st.just(Interference()),
    st.just(Interference()),
    st.just(Interference()),
    st.integers(0, 500).map(lambda size: Interference(liquidity=Decimal(size))),
    st.just(Interference(cancel="MARKET_HALTED")),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(actions, interferences), min_size=8, max_size=40),
    st.booleans(),
    st.sampled_from(["forever", "open"]),
)
def test_ids_money_and_units_are_conserved(
    script: list[Any], hedging: bool, client_ids: str
) -> None:
    run = Run(Terms(ACCOUNT, hedging=hedging, client_ids=client_ids))
    for (what, value), force in script:
        run.act(what, value, force)
        check(run.ledger)
    if not hedging:
        check_first_in_first_out(run.ledger)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(actions, interferences), min_size=8, max_size=40))
def test_the_transactions_alone_give_the_same_account_again(script: list[Any]) -> None:
    run = Run(Terms(ACCOUNT))
    for (what, value), force in script:
        run.act(what, value, force)
    again = Ledger.replayed(run.ledger.terms, run.ledger.transactions, run.ledger.marks)
    for name in ("orders", "trades", "pending", "open", "totals", "balance", "pl", "marks"):
        assert getattr(again, name) == getattr(run.ledger, name)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(actions, interferences), min_size=1, max_size=20))
def test_the_same_requests_give_the_same_ledger(script: list[Any]) -> None:
    first, second = Run(Terms(ACCOUNT)), Run(Terms(ACCOUNT))
    for (what, value), force in script:
        first.act(what, value, force)
        second.act(what, value, force)
    assert first.ledger.transactions == second.ledger.transactions


def test_a_ledger_survives_in_its_file(tmp_path: Any) -> None:
    run = Run(Terms(ACCOUNT))
    stop = {"distance": "0.00100"}
    order = {
        "type": "MARKET",
        "instrument": "EUR_USD",
        "units": "100",
        "trailingStopLossOnFill": stop,
    }
    run.act("POST /orders", {"order": order}, Interference())
    run.move(150)
    store = Store(tmp_path / "ledger.sqlite3")
    assert store.load(Terms(ACCOUNT)) is None
    store.save(run.venue.ledgers, run.venue.market.quotes, 7)
    store.save(run.venue.ledgers, run.venue.market.quotes, 8)  # nothing new, nothing written
    store.close()

    again = Store(tmp_path / "ledger.sqlite3")
    ledger = again.load(Terms(ACCOUNT))
    assert ledger is not None
    assert ledger.transactions == run.ledger.transactions
    # The bid rose to 1.10150, so the stop trails at 1.10050; no transaction says so.
    assert ledger.marks == {5: Decimal("1.10050")}
    assert again.quotes() == list(run.venue.market.quotes.values())
    assert again.cursor() == 7
    assert again.load(Terms("101-004-1435156-002")) is None
    with pytest.raises(ValueError, match="is USD netting, not USD hedging"):
        again.load(Terms(ACCOUNT, hedging=True))
    again.close()


def test_units_are_shared_out_oldest_first() -> None:
    run = Run(Terms(ACCOUNT, hedging=True))
    for size in ("100", "200", "300"):
        order = {"type": "MARKET", "instrument": "EUR_USD", "units": size}
        run.act("POST /orders", {"order": order}, Interference())
    longs = run.ledger.open_trades("EUR_USD", long=True)
    plan = share_out(Decimal(-250), longs, reduce=True, open_rest=True)
    assert [(trade.id, units) for trade, units in plan.reductions] == [(4, -100), (6, -150)]
    plan = share_out(Decimal(-700), longs, reduce=True, open_rest=True)
    assert (plan.opened, plan.units) == (Decimal(-100), Decimal(-700))
    plan = share_out(Decimal(-700), longs, reduce=True, open_rest=False)
    assert plan.units == Decimal(-600)
