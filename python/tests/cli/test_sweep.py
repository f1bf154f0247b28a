import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sep_engine.backtest import FIGURES, Costs, Grid, reality_check, sweep
from sep_engine.data import load_sample
from sep_engine.model.hours import TradingHours

Sep = Callable[..., Any]
GRID = """
direction = ["last_bit_reversal", "damped"]
invert = [false, true]
gates = [[], [{ metric = "coherence", percentile = [80, 100] }]]
horizon_bars = [4, 16]
stop_ticks = ["none", 300]
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
        (
            ["--sample", "--grid", "GRID", "--side", "bid"],
            "sep: --side bid: eur_usd_h1 holds ask prices; leave it out",
        ),
        (
            ["--sample", "--grid", "GRID", "--pip", "0.01"],
            "sep: --pip 0.01: that of eur_usd_h1 is 0.0001; leave it out",
        ),
        (
            ["--sample", "--grid", "GRID", "--session", "sat 10:00-11:00 UTC"],
            "sep: --session 'sat 10:00-11:00 UTC': no bar of eur_usd_h1 ends within it",
        ),
    ],
)
def test_it_refuses_in_one_line(sep: Sep, grid: Path, arguments: list[str], message: str) -> None:
    shown = sep("sweep", *(str(grid) if word == "GRID" else word for word in arguments))
    assert shown.code == 2
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1


@pytest.mark.usefixtures("drawn")
def test_a_sweep_within_a_session_is_stored_and_made_again(sep: Sep, grid: Path) -> None:
    hours = "mon-fri 08:00-17:00 Europe/London"
    asked = ("--grid", grid, "--session", hours, "--top", "3", "--surrogates", "19")
    shown = sep("sweep", "--sample", *asked)
    assert shown.code == 0, shown.err
    assert f"entered only within {hours}" in shown.out
    listed = sep("runs", "list", "--json").document
    assert [row["run"].split("-")[:2] for row in listed] == [["sweep", "eur_usd_h1"]]
    assert "32 rules, the best " in listed[0]["result"]
    run = f"runs/{listed[0]['run']}.json"
    stored = sep("runs", "show", run).document
    bars = load_sample().bars
    counts = TradingHours.of(hours).contain(bars.times + 3600 * 10**9)
    found = sweep(bars, Grid.from_toml(grid), Costs(13), side="ask", counts=counts, top=3)
    assert [row["number"] for row in stored["best"]] == found.numbers.tolist()
    assert [row["signals"] for row in stored["best"]] == found.columns["signals"].tolist()
    page = Path(run.replace(".json", ".html")).read_text()
    assert "Europe/London" in page
    assert "Unproven" in page
    assert sep("verify", run).out.endswith("the same, to the last bit\n")
    # The rules are in the run: the file that they were read from may be gone.
    grid.unlink()
    assert sep("verify", run).code == 0
    changed = {**stored, "best": stored["best"][::-1]}
    Path("runs/changed.json").write_text(json.dumps(changed))
    refused = sep("verify", "runs/changed.json")
    assert refused.code == 1
    assert "best[0].number" in refused.out


def test_an_out_that_nothing_can_be_written_to_is_refused_first(sep: Sep, grid: Path) -> None:
    # The data are not there either: that would be told once they are read.
    for command in (["sweep", "--grid", grid], ["backtest"], ["verdict"]):
        shown = sep(*command, "absent.csv", "--spread-pips", "1", "--out", grid)
        assert (shown.code, shown.err) == (2, f"sep: --out {grid}: {grid} is no folder\n")
