"""Decisions to trades, by the rules of the package's docstring."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest.market import Market
from sep_engine.errors import ArgumentError

Entry = Literal["open", "close"]
ENTRIES: Final[tuple[Entry, ...]] = get_args(Entry)


class ExitReason(StrEnum):
    """Why a position was closed."""

    HORIZON = "horizon"
    STOP = "stop"
    TARGET = "target"
    END_OF_DATA = "end of data"


@dataclass(frozen=True, slots=True)
class Trade:
    """One position from entry to exit.

    Attributes:
        entry_bar, exit_bar: rows of the bars in which it was opened and closed.
        direction: 1 long, -1 short.
        entry_ticks, exit_ticks: the prices it was filled at.
        gross_ticks: profit at the prices of the bars' own side, costs left out.
        net_ticks: profit after spread and costs.
        reason: why it was closed.
    """

    entry_bar: int
    exit_bar: int
    direction: int
    entry_ticks: int
    exit_ticks: int
    gross_ticks: int
    net_ticks: int
    reason: ExitReason


def trade(
    market: Market,
    directions: NDArray[np.int8],
    *,
    horizon_bars: int,
    stop_ticks: int | None,
    target_ticks: int | None,
    per_side_ticks: int = 0,
    entry_at: Entry = "open",
) -> tuple[Trade, ...]:
    """Return the trades that follow from one decision a bar.

    Args:
        market: (n,) bars of both sides, in ticks.
        directions: (n,) of -1, 0, 1; the decision at the end of each bar.
        horizon_bars: bars that a position is held at the most, >= 1.
        stop_ticks, target_ticks: distance from the entry price, >= 1; None is no stop, no target.
        per_side_ticks: commission and slippage of one fill, >= 0.
        entry_at: the price of the next bar at which a position is entered.

    Raises:
        ArgumentError: entry_at is neither.
    """
    if entry_at not in ENTRIES:
        raise ArgumentError(f"entry must be one of {', '.join(ENTRIES)}; was {entry_at!r}")
    at_close = entry_at == "close"
    bars = len(market)
    trades: list[Trade] = []
    free_from = 0  # first bar at whose end a decision counts again
    for decided in np.flatnonzero(directions):
        entry = int(decided) + 1
        first = entry + at_close  # the first bar that the position sees a range of
        if decided < free_from or first >= bars:
            continue
        direction = int(directions[decided])
        # A long position is opened at the ask and closed at the bid; a short one the other way.
        opened, closed = market.ask, market.bid
        opened_to_own, closed_to_own = market.ask_to_own, market.bid_to_own
        if direction < 0:
            opened, closed = closed, opened
            opened_to_own, closed_to_own = closed_to_own, opened_to_own
        entry_ticks = int((opened.close if at_close else opened.open)[entry])
        seen = slice(first, first + horizon_bars)
        due = entry + horizon_bars
        leaves_at = closed.close if at_close else closed.open
        exit_bar, exit_ticks, reason = _exit(
            opens=closed.open[seen] * direction,
            worst=(closed.low if direction > 0 else -closed.high)[seen],
            best=(closed.high if direction > 0 else -closed.low)[seen],
            due=(due - first, int(leaves_at[due]) * direction) if due < bars else None,
            last=int(closed.close[-1]) * direction,
            stop=None if stop_ticks is None else entry_ticks * direction - stop_ticks,
            target=None if target_ticks is None else entry_ticks * direction + target_ticks,
        )
        exit_bar += first
        exit_ticks *= direction
        moved = (exit_ticks - entry_ticks) * direction
        spread_paid = int(closed_to_own[exit_bar] - opened_to_own[entry]) * direction
        trades.append(
            Trade(
                entry_bar=entry,
                exit_bar=exit_bar,
                direction=direction,
                entry_ticks=entry_ticks,
                exit_ticks=exit_ticks,
                gross_ticks=moved + spread_paid,
                net_ticks=moved - 2 * per_side_ticks,
                reason=reason,
            )
        )
        # Closed at an open: the decision at that bar's end counts. Closed within a bar: so too.
        free_from = exit_bar
    return tuple(trades)


def _exit(
    *,
    opens: NDArray[np.int64],
    worst: NDArray[np.int64],
    best: NDArray[np.int64],
    due: tuple[int, int] | None,
    last: int,
    stop: int | None,
    target: int | None,
) -> tuple[int, int, ExitReason]:
    """Return bar (0 is the first of these), price and reason, of a long position.

    due: bar and price at which the horizon ends, None if the data end before; last: the last close.
    A short position is a long one at negated prices, so that "worst" is always the lowest.
    """
    for bar in range(worst.size):
        if stop is not None and worst[bar] <= stop:
            return bar, min(stop, int(opens[bar])), ExitReason.STOP
        if target is not None and best[bar] >= target:
            return bar, target, ExitReason.TARGET
    if due is not None:
        return *due, ExitReason.HORIZON
    return worst.size - 1, last, ExitReason.END_OF_DATA
