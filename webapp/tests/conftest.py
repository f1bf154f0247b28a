"""What the tests of the web app share. No test here reaches another host."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.testing")


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
def valkey(valkey_server: None) -> Iterator[str]:
    """The URL of an empty Valkey."""
    from django.conf import settings
    from valkey import Valkey

    client = Valkey.from_url(settings.VALKEY_URL)
    client.flushall()
    yield settings.VALKEY_URL
    client.close()
