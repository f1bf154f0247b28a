"""The matching engine: quotes trigger orders, orders fill or are cancelled, margin is watched.

Every fill is at the quote: buys at the ask, sells at the bid, whatever the trigger looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sep_oanda_server.fields import DEPENDENT_TYPES, ON_FILL, identity, next_day_end
from sep_oanda_server.ledger import ZERO, Batch, Ledger, Order, Trade
from sep_oanda_server.market import Instrument, Quote, QuoteBoard, price_wire
from sep_oanda_server.valuation import conversion_of, margin_of, margin_used, net_asset_value
from sep_oanda_server.wire import Json, money, money_text, plain, read_time


@dataclass(frozen=True, slots=True)
class Interference:
    """What a fault script makes the matching engine do with one request."""

    reject: str | None = None
    cancel: str | None = None
    liquidity: Decimal | None = None


NONE = Interference()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a fill is shared out: signed units against each trade, and signed units that open."""

    reductions: tuple[tuple[Trade, Decimal], ...]
    opened: Decimal

    @property
    def units(self) -> Decimal:
        return sum((units for _, units in self.reductions), self.opened)


def share_out(units: Decimal, opposite: Sequence[Trade], *, reduce: bool, open_rest: bool) -> Plan:
    """Share signed `units` over the opposite trades, oldest first, and open what is left.

    Args:
        units: signed, not zero.
        opposite: open trades of the other sign, oldest first.
        reduce: whether trades may be reduced at all.
        open_rest: whether units beyond the opposite trades open a new trade.
    """
    left = units
    taken = []
    for trade in opposite if reduce else ():
        share = min(abs(left), abs(trade.units)).copy_sign(units)
        if share:
            taken.append((trade, share))
            left -= share
    return Plan(tuple(taken), left if open_rest else ZERO)


def on_quote(account: Ledger, quote: Quote, market: QuoteBoard, now_ns: int) -> None:
    """Let a new quote, already put into the market, trail and trigger orders."""
    if quote.tradeable:
        for order in [
            one for one in account.pending.values() if one.instrument == quote.instrument
        ]:
            if order.state == "PENDING" and _triggered(account, order, quote):
                fill(account, order, market, Batch(account, now_ns))
    check_margin(account, market, now_ns)


def on_time(account: Ledger, now_ns: int) -> None:
    """Cancel the orders whose time has run out."""
    for order in list(account.pending.values()):
        end = _expiry(order)
        if end is not None and end <= now_ns and order.state == "PENDING":
            Batch(account, now_ns).cancel(order, "TIME_IN_FORCE_EXPIRED")


def charge_financing(
    account: Ledger, rates: Mapping[str, tuple[Decimal, Decimal]], market: QuoteBoard, now_ns: int
) -> None:
    """Book one day of financing: yearly rates (long, short) by instrument, of position value.

    An instrument without a rate is not charged; without any charge nothing is booked.
    """
    positions: dict[str, list[Json]] = {}
    total = ZERO
    for trade in account.open.values():
        if trade.instrument not in rates:
            continue
        rate = rates[trade.instrument][0 if trade.is_long else 1]
        conversion = conversion_of(account, trade.instrument, market)
        value = abs(trade.units) * market.quotes[trade.instrument].mid
        amount = money(conversion.home(value * rate / 365))
        total += amount
        positions.setdefault(trade.instrument, []).append(
            {"tradeID": str(trade.id), "financing": money_text(amount)}
        )
    if positions:
        Batch(account, now_ns).add(
            "DAILY_FINANCING",
            financing=money_text(total),
            accountBalance=money_text(account.balance + total),
            accountFinancingMode="DAILY",
            positionFinancings=[
                {
                    "instrument": name,
                    "financing": money_text(sum((Decimal(p["financing"]) for p in parts), ZERO)),
                    "openTradeFinancings": parts,
                }
                for name, parts in positions.items()
            ],
        )


def work_new_order(
    account: Ledger, order: Order, market: QuoteBoard, batch: Batch, force: Interference
) -> Json:
    """What becomes of an order in the batch that created it: body fields for the response."""
    quote = market.quotes[order.instrument]
    if force.cancel:
        return {"orderCancelTransaction": batch.cancel(order, force.cancel)}
    if order.type == "MARKET":
        return fill(account, order, market, batch, force)
    _mark(account, order, quote)
    if quote.tradeable and _triggered(account, order, quote):
        return fill(account, order, market, batch, force)
    if order.fields["timeInForce"] in ("FOK", "IOC"):
        return {"orderCancelTransaction": batch.cancel(order, "TIME_IN_FORCE_EXPIRED")}
    return {}


def _mark(account: Ledger, order: Order, quote: Quote) -> None:
    """Remember the price that a new pending order starts from."""
    watched = _watched_price(order, quote, buying=_buys(account, order))
    if order.type == "MARKET_IF_TOUCHED":
        account.marks[order.id] = watched
    elif order.type == "TRAILING_STOP_LOSS":
        distance = Decimal(order.fields["distance"])
        account.marks[order.id] = watched + (distance if _buys(account, order) else -distance)


def _buys(account: Ledger, order: Order) -> bool:
    if order.type in DEPENDENT_TYPES:
        return not account.trades[order.trade_id].is_long
    return order.units > 0


def _triggered(account: Ledger, order: Order, quote: Quote) -> bool:
    """Whether the quote starts the order; moves a trailing stop first."""
    buying = _buys(account, order)
    watched = _watched_price(order, quote, buying=buying)
    if order.type == "MARKET":
        return False
    if order.type in ("LIMIT", "TAKE_PROFIT"):
        price = Decimal(order.fields["price"])
        return watched <= price if buying else watched >= price
    if order.type == "MARKET_IF_TOUCHED":
        price = Decimal(order.fields["price"])
        start = account.marks.get(order.id, watched)
        return watched >= price if price > start else watched <= price
    if order.type == "TRAILING_STOP_LOSS":
        distance = Decimal(order.fields["distance"])
        level = watched + distance if buying else watched - distance
        best = min if buying else max
        price = account.marks[order.id] = best(level, account.marks.get(order.id, level))
    else:
        price = Decimal(order.fields["price"])
    return watched >= price if buying else watched <= price


def _plan(account: Ledger, order: Order, units: Decimal) -> Plan | str:
    """Which trades `units` of the order close and what they open, or why it is cancelled."""
    if order.type in DEPENDENT_TYPES:
        trade = account.trades[order.trade_id]
        return Plan(((trade, units),), ZERO)
    if close := order.fields.get("tradeClose"):
        trade = account.trades[int(close["tradeID"])]
        older = account.open_trades(trade.instrument, long=trade.is_long)
        if account.terms.fifo and any(
            one.id < trade.id and abs(one.units) == abs(trade.units) for one in older
        ):
            return "FIFO_VIOLATION"
        return Plan(((trade, units),), ZERO)
    mode = order.fields["positionFill"]
    if mode == "DEFAULT":
        mode = "OPEN_ONLY" if account.terms.hedging else "REDUCE_FIRST"
    opposite = account.open_trades(order.instrument, long=units < 0)
    if mode == "OPEN_ONLY" and opposite and not account.terms.hedging:
        return "FIFO_VIOLATION"
    plan = share_out(units, opposite, reduce=mode != "OPEN_ONLY", open_rest=mode != "REDUCE_ONLY")
    if plan.units != units:  # REDUCE_ONLY found less than the order asks for
        return "INSUFFICIENT_LIQUIDITY"
    return plan


def fill(
    account: Ledger,
    order: Order,
    market: QuoteBoard,
    batch: Batch,
    force: Interference = NONE,
    *,
    reason: str | None = None,
) -> Json:
    """Fill or cancel the order at the market's quote: body fields for the response."""
    quote = market.quotes[order.instrument]
    if force.cancel:
        return {"orderCancelTransaction": batch.cancel(order, force.cancel)}
    dependent = order.type in DEPENDENT_TYPES
    wanted = -account.trades[order.trade_id].units if dependent else order.units
    price = quote.ask if wanted > 0 else quote.bid
    depth = Decimal(quote.ask_liquidity if wanted > 0 else quote.bid_liquidity)
    if force.liquidity is not None:
        depth = force.liquidity
    bound = order.fields.get("price" if order.type == "LIMIT" else "priceBound")
    refusal: str | None = None
    units = wanted
    if not quote.tradeable:
        refusal = "MARKET_HALTED"
    elif bound is not None and (price - Decimal(bound)) * wanted > 0:
        refusal = "BOUNDS_VIOLATION"
    elif abs(wanted) > depth:
        units = depth.copy_sign(wanted)
        if not units or order.fields["timeInForce"] == "FOK" or dependent:
            refusal = "INSUFFICIENT_LIQUIDITY"
    plan = refusal or _plan(account, order, units)
    if isinstance(plan, Plan):
        plan = _open_refusal(account, order, plan, quote, market, batch.now_ns) or plan
    if isinstance(plan, str):
        return {"orderCancelTransaction": batch.cancel(order, plan)}
    start = account.marks.get(order.id)
    booked = _book_fill(account, order, plan, price, quote, market, batch, reason)
    body = {"orderFillTransaction": booked}
    if units != wanted and order.type != "MARKET" and order.fields["timeInForce"] != "IOC":
        rest = order.fields | {"units": plain(wanted - units)}
        del rest["type"]
        reissued = batch.add(
            f"{order.type}_ORDER", **rest, reason="REPLACEMENT", replacesOrderID=str(order.id)
        )
        body["orderReissueTransaction"] = reissued
        if start is not None:
            account.marks[int(reissued["id"])] = start
    return body


def fill_again(
    account: Ledger,
    order_id: int,
    instrument: str,
    units: Decimal,
    market: QuoteBoard,
    batch: Batch,
) -> Json:
    """Book a fill that nobody asked for: of an order that has ended, or of one that never was.

    The account holds what it says, as after a fault of the venue.
    """
    quote = market.quotes[instrument]
    price = quote.ask if units > 0 else quote.bid
    fields: Json = {"units": plain(units), "positionFill": "DEFAULT"}
    known = account.orders.get(order_id)
    if known is not None and known.client_id:
        fields["clientExtensions"] = {"id": known.client_id}
    order = Order(order_id, "MARKET", instrument, fields, batch.time)
    plan = _plan(account, order, units)
    assert isinstance(plan, Plan)  # DEFAULT has no reason to refuse
    return _book_fill(account, order, plan, price, quote, market, batch, None)


def _open_refusal(
    account: Ledger, order: Order, plan: Plan, quote: Quote, market: QuoteBoard, now_ns: int
) -> str | None:
    """Why the opening part of a fill is not allowed, as an order cancel reason."""
    if not plan.opened:
        return None
    long = plan.opened > 0
    spec = market.instruments[order.instrument]
    if len(account.open) >= account.terms.open_trades_max:
        return "OPEN_TRADES_ALLOWED_EXCEEDED"
    held = sum((one.units for one in account.open_trades(order.instrument, long=long)), ZERO)
    limit = spec.maximum_position_size
    if limit and abs(held + plan.opened) > limit:
        return "POSITION_SIZE_EXCEEDED"
    if account.trade_name_taken(order.fields):
        return "CLIENT_TRADE_ID_ALREADY_EXISTS"
    exit_price = quote.bid if long else quote.ask
    open_price = quote.ask if long else quote.bid
    sign = 1 if long else -1
    for key, kind in ON_FILL.items():
        details = order.fields.get(key)
        if details is None:
            continue
        if "gtdTime" in details and read_time(details["gtdTime"]) <= now_ns:
            return f"{kind}_ON_FILL_GTD_TIMESTAMP_IN_PAST"
        if account.order_name_taken(identity(details)):
            return f"{kind}_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS"
        if kind == "TAKE_PROFIT" and (exit_price - Decimal(details["price"])) * sign >= 0:
            return "TAKE_PROFIT_ON_FILL_LOSS"
        if kind == "STOP_LOSS":
            level = (
                Decimal(details["price"])
                if "price" in details
                else open_price - sign * Decimal(details["distance"])
            )
            if (exit_price - level) * sign <= 0:
                return "STOP_LOSS_ON_FILL_LOSS"
    return _margin_refusal(account, order.instrument, plan, quote, market)


def _margin_refusal(
    account: Ledger, instrument: str, plan: Plan, quote: Quote, market: QuoteBoard
) -> str | None:
    units = {trade.id: trade.units for trade in account.open.values()}
    before = margin_used(account, market, units)
    for trade, part in plan.reductions:
        units[trade.id] += part
    opening = margin_used(account, market, units, extra=(instrument, plan.opened))
    # Closing at the quote leaves the net asset value as it is; opening costs the spread.
    spread = abs(plan.opened) * (quote.ask - quote.bid)
    cost = spread * conversion_of(account, instrument, market).loss
    if opening > before and opening > net_asset_value(account, market) - cost:
        return "INSUFFICIENT_MARGIN"
    return None


def _book_fill(
    account: Ledger,
    order: Order,
    plan: Plan,
    price: Decimal,
    quote: Quote,
    market: QuoteBoard,
    batch: Batch,
    reason: str | None,
) -> Json:
    """Record the fill, then its dependents, then the dependents of closed trades that go."""
    spec = market.instruments[order.instrument]
    conversion = conversion_of(account, order.instrument, market)
    half_spread = (quote.ask - quote.bid) / 2 * conversion.mid

    def spread_cost(units: Decimal) -> str:
        return money_text(abs(units) * half_spread)

    closed: list[Json] = []
    reduced: Json | None = None
    realized = ZERO
    for trade, units in plan.reductions:
        gain = money(conversion.home((price - trade.price) * -units))
        realized += gain
        part = {
            "tradeID": str(trade.id),
            "units": plain(units),
            "price": spec.price_text(price),
            "realizedPL": money_text(gain),
            "financing": "0.0000",
            "guaranteedExecutionFee": "0.0000",
            "halfSpreadCost": spread_cost(units),
        }
        if trade.units + units == 0:
            closed.append(part)
        else:
            reduced = part
    fields: Json = {
        "orderID": str(order.id),
        **({"clientOrderID": order.client_id} if order.client_id else {}),
        "instrument": order.instrument,
        "units": plain(plan.units),
        "requestedUnits": plain(order.units) if "units" in order.fields else plain(plan.units),
        "gainQuoteHomeConversionFactor": plain(conversion.gain),
        "lossQuoteHomeConversionFactor": plain(conversion.loss),
        "price": spec.price_text(price),
        "fullVWAP": spec.price_text(price),
        "fullPrice": _full_price(quote, spec),
        "reason": reason or f"{order.type}_ORDER",
        "pl": money_text(realized),
        "financing": "0.0000",
        "commission": "0.0000",
        "guaranteedExecutionFee": "0.0000",
        "accountBalance": money_text(account.balance + realized),
    }
    if plan.opened:
        extensions = order.fields.get("tradeClientExtensions")
        fields["tradeOpened"] = {
            "tradeID": str(account.last_id + 1),
            "units": plain(plan.opened),
            "price": spec.price_text(price),
            "guaranteedExecutionFee": "0.0000",
            "halfSpreadCost": spread_cost(plan.opened),
            "initialMarginRequired": money_text(margin_of(account, spec, abs(plan.opened), market)),
            **({"clientExtensions": extensions} if extensions else {}),
        }
    if closed:
        fields["tradesClosed"] = closed
    if reduced:
        fields["tradeReduced"] = reduced
    fields["halfSpreadCost"] = spread_cost(plan.units)
    booked = batch.add("ORDER_FILL", **fields)
    if plan.opened:
        _create_on_fill_orders(account, order, account.trades[int(booked["id"])], quote, batch)
    for part in closed:
        for order_id in account.trades[int(part["tradeID"])].dependents:
            batch.cancel(account.orders[order_id], "LINKED_TRADE_CLOSED")
    return booked


def _create_on_fill_orders(
    account: Ledger, order: Order, trade: Trade, quote: Quote, batch: Batch
) -> None:
    for key, kind in ON_FILL.items():
        if key in order.fields:
            created = batch.add(
                f"{kind}_ORDER",
                **dependent_fields(trade, kind, order.fields[key], quote),
                reason="ON_FILL",
                orderFillTransactionID=str(trade.id),
            )
            _mark(account, account.orders[int(created["id"])], quote)


def dependent_fields(trade: Trade, order_type: str, details: Json, quote: Quote) -> Json:
    """The fields of a dependent order: its trade's names, and a price where a distance is given.

    A stop-loss distance counts from the ask for a long trade and from the bid for a short one.
    """
    fields = {"tradeID": str(trade.id)} | details
    if order_type == "STOP_LOSS" and "distance" in details:
        distance = Decimal(details["distance"])
        fields["price"] = str(quote.ask - distance if trade.is_long else quote.bid + distance)
    if trade.extensions and "id" in trade.extensions:
        fields["clientTradeID"] = trade.extensions["id"]
    return fields


def check_margin(account: Ledger, market: QuoteBoard, now_ns: int) -> None:
    """Enter or leave the margin call; close everything once half the margin is gone."""
    used = margin_used(account, market) if account.open else ZERO
    value = net_asset_value(account, market) if used else account.balance
    calling = bool(used) and value < used
    if calling != bool(account.margin_call):
        Batch(account, now_ns).add("MARGIN_CALL_ENTER" if calling else "MARGIN_CALL_EXIT")
    if calling and value * 2 <= used:
        for trade in list(account.open.values()):
            if not market.quotes[trade.instrument].tradeable:
                continue
            batch = Batch(account, now_ns)
            created = batch.add(
                "MARKET_ORDER",
                instrument=trade.instrument,
                units=plain(-trade.units),
                timeInForce="FOK",
                positionFill="REDUCE_ONLY",
                reason="MARGIN_CLOSEOUT",
                marginCloseout={"reason": "MARGIN_CHECK_VIOLATION"},
                tradeClose={"tradeID": str(trade.id), "units": "ALL"},
            )
            fill(
                account,
                account.orders[int(created["id"])],
                market,
                batch,
                reason="MARKET_ORDER_MARGIN_CLOSEOUT",
            )


def _expiry(order: Order) -> int | None:
    """When a pending order ends by itself, in nanoseconds."""
    kind = order.fields["timeInForce"]
    if kind == "GTD":
        return read_time(order.fields["gtdTime"])
    return next_day_end(read_time(order.time)) if kind == "GFD" else None


def _watched_price(order: Order, quote: Quote, *, buying: bool) -> Decimal:
    """The price that the order's trigger condition looks at."""
    condition = order.fields.get("triggerCondition", "DEFAULT")
    if condition == "MID":
        return quote.mid
    if condition == "DEFAULT":
        condition = "ASK" if buying else "BID"
    elif condition == "INVERSE":
        condition = "BID" if buying else "ASK"
    return quote.ask if condition == "ASK" else quote.bid


def _full_price(quote: Quote, spec: Instrument) -> Json:
    kept = ("closeoutBid", "closeoutAsk", "time", "bids", "asks")
    price = price_wire(quote, spec)
    return {("timestamp" if key == "time" else key): price[key] for key in kept}
