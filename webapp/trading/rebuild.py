"""The tables, made again from the event log alone, and what in them says something else.

The log is whole (its chain is checked first); orders, fills and positions are projections of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction

from sep_engine.execution.positions import NetPosition, apply_fill
from webapp.trading.models import EventLog, Fill, Order, Position, StreamHead
from webapp.trading.services.events import first_fault
from webapp.trading.wire import decimal_text

_FLAT = NetPosition()


class BrokenLog(Exception):
    """The log cannot be trusted, so nothing is made from it."""


@dataclass(slots=True)
class Books:
    """What the log says.

    Attributes:
        orders: the last event of each order, by its key.
        fills: units and price of each fill, by its key.
        positions: by account and instrument.
    """

    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    fills: dict[int, tuple[int, Decimal, Decimal]] = field(default_factory=dict)
    positions: dict[tuple[int, str], NetPosition] = field(default_factory=dict)


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
        books.orders[data["id"]] = data
        for fill in data["fills"]:
            books.fills[fill["id"]] = (data["id"], Decimal(fill["units"]), Decimal(fill["price"]))
    accounts = dict(Order.objects.values_list("pk", "account_id"))
    # Fills get their keys in the order in which they were applied.
    for _, (order_id, units, price) in sorted(books.fills.items()):
        instrument = books.orders[order_id]["instrument"]
        key = (accounts.get(order_id, 0), instrument)
        books.positions[key] = apply_fill(books.positions.get(key, _FLAT), units=units, price=price)
    return books


def differences(books: Books) -> list[str]:
    """Return every place at which the tables say something else than the log."""
    return [*_order_differences(books), *_fill_differences(books), *_position_differences(books)]


def _order_differences(books: Books) -> Iterable[str]:
    rows = {row.pk: row for row in Order.objects.all()}
    for key in sorted(rows.keys() ^ books.orders.keys()):
        yield f"order {key} is only in the {'table' if key in rows else 'log'}"
    for key in sorted(rows.keys() & books.orders.keys()):
        row, told = rows[key], books.orders[key]
        average = told["average_price"]
        pairs = (
            ("state", row.state, told["state"]),
            ("client id", row.client_id, told["client_id"]),
            ("units", row.units, Decimal(told["units"])),
            ("filled units", row.filled_units, Decimal(told["filled_units"])),
            ("average price", row.average_price, None if average is None else Decimal(average)),
            ("venue's id", row.venue_order_id, told["venue_order_id"]),
        )
        for name, here, there in pairs:
            if here != there:
                yield f"order {key}: {name} {here}, by the log {there}"


def _fill_differences(books: Books) -> Iterable[str]:
    rows = {row.pk: (row.order_id, row.units, row.price) for row in Fill.objects.all()}
    for key in sorted(rows.keys() | books.fills.keys()):
        if rows.get(key) != books.fills.get(key):
            yield f"fill {key}: {rows.get(key)}, by the log {books.fills.get(key)}"


def _position_differences(books: Books) -> Iterable[str]:
    rows = {
        (row.account_id, row.instrument.name): row
        for row in Position.objects.select_related("instrument")
    }
    for key in sorted(rows.keys() | books.positions.keys()):
        told, row = books.positions.get(key, _FLAT), rows.get(key)
        here = _FLAT
        if row is not None:
            here = NetPosition(row.units, row.average_price, row.realised_pl)
        if (here.units, here.average_price, here.realised_pl) != (
            told.units,
            told.average_price,
            told.realised_pl,
        ):
            yield f"position {key[1]}: {_text(here)}, by the log {_text(told)}"


@transaction.atomic
def positions_rewrite(books: Books) -> int:
    """Write the positions that follow from the log; return how many rows changed.

    Orders and fills are not written: their rows are held by rules of the database, and one that
    differs from the log is a fault for a person to look at.
    """
    changed = 0
    for row in Position.objects.select_for_update().select_related("instrument"):
        told = books.positions.get((row.account_id, row.instrument.name), _FLAT)
        before = (row.units, row.average_price, row.realised_pl)
        row.units, row.average_price, row.realised_pl = (
            told.units,
            told.average_price,
            told.realised_pl,
        )
        if before != (row.units, row.average_price, row.realised_pl):
            row.save(update_fields=["units", "average_price", "realised_pl", "updated_at"])
            changed += 1
    return changed


def _text(position: NetPosition) -> str:
    average = position.average_price
    at = "" if average is None else f" at {decimal_text(average)}"
    return f"{decimal_text(position.units)}{at}, realised {decimal_text(position.realised_pl)}"
