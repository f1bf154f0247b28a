"""Decisions to trades, by the rules of the package's docstring."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest.market import Market


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
) -> tuple[Trade, ...]:
    """Return the trades that follow from one decision a bar.

    directions: (n,) of -1, 0, 1; the decision at the end of each bar.
    """
    bars = len(market)
    trades: list[Trade] = []
    free_from = 0  # first bar at whose end a decision counts again
    for decided in np.flatnonzero(directions):
        entry = int(decided) + 1
        if decided < free_from or entry == bars:
            continue
        direction = int(directions[decided])
        # A long position is opened at the ask and closed at the bid; a short one the other way.
        opened, closed = market.ask, market.bid
        opened_to_own, closed_to_own = market.ask_to_own, market.bid_to_own
        if direction < 0:
            opened, closed = closed, opened
            opened_to_own, closed_to_own = closed_to_own, opened_to_own
        entry_ticks = int(opened.open[entry])
        exit_bar, exit_ticks, reason = _exit(
            opens=closed.open[entry : entry + horizon_bars + 1] * direction,
            worst=(closed.low if direction > 0 else -closed.high)[entry : entry + horizon_bars],
            best=(closed.high if direction > 0 else -closed.low)[entry : entry + horizon_bars],
            last=int(closed.close[min(entry + horizon_bars, bars) - 1]) * direction,
            horizon_bars=horizon_bars,
            stop=None if stop_ticks is None else entry_ticks * direction - stop_ticks,
            target=None if target_ticks is None else entry_ticks * direction + target_ticks,
        )
        exit_bar += entry
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
    last: int,
    horizon_bars: int,
    stop: int | None,
    target: int | None,
) -> tuple[int, int, ExitReason]:
    """Return bar (0 is the entry's), price and reason, of a long position.

    A short position is a long one at negated prices, so that "worst" is always the lowest.
    """
    for bar in range(worst.size):
        if stop is not None and worst[bar] <= stop:
            return bar, min(stop, int(opens[bar])), ExitReason.STOP
        if target is not None and best[bar] >= target:
            return bar, target, ExitReason.TARGET
    if opens.size > horizon_bars:
        return horizon_bars, int(opens[horizon_bars]), ExitReason.HORIZON
    return worst.size - 1, last, ExitReason.END_OF_DATA
