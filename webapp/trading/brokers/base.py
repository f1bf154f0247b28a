"""The port to a broker: what the trader asks of every venue that it trades at.

A call returns what the venue said, or raises. `BrokerUnsure` means that the venue may have done
what was asked; the trader then finds out by reading and never by asking again.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from sep_engine.execution.core import Timing
from sep_engine.execution.states import OrderType
from sep_engine.model import Quote, QuoteBar


class BrokerError(Exception):
    """The venue could not be asked, or answered what we do not understand."""


class BrokerUnsure(BrokerError):
    """The request may or may not have been carried out."""


class Kind(StrEnum):
    """What a transaction says of an order."""

    ACCEPTED = "ACCEPTED"
    DEPENDENT = "DEPENDENT"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as it is sent. Units are signed; prices are on the instrument's grid.

    A stop or target is given as a price, or as a distance (> 0) from the price of the fill.
    """

    client_id: str
    instrument: str
    type: OrderType
    units: Decimal
    price: Decimal | None
    price_bound: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    stop_distance: Decimal | None
    target_distance: Decimal | None
    reduce_only: bool


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
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue shows it. `working`: it may still fill."""

    venue_order_id: str
    client_id: str
    instrument: str
    units: Decimal
    working: bool


@dataclass(frozen=True, slots=True)
class AccountReport:
    """The venue's account at one transaction.

    positions: instrument to signed units, without flat ones. open_orders: those that may fill.
    """

    last_transaction_id: int
    balance: Decimal
    positions: dict[str, Decimal]
    open_orders: tuple[VenueOrder, ...]


class Broker(Protocol):
    """A venue that holds orders and positions for one account."""

    timing: Timing

    async def submit(self, request: OrderRequest) -> list[Transaction]:
        """Send an order once; return the transactions that answered it (none is an answer too)."""
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
