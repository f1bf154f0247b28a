"""Trades in ticks as money of one account: sizes, slippage, commission, financing, conversion.

`run` says which trades there are and at what prices, exactly and for one unit. An account replays
the trades of one or many instruments in the order of their times, in Decimal:

1. Size at the entry, from the balance that is realised by then: a fixed number of units, or as many
   as lose a share of the balance at the stop, rounded down to the instrument's step. A trade that
   buys less than one step, or whose margin is more than the balance leaves free, is not made and is
   listed. Exits come before entries of the same instant.
2. Slippage worsens every fill by a number of ticks, but a target's: it is a limit order.
3. Commission is a share of the turnover of each side, in quote currency.
4. Financing is charged where a trading day ends (17:00 New York) while the position is open: units
   times price times the rate a year of its side over 365, times the days that this weekday counts.
   The price is the last close before. Spot settles two days later, so Wednesday counts three.
5. Quote currency becomes account currency at the last known close of its rate when the money moves.
   Nothing is assumed for a rate that is not there.
6. The balance moves when a position is closed; entry commission and financing are booked then too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest.result import BacktestResult
from sep_engine.backtest.run import BarColumns
from sep_engine.backtest.trades import ExitReason, Trade
from sep_engine.errors import ArgumentError
from sep_engine.model import Instrument
from sep_engine.model.calendar import trading_days
from sep_engine.risk import position_units

SPOT_DAYS = (1, 1, 3, 1, 1, 0, 0)  # Monday to Sunday
_THURSDAY = 3  # 1970-01-01; Monday is 0
_DAYS_A_YEAR = Decimal(365)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Charges:
    """What trading one instrument costs beside its spread.

    Attributes:
        slippage_ticks: of every fill but a target's, >= 0.
        commission_fraction: of the turnover of each side, >= 0.
        long_rate, short_rate: financing a year of a bought and of a sold position; below 0 pays.
        days_charged: days of financing that each trading day counts, Monday to Sunday.
        margin_fraction: of a position's value that must be free, in [0, 1]; 0 asks for none.
    """

    slippage_ticks: int = 0
    commission_fraction: Decimal = _ZERO
    long_rate: Decimal = _ZERO
    short_rate: Decimal = _ZERO
    days_charged: tuple[int, ...] = SPOT_DAYS
    margin_fraction: Decimal = _ZERO

    def __post_init__(self) -> None:
        if self.slippage_ticks < 0 or self.commission_fraction < 0:
            raise ArgumentError("slippage_ticks and commission_fraction must be >= 0")
        if len(self.days_charged) != 7 or min(self.days_charged) < 0:
            raise ArgumentError(f"days_charged must be 7 numbers >= 0, were {self.days_charged}")
        if not 0 <= self.margin_fraction <= 1:
            raise ArgumentError(f"margin_fraction must be in [0, 1], was {self.margin_fraction}")


@dataclass(frozen=True, slots=True)
class Size:
    """How large a position is: `units` of base, or what loses `risk_fraction` at the stop."""

    units: Decimal | None = None
    risk_fraction: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.units is None) == (self.risk_fraction is None):
            raise ArgumentError("a size is units or risk_fraction, one of them")
        if self.units is not None and not self.units > 0:
            raise ArgumentError(f"units must be > 0, was {self.units}")
        if self.risk_fraction is not None and not 0 < self.risk_fraction <= 1:
            raise ArgumentError(f"risk_fraction must be in (0, 1], was {self.risk_fraction}")


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """The trades of one instrument: a backtest, its bars and its charges."""

    instrument: Instrument
    bars: BarColumns
    result: BacktestResult
    size: Size
    charges: Charges = field(default_factory=Charges)

    def __post_init__(self) -> None:
        if self.result.content_sha256 != self.bars.content_sha256:
            raise ArgumentError(f"{self.instrument.name}: the backtest is not of these bars")
        if self.size.risk_fraction is not None and self.result.rule.stop_ticks is None:
            raise ArgumentError(f"{self.instrument.name}: risk_fraction needs a rule with a stop")


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """Account currency for one unit of another at the end of bars: (n,) times and rates.

    ends: int64 nanoseconds, ascending: a rate is known from the end of its bar on.
    """

    ends: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, time_ns: int) -> Decimal | None:
        """Return the last rate that was known at a time, None before the first."""
        place = int(np.searchsorted(self.ends, time_ns, side="right")) - 1
        return None if place < 0 else Decimal(repr(float(self.values[place])))


@dataclass(frozen=True, slots=True)
class Booked:
    """A trade in money of the account.

    Attributes:
        trade: what it was in ticks.
        units: > 0.
        entry, exit: fill prices, slippage included.
        gross: profit at these prices; commission and financing are costs (> 0) or gains (< 0).
        net: what the balance moved by; balance: after it.
    """

    instrument: str
    trade: Trade
    units: Decimal
    entry: Decimal
    exit: Decimal
    gross: Decimal
    commission: Decimal
    financing: Decimal
    net: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class AccountResult:
    """What became of an account.

    Attributes:
        currency, opening: of the account, and its balance before the first trade.
        booked: in the order of their exits.
        skipped: instrument, entry bar and reason of each trade that was not made.
        max_drawdown: largest fall of the balance below an earlier peak, >= 0.
    """

    currency: str
    opening: Decimal
    booked: tuple[Booked, ...]
    skipped: tuple[tuple[str, int, str], ...]
    max_drawdown: Decimal

    @property
    def balance(self) -> Decimal:
        """After the last trade."""
        return self.booked[-1].balance if self.booked else self.opening

    def total(self, name: str) -> Decimal:
        """Return the sum of gross, commission, financing or net over all trades."""
        return sum((getattr(one, name) for one in self.booked), _ZERO)


def keep_account(
    legs: Sequence[Leg],
    *,
    currency: str,
    opening: Decimal,
    rates: Mapping[str, Rate] | None = None,
) -> AccountResult:
    """Return what the trades of all legs do to one account.

    Args:
        legs: one an instrument.
        currency: of the account, e.g. "EUR".
        opening: balance, > 0.
        rates: for quote currencies other than the account's, account currency for one unit. A leg
            whose base is the account's currency needs none: its own closes say it.

    Raises:
        ArgumentError: a rate is missing, at all or at the time of a trade; two legs of one
            instrument; or opening is not > 0.
    """
    if not opening > 0:
        raise ArgumentError(f"opening must be > 0, was {opening}")
    names = [leg.instrument.name for leg in legs]
    if len(set(names)) != len(names):
        raise ArgumentError(f"one leg an instrument, were {', '.join(names)}")
    books = [_Book(leg, currency, rates or {}) for leg in legs]
    # (start of its bar, order within the bar, leg, trade): exits at the open come before entries
    # there, and what happens inside a bar or at its close is not known to an entry at its open.
    events: list[tuple[int, int, int, int]] = []
    for place, leg in enumerate(legs):
        at_open = leg.result.entry == "open"
        for number, trade in enumerate(leg.result.trades):
            entered, left = (int(leg.bars.times[row]) for row in (trade.entry_bar, trade.exit_bar))
            events.append((entered, 1 if at_open else 3, place, number))
            leaves_at_open = at_open and trade.reason == ExitReason.HORIZON
            events.append((left, 0 if leaves_at_open else 2, place, number))
    events.sort()
    balance = peak = opening
    drawdown = _ZERO
    used: dict[tuple[int, int], Decimal] = {}
    held: dict[tuple[int, int], _Held] = {}
    booked: list[Booked] = []
    skipped: list[tuple[str, int, str]] = []
    for time_ns, kind, place, number in events:
        leg, book, trade = legs[place], books[place], legs[place].result.trades[number]
        if kind in (1, 3):
            opened = book.open(trade, balance=balance, free=balance - sum(used.values(), _ZERO))
            if isinstance(opened, str):
                skipped.append((leg.instrument.name, trade.entry_bar, opened))
            else:
                held[place, number] = opened
                used[place, number] = opened.margin
        elif (place, number) in held:
            opened = held.pop((place, number))
            del used[place, number]
            one = book.close(opened, trade, time_ns=time_ns, balance=balance)
            booked.append(one)
            balance = one.balance
            peak = max(peak, balance)
            drawdown = max(drawdown, peak - balance)
    return AccountResult(currency, opening, tuple(booked), tuple(skipped), drawdown)


@dataclass(frozen=True, slots=True)
class _Held:
    units: Decimal
    entry: Decimal
    margin: Decimal


class _Book:
    """One leg with its prices in Decimal and its way to account currency."""

    def __init__(self, leg: Leg, currency: str, rates: Mapping[str, Rate]) -> None:
        self.leg, self.tick = leg, leg.bars.tick
        self.days = trading_days(leg.bars.times)
        self.is_account = leg.instrument.quote == currency
        self.rate: Rate | None = rates.get(leg.instrument.quote)
        if not self.is_account and self.rate is None:
            if leg.instrument.base != currency:
                raise ArgumentError(
                    f"{leg.instrument.name}: no rate from {leg.instrument.quote} to {currency}"
                )
            starts = leg.bars.times
            # A close is known when the next bar starts.
            ends = np.append(starts[1:], np.iinfo(np.int64).max)
            self.rate = Rate(ends, 1 / leg.bars.close)

    def open(self, trade: Trade, *, balance: Decimal, free: Decimal) -> _Held | str:
        leg, charges = self.leg, self.leg.charges
        entry = self._price(trade.entry_ticks + trade.direction * charges.slippage_ticks)
        time_ns = int(leg.bars.times[trade.entry_bar])
        account = self._account_per_quote(time_ns)
        if leg.size.units is not None:
            units = leg.size.units
        elif balance <= 0:
            return "the balance is used up"
        else:
            assert leg.size.risk_fraction is not None
            assert leg.result.rule.stop_ticks is not None
            units = position_units(
                equity=balance,
                risk_fraction=leg.size.risk_fraction,
                stop_distance=leg.result.rule.stop_ticks * self.tick,
                account_per_quote=account,
                instrument=leg.instrument,
            )
        if units == 0:
            return "the budget buys less than one step"
        margin = units * entry * account * charges.margin_fraction
        if margin > free:
            return f"margin {margin:.2f} is more than the free {free:.2f}"
        return _Held(units, entry, margin)

    def close(self, held: _Held, trade: Trade, *, time_ns: int, balance: Decimal) -> Booked:
        charges = self.leg.charges
        slip = 0 if trade.reason == ExitReason.TARGET else charges.slippage_ticks
        exit_ = self._price(trade.exit_ticks - trade.direction * slip)
        account = self._account_per_quote(time_ns)
        gross = held.units * (exit_ - held.entry) * trade.direction
        commission = held.units * (held.entry + exit_) * charges.commission_fraction
        financing = self._financing(held.units, trade)
        net = (gross - commission - financing) * account
        return Booked(
            instrument=self.leg.instrument.name,
            trade=trade,
            units=held.units,
            entry=held.entry,
            exit=exit_,
            gross=gross * account,
            commission=commission * account,
            financing=financing * account,
            net=net,
            balance=balance + net,
        )

    def _financing(self, units: Decimal, trade: Trade) -> Decimal:
        """Return what holding the position over the ends of days costs, in quote currency."""
        charges = self.leg.charges
        rate = charges.long_rate if trade.direction > 0 else charges.short_rate
        first, last = int(self.days[trade.entry_bar]), int(self.days[trade.exit_bar])
        cost = _ZERO
        if rate == 0:
            return cost
        for day in range(first, last):
            counted = charges.days_charged[(day + _THURSDAY) % 7]
            if counted:
                before = int(np.searchsorted(self.days, day, side="right")) - 1
                price = self._price(int(self.leg.bars.close_ticks[before]))
                cost -= units * price * rate * counted / _DAYS_A_YEAR
        return cost

    def _price(self, ticks: int) -> Decimal:
        return ticks * self.tick

    def _account_per_quote(self, time_ns: int) -> Decimal:
        if self.is_account:
            return Decimal(1)
        assert self.rate is not None
        found = self.rate.at(time_ns)
        if found is None:
            raise ArgumentError(
                f"{self.leg.instrument.name}: no rate of {self.leg.instrument.quote} is known by "
                "the time of a trade"
            )
        return found
