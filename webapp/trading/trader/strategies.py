"""A strategy at work: bars in, signals and intents out.

The evaluator is warmed up with the stored candles, so a trader that starts again decides exactly
as one that never stopped.
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sep_engine
from sep_engine.execution.states import (
    PROTECTIVE,
    TERMINAL,
    OrderState,
    Origin,
    TradingMode,
)
from sep_engine.model.calendar import gap_mask
from sep_engine.model.hours import TradingHours
from sep_engine.signals import Decision, Rule, RuleEvaluator
from webapp.trading.granularity import duration, nanoseconds
from webapp.trading.models import Candle, Feed, Order, Signal, Strategy
from webapp.trading.selectors.resources import numbers, signal_resource
from webapp.trading.services import events
from webapp.trading.services.order_path import allowed_by, modes_for
from webapp.trading.services.orders import order_submit
from webapp.trading.wire import decimal_text, time_text


class RunningStrategy:
    """One strategy with its evaluator. Call `decide` for each complete bar, then `record`."""

    def __init__(self, strategy: Strategy) -> None:
        self.row = strategy
        self.rule = Rule.from_json(strategy.rule)
        self._calendar = strategy.instrument.calendar
        self._bar = duration(strategy.granularity)
        self._evaluator = RuleEvaluator(self.rule, tick=float(strategy.instrument.tick))
        self._hours = TradingHours.of(strategy.session) if strategy.session else None
        self._last_start: datetime | None = None
        # The newest closes that the metrics can come from: two windows, for predictions are judged
        # over a second one.
        self._closes: deque[tuple[datetime, Decimal]] = deque(maxlen=2 * self.rule.window + 1)
        self.decision: Decision | None = None

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
        decision = self._evaluator.on_bar(float(close), gap=gap)
        if (
            decision.direction
            and self._hours is not None
            and not self._hours.contains(start + self._bar)
        ):
            # As in a backtest: what is decided outside the hours counts for nothing.
            decision = replace(decision, direction=0, reason=f"outside {self._hours.text}")
        self.decision = decision
        return decision

    def _see(self, start: datetime, close: Decimal) -> bool:
        """Remember a complete bar; return whether bars are missing before it."""
        gap = self._last_start is not None and _is_gap(
            self._last_start, start, self._bar, self._calendar
        )
        self._last_start = start
        self._closes.append((start, close))
        return gap

    def record(
        self, *, decision: Decision, close: Decimal, held: Decimal, feed: Feed, now: datetime
    ) -> None:
        """Write what follows from a decision, within the transaction that stores its bar.

        held: signed units of the instrument that the account holds.
        """
        if held:
            self._exit_when_due(held, now)
        if decision.direction == 0 or not self.row.enabled:
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
        if not held and not self._wants():
            signal.order = self._enter(signal, now)
            signal.save(update_fields=["order"])
        events.record(
            stream="signals", type="trading_signal", data=signal_resource(signal), now=now
        )

    def metrics_resource(self) -> dict[str, Any] | None:
        """Return the metrics of the last complete bar with where they come from."""
        if self.decision is None or self._last_start is None:
            return None
        return {
            "metrics": numbers(self.decision.metrics),
            "percentiles": numbers(self.decision.percentiles),
            "window": self.rule.window,
            "encoding": self.rule.encoding,
            "engine": sep_engine.__version__,
            "as_of": time_text(self._last_start + self._bar),
        }

    def _enter(self, signal: Signal, now: datetime) -> Order:
        tick = self.row.instrument.tick
        rule = self.rule
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

    def _wants(self) -> bool:
        """Return whether an order is on its way: signals meanwhile are only recorded."""
        live = Order.objects.filter(account=self.row.account, instrument=self.row.instrument)
        return live.exclude(state__in=TERMINAL).exists()

    def _exit_when_due(self, held: Decimal, now: datetime) -> None:
        """Ask for the position that this strategy opened to be closed after its horizon."""
        entry = (
            Order.objects.filter(strategy=self.row, origin=Origin.RULE, state=OrderState.FILLED)
            .order_by("-pk")
            .first()
        )
        if entry is None or entry.units * held < 0:
            return
        filled = entry.fills.order_by("transaction_id").first()
        if filled is None or self._last_start is None:
            return
        bars = Candle.objects.filter(
            instrument=self.row.instrument,
            granularity=self.row.granularity,
            start__gte=filled.time,
            start__lte=self._last_start,
        ).count()
        leaving = Order.objects.filter(
            account=self.row.account, instrument=self.row.instrument, reduce_only=True
        ).exclude(type__in=PROTECTIVE)
        if bars < self.rule.horizon_bars or leaving.exclude(state__in=TERMINAL).exists():
            return
        order = Order(account=self.row.account, strategy=self.row, reduce_only=True)
        modes = modes_for(order)
        if TradingMode.HALTED in modes or not allowed_by(modes, order):
            return
        end = self._last_start + self._bar
        order_submit(
            account=self.row.account,
            instrument=self.row.instrument,
            units=-held,
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
            "encoding": self.rule.encoding,
            "window": self.rule.window,
            "engine": sep_engine.__version__,
            "bars": len(self._closes),
            "first_start": time_text(self._closes[0][0]),
            "last_start": time_text(self._closes[-1][0]),
            "closes_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "rule": self.row.rule,
            **({"session": self.row.session} if self.row.session else {}),
        }


def _is_gap(before: datetime, start: datetime, bar: timedelta, calendar: str) -> bool:
    if start - before <= bar:
        return False
    times = nanoseconds((before, start))
    return bool(gap_mask(times, bar, calendar, _gap_bars(bar))[1])


def _gap_bars(bar: timedelta) -> int:
    """Return from how many missing bars on there is a gap: 15 minutes, at least one bar."""
    return max(1, -(-timedelta(minutes=15) // bar))
