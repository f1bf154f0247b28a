"""sep backtest: strategies in code, hours, and several instruments in one account."""

import csv
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sep_engine.backtest import Costs, run
from sep_engine.data import load_sample
from sep_engine.data.sample import sample_path
from sep_engine.signals import DEFAULT_RULE

Sep = Callable[..., Any]
BARS = sample_path("eur_usd_h1") / "bars.csv"
ALWAYS = """
import numpy as np

class Always:
    horizon_bars = 1
    window = 1

    def prepare(self, bars):
        return {"direction": np.ones(bars.close.size, dtype=np.int8)}
"""


@pytest.fixture
def always(tmp_path: Path) -> Path:
    path = tmp_path / "always.py"
    path.write_text(ALWAYS)
    return path


def rows(bars: int) -> list[tuple[datetime, int]]:
    """Times and opens in ticks of the first bars of the sample."""
    with BARS.open() as file:
        found = list(csv.DictReader(file))[:bars]
    return [
        (datetime.fromisoformat(row["time"]), round(float(row["open"]) * 100_000)) for row in found
    ]


@pytest.mark.usefixtures("drawn")
def test_a_strategy_class_is_traded_by_the_rules_of_the_backtest(
    sep: Sep, small: Callable[[int], Path], always: Path, tmp_path: Path
) -> None:
    command = ["backtest", small(401), "--spread-pips", "1", "--json", "--out", tmp_path / "runs"]
    document = sep(*command, "--strategy", always).document
    # Decided at bars 0, 2, .. 398: in at the open of the next bar, out at the open after it.
    opens = [ticks for _, ticks in rows(401)]
    gross = sum(opens[t + 2] - opens[t + 1] for t in range(0, 399, 2))
    figures = document["figures"]
    assert (figures["signals"], figures["trades"]) == (401, 200)
    assert figures["gross_ticks"] == gross
    # A pip is ten ticks.
    assert figures["net_ticks"] == gross - 2000
    assert document["rule"]["strategy"] == "Always"
    assert "Backtest of Always on" in Path(document["page"]).read_text()
    path = document["page"].replace(".html", ".json")
    assert sep("verify", path).code == 0
    always.write_text(ALWAYS.replace("np.ones", "-np.ones"))
    changed = sep("verify", path)
    assert changed.code == 1
    assert "rule.source_sha256" in changed.out
    assert "give one" in sep(*command, "--strategy", always, "--rule", always).err


def test_nothing_is_entered_outside_the_hours_of_a_session(
    sep: Sep, small: Callable[[int], Path], always: Path, tmp_path: Path
) -> None:
    command = ["backtest", small(400), "--spread-pips", "1", "--json", "--out", tmp_path / "runs"]
    hours = "mon-fri 08:00-10:00 Europe/London"
    document = sep(*command, "--strategy", always, "--session", hours).document
    # Bars of an hour that end at 08:00 and 09:00, in January the same in UTC: those that start at
    # 07:00 and 08:00. The first of each day enters at 08:00 and leaves at 09:00, at the end of
    # which bar, 10:00, nothing is decided any more; so the second decision is passed over.
    counted = [at for at, _ in rows(400) if at.weekday() < 5 and at.hour in (7, 8)]
    assert document["figures"]["signals"] == len(counted)
    assert document["figures"]["trades"] == len({at.date() for at in counted})
    assert document["session"] == hours
    assert hours in Path(document["page"]).read_text()
    assert sep("verify", document["page"].replace(".html", ".json")).code == 0
    never = sep(*command, "--session", "sat 08:00-10:00 UTC")
    assert never.code == 2
    assert "no bar of small.csv ends within it" in never.err


def test_a_verdict_keeps_to_a_session_and_counts_it_as_a_trial_of_its_own(
    sep: Sep, small: Callable[[int], Path], tmp_path: Path, quick_lab: None
) -> None:
    rule = tmp_path / "rule.json"
    rule.write_text(
        '{"direction": "last_bit_reversal", "horizon_bars": 1, "stop_ticks": null, "units": "1"}'
    )
    command = ["verdict", small(400), "--strategy", rule, "--costs", "1.3", "--surrogates", "19"]
    command += ["--folds", "3", "--json", "--out", tmp_path / "runs"]
    whole = sep(*command).document
    within = sep(*command, "--session", "mon-fri 08:00-17:00 Europe/London").document
    assert 0 < within["direction"]["signals"] < whole["direction"]["signals"] / 2
    assert within["causality"]["passed"]
    assert whole["selection"]["trials"] == 1
    assert within["selection"]["trials"] == 2
    assert sep("verify", within["page"].replace(".html", ".json")).code == 0


def test_instruments_share_an_account_and_are_turned_into_its_currency(
    sep: Sep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEP_DATA_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    for name, instrument in (("one", "EUR_USD"), ("two", "GBP_USD"), ("three", "AUD_CAD")):
        said = ("--instrument", instrument, "--vendor", "a vendor", "--licence", "unknown")
        assert sep("data", "import", BARS, name, *said, "--side", "ask").code == 0
    command = ["backtest", "one", "--spread-pips", "1.3", "--json"]
    shared = [*command, "--balance", "10000", "--also", "two"]
    document = sep(*shared).document
    # The same bars under two names: twice the -60.77 USD that 1,000 units lose.
    account = document["account"]
    assert (account["currency"], account["net"]) == ("USD", "-121.54000")
    assert account["instruments"]["GBP_USD"] == {"trades": 379, "net": "-60.77000"}
    assert len(document["also"]) == 1
    assert sep("verify", document["page"].replace(".html", ".json")).code == 0
    missing = sep(*shared, "--also", "three").err
    assert "nothing turns CAD into USD: give --rate with stored data of CAD_USD" in missing
    said = ("--instrument", "USD_CAD", "--vendor", "a vendor", "--licence", "unknown")
    assert sep("data", "import", BARS, "rate", *said, "--side", "ask").code == 0
    turned = sep(*shared, "--also", "three", "--rate", "rate").document["account"]
    # A dollar was 1.03 to 1.21 of the other in that year of these bars: -60.77 of them is less.
    assert turned["instruments"]["EUR_USD"]["net"] == "-60.77000"
    assert -60.77 / 1.03 < float(turned["instruments"]["AUD_CAD"]["net"]) < -60.77 / 1.21
    assert "go with --balance" in sep(*command, "--also", "two").err
    assert "one leg an instrument" in sep(*shared, "--also", "one").err


def test_margin_and_a_weekday_table_of_financing_are_said_by_instrument(
    sep: Sep, small: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEP_DATA_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    for name, instrument in (("one", "EUR_USD"), ("two", "GBP_USD")):
        said = ("--instrument", instrument, "--vendor", "a vendor", "--licence", "unknown")
        assert sep("data", "import", small(600), name, *said, "--side", "ask").code == 0
    command = ["backtest", "one", "--also", "two", "--spread-pips", "1.3", "--json"]
    command += ["--balance", "500"]
    # 1,000 units at 1.03 to 1.08 need 34 to 36 USD at 0.0333: 500 USD are enough. At a half they
    # need 515 and more, so that nothing of GBP_USD is opened.
    margin = ("--margin", "0.0333", "--margin", "GBP_USD=0.5")
    document = sep(*command, *margin).document
    account = document["account"]
    assert account["instruments"]["GBP_USD"]["trades"] == 0
    assert account["instruments"]["EUR_USD"]["trades"] == document["figures"]["trades"] > 20
    assert len(account["skipped"]) == document["figures"]["trades"]
    assert account["skipped"][0].startswith("margin 5")
    assert "is more than the free 4" in account["skipped"][0]
    assert sep("verify", document["page"].replace(".html", ".json")).code == 0
    # 34 USD carry 1,000 units at 3 % of 1.05 to 1.13, 31.5 to 33.9, but no loss: at --closeout 1
    # positions end where what is left is no more than that. At a half none does.
    little = ("backtest", "--sample", "--json", "--balance", "34", "--margin", "0.03")
    account = sep(*little, "--closeout", "1").document["account"]
    equity, used = (Decimal(figure) for figure in re.findall(r"\d+\.\d\d", account["closeouts"][0]))
    assert Decimal("31.5") < equity <= used < Decimal("33.9")
    assert account["trades"] > len(account["closeouts"])
    assert sep(*little).document["account"]["closeouts"] == []
    # Days that count none cost nothing; days that count twice as much cost twice as much.
    paid = [
        Decimal(sep(*command, "--financing=-0.02,-0.02", *table).document["account"]["financing"])
        for table in (
            (),
            ("--financing-days", "2,2,6,2,2,0,0"),
            ("--financing-days", "0,0,0,0,0,0,0", "--financing-days", "EUR_USD=1,1,3,1,1,0,0"),
        )
    ]
    assert paid[0] > 0
    assert round(paid[1] - 2 * paid[0], 12) == 0
    # The other half is GBP_USD, which has the same bars.
    assert round(2 * paid[2] - paid[0], 12) == 0
    for option, text, message in (
        ("--margin", "AUD_USD=0.1", "AUD_USD is not traded; EUR_USD, GBP_USD are"),
        ("--margin", "much", "--margin takes a share of the position's value: 0.0333; was 'much'"),
        ("--margin", "2", "margin_fraction must be in [0, 1], was 2"),
        ("--closeout", "0.5", "--closeout goes with --margin and is a share, 0 to 1"),
        ("--financing-days", "1,1,3", "--financing-days takes seven numbers, Monday to Sunday"),
        ("--financing-days", "1,1,3,1,1,0.5,0", "--financing-days takes whole numbers"),
        ("--financing", "0.01", "--financing takes two rates a year"),
    ):
        assert message in sep(*command, option, text).err
    assert "--margin goes with --balance" in sep("backtest", "one", "--margin", "0.1").err


def test_entries_at_the_close_are_those_of_a_sweep(sep: Sep, tmp_path: Path) -> None:
    command = ["backtest", "--sample", "--json", "--out", tmp_path / "runs"]
    document = sep(*command, "--entry", "close").document
    bars = load_sample().bars
    result = run(bars, DEFAULT_RULE, Costs(13), side="ask", entry="close")
    assert (document["entry"], document["price_side"]) == ("close", "ask")
    assert document["figures"]["net_ticks"] == result.figures.net_ticks
    assert sep("verify", document["page"].replace(".html", ".json")).code == 0
