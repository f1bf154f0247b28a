"""sep verdict --trades: trades of the sample's own backtest, written as another bot would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sep_engine.backtest import Costs, run
from sep_engine.cli.text import time_text
from sep_engine.data import load_sample
from sep_engine.report import trades_page
from sep_engine.signals import DEFAULT_RULE

Sep = Callable[..., Any]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    bars = load_sample().bars
    result = run(bars, DEFAULT_RULE, Costs(spread_ticks=13), side="ask")
    rows = ["opened,closed,direction,entry,exit,instrument"]
    rows += [
        f"{time_text(int(bars.times[trade.entry_bar]))},"
        f"{time_text(int(bars.times[trade.exit_bar]))},{trade.direction},"
        f"{trade.entry_ticks / 1e5:.5f},{trade.exit_ticks / 1e5:.5f},EUR_USD"
        for trade in result.trades
    ]
    path = tmp_path / "export.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def arguments(export: Path, tmp_path: Path) -> list[str | Path]:
    return [
        *("verdict", "--sample", "--trades", export, "--spread-pips", "0"),
        *("--tolerance-pips", "1.3", "--surrogates", "19", "--out", tmp_path / "runs"),
    ]


@pytest.mark.usefixtures("drawn")
def test_trades_of_another_program_are_judged(sep: Sep, export: Path, tmp_path: Path) -> None:
    shown = sep(*arguments(export, tmp_path), "--trials", "145", "--json")
    document = shown.document
    assert document["provenance"]["trades"] == 379
    assert document["verdict"]["edge"] is False
    # The same trades as `sep backtest --sample`, which nets -607.70 pips: -1.6034 a trade.
    assert round(document["money"]["net_pips"], 4) == -1.6034
    page = Path(document["page"])
    assert trades_page(document, title="Verdict on export.csv on eur_usd_h1") == page.read_text()
    again = sep("verify", page.with_suffix(".json"))
    assert (again.code, again.err) == (0, "")
    assert "No evidence of edge after costs in these trades." in sep(
        "runs", "list", "--out", tmp_path / "runs"
    ).out.replace("│", "").replace("\n", " ").replace("  ", "")


def test_what_nobody_said_of_the_sample_is_not_said_to_be_given(
    sep: Sep, export: Path, tmp_path: Path
) -> None:
    asked = ("verdict", "--sample", "--trades", export, "--tolerance-pips", "1.3", "--json")
    small = ("--surrogates", "19", "--out", tmp_path / "runs")
    assert sep(*asked, *small).document["costs"]["source"] == "assumed for the sample"
    refused = sep(*asked, *small, "--pip", "0.01")
    assert refused.err == "sep: --pip 0.01: that of eur_usd_h1 is 0.0001; leave it out\n"


def test_the_ledger_counts_every_list_on_the_same_bars(
    sep: Sep, export: Path, tmp_path: Path
) -> None:
    first = sep(*arguments(export, tmp_path), "--trials", "10", "--json").document
    export.write_text("\n".join(export.read_text().splitlines()[:-1]) + "\n")
    second = sep(*arguments(export, tmp_path), "--trials", "10", "--json").document
    assert (first["selection"]["trials"], second["selection"]["trials"]) == (10, 11)
    assert (first["selection"]["look"], second["selection"]["look"]) == (1, 2)


def test_rows_off_the_bars_are_refused_by_line_and_left_out_only_by_name(
    sep: Sep, export: Path, tmp_path: Path
) -> None:
    rows = export.read_text().splitlines()
    rows[3] = rows[3].replace("1.0", "1.3", 1)
    export.write_text("\n".join([*rows, "x"]) + "\n")
    command = arguments(export, tmp_path)
    assert "line 381: bad_trade: other columns than the header" in sep(*command).err
    command += ["--accept", "bad_trade"]
    shown = sep(*command)
    assert shown.code == 2
    assert "line 4: unmatched_trade: opened at 1.3" in shown.err
    document = sep(*command, "--accept", "unmatched_trade", "--trials", "1", "--json").document
    assert document["provenance"]["refused_rows"] == ["bad_trade: 1", "unmatched_trade: 1"]
    (line,) = [one for one in document["verdict"]["lines"] if one["line"]["name"] == "matched"]
    assert (line["value"], line["passed"]) == (2.0, False)


def test_one_instrument_is_chosen_by_name(sep: Sep, export: Path, tmp_path: Path) -> None:
    first, row, *more = export.read_text().splitlines()
    export.write_text("\n".join([first, row.replace("EUR_USD", "GBP_USD"), *more]) + "\n")
    command = arguments(export, tmp_path)
    assert "holds trades of EUR_USD, GBP_USD; choose with --instrument" in sep(*command).err
    document = sep(*command, "--instrument", "EUR_USD", "--json").document
    assert document["provenance"]["left_out_by_instrument"] == 1
    assert "no trade of NZD_USD" in sep(*command, "--instrument", "NZD_USD").err


def test_options_of_trades_without_trades_are_refused(sep: Sep) -> None:
    assert "go with --trades" in sep("verdict", "--sample", "--trials", "3").err


def test_without_a_cost_nothing_after_costs_is_said(
    sep: Sep, export: Path, small: Callable[[int], Path], tmp_path: Path
) -> None:
    # The trades lie on the sample, whose first 6,225 bars are all of it.
    of = ["--prices", small(6225), "--trials", "3", "--surrogates", "19", "--out", tmp_path / "new"]
    document = sep("verdict", "--trades", export, *of, "--json").document
    assert (document["money"]["net_pips"], document["money"]["equity"]) == (None, [])
    assert document["money"]["gross_pips"] is not None
    money = next(line for line in document["verdict"]["lines"] if line["line"]["name"] == "money")
    assert money["reason"] == "nobody said what a round trip costs"
    page = Path(document["page"]).read_text()
    assert "nobody said what it costs: nothing after costs is known, and no verdict passes" in page
