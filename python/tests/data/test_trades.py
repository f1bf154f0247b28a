"""Trade lists as other programs write them."""

import io
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from backtesting import Backtest, Strategy

from sep_engine.data.trades import TradeRow, TradeTable, read_trades
from sep_engine.errors import DataError

EXPORTS = Path(__file__).parent / "exports"
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


def test_the_archive_that_freqtrade_writes_is_read_as_it_is(tmp_path: Path) -> None:
    """The first trades of a backtest of freqtrade 2026.9 on made bars, packed as it packs them."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("backtest-result_config.json", '{"exchange": {"key": "REDACTED"}}')
        packed.write(EXPORTS / "freqtrade_backtest.json", "backtest-result.json")
        packed.writestr("backtest-result_Mine.py", "class Mine: ...")
        packed.writestr("backtest-result_market_change.feather", b"\x00")
    table = read(tmp_path, archive.getvalue(), "backtest-result.zip")
    assert (table.source, len(table.rows), table.bad_rows) == ("freqtrade", 3, ())
    # 2024-01-01T08:00Z is 1,704,096,000 s after 1970. Fees: 0.001 * (1.10159 + 1.10209).
    assert table.rows[0] == TradeRow(
        line=1,
        instrument="EUR/USDT",
        direction=1,
        units=Decimal("90.77"),
        opened_ns=1_704_096_000_000_000_000,
        closed_ns=1_704_114_000_000_000_000,
        entry=Decimal("1.10159"),
        exit=Decimal("1.10209"),
        fees=Decimal("0.00220368"),
    )


def test_live_trades_of_freqtrade_begin_with_the_first_fill(tmp_path: Path) -> None:
    """What `freqtrade show-trades --print-json` of 2026.9 printed: its dates carry no zone."""
    table = read_trades(EXPORTS / "freqtrade_show_trades.json")
    # Ordered at 08:00:03, filled at 08:00:43, closed at 13:00:12.
    (found,) = table.rows
    assert (found.opened_ns, found.closed_ns) == (
        1_704_096_043_000_000_000,
        1_704_114_012_000_000_000,
    )


def test_funding_that_was_received_lowers_the_fees(tmp_path: Path) -> None:
    trade = {**FREQTRADE, "funding_fees": 0.004}
    table = read(tmp_path, json.dumps([trade]), "trades.json")
    # 0.00316 as in its own test, less 0.004 for two units.
    assert table.rows[0].fees == Decimal("0.00116")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"xl/workbook.xml": "<x/>"}, "an archive without a freqtrade result"),
        ({"a_config.json": "{}"}, "neither a freqtrade result"),
    ],
)
def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, members: dict[str, str], message: str
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, text in members.items():
            packed.writestr(name, text)
    with pytest.raises(DataError, match=message):
        read(tmp_path, archive.getvalue(), "a.zip")
    with pytest.raises(DataError, match="the archive cannot be read"):
        read(tmp_path, archive.getvalue()[:40], "b.zip")


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


def test_a_lean_result_of_later_versions_names_its_symbols(tmp_path: Path) -> None:
    """Field names as LEAN's own tests and QuantConnect's API have them since 2024."""
    trade = {
        "id": "f3b1a1c0-0000-0000-0000-000000000001",
        "symbols": [{"value": "EURUSD", "id": "EURUSD 8G", "permtick": "EURUSD"}],
        "entryTime": "2017-01-02T10:00:00Z",
        "entryPrice": "1.06",
        "direction": 1,
        "quantity": "2",
        "exitTime": "2017-01-02T14:00:00Z",
        "exitPrice": "1.05",
        "profitLoss": "0.02",
        "totalFees": "0.0",
        "mae": "-0.01",
        "mfe": "0.03",
        "duration": "04:00:00",
        "endTradeDrawdown": "-0.01",
        "isWin": True,
        "orderIds": [1, 2],
    }
    result = {"backtest": {"totalPerformance": {"closedTrades": [trade]}}, "success": True}
    table = read(tmp_path, json.dumps(result), "result.json")
    assert (table.source, table.rows) == ("LEAN", (row(line=1),))


def test_lean_trades_as_csv_are_the_same(tmp_path: Path) -> None:
    text = (
        "Entry Time,Symbols,Exit Time,Direction,Entry Price,Exit Price,Quantity,P&L,Fees,MAE,MFE,"
        "Drawdown,IsWin,Duration,Order IDs\n"
        '2017-01-02T10:00:00Z,"EURUSD",2017-01-02T14:00:00Z,Sell,1.06,1.05,2,0.02,0.0,-0.01,0.03,'
        '-0.01,1,"04:00:00","1;2"\n'
    )
    table = read(tmp_path, text)
    assert (table.source, table.rows) == ("LEAN", (row(),))


def test_lean_trades_as_the_results_page_gives_them(tmp_path: Path) -> None:
    """Columns, quotes, the tab before order numbers and the space after them as documented for
    QuantConnect's "Download Trades"; the values are made up."""
    text = (
        "Entry Time,Symbols,Exit Time,Direction,Entry Price,Exit Price,Quantity,P&L,Fees,MAE,MFE,"
        "Drawdown,IsWin,Order Ids\n"
        '2017-01-02T10:00:00Z,"EURUSD",2017-01-02T14:00:00Z,Sell,1.06,1.05,2,0.02,0,-0.01,0.03,'
        '0.02,1,"\t1,3" \n'
    )
    table = read(tmp_path, text)
    assert (table.source, table.rows, table.bad_rows) == ("LEAN", (row(),), ())


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


class Turns(Strategy):  # type: ignore[misc]
    """Buys and closes by count, sells with a stop in between."""

    def init(self) -> None: ...

    def next(self) -> None:
        bar = len(self.data)
        if bar % 8 == 2:
            self.buy(size=1000, tag="in")
        if bar % 8 == 5:
            self.position.close()
        if bar % 16 == 6:
            self.sell(size=500, sl=self.data.Close[-1] + 0.002)


# Its statistics use names that pandas 3 asks to be written otherwise.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_backtesting_py_made_is_what_is_read(tmp_path: Path) -> None:
    """A run of the library itself, exported as the guide says."""
    closes = 1.1 + 0.001 * np.cumsum(np.random.default_rng(1).standard_normal(60))
    opens = np.r_[1.1, closes[:-1]]
    bars = pd.DataFrame(
        {
            "Open": opens,
            "High": np.maximum(opens, closes) + 4e-4,
            "Low": np.minimum(opens, closes) - 4e-4,
            "Close": closes,
        },
        index=pd.date_range("2024-01-01", periods=60, freq="1h"),
    )
    made = Backtest(
        bars, Turns, cash=10_000, commission=0.0002, margin=0.1, finalize_trades=True
    ).run()["_trades"]
    made.to_csv(tmp_path / "trades.csv")
    table = read_trades(tmp_path / "trades.csv", time_zone="UTC")
    assert (table.source, len(table.rows), table.bad_rows) == ("backtesting.py", len(made), ())
    assert {found.direction for found in table.rows} == {1, -1}
    for found, one in zip(table.rows, made.itertuples(), strict=True):
        assert (float(found.entry), float(found.exit)) == (one.EntryPrice, one.ExitPrice)
        assert found.opened_ns == one.EntryTime.value
        assert found.direction * (found.units or 0) == one.Size
        assert found.fees is not None
        # Its P&L is after commission: what the row says must give it back.
        gained = (float(found.exit) - float(found.entry)) * one.Size
        paid = float(found.fees) * abs(one.Size)
        assert gained - paid == pytest.approx(one.PnL, abs=1e-9)


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


TERMINAL = """<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<html><head><title>1: Somebody - Trade History Report</title>
<meta name="generator" content="client terminal"></head><body><div align="center"><table>
<tr align="center"><th colspan="14"><div><b>Trade History Report</b></div></th></tr>
<tr align="left"><th colspan="3">Account:</th><th colspan="10"><b>1&nbsp;(USD, hedge)</b></th></tr>
<tr align="center"><th colspan="14"><div><b>Positions</b></div></th></tr>
<tr align="center" bgcolor="#E5F0FC"><td><b>Time</b></td><td><b>Position</b></td>
<td><b>Symbol</b></td><td><b>Type</b></td><td><b>Volume</b></td><td><b>Price</b></td>
<td><b>S / L</b></td><td><b>T / P</b></td><td><b>Time</b></td><td><b>Price</b></td>
<td><b>Commission</b></td><td><b>Swap</b></td><td colspan="2"><b>Profit</b></td></tr>
<tr bgcolor="#FFFFFF" align="right"><td>2017.01.02 10:00:00</td><td>77</td><td>EURUSD</td>
<td>sell</td><td class="hidden" colspan="8">a comment</td><td class="">2.00</td>
<td class="">1.06</td><td class="">1.07</td><td class=""></td>
<td class="">2017.01.02 14:00:00</td><td class="">1.05</td><td class="">-6.00</td>
<td class="">-2.00</td><td colspan="2">2 000.00</td></tr>
<tr><td style="height: 10px"></td></tr>
<tr align="center"><th colspan="14"><div><b>Orders</b></div></th></tr>
<tr align="center" bgcolor="#E5F0FC"><td><b>Open Time</b></td><td><b>Order</b></td>
<td><b>Symbol</b></td><td><b>Type</b></td><td><b>Volume</b></td><td><b>Price</b></td>
<td><b>S / L</b></td><td><b>T / P</b></td><td colspan="2"><b>Time</b></td><td><b>State</b></td>
<td colspan="3"><b>Comment</b></td></tr>
<tr bgcolor="#FFFFFF" align="right"><td>2017.01.02 10:00:00</td><td>77</td><td>EURUSD</td>
<td>sell</td><td>2.00 / 2.00</td><td>market</td><td>1.07</td><td></td>
<td colspan="2">2017.01.02 10:00:00</td><td>filled</td><td colspan="3"></td></tr>
</table></div></body></html>"""


def test_the_page_that_a_terminal_writes_with_its_markup(tmp_path: Path) -> None:
    """Bold headings, a hidden cell that holds the comment, a profit two columns wide and the empty
    row before the orders, as public repositories quote real reports; the values are made up."""
    table = read(tmp_path, TERMINAL.encode("utf-16"), "ReportHistory-1.html", zone="UTC")
    assert table.source == "MetaTrader 5"
    (found,) = table.rows
    assert found == row(line=found.line, fees=Decimal("0.00004"))
    assert table.bad_rows == ()


@pytest.mark.parametrize("fee", ["Commission,Fee,Swap", "Commission,Swap"])
def test_deals_of_the_tester_and_of_the_history(tmp_path: Path, fee: str) -> None:
    """The tester writes minutes and no fee, the history seconds and a fee; both begin with the
    deposit and may end with sums."""
    nothing = "0," * fee.count(",") + "0"
    text = (
        f"Time,Deal,Symbol,Type,Direction,Volume,Price,Order,{fee},Profit,Balance,Comment\n"
        f"2017.01.01 00:00,1,,balance,,,,,{nothing},10 000.00,10 000.00,\n"
        f"2017.01.02 10:00,2,EURUSD,sell,in,2,1.06,2,{nothing},0.00,10 000.00,\n"
        f"2017.01.02 14:00,3,EURUSD,buy,out,2,1.05,3,{nothing},2 000.00,12 000.00,sl 1.05\n"
        f",,,,,,,,{nothing},2 000.00,12 000.00,\n"
    )
    table = read(tmp_path, text, zone="UTC")
    assert (table.rows, table.bad_rows) == ((row(line=4),), ())


def test_the_sheet_of_a_metatrader_report_holds_several_tables(tmp_path: Path) -> None:
    """Lines as the terminal's sheet has them: titles, sums, spaces in and before numbers."""
    text = "\n".join(
        (
            "Trade History Report,,,,,,,,,,,,,",
            'Account:,,,"1 (USD, Broker, demo)",,,,,,,,,,',
            "Positions,,,,,,,,,,,,,",
            "Time,Position,Symbol,Type,Volume,Price,S / L,T / P,Time,Price,Commission,Swap,Profit,",
            "2017.01.02 10:00:00,77,EURUSD,sell,2.00, 1.06,,,2017.01.02 14:00:00, 1.05,"
            "- 6.00,- 2.00,2 000.00,",
            ",,,,,,,,,,- 6.00,- 2.00,2 000.00,",
            "Orders,,,,,,,,,,,,,",
            "Open Time,Order,Symbol,Type,Volume,Price,S / L,T / P,Time,State,,Comment,,",
            "2017.01.02 10:00:00,77,EURUSD,sell,2 / 2,market,,,2017.01.02 10:00:00,filled,,,,",
        )
    )
    table = read(tmp_path, text + "\n", zone="UTC")
    assert table.source == "MetaTrader 5"
    assert (table.rows, table.bad_rows) == ((row(line=5, fees=Decimal("0.00004")),), ())


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
        ("a.xls", b"\xd0\xcf\x11\xe0", "not text"),
    ],
)
def test_a_file_that_holds_no_trades_is_refused(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, name)
