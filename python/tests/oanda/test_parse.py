"""Payloads become values: exact, tolerant of what is new, strict about what is needed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_engine.errors import ArgumentError, DataError
from sep_engine.venues.oanda import parse

PAYLOADS = Path(__file__).parent / "payloads"


def payload(name: str) -> dict[str, Any]:
    return parse.load_json((PAYLOADS / f"{name}.json").read_bytes())


def test_a_price_is_exact_and_keeps_what_is_new() -> None:
    price = parse.read_price(payload("price"))
    # The best bid of two levels; 21:02:02 on that day is 1,603,486,922 s after 1970.
    assert (price.bid, price.ask) == (Decimal("1.18571"), Decimal("1.18671"))
    assert price.time_ns == 1_603_486_922_692_522_548
    assert price.status == "non-tradeable"
    assert price.raw["newField"] == {"kept": True}


def test_a_price_at_which_one_cannot_trade_is_no_quote() -> None:
    source = payload("price")
    assert parse.read_price(source).quote() is None
    tradeable = source | {"tradeable": True}
    quote = parse.read_price(tradeable).quote()
    assert quote is not None
    assert quote.spread == Decimal("0.00100")
    assert quote.time == datetime(2020, 10, 23, 21, 2, 2, 692522, UTC)
    assert parse.read_price(tradeable | {"bids": []}).quote() is None
    crossed = tradeable | {"bids": [{"price": "1.2"}]}
    with pytest.raises(DataError, match=r"bid 1.2 is above ask 1.18671"):
        parse.read_price(crossed).quote()


def test_complete_candles_become_bars_of_both_sides() -> None:
    candles = parse.read_candles(payload("candles"))
    assert [one.complete for one in candles] == [True, False]
    (bar,) = parse.quote_bars(candles, "EUR_USD", "M5")
    assert (bar.start, bar.end) == (
        datetime(2024, 6, 14, 12, 0, tzinfo=UTC),
        datetime(2024, 6, 14, 12, 5, tzinfo=UTC),
    )
    assert (bar.bid.high, bar.ask.low) == (Decimal("1.07020"), Decimal("1.07012"))
    assert (bar.volume, bar.assumed_spread) == (Decimal(123), False)
    with pytest.raises(ArgumentError, match="granularity must be one of"):
        parse.quote_bars(candles, "EUR_USD", "D")
    with pytest.raises(DataError, match="ask for price BA"):
        parse.quote_bars([parse.Candle(0, True, 1, None, None, None)], "EUR_USD", "M5")


def test_a_granularity_says_how_long_its_bars_last() -> None:
    names = ["S5", "S10", "S15", "S30", "M1", "M2", "M4", "M5", "M10", "M15", "M30", "H1"]
    unit_s = {"S": 1, "M": 60, "H": 3600}
    assert {name: unit_s[name[0]] * int(name[1:]) for name in names} == parse.GRANULARITY_S


def test_a_fill_carries_its_money() -> None:
    fill = parse.read_fill(payload("market_filled")["orderFillTransaction"])
    assert (fill.transaction_id, fill.order_id, fill.client_id) == (2504, 2503, "sep-1")
    assert (fill.units, fill.price) == (Decimal(10000), Decimal("1.08463"))
    assert fill.opened is not None
    assert fill.opened.trade_id == 2504
    assert fill.reduced == ()
    closing = parse.read_fill(payload("trade_closed")["orderFillTransaction"])
    assert closing.opened is None
    assert closing.reduced[0].realized_pl == Decimal("10.0000")
    assert closing.financing == Decimal("-0.0213")


def test_a_transaction_names_its_order_and_the_clients_name() -> None:
    body = payload("market_filled")
    created = parse.read_transaction(body["orderCreateTransaction"])
    assert (created.id, created.order_id, created.client_id) == (2503, 2503, "sep-1")
    assert created.creates_order
    filled = parse.read_transaction(body["orderFillTransaction"])
    assert (filled.id, filled.order_id, filled.client_id) == (2504, 2503, "sep-1")
    assert not filled.creates_order
    reject = parse.read_transaction(payload("order_rejected")["orderRejectTransaction"])
    assert (reject.is_reject, reject.reason) == (True, "PRICE_PRECISION_EXCEEDED")
    assert reject.order_id is None


def test_the_account_nets_its_positions() -> None:
    account = parse.read_account(payload("account"))
    assert account.balance == Decimal("35454.4740")
    assert account.positions == {"EUR_USD": Decimal(-1000)}
    assert account.last_transaction_id == 2330
    assert account.orders[0].trade_id == 2323
    assert account.orders[0].raw["triggerCondition"] == "TRIGGER_DEFAULT"


def test_instruments_become_those_of_the_model() -> None:
    euro, yen = parse.read_instruments(payload("instruments"))
    assert euro.instrument().pip == Decimal("0.0001")
    assert yen.instrument().tick == Decimal("0.001")
    assert yen.instrument().pip == Decimal("0.01")
    assert yen.minimum_trailing_distance is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"", None),
        (b"  \r", None),
        (b'{"type":"HEARTBEAT","time":"2020-10-23T21:02:07.000000000Z"}', parse.Heartbeat),
        (b'{"type":"SOMETHING_NEW","time":"2020-10-23T21:02:07Z"}', None),
        (b'{"type":"DIVIDEND_ADJUSTMENT","id":"7","time":"1.000000000"}', parse.Transaction),
        ((PAYLOADS / "price.json").read_bytes(), parse.Price),
    ],
)  # fmt: skip
def test_stream_lines_of_any_kind_are_survived(line: bytes, kind: type | None) -> None:
    found = parse.read_stream_line(line)
    assert found is None if kind is None else isinstance(found, kind)


def test_a_transaction_heartbeat_shows_the_last_id() -> None:
    line = b'{"type":"HEARTBEAT","lastTransactionID":"2311","time":"2020-10-23T21:02:07Z"}'
    beat = parse.read_stream_line(line)
    assert isinstance(beat, parse.Heartbeat)
    assert beat.last_transaction_id == 2311


@pytest.mark.parametrize(
    "bad",
    ["NaN", "Infinity", "1,2345", "1e308", "", "0", "-1.1", None, True, [], "٣", "1.1.1"],
)
def test_b5_unusable_prices_never_pass(bad: object) -> None:
    source = payload("price") | {"asks": [{"price": bad}]}
    with pytest.raises(DataError):
        parse.read_price(source)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'{"a": NaN}', b'{"a": Infinity}', b"\xff", b"[" * 100_000, b"null"],
)
def test_b5_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(DataError):
        parse.load_json(text)


@pytest.mark.parametrize(
    "text",
    ["2020-10-23T21:02:02", "2020-10-23", "2020-13-01T00:00:00Z", "1603486922", "now", None, 5],
)
def test_a_time_must_be_utc(text: object) -> None:
    with pytest.raises(DataError, match="must be a time"):
        parse.time_ns({"t": text}, "t")


def test_requests_write_times_with_z_and_nine_digits() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert parse.time_text(datetime(2026, 7, 2, 9, 0, 0, 5, tokyo)) == (
        "2026-07-02T00:00:00.000005000Z"
    )
    with pytest.raises(ArgumentError, match="must carry its zone"):
        parse.time_text(datetime(2026, 7, 2))  # noqa: DTZ001 - the case at hand


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_survive_the_round_trip_to_the_nanosecond(at_ns: int) -> None:
    from sep_oanda_server.wire import time_text, unix_text

    assert parse.time_ns({"t": time_text(at_ns)}, "t") == at_ns
    assert parse.time_ns({"t": unix_text(time_text(at_ns))}, "t") == at_ns


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_do_not_depend_on_how_the_network_cuts_them(lines: list[bytes], data: Any) -> None:
    whole = b"".join(line.rstrip(b"\r") + b"\r\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    splitter, found = parse.LineSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += splitter.feed(whole[start:end])
    assert found == [line.rstrip(b"\r") for line in lines]


def test_an_endless_line_is_refused() -> None:
    splitter = parse.LineSplitter()
    assert splitter.feed(b"x" * 1_048_576) == []
    with pytest.raises(DataError, match="longer than 1048576 bytes"):
        splitter.feed(b"x")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["id", "type", "time", "units", "orderID", "bids", "price", "trades"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(
        [
            parse.read_price,
            parse.read_candles,
            parse.read_transaction,
            parse.read_fill,
            parse.read_order,
            parse.read_trade,
            parse.read_account,
            parse.read_instruments,
        ]
    ),
)
def test_no_payload_raises_anything_but_a_data_error(source: object, read: Any) -> None:
    try:
        read(parse.load_json(json.dumps({"type": "PRICE", "x": source}).encode()))
        read(source if isinstance(source, dict) else {})
    except DataError:
        pass
