"""What is held, lot by lot, and what closing it now would bring."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sep_engine.risk import HomeRates, home_rates
from webapp.trading.models import BrokerAccount, Position, Trade
from webapp.trading.statements import Asked

BidAsk = tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Lot:
    """Units (signed, not 0) that were opened at one price.

    At a venue that keeps trades a lot is a trade: it closes them one by one, so what is left did
    not cost the average of all. Elsewhere a lot is a whole position.
    """

    instrument: str
    side: str
    units: Decimal
    price: Decimal

    def open_pl(self, quote: BidAsk, rates: HomeRates) -> Decimal:
        """Return what closing it at the quote would bring, in account currency."""
        bid, ask = quote
        return rates.home(((bid if self.units > 0 else ask) - self.price) * self.units)


def lots_held(account: BrokerAccount) -> tuple[Lot, ...]:
    """Return every open lot of the account."""
    trades: dict[tuple[int, str], list[Trade]] = {}
    for trade in _trades(account.pk):
        trades.setdefault((trade.instrument_id, _side(account, trade.units)), []).append(trade)
    lots: list[Lot] = []
    for row in _positions(account.pk):
        assert row.average_price is not None
        name, kept = row.instrument.name, trades.get((row.instrument_id, row.side), [])
        if sum((trade.units for trade in kept), Decimal(0)) == row.units:
            lots += [Lot(name, row.side, trade.units, trade.price) for trade in kept]
        else:
            lots.append(Lot(name, row.side, row.units, row.average_price))
    return tuple(lots)


_trades = Asked(lambda account: Trade.objects.filter(account=account).exclude(units=0))
_positions = Asked(
    lambda account: (
        Position.objects.filter(account=account).exclude(units=0).select_related("instrument")
    )
)


def open_profit(lots: Iterable[Lot], quotes: Mapping[str, BidAsk], currency: str) -> Decimal | None:
    """Return what closing the lots now would bring in `currency`.

    None: a price, or a rate into the currency, is not known.
    """
    total = Decimal(0)
    for lot in lots:
        quote = quotes.get(lot.instrument)
        rates = home_rates(currency, lot.instrument.partition("_")[2], quotes)
        if quote is None or rates is None:
            return None
        total += lot.open_pl(quote, rates)
    return total


def _side(account: BrokerAccount, units: Decimal) -> str:
    if not account.hedging:
        return Position.Side.NET
    return Position.Side.LONG if units > 0 else Position.Side.SHORT
