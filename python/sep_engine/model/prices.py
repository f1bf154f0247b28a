"""Prices as the market quotes them: one quote, one bar of quotes."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sep_engine.errors import ArgumentError


def _check_aware(name: str, time: datetime) -> None:
    if time.utcoffset() is None:
        raise ArgumentError(f"{name} must carry its time zone, was {time.isoformat()}")


@dataclass(frozen=True, slots=True)
class Ohlc:
    """First, highest, lowest and last price of one side of one bar; low <= open, close <= high."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def __post_init__(self) -> None:
        prices = (self.open, self.high, self.low, self.close)
        if not all(price.is_finite() for price in prices):
            raise ArgumentError(f"prices must be finite, were {self}")
        if self.low <= 0:
            raise ArgumentError(f"low must be > 0, was {self.low}")
        if self.low != min(prices) or self.high != max(prices):
            raise ArgumentError(f"open and close must lie between low and high, were {self}")


@dataclass(frozen=True, slots=True)
class Quote:
    """What the market would buy at (`bid`) and sell at (`ask`) at one instant; 0 < bid <= ask."""

    instrument: str
    time: datetime
    bid: Decimal
    ask: Decimal

    def __post_init__(self) -> None:
        _check_aware("time", self.time)
        if not (self.bid.is_finite() and self.ask.is_finite()):
            raise ArgumentError(f"bid and ask must be finite, were {self.bid} and {self.ask}")
        if not 0 < self.bid <= self.ask:
            raise ArgumentError(f"0 < bid <= ask must hold, were {self.bid} and {self.ask}")

    @property
    def mid(self) -> Decimal:
        """Half way between bid and ask, exact."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> Decimal:
        """Ask less bid, in quote currency, >= 0."""
        return self.ask - self.bid


@dataclass(frozen=True, slots=True)
class QuoteBar:
    """One complete bar of both sides.

    Attributes:
        instrument: name of the instrument.
        start, end: the bar holds quotes with start <= time < end; aware.
        bid, ask: prices of each side; at no corner is the bid above the ask.
        volume: as the source counts it; None when the source gives none.
        assumed_spread: True when the source has one side only and the other was made from it
            by a configured spread.
    """

    instrument: str
    start: datetime
    end: datetime
    bid: Ohlc
    ask: Ohlc
    volume: Decimal | None
    assumed_spread: bool

    def __post_init__(self) -> None:
        _check_aware("start", self.start)
        _check_aware("end", self.end)
        if not self.start < self.end:
            raise ArgumentError(f"start must be before end, were {self.start} and {self.end}")
        for corner in ("open", "high", "low", "close"):
            bid, ask = getattr(self.bid, corner), getattr(self.ask, corner)
            if bid > ask:
                raise ArgumentError(f"bid {corner} must be <= ask {corner}, were {bid} and {ask}")
        if self.volume is not None and not (self.volume.is_finite() and self.volume >= 0):
            raise ArgumentError(f"volume must be >= 0, was {self.volume}")

    @property
    def open_quote(self) -> Quote:
        """The quote at the bar's start."""
        return Quote(self.instrument, self.start, self.bid.open, self.ask.open)

    @property
    def close_quote(self) -> Quote:
        """The last quote of the bar, stamped with its end."""
        return Quote(self.instrument, self.end, self.bid.close, self.ask.close)
