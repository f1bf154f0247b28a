"""Terms that every venue's orders share: how long one works, and what its fill may do."""

from enum import StrEnum


class TimeInForce(StrEnum):
    """How long an order works: until cancelled, a time, the day's end, or not at all.

    The day ends at 17:00 New York time. FOK fills whole at once or not at all, IOC what it can.
    """

    GTC = "GTC"
    GTD = "GTD"
    GFD = "GFD"
    FOK = "FOK"
    IOC = "IOC"


IMMEDIATE: frozenset[TimeInForce] = frozenset({TimeInForce.FOK, TimeInForce.IOC})


class PositionFill(StrEnum):
    """Whether a fill reduces the position, opens, or both; DEFAULT is the venue's own choice."""

    DEFAULT = "DEFAULT"
    OPEN_ONLY = "OPEN_ONLY"
    REDUCE_FIRST = "REDUCE_FIRST"
    REDUCE_ONLY = "REDUCE_ONLY"
