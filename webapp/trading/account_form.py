"""The form that adds a broker's account in the admin: its token goes in and never comes out."""

import asyncio
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone

from sep_engine.errors import ArgumentError, DataError
from sep_engine.venues.oanda.client import VenueError, local
from webapp.trading.brokers.base import BrokerError
from webapp.trading.brokers.registry import ENDPOINTS, exchange_balance
from webapp.trading.granularity import GRANULARITIES
from webapp.trading.models import BrokerAccount
from webapp.trading.trader.setup import OtherBroker
from webapp.trading.trader.venue_setup import (
    CannotAdd,
    account_add,
    exchange_add,
    venue_read,
)

# An account of real money is added at the machine: `manage.py broker add oanda-live`.
KINDS = ("oanda-practice", "oanda-local", "ccxt-sandbox")


class AccountAddForm(forms.ModelForm):  # type: ignore[type-arg]
    kind = forms.ChoiceField(choices=[(kind, kind) for kind in KINDS])
    venue_account = forms.CharField(
        max_length=64, help_text="The venue's id of the account, or the exchange as ccxt writes it."
    )
    token = forms.CharField(
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"}),
        help_text="Sealed when it is stored and never shown. An exchange's: key:secret.",
    )
    instrument = forms.CharField(
        initial="EUR_USD", help_text="Shown and traded by the strategy; not for an exchange."
    )
    granularity = forms.ChoiceField(choices=[(name, name) for name in GRANULARITIES], initial="H1")
    currency = forms.CharField(
        initial="USDT", max_length=8, help_text="Of an exchange's account; OANDA says its own."
    )

    class Meta:
        model = BrokerAccount
        fields = ("name", "kind", "venue_account")

    def clean(self) -> dict[str, Any]:
        """Ask the venue, so that nothing is stored of an account that cannot be used."""
        wanted: dict[str, Any] = super().clean() or {}
        if self.errors:
            return wanted
        try:
            if wanted["kind"] == "ccxt-sandbox":
                self.found: Any = exchange_balance(
                    wanted["venue_account"], wanted["token"], wanted["currency"]
                )
            else:
                endpoint = ENDPOINTS.get(wanted["kind"]) or local(settings.SEP_OANDA_URL)
                self.found = asyncio.run(
                    venue_read(
                        endpoint,
                        wanted["token"],
                        venue_account=wanted["venue_account"],
                        instruments=(wanted["instrument"],),
                        granularity=wanted["granularity"],
                    )
                )
        except (ArgumentError, BrokerError, CannotAdd, DataError, VenueError) as error:
            raise ValidationError(str(error)) from error
        return wanted

    def add(self, *, stored_by: str) -> BrokerAccount:
        """Store the account with everything that it needs.

        Raises:
            ValidationError: this database holds another account, or it cannot be taken over.
        """
        wanted = self.cleaned_data
        try:
            if wanted["kind"] == "ccxt-sandbox":
                return exchange_add(
                    name=wanted["name"],
                    exchange=wanted["venue_account"],
                    token=wanted["token"],
                    currency=wanted["currency"],
                    balance=self.found,
                    now=timezone.now(),
                    stored_by=stored_by,
                )
            return account_add(
                name=wanted["name"],
                kind=wanted["kind"],
                token=wanted["token"],
                state=self.found,
                instruments=(wanted["instrument"],),
                granularity=wanted["granularity"],
                now=timezone.now(),
                stored_by=stored_by,
            )
        except (CannotAdd, OtherBroker, ValueError) as error:
            raise ValidationError(str(error)) from error
