"""A strategy at work: bars in, signals and intents out.

The evaluator is warmed up with the stored candles, so a trader that starts again decides exactly
as one that never stopped. A class decides in a process of its own, which is given the same candles.
"""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError

import sep_engine
from sep_engine.execution.states import (
    LIVE,
    TERMINAL,
    OrderState,
    OrderType,
    Origin,
    TradingMode,
)
from sep_engine.model.calendar import gap_mask
from sep_engine.model.hours import TradingHours
from sep_engine.model.times import to_ns
from sep_engine.signals import DEFAULT_RULE, Decision, Rule, RuleEvaluator
from sep_engine.signals.strategy import StrategyBar, StrategyRule
from webapp.trading.granularity import duration, nanoseconds
from webapp.trading.models import Candle, Feed, Order, Position, Signal, Strategy
from webapp.trading.selectors.resources import numbers, signal_resource
from webapp.trading.services import events, system
from webapp.trading.services.modes import allowed_by, modes_for
from webapp.trading.services.orders import order_submit
from webapp.trading.trader.strategy_process import Answer, StrategyProcess
from webapp.trading.wire import decimal_text, time_text

logger = logging.getLogger(__name__)

# At once, so that a trader that is stopped meanwhile ends soon.
_ATTEND_S = 0.25


def running_strategy(strategy: Strategy) -> "RunningStrategy":
    """Return a strategy as a trader runs it, by its rule or by its class."""
    return RunningClass(strategy) if strategy.source else RunningStrategy(strategy)


class RunningStrategy:
    """One strategy with its evaluator. Call `decide` for each complete bar, then `record`."""

    def __init__(self, strategy: Strategy) -> None:
        self.row = strategy
        self.exits, self._measured = self._read(strategy.rule)
        self._calendar = strategy.instrument.calendar
        self._bar = duration(strategy.granularity)
        self._evaluator = RuleEvaluator(self._measured, tick=float(strategy.instrument.tick))
        self._hours = TradingHours.of(strategy.session) if strategy.session else None
        self._last_start: datetime | None = None
        # The newest closes that the metrics can come from: two windows, for predictions are judged
        # over a second one.
        self._closes: deque[tuple[datetime, Decimal]] = deque(maxlen=2 * self._measured.window + 1)
        self._shown: Decision | None = None

    def _read(self, stored: dict[str, Any]) -> tuple[Rule | StrategyRule, Rule]:
        """Return what says how positions end, and the rule whose metrics are shown."""
        rule = Rule.from_json(stored)
        return rule, rule

    def warm_up(self, closes: Sequence[tuple[datetime, Decimal]]) -> None:
        """Run over stored starts and closes, oldest first, and decide at the last."""
        for start, close in closes[:-1]:
            gap = self._see(start, close)
            self._evaluator.pass_over(float(close), gap=gap)
        for start, close in closes[-1:]:
            self.decide(start, close)

    def decide(self, start: datetime, close: Decimal) -> Decision:
        """Return the decision after the complete bar that began at `start`."""
        gap = self._see(start, close)
        self._shown = self._evaluator.on_bar(float(close), gap=gap)
        decision = self._decided(start, self._shown)
        if (
            decision.direction
            and self._hours is not None
            and not self._hours.contains(start + self._bar)
        ):
            # As in a backtest: what is decided outside the hours counts for nothing.
            decision = replace(decision, direction=0, reason=f"outside {self._hours.text}")
        return decision

    def _decided(self, start: datetime, measured: Decision) -> Decision:
        """Return who decides: the rule that was measured."""
        return measured

    def _see(self, start: datetime, close: Decimal) -> bool:
        """Remember a complete bar; return whether bars are missing before it."""
        gap = self._last_start is not None and _is_gap(
            self._last_start, start, self._bar, self._calendar
        )
        self._last_start = start
        self._closes.append((start, close))
        return gap

    def record(
        self,
        *,
        decision: Decision,
        close: Decimal,
        sides: Sequence[Decimal],
        feed: Feed,
        now: datetime,
    ) -> None:
        """Write what follows from a decision, within the transaction that stores its bar.

        sides: signed units of the instrument that the account holds, without any that is 0: of a
            hedging account long and short apart.
        """
        if sides:
            self._exit_when_due(sides, now)
        if decision.direction == 0 or not self._is_on():
            return
        assert self._last_start is not None
        signal = Signal(
            strategy=self.row,
            instrument=self.row.instrument,
            time=self._last_start + self._bar,
            direction=decision.direction,
            price=close,
            metrics=numbers(decision.metrics),
            percentiles=numbers(decision.percentiles),
            inputs=self._inputs(),
            decision_reason=decision.reason[:300],
            run=feed.run,
        )
        signal.save(force_insert=True)
        if not sum(sides) and not self._wants():
            signal.order = self._enter(signal, now)
            signal.save(update_fields=["order"])
        events.record(
            stream="signals", type="trading_signal", data=signal_resource(signal), now=now
        )

    def _is_on(self) -> bool:
        """Return whether it may enter: who switches it off does not wait for a new trader."""
        return bool(Strategy.objects.values_list("enabled", flat=True).get(pk=self.row.pk))

    def metrics_resource(self) -> dict[str, Any] | None:
        """Return the metrics of the last complete bar with where they come from."""
        if self._shown is None or self._last_start is None:
            return None
        return {
            "metrics": numbers(self._shown.metrics),
            "percentiles": numbers(self._shown.percentiles),
            "window": self._measured.window,
            "encoding": self._measured.encoding,
            "engine": sep_engine.__version__,
            "as_of": time_text(self._last_start + self._bar),
        }

    def _enter(self, signal: Signal, now: datetime) -> Order | None:
        """Ask for what the signal says; None, and an alert, if no such order can be asked for."""
        tick = self.row.instrument.tick
        rule = self.exits
        try:
            return order_submit(
                account=self.row.account,
                instrument=self.row.instrument,
                units=Decimal(rule.units) * signal.direction,
                origin=Origin.RULE,
                stop_distance=None if rule.stop_ticks is None else rule.stop_ticks * tick,
                target_distance=None if rule.target_ticks is None else rule.target_ticks * tick,
                strategy=self.row,
                signal=signal,
                client_id=f"sep-r{self.row.pk}-{signal.run}-{signal.time:%Y%m%dT%H%M}",
                market_time=signal.time,
                now=now,
            )
        except ValidationError as error:
            wrong = "; ".join(
                f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()
            )
            system.alert(level="error", text=f"{self.row.name} enters nothing: {wrong}", now=now)
            return None

    def _wants(self) -> bool:
        """Return whether an order is on its way: signals meanwhile are only recorded."""
        live = Order.objects.filter(account=self.row.account, state__in=sorted(LIVE))
        return live.filter(instrument=self.row.instrument).exists()

    def _exit_when_due(self, sides: Sequence[Decimal], now: datetime) -> None:
        """Ask for what this strategy opened, and no more, to be closed after its horizon."""
        entry = (
            Order.objects.filter(strategy=self.row, origin=Origin.RULE, state=OrderState.FILLED)
            .order_by("-pk")
            .first()
        )
        if entry is None:
            return
        held = sum((units for units in sides if units * entry.units > 0), Decimal(0))
        later = Order.objects.filter(
            account=self.row.account, instrument=self.row.instrument, pk__gt=entry.pk
        )
        if not held or later.filter(origin=Origin.RULE, state=OrderState.FILLED).exists():
            return  # another strategy, or somebody, opened what is held
        filled = entry.fills.order_by("transaction_id").first()
        if filled is None or self._last_start is None:
            return
        bars = Candle.objects.filter(
            instrument=self.row.instrument,
            granularity=self.row.granularity,
            start__gt=filled.time - self._bar,  # that of the fill too, which a venue fills within
            start__lte=self._last_start,
        ).count()
        leaving = later.filter(reduce_only=True, type=OrderType.MARKET)
        if bars < self.exits.horizon_bars or leaving.exclude(state__in=TERMINAL).exists():
            return
        own = entry.filled_units + sum(
            later.filter(strategy=self.row).values_list("filled_units", flat=True), Decimal(0)
        )
        opened_since = Position.objects.filter(
            account=self.row.account, instrument=self.row.instrument, opened_at__gt=filled.time
        )
        if own * held <= 0 or any(one.units * held > 0 for one in opened_since):
            return  # it has closed its own, or that was closed before what is held was opened
        order = Order(account=self.row.account, strategy=self.row, reduce_only=True)
        modes = modes_for(order)
        if TradingMode.HALTED in modes or not allowed_by(modes, order):
            return
        end = self._last_start + self._bar
        order_submit(
            account=self.row.account,
            instrument=self.row.instrument,
            units=-min(own, held, key=abs),
            origin=Origin.EXIT,
            reduce_only=True,
            strategy=self.row,
            client_id=f"sep-x{entry.pk}-{end:%Y%m%dT%H%M}",
            market_time=end,
            now=now,
        )

    def _inputs(self) -> dict[str, Any]:
        # Written in one way: a stored close carries more zeros than one that has just come.
        text = "\n".join(
            f"{time_text(start)} {decimal_text(close)}" for start, close in self._closes
        )
        return {
            "encoding": self._measured.encoding,
            "window": self._measured.window,
            "engine": sep_engine.__version__,
            "bars": len(self._closes),
            "first_start": time_text(self._closes[0][0]),
            "last_start": time_text(self._closes[-1][0]),
            "closes_sha256": hashlib.sha256(text.encode()).hexdigest(),
            **self._traded_by(),
        }

    def _traded_by(self) -> dict[str, Any]:
        return {
            "rule": self.row.rule,
            **({"session": self.row.session} if self.row.session else {}),
        }


class RunningClass(RunningStrategy):
    """A strategy whose class decides, in its own process; its exits are as those of a rule.

    Call `remember` before the first bar, `attend` now and then, and `ask` for each bar before
    `decide`: the answer is there, or there is none, when the bar's transaction begins.
    """

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy)
        self._tick = strategy.instrument.tick
        self._process = StrategyProcess(
            source=strategy.source,
            class_name=strategy.rule["strategy"],
            path=f"{strategy.name}.py",
            printed=self._log,
        )
        if hashlib.sha256(strategy.source.encode()).hexdigest() != self._rule.source_sha256:
            self._refusal = "its source is not the one that its hash names: add it again"
        else:
            self._refusal = "" if strategy.enabled else "it is off"
        self._answer: tuple[datetime, Answer] | None = None
        self._newest: datetime | None = None
        self._given = 0
        self._first: datetime | None = None
        self._bars_sha256 = hashlib.sha256()
        self._told_trouble = ""

    def _read(self, stored: dict[str, Any]) -> tuple[Rule | StrategyRule, Rule]:
        self._rule = StrategyRule.from_json(stored)
        # The chart draws metrics of the prices; nothing here is decided by them.
        return self._rule, DEFAULT_RULE

    def remember(self, start: datetime, *prices: Decimal) -> None:
        """Take a stored bar: open, high, low and close."""
        if not self._refusal:
            self._process.see(self._given_bar(start, prices))

    async def attend(self) -> bool:
        """Start the process or give it more of the past; return whether there is no more to do."""
        if self._refusal:
            return True
        return await asyncio.to_thread(self._process.attend, _ATTEND_S)

    async def ask(self, start: datetime, *prices: Decimal) -> None:
        """Let the class say what it makes of a complete bar: open, high, low and close."""
        if self._refusal:
            self._answer = start, Answer(None, self._refusal)
        elif self._newest is None or start > self._newest:
            bar = self._given_bar(start, prices)
            self._answer = start, await asyncio.to_thread(self._process.ask, bar)

    def news(self) -> tuple[str, str] | None:
        """Return level and text of what a person should know by now and was not told."""
        hidden = self._refusal if self.row.enabled else ""
        trouble = hidden or self._process.trouble
        if trouble == self._told_trouble:
            return None
        self._told_trouble = trouble
        if trouble:
            return "error", f"{self.row.name} stands and enters nothing: {trouble}"
        return "info", f"{self.row.name} decides again."

    def close(self) -> None:
        """End its process; a call that waits for it comes back at once."""
        self._process.close()

    def _given_bar(self, start: datetime, prices: tuple[Decimal, ...]) -> StrategyBar:
        opened, high, low, close = prices
        gap = self._newest is not None and _is_gap(self._newest, start, self._bar, self._calendar)
        self._newest, self._first = start, self._first or start
        self._given += 1
        # One line a bar, so that what a signal came from can be told from what is stored.
        texts = " ".join(decimal_text(price) for price in prices)
        self._bars_sha256.update(f"{time_text(start)} {texts}\n".encode())
        return StrategyBar.of(to_ns(start), (opened, high, low, close), tick=self._tick, gap=gap)

    def _decided(self, start: datetime, measured: Decision) -> Decision:
        name = self._rule.name
        if self._answer is None or self._answer[0] != start:
            return Decision(0, f"{name} was not asked", {}, {})
        answer = self._answer[1]
        if answer.direction is None:
            return Decision(0, f"no answer: {answer.reason}", {}, {})
        word = {1: "buys", 0: "holds", -1: "sells"}[answer.direction]
        return Decision(answer.direction, f"{name} {word}", {}, {})

    def _inputs(self) -> dict[str, Any]:
        assert self._first is not None
        assert self._newest is not None
        return {
            "engine": sep_engine.__version__,
            "bars": self._given,
            "first_start": time_text(self._first),
            "last_start": time_text(self._newest),
            "bars_sha256": self._bars_sha256.hexdigest(),
            **self._traded_by(),
        }

    def _log(self, line: str) -> None:
        logger.info("%s prints: %s", self.row.name, line)


def _is_gap(before: datetime, start: datetime, bar: timedelta, calendar: str) -> bool:
    if start - before <= bar:
        return False
    times = nanoseconds((before, start))
    return bool(gap_mask(times, bar, calendar, _gap_bars(bar))[1])


def _gap_bars(bar: timedelta) -> int:
    """Return from how many missing bars on there is a gap: 15 minutes, at least one bar."""
    return max(1, -(-timedelta(minutes=15) // bar))
