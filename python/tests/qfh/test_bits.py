"""Prices to bits, packing, and the tick of a series."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_engine import qfh
from sep_engine.errors import ArgumentError

# Ticks 110, 111, 111, 110, 110, 112: up, flat, down, flat, up.
PRICES = np.array([1.10, 1.11, 1.11, 1.10, 1.10, 1.12])


def test_moves_gives_a_bit_where_the_price_moved() -> None:
    encoded = qfh.encode(PRICES, tick=0.01)
    assert encoded.bits.tolist() == [1, 0, 1]
    assert encoded.index.tolist() == [1, 3, 5]
    assert encoded.joined.tolist() == [False, True, True]


def test_strict_up_counts_flat_as_down() -> None:
    encoded = qfh.encode(PRICES, tick=0.01, encoding="strict_up")
    assert encoded.bits.tolist() == [1, 0, 0, 0, 1]
    assert encoded.index.tolist() == [1, 2, 3, 4, 5]


def test_a_gap_before_a_flat_price_counts_for_the_next_bit() -> None:
    gap = np.array([False, False, False, False, True, False])
    assert qfh.encode(PRICES, tick=0.01, gap=gap).joined.tolist() == [False, True, False]


def test_float_noise_of_a_price_is_no_move() -> None:
    # 0.1 + 0.2 is 0.30000000000000004
    assert qfh.encode(np.array([0.3, 0.1 + 0.2, 0.31]), tick=0.01).bits.tolist() == [1]


@given(st.lists(st.integers(0, 1), max_size=300))
def test_unpack_gives_back_what_was_packed(values: list[int]) -> None:
    bits = np.array(values, dtype=np.uint8)
    words = qfh.pack(bits)
    assert words.dtype == np.uint64
    assert (
        words.tobytes()[: (len(values) + 7) // 8] == np.packbits(bits, bitorder="little").tobytes()
    )
    np.testing.assert_array_equal(qfh.unpack(words, size=len(values)), bits)


def test_unpack_refuses_a_size_beyond_its_words() -> None:
    with pytest.raises(ArgumentError, match=r"size must be in 0\.\.64, was 65"):
        qfh.unpack(np.zeros(1, dtype=np.uint64), size=65)


def test_infer_tick_is_a_float_here() -> None:
    assert qfh.infer_tick(np.array([1.170015, 1.17023, 1.16999])) == 5e-6  # a mid: half a tick


def test_infer_tick_says_when_none_fits() -> None:
    with pytest.raises(ArgumentError, match="none fits"):
        qfh.infer_tick(np.array([1.1, np.pi]))
