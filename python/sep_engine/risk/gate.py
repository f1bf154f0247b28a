"""check_order: may this order go to the venue, now?

Every rule is asked, in a fixed order, and every answer is returned so that it can be stored. An
order that opens or adds is refused by the first rule that fails or cannot answer. An order that
only reduces is held to fewer rules: refusing an exit is a risk of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal
from zoneinfo import ZoneInfo

from sep_engine.execution.states import Origin, TradingMode
from sep_engine.model import Instrument, Quote
from sep_engine.model.calendar import is_open

LIMIT_NAMES = (
    "rollover_pause_min",
    "quote_age_s_max",
    "spread_pips_max",
    "order_units_max",
    "order_notional_max",
    "order_equity_percent_max",
    "stop_risk_percent_max",
    "leverage_max",
    "position_units_max",
    "currency_exposure_max",
    "open_positions_max",
    "open_orders_max",
    "orders_per_second_max",
    "orders_per_minute_max",
    "orders_per_day_max",
    "repeat_pause_s",
    "price_collar_pips_max",
    "daily_loss_max",
    "drawdown_percent_max",
    "stops_max",
    "loss_pause_min",
    "window_loss_max",
)
"""Names of all limits. Money is in account currency, units in units of base, percents of equity.

Names that end in `_max` are the most that passes, the pauses the least: a pause of 0 is none.
"""

_NEW_YORK = ZoneInfo("America/New_York")
_ROLLOVER = time(17)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is wanted.

    Attributes:
        units: signed, + buys.
        price: of a limit or stop order, None for a market order.
        stop_loss: price of the protective stop; stop_distance: its distance from the fill instead.
    """

    instrument: str
    units: Decimal
    price: Decimal | None
    stop_loss: Decimal | None
    stop_distance: Decimal | None
    reduce_only: bool
    origin: Origin


@dataclass(frozen=True, slots=True)
class Exposure:
    """What there is, as the trader sees it when it judges.

    Attributes:
        instrument: of the intent; None if it is not known or not enabled.
        modes: of every scope that the intent belongs to; all must be there.
        quote: the last of this instrument, None before the first.
        quote_received_at: when we got it, wall clock.
        feed_stands: why no newer quote will come, or why the venue does not trade now ("paused",
            "not tradeable"), "" while it runs.
        blackout: why nothing is opened in this instrument now (news, a person's choice), else "".
        account_per_quote: account currency per unit of quote currency, None if not known.
        position_units: signed units held of this instrument; at a hedging account of the side that
            the order adds to, or that it closes.
        pending_units: signed units of its unfinished orders, unknown ones counted as if filled;
            buys and sells apart, because only one side may fill.
        waiting_buy_price, waiting_sell_price: of our own waiting entries in this instrument the
            highest that buys and the lowest that sells, None without one. A market order waits at
            the price that it may fill at.
        unresolved: whether an order of this instrument is UNKNOWN.
        equity, peak_equity: what the account is worth now, and was at most; None if not known.
        gross_value: of all positions and waiting entries, account currency; None if not known.
        currency_values: what the positions and waiting entries come to in each currency, signed,
            account currency; None if not known.
        open_positions: instruments held or about to be, without this one.
        open_orders: unfinished orders of the account.
        sent_last_second, sent_last_minute, sent_today: orders sent in the last second, the last
            60 s, and since 17:00 New York.
        like_order_age_s: age of the newest order that is like this one and comes from no other
            decision, None without one.
        day_pl: realised since 17:00 New York plus open profit, account currency; None if not known.
        stops_recent: stop losses that filled within the guard's window; None if not known.
        loss_age_min: minutes since this instrument last closed at a loss, None without a loss.
        window_pl: what this instrument realised within its window, account currency; None if not
            known.
    """

    instrument: Instrument | None
    modes: tuple[TradingMode, ...]
    quote: Quote | None
    quote_received_at: datetime | None
    feed_stands: str
    blackout: str
    account_per_quote: Decimal | None
    position_units: Decimal
    pending_buy_units: Decimal
    pending_sell_units: Decimal
    waiting_buy_price: Decimal | None
    waiting_sell_price: Decimal | None
    unresolved: bool
    equity: Decimal | None
    peak_equity: Decimal | None
    gross_value: Decimal | None
    currency_values: Mapping[str, Decimal] | None
    open_positions: int
    open_orders: int
    sent_last_second: int
    sent_last_minute: int
    sent_today: int
    like_order_age_s: Decimal | None
    day_pl: Decimal | None
    stops_recent: int | None
    loss_age_min: Decimal | None
    window_pl: Decimal | None


@dataclass(frozen=True, slots=True)
class Check:
    """One rule's answer; limit and value are text, as stored."""

    rule: str
    limit: str
    value: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Approved:
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Denied:
    """`rule` is the first that did not pass; `reason` is a sentence for people."""

    rule: str
    limit: str
    value: str
    reason: str
    checks: tuple[Check, ...]


Verdict = Approved | Denied
_Rule = Callable[[Intent, Exposure, Mapping[str, Decimal], datetime], Check]


def check_order(
    intent: Intent, exposure: Exposure, limits: Mapping[str, Decimal], now: datetime
) -> Verdict:
    """Return whether `intent` may be sent, with every rule's answer.

    limits: one value for each of LIMIT_NAMES, >= 0; one that is missing, NaN or negative denies.
    now: wall clock, aware.

    Source: SEC rule 15c3-5 and FIA best practices name the kinds of pre-trade check.
    """
    rules = _REDUCING_RULES if intent.reduce_only else _OPENING_RULES
    checks = tuple(_asked(name, rule, intent, exposure, limits, now) for name, rule in rules)
    failed = next((check for check in checks if not check.passed), None)
    if failed is None:
        return Approved(checks)
    reason = f"{failed.rule}: {failed.value}, allowed is {failed.limit}"
    return Denied(failed.rule, failed.limit, failed.value, reason, checks)


def _asked(
    name: str,
    rule: _Rule,
    intent: Intent,
    exposure: Exposure,
    limits: Mapping[str, Decimal],
    now: datetime,
) -> Check:
    try:
        return rule(intent, exposure, limits, now)
    except Exception as error:
        # The one place that catches everything: a rule that breaks is a rule that denies.
        return Check(name, "an answer", f"no answer ({type(error).__name__}: {error})", False)


class _NoLimitError(Exception):
    pass


def _limit(limits: Mapping[str, Decimal], name: str) -> Decimal:
    value = limits.get(name)
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        raise _NoLimitError(f"limit {name} must be a number >= 0, was {value}")
    return value


def _text(value: Decimal) -> str:
    """Write a number for people: no exponent, no zeros that say nothing."""
    return format(value.normalize(), "f") if value.is_finite() else str(value)


def _at_most(rule: str, value: Decimal | int, limit: Decimal) -> Check:
    if isinstance(value, Decimal) and not value.is_finite():
        return Check(rule, f"at most {_text(limit)}", str(value), False)
    text = _text(value) if isinstance(value, Decimal) else str(value)
    return Check(rule, f"at most {_text(limit)}", text, value <= limit)


def _at_least(rule: str, value: Decimal | None, limit: Decimal, unit: str) -> Check:
    wanted = f"at least {_text(limit)} {unit}"
    if value is None:
        return Check(rule, wanted, "none lately", True)
    return Check(rule, wanted, f"{_text(value)} {unit}", value.is_finite() and value >= limit)


def _share(amount: Decimal, equity: Decimal | None) -> Decimal:
    """Return an amount in percent of the equity, to a thousandth, rounded up."""
    if equity is None or not equity.is_finite() or equity <= 0:
        raise _NoLimitError(f"the equity must be known and > 0, was {equity}")
    return (100 * amount / equity).quantize(Decimal("0.001"), ROUND_CEILING)


def _value(i: Intent, e: Exposure) -> Decimal:
    """Return what the order is worth in account currency."""
    assert e.quote is not None
    if e.account_per_quote is None:
        raise _NoLimitError("no rate from the quote currency to the account currency")
    return abs(i.units) * _entry(i, e.quote) * e.account_per_quote


def _entry(i: Intent, quote: Quote) -> Decimal:
    """Return the price at which the order opens, as far as it is known."""
    if i.price is not None:
        return i.price
    return quote.ask if i.units > 0 else quote.bid


def _known(instrument: Instrument | None) -> Instrument:
    if instrument is None:
        raise _NoLimitError("the instrument is not known or not enabled")
    return instrument


def _instrument(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    known = _known(e.instrument)
    right = known.name == i.instrument
    return Check("instrument", i.instrument, known.name, right)


def _state(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    if len(e.modes) < 2:
        raise _NoLimitError("the states of everything and of the account must both be known")
    if not i.reduce_only:
        allowed = {TradingMode.ACTIVE}
    elif i.origin == Origin.CLOSE_EVERYTHING:
        allowed = set(TradingMode)
    else:
        allowed = {TradingMode.ACTIVE, TradingMode.REDUCING}
    worst = max(e.modes, key=list(TradingMode).index)
    return Check("state", " or ".join(sorted(allowed)), worst, all(m in allowed for m in e.modes))


def _feed(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    return Check("feed", "running", e.feed_stands or "running", not e.feed_stands)


def _quote_age(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "quote_age_s_max")
    if e.quote is None or e.quote_received_at is None:
        raise _NoLimitError("there is no quote")
    if e.quote.instrument != i.instrument:
        raise _NoLimitError(f"the quote is of {e.quote.instrument}")
    age = Decimal((now - e.quote_received_at).total_seconds()).quantize(Decimal("0.001"))
    if age < 0:
        return Check("quote_age", f"at most {_text(limit)} s", f"{age} s, from the future", False)
    return Check("quote_age", f"at most {_text(limit)} s", f"{age} s", age <= limit)


def _spread(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    assert e.quote is not None
    pips = _known(e.instrument).pips(e.quote.spread)
    return _at_most("spread_pips", pips, _limit(limits, "spread_pips_max"))


def _size(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    step = _known(e.instrument).units_step
    if not i.units.is_finite() or i.units == 0 or i.units % step != 0:
        return Check("size", f"a multiple of {_text(step)}, not 0", str(i.units), False)
    return _at_most("size", abs(i.units), _limit(limits, "order_units_max"))


def _notional(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    return _at_most("notional", _value(i, e), _limit(limits, "order_notional_max"))


def _equity_percent(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "order_equity_percent_max")
    return _at_most("equity_percent", _share(_value(i, e), e.equity), limit)


def _stop_risk(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "stop_risk_percent_max")
    assert e.quote is not None
    if e.account_per_quote is None:
        raise _NoLimitError("no rate from the quote currency to the account currency")
    distance = i.stop_distance
    if distance is None:
        if i.stop_loss is None:
            raise _NoLimitError("without a stop nobody knows what may be lost")
        distance = abs(_entry(i, e.quote) - i.stop_loss)
    loss = abs(i.units) * distance * e.account_per_quote
    return _at_most("stop_risk_percent", _share(loss, e.equity), limit)


def _leverage(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "leverage_max")
    if e.gross_value is None:
        raise _NoLimitError("what is held cannot be valued")
    times = _share(e.gross_value + _value(i, e), e.equity) / 100
    return _at_most("leverage", times, limit)


def _currency_exposure(
    i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime
) -> Check:
    # Positions of two pairs are one bet on the currency that they share.
    limit = _limit(limits, "currency_exposure_max")
    if e.currency_values is None:
        raise _NoLimitError("what is held cannot be valued")
    pair = _known(e.instrument)
    signed = _value(i, e) if i.units > 0 else -_value(i, e)
    base = e.currency_values.get(pair.base, Decimal(0)) + signed
    quote = e.currency_values.get(pair.quote, Decimal(0)) - signed
    return _at_most("currency_exposure", max(abs(base), abs(quote)), limit)


def _position(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    # The worst case: everything pending on this side fills and nothing of the other does.
    pending = e.pending_buy_units if i.units > 0 else e.pending_sell_units
    worst = abs(e.position_units + pending + i.units)
    return _at_most("position_units", worst, _limit(limits, "position_units_max"))


def _positions(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    return _at_most("open_positions", e.open_positions + 1, _limit(limits, "open_positions_max"))


def _orders(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    return _at_most("open_orders", e.open_orders + 1, _limit(limits, "open_orders_max"))


def _per_second(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "orders_per_second_max")
    return _at_most("orders_per_second", e.sent_last_second + 1, limit)


def _per_minute(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "orders_per_minute_max")
    return _at_most("orders_per_minute", e.sent_last_minute + 1, limit)


def _per_day(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "orders_per_day_max")
    return _at_most("orders_per_day", e.sent_today + 1, limit)


def _repeat(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    return _at_least("repeat", e.like_order_age_s, _limit(limits, "repeat_pause_s"), "s")


def _self_cross(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    assert e.quote is not None
    entry = _entry(i, e.quote)
    if i.units > 0:
        other, crosses = e.waiting_sell_price, "below our own sell"
        free = other is None or entry < other
    else:
        other, crosses = e.waiting_buy_price, "above our own buy"
        free = other is None or entry > other
    wanted = "any" if other is None else f"{crosses} at {_text(other)}"
    return Check("self_cross", wanted, _text(entry), free)


def _collar(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "price_collar_pips_max")
    if i.price is None:
        return Check("price_collar_pips", f"at most {_text(limit)}", "market order", True)
    assert e.quote is not None
    away = abs(_known(e.instrument).pips(i.price - e.quote.mid))
    return _at_most("price_collar_pips", away, limit)


def _stop(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    assert e.quote is not None
    if i.stop_distance is not None:
        good = i.stop_distance.is_finite() and i.stop_distance > 0
        return Check("stop_loss", "distance > 0", f"distance {_text(i.stop_distance)}", good)
    if i.stop_loss is None:
        return Check("stop_loss", "present", "absent", False)
    if not i.stop_loss.is_finite() or i.stop_loss <= 0:
        return Check("stop_loss", "> 0", str(i.stop_loss), False)
    stop = _text(i.stop_loss)
    if i.units > 0:
        entry = i.price if i.price is not None else e.quote.bid
        return Check("stop_loss", f"below {_text(entry)}", stop, i.stop_loss < entry)
    entry = i.price if i.price is not None else e.quote.ask
    return Check("stop_loss", f"above {_text(entry)}", stop, i.stop_loss > entry)


def _daily_loss(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "daily_loss_max")
    if e.day_pl is None:
        raise _NoLimitError("today's profit is not known")
    return _at_most("daily_loss", -e.day_pl, limit)


def _drawdown(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "drawdown_percent_max")
    if e.equity is None or e.peak_equity is None:
        raise _NoLimitError("the equity is not known")
    return _at_most("drawdown_percent", _share(e.peak_equity - e.equity, e.peak_equity), limit)


def _stops(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "stops_max")
    if e.stops_recent is None:
        raise _NoLimitError("the window of the guard is not set")
    return _at_most("stops", e.stops_recent, limit)


def _loss_pause(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    return _at_least("loss_pause", e.loss_age_min, _limit(limits, "loss_pause_min"), "min")


def _window_loss(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    limit = _limit(limits, "window_loss_max")
    if e.window_pl is None:
        raise _NoLimitError("the window of the loss is not set")
    return _at_most("window_loss", -e.window_pl, limit)


def _blackout(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    return Check("blackout", "none", e.blackout or "none", not e.blackout)


def _calendar(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    if e.quote is None:
        raise _NoLimitError("there is no quote")
    opened = is_open(_known(e.instrument).calendar, e.quote.time)
    return Check("calendar", "open", "open" if opened else "closed", opened)


def _rollover(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    pause = _limit(limits, "rollover_pause_min")
    if e.quote is None:
        raise _NoLimitError("there is no quote")
    if _known(e.instrument).calendar == "always":
        return Check("rollover", "any time", "no rollover", True)
    return _at_least("rollover", _rollover_min(e.quote.time), pause, "min")


def _rollover_min(at: datetime) -> Decimal:
    """Return the minutes, whole ones, to the nearest 17:00 of New York, before or after.

    That is never tomorrow's: until midnight it is at most 7 hours since today's.
    """
    today = at.astimezone(_NEW_YORK).date()
    days = (today - timedelta(days=1), today)
    turns = (datetime.combine(day, _ROLLOVER, _NEW_YORK) for day in days)
    return Decimal(min(abs(turn.timestamp() - at.timestamp()) for turn in turns) // 60)


def _unresolved(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    value = "an order in doubt" if e.unresolved else "none"
    return Check("unresolved", "none", value, not e.unresolved)


def _reduces(i: Intent, e: Exposure, limits: Mapping[str, Decimal], now: datetime) -> Check:
    value = f"{_text(i.units)} against {_text(e.position_units)}"
    return Check("reduces", "against the position", value, i.units * e.position_units < 0)


_OPENING_RULES: tuple[tuple[str, _Rule], ...] = (
    ("instrument", _instrument),
    ("state", _state),
    ("unresolved", _unresolved),
    ("feed", _feed),
    ("quote_age", _quote_age),
    ("calendar", _calendar),
    ("rollover", _rollover),
    ("blackout", _blackout),
    ("spread_pips", _spread),
    ("size", _size),
    ("notional", _notional),
    ("equity_percent", _equity_percent),
    ("leverage", _leverage),
    ("position_units", _position),
    ("currency_exposure", _currency_exposure),
    ("open_positions", _positions),
    ("open_orders", _orders),
    ("orders_per_second", _per_second),
    ("orders_per_minute", _per_minute),
    ("orders_per_day", _per_day),
    ("repeat", _repeat),
    ("self_cross", _self_cross),
    ("price_collar_pips", _collar),
    ("stop_loss", _stop),
    ("stop_risk_percent", _stop_risk),
    ("daily_loss", _daily_loss),
    ("drawdown_percent", _drawdown),
    ("stops", _stops),
    ("loss_pause", _loss_pause),
    ("window_loss", _window_loss),
)

# The size of an exit is bounded by the position and the venue's own reduce-only rule.
_REDUCING_RULES: tuple[tuple[str, _Rule], ...] = (
    ("instrument", _instrument),
    ("state", _state),
    ("reduces", _reduces),
)
