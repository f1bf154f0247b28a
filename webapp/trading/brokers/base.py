"""The port to a broker: what the trader asks of every venue that it trades at.

A call returns what the venue said, or raises. `BrokerUnsure` means that the venue may have done
what was asked; the trader then finds out by reading and never by asking again. `BrokerUnsent` means
that it cannot have: no byte of the request left.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from sep_engine.execution.core import Timing
from sep_engine.execution.states import OrderType, PositionFill, TimeInForce
from sep_engine.model import Quote, QuoteBar


class BrokerError(Exception):
    """The venue could not be asked, or answered what we do not understand."""


class BrokerUnsent(BrokerError):
    """Nothing of the request was written to the venue, so nothing of it can arrive."""


class BrokerUnsure(BrokerError):
    """The request may or may not have been carried out."""


class Kind(StrEnum):
    """What a transaction says of an order."""

    ACCEPTED = "ACCEPTED"
    DEPENDENT = "DEPENDENT"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REPLACED = "REPLACED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    CHARGE = "CHARGE"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as it is sent. Units are signed; prices are on the instrument's grid.

    A stop or target is given as a price, or as a distance (> 0) from the price of the fill.

    Attributes:
        reduce_only: the order may only close what is held.
        trailing_distance: of the order itself if it is a trailing stop, else of the one that comes
            with its fill.
        trade_id: the venue's trade that a protective order, or a market order, closes; "" for the
            position as a whole.
        good_until: of a GTD order, market time.
    """

    client_id: str
    instrument: str
    type: OrderType
    units: Decimal
    price: Decimal | None = None
    price_bound: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stop_distance: Decimal | None = None
    target_distance: Decimal | None = None
    reduce_only: bool = False
    trailing_distance: Decimal | None = None
    time_in_force: TimeInForce | None = None
    good_until: datetime | None = None
    position_fill: PositionFill = PositionFill.DEFAULT
    trade_id: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a venue takes. Whatever is not here is refused by name before it becomes an intent.

    Attributes:
        types, times, fills: order types, times in force and position fills.
        trades: it keeps trades apart, so that one can be closed or protected by itself.
        on_fill: kinds of protective order that it opens with a fill.
        replaces: it changes a working order in one step.
        target_distance: it takes a target as a distance from the fill.
    """

    types: frozenset[OrderType]
    times: frozenset[TimeInForce]
    fills: frozenset[PositionFill]
    on_fill: frozenset[OrderType]
    trades: bool
    replaces: bool
    target_distance: bool = True


@dataclass(frozen=True, slots=True)
class TradeChange:
    """What a fill did to one trade of the venue: `units` are those of the fill, signed."""

    trade_id: str
    units: Decimal
    price: Decimal
    realised_pl: Decimal
    opens: bool


@dataclass(frozen=True, slots=True)
class Transaction:
    """One line of the venue's ledger.

    Attributes:
        id: rises by one with each transaction of the account, without gaps.
        time: market time.
        venue_order_id: the order that this is about, "" if it is about none.
        client_id: ours if the order is ours, else "".
        units, price: of a fill, or what a DEPENDENT order wants.
        realised_pl, half_spread_cost: of a fill, in account currency.
        final: after this fill the venue is done with the order.
        parent_id: venue order id of the order that a DEPENDENT belongs to.
        replaces_id: venue order id of the order whose place this one takes.
        trade_id: the trade that the order closes or protects.
        trades: what a fill did to the venue's trades, in order.
        financing, commission: of a fill, account currency; of a CHARGE `amount` is all there is.
        distance, time_in_force, good_until: of an order that was accepted.
        notice: what a person should be told, "" for nothing.
        to_empty: of a CHARGE, money that came to an account without any.
        raw: the transaction as the venue wrote it.
    """

    id: int
    kind: Kind
    time: datetime
    venue_order_id: str = ""
    client_id: str = ""
    instrument: str = ""
    order_type: str = ""
    units: Decimal = Decimal(0)
    price: Decimal | None = None
    realised_pl: Decimal = Decimal(0)
    half_spread_cost: Decimal = Decimal(0)
    assumed_spread: bool = False
    final: bool = True
    reason: str = ""
    parent_id: str = ""
    replaces_id: str = ""
    trade_id: str = ""
    trades: tuple[TradeChange, ...] = ()
    financing: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)
    distance: Decimal | None = None
    time_in_force: str = ""
    good_until: datetime | None = None
    notice: str = ""
    to_empty: bool = False
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def opened_units(self) -> Decimal | None:
        """Of a fill the units that opened a trade; None where the venue keeps no trades."""
        if not self.trades:
            return None
        return sum((one.units for one in self.trades if one.opens), Decimal(0))


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue shows it. `working`: it may still fill.

    `trade_id` is of an order that closes a trade; its units are those that the trade holds.
    """

    venue_order_id: str
    client_id: str
    instrument: str
    units: Decimal
    working: bool
    type: str = ""
    trade_id: str = ""


@dataclass(frozen=True, slots=True)
class AccountReport:
    """The venue's account at one transaction.

    positions: instrument to signed units, without flat ones; of a hedging account the sum of both
        sides, which may be 0 while both are held.
    open_orders: those that may fill.
    trades: id to signed units of the open ones; None where the venue keeps none.
    sides: of a hedging account (instrument, signed units) of each side; None if it nets.
    """

    last_transaction_id: int
    balance: Decimal
    positions: dict[str, Decimal]
    open_orders: tuple[VenueOrder, ...]
    trades: dict[str, Decimal] | None = None
    sides: tuple[tuple[str, Decimal], ...] | None = None

    @property
    def held(self) -> tuple[tuple[str, Decimal], ...]:
        """What would have to be closed, one by one: (instrument, signed units), never 0."""
        return tuple(self.positions.items()) if self.sides is None else self.sides


class Broker(Protocol):
    """A venue that holds orders and positions for one account."""

    timing: Timing

    async def submit(self, request: OrderRequest) -> list[Transaction]:
        """Send an order once; return the transactions that answered it (none is an answer too)."""
        ...

    async def replace(self, client_id: str, request: OrderRequest) -> list[Transaction]:
        """Put `request` in the place of the order of ours, once, as one step of the venue."""
        ...

    async def cancel(self, client_id: str) -> list[Transaction]:
        """Cancel the order of ours; repeating it is harmless."""
        ...

    async def order_by_client_id(self, client_id: str) -> VenueOrder | None:
        """Return the order, or None when the venue does not know the id."""
        ...

    async def transactions_since(self, transaction_id: int) -> list[Transaction]:
        """Return every transaction with a higher id, oldest first."""
        ...

    async def account(self) -> AccountReport:
        """Return balance, positions and working orders as of one transaction."""
        ...

    async def close(self) -> None:
        """Give back files and connections."""
        ...


@runtime_checkable
class FedBroker(Broker, Protocol):
    """A venue that has no prices of its own and fills by those of our feed.

    `event` numbers the feed's events for ever; one that was seen before changes nothing.
    """

    async def on_quote(
        self, quote: Quote, *, event: int, assumed_spread: bool
    ) -> list[Transaction]: ...

    async def on_bar(self, bar: QuoteBar, *, event: int) -> list[Transaction]: ...

    async def on_standing_quote(
        self, quote: Quote, *, assumed_spread: bool
    ) -> list[Transaction]: ...


# What a venue tells by itself.


@dataclass(frozen=True, slots=True)
class Listening:
    """The venue's stream is open: what happened before has to be read, what follows is told."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The account's ledger has grown to this transaction; heartbeats say it too."""

    transaction_id: int


@dataclass(frozen=True, slots=True)
class Deaf:
    """The stream is lost; it is asked for again after `wait_s`."""

    reason: str
    wait_s: float


News = Listening | Reached | Deaf


@runtime_checkable
class StreamingBroker(Broker, Protocol):
    """A venue that tells when something happens to the account.

    The stream says that the ledger has grown, never what to book: that is read from the last
    applied transaction on, so that a line that was lost, doubled or cut is caught up alike.
    """

    def news(self) -> AsyncGenerator[News, None]: ...
