from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sep_engine.backtest import FIGURES, Costs, Grid, reality_check, sweep
from sep_engine.data import load_sample

Sep = Callable[..., Any]
GRID = """
direction = ["last_bit_reversal", "damped"]
invert = [false, true]
gates = [[], [{ metric = "coherence", percentile = [80, 100] }]]
horizon_bars = [4, 16]
stop_ticks = ["none", 300]
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def test_it_shows_the_best_rules_of_a_grid(sep: Sep, grid: Path, tmp_path: Path) -> None:
    table = tmp_path / "all.npy"
    shown = sep("sweep", "--sample", "--grid", grid, "--top", "3", "--table", table)
    assert shown.code == 0, shown.err
    assert "32 rules on 6,225 bars" in shown.out
    assert "--surrogates 500 says whether luck does as well" in shown.out
    bars = load_sample().bars
    found = sweep(bars, Grid.from_toml(grid), Costs(13), side="ask")
    for number in found.best("sharpe", 3):
        assert f"│ {number} " in shown.out
    assert np.array_equal(np.load(table), np.stack([found.columns[n] for n in FIGURES], axis=1))


def test_its_document_holds_the_reality_check(sep: Sep, grid: Path) -> None:
    shown = sep("sweep", "--sample", "--grid", grid, "--surrogates", "19", "--seed", "3", "--json")
    document = shown.document
    assert document["rules"] == 32
    check = reality_check(
        load_sample().bars, Grid.from_toml(grid), Costs(13), side="ask", count=19, seed=3
    )
    assert document["reality_check"]["p_value"] == check.p_value
    assert document["best"][0]["number"] == check.best
    assert Grid.from_json(document["grid"]) == Grid.from_toml(grid)


def test_it_tries_costs_and_writes_parquet(sep: Sep, tmp_path: Path) -> None:
    grid, table = tmp_path / "grid.toml", tmp_path / "all.parquet"
    grid.write_text(GRID + 'costs = ["given", { spread_multiple = 3 }]')
    arguments = ("--grid", grid, "--top", "64", "--by", "net_ticks", "--table", table)
    shown = sep("sweep", "--sample", *arguments)
    assert shown.code == 0, shown.err
    assert "64 rules on 6,225 bars" in shown.out
    assert "spread" in shown.out  # "spread x3", in as many lines as the screen has it
    assert "given" in shown.out
    rows = pq.read_table(table).to_pylist()
    assert {row["costs"] for row in rows} == {"given", '{"spread_multiple": "3"}'}
    document = sep("sweep", "--sample", *arguments, "--json").document
    # Rule 32 is rule 0 at 39 ticks of spread in place of 13.
    by_number = {row["number"]: row for row in document["best"]}
    assert by_number[0]["costs"] == "given"
    assert by_number[32]["costs"] == {"spread_multiple": "3"}
    dearer = by_number[32]["gross_ticks"] - by_number[32]["net_ticks"]
    assert dearer == 3 * (by_number[0]["gross_ticks"] - by_number[0]["net_ticks"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample"], "sep: name a grid: --grid grid.toml"),
        (["--sample", "--grid", "absent.toml"], "sep: absent.toml: No such file or directory"),
        (
            ["--sample", "--grid", "GRID", "--by", "luck"],
            "sep: by must be one of sharpe, net_ticks",
        ),
        (["bars.csv", "--grid", "GRID"], "sep: bars.csv: "),
    ],
)
def test_it_refuses_in_one_line(sep: Sep, grid: Path, arguments: list[str], message: str) -> None:
    shown = sep("sweep", *(str(grid) if word == "GRID" else word for word in arguments))
    assert shown.code == 2
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1
