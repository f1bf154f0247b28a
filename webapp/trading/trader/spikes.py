"""A price that jumps is believed when others confirm it."""

from dataclasses import dataclass, field
from decimal import Decimal

# A share of the last believed price. A market that really moves so far between two quotes confirms
# it with the next ones; a single wrong tick does not.
JUMP_SHARE = Decimal("0.02")
CONFIRMATIONS = 3


@dataclass(slots=True)
class Spikes:
    """What is believed of each instrument's mid price, and the jumps that nobody confirmed."""

    _believed: dict[str, Decimal] = field(default_factory=dict)
    _doubted: dict[str, list[Decimal]] = field(default_factory=dict)

    def doubt(self, instrument: str, mid: Decimal) -> str:
        """Return why a price is not believed yet, "" if it is; call it once for each quote."""
        believed = self._believed.get(instrument, mid)
        if _near(mid, believed):
            self._believed[instrument] = mid
            self._doubted.pop(instrument, None)
            return ""
        doubted = self._doubted.get(instrument, [])
        doubted = [*doubted, mid] if doubted and _near(mid, doubted[-1]) else [mid]
        if len(doubted) >= CONFIRMATIONS:
            self._believed[instrument] = mid
            self._doubted.pop(instrument, None)
            return ""
        self._doubted[instrument] = doubted
        wanted = CONFIRMATIONS - len(doubted)
        return f"jumped from {believed} to {mid}, which {wanted} more quotes must confirm"


def _near(price: Decimal, other: Decimal) -> bool:
    return abs(price - other) <= JUMP_SHARE * other
