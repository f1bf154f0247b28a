"""sep verdict, on the first bars of the sample and with few worlds: the lab has its own tests."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sep_engine.ledger import Ledger
from sep_engine.report import verdict_page

Sep = Callable[..., Any]
Arguments = Callable[[Path], list[str | Path]]

RULE = '{"direction": "last_bit_reversal", "horizon_bars": 1, "stop_ticks": null, "units": "1"}'
BREAKOUT = Path(__file__).with_name("breakout.py")


@pytest.fixture
def arguments(small: Callable[[int], Path], tmp_path: Path, quick_lab: None) -> Arguments:
    def made(strategy: Path) -> list[str | Path]:
        return [
            *("verdict", small(400), "--strategy", strategy),
            *("--spread-pips", "1.3", "--surrogates", "19", "--folds", "3"),
            *("--out", tmp_path / "runs"),
        ]

    return made


def written(tmp_path: Path, text: str, name: str = "rules.json") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    other = RULE.replace("reversal", "momentum")
    return written(tmp_path, f"[{RULE}, {other}]")


@pytest.mark.usefixtures("drawn")
def test_a_verdict_is_a_line_a_table_and_a_page(
    sep: Sep, arguments: Arguments, tmp_path: Path, rules: Path
) -> None:
    shown = sep(*arguments(rules))
    assert shown.code == 0
    assert shown.out.startswith("No evidence of edge after costs.\n")
    for section in ("provenance", "causality", "controls", "direction", "money", "selection"):
        assert section in shown.out
    (page,) = (tmp_path / "runs").glob("*.html")
    text = page.read_text()
    assert "No evidence of edge after costs." in text
    # 400 hours are 16 trading days of 24 and a part: few enough to show each; equity has them all.
    assert 'aria-label="Hit rate by day"' in text
    money = json.loads(page.with_suffix(".json").read_text())["money"]
    assert len(money["days"]) == len(money["equity"]) == 17
    for number, name in enumerate(
        ("Provenance", "Causality", "Negative controls", "Direction", "Money", "Selection"), 1
    ):
        assert f"{number}. {name}" in text
    # The page is drawn from the document alone: a stored run gives it again.
    document = json.loads(page.with_suffix(".json").read_text())
    by_chance = document["direction"]["pesaran_timmermann"]["expected_hit_rate"]
    assert f"as many rises</th><td>{by_chance:.3g}</td>" in text
    assert verdict_page(document, title="Verdict on 2 rules on small.csv") == text


def test_a_backend_changes_nothing_but_the_line_that_names_it(
    sep: Sep, arguments: Arguments, tmp_path: Path, rules: Path
) -> None:
    shown = sep(*arguments(rules), "--backend", "scalar")
    assert "Null worlds: scalar. Causality gate on a GPU: not compared: " in shown.out
    (stored,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(stored.read_text())["computed_on"]["worlds"] == "scalar"
    assert "the same, to the last bit" in sep("verify", stored).out
    refused = sep(*arguments(rules), "--backend", "gpu")
    assert "--backend must be one of auto, scalar, simd, cuda; was 'gpu'" in refused.err


def test_every_look_is_counted_in_the_ledger(
    sep: Sep, arguments: Arguments, tmp_path: Path, rules: Path
) -> None:
    first = sep(*arguments(rules), "--json").document
    single = written(tmp_path, RULE.replace('"horizon_bars": 1', '"horizon_bars": 2'), "one.json")
    second = sep(*arguments(single), "--json").document
    assert (first["selection"]["trials"], first["selection"]["look"]) == (2, 1)
    assert (second["selection"]["trials"], second["selection"]["look"]) == (3, 2)
    with Ledger(tmp_path / "runs" / "ledger.sqlite3") as ledger:
        assert ledger.verify() == 3


def test_what_was_swept_and_traded_back_counts_for_the_verdict(
    sep: Sep, arguments: Arguments, small: Callable[[int], Path], tmp_path: Path
) -> None:
    grid = written(
        tmp_path,
        'direction = ["last_bit_reversal", "last_bit_momentum"]\nhorizon_bars = [1, 4]\n'
        'stop_ticks = "none"\ncosts = ["given", { spread_multiple = 2 }]\n',
        "grid.toml",
    )
    on = [small(400), "--spread-pips", "1.3", "--out", tmp_path / "runs"]
    # Two ways by two horizons; what they cost is no choice of a rule.
    assert sep("sweep", *on, "--grid", grid, "--json").document["trials"] == 4
    one = written(tmp_path, RULE.replace('"horizon_bars": 1', '"horizon_bars": 2'), "one.json")
    shown = sep("backtest", *on, "--rule", one)
    assert f"5 configurations tried on these bars by now ({tmp_path}/runs/" in shown.out
    # The rule of a verdict that was in the grid is nothing new, the look is.
    judged = sep(*arguments(written(tmp_path, f"[{RULE}]")), "--folds", "8", "--json").document
    assert (judged["selection"]["trials"], judged["selection"]["look"]) == (5, 3)


def test_a_large_grid_is_one_row_that_counts_as_its_rules(
    sep: Sep, small: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sep_engine.cli.sweep.RULES_RECORDED_MAX", 3)
    grid = written(
        tmp_path,
        'direction = ["last_bit_reversal", "last_bit_momentum"]\nhorizon_bars = [1, 4]\n'
        'stop_ticks = "none"\n',
        "grid.toml",
    )
    command = ["sweep", small(400), "--spread-pips", "1.3", "--out", tmp_path, "--grid", grid]
    assert sep(*command, "--json").document["trials"] == 4
    with Ledger(tmp_path / "ledger.sqlite3") as ledger:
        assert ledger.verify() == 1


def test_another_seed_and_other_folds_are_looks_too(
    sep: Sep, arguments: Arguments, tmp_path: Path
) -> None:
    rule = written(tmp_path, f"[{RULE}]")
    counts = []
    for more in ([], ["--seed", "5"], ["--folds", "4"], []):
        chosen = sep(*arguments(rule), *more, "--json").document["selection"]
        counts.append((chosen["trials"], chosen["look"]))
    # Folds of walk-forward are a choice that is tried; a seed is luck that is tried again.
    assert counts == [(1, 1), (1, 2), (2, 3), (2, 1)]


def test_a_ledger_that_was_tampered_with_gives_no_verdict(
    sep: Sep, arguments: Arguments, tmp_path: Path, rules: Path
) -> None:
    sep(*arguments(rules))
    ledger = tmp_path / "runs" / "ledger.sqlite3"
    with closing(sqlite3.connect(ledger)) as file:
        file.execute("DROP TRIGGER trial_is_never_deleted")
        file.execute("DELETE FROM trial WHERE seq = 1")
        file.commit()
    shown = sep(*arguments(rules))
    assert shown.code == 2
    assert shown.err == f"sep: {ledger}: the ledger is broken at row 2, expected row 1\n"
    ledger.write_text("no database")
    assert sep(*arguments(rules)).err.startswith(f"sep: {ledger}: not a ledger: ")


@pytest.mark.usefixtures("drawn")
def test_generated_prices_are_stamped(
    sep: Sep, arguments: Arguments, tmp_path: Path, rules: Path
) -> None:
    shown = sep(*arguments(rules), "--synthetic")
    assert shown.out.startswith("SYNTHETIC: ")
    (page,) = (tmp_path / "runs").glob("*.html")
    assert page.read_text().count("<!-- SYNTHETIC -->") >= 6


def test_a_strategy_class_is_judged_like_a_rule(
    sep: Sep, arguments: Arguments, tmp_path: Path
) -> None:
    document = sep(*arguments(BREAKOUT), "--json").document
    assert document["best"]["name"] == "Breakout"
    assert document["causality"]["passed"] is True
    assert document["direction"]["trades"] > 0


PEEKING = """
import numpy as np

class Peeking:
    horizon_bars = 1
    window = 5

    def prepare(self, bars):
        ahead = np.append(np.sign(np.diff(bars.close)), 0)
        scaled = (bars.close - bars.close.mean()) / bars.close.std()
        return {"scaled close": scaled, "direction": ahead.astype(np.int8)}
"""


def test_columns_that_look_ahead_are_named_and_fail(
    sep: Sep, arguments: Arguments, tmp_path: Path
) -> None:
    peeking = written(tmp_path, PEEKING, "peeking.py")
    shown = sep(*arguments(peeking), "--json")
    gate = shown.document["causality"]
    assert gate["passed"] is False
    assert {"direction", "scaled close"} <= {found["column"] for found in gate["findings"]}
    assert shown.document["verdict"]["edge"] is False


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py", "x = 1", "needs one class with on_bar or prepare, has 0"),
        ("a.py", "class A:\n    def on_bar(self, bar): return 0", "A.horizon_bars must be"),
        ("a.py", "import nothing_like_this", "ModuleNotFoundError"),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    def on_bar(self, bar): return 2",
            "on_bar must return -1, 0 or 1, returned 2 at bar 0",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    def prepare(self, bars): return {}",
            "prepare must return columns by name, 'direction' among them; returned dict",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    def prepare(self, bars): return [1]",
            "prepare must return columns by name, 'direction' among them; returned list",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    def prepare(self, bars):\n"
            "        return {'direction': [1] * len(bars.close), 'why': [object()]}",
            "column why must hold numbers, text or times, not objects",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    def on_bar(self, bar): return None",
            "on_bar must return -1, 0 or 1, returned None at bar 0",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    def on_bar(self, bar): return 0.9",
            "on_bar must return -1, 0 or 1, returned 0.9 at bar 0",
        ),
        (
            "a.py",
            "import sys\nclass A:\n    horizon_bars = window = 1\n"
            "    def on_bar(self, bar): sys.exit(0)",
            "a.py, line 4: SystemExit: 0",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = 0\n    window = 1\n    def on_bar(self, bar): return 1",
            "A.horizon_bars must be a whole number in 1..10000, was 0",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    stop_ticks = 1.5\n"
            "    def on_bar(self, bar): return 1",
            "A.stop_ticks must be a whole number in 1..1000000, was 1.5",
        ),
        (
            "a.py",
            "class A:\n    horizon_bars = window = 1\n    def on_bar(self, bar): return 1 / 0",
            "a.py, line 3: ZeroDivisionError: division by zero",
        ),
        ("a.json", "{", "not JSON"),
        ("a.json", "[{}]", "direction is missing"),
        ("a.txt", "", "a strategy is a .py or .json file"),
    ],
)
def test_a_strategy_that_cannot_be_used_is_one_line(
    sep: Sep, arguments: Arguments, tmp_path: Path, name: str, text: str, message: str
) -> None:
    shown = sep(*arguments(written(tmp_path, text, name)))
    assert shown.code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_what_a_strategy_prints_or_spoils_changes_no_document(
    sep: Sep, arguments: Arguments, tmp_path: Path
) -> None:
    quiet = """
class Momentum:
    horizon_bars = window = 2

    def prepare(self, bars):
        return {"direction": [1 if b >= a else -1 for a, b in zip(bars.open, bars.close)]}
"""
    loud = quiet.replace(
        "        return",
        "        bars.gap[:] = True\n        bars.time_ns[:] = 0\n"
        '        print("many bars")\n        return',
    )
    documents = []
    for name, text in (("quiet.py", quiet), ("loud.py", loud)):
        shown = sep(*arguments(written(tmp_path, text, name)), "--json")
        document = shown.document
        assert ("many bars" in shown.err) == (name == "loud.py")
        documents.append({part: document[part] for part in ("direction", "money", "provenance")})
    assert documents[0] == documents[1]


@pytest.mark.usefixtures("drawn")
def test_a_strategy_that_never_trades_has_its_page(
    sep: Sep, arguments: Arguments, tmp_path: Path
) -> None:
    idle = written(
        tmp_path,
        "class Idle:\n    horizon_bars = window = 1\n    def on_bar(self, bar): return 0\n",
        "idle.py",
    )
    shown = sep(*arguments(idle), "--json")
    document = shown.document
    assert document["verdict"]["text"] == "No evidence of edge after costs."
    assert document["controls"]["observed"]["best_t"] is None
    assert document["controls"]["sign"]["best_p"] == 1
    assert "cannot be estimated: nothing was traded" in Path(document["page"]).read_text()


@pytest.mark.parametrize(
    ("spread", "message"),
    [
        ("-1", "must be in 0..1,000,000, was -1"),
        ("1e30", "must be in 0..1,000,000, was 1e30"),
        ("nan", "must be in 0..1,000,000, was nan"),
        (".", "must be a number, was '.'"),
        ("0.05", "must be a whole number of ticks of 0.00001, was 0.05 pips"),
    ],
)
def test_a_spread_that_no_bar_can_have_is_one_line(
    sep: Sep, small: Callable[[int], Path], spread: str, message: str
) -> None:
    shown = sep("verdict", small(300), "--costs", spread)
    assert shown.code == 2
    assert shown.err == f"sep: --costs or --spread-pips {message}\n"


def test_a_verdict_without_a_spread_has_its_figures_and_cannot_pass(
    sep: Sep, small: Callable[[int], Path], tmp_path: Path, rules: Path, quick_lab: None
) -> None:
    of = ["--strategy", rules, "--surrogates", "19", "--folds", "3", "--out", tmp_path / "runs"]
    shown = sep("verdict", small(400), *of)
    assert shown.code == 0
    assert "assumed spread 1.00 pips (nobody said it: 1 pip is taken, and no verdict" in shown.out
    (path,) = (tmp_path / "runs").glob("*.json")
    document = json.loads(path.read_text())
    money = next(j for j in document["verdict"]["lines"] if j["line"]["name"] == "money")
    assert money["reason"] == "nobody said what a round trip costs"
    assert (money["value"], money["passed"]) == (None, False)
    # A pip of 0.0001 is ten ticks of 0.00001, which stands in the figures all the same.
    assert document["costs"]["spread"] == 10
    assert document["money"]["levels"]["measured"]["net"] is not None
    assert sep("verify", path).code == 0


def test_a_pip_that_is_no_whole_number_of_ticks_is_not_assumed(sep: Sep, tmp_path: Path) -> None:
    # Prices of an exchange, to half a dollar: the usual pip, 0.01, is no number of ticks.
    lines = [f"2022-01-{day:02}T00:00:00Z,{p},{p + 1},{p - 1},{p + 0.5}" for day, p in
             ((day, 40_000 + 37 * day) for day in range(1, 29))]  # fmt: skip
    path = written(tmp_path, "\n".join(["time,open,high,low,close", *lines, ""]), "btc.csv")
    assert "say what the spread is: --costs or" in sep("verdict", path).err


GRID = """
direction = ["last_bit_reversal", "damped"]
horizon_bars = [1, 4]
stop_ticks = "none"
gates = [[], [{ metric = "coherence", percentile = [80, 100] }]]
"""


def lab_arguments(bars: Path, out: Path) -> list[str | Path]:
    return ["verdict", bars, "--surrogates", "19", "--folds", "3", "--out", out]


@pytest.mark.usefixtures("drawn")
def test_a_grid_is_judged_as_one_family(
    sep: Sep, small: Callable[[int], Path], tmp_path: Path, quick_lab: None
) -> None:
    grid = written(tmp_path, GRID, "grid.toml")
    command = lab_arguments(small(400), tmp_path / "runs")
    document = sep(*command, "--grid", grid, "--costs", "1.3", "--json").document
    # 2 directions, 2 horizons, with and without the gate.
    assert document["selection"]["rules"] == 8
    assert document["costs"]["spread"] == 13
    assert 'aria-label="Parameter surface"' in Path(document["page"]).read_text()
    again = sep("verify", document["page"].replace(".html", ".json"))
    assert (again.code, again.err) == (0, "")


@pytest.mark.parametrize(
    ("grid", "more", "message"),
    [
        (GRID, ["--costs", "1.3", "--entry", "close"], "grid.toml says when its rules enter"),
        (GRID, ["--costs", "1.3", "--strategy", "x.json"], "--grid and --strategy both name"),
        (GRID, ["--costs", "measured"], "--costs measured needs"),
        (GRID, ["--costs", "1.3", "--spread-pips", "1.3"], "exclude each other"),
        ("direction = 1", ["--costs", "1.3"], "horizon_bars is missing"),
    ],
)
def test_a_grid_that_cannot_be_judged_is_one_line(
    sep: Sep,
    small: Callable[[int], Path],
    tmp_path: Path,
    grid: str,
    more: list[str],
    message: str,
) -> None:
    path = written(tmp_path, grid, "grid.toml")
    shown = sep(*lab_arguments(small(300), tmp_path / "runs"), "--grid", path, *more)
    assert shown.code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_an_installed_strategy_is_named_by_module_and_class(
    sep: Sep,
    small: Callable[[int], Path],
    tmp_path: Path,
    quick_lab: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / "site"
    package.mkdir()
    (package / "installed_breakout.py").write_text(BREAKOUT.read_text())
    # What installing a distribution leaves beside its modules.
    offered = package / "mine-1.0.dist-info"
    offered.mkdir()
    (offered / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (offered / "entry_points.txt").write_text(
        "[sep_engine.strategies]\nbreakout = installed_breakout:Breakout\n"
    )
    monkeypatch.syspath_prepend(str(package))
    command = [*lab_arguments(small(400), tmp_path / "runs"), "--costs", "1.3", "--json"]
    by_path = sep(*command, "--strategy", "installed_breakout:Breakout").document
    by_name = sep(*command, "--strategy", "breakout").document
    assert by_path["best"]["name"] == by_name["best"]["name"] == "Breakout"
    # The same class on the same bars is one configuration of the ledger.
    assert by_name["selection"]["trials"] == 1
    assert "installed: breakout" in sep(*command, "--strategy", "other").err
    assert "AttributeError" in sep(*command, "--strategy", "installed_breakout:Nothing").err


def test_a_verdict_on_entries_at_the_close_says_so_and_is_made_again(
    sep: Sep, arguments: Arguments, tmp_path: Path, rules: Path
) -> None:
    at_open = sep(*arguments(rules), "--json").document
    document = sep(*arguments(rules), "--entry", "close", "--json").document
    assert document["best"]["entry"] == "close"
    assert all(rule["configuration"]["entry"] == "close" for rule in document["rules"])
    # Another configuration to the ledger: two were tried, now four.
    assert (at_open["selection"]["trials"], document["selection"]["trials"]) == (2, 4)
    assert document["causality"]["passed"]
    page = Path(document["page"])
    assert "entered at the close after the close that decided" in page.read_text()
    stored = page.with_suffix(".json")
    assert sep("verify", stored, "--backend", "scalar").code == 0
    # A slower machine had time for less: what is made again is what was made then.
    slower = json.loads(stored.read_text())
    slower["causality"] |= {"truncations": 20, "poisons": 2, "trades_again": 3, "largest_again": 2}
    stored.write_text(json.dumps(slower))
    assert sep("verify", stored).code == 0
    assert "--entry must be one of open, close" in sep(*arguments(rules), "--entry", "noon").err


def test_a_verdict_takes_the_side_of_stored_bars_and_what_their_volume_counts(
    sep: Sep,
    small: Callable[[int], Path],
    tmp_path: Path,
    rules: Path,
    quick_lab: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEP_DATA_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    said = ("--instrument", "EUR_USD", "--vendor", "a vendor", "--licence", "unknown")
    said += ("--side", "ask", "--volume", "units")
    assert sep("data", "import", small(400), "asks", *said).code == 0
    command = ["verdict", "asks", "--strategy", rules, "--costs", "1.3", "--surrogates", "19"]
    command += ["--folds", "3"]
    document = sep(*command, "--json").document
    assert (document["costs"]["side"], document["provenance"]["price_side"]) == ("ask", "ask")
    capacity = document["money"]["capacity"]
    assert (capacity["volume"], capacity["participation"]) == ("units", 0.01)
    assert "1% of the volume of the median bar that it fills in" in capacity["text"]
    shown = sep(*command).out
    assert "capacity" in shown
    assert " units a day, fills in " in shown
    assert "--side bid: asks holds ask prices" in sep(*command, "--side", "bid").err
    assert "--volume must be units or updates" in sep(*command, "--volume", "lots").err
