"""The risk gate: every limit to the unit, and closed whenever a rule cannot answer.

The names of tests carry the rows of the failure catalogue that they cover (docs/reference).
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_engine.execution.states import Origin, TradingMode
from sep_engine.model import Instrument, Quote
from sep_engine.risk import LIMIT_NAMES, Approved, Check, Denied, Exposure, Intent, check_order
from sep_engine.risk import gate as gate_module

D = Decimal
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
EUR_USD = Instrument("EUR_USD", "EUR", "USD", D("0.00001"), D("0.0001"), D(1), 5, "fx")
# Monday 1 May 2017, 20:30 UTC: 16:30 in New York, 30 minutes before the rollover.
QUOTE = Quote("EUR_USD", datetime(2017, 5, 1, 20, 30, tzinfo=UTC), D("1.09990"), D("1.10000"))
LIMITS = {
    "rollover_pause_min": D(30),
    "quote_age_s_max": D(10),
    "spread_pips_max": D(1),
    "order_units_max": D(1000),
    "order_notional_max": D(1100),
    "order_equity_percent_max": D(22),
    "stop_risk_percent_max": D("0.2"),
    "leverage_max": D("0.5"),
    "position_units_max": D(3000),
    "currency_exposure_max": D(2000),
    "open_positions_max": D(1),
    "open_orders_max": D(3),
    "orders_per_second_max": D(2),
    "orders_per_minute_max": D(5),
    "orders_per_day_max": D(50),
    "repeat_pause_s": D(1),
    "price_collar_pips_max": D(50),
    "daily_loss_max": D(100),
    "drawdown_percent_max": D(10),
    "stops_max": D(3),
    "loss_pause_min": D(15),
    "window_loss_max": D(40),
}
INTENT = Intent("EUR_USD", D(1000), None, D("1.09000"), None, False, Origin.RULE)
SELL = replace(INTENT, units=D(-1000), stop_loss=D("1.10990"))
EXIT = Intent("EUR_USD", D(-1000), None, None, None, True, Origin.EXIT)
# Everything as close to its limit as may be.
EXPOSURE = Exposure(
    instrument=EUR_USD,
    modes=(TradingMode.ACTIVE, TradingMode.ACTIVE, TradingMode.ACTIVE),
    quote=QUOTE,
    quote_received_at=NOW - timedelta(seconds=10),
    feed_stands="",
    blackout="",
    account_per_quote=D(1),
    position_units=D(500),
    pending_buy_units=D(1500),
    pending_sell_units=D(-9000),
    waiting_buy_price=D("1.09989"),
    waiting_sell_price=D("1.10001"),
    unresolved=False,
    equity=D(5000),
    peak_equity=D("5555.55"),
    gross_value=D(1400),
    currency_values={"EUR": D(900), "USD": D(-900), "GBP": D(99_999)},
    open_positions=0,
    open_orders=2,
    sent_last_second=1,
    sent_last_minute=4,
    sent_today=49,
    like_order_age_s=D(1),
    day_pl=D(-100),
    stops_recent=3,
    loss_age_min=D(15),
    window_pl=D(-40),
)
# Each rule's answer to INTENT in EXPOSURE: limit and value.
ANSWERS = {
    "instrument": ("EUR_USD", "EUR_USD"),
    "state": ("ACTIVE", "ACTIVE"),
    "unresolved": ("none", "none"),
    "feed": ("running", "running"),
    "quote_age": ("at most 10 s", "10.000 s"),
    "calendar": ("open", "open"),
    "rollover": ("at least 30 min", "30 min"),
    "blackout": ("none", "none"),
    "spread_pips": ("at most 1", "1"),
    "size": ("at most 1000", "1000"),
    # 1,000 EUR at the ask of 1.10000.
    "notional": ("at most 1100", "1100"),
    # 1,100 of 5,000 USD.
    "equity_percent": ("at most 22", "22"),
    # (1,400 + 1,100) / 5,000.
    "leverage": ("at most 0.5", "0.5"),
    # 500 held, 1,500 waiting, 1,000 more.
    "position_units": ("at most 3000", "3000"),
    # 900 EUR and 1,100 more; of USD as much the other way.
    "currency_exposure": ("at most 2000", "2000"),
    "open_positions": ("at most 1", "1"),
    "open_orders": ("at most 3", "3"),
    "orders_per_second": ("at most 2", "2"),
    "orders_per_minute": ("at most 5", "5"),
    "orders_per_day": ("at most 50", "50"),
    "repeat": ("at least 1 s", "1 s"),
    "self_cross": ("below our own sell at 1.10001", "1.1"),
    "price_collar_pips": ("at most 50", "market order"),
    "stop_loss": ("below 1.0999", "1.09"),
    # 1,000 * (1.10000 - 1.09000) = 10 of 5,000 USD.
    "stop_risk_percent": ("at most 0.2", "0.2"),
    "daily_loss": ("at most 100", "100"),
    # 555.55 / 5,555.55 = 9.9999 %, rounded up to a thousandth.
    "drawdown_percent": ("at most 10", "10"),
    "stops": ("at most 3", "3"),
    "loss_pause": ("at least 15 min", "15 min"),
    "window_loss": ("at most 40", "40"),
}


def judge(intent: Intent = INTENT, limits: dict[str, Any] = LIMITS, **changes: Any) -> Any:
    return check_order(intent, replace(EXPOSURE, **changes), limits, NOW)


def answer(rule: str, intent: Intent = INTENT, **changes: Any) -> Check:
    found: Check = next(c for c in judge(intent, **changes).checks if c.rule == rule)
    return found


def said(rule: str, intent: Intent = INTENT, **changes: Any) -> tuple[str, str, bool]:
    check = answer(rule, intent, **changes)
    return check.limit, check.value, check.passed


def at(hour: int, minute: int = 0, *, day: int = 1, second: int = 0) -> dict[str, Quote]:
    time = datetime(2017, 5, day, hour, minute, second, tzinfo=UTC)
    return {"quote": replace(QUOTE, time=time)}


def test_an_order_at_every_limit_passes_with_every_answer_kept() -> None:
    verdict = judge()
    assert isinstance(verdict, Approved)
    assert {check.rule: (check.limit, check.value) for check in verdict.checks} == ANSWERS
    assert [check.rule for check in verdict.checks] == list(ANSWERS)
    assert all(check.passed for check in verdict.checks)


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
        ("orders_per_second", {"sent_last_second": 2}),
        ("orders_per_minute", {"sent_last_minute": 5}),
        ("orders_per_day", {"sent_today": 50}),
        ("repeat", {"like_order_age_s": D("0.999")}),
        ("self_cross", {"waiting_sell_price": D("1.10000")}),
        ("leverage", {"gross_value": D("1400.01")}),
        ("currency_exposure", {"currency_values": {"EUR": D("900.01")}}),
        ("currency_exposure", {"currency_values": {"USD": D("-900.01")}}),
        ("equity_percent", {"equity": D("4999.9"), "gross_value": D(0)}),
        ("daily_loss", {"day_pl": D("-100.01")}),
        ("drawdown_percent", {"peak_equity": D("5555.56")}),
        ("stops", {"stops_recent": 4}),
        ("loss_pause", {"loss_age_min": D("14.999")}),
        ("window_loss", {"window_pl": D("-40.01")}),
        ("unresolved", {"unresolved": True}),
        ("feed", {"feed_stands": "paused"}),
        ("blackout", {"blackout": "payrolls"}),
        ("rollover", at(20, 31)),
        ("rollover", at(21, 29)),
        # Friday 5 May 2017 ends at 21:00 UTC, and Saturday never begins.
        ("calendar", at(21, day=5)),
        ("calendar", at(12, day=6)),
        ("state", {"modes": (TradingMode.ACTIVE, TradingMode.REDUCING)}),
        ("state", {"modes": (TradingMode.HALTED, TradingMode.ACTIVE)}),
    ],
)
def test_one_unit_beyond_a_limit_is_denied_by_its_rule(rule: str, changes: dict[str, Any]) -> None:
    verdict = judge(**changes)
    assert isinstance(verdict, Denied)
    assert verdict.rule == rule
    failed = answer(rule, **changes)
    assert (verdict.limit, verdict.value) == (failed.limit, failed.value)
    assert verdict.reason == f"{rule}: {failed.value}, allowed is {failed.limit}"
    assert [check.rule for check in verdict.checks] == list(ANSWERS)


@pytest.mark.parametrize(
    ("rule", "intent"),
    [
        ("size", replace(INTENT, units=D(1001))),
        ("size", replace(INTENT, units=D("999.5"))),
        ("size", replace(INTENT, units=D(0))),
        ("size", replace(INTENT, units=D("NaN"))),
        ("notional", replace(INTENT, price=D("1.10001"))),  # 1000 * 1.10001 = 1100.01
        ("price_collar_pips", replace(INTENT, price=D("1.09494"), stop_loss=D("1.09493"))),
        ("stop_loss", replace(INTENT, stop_loss=None)),
        ("stop_loss", replace(INTENT, stop_loss=D("1.09990"))),  # a buy's stop is below the bid
        ("stop_loss", replace(SELL, stop_loss=D("1.10000"))),  # a sell's above the ask
        ("stop_loss", replace(INTENT, stop_loss=None, stop_distance=D(0))),
        ("stop_loss", replace(INTENT, stop_loss=D(0))),
        # 1,000 * 0.0101 = 10.1 of 5,000 USD: 0.202 %.
        ("stop_risk_percent", replace(INTENT, stop_loss=D("1.0899"))),
        ("stop_risk_percent", replace(INTENT, stop_loss=None, stop_distance=D("0.0101"))),
        ("instrument", replace(INTENT, instrument="GBP_USD")),
    ],
)
def test_d1_an_order_beyond_a_limit_is_denied_by_its_rule(rule: str, intent: Intent) -> None:
    verdict = judge(intent, pending_sell_units=D(0), currency_values={})
    assert isinstance(verdict, Denied)
    assert verdict.rule == rule


def test_d1_what_a_rule_says_names_the_value() -> None:
    assert said("size", replace(INTENT, units=D("999.5"))) == (
        "a multiple of 1, not 0",
        "999.5",
        False,
    )
    assert said("stop_loss", replace(INTENT, stop_loss=None)) == ("present", "absent", False)
    assert said("stop_loss", replace(INTENT, stop_loss=D("NaN"))) == ("> 0", "NaN", False)
    distance = replace(INTENT, stop_loss=None, stop_distance=D("0.00300"))
    assert said("stop_loss", distance) == ("distance > 0", "distance 0.003", True)
    assert said("stop_loss", SELL, pending_sell_units=D(0)) == ("above 1.1", "1.1099", True)
    limit = replace(INTENT, price=D("1.09500"), stop_loss=D("1.09499"))
    assert said("stop_loss", limit) == ("below 1.095", "1.09499", True)
    assert said("stop_loss", replace(limit, stop_loss=D("1.09500")))[2] is False
    short = replace(SELL, price=D("1.10400"), stop_loss=D("1.10401"))
    assert said("stop_loss", short) == ("above 1.104", "1.10401", True)
    assert said("stop_loss", replace(short, stop_loss=D("1.10400")))[2] is False
    # Mid 1.09995: 1.09495 is 50 pips away, 1.10495 too.
    for price in ("1.09495", "1.10495"):
        intent = replace(INTENT, price=D(price))
        assert said("price_collar_pips", intent) == ("at most 50", "50", True)
    late = {"quote_received_at": NOW + timedelta(seconds=2)}
    assert said("quote_age", **late) == ("at most 10 s", "-2.000 s, from the future", False)
    assert said("blackout", blackout="payrolls") == ("none", "payrolls", False)
    assert said("feed", feed_stands="paused") == ("running", "paused", False)
    assert said("unresolved", unresolved=True) == ("none", "an order in doubt", False)
    assert said("calendar", **at(12, day=6)) == ("open", "closed", False)
    assert said("repeat", like_order_age_s=None) == ("at least 1 s", "none lately", True)
    assert said("self_cross", waiting_sell_price=None) == ("any", "1.1", True)
    assert said("state", modes=(TradingMode.HALTED, TradingMode.ACTIVE))[:2] == ("ACTIVE", "HALTED")


def test_b6_a_spread_a_hundred_times_as_wide_stops_entries_and_no_exit() -> None:
    wide = {"quote": replace(QUOTE, bid=D("1.09000"), ask=D("1.10000"))}
    assert said("spread_pips", **wide) == ("at most 1", "100", False)
    assert isinstance(judge(EXIT, **wide), Approved)


def test_b8_a_pair_that_the_venue_does_not_trade_is_not_opened() -> None:
    stands = {"feed_stands": "not tradeable at the venue"}
    assert said("feed", **stands) == ("running", "not tradeable at the venue", False)
    assert isinstance(judge(**stands), Denied)


def test_the_smallest_of_everything_is_judged_as_the_rest() -> None:
    one = replace(INTENT, units=D(1))
    assert said("notional", one)[1] == "1.1"  # a buy of one unit is at the ask
    assert said("notional", replace(SELL, units=D(-1)))[1] == "1.0999"
    assert said("position_units", one)[1] == "2001"
    assert said("currency_exposure", one)[1] == "901.1"
    assert said("self_cross", one)[0] == "below our own sell at 1.10001"
    assert said("equity_percent", equity=D(1))[1] == "110000"
    for seconds, age in ((0, "0.000 s"), (0.5, "0.500 s")):
        received = {"quote_received_at": NOW - timedelta(seconds=seconds)}
        assert said("quote_age", **received) == ("at most 10 s", age, True)
    tick = replace(INTENT, stop_loss=None, stop_distance=D("0.00001"))
    assert said("stop_loss", tick)[1:] == ("distance 0.00001", True)
    assert said("stop_loss", replace(INTENT, stop_loss=D("0.00001")))[2] is True
    assert said("drawdown_percent", equity=D("0.9"), peak_equity=D(1))[1] == "10"


def test_d1_a_sell_is_held_to_the_same_sizes() -> None:
    assert said("size", replace(SELL, units=D(-1001))) == ("at most 1000", "1001", False)
    assert said("stop_risk_percent", SELL)[1] == "0.2"  # 1.1099 - 1.0999 is 0.01 too
    assert said("currency_exposure", SELL, currency_values={"EUR": D(-500)})[1] == "1599.9"
    assert said("currency_exposure", SELL, currency_values={"USD": D(500)})[1] == "1599.9"


def test_d9_a_sell_must_stay_above_our_own_buy() -> None:
    # A market sell gets the bid of 1.09990; our own waiting buy is at 1.09989.
    assert said("self_cross", SELL) == ("above our own buy at 1.09989", "1.0999", True)
    assert said("self_cross", SELL, waiting_buy_price=D("1.09990"))[2] is False
    assert said("self_cross", SELL, waiting_buy_price=None) == ("any", "1.0999", True)
    priced = replace(SELL, price=D("1.10050"))
    assert said("self_cross", priced, waiting_buy_price=D("1.10049"))[1:] == ("1.1005", True)
    assert said("self_cross", priced, waiting_buy_price=D("1.10050"))[2] is False
    buying = replace(INTENT, price=D("1.09950"))
    assert said("self_cross", buying, waiting_sell_price=D("1.09951"))[2] is True
    assert said("self_cross", buying, waiting_sell_price=D("1.09950"))[2] is False


def test_d8_a_sell_counts_what_may_be_sold() -> None:
    # 500 held, 9000 to sell pending, 1000 more: at worst 9500 short.
    verdict = judge(SELL)
    assert isinstance(verdict, Denied)
    assert (verdict.rule, verdict.value) == ("position_units", "9500")
    # 3,000 short; and a sell takes from what is held of EUR: 900 - 1,099.90.
    assert isinstance(judge(SELL, pending_sell_units=D(-2500)), Approved)
    assert said("currency_exposure", SELL)[1] == "199.9"
    assert said("currency_exposure", SELL, currency_values={})[1] == "1099.9"
    assert said("notional", SELL)[1] == "1099.9"  # at the bid


def test_money_is_turned_into_the_accounts_currency() -> None:
    # 0.5 of account currency for a dollar: half of every value.
    half = {"account_per_quote": D("0.5")}
    assert said("notional", **half)[1] == "550"
    assert said("equity_percent", **half)[1] == "11"
    assert said("stop_risk_percent", **half)[1] == "0.1"
    assert said("leverage", **half)[1] == "0.39"  # (1,400 + 550) / 5,000
    assert said("currency_exposure", **half)[1] == "1450"


def test_percents_are_rounded_up() -> None:
    # 1,100 / 4,999.99 = 22.000044 %: over the limit, and not rounded into it.
    assert said("equity_percent", equity=D("4999.99"))[1:] == ("22.001", False)


@pytest.mark.parametrize(
    ("quote", "minutes", "passed"),
    [
        (at(20, 30), "30", True),
        (at(20, 30, second=1), "29", False),  # 29 whole minutes are left
        (at(21), "0", False),
        (at(21, 30), "30", True),
        (at(9), "720", True),  # twelve hours is as far as it gets
        (at(20, 30, day=7), "30", False),  # Sunday, not open yet
        # Winter: New York's 17:00 is 22:00 UTC.
        ({"quote": replace(QUOTE, time=datetime(2017, 1, 4, 21, 30, tzinfo=UTC))}, "30", True),
        ({"quote": replace(QUOTE, time=datetime(2017, 1, 4, 21, 31, tzinfo=UTC))}, "29", False),
    ],
)
def test_d12_nothing_is_opened_around_the_rollover(
    quote: dict[str, Quote], minutes: str, passed: bool
) -> None:
    assert said("rollover", **quote)[1] == f"{minutes} min"
    assert isinstance(judge(**quote), Approved) == passed


def test_d12_the_nearest_rollover_before_dawn_was_yesterday() -> None:
    # 04:00 in New York on Tuesday: 11 hours since 17:00 on Monday, 13 until 17:00.
    assert said("rollover", **at(8, day=2))[1] == "660 min"
    # At 06:00 it is 11 hours until 17:00, and 13 since the last.
    assert said("rollover", **at(10, day=2))[1] == "660 min"
    # At 23:30 on Monday it is 6.5 hours since 17:00.
    assert said("rollover", **at(3, 30, day=2))[1] == "390 min"


def test_an_order_of_a_single_unit_buys() -> None:
    one = replace(INTENT, units=D(1))
    # It waits with what else is bought, opens at the ask and stops below the bid.
    assert said("position_units", one)[1] == "2001"
    assert said("notional", one)[1] == "1.1"
    assert said("stop_loss", one)[0] == "below 1.0999"
    assert said("self_cross", one)[0] == "below our own sell at 1.10001"
    # 1.1 USD more of EUR, and of USD as much the other way.
    assert said("currency_exposure", one)[1] == "901.1"


def test_a_currency_that_is_not_held_counts_from_nothing() -> None:
    assert said("currency_exposure", currency_values={})[1] == "1100"


def test_what_only_reduces_needs_something_to_reduce() -> None:
    flat = judge(EXIT, position_units=D(0))
    assert (flat.rule, flat.value) == ("reduces", "-1000 against 0")


def test_d12_a_market_that_never_closes_has_no_rollover() -> None:
    always = {"instrument": replace(EUR_USD, calendar="always")} | at(21, day=6)
    assert said("rollover", **always) == ("any time", "no rollover", True)
    assert said("calendar", **always) == ("open", "open", True)


@pytest.mark.parametrize("name", LIMIT_NAMES)
@pytest.mark.parametrize("value", [None, D("NaN"), D("Infinity"), D(-1), 1.0, "missing"])
def test_d7_a_limit_that_is_no_number_denies(name: str, value: Any) -> None:
    limits = {**LIMITS, name: value}
    if value == "missing":
        del limits[name]
    # A market order and one with a price ask for the same limits.
    for intent in (INTENT, replace(INTENT, price=D("1.10000"))):
        verdict = judge(intent, limits=limits)
        assert isinstance(verdict, Denied)
        shown = None if value == "missing" else value
        assert f"limit {name} must be a number >= 0, was {shown}" in verdict.value
        assert verdict.limit == "an answer"
        assert verdict.value.startswith("no answer (")


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_a_limit_of_nothing_is_a_limit(name: str) -> None:
    verdict = judge(limits={**LIMITS, name: D(0)})
    pauses = {"rollover_pause_min", "repeat_pause_s", "loss_pause_min", "price_collar_pips_max"}
    assert isinstance(verdict, Approved) == (name in pauses)


@pytest.mark.parametrize(
    ("rule", "says", "changes"),
    [
        ("instrument", "not known or not enabled", {"instrument": None}),
        ("state", "must both be known", {"modes": ()}),
        ("state", "must both be known", {"modes": (TradingMode.ACTIVE,)}),
        ("quote_age", "there is no quote", {"quote": None}),
        ("calendar", "there is no quote", {"quote": None}),
        ("rollover", "there is no quote", {"quote": None}),
        ("quote_age", "there is no quote", {"quote_received_at": None}),
        ("quote_age", "the quote is of GBP_USD", {"quote": replace(QUOTE, instrument="GBP_USD")}),
        ("notional", "no rate from the quote currency", {"account_per_quote": None}),
        ("stop_risk_percent", "no rate from the quote currency", {"account_per_quote": None}),
        ("leverage", "what is held cannot be valued", {"gross_value": None}),
        ("currency_exposure", "what is held cannot be valued", {"currency_values": None}),
        ("equity_percent", "the equity must be known and > 0, was None", {"equity": None}),
        ("equity_percent", "the equity must be known and > 0, was 0", {"equity": D(0)}),
        ("equity_percent", "the equity must be known and > 0, was NaN", {"equity": D("NaN")}),
        ("drawdown_percent", "the equity is not known", {"equity": None}),
        ("drawdown_percent", "the equity is not known", {"peak_equity": None}),
        ("daily_loss", "today's profit is not known", {"day_pl": None}),
        ("stops", "the window of the guard is not set", {"stops_recent": None}),
        ("window_loss", "the window of the loss is not set", {"window_pl": None}),
    ],
)
def test_d7_what_is_not_known_denies(rule: str, says: str, changes: dict[str, Any]) -> None:
    assert isinstance(judge(**changes), Denied)
    check = answer(rule, **changes)
    assert says in check.value
    assert (check.limit, check.passed) == ("an answer", False)


def test_d7_a_stop_that_nobody_named_has_no_known_loss() -> None:
    check = answer("stop_risk_percent", replace(INTENT, stop_loss=None))
    assert "nobody knows what may be lost" in check.value


@pytest.mark.parametrize(
    "changes",
    [
        {"account_per_quote": D("NaN")},
        {"day_pl": D("NaN")},
        {"position_units": D("NaN")},
        {"gross_value": D("NaN")},
        {"window_pl": D("NaN")},
        {"loss_age_min": D("NaN")},
        {"like_order_age_s": D("Infinity")},
        {"peak_equity": D("NaN")},
        {"currency_values": {"EUR": D("NaN")}},
    ],
)
def test_d7_what_is_no_number_denies(changes: dict[str, Any]) -> None:
    assert isinstance(judge(**changes), Denied)


def test_d7_infinite_is_shown_and_denied() -> None:
    assert said("window_loss", window_pl=D("-Infinity")) == ("at most 40", "Infinity", False)


def test_d7_a_rule_that_breaks_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(len(ANSWERS)):

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError("defect")

        rules = list(gate_module._OPENING_RULES)
        rules[place] = (rules[place][0], broken)
        monkeypatch.setattr(gate_module, "_OPENING_RULES", tuple(rules))
        verdict = judge()
        monkeypatch.undo()
        assert isinstance(verdict, Denied)
        assert (verdict.rule, verdict.limit) == (list(ANSWERS)[place], "an answer")
        assert verdict.value == "no answer (ZeroDivisionError: defect)"


def test_d7_a_rule_for_exits_that_breaks_denies() -> None:
    exposure = replace(EXPOSURE, position_units="none")  # type: ignore[arg-type]
    verdict = check_order(EXIT, exposure, LIMITS, NOW)
    assert isinstance(verdict, Denied)
    assert verdict.rule == "reduces"
    assert "no answer" in verdict.value
    for rule, broken in (("instrument", {"instrument": 1}), ("state", {"modes": None})):
        verdict = check_order(EXIT, replace(EXPOSURE, **broken), LIMITS, NOW)
        assert isinstance(verdict, Denied)
        assert verdict.rule == rule


def test_the_first_rule_that_fails_is_the_reason() -> None:
    verdict = judge(unresolved=True, day_pl=D(-5000))
    assert isinstance(verdict, Denied)
    assert verdict.rule == "unresolved"
    assert [check.rule for check in verdict.checks if not check.passed] == [
        "unresolved",
        "daily_loss",
    ]


def test_an_exit_passes_where_an_entry_does_not() -> None:
    reducing = (TradingMode.ACTIVE, TradingMode.REDUCING)
    assert isinstance(judge(modes=reducing), Denied)
    verdict = judge(EXIT, modes=reducing)
    assert isinstance(verdict, Approved)
    assert [(check.rule, check.limit, check.value) for check in verdict.checks] == [
        ("instrument", "EUR_USD", "EUR_USD"),
        ("state", "ACTIVE or REDUCING", "REDUCING"),
        ("reduces", "against the position", "-1000 against 500"),
    ]
    assert isinstance(judge(EXIT, feed_stands="paused", day_pl=D(-5000)), Approved)


def test_an_exit_must_reduce() -> None:
    verdict = judge(replace(EXIT, units=D(1000)))
    assert isinstance(verdict, Denied)
    assert verdict.rule == "reduces"
    assert isinstance(judge(EXIT, position_units=D(0)), Denied)
    assert isinstance(judge(replace(EXIT, units=D(1000)), position_units=D(-500)), Approved)


def test_only_close_everything_passes_a_halt() -> None:
    halted = (TradingMode.ACTIVE, TradingMode.HALTED)
    assert isinstance(judge(EXIT, modes=halted), Denied)
    close = replace(EXIT, origin=Origin.CLOSE_EVERYTHING)
    verdict = judge(close, modes=halted)
    assert isinstance(verdict, Approved)
    assert verdict.checks[1].limit == "ACTIVE or HALTED or REDUCING"
    opening = replace(INTENT, origin=Origin.CLOSE_EVERYTHING)
    assert isinstance(judge(opening, modes=halted), Denied)


@given(
    units=st.integers(-1000, 1000).filter(bool),
    price=st.one_of(st.none(), st.integers(109_500, 110_490)),
    stop=st.integers(1, 900),
)
def test_d1_a_normal_order_is_never_blocked(units: int, price: int | None, stop: int) -> None:
    """Within every limit nothing is refused: false alarms teach people to switch a gate off."""
    intent = Intent(
        "EUR_USD",
        D(units),
        None if price is None else D(price) / 100_000,
        None,
        D(stop) / 100_000,
        False,
        Origin.PERSON,
    )
    quiet = {
        "pending_buy_units": D(0),
        "pending_sell_units": D(0),
        "waiting_buy_price": None,
        "waiting_sell_price": None,
        "gross_value": D(0),
        "currency_values": {},
    }
    limits = {**LIMITS, "order_notional_max": D(1200), "order_equity_percent_max": D(25)}
    verdict = judge(intent, limits=limits, **quiet)
    assert isinstance(verdict, Approved), verdict
