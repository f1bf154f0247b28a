"""Trades in ticks as money of one account: sizes, slippage, commission, financing, conversion.

`run` says which trades there are and at what prices, exactly and for one unit. An account replays
the trades of one or many instruments in the order of their times, in Decimal:

1. Size at the entry, from the balance that is realised by then: a fixed number of units, or as many
   as lose a share of the balance at the stop, rounded down to the instrument's step. A trade that
   buys less than one step, or whose margin is more than the equity leaves free, is not made and is
   listed. Exits come before entries of the same instant.
2. Slippage worsens every fill by a number of ticks, but a target's: it is a limit order.
3. Commission is a share of the turnover of each side, in quote currency; what the backtest takes
   off each side (`Costs.per_side_ticks`) is booked with it.
4. Financing is charged where a trading day ends (17:00 New York) while the position is open: units
   times price times the rate a year of its side over 365, times the days that this weekday counts.
   The price is the last close before. Spot settles two days later, so Wednesday counts three.
5. Quote currency becomes account currency at the last known close of its rate when the money moves.
   Nothing is assumed for a rate that is not there.
6. The balance moves when a position is closed; entry commission and financing are booked then too.
7. Margin in use is a share of what the open positions are worth at mid prices; equity is the
   balance and what closing them at once would bring, commission and financing so far taken off.
   When equity is no more than a share of the margin in use, every position whose market is open is
   closed (OANDA: half of it). That is judged at the open of each bar and within its range, in which
   all prices move at the same pace from their open to their worst. As for a stop, a fill is at the
   price where that happened, or at the open beyond it, and comes before a target and before the
   bar's close; a stop that lies nearer comes before it. The trades that follow stay those of the
   backtest: the rule enters nothing in the place of what was closed before its time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest.market import Side, market
from sep_engine.backtest.result import BacktestResult
from sep_engine.backtest.run import TradedBars
from sep_engine.backtest.trades import ExitReason, Trade
from sep_engine.errors import ArgumentError
from sep_engine.model import Instrument
from sep_engine.model.calendar import trading_days
from sep_engine.risk import position_units

SPOT_DAYS = (1, 1, 3, 1, 1, 0, 0)  # Monday to Sunday
_THURSDAY = 3  # 1970-01-01; Monday is 0
_DAYS_A_YEAR = Decimal(365)
_ZERO = Decimal(0)
_HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Charges:
    """What trading one instrument costs beside its spread.

    Attributes:
        slippage_ticks: of every fill but a target's, >= 0.
        commission_fraction: of the turnover of each side, >= 0.
        long_rate, short_rate: financing a year of a bought and of a sold position; below 0 pays.
        days_charged: days of financing that each trading day counts, Monday to Sunday.
        margin_fraction: of a position's value, held while it is open, in [0, 1]; 0 asks for none.
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
    bars: TradedBars
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
        exit_bar: row in which it was closed, that of the trade unless the margin was used up.
        entry, exit: fill prices, slippage included.
        gross: profit at these prices; commission and financing are costs (> 0) or gains (< 0).
        net: what the balance moved by; balance: after it.
    """

    instrument: str
    trade: Trade
    units: Decimal
    exit_bar: int
    entry: Decimal
    exit: Decimal
    gross: Decimal
    commission: Decimal
    financing: Decimal
    net: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Closeout:
    """A position that was closed because the margin was used up.

    Attributes:
        bar: row of its instrument's bars.
        equity, margin: of the account when it was.
    """

    instrument: str
    bar: int
    equity: Decimal
    margin: Decimal


@dataclass(frozen=True, slots=True)
class AccountResult:
    """What became of an account.

    Attributes:
        currency, opening: of the account, and its balance before the first trade.
        booked: in the order of their exits.
        skipped: instrument, entry bar and reason of each trade that was not made.
        closeouts: in the order of their times.
        max_drawdown: largest fall of the balance below an earlier peak, >= 0.
    """

    currency: str
    opening: Decimal
    booked: tuple[Booked, ...]
    skipped: tuple[tuple[str, int, str], ...]
    closeouts: tuple[Closeout, ...]
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
    closeout_fraction: Decimal = _HALF,
) -> AccountResult:
    """Return what the trades of all legs do to one account.

    Args:
        legs: one an instrument.
        currency: of the account, e.g. "EUR".
        opening: balance, > 0.
        rates: for quote currencies other than the account's, account currency for one unit. A leg
            whose base is the account's currency needs none: its own closes say it.
        closeout_fraction: of the margin in use; equity at or below it closes what is open, in
            [0, 1]. It says nothing to legs without a margin.

    Raises:
        ArgumentError: a rate is missing, at all or at the time of a trade; two legs of one
            instrument; or a number is outside its range.
    """
    if not opening > 0:
        raise ArgumentError(f"opening must be > 0, was {opening}")
    if not 0 <= closeout_fraction <= 1:
        raise ArgumentError(f"closeout_fraction must be in [0, 1], was {closeout_fraction}")
    names = [leg.instrument.name for leg in legs]
    if len(set(names)) != len(names):
        raise ArgumentError(f"one leg an instrument, were {', '.join(names)}")
    account = _Account([_Book(leg, currency, rates or {}) for leg in legs], opening)
    # (start of its bar, order within the bar, leg, trade): exits at the open come before entries
    # there, and what happens inside a bar or at its close is not known to an entry at its open.
    events: list[tuple[int, int, int, int]] = []
    watched: set[int] = set()
    for place, leg in enumerate(legs):
        at_close = leg.result.entry == "close"
        for number, trade in enumerate(leg.result.trades):
            entered, left = (int(leg.bars.times[row]) for row in (trade.entry_bar, trade.exit_bar))
            events.append((entered, _ENTER_CLOSE if at_close else _ENTER_OPEN, place, number))
            at_open = not at_close and trade.reason == ExitReason.HORIZON
            events.append((left, _LEAVE_OPEN if at_open else _LEAVE, place, number))
            if leg.charges.margin_fraction:
                watched.update(leg.bars.times[trade.entry_bar : trade.exit_bar + 1].tolist())
    events += [(time_ns, kind, 0, 0) for time_ns in watched for kind in (_OPENED, _RANGED)]
    for time_ns, kind, place, number in sorted(events):
        if kind in (_OPENED, _RANGED):
            account.watch(time_ns, closeout_fraction, within=kind == _RANGED)
        elif kind in (_ENTER_OPEN, _ENTER_CLOSE):
            account.enter(place, number, time_ns, at_close=kind == _ENTER_CLOSE)
        else:
            account.leave(place, number, time_ns)
    return AccountResult(
        currency,
        opening,
        tuple(account.booked),
        tuple(account.skipped),
        tuple(account.closeouts),
        account.drawdown,
    )


# What happens at the time of a bar, in this order: the venue looks at the margin when a price
# comes, before anybody can act on that price.
_OPENED, _LEAVE_OPEN, _ENTER_OPEN, _RANGED, _LEAVE, _ENTER_CLOSE = range(6)


@dataclass(frozen=True, slots=True)
class _Held:
    """An open position; `fees` are those of its entry, in quote currency."""

    book: "_Book"
    trade: Trade
    units: Decimal
    entry: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class _Path:
    """What closing a position brings within a bar: ticks of its side from `start` to `worst`.

    Attributes:
        row: bar whose spread and day count.
        is_open: whether its market is, so that it can be closed.
        stops: whether its own stop is what lies at `worst`.
    """

    held: _Held
    row: int
    start: int
    worst: int
    is_open: bool
    stops: bool

    def at(self, step: int, steps: int) -> int:
        """The price after `step` of so many steps, rounded to the worse tick."""
        fall = (self.start - self.worst) * self.held.trade.direction
        return self.start - self.held.trade.direction * (-(-fall * step // max(steps, 1)))

    def has_stopped(self, ticks: int) -> bool:
        return self.stops and ticks == self.worst


class _Account:
    """Balance and open positions, from event to event."""

    def __init__(self, books: "Sequence[_Book]", opening: Decimal) -> None:
        self.books = books
        self.balance = self.peak = opening
        self.drawdown = _ZERO
        self.held: dict[tuple[int, int], _Held] = {}
        self.booked: list[Booked] = []
        self.skipped: list[tuple[str, int, str]] = []
        self.closeouts: list[Closeout] = []

    def enter(self, place: int, number: int, time_ns: int, *, at_close: bool) -> None:
        book = self.books[place]
        trade = book.leg.result.trades[number]
        opened = book.open(trade, balance=self.balance)
        if isinstance(opened, _Held):
            now_ns = time_ns + book.duration_ns if at_close else time_ns
            worths = []
            for one in (opened, *self.held.values()):
                row, ticks = one.book.known(one.trade, now_ns, at_close=at_close)
                worths.append(one.book.worth(one, ticks, row, time_ns))
            (_, needed), *others = worths
            equity = self.balance + sum((value for value, _ in worths), _ZERO)
            free = equity - sum((used for _, used in others), _ZERO)
            if needed > free:
                opened = (
                    f"margin {needed:.2f} is more than the free {free:.2f}"
                    if needed
                    else "the balance is used up"
                )
        if isinstance(opened, str):
            self.skipped.append((book.leg.instrument.name, trade.entry_bar, opened))
        else:
            self.held[place, number] = opened

    def leave(self, place: int, number: int, time_ns: int) -> None:
        held = self.held.pop((place, number), None)
        if held is not None:
            trade = held.trade
            is_target = trade.reason == ExitReason.TARGET
            self._book(held, trade.exit_ticks, trade.exit_bar, time_ns, slips=not is_target)

    def watch(self, time_ns: int, closeout_fraction: Decimal, *, within: bool) -> None:
        """Close what is open if the margin is used up when bars open, or within their range."""
        paths = {
            key: held.book.path(held, time_ns, within=within) for key, held in self.held.items()
        }
        steps = max((abs(path.start - path.worst) for path in paths.values()), default=0)

        def left(step: int, *, stops_count: bool) -> tuple[Decimal, Decimal]:
            """Equity and margin in use; positions that were stopped by then hold none."""
            equity, margin = self.balance, _ZERO
            for path in paths.values():
                ticks = path.at(step, steps)
                value, used = path.held.book.worth(path.held, ticks, path.row, time_ns)
                equity += value
                if not (stops_count and path.has_stopped(ticks)):
                    margin += used
            return equity, margin

        # Equity less a share of the margin only falls on the way, but for stops that free margin.
        equity, margin = left(steps, stops_count=False)
        if not margin or equity > closeout_fraction * margin:
            return
        for step in range(steps + 1):
            equity, margin = left(step, stops_count=True)
            if margin and equity <= closeout_fraction * margin:
                break
        else:
            return
        for key, path in paths.items():
            ticks = path.at(step, steps)
            if path.is_open and not path.has_stopped(ticks):
                del self.held[key]
                name = path.held.book.leg.instrument.name
                self.closeouts.append(Closeout(name, path.row, equity, margin))
                self._book(path.held, ticks, path.row, time_ns, slips=True)

    def _book(self, held: _Held, ticks: int, row: int, time_ns: int, *, slips: bool) -> None:
        one = held.book.close(
            held, ticks, row=row, time_ns=time_ns, balance=self.balance, slips=slips
        )
        self.booked.append(one)
        self.balance = one.balance
        self.peak = max(self.peak, self.balance)
        self.drawdown = max(self.drawdown, self.peak - self.balance)


class _Book:
    """One leg with its prices in Decimal and its way to account currency."""

    def __init__(self, leg: Leg, currency: str, rates: Mapping[str, Rate]) -> None:
        self.leg, self.tick = leg, leg.bars.tick
        bars = leg.bars
        self.days = trading_days(bars.times)
        own = Side(bars.open_ticks, bars.high_ticks, bars.low_ticks, bars.close_ticks)
        self.market = market(own, side=leg.result.side, costs=leg.result.costs)
        self.duration_ns = int(np.diff(bars.times).min(initial=np.iinfo(np.int64).max))
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

    def open(self, trade: Trade, *, balance: Decimal) -> _Held | str:
        leg, charges = self.leg, self.leg.charges
        entry = self._price(trade.entry_ticks + trade.direction * charges.slippage_ticks)
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
                account_per_quote=self._account_per_quote(int(leg.bars.times[trade.entry_bar])),
                instrument=leg.instrument,
            )
        if units == 0:
            return "the budget buys less than one step"
        return _Held(self, trade, units, entry, self._fees(units, entry))

    def close(
        self, held: _Held, ticks: int, *, row: int, time_ns: int, balance: Decimal, slips: bool
    ) -> Booked:
        direction = held.trade.direction
        slip = self.leg.charges.slippage_ticks if slips else 0
        exit_ = self._price(ticks - direction * slip)
        account = self._account_per_quote(time_ns)
        gross = held.units * (exit_ - held.entry) * direction
        commission = held.fees + self._fees(held.units, exit_)
        financing = self._financing(held, row)
        net = (gross - commission - financing) * account
        return Booked(
            instrument=self.leg.instrument.name,
            trade=held.trade,
            units=held.units,
            exit_bar=row,
            entry=held.entry,
            exit=exit_,
            gross=gross * account,
            commission=commission * account,
            financing=financing * account,
            net=net,
            balance=balance + net,
        )

    def worth(self, held: _Held, ticks: int, row: int, time_ns: int) -> tuple[Decimal, Decimal]:
        """What an open position adds to equity at a price of its closing side, and its margin."""
        account = self._account_per_quote(time_ns)
        price, direction = self._price(ticks), held.trade.direction
        spread = self._price(int(self.market.ask.open[row] - self.market.bid.open[row]))
        gained = held.units * (price - held.entry) * direction
        middle = price + direction * spread / 2
        margin = held.units * middle * self.leg.charges.margin_fraction
        return (gained - held.fees - self._financing(held, row)) * account, margin * account

    def known(self, trade: Trade, now_ns: int, *, at_close: bool) -> tuple[int, int]:
        """The newest bar at a time, and the closing side's price that is known of it by then.

        at_close: a bar that starts at this very time is not there yet.
        """
        times = self.leg.bars.times
        row = int(np.searchsorted(times, now_ns, side="left" if at_close else "right")) - 1
        is_over = int(times[row]) + self.duration_ns <= now_ns
        side = self.market.bid if trade.direction > 0 else self.market.ask
        return row, int((side.close if is_over else side.open)[row])

    def path(self, held: _Held, time_ns: int, *, within: bool) -> _Path:
        """What the position goes through in the bar that starts at a time, or at its open alone."""
        trade = held.trade
        row, start = self.known(trade, time_ns, at_close=False)
        if int(self.leg.bars.times[row]) != time_ns:
            return _Path(held, row, start, start, is_open=False, stops=False)
        stops = row == trade.exit_bar and trade.reason == ExitReason.STOP
        is_long = trade.direction > 0
        lowest = int((self.market.bid.low if is_long else self.market.ask.high)[row])
        worst = trade.exit_ticks if stops else lowest
        if not within:
            worst, stops = start, stops and worst == start
        return _Path(held, row, start, worst, is_open=True, stops=stops)

    def _fees(self, units: Decimal, price: Decimal) -> Decimal:
        """Return what one side costs beside the spread and slippage, in quote currency."""
        each = self.leg.result.costs.per_side_ticks * self.tick
        return units * (price * self.leg.charges.commission_fraction + each)

    def _financing(self, held: _Held, row: int) -> Decimal:
        """Return what holding the position over the ends of days costs, in quote currency."""
        charges, trade = self.leg.charges, held.trade
        rate = charges.long_rate if trade.direction > 0 else charges.short_rate
        first, last = int(self.days[trade.entry_bar]), int(self.days[row])
        cost = _ZERO
        if rate == 0:
            return cost
        for day in range(first, last):
            counted = charges.days_charged[(day + _THURSDAY) % 7]
            if counted:
                before = int(np.searchsorted(self.days, day, side="right")) - 1
                price = self._price(int(self.leg.bars.close_ticks[before]))
                cost -= held.units * price * rate * counted / _DAYS_A_YEAR
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
