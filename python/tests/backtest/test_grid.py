from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from sep_engine.backtest import Grid
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
        ({"stops": 3}, "stops is not known; known are encoding, window,"),
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
