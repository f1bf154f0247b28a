"""Every bad array gives an error that names the argument and the rule."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sep_engine import qfh
from sep_engine.errors import ArgumentError

PRICES = 1.1 + np.arange(200) % 7 * 1e-5
BITS = (np.arange(200) % 3 == 0).astype(np.uint8)

Call = Callable[[Any], object]


def rolling(prices: Any) -> object:
    return qfh.rolling(prices, tick=1e-5)


def encode(prices: Any) -> object:
    return qfh.encode(prices, tick=1e-5)


@pytest.mark.parametrize("call", [rolling, encode, qfh.infer_tick])
@pytest.mark.parametrize(
    ("prices", "error", "message"),
    [
        (PRICES.astype(np.float32), TypeError, "prices must have dtype float64, was <f4"),
        (PRICES.astype(">f8"), TypeError, "prices must have dtype float64, was >f8"),
        (PRICES.astype(object), TypeError, r"prices must have dtype float64, was \|O"),
        (PRICES.astype(np.complex128), TypeError, "prices must have dtype float64"),
        (np.arange(1, 201), TypeError, "prices must have dtype float64, was <i8"),
        (["1.1"] * 200, TypeError, "prices must have dtype float64, was <U3"),
        (PRICES.reshape(2, 100), ArgumentError, r"prices must have one dimension, had shape \(2,"),
        (np.float64(1.1), ArgumentError, r"prices must have one dimension, had shape \(\)"),
        (PRICES[:0], ArgumentError, "prices must not be empty"),
        (PRICES[::-1], ArgumentError, "prices must have a positive stride, was -8 bytes"),
        (np.broadcast_to(1.1, 2**40), ArgumentError, "prices must have a positive stride, was 0"),
        (np.where(np.arange(200) == 7, np.nan, PRICES), ArgumentError, "prices must .*at row 7"),
        (np.where(np.arange(200) == 7, np.inf, PRICES), ArgumentError, "prices must .*at row 7"),
        (np.where(np.arange(200) >= 7, 0.0, PRICES), ArgumentError, "be > 0, was 0.* at row 7"),
        (np.where(np.arange(200) >= 7, -1.1, PRICES), ArgumentError, "be > 0, was -1.1.* at row 7"),
    ],
)
def test_bad_prices_are_refused(
    call: Call, prices: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(prices)


@pytest.mark.parametrize("call", [qfh.rolling_bits, qfh.pack])
@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        (BITS.astype(np.int64), TypeError, "bits must have dtype uint8 or bool, was <i8"),
        (BITS.astype(np.float64), TypeError, "bits must have dtype uint8 or bool"),
        (BITS.reshape(2, 100), ArgumentError, "bits must have one dimension"),
        (BITS[::-1], ArgumentError, "bits must have a positive stride"),
        (BITS * np.uint8(2), ArgumentError, "bits must be 0 or 1, was 2 at row 0"),
    ],
)
def test_bad_bits_are_refused(call: Call, bits: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(bits)


@pytest.mark.parametrize(
    ("gap", "error", "message"),
    [
        (np.zeros(200, dtype=np.uint8), TypeError, "gap must have dtype bool"),
        (np.zeros(199, dtype=np.bool_), ArgumentError, "gap must have one value per price, 200"),
        (np.zeros((200, 1), dtype=np.bool_), ArgumentError, "gap must have one dimension"),
    ],
)
def test_a_bad_gap_mask_is_refused(gap: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        qfh.rolling(PRICES, tick=1e-5, gap=gap)


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        (7, ArgumentError, "window must be in 8..1024, was 7"),
        (1025, ArgumentError, "window must be in 8..1024, was 1025"),
        (200, ArgumentError, "200 bits need 201 prices, had 200"),
        (64.0, TypeError, "window must be an int, was float"),
        (True, TypeError, "window must be an int, was bool"),
    ],
)
def test_a_bad_window_is_refused(window: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        qfh.rolling(PRICES, tick=1e-5, window=window)


def test_a_window_longer_than_the_bits_is_refused() -> None:
    with pytest.raises(ArgumentError, match="64 bits need 64 bits, had 63"):
        qfh.rolling_bits(BITS[:63])


@pytest.mark.parametrize("tick", [0.0, -1e-5, float("nan"), float("inf")])
def test_a_bad_tick_is_refused(tick: float) -> None:
    with pytest.raises(ArgumentError, match="tick must be finite and > 0"):
        qfh.rolling(PRICES, tick=tick)


def test_a_price_off_the_tick_is_refused_by_its_row() -> None:
    prices = PRICES.copy()
    prices[[31, 60]] += 4e-6
    with pytest.raises(
        ArgumentError, match=r"multiples of tick .* within 1e-3 of it, .* at row 31"
    ):
        qfh.rolling(prices, tick=1e-5)


def test_a_read_only_array_and_a_column_of_a_table_are_welcome() -> None:
    expected = qfh.rolling(PRICES, tick=1e-5).damped
    frozen = PRICES.copy()
    frozen.flags.writeable = False
    table = np.column_stack([PRICES, PRICES * 2])
    for prices in (frozen, table[:, 0], PRICES.tolist()):
        np.testing.assert_array_equal(qfh.rolling(prices, tick=1e-5).damped, expected)


def test_bool_and_uint8_bits_are_the_same() -> None:
    a, b = qfh.rolling_bits(BITS), qfh.rolling_bits(BITS.astype(np.bool_))
    assert a.damped.tobytes() == b.damped.tobytes()
