"""`make timing` reads the ledger and counts as it says; how fast anything was is not asked here."""

from typing import Any

import pytest

from tests.timing import Click, Row, judged, percentile, read_click, table

CLICK_NS = 1_700_000_010 * 10**9  # 2023-11-14T22:13:30Z


def line(key: int, second: str, kind: str, **fields: str) -> dict[str, Any]:
    return {"id": str(key), "time": f"2023-11-14T22:13:{second}Z", "type": kind, **fields}


def sent(key: int, second: str, kind: str = "MARKET_ORDER") -> dict[str, Any]:
    return line(key, second, kind, reason="CLIENT_ORDER")


# Two limit orders work at 30 s, one ended before; three sends in the 2 s before, two after.
LEDGER = [
    sent(1, "20.000000000", "LIMIT_ORDER"),
    sent(2, "20.500000000", "LIMIT_ORDER"),
    sent(3, "21.000000000", "LIMIT_ORDER"),
    line(4, "22.000000000", "ORDER_CANCEL", orderID="3"),
    sent(5, "27.900000000"),
    sent(6, "28.000000000"),
    line(7, "28.000000000", "ORDER_FILL", orderID="6", reason="MARKET_ORDER"),
    line(8, "28.000000000", "STOP_LOSS_ORDER", reason="ON_FILL"),
    sent(9, "29.000000000"),
    sent(10, "30.000000000", "MARKET_ORDER_REJECT"),
    sent(11, "30.012000000"),
    sent(12, "30.040500000", "MARKET_ORDER_REJECT"),
    line(13, "30.050000000", "STOP_LOSS_ORDER", reason="ON_FILL"),
    line(14, "30.200000000", "ORDER_CANCEL", orderID="1"),
    line(15, "30.350000000", "ORDER_CANCEL", orderID="2"),
]


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [float(n) for n in range(200, 0, -1)]
    # 100 of 200 are at most 100, 198 of 200 at most 198.
    assert (percentile(values, 50), percentile(values, 99)) == (100.0, 198.0)
    assert percentile([7.0, 3.0, 5.0], 50) == 5.0
    assert percentile([7.0, 3.0, 5.0], 99) == 7.0


def test_a_click_is_read_off_the_ledger() -> None:
    # Sent from 28.0 to 30.0: 6, 9 and the refused 10, in 2 s. After: 11 and the refused 12.
    assert read_click(LEDGER, CLICK_NS, before_s=2.0) == Click(
        rate=1.5, sends_after=2, last_send_ms=40.5, working=2, cancelled_ms=350.0
    )


def test_an_order_that_goes_on_working_is_no_cancel() -> None:
    assert read_click(LEDGER[:-1], CLICK_NS, before_s=2.0).cancelled_ms is None


def test_without_a_send_after_the_click_the_last_one_is_at_zero() -> None:
    found = read_click(LEDGER[:10], CLICK_NS, before_s=2.0)
    assert (found.sends_after, found.last_send_ms) == (0, 0.0)


def test_the_gate_is_timed_on_orders_that_pass_and_on_orders_that_do_not() -> None:
    # Of nine cases two are too large and two are halted.
    row, approved = judged(90)
    assert (len(row.values_ms), approved) == (90, 50)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row("a", "1 s", (1.0, 2.0, 1234.4)), "| a | 1 s | 3 | 2 ms | 1,234 ms | 1,234 ms |  |"),
        (Row("a", "", (), "no venue"), "| a |  | 0 | | | | not measured: no venue |"),
    ],
)
def test_the_table_says_what_was_measured_and_what_was_not(row: Row, text: str) -> None:
    assert text in table([row]).splitlines()
    assert "Not measured: a venue behind a network" in table([row])
