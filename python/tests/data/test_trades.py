"""Trade lists as other programs write them."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from sep_engine.data.trades import TradeRow, TradeTable, read_trades
from sep_engine.errors import DataError

# 2017-01-02T10:00:00Z and 14:00:00Z in nanoseconds since 1970.
TEN = 1_483_351_200_000_000_000
TWO = TEN + 4 * 3_600_000_000_000


def read(
    tmp_path: Path, text: str | bytes, name: str = "trades.csv", zone: str | None = None
) -> TradeTable:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_trades(path, time_zone=zone)


def row(**other: object) -> TradeRow:
    """Return a short sale of two units from 1.06 to 1.05."""
    fields = {
        "line": 2,
        "instrument": "EURUSD",
        "direction": -1,
        "units": Decimal(2),
        "opened_ns": TEN,
        "closed_ns": TWO,
        "entry": Decimal("1.06"),
        "exit": Decimal("1.05"),
        "fees": Decimal(0),
        **other,
    }
    return TradeRow(**fields)  # type: ignore[arg-type]


def test_the_generic_form_takes_columns_in_any_order(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "exit;entry;direction;closed;opened;units;instrument\n"
        "1.05;1.06;sell;2017-01-02T14:00:00Z;2017-01-02 11:00+01:00;2;EURUSD\n",
    )
    assert table.source == "generic"
    assert table.rows == (row(),)
    assert table.fees == "not stated in the file: none are counted"


FREQTRADE = {
    "pair": "EURUSD",
    "amount": 2.0,
    "open_date": "2017-01-02 10:00:00+00:00",
    "close_date": "2017-01-02 14:00:00+00:00",
    "open_rate": 1.06,
    "close_rate": 1.05,
    "fee_open": 0.001,
    "fee_close": 0.002,
    "is_short": True,
    "is_open": False,
}


def test_a_freqtrade_result_states_fees_as_shares_of_each_side(tmp_path: Path) -> None:
    text = json.dumps({"strategy": {"Mine": {"trades": [FREQTRADE]}}})
    table = read(tmp_path, text, "result.json")
    assert table.source == "freqtrade"
    # 0.001 * 1.06 + 0.002 * 1.05 = 0.00106 + 0.0021
    assert table.rows == (row(line=1, fees=Decimal("0.00316")),)


def test_freqtrade_trades_as_csv_are_the_same(tmp_path: Path) -> None:
    header, cells = ",".join(FREQTRADE), ",".join(str(value) for value in FREQTRADE.values())
    (found,) = read(tmp_path, f"{header}\n{cells}\n").rows
    assert found == row(fees=Decimal("0.00316"))


def test_a_trade_that_is_still_open_is_no_trade(tmp_path: Path) -> None:
    trade = {**FREQTRADE, "is_open": True, "close_date": None}
    table = read(tmp_path, json.dumps({"strategy": {"A": {"trades": [trade]}}}), "result.json")
    assert [(bad.line, bad.reason) for bad in table.bad_rows] == [
        (1, "still open: it has no result")
    ]


def test_a_result_of_two_strategies_is_refused(tmp_path: Path) -> None:
    text = json.dumps({"strategy": {"A": {"trades": []}, "B": {"trades": []}}})
    with pytest.raises(DataError, match="2 strategies"):
        read(tmp_path, text, "result.json")


def lean(profit: float, exit_price: float = 1.05) -> dict[str, object]:
    return {
        "Symbol": {"Value": "EURUSD", "ID": "EURUSD 8G"},
        "EntryTime": "2017-01-02T10:00:00Z",
        "EntryPrice": 1.06,
        "Direction": 1,
        "Quantity": 2.0,
        "ExitTime": "2017-01-02T14:00:00Z",
        "ExitPrice": exit_price,
        "ProfitLoss": profit,
        "TotalFees": 0.5,
    }


def test_a_lean_result_states_fees_in_money_of_the_account(tmp_path: Path) -> None:
    # 0.01 * 2 units earned 2000: a price of 1 and one unit are worth 100,000, so that a fee of
    # 0.5 for 2 units is 0.5 / 100,000 / 2 of price.
    text = json.dumps({"TotalPerformance": {"ClosedTrades": [lean(2000.0)]}})
    table = read(tmp_path, text, "result.json")
    assert table.source == "LEAN"
    assert table.rows == (row(line=1, fees=Decimal("0.0000025")),)


def test_fees_at_a_rate_that_moved_stay_unknown(tmp_path: Path) -> None:
    # The second move is half as large but earned the same.
    trades = [lean(2000.0), lean(2000.0, exit_price=1.055)]
    text = json.dumps({"totalPerformance": {"closedTrades": trades}})
    table = read(tmp_path, text, "result.json")
    assert [found.fees for found in table.rows] == [None, None]
    assert "not constant" in table.fees


def test_backtesting_py_times_need_their_zone(tmp_path: Path) -> None:
    text = (
        ",Size,EntryBar,ExitBar,EntryPrice,ExitPrice,PnL,Commission,EntryTime,ExitTime\n"
        "0,-2,3,7,1.06,1.05,0.02,0.004,2017-01-02 12:00:00,2017-01-02 16:00:00\n"
    )
    with pytest.raises(DataError, match=r"line 2: .* carries no zone; .*--trades-time-zone"):
        read(tmp_path, text)
    # Athens is two hours ahead in January.
    table = read(tmp_path, text, zone="Europe/Athens")
    assert table.source == "backtesting.py"
    assert table.rows == (row(instrument="", fees=Decimal("0.002")),)


POSITIONS = """<html><body><table>
<tr><td>Time</td><td>Position</td><td>Symbol</td><td>Type</td><td>Volume</td><td>Price</td>
<td>S / L</td><td>T / P</td><td>Time</td><td>Price</td><td>Commission</td><td>Swap</td>
<td>Profit</td></tr>
<tr><td>2017.01.02 10:00:00</td><td>77</td><td>EURUSD</td><td>sell</td>
<td class="hidden" colspan="8"></td><td>2.00</td><td>1.06</td><td></td><td></td>
<td>2017.01.02 14:00:00</td><td>1.05</td><td>-6.00</td><td>-2.00</td><td>2&nbsp;000.00</td></tr>
<tr><td colspan="9">sums</td></tr>
</table></body></html>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_positions_of_a_metatrader_report(tmp_path: Path, encoding: str) -> None:
    table = read(tmp_path, POSITIONS.encode(encoding), "report.html", zone="UTC")
    assert table.source == "MetaTrader 5"
    # 8 of costs for 2 lots, of which one and a price of 1 are 100,000: 8 / 100,000 / 2.
    assert table.rows == (row(line=5, fees=Decimal("0.00004")),)


def deals(*rows: str) -> str:
    head = "Time,Deal,Symbol,Type,Direction,Volume,Price,Order,Commission,Swap,Profit,Balance"
    return "\n".join([head, *rows]) + "\n"


def test_deals_are_paired_first_in_first_out(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        deals(
            "2017.01.02 08:00:00,1,,balance,,,,,,,10000,10000",
            "2017.01.02 10:00:00,2,EURUSD,sell,in,2.0,1.06,2,0,0,0,0",
            "2017.01.02 11:00:00,3,EURUSD,sell,in,1.0,1.07,3,0,0,0,0",
            "2017.01.02 14:00:00,4,EURUSD,buy,out,3.0,1.05,4,0,0,4000,0",
        ),
        zone="UTC",
    )
    eleven = TEN + 3_600_000_000_000
    assert table.rows == (
        row(line=5),
        row(line=5, units=Decimal(1), opened_ns=eleven, entry=Decimal("1.07")),
    )


def test_deals_that_do_not_pair_are_named(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        deals(
            "2017.01.02 10:00:00,2,EURUSD,sell,in,2.0,1.06,2,0,0,0,0",
            "2017.01.02 14:00:00,4,GBPUSD,buy,out,3.0,1.05,4,0,0,4000,0",
        ),
        zone="UTC",
    )
    assert [(bad.line, bad.reason) for bad in table.bad_rows] == [
        (3, "closes 3.0 of GBPUSD that nothing opened"),
        (2, "still open: it has no result"),
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("2017-01-02T10:00Z,2017-01-02T09:00Z,buy,1,1", "it closed before it opened"),
        ("2017-01-02T10:00Z,2017-01-02T11:00Z,hold,1,1", "direction 'hold' is neither buy nor"),
        ("2017-01-02T10:00Z,2017-01-02T11:00Z,buy,-1,1", "entry must be > 0, was -1"),
        ("2017-01-02T10:00Z,2017-01-02T11:00Z,buy,1,nan", "exit 'nan' is not a number"),
        ("2017-02-30T10:00Z,2017-01-02T11:00Z,buy,1,1", "opened '2017-02-30T10:00Z' is not a"),
        ("2017-01-02T10:00Z,buy", "other columns than the header"),
    ],
)
def test_a_row_that_is_no_trade_is_kept_with_its_reason(
    tmp_path: Path, cells: str, reason: str
) -> None:
    (bad,) = read(tmp_path, f"opened,closed,direction,entry,exit\n{cells}\n").bad_rows
    assert bad.line == 2
    assert bad.reason.startswith(reason)


def test_an_hour_that_the_clock_shows_twice_is_no_time(tmp_path: Path) -> None:
    # On 2017-10-29 clocks in Athens went from 04:00 back to 03:00.
    text = (
        "opened,closed,direction,entry,exit\n2017-10-29 03:30:00,2017-10-29 05:00:00,buy,1.1,1.2\n"
    )
    (bad,) = read(tmp_path, text, zone="Europe/Athens").bad_rows
    assert "does not exist once in Europe/Athens" in bad.reason


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "a,b,c\n1,2,3\n", "no trade list of a known form; columns a, b, c"),
        ("a.csv", "", "empty"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"a": 1}', "neither a freqtrade result"),
        ("a.html", "<html></html>", "no table of positions or deals"),
        ("a.csv", "opened,closed,direction,entry,exit\n", "holds no trades"),
        ("a.xlsx", b"PK\x03\x04\xff\xfe\xfd", "not text"),
    ],
)
def test_a_file_that_holds_no_trades_is_refused(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, name)
