"""sep data: what is kept in the store, and what the other commands make of it by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sep_engine.data.sample import sample_path

Sep = Callable[..., Any]
BARS = sample_path("eur_usd_h1") / "bars.csv"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEP_DATA_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def imported(sep: Sep, *more: str | Path, file: Path = BARS, name: str = "mine") -> Any:
    said = ("--instrument", "EUR_USD", "--vendor", "a vendor", "--licence", "unknown")
    return sep("data", "import", file, name, *said, "--side", "ask", *more)


def with_quotes(tmp_path: Path) -> Path:
    """Write a quote for every bar of the sample, 2 pips apart at the close."""
    rows = ["time,bid,ask"]
    for line in BARS.read_text().splitlines()[1:]:
        time, *prices = line.split(",")
        ask = float(prices[3])
        rows.append(f"{time},{ask - 0.0002:.5f},{ask:.5f}")
    path = tmp_path / "quotes.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_file_is_kept_listed_shown_checked_and_deleted(sep: Sep, store: Path) -> None:
    shown = imported(sep)
    assert shown.code == 0
    assert "6,225 of H1, ask" in shown.out
    (one,) = sep("data", "list", "--json").document
    assert (one["name"], one["rows"], one["origin"]["vendor"]) == ("mine", 6225, "a vendor")
    assert "a vendor" in sep("data", "list").out
    assert sep("data", "show", "mine", "--json").document == one
    assert sep("data", "check", "mine").code == 0
    assert "is there already" in imported(sep).err
    assert sep("data", "delete", "mine", "--yes").out == "Deleted mine\n"
    assert "No data in" in sep("data", "list").out
    assert "no data set mine" in sep("data", "show", "mine").err


def test_a_backtest_reads_stored_data_by_name_with_each_bars_spread(
    sep: Sep, tmp_path: Path
) -> None:
    imported(sep, "--quotes", with_quotes(tmp_path))
    kept = sep("backtest", "mine", "--json").document
    told = sep("backtest", "--sample", "--spread-pips", "2", "--json").document
    assert kept["costs"] == {
        "spread_ticks": 20.0,
        "spread_is_series": True,
        "per_side_ticks": 0,
        "assumed_spread": False,
    }
    # The same bars at the same spread of 20 ticks, which is told there and measured here.
    assert kept["figures"] == told["figures"]


def test_a_verdict_measures_its_costs_on_stored_data(
    sep: Sep, tmp_path: Path, quick_lab: None
) -> None:
    imported(sep, "--quotes", with_quotes(tmp_path))
    rule = tmp_path / "rule.json"
    rule.write_text(
        '{"direction": "last_bit_reversal", "horizon_bars": 1, "stop_ticks": null, "units": "1"}'
    )
    command = ["verdict", "mine", "--strategy", rule, "--surrogates", "19", "--folds", "3"]
    document = sep(*command, "--costs", "measured", "--json").document
    assert (document["costs"]["spread"], document["costs"]["assumed"]) == (20, False)
    assert document["provenance"]["vendor"] == "a vendor"
    assert document["provenance"]["price_side"] == "ask"
    again = sep("verify", document["page"].replace(".html", ".json"))
    assert (again.code, again.err) == (0, "")


@pytest.mark.usefixtures("drawn")
def test_generated_prices_wear_their_name_in_a_backtest(sep: Sep) -> None:
    imported(sep, "--synthetic")
    document = sep("backtest", "mine", "--spread-pips", "1.3", "--json").document
    assert document["synthetic"] is True
    assert "<h1>SYNTHETIC: Backtest of" in Path(document["page"]).read_text()
    assert sep("backtest", "mine", "--spread-pips", "1.3").out.startswith("SYNTHETIC: mine\n")
    assert "YES: generated prices" in sep("data", "show", "mine").out


def test_ticks_need_the_length_of_their_bars(sep: Sep, tmp_path: Path) -> None:
    quotes = with_quotes(tmp_path)
    assert "--bars-of goes with ticks" in imported(sep, file=quotes).err
    shown = imported(sep, "--bars-of", "H4", file=quotes)
    # Hours from Sunday 22:00 to Friday 21:00 fall into bars from 20:00 on: 1,610 bars of 4 hours.
    assert "of H4, bid and ask" in shown.out
    assert "written as M1, H4 or D1" in imported(sep, "--bars-of", "4h", file=quotes).err


def test_prices_in_points_need_the_size_of_a_point(sep: Sep, tmp_path: Path) -> None:
    rows = ["time,open,high,low,close"]
    for line in BARS.read_text().splitlines()[1:]:
        time, *prices = line.split(",")[:5]
        # As a vendor writes them: 1.05 is 105000.00000000001 points.
        rows.append(",".join([time, *(repr(float(price) * 100_000) for price in prices)]))
    path = tmp_path / "points.csv"
    path.write_text("\n".join(rows) + "\n")
    assert "say --point 0.00001 if they count points" in imported(sep, file=path).err
    assert imported(sep, "--point", "0.00001", file=path).code == 0
    assert imported(sep, name="prices").code == 0
    points, prices = sep("data", "list", "--json").document
    assert points["content_sha256"] == prices["content_sha256"]
    assert (points["tick"], points["pip"]) == ("0.00001", "0.0001")
    assert "no whole numbers" in imported(sep, "--point", "1", name="third").err


def test_options_of_reading_do_not_change_stored_data(sep: Sep) -> None:
    imported(sep)
    assert "stored data are read as they were" in sep("analyze", "mine", "--time-zone", "UTC").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--granularity", "M1", "--from", "2024-01-01"), "OANDA needs --account and a token"),
        (("--granularity", "M1", "--from", "soon", "--account", "1"), "OANDA needs"),
        (("--granularity", "M1", "--from", "2024-01-01", "--price", "M"), "--price must be BA"),
    ],
)
def test_a_download_that_cannot_begin_is_one_line(
    sep: Sep, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SEP_OANDA_TOKEN", "SEP_OANDA_TOKEN_FILE", "SEP_OANDA_ACCOUNT", "SEP_OANDA_URL"):
        monkeypatch.delenv(name, raising=False)
    shown = sep("data", "download", "oanda", "--instrument", "EUR_USD", *arguments)
    assert shown.code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_an_account_is_kept_in_its_own_currency(sep: Sep) -> None:
    command = ["backtest", "--sample", "--json", "--balance", "10000"]
    plain = sep(*command).document
    # 1,000 units at 0.00001 a tick: -6,077 ticks are -60.77 USD.
    assert plain["account"]["net"] == "-60.77000"
    assert plain["account"]["currency"] == "USD"
    charged = sep(*command, "--commission", "0.0001", "--slippage-pips", "0.1").document
    assert float(charged["account"]["net"]) < -60.77
    assert "goes with --balance" in sep("backtest", "--sample", "--risk", "0.01").err
    assert "two rates a year" in sep(*command, "--financing", "1").err
    imported(sep)
    file = ["backtest", BARS, "--balance", "1", "--spread-pips", "1"]
    assert "--balance needs an instrument" in sep(*file).err
