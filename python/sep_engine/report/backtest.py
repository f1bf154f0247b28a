"""The page of one backtest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sep_engine.backtest import BacktestResult, Trade
from sep_engine.report.html import (
    escape,
    figure_svg,
    heading,
    note,
    page,
    paragraph,
    preformatted,
    table,
)
from sep_engine.report.plots import DIM, GAIN, INK, LOSS, axes_of, finish
from sep_engine.signals import Rule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNPROVEN = "Unproven: no evidence of edge after costs."

# Beyond this many, single trades can no longer be told apart on the price plot.
_TRADES_SHOWN_MAX = 1_000
_POINTS_MAX = 4_000


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the bars of a report come from.

    Attributes:
        rows: names and values to print, e.g. ("origin", "gym-anytrading 2.0.0").
        warnings: what the data's check found.
        synthetic: True stamps SYNTHETIC on the page and on every plot.
    """

    rows: Sequence[tuple[str, str]]
    warnings: Sequence[str] = ()
    synthetic: bool = False


def backtest_document(
    result: BacktestResult,
    *,
    pip: Decimal,
    session: str | None,
    synthetic: bool,
    engine_version: str,
) -> dict[str, Any]:
    """Return the JSON document of a backtest, wherever it was asked for.

    Args:
        result: what was found.
        pip: price of one pip.
        session: the hours of the entries, None for all.
        synthetic: whether the prices were generated.
        engine_version: of sep_engine.
    """
    return {
        **result.to_json(),
        "engine": engine_version,
        "pip": str(pip),
        "verdict": "unproven",
        "synthetic": synthetic,
        **({} if session is None else {"session": session}),
    }


def _what(result: BacktestResult) -> str:
    rule = result.rule
    return rule.direction if isinstance(rule, Rule) else rule.name


def backtest_page(
    result: BacktestResult,
    *,
    times: NDArray[np.int64],
    closes: NDArray[np.float64],
    pip: Decimal,
    provenance: Provenance,
    engine_version: str,
) -> str:
    """Return the HTML page of a backtest.

    Args:
        result: what to show.
        times, closes: (n,) of the bars it ran on, int64 nanoseconds and float64.
        pip: price of one pip, for people; the result itself counts ticks.
        provenance: of the bars.
        engine_version: of sep_engine.
    """
    pips_per_tick = float(result.tick / pip)
    made = result.figures
    spread_pips = float(np.mean(result.costs.spread_ticks)) * pips_per_tick

    def pips(ticks: float | None) -> str:
        return "none" if ticks is None else f"{ticks * pips_per_tick:+,.2f} pips"

    title = f"Backtest of {_what(result)} on {result.name}"
    if provenance.synthetic:
        title = f"SYNTHETIC: {title}"
    kind = "Assumed" if result.costs.assumed else "Measured"
    parts = [
        note(UNPROVEN),
        paragraph(
            f"{kind} spread {spread_pips:.2f} pips"
            f"{' on average' if np.ndim(result.costs.spread_ticks) else ''}. One rule on one "
            "series says nothing about other rules or times: sep verdict asks what is left of it "
            "against chance and after selection."
        ),
        heading("Result"),
        table(
            [
                ("net", pips(made.net_ticks)),
                ("net per trade", pips(made.net_ticks_per_trade)),
                ("gross, without costs", pips(made.gross_ticks)),
                ("gross per trade", pips(made.gross_ticks_per_trade)),
                ("trades", f"{made.trades:,} ({made.signals:,} decisions to trade)"),
                ("won", "none" if made.win_rate is None else f"{made.win_rate:.1%}"),
                ("largest drawdown", pips(-made.max_drawdown_ticks)),
                ("longest losing run", f"{made.longest_losing_run} trades"),
                ("in the market", f"{made.exposure:.1%} of bars"),
                ("exits", ", ".join(f"{reason} {n:,}" for reason, n in made.exits.items() if n)),
            ]
        ),
        figure_svg(
            _equity_figure(result, times, pips_per_tick, provenance.synthetic),
            label="Equity and drawdown in pips",
        ),
        figure_svg(
            _price_figure(result, times, closes, provenance.synthetic),
            label="Price with entries and exits",
        ),
    ]
    if made.trades > _TRADES_SHOWN_MAX:
        parts.append(paragraph(f"{made.trades:,} trades are too many to mark on the price."))
    parts += [
        heading("Rule"),
        preformatted(json.dumps(result.rule.to_json(), indent=2)),
        heading("Data"),
        table(
            [
                ("bars", f"{made.bars:,}"),
                ("tick", str(result.tick)),
                ("pip", str(pip)),
                ("price side", result.side),
                *provenance.rows,
                ("sha256 of times and prices", result.content_sha256),
                ("engine", f"sep_engine {engine_version}"),
            ]
        ),
    ]
    if provenance.warnings:
        listed = "".join(f"<li>{escape(warning)}</li>" for warning in provenance.warnings)
        parts.append(f"<p>The data's check found:</p><ul>{listed}</ul>")
    return page(title, parts)


def _equity_figure(
    result: BacktestResult, times: NDArray[np.int64], pips_per_tick: float, synthetic: bool
) -> "Figure":
    figure, (top, bottom) = axes_of(rows=2)
    equity = result.equity_ticks * pips_per_tick
    peaks = np.maximum.accumulate(np.maximum(equity, 0.0))
    shown = _thinned(equity)
    at = times[shown].astype("datetime64[ns]")
    top.plot(at, equity[shown], color=INK, linewidth=1)
    top.axhline(0, color=DIM, linewidth=0.8)
    top.set_ylabel("net, pips")
    bottom.fill_between(at, (equity - peaks)[shown], color=LOSS, alpha=0.4, linewidth=0)
    bottom.set_ylabel("below peak, pips")
    finish(figure, [top, bottom], synthetic)
    return figure


def _price_figure(
    result: BacktestResult, times: NDArray[np.int64], closes: NDArray[np.float64], synthetic: bool
) -> "Figure":
    figure, (axes,) = axes_of(rows=1)
    shown = _thinned(closes)
    axes.plot(times[shown].astype("datetime64[ns]"), closes[shown], color=DIM, linewidth=0.8)
    axes.set_ylabel("price")
    if len(result.trades) <= _TRADES_SHOWN_MAX:
        for direction, marker in ((1, "^"), (-1, "v")):
            for won, color in ((True, GAIN), (False, LOSS)):
                chosen = [
                    trade
                    for trade in result.trades
                    if trade.direction == direction and (trade.net_ticks > 0) == won
                ]
                _draw_trades(axes, chosen, times, float(result.tick), marker, color)
        axes.set_title(
            "▲ bought, ▼ sold; green won, red lost, after costs", fontsize=8, color=INK, loc="left"
        )
    finish(figure, [axes], synthetic)
    return figure


def _draw_trades(
    axes: "Axes",
    trades: Sequence[Trade],
    times: NDArray[np.int64],
    tick: float,
    marker: str,
    color: str,
) -> None:
    # One line for all: each trade is entry, exit and a break.
    rows = np.array([(trade.entry_bar, trade.exit_bar) for trade in trades], dtype=np.int64)
    at = times[rows.reshape(-1, 2)].astype("datetime64[ns]")
    prices = np.array([(t.entry_ticks, t.exit_ticks) for t in trades], dtype=np.float64)
    prices = prices.reshape(-1, 2) * tick
    broken_at = np.column_stack([at, at[:, 1]]).ravel()
    broken = np.column_stack([prices, np.full(len(trades), np.nan)]).ravel()
    axes.plot(broken_at, broken, color=color, linewidth=1)
    axes.plot(at[:, 0], prices[:, 0], color=color, marker=marker, markersize=3, linestyle="none")


def _thinned(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return rows to plot: all, or the lowest and the highest of each of equal stretches."""
    if values.size <= _POINTS_MAX:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, _POINTS_MAX // 2 + 1).astype(np.int64)
    rows = {0, values.size - 1}
    for start, end in pairwise(edges.tolist()):
        rows.add(int(start + values[start:end].argmin()))
        rows.add(int(start + values[start:end].argmax()))
    return np.array(sorted(rows))
