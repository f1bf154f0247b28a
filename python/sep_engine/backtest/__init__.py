"""What a rule would have earned on bars: the readable reference for every faster backtest.

All prices are whole ticks of the bars' grid; a result is exact. The rules:

1. One decision at the end of each bar, by the same `Rule` that trades. It uses nothing later.
2. Entry at the open of the next bar, a buy at the ask, a sell at the bid. Also across a closure of
   the market or a gap: an order that waits fills at the next quote there is.
3. One position at a time. Decisions while a position is open are ignored, the one at the end of
   the bar before its exit at an open included.
4. Exit at the open of the bar `horizon_bars` after the entry's, a sell at the bid, a buy at the
   ask.
5. Before that, from the entry's own bar on, stop and target are judged by the range of each bar:
   of bids for a long position, of asks for a short one. A stop that is touched fills at its price,
   or at the bar's open if the bar opened beyond it. A target fills at its price, never better. A
   bar that touches both counts as the stop.
6. A position that is open at the end of the data is closed at the last close.
7. Costs: the spread is in the prices (half of it at each side, if the bars are mid prices; all of
   it at the side that the bars are not, otherwise); commission and slippage come off each side.
   `gross` is the same trade without costs, at the prices of the bars' own side.
8. On request a position is entered at the close of that next bar instead. It is then left at the
   close of the bar `horizon_bars` after its own, and stop and target are judged from the bar after
   its own on. Nothing is entered at the last close.
9. A gap (bars missing while the market was open) makes the transition across it invalid, so that
   gates with percentiles hold until it has left the window. A closure of the market does not.
10. On request only the decisions of some bars count, e.g. of those that end within hours.

What is left out: partial fills, queues, the venue's own latency. Sizes, commission, financing and
currencies are those of an account: `sep_engine.backtest.account`.
"""

from sep_engine.backtest.grid import Grid, configuration
from sep_engine.backtest.market import SIDES, Costs, CostsChange, Market, PriceSide
from sep_engine.backtest.result import BacktestResult, Figures
from sep_engine.backtest.run import run, run_decided
from sep_engine.backtest.sweep import RealityCheck, SweepResult, reality_check, sweep
from sep_engine.backtest.sweep_plan import FIGURES
from sep_engine.backtest.trades import ENTRIES, Entry, ExitReason, Trade, trade

__all__ = [
    "ENTRIES",
    "FIGURES",
    "SIDES",
    "BacktestResult",
    "Costs",
    "CostsChange",
    "Entry",
    "ExitReason",
    "Figures",
    "Grid",
    "Market",
    "PriceSide",
    "RealityCheck",
    "SweepResult",
    "Trade",
    "configuration",
    "reality_check",
    "run",
    "run_decided",
    "sweep",
    "trade",
]
