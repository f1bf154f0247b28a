from decimal import Decimal

import numpy as np
import pytest

from sep_engine.errors import ArgumentError
from sep_engine.model.ticks import infer_tick, to_ticks


@pytest.mark.parametrize(
    ("prices", "tick"),
    [
        ([1.05227, 1.0524], "0.00001"),
        ([1.05227, 1.052275], "0.000005"),  # a mid price: half a tick
        ([112.341, 112.3], "0.001"),
        ([97.31, 97.84], "0.01"),
        ([1.10005, 1.10006], "0.00001"),  # within a thousandth of a tick of 0.1, but not on it
        ([46319.0, 46377.0], "1"),
        ([5000.0, 4999.75], "0.25"),
        ([103428.00000000001, 103427.0], "1"),  # binary noise is no finer grid
    ],
)
def test_the_largest_step_that_fits_all_prices_is_the_tick(prices: list[float], tick: str) -> None:
    assert infer_tick(np.array(prices)) == Decimal(tick)


@pytest.mark.parametrize("prices", [[], [np.pi]])
def test_prices_without_a_grid_are_refused(prices: list[float]) -> None:
    with pytest.raises(ArgumentError):
        infer_tick(np.array(prices, dtype=np.float64))


def test_prices_become_whole_ticks() -> None:
    assert to_ticks(np.array([1.05227, 1.0524]), Decimal("0.00001")).tolist() == [105227, 105240]


def test_a_price_off_the_grid_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"row 1 is 1\.05225"):
        to_ticks(np.array([1.052, 1.05225]), Decimal("0.0001"))
