"""What one rule would have earned."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

import sep_engine
from sep_engine import ledger
from sep_engine.backtest import BacktestResult, run
from sep_engine.backtest import configuration as rule_configuration
from sep_engine.ledger import Tried
from sep_engine.model.calendar import trading_days
from sep_engine.model.times import from_ns
from sep_engine.signals import Rule
from webapp.trading.research.question import (
    Answer,
    Json,
    Record,
    entry_of,
    figure,
    hours_of,
    session_counts,
    trade_costs,
)
from webapp.trading.selectors.run_data import Material
from webapp.trading.wire import time_text


def answer(configuration: Mapping[str, Any], given: Material, record: Record) -> Answer:
    from sep_engine.report import backtest_document

    bars = given.bars
    rule = Rule.from_json(configuration["rule"])
    result = run(
        bars,
        rule,
        trade_costs(configuration, given),
        side=given.side,
        entry=entry_of(configuration),
        counts=session_counts(configuration, given),
    )
    days = np.unique(trading_days(bars.times)).size
    tried = record(
        [
            ledger.Trial(
                {**rule_configuration(rule, result.entry), **hours_of(configuration)},
                result.sharpe(days),
            )
        ],
        {},
    )
    document = {
        **backtest_document(
            result,
            pip=given.pip,
            session=configuration.get("session"),
            synthetic=given.synthetic,
            engine_version=sep_engine.__version__,
        ),
        "trials": tried.trials,
    }
    figures, pip = result.figures, given.pip_ticks()
    net = figures.net_ticks / pip
    return Answer(
        document=json.dumps(document),
        page=_page(configuration, given, result, tried),
        edge=None,
        text=f"{figures.trades:,} trades, net {net:+,.1f} pips; one backtest proves nothing",
        summary={
            "sections": [],
            "figures": _figures(result, pip, tried.trials),
        },
    )


def _time(time_ns: int) -> str:
    return time_text(from_ns(time_ns))


def _page(
    configuration: Mapping[str, Any], given: Material, result: BacktestResult, tried: Tried
) -> str:
    from sep_engine.report import Provenance, backtest_page

    bars = given.bars
    return backtest_page(
        result,
        times=bars.times,
        closes=bars.close,
        pip=given.pip,
        provenance=Provenance(
            [
                ("bars of", given.granularity),
                ("first", _time(int(bars.times[0]))),
                ("last", _time(int(bars.times[-1]))),
                ("calendar", bars.calendar),
                *(
                    ("entered only within", str(hours))
                    for hours in hours_of(configuration).values()
                ),
                *given.origin.items(),
                ("sha256 of the bars", bars.content_sha256),
                ("configurations tried on them", f"{tried.trials:,}"),
            ],
            [f"{one.kind}: {one.count:,} rows; {one.text}" for one in bars.quality.findings],
            synthetic=given.synthetic,
        ),
        engine_version=sep_engine.__version__,
    )


def _figures(result: BacktestResult, pip: float, trials: int) -> list[Json]:
    figures = result.figures
    net = figures.net_ticks / pip
    return [
        figure("trades", figures.trades),
        figure("win rate", figures.win_rate, "share"),
        figure("gross", figures.gross_ticks / pip, "pips"),
        figure("net", net, "pips"),
        figure(
            "net a trade",
            None if figures.net_ticks_per_trade is None else figures.net_ticks_per_trade / pip,
            "pips",
        ),
        figure("largest drawdown", -figures.max_drawdown_ticks / pip, "pips"),
        figure("longest losing run", figures.longest_losing_run),
        figure("time in the market", figures.exposure, "share"),
        figure("configurations tried", trials),
    ]
