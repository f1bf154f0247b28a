import asyncio
import json
import tempfile
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sep_engine.backtest import Costs, run, run_decided
from sep_engine.cli.strategy import strategy_decisions
from sep_engine.data import Bars, load_sample
from sep_engine.errors import ArgumentError, SepError
from sep_engine.signals import DEFAULT_RULE, Rule
from sep_engine.signals.strategy import StrategyRule, bars_of
from webapp.trading.parity import columns_of, decider, first_bars, pairs, paper_trades
from webapp.trading.trader.strategy_process import StrategyProcess

_SHOWN_MAX = 50


class Command(BaseCommand):
    help = (
        "Trade a rule or a class on the sample in the backtester and at a paper broker of its own, "
        "and print every trade that differs with its cause. Exit status 1: one is unexplained."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--rule", type=Path, help="JSON file; the default rule without it")
        what.add_argument("--strategy", type=Path, help="Python file with one class with on_bar")
        parser.add_argument("--bars", type=int, default=10**9, help="of the sample, from the first")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sample = load_sample()
            bars = first_bars(sample.bars, max(2, options["bars"]))
            costs = Costs(int(sample.assumed_spread / bars.tick))
            side = sample.metadata["price_side"]
            with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
                traded: Rule | StrategyRule
                if options["strategy"] is not None:
                    traded, decided = strategy_decisions(str(options["strategy"]), bars)
                    result = run_decided(bars, traded, decided, costs, side=side)
                    process = StrategyProcess(source=options["strategy"].read_text("utf-8"))
                    ending.callback(process.close)
                    decide = _class_decider(process, bars)
                else:
                    traded = rule = DEFAULT_RULE
                    if options["rule"] is not None:
                        traded = rule = Rule.from_json(
                            json.loads(options["rule"].read_text("utf-8"))
                        )
                    result = run(bars, rule, costs, side=side)
                    closes, gaps = bars.close.tolist(), bars.gaps().tolist()
                    decide = decider(rule, closes, gaps, tick=bars.tick)
                paper = asyncio.run(
                    paper_trades(
                        traded,
                        sample.quote_bars()[: len(bars)],
                        decide,
                        tick=bars.tick,
                        ledger=Path(folder) / "paper.sqlite3",
                    )
                )
        except (OSError, ValueError, SepError) as error:
            raise CommandError(str(error)) from error
        compared = pairs(result, paper)
        causes = Counter(pair.cause or "the same in every figure" for pair in compared)
        for cause, count in causes.most_common():
            self.stdout.write(f"{count:6,}  {cause}")
        for pair in [pair for pair in compared if pair.cause][:_SHOWN_MAX]:
            self.stdout.write(f"{pair.cause}\n  backtest {pair.backtest}\n  paper    {pair.paper}")
        if any(cause.startswith("unexplained") for cause in causes):
            raise CommandError("the backtester and the paper broker disagree", returncode=1)


def _class_decider(process: StrategyProcess, bars: Bars) -> Callable[[int], int]:
    """Return what a class says at the end of each bar, in its own process as it trades.

    Raises:
        ArgumentError: when it is asked, if there is no answer.
    """
    rows = bars_of(columns_of(bars))
    while not process.attend(1.0):
        pass

    def decide(row: int) -> int:
        answer = process.ask(rows[row])
        if answer.direction is None:
            raise ArgumentError(f"bar {row}: {answer.reason}")
        return answer.direction

    return decide
