"""The page of a verdict: the line made by rule, and the eight sections that it stands on.

Drawn from the JSON document of `sep_engine.evidence.lab.evaluate` alone, so that a stored run gives
the same page again.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sep_engine.report.html import (
    escape,
    figure_svg,
    grid,
    heading,
    note,
    page,
    paragraph,
    preformatted,
    table,
)
from sep_engine.report.plots import DIM, GAIN, INK, LOSS, axes_of, days_of, finish, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]

_RULES_SHOWN_MAX = 20
_OF_EACH_BAR = {
    "mid": "The spread is that of each bar: a fill pays half of its own bar's.",
    "bid": "The spread is that of each bar, and the bars are bids: a buy pays all of its own "
    "bar's, a sale nothing.",
    "ask": "The spread is that of each bar, and the bars are asks: a sale pays all of its own "
    "bar's, a buy nothing.",
}
LEDGER_KNOWS = (
    "Tried means: told to the ledger of this run. What was tried from Python, with another ledger, "
    "or on these bars with a row changed, is not counted; it would make the verdict harder to pass."
)
_CHOICES_SHOWN_MAX = 20
_PERIODS_MAX = 60


def verdict_page(document: Document, *, title: str) -> str:
    """Return the HTML page of an evidence document; `title` names data and rules."""
    synthetic = bool(document["synthetic"])
    parts = [
        note(document["verdict"]["text"]),
        paragraph(f"{_judged_text(document)} {_cost_text(document)}"),
        heading("8. Verdict, line by line"),
        line_grid(document["verdict"]),
        *_provenance(document),
        *_causality(document, synthetic),
        *_controls(document, synthetic),
        *_direction(document, synthetic),
        *_money(document, synthetic),
        *_selection(document, synthetic),
        *_metrics(document, synthetic),
        heading("Settings"),
        preformatted(json.dumps(document["settings"], indent=2)),
    ]
    return page(f"SYNTHETIC: {title}" if synthetic else title, parts)


def number(value: object, places: int = 4) -> str:
    """Return a figure for people; "none" where there is none."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.{places}g}"
    if isinstance(value, int | float):
        return f"{value:,.0f}"
    return str(value)


def interval(found: Mapping[str, float] | None, places: int = 4) -> str:
    """Return an estimate with its 95 % interval."""
    if found is None:
        return "none"
    return (
        f"{number(found['estimate'], places)} "
        f"[{number(found['low'], places)}, {number(found['high'], places)}]"
    )


def line_grid(verdict: Mapping[str, Any]) -> str:
    """Return the lines of a verdict with what each found, and the version of their table."""
    rows = [
        [
            line["line"]["text"],
            "yes" if line["passed"] else "no",
            number(line["value"]),
            f"{line['line']['sense']} {number(line['threshold'])}",
            # Where there is a figure, it stands beside what was needed.
            line["reason"] if line["value"] is None else "",
        ]
        for line in verdict["lines"]
    ]
    return grid(["asked", "passed", "found", "needed", "why not"], rows) + paragraph(
        f"Table of rules, version {verdict['version']}."
    )


def provenance_table(found: Mapping[str, Any]) -> str:
    """Return everything that is known of where the data are from."""
    return table(
        [
            (name.replace("_", " "), ", ".join(value) if isinstance(value, list) else number(value))
            for name, value in found.items()
            if not name.endswith("_ns") and not isinstance(value, dict)
        ]
    )


def hit_rate_figure(days: Mapping[str, Any], synthetic: bool) -> str:
    """Return the hit rate by day as a plot, "" for fewer than two days.

    Where there are more days than can be told apart, by week, month, quarter or year.
    """
    if len(days["day"]) < 2:
        return ""
    moved, hits = np.array(days["moved"], float), np.array(days["hits"], float)
    period, at, place = _periods(np.array(days["day"], dtype=np.int64))
    n = np.bincount(place, weights=moved)
    rate = np.bincount(place, weights=hits) / n
    figure, (axes,) = axes_of(rows=1)
    # Wilson's 95 % interval; trades of one period are taken as independent here.
    z = 1.96
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    axes.vlines(at, centre - half, centre + half, color=INK, linewidth=1)
    axes.plot(at, rate, "o", color=INK, markersize=4)
    axes.axhline(0.5, color=DIM, linewidth=0.8)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel(f"hit rate by {period}")
    axes.set_xlabel(f"{period}; upright lines are 95 % intervals (Wilson)")
    finish(figure, [axes], synthetic)
    return figure_svg(figure, label=f"Hit rate by {period}")


def _periods(
    days: NDArray[np.int64],
) -> tuple[str, NDArray[np.datetime64], NDArray[np.int64]]:
    """Return the shortest period of which a plot can hold all, their first days, and of each day
    the place of its period."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64)
    starts = {
        "day": dates,
        # 1970-01-01 was a Thursday, three days after a Monday.
        "week": ((days + 3) // 7 * 7 - 3).astype("datetime64[D]"),
        "month": months.astype("datetime64[M]").astype("datetime64[D]"),
        "quarter": (months // 3 * 3).astype("datetime64[M]").astype("datetime64[D]"),
        "year": (months // 12 * 12).astype("datetime64[M]").astype("datetime64[D]"),
    }
    period = next(
        (name for name, start in starts.items() if np.unique(start).size <= _PERIODS_MAX), "year"
    )
    labels, place = np.unique(starts[period], return_inverse=True)
    return period, labels, place


def _cost_text(document: Document) -> str:
    costs = document["costs"]
    kind = "Assumed" if costs["assumed"] else "Measured"
    return f"{kind} spread {costs['spread'] / costs['pip']:.2f} pips ({costs['source']})."


def _lag_text(document: Document) -> str:
    lag = document["causality"]["decision_lag_bars"]
    if lag is None:
        return "no trades"
    if document["best"]["entry"] == "open":
        return f"{lag} bar: entered at the open after the close that decided"
    return f"{lag} bar and its whole length: entered at the close after the close that decided"


def _provenance(document: Document) -> list[str]:
    return [heading("1. Provenance"), provenance_table(document["provenance"])]


def _judged_text(document: Document) -> str:
    rules, best = document["selection"]["rules"], document["best"]["name"]
    if rules == 1:
        return f"Made by rule, of one rule: {best}."
    return (
        f"Made by rule from {rules:,} rules; the best of them is: {best}. Its figures flatter it, "
        "because it was chosen for them."
    )


def _causality(document: Document, synthetic: bool) -> list[str]:
    gate = document["causality"]
    checks = ", ".join(gate["checks"])
    parts = [
        heading("2. Causality"),
        table(
            [
                ("passed", "yes" if gate["passed"] else "NO: nothing below means anything"),
                ("checked", checks),
                ("on a GPU", document["computed_on"]["gpu"]),
                ("cut at", f"{gate['truncations']:,} rows"),
                ("futures poisoned", f"{gate['poisons']:,}"),
                ("trades run again", f"{gate['trades_again']:,} of {gate['trades']:,}"),
                ("largest gains decided again", f"{gate['largest_again']:,}, of all bars"),
                ("decision lag", _lag_text(document)),
            ]
        ),
    ]
    if gate["findings"]:
        parts.append(
            "<ul>"
            + "".join(
                f"<li>{escape(', '.join(f'{k} {v}' for k, v in finding.items()))}</li>"
                for finding in gate["findings"]
            )
            + "</ul>"
        )
    figure, (axes,) = axes_of(rows=1)
    shifts = [one["shift"] for one in gate["label_shift"]]
    rates = [np.nan if one["hit_rate"] is None else one["hit_rate"] for one in gate["label_shift"]]
    axes.plot(shifts, rates, color=INK, marker="o", markersize=4)
    axes.axhline(0.5, color=DIM, linewidth=0.8)
    axes.set_xlabel(
        "label shifted by bars: below 0 lies what the rule has seen, 0 is the move that it calls; "
        "a leak shows as a high rate at 0 that falls at 1"
    )
    axes.set_ylabel("hit rate")
    finish(figure, [axes], synthetic)
    return [*parts, figure_svg(figure, label="Hit rate by label shift")]


def _controls(document: Document, synthetic: bool) -> list[str]:
    controls = document["controls"]
    observed = controls["observed"]
    names = {
        "sign": "directions by coin, sizes kept",
        "walk": "driftless walks",
        "iaaft": "same spectrum and values (IAAFT)",
        "block": "shuffled blocks",
        "phase": "same spectrum",
    }
    kinds = [kind for kind in controls if kind not in ("observed", "band")]
    rows = [
        [
            names.get(kind, kind),
            f"{controls[kind]['worlds']:,}",
            number(controls[kind]["best_p"], 3),
            number(controls[kind]["walk_forward_p"], 3),
        ]
        for kind in kinds
    ]
    figure, every = axes_of(rows=1, columns=2)
    for axes, name, label in zip(
        every, ("best_t", "walk_forward_t"), ("best rule", "walk-forward"), strict=True
    ):
        values = [t for t in controls["sign"][name] if t is not None]
        axes.hist(values, bins=30, color=DIM, alpha=0.6)
        here = "and here (line)"
        if observed[name] is None:
            here = "none here: nothing was traded"
        else:
            axes.axvline(observed[name], color=LOSS, linewidth=1.5)
        axes.set_xlabel(f"t of the {label}: in coin worlds, {here}")
        axes.set_ylabel("worlds")
    finish(figure, every, synthetic)
    return [
        heading("3. Negative controls"),
        paragraph(
            "The whole search was done again in worlds without anything to find. p: how often such "
            "a world does as well."
        ),
        grid(["worlds", "how many", "p, best rule", "p, walk-forward"], rows),
        figure_svg(figure, label="The search in coin worlds"),
    ]


def _direction(document: Document, synthetic: bool) -> list[str]:
    found = document["direction"]
    outside = found["out_of_sample"]
    test = found["pesaran_timmermann"]
    parts = [
        heading("4. Direction"),
        table(
            [
                ("decisions to trade", f"{found['signals']:,} ({found['coverage']:.1%} of bars)"),
                ("trades", f"{found['trades']:,} on {found['days_traded']:,} days"),
                ("hit rate, clustered by day", interval(found["hit_rate"])),
                ("gain before costs, ticks", interval(found["gross"])),
                (
                    "hit rate by chance of as many buys and as many rises",
                    "none" if test is None else number(test["expected_hit_rate"], 3),
                ),
                (
                    "Pesaran-Timmermann p, hit rate against that",
                    "none" if test is None else number(test["p_value"], 3),
                ),
                (
                    "decisions that this hit rate needs to be told from chance",
                    number(found["signals_needed"]),
                ),
                ("out of sample: hit rate", interval(outside["hit_rate"])),
                ("out of sample: last-bit reversal", interval(outside["last_bit_reversal"])),
                ("out of sample: difference", interval(outside["difference"])),
            ]
        ),
        grid(
            ["baseline on the same bars", "trades", "hit rate", "gain before costs, ticks"],
            [
                [
                    name,
                    number(base["trades"]),
                    _estimate(base["hit_rate"]),
                    _estimate(base["gross"]),
                ]
                for name, base in found["baselines"].items()
            ],
        ),
    ]
    drawn = hit_rate_figure(found["by_day"], synthetic)
    return [*parts, drawn] if drawn else parts


def _money(document: Document, synthetic: bool) -> list[str]:
    money, costs = document["money"], document["costs"]
    pip = costs["pip"]
    parts = [
        heading("5. Money"),
        *([paragraph(_OF_EACH_BAR[costs["side"]])] if costs["of_each_bar"] else []),
        grid(
            ["cost of a round trip", "pips", "net of the best rule, pips a trade", "walk-forward"],
            [
                [
                    name,
                    number(level["cost_pips"], 3),
                    number(level["net_pips"], 3),
                    f"{level['walk_forward_a_day'] / pip:+.2f} pips a day",
                ]
                for name, level in money["levels"].items()
            ],
        ),
        table(
            [
                ("mean size of a move, pips", number(money["mean_abs_move_pips"])),
                ("break-even hit rate", number(money["break_even_hit_rate"])),
                ("break-even cost, pips", number(money["break_even_cost_pips"])),
                ("trades a day", number(money["trades_a_day"], 3)),
                ("largest drawdown, pips", number(money["max_drawdown"] / pip)),
                ("capacity", money["capacity"]["text"]),
            ]
        ),
    ]
    figure, (top, bottom) = axes_of(rows=2)
    equity = np.array(money["equity"], float) / pip
    band = document["controls"].get("band")
    x = days_of(money["days"])
    top.plot(x, equity, color=INK, linewidth=1.2, label="best rule")
    if band:
        low, high = (np.array(band[name], float) / pip for name in ("low", "high"))
        median = np.array(band["median"], float) / pip
        top.plot(x, median, color=DIM, linewidth=0.8, label="best rules of coin worlds, median")
        top.fill_between(
            x, low, high, color=DIM, alpha=0.3, linewidth=0, label="5 to 95 % of these"
        )
    top.set_ylabel("net, pips")
    legend(top)
    peaks = np.maximum.accumulate(np.maximum(equity, 0.0))
    bottom.fill_between(x, equity - peaks, color=LOSS, alpha=0.4, linewidth=0)
    bottom.set_ylabel("below peak, pips")
    bottom.set_xlabel("trading day of the decision")
    finish(figure, [top, bottom], synthetic)
    parts.append(figure_svg(figure, label="Equity over the surrogate band"))
    if money["cost_curve"]:
        figure, (axes,) = axes_of(rows=1)
        levels = [one["cost_pips"] for one in money["cost_curve"]]
        axes.plot(levels, [one["net_pips"] for one in money["cost_curve"]], color=INK)
        axes.axhline(0, color=DIM, linewidth=0.8)
        axes.axvline(costs["spread"] / pip, color=LOSS, linewidth=1)
        axes.set_xlabel(
            "cost of a round trip, pips; the upright line is the spread in use, and the break-even "
            "cost is where the curve crosses 0"
        )
        axes.set_ylabel("net, pips a trade")
        finish(figure, [axes], synthetic)
        parts.append(figure_svg(figure, label="Net by cost"))
    return parts


def _selection(document: Document, synthetic: bool) -> list[str]:
    chosen = document["selection"]
    pip = document["costs"]["pip"]
    deflated = chosen["deflated_sharpe"]
    best = sorted(document["rules"], key=lambda rule: -(rule["t_value"] or 0.0))
    parts = [
        heading("6. Selection"),
        table(
            [
                ("configurations ever tried on these data", f"{chosen['trials']:,}"),
                ("look at these data, number", f"{chosen['look']:,}"),
                ("Sharpe ratio a year", number(chosen["sharpe_a_year"])),
                (
                    "deflated Sharpe ratio",
                    f"{number(deflated['value'])}, needed {number(deflated['needed'])}",
                ),
                ("SPA p (consistent)", number(chosen["spa"]["consistent"], 3)),
                ("survive StepM at 5 %", ", ".join(chosen["stepm"]["names"]) or "none"),
                (
                    "probability of overfitting",
                    f"{number(chosen['overfitting']['probability'], 3)} "
                    f"{chosen['overfitting']['note']}".strip(),
                ),
                (
                    "years of data",
                    f"{number(chosen['length']['years'], 3)}, needed "
                    f"{number(chosen['length']['years_needed'], 3)}",
                ),
                (
                    "walk-forward, pips a day",
                    number(
                        None
                        if chosen["walk_forward"]["net_a_day"] is None
                        else chosen["walk_forward"]["net_a_day"] / pip,
                        3,
                    ),
                ),
                (
                    "median path of cross-validation, pips a day",
                    chosen["paths"]["reason"]
                    or number((chosen["paths"]["median_a_day"] or 0.0) / pip, 3),
                ),
            ]
        ),
        grid(
            [
                "best rules by t, pips a trade",
                "trades",
                "hit rate",
                "at no cost",
                "net",
                "at 1 pip",
                "at twice the spread",
                "t",
            ],
            [
                [
                    rule["name"],
                    number(rule["trades"]),
                    number(rule["hit_rate"], 3),
                    *(
                        number(None if rule[name] is None else rule[name] / pip, 3)
                        for name in ("gross", "net", "net_one_pip", "net_twice")
                    ),
                    number(rule["t_value"], 3),
                ]
                for rule in best[:_RULES_SHOWN_MAX]
            ],
        ),
    ]
    parts.append(paragraph(LEDGER_KNOWS))
    figure, every = axes_of(rows=1, columns=2)
    t_values = [rule["t_value"] for rule in document["rules"] if rule["t_value"] is not None]
    every[0].hist(t_values, bins=30, color=DIM)
    every[0].set_xlabel("t of the net gain a day, all rules")
    every[0].set_ylabel("rules")
    _walk_forward(every[1], chosen["walk_forward"], pip)
    finish(figure, every, synthetic)
    parts.append(figure_svg(figure, label="All rules, and walk-forward"))
    surface = _surface(document["rules"], synthetic)
    if surface:
        parts.append(surface)
    paths = chosen["paths"]["sharpe_a_year"]
    if paths:
        figure, (axes,) = axes_of(rows=1)
        axes.plot(paths, np.arange(1, len(paths) + 1) / len(paths), "o-", color=INK, markersize=4)
        axes.axvline(0, color=DIM, linewidth=0.8)
        axes.set_xlabel("Sharpe ratio a year of each path of cross-validation")
        axes.set_ylabel("share of paths")
        finish(figure, [axes], synthetic)
        parts.append(figure_svg(figure, label="Paths of cross-validation"))
    return parts


def _surface(rules: Sequence[Mapping[str, Any]], synthetic: bool) -> str:
    """Return the mean t over the two parts of the rules that have most choices, "" without two."""
    choices: dict[str, dict[str, None]] = {}
    for rule in rules:
        for part, value in rule["configuration"].items():
            choices.setdefault(part, {})[_choice(value)] = None
    wide = sorted(
        (part for part in choices if len(choices[part]) > 1), key=lambda p: -len(choices[p])
    )
    if len(wide) < 2:
        return ""
    down, across = wide[:2]
    rows, columns = (list(choices[part])[:_CHOICES_SHOWN_MAX] for part in (down, across))
    cells: dict[tuple[str, str], list[float]] = {}
    for rule in rules:
        # A rule that never traded has no t.
        if rule["t_value"] is not None:
            place = tuple(_choice(rule["configuration"].get(part)) for part in (down, across))
            cells.setdefault((place[0], place[1]), []).append(rule["t_value"])
    shown = np.array([[np.mean(cells.get((r, c), [np.nan])) for c in columns] for r in rows])
    figure, (axes,) = axes_of(rows=1)
    figure.set_figheight(max(figure.get_figheight(), 0.3 * len(rows)))
    largest = float(np.nanmax(np.abs(shown))) if np.isfinite(shown).any() else 1.0
    axes.imshow(shown, cmap="RdYlGn", vmin=-largest, vmax=largest, aspect="auto")
    for r, c in zip(*np.nonzero(np.isfinite(shown)), strict=True):
        axes.text(c, r, f"{shown[r, c]:.1f}", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    figure.subplots_adjust(left=0.3)
    finish(figure, [axes], synthetic)
    axes.grid(visible=False)
    axes.set_title(
        f"mean t of the net gain a day: {down} down, {across} across; a good rule among bad "
        "neighbours is luck",
        fontsize=8,
        loc="left",
    )
    return figure_svg(figure, label="Parameter surface")


def _choice(value: Any) -> str:
    """Return one choice of a part of a rule as text: gates as metric and range."""
    if not isinstance(value, list):
        return "none" if value is None else str(value)
    if not value:
        return "no gate"
    return ", ".join(
        f"{gate['metric']} {low:g}..{high:g}"
        for gate in value
        for low, high in (gate.get("percentile") or gate["value"],)
    )


def _walk_forward(axes: "Axes", forward: Document, pip: float) -> None:
    from matplotlib.dates import AutoDateLocator

    if forward["days"]:
        equity = np.array(forward["equity"], float) / pip
        axes.plot(days_of(forward["days"]), equity, color=GAIN if equity[-1] > 0 else LOSS)
        locator = AutoDateLocator(maxticks=5)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
    axes.axhline(0, color=DIM, linewidth=0.8)
    axes.set_title("walk-forward, net pips", fontsize=8, loc="left")


def _metrics(document: Document, synthetic: bool) -> list[str]:
    found = document["metrics"]
    figure, every = axes_of(rows=1, columns=len(found["coin"]))
    for axes, (name, coin) in zip(every, found["coin"].items(), strict=True):
        shares = np.array(coin["deciles"], float) / max(sum(coin["deciles"]), 1)
        axes.bar(np.arange(5, 100, 10), shares, width=9, color=DIM)
        axes.axhline(0.1, color=LOSS, linewidth=1)
        axes.set_xlabel(f"coin percentile of {name}; line: a fair coin")
    every[0].set_ylabel("share of windows")
    finish(figure, every, synthetic)
    rows = [
        [
            name,
            *(
                f"{number(one['share'], 3)} (coin {number(one['coin'], 3)})"
                for one in coin["at_least"]
            ),
        ]
        for name, coin in found["coin"].items()
    ]
    return [
        heading("7. Metrics over a fair coin"),
        paragraph(
            f"Window {found['window']}, {found['bits']:,} moves, "
            f"{number(found['up_share'], 3)} of them up."
        ),
        grid(["share of windows", "at or above the 80th", "at or above the 95th"], rows),
        figure_svg(figure, label="Metrics over the coin"),
    ]


def _estimate(value: Mapping[str, float] | float | None) -> str:
    if isinstance(value, Mapping):
        return interval(value)
    return number(value)


def section_lines(document: Document) -> Sequence[tuple[str, str]]:
    """Return one line a section, for a terminal."""
    direction, money = document["direction"], document["money"]
    chosen, gate = document["selection"], document["causality"]
    provenance, pip = document["provenance"], document["costs"]["pip"]
    coin = document["metrics"]["coin"]["coherence"]["at_least"][-1]
    return (
        (
            "provenance",
            f"{provenance['bars']:,} bars on {provenance['days']:,} days, "
            f"{provenance['gaps']:,} gaps, {provenance['tie_share']:.1%} unchanged",
        ),
        (
            "causality",
            f"{'passed' if gate['passed'] else 'LEAKS'}: {gate['truncations']:,} cuts, "
            f"{gate['poisons']:,} poisoned futures, {gate['trades_again']:,} trades again, "
            f"decision lag {_lag_text(document)}"
            + ("" if gate["passed"] else f"; {gate['findings'][0]['text']}"),
        ),
        (
            "controls",
            f"p {number(document['controls']['sign']['best_p'], 3)} against "
            f"{document['controls']['sign']['worlds']:,} coin worlds, walk-forward p "
            f"{number(document['controls']['sign']['walk_forward_p'], 3)}",
        ),
        (
            "direction",
            f"hit rate {interval(direction['hit_rate'], 3)} in {direction['trades']:,} trades; "
            f"beyond last-bit reversal {interval(direction['out_of_sample']['difference'], 2)}",
        ),
        (
            "money",
            f"{number(money['levels']['measured']['net_pips'], 3)} pips a trade for the best, "
            f"walk-forward {money['levels']['measured']['walk_forward_a_day'] / pip:+.2f} a day",
        ),
        ("capacity", money["capacity"]["text"]),
        (
            "selection",
            f"{chosen['trials']:,} tried; SPA p {number(chosen['spa']['consistent'], 3)}, deflated "
            f"Sharpe {number(chosen['deflated_sharpe']['value'], 3)} of "
            f"{number(chosen['deflated_sharpe']['needed'], 3)} needed",
        ),
        (
            "metrics",
            f"coherence at or above its 95th percentile in {number(coin['share'], 3)} of windows, "
            f"coin {number(coin['coin'], 3)}",
        ),
    )
