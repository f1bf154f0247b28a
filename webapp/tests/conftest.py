"""What the tests of the web app share. No test here reaches another host."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.testing")

PASSWORD = "correct horse battery"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-only",
        action="store_true",
        help="leave out what touches no database: a second one would tell nothing new of it",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("database_only"):
        return
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        uses = fixtures & {"db", "transactional_db"} or item.get_closest_marker("django_db")
        (kept if uses else dropped).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@cache
def _tables() -> tuple[str, ...]:
    """Every table whose rows come from tests: those of migrations and permissions stay."""
    from django.db import connection

    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return tuple(sorted({*names} - {"django_content_type", "auth_permission"}))


def _empty_tables(case: object) -> None:
    """Delete the rows there are: Django would empty each of 60 tables, and make permissions again.

    A test whose transactions are its own ended with 0.3 s of that on PostgreSQL.
    """
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Neither foreign keys nor triggers have a say, as in Django's TRUNCATE.
            cursor.execute("SET LOCAL session_replication_role = replica")
        asked = (f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in _tables())
        cursor.execute(" UNION ALL ".join(asked))
        for (name,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {name}")


@pytest.fixture(scope="session", autouse=True)
def quick_ends() -> Iterator[None]:
    from django.test import TransactionTestCase

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty_tables)
        yield


class ValkeyServer:
    """A real Valkey at the address of the settings."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        from django.conf import settings

        from webapp import embedded_valkey

        self._process = embedded_valkey.start(Path(settings.SEP_VAR_PATH), timeout_s=60)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it stand still, its connections open, until the block is left."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=60)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Return what `work` of 0, 1, … answers when `count` threads begin it at the same moment."""
    from django.db import connections

    together = threading.Barrier(count, timeout=30)

    def one(number: int) -> Any:
        together.wait()
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def eur_usd() -> Any:
    """Store EUR/USD with the steps that OANDA has for it."""
    from webapp.trading.models import Instrument

    return Instrument.objects.create(
        name="EUR_USD",
        display_name="EUR/USD",
        base="EUR",
        quote="USD",
        tick=Decimal("0.00001"),
        pip=Decimal("0.0001"),
        units_step=Decimal(1),
        price_decimals=5,
        calendar="fx",
    )


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """One Valkey for the whole run; who kills it starts it again."""
    server = ValkeyServer()
    yield server
    server.kill()


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> Iterator[Any]:
    """A client of an empty Valkey."""
    from django.conf import settings
    from valkey import Valkey

    client = Valkey.from_url(settings.VALKEY_URL)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The whole ASGI application behind uvicorn, as the launcher starts it."""
    import uvicorn

    from webapp.config.asgi import application
    from webapp.trading import consumers

    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_level="error",
        ws_max_size=consumers.FRAME_BYTES_MAX,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not running.started:
        assert time.monotonic() < deadline, "the server did not start within 60 s"
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


@cache
def _parsed_sample(name: str) -> Any:
    """The sample with its bars made once: tests need it a hundred times."""
    from sep_engine.data import load_sample

    parsed = load_sample(name)
    bars = parsed.quote_bars()
    return SimpleNamespace(
        instrument=parsed.instrument,
        bars=parsed.bars,
        history_bars=parsed.history_bars,
        metadata=parsed.metadata,
        quote_bars=lambda: bars,
    )


# The rows of a history as SQL, once a test has stored it: 2,000 candles through the models take
# 0.2 s of CPU, and each of 270 tests begins with them.
_histories: dict[tuple[str, int, str], list[str]] = {}
_HISTORY = "granularity, start, open, high, low, close, volume, price_side, source"


def _store_history(as_sep_does: Callable[..., None], feed: Any, bars: Any, price_side: str) -> None:
    """Store the history as SEP does for the first test, and the same rows for later ones."""
    from django.db import connection
    from django.utils import timezone

    key = (feed.source, feed.history_bars, price_side)
    with connection.cursor() as cursor:
        if key in _histories:
            made = f"{feed.instrument_id}, '{timezone.now():%Y-%m-%d %H:%M:%S.%f}'"
            rows = ", ".join(f"({made}, {row})" for row in _histories[key])
            cursor.execute(
                f"INSERT INTO trading_candle (instrument_id, created_at, {_HISTORY}) VALUES {rows}"
            )
        else:
            as_sep_does(feed, bars, price_side)
            texts = ", ".join(f"CAST({column} AS TEXT)" for column in _HISTORY.split(", "))
            cursor.execute(f"SELECT {texts} FROM trading_candle ORDER BY id")
            stored = cursor.fetchall()
            assert len(stored) == feed.history_bars
            _histories[key] = [", ".join(map(_literal, row)) for row in stored]


def _literal(text: str | None) -> str:
    return "NULL" if text is None else f"'{text}'"


@pytest.fixture
def sample(db: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The feed of the sample, with its account, strategy, limits and 2,000 candles of history."""
    from django.utils import timezone

    from webapp.trading.trader import feeds, setup

    monkeypatch.setattr(setup, "load_sample", _parsed_sample)
    store_history = partial(_store_history, feeds.store_history)
    monkeypatch.setattr(feeds, "store_history", store_history)
    return setup.sample_load(name="eur_usd_h1", now=timezone.now())


@pytest.fixture
def alice(db: None) -> Any:
    """Staff: may see and do everything here."""
    return _user("alice", is_staff=True)


@pytest.fixture
def charlie(db: None) -> Any:
    """Has a login and no business here."""
    return _user("charlie", is_staff=False)


@pytest.fixture
def api(alice: Any) -> Any:
    """A client of the API with alice's session."""
    from rest_framework.test import APIClient

    client = APIClient()
    client.force_login(alice)
    return client


def _user(name: str, *, is_staff: bool) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user(name, password=PASSWORD, is_staff=is_staff)
