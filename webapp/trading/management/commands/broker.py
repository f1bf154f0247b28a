import asyncio
import getpass
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sep_engine.errors import ArgumentError, DataError
from sep_engine.venues.oanda.client import VenueError, local
from webapp.config.sealing import SealBroken
from webapp.trading.brokers.base import BrokerError
from webapp.trading.brokers.registry import ENDPOINTS, exchange_balance
from webapp.trading.granularity import GRANULARITIES
from webapp.trading.models import BrokerAccount
from webapp.trading.services.live_arming import place_refusal
from webapp.trading.tokens import rotate_keys
from webapp.trading.trader.setup import OtherBroker, limits_for
from webapp.trading.trader.venue_setup import (
    CannotAdd,
    account_add,
    exchange_add,
    token_replace,
    venue_accounts,
    venue_read,
)
from webapp.trading.wire import money_text

KINDS = {"oanda": "oanda-practice", "oanda-live": "oanda-live", "oanda-local": "oanda-local"}
CCXT = "ccxt"


class Command(BaseCommand):
    help = "Brokers' accounts and the keys that their tokens are sealed with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="add oanda: asks for the token, which is never shown")
        add.add_argument("venue", choices=sorted([*KINDS, CCXT]))
        add.add_argument(
            "--account", help="the venue's id, or the exchange; needed if the token opens several"
        )
        add.add_argument("--currency", default="USDT", help="of a spot exchange's account")
        add.add_argument("--name", default="", help="what SEP calls the account")
        add.add_argument("--instrument", default="EUR_USD", help="shown and traded by the strategy")
        add.add_argument(
            "--also", default="", help="more instruments to order in, e.g. USD_JPY,EUR_GBP"
        )
        add.add_argument("--granularity", choices=GRANULARITIES, default="H1")
        actions.add_parser("list", help="the accounts, without their tokens")
        token = actions.add_parser("token", help="give an account another token")
        token.add_argument("account", help="what SEP calls the account")
        actions.add_parser("rotate-keys", help="seal every kept secret under the newest key")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action'].replace('-', '_')}")(options)

    def _rotate_keys(self, options: dict[str, Any]) -> None:
        try:
            count = rotate_keys()
        except SealBroken as error:
            raise CommandError(f"nothing was changed: {error}") from error
        self.stdout.write(f"{count} secrets are sealed under the newest key.")
        if settings.SEP_SECRET_KEYS:
            self.stdout.write("The other keys of SEP_SECRET_KEYS can be removed now.")

    def _list(self, options: dict[str, Any]) -> None:
        accounts = BrokerAccount.objects.order_by("pk")
        if not accounts:
            self.stdout.write("There is no account yet.")
        for account in accounts:
            kept = "token stored" if hasattr(account, "token") else "no token"
            self.stdout.write(
                f"{account.name}: {account.kind} {account.venue_account or '-'}, "
                f"{account.currency}, {kept}"
            )

    def _add(self, options: dict[str, Any]) -> None:
        if options["venue"] == CCXT:
            self._add_exchange(options)
            return
        kind = KINDS[options["venue"]]
        if kind == "oanda-local" and not settings.SEP_OANDA_URL:
            raise CommandError("set SEP_OANDA_URL to the local server's address first")
        also = tuple(name for name in options["also"].split(",") if name)
        if kind == "oanda-live":
            self._check_live(options["account"])
        try:
            endpoint = ENDPOINTS.get(kind) or local(settings.SEP_OANDA_URL)
        except ArgumentError as error:
            raise CommandError(f"SEP_OANDA_URL: {error}") from error
        token = _typed_token()
        call_command("migrate", interactive=False, verbosity=0)
        try:
            known = asyncio.run(venue_accounts(endpoint, token))
            venue_account = self._choose(known, options["account"])
            state = asyncio.run(
                venue_read(
                    endpoint,
                    token,
                    venue_account=venue_account,
                    instruments=(options["instrument"], *also),
                    granularity=options["granularity"],
                )
            )
            account = account_add(
                name=options["name"] or f"OANDA {venue_account}",
                kind=kind,
                token=token,
                state=state,
                instruments=(options["instrument"], *also),
                granularity=options["granularity"],
                now=timezone.now(),
            )
        except VenueError as error:
            hint = {
                None: f": is {endpoint.rest} reachable from here?",
                401: f": is the token right, and of {options['venue']}?",
            }.get(error.status, "")
            raise CommandError(f"{error}{hint}") from error
        except (ArgumentError, CannotAdd, DataError, OtherBroker, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{account.name}: {money_text(account.opening_balance)} {account.currency}, "
            f"books begin after transaction {account.last_transaction_id}. "
            "The strategy is off; switch it on in the admin."
        )
        loss = limits_for(account.opening_balance)["daily_loss_max"]
        self.stdout.write(
            f"Limits are set by that balance: a day may lose {money_text(loss)} {account.currency}."
        )
        if kind == "oanda-live":
            self.stdout.write(f"It may trade after: manage.py live arm '{account.name}'")

    def _token(self, options: dict[str, Any]) -> None:
        """Store another token of an account, after its venue has taken it."""
        account = BrokerAccount.objects.filter(name=options["account"]).first()
        if account is None:
            known = ", ".join(BrokerAccount.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"there is no account {options['account']}; there is: {known}")
        if account.kind == "paper" or not account.venue_account:
            raise CommandError(f"account {account.name} ({account.kind}) has no token of its own")
        if account.kind == "oanda-live":
            self._check_live(account.venue_account)
        token = _typed_token()
        try:
            token_replace(account, token, now=timezone.now())
        except (ArgumentError, BrokerError, CannotAdd, DataError, ValueError, VenueError) as error:
            raise CommandError(f"the token was not stored: {error}") from error
        self.stdout.write(f"{account.name} has the new token. Start the trader again to use it.")

    def _check_live(self, venue_account: str | None) -> None:
        """Ask for the account's id, typed, before anything of real money is read or stored."""
        if venue_account is None:
            raise CommandError("say which account of real money with --account")
        wanted = BrokerAccount(name=venue_account, kind="oanda-live", venue_account=venue_account)
        if refused := place_refusal(wanted):
            raise CommandError(refused)
        self.stdout.write(f"{venue_account} holds real money. Type its id to add it:")
        if sys.stdin.readline().strip() != venue_account:
            raise CommandError("that is not its id; nothing was added")

    def _add_exchange(self, options: dict[str, Any]) -> None:
        """Add the sandbox of a spot exchange; its token is key:secret or key:secret:passphrase."""
        exchange = options["account"]
        if not exchange:
            raise CommandError("say which exchange with --account, as ccxt writes it: binance")
        token, currency = _typed_token(), options["currency"]
        call_command("migrate", interactive=False, verbosity=0)
        try:
            account = exchange_add(
                name=options["name"] or f"{exchange} sandbox",
                exchange=exchange,
                token=token,
                currency=currency,
                balance=exchange_balance(exchange, token, currency),
                now=timezone.now(),
            )
        except (CannotAdd, OtherBroker, BrokerError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{account.name}: {account.kind} {account.venue_account}, {account.currency}, "
            "its token is sealed. It has no prices of its own and opens nothing: "
            "see docs/guides/exchange.md."
        )

    def _choose(self, known: list[str], wanted: str | None) -> str:
        if wanted is not None:
            if wanted not in known:
                raise CommandError(f"the token does not open {wanted}, only {', '.join(known)}")
            return wanted
        if len(known) == 1:
            return known[0]
        raise CommandError(
            f"say which account with --account: {', '.join(known) or 'there is none'}"
        )


def _typed_token() -> str:
    """Ask for the token without showing it; from a pipe, read its first line."""
    if sys.stdin.isatty():
        token = getpass.getpass("Token (not shown): ").strip()
    else:
        token = sys.stdin.readline().strip()
    if not token:
        raise CommandError("no token was given; nothing was added")
    # It goes into a header, and must neither break it nor be told by what refuses it.
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise CommandError("the token has a blank or a letter that no token has; nothing was added")
    return token
