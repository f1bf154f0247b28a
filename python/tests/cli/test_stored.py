import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Sep = Callable[..., Any]


@pytest.fixture
def run(sep: Sep, small: Callable[[int], Path], tmp_path: Path) -> Callable[..., Path]:
    """Make a backtest and return its document's path."""

    def make(*options: str) -> Path:
        out = tmp_path / "runs"
        arguments = ("--side", "ask", "--spread-pips", "1.3", "--out", out, "--json", *options)
        document = sep("backtest", small(400), *arguments).document
        return Path(document["page"]).with_suffix(".json")

    return make


def test_a_run_comes_out_the_same_to_the_last_bit(sep: Sep, run: Callable[..., Path]) -> None:
    path = run()
    shown = sep("verify", path)
    assert shown.code == 0
    assert shown.out == f"{path.stem}: the same, to the last bit\n"


def test_a_run_is_found_by_its_twelve_digits(sep: Sep, run: Callable[..., Path]) -> None:
    path = run()
    assert sep("verify", path.stem[-12:], "--out", path.parent).code == 0


def test_a_figure_that_was_changed_is_named(sep: Sep, run: Callable[..., Path]) -> None:
    path = run()
    document = json.loads(path.read_text())
    true = document["figures"]["net_ticks"]
    document["figures"]["net_ticks"] = true + 1
    path.write_text(json.dumps(document))
    shown = sep("verify", path)
    assert shown.code == 1
    assert f"figures.net_ticks: stored {true + 1}, now {true}" in shown.out


def test_data_that_changed_since_is_found(
    sep: Sep, run: Callable[..., Path], tmp_path: Path
) -> None:
    path = run()
    data = tmp_path / "small.csv"
    data.write_text(data.read_text().replace("1.05227", "1.05228", 1))
    shown = sep("verify", path)
    assert shown.code == 1
    assert "content_sha256: stored" in shown.out


def test_a_verdict_comes_out_the_same_to_the_last_bit(
    sep: Sep, small: Callable[[int], Path], tmp_path: Path, quick_lab: None
) -> None:
    rule = tmp_path / "rule.json"
    rule.write_text('{"direction": "balance", "horizon_bars": 1, "stop_ticks": null, "units": "1"}')
    document = sep(
        *("verdict", small(300), "--strategy", rule, "--spread-pips", "1", "--surrogates", "19"),
        *("--folds", "2", "--out", tmp_path / "runs", "--json"),
    ).document
    shown = sep("verify", Path(document["page"]).with_suffix(".json"))
    assert (shown.code, shown.err) == (0, "")


def test_runs_are_listed_with_their_results(sep: Sep, run: Callable[..., Path]) -> None:
    path = run()
    rows = sep("runs", "list", "--out", path.parent, "--json").document
    figures = json.loads(path.read_text())["figures"]
    result = f"{figures['trades']} trades, net {figures['net_ticks']:+,} ticks"
    assert rows == [{"run": path.stem, "result": result}]
    assert "No runs in" in sep("runs", "list", "--out", path.parent / "none").out


def test_two_runs_are_compared_figure_by_figure(sep: Sep, run: Callable[..., Path]) -> None:
    one, other = run(), run("--cost-pips", "0.1")
    differences = sep("runs", "compare", one, other, "--json").document
    assert {"a": "costs.per_side_ticks", "b": 0, "c": 1} in differences
    assert sep("runs", "compare", one, one).out == "No difference.\n"


def test_the_table_of_a_comparison_counts_the_values_of_lists(sep: Sep, tmp_path: Path) -> None:
    for name, equity, net in (("one", [1, 2, 3], 3), ("two", [1, 4, 6], 6)):
        document = {
            "net": net,
            "mean": net / 7,
            "last": 0.1 + net / 1e17,
            "seed": 1,
            "money": {"equity": equity, "band": equity[: net // 3]},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    shown = sep("runs", "compare", tmp_path / "one.json", tmp_path / "two.json").out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines()]
    # Two of the three values of one list differ; the other list has another length.
    assert [row for row in rows if row] == [
        ["last", "0.10000000000000003", "0.10000000000000006"],
        ["mean", "0.428571", "0.857143"],
        ["money.band", "1 values", "2 values"],
        ["money.equity", "2 values differ", ""],
        ["net", "3", "6"],
    ]
    assert " one " in shown


def test_a_deleted_run_is_gone_with_its_page(sep: Sep, run: Callable[..., Path]) -> None:
    path = run()
    assert sep("runs", "delete", path, "--yes").code == 0
    # What was tried stays known.
    assert [left.name for left in path.parent.iterdir()] == ["ledger.sqlite3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no run of sep backtest, sep sweep or sep verdict"),
        ("[]", "no run"),
        ("{", "not JSON"),
        ('{"run": {"command": "dance", "options": {"accept": []}}}', "another version of sep"),
        ('{"run": {"command": "verdict", "options": {"accept": []}}}', "another version of sep"),
    ],
)
def test_a_file_that_is_no_run_is_one_line(
    sep: Sep, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    shown = sep("verify", path)
    assert shown.code == 2
    assert message in shown.err


def test_an_unknown_run_is_one_line(sep: Sep, tmp_path: Path) -> None:
    assert "0 runs end in 'abc'" in sep("verify", "abc", "--out", tmp_path).err
