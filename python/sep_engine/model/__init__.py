"""Values that every part of SEP speaks of: instruments, prices, bars and market hours.

All of them are frozen. Prices and sizes are `Decimal`; times are aware datetimes, or int64
nanoseconds since 1970 in arrays.
"""

from sep_engine.model.instrument import Instrument
from sep_engine.model.prices import Ohlc, Quote, QuoteBar

__all__ = ["Instrument", "Ohlc", "Quote", "QuoteBar"]
