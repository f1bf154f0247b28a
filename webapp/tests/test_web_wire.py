"""Exact numbers and times as text."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from webapp.trading.wire import decimal_text, money_text, time_text


@pytest.mark.parametrize(
    ("value", "decimals_min", "text"),
    [
        ("1.3000000000", 0, "1.3"),
        ("1.3000000000", 5, "1.30000"),
        ("1.0842515", 5, "1.0842515"),
        ("1E+3", 0, "1000"),
        ("-1000", 0, "-1000"),
        ("0E-10", 0, "0"),
        ("0E-10", 2, "0.00"),
        ("-0.000", 2, "0.00"),
        ("1E-10", 0, "0.0000000001"),
    ],
)
def test_a_decimal_keeps_its_digits_and_loses_only_zeros(
    value: str, decimals_min: int, text: str
) -> None:
    assert decimal_text(Decimal(value), decimals_min=decimals_min) == text


def test_money_has_two_decimals_and_more_where_it_needs_them() -> None:
    assert money_text(Decimal("10000")) == "10000.00"
    assert money_text(Decimal("-0.125")) == "-0.125"


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_what_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        decimal_text(Decimal(value))


def test_a_time_is_written_in_utc() -> None:
    # 14:00 two hours east of Greenwich is 12:00 there.
    east = timezone(timedelta(hours=2))
    assert time_text(datetime(2017, 1, 2, 14, tzinfo=east)) == "2017-01-02T12:00:00Z"
    assert time_text(datetime(2017, 1, 2, 12, 0, 0, 5, tzinfo=UTC)) == "2017-01-02T12:00:00.000005Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        time_text(datetime(2017, 1, 2))  # noqa: DTZ001
