"""Recordings that are replayed, and the command that starts the server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sep_oanda_server.cli import _parser as parser
from sep_oanda_server.cli import build, main
from sep_oanda_server.feed import FeedError, merged, read_recording
from sep_oanda_server.wire import NS, read_decimal, read_json, read_time, time_text, unix_text

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "samples" / "eur_usd_h1"


def quotes_file(folder: Path, *rows: str) -> Path:
    path = folder / "quotes.csv"
    path.write_text("\n".join(["time,bid,ask", *rows]) + "\n")
    return path


def test_the_sample_gives_history_and_two_quotes_a_bar() -> None:
    recording = read_recording(SAMPLE)
    assert (recording.instrument, recording.granularity) == ("EUR_USD", "H1")
    assert len(recording.history) == 2000
    assert len(recording.quotes) == (6225 - 2000) * 2
    first = recording.history[0]
    # The file's first bar: ask 1.05236 1.05253 1.05221 1.05227; the bid is 1.3 pips lower.
    assert time_text(first.start_ns) == "2017-01-01T22:00:00.000000000Z"
    assert (first.ask.o, first.ask.low, first.bid.h) == (
        Decimal("1.05236"),
        Decimal("1.05221"),
        Decimal("1.05240"),
    )
    opening, closing = recording.quotes[:2]
    assert closing.time_ns - opening.time_ns == 3600 * NS - 1
    assert opening.ask - opening.bid == closing.ask - closing.bid == Decimal("0.00013")


def test_recordings_are_merged_by_time_and_long_silences_are_cut(tmp_path: Path) -> None:
    path = quotes_file(
        tmp_path,
        "2026-06-02T12:00:00.5Z,1.1,1.2",
        "2026-06-02T12:00:02Z,1.1,1.2",
        "2026-06-05T12:00:00Z,1.1,1.2",
    )
    euro = read_recording(path, instrument="EUR_USD")
    pound = read_recording(path, instrument="GBP_USD")
    events = merged([euro, pound])
    # A second and a half, then three days, of which a minute is waited for.
    assert [(gap / NS, quote.instrument) for gap, quote in events] == [
        (0, "EUR_USD"),
        (0, "GBP_USD"),
        (1.5, "EUR_USD"),
        (0, "GBP_USD"),
        (60, "EUR_USD"),
        (0, "GBP_USD"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2026-06-02T12:00:00Z,1.2,1.1", "quotes.csv:2: a quote needs 0 < bid <= ask"),
        ("2026-06-02T12:00:00Z,x,1.1", "quotes.csv:2: not a number: 'x'"),
        ("2026-06-02T12:00:00Z,nan,1.1", "quotes.csv:2: not a finite number"),
        ("today,1.0,1.1", "quotes.csv:2: not a time: 'today'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(FeedError, match=message):
        read_recording(quotes_file(tmp_path, row), instrument="EUR_USD")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(FeedError, match="needs the columns time,bid,ask or time,open"):
        read_recording(path)
    with pytest.raises(FeedError, match="name the instrument"):
        read_recording(quotes_file(tmp_path))
    with pytest.raises(FeedError, match="No such file"):
        read_recording(tmp_path / "absent.csv")


def test_history_is_shifted_to_the_present_by_whole_bars(tmp_path: Path) -> None:
    options = parser().parse_args(["--data", str(SAMPLE), "--ledger", str(tmp_path / "l.sqlite3")])
    server = build(options)
    last = server.venue.candles.candles("EUR_USD", "H1", _alignment())[-1]
    age_s = time.time() - last.start_ns / NS
    assert 3600 <= age_s < 7200
    assert last.start_ns % (3600 * NS) == 0
    server.store.close()


def _alignment() -> Any:
    from sep_oanda_server.candles import Alignment

    return Alignment()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "needs a --token of your own"),
        (["--data", "/nowhere.csv"], "No such file"),
        (["--speed", "0"], "--speed must be above 0"),
        (["--balance", "much"], "not a decimal number: 'much'"),
    ],
)
def test_the_command_refuses_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("sep-oanda-server: ")
    assert message in error
    assert error.count("\n") == 1


def test_without_its_extra_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['aiohttp'] = None; import sep_oanda_server.cli"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 2
    assert result.stderr == (
        "sep-oanda-server: pip install 'sep-engine[oanda-server]' brings aiohttp\n"
    )


def test_the_server_keeps_its_ledger_over_kill_and_restart(tmp_path: Path) -> None:
    base = "/v3/accounts/101-004-1435156-001"
    order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "100"}}

    def ask(port: int, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{base}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": "Bearer local", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def start() -> tuple[subprocess.Popen[bytes], int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sep_oanda_server", "--port", str(port)),
                *("--ledger", str(tmp_path / "ledger.sqlite3"), "--data", str(SAMPLE)),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if ask(port, "/pricing?instruments=EUR_USD")["prices"]:
                    return process, port
            assert time.monotonic() < deadline, "the server did not answer within 60 s"
            time.sleep(0.05)

    process, port = start()
    answered = [ask(port, "/orders", order)["lastTransactionID"] for _ in range(3)]
    process.kill()
    process.wait(60)
    assert answered == ["4", "6", "8"]

    process, port = start()
    assert ask(port, "/summary")["account"]["lastTransactionID"] == "8"
    assert ask(port, "/openPositions")["positions"][0]["long"]["units"] == "300"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


# -- text forms --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.000000001Z", 1_000_000_001),
        ("1970-01-01T02:00:00+02:00", 0),
        ("12.5", 12_500_000_000),
        ("2026-01-02T00:00:00", 1_767_330_000_000_000_000),  # 05:00 Z: New York in winter
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert read_time(text) == nanoseconds


def test_times_keep_nine_digits_in_both_forms() -> None:
    text = "2016-11-11T19:59:43.253587917Z"
    assert time_text(read_time(text)) == text
    assert unix_text(text) == "1478894383.253587917"
    assert unix_text("not a time") == "not a time"


@pytest.mark.parametrize("text", ["", "NaN", "1e5", "1,5", "١", "1" * 16, "0x1", True, 1.5, None])
def test_what_is_no_decimal_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a decimal number"):
        read_decimal(text)


def test_fractions_in_json_never_become_floats() -> None:
    assert read_json(b'{"a": 1.10, "b": 5e-05, "c": 3}') == {"a": "1.1", "b": "0.00005", "c": 3}
    for wrong in (b'{"a": NaN}', b'{"a": 1e999999}'):
        with pytest.raises(ValueError, match="number"):
            read_json(wrong)
