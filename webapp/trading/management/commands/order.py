import time
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sep_engine.execution.states import (
    TERMINAL,
    OrderState,
    OrderType,
    Origin,
    PositionFill,
    TimeInForce,
)
from webapp.trading.models import BrokerAccount, Instrument, Order, Trade
from webapp.trading.services.orders import (
    order_cancel,
    order_change,
    order_submit,
    position_close,
    trade_close,
)
from webapp.trading.services.refusals import NotNow
from webapp.trading.wire import decimal_text

WAIT_S = 5.0
SETTLED = TERMINAL | {OrderState.ACCEPTED, OrderState.PARTIAL}


class Command(BaseCommand):
    help = "Place, change, cancel and list orders, close trades. The trader judges and sends them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        place = actions.add_parser("place", help="place EUR_USD -- -1000 sells 1,000 units")
        place.add_argument("instrument")
        place.add_argument("units", help="signed: + buys, - sells")
        place.add_argument("--type", choices=sorted(OrderType), help="MARKET unless a price says")
        place.add_argument("--price", help="of the --type")
        place.add_argument("--limit", help="price of a LIMIT order")
        place.add_argument("--stop", help="price of a STOP order")
        place.add_argument("--position-fill", choices=sorted(PositionFill), default="DEFAULT")
        place.add_argument("--trade", help="the venue's trade that the order closes")
        place.add_argument("--reduce-only", action="store_true")
        change = actions.add_parser(
            "change", help="change ID --price 1.05: a new order in its place"
        )
        change.add_argument("id", type=int)
        change.add_argument("--units")
        change.add_argument("--price")
        for one in (place, change):
            one.add_argument("--stop-loss")
            one.add_argument("--take-profit")
            one.add_argument("--trailing-distance", help="in price, such as 0.0020")
            one.add_argument("--time-in-force", choices=sorted(TimeInForce))
            one.add_argument("--good-until", help="of a GTD order, such as 2026-01-05T21:00:00Z")
        close = actions.add_parser(
            "close", help="close EUR_USD [--units N]: a position; close 17: one trade of the venue"
        )
        close.add_argument("what", help="an instrument, or the venue's number of a trade")
        close.add_argument("--units", help="how many to close, all by default")
        close.add_argument("--side", choices=("LONG", "SHORT"), help="of a hedging account")
        cancel = actions.add_parser("cancel", help="cancel ID")
        cancel.add_argument("id", type=int)
        shown = actions.add_parser("list", help="the newest orders")
        shown.add_argument("--limit", type=int, default=20, dest="count")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(options)

    def _place(self, options: dict[str, Any]) -> None:
        account = _account()
        instrument = Instrument.objects.filter(name=options["instrument"]).first()
        if instrument is None:
            known = ", ".join(Instrument.objects.order_by("name").values_list("name", flat=True))
            raise CommandError(f"no instrument {options['instrument']} here; there is: {known}")
        given = [name for name in ("limit", "stop", "type") if options[name]]
        if len(given) > 1:
            raise CommandError(f"give one of --{', --'.join(given)}")
        type_ = OrderType(options["type"] or (given[0].upper() if given else "MARKET"))
        trade = self._trade(account, options["trade"]) if options["trade"] else None
        self._ask(
            lambda: order_submit(
                account=account,
                instrument=instrument,
                units=_number("units", options["units"]),
                type=type_,
                price=_optional("price", options["limit"] or options["stop"] or options["price"]),
                stop_loss=_optional("--stop-loss", options["stop_loss"]),
                take_profit=_optional("--take-profit", options["take_profit"]),
                trailing_distance=_optional("--trailing-distance", options["trailing_distance"]),
                time_in_force=_force(options["time_in_force"]),
                good_until=_time(options["good_until"]),
                position_fill=PositionFill(options["position_fill"]),
                trade=trade,
                reduce_only=options["reduce_only"],
                origin=Origin.PERSON,
                now=timezone.now(),
            )
        )

    def _change(self, options: dict[str, Any]) -> None:
        names = ("units", "price", "stop_loss", "take_profit", "trailing_distance")
        changes: dict[str, Any] = {
            name: _number(name, options[name]) for name in names if options[name] is not None
        }
        if options["time_in_force"]:
            changes["time_in_force"] = _force(options["time_in_force"])
        if options["good_until"]:
            changes["good_until"] = _time(options["good_until"])
        if not Order.objects.filter(pk=options["id"]).exists():
            raise CommandError(f"there is no order {options['id']}")
        self._ask(lambda: order_change(order_id=options["id"], changes=changes, now=timezone.now()))

    def _close(self, options: dict[str, Any]) -> None:
        account, what = _account(), options["what"]
        units = _optional("--units", options["units"])
        instrument = Instrument.objects.filter(name=what).first()
        if instrument is None:
            if options["side"]:
                raise CommandError("--side is of a position: name its instrument")
            trade = self._trade(account, what)
            self._ask(lambda: trade_close(trade=trade, units=units, now=timezone.now()))
            return
        self._ask(
            lambda: position_close(
                account=account,
                instrument=instrument,
                units=units,
                side=options["side"],
                now=timezone.now(),
            )
        )

    def _trade(self, account: BrokerAccount, name: str) -> Trade:
        rows = Trade.objects.select_related("account", "instrument")
        trade = rows.filter(account=account, venue_trade_id=name).first()
        if trade is None:
            open_ = rows.filter(account=account).exclude(units=0).order_by("pk")
            known = ", ".join(open_.values_list("venue_trade_id", flat=True)) or "none"
            raise CommandError(f"there is no trade {name}; open at the venue: {known}")
        return trade

    def _ask(self, ask: Callable[[], Order | None]) -> None:
        try:
            order = ask()
        except NotNow as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            wrong = [f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()]
            raise CommandError("; ".join(wrong)) from error
        if order is None:
            raise CommandError("there is no such position; nothing was to be closed")
        self._follow(order)

    def _cancel(self, options: dict[str, Any]) -> None:
        order = Order.objects.filter(pk=options["id"]).first()
        if order is None:
            raise CommandError(f"there is no order {options['id']}")
        if OrderState(order.state) in TERMINAL:
            raise CommandError(f"order {order.pk} has ended: it is {order.state}")
        self._follow(order_cancel(order_id=options["id"], now=timezone.now()), TERMINAL)

    def _list(self, options: dict[str, Any]) -> None:
        if options["count"] < 1:
            raise CommandError(f"--limit must be at least 1, was {options['count']}")
        rows = Order.objects.select_related("instrument").order_by("-pk")
        for order in rows[: options["count"]]:
            self._show(order)

    def _follow(self, order: Order, settled: frozenset[OrderState] = SETTLED) -> None:
        """Show the order when it has settled, or as it is after WAIT_S (is a trader running?)."""
        deadline = time.monotonic() + WAIT_S
        while OrderState(order.state) not in settled and time.monotonic() < deadline:
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


def _account() -> BrokerAccount:
    account = BrokerAccount.objects.order_by("pk").first()
    if account is None:
        raise CommandError("there is no account yet: run manage.py load_sample, or broker add")
    return account


def _number(name: str, text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise CommandError(f"{name} must be a decimal number, was {text!r}") from error


def _optional(name: str, text: str | None) -> Decimal | None:
    return None if text is None else _number(name, text)


def _force(text: str | None) -> TimeInForce | None:
    return None if text is None else TimeInForce(text)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--good-until must be a time, was {text!r}") from error
    if at.utcoffset() is None:
        raise CommandError("--good-until must say its zone: end it with Z")
    return at
