"""Instruments, the latest quote of each, and conversion into the account's currency.

The server shares no code with `sep_engine`, conversion included, so that a fault of one is not a
fault of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sep_oanda_server.wire import Json, plain, time_text

DEFAULT_LIQUIDITY = 10_000_000


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the venue offers of one instrument. Prices are quote currency per base unit.

    The sizes and rates are settings of this server, not a statement about any real account.
    """

    name: str
    pip_location: int = -4
    display_precision: int = 5
    units_precision: int = 0
    minimum_trade_size: Decimal = Decimal(1)
    maximum_order_units: Decimal = Decimal(100_000_000)
    maximum_position_size: Decimal = Decimal(0)
    minimum_trailing_distance: Decimal = Decimal("0.00050")
    maximum_trailing_distance: Decimal = Decimal("1.00000")
    margin_rate: Decimal = Decimal("0.02")

    @property
    def base(self) -> str:
        return self.name.split("_")[0]

    @property
    def quote(self) -> str:
        return self.name.split("_")[1]

    def price_text(self, price: Decimal) -> str:
        """The price with exactly `display_precision` decimals."""
        return f"{price:.{self.display_precision}f}"

    def wire(self) -> Json:
        return {
            "name": self.name,
            "type": "CURRENCY",
            "displayName": self.name.replace("_", "/"),
            "pipLocation": self.pip_location,
            "displayPrecision": self.display_precision,
            "tradeUnitsPrecision": self.units_precision,
            "minimumTradeSize": plain(self.minimum_trade_size),
            "maximumTrailingStopDistance": self.price_text(self.maximum_trailing_distance),
            "minimumTrailingStopDistance": self.price_text(self.minimum_trailing_distance),
            "maximumPositionSize": plain(self.maximum_position_size),
            "maximumOrderUnits": plain(self.maximum_order_units),
            "marginRate": plain(self.margin_rate),
        }


def yen_quoted(name: str) -> Instrument:
    """An instrument quoted in yen: three decimals, a pip of 0.01."""
    return Instrument(
        name,
        pip_location=-2,
        display_precision=3,
        minimum_trailing_distance=Decimal("0.050"),
        maximum_trailing_distance=Decimal("100.000"),
    )


INSTRUMENTS: Mapping[str, Instrument] = {
    name: yen_quoted(name) if name.endswith("JPY") else Instrument(name)
    for name in (
        "EUR_USD",
        "GBP_USD",
        "AUD_USD",
        "NZD_USD",
        "USD_CAD",
        "USD_CHF",
        "USD_JPY",
        "EUR_GBP",
        "EUR_JPY",
        "GBP_JPY",
    )
}


@dataclass(frozen=True, slots=True)
class Quote:
    """One bid and ask. `time_ns` is UTC; liquidity is in units of the base currency, >= 0."""

    instrument: str
    time_ns: int
    bid: Decimal
    ask: Decimal
    bid_liquidity: int = DEFAULT_LIQUIDITY
    ask_liquidity: int = DEFAULT_LIQUIDITY
    tradeable: bool = True

    def __post_init__(self) -> None:
        if not (0 < self.bid <= self.ask and self.bid.is_finite() and self.ask.is_finite()):
            raise ValueError(f"a quote needs 0 < bid <= ask, was {self.bid} and {self.ask}")

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Conversion:
    """Account currency per unit of a foreign one: what a gain brings and what a loss costs."""

    gain: Decimal
    loss: Decimal

    @property
    def mid(self) -> Decimal:
        return (self.gain + self.loss) / 2

    def home(self, amount: Decimal) -> Decimal:
        """An amount of the foreign currency in account currency, unrounded."""
        return amount * (self.gain if amount > 0 else self.loss)


FACTOR = Decimal("1E-12")


class QuoteBoard:
    """The offered instruments and the latest quote of each."""

    def __init__(self, instruments: Iterable[Instrument] = INSTRUMENTS.values()) -> None:
        self.instruments: dict[str, Instrument] = {item.name: item for item in instruments}
        self.quotes: dict[str, Quote] = {}

    def put(self, quote: Quote) -> None:
        """Take the quote as the latest of its instrument.

        Raises:
            ValueError: the instrument is not offered.
        """
        if quote.instrument not in self.instruments:
            raise ValueError(f"instrument {quote.instrument} is not offered")
        self.quotes[quote.instrument] = quote

    def conversion(self, currency: str, home: str) -> Conversion | None:
        """Factors from `currency` into `home`, from the direct or the inverse pair.

        A gain is sold at the worse price and a loss bought at the worse price. None: no quote.
        """
        if currency == home:
            return Conversion(Decimal(1), Decimal(1))
        if direct := self.quotes.get(f"{currency}_{home}"):
            return Conversion(direct.bid, direct.ask)
        if inverse := self.quotes.get(f"{home}_{currency}"):
            return Conversion(
                (1 / inverse.ask).quantize(FACTOR), (1 / inverse.bid).quantize(FACTOR)
            )
        return None


def price_wire(quote: Quote, instrument: Instrument) -> Json:
    """The ClientPrice that the price stream and the pricing snapshot share."""
    bid, ask = instrument.price_text(quote.bid), instrument.price_text(quote.ask)
    return {
        "type": "PRICE",
        "time": time_text(quote.time_ns),
        "bids": [{"price": bid, "liquidity": quote.bid_liquidity}],
        "asks": [{"price": ask, "liquidity": quote.ask_liquidity}],
        "closeoutBid": bid,
        "closeoutAsk": ask,
        "status": "tradeable" if quote.tradeable else "non-tradeable",
        "tradeable": quote.tradeable,
        "instrument": quote.instrument,
    }
