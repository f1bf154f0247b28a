"""The server as a browser meets it: many requests at one time, through real sockets."""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import Client

from webapp.tests.conftest import PASSWORD
from webapp.trading.models import Feed, Order

pytestmark = pytest.mark.django_db(transaction=True)


def request(server: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Return status and body of a real request."""
    data = None if body is None else json.dumps(body).encode()
    wanted = urllib.request.Request(f"http://{server}{path}", data, headers, method=method)
    wanted.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(wanted, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.fixture
def bearer(server: str, alice: Any, valkey: Any) -> dict[str, str]:
    login = {"username": "alice", "password": PASSWORD}
    status, tokens = request(server, "POST", "/api/auth/token", login)
    assert status == 200
    return {"Authorization": f"Bearer {tokens['access']}"}


def test_o1_a_retry_that_overtakes_its_first_try_makes_one_order(
    server: str, bearer: dict[str, str], sample: Feed
) -> None:
    body = {"instrument": "EUR_USD", "units": "1000"}

    def place(key: str) -> Any:
        headers = bearer | {"Idempotency-Key": key}
        return request(server, "POST", "/api/place-order", body, **headers)

    keys = [f"key-{number // 8}" for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(place, keys))
    assert [status for status, _ in answers] == [202] * 16
    assert len({order["id"] for _, order in answers}) == 2
    assert Order.objects.count() == 2


def test_readers_and_writers_at_one_time_meet_no_lock(
    server: str, bearer: dict[str, str], sample: Feed
) -> None:
    def work(number: int) -> int:
        if number % 2:
            status, _ = request(server, "GET", "/api/status", **bearer)
        else:
            body = {"bars_per_second": number + 1}
            status, _ = request(server, "POST", "/api/feed", body, **bearer)
        return int(status)

    # Four write at a time: on a machine ten times as busy SQLite's 5 s are not over for the last.
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(64))) == {200}


def test_the_admin_s_files_are_served_without_being_collected(server: str, db: None) -> None:
    with urllib.request.urlopen(f"http://{server}/static/admin/css/base.css", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/css")
        assert len(answer.read()) > 1000


def test_a_request_to_another_host_is_refused(server: str, db: None) -> None:
    status, body = request(server, "GET", "/api/health", Host="evil.example")
    assert (status, body["code"]) == (400, "bad_request")


def test_a_body_over_the_limit_is_refused_with_an_answer(server: str, db: None) -> None:
    status, body = request(server, "POST", "/api/auth/token", {"username": "x" * 3_000_000})
    assert (status, body["code"]) == (413, "too_long")


def test_a_login_by_the_page_opens_the_api(alice: Any, valkey: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get("/login")
    form = {"username": "alice", "password": PASSWORD}
    form["csrfmiddlewaretoken"] = client.cookies["csrftoken"].value
    assert client.post("/login", form).status_code == 302
    assert client.get("/api/config/schema").status_code == 200
    json_type = "application/json"
    headers = {"X-CSRFToken": client.cookies["csrftoken"].value}
    ticket = client.post("/api/auth/ws-ticket", content_type=json_type, headers=headers)
    assert ticket.status_code == 200
