"""Who gets in, how often it may be tried, and what ends a login."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.contrib.auth import authenticate
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.test import APIClient

from webapp.config import login
from webapp.tests.conftest import PASSWORD
from webapp.trading.api.authentication import end_access

pytestmark = pytest.mark.django_db

ADDRESSES = [
    ("get", "/api/status"),
    ("get", "/api/system-status"),
    ("get", "/api/system/info"),
    ("get", "/api/instruments"),
    ("get", "/api/market-data"),
    ("get", "/api/candles/EUR_USD"),
    ("get", "/api/qfh/EUR_USD"),
    ("get", "/api/trading-signals"),
    ("get", "/api/trading-signals/1"),
    ("get", "/api/orders"),
    ("get", "/api/orders/1"),
    ("delete", "/api/orders/1"),
    ("post", "/api/place-order"),
    ("get", "/api/positions"),
    ("post", "/api/positions/EUR_USD/close"),
    ("get", "/api/performance/current"),
    ("get", "/api/performance/history"),
    ("get", "/api/config/get"),
    ("post", "/api/config/set"),
    ("get", "/api/config/schema"),
    ("get", "/api/config/history"),
    ("post", "/api/config/rollback"),
    ("post", "/api/trading/state"),
    ("post", "/api/trading/close-everything"),
    ("get", "/api/feed"),
    ("post", "/api/feed"),
    ("post", "/api/analyze"),
    ("get", "/api/jobs/6c1f5d52-6a4e-4e4c-9d35-3a7a3a4c6f10"),
    ("post", "/api/auth/ws-ticket"),
    ("get", "/api/schema"),
    ("get", "/api/broker"),
    ("get", "/api/trades"),
    ("post", "/api/trades/1/close"),
    ("patch", "/api/orders/1"),
    ("get", "/api/reconciliations"),
    ("get", "/api/reconciliations/1"),
    ("get", "/api/data-sets"),
    ("post", "/api/evidence"),
    ("post", "/api/backtests"),
    ("post", "/api/sweeps"),
    ("get", "/api/runs"),
    ("get", "/api/runs/compare"),
    ("get", f"/api/runs/{'0' * 64}"),
    ("delete", f"/api/runs/{'0' * 64}"),
    ("post", f"/api/runs/{'0' * 64}/cancel"),
    ("get", f"/api/runs/{'0' * 64}/document"),
    ("get", f"/api/runs/{'0' * 64}/page"),
    ("get", "/api/strategies/1/live-gate"),
    ("post", "/api/strategies/1/live-gate"),
    ("delete", "/api/strategies/1/live-gate"),
]


def tokens(username: str = "alice", password: str = PASSWORD) -> Any:
    body = {"username": username, "password": password}
    return APIClient().post("/api/auth/token", body, format="json")


def with_token(access: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return client


def test_the_list_of_addresses_is_whole() -> None:
    from webapp.trading.api import run_urls, urls

    open_to_all = {"", "health", "auth/token", "auth/refresh", "auth/revoke"}
    patterns = [*urls.urlpatterns, *run_urls.urlpatterns]
    paths = {str(pattern.pattern) for pattern in patterns} - open_to_all
    tried = {address.removeprefix("/api/").split("/")[0] for _, address in ADDRESSES}
    assert {path.split("/")[0] for path in paths} == tried


@pytest.mark.parametrize(("method", "address"), ADDRESSES)
def test_nobody_gets_in_without_a_login(db: None, method: str, address: str) -> None:
    response = getattr(APIClient(), method)(address)
    assert response.status_code == 401
    assert response.json()["code"] == "not_authenticated"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "address"), ADDRESSES)
def test_a_login_without_rights_gets_nothing(charlie: Any, method: str, address: str) -> None:
    client = APIClient()
    client.force_login(charlie)
    response = getattr(client, method)(address)
    assert response.status_code == 403
    assert response.json()["code"] == "permission_denied"


def test_a_session_needs_the_csrf_token_to_write(alice: Any) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post("/api/trading/state", {}, format="json")
    assert response.status_code == 403
    assert "CSRF" in response.json()["message"]


def test_a_token_opens_the_api_for_five_minutes(alice: Any, valkey: Any) -> None:
    access = tokens().json()["access"]
    assert with_token(access).get("/api/config/schema").status_code == 200
    claims = jwt.decode(access, options={"verify_signature": False})
    # The two are stamped one after the other, and a second may end between them.
    assert 299 <= claims["exp"] - claims["iat"] <= 300
    assert (claims["aud"], claims["iss"]) == ("sep-api", "sep")


def forged(alice: Any, **changes: Any) -> dict[str, str]:
    """Tokens that must open nothing, by what is wrong with them."""
    good = jwt.decode(tokens().json()["access"], options={"verify_signature": False})
    key = settings.SEP_JWT_KEY
    without = {name: {**good} for name in ("exp", "aud", "iss", "token_type", "user_id", "jti")}
    for name, claims in without.items():
        del claims[name]
    return {
        "algorithm none": jwt.encode(good, "", algorithm="none"),
        "another algorithm": jwt.encode(good, key, algorithm="HS512"),
        "another key": jwt.encode(good, "x" * 64, algorithm="HS256"),
        "the key of cookies": jwt.encode(good, settings.SECRET_KEY, algorithm="HS256"),
        "expired": jwt.encode(good | {"exp": int(time.time()) - 60}, key, algorithm="HS256"),
        "another audience": jwt.encode(good | {"aud": "other"}, key, algorithm="HS256"),
        "another issuer": jwt.encode(good | {"iss": "other"}, key, algorithm="HS256"),
        "a refresh token": jwt.encode(good | {"token_type": "refresh"}, key, algorithm="HS256"),
        "another user": jwt.encode(good | {"user_id": "999"}, key, algorithm="HS256"),
        "garbage": "a.b.c",
        **{
            f"without {name}": jwt.encode(claims, key, algorithm="HS256")
            for name, claims in without.items()
        },
    }


def test_no_forged_token_opens_anything(alice: Any, valkey: Any) -> None:
    answers = {
        name: with_token(token).get("/api/config/schema").status_code
        for name, token in forged(alice).items()
    }
    assert answers == dict.fromkeys(answers, 401)


def test_a_refresh_token_works_once_and_its_second_use_ends_all(alice: Any, valkey: Any) -> None:
    first = tokens().json()["refresh"]
    other_device = tokens().json()["refresh"]
    client = APIClient()
    second = client.post("/api/auth/refresh", {"refresh": first}, format="json")
    assert second.status_code == 200
    replayed = client.post("/api/auth/refresh", {"refresh": first}, format="json")
    assert replayed.status_code == 401
    assert replayed.json()["code"] == "token_not_valid"
    for refresh in (second.json()["refresh"], other_device):
        answer = client.post("/api/auth/refresh", {"refresh": refresh}, format="json")
        assert answer.status_code == 401
    access = second.json()["access"]
    assert with_token(access).get("/api/config/schema").status_code == 401


def test_a_new_login_after_that_works(alice: Any, valkey: Any) -> None:
    end_access(alice.pk, now=timezone.now() - timedelta(seconds=2))
    access = tokens().json()["access"]
    assert with_token(access).get("/api/config/schema").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_two_that_use_one_refresh_token_at_one_time_one_gets_in(alice: Any, valkey: Any) -> None:
    refresh = tokens().json()["refresh"]

    def use(_: int) -> int:
        answer = APIClient().post("/api/auth/refresh", {"refresh": refresh}, format="json")
        connection.close()
        return int(answer.status_code)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(use, range(4))) == [200, 401, 401, 401]


def test_garbage_as_a_refresh_token_is_refused_and_ends_nothing(alice: Any, valkey: Any) -> None:
    good = tokens().json()["refresh"]
    client = APIClient()
    assert client.post("/api/auth/refresh", {"refresh": "a.b"}, format="json").status_code == 401
    assert client.post("/api/auth/refresh", {"refresh": good}, format="json").status_code == 200


def test_a_revoked_refresh_token_is_dead(alice: Any, valkey: Any) -> None:
    pair = tokens().json()
    access, refresh = pair["access"], pair["refresh"]
    client = APIClient()
    assert client.post("/api/auth/revoke", {"refresh": refresh}, format="json").status_code == 204
    again = client.post("/api/auth/refresh", {"refresh": refresh}, format="json")
    assert again.status_code == 401
    assert with_token(access).get("/api/config/schema").status_code == 401


@pytest.mark.parametrize("change", ["password", "active"])
def test_a_token_ends_with_the_password_or_the_account(
    alice: Any, valkey: Any, change: str
) -> None:
    client = with_token(tokens().json()["access"])
    if change == "password":
        alice.set_password("another good password")
    else:
        alice.is_active = False
    alice.save()
    assert client.get("/api/config/schema").status_code == 401


def test_a_wrong_password_and_an_unknown_user_look_the_same(alice: Any, valkey: Any) -> None:
    wrong, unknown = tokens(password="nope"), tokens(username="nobody")
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())
    assert wrong.status_code == 401


def test_too_many_failures_lock_this_address_out_for_a_while(alice: Any, valkey: Any) -> None:
    for _ in range(login.FAILURES_PER_ADDRESS_AND_USER):
        assert tokens(password="nope").status_code == 401
    refused = tokens()
    assert refused.status_code == 429
    assert refused.json()["code"] == "throttled"
    assert 0 < int(refused.headers["Retry-After"]) <= login.WINDOW_S


def test_successes_do_not_count(alice: Any, valkey: Any) -> None:
    for _ in range(login.FAILURES_PER_ADDRESS + 1):
        assert tokens().status_code == 200


def test_parallel_attempts_cannot_pass_the_limit_together(alice: Any, valkey: Any) -> None:
    """The script counts before the password is checked: the attempt above the limit is refused
    even while none of the earlier ones has failed yet."""
    keys = ["sep:login:10.0.0.1", "sep:login:10.0.0.1:x"]
    limits = [login.FAILURES_PER_ADDRESS, login.FAILURES_PER_ADDRESS_AND_USER]
    waits = [valkey.eval(login._TAKE, 2, *keys, login.WINDOW_S, *limits) for _ in range(12)]
    assert [wait > 0 for wait in waits] == [False] * 10 + [True] * 2


def test_an_ipv6_address_counts_with_its_whole_network() -> None:
    assert login._network("2001:db8:1:2:aaaa::1") == login._network("2001:db8:1:2:bbbb::9")
    assert login._network("2001:db8:1:2::1") != login._network("2001:db8:1:3::1")


def test_without_valkey_nobody_logs_in_and_who_is_in_stays_in(
    api: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from valkey import Valkey

    # Nothing listens on port 1.
    monkeypatch.setattr(login, "_client", lambda: Valkey(host="127.0.0.1", port=1))
    response = tokens()
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert api.get("/api/config/schema").status_code == 200


def test_the_reason_of_a_refusal_is_left_for_the_page(alice: Any, valkey: Any) -> None:
    request = RequestFactory().post("/login")
    for _ in range(login.FAILURES_PER_ADDRESS_AND_USER):
        assert authenticate(request, username="alice", password="nope") is None
    assert authenticate(request, username="alice", password=PASSWORD) is None
    assert request.login_refused.startswith("Too many attempts")  # type: ignore[attr-defined]


def test_pages_carry_their_security_headers(client: Any, db: None) -> None:
    headers = client.get("/api/health").headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("get", "/api/nothing", 404, "not_found"),
        ("get", "/api/orders/999", 404, "not_found"),
        ("get", "/api/candles/XXX", 404, "not_found"),
        ("put", "/api/orders", 405, "method_not_allowed"),
        ("get", "/api/orders?limit=1000000000", 400, "invalid"),
        ("get", "/api/orders?offset=-1", 400, "invalid"),
        ("get", "/api/orders?state=GONE", 400, "invalid"),
        ("get", "/api/orders?owner=1", 400, "invalid"),
        ("get", "/api/candles/EUR_USD?limit=0", 400, "invalid"),
        ("get", "/api/candles/EUR_USD?before=yesterday", 400, "invalid"),
        ("get", "/api/candles/EUR_USD?granularity=H7", 400, "invalid"),
        ("get", "/api/jobs/not-a-uuid", 404, "not_found"),
    ],
)
def test_every_error_has_the_one_shape(
    api: Any, method: str, address: str, status: int, code: str
) -> None:
    response = getattr(api, method)(address)
    assert response.status_code == status
    body = response.json()
    assert set(body) == {"code", "message", "fields"}
    assert body["code"] == code
    assert body["message"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/api/orders/999", "There is no order 999."),
        ("/api/candles/XXX", "There is no instrument XXX."),
        ("/api/jobs/5b1f0c5e-0000-4000-8000-000000000000", "There is no such analysis job."),
    ],
)
def test_what_is_missing_is_named(api: Any, address: str, message: str) -> None:
    assert api.get(address).json()["message"] == message


@pytest.mark.parametrize(
    "address",
    [
        "/api/candles/%00",
        "/api/candles/EUR_USD%27%3B--",
        "/api/candles/EUR_USD?before=0001-01-01T00:00:00%2B14:00",
        "/api/candles/EUR_USD?before=9999-12-31T23:59:59-14:00",
        "/api/qfh/EUR_USD?window=7",
        "/api/qfh/EUR_USD?encoding=%00",
        "/api/orders/99999999999999999999",
        "/api/orders?instrument=%00",
        "/api/orders?limit=1e9",
        "/api/orders?offset=99999999999999999999",
        "/api/trading-signals/-1",
        "/api/config/get?key=%00",
        "/api/%ff%fe",
    ],
)
def test_no_address_makes_an_unexpected_exception(api: Any, sample: Any, address: str) -> None:
    assert api.get(address).status_code in (400, 404)


def test_an_unexpected_exception_tells_an_id_and_nothing_else(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("webapp.trading.api.health.status_resource", broken)
    api.raise_request_exception = False
    response = api.get("/api/status")
    assert response.status_code == 500
    assert "secret" not in response.content.decode()
    error_id = response.json()["message"].split()[-1].rstrip(".")
    assert any(
        f"error {error_id} at GET /api/status" in record.message for record in caplog.records
    )


def test_a_login_lasts_half_a_day() -> None:
    assert timedelta(hours=12) == timedelta(seconds=settings.SESSION_COOKIE_AGE)
