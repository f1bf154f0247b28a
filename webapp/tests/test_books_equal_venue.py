"""Positions and profit by our books are those of the venue's ledger, to the last digit.

Random orders, closes and quotes are given to the local venue in this process; what it wrote down is
applied as facts. The venue shares no code with the books.
"""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from sep_engine.execution.core import Timing
from sep_oanda_server import desk
from sep_oanda_server.ledger import Ledger, Terms
from sep_oanda_server.market import Quote, QuoteBoard
from sep_oanda_server.valuation import unrealized
from webapp.trading.brokers.oanda.facts import transactions_of
from webapp.trading.models import BrokerAccount, Instrument, Order, Position, Trade
from webapp.trading.rebuild import books_from_log, differences
from webapp.trading.selectors.balance import account_balance
from webapp.trading.selectors.holdings import lots_held, open_profit
from webapp.trading.selectors.stops import covered_units, stops_of
from webapp.trading.services.order_facts import facts_apply

D = Decimal
START_NS = 1_900_000_000_000_000_000
# Dollars, yen and pounds: the account is in dollars.
STARTS = {"EUR_USD": D("1.10000"), "USD_JPY": D("150.000"), "EUR_GBP": D("0.85000")}
STEPS = {"EUR_USD": D("0.00001"), "USD_JPY": D("0.001"), "EUR_GBP": D("0.00001")}
MODES = ("DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY")


class Play:
    """A venue with an account in dollars, and our books of it."""

    def __init__(self, *, hedging: bool, seed: int) -> None:
        self.chance = random.Random(seed)
        self.market = QuoteBoard()
        self.mids = dict(STARTS)
        self.now_ns = START_NS
        self.ledger = Ledger.opened(Terms(hedging=hedging), START_NS)
        self.account = BrokerAccount.objects.create(
            name="books", kind="oanda-local", opening_balance=100_000, hedging=hedging
        )
        for name, step in STEPS.items():
            base, _, quote = name.partition("_")
            Instrument.objects.create(
                name=name,
                display_name=name,
                base=base,
                quote=quote,
                tick=step,
                pip=10 * step,
                units_step=1,
                price_decimals=-int(step.as_tuple().exponent),
                calendar="fx",
            )
        self.put("GBP_USD", D("1.29990"), D("1.30010"))
        self.move()

    def put(self, name: str, bid: Decimal, ask: Decimal) -> None:
        self.market.put(Quote(name, self.now_ns, bid, ask))

    def move(self) -> None:
        self.now_ns += 1_000_000_000
        for name, step in STEPS.items():
            self.mids[name] += self.chance.randint(-150, 150) * step
            self.put(name, self.mids[name] - 7 * step, self.mids[name] + 7 * step)

    def act(self) -> None:
        """Do one thing that the account's owner may do; some of them are refused."""
        self.move()
        name = self.chance.choice(list(STARTS))
        open_trades = list(self.ledger.open.values())
        draw = self.chance.random()
        if draw < 0.2 and open_trades:
            trade = self.chance.choice(open_trades)
            units = self.chance.choice(["ALL", str(self.chance.randint(1, 900))])
            wanted = {"units": units}
            desk.close_trade(self.ledger, str(trade.id), wanted, self.market, self.now_ns)
        elif draw < 0.3:
            side = self.chance.choice(["longUnits", "shortUnits"])
            desk.close_position(self.ledger, name, {side: "ALL"}, self.market, self.now_ns)
        else:
            order = {
                "type": "MARKET",
                "instrument": name,
                "units": str(self.chance.choice([-1, 1]) * self.chance.randint(1, 900)),
                "timeInForce": "FOK",
                "positionFill": self.chance.choice(MODES),
            }
            desk.create_order(self.ledger, order, self.market, self.now_ns)

    def read(self) -> None:
        self.account.refresh_from_db()
        lines: list[Any] = self.ledger.transactions[self.account.last_transaction_id :]
        facts_apply(
            account_id=self.account.pk,
            facts=transactions_of(lines),
            now=timezone.now(),
            timing=Timing(late=timedelta(0), read_gap=timedelta(0)),
        )


@pytest.mark.parametrize("hedging", [False, True], ids=["netting", "hedging"])
@pytest.mark.parametrize("seed", range(3))
def test_positions_and_profit_are_the_venues_whatever_is_traded(
    db: None, hedging: bool, seed: int
) -> None:
    play = Play(hedging=hedging, seed=seed)
    for _ in range(4):
        for _ in range(12):
            play.act()
        play.read()
        there = play.ledger.open.values()
        units: dict[str, Decimal] = {}
        for trade in there:
            side = f" {'long' if trade.units > 0 else 'short'}" if hedging else ""
            key = f"{trade.instrument}{side}"
            units[key] = units.get(key, D(0)) + trade.units
        held = Position.objects.select_related("instrument").exclude(units=0)
        assert {row.key: row.units for row in held} == {k: v for k, v in units.items() if v}
        kept = Trade.objects.exclude(units=0).values_list("venue_trade_id", "units", "realised_pl")
        assert set(kept) == {(str(one.id), one.units, one.realized) for one in there}
        assert account_balance(play.account) == play.ledger.balance
        # The venue rounds each trade to a hundredth of a cent.
        quotes = {name: (quote.bid, quote.ask) for name, quote in play.market.quotes.items()}
        ours = sorted(
            (
                lot.instrument,
                lot.units,
                (open_profit([lot], quotes, "USD") or D(0)).quantize(D("1e-4")),
            )
            for lot in lots_held(play.account)
        )
        theirs = sorted(
            (one.instrument, one.units, unrealized(play.ledger, one, play.market)) for one in there
        )
        assert ours == theirs
    if hedging:
        assert Position.objects.filter(side="SHORT").exists()
    booked = sum(Position.objects.values_list("booked_pl", flat=True), D(0))
    assert booked == play.ledger.pl
    assert differences(books_from_log()) == []


def test_a_guaranteed_stop_of_the_venues_own_app_is_kept_and_its_premium_is_a_fee(
    db: None,
) -> None:
    play = Play(hedging=False, seed=1)
    order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1000"}
    order |= {"timeInForce": "FOK", "positionFill": "DEFAULT"}
    desk.create_order(play.ledger, order, play.market, play.now_ns)
    play.read()
    (opened,) = play.ledger.open.values()
    fill = play.ledger.transactions[opened.id - 1]
    common = {"accountID": fill["accountID"], "time": fill["time"], "batchID": "5"}
    stop = common | {
        "type": "GUARANTEED_STOP_LOSS_ORDER",
        "id": "5",
        "tradeID": str(opened.id),
        "price": "1.05000",
        "timeInForce": "GTC",
        "guaranteedExecutionPremium": "0.00050",
        "reason": "CLIENT_ORDER",
    }
    # 1,000 units at 1.05 lose 1000 * (1.05 - entry); the premium of 0.00050 a unit is 0.50 dollars.
    lost = (D("1.05") - opened.price) * 1000
    hit = common | {
        "type": "ORDER_FILL",
        "id": "6",
        "orderID": "5",
        "instrument": "EUR_USD",
        "units": "-1000",
        "price": "1.05000",
        "reason": "GUARANTEED_STOP_LOSS_ORDER",
        "pl": str(lost),
        "financing": "0",
        "commission": "0",
        "guaranteedExecutionFee": "0.5000",
        "accountBalance": str(play.ledger.balance + lost - D("0.5")),
        "tradesClosed": [
            {"tradeID": str(opened.id), "units": "-1000", "price": "1.05000"}
            | {"realizedPL": str(lost)}
        ],
    }
    play.ledger.transactions += [stop, hit]

    def applied(line: dict[str, Any]) -> None:
        facts_apply(
            account_id=play.account.pk,
            facts=transactions_of([line], [fill]),
            now=timezone.now(),
            timing=Timing(),
        )

    applied(stop)
    kept = Order.objects.get(type="GUARANTEED_STOP_LOSS")
    assert (kept.units, kept.price, kept.state) == (-1000, D("1.05"), "ACCEPTED")
    position = Position.objects.get()
    assert position.stop_loss == D("1.05")
    assert covered_units(position, stops_of(position)) == 1000
    applied(hit)
    kept.refresh_from_db()
    assert kept.state == "FILLED"
    assert account_balance(play.account) == D(hit["accountBalance"])
