"""The account on the wire: orders, trades, positions, the account itself and its changes."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from sep_oanda_server.ledger import DEPENDENT_SLOTS, ZERO, Ledger, Order, Totals, Trade
from sep_oanda_server.market import Instrument, Quote, QuoteBoard, price_wire
from sep_oanda_server.valuation import (
    conversion_of,
    margin_of,
    margin_used,
    net_asset_value,
    position_value,
    total_unrealized,
    unrealized,
)
from sep_oanda_server.wire import Json, money_text, plain


def order_view(account: Ledger, order: Order, market: QuoteBoard) -> Json:
    """An order in its current state."""
    view = {
        "id": str(order.id),
        "createTime": order.time,
        "state": order.state,
        **order.fields,
        **order.extra,
    }
    mark = account.marks.get(order.id)
    if mark is not None:
        text = market.instruments[order.instrument].price_text(mark)
        trailing = order.type == "TRAILING_STOP_LOSS"
        view["trailingStopValue" if trailing else "initialMarketPrice"] = text
    return view


def trade_view(account: Ledger, trade: Trade, market: QuoteBoard, *, summary: bool = False) -> Json:
    """A trade; with its dependent orders whole, or in a summary by their ids."""
    spec = market.instruments[trade.instrument]
    view: Json = {
        "id": str(trade.id),
        "instrument": trade.instrument,
        "price": spec.price_text(trade.price),
        "openTime": trade.time,
        "state": "OPEN" if trade.is_open else "CLOSED",
        "initialUnits": plain(trade.initial_units),
        "initialMarginRequired": trade.initial_margin,
        "currentUnits": plain(trade.units),
        "realizedPL": money_text(trade.realized),
        "financing": money_text(trade.financing),
    }
    if trade.is_open:
        view["unrealizedPL"] = money_text(unrealized(account, trade, market))
        view["marginUsed"] = money_text(margin_of(account, spec, trade.units, market))
    if trade.closing_ids:
        closed = abs(trade.initial_units) - abs(trade.units)
        view["averageClosePrice"] = spec.price_text(trade.closed_value / closed)
        view["closingTransactionIDs"] = [str(one) for one in trade.closing_ids]
    if trade.close_time:
        view["closeTime"] = trade.close_time
    if trade.extensions:
        view["clientExtensions"] = trade.extensions
    for slot, key in DEPENDENT_SLOTS.values():
        order_id = getattr(trade, slot)
        if order_id is not None:
            if summary:
                view[f"{key}OrderID"] = str(order_id)
            else:
                view[f"{key}Order"] = order_view(account, account.orders[order_id], market)
    return view


def _side_view(account: Ledger, spec: Instrument, trades: list[Trade], pl: Decimal) -> Json:
    units = sum((trade.units for trade in trades), ZERO)
    view: Json = {"units": plain(units)}
    if trades:
        value = sum((trade.units * trade.price for trade in trades), ZERO)
        view["averagePrice"] = spec.price_text(value / units)
        view["tradeIDs"] = [str(trade.id) for trade in trades]
    view |= {"pl": money_text(pl), "resettablePL": money_text(pl)}
    view |= {
        "financing": money_text(sum((trade.financing for trade in trades), ZERO)),
        "guaranteedExecutionFees": "0.0000",
    }
    return view


def _total(account: Ledger, trades: Iterable[Trade], market: QuoteBoard) -> Decimal:
    return sum((unrealized(account, trade, market) for trade in trades), ZERO)


def position_view(account: Ledger, instrument: str, market: QuoteBoard) -> Json:
    """The position of an instrument that has been traded at least once."""
    spec, totals = market.instruments[instrument], account.totals.get(instrument, Totals())
    longs = account.open_trades(instrument, long=True)
    shorts = account.open_trades(instrument, long=False)
    pl = totals.long_pl + totals.short_pl
    long_view = _side_view(account, spec, longs, totals.long_pl)
    short_view = _side_view(account, spec, shorts, totals.short_pl)
    long_view["unrealizedPL"] = money_text(_total(account, longs, market))
    short_view["unrealizedPL"] = money_text(_total(account, shorts, market))
    view: Json = {
        "instrument": instrument,
        "pl": money_text(pl),
        "resettablePL": money_text(pl),
        "financing": money_text(totals.financing),
        "commission": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "unrealizedPL": money_text(_total(account, [*longs, *shorts], market)),
        "long": long_view,
        "short": short_view,
    }
    if longs or shorts:
        view["marginUsed"] = money_text(_position_margin(account, instrument, market))
    return view


def _position_margin(account: Ledger, instrument: str, market: QuoteBoard) -> Decimal:
    sides = (
        sum((abs(t.units) for t in account.open_trades(instrument, long=side)), ZERO)
        for side in (True, False)
    )
    return margin_of(account, market.instruments[instrument], max(sides), market)


def state_view(account: Ledger, market: QuoteBoard) -> Json:
    """The numbers of the account that move with prices."""
    open_pl = total_unrealized(account, market)
    value = account.balance + open_pl
    used = margin_used(account, market)
    available = max(ZERO, value - used)
    exposure = sum(
        (
            position_value(account, market.instruments[trade.instrument], trade.units, market)
            for trade in account.open.values()
        ),
        ZERO,
    )

    def percent(share: Decimal) -> str:
        return f"{share / value:.5f}" if value > 0 else "0.00000" if not used else "1.00000"

    return {
        "unrealizedPL": money_text(open_pl),
        "NAV": money_text(value),
        "marginUsed": money_text(used),
        "marginAvailable": money_text(available),
        "positionValue": money_text(exposure),
        "marginCloseoutUnrealizedPL": money_text(open_pl),
        "marginCloseoutNAV": money_text(value),
        "marginCloseoutMarginUsed": money_text(used),
        "marginCloseoutPercent": percent(used / 2),
        "marginCloseoutPositionValue": money_text(exposure),
        "withdrawalLimit": money_text(min(available, max(ZERO, account.balance))),
        "marginCallMarginUsed": money_text(used),
        "marginCallPercent": percent(used),
    }


def summary_view(account: Ledger, market: QuoteBoard) -> Json:
    """The account without its lists."""
    last_fill = {"lastOrderFillTimestamp": account.last_fill_time} if account.last_fill_time else {}
    return {
        "id": account.terms.account_id,
        "alias": account.alias,
        "currency": account.terms.currency,
        "balance": money_text(account.balance),
        "createdByUserID": int(account.terms.account_id.split("-")[2]),
        "createdTime": account.created_time,
        "guaranteedStopLossOrderMode": "DISABLED",
        "pl": money_text(account.pl),
        "resettablePL": money_text(account.pl),
        "resettablePLTime": account.created_time,
        "financing": money_text(account.financing),
        "commission": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "marginRate": plain(account.margin_rate),
        **account.margin_call,
        "openTradeCount": len(account.open),
        "openPositionCount": len({trade.instrument for trade in account.open.values()}),
        "pendingOrderCount": len(account.pending),
        "hedgingEnabled": account.terms.hedging,
        **last_fill,
        **state_view(account, market),
        "lastTransactionID": str(account.last_id),
    }


def account_view(account: Ledger, market: QuoteBoard) -> Json:
    """The account with its open trades, its positions and its pending orders."""
    return summary_view(account, market) | {
        "trades": [
            trade_view(account, trade, market, summary=True) for trade in account.open.values()
        ],
        "positions": [position_view(account, name, market) for name in account.totals],
        "orders": [order_view(account, order, market) for order in account.pending.values()],
    }


def changes_view(account: Ledger, since: int, market: QuoteBoard) -> Json:
    """What happened after transaction `since`, and the price-dependent state as of now."""
    transactions = account.transactions[since:]
    orders: dict[str, list[Json]] = {"Created": [], "Cancelled": [], "Filled": []}
    trades: dict[str, dict[str, None]] = {"Opened": {}, "Reduced": {}, "Closed": {}}
    instruments: dict[str, None] = {}
    for transaction in transactions:
        kind = transaction["type"]
        if kind.endswith("_ORDER"):
            orders["Created"].append(_order(account, transaction["id"], market))
        elif kind == "ORDER_CANCEL":
            orders["Cancelled"].append(_order(account, transaction["orderID"], market))
        elif kind == "ORDER_FILL":
            orders["Filled"].append(_order(account, transaction["orderID"], market))
            instruments[transaction["instrument"]] = None
            if "tradeOpened" in transaction:
                trades["Opened"][transaction["tradeOpened"]["tradeID"]] = None
            if "tradeReduced" in transaction:
                trades["Reduced"][transaction["tradeReduced"]["tradeID"]] = None
            trades["Closed"] |= {p["tradeID"]: None for p in transaction.get("tradesClosed", [])}
    changes: Json = {f"orders{key}": found for key, found in orders.items()}
    changes["ordersTriggered"] = []
    for key, ids in trades.items():
        changes[f"trades{key}"] = [
            trade_view(account, account.trades[int(one)], market, summary=True) for one in ids
        ]
    changes["positions"] = [position_view(account, name, market) for name in instruments]
    changes["transactions"] = transactions
    return {
        "changes": changes,
        "state": state_view(account, market) | _dynamic(account, market),
        "lastTransactionID": str(account.last_id),
    }


def _order(account: Ledger, order_id: str, market: QuoteBoard) -> Json:
    return order_view(account, account.orders[int(order_id)], market)


def _dynamic(account: Ledger, market: QuoteBoard) -> Json:
    """The price-dependent state of each pending order, open trade and position."""
    held = {trade.instrument: None for trade in account.open.values()}
    return {
        "orders": [
            {
                "id": str(order.id),
                "trailingStopValue": market.instruments[order.instrument].price_text(
                    account.marks[order.id]
                ),
            }
            for order in account.pending.values()
            if order.type == "TRAILING_STOP_LOSS" and order.id in account.marks
        ],
        "trades": [
            {
                "id": str(trade.id),
                "unrealizedPL": money_text(unrealized(account, trade, market)),
                "marginUsed": money_text(
                    margin_of(account, market.instruments[trade.instrument], trade.units, market)
                ),
            }
            for trade in account.open.values()
        ],
        "positions": [
            {
                "instrument": name,
                "netUnrealizedPL": money_text(
                    _total(
                        account,
                        [
                            *account.open_trades(name, long=True),
                            *account.open_trades(name, long=False),
                        ],
                        market,
                    )
                ),
                "longUnrealizedPL": money_text(
                    _total(account, account.open_trades(name, long=True), market)
                ),
                "shortUnrealizedPL": money_text(
                    _total(account, account.open_trades(name, long=False), market)
                ),
                "marginUsed": money_text(_position_margin(account, name, market)),
            }
            for name in held
        ],
    }


def client_price(account: Ledger, quote: Quote, market: QuoteBoard, *, units: bool) -> Json:
    """A price of the pricing snapshot, with conversion factors and, if asked, units available."""
    spec = market.instruments[quote.instrument]
    view = price_wire(quote, spec)
    conversion = market.conversion(spec.quote, account.terms.currency)
    if conversion:
        view["quoteHomeConversionFactors"] = {
            "positiveUnits": plain(conversion.gain),
            "negativeUnits": plain(conversion.loss),
        }
        if units:
            view["unitsAvailable"] = _units_available(account, quote, market)
    return view


def _units_available(account: Ledger, quote: Quote, market: QuoteBoard) -> Json:
    spec = market.instruments[quote.instrument]
    free = max(ZERO, net_asset_value(account, market) - margin_used(account, market))
    rate = max(account.margin_rate, spec.margin_rate)
    unit = quote.mid * conversion_of(account, spec.name, market).mid * rate
    step = Decimal(1).scaleb(-spec.units_precision)
    room = (free / unit).quantize(step, rounding="ROUND_DOWN")
    longs = sum((t.units for t in account.open_trades(spec.name, long=True)), ZERO)
    shorts = -sum((t.units for t in account.open_trades(spec.name, long=False)), ZERO)

    def both(buy: Decimal, sell: Decimal) -> Json:
        return {"long": plain(buy), "short": plain(sell)}

    reduce_first = both(room + 2 * shorts, room + 2 * longs)
    open_only = both(room, room)
    return {
        "default": open_only if account.terms.hedging else reduce_first,
        "reduceFirst": reduce_first,
        "reduceOnly": both(shorts, longs),
        "openOnly": open_only,
    }


def home_conversions(account: Ledger, market: QuoteBoard) -> list[Json]:
    """Conversion factors of every currency that the quotes can convert."""
    home = account.terms.currency
    currencies = {
        name: None for spec in market.instruments.values() for name in (spec.base, spec.quote)
    }
    found = []
    for currency in currencies:
        conversion = market.conversion(currency, home)
        if conversion:
            found.append(
                {
                    "currency": currency,
                    "accountGain": plain(conversion.gain),
                    "accountLoss": plain(conversion.loss),
                    "positionValue": plain(conversion.mid),
                }
            )
    return found
