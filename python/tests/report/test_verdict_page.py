from __future__ import annotations

import numpy as np
import pytest

from sep_engine.report.verdict import _periods, _surface


def test_a_surface_has_room_for_many_choices() -> None:
    rules = [
        {"configuration": {"window": window, "horizon_bars": horizon}, "t_value": 0.1 * horizon}
        for window in range(20)
        for horizon in range(6)
    ]
    few = [rule for rule in rules if rule["configuration"]["window"] < 2]  # type: ignore[index]
    assert 'aria-label="Parameter surface"' in _surface(rules, False)
    # Twenty rows of 0.3 inches are 6 inches, 432 points; two rows take the usual height.
    assert 'height="432' in _surface(rules, False)
    assert 'height="432' not in _surface(few, False)


@pytest.mark.parametrize(
    ("days", "period", "periods"),
    [
        (60, "day", 60),
        (61, "week", 10),  # 61 days from Friday the 2nd: January to March 3rd touch ten weeks
        (1000, "month", 33),  # January 2015 to September 2017
        (3000, "quarter", 33),  # to March 2023
        (9000, "year", 25),  # to August 2039
    ],
)
def test_hit_rates_are_drawn_by_the_shortest_period_that_fits(
    days: int, period: str, periods: int
) -> None:
    # 2015-01-02 is 16,437 days after 1970-01-01.
    found, starts, place = _periods(16_437 + np.arange(days))
    assert (found, starts.size) == (period, periods)
    # A period starts on or before its days, and after those of the one before.
    dates = (16_437 + np.arange(days)).astype("datetime64[D]")
    assert (starts[place] <= dates).all()
    assert (starts[place[place > 0] - 1] < dates[place > 0]).all()
