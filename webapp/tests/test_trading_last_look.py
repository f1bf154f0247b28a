"""The trader's last look: what changes between the claim and the send stops the send."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from sep_engine.execution.states import OrderType, Origin, TradingMode
from webapp.tests.conftest import PASSWORD
from webapp.tests.test_trading_trader import own_ledger, play, trader
from webapp.trading import halt_flag
from webapp.trading.brokers.base import OrderRequest, Transaction
from webapp.trading.models import (
    BrokerAccount,
    LiveOverride,
    Order,
    RiskLimit,
    Strategy,
    TradingState,
)
from webapp.trading.services import live_arming
from webapp.trading.services.live_arming import live_arm, live_disarm
from webapp.trading.services.live_gate import override_make
from webapp.trading.services.orders import order_submit
from webapp.trading.trader.trader import Trader

__all__ = ["own_ledger", "trader"]


@pytest.mark.django_db(transaction=True)
def test_d4_e26_whatever_opens_between_the_claim_and_the_send_keeps_the_order_in_the_house(
    trader: Any, alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = ["postgresql"]
    monkeypatch.setattr(live_arming, "database_vendor", lambda: vendor[0])
    written: list[Decimal] = []

    def arm() -> None:
        account = BrokerAccount.objects.get()
        live_arm(
            account=account,
            user=alice,
            proof=PASSWORD,
            confirmation=f"trade real money on {account.name}",
            reason="plan",
            now=timezone.now(),
        )

    def override() -> None:
        strategy = Strategy.objects.get()
        override_make(
            strategy=strategy,
            reason="a month of practice",
            confirmation=strategy.name,
            made_by="alice",
            now=datetime(2000, 1, 1, tzinfo=UTC),  # the gate asks at the replay's time
        )

    def disarm() -> None:
        live_disarm(account=BrokerAccount.objects.get(), changed_by="alice", now=timezone.now())

    def withdraw() -> None:
        LiveOverride.objects.update(withdrawn_at=timezone.now(), withdrawn_by="alice")

    def mode(scope: str, state: TradingMode) -> None:
        TradingState.objects.filter(scope=scope).update(state=state)

    async def steps(one: Trader) -> None:
        await play(one, 1)
        now_s = one.tenure.until_s
        seen = one.quotes["EUR_USD"]

        def quote(age: timedelta) -> None:
            one.quotes["EUR_USD"] = replace(seen, at=timezone.now() - age)

        def lease_until(at_s: float) -> None:
            one.tenure.until_s = at_s

        # What is changed, what changes it back, and what the order says of it.
        changes: list[tuple[Callable[[], object], Callable[[], object], str]] = [
            (lambda: vendor.append(vendor.pop(0).replace("postgresql", "sqlite")),
             lambda: vendor.append(vendor.pop(0).replace("sqlite", "postgresql")),
             "it needs PostgreSQL"),
            (lambda: setattr(settings, "SEP_LIVE_TRADING", False),
             lambda: setattr(settings, "SEP_LIVE_TRADING", True),
             "SEP_LIVE_TRADING is not 1"),
            (lambda: setattr(settings, "SEP_LIVE_ACCOUNT", "001-2"),
             lambda: setattr(settings, "SEP_LIVE_ACCOUNT", "001-1"),
             "SEP_LIVE_ACCOUNT does not name it"),
            (disarm, arm, "is live and not armed"),
            (withdraw, override, "may not trade real money: no verdict"),
            (lambda: halt_flag.put_up("test", by="alice", now=timezone.now()),
             lambda: halt_flag.take_down(seen=halt_flag.reason()), "the kill switch was pulled"),
            (lambda: mode("STRATEGY", TradingMode.REDUCING),
             lambda: mode("STRATEGY", TradingMode.ACTIVE), "the kill switch was pulled"),
            (lambda: mode("ACCOUNT", TradingMode.HALTED),
             lambda: mode("ACCOUNT", TradingMode.ACTIVE), "the kill switch was pulled"),
            (lambda: quote(timedelta(hours=1)), lambda: quote(timedelta(0)),
             "the quote grew too old before the send"),
            # A clock that was set back: how old the quote is is not known.
            (lambda: quote(timedelta(hours=-1)), lambda: quote(timedelta(0)),
             "the quote grew too old before the send"),
            (lambda: lease_until(time.monotonic()), lambda: lease_until(now_s),
             "the account was lost before the send"),
        ]  # fmt: skip
        account = await one.db(BrokerAccount.objects.get)
        account.kind, account.venue_account = "oanda-live", "001-1"
        await one.db(account.save)
        await one.db(arm)
        await one.db(override)
        await one.db(lambda: RiskLimit.objects.filter(name="repeat_pause_s").update(value=0))
        submit, look = one.broker.submit, one.sending.last_look

        async def noted(request: OrderRequest) -> list[Transaction]:
            written.append(request.units)
            return await submit(request)

        one.broker.submit = noted  # type: ignore[method-assign]

        def wish(units: int) -> Order:
            strategy = Strategy.objects.select_related("instrument", "account").get()
            return order_submit(
                account=strategy.account,
                instrument=strategy.instrument,
                strategy=strategy,
                units=Decimal(units),
                type=OrderType.MARKET,
                origin=Origin.RULE,
                stop_distance=Decimal("0.003"),
                now=timezone.now(),
            )

        for number, (change, back, says) in enumerate(changes):
            order = await one.db(wish, 1000 + number)

            def changed(
                order: Order, age_max: Decimal, change: Callable[[], object] = change
            ) -> str:
                change()
                return look(order, age_max)

            quote(timedelta(0))
            one.sending.last_look = changed  # type: ignore[method-assign]
            await one.orders.work()
            await one.db(back)
            await one.db(order.refresh_from_db)
            assert (order.state, written) == ("EXPIRED_UNSENT", []), (says, order.cause)
            assert says in order.cause
        # With nothing changed the same order goes out.
        one.sending.last_look = look  # type: ignore[method-assign]
        quote(timedelta(0))
        await one.db(wish, 900)
        await one.orders.work()

    settings.SEP_LIVE_TRADING, settings.SEP_LIVE_ACCOUNT = True, "001-1"
    trader(steps)
    assert written == [Decimal(900)]
