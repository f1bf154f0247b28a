from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from sep_engine.backtest import Costs, CostsChange, Grid
from sep_engine.errors import RuleError
from sep_engine.signals import Gate, Rule

COHERENT = Gate("coherence", "percentile", 80.0, 100.0)
GRID = Grid(
    direction=("last_bit_reversal", "damped"),
    invert=(False, True),
    gates=((), (COHERENT,)),
    entry=("open", "close"),
    horizon_bars=(1, 4, 16),
    stop_ticks=(None, 300),
)
TEXT = """
direction = ["last_bit_reversal", "damped"]
invert = [false, true]
gates = [[], [{ metric = "coherence", percentile = [80, 100] }]]
entry = ["open", "close"]
horizon_bars = [1, 4, 16]
stop_ticks = ["none", 300]
"""


def test_it_numbers_the_combinations_with_the_last_part_fastest() -> None:
    # 2 directions * 2 inversions * 2 gates * 2 entries * 3 horizons * 2 stops.
    assert len(GRID) == 96
    assert GRID.decisions == 8
    assert GRID.exits == 12
    # 61 = ((((1 * 2 + 0) * 2 + 1) * 2 + 0) * 3 + 0) * 2 + 1: damped, plain, gated, open, 1 bar.
    assert GRID.rule(61) == Rule(
        direction="damped",
        gates=(COHERENT,),
        horizon_bars=1,
        stop_ticks=300,
        units=Decimal(1000),
    )
    assert GRID.entry_of(61) == "open"
    # Six further is the next entry: 3 horizons * 2 stops.
    assert GRID.entry_of(67) == "close"
    assert GRID.rule(67) == GRID.rule(61)


def test_every_number_leads_to_its_rule_and_back() -> None:
    numbers = [GRID.number(rule, entry=GRID.entry_of(k)) for k, rule in enumerate(GRID.rules())]
    assert numbers == list(range(96))


def test_a_toml_file_reads_as_the_grid_that_it_says(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(TEXT)
    assert Grid.from_toml(path) == GRID
    assert Grid.from_json(GRID.to_json()) == GRID


def test_costs_are_the_slowest_part() -> None:
    grid = Grid.from_json(
        {
            **GRID.to_json(),
            "costs": [
                "given",
                {"spread_multiple": 2.5},
                {"spread_ticks": 7, "per_side_ticks": 1},
            ],
        }
    )
    assert len(grid) == 3 * 96
    assert grid.rule(96 + 61) == GRID.rule(61)
    assert grid.number(GRID.rule(61), costs=CostsChange(Decimal("2.5"))) == 96 + 61
    given = Costs(np.array([2, 3]), 4)
    # Two and a half times 3 ticks are 7.5; halves go up.
    doubled = grid.costs_of(100, given)
    assert np.asarray(doubled.spread_ticks).tolist() == [5, 8]
    assert doubled.per_side_ticks == 4
    assert grid.costs_of(200, given).spread_ticks == 7
    assert grid.costs_of(200, given).per_side_ticks == 1
    assert Grid.from_json(grid.to_json()) == grid


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("double", 'costs must be "given" or a table of spread_multiple'),
        ({}, 'costs must be "given" or a table of spread_multiple'),
        ({"spread": 2}, 'costs must be "given" or a table of spread_multiple'),
        ({"spread_ticks": 1.5}, "costs: spread_ticks must be a whole number, was 1.5"),
        ({"spread_ticks": -1}, "costs: spread_ticks must be >= 0, was -1"),
        ({"spread_multiple": "x"}, "costs: spread_multiple must be a number, was 'x'"),
        ({"spread_multiple": "nan"}, "costs: spread_multiple must be in 0..1000 with at most 6"),
        ({"spread_multiple": 1e-7}, "costs: spread_multiple must be in 0..1000 with at most 6"),
        (
            {"spread_multiple": 2, "spread_ticks": 1},
            "costs: spread_ticks and spread_multiple exclude each other",
        ),
    ],
)
def test_it_refuses_costs_that_are_none(choice: object, message: str) -> None:
    with pytest.raises(RuleError) as refused:
        Grid.from_json({**GRID.to_json(), "costs": [choice]})
    assert str(refused.value).startswith(message)


def test_a_single_value_and_a_single_list_of_gates_stand_for_a_list_of_one() -> None:
    gate = {"metric": "entropy", "value": [0.0, 0.9]}
    grid = Grid.from_json(
        {"direction": "damped", "horizon_bars": 4, "stop_ticks": "none", "gates": [gate]}
    )
    assert grid == Grid(
        direction=("damped",),
        horizon_bars=(4,),
        stop_ticks=(None,),
        gates=((Gate("entropy", "value", 0.0, 0.9),),),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": []}, "window must be a tuple of at least one choice, was ()"),
        ({"window": [64, 64]}, "window must hold a choice once, holds 64 twice"),
        ({"window": [64, 7]}, "window must be a whole number in 8..1024, was 7"),
        ({"entry": "high"}, "entry must be one of open, close; was 'high'"),
        ({"encoding": ["moves", "strict_up"]}, "gates[0]: encoding 'strict_up' has no coin"),
        (
            {"window": [64, 16], "gates": [[{"metric": "collapse", "value": [0, 0]}]]},
            "gates[0]: collapse needs a window of at least 32, was 16",
        ),
        ({"stops": 3}, "stops is not known; known are costs, encoding, window,"),
        ({"gates": "all"}, "gates must be a list of lists of gates, was 'all'"),
        ({"gates": [[], [{"metric": "flip"}]]}, "gates[0] must have either percentile or value"),
        ({"units": 5}, "units must be a string such as '1000', was 5"),
        ({"horizon_bars": [1, "none"]}, "horizon_bars must be a whole number in 1..10000"),
    ],
)
def test_it_refuses_what_is_no_grid_in_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(RuleError) as refused:
        Grid.from_json({**GRID.to_json(), **change})
    assert message in str(refused.value)


def test_it_names_the_file_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("direction = 'damped'")
    with pytest.raises(RuleError, match=r"grid.toml: horizon_bars is missing"):
        Grid.from_toml(path)
    path.write_text("direction = ")
    with pytest.raises(RuleError, match=r"grid.toml: not TOML: "):
        Grid.from_toml(path)
    with pytest.raises(RuleError, match=r"other.toml: No such file"):
        Grid.from_toml(tmp_path / "other.toml")


def test_it_says_what_is_not_in_the_grid() -> None:
    with pytest.raises(RuleError, match="horizon_bars 2 is not in the grid"):
        GRID.number(replace(GRID.rule(0), horizon_bars=2))
    with pytest.raises(IndexError, match=r"rule number must be in 0..95, was 96"):
        GRID.rule(96)
