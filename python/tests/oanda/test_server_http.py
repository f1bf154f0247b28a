"""The server on a loopback socket: streams, limits, control, and each fault of the script."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from sep_oanda_server import server as server_module
from sep_oanda_server.faults import FaultError, FaultScript, read_fault, read_script
from sep_oanda_server.market import Quote
from sep_oanda_server.server import Limits, Pace, TokenBucket
from sep_oanda_server.store import Store
from sep_oanda_server.wire import read_time

Serve = Any
Served = Any
BASE = "/v3/accounts/101-004-1435156-001"
HEADERS = {"Authorization": "Bearer the-token", "Content-Type": "application/json"}
BUY = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "100"}}
BREAKS = (http.client.HTTPException, ConnectionError, TimeoutError)


def call(
    served: Served, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    payload = None if body is None else json.dumps(body)
    connection.request(method, path, payload, HEADERS | headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), content


def last_id(served: Served) -> int:
    return int(json.loads(call(served, "GET", f"{BASE}/summary")[2])["lastTransactionID"])


def raw_answer(served: Served, method: str, path: str, body: object = None) -> bytes:
    """Every byte that comes back before the connection ends."""
    payload = b"" if body is None else json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-token\r\n"
            f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n".encode()
            + payload
        )
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except ConnectionError:
            pass  # a cut without a single byte is a reset
        return found


class Lines:
    """An NDJSON stream, line by line."""

    def __init__(self, served: Served, path: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        self.connection.request("GET", path, None, HEADERS)
        self.response = self.connection.getresponse()
        assert self.response.status == 200

    def raw(self) -> bytes:
        return self.response.readline()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while line := self.raw():
            if line.strip():
                yield json.loads(line)

    def events(self, count: int) -> list[dict[str, Any]]:
        """The next lines that are not heartbeats."""
        found: list[dict[str, Any]] = []
        for one in self:
            if one["type"] != "HEARTBEAT":
                found.append(one)
                if len(found) == count:
                    break
        return found

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def test_an_order_goes_through_http(serve: Serve) -> None:
    served = serve()
    status, headers, content = call(served, "POST", f"{BASE}/orders", BUY)
    assert status == 201
    assert headers["Location"] == f"{BASE}/orders/3"
    assert headers["RequestID"] == "0000000000000001"
    assert json.loads(content)["orderFillTransaction"]["price"] == "1.10010"


def test_the_transaction_stream_sends_each_transaction_once_in_order(serve: Serve) -> None:
    served = serve()
    lines = Lines(served, f"{BASE}/transactions/stream")
    first = next(iter(lines))
    assert first["type"] == "HEARTBEAT"
    assert first["lastTransactionID"] == "2"
    for _ in range(3):
        call(served, "POST", f"{BASE}/orders", BUY)
    assert [one["id"] for one in lines.events(6)] == ["3", "4", "5", "6", "7", "8"]
    assert next(iter(lines))["lastTransactionID"] == "8"
    lines.close()


def test_the_price_stream_begins_with_a_snapshot_and_beats_when_it_is_quiet(serve: Serve) -> None:
    served = serve()
    lines = Lines(served, f"{BASE}/pricing/stream?instruments=EUR_USD")
    assert lines.events(1)[0]["closeoutBid"] == "1.10000"
    assert next(iter(lines))["type"] == "HEARTBEAT"
    served.publish("1.20000", "1.20010")
    assert lines.events(1)[0]["closeoutAsk"] == "1.20010"
    lines.close()


def test_heartbeats_keep_their_time_while_the_venue_is_busy(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "TICK_S", 0.02)
    served = serve(limits=Limits(0, heartbeat_s=0.3, price_interval_s=0.01))
    for path in ("/transactions/stream", "/pricing/stream?instruments=EUR_USD"):
        started = time.monotonic()
        lines = Lines(served, BASE + path)
        beats = [one for one, _ in zip(lines, range(4), strict=False) if one["type"] == "HEARTBEAT"]
        lines.close()
        assert len(beats) >= 3
        assert time.monotonic() - started < 60


def test_a_slow_price_stream_gets_the_latest_price_only(serve: Serve) -> None:
    served = serve(limits=Limits(0, heartbeat_s=5, price_interval_s=0.3))
    lines = Lines(served, f"{BASE}/pricing/stream?instruments=EUR_USD")
    lines.events(1)
    for bid in ("1.20000", "1.30000", "1.40000"):
        served.publish(bid, "1.50000")
    assert [one["closeoutBid"] for one in lines.events(1)] == ["1.40000"]
    lines.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pricing/stream", 400),
        ("/pricing/stream?instruments=XXX_YYY", 400),
    ],
)
def test_a_stream_that_cannot_be_opened_says_why(serve: Serve, path: str, status: int) -> None:
    found, _, content = call(serve(), "GET", BASE + path)
    assert found == status
    assert "instruments" in json.loads(content)["errorMessage"]


def test_a_recording_is_replayed_and_triggers_orders(serve: Serve) -> None:
    second_ns = 1_000_000_000
    events = [
        (gap_ns, Quote("EUR_USD", time_ns, Decimal(price), Decimal(price)))
        for gap_ns, time_ns, price in (
            (0, 0, "1.1"),
            (second_ns, second_ns, "1.2"),
            (second_ns, 2 * second_ns, "1.3"),
        )
    ]
    served = serve(events=events, pace=Pace(speed=1000, paused=True), wall_clock=False)
    call(served, "POST", "/control/quote", {"instrument": "EUR_USD", "bid": 1.1, "ask": "1.1001"})
    order = BUY["order"] | {"type": "STOP", "price": "1.25"}
    assert call(served, "POST", f"{BASE}/orders", {"order": order})[0] == 201
    call(served, "POST", "/control/feed", {"paused": False})
    status: dict[str, Any] = {}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = json.loads(call(served, "GET", "/control")[2])
        if status["feed"]["cursor"] == 3:
            break
        time.sleep(0.02)
    assert status["feed"]["cursor"] == status["feed"]["total"] == 3
    # The market's clock stands at the last quote, two seconds after 1970.
    assert status["time"] == "1970-01-01T00:00:02.000000000Z"
    order = json.loads(call(served, "GET", f"{BASE}/orders/3")[2])["order"]
    assert order["state"] == "FILLED"


def test_a_name_may_come_percent_encoded(serve: Serve) -> None:
    served = serve()
    order = BUY["order"] | {"clientExtensions": {"id": "sep/1"}}
    call(served, "POST", f"{BASE}/orders", {"order": order})
    status, _, content = call(served, "GET", f"{BASE}/orders/%40sep%2F1")
    assert (status, json.loads(content)["order"]["id"]) == (200, "3")


def test_b9_the_venues_clock_can_be_ahead(serve: Serve) -> None:
    served = serve(clock_offset_ns=3600 * 1_000_000_000)
    content = json.loads(call(served, "POST", f"{BASE}/orders", BUY)[2])
    stamped = read_time(content["orderFillTransaction"]["time"]) / 1e9
    assert 3590 < stamped - time.time() < 3610


def test_too_many_requests_are_refused(serve: Serve) -> None:
    served = serve(limits=Limits(requests_per_s=3))
    found = [call(served, "GET", f"{BASE}/summary")[0] for _ in range(8)]
    assert found[:3] == [200, 200, 200]
    assert 429 in found


def test_a_token_bucket_refills() -> None:
    bucket = TokenBucket(2)
    assert [bucket.take(10.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(10.5)
    assert not bucket.take(10.5)


def test_what_was_answered_is_in_the_file(serve: Serve, tmp_path: Any) -> None:
    from sep_oanda_server.ledger import Terms

    path = tmp_path / "ledger.sqlite3"
    served = serve(store_path=path)
    call(served, "POST", f"{BASE}/orders", BUY)
    reader = Store(path)
    ledger = reader.load(Terms("101-004-1435156-001"))
    reader.close()
    assert ledger is not None
    assert ledger.last_id == 4


# -- faults ------------------------------------------------------------------------------------


def test_the_answer_can_be_lost_after_the_order_was_accepted(serve: Serve) -> None:
    served = serve()
    served.fault({"method": "POST", "path": "/orders$", "cut": "after"})
    with pytest.raises(BREAKS):
        call(served, "POST", f"{BASE}/orders", BUY)
    assert last_id(served) == 4
    assert call(served, "POST", f"{BASE}/orders", BUY)[0] == 201


def test_a_request_can_be_cut_before_it_takes_effect(serve: Serve) -> None:
    served = serve()
    served.fault({"method": "POST", "cut": "before"})
    with pytest.raises(BREAKS):
        call(served, "POST", f"{BASE}/orders", BUY)
    assert last_id(served) == 2


def test_the_answer_can_be_cut_at_any_byte(serve: Serve) -> None:
    served = serve()
    for size in (1, 15, 200, 700):
        served.fault({"path": "/orders$", "cut": "after", "cut_at": size})
        assert len(raw_answer(served, "POST", f"{BASE}/orders", BUY)) == size
    assert last_id(served) == 2 + 4 * 2


def test_answers_can_be_malformed_truncated_and_padded(serve: Serve) -> None:
    served = serve()
    served.fault({"truncate": 40})
    _, headers, content = call(served, "POST", f"{BASE}/orders", BUY)
    assert len(content) == int(headers["Content-Length"]) == 40
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(content)
    served.fault({"pad": 3_000_000})
    assert len(call(served, "GET", f"{BASE}/summary")[2]) > 3_000_000
    served.fault({"pad": 3_000_000, "gzip": True})
    _, headers, content = call(served, "GET", f"{BASE}/summary")
    assert headers["Content-Encoding"] == "gzip"
    assert len(content) < 20_000 < 3_000_000 < len(gzip.decompress(content))


def test_other_statuses_redirects_and_their_headers(serve: Serve) -> None:
    served = serve()
    served.fault({"status": 429, "headers": {"Retry-After": "1"}, "body": {"errorMessage": "slow"}})
    status, headers, content = call(served, "POST", f"{BASE}/orders", BUY)
    assert (status, headers["Retry-After"], json.loads(content)["errorMessage"]) == (
        429,
        "1",
        "slow",
    )
    assert last_id(served) == 2
    served.fault({"status": 502, "body": "<html>Bad Gateway</html>", "processed": True})
    status, _, content = call(served, "POST", f"{BASE}/orders", BUY)
    assert (status, content) == (502, b"<html>Bad Gateway</html>")
    assert last_id(served) == 4
    served.fault({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}})
    assert call(served, "GET", f"{BASE}/summary")[1]["Location"] == "http://127.0.0.1:1/"


def test_an_answer_can_be_late(serve: Serve) -> None:
    served = serve()
    served.fault({"delay_after_s": 0.3})
    started = time.monotonic()
    assert call(served, "POST", f"{BASE}/orders", BUY)[0] == 201
    assert time.monotonic() - started >= 0.3


def test_the_matching_engine_can_be_interfered_with(serve: Serve) -> None:
    served = serve()
    served.fault(
        {"path": "/orders$", "fill_units": "30"}, {"path": "/orders$", "cancel": "MARKET_HALTED"}
    )
    first = BUY["order"] | {"timeInForce": "IOC"}
    content = json.loads(call(served, "POST", f"{BASE}/orders", {"order": first})[2])
    assert content["orderFillTransaction"]["units"] == "30"
    content = json.loads(call(served, "POST", f"{BASE}/orders", BUY)[2])
    assert content["orderCancelTransaction"]["reason"] == "MARKET_HALTED"


def test_reads_can_lag_behind_writes(serve: Serve) -> None:
    served = serve()
    call(
        served,
        "POST",
        f"{BASE}/orders",
        {"order": BUY["order"] | {"clientExtensions": {"id": "a"}}},
    )
    served.fault({"method": "GET", "path": "/orders/", "times": 0, "lag_s": 60})
    assert call(served, "GET", f"{BASE}/orders/@a")[0] == 404
    served.fault()
    assert call(served, "GET", f"{BASE}/orders/@a")[0] == 200


@pytest.mark.parametrize(
    ("fault", "ids"),
    [
        ({"duplicate": True}, ["3", "3", "4", "4"]),
        ({"swap": True}, ["4", "3", "6", "5"]),
        ({"drop": 3}, ["6"]),
        ({"split": True}, ["3", "4", "5", "6"]),
    ],
)
def test_stream_lines_can_come_twice_swapped_split_or_not_at_all(
    serve: Serve, fault: dict[str, Any], ids: list[str]
) -> None:
    served = serve()
    served.fault({"path": "/transactions/stream"} | fault)
    lines = Lines(served, f"{BASE}/transactions/stream")
    for _ in range(2):
        call(served, "POST", f"{BASE}/orders", BUY)
    assert [one["id"] for one in lines.events(len(ids))] == ids
    lines.close()


def test_a_stream_can_fall_silent_break_off_or_garble(serve: Serve) -> None:
    served = serve()
    served.fault({"path": "stream", "stall_after": 1})
    lines = Lines(served, f"{BASE}/transactions/stream")
    call(served, "POST", f"{BASE}/orders", BUY)
    assert [one["id"] for one in lines.events(1)] == ["3"]
    lines.connection.sock.settimeout(0.6)  # three heartbeats long
    with pytest.raises(TimeoutError):
        lines.raw()
    lines.close()

    served.fault({"path": "stream", "cut_after": 1})
    lines = Lines(served, f"{BASE}/transactions/stream")
    call(served, "POST", f"{BASE}/orders", BUY)
    found: list[dict[str, Any]] = []
    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        found = lines.events(2)  # a broken-off stream ends early or with an error, not in time
    assert len(found) < 2
    lines.close()

    served.fault({"path": "pricing/stream", "garble": True})
    lines = Lines(served, f"{BASE}/pricing/stream?instruments=EUR_USD")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(lines.raw())
    lines.close()


def test_faults_are_set_at_the_control_address_under_the_token(serve: Serve) -> None:
    served = serve()
    rule = {"method": "GET", "path": "/summary$", "after": 1, "times": 1, "status": 503}
    status, _, content = call(served, "POST", "/control/faults", [rule])
    assert (status, json.loads(content)["faults_seen"]) == (200, [0])
    found = [call(served, "GET", f"{BASE}/summary")[0] for _ in range(3)]
    assert found == [200, 503, 200]
    assert json.loads(call(served, "GET", "/control")[2])["faults_seen"] == [2]
    assert json.loads(call(served, "DELETE", "/control/faults")[2])["faults_seen"] == []
    assert call(served, "GET", "/control", Authorization="Bearer no")[0] == 401
    for path, body in (
        ("/control/faults", [{"statos": 1}]),
        ("/control/quote", {"instrument": "EUR_USD", "bid": "2", "ask": "1"}),
        ("/control/feed", {"speed": 0}),
    ):
        assert call(served, "POST", path, body)[0] == 400
    assert call(served, "GET", "/control/else")[0] == 404


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"statos": 1}, "statos: no such key"),
        ({"status": "429"}, "status: must be of type int"),
        ({"times": True}, "times: must be of type int"),
        ({"path": "("}, "path: "),
        ({"cut": "now"}, "cut: must be 'before' or 'after'"),
        ("x", "must be an object"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(rule: object, message: str) -> None:
    with pytest.raises(FaultError, match=message.replace("(", r"\(")):
        read_fault(rule)


def test_the_first_rule_that_is_not_used_up_decides() -> None:
    script = FaultScript(
        read_script(
            [{"path": "/orders", "status": 500}, {"method": "POST", "status": 429, "times": 0}]
        )
    )
    taken = [script.take("POST", "/orders") for _ in range(3)]
    assert [one.status for one in taken if one] == [500, 429, 429]
    assert script.take("GET", "/trades") is None


def test_an_oversized_request_is_refused(serve: Serve) -> None:
    served = serve()
    assert call(served, "POST", f"{BASE}/orders", {"order": "x" * 300_000})[0] == 413
    assert last_id(served) == 2
