from __future__ import annotations

from sep_engine.report.verdict import _surface


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
