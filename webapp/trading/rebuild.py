"""The tables, made again from the event log alone, and what in them says something else.

The log is whole (its chain is checked first); orders, fills and positions are projections of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from django.db import transaction

from sep_engine.execution.positions import NetPosition, apply_fill, sides_of
from webapp.trading.models import (
    AccountTotals,
    BrokerAccount,
    EventLog,
    Fill,
    Order,
    Position,
    StreamHead,
    position_key,
)
from webapp.trading.selectors.balance import kept_totals_fault
from webapp.trading.services.events import first_fault
from webapp.trading.services.performance import totals_keep
from webapp.trading.wire import decimal_text

_FLAT = NetPosition()
_Key = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class _Fill:
    order_id: int
    units: Decimal
    price: Decimal
    realised_pl: Decimal
    opened_units: Decimal | None

    def __str__(self) -> str:
        return f"{decimal_text(self.units)} at {decimal_text(self.price)}"


@dataclass(frozen=True, slots=True)
class _Order:
    """What an order came to. A busy year has 100,000: no more is kept of each than is compared."""

    instrument: str
    state: str
    client_id: str
    units: Decimal
    filled_units: Decimal
    average_price: Decimal | None
    venue_order_id: str


class BrokenLog(Exception):
    """The log cannot be trusted, so nothing is made from it."""


@dataclass(slots=True)
class Books:
    """What the log says.

    Attributes:
        orders: what the last event of each order says, by its key.
        fills: units, price and opened units of each fill, by its key.
        positions: by account, instrument and side.
        booked: of the same, what the venue booked as profit, account currency.
    """

    orders: dict[int, _Order] = field(default_factory=dict)
    fills: dict[int, _Fill] = field(default_factory=dict)
    positions: dict[_Key, NetPosition] = field(default_factory=dict)
    booked: dict[_Key, Decimal] = field(default_factory=dict)


def books_from_log() -> Books:
    """Read the whole log and return what follows from it.

    Raises:
        BrokenLog: an event is missing or was changed.
    """
    for stream in StreamHead.objects.values_list("stream", flat=True):
        fault = first_fault(stream)
        if fault is not None:
            raise BrokenLog(fault)
    books = Books()
    events = EventLog.objects.filter(stream="orders").order_by("seq")
    for data in events.values_list("data", flat=True).iterator():
        average = data["average_price"]
        books.orders[data["id"]] = _Order(
            data["instrument"],
            data["state"],
            data["client_id"],
            Decimal(data["units"]),
            Decimal(data["filled_units"]),
            None if average is None else Decimal(average),
            data["venue_order_id"],
        )
        for fill in data["fills"]:
            opened = fill.get("opened_units")
            books.fills[fill["id"]] = _Fill(
                data["id"],
                Decimal(fill["units"]),
                Decimal(fill["price"]),
                Decimal(fill["realised_pl"]),
                None if opened is None else Decimal(opened),
            )
    accounts = dict(Order.objects.values_list("pk", "account_id"))
    hedging = dict(BrokerAccount.objects.values_list("pk", "hedging"))
    # Fills get their keys in the order in which they were applied.
    for _, fill in sorted(books.fills.items()):
        account = accounts.get(fill.order_id, 0)
        instrument = books.orders[fill.order_id].instrument
        parts = sides_of(fill.units, opened=fill.opened_units, hedging=hedging.get(account, False))
        for side, units in parts:
            key = (account, instrument, str(side))
            before = books.positions.get(key, _FLAT)
            books.positions[key] = apply_fill(before, units=units, price=fill.price)
        books.booked[key] = books.booked.get(key, Decimal(0)) + fill.realised_pl
    return books


def differences(books: Books) -> list[str]:
    """Return every place at which the tables say something else than the log."""
    return [
        *_order_differences(books),
        *_fill_differences(books),
        *_position_differences(books),
        *filter(None, map(kept_totals_fault, BrokerAccount.objects.order_by("pk"))),
    ]


def _order_differences(books: Books) -> Iterable[str]:
    names = [name for name in _Order.__dataclass_fields__ if name != "instrument"]
    rows = Order.objects.order_by("pk").values_list("pk", "instrument__name", *names)
    seen = set()
    for key, *columns in rows.iterator():
        seen.add(key)
        row, told = _Order(*columns), books.orders.get(key)
        if told is None:
            yield f"order {key} is only in the table"
            continue
        for name in _Order.__dataclass_fields__ if row != told else ():
            here, there = getattr(row, name), getattr(told, name)
            if here != there:
                yield f"order {key}: {name.replace('_', ' ')} {here}, by the log {there}"
    for key in sorted(books.orders.keys() - seen):
        yield f"order {key} is only in the log"


def _fill_differences(books: Books) -> Iterable[str]:
    names = ("pk", *_Fill.__dataclass_fields__)
    rows = {key: _Fill(*columns) for key, *columns in Fill.objects.values_list(*names).iterator()}
    for key in sorted(rows.keys() | books.fills.keys()):
        if rows.get(key) != books.fills.get(key):
            yield f"fill {key}: {rows.get(key)}, by the log {books.fills.get(key)}"


def _position_differences(books: Books) -> Iterable[str]:
    rows = {_key(row): row for row in Position.objects.select_related("instrument")}
    for key in sorted(rows.keys() | books.positions.keys()):
        told, row = books.positions.get(key, _FLAT), rows.get(key)
        booked = books.booked.get(key, Decimal(0))
        here, booked_here = _FLAT, Decimal(0)
        if row is not None:
            here = NetPosition(row.units, row.average_price, row.realised_pl)
            booked_here = row.booked_pl
        name = position_key(key[1], key[2])
        if (here.units, here.average_price, here.realised_pl) != (
            told.units,
            told.average_price,
            told.realised_pl,
        ):
            yield f"position {name}: {_text(here)}, by the log {_text(told)}"
        elif booked_here != booked:
            yield f"position {name}: booked {booked_here}, by the log {booked}"


@transaction.atomic
def positions_rewrite(books: Books) -> int:
    """Write the positions that follow from the log, and the totals that follow from the fills.

    Returns:
        How many positions changed.

    Orders and fills are not written: their rows are held by rules of the database, and one that
    differs from the log is a fault for a person to look at.
    """
    changed = 0
    for row in Position.objects.select_for_update().select_related("instrument"):
        told = books.positions.get(_key(row), _FLAT)
        before = (row.units, row.average_price, row.realised_pl, row.booked_pl)
        after = (
            told.units,
            told.average_price,
            told.realised_pl,
            books.booked.get(_key(row), Decimal(0)),
        )
        if before != after:
            row.units, row.average_price, row.realised_pl, row.booked_pl = after
            row.save(
                update_fields=["units", "average_price", "realised_pl", "booked_pl", "updated_at"]
            )
            changed += 1
    AccountTotals.objects.all().delete()
    for account in BrokerAccount.objects.order_by("pk"):
        totals_keep(account)
    return changed


def _key(row: Position) -> _Key:
    return (row.account_id, row.instrument.name, row.side)


def _text(position: NetPosition) -> str:
    average = position.average_price
    at = "" if average is None else f" at {decimal_text(average)}"
    return f"{decimal_text(position.units)}{at}, realised {decimal_text(position.realised_pl)}"
