"""The account's figures, worked out by hand."""

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from webapp.trading.models import BrokerAccount, EventLog, Feed, PerformanceSnapshot, Position
from webapp.trading.selectors.performance import daily_equity, sharpe
from webapp.trading.services.performance import performance_record

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)


def publish_quote(valkey: Any, bid: str, ask: str) -> None:
    quote = {"time": "2017-05-01T10:00:00Z", "bid": bid, "ask": ask, "mid": bid}
    envelope = {"time": "2026-11-21T12:00:00Z", "data": {"quote": quote}}
    valkey.xadd("sep:events:market.EUR_USD", {"envelope": json.dumps(envelope)})


def test_a_minute_is_written_once(sample: Feed, valkey: Any) -> None:
    publish_quote(valkey, "1.10000", "1.10013")
    Position.objects.create(
        account=BrokerAccount.objects.get(),
        instrument=sample.instrument,
        units=Decimal(-2000),
        average_price=Decimal("1.1"),
    )
    assert performance_record(now=NOW) == 1
    assert performance_record(now=NOW + timedelta(seconds=20)) == 0
    snapshot = PerformanceSnapshot.objects.get()
    # A short position buys back at the ask: (1.10013 - 1.10000) * -2000 = -0.26.
    assert snapshot.open_pl == Decimal("-0.26")
    assert snapshot.equity == Decimal("99999.74")
    assert snapshot.drawdown == Decimal("0.26")
    assert snapshot.time == datetime(2017, 5, 1, 10, tzinfo=UTC)
    assert EventLog.objects.get(stream="performance").data["equity"] == "99999.74"
    assert performance_record(now=NOW + timedelta(seconds=60)) == 1


def test_market_time_does_not_step_back(sample: Feed, valkey: Any) -> None:
    bar_end = datetime(2017, 5, 1, 11, tzinfo=UTC)
    snapshots(BrokerAccount.objects.get(), (bar_end, 100_000))
    publish_quote(valkey, "1.10000", "1.10013")  # of 10:00
    assert performance_record(now=NOW) == 1
    assert list(PerformanceSnapshot.objects.values_list("time", flat=True)) == [bar_end, bar_end]


def test_an_equity_that_is_not_known_is_not_written(sample: Feed, valkey: Any) -> None:
    Position.objects.create(
        account=BrokerAccount.objects.get(),
        instrument=sample.instrument,
        units=Decimal(1000),
        average_price=Decimal("1.1"),
    )
    assert performance_record(now=NOW) == 0
    assert not PerformanceSnapshot.objects.exists()


def snapshots(account: BrokerAccount, *points: tuple[datetime, int]) -> None:
    for time, equity in points:
        PerformanceSnapshot.objects.create(
            account=account,
            time=time,
            equity=Decimal(equity),
            balance=Decimal(equity),
            realised_pl=Decimal(0),
            open_pl=Decimal(0),
            drawdown=Decimal(0),
            trades=0,
            wins=0,
        )


def test_a_day_counts_with_its_last_equity_and_a_replay_that_began_again_alone(
    sample: Feed,
) -> None:
    monday = datetime(2017, 5, 1, 12, tzinfo=UTC)
    account = BrokerAccount.objects.get()
    snapshots(account, (monday, 7), (monday + timedelta(days=1), 8))
    # The replay began again: market time steps back.
    snapshots(
        account,
        (monday, 100),
        (monday + timedelta(hours=1), 101),
        # 21:00 UTC is 17:00 in New York: the next trading day.
        (monday + timedelta(hours=9), 102),
    )
    assert daily_equity(account.pk) == [101.0, 102.0]


def test_the_sharpe_ratio_needs_twenty_days() -> None:
    assert sharpe([100.0 + day for day in range(20)]) is None
    assert sharpe([100.0] * 30) is None


def test_the_sharpe_ratio_of_two_alternating_returns() -> None:
    equity = [100.0]
    for day in range(20):
        equity.append(equity[-1] * (1.03 if day % 2 == 0 else 0.99))
    # Ten returns of +3 % and ten of -1 %: mean 1 %, squared deviations 0.02^2 each, so that the
    # sample deviation is 0.02 * sqrt(20 / 19). sqrt(252) * 0.01 / that:
    expected = math.sqrt(252) * 0.01 / (0.02 * math.sqrt(20 / 19))
    assert sharpe(equity) == pytest.approx(expected)
    assert expected == pytest.approx(7.7363, abs=1e-4)
