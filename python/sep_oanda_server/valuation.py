"""What open trades are worth and what margin they hold, in account currency."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from sep_oanda_server.ledger import ZERO, Ledger, Trade
from sep_oanda_server.market import Conversion, Instrument, QuoteBoard
from sep_oanda_server.wire import money


def conversion_of(account: Ledger, instrument: str, market: QuoteBoard) -> Conversion:
    found = market.conversion(market.instruments[instrument].quote, account.terms.currency)
    if found is None:
        raise LookupError(f"no quote converts {instrument} into {account.terms.currency}")
    return found


def unrealized(account: Ledger, trade: Trade, market: QuoteBoard) -> Decimal:
    """What closing the trade at the latest quote would bring, in account currency."""
    quote = market.quotes[trade.instrument]
    price = quote.bid if trade.is_long else quote.ask
    gain = (price - trade.price) * trade.units
    return money(conversion_of(account, trade.instrument, market).home(gain))


def total_unrealized(account: Ledger, market: QuoteBoard) -> Decimal:
    return sum((unrealized(account, trade, market) for trade in account.open.values()), ZERO)


def net_asset_value(account: Ledger, market: QuoteBoard) -> Decimal:
    """Balance plus unrealised profit and loss, in account currency."""
    return account.balance + total_unrealized(account, market)


def position_value(
    account: Ledger, instrument: Instrument, units: Decimal, market: QuoteBoard
) -> Decimal:
    """Value of |units| at the middle price, in account currency."""
    price = market.quotes[instrument.name].mid
    return abs(units) * price * conversion_of(account, instrument.name, market).mid


def margin_of(
    account: Ledger, instrument: Instrument, units: Decimal, market: QuoteBoard
) -> Decimal:
    rate = max(account.margin_rate, instrument.margin_rate)
    return money(position_value(account, instrument, units, market) * rate)


def margin_used(
    account: Ledger,
    market: QuoteBoard,
    units_by_trade: Mapping[int, Decimal] | None = None,
    extra: tuple[str, Decimal] | None = None,
) -> Decimal:
    """Margin of the open trades: of the larger side of each instrument.

    Args:
        units_by_trade: signed units to take instead of the trades' own.
        extra: an instrument and signed units on top.
    """
    sides: dict[str, list[Decimal]] = {}
    for trade in account.open.values():
        units = trade.units if units_by_trade is None else units_by_trade[trade.id]
        side = sides.setdefault(trade.instrument, [ZERO, ZERO])
        side[0 if units > 0 else 1] += abs(units)
    if extra:
        side = sides.setdefault(extra[0], [ZERO, ZERO])
        side[0 if extra[1] > 0 else 1] += abs(extra[1])
    return sum(
        (
            margin_of(account, market.instruments[name], max(side), market)
            for name, side in sides.items()
        ),
        ZERO,
    )
