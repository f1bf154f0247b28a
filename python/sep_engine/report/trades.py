"""The page of a verdict on trades, drawn from the document of `sep_engine.evidence.trades`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sep_engine.report.html import (
    figure_svg,
    grid,
    heading,
    note,
    page,
    paragraph,
    preformatted,
    table,
)
from sep_engine.report.plots import DIM, INK, LOSS, axes_of, days_of, finish, legend
from sep_engine.report.verdict import (
    LEDGER_KNOWS,
    hit_rate_figure,
    interval,
    line_grid,
    number,
    provenance_table,
)

Document = Mapping[str, Any]


def trades_page(document: Document, *, title: str) -> str:
    """Return the HTML page of a document on trades; `title` names trades and bars."""
    synthetic = bool(document["synthetic"])
    costs = document["costs"]
    parts = [
        note(document["verdict"]["text"]),
        paragraph(
            f"Made by rule from {document['provenance']['trades']:,} trades. "
            + (
                f"{costs['spread'] / costs['pip']:.2f} pips a round trip ({costs['source']}) "
                "beside the fill prices and the fees of the file."
                if costs["said"]
                else f"Of a round trip {costs['source']}."
            )
        ),
        heading("Verdict, line by line"),
        line_grid(document["verdict"]),
        heading("What trades alone cannot show"),
        grid(
            ["not asked", "because"],
            [[name.replace("_", " "), text] for name, text in document["missing"].items()],
        ),
        heading("Provenance"),
        provenance_table(document["provenance"]),
        *_controls(document, synthetic),
        *_direction(document, synthetic),
        *_money(document, synthetic),
        *_selection(document),
        heading("Settings"),
        preformatted(json.dumps(document["settings"], indent=2)),
    ]
    return page(f"SYNTHETIC: {title}" if synthetic else title, parts)


def _controls(document: Document, synthetic: bool) -> list[str]:
    controls = document["controls"]
    kinds = (("random_times", "random times"), ("coin", "directions by coin"))
    figure, every = axes_of(rows=1, columns=2)
    for axes, (kind, text) in zip(every, kinds, strict=True):
        axes.hist(controls[kind]["t"], bins=30, color=DIM, alpha=0.6)
        axes.axvline(controls[kind]["observed_t"], color=LOSS, linewidth=1.5)
        axes.set_xlabel(f"t of the daily gain, {text}; the line is the trades")
        axes.set_ylabel("worlds")
    finish(figure, every, synthetic)
    return [
        heading("Negative controls"),
        paragraph(
            f"{controls['episodes']:,} episodes of positions that were open together. Random times "
            "keep holding times, directions and sizes, and mark both sides at the bars' opens. "
            "p: how often such a world does as well."
        ),
        grid(
            ["worlds", "how many", "t of the trades", "p", "why there is none"],
            [
                [
                    text,
                    f"{controls[kind]['worlds']:,}",
                    number(controls[kind]["observed_t"], 3),
                    number(controls[kind]["p"], 3),
                    controls[kind].get("reason", ""),
                ]
                for kind, text in kinds
            ],
        ),
        figure_svg(figure, label="The trades among worlds of chance"),
    ]


def _direction(document: Document, synthetic: bool) -> list[str]:
    found = document["direction"]
    parts = [
        heading("Direction"),
        table(
            [
                ("trades", f"{found['trades']:,} on {found['days_traded']:,} days"),
                ("bought", number(found["bought_share"], 3)),
                ("hit rate, clustered by day", interval(found["hit_rate"])),
                ("gain before costs as filled, ticks", interval(found["gross"])),
                ("the same at the bars' opens", interval(found["marked"])),
                ("fills better than the bars, ticks", interval(found["fills_beyond_bars"])),
                ("hit rate at the bars' opens", interval(found["hit_rate_marked"])),
                ("less that of last-bit reversal", interval(found["beyond_last_bit_reversal"])),
            ]
        ),
        grid(
            ["called at the same times", "hit rate"],
            [[name, interval(base)] for name, base in found["baselines"].items()],
        ),
    ]
    drawn = hit_rate_figure(found["by_day"], synthetic)
    return [*parts, drawn] if drawn else parts


def _money(document: Document, synthetic: bool) -> list[str]:
    money, pip = document["money"], document["costs"]["pip"]
    parts = [
        heading("Money"),
        table(
            [
                ("before costs, pips a trade", number(money["gross_pips"])),
                ("costs, pips a trade", number(money["cost_pips"])),
                ("of these, fees of the file", number(money["fees_pips"])),
                ("after costs, pips a trade", number(money["net_pips"])),
                ("after costs, ticks a trade", interval(money["net"])),
                ("mean size of a move, pips", number(money["mean_abs_move_pips"])),
                ("break-even hit rate", number(money["break_even_hit_rate"])),
                ("trades a day", number(money["trades_a_day"], 3)),
                ("largest size over the mean size", number(money["largest_weight"], 3)),
                (
                    "largest drawdown, pips",
                    number(None if money["max_drawdown"] is None else money["max_drawdown"] / pip),
                ),
                ("capacity", money["capacity"]["text"]),
            ]
        ),
    ]
    if money["equity"]:
        figure, (top, bottom) = axes_of(rows=2)
        days, equity = days_of(money["days"]), np.array(money["equity"], float) / pip
        band = {
            name: np.array(level, float) / pip
            for name, level in document["controls"]["band"].items()
        }
        top.plot(days, equity, color=INK, linewidth=1.2, label="the trades")
        top.plot(
            days, band["median"], color=DIM, linewidth=0.8,
            label="the same positions at random times, median",
        )  # fmt: skip
        top.fill_between(
            days, band["low"], band["high"], color=DIM, alpha=0.3, linewidth=0,
            label="5 to 95 % of these",
        )  # fmt: skip
        top.set_ylabel("net, pips")
        legend(top)
        peaks = np.maximum.accumulate(np.maximum(equity, 0.0))
        bottom.fill_between(days, equity - peaks, color=LOSS, alpha=0.4, linewidth=0)
        bottom.set_ylabel("below peak, pips")
        bottom.set_xlabel("trading day on which a position was opened")
        finish(figure, [top, bottom], synthetic)
        parts.append(figure_svg(figure, label="Equity over random times"))
    figure, (axes,) = axes_of(rows=1)
    curve = money["cost_curve"]
    axes.plot([one["cost_pips"] for one in curve], [one["net_pips"] for one in curve], color=INK)
    axes.axhline(0, color=DIM, linewidth=0.8)
    if money["cost_pips"] is not None:
        axes.axvline(money["cost_pips"], color=LOSS, linewidth=1)
    axes.set_xlabel("cost of a round trip, pips; the line is the cost of these trades")
    axes.set_ylabel("net, pips a trade")
    finish(figure, [axes], synthetic)
    return [*parts, figure_svg(figure, label="Net by cost")]


def _selection(document: Document) -> list[str]:
    chosen = document["selection"]
    deflated, length = chosen["deflated_sharpe"], chosen["length"]
    return [
        heading("Selection"),
        table(
            [
                ("trials declared", number(chosen["declared_trials"])),
                ("with those of the ledger", number(chosen["trials"])),
                ("look at these data, number", number(chosen["look"])),
                ("Sharpe ratio a year", number(chosen["sharpe_a_year"])),
                (
                    "deflated Sharpe ratio",
                    f"{number(deflated['value'])}, needed {number(deflated['needed'])}",
                ),
                (
                    "years of trades",
                    f"{number(length['years'], 3)}, needed {number(length['years_needed'], 3)}",
                ),
            ]
        ),
        *([paragraph(chosen["note"])] if chosen["note"] else []),
        paragraph(LEDGER_KNOWS),
    ]


def trades_section_lines(document: Document) -> Sequence[tuple[str, str]]:
    """Return one line a section, for a terminal."""
    found, money, chosen = document["direction"], document["money"], document["selection"]
    controls, provenance = document["controls"], document["provenance"]
    return (
        (
            "provenance",
            f"{provenance['trades']:,} trades of {provenance['program']} on "
            f"{provenance['bars']:,} bars, {provenance['refused']:,} rows left out",
        ),
        (
            "controls",
            f"p {number(controls['random_times']['p'], 3)} against random times, "
            f"{number(controls['coin']['p'], 3)} against coins "
            f"({controls['coin']['worlds']:,} worlds each)",
        ),
        (
            "direction",
            f"hit rate {interval(found['hit_rate'], 3)} on {found['days_traded']:,} days; beyond "
            f"last-bit reversal {interval(found['beyond_last_bit_reversal'], 2)}",
        ),
        (
            "money",
            f"{number(money['gross_pips'], 3)} pips a trade before costs, "
            f"{number(money['net_pips'], 3)} after",
        ),
        ("capacity", money["capacity"]["text"]),
        (
            "selection",
            f"{number(chosen['trials'])} tried; deflated Sharpe "
            f"{number(chosen['deflated_sharpe']['value'], 3)} of "
            f"{number(chosen['deflated_sharpe']['needed'], 3)} needed",
        ),
        ("missing", ", ".join(name.replace("_", " ") for name in document["missing"])),
    )
