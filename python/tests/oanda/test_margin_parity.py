"""Closeouts of the backtester's account beside those of the local venue, quote by quote."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sep_engine.backtest import Costs, ExitReason, Trade, run_decided
from sep_engine.backtest.account import Charges, Leg, Size, keep_account
from sep_engine.model import Instrument
from sep_engine.signals import DEFAULT_RULE

from .conftest import NOON_NS, Desk, MakeDesk

D = Decimal
HOUR_NS = 3_600_000_000_000
TICK = D("0.001")
EUR_USD = Instrument("EUR_USD", "EUR", "USD", TICK, TICK, D(1), 3, "fx")
# 30,000 EUR at 1.1 tie up 2 %: 660 of 1,000 USD. A tick is worth 30 USD.
UNITS, BALANCE = D(30_000), D(1000)
ROWS = 40


@dataclass(frozen=True, eq=False)
class Walk:
    """Hourly mid prices of a wild walk; each bar has a range beyond its open and close."""

    open_ticks: npt.NDArray[np.int64]
    high_ticks: npt.NDArray[np.int64]
    low_ticks: npt.NDArray[np.int64]
    close_ticks: npt.NDArray[np.int64]
    tick: Decimal = TICK
    name: str = "walk"
    content_sha256: str = "0" * 64

    @classmethod
    def of(cls, rng: np.random.Generator) -> Walk:
        close = 1_100 + np.cumsum(rng.integers(-12, 13, ROWS))
        start = np.append(1_100, close[:-1]) + rng.integers(-3, 4, ROWS)
        high = np.maximum(start, close) + rng.integers(0, 6, ROWS)
        low = np.minimum(start, close) - rng.integers(0, 6, ROWS)
        return cls(start, high, low, close)

    @property
    def times(self) -> npt.NDArray[np.int64]:
        return NOON_NS + HOUR_NS * np.arange(ROWS)

    @property
    def close(self) -> npt.NDArray[np.float64]:
        return self.close_ticks * float(TICK)

    def gaps(self) -> npt.NDArray[np.bool_]:
        return np.zeros(ROWS, dtype=bool)


class Replay:
    """The trades of a backtest at the venue: every tick of every bar is a quote."""

    def __init__(self, desk: Desk, stop_ticks: int | None) -> None:
        self.desk, self.stop_ticks = desk, stop_ticks
        self.row = 0
        self.closed: list[tuple[int, str, Decimal]] = []
        self.heard = len(desk.ledger.transactions)

    def quote(self, mid: int) -> None:
        self.desk.quote(f"{(mid - 1) * TICK:.5f}", f"{(mid + 1) * TICK:.5f}")
        for one in self.desk.ledger.transactions[self.heard :]:
            if one["type"] == "ORDER_FILL" and one.get("tradesClosed"):
                self.closed.append((self.row, one["reason"], D(one["fullVWAP"])))
        self.heard = len(self.desk.ledger.transactions)

    @property
    def is_open(self) -> bool:
        return bool(self.desk.ledger.open)

    def send(self, units: Decimal, stop: Decimal | None = None) -> None:
        order: dict[str, Any] = {"type": "MARKET", "units": str(units)}
        if stop is not None:
            order["stopLossOnFill"] = {"price": f"{stop:.5f}"}
        self.desk.order(**order)

    def bar(self, bars: Walk, row: int, trades: tuple[Trade, ...]) -> None:
        """Go through a bar: its open, its worst for who holds a position, its close."""
        self.row = row
        self.desk.now_ns = int(bars.times[row])
        start, close = int(bars.open_ticks[row]), int(bars.close_ticks[row])
        self.quote(start)
        for trade in trades:
            if trade.exit_bar == row and trade.reason == ExitReason.HORIZON and self.is_open:
                self.desk.send("PUT", "/positions/EUR_USD/close", {self._side(trade): "ALL"})
                self.closed.append((row, "left", D(trade.exit_ticks) * TICK))
                self.heard = len(self.desk.ledger.transactions)
        for trade in trades:
            if trade.entry_bar == row:
                away = None if self.stop_ticks is None else self.stop_ticks * trade.direction
                stop = None if away is None else (trade.entry_ticks - away) * TICK
                self.send(UNITS * trade.direction, stop)
                self.heard = len(self.desk.ledger.transactions)
        held = next((t for t in trades if t.entry_bar <= row <= t.exit_bar), None)
        worst = start
        if held is not None:
            worst = int((bars.low_ticks if held.direction > 0 else bars.high_ticks)[row])
        step = 1 if worst > start else -1
        for mid in range(start + step, worst + step, step):
            self.quote(mid)
        self.quote(close)

    @staticmethod
    def _side(trade: Trade) -> str:
        return "longUnits" if trade.direction > 0 else "shortUnits"


@pytest.mark.parametrize("stop_ticks", [None, 23], ids=["no stop", "stop"])
def test_closeouts_are_those_of_the_venue(make_desk: MakeDesk, stop_ticks: int | None) -> None:
    seen = {"MARKET_ORDER_MARGIN_CLOSEOUT": 0, "STOP_LOSS_ORDER": 0, "left": 0}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        bars = Walk.of(rng)
        decided = rng.integers(-1, 2, ROWS).astype(np.int8)
        # The last bars decide nothing, so that no trade is cut off by the end of the data.
        decided[-7:] = 0
        rule = replace(DEFAULT_RULE, horizon_bars=5, stop_ticks=stop_ticks, target_ticks=None)
        result = run_decided(bars, rule, decided, Costs(2), side="mid")
        leg = Leg(
            EUR_USD, bars, result, Size(units=UNITS), Charges(margin_fraction=D("0.02"))
        )  # fmt: skip
        account = keep_account([leg], currency="USD", opening=BALANCE)

        replay = Replay(make_desk(opening_balance=BALANCE), stop_ticks)
        for row in range(ROWS):
            replay.bar(bars, row, result.trades)

        for _, reason, _ in replay.closed:
            seen[reason] += 1
        ours = [(one.exit_bar, one.exit) for one in account.booked]
        assert ours == [(row, price) for row, _, price in replay.closed], seed
        assert [one.bar for one in account.closeouts] == [
            row for row, reason, _ in replay.closed if reason == "MARKET_ORDER_MARGIN_CLOSEOUT"
        ], seed
        assert account.balance == replay.desk.ledger.balance, seed
    # Of 30 wild walks some end an account, by its stop or before it.
    assert seen["MARKET_ORDER_MARGIN_CLOSEOUT"] >= 8
    assert seen["left"] >= 10
    assert (seen["STOP_LOSS_ORDER"] >= 8) == (stop_ticks is not None)
