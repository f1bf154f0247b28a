"""What our record and the venue's report disagree about. Pure; the venue is right."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class AccountView:
    """One side's account at one transaction.

    Attributes:
        last_transaction_id: both sides are compared at the same one.
        positions: instrument to signed units; absent means flat.
        open_orders: client id to units still wanted (signed), of orders working at the venue.
        trades: id to signed units of the open trades; empty on both sides at a venue without any.
    """

    last_transaction_id: int
    positions: Mapping[str, Decimal]
    open_orders: Mapping[str, Decimal]
    trades: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs; `local` and `reported` are None where a side does not have it."""

    what: str
    key: str
    local: Decimal | None
    reported: Decimal | None

    def __str__(self) -> str:
        local = "nothing" if self.local is None else str(self.local)
        reported = "nothing" if self.reported is None else str(self.reported)
        return f"{self.what} {self.key}: we have {local}, the venue has {reported}"


def reconcile(local: AccountView, reported: AccountView) -> tuple[Difference, ...]:
    """Return every difference between our record and the venue's report, in a stable order.

    An order whose fate is unknown is not in `local.open_orders`; it is settled by its own look-up
    before this is asked.
    """
    found = []
    if local.last_transaction_id != reported.last_transaction_id:
        found.append(
            Difference(
                "transaction",
                "last",
                Decimal(local.last_transaction_id),
                Decimal(reported.last_transaction_id),
            )
        )
    for what, ours, theirs in (
        ("position", _held(local.positions), _held(reported.positions)),
        ("trade", _held(local.trades), _held(reported.trades)),
        ("order", local.open_orders, reported.open_orders),
    ):
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                found.append(Difference(what, key, ours.get(key), theirs.get(key)))
    return tuple(found)


def _held(positions: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {instrument: units for instrument, units in positions.items() if units}
