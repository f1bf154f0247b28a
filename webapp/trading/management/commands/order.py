import time
from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sep_engine.execution.states import TERMINAL, OrderState, OrderType, Origin
from webapp.trading.models import BrokerAccount, Instrument, Order
from webapp.trading.services.orders import order_cancel, order_submit
from webapp.trading.wire import decimal_text

WAIT_S = 5.0
SETTLED = TERMINAL | {OrderState.ACCEPTED, OrderState.PARTIAL}


class Command(BaseCommand):
    help = "Place, cancel and list orders. The trader judges and sends what is placed here."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        place = actions.add_parser("place", help="place EUR_USD -- -1000 sells 1,000 units")
        place.add_argument("instrument")
        place.add_argument("units", help="signed: + buys, - sells")
        place.add_argument("--limit", help="price of a LIMIT order")
        place.add_argument("--stop", help="price of a STOP order")
        place.add_argument("--stop-loss")
        place.add_argument("--take-profit")
        place.add_argument("--reduce-only", action="store_true")
        cancel = actions.add_parser("cancel", help="cancel ID")
        cancel.add_argument("id", type=int)
        shown = actions.add_parser("list", help="the newest orders")
        shown.add_argument("--limit", type=int, default=20, dest="count")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(options)

    def _place(self, options: dict[str, Any]) -> None:
        account = BrokerAccount.objects.order_by("pk").first()
        instrument = Instrument.objects.filter(name=options["instrument"]).first()
        if account is None or instrument is None:
            raise CommandError(f"no account, or no instrument {options['instrument']}")
        if options["limit"] and options["stop"]:
            raise CommandError("give --limit or --stop, not both")
        type_ = OrderType.MARKET
        if options["limit"] or options["stop"]:
            type_ = OrderType.LIMIT if options["limit"] else OrderType.STOP
        try:
            order = order_submit(
                account=account,
                instrument=instrument,
                units=_number("units", options["units"]),
                type=type_,
                price=_optional("price", options["limit"] or options["stop"]),
                stop_loss=_optional("--stop-loss", options["stop_loss"]),
                take_profit=_optional("--take-profit", options["take_profit"]),
                reduce_only=options["reduce_only"],
                origin=Origin.PERSON,
                now=timezone.now(),
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self._follow(order)

    def _cancel(self, options: dict[str, Any]) -> None:
        if not Order.objects.filter(pk=options["id"]).exists():
            raise CommandError(f"there is no order {options['id']}")
        self._follow(order_cancel(order_id=options["id"], now=timezone.now()))

    def _list(self, options: dict[str, Any]) -> None:
        rows = Order.objects.select_related("instrument").order_by("-pk")
        for order in rows[: options["count"]]:
            self._show(order)

    def _follow(self, order: Order) -> None:
        """Show the order when it has settled, or as it is after WAIT_S (is a trader running?)."""
        deadline = time.monotonic() + WAIT_S
        while OrderState(order.state) not in SETTLED and time.monotonic() < deadline:
            time.sleep(0.1)
            order.refresh_from_db()
        self._show(order)

    def _show(self, order: Order) -> None:
        price = "" if order.average_price is None else f" at {decimal_text(order.average_price)}"
        denied = f" ({order.denied_reason})" if order.denied_reason else ""
        self.stdout.write(
            f"{order.pk} {order.instrument.name} {order.origin} {order.type} "
            f"{decimal_text(order.units)}: "
            f"{order.state}{denied}, filled {decimal_text(order.filled_units)}{price}"
        )


def _number(name: str, text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise CommandError(f"{name} must be a decimal number, was {text!r}") from error


def _optional(name: str, text: str | None) -> Decimal | None:
    return None if text is None else _number(name, text)
