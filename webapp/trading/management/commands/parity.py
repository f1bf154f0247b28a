import asyncio
import json
import tempfile
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sep_engine.backtest import Costs, run
from sep_engine.data import load_sample
from sep_engine.errors import SepError
from sep_engine.signals import DEFAULT_RULE, Rule
from webapp.trading.parity import first_bars, pairs, paper_trades

_SHOWN_MAX = 50


class Command(BaseCommand):
    help = (
        "Trade a rule on the sample in the backtester and at a paper broker of its own, and print "
        "every trade that differs with its cause. Exit status 1: one is unexplained."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rule", type=Path, help="JSON file; the default rule without it")
        parser.add_argument("--bars", type=int, default=10**9, help="of the sample, from the first")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rule = DEFAULT_RULE
            if options["rule"] is not None:
                rule = Rule.from_json(json.loads(options["rule"].read_text(encoding="utf-8")))
            sample = load_sample()
            bars = first_bars(sample.bars, max(2, options["bars"]))
            spread = int(sample.assumed_spread / bars.tick)
            result = run(bars, rule, Costs(spread), side=sample.metadata["price_side"])
            with tempfile.TemporaryDirectory() as folder:
                paper = asyncio.run(
                    paper_trades(
                        rule,
                        sample.quote_bars()[: len(bars)],
                        bars.close.tolist(),
                        bars.gaps().tolist(),
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
