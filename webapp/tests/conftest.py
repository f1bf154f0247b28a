"""What the tests of the web app share. No test here reaches another host."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.testing")

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[None]:
    """A real Valkey at the address of the settings, for the whole run."""
    from django.conf import settings

    from webapp import embedded_valkey

    server = embedded_valkey.start(Path(settings.SEP_VAR_PATH))
    yield
    server.terminate()
    server.wait(timeout=10)


@pytest.fixture
def valkey(valkey_server: None) -> Iterator[Any]:
    """A client of an empty Valkey."""
    from django.conf import settings
    from valkey import Valkey

    client = Valkey.from_url(settings.VALKEY_URL)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def sample(db: None) -> Any:
    """The feed of the sample, with its account, strategy, limits and 2,000 candles of history."""
    from django.utils import timezone

    from webapp.trading.trader.setup import sample_load

    return sample_load(name="eur_usd_h1", now=timezone.now())


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
