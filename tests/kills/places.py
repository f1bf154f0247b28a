"""Where the trader is killed: the named places of the order path, and every write to a socket."""

from dataclasses import dataclass
from enum import Enum, auto


class Deed(Enum):
    """What the trader is doing when it dies."""

    MARKET = auto()
    CANCEL = auto()
    REPLACE = auto()
    START = auto()
    RECOVER = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """A kill point and what brings the trader there.

    Attributes:
        name: of the call of `webapp.trading.killpoint`.
        deed: what is asked for.
        visit: at which visit after the start of the trader it dies.
    """

    name: str
    deed: Deed
    visit: int = 1

    def __str__(self) -> str:
        return f"{self.deed.name.lower()}: {self.name}"


# A replacement passes `claimed` and `sent` a second time: the order that it replaces came first.
PLACES = (
    Place("judged", Deed.MARKET),
    Place("claimed", Deed.MARKET),
    Place("sent", Deed.MARKET),
    Place("facts_before_commit", Deed.MARKET),
    Place("facts_committed", Deed.MARKET),
    Place("recorded", Deed.MARKET),
    Place("relay_before_mark", Deed.MARKET),
    Place("cancel_claimed", Deed.CANCEL),
    Place("cancel_sent", Deed.CANCEL),
    Place("judged", Deed.REPLACE, 2),
    Place("claimed", Deed.REPLACE, 2),
    Place("sent", Deed.REPLACE, 2),
    Place("recorded", Deed.REPLACE, 2),
    Place("reconciling", Deed.START),
    Place("recovering", Deed.RECOVER),
)
