"""Rows as the API and the events show them: plain JSON values, one function a kind of row.

An event about a row carries exactly what `GET` of that row answers.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from webapp.trading.models import (
    AnalysisJob,
    Feed,
    Fill,
    Instrument,
    Order,
    Position,
    Reconciliation,
    Signal,
    Trade,
    TradingState,
)
from webapp.trading.wire import decimal_text, money_text, time_text

Json = dict[str, Any]


def order_resource(order: Order, *, fills: Iterable[Fill] | None = None) -> Json:
    """Return an order with its fills; read it with `instrument` and `fills` fetched beside it.

    fills: all of the order where they are known; else they are read.
    """
    decimals = order.instrument.price_decimals
    if fills is None:
        fills = order.fills.all() if order.filled_units else ()
    return {
        "id": order.pk,
        "client_id": order.client_id,
        "instrument": order.instrument.name,
        "origin": order.origin,
        "type": order.type,
        "units": decimal_text(order.units),
        "price": _price(order.price, decimals),
        "stop_loss": _price(order.stop_loss, decimals),
        "take_profit": _price(order.take_profit, decimals),
        "stop_distance": _price(order.stop_distance, decimals),
        "target_distance": _price(order.target_distance, decimals),
        "trailing_distance": _price(order.trailing_distance, decimals),
        "time_in_force": order.time_in_force,
        "good_until": _time(order.good_until),
        "position_fill": order.position_fill,
        "trade_id": order.trade_id,
        "replaces_id": order.replaces_id,
        "state": order.state,
        "cause": order.cause,
        "filled_units": decimal_text(order.filled_units),
        "average_price": _price(order.average_price, decimals),
        "denied_rule": order.denied_rule,
        "denied_reason": order.denied_reason,
        "reduce_only": order.reduce_only,
        "parent_id": order.parent_id,
        "signal_id": order.signal_id,
        "venue_order_id": order.venue_order_id,
        "market_time": _time(order.market_time),
        "created_at": time_text(order.created_at),
        "updated_at": time_text(order.updated_at),
        "fills": [
            fill_resource(fill, decimals)
            for fill in sorted(fills, key=lambda fill: fill.transaction_id)
        ],
    }


def fill_resource(fill: Fill, price_decimals: int) -> Json:
    return {
        "id": fill.pk,
        "units": decimal_text(fill.units),
        "price": _price(fill.price, price_decimals),
        "realised_pl": money_text(fill.realised_pl),
        "opened_units": None if fill.opened_units is None else decimal_text(fill.opened_units),
        "assumed_spread": fill.assumed_spread,
        "time": time_text(fill.time),
    }


def signal_resource(signal: Signal) -> Json:
    """Return a signal without the inputs that it came from."""
    return {
        "id": signal.pk,
        "time": time_text(signal.time),
        "created_at": time_text(signal.created_at),
        "instrument": signal.instrument.name,
        "strategy": {"id": signal.strategy_id, "name": signal.strategy.name},
        "direction": signal.get_direction_display(),
        "price": _price(signal.price, signal.instrument.price_decimals),
        "metrics": numbers(signal.metrics),
        "percentiles": numbers(signal.percentiles),
        "reason": signal.decision_reason,
        "order_id": signal.order_id,
        "verdict": signal.strategy.verdict,
    }


def position_resource(
    position: Position,
    *,
    currency: str,
    mark: Decimal | None = None,
    open_pl: Decimal | None = None,
    age_s: float | None = None,
) -> Json:
    """Return a position; `mark`, `open_pl` and `age_s` are null when no quote is known."""
    decimals = position.instrument.price_decimals
    return {
        "instrument": position.instrument.name,
        "side": position.side,
        "units": decimal_text(position.units),
        "average_price": _price(position.average_price, decimals),
        "mark": _price(mark, decimals),
        "open_pl": None if open_pl is None else money_text(open_pl),
        "realised_pl": money_text(position.booked_pl),
        "stop_loss": _price(position.stop_loss, decimals),
        "trailing_distance": _price(position.trailing_distance, decimals),
        "age_s": age_s,
        "currency": currency,
    }


def trade_resource(trade: Trade) -> Json:
    """Return a trade of the venue; read it with `instrument` fetched beside it."""
    decimals = trade.instrument.price_decimals
    return {
        "id": trade.venue_trade_id,
        "instrument": trade.instrument.name,
        "opened_units": decimal_text(trade.opened_units),
        "units": decimal_text(trade.units),
        "price": _price(trade.price, decimals),
        "realised_pl": money_text(trade.realised_pl),
        "order_id": trade.order_id,
        "opened_at": time_text(trade.opened_at),
    }


def reconciliation_resource(run: Reconciliation) -> Json:
    """Return a comparison of the books without the books."""
    return {
        "id": run.pk,
        "cause": run.cause,
        "outcome": run.outcome,
        "done": run.done,
        "facts_read": run.facts_read,
        "adopted": run.adopted,
        "differences": run.differences,
        "started_at": time_text(run.started_at),
        "took_ms": round((run.finished_at - run.started_at).total_seconds() * 1000),
    }


def feed_resource(feed: Feed) -> Json:
    return {
        "instrument": feed.instrument.name,
        "source": feed.source,
        "name": feed.venue,
        "granularity": feed.granularity,
        "history_bars": feed.history_bars,
        "cursor": feed.cursor,
        "total": feed.total_bars,
        "bars_per_second": feed.bars_per_second,
        "paused": feed.paused,
        "at_end": feed.at_end,
        "restart_requested": feed.restart_requested,
    }


def instrument_resource(instrument: Instrument) -> Json:
    return {
        "name": instrument.name,
        "display_name": instrument.display_name,
        "base": instrument.base,
        "quote": instrument.quote,
        "tick": decimal_text(instrument.tick),
        "pip": decimal_text(instrument.pip),
        "units_step": decimal_text(instrument.units_step),
        "price_decimals": instrument.price_decimals,
        "calendar": instrument.calendar,
        "enabled": instrument.enabled,
    }


def trading_state_resource(row: TradingState) -> Json:
    return {
        "scope": row.scope,
        "state": row.state,
        "reason": row.reason,
        "changed_by": row.changed_by,
        "changed_at": time_text(row.changed_at),
    }


def job_resource(job: AnalysisJob) -> Json:
    return {
        "id": str(job.pk),
        "instrument": job.instrument.name,
        "granularity": job.granularity,
        "window": job.window,
        "encoding": job.encoding,
        "state": job.state,
        "progress": job.progress,
        "result": job.result,
        "error": job.error,
        "created_at": time_text(job.created_at),
        "finished_at": _time(job.finished_at),
    }


def numbers(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return metrics with null for what is not a number: the window was not full."""
    return {
        name: None if value is None or not math.isfinite(value) else value
        for name, value in values.items()
    }


def _price(value: Decimal | None, decimals: int) -> str | None:
    return None if value is None else decimal_text(value, decimals_min=decimals)


def _time(value: datetime | None) -> str | None:
    return None if value is None else time_text(value)
