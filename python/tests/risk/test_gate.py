"""The risk gate: every limit to the unit, and closed whenever a rule cannot answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sep_engine.execution.states import Origin, TradingMode
from sep_engine.model import Instrument, Quote
from sep_engine.risk import LIMIT_NAMES, Approved, Denied, Exposure, Intent, check_order
from sep_engine.risk import gate as gate_module

D = Decimal
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
EUR_USD = Instrument("EUR_USD", "EUR", "USD", D("0.00001"), D("0.0001"), D(1), 5, "fx")
QUOTE = Quote("EUR_USD", datetime(2017, 5, 1, tzinfo=UTC), D("1.09990"), D("1.10000"))
LIMITS = {
    "quote_age_s_max": D(10),
    "spread_pips_max": D(1),
    "order_units_max": D(1000),
    "order_notional_max": D(1100),
    "position_units_max": D(3000),
    "open_positions_max": D(1),
    "open_orders_max": D(3),
    "orders_per_minute_max": D(5),
    "price_collar_pips_max": D(50),
    "daily_loss_max": D(100),
}
INTENT = Intent("EUR_USD", D(1000), None, D("1.09000"), None, False, Origin.RULE)
EXIT = Intent("EUR_USD", D(-1000), None, None, None, True, Origin.EXIT)
# Everything as close to its limit as may be.
EXPOSURE = Exposure(
    instrument=EUR_USD,
    modes=(TradingMode.ACTIVE, TradingMode.ACTIVE, TradingMode.ACTIVE),
    quote=QUOTE,
    quote_received_at=NOW - timedelta(seconds=10),
    feed_stands="",
    account_per_quote=D(1),
    position_units=D(500),
    pending_buy_units=D(1500),
    pending_sell_units=D(-9000),
    unresolved=False,
    open_positions=0,
    open_orders=2,
    sent_last_minute=4,
    day_pl=D(-100),
)


def judge(intent: Intent = INTENT, limits: dict[str, Any] = LIMITS, **changes: Any) -> Any:
    return check_order(intent, replace(EXPOSURE, **changes), limits, NOW)


def test_an_order_at_every_limit_passes_with_every_answer_kept() -> None:
    verdict = judge()
    assert isinstance(verdict, Approved)
    assert [check.rule for check in verdict.checks] == [
        "instrument", "state", "unresolved", "feed", "quote_age", "spread_pips", "size",
        "notional", "position_units", "open_positions", "open_orders", "orders_per_minute",
        "price_collar_pips", "stop_loss", "daily_loss",
    ]  # fmt: skip
    assert ("size", "at most 1000", "1000") in {(c.rule, c.limit, c.value) for c in verdict.checks}


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("quote_age", {"quote_received_at": NOW - timedelta(seconds=10, milliseconds=1)}),
        ("quote_age", {"quote_received_at": NOW + timedelta(milliseconds=1)}),
        ("spread_pips", {"quote": replace(QUOTE, bid=D("1.09989"))}),
        ("position_units", {"position_units": D(501)}),
        ("position_units", {"pending_buy_units": D(1501)}),
        ("open_positions", {"open_positions": 1}),
        ("open_orders", {"open_orders": 3}),
        ("orders_per_minute", {"sent_last_minute": 5}),
        ("daily_loss", {"day_pl": D("-100.01")}),
        ("unresolved", {"unresolved": True}),
        ("feed", {"feed_stands": "paused"}),
        ("state", {"modes": (TradingMode.ACTIVE, TradingMode.REDUCING)}),
        ("state", {"modes": (TradingMode.HALTED, TradingMode.ACTIVE)}),
    ],
)
def test_one_unit_beyond_a_limit_is_denied_by_its_rule(rule: str, changes: dict[str, Any]) -> None:
    verdict = judge(**changes)
    assert isinstance(verdict, Denied)
    assert verdict.rule == rule
    assert verdict.reason.startswith(f"{rule}: ")


@pytest.mark.parametrize(
    ("rule", "intent"),
    [
        ("size", replace(INTENT, units=D(1001))),
        ("size", replace(INTENT, units=D("999.5"))),
        ("size", replace(INTENT, units=D(0))),
        ("size", replace(INTENT, units=D("NaN"))),
        ("notional", replace(INTENT, price=D("1.10001"))),  # 1000 * 1.10001 = 1100.01
        ("price_collar_pips", replace(INTENT, price=D("1.09494"), stop_loss=D(1))),  # mid 1.09995
        ("stop_loss", replace(INTENT, stop_loss=None)),
        ("stop_loss", replace(INTENT, stop_loss=D("1.09990"))),  # a buy's stop is below the bid
        ("stop_loss", replace(INTENT, stop_loss=None, stop_distance=D(0))),
        ("instrument", replace(INTENT, instrument="GBP_USD")),
    ],
)
def test_an_order_beyond_a_limit_is_denied_by_its_rule(rule: str, intent: Intent) -> None:
    verdict = judge(intent)
    assert isinstance(verdict, Denied)
    assert verdict.rule == rule


def test_a_sell_counts_what_may_be_sold() -> None:
    sell = replace(INTENT, units=D(-1000), stop_loss=D("1.11"))
    # 500 held, 9000 to sell pending, 1000 more: at worst 9500 short.
    verdict = judge(sell)
    assert isinstance(verdict, Denied)
    assert (verdict.rule, verdict.value) == ("position_units", "9500")
    assert isinstance(judge(sell, pending_sell_units=D(-2500)), Approved)  # 3000 short


@pytest.mark.parametrize("name", LIMIT_NAMES)
@pytest.mark.parametrize("value", [None, D("NaN"), D("Infinity"), D(-1), 1.0, "missing"])
def test_a_limit_that_is_no_number_denies(name: str, value: Any) -> None:
    limits = {**LIMITS, name: value}
    if value == "missing":
        del limits[name]
    verdict = judge(limits=limits)
    assert isinstance(verdict, Denied)
    assert "no answer" in verdict.value


@pytest.mark.parametrize(
    "changes",
    [
        {"instrument": None},
        {"modes": ()},
        {"modes": (TradingMode.ACTIVE,)},
        {"quote": None},
        {"quote_received_at": None},
        {"quote": replace(QUOTE, instrument="GBP_USD")},
        {"account_per_quote": None},
        {"account_per_quote": D("NaN")},
        {"day_pl": None},
        {"day_pl": D("NaN")},
        {"position_units": D("NaN")},
    ],
)
def test_what_is_not_known_denies(changes: dict[str, Any]) -> None:
    assert isinstance(judge(**changes), Denied)


def test_a_rule_that_breaks_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, (name, _) in enumerate(gate_module._OPENING_RULES):

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError("defect")

        rules = list(gate_module._OPENING_RULES)
        rules[place] = (name, broken)
        monkeypatch.setattr(gate_module, "_OPENING_RULES", tuple(rules))
        verdict = judge()
        monkeypatch.undo()
        assert isinstance(verdict, Denied)
        assert (verdict.rule, "ZeroDivisionError" in verdict.value) == (name, True)


def test_an_exit_passes_where_an_entry_does_not() -> None:
    reducing = (TradingMode.ACTIVE, TradingMode.REDUCING)
    assert isinstance(judge(modes=reducing), Denied)
    assert isinstance(judge(EXIT, modes=reducing), Approved)
    assert isinstance(judge(EXIT, feed_stands="paused", day_pl=D(-5000)), Approved)


def test_an_exit_must_reduce() -> None:
    verdict = judge(replace(EXIT, units=D(1000)))
    assert isinstance(verdict, Denied)
    assert verdict.rule == "reduces"
    assert isinstance(judge(EXIT, position_units=D(0)), Denied)


def test_only_close_everything_passes_a_halt() -> None:
    halted = (TradingMode.ACTIVE, TradingMode.HALTED)
    assert isinstance(judge(EXIT, modes=halted), Denied)
    close = replace(EXIT, origin=Origin.CLOSE_EVERYTHING)
    assert isinstance(judge(close, modes=halted), Approved)
    opening = replace(INTENT, origin=Origin.CLOSE_EVERYTHING)
    assert isinstance(judge(opening, modes=halted), Denied)
