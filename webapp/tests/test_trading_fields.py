"""Amounts stay exact on their way through the database."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from webapp.trading.fields import AmountSum
from webapp.trading.models import BrokerAccount, PerformanceSnapshot


@pytest.mark.django_db
def test_d11_amounts_are_added_exactly(sample: Any) -> None:
    account = BrokerAccount.objects.get()
    # In binary64 the sum of these two is 0.480000000000018.
    for realised in ("1000.10", "-999.62"):
        PerformanceSnapshot.objects.create(
            account=account,
            time=datetime(2017, 5, 1, tzinfo=UTC),
            equity=Decimal(1),
            balance=Decimal(1),
            realised_pl=Decimal(realised),
            open_pl=Decimal(0),
            drawdown=Decimal(0),
            trades=0,
            wins=0,
        )
    total = PerformanceSnapshot.objects.aggregate(total=AmountSum("realised_pl"))["total"]
    assert total == Decimal("0.48")
