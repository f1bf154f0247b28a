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
from sep_engine.model import Ohlc
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


def test_the_best_of_a_deep_book_is_its_highest_bid_and_its_lowest_ask() -> None:
    levels = [{"price": one} for one in ("0.65002", "0.65004", "0.65003")]
    price = parse.read_price(payload("price") | {"bids": levels, "asks": levels})
    assert (price.bid, price.ask) == (Decimal("0.65004"), Decimal("0.65002"))
    empty = parse.read_price(payload("price") | {"bids": [], "asks": []})
    assert (empty.bid, empty.ask) == (None, None)


@pytest.mark.parametrize(
    ("said", "tradeable"),
    [
        ({"tradeable": True, "status": "halted"}, True),
        ({"tradeable": False, "status": "tradeable"}, False),
        ({"tradeable": "true", "status": "tradeable"}, False),
        ({"status": "tradeable"}, True),
        ({"status": "non-tradeable"}, False),
        ({}, False),
    ],
)
def test_one_can_trade_at_a_price_only_if_the_venue_says_so(
    said: dict[str, Any], tradeable: bool
) -> None:
    source = payload("price")
    del source["tradeable"], source["status"]
    assert parse.read_price(source | said).tradeable is tradeable


def test_a_price_without_an_instrument_is_none() -> None:
    with pytest.raises(DataError, match="must name its instrument"):
        parse.read_price(payload("price") | {"instrument": ""})


def test_a_price_without_a_spread_is_traded_at() -> None:
    one = [{"price": "1.1"}]
    price = parse.read_price(payload("price") | {"tradeable": True, "bids": one, "asks": one})
    quote = price.quote()
    assert quote is not None
    assert (quote.instrument, quote.spread) == ("EUR_USD", 0)


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("1.10", Decimal("1.10")),
        ("-0.5", Decimal("-0.5")),
        ("+3", Decimal(3)),
        (7, Decimal(7)),
        (Decimal("0.1"), Decimal("0.1")),
        ("9" * 20, Decimal("9" * 20)),
    ],
)
def test_a_number_is_read_to_its_last_digit(sent: object, value: Decimal) -> None:
    assert parse.decimal({"x": sent}, "x") == value
    assert parse.optional_decimal({"x": sent}, "x") == value


@pytest.mark.parametrize(
    "sent", [True, False, 1.5, "1.", ".5", "9" * 21, Decimal("1e9"), Decimal("NaN"), "", None]
)
def test_what_is_no_plain_number_is_named(sent: object) -> None:
    with pytest.raises(DataError, match="x must be a decimal number, was"):
        parse.decimal({"x": sent}, "x")


def test_an_empty_number_is_none_and_a_wrong_one_is_not() -> None:
    assert parse.optional_decimal({}, "x") is None
    assert parse.optional_decimal({"x": None}, "x") is None
    assert parse.optional_decimal({"x": ""}, "x") is None
    with pytest.raises(DataError):
        parse.optional_decimal({"x": "?"}, "x")


@pytest.mark.parametrize(("sent", "value"), [("0", 0), (0, 0), ("12", 12), ("9" * 18, 10**18 - 1)])
def test_an_id_is_a_whole_number(sent: object, value: int) -> None:
    assert parse.identifier({"id": sent}, "id") == value


@pytest.mark.parametrize("sent", ["9" * 19, "-1", -1, True, False, "1.0", 1.0, "", None, "٣", []])
def test_what_is_no_id_is_named(sent: object) -> None:
    with pytest.raises(DataError, match="id must be an id, was"):
        parse.identifier({"id": sent}, "id")


def test_parts_that_are_missing_are_empty_and_those_of_another_kind_are_not_believed() -> None:
    assert parse.text({"a": "b"}, "a") == "b"
    assert parse.text({"a": 5}, "a", "other") == parse.text({}, "a", "other") == "other"
    assert parse.text({}, "a") == ""
    assert parse.objects({}, "a") == []
    assert parse.objects({"a": [{"b": 1}]}, "a") == [{"b": 1}]
    for wrong in ({}, "a", [{"b": 1}, 5], None):
        with pytest.raises(DataError, match="a must be a list of objects"):
            parse.objects({"a": wrong}, "a")
    assert parse.child({"a": {"b": 1}}, "a") == {"b": 1}
    assert parse.child({"a": [1]}, "a") is parse.child({}, "a") is None
    with pytest.raises(DataError, match="account must be an object, was None"):
        parse.read_account({})


def test_a_refusal_shows_no_more_than_the_beginning_of_what_it_refuses() -> None:
    with pytest.raises(DataError) as refused:
        parse.decimal({"x": "y" * 500}, "x")
    # The quote and 59 letters after it: 60 characters.
    assert str(refused.value) == "x must be a decimal number, was '" + "y" * 59


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


def test_candles_keep_the_sides_that_were_asked_for() -> None:
    sides = {"o": "0.5", "h": "0.7", "l": "0.4", "c": "0.6"}
    source = {"time": "1.000000002", "volume": 3, "complete": "true", "mid": sides}
    (candle,) = parse.read_candles({"candles": [source]})
    mid = Ohlc(Decimal("0.5"), Decimal("0.7"), Decimal("0.4"), Decimal("0.6"))
    # A second and two nanoseconds; what is not the word true is not complete.
    assert candle == parse.Candle(1_000_000_002, False, 3, None, None, mid)
    wrong = source | {"mid": sides | {"h": "0.3"}}
    with pytest.raises(DataError, match="mid: "):
        parse.read_candles({"candles": [wrong]})


def test_a_candle_whose_bid_is_above_its_ask_is_named() -> None:
    high, low = (Ohlc(*[Decimal(price)] * 4) for price in ("1.2", "1.1"))
    with pytest.raises(DataError, match=r"EUR_USD 1970-01-01T00:00:00\+00:00: "):
        parse.quote_bars([parse.Candle(0, True, 1, high, low, None)], "EUR_USD", "M1")
    for bid, ask in ((None, high), (low, None)):
        with pytest.raises(DataError, match="ask for price BA"):
            parse.quote_bars([parse.Candle(0, True, 1, bid, ask, None)], "EUR_USD", "M1")


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


def test_every_figure_of_a_fill_is_read() -> None:
    source = payload("market_filled")["orderFillTransaction"] | {
        "pl": "1.5", "financing": "-0.25", "commission": "0.75", "guaranteedExecutionFee": "0.5",
        "price": "1.08400",
        "tradesClosed": [{"tradeID": "9", "units": "-40", "price": "1.2", "realizedPL": "3"}],
        "tradeReduced": {"tradeID": "8", "units": "-2", "financing": "-0.125"},
    }  # fmt: skip
    fill = parse.read_fill(source)
    # 19:59:43 on 2016-11-11 is 1,478,894,383 s after 1970.
    assert fill == parse.Fill(
        transaction_id=2504,
        order_id=2503,
        client_id="sep-1",
        instrument="EUR_USD",
        time_ns=1_478_894_383_253_587_917,
        units=Decimal(10000),
        price=Decimal("1.08463"),
        pl=Decimal("1.5"),
        financing=Decimal("-0.25"),
        commission=Decimal("0.75"),
        guaranteed_fee=Decimal("0.5"),
        half_spread_cost=Decimal("0.7"),
        reason="MARKET_ORDER",
        opened=parse.TradeChange(2504, Decimal(10000), Decimal("1.08463"), Decimal(0), Decimal(0)),
        reduced=(
            parse.TradeChange(9, Decimal(-40), Decimal("1.2"), Decimal(3), Decimal(0)),
            parse.TradeChange(8, Decimal(-2), None, Decimal(0), Decimal("-0.125")),
        ),
    )
    # An old fill has one price only, and no figures that are nothing.
    old = {key: source[key] for key in ("type", "id", "orderID", "time", "units", "price")}
    bare = parse.read_fill(old)
    assert (bare.price, bare.pl, bare.financing) == (Decimal("1.084"), 0, 0)
    assert (bare.commission, bare.guaranteed_fee, bare.half_spread_cost) == (0, 0, 0)
    assert (bare.opened, bare.reduced) == (None, ())


@pytest.mark.parametrize("wrong", [{"type": "MARKET_ORDER"}, {"orderID": None}])
def test_another_transaction_is_no_fill(wrong: dict[str, Any]) -> None:
    source = payload("market_filled")["orderFillTransaction"] | wrong
    if wrong.get("orderID", "") is None:
        del source["orderID"]
    with pytest.raises(DataError, match="not ORDER_FILL"):
        parse.read_fill(source)


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
    assert (reject.units, reject.price) == (Decimal(100), Decimal("1.234567"))
    assert not created.is_reject
    assert (created.type, created.instrument, created.reason) == (
        "MARKET_ORDER", "EUR_USD", "CLIENT_ORDER",
    )  # fmt: skip
    with pytest.raises(DataError, match="transaction 5 has no type"):
        parse.read_transaction({"id": "5", "time": "1.000000000"})


def test_a_dependent_order_is_its_own_and_a_cancel_is_of_another() -> None:
    stop = {"id": "8", "type": "STOP_LOSS_ORDER", "time": "1.000000000", "tradeID": "7"}
    assert parse.read_transaction(stop).order_id == 8
    cancel = {"id": "9", "type": "ORDER_CANCEL", "time": "1.000000000", "orderID": "8"}
    assert parse.read_transaction(cancel).order_id == 8
    assert parse.read_transaction(cancel | {"reason": "CLIENT_REQUEST"}).reason == "CLIENT_REQUEST"


def test_the_account_nets_its_positions() -> None:
    account = parse.read_account(payload("account"))
    assert account.balance == Decimal("35454.4740")
    assert account.positions == {"EUR_USD": Decimal(-1000)}
    assert account.last_transaction_id == 2330
    assert account.orders[0].trade_id == 2323
    assert account.orders[0].raw["triggerCondition"] == "TRIGGER_DEFAULT"


def test_an_account_is_read_with_its_orders_trades_and_both_sides() -> None:
    source = payload("account")
    account = parse.read_account(source)
    assert (account.id, account.currency, account.nav, account.hedging) == (
        "101-004-1435156-001", "EUR", Decimal("35459.1240"), False,
    )  # fmt: skip
    assert account.orders == (
        parse.VenueOrder(2330, "STOP_LOSS", "PENDING", "", "", None, Decimal("1.05"), 2323),
    )
    assert account.trades == (
        parse.VenueTrade(2323, "EUR_USD", "OPEN", Decimal("1.0701"), Decimal(-1000)),
    )
    assert account.sides == (("EUR_USD", Decimal(-1000)),)
    inner = source["account"]
    inner["hedgingEnabled"] = True
    inner["positions"] = [
        {"instrument": "EUR_USD", "long": {"units": "300"}, "short": {"units": "-300"}},
        {"instrument": "USD_JPY", "long": {"units": "200"}, "short": {"units": "-50"}},
        {"instrument": "GBP_USD", "long": {}},
    ]
    hedging = parse.read_account({"account": inner})
    assert hedging.hedging
    # 300 and -300 net to nothing; 200 and -50 to 150.
    assert hedging.positions == {"USD_JPY": Decimal(150)}
    assert hedging.sides == (
        ("EUR_USD", Decimal(300)), ("EUR_USD", Decimal(-300)),
        ("USD_JPY", Decimal(200)), ("USD_JPY", Decimal(-50)),
    )  # fmt: skip
    # Without the one around it, the account's own number counts.
    assert hedging.last_transaction_id == 2330
    assert parse.read_account({"account": inner, "lastTransactionID": "9"}).last_transaction_id == 9


def test_an_order_that_we_named_keeps_its_name() -> None:
    source = {
        "id": "7", "type": "LIMIT", "state": "PENDING", "instrument": "EUR_USD", "units": "-5",
        "price": "1.2", "clientExtensions": {"id": "sep-7"},
    }  # fmt: skip
    assert parse.read_order(source) == parse.VenueOrder(
        7, "LIMIT", "PENDING", "sep-7", "EUR_USD", Decimal(-5), Decimal("1.2"), None
    )


def test_every_term_of_an_instrument_is_read_and_an_impossible_precision_is_refused() -> None:
    euro, yen = parse.read_instruments(payload("instruments"))
    assert euro == parse.InstrumentTerms(
        "EUR_USD", "CURRENCY", -4, 5, 0, Decimal(1), Decimal(100_000_000), Decimal("0.0005"),
        Decimal("0.02"),
    )  # fmt: skip
    assert (yen.margin_rate, yen.maximum_order_units) == (Decimal("0.04"), Decimal(100_000_000))
    made = euro.instrument()
    assert (made.name, made.base, made.quote, made.calendar) == ("EUR_USD", "EUR", "USD", "fx")
    assert (made.units_step, made.price_decimals) == (1, 5)
    one = payload("instruments")["instruments"][0]
    assert (
        parse.read_instruments({"instruments": [one | {"pipLocation": 12}]})[0].pip_location == 12
    )
    assert parse.read_instruments({"instruments": [one | {"pipLocation": -12}]})
    for wrong in (13, -13, True, "4", None):
        with pytest.raises(DataError, match=r"pipLocation must be a whole number in -12\.\.12"):
            parse.read_instruments({"instruments": [one | {"pipLocation": wrong}]})


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
    silent = parse.read_stream_line(b'{"type":"HEARTBEAT","time":"5.000000000"}')
    assert silent == parse.Heartbeat(5_000_000_000, None)


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
    with pytest.raises(DataError, match="longer than"):
        parse.LineSplitter().feed(b"x" * 1_048_577 + b"\n")


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
