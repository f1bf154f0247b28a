import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import sep_engine
from sep_engine.data import load_sample
from sep_engine.data.sample import sample_path

Sep = Callable[..., Any]
Small = Callable[[int], Path]
SAMPLE_CSV = sample_path("eur_usd_h1") / "bars.csv"


def test_help_names_every_command(sep: Sep) -> None:
    shown = sep("--help")
    assert shown.code == 0
    for command in ("analyze", "backtest", "data", "info"):
        assert command in shown.out


def test_the_version_is_that_of_the_engine(sep: Sep) -> None:
    assert sep("--version").out == f"sep {sep_engine.__version__}\n"


def test_info_names_every_backend(sep: Sep) -> None:
    found = {one["name"]: one["available"] for one in sep("info", "--json").document["backends"]}
    assert found == {one.name: one.available for one in sep_engine.backends()}
    assert found["scalar"] is True
    assert "scalar" in sep("info").out


def test_analyze_prints_the_latest_metrics(sep: Sep) -> None:
    shown = sep("analyze", "--sample")
    assert shown.code == 0
    assert "tick 0.00001, encoding moves, window 64" in shown.out
    assert "coherence" in shown.out


def test_analyze_infers_the_tick_and_says_so(sep: Sep, small: Small) -> None:
    shown = sep("analyze", small(200))
    assert "tick 0.00001 (inferred)" in shown.out


def test_analyze_gives_the_numbers_of_the_engine(sep: Sep) -> None:
    bars = load_sample().bars
    metrics = sep_engine.qfh.rolling(bars.close, tick=1e-5, window=32)
    document = sep("analyze", "--sample", "--window", "32", "--json").document
    rows = {row["metric"]: row for row in document["metrics"]}
    assert rows["coherence"]["latest"] == metrics.coherence[-1]
    assert rows["coherence"]["latest_percentile"] == metrics.percentile("coherence")[-1]
    assert rows["lambda"]["latest"] == metrics.lambda_[-1]
    assert (document["rows"], document["gaps"], document["window"]) == (6_225, 0, 32)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_analyze_writes_every_row(sep: Sep, small: Small, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    assert sep("analyze", small(100), "--out", out).code == 0
    if suffix == "parquet":
        table = pq.read_table(out)
        assert table.num_rows == 100
        assert {"time", "close", "entropy", "lambda", "coherence_percentile"} <= set(
            table.column_names
        )
        entropy = sep_engine.qfh.rolling(load_sample().bars.close[:100], tick=1e-5).entropy
        assert table["entropy"].null_count == np.isnan(entropy).sum()
    else:
        header, *rows = out.read_text().splitlines()
        assert header.startswith("time,close,null_ratio")
        assert len(rows) == 100


def test_analyze_takes_quotes_by_their_mid(sep: Sep, tmp_path: Path) -> None:
    rows = [
        f"2017-01-02T07:{minute:02}:00Z,1.1000{minute % 3},1.1001{minute % 3}"
        for minute in range(20)
    ]
    path = tmp_path / "quotes.csv"
    path.write_text("\n".join(["time,bid,ask", *rows]) + "\n")
    document = sep("analyze", path, "--window", "8", "--json").document
    # Mids are 1.10005, 1.10006, 1.10007: on the grid of the quotes here.
    assert document["tick"] == "0.00001"
    assert document["metrics"][0]["latest"] is not None


def test_data_check_reports_findings_and_fails_on_errors(sep: Sep, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    row = "2017-01-02T07:00:00Z,1.1,1.1,1.1,1.1\n"
    path.write_text("time,open,high,low,close\n" + row + row + "2017-01-02T08:00:00Z,x,1,1,1\n")
    shown = sep("data", "check", path)
    assert shown.code == 1
    assert "error: duplicate_time" in shown.out
    document = sep("data", "check", path, "--json").document
    errors = [(found["kind"], found["first_line"]) for found in document["findings"]][:2]
    assert errors == [("bad_row", 4), ("duplicate_time", 3)]


def test_data_check_passes_the_sample(sep: Sep) -> None:
    shown = sep("data", "check", "--sample")
    assert shown.code == 0
    assert "0 bars missing in open hours" in shown.out


@pytest.mark.usefixtures("drawn")
def test_backtest_prints_and_plots(sep: Sep, tmp_path: Path) -> None:
    shown = sep("backtest", "--sample", "--out", tmp_path)
    assert shown.code == 0
    assert "assumed spread 1.30 pips" in shown.out
    assert "Unproven: no evidence of edge after costs." in shown.out
    (page,) = tmp_path.glob("*.html")
    assert f"Wrote {page}" in shown.out.replace("\n", "")


def test_backtest_gives_its_figures_as_json(sep: Sep, tmp_path: Path) -> None:
    document = sep("backtest", "--sample", "--out", tmp_path, "--json").document
    assert document["figures"]["trades"] == 379
    assert document["figures"]["net_ticks"] == -6_077
    assert document["verdict"] == "unproven"
    stored = json.loads(Path(document.pop("page")).with_suffix(".json").read_text())
    assert document.pop("trials") == 1
    assert stored.pop("run")["command"] == "backtest"
    assert stored == document


@pytest.mark.usefixtures("drawn")
def test_the_same_backtest_gives_the_same_bytes(sep: Sep, small: Small, tmp_path: Path) -> None:
    path = small(400)
    pages = []
    for name in ("one", "two"):
        sep("backtest", path, "--side", "ask", "--spread-pips", "1", "--out", tmp_path / name)
        (page,) = (tmp_path / name).glob("*.html")
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]


def test_backtest_takes_a_rule_and_a_spread_series(sep: Sep, small: Small, tmp_path: Path) -> None:
    path = small(300)
    rule = tmp_path / "rule.json"
    rule.write_text(
        '{"direction": "run_persistence", "horizon_bars": 1, "stop_ticks": null, "units": "1"}'
    )
    quotes = tmp_path / "quotes.csv"
    lines = path.read_text().splitlines()[1:]
    times = [line.split(",")[0] for line in lines]
    quotes.write_text("time,bid,ask\n" + "".join(f"{time},1.0,1.0002\n" for time in times))
    document = sep(
        *("backtest", path, "--rule", rule, "--quotes", quotes, "--side", "bid"),
        *("--out", tmp_path, "--json"),
    ).document
    assert document["rule"]["direction"] == "run_persistence"
    rule.write_text(f"[{rule.read_text()}]")
    again = sep("backtest", path, "--rule", rule, "--quotes", quotes, "--out", tmp_path, "--json")
    assert again.document["rule"] == document["rule"]
    # Both files carry no zone: the one that is named holds for both.
    for file in (path, quotes):
        file.write_text(file.read_text().replace("Z,", ","))
    local = ("--rule", rule, "--quotes", quotes, "--time-zone", "UTC", "--side", "bid")
    zoned = sep("backtest", path, *local, "--out", tmp_path, "--json").document
    assert zoned["content_sha256"] == document["content_sha256"]
    rule.write_text("[]")
    refused = sep("backtest", path, "--rule", rule, "--quotes", quotes)
    assert refused.err == f"sep: {rule}: holds 0 rules; a backtest takes one\n"
    assert document["costs"] == {
        "spread_ticks": 20.0,
        "spread_is_series": True,
        "per_side_ticks": 0,
        "assumed_spread": False,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyze", "nothing.csv"], "nothing.csv: No such file or directory"),
        (["analyze"], "name a FILE, or ask for the data that comes along with --sample"),
        (["analyze", "a.csv", "--sample"], "name a FILE"),
        (["analyze", "--sample", "--window", "5"], "window must be in 8..1024, was 5"),
        (["analyze", "--sample", "--window", "x"], "--window"),
        (["analyze", "--sample", "--encoding", "morse"], "--encoding must be one of moves"),
        (["analyze", "--sample", "--out", "x.doc"], "must end in .parquet or .csv"),
        (["analyze", "--sample", "--tick", "-1"], "sample is read as it comes, without --tick"),
        (["analyze", "--sample", "--calendar", "moon"], "without --calendar"),
        (["analyze", "--sample", "--accept", "bad"], "without --accept"),
        (["analyze", str(SAMPLE_CSV), "--time-zone", "Mars/Base"], "use a name such as UTC"),
        (["analyze", str(SAMPLE_CSV), "--columns", "a,b"], "2 names given"),
        (["dance"], "No such command 'dance'; see sep --help"),
        (["verify"], "Missing argument 'RUN'; see sep verify --help"),
        (["data", "delete", "nothing"], "no data set nothing"),
        (["backtest", str(SAMPLE_CSV)], "say what the spread is"),
        (
            ["backtest", str(SAMPLE_CSV), "--spread-pips", "-1"],
            "--spread-pips must be in 0..1,000,000, was -1",
        ),
        (["backtest", str(SAMPLE_CSV), "--spread-pips", "1.33"], "whole number of ticks"),
        (["backtest", str(SAMPLE_CSV), "--spread-pips", "1", "--side", "up"], "--side must be"),
        (["backtest", "--sample", "--rule", str(SAMPLE_CSV)], "not JSON"),
        (["analyze", str(SAMPLE_CSV), "--tick", "zero"], "--tick must be a number"),
        (["analyze", str(SAMPLE_CSV), "--calendar", "moon"], "calendar must be one of"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(
    sep: Sep, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = sep(*arguments)
    assert shown.code == 2
    assert shown.out == ""
    assert shown.err.startswith("sep: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["analyze --sample --json", "analyze --sample", "info"])
def test_a_reader_that_has_enough_is_no_error(words: str) -> None:
    # What is left is more than nothing for each: the pipe is closed when it comes.
    command = f"{sys.executable} -m sep_engine.cli {words} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_figures_are_whole_in_a_narrow_terminal(sep: Sep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = sep("analyze", "--sample").out
    assert "│ coherence       │  0.0437 │       84.9 │ 0.0276 │ 0.0233 │   9.3% │ 5.1% │" in shown
    assert "…" not in shown
    # Prose keeps to the terminal all the same.
    assert max(map(len, shown.splitlines()[:3])) <= 40


def test_the_best_of_a_sweep_are_whole_in_an_ordinary_terminal(
    sep: Sep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    grid = tmp_path / "grid.toml"
    grid.write_text(
        'direction = ["last_bit_reversal", "damped"]\ninvert = [false, true]\n'
        "horizon_bars = [4, 16]\nstop_ticks = [300, 600]\n"
    )
    shown = sep("sweep", "--sample", "--grid", grid, "--out", tmp_path).out
    assert "last_bit_reversal" in shown
    assert "Sharpe" in shown
    assert "…" not in shown


@pytest.mark.parametrize("group", ["", "data", "data download", "runs", "study"])
def test_a_group_without_a_command_shows_its_help_alone(sep: Sep, group: str) -> None:
    shown = sep(*group.split())
    assert (shown.code, shown.err) == (2, "")
    assert f"Usage: {' '.join(['sep', *group.split()])} [OPTIONS] COMMAND" in shown.out


def test_the_shell_completes_commands() -> None:
    asked = {"_SEP_COMPLETE": "complete_bash", "COMP_WORDS": "sep ba", "COMP_CWORD": "1"}
    sep = Path(sys.executable).with_name("sep")
    done = subprocess.run(
        [sep], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["backtest"]


def test_help_does_not_import_what_only_work_needs() -> None:
    code = (
        "import sys; from sep_engine.cli import app; "
        "print([n for n in ('pyarrow', 'matplotlib', 'scipy', 'django') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
