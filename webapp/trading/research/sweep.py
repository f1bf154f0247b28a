"""What every rule of a grid would have earned, in ranges of rules, and the ranking of all."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np

import sep_engine
from sep_engine import ledger
from sep_engine.backtest import ENTRIES, Grid, sweep
from sep_engine.backtest import configuration as rule_configuration
from sep_engine.errors import ArgumentError
from webapp.trading.research.question import (
    Answer,
    Json,
    Progress,
    Record,
    figure,
    hours_of,
    session_counts,
    trade_costs,
)
from webapp.trading.selectors.run_data import Material

_COLUMNS = ("trades", "wins", "net_ticks", "gross_ticks", "max_drawdown_ticks")
_BEST_SHOWN = 50


def tried(
    work: Mapping[str, Any],
    configuration: Mapping[str, Any],
    given: Material,
    progress: Progress,
) -> Json:
    grid, first, count = Grid.from_json(configuration["grid"]), work["first"], work["count"]
    columns: dict[str, list[float | None]] = {name: [None] * count for name in _COLUMNS}
    columns["sharpe"] = [None] * count
    done = 0
    for entry in ENTRIES:
        numbers = [k for k in range(first, first + count) if grid.entry_of(k) == entry]
        if not numbers:
            continue
        result = sweep(
            given.bars,
            [grid.rule(number) for number in numbers],
            trade_costs(configuration, given),
            side=given.side,
            entry=entry,
            counts=session_counts(configuration, given),
            threads=1,  # the run has its shards for more
        )
        values = {name: result.columns[name].tolist() for name in _COLUMNS}
        values["sharpe"] = [
            value if math.isfinite(value) else None for value in result.sharpe.tolist()
        ]
        for name, column in values.items():
            for place, number in enumerate(numbers):
                columns[name][number - first] = column[place]
        done += len(numbers)
        progress(done / count)
    return {"first": first, "columns": columns}


def answer(
    configuration: Mapping[str, Any],
    given: Material,
    found: Sequence[Mapping[str, Any]],
    record: Record,
) -> Answer:
    grid = Grid.from_json(configuration["grid"])
    pieces = sorted(found, key=lambda piece: cast(int, piece["first"]))
    columns = {
        name: [value for piece in pieces for value in piece["columns"][name]]
        for name in (*_COLUMNS, "sharpe")
    }
    if len(columns["trades"]) != len(grid):
        raise ArgumentError(f"{len(grid)} rules were wanted, {len(columns['trades'])} tried")
    tried = record(
        [
            ledger.Trial(
                {
                    **rule_configuration(grid.rule(number), grid.entry_of(number)),
                    **hours_of(configuration),
                },
                sharpe,
            )
            for number, sharpe in enumerate(columns["sharpe"])
        ],
        {},
    )
    pip = given.pip_ticks()
    best = _best(grid, columns)
    gained = sum(net > 0 for net in columns["net_ticks"])
    text = (
        f"{gained:,} of {len(grid):,} rules gained; the best {best[0]['net_ticks'] / pip:+,.1f} "
        "pips, which the best of many always looks like"
    )
    document = {
        "format": "sep-sweep-1",
        "engine": sep_engine.__version__,
        "name": given.bars.name,
        "content_sha256": given.bars.content_sha256,
        "grid": grid.to_json(),
        "costs": {key: configuration[key] for key in ("spread_pips", "cost_pips")},
        "price_side": given.side,
        **hours_of(configuration),
        "pip_ticks": pip,
        "trials": asdict(tried),
        "columns": columns,
        "best": best,
        "verdict": "unproven",
        "synthetic": given.synthetic,
    }
    return Answer(
        document=json.dumps(document),
        page=_page(
            configuration,
            given,
            grid,
            best,
            text=f"{text}. {tried.trials:,} configurations were tried on these bars by now. The "
            "best have the largest net gain.",
        ),
        edge=None,
        text=text[:200],
        summary={
            "sections": [{"name": "best", "text": best[0]["name"]}],
            "figures": [
                figure("rules", len(grid)),
                figure("rules that gained", gained),
                figure("net of the best", best[0]["net_ticks"] / pip, "pips"),
                figure("trades of the best", best[0]["trades"]),
                figure("net of the median", float(np.median(columns["net_ticks"])) / pip, "pips"),
                figure("configurations tried", tried.trials),
            ],
        },
    )


def _best(grid: Grid, columns: Mapping[str, Sequence[Any]]) -> list[Json]:
    """Return the rules with the largest net gain, the largest first, each with its figures."""
    from sep_engine.evidence.family import rule_name

    net = columns["net_ticks"]
    order = sorted(range(len(grid)), key=lambda number: (-net[number], number))
    return [
        {
            "number": number,
            "name": rule_name(grid.rule(number)),
            "rule": grid.rule(number).to_json(),
            "entry": grid.entry_of(number),
            **{name: column[number] for name, column in columns.items()},
        }
        for number in order[:_BEST_SHOWN]
    ]


def _page(
    configuration: Mapping[str, Any], given: Material, grid: Grid, best: Sequence[Json], text: str
) -> str:
    from sep_engine.report import sweep_page

    pip = given.pip_ticks()
    return sweep_page(
        f"Sweep of {len(grid):,} rules on {given.bars.name}",
        text=text,
        facts=[
            ("prices", given.side),
            *(("entered only within", str(hours)) for hours in hours_of(configuration).values()),
            *((name.replace("_", " "), value) for name, value in given.origin.items()),
            ("sha256 of the bars", given.bars.content_sha256),
        ],
        header=["rule", "trades", "net, pips", "gross, pips", "drawdown, pips", "Sharpe a day"],
        rows=[
            [
                row["name"] + (", enters at the close" if row["entry"] == "close" else ""),
                f"{row['trades']:,}",
                f"{row['net_ticks'] / pip:+,.1f}",
                f"{row['gross_ticks'] / pip:+,.1f}",
                f"{row['max_drawdown_ticks'] / pip:,.1f}",
                "none" if row["sharpe"] is None else f"{row['sharpe']:.3f}",
            ]
            for row in best
        ],
        grid_document=grid.to_json(),
        synthetic=given.synthetic,
    )
